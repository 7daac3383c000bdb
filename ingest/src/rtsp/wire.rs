//! Where RTSP messages and interleaved frames begin and end in a stream of bytes (RTSP-18, RTSP-20).
//!
//! Both roles read through it: whatever a peer sends, no more than one message of bounded length is held.

use bytes::{Buf, Bytes, BytesMut};

/// Longest first line.
const LINE_MAX: usize = 2 << 10;
/// Longest block of headers with its first line.
const HEAD_MAX: usize = 16 << 10;
/// Most headers.
const HEADERS_MAX: usize = 64;
/// Longest body.
const BODY_MAX: usize = 64 << 10;
/// Bytes in a row that are neither a message nor a frame.
const GARBAGE_MAX: usize = 256 << 10;
/// Bytes of an interleaved frame before its payload.
const FRAME_HEAD: usize = 4;

/// What a stream of bytes is made of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Unit {
    /// A request or a response, whole.
    Message(Bytes),
    /// An interleaved frame.
    Data {
        /// Its channel.
        channel: u8,
        /// The frame with its four bytes of header.
        raw: Bytes,
    },
}

impl Unit {
    /// The payload of an interleaved frame; a message as it is.
    pub fn payload(&self) -> Bytes {
        match self {
            Self::Message(raw) => raw.clone(),
            Self::Data { raw, .. } => raw.slice(FRAME_HEAD.min(raw.len())..),
        }
    }

    /// The bytes as they came.
    pub const fn raw(&self) -> &Bytes {
        match self {
            Self::Message(raw) | Self::Data { raw, .. } => raw,
        }
    }
}

/// Why the peer cannot be understood any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WireError {
    /// A first line beyond 2 KiB.
    #[error("its first line is longer than {LINE_MAX} bytes")]
    Line,
    /// Headers beyond 16 KiB or 64.
    #[error("its headers are longer than {HEAD_MAX} bytes, or more than {HEADERS_MAX}")]
    Head,
    /// A body beyond 64 KiB.
    #[error("its body is longer than {BODY_MAX} bytes")]
    Body,
    /// Nothing that can be read for 256 KiB.
    #[error("it is no RTSP")]
    Garbage,
}

impl WireError {
    /// The metric label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Line | Self::Head | Self::Body => "limit_message",
            Self::Garbage => "malformed",
        }
    }
}

/// Finds the units of one direction of one connection.
#[derive(Clone, Debug, Default)]
pub struct Framer {
    /// Length of the head at the front of the buffer that was searched in vain for its end.
    searched: usize,
    garbage: usize,
    skipped: u64,
}

impl Framer {
    /// Takes the next whole unit off the front of `input`; `None` until more has come. Bytes that are neither a message
    /// nor a frame are skipped.
    ///
    /// # Errors
    /// When a unit would be longer than what is taken, or none comes. Nothing more can be read then.
    pub fn next(&mut self, input: &mut BytesMut) -> Result<Option<Unit>, WireError> {
        loop {
            match input.first() {
                None => return Ok(None),
                Some(b'$') => match self.frame(input) {
                    Frame::Whole(unit) => return Ok(Some(unit)),
                    Frame::More => return Ok(None),
                    Frame::None => self.skip(input, 1)?,
                },
                Some(byte) if byte.is_ascii_uppercase() && self.may_be_message(input) => {
                    return self.message(input);
                }
                Some(_) => {
                    let begins = |byte: &u8| *byte == b'$' || byte.is_ascii_uppercase();
                    let next = input[1..].iter().position(begins).map_or(input.len(), |at| at + 1);
                    self.skip(input, next)?;
                }
            }
        }
    }

    /// Bytes skipped so far, line ends between messages not counted.
    pub const fn skipped(&self) -> u64 {
        self.skipped
    }

