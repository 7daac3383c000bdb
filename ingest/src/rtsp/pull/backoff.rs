//! When a source that failed is tried again (RTSP-15).

use std::time::{Duration, Instant};

use super::fault::Fault;

/// After the first failure, the second, and so on.
const DELAYS: [Duration; 6] = [
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
    Duration::from_secs(15),
];
/// After a failure that no retry mends: the camera must not lock the account.
const HOPELESS: Duration = Duration::from_secs(30);
/// So much good media makes the next failure the first one again.
const GOOD_FOR: Duration = Duration::from_secs(60);
/// Parts of a hundred by which a delay may be longer or shorter.
const JITTER: u32 = 20;

/// The failures of one source.
#[derive(Clone, Debug, Default)]
pub(in crate::rtsp) struct Backoff {
    failures: usize,
    good_since: Option<Instant>,
}

impl Backoff {
    /// Media came at `now`.
    pub(in crate::rtsp) fn good(&mut self, now: Instant) {
        let since = *self.good_since.get_or_insert(now);
        if now.saturating_duration_since(since) >= GOOD_FOR {
            self.failures = 0;
        }
    }

    /// It failed: how long to wait. `random` spreads the sources of one camera or site.
    pub(in crate::rtsp) fn failed(&mut self, fault: &Fault, random: u32) -> Duration {
        self.good_since = None;
        let delay = match fault.is_hopeless() {
            true => HOPELESS,
            false => DELAYS[self.failures.min(DELAYS.len() - 1)],
        };
        self.failures = self.failures.saturating_add(1);
        delay * (100 - JITTER + random % (2 * JITTER + 1)) / 100
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::clock;

    #[test]
    fn delays_grow_to_fifteen_seconds_and_begin_again_after_a_minute_of_media() {
        let (mut backoff, start) = (Backoff::default(), clock());
        let wait = |backoff: &mut Backoff| backoff.failed(&Fault::Closed, JITTER).as_millis();
        let delays: Vec<_> = (0..8).map(|_| wait(&mut backoff)).collect();
        assert_eq!(delays, [500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000, 15_000]);
        backoff.good(start);
        backoff.good(start + Duration::from_secs(59));
        assert_eq!(wait(&mut backoff), 15_000);
        backoff.good(start);
        backoff.good(start + GOOD_FOR);
        assert_eq!(wait(&mut backoff), 500);
    }

    #[test]
    fn wrong_credentials_are_not_hammered_and_jitter_is_a_fifth() {
        let mut backoff = Backoff::default();
        let delays: Vec<_> = [0, JITTER, 2 * JITTER]
            .map(|random| backoff.failed(&Fault::Status(401), random).as_secs())
            .into();
        assert_eq!(delays, [24, 30, 36]);
    }
}
