//! Loudness and peaks: measured by ITU-R BS.1770, levelled live, limited (AVP-4..10).
//!
//! ```text
//! samples ─┬─▶ Meter ─▶ Normaliser ─▶ gain
//!          └──────────────────────────▶ × ─▶ Limiter ─▶ encoder ─▶ Echo ─▶ the limiter's ceiling, and what is lost
//! ```

mod echo;
mod limiter;
mod meter;
mod noise;
mod normaliser;
mod truepeak;

use aqueduct_common::CodecConfig;

use super::pcm::Pcm;
use super::{AudioError, RATE};
use crate::protocol::Loudness;
use echo::{Echo, Heard};
use limiter::Limiter;
use meter::Meter;
use normaliser::Normaliser;

/// Samples between two readings: 100 ms (AVP-5).
const STEP: usize = RATE as usize / 10;
/// Most that is made up for of what limiter and encoder take from loudness, in LU.
const LOSS_MAX: f64 = 3.0;
/// Access units from one reading of that to the next.
const LOSS_EVERY: u32 = 47;
/// Ceiling where no loudness was asked for, in dBTP.
const USUAL_CEILING: f64 = -1.0;

/// Brings sound to a loudness and keeps its peaks below a ceiling.
pub(super) struct Dynamics {
    levels: Option<Levels>,
    limiter: Limiter,
    echo: Echo,
    /// Samples that only filled the limiter since the last restart, and are not given.
    skip: usize,
}

/// Levels, to be reported.
pub(super) struct Reading {
    pub(super) heard: Heard,
    /// Toward the target, in dB.
    pub(super) gain: f64,
    /// Most that the limiter turned down, in dB.
    pub(super) reduction: f64,
}

/// What follows the loudness.
struct Levels {
    meter: Meter,
    normaliser: Normaliser,
    /// Factor of the newest sample, and of the one at the end of this step.
    gain: [f32; 2],
    /// Samples until the next reading.
    left: usize,
    /// What was given out, and what of it a listener hears: the limiter takes some, and an encoder what lies above its
    /// band.
    given: Meter,
    heard: Meter,
    /// The difference, in LU.
    loss: f64,
    /// Access units until it is read again.
    unread: u32,
}

impl Dynamics {
    /// For so many channels, encoded as `config` says with `bitrate` bits a second. Without `loudness` only peaks are
    /// limited.
    pub(super) fn new(
        loudness: Option<Loudness>,
        config: &CodecConfig,
        channels: usize,
        bitrate: u32,
    ) -> Result<Self, AudioError> {
        let levels = loudness.map(|loudness| Levels::new(loudness.target, channels)).transpose()?;
        let ceiling = loudness.map_or(USUAL_CEILING, |loudness| loudness.ceiling);
        let raise = Raise::of(bitrate, channels);
        let echo = Echo::new(config, channels, ceiling, raise.peaks)?;
        let limiter = Limiter::new(echo.limit(), raise.noise, channels);
        Ok(Self { levels, limiter, echo, skip: limiter::DELAY })
    }

    /// Takes an access unit that was made of what came out.
    pub(super) fn hear(&mut self, unit: &[u8]) {
        let Some(heard) = self.echo.hear(unit) else { return };
        self.limiter.set_ceiling(self.echo.limit());
        if let Some(levels) = &mut self.levels {
            levels.hear(&heard);
        }
    }

    /// What a listener hears, and what was done for it since this was last asked for.
    pub(super) fn read(&mut self) -> Reading {
        let gain = self.levels.as_ref().map_or(0.0, |levels| levels.normaliser.gain());
        let reduction = self.limiter.take_reduction();
        Reading { heard: self.echo.heard(), gain, reduction }
    }

    /// Begins a new stretch of sound: what was inside is lost, what was learnt of its loudness stays.
    pub(super) fn restart(&mut self) {
        self.limiter.reset();
        self.skip = limiter::DELAY;
    }

