//! What a ladder costs, before it runs: an estimate that the governor corrects by measuring.

use super::{Video, rate, shape};
use crate::protocol::{Mode, Preset, VideoCodec, VideoJob};

/// The preset to begin with on a machine with so many CPUs: the governor goes below it under load.
pub const fn begin_with(cpus: usize) -> Preset {
    match cpus {
        0..=3 => Preset::Superfast,
        4..=15 => Preset::Veryfast,
        _ => Preset::Faster,
    }
}

/// Thousandths of a CPU that a ladder takes in software.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cost {
    /// Decoding and scaling.
    pub source: u32,
    /// Each rung's encoder, in the order of the job.
    pub rungs: Vec<u32>,
}

impl Cost {
    /// All of it.
    pub fn total(&self) -> u32 {
        self.rungs.iter().fold(self.source, |sum, rung| sum.saturating_add(*rung))
    }
}

/// Picoseconds of one CPU for a pixel that is decoded and scaled.
const SOURCE_PICOS: u64 = 3_500;

/// Picoseconds of one CPU for a pixel that libx264 encodes with low-latency settings.
pub(crate) const fn encode_picos(preset: Preset) -> u64 {
    match preset {
        Preset::Ultrafast => 4_000,
        Preset::Superfast => 6_000,
        Preset::Veryfast => 9_000,
        Preset::Faster => 14_000,
        Preset::Fast => 21_000,
        Preset::Medium => 26_000,
    }
}

/// Times of H.264's effort that other codecs take in software.
pub(crate) const fn harder(codec: VideoCodec) -> u64 {
    match codec {
        VideoCodec::H264 => 1,
        VideoCodec::H265 | VideoCodec::Av1 => 3,
    }
}

/// Estimates what a job takes in software on a present-day CPU. Pictures differ by a factor of two either way.
pub fn cost(source: &Video<'_>, mode: Mode, job: &VideoJob) -> Cost {
    let shown = shape::shown(source);
    let millis = |pixels: u64, rate: u64, picos: u64| {
        let per_second = u128::from(pixels) * u128::from(rate) / 1_000_000 * u128::from(picos);
        u32::try_from(per_second / 1_000_000_000).unwrap_or(u32::MAX)
    };
    let pixels = |width: u32, height: u32| u64::from(width) * u64::from(height);
    let of_source = rate::of_source(source).in_million_seconds();
    let of_grid = rate::of_mode(source, mode).in_million_seconds();
    let rung = |rung: &crate::protocol::Rung| {
        let rate = if rung.half_rate { of_grid / 2 } else { of_grid };
        millis(pixels(rung.width, rung.height), rate, encode_picos(rung.preset) * harder(rung.codec))
    };
    Cost {
        source: millis(pixels(shown.width, shown.height), of_source, SOURCE_PICOS),
        rungs: job.rungs.iter().map(rung).collect(),
    }
}
