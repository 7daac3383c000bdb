//! HTTP/3: QUIC beside the TLS listener, on the same port and with the same certificate.
//!
//! Requests take the same path as those of HTTP/1.1 and HTTP/2 ([`Site::serve`]), so bytes and headers are the same.
//! What differs is below: QUIC proves a client's address before many of them cost much, every stream is bounded
//! ([`transport`]), and answers leave in the order of their urgency ([`priority`]).

mod priority;
mod request;
mod room;
mod talk;
mod transport;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use http::HeaderValue;
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Endpoint, EndpointConfig, IdleTimeout, Incoming, TokioRuntime, TransportConfig, VarInt};
use socket2::{Domain, Protocol, Socket, Type};
use tokio_util::task::TaskTracker;

use crate::conn::Conn;
use crate::error::Error;
use crate::roster::Roster;
use crate::site::{Site, now};
use crate::tally::Shed;

/// Requests at once on one connection (EDGE-34), and streams of HTTP/3's own.
const REQUESTS: VarInt = VarInt::from_u32(128);
const OTHERS: VarInt = VarInt::from_u32(8);
/// Bytes that a client may send and we have not read: of one stream, and of all of a connection's.
const STREAM_WINDOW: VarInt = VarInt::from_u32(32 * 1_024);
const WINDOW: VarInt = VarInt::from_u32(256 * 1_024);
/// Bytes of answers that wait to be sent or acknowledged, of one connection. They are slices of what the store holds
/// anyway; this is how long a slow reader may keep them. At 200 ms there and back it is 40 Mbit/s.
const SEND_WINDOW: u64 = 1_024 * 1_024;
/// Slices of whole segments among them, of 32 KiB at most: the rest is for playlists and parts, which do not queue
/// behind a segment.
const BULK: usize = 20;
/// How often a quiet connection is asked whether it is there, and after how long without a word it is not.
const PING: Duration = Duration::from_secs(20);
const GONE: Duration = Duration::from_secs(40);
/// Handshakes under way from which on a client must first prove its address, which costs it one round trip and us
/// nothing.
const PROVE_FROM: usize = 128;
/// Clients that nobody has looked at yet, and bytes kept for them.
const INCOMING: usize = 1_024;
const INCOMING_BYTES: u64 = 16 * 1_024;
const ALL_INCOMING_BYTES: u64 = 4 * 1_024 * 1_024;
/// Bytes of UDP in the kernel, each way, of all connections.
const SOCKET_BUFFER: usize = 2 * 1_024 * 1_024;
/// How long the last words of connections may take to leave.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// The way in.
pub(crate) struct Door {
    pub(crate) endpoint: Endpoint,
    /// `Alt-Svc`, with which players hear of it.
    pub(crate) offer: HeaderValue,
}

impl Door {
    /// Listens on UDP. `advertise` is the port that players are told, 0 the one that it listens on.
    pub(crate) fn bind(
        address: SocketAddr,
        tls: &rustls::ServerConfig,
        advertise: u16,
    ) -> Result<Self, Error> {
        let listen = |error: io::Error| Error::Listen {
            key: "edge.https.listen",
            address,
            source: io::Error::new(error.kind(), format!("over UDP, for HTTP/3: {error}")),
        };
        let config = server_config(tls)?;
        let socket = udp(address).map_err(listen)?;
        let runtime = Arc::new(TokioRuntime);
        let endpoint =
            Endpoint::new(EndpointConfig::default(), Some(config), socket, runtime).map_err(listen)?;
        let port = match advertise {
            0 => endpoint.local_addr().map_err(listen)?.port(),
            told => told,
        };
        let offer = HeaderValue::from_str(&format!("h3=\":{port}\"; ma=86400"));
        Ok(Self { endpoint, offer: offer.expect("a number is plain text") })
    }
}

/// Lets clients in until it is dropped.
pub(crate) struct Gate {
    pub(crate) site: Arc<Site>,
    pub(crate) roster: Arc<Roster>,
    pub(crate) tasks: TaskTracker,
    pub(crate) offer: HeaderValue,
    handshakes: Arc<AtomicUsize>,
}

