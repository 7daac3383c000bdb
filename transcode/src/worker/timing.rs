//! How rungs' frames lie on the timeline, from the job and the source's track: pure.

use aqueduct_common::track::Grid;
use aqueduct_common::{MediaTime, Timescale, Track};

use super::recipe::Fields;
use crate::protocol::Mode;

/// How a rung's frames lie on the timeline.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Timing {
    /// Ticks a second.
    pub(super) timescale: Timescale,
    /// Spacing of its frames.
    pub(super) grid: Grid,
    /// Presentation minus decode time of a sync frame.
    pub(super) delay: i64,
    /// Frames a second, as a fraction in its lowest terms.
    pub(super) frame_rate: (u32, u32),
    /// Language of the source track.
    pub(super) language: String,
}

impl Timing {
    /// The timing of rungs with every frame.
    pub(super) fn of(mode: Mode, track: &Track) -> Self {
        let (timescale, grid, delay) = match mode {
            Mode::Aligned => (track.timescale, track.grid, track.reorder_delay),
            Mode::Regular { frame, timescale, .. } => {
                let scale = Timescale::new(timescale).unwrap_or(Timescale::VIDEO);
                (scale, Grid::Fixed(MediaTime::new(frame.max(1).into(), scale)), 0)
            }
        };
        let frame = grid.spacing().rescale(timescale).ticks.max(1);
        let frame_rate = reduced(timescale.hz(), u32::try_from(frame).unwrap_or(u32::MAX));
        Self { timescale, grid, delay, frame_rate, language: track.language.clone() }
    }

    /// The timing of rungs with every second frame.
    pub(super) fn halved(&self) -> Self {
        let double = |time: MediaTime| MediaTime::new(time.ticks * 2, time.scale);
        let grid = match self.grid {
            Grid::Fixed(spacing) => Grid::Fixed(double(spacing)),
            Grid::Variable { widest } => Grid::Variable { widest: double(widest) },
        };
        let (num, den) = self.frame_rate;
        Self { grid, frame_rate: reduced(num, den.saturating_mul(2)), ..self.clone() }
    }
}

/// What is done to interlaced pictures: fields become frames of their own only where a regular grid has room for them.
pub(super) fn on_fields(mode: Mode, track: &Track) -> Fields {
    let Mode::Regular { frame, timescale, .. } = mode else { return Fields::PerFrame };
    let scale = Timescale::new(timescale).unwrap_or(Timescale::VIDEO);
    let frame = MediaTime::new(frame.into(), scale).as_flicks();
    let spacing = track.grid.spacing().as_flicks();
    if frame * 3 < spacing * 2 { Fields::PerField } else { Fields::PerFrame }
}

/// A fraction in its lowest terms.
const fn reduced(num: u32, den: u32) -> (u32, u32) {
    let (mut a, mut b) = (num, den);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    let by = if a == 0 { 1 } else { a };
    (num / by, if den == 0 { 1 } else { den / by })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_fractions_in_lowest_terms() {
        assert_eq!(reduced(90_000, 3_000), (30, 1));
        assert_eq!(reduced(90_000, 3_003), (30_000, 1_001));
        assert_eq!(reduced(30_000, 1_001 * 2), (15_000, 1_001));
        assert_eq!((reduced(1, 0), reduced(0, 5)), ((1, 1), (0, 1)));
    }
}
