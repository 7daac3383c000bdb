//! The byte stream under HTTP: plain or TLS.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use crate::conn::Conn;
use crate::flood::{Watch, Worth};

/// A connection's bytes. It notes when some come in, so that a head that trickles is told from an idle connection, and a
/// flood of frames from requests.
#[derive(Debug)]
pub(crate) struct Wire {
    socket: Socket,
    conn: Arc<Conn>,
    watch: Watch,
}

#[derive(Debug)]
pub(crate) enum Socket {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Does one thing with whichever socket it is.
macro_rules! either {
    ($wire:expr, $socket:ident => $call:expr) => {
        match &mut $wire.get_mut().socket {
            Socket::Plain($socket) => $call,
            Socket::Tls($socket) => $call,
        }
    };
}

impl Wire {
    pub(crate) fn new(socket: Socket, conn: Arc<Conn>) -> Self {
        Self { socket, conn, watch: Watch::default() }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = either!(self.as_mut(), socket => Pin::new(socket).poll_read(cx, buf));
        if buf.filled().len() > before {
            self.conn.heard();
            let worth = Worth { requests: self.conn.requests(), moved: self.conn.moved() };
            if let Some(reason) = self.watch.push(&buf.filled()[before..], worth) {
                self.conn.shed(reason);
            }
        }
        polled
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        either!(self, socket => Pin::new(socket).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self, socket => Pin::new(socket).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        match &self.socket {
            Socket::Plain(socket) => socket.is_write_vectored(),
            Socket::Tls(socket) => socket.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, socket => Pin::new(socket).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, socket => Pin::new(socket).poll_shutdown(cx))
    }
}
