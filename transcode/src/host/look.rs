//! What samples of the source's picture tell that no header does: how its keyframes are spaced (pure).

use std::collections::VecDeque;
use std::time::Duration;

use aqueduct_common::track::Grid;
use aqueduct_common::{MediaTime, Sample, Track};

use crate::ladder::{Keyframes, Measured};

/// Intervals between keyframes that are remembered.
const REMEMBERED: usize = 10;
/// Intervals in a row that say that a longer one is no exception.
const IN_A_ROW: usize = 3;
/// Samples that the mean rates are taken over, at least.
const SAMPLES_LEAST: u64 = 15;
/// One frame of so many that leaves the grid says that there is none; an encoder on a busy machine drops fewer.
const STRAY_PART: u32 = 4;

/// From one keyframe to the next.
#[derive(Clone, Copy, Debug)]
struct Interval {
    /// In flicks.
    length: i64,
    /// It has an even number of frames.
    even: bool,
    /// A quarter of its frames and more left the grid.
    off_grid: bool,
}

/// Watches one video track.
#[derive(Debug, Default)]
pub struct Look {
    /// Spacing of the grid that was announced, in flicks; `None` without one.
    grid: Option<i64>,
    /// The newest keyframe's decode time, frames since, and how many of these left the grid.
    newest: Option<(MediaTime, u32, u32)>,
    /// The newest intervals.
    intervals: VecDeque<Interval>,
    samples: u64,
    bytes: u64,
    flicks: i64,
}

impl Look {
    /// Takes in a sample of the track.
    pub fn push(&mut self, sample: &Sample) {
        self.samples += 1;
        self.bytes += sample.payload.len() as u64;
        self.flicks += MediaTime::new(i64::from(sample.duration), sample.dts.scale).as_flicks();
        let stray = u32::from(self.leaves_grid(sample));
        if !sample.sync {
            if let Some((_, frames, strays)) = &mut self.newest {
                (*frames, *strays) = (*frames + 1, *strays + stray);
            }
            return;
        }
        if let Some((at, frames, strays)) = self.newest {
            if self.intervals.len() == REMEMBERED {
                self.intervals.pop_front();
            }
            let length = sample.dts.as_flicks() - at.as_flicks();
            let (even, off_grid) = (frames % 2 == 0, strays * STRAY_PART >= frames);
            self.intervals.push_back(Interval { length, even, off_grid });
        }
        self.newest = Some((sample.dts, 1, stray));
    }

    /// Another source begins, with this track. What was seen of keyframes before is the best guess for it.
    pub fn begin(&mut self, track: Option<&Track>) {
        self.interrupt();
        self.grid = track.and_then(|track| match track.grid {
            Grid::Fixed(spacing) => Some(spacing.as_flicks()),
            Grid::Variable { .. } => None,
        });
        self.intervals.iter_mut().for_each(|interval| interval.off_grid = false);
    }

    /// It lasts longer or shorter than a frame by an eighth and more.
    fn leaves_grid(&self, sample: &Sample) -> bool {
        let duration = MediaTime::new(i64::from(sample.duration), sample.dts.scale).as_flicks();
        self.grid.is_some_and(|grid| (duration - grid).abs() * 8 > grid)
    }

    /// The timeline breaks: no interval goes over it.
    pub const fn interrupt(&mut self) {
        self.newest = None;
    }

    /// A second keyframe has come. Where every picture is one, as with JPEG, two tell nothing of a rate that varies.
    pub fn has_seen_interval(&self) -> bool {
        !self.intervals.is_empty() && (self.grid.is_some() || self.samples >= SAMPLES_LEAST)
    }

    /// The interval that has not ended yet, as long as it is so far.
    pub fn open(&self, end: MediaTime) -> Duration {
        let open = self.newest.map_or(0, |(at, ..)| end.as_flicks() - at.as_flicks());
        Duration::from_micros(MediaTime::flicks(open).micros().max(0).unsigned_abs())
    }

    /// All that is remembered, the interval that has not ended yet included: what a first decision goes by, and what
    /// has to be good before a stream goes back to the better way.
    pub fn all(&self, end: MediaTime) -> Measured {
        let open = self.newest.map(|(at, ..)| end.as_flicks() - at.as_flicks());
        let widest = self.intervals.iter().map(|interval| interval.length).chain(open).max();
        // What is still open says nothing before something is known to compare it with, unless it is long already.
        let off_grid = self.intervals.iter().filter(|interval| interval.off_grid).count() >= IN_A_ROW;
        Measured { off_grid, ..self.measured(widest) }
    }

