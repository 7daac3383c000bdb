//! How steadily a source's media comes: how far arrivals scatter, and how its clock runs beside ours (QOE section 4).

use std::collections::VecDeque;

use super::flicks::{MILLI, SECOND};

/// Scatter is told of so much of the past,
const SCATTER_OVER: i64 = 10 * SECOND;
/// of which so many frames are looked at, at most.
const FRAMES: usize = 2_048;
/// The clock's rate is told of five minutes, a point a second.
const POINTS: usize = 300;
/// What comes at once when a session begins says nothing of its way: so much is left out.
const START: i64 = 2 * SECOND;
/// Seconds without a frame after which those before tell of nothing that is.
const QUIET: u32 = 10;
/// Media that is placed so far off what came before begins anew: its stamps jumped.
const JUMP: i64 = SECOND;

/// What is known of the frames of one track.
#[derive(Debug, Default)]
pub(super) struct Steadiness {
    /// Arrival and (source time − arrival) of late.
    frames: VecDeque<(i64, i64)>,
    /// The earliest frame of each second: when it came, and how early. A queue on the way only ever delays, so the
    /// earliest ones tell the clock.
    earliest: VecDeque<(i64, i64)>,
    this_second: Option<(i64, i64)>,
    /// When the first frame came.
    began: Option<i64>,
    /// Seconds since a frame came.
    quiet: u32,
    /// (source time − arrival) of the last frame.
    last: Option<i64>,
}

impl Steadiness {
    /// A frame of source time `time` came at `at`, both in flicks on the session's axis.
    pub(super) fn note(&mut self, time: i64, at: i64) {
        let lead = time.saturating_sub(at);
        if self.last.is_some_and(|last| last.abs_diff(lead) > JUMP as u64) {
            *self = Self::default();
        }
        self.last = Some(lead);
        if at - *self.began.get_or_insert(at) < START {
            return;
        }
        if self.frames.len() >= FRAMES {
            self.frames.pop_front();
        }
        self.frames.push_back((at, lead));
        while self.frames.front().is_some_and(|(old, _)| at - old > SCATTER_OVER) {
            self.frames.pop_front();
        }
        if self.this_second.is_none_or(|(_, most)| lead > most) {
            self.this_second = Some((at, lead));
        }
    }

    /// A second is over.
    pub(super) fn second(&mut self) {
        let Some(point) = self.this_second.take() else {
            self.quiet += 1;
            if self.quiet >= QUIET {
                self.frames.clear();
            }
            return;
        };
        self.quiet = 0;
        if self.earliest.len() >= POINTS {
            self.earliest.pop_front();
        }
        self.earliest.push_back(point);
    }

    /// How far apart the earliest and the latest frames of the last ten seconds come, one in a hundred left out on either
    /// side, in flicks; `None` before they are five seconds.
    pub(super) fn scatter(&self) -> Option<i64> {
        let (first, last) = (self.frames.front()?.0, self.frames.back()?.0);
        if last - first < SCATTER_OVER / 2 {
            return None;
        }
        let mut leads: Vec<i64> = self.frames.iter().map(|(_, lead)| *lead).collect();
        let out = leads.len() / 100;
        let newest = leads.len() - 1 - out;
        let early = *leads.select_nth_unstable(newest).1;
        let late = *leads.select_nth_unstable(out).1;
        Some(early - late)
    }

    /// How much faster than ours the source's clock runs, in millionths: the slope of the least squares over five minutes,
    /// `None` before they are over. A way that became longer or shorter once is no clock: either half has to tell the same,
    /// and the lesser one counts.
    pub(super) fn drift_ppm(&self) -> Option<i32> {
        if self.earliest.len() < POINTS {
            return None;
        }
        let slope = |from: usize, count: usize| slope(self.earliest.iter().skip(from).take(count));
        let (whole, halves) = (slope(0, POINTS)?, [slope(0, POINTS / 2)?, slope(POINTS / 2, POINTS / 2)?]);
        let alike = halves.iter().all(|half| half.signum() == whole.signum());
        let least = halves.iter().fold(whole.abs(), |least, half| least.min(half.abs()));
        Some(if alike { (least * whole.signum()) as i32 } else { 0 })
    }
}

