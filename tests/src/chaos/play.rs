//! A player's picture: what is in its buffer, when it plays, when it waits. Pure.

use std::time::Duration;

/// A little less than what was asked for will do.
const NEARLY: Duration = Duration::from_millis(50);

/// A span in which a player had no picture.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Gap {
    /// When it began.
    pub from: Duration,
    /// When a picture came.
    pub to: Duration,
    /// There had been no picture before.
    pub first: bool,
}

/// The buffer of each track and the picture that comes of them.
#[derive(Debug)]
pub struct Play {
    buffered: Vec<Duration>,
    played: Duration,
    /// Time up to which this is told.
    told: Duration,
    playing: bool,
    /// It waits since then.
    since: Duration,
    first: bool,
    /// What it wants before it plays.
    hold_back: Duration,
}

impl Play {
    /// A player that opens a stream now.
    pub fn new(now: Duration) -> Self {
        let hold_back = Duration::from_millis(600);
        Self {
            buffered: Vec::new(),
            played: Duration::ZERO,
            told: now,
            playing: false,
            since: now,
            first: true,
            hold_back,
        }
    }

    /// Follows so many tracks from now on.
    pub fn follow(&mut self, tracks: usize) {
        self.buffered = vec![self.played; tracks];
    }

    /// PART-HOLD-BACK of what it plays.
    pub fn set_hold_back(&mut self, hold_back: Duration) {
        self.hold_back = hold_back;
    }

    /// So much of a track is here.
    pub fn add(&mut self, track: usize, lasts: Duration, now: Duration) -> Option<Gap> {
        let before = self.advance(now);
        if let Some(buffered) = self.buffered.get_mut(track) {
            *buffered += lasts;
        }
        before.or(self.advance(now))
    }

    /// Lets time pass; a wait that is over.
    pub fn advance(&mut self, now: Duration) -> Option<Gap> {
        let step = now.saturating_sub(self.told);
        self.told = self.told.max(now);
        let ahead = self.buffered.iter().min()?.saturating_sub(self.played);
        if self.playing {
            self.played += step.min(ahead);
            if ahead < step {
                self.playing = false;
                self.since = now.saturating_sub(step - ahead);
            }
            return None;
        }
        if ahead + NEARLY < self.hold_back {
            return None;
        }
        self.playing = true;
        let first = std::mem::take(&mut self.first);
        Some(Gap { from: self.since, to: now, first })
    }

    /// It has no picture since then.
    pub fn waits_since(&self) -> Option<Duration> {
        (!self.playing).then_some(self.since)
    }

    /// The viewer leaves; a wait that was not over.
    pub fn leave(&mut self, now: Duration) -> Option<Gap> {
        self.advance(now).or_else(|| {
            let from = self.waits_since()?;
            Some(Gap { from, to: now, first: self.first })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn it_plays_when_both_tracks_are_there_and_waits_when_one_runs_out() {
        let mut play = Play::new(MS * 100);
        play.follow(2);
        assert_eq!(play.add(0, MS * 1_000, MS * 200), None);
        let first = Gap { from: MS * 100, to: MS * 400, first: true };
        assert_eq!(play.add(1, MS * 800, MS * 400), Some(first));
        assert_eq!(play.advance(MS * 1_100), None);
        assert_eq!(play.waits_since(), None);
        // 800 ms from 400 on: it runs out at 1,200.
        assert_eq!(play.advance(MS * 1_500), None);
        assert_eq!(play.waits_since(), Some(MS * 1_200));
        assert_eq!(play.add(1, MS * 200, MS * 1_600), None);
        play.add(0, MS * 1_000, MS * 1_700);
        let again = Gap { from: MS * 1_200, to: MS * 1_800, first: false };
        assert_eq!(play.add(1, MS * 400, MS * 1_800), Some(again));
    }

    #[test]
    fn who_leaves_while_waiting_has_waited() {
        let mut play = Play::new(Duration::ZERO);
        assert_eq!(play.leave(MS * 300), Some(Gap { from: Duration::ZERO, to: MS * 300, first: true }));
        let mut play = Play::new(Duration::ZERO);
        play.follow(1);
        play.add(0, MS * 1_000, MS);
        assert_eq!(play.leave(MS * 500), None);
        let mut play = Play::new(Duration::ZERO);
        play.follow(1);
        play.add(0, MS * 700, Duration::ZERO);
        assert_eq!(play.leave(MS * 900), Some(Gap { from: MS * 700, to: MS * 900, first: false }));
    }
}
