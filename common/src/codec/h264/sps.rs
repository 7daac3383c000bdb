//! The sequence parameter set (ITU-T H.264, 7.3.2.1.1 and annex E).

use crate::codec::bits::Bits;
use crate::codec::{CodecError, Picture, picture_size, vui};

/// NAL unit type of a sequence parameter set extension.
pub(super) const NAL_EXTENSION: u8 = 13;

/// What is needed of an SPS.
#[derive(Debug)]
pub(super) struct Sps {
    /// `profile_idc`, the constraint flags and `level_idc`.
    pub(super) profile_and_level: [u8; 3],
    pub(super) chroma_format: u8,
    pub(super) depth_luma_minus8: u8,
    pub(super) depth_chroma_minus8: u8,
    pub(super) picture: Picture,
}

impl Sps {
    /// Parses the RBSP of an SPS, NAL header included.
    pub(super) fn parse(rbsp: &[u8]) -> Result<Self, CodecError> {
        let mut bits = Bits::new("SPS", rbsp);
        bits.skip(8)?;
        let profile_and_level = [bits.byte()?, bits.byte()?, bits.byte()?];
        bits.ue_max("seq_parameter_set_id", 31)?;
        let format = Format::parse(&mut bits, profile_and_level[0])?;
        bits.ue_max("log2_max_frame_num_minus4", 12)?;
        let output_in_decode_order = picture_order(&mut bits)?;
        bits.ue()?; // max_num_ref_frames
        bits.skip(1)?; // gaps_in_frame_num_value_allowed_flag
        let (width, height) = frame_size(&mut bits, &format)?;
        let mut picture = Picture { width, height, sar: (1, 1), ..Picture::default() };
        if output_in_decode_order {
            picture.max_reorder = Some(0);
        }
        // A damaged VUI makes no picture undecodable: what was read of it stands.
        let _advisory = usability(&mut bits, &mut picture);
        Ok(Self {
            profile_and_level,
            chroma_format: format.chroma,
            depth_luma_minus8: format.depth_luma_minus8,
            depth_chroma_minus8: format.depth_chroma_minus8,
            picture,
        })
    }

    /// The record of this profile has the chroma format and bit depths: all but Baseline, Main and Extended
    /// (ISO/IEC 14496-15, 5.3.3.1.2).
    pub(super) const fn has_high_fields(&self) -> bool {
        !matches!(self.profile_and_level[0], 66 | 77 | 88)
    }
}

/// Chroma format and bit depths.
struct Format {
    chroma: u8,
    separate_planes: bool,
    depth_luma_minus8: u8,
    depth_chroma_minus8: u8,
}

impl Format {
    fn parse(bits: &mut Bits<'_>, profile: u8) -> Result<Self, CodecError> {
        if !matches!(profile, 100 | 110 | 122 | 244 | 44 | 83 | 86 | 118 | 128 | 138 | 139 | 134 | 135) {
            return Ok(Self {
                chroma: 1,
                separate_planes: false,
                depth_luma_minus8: 0,
                depth_chroma_minus8: 0,
            });
        }
        let chroma = bits.ue_max("chroma_format_idc", 3)? as u8;
        let format = Self {
            chroma,
            separate_planes: chroma == 3 && bits.flag()?,
            depth_luma_minus8: bits.ue_max("bit_depth_luma_minus8", 6)? as u8,
            depth_chroma_minus8: bits.ue_max("bit_depth_chroma_minus8", 6)? as u8,
        };
        bits.skip(1)?; // qpprime_y_zero_transform_bypass_flag
        if bits.flag()? {
            for list in 0..if chroma == 3 { 12 } else { 8 } {
                if bits.flag()? {
                    scaling_list(bits, if list < 6 { 16 } else { 64 })?;
                }
            }
        }
        Ok(format)
    }

    /// Pixels by which one step of cropping moves, before field pairs are counted (table 6-1).
    const fn crop_unit(&self) -> (u64, u64) {
        match (self.chroma, self.separate_planes) {
            (1, _) => (2, 2),
            (2, _) => (2, 1),
            _ => (1, 1),
        }
    }
}

