//! Sample entries: what a decoder must know before the first sample.
//!
//! The configuration record goes in byte for byte as `common::codec` holds it, so the entry is a closed list of
//! boxes around it and not a parsed and rewritten copy.

use aqueduct_common::codec::{MasteringDisplay, Picture, VideoRange};
use aqueduct_common::{CodecConfig, Track};
use mp4_atom::{Audio, BufMut as _, Colr, Encode as _, FixedPoint, Pasp, Visual};

use super::BoxError;

/// Writes the track's sample entry.
pub(super) fn write(out: &mut Vec<u8>, track: &Track) -> Result<(), BoxError> {
    match &track.codec {
        CodecConfig::H264(config) => write_visual(out, b"avc1", b"avcC", &config.picture, &track.codec),
        CodecConfig::H265(config) => write_visual(out, b"hvc1", b"hvcC", &config.picture, &track.codec),
        CodecConfig::Av1(config) => write_visual(out, b"av01", b"av1C", &config.picture, &track.codec),
        CodecConfig::Vp9(config) => write_visual(out, b"vp09", b"vpcC", &config.picture, &track.codec),
        CodecConfig::Aac(_) => write_sound(out, b"mp4a", b"esds", &esds(track.codec.record()), &track.codec),
        CodecConfig::Opus(_) => write_sound(out, b"Opus", b"dOps", track.codec.record(), &track.codec),
        // It is transcoded before it comes here, or left out.
        CodecConfig::Foreign(_) | CodecConfig::ForeignVideo(_) => {
            Err(BoxError::NoEntry { codec: track.codec.rfc6381() })
        }
    }
}

/// `VisualSampleEntry` (ISO/IEC 14496-12, 12.1.3) with its record, `colr` and `pasp`, and `mdcv`
/// and `clli` of HDR10.
fn write_visual(
    out: &mut Vec<u8>,
    entry: &[u8; 4],
    record: &[u8; 4],
    picture: &Picture,
    codec: &CodecConfig,
) -> Result<(), BoxError> {
    let visual = Visual {
        data_reference_index: 1,
        width: u16::try_from(picture.width).unwrap_or(u16::MAX),
        height: u16::try_from(picture.height).unwrap_or(u16::MAX),
        ..Visual::default()
    };
    out.encode_atom(entry, |out| {
        visual.encode(out)?;
        out.encode_atom(record, |out| {
            out.extend_from_slice(codec.record());
            Ok(())
        })?;
        if let Some(colour) = picture.colour {
            let [primaries, transfer, matrix] =
                [colour.primaries, colour.transfer, colour.matrix].map(u16::from);
            Colr::new(primaries, transfer, matrix, colour.full_range)?.encode(out)?;
        }
        let (horizontal, vertical) = picture.sar;
        if horizontal > 0 && vertical > 0 && horizontal != vertical {
            Pasp::new(horizontal, vertical)?.encode(out)?;
        }
        if matches!(codec, CodecConfig::H265(_) | CodecConfig::Av1(_)) {
            write_hdr(out, picture)?;
        }
        Ok(())
    })?;
    Ok(())
}

/// `mdcv` and `clli` (ISO/IEC 14496-12, 12.1.6 and 12.1.7), which say something of PQ alone. Neither has a version, nor a
/// way to leave a field open: a display of which only the luminance is known is left out.
fn write_hdr(out: &mut Vec<u8>, picture: &Picture) -> mp4_atom::Result<()> {
    if picture.colour.is_none_or(|colour| colour.range() != VideoRange::Pq) {
        return Ok(());
    }
    let plain = |out: &mut Vec<u8>, kind: &[u8; 4], body: &[u8]| {
        out.encode_atom(kind, |out| {
            out.extend_from_slice(body);
            Ok(())
        })
    };
    if let Some(mastering) = picture.hdr.mastering.filter(MasteringDisplay::is_complete) {
        plain(out, b"mdcv", &mastering.to_bytes())?;
    }
    if let Some(light) = picture.hdr.light {
        plain(out, b"clli", &light.to_bytes())?;
    }
    Ok(())
}

/// `AudioSampleEntry` (ISO/IEC 14496-12, 12.2.3) with its record. A rate that 16 bits cannot hold is written as 0:
/// the record is authoritative (CMAF-6, CMAF-7).
fn write_sound(
    out: &mut Vec<u8>,
    entry: &[u8; 4],
    record: &[u8; 4],
    body: &[u8],
    codec: &CodecConfig,
) -> Result<(), BoxError> {
    let (rate, channels) = codec.sound().ok_or_else(|| BoxError::NoEntry { codec: codec.rfc6381() })?;
    let audio = Audio {
        data_reference_index: 1,
        channel_count: channels,
        sample_size: 16,
        sample_rate: FixedPoint::from(u16::try_from(rate).unwrap_or(0)),
    };
    out.encode_atom(entry, |out| {
        audio.encode(out)?;
        out.encode_atom(record, |out| {
            out.extend_from_slice(body);
            Ok(())
        })
    })?;
    Ok(())
}

/// Body of `esds` (ISO/IEC 14496-14, 6.7.2): ES_Descriptor, DecoderConfigDescriptor for MPEG-4 audio, the
/// AudioSpecificConfig, SLConfigDescriptor 2.
fn esds(config: &[u8]) -> Vec<u8> {
    let specific = descriptor(0x05, config);
    // objectTypeIndication 0x40, streamType 5 (audio) with upStream 0 and the reserved bit; buffer size and bit
    // rates are unknown.
    let mut decoder = vec![0x40, 0x15, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    decoder.extend(specific);
    // ES_ID 0, no flags.
    let mut stream = vec![0, 0, 0];
    stream.extend(descriptor(0x04, &decoder));
    stream.extend(descriptor(0x06, &[2]));
    let mut body = vec![0, 0, 0, 0];
    body.extend(descriptor(0x03, &stream));
    body
}

/// A descriptor with its length in 7-bit groups (ISO/IEC 14496-1, 8.3.3).
fn descriptor(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let mut out = vec![tag];
    for shift in [21, 14, 7] {
        if length >> shift > 0 {
            out.push(0x80 | (length >> shift & 0x7F) as u8);
        }
    }
    out.push((length & 0x7F) as u8);
    out.extend_from_slice(body);
    out
}