    /// Takes samples in and gives as many as are ready; the first one that comes out is the first one that went in.
    pub(super) fn push(&mut self, mut pcm: Pcm) -> Result<Pcm, AudioError> {
        pcm.sanitise();
        if let Some(levels) = &mut self.levels {
            levels.apply(&mut pcm)?;
        }
        self.limiter.apply(&mut pcm);
        let skip = self.skip.min(pcm.len());
        pcm.take(skip);
        self.skip -= skip;
        Ok(pcm)
    }

    /// Gives what is inside.
    pub(super) fn flush(&mut self) -> Pcm {
        let mut rest = Pcm::silence(self.limiter.channels(), limiter::DELAY);
        self.limiter.apply(&mut rest);
        rest.take(self.skip);
        self.restart();
        rest
    }
}

impl Levels {
    fn new(target: f64, channels: usize) -> Result<Self, AudioError> {
        let (meter, normaliser) = (Meter::new(channels)?, Normaliser::new(target));
        let (given, heard) = (Meter::of_mean(channels)?, Meter::of_mean(channels)?);
        Ok(Self {
            meter,
            normaliser,
            gain: [1.0; 2],
            left: STEP,
            given,
            heard,
            loss: 0.0,
            unread: LOSS_EVERY,
        })
    }

    /// Learns what limiter and encoder took.
    fn hear(&mut self, heard: &Pcm) {
        // As many channels as it was made for, or nothing is measured.
        let _ = self.heard.push(heard, 0..heard.len());
        self.unread -= 1;
        if self.unread == 0 {
            self.unread = LOSS_EVERY;
            if let (Some(given), Some(heard)) = (self.given.mean(), self.heard.mean()) {
                self.loss = (given - heard).clamp(0.0, LOSS_MAX);
            }
        }
    }

    /// Measures, and applies the gain that was found before: a step late, which is nothing to a measure over seconds.
    fn apply(&mut self, pcm: &mut Pcm) -> Result<(), AudioError> {
        let mut from = 0;
        while from < pcm.len() {
            let to = (from + self.left).min(pcm.len());
            self.meter.push(pcm, from..to)?;
            let [mut gain, aim] = self.gain;
            let step = (aim - gain) / self.left as f32;
            for n in from..to {
                gain += step;
                for plane in &mut pcm.planes {
                    plane[n] *= gain;
                }
            }
            self.given.push(pcm, from..to)?;
            self.gain[0] = gain;
            self.left -= to - from;
            from = to;
            if self.left == 0 {
                let mut reading = self.meter.read();
                reading.mean = reading.mean.map(|mean| mean - self.loss);
                let decibels = self.normaliser.update(&reading, STEP as f64 / f64::from(RATE));
                self.gain = [aim, factor(decibels) as f32];
                self.left = STEP;
            }
        }
        Ok(())
    }
}

/// What AAC at a bitrate makes of peaks: the limiter stays as much lower from the start, and the echo lowers it further
/// where that does not do (AVP-6, AVP-10).
#[derive(Clone, Copy, PartialEq, Debug)]
struct Raise {
    /// Bits a second of a channel from which on this holds.
    from: u32,
    /// How much higher any peak comes out, in dB.
    peaks: f64,
    /// The share of the noise around a peak that is added to it.
    noise: f64,
}

impl Raise {
    /// As `headroom.rs` of the tests measures libav's encoder: flattened noise in one channel and in two for the shares,
    /// and much limited speech for the decibels.
    const TABLE: [Self; 5] = [
        Self { from: 128_000, peaks: 0.6, noise: 1.3 },
        Self { from: 96_000, peaks: 1.5, noise: 1.3 },
        Self { from: 64_000, peaks: 2.2, noise: 1.3 },
        Self { from: 48_000, peaks: 2.0, noise: 2.0 },
        Self { from: 0, peaks: 2.6, noise: 2.0 },
    ];

    fn of(bitrate: u32, channels: usize) -> Self {
        let each = bitrate / u32::try_from(channels).unwrap_or(1).max(1);
        let [.., least] = Self::TABLE;
        Self::TABLE.into_iter().find(|row| each >= row.from).unwrap_or(least)
    }
}

/// The factor of so many decibels.
fn factor(decibels: f64) -> f64 {
    10f64.powf(decibels / 20.0)
}

#[cfg(test)]
mod tests;
