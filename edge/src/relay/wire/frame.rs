//! Frames of the control stream: a type, a length, and that many bytes.

mod read;
mod write;

use std::collections::VecDeque;
use std::time::Duration;

use aqueduct_common::object::{ContentType, ObjectKind};

use super::ranges::Ranges;
use super::text::Fields;
use super::{MAX_FRAME, Malformed};

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
}

pub(super) fn put_millis(out: &mut Vec<u8>, duration: Duration) {
    let millis = u32::try_from(duration.as_millis()).unwrap_or(u32::MAX);
    out.extend_from_slice(&millis.to_be_bytes());
}

pub(super) fn millis(fields: &mut Fields<'_>) -> Result<Duration, Malformed> {
    Ok(Duration::from_millis(fields.u32()?.into()))
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
mod tests;
