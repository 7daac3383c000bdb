//! `colorInfo`, Enhanced RTMP's word on the colours of a track (RTMP-58).

use aqueduct_common::codec::Colour;

use crate::rtmp::amf0::{self, Value};

/// "Unspecified" in each of H.273's tables.
const UNSPECIFIED: u8 = 2;

/// Reads the body of a metadata packet. `None` for one that is not `colorInfo` or cannot be read; `Some(None)` for
/// one that takes back what was said before, or says nothing that a sample entry holds.
pub(super) fn parse(body: &[u8]) -> Option<Option<Colour>> {
    let values = amf0::read_all(body).ok()?;
    let [name, info, ..] = &values[..] else { return None };
    if name.as_str() != Some("colorInfo") {
        return None;
    }
    let Some(config) = info.property("colorConfig") else { return Some(None) };
    let code = |name, reserved: &[u8]| {
        let number = config.property(name).and_then(Value::as_number);
        let code = number.filter(|number| (0.0..=255.0).contains(number)).map(|number| number as u8);
        code.filter(|code| !reserved.contains(code)).unwrap_or(UNSPECIFIED)
    };
    // 0 is what an encoder that does not know leaves there: reserved, or a matrix for RGB, which is not sent here.
    Some(Colour::stated(
        code("colorPrimaries", &[0, 3]),
        code("transferCharacteristics", &[0, 3]),
        code("matrixCoefficients", &[0, 3]),
        false,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(config: &[(&str, Value)]) -> Vec<u8> {
        let config = config.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let info = Value::Object(vec![("colorConfig".into(), Value::Object(config))]);
        amf0::write_all(&["colorInfo".into(), info])
    }

    #[test]
    fn colours_are_read_and_taken_back() {
        let hdr = info(&[
            ("bitDepth", Value::Number(10.0)),
            ("colorPrimaries", Value::Number(9.0)),
            ("transferCharacteristics", Value::Number(16.0)),
            ("matrixCoefficients", Value::Number(9.0)),
        ]);
        let pq = Colour { primaries: 9, transfer: 16, matrix: 9, full_range: false };
        assert_eq!(parse(&hdr), Some(Some(pq)));
        for nothing in [Value::Undefined, Value::Object(Vec::new())] {
            assert_eq!(parse(&amf0::write_all(&["colorInfo".into(), nothing])), Some(None));
        }
    }

    #[test]
    fn numbers_out_of_range_say_nothing_and_other_metadata_is_passed_over() {
        for odd in [-1.0, 0.0, 256.0, f64::NAN] {
            assert_eq!(parse(&info(&[("colorPrimaries", Value::Number(odd))])), Some(None), "{odd}");
        }
        assert_eq!(parse(&amf0::write_all(&["other".into(), Value::Null])), None);
        assert_eq!(parse(&[2, 0, 9, b'c']), None);
        assert_eq!(parse(&[]), None);
    }
}
