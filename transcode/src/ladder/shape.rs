//! Sizes: square pixels, even sides, never above the source.

use super::Video;

/// Longest side that is encoded: what H.264 encoders in hardware take.
pub(super) const LONG_MAX: u32 = 4_096;
/// Least side that is encoded: two macroblocks.
pub(super) const SHORT_MIN: u32 = 32;
/// Widest sample aspect ratio that is believed (AVP-21).
const SAR_MAX: u32 = 4;

/// A size in square pixels.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Shape {
    pub(super) width: u32,
    pub(super) height: u32,
}

impl Shape {
    pub(super) const fn short(self) -> u32 {
        if self.width < self.height { self.width } else { self.height }
    }

    pub(super) const fn long(self) -> u32 {
        if self.width < self.height { self.height } else { self.width }
    }

    /// The same shape with this short side, even, within [`LONG_MAX`]; never above itself.
    pub(super) fn with_short(self, short: u32) -> Self {
        let (own_short, own_long) = (u64::from(self.short().max(1)), u64::from(self.long().max(1)));
        let mut short = u64::from(short).min(own_short);
        short -= short % 2;
        // To the even long side that keeps the shape best, which is never above the source's.
        let mut long = match short + 1 < own_short {
            true => 2 * ((own_long * short + own_short) / (2 * own_short)),
            false => own_long,
        };
        if long > LONG_MAX.into() {
            long = LONG_MAX.into();
            short = own_short * long / own_long;
        }
        let long = long.min(own_long);
        let (short, long) = ((short - short % 2) as u32, (long - long % 2) as u32);
        match self.width < self.height {
            true => Self { width: short, height: long },
            false => Self { width: long, height: short },
        }
    }
}

/// The source's size as shown, in square pixels, even where pixels are stretched (AVP-21): 720×576 at 64:45 is 1024×576,
/// 720×480 at 32:27 is 854×480.
pub(super) fn shown(video: &Video<'_>) -> Shape {
    let Some(picture) = video.track.codec.picture() else { return Shape { width: 0, height: 0 } };
    let (h, v) = picture.sar;
    let believed = h > 0 && v > 0 && h <= v.saturating_mul(SAR_MAX) && v <= h.saturating_mul(SAR_MAX);
    if !believed || h == v {
        return Shape { width: picture.width, height: picture.height };
    }
    let half = u64::from(v);
    let pairs = (u64::from(picture.width) * u64::from(h) + half) / (2 * half);
    Shape { width: 2 * pairs as u32, height: picture.height }
}

/// The picture is large enough to be encoded.
pub(super) fn encodable(video: &Video<'_>) -> bool {
    let shape = shown(video);
    shape.with_short(shape.short()).short() >= SHORT_MIN
}
