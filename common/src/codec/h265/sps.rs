//! The sequence parameter set (ITU-T H.265, 7.3.2.2, 7.3.3, 7.3.4, 7.3.7 and annex E).

use crate::codec::bits::Bits;
use crate::codec::{CodecError, Picture, picture_size, vui};

/// What is needed of an SPS.
#[derive(Debug)]
pub(super) struct Sps {
    /// The general part of `profile_tier_level()`, as the record carries it too.
    pub(super) profile_tier_level: [u8; 12],
    pub(super) temporal_layers: u8,
    pub(super) temporal_nesting: bool,
    pub(super) chroma_format: u8,
    pub(super) depth_luma_minus8: u8,
    pub(super) depth_chroma_minus8: u8,
    pub(super) picture: Picture,
}

impl Sps {
    /// Parses the RBSP of an SPS, NAL header included.
    pub(super) fn parse(rbsp: &[u8]) -> Result<Self, CodecError> {
        let mut bits = Bits::new("SPS", rbsp);
        let head = Head::parse(&mut bits)?;
        let chroma_format = bits.ue_max("chroma_format_idc", 3)? as u8;
        let separate_planes = chroma_format == 3 && bits.flag()?;
        let (width, height) = frame_size(&mut bits, if separate_planes { 0 } else { chroma_format })?;
        let depth_luma_minus8 = bits.ue_max("bit_depth_luma_minus8", 8)? as u8;
        let depth_chroma_minus8 = bits.ue_max("bit_depth_chroma_minus8", 8)? as u8;
        let poc_bits = bits.ue_max("log2_max_pic_order_cnt_lsb_minus4", 12)? + 4;
        let max_reorder = Some(reorder_depth(&mut bits, head.max_sub_layers_minus1)?);
        let mut picture = Picture { width, height, sar: (1, 1), max_reorder, ..Picture::default() };
        // What follows serves the VUI alone, and a damaged VUI makes no picture undecodable: what was read stands.
        let _advisory = coding_tools(&mut bits, poc_bits).and_then(|()| usability(&mut bits, &mut picture));
        Ok(Self {
            profile_tier_level: head.profile_tier_level,
            temporal_layers: head.max_sub_layers_minus1 + 1,
            temporal_nesting: head.temporal_nesting,
            chroma_format,
            depth_luma_minus8,
            depth_chroma_minus8,
            picture,
        })
    }

    /// `sps_seq_parameter_set_id`.
    pub(super) fn id(rbsp: &[u8]) -> Result<u32, CodecError> {
        Head::parse(&mut Bits::new("SPS", rbsp)).map(|head| head.id)
    }
}

/// The fields up to the id.
struct Head {
    max_sub_layers_minus1: u8,
    temporal_nesting: bool,
    profile_tier_level: [u8; 12],
    id: u32,
}

impl Head {
    fn parse(bits: &mut Bits<'_>) -> Result<Self, CodecError> {
        bits.skip(16 + 4)?; // NAL header, sps_video_parameter_set_id
        let max_sub_layers_minus1 = bits.bits(3)? as u8;
        if max_sub_layers_minus1 > 6 {
            return Err(bits.unsupported("sps_max_sub_layers_minus1", max_sub_layers_minus1.into()));
        }
        let temporal_nesting = bits.flag()?;
        let mut profile_tier_level = [0; 12];
        profile_tier_level.copy_from_slice(bits.bytes(12)?);
        sub_layers(bits, max_sub_layers_minus1)?;
        let id = bits.ue_max("sps_seq_parameter_set_id", 15)?;
        Ok(Self { max_sub_layers_minus1, temporal_nesting, profile_tier_level, id })
    }
}

/// Passes over the sub-layers of `profile_tier_level()`.
fn sub_layers(bits: &mut Bits<'_>, count: u8) -> Result<(), CodecError> {
    if count == 0 {
        return Ok(());
    }
    let present = bits.bits(16)?; // two flags for each of eight layers; those above `count` are reserved
    for layer in 0..u32::from(count) {
        let flags = present >> (14 - 2 * layer);
        if flags & 2 != 0 {
            bits.skip(88)?;
        }
        if flags & 1 != 0 {
            bits.skip(8)?;
        }
    }
    Ok(())
}

