//! H.265 / HEVC: the decoder configuration record and the sequence parameter set.

use bytes::Bytes;

use super::{CodecError, Picture};

/// A parsed `HEVCDecoderConfigurationRecord`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HevcConfig {
    /// The record as a sample entry carries it: 4-byte lengths, arrays marked complete (hvc1).
    pub record: Bytes,
    /// Bytes of a NAL unit's length prefix *in the source's* samples: 1, 2 or 4.
    pub length_size: u8,
    /// Picture parameters of the first SPS.
    pub picture: Picture,
}

impl HevcConfig {
    /// Parses the body of an `hvcC`.
    pub fn parse(_record: &Bytes) -> Result<Self, CodecError> {
        Err(CodecError::Missing { record: "hvcC", missing: "parser" })
    }

    /// `hvc1.…` by ISO/IEC 14496-15 annex E.
    pub fn rfc6381(&self) -> String {
        String::new()
    }
}
