//! What is said to the process that makes pictures, and what it answers.
//!
//! A message is a big-endian length and so many bytes. A request is one byte for the codec, the length of its record,
//! the record, and the coded frame. An answer is one byte, 0 or 1, and a JPEG or words.

use std::io::{self, Read};

use aqueduct_common::CodecConfig;
use aqueduct_common::codec::ForeignVideo;
use bytes::Bytes;

/// Longest request: a coded frame and its record.
pub const REQUEST_MAX: usize = 16 << 20;
/// Longest answer. A picture has some ten kilobytes.
pub const ANSWER_MAX: usize = 1 << 20;

/// Codecs that a picture can be made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Codec {
    /// H.264, with an avcC record.
    H264,
    /// H.265, with an hvcC record.
    H265,
    /// AV1, with an av1C record.
    Av1,
    /// VP9, with a vpcC record.
    Vp9,
    /// JPEG.
    Mjpeg,
    /// MPEG-2 video.
    Mpeg2,
}

impl Codec {
    const ALL: [Self; 6] = [Self::H264, Self::H265, Self::Av1, Self::Vp9, Self::Mjpeg, Self::Mpeg2];

    /// The codec of a track, where it is one of these.
    pub const fn of(config: &CodecConfig) -> Option<Self> {
        match config {
            CodecConfig::H264(_) => Some(Self::H264),
            CodecConfig::H265(_) => Some(Self::H265),
            CodecConfig::Av1(_) => Some(Self::Av1),
            CodecConfig::Vp9(_) => Some(Self::Vp9),
            CodecConfig::ForeignVideo(pictures) => Some(match pictures.codec {
                ForeignVideo::Mjpeg => Self::Mjpeg,
                ForeignVideo::Mpeg2 => Self::Mpeg2,
            }),
            _ => None,
        }
    }
}

/// Make a picture of this.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    /// The codec.
    pub codec: Codec,
    /// Its configuration record.
    pub record: Bytes,
    /// A coded frame that decoding can start at.
    pub frame: Bytes,
}

/// Why bytes are no message.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WireError {
    /// It ends before its fields do.
    #[error("a message that is too short")]
    Short,
    /// A first byte that says nothing.
    #[error("a message that begins with {0}")]
    Kind(u8),
    /// Longer than its kind may be.
    #[error("a message of {0} bytes is longer than any may be")]
    Long(usize),
}

impl Request {
    /// What precedes the frame's bytes, which are not copied. `None` where it is longer than a request may be.
    pub fn head(&self) -> Option<Vec<u8>> {
        let body = 5 + self.record.len() + self.frame.len();
        if body > REQUEST_MAX {
            return None;
        }
        let mut head = Vec::with_capacity(9 + self.record.len());
        head.extend_from_slice(&u32::try_from(body).ok()?.to_be_bytes());
        head.push(self.codec as u8);
        head.extend_from_slice(&u32::try_from(self.record.len()).ok()?.to_be_bytes());
        head.extend_from_slice(&self.record);
        Some(head)
    }

    /// Reads a request's body.
    ///
    /// # Errors
    /// Whatever is none.
    pub fn decode(body: &Bytes) -> Result<Self, WireError> {
        let (Some(kind), Some(length)) = (body.first(), body.get(1..5)) else { return Err(WireError::Short) };
        let codec = *Codec::ALL.get(usize::from(*kind)).ok_or(WireError::Kind(*kind))?;
        let length = length.iter().fold(0usize, |sum, byte| (sum << 8) | usize::from(*byte));
        let end = length.checked_add(5).filter(|end| *end <= body.len()).ok_or(WireError::Short)?;
        Ok(Self { codec, record: body.slice(5..end), frame: body.slice(end..) })
    }
}

/// What came of a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// A JPEG.
    Picture(Bytes),
    /// Why there is none.
    Refused(String),
}

impl Answer {
    /// Its bytes, length first. A picture that is too long becomes a refusal.
    pub fn encode(&self) -> Vec<u8> {
        let (kind, body): (u8, &[u8]) = match self {
            Self::Picture(jpeg) if jpeg.len() < ANSWER_MAX => (0, jpeg),
            Self::Picture(_) => (1, b"the picture is too long"),
            Self::Refused(words) => (1, &words.as_bytes()[..words.len().min(1_000)]),
        };
        let length = u32::try_from(body.len() + 1).unwrap_or(u32::MAX);
        let mut bytes = length.to_be_bytes().to_vec();
        bytes.push(kind);
        bytes.extend_from_slice(body);
        bytes
    }

    /// Reads an answer's body. What claims to be a picture has to begin as a JPEG does.
    ///
    /// # Errors
    /// Whatever is none.
    pub fn decode(body: &Bytes) -> Result<Self, WireError> {
        match body.first() {
            Some(0) if body.get(1..3) == Some(&[0xff, 0xd8]) => Ok(Self::Picture(body.slice(1..))),
            Some(1) => Ok(Self::Refused(String::from_utf8_lossy(&body[1..]).into_owned())),
            Some(kind) => Err(WireError::Kind(*kind)),
            None => Err(WireError::Short),
        }
    }
}

/// Reads one message's body; `None` at the end. What has not come takes no memory.
///
/// # Errors
/// When reading fails, ends in the middle, or the length is beyond `most`.
pub fn read(input: &mut impl Read, most: usize) -> io::Result<Option<Bytes>> {
    let mut length = [0; 4];
    match input.read(&mut length)? {
        0 => return Ok(None),
        some => input.read_exact(&mut length[some..])?,
    }
    let length = u32::from_be_bytes(length) as usize;
    if length > most {
        return Err(io::Error::other(WireError::Long(length)));
    }
    let mut body = Vec::new();
    input.by_ref().take(length as u64).read_to_end(&mut body)?;
    if body.len() < length {
        return Err(io::Error::other(WireError::Short));
    }
    Ok(Some(body.into()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(request: &Request) -> Vec<u8> {
        [request.head().unwrap(), request.frame.to_vec()].concat()
    }

    proptest! {
        #[test]
        fn a_request_comes_back_as_it_was(
            kind in 0usize..6,
            record in proptest::collection::vec(any::<u8>(), 0..100),
            frame in proptest::collection::vec(any::<u8>(), 0..1_000),
        ) {
            let request = Request { codec: Codec::ALL[kind], record: record.into(), frame: frame.into() };
            let bytes = written(&request);
            let body = read(&mut bytes.as_slice(), REQUEST_MAX).unwrap().unwrap();
            prop_assert_eq!(Request::decode(&body), Ok(request));
        }

        #[test]
        fn random_bytes_are_refused_and_never_more(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut input = bytes.as_slice();
            while let Ok(Some(body)) = read(&mut input, REQUEST_MAX) {
                prop_assert!(body.len() <= bytes.len());
                let _ = Request::decode(&body);
                let _ = Answer::decode(&body);
            }
        }
    }

    #[test]
    fn an_answer_comes_back_and_only_a_jpeg_is_a_picture() {
        for answer in [Answer::Picture(Bytes::from_static(&[0xff, 0xd8, 1])), Answer::Refused("no".into())] {
            let bytes = answer.encode();
            let body = read(&mut bytes.as_slice(), ANSWER_MAX).unwrap().unwrap();
            assert_eq!(Answer::decode(&body), Ok(answer));
        }
        assert_eq!(Answer::decode(&Bytes::from_static(b"\0<svg>")), Err(WireError::Kind(0)));
        let long = Answer::Picture(vec![0; ANSWER_MAX].into()).encode();
        assert!(long.len() < 100);
    }
}
