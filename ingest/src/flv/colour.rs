//! `colorInfo`, Enhanced RTMP's word on the colours of a track (RTMP-58).

use aqueduct_common::codec::{Colour, ContentLight, Hdr, MasteringDisplay};

use crate::rtmp::amf0::{self, Value};

/// "Unspecified" in each of H.273's tables.
const UNSPECIFIED: u8 = 2;
/// The brightest that PQ can say, in cd/m².
const BRIGHTEST: f64 = 10_000.0;

/// What a publisher says of its colours. Empty, it takes back what was said before.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ColourInfo {
    /// Primaries, transfer and matrix, where it says any of them.
    pub colour: Option<Colour>,
    /// Mastering display and light level.
    pub hdr: Hdr,
}

/// Reads the body of a metadata packet. `None` for one that is not `colorInfo` or cannot be read; an empty answer for
/// one that takes back what was said before, or says nothing that a sample entry holds.
pub(super) fn parse(body: &[u8]) -> Option<ColourInfo> {
    let values = amf0::read_all(body).ok()?;
    let [name, info, ..] = &values[..] else { return None };
    if name.as_str() != Some("colorInfo") {
        return None;
    }
    let mastering = info.property("hdrMdcv").and_then(mastering);
    let light = info.property("hdrCll").and_then(light);
    let colour = info.property("colorConfig").and_then(colour);
    Some(ColourInfo { colour, hdr: Hdr { mastering, light } })
}

fn colour(config: &Value) -> Option<Colour> {
    let code = |name, reserved: &[u8]| {
        let number = config.property(name).and_then(Value::as_number);
        let code = number.filter(|number| (0.0..=255.0).contains(number)).map(|number| number as u8);
        code.filter(|code| !reserved.contains(code)).unwrap_or(UNSPECIFIED)
    };
    // 0 is what an encoder that does not know leaves there: reserved, or a matrix for RGB, which is not sent here.
    Colour::stated(
        code("colorPrimaries", &[0, 3]),
        code("transferCharacteristics", &[0, 3]),
        code("matrixCoefficients", &[0, 3]),
        false,
    )
}

/// Chromaticities are in 0 to 1, luminance is in cd/m²; OBS tells the luminance alone.
fn mastering(info: &Value) -> Option<MasteringDisplay> {
    let coordinate = |name| scaled(info.property(name), 1.0, 50_000.0) as u16;
    let luminance = |name| scaled(info.property(name), BRIGHTEST, 10_000.0);
    MasteringDisplay {
        primaries: [
            (coordinate("greenX"), coordinate("greenY")),
            (coordinate("blueX"), coordinate("blueY")),
            (coordinate("redX"), coordinate("redY")),
        ],
        white: (coordinate("whitePointX"), coordinate("whitePointY")),
        max_luminance: luminance("maxLuminance"),
        min_luminance: luminance("minLuminance"),
    }
    .stated()
}

fn light(info: &Value) -> Option<ContentLight> {
    let level = |name| scaled(info.property(name), BRIGHTEST, 1.0) as u16;
    ContentLight { max_content: level("maxCLL"), max_average: level("maxFall") }.stated()
}

/// A number of 0 to `most` in steps of 1/`steps`; 0, which is "unknown", where there is none or it is out of range.
fn scaled(value: Option<&Value>, most: f64, steps: f64) -> u32 {
    let number = value.and_then(Value::as_number).filter(|number| (0.0..=most).contains(number));
    number.map_or(0, |number| (number * steps).round() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(pairs: &[(&str, f64)]) -> Value {
        Value::Object(pairs.iter().map(|(name, value)| ((*name).to_owned(), Value::Number(*value))).collect())
    }

    fn info(parts: &[(&str, &[(&str, f64)])]) -> Vec<u8> {
        let parts = parts.iter().map(|(name, pairs)| ((*name).to_owned(), object(pairs))).collect();
        amf0::write_all(&["colorInfo".into(), Value::Object(parts)])
    }

    #[test]
    fn colours_are_read_and_taken_back() {
        let config = [
            ("bitDepth", 10.0),
            ("colorPrimaries", 9.0),
            ("transferCharacteristics", 16.0),
            ("matrixCoefficients", 9.0),
        ];
        let pq = Colour { primaries: 9, transfer: 16, matrix: 9, full_range: false };
        let told = ColourInfo { colour: Some(pq), hdr: Hdr::default() };
        assert_eq!(parse(&info(&[("colorConfig", &config)])), Some(told));
        for nothing in [Value::Undefined, Value::Object(Vec::new())] {
            let nothing = amf0::write_all(&["colorInfo".into(), nothing]);
            assert_eq!(parse(&nothing), Some(ColourInfo::default()));
        }
    }

    #[test]
    fn hdr_metadata_is_read_in_the_units_of_its_boxes() {
        let display = [
            ("redX", 0.68),
            ("redY", 0.32),
            ("greenX", 0.265),
            ("greenY", 0.69),
            ("blueX", 0.15),
            ("blueY", 0.06),
            ("whitePointX", 0.3127),
            ("whitePointY", 0.329),
            ("maxLuminance", 1_000.0),
            ("minLuminance", 0.005),
        ];
        let body = info(&[("hdrCll", &[("maxFall", 400.0), ("maxCLL", 1_000.0)]), ("hdrMdcv", &display)]);
        let mastering = MasteringDisplay {
            primaries: [(13_250, 34_500), (7_500, 3_000), (34_000, 16_000)],
            white: (15_635, 16_450),
            max_luminance: 10_000_000,
            min_luminance: 50,
        };
        let light = Some(ContentLight { max_content: 1_000, max_average: 400 });
        let hdr = Hdr { mastering: Some(mastering), light };
        assert_eq!(parse(&body), Some(ColourInfo { colour: None, hdr }));
        // As OBS sends it.
        let bare = info(&[("hdrMdcv", &[("maxLuminance", 1_000.0), ("minLuminance", 0.0)])]);
        let mastering = MasteringDisplay { max_luminance: 10_000_000, ..MasteringDisplay::default() };
        assert_eq!(parse(&bare).and_then(|told| told.hdr.mastering), Some(mastering));
    }

    #[test]
    fn hdr_numbers_out_of_range_say_nothing() {
        for odd in [-1.0, 10_000.5, f64::NAN, f64::INFINITY] {
            let body =
                info(&[("hdrCll", &[("maxCLL", odd)]), ("hdrMdcv", &[("redX", odd), ("maxLuminance", odd)])]);
            assert_eq!(parse(&body), Some(ColourInfo::default()), "{odd}");
        }
        let body = info(&[("hdrMdcv", &[("redX", 34_000.0)])]);
        assert_eq!(parse(&body), Some(ColourInfo::default()), "not in 0 to 1");
    }

    #[test]
    fn numbers_out_of_range_say_nothing_and_other_metadata_is_passed_over() {
        for odd in [-1.0, 0.0, 256.0, f64::NAN] {
            let body = info(&[("colorConfig", &[("colorPrimaries", odd)])]);
            assert_eq!(parse(&body), Some(ColourInfo::default()), "{odd}");
        }
        assert_eq!(parse(&amf0::write_all(&["other".into(), Value::Null])), None);
        assert_eq!(parse(&[2, 0, 9, b'c']), None);
        assert_eq!(parse(&[]), None);
    }
}
