//! How much of a sound is noise. Pure.
//!
//! A lossy encoder keeps the waveform of what is regular, and replaces noise by noise of its own: its peaks come out
//! elsewhere and higher. What two samples do not predict of the next one is a measure of that.

use std::collections::VecDeque;

/// Products of each sample with itself and with the two before it, and of those with each other.
const PRODUCTS: usize = 6;

/// One channel's measure, over the newest samples.
#[derive(Clone, Debug)]
pub(super) struct Noise {
    /// The two samples before.
    last: [f64; 2],
    products: VecDeque<[f64; PRODUCTS]>,
    sums: [f64; PRODUCTS],
}

impl Noise {
    /// Over so many samples.
    pub(super) fn new(window: usize) -> Self {
        let products = VecDeque::from(vec![[0.0; PRODUCTS]; window.max(1)]);
        Self { last: [0.0; 2], products, sums: [0.0; PRODUCTS] }
    }

    /// Takes a sample. Returns the root mean square of what was not predicted.
    pub(super) fn push(&mut self, sample: f32) -> f32 {
        let now = f64::from(sample);
        let [before, earlier] = self.last;
        self.last = [now, before];
        let new =
            [now * now, now * before, now * earlier, before * before, before * earlier, earlier * earlier];
        self.products.push_back(new);
        let old = self.products.pop_front().unwrap_or_default();
        for ((sum, new), old) in self.sums.iter_mut().zip(new).zip(old) {
            *sum += new - old;
        }
        (unpredicted(self.sums) / self.products.len() as f64).max(0.0).sqrt() as f32
    }
}

/// Energy that the best predictor of two taps leaves: least squares.
fn unpredicted([all, near, far, before, between, earlier]: [f64; PRODUCTS]) -> f64 {
    let independent = before * earlier - between * between;
    if independent > before * earlier * 1e-9 {
        let (a, b) = (near * earlier - far * between, far * before - near * between);
        all - (a * near + b * far) / independent
    } else if before > 0.0 {
        all - near * near / before
    } else {
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(sample: impl Fn(usize) -> f32) -> f32 {
        let mut noise = Noise::new(240);
        (0..4_800).map(|n| noise.push(sample(n))).last().unwrap()
    }

    #[test]
    fn tones_are_predicted_and_noise_is_not() {
        for hz in [60.0, 440.0, 3_000.0, 12_000.0, 18_000.0f32] {
            let left = measured(|n| (2.0 * std::f32::consts::PI * hz * n as f32 / 48_000.0).sin());
            assert!(left < 0.01, "{hz} Hz: {left}");
        }
        let noise =
            |n: usize| ((n as u32).wrapping_mul(2_654_435_761).rotate_left(13) % 2_001) as f32 / 1e3 - 1.0;
        let (all, half) = (measured(noise), measured(|n| noise(n) * 0.5));
        // Even amounts up to 1 have a root mean square of 0.58.
        assert!((0.45..0.65).contains(&all) && (all / half - 2.0).abs() < 0.01, "{all}, {half}");
        assert_eq!(measured(|_| 0.0), 0.0);
    }
}