/// The slope of the least squares through points, in millionths.
fn slope<'a>(points: impl Iterator<Item = &'a (i64, i64)> + Clone) -> Option<f64> {
    let origin = *points.clone().next()?;
    // In milliseconds, five minutes of which are exact.
    let points = points.map(|(at, lead)| (span(*at, origin.0), span(*lead, origin.1)));
    let count = points.clone().count() as f64;
    let (x_sum, y_sum) = points.clone().fold((0.0, 0.0), |(x, y), point| (x + point.0, y + point.1));
    let (x_mean, y_mean) = (x_sum / count, y_sum / count);
    let (above, below) = points.fold((0.0, 0.0), |(above, below), (x, y)| {
        (above + (x - x_mean) * (y - y_mean), below + (x - x_mean) * (x - x_mean))
    });
    (below > 0.0).then(|| (above / below * 1e6).clamp(-1e6, 1e6))
}

/// In milliseconds.
fn span(to: i64, from: i64) -> f64 {
    to.saturating_sub(from) as f64 / MILLI as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 30 frames a second for so long, each delayed as told.
    fn run(seconds: i64, ppm: i64, delay: impl Fn(i64) -> i64) -> Steadiness {
        let mut steadiness = Steadiness::default();
        for n in 0..seconds * 30 {
            let time = n * SECOND / 30;
            let drifted = time + time / 1_000_000 * ppm;
            steadiness.note(drifted, time + delay(n) * MILLI);
            if n % 30 == 29 {
                steadiness.second();
            }
        }
        steadiness
    }

    #[test]
    fn what_comes_at_once_at_the_start_is_no_scatter_and_what_has_ended_neither() {
        // Two seconds that a server had kept come within a tenth of one.
        let burst = run(12, 0, |n| if n < 60 { -n * 33 } else { -2_000 });
        assert_eq!(burst.scatter(), Some(0));
        let mut ended = run(12, 0, |n| n % 7 * 20);
        assert!(ended.scatter() > Some(0));
        for _ in 0..=QUIET {
            ended.second();
        }
        assert_eq!(ended.scatter(), None);
    }

    #[test]
    fn a_way_that_became_longer_once_is_no_drift() {
        for step in [100, -100] {
            let told = run(320, 0, |n| 200 + n * 7 % 13 + if n > 160 * 30 { step } else { 0 }).drift_ppm();
            assert!(told.is_some_and(|ppm| ppm.abs() < 30), "{told:?}");
        }
    }

    #[test]
    fn scatter_is_that_of_the_network_without_single_strays() {
        assert_eq!(run(12, 0, |_| 40).scatter(), Some(0));
        assert_eq!(run(4, 0, |_| 40).scatter(), None, "too short to tell");
        let scatter = run(12, 0, |n| n * 7 % 13 * 10).scatter().unwrap() / MILLI;
        assert_eq!(scatter, 120);
        assert_eq!(run(12, 0, |n| if n == 200 { 700 } else { 20 }).scatter(), Some(0));
        // A burst each second: what waited comes at once.
        let bursts = run(12, 0, |n| 500 - n % 15 * 33).scatter().unwrap() / MILLI;
        assert!((450..=470).contains(&bursts), "{bursts}");
    }

    #[test]
    fn drift_is_told_after_five_minutes_and_through_a_network_that_scatters() {
        assert_eq!(run(299, 300, |_| 0).drift_ppm(), None);
        for ppm in [-1_200, -300, 0, 80, 300] {
            let told = run(320, ppm, |n| (n * 7_919 % 61) + if n % 900 < 60 { 300 } else { 0 });
            let told = i64::from(told.drift_ppm().unwrap());
            assert!((told - ppm).abs() <= 25 + ppm.abs() / 10, "{ppm}: {told}");
        }
    }

    #[test]
    fn stamps_that_jump_begin_anew() {
        let mut steadiness = run(310, 0, |_| 10);
        steadiness.note(1_000 * SECOND, 310 * SECOND);
        assert_eq!((steadiness.scatter(), steadiness.drift_ppm()), (None, None));
    }
}
