//! Percentiles of measured times.

use std::time::Duration;

/// Sorted times, asked for percentiles.
#[derive(Clone, Debug, Default)]
pub struct Spread {
    sorted: Vec<Duration>,
}

impl Spread {
    /// Sorts.
    pub fn new(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self { sorted: times }
    }

    /// How many times were measured.
    pub fn len(&self) -> usize {
        self.sorted.len()
    }

    /// The least time that `percent` of all do not exceed (nearest rank), in milliseconds; 0 of none.
    pub fn ms(&self, percent: f64) -> f64 {
        let rank = (percent / 100.0 * self.sorted.len() as f64).ceil() as usize;
        let at = rank.clamp(1, self.sorted.len().max(1)) - 1;
        self.sorted.get(at).map_or(0.0, |time| time.as_secs_f64() * 1_000.0)
    }
}

/// The middle of some numbers; 0 of none.
pub fn median(numbers: &[f64]) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    match sorted.len() {
        0 => 0.0,
        odd if odd % 2 == 1 => sorted[odd / 2],
        even => f64::midpoint(sorted[even / 2 - 1], sorted[even / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let spread = Spread::new((1..=100).rev().map(Duration::from_millis).collect());
        assert_eq!((spread.ms(50.0), spread.ms(95.0), spread.ms(100.0)), (50.0, 95.0, 100.0));
        assert_eq!(Spread::new(vec![Duration::from_millis(7)]).ms(1.0), 7.0);
        assert_eq!(Spread::default().ms(50.0), 0.0);
    }

    #[test]
    fn a_median_of_an_even_number_lies_between() {
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[]), 0.0);
    }
}