    fn skip(&mut self, input: &mut BytesMut, count: usize) -> Result<(), WireError> {
        let lost = input[..count].iter().filter(|byte| !byte.is_ascii_whitespace()).count();
        input.advance(count);
        self.searched = 0;
        self.skipped += lost as u64;
        self.garbage += count;
        if self.garbage > GARBAGE_MAX { Err(WireError::Garbage) } else { Ok(()) }
    }

    fn frame(&mut self, input: &mut BytesMut) -> Frame {
        let &[_, channel, high, low, ..] = &input[..] else { return Frame::More };
        let length = usize::from(u16::from_be_bytes([high, low]));
        // Nobody uses more channels than eight tracks need, and no packet is empty.
        if channel >= 32 || length == 0 {
            return Frame::None;
        }
        if input.len() < FRAME_HEAD + length {
            return Frame::More;
        }
        self.garbage = 0;
        Frame::Whole(Unit::Data { channel, raw: input.split_to(FRAME_HEAD + length).freeze() })
    }

    /// The first bytes are those of a request line or a status line.
    fn may_be_message(&self, input: &[u8]) -> bool {
        if self.searched > 0 {
            return true;
        }
        let word = input.iter().take(24).position(|byte| !byte.is_ascii_uppercase() && *byte != b'_');
        match word {
            // `RTSP/1.0 200 OK` and `OPTIONS rtsp://…`
            Some(at) => (at >= 4 && input[at] == b' ') || input.starts_with(b"RTSP/"),
            None => input.len() < 24,
        }
    }

    fn message(&mut self, input: &mut BytesMut) -> Result<Option<Unit>, WireError> {
        let Some(head) = head_end(input, self.searched) else {
            self.searched = input.len();
            let line = input.iter().take(LINE_MAX + 1).position(|byte| *byte == b'\n');
            return match (line, input.len()) {
                (None, length) if length > LINE_MAX => Err(WireError::Line),
                (_, length) if length > HEAD_MAX => Err(WireError::Head),
                _ => Ok(None),
            };
        };
        if head > HEAD_MAX || count_lines(&input[..head]) > HEADERS_MAX + 2 {
            return Err(WireError::Head);
        }
        let body = content_length(&input[..head]);
        if body > BODY_MAX {
            return Err(WireError::Body);
        }
        if input.len() < head + body {
            // The head is found again when the rest is here: it is short.
            self.searched = head.saturating_sub(4).max(1);
            return Ok(None);
        }
        self.searched = 0;
        self.garbage = 0;
        Ok(Some(Unit::Message(input.split_to(head + body).freeze())))
    }
}

enum Frame {
    Whole(Unit),
    More,
    None,
}

/// Where the empty line behind the headers ends.
fn head_end(input: &[u8], searched: usize) -> Option<usize> {
    let from = searched.saturating_sub(3);
    let ends = |at: &usize| input[*at..].starts_with(b"\r\n\r\n") || input[*at..].starts_with(b"\n\n");
    let at = (from..input.len()).find(ends)?;
    Some(at + if input[at] == b'\r' { 4 } else { 2 })
}

fn count_lines(head: &[u8]) -> usize {
    head.iter().filter(|byte| **byte == b'\n').count()
}

