//! How far a worker may fall behind before its food is thinned: pure.
//!
//! Live never waits. Beyond [`BEHIND_MAX`] of media on its way through the worker, source frames lose their payload up
//! to the next sync frame that finds it caught up (AVP-35): the worker repeats its last picture for each, which costs
//! little, and no rung has a hole.

use std::time::Duration;

/// Most media on its way through a worker.
pub const BEHIND_MAX: Duration = Duration::from_millis(500);
/// What a worker has to come down to before it is fed fully again.
const BEHIND_AGAIN: Duration = Duration::from_millis(250);
/// Most media that a worker may be behind before it gives anything: it opens its codecs. A hang is told before that.
const BEHIND_SILENT: Duration = Duration::from_secs(12);
/// Media beyond what it was handed at its start that it may be behind when it begins to give.
const MARGIN_AT_START: Duration = Duration::from_secs(1);
/// What it has to catch up with each frame that it gets, or its start counts as too slow: a fifth of real time or more.
const CATCH_UP: Duration = Duration::from_millis(7);

/// Decides frame by frame whether the worker gets the payload.
#[derive(Debug, Default)]
pub struct Throttle {
    /// It has caught up once.
    caught_up: bool,
    /// What it may be behind until then.
    at_start: Duration,
    thinning: bool,
    dropped: u64,
}

impl Throttle {
    /// Another worker begins: it has to catch up first.
    pub const fn restart(&mut self) {
        self.caught_up = false;
        self.at_start = Duration::ZERO;
        self.thinning = false;
    }

    /// Whether a frame goes with its payload, where `behind` is on its way already. `sync` is whether decoding of
    /// the pictures can start with it; a frame of sound never is, and waits for the pictures' next. `gives`: the worker
    /// has given something out since it began, so that being behind means something.
    pub fn admit(&mut self, sync: bool, behind: Duration, gives: bool) -> bool {
        self.caught_up |= gives && behind <= BEHIND_AGAIN;
        let most = match (self.caught_up, gives) {
            (true, _) => BEHIND_MAX,
            (false, true) => {
                self.at_start = self.at_start.saturating_sub(CATCH_UP);
                self.at_start.max(BEHIND_MAX)
            }
            (false, false) => {
                self.at_start = self.at_start.max(behind + MARGIN_AT_START);
                BEHIND_SILENT
            }
        };
        if self.thinning && sync && behind <= BEHIND_AGAIN {
            self.thinning = false;
        }
        self.thinning |= behind > most;
        self.dropped += u64::from(self.thinning);
        !self.thinning
    }

    /// It has caught up with what it was handed at its start.
    pub const fn has_caught_up(&self) -> bool {
        self.caught_up
    }

    /// Frames without their payload so far.
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn beyond_half_a_second_payloads_go_until_a_sync_frame_finds_it_caught_up() {
        let mut throttle = Throttle::default();
        assert!(throttle.admit(true, ms(0), true));
        assert!(throttle.admit(false, ms(500), true));
        assert!(!throttle.admit(false, ms(501), true));
        assert!(!throttle.admit(false, ms(100), true), "what follows needs what was left out");
        assert!(!throttle.admit(true, ms(300), true), "still behind");
        assert!(!throttle.admit(false, ms(0), true));
        assert!(throttle.admit(true, ms(250), true));
        assert!(throttle.admit(false, ms(260), true));
        assert_eq!(throttle.dropped(), 4);
    }

    #[test]
    fn while_a_worker_starts_it_gets_what_came_before_and_time_to_catch_up() {
        let mut throttle = Throttle::default();
        for behind in 0..180 {
            assert!(throttle.admit(behind == 0, ms(behind * 33), false), "it opens its codecs");
        }
        for behind in 0..171 {
            assert!(throttle.admit(false, ms(6_000 - behind * 33), true), "it catches up");
        }
        assert!(throttle.admit(false, ms(200), true), "it has caught up");
        assert!(!throttle.admit(false, ms(600), true), "and from now on the limit holds");
        throttle.restart();
        assert!(throttle.admit(true, ms(2_000), false));
    }

    #[test]
    fn one_that_does_not_catch_up_is_thinned_in_the_end() {
        let mut throttle = Throttle::default();
        assert!(throttle.admit(true, ms(3_000), false));
        let whole = (0..2_000).take_while(|_| throttle.admit(false, ms(2_900), true)).count();
        assert!((100..400).contains(&whole), "{whole}");
    }
}
