//! Real time for sources that have none.

use std::time::{Duration, Instant};

/// A step that is longer than this, either way, is no pause but another clock, in nanoseconds.
const STEP_MAX: i64 = 10_000_000_000;
/// Beyond this late, nothing is caught up any more: the machine slept, or the source did.
const LATE_MAX: Duration = Duration::from_secs(2);

/// Lets packets pass when their time has come.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// A moment, and the media time that belongs to it.
    anchor: Option<(Instant, i64)>,
    newest: i64,
}

impl Pace {
    /// Waits until media of this time is due.
    #[expect(clippy::disallowed_methods, reason = "the worker's loop is a shell: real time needs a clock")]
    pub(super) fn wait(&mut self, nanos: i64) {
        if let Some(wait) = self.due(nanos, Instant::now()) {
            std::thread::sleep(wait);
        }
    }

    /// How long media of this time has to wait.
    fn due(&mut self, nanos: i64, now: Instant) -> Option<Duration> {
        let steps = nanos.saturating_sub(self.newest).saturating_abs() > STEP_MAX;
        self.newest = if steps { nanos } else { self.newest.max(nanos) };
        let (at, media) = match self.anchor.filter(|_| !steps) {
            Some(anchor) => anchor,
            None => *self.anchor.insert((now, nanos)),
        };
        let ahead = u64::try_from(nanos.saturating_sub(media)).unwrap_or(0);
        let due = at + Duration::from_nanos(ahead);
        if now.saturating_duration_since(due) > LATE_MAX && nanos >= self.newest {
            self.anchor = Some((now, nanos));
            return None;
        }
        Some(due.saturating_duration_since(now)).filter(|wait| !wait.is_zero())
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "an arbitrary instant to count from")]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    #[test]
    fn media_waits_for_its_time_and_is_caught_up_within_two_seconds() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        let at = |millis: u64| start + Duration::from_millis(millis);
        assert_eq!(pace.due(5 * SECOND, at(0)), None);
        assert_eq!(pace.due(6 * SECOND, at(100)), Some(Duration::from_millis(900)));
        assert_eq!(pace.due(7 * SECOND, at(3_500)), None, "late by 1.5 s");
        assert_eq!(pace.due(8 * SECOND, at(3_500)), None);
        assert_eq!(pace.due(9 * SECOND, at(3_500)), Some(Duration::from_millis(500)));
        // A machine that slept for a minute does not play it all at once.
        assert_eq!(pace.due(10 * SECOND, at(65_000)), None);
        assert_eq!(pace.due(11 * SECOND, at(65_000)), Some(Duration::from_secs(1)));
    }

    #[test]
    fn another_clock_begins_at_once() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        assert_eq!(pace.due(0, now), None);
        assert_eq!(pace.due(95_443 * SECOND, now), None);
        assert_eq!(pace.due(95_444 * SECOND, now), Some(Duration::from_secs(1)));
        assert_eq!(pace.due(0, now), None);
        assert_eq!(pace.due(i64::MIN, now), None);
    }
}
