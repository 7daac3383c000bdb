//! Finds the frame grid behind rounded stamps (TL-10, RTMP-41).

use aqueduct_common::Timescale;

use super::flicks;

/// Frame rates that are snapped to, as (frames, per seconds).
const RATES: [(u32, u32); 27] = [
    (5, 1),
    (6, 1),
    (8, 1),
    (10, 1),
    (12, 1),
    (25, 2),
    (15_000, 1_001),
    (15, 1),
    (18, 1),
    (20, 1),
    (24_000, 1_001),
    (24, 1),
    (25, 1),
    (30_000, 1_001),
    (30, 1),
    (48_000, 1_001),
    (48, 1),
    (50, 1),
    (60_000, 1_001),
    (60, 1),
    (72, 1),
    (75, 1),
    (90, 1),
    (100, 1),
    (120_000, 1_001),
    (120, 1),
    (144, 1),
];

/// Fewest frames that a grid is believed from.
pub(super) const FEWEST_FRAMES: usize = 24;
/// Frames that are enough to tell 60 from 60 000/1001 frames a second in rounded milliseconds.
pub(super) const ENOUGH_FRAMES: usize = 48;
/// Largest distance of any stamp from the grid: 1.5 ms, more than the rounding of a millisecond.
const RESIDUAL_MAX: i64 = flicks::MILLI * 3 / 2;

/// A grid found in stamps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Fit {
    /// Frame duration in flicks, exact.
    pub(super) spacing: i64,
    /// Where the grid puts the first stamp, in flicks.
    pub(super) origin: i64,
}

/// Finds the grid on which all of `times` (flicks, in decode order) lie, with frames missing or not. `None` when
/// there are too few, or they lie on none.
pub(super) fn fit(times: &[i64]) -> Option<Fit> {
    if times.len() < FEWEST_FRAMES {
        return None;
    }
    let indices = indices(times)?;
    let slope = slope(&indices, times)?;
    let spacing = RATES.iter().map(|rate| spacing(*rate)).min_by_key(|spacing| (spacing - slope).abs())?;
    // Slope error below 0.1 %.
    if (spacing - slope).abs() > spacing / 1_000 {
        return None;
    }
    through(times, spacing, |n, _| indices[n])
}

/// The grid of a spacing that is known already, through all of `times`, however few. `None` when they lie on none.
pub(super) fn along(times: &[i64], spacing: i64) -> Option<Fit> {
    let first = *times.first()?;
    through(times, spacing, |_, time| (time - first + spacing / 2).div_euclid(spacing.max(1)))
}

fn through(times: &[i64], spacing: i64, index: impl Fn(usize, i64) -> i64) -> Option<Fit> {
    let first = *times.first()?;
    let residual = |(n, time): (usize, &i64)| time - first - index(n, *time).saturating_mul(spacing);
    let residuals = || times.iter().enumerate().map(residual);
    let (low, high) = (residuals().min()?, residuals().max()?);
    // The grid goes through the middle of its stamps.
    ((high - low) / 2 < RESIDUAL_MAX).then_some(Fit { spacing, origin: first + low + (high - low) / 2 })
}

/// The frame duration in flicks; exact for all of [`RATES`].
const fn spacing((frames, seconds): (u32, u32)) -> i64 {
    flicks::SECOND * seconds as i64 / frames as i64
}

/// The scale in which a frame of `spacing` flicks is whole (TL-3).
pub(super) fn timescale(spacing: i64) -> Timescale {
    [90_000, 60_000, 24_000, 48_000, 120_000]
        .into_iter()
        .find(|hz| spacing * i64::from(*hz) % flicks::SECOND == 0)
        .map_or(Timescale::VIDEO, Timescale::of)
}

/// Frames per 1 000 seconds.
pub(super) fn millifps(spacing: i64) -> u32 {
    u32::try_from((flicks::SECOND * 1_000 + spacing / 2) / spacing.max(1)).unwrap_or(u32::MAX)
}

/// The frame number of each stamp, by its distance to the one before in median steps.
fn indices(times: &[i64]) -> Option<Vec<i64>> {
    let mut steps: Vec<i64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    steps.sort_unstable();
    let median = steps[steps.len() / 2];
    if median <= 0 {
        return None;
    }
    let mut index = 0;
    let mut indices = Vec::with_capacity(times.len());
    indices.push(0);
    for pair in times.windows(2) {
        let step = (pair[1] - pair[0] + median / 2).div_euclid(median);
        if step < 1 {
            return None;
        }
        index += step;
        indices.push(index);
    }
    Some(indices)
}

