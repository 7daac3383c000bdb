//! Opus: the identification header and packet durations.

use bytes::Bytes;

use super::CodecError;
use super::bits::Bits;

const RECORD: &str = "OpusHead";
/// Pre-skip that the encoder uses when nothing is said: 6.5 ms.
const PRE_SKIP: u16 = 312;

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
    ///
    /// Only mapping family 0, one or two channels, is accepted.
    pub fn parse_head(head: &Bytes) -> Result<Self, CodecError> {
        if head.is_empty() {
            return Ok(Self::build(2, PRE_SKIP, 48_000, 0));
        }
        let mut fields = Bits::new(RECORD, head);
        if fields.bytes(8)? != b"OpusHead" {
            return Err(CodecError::Missing { record: RECORD, missing: "magic signature" });
        }
        let version = fields.byte()?;
        if version >> 4 != 0 {
            return Err(fields.unsupported("version", version.into()));
        }
        let channels = fields.byte()?;
        let pre_skip = (fields.bits(16)? as u16).swap_bytes();
        let rate = fields.bits(32)?.swap_bytes();
        let gain = (fields.bits(16)? as u16).swap_bytes();
        let family = fields.byte()?;
        if family != 0 {
            return Err(fields.unsupported("channel mapping family", family.into()));
        }
        if !matches!(channels, 1 | 2) {
            return Err(fields.unsupported("channel count", channels.into()));
        }
        Ok(Self::build(channels, pre_skip, rate, gain))
    }

    /// Parses the body of a `dOps` (Opus in ISOBMFF, 4.3.2), as [`record`](Self::record) holds it.
    pub fn parse_record(record: &Bytes) -> Result<Self, CodecError> {
        let mut fields = Bits::new("dOps", record);
        let version = fields.byte()?;
        if version != 0 {
            return Err(fields.unsupported("version", version.into()));
        }
        let channels = fields.byte()?;
        if !matches!(channels, 1 | 2) {
            return Err(fields.unsupported("channel count", channels.into()));
        }
        let pre_skip = fields.bits(16)? as u16;
        let (rate, gain) = (fields.bits(32)?, fields.bits(16)? as u16);
        let family = fields.byte()?;
        if family != 0 {
            return Err(fields.unsupported("channel mapping family", family.into()));
        }
        Ok(Self::build(channels, pre_skip, rate, gain))
    }

    /// Writes `dOps`: version 0, mapping family 0, and the header's fields in big-endian order.
    fn build(channels: u8, pre_skip: u16, rate: u32, gain: u16) -> Self {
        let mut record = vec![0, channels];
        record.extend(pre_skip.to_be_bytes());
        record.extend(rate.to_be_bytes());
        record.extend(gain.to_be_bytes());
        record.push(0);
        Self { record: record.into(), channels, pre_skip }
    }
}

/// Samples at 48 kHz in a packet, by its TOC byte (RFC 6716, 3.1); `None` for an empty or malformed packet.
pub fn packet_samples(packet: &[u8]) -> Option<u32> {
    const LONGEST: u32 = 5_760; // 120 ms
    let (toc, rest) = packet.split_first()?;
    let frames = match toc & 3 {
        0 => 1,
        1 if rest.len() % 2 == 1 => return None, // two frames of equal length
        1 | 2 => 2,
        _ => u32::from(rest.first()? & 0x3f),
    };
    let samples = frames * frame_samples(toc >> 3);
    (1..=LONGEST).contains(&samples).then_some(samples)
}

/// Samples of one frame by `config` (RFC 6716, table 2): SILK, hybrid, CELT.
const fn frame_samples(config: u8) -> u32 {
    match config {
        0..12 => [480, 960, 1_920, 2_880][config as usize % 4],
        12..16 => [480, 960][config as usize % 2],
        _ => [120, 240, 480, 960][config as usize % 4],
    }
}

#[cfg(test)]
pub(super) mod tests;
