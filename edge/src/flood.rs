//! HTTP/2 frames that cost work and ask for nothing, told from the bytes that come in. Pure.
//!
//! The library under hyper bounds what one connection can hold; this bounds what it can make us do: streams that are
//! begun and never become a request, resets, pings, settings, empty frames, and heads that go on and on
//! (CVE-2019-9511 to 9518, CVE-2023-44487, CVE-2024-27316). What a player may send grows with what it asks for.

use crate::tally::Shed;

const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME_HEAD: usize = 9;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;

/// Streams that may be begun beyond two for each request: as many as may be open at once, and as many again.
pub(crate) const SPARE_STREAMS: u64 = 256;
/// Frames that ask for nothing, beyond eight for each request and one for each KiB that was sent.
const SPARE_FRAMES: u64 = 2_048;
/// Longest head, as it comes: compressed.
const MAX_BLOCK: u64 = 64 * 1_024;
/// Frames that one head may come in.
const MAX_BLOCK_FRAMES: u32 = 32;

/// What a connection has asked for and taken so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Worth {
    /// Requests.
    pub(crate) requests: u64,
    /// Bytes of bodies.
    pub(crate) moved: u64,
}

/// Watches what comes in on one connection.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    state: State,
    streams: u64,
    frames: u64,
    block: u64,
    block_frames: u32,
}

#[derive(Debug)]
enum State {
    /// So many bytes of the preface came.
    Preface(usize),
    /// The head of a frame is coming.
    Head { bytes: [u8; FRAME_HEAD], have: usize },
    /// So many bytes of a frame are left.
    Payload(usize),
    /// It is no HTTP/2, or the connection was told off.
    Off,
}

impl Default for State {
    fn default() -> Self {
        Self::Preface(0)
    }
}

impl Watch {
    /// Takes the next bytes; says so once if there is no need to put up with more.
    pub(crate) fn push(&mut self, mut bytes: &[u8], worth: Worth) -> Option<Shed> {
        while !bytes.is_empty() {
            match &mut self.state {
                State::Off => return None,
                State::Preface(have) => {
                    let take = bytes.len().min(PREFACE.len() - *have);
                    let same = PREFACE[*have..*have + take] == bytes[..take];
                    *have += take;
                    bytes = &bytes[take..];
                    if !same {
                        self.state = State::Off;
                    } else if *have == PREFACE.len() {
                        self.state = State::Head { bytes: [0; FRAME_HEAD], have: 0 };
                    }
                }
                State::Payload(left) => {
                    let take = bytes.len().min(*left);
                    *left -= take;
                    bytes = &bytes[take..];
                    if *left == 0 {
                        self.state = State::Head { bytes: [0; FRAME_HEAD], have: 0 };
                    }
                }
                State::Head { bytes: head, have } => {
                    let take = bytes.len().min(FRAME_HEAD - *have);
                    head[*have..*have + take].copy_from_slice(&bytes[..take]);
                    *have += take;
                    bytes = &bytes[take..];
                    if *have == FRAME_HEAD {
                        let head = *head;
                        if let Some(reason) = self.frame(head, worth) {
                            self.state = State::Off;
                            return Some(reason);
                        }
                    }
                }
            }
        }
        None
    }

