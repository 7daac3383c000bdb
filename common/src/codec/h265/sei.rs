//! Supplemental enhancement information (ITU-T H.265, 7.3.2.4, 7.3.5 and annex D): HDR10's static metadata.

use bytes::Bytes;

use super::{NAL_SEI_PREFIX, nal_type};
use crate::codec::bits::rbsp;
use crate::codec::hdr::{ContentLight, Hdr, MasteringDisplay};
use crate::codec::nal::Nals;

const MASTERING_DISPLAY: usize = 137;
const CONTENT_LIGHT: usize = 144;
/// How many bytes of a unit are read. Both messages together take 40; x265 puts a text of 2,000 in a unit of its own.
const WITHIN: usize = 4_096;
const FIRST_OF_NO_SLICE: u8 = 32;

/// What the SEI of these NAL units says; where several say it, the first.
pub(super) fn of_units<'a>(units: impl IntoIterator<Item = &'a Bytes>) -> Hdr {
    let prefix = units.into_iter().filter(|unit| nal_type(unit) == Some(NAL_SEI_PREFIX));
    prefix.fold(Hdr::default(), |known, unit| known.or(of_unit(unit)))
}

/// What the SEI before the first slice of a sample with 4-byte lengths says.
pub(super) fn of_sample(sample: &Bytes) -> Hdr {
    let units = Nals::new(sample, 4).map_while(Result::ok);
    let units: Vec<Bytes> =
        units.take_while(|unit| nal_type(unit).is_none_or(|kind| kind >= FIRST_OF_NO_SLICE)).collect();
    of_units(&units)
}

fn of_unit(unit: &[u8]) -> Hdr {
    let body = rbsp(unit.get(2..unit.len().min(WITHIN)).unwrap_or_default());
    let mut found = Hdr::default();
    let mut rest = &body[..];
    while let Some((kind, payload, after)) = message(rest) {
        let mastering = || payload.first_chunk().and_then(MasteringDisplay::from_bytes);
        let light = || payload.first_chunk().and_then(ContentLight::from_bytes);
        match kind {
            MASTERING_DISPLAY => found.mastering = found.mastering.or_else(mastering),
            CONTENT_LIGHT => found.light = found.light.or_else(light),
            _ => {}
        }
        rest = after;
    }
    found
}

/// Type and payload of the first message, and what follows it. `None` at the trailing bits or where it is cut short.
fn message(data: &[u8]) -> Option<(usize, &[u8], &[u8])> {
    let (kind, data) = number(data)?;
    let (size, data) = number(data)?;
    let (payload, rest) = data.split_at_checked(size)?;
    Some((kind, payload, rest))
}

/// A number as bytes that are added up, of which the first below 255 is the last.
fn number(data: &[u8]) -> Option<(usize, &[u8])> {
    let full = data.iter().take_while(|byte| **byte == 0xff).count();
    let last = data.get(full)?;
    Some((full * 255 + usize::from(*last), &data[full + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::hdr::tests::P3_D65;
    use crate::codec::tests::hex;

    /// As x265 writes them (`master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)`,
    /// `max-cll=1000,400`), emulation prevention bytes included.
    const LIGHT: &str = "4e01 90 04 03e80190 80";
    const MASTERING: &str = "4e01 89 18 33c286c41d4c0bb884d03e803d134042 00989680 000003 0032 80";

    const fn light(max_content: u16, max_average: u16) -> Option<ContentLight> {
        Some(ContentLight { max_content, max_average })
    }

    #[test]
    fn messages_of_x265_are_read_from_units_of_their_own_and_from_one() {
        let both = Hdr { mastering: Some(P3_D65), light: light(1_000, 400) };
        assert_eq!(of_units(&[hex(LIGHT), hex(MASTERING)]), both);
        // A user data message of 300 bytes before them, whose size takes two bytes.
        let text = [hex("4e01 05 ff2d"), vec![7; 300].into()].concat();
        let one = [&text[..], &hex(LIGHT)[2..8], &hex(MASTERING)[2..]].concat();
        assert_eq!(of_units(&[one.into()]), both);
    }

    #[test]
    fn only_what_stands_before_the_first_slice_of_a_sample_counts() {
        let slice = hex("2801 af");
        let sample = |units: &[Bytes]| -> Bytes {
            let unit = |unit: &Bytes| [&(unit.len() as u32).to_be_bytes()[..], unit].concat();
            units.iter().flat_map(unit).collect()
        };
        let before = sample(&[hex("4601 50"), hex(LIGHT), slice.clone()]);
        assert_eq!(of_sample(&before), Hdr { mastering: None, light: light(1_000, 400) });
        assert_eq!(of_sample(&sample(&[slice, hex(LIGHT)])), Hdr::default());
    }

    #[test]
    fn the_first_word_counts_and_what_is_cut_short_or_elsewhere_does_not() {
        assert_eq!(of_units(&[hex("4e01 90 04 01f400c8 90 04 03e80190 80")]).light, light(500, 200));
        let cut = ["4e01 90 04 03e801", "4e01 90 03 03e801 80", "4e01 90", "4e01 ff", "4e01", "4e", ""];
        for text in cut {
            assert_eq!(of_units(&[hex(text)]), Hdr::default(), "{text}");
        }
        assert_eq!(of_units(&[hex("5001 90 04 03e80190 80")]), Hdr::default(), "a suffix");
        assert_eq!(of_units(&[hex("4e09 90 04 03e80190 80")]), Hdr::default(), "another layer");
        let far =
            [vec![0x4e, 1, 5], vec![0xff; 16], vec![20], vec![7; 4_100], hex(LIGHT)[2..].to_vec()].concat();
        assert_eq!(of_units(&[far.into()]), Hdr::default(), "a unit is read so far and no further");
    }
}
