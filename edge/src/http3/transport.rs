//! QUIC as HTTP/3 sees it: quinn behind the traits of the `h3` crate, with bounds on what a client may send.
//!
//! The `h3` crate reads frames of any length into memory, so every stream that it reads is counted here. It writes
//! heads of answers; bodies do not pass through it, so that they need not be copied: a [`Lane`] keeps the head until
//! both go out together.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use h3::error::Code;
use h3::quic::{self, ConnectionErrorIncoming, StreamErrorIncoming, StreamId, WriteBuf};
use tokio_util::sync::ReusableBoxFuture;

use crate::conn::Conn;

/// Bytes of one request that are read: a head with room for frames that mean nothing. Bodies are not read at all.
const MAX_REQUEST: u64 = 64 * 1_024;
/// Bytes of a client's other streams (settings, changes of priority), beyond those for each request.
const SPARE_CONTROL: u64 = 64 * 1_024;
const CONTROL_PER_REQUEST: u64 = 1_024;
/// Such streams, beyond those for each request. HTTP/3 itself has three.
const SPARE_OTHERS: u64 = 64;
/// Bytes that are read at once. Most heads are shorter.
const READ: usize = 2_048;

type Opened<T> = ReusableBoxFuture<'static, Result<T, quinn::ConnectionError>>;
type Pair = (quinn::SendStream, quinn::RecvStream);

/// A connection.
pub(super) struct Transport {
    quic: quinn::Connection,
    requests: Opened<Pair>,
    others: Opened<quinn::RecvStream>,
    others_begun: u64,
    opening: Option<Opened<quinn::SendStream>>,
    seen: Arc<Seen>,
}

/// What is known of a connection outside HTTP/3.
pub(super) struct Seen {
    conn: Arc<Conn>,
    newest: Mutex<Option<Lane>>,
    flooded: AtomicBool,
}

impl Seen {
    /// The way back of the request that was accepted last.
    pub(super) fn newest(&self) -> Option<Lane> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// It sent more than any player does on streams that are no requests.
    pub(super) fn flooded(&self) -> bool {
        self.flooded.load(Relaxed)
    }
}

impl Transport {
    pub(super) fn new(quic: quinn::Connection, conn: Arc<Conn>) -> Self {
        let seen = Seen { conn, newest: Mutex::default(), flooded: AtomicBool::default() };
        Self {
            requests: ReusableBoxFuture::new(next_request(quic.clone())),
            others: ReusableBoxFuture::new(next_other(quic.clone())),
            others_begun: 0,
            opening: None,
            seen: Arc::new(seen),
            quic,
        }
    }

    pub(super) fn seen(&self) -> Arc<Seen> {
        self.seen.clone()
    }
}

async fn next_request(quic: quinn::Connection) -> Result<Pair, quinn::ConnectionError> {
    quic.accept_bi().await
}

async fn next_other(quic: quinn::Connection) -> Result<quinn::RecvStream, quinn::ConnectionError> {
    quic.accept_uni().await
}

async fn open(quic: quinn::Connection) -> Result<quinn::SendStream, quinn::ConnectionError> {
    quic.open_uni().await
}

impl quic::Connection<Bytes> for Transport {
    type RecvStream = Inlet;
    type OpenStreams = Self;

    fn poll_accept_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Inlet, ConnectionErrorIncoming>> {
        let stream = ready!(self.others.poll(cx)).map_err(lost)?;
        self.others.set(next_other(self.quic.clone()));
        self.others_begun += 1;
        if self.others_begun > SPARE_OTHERS + self.seen.conn.requests() {
            self.seen.flooded.store(true, Relaxed);
            return Poll::Ready(Err(ConnectionErrorIncoming::InternalError("too many streams".into())));
        }
        Poll::Ready(Ok(Inlet { stream, read: 0, of: Of::Other(self.seen.clone()) }))
    }

