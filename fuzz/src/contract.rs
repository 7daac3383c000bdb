//! The contract of a feed, which the timeline keeps and the packager trusts.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use aqueduct_common::{Feed, MediaTime, Sample, TrackId, TrackSet};

/// Ten seconds of composition offset (RTMP-40), and the delay that may be added to it.
const OFFSET_MOST: i64 = 25;

/// Checks every message of a feed as it comes.
#[derive(Default)]
pub struct Contract {
    tracks: Option<Arc<TrackSet>>,
    clocked: bool,
    /// The reference track goes on with a sync sample.
    awaits_sync: bool,
    /// Where each track's last sample ended.
    ends: HashMap<TrackId, MediaTime>,
    /// Tracks whose next sample need not follow the one before.
    broken: HashMap<TrackId, bool>,
    /// Tracks that go on with a sync sample.
    away: HashSet<TrackId>,
}

impl Contract {
    /// Panics where the message breaks the contract.
    pub fn check(&mut self, message: &Feed) {
        match message {
            Feed::Tracks(tracks) => {
                assert!(!tracks.tracks.is_empty(), "tracks of nothing");
                self.tracks = Some(tracks.clone());
                self.interrupt();
            }
            Feed::Discontinuity(_) => {
                assert!(self.tracks.is_some(), "a discontinuity before the tracks");
                self.interrupt();
            }
            Feed::Changed(track) => {
                assert!(track.id > TrackId::AUDIO, "the first tracks change by an announcement")
            }
            Feed::Lost(track, _) => {
                assert!(*track > TrackId::AUDIO, "the first tracks break, they are not lost");
                self.broken.insert(*track, true);
                self.away.insert(*track);
            }
            Feed::Returns(track, _) => {
                assert!(*track >= TrackId::FIRST_ENCODED, "only what is encoded here returns so")
            }
            Feed::Clock(_) => self.clocked = true,
            Feed::Sample(sample) => self.check_sample(sample),
        }
    }

    fn interrupt(&mut self) {
        self.awaits_sync = true;
        for (track, broken) in &mut self.broken {
            let _ = track;
            *broken = true;
        }
    }

    fn check_sample(&mut self, sample: &Sample) {
        let tracks = self.tracks.as_ref().expect("tracks come first");
        assert!(self.clocked, "the clock comes before the first sample");
        let track = tracks.by_id(sample.track).expect("a sample of no track");
        assert!(sample.dts.scale == track.timescale && sample.pts.scale == track.timescale);
        assert!(sample.duration >= 1, "a sample of no length");
        assert!(sample.dts.ticks >= 0, "TL-5: never negative");
        let offset = sample.pts.ticks - sample.dts.ticks;
        let most = OFFSET_MOST * i64::from(track.timescale.hz());
        assert!((-most..=most).contains(&offset), "composition offset of {offset}");
        if tracks.reference().is_some_and(|reference| reference.id == sample.track) && self.awaits_sync {
            assert!(sample.sync, "the reference track begins with a sync sample");
            self.awaits_sync = false;
        }
        assert!(sample.sync || !self.away.remove(&sample.track), "it is back with a sync sample");
        self.away.remove(&sample.track);
        let broken = self.broken.insert(sample.track, false).unwrap_or(true);
        if let Some(end) = self.ends.insert(sample.track, sample.end()) {
            if broken {
                assert!(
                    sample.dts.as_flicks() >= end.as_flicks() - FLICKS_OF_A_TICK,
                    "{sample:?} after {end:?}"
                );
            } else {
                assert_eq!(sample.dts, end, "contiguous (TL-37)");
            }
        }
    }
}

/// A tick of the coarsest scale, which a change of scale may round away.
const FLICKS_OF_A_TICK: i64 = 705_600_000 / 7_350;