    /// A frame begins.
    fn frame(&mut self, head: [u8; FRAME_HEAD], worth: Worth) -> Option<Shed> {
        let [a, b, c, kind, ..] = head;
        let len = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        self.state =
            if len == 0 { State::Head { bytes: [0; FRAME_HEAD], have: 0 } } else { State::Payload(len) };
        match kind {
            HEADERS => {
                self.streams += 1;
                (self.block, self.block_frames) = (len as u64, 1);
            }
            CONTINUATION => {
                self.block += len as u64;
                self.block_frames += 1;
            }
            DATA if len > 0 => {}
            _ => self.frames += 1,
        }
        if self.block > MAX_BLOCK || self.block_frames > MAX_BLOCK_FRAMES {
            return Some(Shed::HeadSize);
        }
        let streams = SPARE_STREAMS + 2 * worth.requests;
        let frames = SPARE_FRAMES + 8 * worth.requests + worth.moved / 1_024;
        (self.streams > streams || self.frames > frames).then_some(Shed::Flood)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RST_STREAM: u8 = 3;
    const PING: u8 = 6;

    fn frame(kind: u8, len: usize) -> Vec<u8> {
        let mut bytes = vec![(len >> 16) as u8, (len >> 8) as u8, len as u8, kind, 0, 0, 0, 0, 1];
        bytes.resize(FRAME_HEAD + len, 7);
        bytes
    }

    /// How many of these frames pass before the connection is told off, and why.
    fn passes(frames: impl IntoIterator<Item = Vec<u8>>, worth: Worth) -> (usize, Option<Shed>) {
        let mut watch = Watch::default();
        assert_eq!(watch.push(PREFACE, worth), None);
        for (passed, frame) in frames.into_iter().enumerate() {
            if let Some(reason) = watch.push(&frame, worth) {
                assert_eq!(watch.push(&frame, worth), None, "once");
                return (passed, Some(reason));
            }
        }
        (usize::MAX, None)
    }

    #[test]
    fn streams_without_a_request_are_a_flood() {
        let begun_and_reset = (0..5_000).flat_map(|_| [frame(HEADERS, 30), frame(RST_STREAM, 4)]);
        assert_eq!(passes(begun_and_reset.clone(), Worth::default()), (512, Some(Shed::Flood)));
        let asking = Worth { requests: 5_000, moved: 0 };
        assert_eq!(passes(begun_and_reset, asking).1, None, "they are requests");
    }

    #[test]
    fn frames_that_ask_for_nothing_are_a_flood_and_windows_of_a_reader_are_not() {
        for (kind, len) in [(PING, 8), (4, 0), (4, 6), (2, 5), (8, 4), (DATA, 0), (200, 9)] {
            let many = || (0..10_000).map(|_| frame(kind, len));
            assert_eq!(passes(many(), Worth::default()), (2_048, Some(Shed::Flood)), "{kind}");
            assert_eq!(passes(many(), Worth { requests: 20, moved: 20 << 20 }).1, None, "{kind}");
        }
    }

    #[test]
    fn a_head_has_an_end() {
        let long =
            std::iter::once(frame(HEADERS, 16_000)).chain((0..100).map(|_| frame(CONTINUATION, 16_000)));
        assert_eq!(passes(long, Worth::default()), (4, Some(Shed::HeadSize)));
        let many = std::iter::once(frame(HEADERS, 1)).chain((0..100).map(|_| frame(CONTINUATION, 0)));
        assert_eq!(passes(many, Worth::default()), (32, Some(Shed::HeadSize)));
    }

    #[test]
    fn what_is_no_http2_is_not_looked_at() {
        let mut watch = Watch::default();
        for _ in 0..10_000 {
            assert_eq!(watch.push(b"GET / HTTP/1.1\r\n\r\n", Worth::default()), None);
        }
    }

    proptest! {
        #[test]
        fn it_does_not_matter_how_bytes_are_cut(
            frames in proptest::collection::vec((0u8..12, 0usize..200), 0..80),
            cuts in proptest::collection::vec(1usize..40, 1..50),
        ) {
            let mut bytes = PREFACE.to_vec();
            frames.iter().for_each(|(kind, len)| bytes.extend(frame(*kind, *len)));
            let (mut whole, mut pieces) = (Watch::default(), Watch::default());
            let seen = whole.push(&bytes, Worth::default());
            let (mut rest, mut cut) = (&bytes[..], 0);
            let mut seen_in_pieces = None;
            while !rest.is_empty() {
                let (piece, more) = rest.split_at(cuts[cut % cuts.len()].min(rest.len()));
                seen_in_pieces = seen_in_pieces.or(pieces.push(piece, Worth::default()));
                (rest, cut) = (more, cut + 1);
            }
            prop_assert_eq!(seen, seen_in_pieces);
            prop_assert_eq!((whole.streams, whole.frames), (pieces.streams, pieces.frames));
        }
    }
}
