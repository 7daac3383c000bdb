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
        if average > self.stated.average || fallen {
            self.stated.average = raised(average, 5);
        }
        self.stated.average = self.stated.average.min(self.stated.peak);
        self.stated != before
    }

    /// What to state.
    pub fn stated(&self) -> Rate {
        self.stated
    }
}

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
