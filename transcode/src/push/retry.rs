//! When a target that failed is tried again. Pure.

use std::time::{Duration, Instant};

const FIRST: Duration = Duration::from_secs(1);
const MOST: Duration = Duration::from_secs(30);
/// A connection that held so long begins the count afresh.
const HELD: Duration = Duration::from_secs(20);

/// Doubles the wait from failure to failure.
#[derive(Clone, Copy, Debug)]
pub(super) struct Retry {
    next: Duration,
    live: Option<Instant>,
}

impl Default for Retry {
    fn default() -> Self {
        Self { next: FIRST, live: None }
    }
}

impl Retry {
    /// The connection came about.
    pub(super) const fn live(&mut self, now: Instant) {
        self.live = Some(now);
    }

    /// It failed. Returns how long to wait; `chance` spreads those that failed together over a quarter of it.
    pub(super) fn failed(&mut self, now: Instant, chance: u64) -> Duration {
        if self.live.take().is_some_and(|live| now.saturating_duration_since(live) >= HELD) {
            self.next = FIRST;
        }
        let wait = self.next;
        self.next = (wait * 2).min(MOST);
        wait - wait * u32::try_from(chance % 256).unwrap_or_default() / 1_024
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "any instant will do")]
    fn waits_double_up_to_half_a_minute_and_begin_afresh_after_a_connection_that_held() {
        let (mut retry, start) = (Retry::default(), Instant::now());
        let mut waits: Vec<u64> = (0..7).map(|_| retry.failed(start, 0).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30]);
        // One that broke at once does not count as held.
        retry.live(start);
        assert_eq!(retry.failed(start + Duration::from_secs(5), 0).as_secs(), 30);
        retry.live(start);
        waits = (0..2).map(|_| retry.failed(start + HELD, 0).as_secs()).collect();
        assert_eq!(waits, [1, 2]);
        let spread = Retry::default().failed(start, 255);
        assert!(spread > Duration::from_millis(740) && spread < Duration::from_millis(760), "{spread:?}");
    }
}
