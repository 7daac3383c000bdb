//! What passes of a connection, read off its packets (draft-sharabayko-srt-01, 3): pure.
//!
//! The library that speaks SRT counts neither losses nor round trips where it receives.

use std::time::{Duration, Instant};

/// Acknowledgements whose answers are waited for.
const ACKS: usize = 32;
/// A jump in sequence numbers beyond this is no loss but nonsense, or another beginning.
const LOSS_MAX: u32 = 8_192;

/// The bit of a packet's first byte that says: no data.
pub const CONTROL: u8 = 0x80;
/// Control types.
const ACK: u16 = 2;
const ACK_ACK: u16 = 6;
/// Bit of a data packet's second word: it was sent before.
const AGAIN: u8 = 0x04;

/// What passed since it was last asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// Data packets that came, with those that came again.
    pub packets: u64,
    /// Missing when a later one came.
    pub lost: u64,
    /// Sent again by the far end.
    pub again: u64,
}

/// Watches one connection.
#[derive(Debug, Default)]
pub struct Watch {
    newest: Option<u32>,
    passed: Passed,
    acks: [Option<(u32, Instant)>; ACKS],
    rtt: Option<Duration>,
}

impl Watch {
    /// A packet came.
    pub fn came(&mut self, packet: &[u8], now: Instant) {
        let Some([first, second]) = words(packet) else { return };
        if packet[0] & CONTROL != 0 {
            if control_type(first) == ACK_ACK {
                self.answered(second, now);
            }
            return;
        }
        self.passed.packets += 1;
        if packet[4] & AGAIN != 0 {
            self.passed.again += 1;
            return;
        }
        // Sequence numbers have 31 bits, and their order is by the shorter way round.
        let ahead = self.newest.map_or(1, |newest| first.wrapping_sub(newest) & 0x7fff_ffff);
        if ahead == 0 || ahead >= 1 << 30 {
            return;
        }
        if ahead <= LOSS_MAX {
            self.passed.lost += u64::from(ahead - 1);
        }
        self.newest = Some(first);
    }

    /// A packet goes out.
    pub fn goes(&mut self, packet: &[u8], now: Instant) {
        let Some([first, number]) = words(packet) else { return };
        if packet[0] & CONTROL != 0 && control_type(first) == ACK && number != 0 {
            self.acks[number as usize % ACKS] = Some((number, now));
        }
    }

    fn answered(&mut self, number: u32, now: Instant) {
        let slot = &mut self.acks[number as usize % ACKS];
        if let Some((_, sent)) = slot.take_if(|(sent, _)| *sent == number) {
            let rtt = now.saturating_duration_since(sent);
            // As the draft smooths it (4.10).
            self.rtt = Some(self.rtt.map_or(rtt, |smooth| (smooth * 7 + rtt) / 8));
        }
    }

    /// The round trip; `None` before the first answer.
    pub const fn rtt(&self) -> Option<Duration> {
        self.rtt
    }

    /// The counters since they were last taken.
    pub const fn take(&mut self) -> Passed {
        std::mem::replace(&mut self.passed, Passed { packets: 0, lost: 0, again: 0 })
    }
}

/// The type that a control packet's first word says.
pub const fn control_type(first: u32) -> u16 {
    (first >> 16) as u16 & 0x7fff
}

/// The first two words of a packet that has a whole header.
pub fn words(packet: &[u8]) -> Option<[u32; 2]> {
    let header = packet.first_chunk::<16>()?;
    let word = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    Some([word(0), word(4)])
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "an arbitrary instant to count from")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packet(first: u32, second: u32) -> Vec<u8> {
        [&first.to_be_bytes()[..], &second.to_be_bytes(), &[0; 8], &[0x47; 188]].concat()
    }

    #[test]
    fn losses_and_repeats_are_counted_over_the_wrap() {
        let (mut watch, now) = (Watch::default(), Instant::now());
        for (number, again) in [
            (0x7fff_fffe, false),
            (0x7fff_ffff, false),
            (2, false),
            (0, true),
            (1, true),
            (1, false),
            (3, false),
        ] {
            watch.came(&packet(number, if again { 0x0400_0000 } else { 0 }), now);
        }
        assert_eq!(watch.take(), Passed { packets: 7, lost: 2, again: 2 });
        // Another beginning is no loss.
        watch.came(&packet(0x2000_0000, 0), now);
        watch.came(&packet(0x2000_0002, 0), now);
        assert_eq!(watch.take(), Passed { packets: 2, lost: 1, again: 0 });
    }

    #[test]
    fn a_round_trip_is_from_an_acknowledgement_to_its_answer() {
        let (mut watch, start) = (Watch::default(), Instant::now());
        let at = |millis| start + Duration::from_millis(millis);
        watch.goes(&packet(0x8002_0000, 7), at(0));
        watch.came(&packet(0x8006_0000, 6), at(10));
        assert_eq!(watch.rtt(), None);
        watch.came(&packet(0x8006_0000, 7), at(40));
        assert_eq!(watch.rtt(), Some(Duration::from_millis(40)));
        // The same answer again is none.
        watch.came(&packet(0x8006_0000, 7), at(400));
        assert_eq!(watch.rtt(), Some(Duration::from_millis(40)));
    }

    proptest! {
        #[test]
        fn no_bytes_lead_to_a_panic(packets in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..20)) {
            let (mut watch, now) = (Watch::default(), Instant::now());
            for packet in &packets {
                watch.came(packet, now);
                watch.goes(packet, now);
            }
            prop_assert!(watch.take().packets <= packets.len() as u64);
        }
    }
}
