//! What a listener's decoder makes of the encoder's output.
//!
//! Lossy coding moves peaks, by how much depends on the bitrate and on the programme. So the encoder's output is decoded
//! again, which costs a fraction of encoding it, and the limiter stays as much lower as peaks came out higher (AVP-10).
//! What is heard is measured too, to be reported (AVP-11).

use std::collections::VecDeque;

use aqueduct_common::CodecConfig;
use ebur128::{EbuR128, Mode};

use super::super::decode::Decoder;
use super::super::pcm::Pcm;
use super::super::{AudioError, RATE};
use super::factor;
use super::truepeak::{Detector, Filters};

/// Most that the limiter is lowered by, in dB.
const MOST: f64 = 6.0;
/// How fast it comes up again, in dB an access unit: 1 dB a minute.
const FORGET: f64 = 1.0 / 60.0 / 47.0;
/// Access units from the limiter to the echo: two inside the encoder, one that the limiter's delay reaches into, and the
/// one before that a decoder overlaps with.
const LAG: usize = 4;

/// Listens to what was encoded.
pub(super) struct Echo {
    decoder: Decoder,
    filters: Filters,
    detectors: Vec<Detector>,
    meter: EbuR128,
    /// In dBTP.
    ceiling: f64,
    /// How much lower the limiter stays, in dB: at the least, and now.
    least: f64,
    lower: f64,
    /// How much lower it was for the units that are still to be heard.
    before: VecDeque<f64>,
    /// The greatest peak since it was last asked for.
    peak: f32,
}

/// What was heard, in LUFS and dBTP; `None` of silence.
pub(in crate::audio) struct Heard {
    pub(in crate::audio) integrated: Option<f64>,
    pub(in crate::audio) short_term: Option<f64>,
    pub(in crate::audio) true_peak: Option<f64>,
}

impl Echo {
    /// Listens to sound that is coded with `config` and is to stay below `ceiling` dBTP; the limiter is at least `least`
    /// dB lower.
    pub(super) fn new(
        config: &CodecConfig,
        channels: usize,
        ceiling: f64,
        least: f64,
    ) -> Result<Self, AudioError> {
        let count = u32::try_from(channels).unwrap_or(2);
        Ok(Self {
            decoder: Decoder::open(config)?,
            filters: Filters::new(),
            detectors: vec![Detector::new(); channels],
            // In bins, so that a stream without end takes no more room (AVP-5).
            meter: EbuR128::new(count, RATE, Mode::I | Mode::S | Mode::HISTOGRAM)?,
            ceiling,
            least,
            lower: least,
            before: VecDeque::from(vec![least; LAG]),
            peak: 0.0,
        })
    }

    /// The limiter's ceiling, in dBTP.
    pub(super) fn limit(&self) -> f64 {
        self.ceiling - self.lower
    }

    /// Takes an access unit. Returns what is heard of it; nothing where it does not decode.
    pub(super) fn hear(&mut self, unit: &[u8]) -> Option<Pcm> {
        let heard = self.decoder.push(unit).ok().flatten()?.pcm;
        let peak = self.measure(&heard);
        self.peak = self.peak.max(peak);
        let over = 20.0 * f64::from(peak).log10() - self.ceiling;
        self.before.push_back(self.lower);
        self.before.pop_front();
        if over > 0.0 {
            // Whatever came of it since was not heard yet: only what it was lowered by then did not suffice.
            let then = self.before.iter().copied().fold(f64::INFINITY, f64::min);
            self.lower = self.lower.max(then + over).min(MOST);
        } else {
            self.lower = (self.lower - FORGET).max(self.least);
        }
        Some(heard)
    }

    /// What was heard: over all, and since this was last asked for.
    pub(super) fn heard(&mut self) -> Heard {
        let finite = |value: f64| Some(value).filter(|value| value.is_finite());
        let peak = f64::from(std::mem::take(&mut self.peak));
        // The modes that are asked for are on, so that no reading is refused.
        Heard {
            integrated: self.meter.loudness_global().ok().and_then(finite),
            short_term: self.meter.loudness_shortterm().ok().and_then(finite),
            true_peak: finite(20.0 * peak.log10()),
        }
    }

    /// Measures sound; gives its greatest peak where that matters: above the ceiling, or the greatest so far.
    fn measure(&mut self, pcm: &Pcm) -> f32 {
        let planes: Vec<&[f32]> = pcm.planes.iter().map(Vec::as_slice).collect();
        // As many channels as it was made for, or nothing is measured.
        let _ = self.meter.add_frames_planar_f32(&planes);
        let least = self.peak.min(factor(self.ceiling) as f32);
        let mut peak = 0.0f32;
        for (plane, detector) in planes.into_iter().zip(&mut self.detectors) {
            for sample in plane {
                peak = peak.max(detector.push(&self.filters, *sample, least));
            }
        }
        peak
    }
}
