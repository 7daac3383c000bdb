//! The sequence header (AV1 5.5).

use crate::codec::bits::Bits;
use crate::codec::{CodecError, Colour, Picture, picture_size, vui};

/// What is needed of a sequence header.
#[derive(Debug)]
pub(super) struct Sequence {
    pub(super) profile: u8,
    /// `seq_level_idx` of the first operating point: the whole stream.
    pub(super) level: u8,
    tier: bool,
    /// `reduced_still_picture_header`: frame headers begin without their type.
    pub(super) reduced: bool,
    color: Color,
    pub(super) picture: Picture,
}

impl Sequence {
    /// Parses the payload of a sequence header OBU.
    pub(super) fn parse(payload: &[u8]) -> Result<Self, CodecError> {
        let mut bits = Bits::new("sequence header", payload);
        let profile = bits.bits(3)? as u8;
        if profile > 2 {
            return Err(bits.unsupported("seq_profile", profile.into()));
        }
        bits.skip(1)?; // still_picture
        let reduced = bits.flag()?;
        let points = if reduced { Points::reduced(&mut bits)? } else { Points::parse(&mut bits)? };
        let (width, height) = frame_size(&mut bits)?;
        tools(&mut bits, reduced)?;
        let color = Color::parse(&mut bits, profile)?;
        bits.skip(1)?; // film_grain_params_present
        // A temporal unit shows exactly one frame of a layer, so samples are stored in the order of output.
        let max_reorder = Some(0);
        let picture = Picture {
            width,
            height,
            sar: (1, 1),
            colour: color.description,
            max_reorder,
            frame_rate: points.frame_rate,
            ..Picture::default()
        };
        Ok(Self { profile, level: points.level, tier: points.tier, reduced, color, picture })
    }

    /// Third byte of the configuration record: tier, bit depth and chroma format.
    pub(super) const fn format_byte(&self) -> u8 {
        let Color { high, twelve, mono, x, y, position, .. } = self.color;
        (self.tier as u8) << 7
            | (high as u8) << 6
            | (twelve as u8) << 5
            | (mono as u8) << 4
            | (x as u8) << 3
            | (y as u8) << 2
            | position
    }
}

/// Timing and the first operating point.
struct Points {
    level: u8,
    tier: bool,
    frame_rate: Option<(u32, u32)>,
}

impl Points {
    fn reduced(bits: &mut Bits<'_>) -> Result<Self, CodecError> {
        Ok(Self { level: bits.bits(5)? as u8, tier: false, frame_rate: None })
    }

    fn parse(bits: &mut Bits<'_>) -> Result<Self, CodecError> {
        let timed = bits.flag()?;
        let frame_rate = if timed { timing(bits)? } else { None };
        let delay_bits = if timed && bits.flag()? { Some(decoder_model(bits)?) } else { None };
        let display_delay = bits.flag()?;
        let count = bits.bits(5)? + 1;
        let mut first = None;
        for _ in 0..count {
            let point = operating_point(bits, delay_bits, display_delay)?;
            first.get_or_insert(point);
        }
        let (level, tier) = first.unwrap_or_default();
        Ok(Self { level, tier, frame_rate })
    }
}

fn timing(bits: &mut Bits<'_>) -> Result<Option<(u32, u32)>, CodecError> {
    let ticks = u64::from(bits.bits(32)?);
    let scale = u64::from(bits.bits(32)?);
    if !bits.flag()? {
        return Ok(None); // no equal_picture_interval
    }
    let ticks_per_picture = u64::from(bits.ue()?) + 1; // uvlc() is Exp-Golomb
    Ok(vui::rate(scale, ticks.saturating_mul(ticks_per_picture)))
}

/// Reads `decoder_model_info()`: the bits of a buffer delay.
fn decoder_model(bits: &mut Bits<'_>) -> Result<usize, CodecError> {
    let delay_bits = bits.bits(5)? as usize + 1;
    bits.skip(32 + 5 + 5)?;
    Ok(delay_bits)
}

fn operating_point(
    bits: &mut Bits<'_>,
    delay_bits: Option<usize>,
    display_delay: bool,
) -> Result<(u8, bool), CodecError> {
    bits.skip(12)?; // operating_point_idc
    let level = bits.bits(5)? as u8;
    let tier = level > 7 && bits.flag()?;
    if let Some(delay_bits) = delay_bits
        && bits.flag()?
    {
        bits.skip(2 * delay_bits + 1)?;
    }
    if display_delay && bits.flag()? {
        bits.skip(4)?;
    }
    Ok((level, tier))
}

fn frame_size(bits: &mut Bits<'_>) -> Result<(u32, u32), CodecError> {
    let (width_bits, height_bits) = (bits.bits(4)? + 1, bits.bits(4)? + 1);
    let (width, height) = (bits.bits(width_bits)?, bits.bits(height_bits)?);
    picture_size("sequence header", u64::from(width) + 1, u64::from(height) + 1)
}

/// Passes over the coding tools between the size and the colour.
fn tools(bits: &mut Bits<'_>, reduced: bool) -> Result<(), CodecError> {
    if !reduced && bits.flag()? {
        bits.skip(4 + 3)?; // lengths of frame ids
    }
    bits.skip(3)?; // 128x128 superblocks, filter intra, intra edge filter
    if !reduced {
        bits.skip(4)?; // inter-intra and masked compound, warped motion, dual filter
        let order_hint = bits.flag()?;
        if order_hint {
            bits.skip(2)?; // jnt_comp, ref_frame_mvs
        }
        let choose_per_frame = bits.flag()?;
        let screen_content = choose_per_frame || bits.flag()?;
        if screen_content && !bits.flag()? {
            bits.skip(1)?; // seq_force_integer_mv
        }
        if order_hint {
            bits.skip(3)?; // order_hint_bits_minus_1
        }
    }
    bits.skip(3) // superres, CDEF, restoration
}

/// `color_config()` (AV1 5.5.2).
#[derive(Clone, Copy, Debug)]
struct Color {
    high: bool,
    twelve: bool,
    mono: bool,
    x: bool,
    y: bool,
    position: u8,
    description: Option<Colour>,
}

impl Color {
    fn parse(bits: &mut Bits<'_>, profile: u8) -> Result<Self, CodecError> {
        let high = bits.flag()?;
        let twelve = profile == 2 && high && bits.flag()?;
        let mono = profile != 1 && bits.flag()?;
        let (primaries, transfer, matrix) =
            if bits.flag()? { (bits.byte()?, bits.byte()?, bits.byte()?) } else { Colour::UNSTATED };
        let srgb = (primaries, transfer, matrix) == (1, 13, 0);
        let full_range = (!mono && srgb) || bits.flag()?;
        let (x, y) = if mono { (true, true) } else { subsampling(bits, profile, twelve, srgb)? };
        let position = if x && y && !mono { bits.bits(2)? as u8 } else { 0 };
        if !mono {
            bits.skip(1)?; // separate_uv_delta_q
        }
        let description = Colour::stated(primaries, transfer, matrix, full_range);
        Ok(Self { high, twelve, mono, x, y, position, description })
    }
}

/// Chroma subsampling, horizontal and vertical.
fn subsampling(
    bits: &mut Bits<'_>,
    profile: u8,
    twelve: bool,
    srgb: bool,
) -> Result<(bool, bool), CodecError> {
    Ok(match profile {
        _ if srgb => (false, false),
        0 => (true, true),
        1 => (false, false),
        _ if twelve => {
            let x = bits.flag()?;
            (x, x && bits.flag()?)
        }
        _ => (true, false),
    })
}
