//! Time by arrival, for a source whose stamps are not to be believed (TL-9).

use super::flicks::{MILLI, SECOND};

/// Part of the distance to the arrival that each frame takes up.
const GAIN: i64 = 16;
/// Part of the change of spacing that each frame takes up.
const SPACING_GAIN: i64 = 64;
/// Farther than this from its arrival, the clock is set anew.
const LOST: i64 = SECOND;

/// A track's smoothed arrival times.
#[derive(Clone, Copy, Debug)]
pub(super) struct ArrivalClock {
    /// Axis time minus arrival time.
    bias: i64,
    last: Option<i64>,
    last_arrival: Option<i64>,
    spacing: i64,
}

impl ArrivalClock {
    /// Goes on from `last` with frames about `spacing` apart; `bias` is axis time minus arrival time.
    pub(super) const fn new(bias: i64, last: Option<i64>, spacing: i64) -> Self {
        let spacing = if spacing > 0 { spacing } else { 40 * MILLI };
        Self { bias, last, last_arrival: None, spacing }
    }

    /// The time of the frame that arrived at `at`, and whether the clock had to be set anew. `nominal` is the frame's
    /// own duration, 0 where it does not say.
    pub(super) fn place(&mut self, at: i64, nominal: i64) -> (i64, bool) {
        let target = at + self.bias;
        self.spacing = match (nominal, self.last_arrival) {
            (0, Some(before)) => {
                self.spacing + ((at - before).clamp(MILLI, LOST) - self.spacing) / SPACING_GAIN
            }
            (0, None) => self.spacing,
            (nominal, _) => nominal,
        };
        self.last_arrival = Some(at);
        let Some(last) = self.last else {
            self.last = Some(target);
            return (target, false);
        };
        let predicted = last + self.spacing;
        let distance = target - predicted;
        let (time, jumped) = if distance > LOST {
            (target, true)
        } else {
            // Never back: a burst is squeezed, a frame at a time.
            ((predicted + distance / GAIN).max(last + self.spacing / 2).max(last + 1), false)
        };
        self.last = Some(time);
        (time, jumped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jittered_arrivals_become_an_even_clock() {
        let mut clock = ArrivalClock::new(0, Some(0), 33 * MILLI);
        let mut last = 0;
        for n in 1..600i64 {
            let jitter = (n * 7 % 5 - 2) * 6 * MILLI;
            let (time, jumped) = clock.place(n * 33 * MILLI + jitter, 0);
            assert!(!jumped);
            assert!(
                (20 * MILLI..46 * MILLI).contains(&(time - last)),
                "frame {n}: {}",
                (time - last) / MILLI
            );
            assert!((time - n * 33 * MILLI).abs() < 20 * MILLI);
            last = time;
        }
    }

    #[test]
    fn an_outage_sets_it_anew_and_a_burst_does_not() {
        let mut clock = ArrivalClock::new(0, Some(0), 33 * MILLI);
        assert_eq!(clock.place(5 * SECOND, 0), (5 * SECOND, true));
        let (time, jumped) = clock.place(5 * SECOND, 0);
        assert!(!jumped && time > 5 * SECOND);
    }
}
