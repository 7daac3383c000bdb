//! Commands as publishers send them, vetted (RTMP-23 to RTMP-32).

use aqueduct_common::Secret;

use super::amf0::{self, Amf0Error, Value};

/// What encoders are called at most, in characters.
const ENCODER_LENGTH: usize = 100;

/// What we take in Enhanced RTMP (RTMP-59).
const VIDEO_CODECS: [&str; 4] = ["avc1", "hvc1", "av01", "vp09"];
/// What we take in Enhanced RTMP (RTMP-59).
const AUDIO_CODECS: [&str; 2] = ["mp4a", "Opus"];
/// `CanForward` of a FourCC info map.
const CAN_FORWARD: f64 = 4.0;
/// Reconnect, ModEx and its nanosecond offset. Multitrack is read but only track 0 is used, so it is not offered.
const CAPABILITIES: f64 = 13.0;

/// A command that means something to us.
#[derive(Clone, PartialEq, Debug)]
pub enum Command {
    /// `connect`.
    Connect(Box<Client>),
    /// `createStream`.
    CreateStream,
    /// `publish`, with the first string: name, parameters and key.
    Publish(Secret),
    /// `releaseStream` and `_checkbw`, which want any answer (RTMP-27, RTMP-30).
    WantsResult,
    /// `FCPublish`, which some encoders want answered twice (RTMP-27).
    FcPublish,
    /// `FCUnpublish`: the end of the publish on this connection.
    FcUnpublish,
    /// `deleteStream` (`true`) or `closeStream`, of this stream or else of the one that it came on.
    Close(Option<u32>, bool),
    /// `play`, which is not offered.
    Play,
    /// Anything else (RTMP-30).
    Other,
}

/// What `connect` said (RTMP-24).
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Client {
    /// `app`, as it came. It may hold a key.
    pub app: Secret,
    /// `tcUrl`, as it came. It may hold a key.
    pub tc_url: Option<Secret>,
    /// `flashVer`: printable characters only.
    pub encoder: String,
    /// `fourCcList`: a version 1 client's list of codecs.
    pub four_ccs: Vec<String>,
    /// It said something about Enhanced RTMP version 2: `videoFourCcInfoMap`, `audioFourCcInfoMap` or `capsEx`.
    pub enhanced: bool,
    /// Bits of `capsEx`.
    pub capabilities: u32,
}

impl Client {
    /// It understands a request to reconnect (RTMP-61).
    pub const fn reconnects(&self) -> bool {
        self.capabilities & 1 != 0
    }

    /// What the reply says of Enhanced RTMP: nothing to a client that did not (RTMP-59).
    pub fn answer(&self) -> Vec<(String, Value)> {
        let mut properties = Vec::new();
        if !self.four_ccs.is_empty() {
            let known = |four_cc: &&String| {
                *four_cc == "*"
                    || VIDEO_CODECS.contains(&four_cc.as_str())
                    || AUDIO_CODECS.contains(&four_cc.as_str())
            };
            let mirrored = self.four_ccs.iter().filter(known).map(|four_cc| four_cc.as_str().into());
            properties.push(("fourCcList".to_owned(), Value::StrictArray(mirrored.collect())));
        }
        if self.enhanced {
            let map = |codecs: &[&str]| {
                Value::Object(
                    codecs.iter().map(|codec| ((*codec).into(), Value::Number(CAN_FORWARD))).collect(),
                )
            };
            properties.push(("videoFourCcInfoMap".to_owned(), map(&VIDEO_CODECS)));
            properties.push(("audioFourCcInfoMap".to_owned(), map(&AUDIO_CODECS)));
            properties.push(("capsEx".to_owned(), Value::Number(CAPABILITIES)));
        }
        properties
    }

    fn read(object: &Value) -> Self {
        let text = |name| object.property(name).and_then(Value::as_str);
        let list = |value: &Value| match value {
            Value::StrictArray(values) => {
                values.iter().filter_map(Value::as_str).map(str::to_owned).collect()
            }
            _ => Vec::new(),
        };
        let version_2 = ["videoFourCcInfoMap", "audioFourCcInfoMap", "capsEx"];
        Self {
            app: Secret::new(text("app").unwrap_or_default().to_owned()),
            tc_url: text("tcUrl").map(|url| Secret::new(url.to_owned())),
            encoder: printable(text("flashVer").unwrap_or_default()),
            four_ccs: object.property("fourCcList").map(list).unwrap_or_default(),
            enhanced: version_2.iter().any(|name| object.property(name).is_some()),
            capabilities: object.property("capsEx").and_then(Value::as_number).unwrap_or_default() as u32,
        }
    }
}

/// Why a command is not one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CommandError {
    /// It is not AMF0 within bounds.
    #[error("a command: {0}")]
    Amf0(#[from] Amf0Error),
    /// It does not begin with a name and a transaction number.
    #[error("a command does not begin with a name and a number")]
    Shape,
}

