//! How old what was read of a source is, and when its failure is told. Pure.

use std::time::{Duration, Instant};

/// While a source cannot be used that is said again so often: a list of who was cut off may stay the same for weeks
/// otherwise, and nobody notices.
const AGAIN: Duration = Duration::from_secs(3_600);

/// One source.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fresh {
    /// When it was last read well, with news or without; at first, when this node began.
    read: Instant,
    /// When its failure was last told, as long as it lasts.
    told: Option<Instant>,
}

impl Fresh {
    pub(super) fn new(now: Instant) -> Self {
        Self { read: now, told: None }
    }

    /// It was read well. Answers whether it had failed before.
    pub(super) fn good(&mut self, now: Instant) -> bool {
        self.read = now;
        self.told.take().is_some()
    }

    /// It could not be used. Answers whether that is to be told now.
    pub(super) fn bad(&mut self, now: Instant) -> bool {
        let due = self.told.is_none_or(|told| now.saturating_duration_since(told) >= AGAIN);
        if due {
            self.told = Some(now);
        }
        due
    }

    /// How long ago it was last read well.
    pub(super) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_told_at_once_and_every_hour_until_it_is_over() {
        let begun = crate::site::now();
        let mut fresh = Fresh::new(begun);
        let at = |seconds| begun + Duration::from_secs(seconds);
        let told: Vec<u64> = (5..8_000).step_by(5).filter(|second| fresh.bad(at(*second))).collect();
        assert_eq!(told, [5, 3_605, 7_205]);
        assert_eq!(fresh.age(at(8_000)), Duration::from_secs(8_000));
        assert!(fresh.good(at(8_000)) && !fresh.good(at(8_005)));
        assert_eq!(fresh.age(at(8_010)), Duration::from_secs(5));
        assert!(fresh.bad(at(8_010)), "another failure is told at once");
    }
}
