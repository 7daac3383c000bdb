//! What a session, or all sessions of a stream, add up to (QOE-19: numerators and denominators, never ratios).

/// Sums over time spent. Milliseconds throughout.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Sums {
    /// Playing.
    pub play: f64,
    /// Waiting while playing was meant (QOE-18).
    pub stall: f64,
    /// How often that was.
    pub stalls: f64,
    /// Switches to a better rendition.
    pub up: f64,
    /// Switches to a worse one.
    pub down: f64,
    /// Frames that were not shown.
    pub dropped: f64,
    /// Frames that came.
    pub frames: f64,
    /// Bitrate on screen times playing, in kilobits a second times milliseconds.
    pub bitrate: f64,
    /// Playing while the bitrate was known.
    pub bitrate_known: f64,
    /// Latency times playing.
    pub latency: f64,
    /// Playing while the latency was known.
    pub latency_known: f64,
}

impl Sums {
    fn zip(self, other: Self, with: impl Fn(f64, f64) -> f64) -> Self {
        Self {
            play: with(self.play, other.play),
            stall: with(self.stall, other.stall),
            stalls: with(self.stalls, other.stalls),
            up: with(self.up, other.up),
            down: with(self.down, other.down),
            dropped: with(self.dropped, other.dropped),
            frames: with(self.frames, other.frames),
            bitrate: with(self.bitrate, other.bitrate),
            bitrate_known: with(self.bitrate_known, other.bitrate_known),
            latency: with(self.latency, other.latency),
            latency_known: with(self.latency_known, other.latency_known),
        }
    }

    /// Both together.
    pub fn add(&mut self, other: Self) {
        *self = self.zip(other, |a, b| a + b);
    }

    /// What came since `before`; a counter that went back has not moved.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        self.zip(before, |now, then| (now - then).max(0.0))
    }

    /// The share of `most` milliseconds at most: nobody lives through more time than there was.
    #[must_use]
    pub fn within(self, most: f64) -> Self {
        let spent = self.play + self.stall;
        if spent <= most {
            return self;
        }
        let share = most / spent;
        self.zip(self, |value, _| value * share)
    }

    /// Share of the time in which playing was meant that went by waiting; `None` before there was any.
    pub fn rebuffer_ratio(&self) -> Option<f64> {
        let meant = self.play + self.stall;
        (meant > 0.0).then(|| self.stall / meant)
    }

    /// Mean bitrate on screen, in bits a second.
    pub fn bits_per_second(&self) -> Option<f64> {
        (self.bitrate_known > 0.0).then(|| self.bitrate / self.bitrate_known * 1_000.0)
    }

    /// Mean latency in milliseconds.
    pub fn mean_latency(&self) -> Option<f64> {
        (self.latency_known > 0.0).then(|| self.latency / self.latency_known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_of_the_sums() {
        // The rule's worked example.
        let mut both = Sums { play: 600_000.0, stall: 2_000.0, ..Sums::default() };
        assert!((both.rebuffer_ratio().unwrap() - 0.0033).abs() < 0.0001);
        both.add(Sums { play: 10_000.0, stall: 5_000.0, ..Sums::default() });
        assert!((both.rebuffer_ratio().unwrap() - 0.01135).abs() < 0.0001);
    }

    #[test]
    fn nobody_lives_through_more_time_than_there_was() {
        let claimed = Sums { play: 90_000.0, stall: 10_000.0, bitrate: 9e6, ..Sums::default() };
        let taken = claimed.within(50_000.0);
        assert_eq!((taken.play, taken.stall, taken.bitrate), (45_000.0, 5_000.0, 4.5e6));
        let back = Sums::default().since(claimed);
        assert_eq!(back, Sums::default());
    }
}
