//! VP9: the codec configuration record and the frame header.

use bytes::Bytes;

use super::bits::Bits;
use super::{CodecError, Colour, Picture, picture_size};

const RECORD: &str = "vpcC";

/// A parsed `VPCodecConfigurationRecord`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Vp9Config {
    /// The body of `vpcC`, with its version and flags.
    pub record: Bytes,
    /// Picture parameters; width and height come from the first key frame or the metadata.
    pub picture: Picture,
}

impl Vp9Config {
    /// Parses the body of a `vpcC` (VP codec ISOBMFF binding), with or without its 4 bytes of version and flags.
    /// The record holds no picture size: `size` is what the source's first key frame says ([`frame_header`]).
    pub fn parse(record: &Bytes, size: (u32, u32)) -> Result<Self, CodecError> {
        // Without version and flags these bytes would say a bit depth of 0.
        let body = record.strip_prefix(&[1, 0, 0, 0]).unwrap_or(record);
        let mut fields = Bits::new(RECORD, body);
        let (profile, level) = (fields.byte()?, fields.byte()?);
        if profile > 3 {
            return Err(fields.unsupported("profile", profile.into()));
        }
        let format = fields.byte()?;
        let depth = format >> 4;
        if !matches!(depth, 8 | 10 | 12) {
            return Err(fields.unsupported("bitDepth", depth.into()));
        }
        let (primaries, transfer, matrix) = (fields.byte()?, fields.byte()?, fields.byte()?);
        let (width, height) = picture_size(RECORD, size.0.into(), size.1.into())?;
        let level = if level == 0 { level_of(width, height) } else { level };
        let record = [1, 0, 0, 0, profile, level, format, primaries, transfer, matrix, 0, 0];
        let colour = Colour::stated(primaries, transfer, matrix, format & 1 == 1);
        // A superframe holds its hidden frames, so samples are stored in the order of output.
        let max_reorder = Some(0);
        let picture = Picture { width, height, sar: (1, 1), colour, max_reorder, ..Picture::default() };
        Ok(Self { record: Bytes::copy_from_slice(&record), picture })
    }

    /// `vp09.PP.LL.DD`, with the optional colour fields where they are not the defaults.
    pub fn rfc6381(&self) -> String {
        let Some(&[profile, level, format, primaries, transfer, matrix]) = self.record.get(4..10) else {
            return "vp09".into();
        };
        let base = format!("vp09.{profile:02}.{level:02}.{:02}", format >> 4);
        let chroma = format >> 1 & 7;
        let full_range = format & 1;
        match (chroma, primaries, transfer, matrix, full_range) {
            (0 | 1, 2, 2, 2, 0) | (1, 1, 1, 1, 0) => base,
            _ => format!("{base}.{chroma:02}.{primaries:02}.{transfer:02}.{matrix:02}.{full_range:02}"),
        }
    }
}

/// Lowest level whose largest picture holds this one (VP9 levels table), for records that leave it at 0.
fn level_of(width: u32, height: u32) -> u8 {
    const LEVELS: [(u32, u8); 8] = [
        (36_864, 10),
        (73_728, 11),
        (122_880, 20),
        (245_760, 21),
        (552_960, 30),
        (983_040, 31),
        (2_228_224, 41),
        (8_912_896, 51),
    ];
    let area = width.saturating_mul(height);
    LEVELS.iter().find(|(largest, _)| area <= *largest).map_or(61, |(_, level)| *level)
}

/// What the uncompressed header of a frame begins with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FrameHeader {
    /// Decoding can start here: a key frame.
    pub sync: bool,
    /// Width and height in pixels; key frames state them.
    pub size: Option<(u32, u32)>,
}

/// Reads the uncompressed header of a frame, or of the first one of a superframe (VP9 6.2).
pub fn frame_header(frame: &[u8]) -> Result<FrameHeader, CodecError> {
    const SYNC_CODE: u32 = 0x49_83_42;
    let mut bits = Bits::new("VP9 frame", frame);
    let marker = bits.bits(2)?;
    if marker != 2 {
        return Err(bits.unsupported("frame_marker", marker.into()));
    }
    let profile = bits.bits(1)? | bits.bits(1)? << 1;
    if profile == 3 && bits.flag()? {
        return Err(bits.unsupported("profile", 4));
    }
    let inter = FrameHeader { sync: false, size: None };
    if bits.flag()? {
        return Ok(inter); // show_existing_frame
    }
    if bits.flag()? {
        return Ok(inter); // frame_type: not a key frame
    }
    bits.skip(2)?; // show_frame, error_resilient_mode
    let sync_code = bits.bits(24)?;
    if sync_code != SYNC_CODE {
        return Err(bits.unsupported("frame_sync_code", sync_code.into()));
    }
    color_config(&mut bits, profile)?;
    let (width, height) = (bits.bits(16)? + 1, bits.bits(16)? + 1);
    let size = picture_size("VP9 frame", width.into(), height.into())?;
    Ok(FrameHeader { sync: true, size: Some(size) })
}

/// Passes over `color_config()`.
fn color_config(bits: &mut Bits<'_>, profile: u32) -> Result<(), CodecError> {
    const RGB: u32 = 7;
    if profile >= 2 {
        bits.skip(1)?; // ten_or_twelve_bit
    }
    let rgb = bits.bits(3)? == RGB;
    let subsampled = profile == 1 || profile == 3;
    match (rgb, subsampled) {
        (false, true) => bits.skip(1 + 3), // range, subsampling, reserved
        (false, false) => bits.skip(1),
        (true, true) => bits.skip(1),
        (true, false) => Err(bits.unsupported("color_space", RGB.into())),
    }
}

#[cfg(test)]
pub(super) mod tests;
