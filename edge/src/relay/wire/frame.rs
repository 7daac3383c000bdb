//! Frames of the control stream: a type, a length, and that many bytes.

use std::collections::VecDeque;
use std::time::Duration;

use aqueduct_common::object::{ContentType, ObjectKind};

use super::ranges::Ranges;
use super::text::{Fields, put_name};
use super::{MAX_FRAME, Malformed, head};

/// Lines or nodes that one frame names at most.
const MAX_NAMES: usize = 1_024;
/// Subscriptions that one frame names at most.
const MAX_SUBS: usize = 16_384;
/// Longest token, in bytes.
const MAX_TOKEN: usize = 256;

/// One message of the control stream. A *line* is a rendition: the directory that its paths share; the empty one is the
/// stream's own, with the multivariant playlist.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Frame {
    /// Edge: who it is, and what lets it in. The first frame.
    Hello {
        /// Name of the node, unique among those that feed each other.
        node: String,
        /// The shared token, where that is how nodes are let in.
        token: Vec<u8>,
        /// Be told of every stream that comes on air.
        announce: bool,
    },
    /// Origin: who it is. The answer to [`Frame::Hello`].
    Welcome {
        /// Name of the node.
        node: String,
    },
    /// Origin: nodes between it and where the streams are made, itself first. Sent after [`Frame::Welcome`] and
    /// whenever it changes (EDGE-7).
    Trail {
        /// Names of nodes, on whichever way.
        nodes: Vec<String>,
        /// Nodes on the longest way, itself among them.
        depth: u16,
    },
    /// Edge: is interested in a stream under a number of its choice.
    Subscribe {
        /// The number.
        sub: u32,
        /// `app/name`.
        stream: String,
    },
    /// Edge: is interested no more.
    Unsubscribe {
        /// The number.
        sub: u32,
    },
    /// Edge: wants this line, save what it has of that epoch.
    Want {
        /// The subscription.
        sub: u32,
        /// The line.
        line: String,
        /// Epoch that `have` counts in.
        epoch: u64,
        /// Sequence numbers that it holds.
        have: Ranges,
    },
    /// Edge: wants this line no more.
    Unwant {
        /// The subscription.
        sub: u32,
        /// The line.
        line: String,
    },
    /// Edge: so many different viewers of the last 30 s ask for the playlists with this number.
    Demand {
        /// The subscription.
        sub: u32,
        /// The number that came with the playlists.
        demand: u8,
        /// Viewers.
        viewers: u32,
    },
    /// Origin: the stream is on air, in this epoch, with these lines. Sent again when that changes.
    Stream {
        /// The subscription.
        sub: u32,
        /// Numbers and objects belong to one epoch.
        epoch: u64,
        /// Lines that can be wanted.
        lines: Vec<String>,
    },
    /// Origin: there is no such stream, for now. The subscription stays.
    Absent {
        /// The subscription.
        sub: u32,
    },
    /// Origin: these objects will not come.
    Gap {
        /// The subscription.
        sub: u32,
        /// Their epoch.
        epoch: u64,
        /// Their line.
        line: String,
        /// Their numbers.
        gone: Ranges,
    },
    /// Origin: the line's playlist sleeps.
    Sleep {
        /// The subscription.
        sub: u32,
        /// Its epoch.
        epoch: u64,
        /// The line.
        line: String,
        /// Place among the line's playlist versions.
        serial: u64,
        /// The playlist's file.
        file: String,
        /// What to report when it is asked for.
        demand: u8,
        /// How long a request is held for it.
        hold: Duration,
    },
    /// Origin: the line has ended, after the playlist version with the serial before this one.
    Close {
        /// The subscription.
        sub: u32,
        /// Its epoch.
        epoch: u64,
        /// The line.
        line: String,
        /// Place among the line's playlist versions.
        serial: u64,
        /// How long its objects stay fetchable.
        linger: Duration,
    },
    /// Origin: the stream has ended, with these last playlist versions.
    End {
        /// The subscription.
        sub: u32,
        /// Its epoch.
        epoch: u64,
        /// How long its objects stay fetchable.
        linger: Duration,
        /// Lines and the serials of their last versions.
        finals: Vec<(String, u64)>,
    },
    /// Origin: a stream is on air (only where [`Frame::Hello`] asked).
    Announce {
        /// `app/name`.
        stream: String,
    },
    /// Origin: it stops soon; go elsewhere.
    GoAway,
    /// Edge: say something.
    Ping {
        /// Comes back.
        number: u64,
    },
    /// Origin: the answer.
    Pong {
        /// As asked.
        number: u64,
    },
    /// Origin: objects can be fetched from it one by one, each with a bidirectional stream of its own. Sent after
    /// [`Frame::Welcome`] by nodes that can; who is not told does not fetch.
    Lends,
    /// Origin: about once a second, the subscriptions of whose streams something is newer than when it last said so. A node
    /// at which a stream falls silent while it goes on at another one is not taken from (EDGE-28).
    Progress {
        /// The subscriptions.
        subs: Vec<u32>,
    },
    /// Edge, on a stream of its own: wants this one object. The answer is [`Frame::Lent`] and its bytes, or
    /// [`Frame::Missing`].
    Fetch {
        /// `app/name`.
        stream: String,
        /// The object's line.
        line: String,
        /// Its file within the line.
        file: String,
        /// Further nodes that may be asked for it.
        hops: u8,
    },
    /// Origin, on that stream: so many bytes follow.
    Lent {
        /// What it is.
        kind: ObjectKind,
        /// Its content type.
        content_type: ContentType,
        /// Bytes that follow.
        len: u32,
    },
    /// Origin, on that stream: it is not here.
    Missing {
        /// It was here, and does not come back.
        gone: bool,
    },
}

