//! CMAF boxes: the init segment of a track and the chunk that is a part (spec/cmaf-llhls sections A and B).
//!
//! Boxes are written by `mp4-atom`, save where it would copy a payload, change a configuration record or choose
//! another version of a box than the one wanted; those are written here as they read in the standard.

pub mod chunk;
pub mod init;
mod sample_entry;

/// Why a track could not be described in boxes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BoxError {
    /// The box writer refused a value.
    #[error("box cannot be written: {0}")]
    Refused(#[from] mp4_atom::Error),
    /// A part without samples.
    #[error("a part has at least one sample")]
    Empty,
    /// A codec that has no sample entry here.
    #[error("no sample entry for {codec}")]
    NoEntry {
        /// Its RFC 6381 string.
        codec: String,
    },
}
