//! Video usability information: what H.264 (annex E) and H.265 (annex E) begin it with, bit for bit alike.

use super::bits::Bits;
use super::{CodecError, Colour, Picture};

/// Sample aspect ratios by `aspect_ratio_idc` 1 to 16 (H.264 table E-1).
const SAR: [(u32, u32); 16] = [
    (1, 1),
    (12, 11),
    (10, 11),
    (16, 11),
    (40, 33),
    (24, 11),
    (20, 11),
    (32, 11),
    (80, 33),
    (18, 11),
    (15, 11),
    (64, 33),
    (160, 99),
    (4, 3),
    (3, 2),
    (2, 1),
];

/// Reads aspect ratio, overscan, video signal type and chroma location.
pub(super) fn begin(bits: &mut Bits<'_>, picture: &mut Picture) -> Result<(), CodecError> {
    if bits.flag()? {
        picture.sar = aspect_ratio(bits)?;
    }
    if bits.flag()? {
        bits.skip(1)?; // overscan_appropriate_flag
    }
    if bits.flag()? {
        picture.colour = video_signal(bits)?;
    }
    if bits.flag()? {
        bits.skip_ue(2)?; // chroma_sample_loc_type of both fields
    }
    Ok(())
}

/// The ratio of two tick counts in lowest terms, or `None` where a count is zero or the terms exceed 32 bits.
pub(super) fn rate(ticks_per_second: u64, ticks_per_frame: u64) -> Option<(u32, u32)> {
    if ticks_per_second == 0 || ticks_per_frame == 0 {
        return None;
    }
    let common = gcd(ticks_per_second, ticks_per_frame);
    let term = |value: u64| u32::try_from(value / common).ok();
    Some((term(ticks_per_second)?, term(ticks_per_frame)?))
}

const fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

fn aspect_ratio(bits: &mut Bits<'_>) -> Result<(u32, u32), CodecError> {
    const EXTENDED: u8 = 255;
    let ratio = match bits.byte()? {
        EXTENDED => (bits.bits(16)?, bits.bits(16)?),
        idc => usize::from(idc).checked_sub(1).and_then(|row| SAR.get(row)).copied().unwrap_or((1, 1)),
    };
    // A zero term means "unspecified".
    Ok(if ratio.0 == 0 || ratio.1 == 0 { (1, 1) } else { ratio })
}

fn video_signal(bits: &mut Bits<'_>) -> Result<Option<Colour>, CodecError> {
    bits.skip(3)?; // video_format
    let full_range = bits.flag()?;
    let described = bits.flag()?;
    let (primaries, transfer, matrix) =
        if described { (bits.byte()?, bits.byte()?, bits.byte()?) } else { Colour::UNSTATED };
    Ok(Colour::stated(primaries, transfer, matrix, full_range))
}
