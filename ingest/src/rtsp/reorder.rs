//! Packets of one track in the order of their sequence numbers, and what is missing (RTSP-37, RTSP-38).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use retina::rtp::PacketHeader;

use aqueduct_common::WallTime;

/// How long a packet waits for those before it.
const WAIT: Duration = Duration::from_millis(200);
/// Packets that wait at most, and their bytes.
const HELD_MAX: usize = 512;
const HELD_BYTES_MAX: usize = 4 << 20;
/// A step beyond this, or so far back, is a restart once the next packet follows it (RFC 3550, A.1).
const AHEAD_MAX: i64 = 3_000;
const BEHIND_MAX: i64 = 100;

/// One RTP packet (RTSP-27).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Packet {
    /// Payload type.
    pub payload_type: u8,
    /// Sequence number.
    pub sequence: u16,
    /// Timestamp by the track's clock.
    pub timestamp: u32,
    /// Who sends it.
    pub source: u32,
    /// The marker bit.
    pub marker: bool,
    /// The payload without header, extension and padding.
    pub payload: Bytes,
    /// When it came.
    pub at: Instant,
    /// The same in UTC.
    pub wall: WallTime,
}

impl Packet {
    /// Reads a packet; `None` where it is not RTP.
    pub fn parse(raw: &Bytes, at: Instant, wall: WallTime) -> Option<Self> {
        let (header, range) = PacketHeader::validate(&raw[..]).ok()?;
        Some(Self {
            payload_type: header.payload_type(),
            sequence: header.sequence_number(),
            timestamp: header.timestamp(),
            source: header.ssrc(),
            marker: header.mark(),
            payload: raw.slice(usize::from(range.start)..usize::from(range.end)),
            at,
            wall,
        })
    }
}

/// What came of a track's packets since it was last asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Tally {
    /// Packets that never came.
    pub(super) lost: u32,
    /// Packets that came after their successors, in time.
    pub(super) reordered: u32,
    /// Packets that came twice, or too late.
    pub(super) late: u32,
}

/// The packets of one track. Over TCP they come in order, so that nothing waits.
#[derive(Debug)]
pub(super) struct Reorder {
    wait: Duration,
    /// The sequence number that is due, extended.
    due: Option<i64>,
    held: BTreeMap<i64, Packet>,
    bytes: usize,
    /// A number out of any order; the packet behind it confirms it.
    restart: Option<u16>,
    tally: Tally,
}

impl Reorder {
    /// For packets that may overtake each other, or for packets that cannot.
    pub(super) fn new(may_overtake: bool) -> Self {
        let wait = if may_overtake { WAIT } else { Duration::ZERO };
        Self { wait, due: None, held: BTreeMap::new(), bytes: 0, restart: None, tally: Tally::default() }
    }

    /// Begins anew: another sender took over.
    pub(super) fn reset(&mut self) {
        *self = Self { tally: self.tally, ..Self::new(!self.wait.is_zero()) };
    }

    /// Takes a packet. Drain [`poll`](Self::poll) after it.
    pub(super) fn push(&mut self, packet: Packet) {
        let due = *self.due.get_or_insert(i64::from(packet.sequence));
        let step = i64::from(packet.sequence.wrapping_sub(due as u16) as i16);
        if !(-BEHIND_MAX..=AHEAD_MAX).contains(&step) {
            return self.push_far(packet);
        }
        self.restart = None;
        if step < 0 {
            self.tally.late += 1;
            return;
        }
        if !self.held.is_empty() && self.held.last_key_value().is_some_and(|(last, _)| *last > due + step) {
            self.tally.reordered += 1;
        }
        self.hold(due + step, packet);
    }

    /// Two packets in a row far from what is due begin a new order (RTSP-38).
    fn push_far(&mut self, packet: Packet) {
        if self.restart == Some(packet.sequence) {
            self.held.clear();
            self.bytes = 0;
            self.restart = None;
            self.due = Some(i64::from(packet.sequence));
            self.tally.lost += 1;
            return self.hold(i64::from(packet.sequence), packet);
        }
        self.restart = Some(packet.sequence.wrapping_add(1));
        self.tally.late += 1;
    }

    fn hold(&mut self, number: i64, packet: Packet) {
        let length = packet.payload.len();
        if self.held.insert(number, packet).is_some() {
            self.tally.late += 1;
        } else {
            self.bytes += length;
        }
    }

