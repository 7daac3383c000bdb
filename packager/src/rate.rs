//! Measured bit rates, stated so that they stay true (LLHLS-33).

use crate::playlist::multivariant::Rate;

/// Measures one rendition's segments.
#[derive(Clone, Debug)]
pub struct Meter {
    /// Segments shorter than this say nothing about the peak: half a target duration.
    shortest: u64,
    peak: u64,
    bits: u128,
    micros: u128,
    segments: u64,
    stated: Rate,
}

impl Meter {
    /// A meter for segments of about `target` microseconds.
    pub fn new(target: u64) -> Self {
        Self { shortest: target / 2, peak: 0, bits: 0, micros: 0, segments: 0, stated: Rate::default() }
    }

    /// Measures a segment; answers whether what is stated had to change.
    pub fn push(&mut self, bytes: u64, micros: u64) -> bool {
        let bits = u128::from(bytes) * 8;
        self.bits += bits;
        self.micros += u128::from(micros);
        self.segments += 1;
        if micros > 0 && (micros >= self.shortest || self.segments == 1) {
            let rate = bits * 1_000_000 / u128::from(micros);
            self.peak = self.peak.max(u64::try_from(rate).unwrap_or(u64::MAX));
        }
        let before = self.stated;
        if self.peak > self.stated.peak {
            self.stated.peak = raised(self.peak, 15);
        }
        let average = u64::try_from(self.bits * 1_000_000 / self.micros.max(1)).unwrap_or(u64::MAX);
        let fallen = self.segments.is_multiple_of(30) && average + average / 4 < self.stated.average;
        // Players load the list anew for each change, and 110 % of what is stated is true enough (LLHLS-33).
        if average > self.stated.average + self.stated.average / 20 || fallen {
            self.stated.average = raised(average, 5);
        }
        self.stated.average = self.stated.average.min(self.stated.peak);
        self.stated != before
    }

    /// What to state of what nobody promised.
    pub fn stated(&self) -> Rate {
        self.stated
    }

    /// What to state of a rendition whose encoder keeps to `promised` bits a second, at `samples` in 1 000 seconds of
    /// `row` bytes each in the boxes (AVP-30). What was measured counts where it is more than that.
    pub fn promised(&self, promised: u64, samples: u64, row: u64) -> Rate {
        let boxes = BOXES + samples * row * 8 / 1_000;
        let peak = (promised + (promised / 50).max(boxes)).div_ceil(1_000) * 1_000;
        let peak = if self.peak > peak { self.stated.peak } else { peak };
        let measured = self.stated.average;
        Rate { peak, average: if measured == 0 { peak } else { measured.min(peak) } }
    }
}

/// Bits a second of boxes besides what they hold of each sample: 140 bytes in each of ten parts.
const BOXES: u64 = 10 * 140 * 8;

/// `rate` and some percent more, in whole kilobits.
fn raised(rate: u64, percent: u64) -> u64 {
    (rate.saturating_add(rate / 100 * percent)).div_ceil(1_000) * 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stated_peak_covers_what_was_measured_and_moves_only_when_it_must() {
        let mut meter = Meter::new(1_000_000);
        assert!(meter.push(125_000, 1_000_000));
        assert_eq!(meter.stated(), Rate { peak: 1_150_000, average: 1_050_000 });
        assert!(!meter.push(126_000, 1_000_000));
        assert!(meter.push(200_000, 1_000_000));
        assert_eq!(meter.stated().peak, 1_840_000);
        // A stub of a segment with one large frame is no peak.
        meter.push(60_000, 50_000);
        assert_eq!(meter.stated().peak, 1_840_000);
    }

    #[test]
    fn a_promise_is_stated_from_the_start_and_as_long_as_it_is_kept() {
        let mut meter = Meter::new(1_000_000);
        let stated = |meter: &Meter| meter.promised(2_000_000, 30_000, 16);
        assert_eq!(stated(&meter), Rate { peak: 2_040_000, average: 2_040_000 });
        meter.push(200_000, 1_000_000);
        assert_eq!(stated(&meter), Rate { peak: 2_040_000, average: 1_680_000 });
        meter.push(300_000, 1_000_000);
        assert_eq!(stated(&meter).peak, 2_760_000, "what is stated has to be true");
        // The boxes of a sound are more than 2 % of it.
        assert_eq!(Meter::new(1_000_000).promised(128_000, 46_875, 8).peak, 143_000);
    }

    #[test]
    fn a_stream_of_changing_segments_states_seldom_something_new() {
        let mut meter = Meter::new(1_000_000);
        let mut random = 1_u32;
        let mut changes = 0;
        for _ in 0..600 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            changes += usize::from(meter.push(400_000 + u64::from(random >> 13), 1_000_000));
        }
        assert!(changes <= 6, "{changes}");
    }

    #[test]
    fn the_stated_average_falls_when_the_stream_does() {
        let mut meter = Meter::new(1_000_000);
        for _ in 0..10 {
            meter.push(500_000, 1_000_000);
        }
        let before = meter.stated().average;
        for _ in 0..50 {
            meter.push(50_000, 1_000_000);
        }
        assert!(meter.stated().average < before);
        assert!(meter.stated().average <= meter.stated().peak);
    }
}
