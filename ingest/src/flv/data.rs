//! Data messages: `onMetaData`, with or without `@setDataFrame` before it (RTMP-50). Advisory only.

use bytes::Bytes;

use super::{FURTHER_TRACKS, FlvError};
use crate::rtmp::amf0::{self, Value};

/// What a publisher says about itself. Nothing here overrides a codec's own record.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Metadata {
    /// Picture width and height in pixels, where both are stated.
    pub size: Option<(u32, u32)>,
    /// Frames per second.
    pub frame_rate: Option<f64>,
    /// What the encoder calls itself, cut to 100 characters.
    pub encoder: Option<String>,
    /// Languages of audio tracks by their number, where `audioTrackIdInfoMap` says them: RFC 5646 tags.
    pub languages: Vec<(u8, String)>,
}

const ENCODER_MAX: usize = 100;
/// Longest language tag that is taken; RFC 5646 asks for 35.
const LANGUAGE_MAX: usize = 35;

/// Reads a data message. `Ok(None)` for one that is not `onMetaData`.
///
/// # Errors
/// When the message is not AMF0 within its limits.
pub fn parse(body: &Bytes) -> Result<Option<Metadata>, FlvError> {
    let values = amf0::read_all(body).map_err(|_| FlvError::Amf)?;
    let mut values = values.iter();
    let mut name = values.next();
    if name.and_then(Value::as_str) == Some("@setDataFrame") {
        name = values.next();
    }
    if name.and_then(Value::as_str) != Some("onMetaData") {
        return Ok(None);
    }
    Ok(values.next().map(read))
}

fn read(properties: &Value) -> Metadata {
    // Numbers may come as text (RTMP-50); `as_number` reads both.
    let number = |name| properties.property(name).and_then(Value::as_number);
    let pixels = |name| number(name).filter(|n| (1.0..=65_535.0).contains(n)).map(|n| n as u32);
    Metadata {
        size: pixels("width").zip(pixels("height")),
        frame_rate: number("framerate").filter(|rate| (1.0..=1_000.0).contains(rate)),
        encoder: properties.property("encoder").and_then(Value::as_str).map(printable),
        languages: properties.property("audioTrackIdInfoMap").map(languages).unwrap_or_default(),
    }
}

/// The languages in a map from a track's number to its properties (Enhanced RTMP v2, onMetaData).
fn languages(tracks: &Value) -> Vec<(u8, String)> {
    let of = |(number, track): &(String, Value)| {
        let number = number.parse::<u8>().ok().filter(|number| *number <= FURTHER_TRACKS)?;
        let language = track.property("language").and_then(Value::as_str)?;
        let is_tag = (2..=LANGUAGE_MAX).contains(&language.len())
            && language.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        is_tag.then(|| (number, language.to_owned()))
    };
    tracks.properties().iter().filter_map(of).collect()
}

fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(ENCODER_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(width: &[u8], encoder: &[u8], set_data_frame: bool) -> Bytes {
        let mut body = Vec::new();
        if set_data_frame {
            body.extend(b"\x02\x00\x0D@setDataFrame");
        }
        // An ECMA array whose count is only a hint (RTMP-34).
        body.extend(b"\x02\x00\x0AonMetaData\x08\x00\x00\x00\x14");
        body.extend(b"\x00\x05width");
        body.extend(width);
        body.extend(b"\x00\x06height\x00");
        body.extend(720f64.to_be_bytes());
        body.extend(b"\x00\x07encoder");
        body.extend(encoder);
        body.extend(b"\x00\x00\x09");
        body.into()
    }

    #[test]
    fn metadata_is_read_with_and_without_set_data_frame() {
        let mut number = vec![0];
        number.extend(1280f64.to_be_bytes());
        for set_data_frame in [true, false] {
            let read = parse(&metadata(&number, b"\x02\x00\x04obs\n", set_data_frame)).unwrap().unwrap();
            assert_eq!(read.size, Some((1280, 720)));
            assert_eq!(read.encoder.as_deref(), Some("obs"));
        }
    }

    #[test]
    fn numbers_may_be_strings_and_nonsense_is_left_out() {
        let read = parse(&metadata(b"\x02\x00\x041280", b"\x01\x01", true)).unwrap().unwrap();
        assert_eq!((read.size, read.encoder), (Some((1280, 720)), None));
        let read = parse(&metadata(b"\x02\x00\x03-1 ", b"\x05", true)).unwrap().unwrap();
        assert_eq!(read.size, None);
    }

    #[test]
    fn languages_of_audio_tracks_are_read_and_nonsense_is_left_out() {
        let text = |text: &str| Value::String(text.into());
        let track = |language: &str| Value::Object(vec![("language".into(), text(language))]);
        let map = Value::Object(vec![
            ("0".into(), track("en")),
            ("1".into(), track("pt-BR")),
            ("2".into(), track("\" onload")),
            ("9".into(), track("fr")),
            ("x".into(), track("fr")),
            ("3".into(), Value::Null),
        ]);
        let all = Value::Object(vec![("audioTrackIdInfoMap".into(), map)]);
        assert_eq!(read(&all).languages, [(0, "en".to_owned()), (1, "pt-BR".to_owned())]);
    }

    #[test]
    fn other_data_is_passed_over_and_garbage_is_an_error() {
        assert_eq!(parse(&Bytes::from_static(b"\x02\x00\x0AonTextData\x05")), Ok(None));
        assert_eq!(parse(&Bytes::from_static(b"\x02\x00\xFFonMeta")), Err(FlvError::Amf));
        assert_eq!(parse(&Bytes::new()), Ok(None));
    }
}