/// Reads size and conformance window; the size is that after cropping.
fn frame_size(bits: &mut Bits<'_>, chroma_array: u8) -> Result<(u32, u32), CodecError> {
    let (width, height) = (u64::from(bits.ue()?), u64::from(bits.ue()?));
    picture_size("SPS", width, height)?;
    if !bits.flag()? {
        return picture_size("SPS", width, height);
    }
    let (unit_x, unit_y) = match chroma_array {
        1 => (2, 2),
        2 => (2, 1),
        _ => (1, 1),
    };
    let mut edge = || bits.ue().map(u64::from);
    let (left, right, top, bottom) = (edge()?, edge()?, edge()?, edge()?);
    let cropped = |size: u64, edges: u64, unit: u64| size.saturating_sub(edges * unit);
    picture_size("SPS", cropped(width, left + right, unit_x), cropped(height, top + bottom, unit_y))
}

/// `sps_max_num_reorder_pics` of the highest temporal layer.
fn reorder_depth(bits: &mut Bits<'_>, max_sub_layers_minus1: u8) -> Result<u32, CodecError> {
    let every_layer = bits.flag()?;
    let mut depth = 0;
    for _ in 0..if every_layer { max_sub_layers_minus1 + 1 } else { 1 } {
        bits.skip_ue(1)?; // sps_max_dec_pic_buffering_minus1
        depth = bits.ue_max("sps_max_num_reorder_pics", 16)?;
        bits.skip_ue(1)?; // sps_max_latency_increase_plus1
    }
    Ok(depth)
}

/// Passes over what stands between the reorder depth and the VUI.
fn coding_tools(bits: &mut Bits<'_>, poc_bits: u32) -> Result<(), CodecError> {
    bits.skip_ue(6)?; // coding and transform block sizes, transform hierarchy depths
    if bits.flag()? && bits.flag()? {
        scaling_lists(bits)?;
    }
    bits.skip(2)?; // amp_enabled_flag, sample_adaptive_offset_enabled_flag
    if bits.flag()? {
        bits.skip(8)?; // PCM bit depths
        bits.skip_ue(2)?;
        bits.skip(1)?;
    }
    let count = bits.ue_max("num_short_term_ref_pic_sets", 64)?;
    let mut pictures = 0;
    for index in 0..count {
        pictures = reference_set(bits, index == 0, pictures)?;
    }
    if bits.flag()? {
        let count = bits.ue_max("num_long_term_ref_pics_sps", 32)?;
        bits.skip((count * (poc_bits + 1)) as usize)?;
    }
    bits.skip(2) // sps_temporal_mvp_enabled_flag, strong_intra_smoothing_enabled_flag
}

/// Passes over `scaling_list_data()`.
fn scaling_lists(bits: &mut Bits<'_>) -> Result<(), CodecError> {
    for size in 0..4 {
        for _ in 0..if size == 3 { 2 } else { 6 } {
            let coded = bits.flag()?;
            let with_dc = usize::from(size > 1);
            let coefficients = 64.min(1 << (4 + 2 * size));
            bits.skip_ue(if coded { with_dc + coefficients } else { 1 })?;
        }
    }
    Ok(())
}

/// Passes over `st_ref_pic_set()` and returns how many pictures it names; `before` is that of the set before it.
fn reference_set(bits: &mut Bits<'_>, first: bool, before: u32) -> Result<u32, CodecError> {
    if !first && bits.flag()? {
        bits.skip(1)?; // delta_rps_sign
        bits.skip_ue(1)?; // abs_delta_rps_minus1
        let mut kept = 0;
        for _ in 0..=before {
            let used = bits.flag()?;
            kept += u32::from(used || bits.flag()?);
        }
        return Ok(kept);
    }
    let count = bits.ue_max("num_negative_pics", 16)? + bits.ue_max("num_positive_pics", 16)?;
    for _ in 0..count {
        bits.skip_ue(1)?;
        bits.skip(1)?;
    }
    Ok(count)
}

/// Reads the VUI, where there is one, up to its timing.
fn usability(bits: &mut Bits<'_>, picture: &mut Picture) -> Result<(), CodecError> {
    if !bits.flag()? {
        return Ok(());
    }
    vui::begin(bits, picture)?;
    bits.skip(3)?; // neutral_chroma_indication_flag, field_seq_flag, frame_field_info_present_flag
    if bits.flag()? {
        bits.skip_ue(4)?; // default display window
    }
    if bits.flag()? {
        let ticks_per_picture = u64::from(bits.bits(32)?);
        picture.frame_rate = vui::rate(bits.bits(32)?.into(), ticks_per_picture);
    }
    Ok(())
}