/// Least-squares slope of `times` over `indices`.
fn slope(indices: &[i64], times: &[i64]) -> Option<i64> {
    let count = indices.len() as i128;
    let (mut sum_i, mut sum_t, mut sum_ii, mut sum_it) = (0i128, 0i128, 0i128, 0i128);
    for (index, time) in indices.iter().zip(times) {
        let (index, time) = (i128::from(*index), i128::from(time - times[0]));
        sum_i += index;
        sum_t += time;
        sum_ii += index * index;
        sum_it += index * time;
    }
    let below = count * sum_ii - sum_i * sum_i;
    if below == 0 {
        return None;
    }
    i64::try_from((count * sum_it - sum_i * sum_t) / below).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Stamps of a constant rate, rounded down to milliseconds as encoders do.
    fn stamps(frames: u64, seconds: u64, from: u64, count: usize) -> Vec<i64> {
        (0..count as u64).map(|n| ((from + n) * 1_000 * seconds / frames) as i64 * flicks::MILLI).collect()
    }

    #[test]
    fn a_known_spacing_is_found_again_in_few_stamps_and_no_other() {
        for (frames, seconds) in RATES {
            for from in 0..30 {
                let times = stamps(frames.into(), seconds.into(), from * 7, 3);
                let found = along(&times, spacing((frames, seconds))).unwrap();
                assert!((found.origin - times[0]).abs() <= flicks::MILLI, "{frames}/{seconds} from {from}");
            }
        }
        assert_eq!(along(&[], spacing((25, 1))), None);
        assert_eq!(along(&stamps(30, 1, 0, 5), spacing((25, 1))), None);
    }

    #[test]
    fn every_rate_is_found_again_from_48_rounded_stamps_wherever_they_start() {
        for (frames, seconds) in RATES {
            for from in 0..70 {
                let times = stamps(frames.into(), seconds.into(), from * 7, ENOUGH_FRAMES);
                let found = fit(&times).unwrap_or_else(|| panic!("{frames}/{seconds} from {from}"));
                assert_eq!(found.spacing, spacing((frames, seconds)), "{frames}/{seconds} from {from}");
                assert!((found.origin - times[0]).abs() <= flicks::MILLI);
            }
        }
    }

    #[test]
    fn flicks_and_timescales_are_exact_for_every_rate() {
        for (frames, seconds) in RATES {
            let spacing = spacing((frames, seconds));
            assert_eq!(
                spacing * i64::from(frames),
                flicks::SECOND * i64::from(seconds),
                "{frames}/{seconds}"
            );
            let scale = timescale(spacing);
            assert_eq!(
                spacing * i64::from(scale.hz()) % flicks::SECOND,
                0,
                "{frames}/{seconds} in {scale:?}"
            );
        }
        let scale = |frames, seconds| timescale(spacing((frames, seconds))).hz();
        assert_eq!(
            [scale(30_000, 1_001), scale(60_000, 1_001), scale(24_000, 1_001)],
            [90_000, 60_000, 24_000]
        );
    }

    #[test]
    fn lost_frames_leave_the_grid_as_it_is() {
        let mut times = stamps(30, 1, 0, 60);
        times.drain(20..24);
        times.remove(30);
        assert_eq!(fit(&times).map(|fit| fit.spacing), Some(spacing((30, 1))));
    }

    #[test]
    fn too_few_frames_unusual_rates_and_jitter_are_no_grid() {
        assert_eq!(fit(&stamps(30, 1, 0, FEWEST_FRAMES - 1)), None);
        assert_eq!(fit(&stamps(27, 1, 0, 60)), None);
        let mut times = stamps(30, 1, 0, 60);
        times[30] += 4 * flicks::MILLI;
        assert_eq!(fit(&times), None);
        assert_eq!(fit(&[0; 60]), None);
    }

    proptest! {
        #[test]
        fn no_stamps_panic(times in proptest::collection::vec(-1i64 << 50..1i64 << 50, 0..80)) {
            let _ = fit(&times);
        }
    }
}
