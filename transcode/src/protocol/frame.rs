//! Messages to bytes and back, without sockets or clocks.

use std::marker::PhantomData;

use aqueduct_common::codec::CodecError;
use aqueduct_common::{TrackId, WallTime};
use bytes::{Buf, BufMut as _, Bytes, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::message::{Frame, FromWorker, ToWorker};
use super::track::WireTrack;

/// Longest message: kind and body.
pub const BODY_MAX: usize = 16 << 20;
/// Longest control message: whatever is not a media frame.
pub const CONTROL_MAX: usize = 1 << 20;
/// Length prefix.
const PREFIX: usize = 4;
/// A media frame's fields: track, flags, dts, pts, duration, arrival.
const HEADER: usize = 1 + 1 + 8 + 8 + 4 + 8;
/// Dts and pts that are believed, in ticks: 2⁵³ leaves room for any arithmetic on them.
const TICKS_MAX: i64 = 1 << 53;

const SYNC: u8 = 1;
const DISPOSABLE: u8 = 2;

/// Kinds toward a worker.
mod to {
    pub(super) const JOB: u8 = 1;
    pub(super) const SOURCE: u8 = 2;
    pub(super) const FRAME: u8 = 3;
    pub(super) const BREAK: u8 = 4;
    pub(super) const ORDER: u8 = 5;
    pub(super) const END: u8 = 6;
}

/// Kinds from a worker; none is also one toward it, so that a crossed pipe is noticed at once.
mod from {
    pub(super) const READY: u8 = 65;
    pub(super) const TRACK: u8 = 66;
    pub(super) const FRAME: u8 = 67;
    pub(super) const FALLBACK: u8 = 68;
    pub(super) const REPORT: u8 = 69;
    pub(super) const TROUBLE: u8 = 70;
    pub(super) const ECHO: u8 = 71;
}

/// Why bytes are no message, or a message has no bytes. The other side is not to be trusted any more.
#[derive(Debug, thiserror::Error)]
pub enum ProtocolError {
    /// A length beyond the limit of its kind.
    #[error("a message of {0} bytes is longer than any may be")]
    TooLong(usize),
    /// A length too short for its kind.
    #[error("a message of kind {0} is too short for its fields")]
    TooShort(u8),
    /// No message has this kind in this direction.
    #[error("no message has the kind {0} in this direction")]
    Kind(u8),
    /// A message that has no body came with one.
    #[error("a message of kind {0} has bytes behind its end")]
    Trailing(u8),
    /// A media frame's field is beyond reason.
    #[error("a frame's {0} is beyond reason")]
    Frame(&'static str),
    /// A control message's body is not what its kind says.
    #[error("a message of kind {kind} does not parse: {error}")]
    Json {
        /// Its kind.
        kind: u8,
        /// What serde says.
        error: serde_json::Error,
    },
    /// A track's field is beyond reason.
    #[error("a track's {0} is beyond reason")]
    Track(&'static str),
    /// A track's configuration record was refused.
    #[error("a track's record: {0}")]
    Record(#[from] CodecError),
}

/// A message of one direction.
pub trait Message: Sized {
    /// Reads a message's body.
    ///
    /// # Errors
    /// Whatever is not a message of this direction.
    fn decode(kind: u8, body: Bytes) -> Result<Self, ProtocolError>;

    /// Writes what precedes the payload: kind and body. The payload is what follows without being copied.
    ///
    /// # Errors
    /// JSON that cannot be written: a number that is not finite.
    fn encode(&self, head: &mut BytesMut) -> Result<Bytes, ProtocolError>;
}

/// A message's bytes: a head, and a payload that was not copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// Length, kind, and a control message's whole body or a frame's header.
    pub head: Bytes,
    /// A frame's payload.
    pub payload: Bytes,
}

impl Encoded {
    /// All bytes, in order.
    pub const fn len(&self) -> usize {
        self.head.len() + self.payload.len()
    }

    /// Never: a message has a head.
    pub const fn is_empty(&self) -> bool {
        self.head.is_empty() && self.payload.is_empty()
    }

    /// Head and payload as one buffer, for vectored writes.
    pub fn into_buf(self) -> impl Buf {
        self.head.chain(self.payload)
    }
}

/// A message as bytes.
///
/// # Errors
/// A message longer than [`BODY_MAX`], or a control message beyond [`CONTROL_MAX`].
pub fn encode<M: Message>(message: &M) -> Result<Encoded, ProtocolError> {
    let mut head = BytesMut::with_capacity(PREFIX + 1 + HEADER);
    head.put_u32(0);
    let payload = message.encode(&mut head)?;
    let length = head.len() - PREFIX + payload.len();
    let limit = if payload.is_empty() { CONTROL_MAX } else { BODY_MAX };
    match u32::try_from(length) {
        Ok(prefix) if length <= limit => head[..PREFIX].copy_from_slice(&prefix.to_be_bytes()),
        _ => return Err(ProtocolError::TooLong(length)),
    }
    Ok(Encoded { head: head.freeze(), payload })
}

/// Takes messages out of bytes as they come. After an error it gives nothing more: what follows has lost its frame.
#[derive(Debug)]
pub struct Reader<M> {
    buffer: BytesMut,
    failed: bool,
    of: PhantomData<fn() -> M>,
}

impl<M> Default for Reader<M> {
    fn default() -> Self {
        Self { buffer: BytesMut::new(), failed: false, of: PhantomData }
    }
}

impl<M: Message> Reader<M> {
    /// Takes in bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        if !self.failed {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// Where a socket may read to directly, instead of [`Reader::push`]: append only. Reserve a fixed amount; it never
    /// holds more than one unfinished message beyond that.
    pub const fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// Bytes that wait for the rest of their message.
    pub fn pending(&self) -> usize {
        self.buffer.len()
    }

    /// The next whole message. Its payload is a slice of what was read.
    pub fn poll(&mut self) -> Option<Result<M, ProtocolError>> {
        if self.failed {
            self.buffer.clear();
            return None;
        }
        let outcome = self.next().transpose()?;
        if outcome.is_err() {
            self.failed = true;
            self.buffer.clear();
        }
        Some(outcome)
    }

    fn next(&mut self) -> Result<Option<M>, ProtocolError> {
        let Some(prefix) = self.buffer.first_chunk::<PREFIX>() else { return Ok(None) };
        let length = u32::from_be_bytes(*prefix) as usize;
        if length > BODY_MAX {
            return Err(ProtocolError::TooLong(length));
        }
        if length == 0 {
            return Err(ProtocolError::TooShort(0));
        }
        let Some(kind) = self.buffer.get(PREFIX).copied() else { return Ok(None) };
        if !matches!(kind, to::FRAME | from::FRAME) && length > CONTROL_MAX {
            return Err(ProtocolError::TooLong(length));
        }
        if self.buffer.len() < PREFIX + length {
            return Ok(None);
        }
        let mut message = self.buffer.split_to(PREFIX + length).freeze();
        message.advance(PREFIX + 1);
        M::decode(kind, message).map(Some)
    }
}

impl Message for ToWorker {
    fn decode(kind: u8, body: Bytes) -> Result<Self, ProtocolError> {
        Ok(match kind {
            to::JOB => Self::Job(json(kind, &body)?),
            to::SOURCE => {
                let tracks: Vec<WireTrack> = json(kind, &body)?;
                Self::Source(tracks.into_iter().map(WireTrack::track).collect::<Result<_, _>>()?)
            }
            to::FRAME => Self::Frame(read_frame(kind, body)?),
            to::BREAK => nothing(kind, &body).map(|()| Self::Break)?,
            to::ORDER => Self::Order(json(kind, &body)?),
            to::END => nothing(kind, &body).map(|()| Self::End)?,
            _ => return Err(ProtocolError::Kind(kind)),
        })
    }

    fn encode(&self, head: &mut BytesMut) -> Result<Bytes, ProtocolError> {
        match self {
            Self::Job(job) => put(head, to::JOB, job),
            Self::Source(tracks) => {
                put(head, to::SOURCE, &tracks.iter().map(WireTrack::of).collect::<Vec<_>>())
            }
            Self::Frame(frame) => Ok(put_frame(head, to::FRAME, frame)),
            Self::Break => Ok(put_kind(head, to::BREAK)),
            Self::Order(order) => put(head, to::ORDER, order),
            Self::End => Ok(put_kind(head, to::END)),
        }
    }
}

impl Message for FromWorker {
    fn decode(kind: u8, body: Bytes) -> Result<Self, ProtocolError> {
        Ok(match kind {
            from::READY => Self::Ready { version: json(kind, &body)? },
            from::TRACK => Self::Track(json::<WireTrack>(kind, &body)?.track()?),
            from::FRAME => Self::Frame(read_frame(kind, body)?),
            from::FALLBACK => Self::Fallback(json(kind, &body)?),
            from::REPORT => Self::Report(json(kind, &body)?),
            from::TROUBLE => Self::Trouble(json(kind, &body)?),
            from::ECHO => nothing(kind, &body).map(|()| Self::Echo)?,
            _ => return Err(ProtocolError::Kind(kind)),
        })
    }

    fn encode(&self, head: &mut BytesMut) -> Result<Bytes, ProtocolError> {
        match self {
            Self::Ready { version } => put(head, from::READY, version),
            Self::Track(track) => put(head, from::TRACK, &WireTrack::of(track)),
            Self::Frame(frame) => Ok(put_frame(head, from::FRAME, frame)),
            Self::Fallback(fallback) => put(head, from::FALLBACK, fallback),
            Self::Report(report) => put(head, from::REPORT, report),
            Self::Trouble(text) => put(head, from::TROUBLE, text),
            Self::Echo => Ok(put_kind(head, from::ECHO)),
        }
    }
}

fn json<T: DeserializeOwned>(kind: u8, body: &[u8]) -> Result<T, ProtocolError> {
    serde_json::from_slice(body).map_err(|error| ProtocolError::Json { kind, error })
}

const fn nothing(kind: u8, body: &Bytes) -> Result<(), ProtocolError> {
    if body.is_empty() { Ok(()) } else { Err(ProtocolError::Trailing(kind)) }
}

fn put<T: Serialize>(head: &mut BytesMut, kind: u8, value: &T) -> Result<Bytes, ProtocolError> {
    head.put_u8(kind);
    let writer = head.writer();
    serde_json::to_writer(writer, value).map_err(|error| ProtocolError::Json { kind, error })?;
    Ok(Bytes::new())
}

fn put_kind(head: &mut BytesMut, kind: u8) -> Bytes {
    head.put_u8(kind);
    Bytes::new()
}

fn put_frame(head: &mut BytesMut, kind: u8, frame: &Frame) -> Bytes {
    let flags = if frame.sync { SYNC } else { 0 } | if frame.disposable { DISPOSABLE } else { 0 };
    head.put_u8(kind);
    head.put_u8(frame.track.0);
    head.put_u8(flags);
    head.put_i64(frame.dts);
    head.put_i64(frame.pts);
    head.put_u32(frame.duration);
    head.put_i64(frame.received.micros);
    frame.payload.clone()
}

fn read_frame(kind: u8, mut body: Bytes) -> Result<Frame, ProtocolError> {
    if body.len() < HEADER {
        return Err(ProtocolError::TooShort(kind));
    }
    let track = TrackId(body.get_u8());
    let flags = body.get_u8();
    if flags & !(SYNC | DISPOSABLE) != 0 {
        return Err(ProtocolError::Frame("flags"));
    }
    let (dts, pts, duration) = (body.get_i64(), body.get_i64(), body.get_u32());
    let reasonable = -TICKS_MAX..=TICKS_MAX;
    if !reasonable.contains(&dts) || !reasonable.contains(&pts) {
        return Err(ProtocolError::Frame("time"));
    }
    if duration == 0 {
        return Err(ProtocolError::Frame("duration"));
    }
    let received = WallTime { micros: body.get_i64() };
    let (sync, disposable) = (flags & SYNC != 0, flags & DISPOSABLE != 0);
    Ok(Frame { track, dts, pts, duration, sync, disposable, received, payload: body })
}
