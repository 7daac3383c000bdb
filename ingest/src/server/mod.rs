//! The publishing ports: accept loops, and one task per connection. The only sockets of this crate.

mod connection;
pub(crate) mod gate;
pub mod srt;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aqueduct_common::WallTime;
use aqueduct_common::event::{EventSender, Protocol};
use socket2::{Domain, Protocol as Transport, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Plan;
use crate::error::Error;
use crate::keys::KeyRing;
use crate::pull::Opener;
use crate::rtsp::push;
use crate::stream::Streams;
use connection::Connection;
use gate::{Gate, Slot};
pub(crate) use srt::Rules as SrtRules;
use srt::SrtPort;

/// Connections that the kernel holds before we accept them.
const BACKLOG: i32 = 1_024;
/// Wait after an accept that failed for want of file descriptors or memory.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
/// How long connections have to end when the server stops.
const DRAIN: Duration = Duration::from_secs(5);

/// Bound ports, not yet accepting.
#[derive(Debug)]
pub struct Server {
    ports: Vec<Port>,
    srt: Option<SrtPort>,
    /// Takes apart what comes over SRT.
    opener: Option<Arc<dyn Opener>>,
    gate: Arc<Gate>,
}

#[derive(Debug)]
struct Port {
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<TlsConfig>,
    protocol: Protocol,
}

#[derive(Clone)]
struct TlsConfig(TlsAcceptor);

impl std::fmt::Debug for TlsConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("tls")
    }
}

impl Server {
    /// Binds the ports of `plan`. `tls` is needed where it listens for RTMPS. Publishers whose key is in `keys`
    /// go to `streams`, which reports their beginning and end; `events` hears of connections and refusals.
    ///
    /// # Errors
    /// When an address cannot be bound, or a certificate is missing.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn bind(
        plan: &Plan,
        tls: Option<Arc<rustls::ServerConfig>>,
        keys: KeyRing,
        streams: Streams,
        events: EventSender,
    ) -> Result<Self, Error> {
        let mut ports = Vec::new();
        if let Some(address) = plan.rtmp {
            ports.push(port("ingest.rtmp.listen", address, None, Protocol::Rtmp)?);
        }
        if let Some(address) = plan.rtmps {
            let tls = TlsConfig(tls.ok_or(Error::NoCertificate)?.into());
            ports.push(port("ingest.rtmps.listen", address, Some(tls), Protocol::Rtmps)?);
        }
        if let Some(address) = plan.rtsp {
            match port("ingest.rtsp_server.listen", address, None, Protocol::Rtsp) {
                Ok(port) => ports.push(port),
                Err(error) if plan.rtsp_is_set => return Err(error),
                // Nobody asked for it: most servers are pushed to over RTMP.
                Err(error) => tracing::warn!(%error, "no publisher can push over RTSP"),
            }
        }
        let srt = match plan.srt {
            Some(address) => {
                let bound = SrtPort::bind(address, plan.srt_rules());
                Some(bound.map_err(|error| refused("ingest.srt.listen", address, error))?)
            }
            None => None,
        };
        Ok(Self { ports, srt, opener: None, gate: Arc::new(Gate::new(plan, keys, streams, events)) })
    }

    /// Publishers over SRT are heard, and `opener` takes apart what they send. Without it their port is not served.
    #[must_use]
    pub fn with_opener(mut self, opener: Arc<dyn Opener>) -> Self {
        self.opener = Some(opener);
        self
    }

    /// What is listened on, with the port that a configured 0 became.
    pub fn addresses(&self) -> Vec<(Protocol, SocketAddr)> {
        let ports = self.ports.iter().map(|port| (port.protocol, port.address));
        ports.chain(self.srt.iter().map(|port| (Protocol::Srt, port.address))).collect()
    }

    /// Accepts until `stop`, then lets publishers go: those that understand it are asked to connect again (RTMP-61),
    /// the others see a plain close, which makes encoders retry.
    pub async fn run(self, stop: CancellationToken) {
        let connections = TaskTracker::new();
        let loops = TaskTracker::new();
        for port in self.ports {
            loops.spawn(accept(port, self.gate.clone(), connections.clone(), stop.clone()));
        }
        if let (Some(port), Some(opener)) = (self.srt, self.opener) {
            loops.spawn(port.run(self.gate.clone(), opener, stop.clone()));
        }
        stop.cancelled().await;
        loops.close();
        loops.wait().await;
        connections.close();
        if tokio::time::timeout(DRAIN, connections.wait()).await.is_err() {
            tracing::warn!(left = connections.len(), "publishers did not leave in time");
        }
    }
}

fn port(
    key: &'static str,
    address: SocketAddr,
    tls: Option<TlsConfig>,
    protocol: Protocol,
) -> Result<Port, Error> {
    let listener = listen(address).map_err(|source| refused(key, address, source))?;
    let address = listener.local_addr().unwrap_or(address);
    Ok(Port { listener, address, tls, protocol })
}

fn refused(key: &'static str, address: SocketAddr, source: std::io::Error) -> Error {
    match source.kind() {
        std::io::ErrorKind::AddrInUse => Error::InUse { key, address },
        _ => Error::Listen { key, address, source },
    }
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Transport::TCP))?;
    // A restart must not wait for the last one's connections to time out.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

async fn accept(port: Port, gate: Arc<Gate>, connections: TaskTracker, stop: CancellationToken) {
    let protocol = port.protocol;
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = port.listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => match gate.enter(clock().0, peer, protocol) {
                Ok(slot) => {
                    connections.spawn(serve(stream, port.tls.clone(), slot, stop.child_token()));
                }
                Err(crowded) => tracing::debug!(%peer, %crowded, "connection refused"),
            },
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}

/// One connection, from the accept to the close. A panic ends here, with this task.
async fn serve(stream: TcpStream, tls: Option<TlsConfig>, slot: Slot, stop: CancellationToken) {
    if let Err(error) = prepare(&stream) {
        tracing::debug!(peer = %slot.peer, %error, "a socket option was refused");
    }
    if slot.protocol == Protocol::Rtsp {
        let id = slot.gate.session_id();
        return push::Connection::new(stream, slot, stop, id, clock().0).run().await;
    }
    let Some(TlsConfig(acceptor)) = tls else {
        return Connection::new(stream, slot, stop, clock().0).run().await;
    };
    let handshake = tokio::time::timeout(slot.gate.session_limits.handshake, acceptor.accept(stream));
    let shaken = tokio::select! {
        () = stop.cancelled() => return,
        shaken = handshake => shaken,
    };
    match shaken {
        Ok(Ok(stream)) => Connection::new(stream, slot, stop, clock().0).run().await,
        Ok(Err(error)) => {
            tracing::debug!(peer = %slot.peer, %error, "TLS handshake failed");
            slot.refused("tls");
        }
        Err(_) => slot.refused("timeout_handshake"),
    }
}

/// TCP_NODELAY for our replies (RTMP-1); keepalive 10 s, 3 s, 3 probes (RTMP-68).
fn prepare(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(10))
        .with_interval(Duration::from_secs(3))
        .with_retries(3);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

#[expect(clippy::disallowed_methods, reason = "sockets are where time comes from")]
pub(crate) fn clock() -> (Instant, WallTime) {
    (Instant::now(), WallTime::from_system(std::time::SystemTime::now()))
}