/// The transaction number and the command.
pub fn read(body: &[u8]) -> Result<(f64, Command), CommandError> {
    // What stands before a fault may be all that is needed; a broken limit is never harmless.
    let (values, fault) = amf0::read_prefix(body);
    if let Some(fault) = fault.filter(|fault| fault.is_limit() || values.len() < 2) {
        return Err(fault.into());
    }
    let (Some(Value::String(name)), Some(Value::Number(transaction))) = (values.first(), values.get(1))
    else {
        return Err(CommandError::Shape);
    };
    let argument = values.get(3);
    let stream_id = || argument.and_then(Value::as_number).map(|number| number as u32);
    let command = match name.as_str() {
        "connect" => Command::Connect(Box::new(Client::read(values.get(2).unwrap_or(&Value::Null)))),
        "createStream" => Command::CreateStream,
        "publish" => {
            let name = argument.and_then(Value::as_str).ok_or(CommandError::Shape)?;
            Command::Publish(Secret::new(name.to_owned()))
        }
        "releaseStream" | "_checkbw" => Command::WantsResult,
        "FCPublish" => Command::FcPublish,
        "FCUnpublish" => Command::FcUnpublish,
        "deleteStream" => Command::Close(stream_id(), true),
        "closeStream" => Command::Close(stream_id(), false),
        "play" | "play2" => Command::Play,
        _ => Command::Other,
    };
    Ok((*transaction, command))
}

fn printable(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(ENCODER_LENGTH).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn connect_is_read_whole() {
        // RTMP-24, as OBS sends it, with what Enhanced RTMP adds.
        let object = Value::Object(vec![
            ("app".into(), "live".into()),
            ("type".into(), "nonprivate".into()),
            ("flashVer".into(), "FMLE/3.0 (compatible; \u{7}FMSc/1.0)".into()),
            ("swfUrl".into(), "rtmp://h/live".into()),
            ("tcUrl".into(), "rtmp://h/live".into()),
            ("fourCcList".into(), Value::StrictArray(vec!["av01".into(), Value::Null, "hvc1".into()])),
            ("capsEx".into(), Value::Number(5.0)),
        ]);
        let body = amf0::write_all(&["connect".into(), Value::Number(1.0), object]);
        let client = Client {
            app: Secret::new("live".into()),
            tc_url: Some(Secret::new("rtmp://h/live".into())),
            encoder: "FMLE/3.0 (compatible; FMSc/1.0)".into(),
            four_ccs: vec!["av01".into(), "hvc1".into()],
            enhanced: true,
            capabilities: 5,
        };
        assert!(client.reconnects());
        assert_eq!(read(&body), Ok((1.0, Command::Connect(Box::new(client)))));
    }

    #[test]
    fn no_key_is_printed_wherever_it_stood() {
        const KEY: &str = "show-key-0123456789";
        let with_key = |text: &str| Value::from(format!("{text}?key={KEY}").as_str());
        let object = Value::Object(vec![
            ("app".into(), with_key("live")),
            ("tcUrl".into(), with_key("rtmp://h/live")),
        ]);
        for command in [
            ["connect".into(), Value::Number(1.0), object, Value::Null],
            ["publish".into(), Value::Number(5.0), Value::Null, with_key("show")],
        ] {
            let printed = format!("{:?}", read(&amf0::write_all(&command)).unwrap());
            assert!(!printed.contains(KEY), "{printed}");
        }
    }

    #[test]
    fn only_what_is_implemented_is_answered_and_only_when_asked() {
        // RTMP-59.
        assert_eq!(Client::default().answer(), []);
        let version_1 = Client { four_ccs: vec!["hvc1".into(), "vvc1".into()], ..Client::default() };
        let mirrored = Value::StrictArray(vec!["hvc1".into()]);
        assert_eq!(version_1.answer(), [("fourCcList".to_owned(), mirrored)]);
        let version_2 = Client { enhanced: true, ..Client::default() }.answer();
        let names: Vec<_> = version_2.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["videoFourCcInfoMap", "audioFourCcInfoMap", "capsEx"]);
        assert_eq!(version_2[0].1.property("av01"), Some(&Value::Number(4.0)));
        assert_eq!(version_2[2].1, Value::Number(13.0));
    }

    #[test]
    fn commands_that_break_rml_rtmp_are_errors_here() {
        let command = |values: &[Value]| read(&amf0::write_all(values));
        assert_eq!(command(&[]), Err(CommandError::Shape));
        assert_eq!(command(&["connect".into()]), Err(CommandError::Shape));
        assert_eq!(command(&[Value::Number(1.0), Value::Number(1.0)]), Err(CommandError::Shape));
        assert_eq!(command(&["connect".into(), "1".into()]), Err(CommandError::Shape));
        assert_eq!(command(&["publish".into(), Value::Number(5.0), Value::Null]), Err(CommandError::Shape));
        let mut deep = amf0::write_all(&["connect".into(), Value::Number(1.0)]);
        deep.extend([0x0a, 0, 0, 0, 1].repeat(12_000));
        assert_eq!(read(&deep), Err(CommandError::Amf0(Amf0Error::TooDeep)));
        // Without the object it is poor, but whole enough.
        let poor = command(&["connect".into(), Value::Number(1.0)]);
        assert_eq!(poor, Ok((1.0, Command::Connect(Box::default()))));
    }

    #[test]
    fn what_cannot_be_read_behind_the_name_is_left_out() {
        let mut body = amf0::write_all(&["FCPublish".into(), Value::Number(3.0), Value::Null]);
        body.extend([0x11, 1, 2]);
        assert_eq!(read(&body), Ok((3.0, Command::FcPublish)));
    }

    #[test]
    fn closing_names_its_stream_or_not() {
        let command = |name: &str, more: &[Value]| {
            let head = [name.into(), Value::Number(0.0), Value::Null];
            read(&amf0::write_all(&[&head, more].concat())).unwrap().1
        };
        assert_eq!(command("deleteStream", &[Value::Number(1.0)]), Command::Close(Some(1), true));
        assert_eq!(command("deleteStream", &[Value::Number(f64::NAN)]), Command::Close(Some(0), true));
        assert_eq!(command("closeStream", &[]), Command::Close(None, false));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = read(&bytes);
        }
    }
}
