//! Session descriptions: which tracks there are and how they are coded (RTSP-10, RTSP-11).

use aqueduct_common::TrackKind;
use sdp_types::{Media, Session};

/// Media sections that are looked at (RTSP-20).
pub const MEDIA_MAX: usize = 8;
/// Longest parameters of a format that are kept.
const PARAMETERS_MAX: usize = 8 << 10;

/// One medium that comes over RTP.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Medium {
    /// `audio` or `video`; `None` for anything else.
    pub kind: Option<TrackKind>,
    /// RTP payload type.
    pub payload_type: u8,
    /// Name of the payload format, in lower case: `h264`, `mpeg4-generic`.
    pub encoding: String,
    /// RTP clock in Hz.
    pub rate: u32,
    /// Channels of sound, where stated.
    pub channels: Option<u16>,
    /// Parameters of the format (`a=fmtp`).
    pub parameters: Option<String>,
    /// What `a=control` says.
    pub control: Option<String>,
    /// It goes from the client to the server: a camera's loudspeaker.
    pub is_backchannel: bool,
}

/// Why a session description cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SdpError {
    /// It is not SDP.
    #[error("the session description cannot be read")]
    Malformed,
    /// It names no media that come over RTP.
    #[error("the session description names no audio or video over RTP")]
    NoMedia,
    /// It names more than [`MEDIA_MAX`].
    #[error("the session description names more than {MEDIA_MAX} media")]
    TooMany,
}

/// Reads a session description. Media that are not over RTP are `None`, so that positions are those of the description.
///
/// # Errors
/// When it is not SDP, or names nothing over RTP, or too much.
pub fn parse(text: &[u8]) -> Result<Vec<Option<Medium>>, SdpError> {
    if !has_whole_lines(text) {
        return Err(SdpError::Malformed);
    }
    let session = Session::parse(text).map_err(|_| SdpError::Malformed)?;
    if session.medias.len() > MEDIA_MAX {
        return Err(SdpError::TooMany);
    }
    let media: Vec<_> = session.medias.iter().map(medium).collect();
    match media.iter().flatten().next() {
        Some(_) => Ok(media),
        None => Err(SdpError::NoMedia),
    }
}

/// Each line is one character, an equals sign and a value. The library panics on a line that is not, once an origin has come.
fn has_whole_lines(text: &[u8]) -> bool {
    let mut lines = text.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    lines.all(|line| matches!(line, [] | [_, b'=', ..]) && line.first() != Some(&b'='))
}

fn medium(media: &Media) -> Option<Medium> {
    if !media.proto.contains("RTP/") {
        return None;
    }
    let first = media.fmt.split_ascii_whitespace().next()?;
    let payload_type = first.parse().ok().filter(|number: &u8| *number < 128)?;
    let of_format = |name| {
        media.attributes.iter().filter(move |attribute| attribute.attribute == name).find_map(|attribute| {
            let (number, rest) = attribute.value.as_deref()?.trim().split_once(' ')?;
            (number == first).then(|| rest.trim().to_owned())
        })
    };
    let (encoding, rate, channels) = match of_format("rtpmap") {
        Some(map) => rtpmap(&map)?,
        None => static_format(payload_type)?,
    };
    let kind = match media.media.as_str() {
        "video" => Some(TrackKind::Video),
        "audio" => Some(TrackKind::Audio),
        _ => None,
    };
    let control = media.attributes.iter().find(|attribute| attribute.attribute == "control");
    Some(Medium {
        kind,
        payload_type,
        encoding,
        rate,
        channels,
        parameters: of_format("fmtp").filter(|text| text.len() <= PARAMETERS_MAX),
        control: control.and_then(|control| control.value.clone()),
        is_backchannel: media.attributes.iter().any(|attribute| attribute.attribute == "sendonly"),
    })
}