    fn poll_accept_bidi(&mut self, cx: &mut Context<'_>) -> Poll<Result<Exchange, ConnectionErrorIncoming>> {
        let (send, stream) = ready!(self.requests.poll(cx)).map_err(lost)?;
        self.requests.set(next_request(self.quic.clone()));
        let id = stream_id(send.id());
        let lane =
            Lane(Arc::new(Mutex::new(Way { stream: Some(send), head: Bytes::new(), overfull: false })));
        *self.seen.newest.lock().unwrap_or_else(PoisonError::into_inner) = Some(lane.clone());
        let inlet = Inlet { stream, read: 0, of: Of::Request(lane.clone()) };
        Poll::Ready(Ok(Exchange { id, lane, inlet }))
    }

    fn opener(&self) -> Self {
        Self::new(self.quic.clone(), self.seen.conn.clone())
    }
}

impl quic::OpenStreams<Bytes> for Transport {
    type BidiStream = Exchange;
    type SendStream = Outlet;

    fn poll_open_bidi(&mut self, _: &mut Context<'_>) -> Poll<Result<Exchange, StreamErrorIncoming>> {
        // A server has nobody to ask.
        let error = ConnectionErrorIncoming::InternalError("a server opens no requests".into());
        Poll::Ready(Err(StreamErrorIncoming::ConnectionErrorIncoming { connection_error: error }))
    }

    fn poll_open_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<Outlet, StreamErrorIncoming>> {
        let quic = &self.quic;
        let opening = self.opening.get_or_insert_with(|| ReusableBoxFuture::new(open(quic.clone())));
        let opened = ready!(opening.poll(cx));
        self.opening = None;
        let stream = opened.map_err(|error| StreamErrorIncoming::ConnectionErrorIncoming {
            connection_error: lost(error),
        })?;
        Poll::Ready(Ok(Outlet { stream, pending: None }))
    }

    fn close(&mut self, code: Code, reason: &[u8]) {
        self.quic.close(var(code.value()), reason);
    }
}

/// The way back of one request. HTTP/3 leaves the head of the answer here.
#[derive(Clone)]
pub(super) struct Lane(Arc<Mutex<Way>>);

struct Way {
    stream: Option<quinn::SendStream>,
    head: Bytes,
    overfull: bool,
}

impl Lane {
    /// The stream, once.
    pub(super) fn stream(&self) -> Option<quinn::SendStream> {
        self.way(|way| way.stream.take())
    }

    /// What HTTP/3 has written since the last time.
    pub(super) fn head(&self) -> Bytes {
        self.way(|way| std::mem::take(&mut way.head))
    }

    /// The request is longer than any head.
    pub(super) fn is_overfull(&self) -> bool {
        self.way(|way| way.overfull)
    }

    /// Gives the request up.
    pub(super) fn reset(&self, code: Code) {
        if let Some(mut stream) = self.stream() {
            // It may have ended meanwhile.
            let _ = stream.reset(var(code.value()));
        }
    }

    fn way<T>(&self, act: impl FnOnce(&mut Way) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A request, as HTTP/3 sees it.
pub(super) struct Exchange {
    id: StreamId,
    lane: Lane,
    inlet: Inlet,
}

impl quic::SendStream<Bytes> for Exchange {
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        Poll::Ready(Ok(()))
    }

    fn send_data<T: Into<WriteBuf<Bytes>>>(&mut self, data: T) -> Result<(), StreamErrorIncoming> {
        let mut data = data.into();
        let data = data.copy_to_bytes(data.remaining());
        self.lane.way(|way| {
            way.head = if way.head.is_empty() { data } else { [&*way.head, &data].concat().into() }
        });
        Ok(())
    }

    fn poll_finish(&mut self, _: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        Poll::Ready(Ok(()))
    }

    fn reset(&mut self, reset_code: u64) {
        self.lane.way(|way| way.stream.as_mut().map(|stream| stream.reset(var(reset_code))));
    }

    fn send_id(&self) -> StreamId {
        self.id
    }
}

impl quic::RecvStream for Exchange {
    type Buf = Bytes;

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, StreamErrorIncoming>> {
        self.inlet.poll_data(cx)
    }

    fn stop_sending(&mut self, error_code: u64) {
        self.inlet.stop_sending(error_code);
    }

