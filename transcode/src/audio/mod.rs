//! Sound: decoding, resampling, loudness, limiting, AAC.
//!
//! ```text
//! Frame ─▶ decode, channel map ─▶ align to the stamps ─▶ 48 kHz ─▶ loudness, limiter ─▶ AAC-LC ─▶ Frame
//! ```
//!
//! Rule zero: no step changes how many samples there are, and each step's delay is taken off the stamps to the sample.
//! Output is contiguous from the first access unit to the next break. Nothing here knows of pictures.

mod align;
mod chain;
mod decode;
mod encode;
mod loudness;
mod pcm;
mod resample;

use aqueduct_common::codec::CodecError;

pub use chain::Chain;

use crate::sys;

/// The rate that sound is processed and encoded at, in Hz.
pub(crate) const RATE: u32 = 48_000;

/// Why sound cannot be transcoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AudioError {
    /// The source track is no sound, or no codec that is decoded here.
    #[error("track with codec {codec} is not sound that can be decoded")]
    NotSound {
        /// Its RFC 6381 string.
        codec: String,
    },
    /// libav refused.
    #[error("sound: {0}")]
    Libav(String),
    /// The encoder's own configuration cannot be read.
    #[error("the AAC encoder's configuration: {0}")]
    Record(#[from] CodecError),
    /// The loudness meter refused.
    #[error("the loudness meter: {0}")]
    Meter(String),
    /// The encoder gave sound before it was given any.
    #[error("the AAC encoder gave sound before it was given any")]
    NotBegun,
}

impl From<sys::AvError> for AudioError {
    fn from(error: sys::AvError) -> Self {
        Self::Libav(error.to_string())
    }
}

impl From<ebur128::Error> for AudioError {
    fn from(error: ebur128::Error) -> Self {
        Self::Meter(error.to_string())
    }
}

#[cfg(test)]
mod tests;
