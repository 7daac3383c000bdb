//! HDR10's static metadata: the display that a picture was mastered on (SMPTE ST 2086) and how bright it gets
//! (CTA-861.3), in the integers and the byte order that H.265's SEI and the `mdcv` and `clli` boxes share.

use super::CodecError;
use super::bits::Bits;

/// Most of a chromaticity coordinate's value that means something, x and y (H.265 D.3.28).
const COORDINATE_MAX: (u16, u16) = (37_000, 42_000);
/// The least of them; what is below is unknown.
const COORDINATE_MIN: u16 = 5;

/// Colour volume of the mastering display, as `mdcv` holds it (ISO/IEC 14496-12, 12.1.7) and SEI 137.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct MasteringDisplay {
    /// Chromaticities (x, y) of green, blue and red in this order, in units of 0.00002; 0 is unknown.
    pub primaries: [(u16, u16); 3],
    /// Chromaticity of white, likewise.
    pub white: (u16, u16),
    /// Brightest white in units of 0.0001 cd/m²; 0 is unknown.
    pub max_luminance: u32,
    /// Darkest black in units of 0.0001 cd/m².
    pub min_luminance: u32,
}

impl MasteringDisplay {
    /// Bytes of its form in SEI and `mdcv`.
    pub const LENGTH: usize = 24;

    /// Reads SEI 137's payload or the body of `mdcv`. `None` where all is zero, which says nothing.
    pub fn from_bytes(bytes: &[u8; Self::LENGTH]) -> Option<Self> {
        Self::read(&mut Bits::new("mastering display", bytes)).ok().and_then(Self::stated)
    }

    /// `None` for one that says nothing.
    pub fn stated(self) -> Option<Self> {
        (self != Self::default()).then_some(self)
    }

    /// The body of `mdcv`.
    pub fn to_bytes(&self) -> [u8; Self::LENGTH] {
        let [green, blue, red] = self.primaries;
        let mut out = [0; Self::LENGTH];
        let points = [green, blue, red, self.white];
        for (to, (x, y)) in out.chunks_exact_mut(4).zip(points) {
            to[..2].copy_from_slice(&x.to_be_bytes());
            to[2..].copy_from_slice(&y.to_be_bytes());
        }
        out[16..20].copy_from_slice(&self.max_luminance.to_be_bytes());
        out[20..].copy_from_slice(&self.min_luminance.to_be_bytes());
        out
    }

    /// The chromaticities are known: some publishers tell the luminance alone, and a box has no way to say so.
    pub fn has_primaries(&self) -> bool {
        let known = |(x, y): (u16, u16)| {
            (COORDINATE_MIN..=COORDINATE_MAX.0).contains(&x)
                && (COORDINATE_MIN..=COORDINATE_MAX.1).contains(&y)
        };
        self.primaries.into_iter().chain([self.white]).all(known)
    }

    /// All of it is known and can be meant.
    pub fn is_complete(&self) -> bool {
        self.has_primaries() && self.min_luminance < self.max_luminance
    }

    fn read(bits: &mut Bits<'_>) -> Result<Self, CodecError> {
        let mut point = || Ok((bits.bits(16)? as u16, bits.bits(16)? as u16));
        Ok(Self {
            primaries: [point()?, point()?, point()?],
            white: point()?,
            max_luminance: bits.bits(32)?,
            min_luminance: bits.bits(32)?,
        })
    }
}

/// Content light level, as `clli` holds it (ISO/IEC 14496-12, 12.1.6) and SEI 144, in cd/m²; 0 is unknown.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ContentLight {
    /// MaxCLL, the brightest pixel.
    pub max_content: u16,
    /// MaxFALL, the brightest picture's average.
    pub max_average: u16,
}

impl ContentLight {
    /// Bytes of its form in SEI and `clli`.
    pub const LENGTH: usize = 4;

    /// Reads SEI 144's payload or the body of `clli`. `None` where all is zero, which says nothing.
    pub fn from_bytes(bytes: &[u8; Self::LENGTH]) -> Option<Self> {
        let [a, b, c, d] = *bytes;
        Self { max_content: u16::from_be_bytes([a, b]), max_average: u16::from_be_bytes([c, d]) }.stated()
    }

    /// `None` for one that says nothing.
    pub fn stated(self) -> Option<Self> {
        (self != Self::default()).then_some(self)
    }

    /// The body of `clli`.
    pub const fn to_bytes(&self) -> [u8; Self::LENGTH] {
        let ([a, b], [c, d]) = (self.max_content.to_be_bytes(), self.max_average.to_be_bytes());
        [a, b, c, d]
    }
}

/// What of both is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Hdr {
    /// The mastering display.
    pub mastering: Option<MasteringDisplay>,
    /// The content's light level.
    pub light: Option<ContentLight>,
}

impl Hdr {
    /// What `self` leaves open is taken from `other`.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self { mastering: self.mastering.or(other.mastering), light: self.light.or(other.light) }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::codec::tests::hex;

    /// BT.2020's green, blue and red in a display of P3, D65, 0.005 to 1,000 cd/m².
    pub(crate) const P3_D65: MasteringDisplay = MasteringDisplay {
        primaries: [(13_250, 34_500), (7_500, 3_000), (34_000, 16_000)],
        white: (15_635, 16_450),
        max_luminance: 10_000_000,
        min_luminance: 50,
    };

    #[test]
    fn bytes_are_those_of_the_boxes() {
        let bytes: [u8; 24] =
            hex("33c286c4 1d4c0bb8 84d03e80 3d134042 00989680 00000032")[..].try_into().unwrap();
        assert_eq!(MasteringDisplay::from_bytes(&bytes), Some(P3_D65));
        assert_eq!(P3_D65.to_bytes(), bytes);
        let light = ContentLight { max_content: 1_000, max_average: 400 };
        assert_eq!(light.to_bytes(), [0x03, 0xe8, 0x01, 0x90]);
        assert_eq!(ContentLight::from_bytes(&light.to_bytes()), Some(light));
    }

    #[test]
    fn zeros_say_nothing_and_a_display_without_primaries_is_not_complete() {
        assert_eq!(MasteringDisplay::from_bytes(&[0; 24]), None);
        assert_eq!(ContentLight::from_bytes(&[0; 4]), None);
        assert!(P3_D65.is_complete());
        let bare = MasteringDisplay { max_luminance: 10_000_000, ..MasteringDisplay::default() };
        assert!(bare.stated().is_some() && !bare.is_complete());
        assert!(!MasteringDisplay { white: (37_001, 16_450), ..P3_D65 }.is_complete());
        assert!(!MasteringDisplay { white: (15_635, 42_001), ..P3_D65 }.is_complete());
        assert!(!MasteringDisplay { max_luminance: 50, ..P3_D65 }.is_complete());
    }

    #[test]
    fn the_first_to_say_something_is_believed() {
        let light = |max_content| Some(ContentLight { max_content, max_average: 0 });
        let first = Hdr { mastering: None, light: light(500) };
        let second = Hdr { mastering: Some(P3_D65), light: light(900) };
        assert_eq!(first.or(second), Hdr { mastering: Some(P3_D65), light: light(500) });
    }
}