    fn recv_id(&self) -> StreamId {
        self.id
    }
}

/// What comes in on one stream.
pub(super) struct Inlet {
    stream: quinn::RecvStream,
    read: u64,
    of: Of,
}

enum Of {
    Request(Lane),
    Other(Arc<Seen>),
}

impl Inlet {
    /// More came than a player sends. It is noted where it is asked for later.
    fn is_too_much(&self) -> bool {
        match &self.of {
            Of::Request(lane) if self.read > MAX_REQUEST => {
                lane.way(|way| way.overfull = true);
                true
            }
            Of::Other(seen) if self.read > SPARE_CONTROL + CONTROL_PER_REQUEST * seen.conn.requests() => {
                seen.flooded.store(true, Relaxed);
                true
            }
            Of::Request(_) | Of::Other(_) => false,
        }
    }
}

impl quic::RecvStream for Inlet {
    type Buf = Bytes;

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, StreamErrorIncoming>> {
        let mut bytes = [0; READ];
        let len = ready!(self.stream.poll_read(cx, &mut bytes)).map_err(|error| match error {
            quinn::ReadError::Reset(code) => {
                StreamErrorIncoming::StreamTerminated { error_code: code.into_inner() }
            }
            quinn::ReadError::ConnectionLost(error) => {
                StreamErrorIncoming::ConnectionErrorIncoming { connection_error: lost(error) }
            }
            other => StreamErrorIncoming::Unknown(Box::new(other)),
        })?;
        self.read += len as u64;
        if self.is_too_much() {
            return Poll::Ready(Err(StreamErrorIncoming::Unknown(Box::new(io::Error::other("too much")))));
        }
        Poll::Ready(Ok((len > 0).then(|| Bytes::copy_from_slice(&bytes[..len]))))
    }

    fn stop_sending(&mut self, error_code: u64) {
        // It may have ended meanwhile.
        let _ = self.stream.stop(var(error_code));
    }

    fn recv_id(&self) -> StreamId {
        stream_id(self.stream.id())
    }
}

/// A stream of HTTP/3's own.
pub(super) struct Outlet {
    stream: quinn::SendStream,
    pending: Option<WriteBuf<Bytes>>,
}

impl quic::SendStream<Bytes> for Outlet {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        while let Some(data) = self.pending.as_mut().filter(|data| data.has_remaining()) {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, data.chunk()));
            data.advance(written.map_err(|error| match error {
                quinn::WriteError::Stopped(code) => {
                    StreamErrorIncoming::StreamTerminated { error_code: code.into_inner() }
                }
                quinn::WriteError::ConnectionLost(error) => {
                    StreamErrorIncoming::ConnectionErrorIncoming { connection_error: lost(error) }
                }
                other => StreamErrorIncoming::Unknown(Box::new(other)),
            })?);
        }
        self.pending = None;
        Poll::Ready(Ok(()))
    }

    fn send_data<T: Into<WriteBuf<Bytes>>>(&mut self, data: T) -> Result<(), StreamErrorIncoming> {
        if self.pending.is_some() {
            let error = ConnectionErrorIncoming::InternalError("a write before the last was done".into());
            return Err(StreamErrorIncoming::ConnectionErrorIncoming { connection_error: error });
        }
        self.pending = Some(data.into());
        Ok(())
    }

    fn poll_finish(&mut self, _: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        // It may have ended meanwhile.
        let _ = self.stream.finish();
        Poll::Ready(Ok(()))
    }

    fn reset(&mut self, reset_code: u64) {
        // The same.
        let _ = self.stream.reset(var(reset_code));
    }

    fn send_id(&self) -> StreamId {
        stream_id(self.stream.id())
    }
}

fn stream_id(id: quinn::StreamId) -> StreamId {
    let id: u64 = id.into();
    id.try_into().expect("QUIC and HTTP/3 have the same stream numbers")
}

/// A code of HTTP/3 on the wire.
pub(super) fn var(code: u64) -> quinn::VarInt {
    quinn::VarInt::from_u64(code).unwrap_or(quinn::VarInt::MAX)
}

fn lost(error: quinn::ConnectionError) -> ConnectionErrorIncoming {
    match error {
        quinn::ConnectionError::ApplicationClosed(close) => {
            ConnectionErrorIncoming::ApplicationClose { error_code: close.error_code.into_inner() }
        }
        quinn::ConnectionError::TimedOut => ConnectionErrorIncoming::Timeout,
        other => ConnectionErrorIncoming::Undefined(Arc::new(other)),
    }
}
