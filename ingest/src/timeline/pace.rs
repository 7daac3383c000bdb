//! How far a publisher is ahead of real time (RTMP-69).

use std::time::Duration;

use aqueduct_common::MediaTime;

use super::flicks::{self, SECOND};

/// What may come ahead of real time.
const BURST: i64 = 5 * SECOND;
/// A publisher that was late may catch up by this much on top.
const CATCH_UP: i64 = 30 * SECOND;
/// Steps beyond this are jumps of a clock, not media.
const STEP_MAX: i64 = 10 * SECOND;

/// Weighs source time against arrival time.
#[derive(Debug, Default)]
pub struct Pacer {
    last: Option<(i64, i64)>,
    lead: i64,
}

impl Pacer {
    /// A frame of source time `time` arrived at `at`, both in flicks. Where stamps jumped or media is missing before it,
    /// it `breaks`, and its step counts for no more than the time that went by.
    pub(super) fn note(&mut self, time: i64, at: i64, breaks: bool) {
        let (time_before, at_before) = self.last.unwrap_or((time, at));
        let step = time - time_before;
        let media = if (0..=STEP_MAX).contains(&step) { step } else { 0 };
        let media = if breaks { media.min(at - at_before) } else { media };
        // A track that lies a little behind the other does not turn time back.
        let newest = if (-STEP_MAX..0).contains(&step) { time_before } else { time };
        self.lead = (self.lead + media - (at - at_before)).max(-CATCH_UP);
        self.last = Some((newest, at));
    }

    /// The same for a frame that arrived `at` after the first one.
    pub fn note_at(&mut self, time: i64, at: Duration, breaks: bool) {
        self.note(time, MediaTime::from_duration(at).ticks, breaks);
    }

    /// How long to wait before reading on; zero within the burst.
    pub fn wait(&self) -> Duration {
        let over = (self.lead - BURST).max(0);
        Duration::from_micros(u64::try_from(flicks::micros(over)).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timeline::flicks::MILLI;

    #[test]
    fn five_seconds_may_come_at_once_and_no_more() {
        let mut pacer = Pacer::default();
        for n in 0..=50 {
            pacer.note(n * 100 * MILLI, 0, false);
        }
        assert_eq!(pacer.wait(), Duration::ZERO);
        pacer.note(7 * SECOND, 0, false);
        assert_eq!(pacer.wait(), Duration::from_secs(2));
        pacer.note(7 * SECOND, 2 * SECOND, false);
        assert_eq!(pacer.wait(), Duration::ZERO);
    }

    #[test]
    fn real_time_interleaved_tracks_and_jumps_never_wait() {
        let mut pacer = Pacer::default();
        for n in 0..1_000i64 {
            let back = if n % 2 == 0 { 0 } else { 500 * MILLI };
            let jump = if n > 500 { 3_600 * SECOND } else { 0 };
            pacer.note(n * 20 * MILLI - back + jump, n * 20 * MILLI, false);
            assert_eq!(pacer.wait(), Duration::ZERO, "frame {n}");
        }
    }

    #[test]
    fn a_break_is_not_media_that_came_early() {
        let mut pacer = Pacer::default();
        for n in 0..100i64 {
            pacer.note(n * (9 * SECOND + 40 * MILLI), n * 40 * MILLI, true);
            pacer.note(n * (9 * SECOND + 40 * MILLI) + 20 * MILLI, n * 40 * MILLI + 20 * MILLI, false);
            assert_eq!(pacer.wait(), Duration::ZERO, "break {n}");
        }
    }

    #[test]
    fn a_late_publisher_catches_up_by_thirty_seconds_and_the_burst() {
        let mut pacer = Pacer::default();
        pacer.note(0, 0, false);
        pacer.note(40 * MILLI, 60 * SECOND, false);
        for n in 1..=360 {
            pacer.note(n * 100 * MILLI, 60 * SECOND, false);
        }
        assert!(pacer.wait() > Duration::from_millis(500) && pacer.wait() < Duration::from_millis(1_500));
    }
}
