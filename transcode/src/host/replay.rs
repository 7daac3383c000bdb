//! What came of the source since its newest keyframe, so that a new worker can begin before the next one (pure).

use aqueduct_common::{Sample, TrackId};

/// Most bytes that are held; beyond, a new worker waits for the next keyframe. The payloads are shared with the
/// packager's window, which holds as much.
const BYTES_MAX: usize = 48 << 20;
/// Most samples that are held.
const SAMPLES_MAX: usize = 8_192;

/// The samples of the running group of pictures, and the sound beside them.
#[derive(Debug)]
pub struct Replay {
    /// The track whose sync samples begin a group.
    reference: Option<TrackId>,
    samples: Vec<Sample>,
    bytes: usize,
}

impl Replay {
    /// Holds groups that begin with a sync sample of this track.
    pub const fn new(reference: Option<TrackId>) -> Self {
        Self { reference, samples: Vec::new(), bytes: 0 }
    }

    /// Takes in a sample. What does not lead back to a keyframe is not held.
    pub fn push(&mut self, sample: &Sample) {
        if self.reference == Some(sample.track) && sample.sync {
            self.clear();
        } else if self.samples.is_empty() {
            return;
        }
        if self.samples.len() >= SAMPLES_MAX || self.bytes + sample.payload.len() > BYTES_MAX {
            return self.clear();
        }
        self.bytes += sample.payload.len();
        self.samples.push(sample.clone());
    }

    /// The timeline breaks.
    pub fn clear(&mut self) {
        self.samples.clear();
        self.bytes = 0;
    }

    /// From the keyframe on, in the order of arrival.
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }
}

#[cfg(test)]
mod tests {
    use aqueduct_common::{MediaTime, Timescale, WallTime};
    use bytes::Bytes;

    use super::*;

    fn sample(track: u8, sync: bool, bytes: usize) -> Sample {
        let dts = MediaTime::new(0, Timescale::VIDEO);
        Sample {
            track: TrackId(track),
            dts,
            pts: dts,
            duration: 1,
            sync,
            disposable: false,
            payload: Bytes::from(vec![0; bytes]),
            received: WallTime::default(),
        }
    }

    #[test]
    fn a_group_begins_with_a_keyframe_and_sound_before_it_is_not_held() {
        let mut replay = Replay::new(Some(TrackId::VIDEO));
        for (track, sync) in [(1, true), (0, false)] {
            replay.push(&sample(track, sync, 10));
        }
        assert!(replay.samples().is_empty());
        for (track, sync) in [(0, true), (1, true), (0, false)] {
            replay.push(&sample(track, sync, 10));
        }
        assert_eq!(replay.samples().len(), 3);
        replay.push(&sample(0, true, 10));
        assert_eq!(replay.samples().len(), 1);
    }

    #[test]
    fn too_much_is_given_up_until_the_next_keyframe() {
        let mut replay = Replay::new(Some(TrackId::VIDEO));
        replay.push(&sample(0, true, BYTES_MAX - 5));
        replay.push(&sample(0, false, 6));
        replay.push(&sample(0, false, 1));
        assert!(replay.samples().is_empty());
        replay.push(&sample(0, true, 1));
        assert_eq!(replay.samples().len(), 1);
    }
}
