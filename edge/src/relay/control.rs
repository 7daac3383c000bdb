//! The control stream's two halves, and one object's stream, on quinn.

use bytes::Bytes;
use quinn::{ConnectionError, ReadError, RecvStream, SendStream, VarInt, WriteError};
use tokio::sync::mpsc;

use super::wire::{Frame, FrameReader, Head, HeadReader, Malformed};

/// Most bytes that are taken from a stream at once.
const CHUNK: usize = 64 * 1_024;
/// An object's memory grows by so much at most before its bytes are there.
const STEP: usize = 1_024 * 1_024;
/// Frames that may wait to be written; a peer that does not read them is let go.
pub(super) const OUTBOX: usize = 1_024;

/// The control stream's priority: above that of every object.
pub(super) const FIRST: i32 = 100;

/// Why a connection is closed, as its error code. The reason in words goes with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Code {
    /// All is said.
    Done = 0,
    /// The peer is not let in.
    Refused = 1,
    /// The peer broke the protocol.
    Protocol = 2,
    /// The peer does not read.
    Slow = 3,
}

impl From<Code> for VarInt {
    fn from(code: Code) -> Self {
        Self::from_u32(code as u32)
    }
}

/// Why reading from a peer ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum PeerError {
    /// What it said is no message.
    #[error("it broke the protocol: {0}")]
    Malformed(#[from] Malformed),
    /// The connection ended.
    #[error("{0}")]
    Read(#[from] ReadError),
    /// The connection ended.
    #[error("{0}")]
    Connection(#[from] ConnectionError),
    /// The connection ended while something was written.
    #[error("{0}")]
    Write(#[from] WriteError),
    /// It closed the control stream, or an object in its middle.
    #[error("it ended a stream too early")]
    Ended,
    /// It did not answer in time.
    #[error("it did not answer in time")]
    Late,
}

/// The half that is read.
pub(super) struct Control {
    stream: RecvStream,
    reader: FrameReader,
}

impl Control {
    pub(super) fn new(stream: RecvStream) -> Self {
        Self { stream, reader: FrameReader::default() }
    }

    /// The next frame. Cancelling loses nothing.
    pub(super) async fn next(&mut self) -> Result<Frame, PeerError> {
        loop {
            if let Some(frame) = self.reader.frame()? {
                return Ok(frame);
            }
            let chunk = self.stream.read_chunk(CHUNK, true).await?.ok_or(PeerError::Ended)?;
            self.reader.push(&chunk.bytes);
        }
    }
}

/// Writes frames as they come, several at once where several wait, and before all objects: who waits for a heartbeat's
/// answer behind them would think that this node is dead.
pub(super) async fn write(mut stream: SendStream, mut frames: mpsc::Receiver<Frame>) {
    let _ = stream.set_priority(FIRST);
    let mut out = Vec::new();
    while let Some(frame) = frames.recv().await {
        put(&frame, &mut out);
        while out.len() < CHUNK
            && let Ok(frame) = frames.try_recv()
        {
            put(&frame, &mut out);
        }
        if stream.write_all(&out).await.is_err() {
            return;
        }
        out.clear();
    }
    let _ = stream.finish();
}

/// One frame that cannot be said costs nobody the link.
fn put(frame: &Frame, out: &mut Vec<u8>) {
    if let Err(error) = frame.write(out) {
        tracing::error!(?frame, %error, "not said to a node: no node takes this name");
    }
}

/// Reads one object. Its memory grows with what comes, never by what was announced. `heard` is called whenever some of
/// it has come.
pub(super) async fn object(stream: &mut RecvStream, heard: impl Fn()) -> Result<(Head, Bytes), PeerError> {
    let mut reader = HeadReader::default();
    let (head, beyond) = loop {
        let chunk = stream.read_chunk(CHUNK, true).await?.ok_or(PeerError::Ended)?;
        heard();
        if let Some(found) = reader.push(&chunk.bytes)? {
            break found;
        }
    };
    let size = head.follows();
    let mut body = Vec::new();
    body.reserve_exact(size.min(STEP));
    body.extend_from_slice(&beyond);
    while let Some(chunk) = stream.read_chunk(CHUNK, true).await? {
        heard();
        if body.len() + chunk.bytes.len() > size {
            return Err(Malformed::TooLong("an object").into());
        }
        if body.capacity() < body.len() + chunk.bytes.len() {
            body.reserve_exact((size - body.len()).min(body.len().max(STEP)));
        }
        body.extend_from_slice(&chunk.bytes);
    }
    if body.len() == size { Ok((head, body.into())) } else { Err(PeerError::Ended) }
}
