//! Frame rates: what a source's is, and the grid of encoded rungs where they cannot share the source's.

use std::time::Duration;

use aqueduct_common::time::MediaTime;
use aqueduct_common::track::Grid;

use super::Video;
use crate::protocol::Mode;

/// Frames a second as a fraction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rate {
    /// Frames …
    pub frames: u32,
    /// … in so many seconds.
    pub seconds: u32,
}

/// Rates that a grid may have, with the timescale of TL-3: 90000 where it holds the frame exactly.
const USUAL: [(Rate, u32); 26] = [
    (Rate::whole(1), 90_000),
    (Rate::whole(2), 90_000),
    (Rate::whole(3), 90_000),
    (Rate::whole(4), 90_000),
    (Rate::whole(5), 90_000),
    (Rate::whole(6), 90_000),
    (Rate::whole(8), 90_000),
    (Rate::whole(9), 90_000),
    (Rate::whole(10), 90_000),
    (Rate::whole(12), 90_000),
    (Rate { frames: 25, seconds: 2 }, 90_000),
    (Rate::whole(15), 90_000),
    (Rate::whole(16), 90_000),
    (Rate::whole(18), 90_000),
    (Rate::whole(20), 90_000),
    (Rate { frames: 24_000, seconds: 1_001 }, 24_000),
    (Rate::whole(24), 90_000),
    (Rate::whole(25), 90_000),
    (Rate { frames: 30_000, seconds: 1_001 }, 90_000),
    (Rate::whole(30), 90_000),
    (Rate::whole(36), 90_000),
    (Rate::whole(40), 90_000),
    (Rate::whole(48), 90_000),
    (Rate::whole(50), 90_000),
    (Rate { frames: 60_000, seconds: 1_001 }, 60_000),
    (Rate::whole(60), 90_000),
];

/// What is taken where nothing tells the rate.
const UNKNOWN: Rate = Rate::whole(30);

impl Rate {
    const fn whole(frames: u32) -> Self {
        Self { frames, seconds: 1 }
    }

    /// The rate of frames with this spacing; `None` for a spacing that is not above zero.
    pub fn of_spacing(spacing: MediaTime) -> Option<Self> {
        let seconds = u32::try_from(spacing.ticks).ok().filter(|ticks| *ticks > 0)?;
        Some(Self { frames: spacing.scale.hz(), seconds })
    }

    /// More than `whole` frames a second, and by more than the thousandth that 30000/1001 is below 30.
    pub fn above(self, whole: u32) -> bool {
        u64::from(self.frames) * 1_000 > u64::from(whole) * 1_001 * u64::from(self.seconds)
    }

    /// Frames in a million seconds: for comparing and multiplying.
    pub fn in_million_seconds(self) -> u64 {
        u64::from(self.frames) * 1_000_000 / u64::from(self.seconds.max(1))
    }

    /// How far two rates are apart, as a ratio of at least 1 in millionths.
    fn apart(self, other: Self) -> u64 {
        let (a, b) = (self.in_million_seconds().max(1), other.in_million_seconds().max(1));
        (u128::from(a.max(b)) * 1_000_000 / u128::from(a.min(b))) as u64
    }
}

/// The rate of a source: of its grid, else what its bitstream says where the measured mean does not belie it, else the
/// mean.
pub(super) fn of_source(video: &Video<'_>) -> Rate {
    let mean = video.measured.spacing.and_then(Rate::of_spacing);
    let stated = video.track.codec.picture().and_then(|picture| picture.frame_rate);
    let stated = stated
        .map(|(frames, seconds)| Rate { frames, seconds })
        .filter(|rate| rate.frames > 0 && rate.seconds > 0 && rate.above(0) && !rate.above(240))
        .filter(|rate| mean.is_none_or(|mean| rate.apart(mean) <= 2_000_000));
    let fixed = match video.track.grid {
        Grid::Fixed(spacing) => Rate::of_spacing(spacing),
        Grid::Variable { .. } => None,
    };
    fixed.or(stated).or(mean).unwrap_or(UNKNOWN)
}

/// The constant-rate grid of rungs that do not share the source's: its rate brought below 60 (AVP-26) and to the nearest
/// usual one; keyframes as far apart as segments are long, and an even number of frames above 30 a second.
pub(super) fn regular(video: &Video<'_>, segment: Duration) -> Mode {
    let source = of_source(video);
    let divisor = (1..=u32::MAX / 64).find(|by| !divided(source, *by).above(60)).unwrap_or(1);
    let wanted = divided(source, divisor);
    let (rate, timescale) =
        USUAL.into_iter().min_by_key(|(rate, _)| rate.apart(wanted)).unwrap_or((UNKNOWN, 90_000));
    let frame = (u64::from(timescale) * u64::from(rate.seconds) / u64::from(rate.frames)) as u32;
    let step = if rate.above(30) { 2 * frame } else { frame };
    let length = segment.as_micros() * u128::from(timescale) / 1_000_000;
    let steps = ((length + u128::from(step) / 2) / u128::from(step)).clamp(1, 10_000) as u32;
    Mode::Regular { frame, timescale, gop: steps * (step / frame) }
}

fn divided(rate: Rate, by: u32) -> Rate {
    Rate { frames: rate.frames, seconds: rate.seconds.saturating_mul(by) }
}

/// The rate of a mode's grid, or the source's own.
pub(super) fn of_mode(video: &Video<'_>, mode: Mode) -> Rate {
    match mode {
        Mode::Aligned => of_source(video),
        Mode::Regular { frame, timescale, .. } => Rate { frames: timescale, seconds: frame.max(1) },
    }
}
