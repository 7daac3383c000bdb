//! Loudness as ITU-R BS.1770 and EBU R 128 measure it, by the `ebur128` crate.

use std::ops::Range;

use ebur128::{EbuR128, Mode};

use super::super::pcm::Pcm;
use super::super::{AudioError, RATE};
use super::normaliser::Reading;

/// Over how much signal the gated mean goes, in milliseconds (AVP-7).
const MEAN_MS: u32 = 60_000;
/// Blocks of 100 ms above the gate after which the mean is believed: 3 s (AVP-7).
const BLOCKS_MIN: u64 = 30;

/// Measures what goes by.
pub(super) struct Meter(EbuR128);

impl Meter {
    /// For so many channels at [`RATE`]. One channel counts once, as BS.1770 has it.
    pub(super) fn new(channels: usize) -> Result<Self, AudioError> {
        let mut meter =
            EbuR128::new(u32::try_from(channels).unwrap_or(2), RATE, Mode::M | Mode::S | Mode::I)?;
        meter.set_max_history(MEAN_MS)?;
        Ok(Self(meter))
    }

    /// One that tells the mean only.
    pub(super) fn of_mean(channels: usize) -> Result<Self, AudioError> {
        let mut meter = EbuR128::new(u32::try_from(channels).unwrap_or(2), RATE, Mode::I)?;
        meter.set_max_history(MEAN_MS)?;
        Ok(Self(meter))
    }

    /// Gated mean of the last minute of signal, in LUFS; `None` before there was enough.
    pub(super) fn mean(&self) -> Option<f64> {
        let enough = self.0.gating_block_count_and_energy().is_some_and(|(blocks, _)| blocks >= BLOCKS_MIN);
        self.0.loudness_global().ok().filter(|mean| enough && mean.is_finite())
    }

    /// Takes a range of samples in.
    pub(super) fn push(&mut self, pcm: &Pcm, range: Range<usize>) -> Result<(), AudioError> {
        let planes: Vec<&[f32]> = pcm.planes.iter().map(|plane| &plane[range.clone()]).collect();
        Ok(self.0.add_frames_planar_f32(&planes)?)
    }

    /// What was heard of late.
    pub(super) fn read(&self) -> Reading {
        // The modes that are asked for are on, so that no reading is refused.
        Reading {
            momentary: self.0.loudness_momentary().unwrap_or(f64::NEG_INFINITY),
            short_term: self.0.loudness_shortterm().unwrap_or(f64::NEG_INFINITY),
            mean: self.mean(),
        }
    }
}