/// `H264/90000`, `MPEG4-GENERIC/48000/2`.
fn rtpmap(map: &str) -> Option<(String, u32, Option<u16>)> {
    let mut fields = map.split('/');
    let encoding = fields.next()?.trim().to_ascii_lowercase();
    let rate = fields.next()?.trim().parse().ok().filter(|rate| (1..=1_000_000).contains(rate))?;
    let channels = fields.next().and_then(|text| text.trim().parse().ok()).filter(|count| *count > 0);
    Some((encoding, rate, channels))
}

/// Payload types that need no map (RFC 3551, 6).
fn static_format(payload_type: u8) -> Option<(String, u32, Option<u16>)> {
    let (name, rate, channels) = match payload_type {
        0 => ("pcmu", 8_000, Some(1)),
        8 => ("pcma", 8_000, Some(1)),
        9 => ("g722", 8_000, Some(1)),
        10 => ("l16", 44_100, Some(2)),
        11 => ("l16", 44_100, Some(1)),
        14 => ("mpa", 90_000, None),
        26 => ("jpeg", 90_000, None),
        33 => ("mp2t", 90_000, None),
        _ => return None,
    };
    Some((name.to_owned(), rate, channels))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEAD: &str = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\n";

    fn media(text: &str) -> Vec<Option<Medium>> {
        parse(format!("{HEAD}{text}").as_bytes()).unwrap()
    }

    #[test]
    fn a_camera_s_tracks_are_read() {
        let text = "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1;\
                    sprop-parameter-sets=Z0,aM=\r\na=control:trackID=1\r\n\
                    m=audio 0 RTP/AVP 8\r\na=control:trackID=2\r\n\
                    m=application 0 TCP/x 1\r\n\
                    m=audio 0 RTP/AVP 0\r\na=sendonly\r\n";
        let media = media(text);
        let video = media[0].as_ref().unwrap();
        assert_eq!(
            (video.kind, video.encoding.as_str(), video.rate),
            (Some(TrackKind::Video), "h264", 90_000)
        );
        assert_eq!(video.parameters.as_deref(), Some("packetization-mode=1;sprop-parameter-sets=Z0,aM="));
        let audio = media[1].as_ref().unwrap();
        assert_eq!((audio.encoding.as_str(), audio.rate, audio.channels), ("pcma", 8_000, Some(1)));
        assert_eq!(audio.control.as_deref(), Some("trackID=2"));
        assert_eq!(media[2], None);
        assert!(media[3].as_ref().unwrap().is_backchannel && !audio.is_backchannel);
    }

    #[test]
    fn a_line_without_its_key_is_refused_wherever_it_stands() {
        for line in ["mode=1;profile-level-id=64001f", "nonsense", "=x", "a"] {
            for before in [HEAD, "v=0\r\no=- 0 0 IN IP4 10.0.0.5\r\n"] {
                let text = format!("{before}{line}\r\na=control:trackID=1\r\nm=audio 0 RTP/AVP 0\r\n");
                assert_eq!(parse(text.as_bytes()), Err(SdpError::Malformed), "{line}");
            }
            let text = format!("{HEAD}m=audio 0 RTP/AVP 0\r\n{line}\r\na=x\r\n");
            assert_eq!(parse(text.as_bytes()), Err(SdpError::Malformed), "{line}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_refused() {
        assert_eq!(parse(b"hello"), Err(SdpError::Malformed));
        assert_eq!(parse(HEAD.as_bytes()), Err(SdpError::NoMedia));
        let many = HEAD.to_owned() + &"m=audio 0 RTP/AVP 0\r\n".repeat(9);
        assert_eq!(parse(many.as_bytes()), Err(SdpError::TooMany));
        assert_eq!(media("m=audio 0 RTP/AVP 0\r\nm=video 0 RTP/AVP 200\r\n")[1], None);
        assert_eq!(media("m=audio 0 RTP/AVP 0\r\nm=video 0 RTP/AVP 97\r\na=rtpmap:97 H264/0\r\n")[1], None);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(m=(audio|video) 0 RTP/AVP [0-9]{1,3}\r\n|a=(rtpmap|fmtp):[ -~]{0,20}\r\n){0,12}") {
            let _ = parse(format!("{HEAD}{text}").as_bytes());
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }
    }
}
