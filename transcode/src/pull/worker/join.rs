//! Files one after another on one clock (pure).
//!
//! Pictures decide: the first one of a file follows the last one of the file before, and sound keeps its distance from its
//! own file's pictures. Whole packets of sound that would overlap what has been given are left out; where it ends early there
//! is a hole, which the timeline fills.

use aqueduct_common::TrackId;

use crate::pull::protocol::Packet;

/// Packets that may come before the first picture of a file.
const HELD: usize = 512;

/// The clock of a list of files.
#[derive(Debug, Default)]
pub(super) struct Join {
    /// The track that decides.
    reference: TrackIdOrVideo,
    /// Where the next file begins.
    next: i64,
    /// Added to the present file's times; `None` until its first packet of the reference track.
    shift: Option<i64>,
    held: Vec<Packet>,
    /// Where the sound that was given ends.
    sound_end: Option<i64>,
    /// How much more sound was given than time went by, over all joints.
    debt: i64,
    /// The present file's sound has begun.
    sounds: bool,
    /// The newest spacing of the reference's packets.
    spacing: i64,
    last: Option<i64>,
}

#[derive(Debug, Clone, Copy)]
struct TrackIdOrVideo(TrackId);

impl Default for TrackIdOrVideo {
    fn default() -> Self {
        Self(TrackId::VIDEO)
    }
}

impl Join {
    /// Another file begins.
    pub(super) fn begin(&mut self, has_video: bool) {
        self.reference.0 = if has_video { TrackId::VIDEO } else { TrackId::AUDIO };
        (self.shift, self.last, self.sounds) = (None, None, false);
        self.held.clear();
    }

    /// Takes a packet of the file; gives those whose time is known.
    pub(super) fn place(&mut self, packet: Packet) -> Vec<Packet> {
        if self.shift.is_none() {
            let decides = packet.track == self.reference.0;
            if !decides && self.held.len() < HELD {
                self.held.push(packet);
                return Vec::new();
            }
            self.shift = Some(self.next.saturating_sub(packet.dts));
        }
        let mut held = std::mem::take(&mut self.held);
        held.push(packet);
        held.into_iter().filter_map(|packet| self.shifted(packet)).collect()
    }

    fn shifted(&mut self, mut packet: Packet) -> Option<Packet> {
        let shift = self.shift?;
        packet.dts = packet.dts.saturating_add(shift);
        packet.pts = packet.pts.saturating_add(shift);
        if packet.track == self.reference.0 {
            if let Some(last) = self.last {
                self.spacing = packet.dts.saturating_sub(last).max(0);
            }
            self.last = Some(packet.dts);
            let lasts = if packet.duration > 0 { packet.duration } else { self.spacing };
            self.next = self.next.max(packet.dts.saturating_add(lasts));
        }
        if packet.track == TrackId::AUDIO {
            if !self.sounds && !self.joins(&packet) {
                return None;
            }
            self.sound_end = Some(packet.dts.saturating_add(packet.duration));
        }
        Some(packet)
    }

    /// The file's sound can begin with this packet. An overlap of less than half a packet is let be, and remembered: many
    /// of them are a whole packet, which is left out then.
    fn joins(&mut self, packet: &Packet) -> bool {
        let overlap =
            self.sound_end.map_or(0, |end| end.saturating_sub(packet.dts)).saturating_add(self.debt);
        if overlap > packet.duration / 2 {
            return false;
        }
        // A hole of more than a packet is filled, and owes nothing.
        self.debt = if overlap < -packet.duration { 0 } else { overlap };
        self.sounds = true;
        true
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    const MILLI: i64 = 1_000_000;

    fn packet(track: TrackId, dts: i64, duration: i64) -> Packet {
        let payload = Bytes::from_static(&[1]);
        let (dts, duration) = (dts * MILLI, duration * MILLI);
        Packet { track, key: true, damaged: false, dts, pts: dts + 80 * MILLI, duration, payload }
    }

    /// Two seconds of 25 pictures a second from -80 ms on, with sound of 20 ms packets that ends `longer` later.
    fn file(join: &mut Join, longer: i64) -> Vec<(TrackId, i64)> {
        join.begin(true);
        let mut all = Vec::new();
        for at in 0..(2_000 + longer.max(0)) / 20 {
            if at * 20 < 2_000 + longer {
                all.push(packet(TrackId::AUDIO, at * 20, 20));
            }
            if at % 2 == 0 && at * 20 < 2_000 {
                all.push(packet(TrackId::VIDEO, at * 20 - 80, 40));
            }
        }
        all.into_iter()
            .flat_map(|packet| join.place(packet))
            .map(|packet| (packet.track, packet.dts / MILLI))
            .collect()
    }

    fn times(all: &[(TrackId, i64)], track: TrackId) -> Vec<i64> {
        all.iter().filter(|(of, _)| *of == track).map(|(_, at)| *at).collect()
    }

    #[test]
    fn pictures_go_on_without_a_hole_however_long_the_sound_is() {
        for longer in [-100, 0, 60, 500] {
            let mut join = Join::default();
            let all: Vec<_> = (0..5).flat_map(|_| file(&mut join, longer)).collect();
            let pictures = times(&all, TrackId::VIDEO);
            assert_eq!(pictures.len(), 250);
            assert!(pictures.windows(2).all(|pair| pair[1] - pair[0] == 40), "{longer}: {pictures:?}");
            let sound = times(&all, TrackId::AUDIO);
            assert!(sound.windows(2).all(|pair| pair[1] - pair[0] >= 20), "{longer}: {sound:?}");
            assert!(sound.windows(2).all(|pair| pair[1] - pair[0] <= 20 + (-longer).max(0)), "{longer}");
            // Sound stays beside its pictures.
            assert!(
                (sound.last().unwrap() - pictures.last().unwrap() - (longer + 100)).abs() <= 20,
                "{longer}"
            );
        }
    }

    #[test]
    fn overlaps_of_less_than_a_packet_do_not_add_up() {
        let mut join = Join::default();
        let (mut sound, loops) = (0, 200);
        for _ in 0..loops {
            join.begin(true);
            for at in 0..75 {
                join.place(packet(TrackId::VIDEO, at * 40, 40));
            }
            // 3,008 ms of sound beside 3,000 ms of pictures.
            for at in 0..94 {
                sound += join.place(packet(TrackId::AUDIO, at * 32, 32)).len() as i64;
            }
        }
        let ahead = sound * 32 - loops * 3_000;
        assert!((-16..=32).contains(&ahead), "{ahead} ms");
    }

    #[test]
    fn sound_alone_decides_for_itself() {
        let mut join = Join::default();
        let mut all = Vec::new();
        for _ in 0..3 {
            join.begin(false);
            for at in 0..10 {
                all.extend(join.place(packet(TrackId::AUDIO, 7_000 + at * 20, 20)));
            }
        }
        let times: Vec<_> = all.iter().map(|packet| packet.dts / MILLI).collect();
        assert_eq!(times, (0..30).map(|at| at * 20).collect::<Vec<_>>());
    }
}
