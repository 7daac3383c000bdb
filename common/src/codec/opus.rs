//! Opus: the identification header and packet durations.

use bytes::Bytes;

use super::CodecError;

/// A parsed Opus identification header.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OpusConfig {
    /// The body of `dOps`.
    pub record: Bytes,
    /// Channels.
    pub channels: u8,
    /// Samples at 48 kHz that a decoder discards at the start.
    pub pre_skip: u16,
}

impl OpusConfig {
    /// Parses an `OpusHead` (RFC 7845, 5.1) as Enhanced RTMP carries it; empty means stereo (RTMP-55).
    pub fn parse_head(_head: &Bytes) -> Result<Self, CodecError> {
        Err(CodecError::Missing { record: "OpusHead", missing: "parser" })
    }
}

/// Samples at 48 kHz in a packet, by its TOC byte (RFC 6716, 3.1); `None` for an empty or malformed packet.
pub fn packet_samples(_packet: &[u8]) -> Option<u32> {
    None
}