    /// The next packet and how many before it are missing; `None` where one is worth waiting for at `now`.
    pub(super) fn poll(&mut self, now: Instant) -> Option<(Packet, u16)> {
        let entry = self.held.first_entry()?;
        let due = self.due?;
        let missing = entry.key() - due;
        let waited = now.saturating_duration_since(entry.get().at) >= self.wait;
        let full = self.bytes > HELD_BYTES_MAX;
        if missing > 0 && !waited && !full && self.held.len() <= HELD_MAX {
            return None;
        }
        let (number, packet) = self.held.pop_first()?;
        self.bytes = self.bytes.saturating_sub(packet.payload.len());
        self.due = Some(number + 1);
        self.tally.lost = self.tally.lost.saturating_add(u32::try_from(missing).unwrap_or(0));
        Some((packet, u16::try_from(missing).unwrap_or(u16::MAX)))
    }

    /// When [`poll`](Self::poll) gives what it holds, should nothing else come.
    pub(super) fn wake(&self) -> Option<Instant> {
        self.held.first_key_value().map(|(_, packet)| packet.at + self.wait)
    }

    /// What was lost, late and out of order since it was last asked for.
    pub(super) fn take_tally(&mut self) -> Tally {
        std::mem::take(&mut self.tally)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::clock;
    use proptest::prelude::*;

    fn packet(sequence: u16, at: Instant) -> Packet {
        let wall = WallTime { micros: 0 };
        let payload = Bytes::from_static(b"x");
        Packet { payload_type: 96, sequence, timestamp: 0, source: 1, marker: false, payload, at, wall }
    }

    fn drain(reorder: &mut Reorder, now: Instant) -> Vec<(u16, u16)> {
        std::iter::from_fn(|| reorder.poll(now)).map(|(packet, lost)| (packet.sequence, lost)).collect()
    }

    #[test]
    fn overtaken_packets_are_put_back_and_lost_ones_are_waited_for_in_vain() {
        let (mut reorder, start) = (Reorder::new(true), clock());
        for sequence in [65_534, 0, 65_535, 0, 2] {
            reorder.push(packet(sequence, start));
        }
        assert_eq!(drain(&mut reorder, start), [(65_534, 0), (65_535, 0), (0, 0)]);
        assert_eq!(reorder.wake(), Some(start + WAIT));
        assert_eq!(drain(&mut reorder, start + WAIT), [(2, 1)]);
        reorder.push(packet(1, start));
        assert_eq!(reorder.take_tally(), Tally { lost: 1, reordered: 1, late: 2 });
    }

    #[test]
    fn over_tcp_nothing_waits() {
        let (mut reorder, start) = (Reorder::new(false), clock());
        let numbers = [7, 8, 11];
        let got: Vec<_> = numbers
            .iter()
            .flat_map(|sequence| {
                reorder.push(packet(*sequence, start));
                drain(&mut reorder, start)
            })
            .collect();
        assert_eq!(got, [(7, 0), (8, 0), (11, 2)]);
    }

    #[test]
    fn two_packets_begin_a_new_order_and_one_does_not() {
        let (mut reorder, start) = (Reorder::new(true), clock());
        for sequence in [10, 11, 40_000, 12, 50_000, 50_001, 50_002] {
            reorder.push(packet(sequence, start));
        }
        assert_eq!(drain(&mut reorder, start), [(50_001, 0), (50_002, 0)]);
        let mut reorder = Reorder::new(true);
        for sequence in [10, 40_000, 11] {
            reorder.push(packet(sequence, start));
        }
        assert_eq!(drain(&mut reorder, start), [(10, 0), (11, 0)]);
    }

    proptest! {
        /// Whatever the order, packets come out by their numbers, and no more are held than is allowed.
        #[test]
        fn packets_come_out_in_order(numbers in proptest::collection::vec(0u16..100, 1..600)) {
            let (mut reorder, start) = (Reorder::new(true), clock());
            let mut last = None;
            for number in numbers {
                reorder.push(packet(number, start));
                for (sequence, _) in drain(&mut reorder, start) {
                    prop_assert!(last.is_none_or(|last| sequence > last));
                    last = Some(sequence);
                }
                prop_assert!(reorder.held.len() <= HELD_MAX + 1);
            }
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = Packet::parse(&Bytes::from(bytes), clock(), WallTime { micros: 0 });
        }
    }
}
