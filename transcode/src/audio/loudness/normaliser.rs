//! The live normaliser: from loudness to gain, causally (AVP-7). Pure.

/// Least and greatest gain, in dB.
const GAIN: (f64, f64) = (-15.0, 12.0);
/// Fastest fall and rise, in dB a second.
const DOWN: f64 = 2.0;
const UP: f64 = 0.3;
/// Fastest rise until the target was reached once: there is nothing yet that it would stand out from, and a quiet
/// programme is to be at its target within 20 s (AVP-45).
const UP_FIRST: f64 = 1.0;
/// A gain that is off by no more than this, in dB, is not heard to be off: it does not set out.
const DEAD_ZONE: f64 = 1.0;
/// Once on its way it goes on until it is this near.
const ARRIVED: f64 = 0.2;
/// In the dead zone the gain creeps, in dB a second: too slow to be heard, and the mean over a programme comes out
/// right.
const CREEP: f64 = 0.05;
/// Sound this much above the target, in LU, over three seconds is turned down at once, so fast in dB a second.
const TOO_LOUD: f64 = 6.0;
const FAST_DOWN: f64 = 6.0;
/// Below this, in LUFS, and this much below the mean, in LU, is silence or room noise: the gain stays.
const QUIET: f64 = -50.0;
const QUIET_BELOW: f64 = 20.0;

/// Loudness of what came in, in LUFS.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Reading {
    /// Over 400 ms.
    pub(super) momentary: f64,
    /// Over 3 s.
    pub(super) short_term: f64,
    /// Gated mean of the last minute of signal; `None` before there was enough.
    pub(super) mean: Option<f64>,
}

/// Follows the loudness of a programme with a gain.
#[derive(Clone, Debug)]
pub(super) struct Normaliser {
    target: f64,
    gain: f64,
    moving: bool,
    /// The target was reached once.
    reached: bool,
}

impl Normaliser {
    /// Aims at `target` LUFS, and begins with a gain of nothing.
    pub(super) const fn new(target: f64) -> Self {
        Self { target, gain: 0.0, moving: false, reached: false }
    }

    /// The gain in dB.
    pub(super) const fn gain(&self) -> f64 {
        self.gain
    }

    /// Takes a reading, `seconds` after the last one. Returns the gain in dB.
    pub(super) fn update(&mut self, reading: &Reading, seconds: f64) -> f64 {
        let over = reading.short_term + self.gain - (self.target + TOO_LOUD);
        if over > 0.0 {
            self.gain = (self.gain - over.min(FAST_DOWN * seconds)).max(GAIN.0);
        } else if let Some(mean) = reading.mean
            && reading.momentary >= QUIET.max(mean - QUIET_BELOW)
        {
            self.approach((self.target - mean).clamp(GAIN.0, GAIN.1), seconds);
        }
        self.gain
    }

    fn approach(&mut self, wanted: f64, seconds: f64) {
        let error = wanted - self.gain;
        self.moving = error.abs() > if self.moving { ARRIVED } else { DEAD_ZONE };
        let (down, up) = match self.moving {
            true => (DOWN, if self.reached { UP } else { UP_FIRST }),
            false => (CREEP, CREEP),
        };
        self.reached |= !self.moving;
        self.gain += error.clamp(-down * seconds, up * seconds);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: f64 = 0.1;

    /// Feeds readings of a steady level for so many seconds; the mean is known.
    fn steady(normaliser: &mut Normaliser, level: f64, seconds: f64) -> Vec<f64> {
        let reading = Reading { momentary: level, short_term: level, mean: Some(level) };
        (0..(seconds / STEP) as usize).map(|_| normaliser.update(&reading, STEP)).collect()
    }

    fn slopes(gains: &[f64]) -> impl Iterator<Item = f64> + '_ {
        gains.windows(2).map(|pair| (pair[1] - pair[0]) / STEP)
    }

    #[test]
    fn it_rises_and_falls_no_faster_than_it_may() {
        let mut normaliser = Normaliser::new(-23.0);
        let first = steady(&mut normaliser, -30.0, 20.0);
        assert!((first[first.len() - 1] - 7.0).abs() < 0.2);
        assert!(slopes(&first).all(|slope| (0.0..=UP_FIRST + 1e-9).contains(&slope)));
        let down = steady(&mut normaliser, -26.0, 20.0);
        assert!(slopes(&down).all(|slope| (-DOWN - 1e-9..=0.0).contains(&slope)));
        let up = steady(&mut normaliser, -33.0, 40.0);
        assert!((up[up.len() - 1] - 10.0).abs() < 0.2);
        assert!(slopes(&up).all(|slope| (0.0..=UP + 1e-9).contains(&slope)), "slow the second time");
    }

    #[test]
    fn gain_has_its_limits() {
        for (level, gain) in [(-45.0, 12.0), (-2.0, -15.0)] {
            let gains = steady(&mut Normaliser::new(-23.0), level, 120.0);
            assert!((gains[gains.len() - 1] - gain).abs() < 0.2, "{level}");
        }
    }

    #[test]
    fn silence_and_room_noise_leave_the_gain_alone() {
        let mut normaliser = Normaliser::new(-23.0);
        let before = *steady(&mut normaliser, -26.0, 30.0).last().unwrap();
        for (momentary, mean) in [(f64::NEG_INFINITY, -30.0), (-51.0, -40.0), (-47.0, -26.0)] {
            for _ in 0..600 {
                let reading = Reading { momentary, short_term: momentary, mean: Some(mean) };
                assert_eq!(normaliser.update(&reading, STEP), before);
            }
        }
    }

    #[test]
    fn nothing_happens_before_the_mean_is_known_but_the_loud_is_turned_down() {
        let mut normaliser = Normaliser::new(-23.0);
        let quiet = Reading { momentary: -30.0, short_term: -30.0, mean: None };
        assert_eq!(normaliser.update(&quiet, STEP), 0.0);
        let loud = Reading { momentary: -10.0, short_term: -10.0, mean: None };
        for _ in 0..30 {
            normaliser.update(&loud, STEP);
        }
        assert!((normaliser.update(&loud, STEP) + 7.0).abs() < 1e-9, "to 6 LU above and no further");
    }

    #[test]
    fn within_the_dead_zone_it_creeps() {
        let mut normaliser = Normaliser::new(-23.0);
        let gains = steady(&mut normaliser, -23.9, 30.0);
        assert!(slopes(&gains).all(|slope| slope <= CREEP + 1e-9));
        assert!((gains[gains.len() - 1] - 0.9).abs() < 0.05);
    }
}