impl Gate {
    pub(crate) fn new(site: Arc<Site>, roster: Arc<Roster>, tasks: TaskTracker, offer: HeaderValue) -> Self {
        Self { site, roster, tasks, offer, handshakes: Arc::default() }
    }

    pub(crate) async fn accept(self, endpoint: Endpoint) {
        while let Some(incoming) = endpoint.accept().await {
            self.admit(incoming);
        }
    }

    /// Gives a client its place and its task, sends it back to prove its address, or refuses it.
    fn admit(&self, incoming: Incoming) {
        let crowded = self.handshakes.load(Relaxed) >= PROVE_FROM;
        if crowded && !incoming.remote_address_validated() {
            self.site.tally.shed(Shed::Unproven);
            if let Err(error) = incoming.retry() {
                error.into_incoming().refuse();
            }
            return;
        }
        let peer = incoming.remote_address().ip();
        let seat = match self.roster.seat(peer, &self.site.tally, &self.site.limits, now()) {
            Ok(seat) => seat,
            Err(reason) => {
                self.site.tally.shed(reason);
                return incoming.refuse();
            }
        };
        let shaking = Shaking::begin(&self.handshakes);
        let (site, offer) = (self.site.clone(), self.offer.clone());
        self.tasks.spawn(async move {
            let seat = seat;
            if let Some(quic) = shake(incoming, &seat.conn, &site, shaking).await {
                talk::converse(quic, &seat.conn, &site, Some(offer)).await;
            }
        });
    }
}

/// The handshake.
async fn shake(incoming: Incoming, conn: &Conn, site: &Site, _shaking: Shaking) -> Option<quinn::Connection> {
    let handshake = async { incoming.accept()?.await };
    let reason = tokio::select! {
        _ = conn.ordered() => return None,
        shaken = tokio::time::timeout(site.limits.head, handshake) => match shaken {
            Ok(Ok(quic)) => return Some(quic),
            Ok(Err(_)) => Shed::Handshake,
            Err(_) => Shed::SlowHead,
        },
    };
    site.tally.shed(reason);
    None
}

/// A handshake under way.
struct Shaking(Arc<AtomicUsize>);

impl Shaking {
    fn begin(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Relaxed);
        Self(count.clone())
    }
}

impl Drop for Shaking {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// Lets what connections said last get out.
pub(crate) async fn close(endpoint: &Endpoint) {
    endpoint.close(transport::var(h3::error::Code::H3_NO_ERROR.value()), b"");
    // Who does not hear it finds out by itself.
    let _ = tokio::time::timeout(LAST_WORDS, endpoint.wait_idle()).await;
}

fn udp(address: SocketAddr) -> io::Result<std::net::UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    // Each is an improvement only.
    let _ = socket.set_recv_buffer_size(SOCKET_BUFFER);
    let _ = socket.set_send_buffer_size(SOCKET_BUFFER);
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// The certificate as configured, and QUIC as players need it.
fn server_config(tls: &rustls::ServerConfig) -> Result<quinn::ServerConfig, Error> {
    let mut tls = tls.clone();
    tls.alpn_protocols = vec![b"h3".to_vec()];
    // A request that is sent again by someone else must not be answered again, and nothing here is worth that risk.
    tls.max_early_data_size = 0;
    let crypto = QuicServerConfig::try_from(tls).map_err(|error| Error::Http3(error.to_string()))?;
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    config
        .transport_config(Arc::new(transport_config()))
        .max_incoming(INCOMING)
        .incoming_buffer_size(INCOMING_BYTES)
        .incoming_buffer_size_total(ALL_INCOMING_BYTES);
    Ok(config)
}

fn transport_config() -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(REQUESTS)
        .max_concurrent_uni_streams(OTHERS)
        .stream_receive_window(STREAM_WINDOW)
        .receive_window(WINDOW)
        .send_window(SEND_WINDOW)
        // Of equally urgent answers the first goes first: half of two parts is of no use to a player.
        .send_fairness(false)
        .keep_alive_interval(Some(PING))
        .max_idle_timeout(IdleTimeout::try_from(GONE).ok())
        .datagram_receive_buffer_size(None);
    transport
}