impl Frame {
    /// Writes it with its length. Nothing is written of one with a name that the other side would not take.
    pub fn write(&self, out: &mut Vec<u8>) -> Result<(), Malformed> {
        let start = out.len();
        out.extend_from_slice(&[self.code(), 0, 0, 0, 0]);
        self.body(out).inspect_err(|_| out.truncate(start))?;
        let length = (out.len() - start - 5) as u32;
        out[start + 1..start + 5].copy_from_slice(&length.to_be_bytes());
        Ok(())
    }

    /// Frames by which an edge asks for something that a viewer may have named.
    fn is_wish(code: u8) -> bool {
        matches!(code, 4 | 6 | 7 | 20)
    }

    fn code(&self) -> u8 {
        match self {
            Self::Hello { .. } => 1,
            Self::Welcome { .. } => 2,
            Self::Trail { .. } => 3,
            Self::Subscribe { .. } => 4,
            Self::Unsubscribe { .. } => 5,
            Self::Want { .. } => 6,
            Self::Unwant { .. } => 7,
            Self::Demand { .. } => 8,
            Self::Stream { .. } => 9,
            Self::Absent { .. } => 10,
            Self::Gap { .. } => 11,
            Self::Sleep { .. } => 12,
            Self::Close { .. } => 13,
            Self::End { .. } => 14,
            Self::Announce { .. } => 15,
            Self::GoAway => 16,
            Self::Ping { .. } => 17,
            Self::Pong { .. } => 18,
            Self::Lends => 19,
            Self::Fetch { .. } => 20,
            Self::Lent { .. } => 21,
            Self::Missing { .. } => 22,
            Self::Progress { .. } => 23,
        }
    }

    fn body(&self, out: &mut Vec<u8>) -> Result<(), Malformed> {
        match self {
            Self::Hello { node, token, announce } => {
                put_name(out, node)?;
                out.extend_from_slice(&(token.len() as u16).to_be_bytes());
                out.extend_from_slice(token);
                out.push(u8::from(*announce));
            }
            Self::Welcome { node: name } | Self::Announce { stream: name } => put_name(out, name)?,
            Self::Trail { nodes, depth } => {
                put_names(out, nodes)?;
                out.extend_from_slice(&depth.to_be_bytes());
            }
            Self::Subscribe { sub, stream: name } | Self::Unwant { sub, line: name } => {
                put_sub(out, *sub);
                put_name(out, name)?;
            }
            Self::Unsubscribe { sub } | Self::Absent { sub } => put_sub(out, *sub),
            Self::Want { sub, line, epoch, have } | Self::Gap { sub, line, epoch, gone: have } => {
                put_line(out, *sub, *epoch, line)?;
                have.write(out);
            }
            Self::Demand { sub, demand, viewers } => {
                put_sub(out, *sub);
                out.push(*demand);
                out.extend_from_slice(&viewers.to_be_bytes());
            }
            Self::Stream { sub, epoch, lines } => {
                put_sub(out, *sub);
                out.extend_from_slice(&epoch.to_be_bytes());
                put_names(out, lines)?;
            }
            Self::Sleep { sub, epoch, line, serial, file, demand, hold } => {
                put_line(out, *sub, *epoch, line)?;
                out.extend_from_slice(&serial.to_be_bytes());
                put_name(out, file)?;
                out.push(*demand);
                put_millis(out, *hold);
            }
            Self::Close { sub, epoch, line, serial, linger } => {
                put_line(out, *sub, *epoch, line)?;
                out.extend_from_slice(&serial.to_be_bytes());
                put_millis(out, *linger);
            }
            Self::End { sub, epoch, linger, finals } => {
                put_sub(out, *sub);
                out.extend_from_slice(&epoch.to_be_bytes());
                put_millis(out, *linger);
                out.extend_from_slice(&(finals.len() as u16).to_be_bytes());
                for (line, serial) in finals {
                    put_name(out, line)?;
                    out.extend_from_slice(&serial.to_be_bytes());
                }
            }
            Self::GoAway | Self::Lends => {}
            Self::Fetch { stream, line, file, hops } => {
                put_name(out, stream)?;
                put_name(out, line)?;
                put_name(out, file)?;
                out.push(*hops);
            }
            Self::Lent { kind, content_type, len } => {
                out.push(head::media_code(*kind));
                out.push(head::type_code(*content_type));
                out.extend_from_slice(&len.to_be_bytes());
            }
            Self::Missing { gone } => out.push(u8::from(*gone)),
            Self::Progress { subs } => {
                let subs = &subs[..subs.len().min(MAX_SUBS)];
                out.extend_from_slice(&(subs.len() as u16).to_be_bytes());
                subs.iter().for_each(|sub| put_sub(out, *sub));
            }
            Self::Ping { number } | Self::Pong { number } => out.extend_from_slice(&number.to_be_bytes()),
        }
        Ok(())
    }