/// What `Content-Length` says; 0 where it says nothing that is a number.
fn content_length(head: &[u8]) -> usize {
    const NAME: &[u8] = b"content-length:";
    let lines = head.split(|byte| *byte == b'\n');
    let mut value = lines.filter_map(|line| {
        let (name, value) = line.split_at_checked(NAME.len())?;
        name.eq_ignore_ascii_case(NAME).then_some(value)
    });
    let text = value.next_back().and_then(|value| std::str::from_utf8(value).ok());
    // A number that is none that fits is too long in any case.
    let number = |text: &str| match text.trim() {
        digits if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            digits.parse().unwrap_or(usize::MAX)
        }
        _ => 0,
    };
    text.map_or(0, number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(bytes: &[u8]) -> (Vec<Unit>, Result<(), WireError>) {
        let (mut framer, mut input) = (Framer::default(), BytesMut::from(bytes));
        let mut units = Vec::new();
        loop {
            match framer.next(&mut input) {
                Ok(Some(unit)) => units.push(unit),
                Ok(None) => return (units, Ok(())),
                Err(error) => return (units, Err(error)),
            }
        }
    }

    fn message(text: &'static [u8]) -> Unit {
        Unit::Message(Bytes::from_static(text))
    }

    fn data(channel: u8, raw: &'static [u8]) -> Unit {
        Unit::Data { channel, raw: Bytes::from_static(raw) }
    }

    const REQUEST: &[u8] = b"ANNOUNCE rtsp://h/live/x RTSP/1.0\r\nCSeq: 2\r\ncontent-length: 3\r\n\r\nv=0";

    #[test]
    fn frames_and_messages_are_told_apart_wherever_reads_end() {
        let bytes = [b"$\x00\x00\x02ab", REQUEST, b"\r\n$\x01\x00\x01cRTSP/1.0 200 OK\n\n"].concat();
        let expected = vec![
            data(0, b"$\x00\x00\x02ab"),
            message(REQUEST),
            data(1, b"$\x01\x00\x01c"),
            message(b"RTSP/1.0 200 OK\n\n"),
        ];
        for cut in 0..=bytes.len() {
            let (mut framer, mut input) = (Framer::default(), BytesMut::new());
            let mut units = Vec::new();
            for half in [&bytes[..cut], &bytes[cut..]] {
                input.extend_from_slice(half);
                while let Some(unit) = framer.next(&mut input).unwrap() {
                    units.push(unit);
                }
            }
            assert_eq!(units, expected, "cut at {cut}");
            assert_eq!((framer.skipped(), input.len()), (0, 0));
        }
    }

    #[test]
    fn what_is_neither_is_skipped() {
        let (units, result) =
            all(b"\x00\xffgarbage Q$\xff\x00\x05hello$\x02\x00\x01zOPTIONS * RTSP/1.0\r\n\r\n");
        assert_eq!(units, [data(2, b"$\x02\x00\x01z"), message(b"OPTIONS * RTSP/1.0\r\n\r\n")]);
        assert_eq!(result, Ok(()));
    }

    #[test]
    fn nothing_is_taken_without_end() {
        let endless = |line: &[u8]| [b"RTSP/1.0 200 OK\r\n".as_slice(), &line.repeat(20_000)].concat();
        assert_eq!(all(&endless(b"A: b\r\n")).1, Err(WireError::Head));
        assert_eq!(all(&endless(b"Aaaaaaaaaaaaa")).1, Err(WireError::Head));
        let many = [endless(b"")[..17].to_vec(), b"A: b\r\n".repeat(66), b"\r\n".to_vec()].concat();
        assert_eq!(all(&many).1, Err(WireError::Head));
        assert_eq!(all(&[b"RTSP/".as_slice(), &b"1".repeat(5_000)].concat()).1, Err(WireError::Line));
        for length in ["65537", "999999999999999999999999"] {
            let text = format!("RTSP/1.0 200 OK\r\nContent-Length: {length}\r\n\r\n");
            assert_eq!(all(text.as_bytes()).1, Err(WireError::Body));
        }
        assert_eq!(all(&vec![b'x'; GARBAGE_MAX + 1]).1, Err(WireError::Garbage));
        assert_eq!(all(&b"$\xff\x00\x05".repeat(GARBAGE_MAX / 4 + 1)).1, Err(WireError::Garbage));
    }

    proptest! {
        #[test]
        fn any_bytes_end(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = all(&bytes);
        }

        #[test]
        fn any_ascii_ends(bytes in "[$A-Z:/ 0-9\r\n]{0,600}") {
            let _ = all(bytes.as_bytes());
        }
    }
}
