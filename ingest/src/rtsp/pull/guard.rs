//! A source's connection, held at arm's length.
//!
//! The client library takes messages of any length and speaks no TLS. So it is given a port of this machine instead of the
//! camera's, and what the camera sends reaches it unit by unit, each of bounded length (RTSP-2, RTSP-20). The port takes
//! one connection, from the address that it is bound to.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

use super::super::wire::{Framer, Unit};
use super::config::PullPlan;
use super::fault::Fault;

/// How long a connection, and a handshake, may take (RTSP-14).
const CONNECT: Duration = Duration::from_secs(5);
/// How long the client may take to come: it is this program.
const ENTER: Duration = Duration::from_secs(2);
/// How long either side may take no byte.
const WRITE: Duration = Duration::from_secs(5);
/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_millis(500);
/// Room for one read.
const READ: usize = 64 << 10;

/// An open connection. Both ends close soon after it is dropped.
#[derive(Debug)]
pub(super) struct Guard {
    /// Where the client connects instead.
    pub(super) address: SocketAddr,
    fault: watch::Receiver<Option<Fault>>,
    open: CancellationToken,
}

impl Drop for Guard {
    /// The client says goodbye when it is dropped, which is before this (RTSP-15).
    fn drop(&mut self) {
        let open = self.open.clone();
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(async move {
                tokio::time::sleep(GOODBYE).await;
                open.cancel();
            })),
            Err(_) => open.cancel(),
        }
    }
}

impl Guard {
    /// Connects to the source. TLS trusts what `tls` trusts.
    pub(super) async fn open(
        plan: &PullPlan,
        tls: Option<&Arc<rustls::ClientConfig>>,
    ) -> Result<Self, Fault> {
        let connected = tokio::time::timeout(CONNECT, connect(plan)).await;
        let camera = connected.unwrap_or(Err(Fault::Unreachable(std::io::ErrorKind::TimedOut)))?;
        let local = |error: std::io::Error| Fault::Unreachable(error.kind());
        let (own, peer) = (camera.local_addr().map_err(local)?, camera.peer_addr().map_err(local)?);
        let listener = TcpListener::bind((own.ip(), 0)).await.map_err(local)?;
        let address = listener.local_addr().map_err(local)?;
        let camera: Pin<Box<dyn Duplex>> = match tls {
            Some(tls) => Box::pin(handshake(plan, tls, camera).await?),
            None => Box::pin(camera),
        };
        let (report, fault) = watch::channel(None);
        let open = CancellationToken::new();
        let closed = open.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = closed.cancelled() => {}
                () = carry(listener, camera, peer, report) => {}
            }
        });
        Ok(Self { address, fault, open })
    }

    /// Why the source was cut off, if it was.
    pub(super) fn fault(&self) -> Option<Fault> {
        self.fault.borrow().clone()
    }
}

trait Duplex: AsyncRead + AsyncWrite + Send {}
impl<S: AsyncRead + AsyncWrite + Send> Duplex for S {}

async fn connect(plan: &PullPlan) -> Result<TcpStream, Fault> {
    let host = plan.host.trim_start_matches('[').trim_end_matches(']');
    let addresses = tokio::net::lookup_host((host, plan.port)).await.map_err(|_| Fault::NoSuchHost)?;
    let mut fault = Fault::NoSuchHost;
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                // A small request that waits for another one costs a round trip; nothing else is lost.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(error) => fault = Fault::Unreachable(error.kind()),
        }
    }
    Err(fault)
}