    /// Reads the body of a frame; `None` for a type that this version does not know.
    fn read(code: u8, body: &[u8]) -> Result<Option<Self>, Malformed> {
        let mut fields = Fields(body);
        let fields = &mut fields;
        Ok(Some(match code {
            1 => {
                let node = fields.step()?.to_owned();
                let length = usize::from(fields.u16()?);
                if length > MAX_TOKEN {
                    return Err(Malformed::TooLong("a token"));
                }
                let token = fields.take(length)?.to_vec();
                Self::Hello { node, token, announce: fields.flag("announce")? }
            }
            2 => Self::Welcome { node: fields.step()?.to_owned() },
            3 => Self::Trail { nodes: names(fields)?, depth: fields.u16()? },
            4 => Self::Subscribe { sub: fields.u32()?, stream: fields.name()?.to_owned() },
            5 => Self::Unsubscribe { sub: fields.u32()? },
            6 => {
                let (sub, epoch, line) = line(fields)?;
                Self::Want { sub, line, epoch, have: Ranges::read(fields)? }
            }
            7 => Self::Unwant { sub: fields.u32()?, line: fields.name()?.to_owned() },
            8 => Self::Demand { sub: fields.u32()?, demand: fields.u8()?, viewers: fields.u32()? },
            9 => Self::Stream { sub: fields.u32()?, epoch: fields.u64()?, lines: names(fields)? },
            10 => Self::Absent { sub: fields.u32()? },
            11 => {
                let (sub, epoch, line) = line(fields)?;
                Self::Gap { sub, epoch, line, gone: Ranges::read(fields)? }
            }
            12 | 13 => return Self::read_state(code, fields).map(Some),
            14 => Self::read_end(fields)?,
            15 => Self::Announce { stream: fields.name()?.to_owned() },
            16 => Self::GoAway,
            17 => Self::Ping { number: fields.u64()? },
            18 => Self::Pong { number: fields.u64()? },
            19 => Self::Lends,
            20 => {
                let (stream, line) = (fields.name()?.to_owned(), fields.name()?.to_owned());
                Self::Fetch { stream, line, file: fields.step()?.to_owned(), hops: fields.u8()? }
            }
            21 => {
                let (kind, content_type) =
                    (head::media_kind(fields.u8()?)?, head::content_type(fields.u8()?)?);
                Self::Lent { kind, content_type, len: fields.u32()? }
            }
            22 => Self::Missing { gone: fields.flag("gone")? },
            23 => {
                let count = usize::from(fields.u16()?);
                if count > MAX_SUBS {
                    return Err(Malformed::TooLong("a list of subscriptions"));
                }
                Self::Progress { subs: (0..count).map(|_| fields.u32()).collect::<Result<_, _>>()? }
            }
            _ => return Ok(None),
        }))
    }

    fn read_state(code: u8, fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        let (sub, epoch, line) = line(fields)?;
        let serial = fields.number()?;
        if code == 13 {
            return Ok(Self::Close { sub, epoch, line, serial, linger: millis(fields)? });
        }
        let file = fields.step()?.to_owned();
        Ok(Self::Sleep { sub, epoch, line, serial, file, demand: fields.u8()?, hold: millis(fields)? })
    }

