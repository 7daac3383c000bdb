//! When a source that was lost is tried again (pure).

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::Duration;

/// The first pause, and the longest: a camera's (RTSP-15). A source that comes up while it is waited for, as a stream of
/// another server does, is missed for no longer.
const FIRST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(15);
/// A source that lived this long was well: the next pause is the first again.
const WELL: Duration = Duration::from_secs(10);

/// Pauses that double, each a quarter shorter or longer by chance, so that many sources of one server that restarts do not
/// come back together.
#[derive(Debug)]
pub(crate) struct Retry {
    failures: u32,
    chance: u64,
}

impl Retry {
    /// Nothing was lost yet.
    pub(crate) fn new() -> Self {
        Self::with_chance(RandomState::new().build_hasher().finish())
    }

    const fn with_chance(chance: u64) -> Self {
        Self { failures: 0, chance: chance | 1 }
    }

    /// How long to wait behind a source that lived for so long.
    pub(crate) fn after(&mut self, lived: Duration) -> Duration {
        if lived >= WELL {
            self.failures = 0;
        }
        let pause = FIRST.saturating_mul(1 << self.failures.min(16)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        // xorshift: any spread will do.
        self.chance ^= self.chance << 13;
        self.chance ^= self.chance >> 7;
        self.chance ^= self.chance << 17;
        let percent = 75 + u32::try_from(self.chance % 51).unwrap_or_default();
        pause * percent / 100
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_quarter_of_a_minute_and_begin_anew_behind_a_good_time() {
        for chance in 1..200 {
            let mut retry = Retry::with_chance(chance);
            let pauses: Vec<_> = (0..10).map(|_| retry.after(Duration::ZERO).as_millis()).collect();
            for (pause, nominal) in pauses.iter().zip([250, 500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000])
            {
                assert!((nominal * 75 / 100..=nominal * 125 / 100).contains(pause), "{pauses:?}");
            }
            assert!(retry.after(Duration::from_secs(11)).as_millis() <= 313);
            assert!(retry.after(Duration::from_secs(1)).as_millis() >= 375);
        }
    }

    #[test]
    fn two_sources_do_not_keep_step() {
        let pauses = |chance| {
            let mut retry = Retry::with_chance(chance);
            (0..8).map(|_| retry.after(Duration::ZERO)).collect::<Vec<_>>()
        };
        assert_ne!(pauses(11), pauses(12_345));
    }
}
