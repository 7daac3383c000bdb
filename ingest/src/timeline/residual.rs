//! How far frames lie from their places on the grid, and what that means (TL-10).

use super::flicks::MILLI;

/// Frames in a row off the grid after which something is done about it (TL-10).
const OFF_GRID: u8 = 10;
/// Frames in a row that lie equally far away, within [`EQUALLY`].
const STEADY: u8 = 10;
const EQUALLY: i64 = 3 * MILLI;
/// A steady distance beyond this is taken up at the next sync sample: half of what sound and picture may be moved
/// apart (TL-14).
const SLIP_MIN: i64 = 10 * MILLI;

/// What a frame's distance from its place means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// It is that frame.
    OnGrid,
    /// So many frames are missing before it.
    Missing(i64),
    /// The grid goes on from here, moved by so many flicks: the source was spliced, or its clock drifted.
    Slip(i64),
    /// Frames come at another rate.
    Lost,
}

/// The distances of late.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Residual {
    last: i64,
    /// Frames in a row that lay more than ¾ of a frame away.
    off: u8,
    /// A distance that the last `steady` frames shared.
    level: i64,
    steady: u8,
}

impl Residual {
    /// Begins at a distance from the grid.
    pub(super) const fn at(distance: i64) -> Self {
        Self { last: distance, off: 0, level: distance, steady: 0 }
    }

    /// Judges a frame `distance` flicks after its place on a grid of `frame` flicks.
    pub(super) fn judge(&mut self, distance: i64, frame: i64, sync: bool) -> Verdict {
        // Frames are missing where the distance grew at once by about a frame or more.
        if distance - self.last > frame * 3 / 5 && distance > frame * 3 / 4 {
            let missing = (distance + frame / 2) / frame;
            *self = Self::at(distance - missing * frame);
            return Verdict::Missing(missing);
        }
        // At a sync sample, where the frames before lay; else once this frame shows that it will not pass.
        let before = (self.steady >= STEADY && sync && self.level.abs() > SLIP_MIN).then_some(self.level);
        self.last = distance;
        self.off = if distance.abs() > frame * 3 / 4 { self.off + 1 } else { 0 };
        if (distance - self.level).abs() <= EQUALLY {
            self.steady = self.steady.saturating_add(1);
        } else {
            (self.level, self.steady) = (distance, 1);
        }
        let now = (self.steady >= STEADY && self.off >= OFF_GRID).then_some(distance);
        if let Some(slip) = before.or(now) {
            // A frame shrinks to a quarter at the least.
            let slip = slip.max(-frame * 3 / 4);
            *self = Self::at(distance - slip);
            return Verdict::Slip(slip);
        }
        if self.off >= OFF_GRID || distance < -2 * frame { Verdict::Lost } else { Verdict::OnGrid }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: i64 = 40 * MILLI;

    fn judge(distances: impl IntoIterator<Item = i64>) -> Vec<Verdict> {
        let mut residual = Residual::default();
        distances.into_iter().map(|millis| residual.judge(millis * MILLI, FRAME, false)).collect()
    }

    #[test]
    fn jitter_and_single_strays_are_on_the_grid() {
        let jitter = (0..200).map(|n| [0, 1, -1, 12, -12, 29, 0][n % 7]);
        assert!(judge(jitter).iter().all(|verdict| *verdict == Verdict::OnGrid));
    }

    #[test]
    fn a_step_of_whole_frames_is_missing_frames_once() {
        assert_eq!(judge([0, 1, 81, 1])[2..], [Verdict::Missing(2), Verdict::OnGrid]);
    }

    #[test]
    fn a_splice_waits_for_a_key_frame_and_a_large_one_does_not() {
        let mut residual = Residual::default();
        for _ in 0..40 {
            assert_eq!(residual.judge(11 * MILLI, FRAME, false), Verdict::OnGrid);
        }
        assert_eq!(residual.judge(11 * MILLI, FRAME, true), Verdict::Slip(11 * MILLI));
        assert_eq!(residual.judge(0, FRAME, true), Verdict::OnGrid);
        // One frame too many came: the output is a frame ahead.
        let verdicts = judge(std::iter::repeat_n(-40, 12));
        assert_eq!(verdicts.iter().position(|verdict| *verdict != Verdict::OnGrid), Some(9));
        assert_eq!(verdicts[9], Verdict::Slip(-30 * MILLI));
    }

    #[test]
    fn another_rate_is_no_splice() {
        assert_eq!(judge((0..9).map(|n| n * -20)).last(), Some(&Verdict::Lost));
        assert!(judge((0..20).map(|n| n * 7)).contains(&Verdict::Lost));
    }
}