    fn read_end(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        let (sub, epoch, linger) = (fields.u32()?, fields.u64()?, millis(fields)?);
        let count = usize::from(fields.u16()?);
        if count > MAX_NAMES {
            return Err(Malformed::TooLong("a list of lines"));
        }
        let mut finals = Vec::new();
        for _ in 0..count {
            finals.push((fields.name()?.to_owned(), fields.u64()?));
        }
        Ok(Self::End { sub, epoch, linger, finals })
    }
}

fn put_sub(out: &mut Vec<u8>, sub: u32) {
    out.extend_from_slice(&sub.to_be_bytes());
}

fn put_line(out: &mut Vec<u8>, sub: u32, epoch: u64, line: &str) -> Result<(), Malformed> {
    put_sub(out, sub);
    out.extend_from_slice(&epoch.to_be_bytes());
    put_name(out, line)
}

fn put_names(out: &mut Vec<u8>, names: &[String]) -> Result<(), Malformed> {
    let names = &names[..names.len().min(MAX_NAMES)];
    out.extend_from_slice(&(names.len() as u16).to_be_bytes());
    names.iter().try_for_each(|name| put_name(out, name))
}

pub(super) fn put_millis(out: &mut Vec<u8>, duration: Duration) {
    let millis = u32::try_from(duration.as_millis()).unwrap_or(u32::MAX);
    out.extend_from_slice(&millis.to_be_bytes());
}

pub(super) fn millis(fields: &mut Fields<'_>) -> Result<Duration, Malformed> {
    Ok(Duration::from_millis(fields.u32()?.into()))
}

fn line(fields: &mut Fields<'_>) -> Result<(u32, u64, String), Malformed> {
    Ok((fields.u32()?, fields.u64()?, fields.name()?.to_owned()))
}

fn names(fields: &mut Fields<'_>) -> Result<Vec<String>, Malformed> {
    let count = usize::from(fields.u16()?);
    if count > MAX_NAMES {
        return Err(Malformed::TooLong("a list of names"));
    }
    (0..count).map(|_| fields.name().map(str::to_owned)).collect()
}

/// Cuts what comes of a control stream into frames.
#[derive(Debug, Default)]
pub struct FrameReader {
    buffer: VecDeque<u8>,
    skipped: u64,
}