/// Passes over a scaling list (7.3.2.1.1.1).
fn scaling_list(bits: &mut Bits<'_>, size: usize) -> Result<(), CodecError> {
    let (mut last, mut next) = (8i64, 8i64);
    for _ in 0..size {
        if next != 0 {
            next = (last + i64::from(bits.se()?)).rem_euclid(256);
        }
        last = if next == 0 { last } else { next };
    }
    Ok(())
}

/// Passes over the picture order count fields; true where pictures are output in decoding order (type 2).
fn picture_order(bits: &mut Bits<'_>) -> Result<bool, CodecError> {
    let kind = bits.ue_max("pic_order_cnt_type", 2)?;
    match kind {
        0 => bits.skip_ue(1)?, // log2_max_pic_order_cnt_lsb_minus4
        1 => {
            bits.skip(1)?; // delta_pic_order_always_zero_flag
            bits.skip_ue(2)?; // offset_for_non_ref_pic, offset_for_top_to_bottom_field
            let cycle = bits.ue_max("num_ref_frames_in_pic_order_cnt_cycle", 255)?;
            bits.skip_ue(cycle as usize)?;
        }
        _ => {}
    }
    Ok(kind == 2)
}

/// Reads size, field coding and cropping; the size is that of a frame after cropping.
fn frame_size(bits: &mut Bits<'_>, format: &Format) -> Result<(u32, u32), CodecError> {
    let width = (u64::from(bits.ue()?) + 1) * 16;
    let map_units = (u64::from(bits.ue()?) + 1) * 16;
    let frames_only = bits.flag()?;
    if !frames_only {
        bits.skip(1)?; // mb_adaptive_frame_field_flag
    }
    let fields = if frames_only { 1 } else { 2 };
    let height = map_units * fields;
    picture_size("SPS", width, height)?;
    bits.skip(1)?; // direct_8x8_inference_flag
    if !bits.flag()? {
        return picture_size("SPS", width, height);
    }
    let mut edge = || bits.ue().map(u64::from);
    let (left, right, top, bottom) = (edge()?, edge()?, edge()?, edge()?);
    let (unit_x, unit_y) = format.crop_unit();
    let cropped = |size: u64, edges: u64, unit: u64| size.saturating_sub(edges * unit);
    picture_size("SPS", cropped(width, left + right, unit_x), cropped(height, top + bottom, unit_y * fields))
}

/// Reads the VUI, where there is one.
fn usability(bits: &mut Bits<'_>, picture: &mut Picture) -> Result<(), CodecError> {
    if !bits.flag()? {
        return Ok(());
    }
    vui::begin(bits, picture)?;
    if bits.flag()? {
        let ticks_per_field = u64::from(bits.bits(32)?);
        picture.frame_rate = vui::rate(bits.bits(32)?.into(), ticks_per_field * 2);
        bits.skip(1)?; // fixed_frame_rate_flag
    }
    let nal_hrd = bits.flag()?;
    if nal_hrd {
        reference_decoder(bits)?;
    }
    let vcl_hrd = bits.flag()?;
    if vcl_hrd {
        reference_decoder(bits)?;
    }
    if nal_hrd || vcl_hrd {
        bits.skip(1)?; // low_delay_hrd_flag
    }
    bits.skip(1)?; // pic_struct_present_flag
    if bits.flag()? {
        bits.skip(1)?; // motion_vectors_over_pic_boundaries_flag
        bits.skip_ue(4)?; // bytes and bits denominators, motion vector lengths
        picture.max_reorder = Some(bits.ue_max("max_num_reorder_frames", 16)?);
    }
    Ok(())
}

/// Passes over `hrd_parameters()` (E.1.2).
fn reference_decoder(bits: &mut Bits<'_>) -> Result<(), CodecError> {
    let count = bits.ue_max("cpb_cnt_minus1", 31)? + 1;
    bits.skip(8)?;
    for _ in 0..count {
        bits.skip_ue(2)?;
        bits.skip(1)?;
    }
    bits.skip(20)
}