async fn handshake(
    plan: &PullPlan,
    tls: &Arc<rustls::ClientConfig>,
    camera: TcpStream,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, Fault> {
    let host = plan.host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let name = ServerName::try_from(host).map_err(|_| Fault::Tls)?;
    let shaken = tokio::time::timeout(CONNECT, TlsConnector::from(tls.clone()).connect(name, camera)).await;
    shaken.map_err(|_| Fault::NoAnswer)?.map_err(|_| Fault::Tls)
}

/// Carries bytes both ways until either side ends.
async fn carry(
    listener: TcpListener,
    camera: Pin<Box<dyn Duplex>>,
    peer: SocketAddr,
    fault: watch::Sender<Option<Fault>>,
) {
    let Ok(Some(client)) = tokio::time::timeout(ENTER, accept(&listener)).await else { return };
    drop(listener);
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_camera, mut to_camera) = tokio::io::split(camera);
    let upwards = async {
        // The client sends requests, which are short.
        let mut buffer = BytesMut::with_capacity(READ / 8);
        while from_client.read_buf(&mut buffer).await.is_ok_and(|count| count > 0) {
            if !write(&mut to_camera, &buffer).await {
                return;
            }
            buffer.clear();
        }
        let _ = tokio::time::timeout(WRITE, to_camera.shutdown()).await;
        // What the camera still says goes down until it closes.
        tokio::time::sleep(GOODBYE).await;
    };
    let downwards = async {
        let (mut framer, mut buffer) = (Framer::default(), BytesMut::with_capacity(READ));
        loop {
            buffer.reserve(READ / 4);
            if !from_camera.read_buf(&mut buffer).await.is_ok_and(|count| count > 0) {
                return;
            }
            loop {
                match framer.next(&mut buffer) {
                    Ok(Some(unit)) => {
                        if !write(&mut to_client, &told_where(&unit, peer)).await {
                            return;
                        }
                    }
                    Ok(None) => break,
                    Err(error) => {
                        fault.send_replace(Some(Fault::Wire(error)));
                        return;
                    }
                }
            }
        }
    };
    tokio::select! {
        () = upwards => {}
        () = downwards => {}
    }
}

/// The one client: whoever else reaches the port first is not from its own address.
async fn accept(listener: &TcpListener) -> Option<TcpStream> {
    let own = listener.local_addr().ok()?.ip();
    loop {
        let (client, from) = listener.accept().await.ok()?;
        if from.ip() == own {
            let _ = client.set_nodelay(true);
            return Some(client);
        }
    }
}

async fn write(to: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> bool {
    matches!(tokio::time::timeout(WRITE, to.write_all(bytes)).await, Ok(Ok(())))
}

/// A camera that answers SETUP for UDP need not say where its packets come from: it is where the connection goes, which the
/// client does not see.
fn told_where(unit: &Unit, peer: SocketAddr) -> Bytes {
    let raw = unit.raw();
    if !matches!(unit, Unit::Message(_)) || !raw.starts_with(b"RTSP/") {
        return raw.clone();
    }
    const NAME: &[u8] = b"transport:";
    let is_transport = |line: &&[u8]| {
        let name = line.get(..NAME.len()).is_some_and(|name| name.eq_ignore_ascii_case(NAME));
        name && contains(line, b"server_port=") && !contains(line, b"source=")
    };
    let head = raw.windows(4).position(|end| end == b"\r\n\r\n").unwrap_or(raw.len());
    let Some(line) = raw[..head].split(|byte| *byte == b'\n').find(is_transport) else { return raw.clone() };
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let at = line.as_ptr() as usize - raw.as_ptr() as usize + line.len();
    let source = format!(";source={}", peer.ip());
    [&raw[..at], source.as_bytes(), &raw[at..]].concat().into()
}

fn contains(line: &[u8], word: &[u8]) -> bool {
    line.windows(word.len()).any(|window| window.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &'static str) -> String {
        let unit = Unit::Message(Bytes::from_static(text.as_bytes()));
        String::from_utf8(told_where(&unit, "192.0.2.7:554".parse().unwrap()).to_vec()).unwrap()
    }

    #[test]
    fn an_answer_for_udp_says_where_packets_come_from() {
        assert_eq!(
            told("RTSP/1.0 200 OK\r\nTransport: RTP/AVP;server_port=6-7\r\nCSeq: 3\r\n\r\n"),
            "RTSP/1.0 200 OK\r\nTransport: RTP/AVP;server_port=6-7;source=192.0.2.7\r\nCSeq: 3\r\n\r\n"
        );
        for same in [
            "RTSP/1.0 200 OK\r\nTransport: RTP/AVP;server_port=6-7;source=192.0.2.9\r\n\r\n",
            "RTSP/1.0 200 OK\r\nTransport: RTP/AVP/TCP;interleaved=0-1\r\n\r\n",
            "RTSP/1.0 200 OK\r\nContent-Length: 24\r\n\r\nTransport: server_port=1\n",
        ] {
            assert_eq!(told(same), same);
        }
    }
}
