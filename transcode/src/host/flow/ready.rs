//! Whether further video tracks of the source are in step with the first one (pure): a rendition that a player may
//! switch to has its keyframes where the others have theirs.
//!
//! The ingest compares them as well, and lets go of what does not fit. What is decided here is what becomes of the
//! ladder: a track that is out of step is no rendition, and the rung that it stood for is encoded.

use std::collections::{BTreeMap, VecDeque};

use aqueduct_common::{Sample, Timescale, TrackId};

use crate::ladder::NotReady;

/// Keyframes that wait for their like in the other track at most: beyond that, the other one has stopped.
const WAITING: usize = 32;
/// Instants that differ by less are equal: a rounding of milliseconds to another scale.
const SAME: i64 = Timescale::FLICKS.hz() as i64 / 500;

/// Keyframes of one track that were not found in another yet, and how far it has come.
#[derive(Debug, Default)]
struct Walk {
    /// Decode times of its keyframes, in flicks.
    keyframes: VecDeque<i64>,
    /// Of the first track's, since this one began.
    expected: VecDeque<i64>,
    /// Where its newest sample ends; `None` before a keyframe of it.
    end: Option<i64>,
    unfit: Option<NotReady>,
}

/// Watches the further tracks of a source.
#[derive(Debug, Default)]
pub(super) struct Ready {
    walks: BTreeMap<TrackId, Walk>,
    /// The first track's newest keyframes.
    keyframes: VecDeque<i64>,
    /// Where the first track began, and where its newest sample ends.
    begin: Option<i64>,
    end: Option<i64>,
}

impl Ready {
    /// Another source: nothing is known of these tracks but that they are there.
    pub(super) fn begin(&mut self, further: impl Iterator<Item = TrackId>) {
        *self = Self { walks: further.map(|track| (track, Walk::default())).collect(), ..Self::default() };
    }

    /// The timeline breaks: nothing is compared over it.
    pub(super) fn interrupt(&mut self) {
        (self.begin, self.end) = (None, None);
        self.keyframes.clear();
        for walk in self.walks.values_mut() {
            *walk = Walk { unfit: walk.unfit.take(), ..Walk::default() };
        }
    }

    /// Samples of a track stop coming, or come no more.
    pub(super) fn lost(&mut self, track: TrackId) {
        if let Some(walk) = self.walks.get_mut(&track) {
            walk.unfit.get_or_insert(NotReady::Stopped);
        }
    }

    /// Why a further track is no rendition.
    pub(super) fn unfit(&self, track: TrackId) -> Option<NotReady> {
        self.walks.get(&track).and_then(|walk| walk.unfit.clone())
    }

    /// Takes in a sample of the first track.
    pub(super) fn push_first(&mut self, sample: &Sample) {
        let at = sample.dts.as_flicks();
        if sample.sync {
            self.keyframes.push_back(at);
            if self.keyframes.len() > WAITING {
                self.keyframes.pop_front();
            }
            for walk in self.walks.values_mut().filter(|walk| walk.end.is_some()) {
                walk.expected.push_back(at);
            }
        }
        self.begin.get_or_insert(at);
        self.end = Some(sample.end().as_flicks());
        self.compare();
    }

    /// Takes in a sample of a further track.
    pub(super) fn push(&mut self, sample: &Sample) {
        let (at, begin) = (sample.dts.as_flicks(), self.begin);
        let Some(walk) = self.walks.get_mut(&sample.track) else { return };
        if walk.end.is_none() && !sample.sync {
            return;
        }
        if walk.end.is_none() {
            walk.expected = self.keyframes.iter().copied().filter(|first| first + SAME >= at).collect();
        }
        // What lies before the first track's first sample has no like.
        if sample.sync && begin.is_none_or(|begin| at + SAME >= begin) {
            walk.keyframes.push_back(at);
        }
        walk.end = Some(sample.end().as_flicks());
        self.compare();
    }

