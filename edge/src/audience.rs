//! Who asks for a playlist, and who wants to know.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, TryLockError};
use std::time::{Duration, Instant};

use aqueduct_common::StreamName;

use crate::viewers::Viewers;

/// How often at most it is told that a sleeping playlist is asked for, however many ask.
const AGAIN: Duration = Duration::from_millis(200);

/// Hears which playlists are asked for, so that what nobody watches need not be made.
pub trait Demand: Send + Sync {
    /// The playlist that its publisher gave this `demand` was asked for, by so many different viewers of the last 30 s.
    /// None means that nobody has asked for it in that time. Never blocks.
    ///
    /// A playlist that is out is told of once a second. One that sleeps is told of as soon as somebody asks, and once a
    /// second while somebody is held for it.
    fn asked(&self, stream: &StreamName, demand: u8, viewers: u32);
}

/// Who asks for one playlist.
#[derive(Debug)]
pub(crate) struct Audience {
    demand: u8,
    viewers: Viewers,
    /// Somebody asked since it was last told.
    asked: AtomicBool,
    /// Viewers were told, and since then not that there are none.
    told: AtomicBool,
    /// When it was last told that the sleeping playlist is asked for.
    called: Mutex<Option<Instant>>,
}

impl Audience {
    pub(crate) fn new(demand: u8) -> Self {
        Self {
            demand,
            viewers: Viewers::coarse(),
            asked: AtomicBool::default(),
            told: AtomicBool::default(),
            called: Mutex::default(),
        }
    }

    /// What is reported of it.
    pub(crate) fn demand(&self) -> u8 {
        self.demand
    }

    /// Somebody asked.
    pub(crate) fn saw(&self, viewer: u64) {
        self.viewers.saw(viewer);
        if !self.asked.load(Relaxed) {
            self.asked.store(true, Relaxed);
        }
    }

    /// Somebody asked while it sleeps: how many do, if that is to be told now.
    pub(crate) fn call(&self, now: Instant) -> Option<u32> {
        let mut called = match self.called.try_lock() {
            Ok(called) => called,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            // Another one is telling it.
            Err(TryLockError::WouldBlock) => return None,
        };
        if called.is_some_and(|called| now.saturating_duration_since(called) < AGAIN) {
            return None;
        }
        *called = Some(now);
        self.told.store(true, Relaxed);
        Some(self.viewers.count().max(1))
    }

    /// Brings the count forward to `seconds` since any fixed moment. Answers it where somebody has asked since the last
    /// time, or is `held` for it, and once when everybody has gone.
    pub(crate) fn turn(&self, seconds: u64, held: bool) -> Option<u32> {
        self.viewers.turn(seconds);
        let asked = self.asked.swap(false, Relaxed) || held;
        if !asked && !self.told.load(Relaxed) {
            return None;
        }
        // Whoever is held may have asked longer ago than the count reaches.
        let viewers = self.viewers.count().max(u32::from(asked));
        self.told.store(viewers > 0, Relaxed);
        (asked || viewers == 0).then_some(viewers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_while_somebody_asks_and_once_when_all_have_gone() {
        let audience = Audience::new(16);
        assert_eq!(audience.turn(0, false), None, "nobody yet");
        audience.saw(1 << 60);
        audience.saw(1 << 50);
        audience.saw(1 << 60);
        assert_eq!(audience.turn(1, false), Some(2));
        assert_eq!(audience.turn(14, false), None, "nobody asked since");
        audience.saw(1 << 60);
        assert_eq!(audience.turn(15, false), Some(2));
        let later: Vec<_> =
            (16..60).filter_map(|second| Some((second, audience.turn(second, false)?))).collect();
        assert_eq!(later, [(40, 0)]);
        assert_eq!(audience.turn(60, true), Some(1), "somebody is still held");
        assert_eq!(audience.turn(61, false), Some(0));
        assert_eq!(audience.turn(62, false), None);
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a moment to count from")]
    fn a_crowd_before_a_sleeping_playlist_calls_five_times_a_second() {
        let (audience, begin) = (Audience::new(16), Instant::now());
        let calls = (0..2_000u64).filter(|n| {
            audience.saw(n << 54);
            audience.call(begin + Duration::from_millis(n / 2)).is_some()
        });
        assert_eq!(calls.count(), 5);
        assert_eq!(audience.call(begin + Duration::from_secs(2)), Some(audience.viewers.count()));
    }
}