impl FrameReader {
    /// Takes what came. It holds one frame at most that is not complete.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend(bytes);
    }

    /// The next whole frame of a known type. A peer whose bytes are malformed is not listened to any more.
    pub fn frame(&mut self) -> Result<Option<Frame>, Malformed> {
        loop {
            if self.buffer.len() < 5 {
                return Ok(None);
            }
            let bytes = self.buffer.make_contiguous();
            let length = u32::from_be_bytes([bytes[1], bytes[2], bytes[3], bytes[4]]) as usize;
            if length > MAX_FRAME {
                return Err(Malformed::TooLong("a frame"));
            }
            let Some(body) = bytes.get(5..5 + length) else { return Ok(None) };
            let frame = match Frame::read(bytes[0], body) {
                // Nothing has that name, and whoever asked is told so without this node.
                Err(Malformed::Name) if Frame::is_wish(bytes[0]) => None,
                frame => frame?,
            };
            self.buffer.drain(..5 + length);
            match frame {
                Some(frame) => return Ok(Some(frame)),
                None => self.skipped += 1,
            }
        }
    }

    /// What came behind the last frame.
    pub(crate) fn rest(&mut self) -> bytes::Bytes {
        std::mem::take(&mut self.buffer).into_iter().collect()
    }

    /// Frames that were skipped: of unknown types, and wishes for what no name is.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Frame> {
        let (sub, epoch, line, linger) = (7, 1 << 60, "e1/v0".to_owned(), Duration::from_millis(9_999));
        vec![
            Frame::Hello { node: "edge-1".into(), token: b"secret".to_vec(), announce: true },
            Frame::Welcome { node: "origin".into() },
            Frame::Trail { nodes: vec!["a".into(), "b".into()], depth: 2 },
            Frame::Subscribe { sub, stream: "live/show".into() },
            Frame::Unsubscribe { sub },
            Frame::Want { sub, line: String::new(), epoch, have: Ranges::of([1, 2, 9]) },
            Frame::Unwant { sub, line: line.clone() },
            Frame::Demand { sub, demand: 16, viewers: 3 },
            Frame::Stream { sub, epoch, lines: vec![String::new(), line.clone()] },
            Frame::Absent { sub },
            Frame::Gap { sub, epoch, line: line.clone(), gone: Ranges::of([4]) },
            Frame::Sleep {
                sub,
                epoch,
                line: line.clone(),
                serial: 3,
                file: "media.m3u8".into(),
                demand: 16,
                hold: linger,
            },
            Frame::Close { sub, epoch, line: line.clone(), serial: 4, linger },
            Frame::End { sub, epoch, linger, finals: vec![(line, 4)] },
            Frame::Announce { stream: "live/show".into() },
            Frame::GoAway,
            Frame::Ping { number: 1 },
            Frame::Pong { number: 1 },
            Frame::Lends,
            Frame::Fetch { stream: "live/show".into(), line: "e1/v0".into(), file: "p7.m4s".into(), hops: 2 },
            Frame::Lent { kind: ObjectKind::Segment, content_type: ContentType::AudioMp4, len: 9_000 },
            Frame::Missing { gone: true },
            Frame::Progress { subs: vec![7, 9] },
        ]
    }

    #[test]
    fn every_frame_comes_back_however_it_is_cut_and_unknown_ones_are_skipped() {
        let mut out = Vec::new();
        for frame in all() {
            frame.write(&mut out).unwrap();
            out.extend_from_slice(&[250, 0, 0, 0, 3, 1, 2, 3]);
        }
        for step in [1, 7, out.len()] {
            let (mut reader, mut read) = (FrameReader::default(), Vec::new());
            for piece in out.chunks(step) {
                reader.push(piece);
                while let Some(frame) = reader.frame().unwrap() {
                    read.push(frame);
                }
            }
            assert_eq!(read, all());
            assert_eq!(reader.skipped(), all().len() as u64);
        }
    }

    #[test]
    fn what_a_later_version_adds_to_a_frame_is_ignored_and_what_is_cut_off_is_refused() {
        for frame in all() {
            let mut out = Vec::new();
            frame.write(&mut out).unwrap();
            let (code, body) = (out[0], &out[5..]);
            let longer = [body, b"more"].concat();
            assert_eq!(Frame::read(code, &longer), Ok(Some(frame.clone())));
            for cut in 0..body.len() {
                assert!(Frame::read(code, &body[..cut]).is_err(), "{frame:?} cut at {cut}");
            }
        }
        let mut reader = FrameReader::default();
        reader.push(&[1, 255, 0, 0, 0]);
        assert_eq!(reader.frame(), Err(Malformed::TooLong("a frame")));
    }

    #[test]
    fn a_wish_for_what_no_name_is_is_skipped_and_the_next_frame_is_heard() {
        let wish = |name: &[u8]| {
            let body = [&[0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 1][..], &[name.len() as u8], name, &[0]].concat();
            [&[6, 0, 0, 0, body.len() as u8][..], &body].concat()
        };
        let mut reader = FrameReader::default();
        for name in [&b"a b"[..], b"a%20b", b"..", "ü".as_bytes(), &[0xff], &[b'a'; 230]] {
            reader.push(&wish(name));
        }
        let mut out = Vec::new();
        let unsaid = Frame::Want { sub: 7, line: "a b".into(), epoch: 1, have: Ranges::default() };
        assert_eq!(unsaid.write(&mut out), Err(Malformed::Name));
        assert!(out.is_empty(), "nothing of it is written");
        reader.push(&wish(b"e1/v0"));
        let heard = Frame::Want { sub: 7, line: "e1/v0".into(), epoch: 1, have: Ranges::default() };
        assert_eq!(reader.frame(), Ok(Some(heard)));
        assert_eq!(reader.skipped(), 6);
        // What an origin says has to be right.
        reader.push(&[3, 0, 0, 0, 4, 0, 1, 1, b' ']);
        assert_eq!(reader.frame(), Err(Malformed::Name));
    }

    #[test]
    fn what_the_fuzz_target_begins_with_is_what_nodes_say() {
        let seeds = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/relay_wire");
        for (seed, frames) in [("edge-says", 9), ("origin-says", 15), ("fetch", 3)] {
            let bytes = std::fs::read(format!("{seeds}/{seed}")).unwrap();
            let (mut reader, mut count) = (FrameReader::default(), 0);
            reader.push(&bytes[1..]);
            while reader.frame().unwrap().is_some() {
                count += 1;
            }
            assert_eq!((count, reader.skipped(), reader.rest().len()), (frames, 0, 0), "{seed}");
        }
    }
}
