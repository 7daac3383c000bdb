//! Frames that begin with a sync word and describe themselves: MP2, MP3, AC-3, E-AC-3.

use super::{Bits, CodecError};

/// What a frame's header says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Frame {
    pub(super) rate: u32,
    pub(super) channels: u16,
    /// Decoded samples; 0 where it adds channels to the frame before it.
    samples: usize,
    /// Bytes, header included; 0 where it does not say.
    bytes: usize,
}

/// Decoded samples of all frames of a packet; `None` where its first frame is malformed.
pub(super) fn samples(packet: &[u8], read: fn(&[u8]) -> Result<Frame, CodecError>) -> Option<usize> {
    let mut total = read(packet).ok()?.samples;
    let mut rest = packet;
    loop {
        let Ok(frame) = read(rest) else { return Some(total) };
        rest = match rest.get(frame.bytes..) {
            Some(rest) if frame.bytes > 0 => rest,
            _ => return Some(total),
        };
        total += read(rest).map_or(0, |frame| frame.samples);
    }
}

/// The header of an MPEG audio frame, layer II.
pub(super) fn mp2(packet: &[u8]) -> Result<Frame, CodecError> {
    const KILOBITS: [u32; 14] = [32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384];
    mpeg(packet, 2, KILOBITS)
}

/// The header of an MPEG audio frame, layer III.
pub(super) fn mp3(packet: &[u8]) -> Result<Frame, CodecError> {
    const KILOBITS: [u32; 14] = [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320];
    mpeg(packet, 1, KILOBITS)
}

/// The header of an MPEG audio frame (ISO/IEC 11172-3, 2.4.1.3; 13818-3 and version 2.5 by its bits) of the layer with
/// this number in the header, and what bitrates version 1 has there.
fn mpeg(packet: &[u8], wanted: u32, full_kilobits: [u32; 14]) -> Result<Frame, CodecError> {
    const RATES: [u32; 3] = [44_100, 48_000, 32_000];
    const LOW_KILOBITS: [u32; 14] = [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];
    let mut bits = Bits::new("MPEG audio frame", packet);
    let sync = bits.bits(11)?;
    if sync != 0x7ff {
        return Err(bits.unsupported("sync word", sync.into()));
    }
    let (version, layer) = (bits.bits(2)?, bits.bits(2)?);
    if version == 1 || layer != wanted {
        return Err(bits.unsupported("version and layer", (version << 2 | layer).into()));
    }
    bits.skip(1)?; // protection
    let (bitrate, rate) = (bits.bits(4)? as usize, bits.bits(2)? as usize);
    let (padding, _private, mode) = (bits.bits(1)?, bits.bits(1)?, bits.bits(2)?);
    let full = *RATES.get(rate).ok_or(bits.unsupported("sampling_frequency", rate as u64))?;
    // Versions 2 and 2.5 halve and quarter the rate, and have half the samples.
    let (rate, halves) = match version {
        3 => (full, 0),
        2 => (full / 2, 1),
        _ => (full / 4, 1),
    };
    // Only layer III has fewer samples then.
    let samples = if wanted == 1 { 1_152 >> u32::from(halves > 0) } else { 1_152 };
    let table = if halves == 0 { full_kilobits } else { LOW_KILOBITS };
    let kilobits = match bitrate {
        0 => 0, // free format
        _ => *table.get(bitrate - 1).ok_or(bits.unsupported("bitrate_index", bitrate as u64))?,
    };
    let bytes = match kilobits {
        0 => 0,
        kilobits => samples / 8 * kilobits * 1_000 / rate + padding,
    };
    let channels = if mode == 3 { 1 } else { 2 };
    Ok(Frame { rate, channels, samples: samples as usize, bytes: bytes as usize })
}

/// The header of an AC-3 frame (ETSI TS 102 366, 4.4.1 and 4.4.2) or of an E-AC-3 frame (E.1.2).
pub(super) fn ac3(packet: &[u8]) -> Result<Frame, CodecError> {
    let mut bits = Bits::new("AC-3 frame", packet);
    let sync = bits.bits(16)?;
    if sync != 0x0b77 {
        return Err(bits.unsupported("sync word", sync.into()));
    }
    // bsid is at the same place in both.
    let mut ahead = bits.clone();
    ahead.skip(24)?;
    match ahead.bits(5)? {
        0..=10 => ac3_frame(bits),
        11..=16 => eac3_frame(bits),
        other => Err(bits.unsupported("bsid", other.into())),
    }
}

const AC3_RATES: [u32; 3] = [48_000, 44_100, 32_000];
/// Channels of each `acmod`, without the low-frequency one.
const AC3_CHANNELS: [u16; 8] = [2, 1, 2, 3, 3, 4, 4, 5];

fn ac3_frame(mut bits: Bits<'_>) -> Result<Frame, CodecError> {
    /// Bit rate of each pair of `frmsizecod` (table 4.13).
    const KILOBITS: [usize; 19] =
        [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640];
    bits.skip(16)?; // crc1
    let (rate, size) = (bits.bits(2)? as usize, bits.bits(6)? as usize);
    bits.skip(5 + 3)?; // bsid, bsmod
    let rate = *AC3_RATES.get(rate).ok_or(bits.unsupported("fscod", rate as u64))?;
    let kilobits = *KILOBITS.get(size / 2).ok_or(bits.unsupported("frmsizecod", size as u64))?;
    let words = match rate {
        48_000 => kilobits * 2,
        32_000 => kilobits * 3,
        // 1536 samples at 44.1 kHz, rounded down, and one more for odd codes.
        _ => kilobits * 96_000 / 44_100 + size % 2,
    };
    let mode = bits.bits(3)? as usize;
    let has_centre = mode & 1 == 1 && mode != 1;
    bits.skip(2 * (usize::from(has_centre) + usize::from(mode & 4 != 0) + usize::from(mode == 2)))?;
    let channels = AC3_CHANNELS[mode] + u16::from(bits.flag()?);
    Ok(Frame { rate, channels, samples: 1_536, bytes: words * 2 })
}

fn eac3_frame(mut bits: Bits<'_>) -> Result<Frame, CodecError> {
    let (stream_type, substream) = (bits.bits(2)?, bits.bits(3)?);
    let bytes = (bits.bits(11)? as usize + 1) * 2;
    let (rate, code) = (bits.bits(2)? as usize, bits.bits(2)? as usize);
    // The rates are halved where the second two bits stand for the rate; there are six blocks then.
    let (rate, blocks) = match rate {
        3 => (AC3_RATES.get(code).map(|rate| rate / 2), 6),
        rate => (AC3_RATES.get(rate).copied(), [1, 2, 3, 6][code]),
    };
    let rate = rate.ok_or(bits.unsupported("fscod2", code as u64))?;
    let channels = AC3_CHANNELS[bits.bits(3)? as usize] + u16::from(bits.flag()?);
    let leads = stream_type != 1 && substream == 0;
    Ok(Frame { rate, channels, samples: if leads { 256 * blocks } else { 0 }, bytes })
}