    fn compare(&mut self) {
        let Some(first) = self.end else { return };
        for walk in self.walks.values_mut().filter(|walk| walk.unfit.is_none()) {
            walk.compare(first);
        }
    }
}

impl Walk {
    /// Takes out what both have; says what only one has where the other is beyond it.
    fn compare(&mut self, first: i64) {
        let Some(end) = self.end else { return };
        loop {
            match (self.keyframes.front().copied(), self.expected.front().copied()) {
                (Some(own), Some(other)) if (own - other).abs() <= SAME => {
                    self.keyframes.pop_front();
                    self.expected.pop_front();
                }
                (own, other) => {
                    let alone = |at: Option<i64>, beyond: i64| at.is_some_and(|at| at + SAME < beyond);
                    if alone(own, first) || alone(other, end) {
                        self.unfit = Some(NotReady::Keyframes);
                    } else if self.keyframes.len().max(self.expected.len()) > WAITING {
                        self.unfit = Some(NotReady::Stopped);
                    }
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use aqueduct_common::{MediaTime, WallTime};
    use bytes::Bytes;

    use super::*;

    const FURTHER: TrackId = TrackId(2);

    fn sample(track: TrackId, n: i64, gop: i64, shift: i64) -> Sample {
        let dts = MediaTime::new(n * 3_000, Timescale::VIDEO);
        Sample {
            track,
            dts,
            pts: dts,
            duration: 3_000,
            sync: (n - shift).rem_euclid(gop) == 0,
            disposable: false,
            payload: Bytes::from_static(b"x"),
            received: WallTime::default(),
        }
    }

    fn ready() -> Ready {
        let mut ready = Ready::default();
        ready.begin([FURTHER].into_iter());
        ready
    }

    /// Plays both for so many frames, the further one `late` frames behind, with keyframes every `gop` from `shift` on.
    fn play(ready: &mut Ready, frames: std::ops::Range<i64>, late: i64, gop: i64, shift: i64) {
        for n in frames {
            ready.push_first(&sample(TrackId::VIDEO, n, 30, 0));
            if n >= late {
                ready.push(&sample(FURTHER, n - late, gop, shift));
            }
        }
    }

    #[test]
    fn keyframes_at_the_same_instants_are_in_step_however_late_they_come() {
        for late in [0, 1, 7, 40] {
            let mut ready = ready();
            play(&mut ready, 0..400, late, 30, 0);
            assert_eq!(ready.unfit(FURTHER), None, "{late}");
        }
    }

    #[test]
    fn other_keyframes_are_out_of_step_and_stay_so() {
        for (gop, shift) in [(30, 15), (30, 1), (15, 0), (60, 0), (31, 0)] {
            let mut ready = ready();
            play(&mut ready, 0..100, 2, gop, shift);
            assert_eq!(ready.unfit(FURTHER), Some(NotReady::Keyframes), "{gop} {shift}");
            ready.interrupt();
            play(&mut ready, 300..400, 2, 30, 0);
            assert_eq!(ready.unfit(FURTHER), Some(NotReady::Keyframes), "a ladder that swings serves nobody");
        }
    }

    #[test]
    fn nothing_is_compared_over_a_break_and_one_that_has_stopped_is_out() {
        let mut ready = ready();
        play(&mut ready, 0..65, 5, 30, 0);
        ready.interrupt();
        play(&mut ready, 90..200, 5, 30, 0);
        assert_eq!(ready.unfit(FURTHER), None);
        ready.lost(FURTHER);
        assert_eq!(ready.unfit(FURTHER), Some(NotReady::Stopped));
        ready.begin([FURTHER].into_iter());
        assert_eq!(ready.unfit(FURTHER), None);
        play(&mut ready, 0..10, 0, 30, 0);
        (10..1_300).for_each(|n| ready.push_first(&sample(TrackId::VIDEO, n, 30, 0)));
        assert_eq!(ready.unfit(FURTHER), Some(NotReady::Stopped));
    }
}