    /// The shortest of the newest intervals: as long as it is good, a longer one was an exception. `None` before there
    /// were enough.
    pub fn lasting(&self) -> Option<Measured> {
        let newest = || self.intervals.iter().rev().take(IN_A_ROW);
        let shortest = newest().map(|interval| interval.length).min();
        let off_grid = newest().all(|interval| interval.off_grid);
        (self.intervals.len() >= IN_A_ROW).then(|| Measured { off_grid, ..self.measured(shortest) })
    }

    /// Many intervals in a row have been seen.
    pub fn is_settled(&self) -> bool {
        self.intervals.len() == REMEMBERED
    }

    fn measured(&self, widest: Option<i64>) -> Measured {
        let even = self.intervals.iter().all(|interval| interval.even);
        let enough = self.samples >= SAMPLES_LEAST && self.flicks > 0;
        let per_second = |count: u64| {
            let flicks = i128::from(count) * i128::from(aqueduct_common::Timescale::FLICKS.hz());
            u64::try_from(flicks / i128::from(self.flicks.max(1))).unwrap_or(u64::MAX)
        };
        Measured {
            keyframes: widest.map(|widest| Keyframes { widest: MediaTime::flicks(widest), even }),
            bitrate: enough.then(|| per_second(self.bytes.saturating_mul(8))),
            spacing: enough.then(|| MediaTime::flicks(self.flicks / self.samples.cast_signed().max(1))),
            off_grid: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use aqueduct_common::{Timescale, TrackId, WallTime};
    use bytes::Bytes;

    use super::*;

    /// Looks at GOPs of these lengths in frames, at 30 frames a second.
    fn look(gops: &[u32]) -> (Look, MediaTime) {
        let (mut look, mut at) = (Look::default(), 0);
        for gop in gops {
            for n in 0..*gop {
                let dts = MediaTime::new(at, Timescale::VIDEO);
                at += 3_000;
                look.push(&Sample {
                    track: TrackId::VIDEO,
                    dts,
                    pts: dts,
                    duration: 3_000,
                    sync: n == 0,
                    disposable: false,
                    payload: Bytes::from_static(&[0; 1_000]),
                    received: WallTime::default(),
                });
            }
        }
        (look, MediaTime::new(at, Timescale::VIDEO))
    }

    fn millis(measured: Measured) -> i64 {
        measured.keyframes.map_or(-1, |keyframes| keyframes.widest.micros() / 1_000)
    }

    #[test]
    fn the_interval_that_goes_on_counts_with_what_it_is_so_far() {
        let (look, end) = look(&[75]);
        assert!(!look.has_seen_interval());
        assert_eq!(millis(look.all(end)), 2_500);
        assert_eq!(look.open(end), Duration::from_millis(2_500));
    }

    #[test]
    fn where_every_picture_is_a_keyframe_a_rate_that_varies_takes_more_than_two() {
        assert!(!look(&[1; 14]).0.has_seen_interval());
        assert!(look(&[1; 15]).0.has_seen_interval());
        let (mut fixed, _) = look(&[1; 2]);
        fixed.grid = Some(1);
        assert!(fixed.has_seen_interval());
    }

    #[test]
    fn one_long_interval_is_an_exception_and_three_are_not() {
        let (once, end) = look(&[30, 30, 30, 90, 30, 30]);
        assert_eq!(once.lasting().map(millis), Some(1_000));
        assert_eq!(millis(once.all(end)), 3_000);
        let (often, _) = look(&[30, 30, 90, 90, 90, 1]);
        assert_eq!(often.lasting().map(millis), Some(3_000));
    }

    #[test]
    fn rates_and_evenness_are_measured() {
        let (even, end) = look(&[30, 30, 2]);
        let measured = even.all(end);
        assert!(measured.keyframes.is_some_and(|keyframes| keyframes.even));
        assert_eq!(measured.bitrate, Some(240_000));
        assert_eq!(measured.spacing.map(MediaTime::micros), Some(33_333));
        let (odd, end) = look(&[30, 25, 2]);
        assert!(odd.all(end).keyframes.is_some_and(|keyframes| !keyframes.even));
    }
}
