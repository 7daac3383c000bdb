//! Peaks between samples, by four-fold oversampling (ITU-R BS.1770, annex 2; AVP-9).

use std::f64::consts::PI;

/// Samples that each point between two of them is made of.
const TAPS: usize = 16;
/// Points in a sample's interval, the sample itself included.
const PHASES: usize = 4;
/// A Kaiser window's shape: ripples of some −70 dB.
const BETA: f64 = 7.0;
/// How many samples a peak is told after its interval's first sample came.
pub(super) const DELAY: usize = TAPS / 2;

/// One channel's detector.
#[derive(Clone, Debug)]
pub(super) struct Detector {
    /// Twice the history, so that any window of it is one slice.
    history: [f32; 2 * TAPS],
    at: usize,
    /// The two newest points, to find a top between points.
    points: [f32; 2],
    /// Samples since the last one that could make a peak of 1.
    calm: usize,
}

/// The filters of the points between samples, and the most that any of them makes of samples of 1.
#[derive(Clone, Debug)]
pub(super) struct Filters {
    phases: [[f32; TAPS]; PHASES - 1],
    gain: f32,
}

impl Filters {
    pub(super) fn new() -> Self {
        let mut phases = [[0.0; TAPS]; PHASES - 1];
        for (n, filter) in phases.iter_mut().enumerate() {
            let fraction = (n + 1) as f64 / PHASES as f64;
            let taps: Vec<f64> = (0..TAPS)
                .map(|tap| {
                    // Distance of the sample from the point; the interval's first sample is the eighth.
                    let x = tap as f64 - (DELAY - 1) as f64 - fraction;
                    let reach = TAPS as f64 / 2.0;
                    let window = bessel(BETA * (1.0 - (x / reach).powi(2)).max(0.0).sqrt()) / bessel(BETA);
                    (PI * x).sin() / (PI * x) * window
                })
                .collect();
            let sum: f64 = taps.iter().sum();
            filter.iter_mut().zip(taps).for_each(|(out, tap)| *out = (tap / sum) as f32);
        }
        let gain = phases.iter().map(|filter| filter.iter().map(|tap| tap.abs()).sum()).fold(1.0, f32::max);
        Self { phases, gain }
    }
}

impl Detector {
    pub(super) const fn new() -> Self {
        Self { history: [0.0; 2 * TAPS], at: 0, points: [0.0; 2], calm: 2 * TAPS }
    }

    /// Takes a sample. Returns the peak of the interval that began [`DELAY`] samples ago, or 0 where it is below
    /// `least`.
    pub(super) fn push(&mut self, filters: &Filters, sample: f32, least: f32) -> f32 {
        self.history[self.at] = sample;
        self.history[self.at + TAPS] = sample;
        self.at = (self.at + 1) % TAPS;
        self.calm = if sample.abs() * filters.gain >= least { 0 } else { self.calm + 1 };
        if self.calm > TAPS {
            self.points = [0.0; 2];
            return 0.0;
        }
        let mut window = [0.0; TAPS];
        window.copy_from_slice(&self.history[self.at..self.at + TAPS]);
        let mut peak = self.point(window[DELAY - 1]);
        for filter in &filters.phases {
            let point = filter.iter().zip(&window).map(|(tap, sample)| tap * sample).sum();
            peak = peak.max(self.point(point));
        }
        peak
    }

    /// Takes the next point. Returns the top at the one before it, by a parabola through three.
    fn point(&mut self, point: f32) -> f32 {
        let [first, middle] = self.points;
        self.points = [middle, point];
        let bend = first - 2.0 * middle + point;
        let is_top = (middle - first) * (point - middle) < 0.0 && bend.abs() > f32::EPSILON;
        let top = if is_top { middle - (first - point).powi(2) / (8.0 * bend) } else { middle };
        top.abs().max(middle.abs())
    }
}

/// The modified Bessel function of order 0.
fn bessel(x: f64) -> f64 {
    let mut term = 1.0;
    let mut sum = 1.0;
    for n in 1..32 {
        term *= (x / 2.0 / f64::from(n)).powi(2);
        sum += term;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The greatest peak told of a tone of amplitude 1, in dB.
    fn told(frequency: f64, phase: f64) -> f64 {
        let (filters, mut detector) = (Filters::new(), Detector::new());
        let tone = |n: usize| (2.0 * PI * frequency * n as f64 / 48_000.0 + phase).sin() as f32;
        let peaks: Vec<f32> = (0..4_800).map(|n| detector.push(&filters, tone(n), 0.0)).collect();
        20.0 * f64::from(peaks[64..].iter().copied().fold(0.0, f32::max)).log10()
    }

    #[test]
    fn peaks_between_samples_are_told_within_a_fraction_of_a_decibel() {
        // AVP-9: an error below 0.3 dB. A quarter of the rate at 45 degrees shows 3 dB less at its samples.
        for frequency in [997.0, 6_000.0, 8_000.0, 12_000.0, 16_000.0, 18_000.0] {
            for eighth in 0..8 {
                let error = told(frequency, f64::from(eighth) * PI / 8.0);
                assert!(error.abs() < 0.3, "{frequency} Hz, {eighth}/8: {error:.2} dB");
            }
        }
    }
}
