//! One object on a stream of its own: asked for by its name, and answered from what is here or above (EDGE-8, EDGE-13).

use std::time::Duration;

use aqueduct_common::StreamName;
use aqueduct_common::object::{Object, ObjectKind};
use bytes::Bytes;
use quinn::{Connection, RecvStream, SendStream};
use tokio::task::JoinSet;

use super::backfill::Kept;
use super::control::PeerError;
use super::origin::Shared;
use super::wire::{Frame, FrameReader, MAX_LENT, Malformed, path_of};
use crate::entry::Entry;
use crate::route::At;
use crate::stream::Answer;

/// Most bytes that are taken from a stream at once.
const CHUNK: usize = 64 * 1_024;
/// An object's memory grows by so much at most before its bytes are there.
const STEP: usize = 1_024 * 1_024;
/// How long a question may take to come, and its answer to go.
const PATIENCE: Duration = Duration::from_secs(8);
/// Behind everything that is live, and before nothing.
const PRIORITY: i32 = 1;

/// What a node said.
#[derive(Debug)]
pub(super) enum Reply {
    /// It has the object.
    Lent(Object),
    /// It has not.
    Missing {
        /// It does not come back.
        gone: bool,
    },
}

/// Asks a node for one object. Dropped, it takes the question back.
pub(super) async fn ask(
    conn: &Connection,
    stream: &StreamName,
    line: &str,
    file: &str,
    hops: u8,
) -> Result<Reply, PeerError> {
    let (mut send, mut receive) = conn.open_bi().await?;
    let question = Frame::Fetch {
        stream: stream.as_str().to_owned(),
        line: line.to_owned(),
        file: file.to_owned(),
        hops,
    };
    let mut out = Vec::new();
    question.write(&mut out)?;
    send.write_all(&out).await?;
    // A node that has answered and closed is no error.
    let _ = send.finish();
    let (frame, beyond) = first(&mut receive).await?;
    match frame {
        Frame::Missing { gone } => Ok(Reply::Missing { gone }),
        Frame::Lent { kind, content_type, len } => {
            let body = vec![rest(&mut receive, beyond, len as usize).await?];
            Ok(Reply::Lent(Object { path: path_of(line, file), kind, content_type, body, playlist: None }))
        }
        _ => Err(Malformed::Unknown("an answer").into()),
    }
}

/// The first frame of a stream, and what came with it of what follows.
async fn first(stream: &mut RecvStream) -> Result<(Frame, Bytes), PeerError> {
    let mut reader = FrameReader::default();
    loop {
        let chunk = stream.read_chunk(CHUNK, true).await?.ok_or(PeerError::Ended)?;
        reader.push(&chunk.bytes);
        if let Some(frame) = reader.frame()? {
            return Ok((frame, reader.rest()));
        }
    }
}

/// So many bytes. Memory grows with what comes, never by what was announced.
async fn rest(stream: &mut RecvStream, beyond: Bytes, size: usize) -> Result<Bytes, PeerError> {
    if size > MAX_LENT {
        return Err(Malformed::TooLong("an object").into());
    }
    let mut body = Vec::new();
    body.reserve_exact(size.min(STEP));
    body.extend_from_slice(&beyond);
    while let Some(chunk) = stream.read_chunk(CHUNK, true).await? {
        if body.len() + chunk.bytes.len() > size {
            return Err(Malformed::TooLong("an object").into());
        }
        body.extend_from_slice(&chunk.bytes);
    }
    if body.len() == size { Ok(body.into()) } else { Err(PeerError::Ended) }
}

/// Answers what one edge asks for, until its connection is gone. QUIC bounds how much it may ask at once.
pub(super) async fn lend(conn: Connection, shared: std::sync::Arc<Shared>) {
    let mut answers = JoinSet::new();
    loop {
        tokio::select! {
            asked = conn.accept_bi() => {
                let Ok((send, receive)) = asked else { return };
                let shared = shared.clone();
                answers.spawn(async move { tokio::time::timeout(PATIENCE, answer(send, receive, shared)).await });
            }
            // An edge that asks for what is no question gets no answer; it says so itself.
            Some(_) = answers.join_next() => {}
        }
    }
}

async fn answer(
    mut send: SendStream,
    mut receive: RecvStream,
    shared: std::sync::Arc<Shared>,
) -> Result<(), PeerError> {
    let (Frame::Fetch { stream, line, file, hops }, _) = first(&mut receive).await? else {
        return Err(Malformed::Unknown("a question").into());
    };
    let found = find(&shared, &stream, &line, &file, hops).await;
    let _ = send.set_priority(PRIORITY);
    let (frame, mut chunks) = match found {
        Kept::Here(entry) if is_lent(&entry) => {
            let body = entry.full().plain();
            let len = u32::try_from(body.len()).unwrap_or(u32::MAX);
            shared.tally.lent(body.len());
            (
                Frame::Lent { kind: entry.kind(), content_type: entry.content_type(), len },
                body.chunks().to_vec(),
            )
        }
        Kept::Gone => (Frame::Missing { gone: true }, Vec::new()),
        _ => (Frame::Missing { gone: false }, Vec::new()),
    };
    let mut out = Vec::new();
    frame.write(&mut out)?;
    send.write_all(&out).await?;
    if !chunks.is_empty() {
        send.write_all_chunks(&mut chunks).await?;
    }
    let _ = send.finish();
    // It is held until it has arrived: the stream's end is not the end of what is under way.
    let _ = send.stopped().await;
    Ok(())
}

/// The object as it is here, or above.
async fn find(shared: &Shared, stream: &str, line: &str, file: &str, hops: u8) -> Kept {
    let path = path_of(line, file);
    let here = shared.store.find(stream).map(|stream| stream.read(path.as_str(), At::Now));
    match here {
        Some(Answer::Ready(entry)) => return Kept::Here(entry),
        Some(Answer::Gone) => return Kept::Gone,
        // What is announced is on its way to the edge as it is.
        Some(Answer::Wait(_) | Answer::TooFarAhead | Answer::Stale) => return Kept::Absent,
        Some(Answer::NotFound) | None => {}
    }
    match (&shared.wants, stream.parse::<StreamName>()) {
        (Some(wants), Ok(name)) => wants.backfill().get(&name, line, file, None, hops).await,
        _ => Kept::Absent,
    }
}

/// Media are. Of lists every version comes by itself.
fn is_lent(entry: &Entry) -> bool {
    let media = matches!(entry.kind(), ObjectKind::Init | ObjectKind::Part | ObjectKind::Segment);
    media && entry.full().plain().len() <= MAX_LENT as u64
}
