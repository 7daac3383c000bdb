//! From the source's rate to 48 kHz.

use av::software::resampling;
use ffmpeg_next as av;

use super::pcm::{FORMAT, Pcm, layout};
use super::{AudioError, RATE};
use crate::sys::AvError;

/// A resampler of one rate. Its output begins at the instant of its first input sample: libav holds back what its
/// filter has to see first, and says nothing of it in the samples.
pub(super) struct Resampler {
    rate: u32,
    channels: usize,
    /// `None` where there is nothing to do.
    context: Option<resampling::Context>,
}

impl Resampler {
    /// From `rate` Hz.
    pub(super) fn new(rate: u32, channels: usize) -> Result<Self, AudioError> {
        let of = |rate| (FORMAT, layout(channels), rate);
        let ((from, from_layout, rate), (to, to_layout, to_rate)) = (of(rate), of(RATE));
        let context = match rate {
            RATE => None,
            _ => Some(
                resampling::Context::get(from, from_layout, rate, to, to_layout, to_rate).map_err(refused)?,
            ),
        };
        Ok(Self { rate, channels, context })
    }

    /// The rate it was made for.
    pub(super) const fn rate(&self) -> u32 {
        self.rate
    }

    /// Takes samples in, gives those that are ready.
    pub(super) fn push(&mut self, pcm: Pcm) -> Result<Pcm, AudioError> {
        let Some(context) = &mut self.context else { return Ok(pcm) };
        if pcm.len() == 0 {
            return Ok(pcm);
        }
        // Room for all that can come: what went in, what was held back, and a little more.
        let room = pcm.len() as u64 * u64::from(RATE) / u64::from(self.rate.max(1)) + 1_024;
        let mut out = av::frame::Audio::new(FORMAT, room as usize, layout(self.channels));
        context.run(&pcm.frame(self.rate), &mut out).map_err(refused)?;
        Ok(Pcm::of_frame(&out))
    }

    /// Gives what it holds back, as if silence followed.
    pub(super) fn flush(&mut self) -> Result<Pcm, AudioError> {
        let Some(context) = &mut self.context else { return Ok(Pcm::empty(self.channels)) };
        let mut out = av::frame::Audio::new(FORMAT, 4_096, layout(self.channels));
        context.flush(&mut out).map_err(refused)?;
        Ok(Pcm::of_frame(&out))
    }
}

fn refused(error: av::Error) -> AudioError {
    AvError::new("resampling sound", error.to_string()).into()
}
