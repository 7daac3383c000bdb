//! A true-peak limiter with 5 ms of look-ahead (AVP-9). Pure.
//!
//! What each sample may be multiplied with follows from the greatest peak over the look-ahead. Released slowly and then
//! averaged over as long, that is the gain: it falls as a smooth curve and has arrived before the peak does, so that no
//! peak gets through. Noise gets more room, as an encoder behind raises its peaks (AVP-10).

use std::collections::VecDeque;

use super::super::RATE;
use super::super::pcm::Pcm;
use super::factor;
use super::noise::Noise;
use super::truepeak::{self, Detector, Filters};

/// Samples from input to output: 5 ms.
pub(super) const DELAY: usize = RATE as usize * 5 / 1_000;
/// Samples that are looked ahead; the rest of the delay is the detector's.
const AHEAD: usize = DELAY - truepeak::DELAY - 1;
/// Two averages of this length in a row reach as far as the look-ahead.
const HALF: usize = AHEAD / 2 + 1;
/// Time constants of the release in seconds: after a single peak, and where peaks come one after another.
const RELEASE: (f64, f64) = (0.080, 0.200);
/// Time constant in seconds of what counts as one after another.
const DENSITY: f64 = 0.5;

/// Keeps the true peaks of all channels together below a ceiling.
pub(super) struct Limiter {
    ceiling: f32,
    /// The share of noise that is added to peaks.
    raised: f32,
    filters: Filters,
    detectors: Vec<Detector>,
    noises: Vec<Noise>,
    /// The samples on their way, for each channel.
    delayed: Vec<VecDeque<f32>>,
    /// Peak of the interval before.
    last_peak: f32,
    greatest: SlidingGreatest,
    release: Release,
    smooth: [Average; 2],
    /// The least gain since it was last asked for.
    deepest: f64,
}

impl Limiter {
    /// With a ceiling in dBTP, for so many channels. To peaks as much of the noise around them is added as `raised` says.
    pub(super) fn new(ceiling: f64, raised: f64, channels: usize) -> Self {
        Self {
            ceiling: factor(ceiling) as f32,
            raised: raised as f32,
            filters: Filters::new(),
            detectors: vec![Detector::new(); channels],
            noises: vec![Noise::new(AHEAD); channels],
            delayed: vec![VecDeque::from(vec![0.0; DELAY]); channels],
            last_peak: 0.0,
            greatest: SlidingGreatest::default(),
            release: Release::default(),
            smooth: [Average::new(), Average::new()],
            deepest: 1.0,
        }
    }

    /// Most that it turned down since this was last asked for, in dB.
    pub(super) fn take_reduction(&mut self) -> f64 {
        -20.0 * std::mem::replace(&mut self.deepest, 1.0).log10()
    }

    /// Another ceiling in dBTP, for what comes from now on.
    pub(super) fn set_ceiling(&mut self, ceiling: f64) {
        self.ceiling = factor(ceiling) as f32;
    }

    /// Channels that it was made for.
    pub(super) const fn channels(&self) -> usize {
        self.detectors.len()
    }

    /// Forgets what is inside.
    pub(super) fn reset(&mut self) {
        self.detectors.fill(Detector::new());
        self.noises.fill(Noise::new(AHEAD));
        self.delayed.fill(VecDeque::from(vec![0.0; DELAY]));
        (self.last_peak, self.greatest, self.release) = (0.0, SlidingGreatest::default(), Release::default());
        self.smooth = [Average::new(), Average::new()];
    }

    /// Replaces samples by those that went in [`DELAY`] before, limited.
    pub(super) fn apply(&mut self, pcm: &mut Pcm) {
        // Noise is never more than the peaks that it is part of.
        let matters = self.ceiling / (1.0 + self.raised);
        for n in 0..pcm.len() {
            let (mut peak, mut noise) = (0.0f32, 0.0f32);
            for (channel, plane) in pcm.planes.iter().enumerate() {
                peak = peak.max(self.detectors[channel].push(&self.filters, plane[n], matters));
                noise = noise.max(self.noises[channel].push(plane[n]));
            }
            // A peak lies between two samples: both are turned down for it.
            let both = peak.max(std::mem::replace(&mut self.last_peak, peak));
            let greatest = self.greatest.next(both);
            let room = 1.0 + self.raised * noise / greatest.max(self.ceiling);
            let may = if greatest * room > self.ceiling { self.ceiling / (greatest * room) } else { 1.0 };
            let released = self.release.next(may);
            let [first, second] = &mut self.smooth;
            let gain = second.next(first.next(released));
            self.deepest = self.deepest.min(gain);
            for (plane, delayed) in pcm.planes.iter_mut().zip(&mut self.delayed) {
                delayed.push_back(plane[n]);
                plane[n] = delayed.pop_front().unwrap_or_default() * gain as f32;
            }
        }
    }
}

/// The greatest of the last [`AHEAD`] values and this one.
#[derive(Debug, Default)]
struct SlidingGreatest {
    /// Values that no later one has passed, with their numbers; falling.
    falling: VecDeque<(usize, f32)>,
    count: usize,
}

impl SlidingGreatest {
    fn next(&mut self, value: f32) -> f32 {
        while self.falling.back().is_some_and(|(_, kept)| *kept <= value) {
            self.falling.pop_back();
        }
        self.falling.push_back((self.count, value));
        if self.falling.front().is_some_and(|(number, _)| number + AHEAD < self.count) {
            self.falling.pop_front();
        }
        self.count += 1;
        self.falling.front().map_or(0.0, |(_, greatest)| *greatest)
    }
}

/// Falls at once, rises exponentially: the slower, the more often there was something to limit.
#[derive(Debug)]
struct Release {
    gain: f64,
    density: f64,
}

impl Default for Release {
    fn default() -> Self {
        Self { gain: 1.0, density: 0.0 }
    }
}

impl Release {
    fn next(&mut self, may: f32) -> f64 {
        let may = f64::from(may);
        let limits = f64::from(u8::from(may < 1.0));
        self.density += (limits - self.density) / (DENSITY * f64::from(RATE));
        if may < self.gain {
            self.gain = may;
        } else if self.gain < 1.0 {
            let constant = RELEASE.0 + (RELEASE.1 - RELEASE.0) * self.density;
            self.gain += (may - self.gain) / (constant * f64::from(RATE));
            if self.gain > 1.0 - 1e-9 {
                self.gain = 1.0;
            }
        }
        self.gain
    }
}

/// The mean of the last [`HALF`] values.
#[derive(Debug)]
struct Average {
    values: VecDeque<f64>,
    sum: f64,
}

impl Average {
    fn new() -> Self {
        Self { values: VecDeque::from(vec![1.0; HALF]), sum: HALF as f64 }
    }

    fn next(&mut self, value: f64) -> f64 {
        self.values.push_back(value);
        self.sum += value - self.values.pop_front().unwrap_or(1.0);
        self.sum / HALF as f64
    }
}
