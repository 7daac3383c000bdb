//! H.264 / AVC: the decoder configuration record and the sequence parameter set.

use bytes::Bytes;

use super::{CodecError, Picture};

/// A parsed `AVCDecoderConfigurationRecord`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AvcConfig {
    /// The record as a sample entry carries it: 4-byte lengths, complete with the high-profile extension.
    pub record: Bytes,
    /// Bytes of a NAL unit's length prefix *in the source's* samples: 1, 2 or 4.
    pub length_size: u8,
    /// Sequence parameter sets, with their NAL header.
    pub sps: Vec<Bytes>,
    /// Picture parameter sets, with their NAL header.
    pub pps: Vec<Bytes>,
    /// Picture parameters of the first SPS.
    pub picture: Picture,
}

impl AvcConfig {
    /// Parses the body of an `avcC`, as RTMP sequence headers carry it.
    pub fn parse(_record: &Bytes) -> Result<Self, CodecError> {
        Err(CodecError::Missing { record: "avcC", missing: "parser" })
    }

    /// `avc1.PPCCLL` from bytes 1 to 3 of the SPS.
    pub fn rfc6381(&self) -> String {
        String::new()
    }
}
