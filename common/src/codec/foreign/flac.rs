//! FLAC: the STREAMINFO block and a frame's block size.

use bytes::Bytes;

use super::{Bits, CodecError};

const RECORD: &str = "FLAC STREAMINFO";
const STREAM_INFO: u8 = 34;

/// What STREAMINFO says.
pub(super) struct StreamInfo {
    pub(super) record: Bytes,
    pub(super) rate: u32,
    pub(super) channels: u16,
}

/// Reads a STREAMINFO block (RFC 9639, 8.2): bare, behind its block header, or behind the stream marker too.
pub(super) fn stream_info(header: &Bytes) -> Result<StreamInfo, CodecError> {
    let block = header.strip_prefix(b"fLaC").unwrap_or(header);
    // Type 0, with or without the bit that marks the last block.
    let body = match block {
        [0 | 0x80, 0, 0, STREAM_INFO, body @ ..] => body,
        body => body,
    };
    let mut bits = Bits::new(RECORD, body);
    bits.skip(2 * 16 + 2 * 24)?; // block sizes, frame sizes
    let rate = bits.bits(20)?;
    let channels = bits.bits(3)? as u16 + 1;
    bits.skip(5 + 36 + 128)?; // bits per sample, samples, digest
    Ok(StreamInfo { record: Bytes::copy_from_slice(&body[..usize::from(STREAM_INFO)]), rate, channels })
}

/// Samples of a frame (RFC 9639, 9.1).
pub(super) fn frame_samples(frame: &[u8]) -> Result<u32, CodecError> {
    let mut bits = Bits::new("FLAC frame", frame);
    let sync = bits.bits(15)?;
    if sync != 0x7ffc {
        return Err(bits.unsupported("sync code", sync.into()));
    }
    bits.skip(1)?; // blocking strategy
    let size = bits.bits(4)?;
    bits.skip(4 + 4 + 3 + 1)?; // rate, channels, depth, reserved
    match size {
        1 => return Ok(192),
        2..=5 => return Ok(144 << size),
        8.. => return Ok(1 << size),
        _ => {}
    }
    // The frame's or sample's number, in as many bytes as its first byte has leading ones.
    let first = bits.byte()?;
    bits.skip(8 * (first.leading_ones() as usize).saturating_sub(1))?;
    match size {
        6 => Ok(bits.bits(8)? + 1),
        7 => Ok(bits.bits(16)? + 1),
        other => Err(bits.unsupported("block size", other.into())),
    }
}
