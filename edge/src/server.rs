//! Sockets: accepting, HTTP/1.1 and HTTP/2 on them, the sweep that watches over them, and the drain that ends them.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use aqueduct_common::event::{Event, EventSender};
use aqueduct_common::name::StreamName;
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use socket2::{Domain, Protocol, SockRef, Socket as RawSocket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Plan;
use crate::conn::{Conn, Order};
use crate::error::Error;
use crate::pages::Pages;
use crate::roster::Roster;
use crate::site::{Site, now};
use crate::store::Store;
use crate::tally::{Reported, Shed};
use crate::wire::{Socket, Wire};

/// Connections that wait to be accepted.
const BACKLOG: i32 = 4_096;
/// Unsent bytes in the kernel per connection: more would make HTTP/2 priorities meaningless (EDGE-35).
const NOT_SENT: u32 = 128 * 1_024;
/// HTTP/1.1: bytes of responses that are gathered for one write. It bounds the read buffer as well.
const HTTP1_BUFFER: usize = 128 * 1_024;
/// EDGE-34.
const HTTP2_STREAMS: u32 = 128;
const HTTP2_WINDOW: u32 = 1_024 * 1_024;
const HTTP2_HEAD: u32 = 16 * 1_024;
/// Streams that a client may reset before they are looked at (rapid reset, CVE-2023-44487).
const HTTP2_RESETS: usize = 20;
/// A peer that does not answer a ping for so long is gone.
const HTTP2_PING: Duration = Duration::from_secs(20);
/// Pause after the system had no socket to give.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// An edge that listens. [`Server::run`] serves.
pub struct Server {
    http: Option<TcpListener>,
    https: Option<(TcpListener, TlsAcceptor)>,
    site: Arc<Site>,
    roster: Arc<Roster>,
    events: EventSender,
}

/// Where a server listens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Addresses {
    /// Plain HTTP.
    pub http: Option<SocketAddr>,
    /// HTTP over TLS.
    pub https: Option<SocketAddr>,
}

impl Server {
    /// Listens on the plan's addresses. Needs a Tokio runtime around it. ALPN is set here.
    pub fn bind(
        plan: Plan,
        store: Store,
        pages: Arc<dyn Pages>,
        tls: Option<Arc<rustls::ServerConfig>>,
        events: EventSender,
    ) -> Result<Self, Error> {
        let http = plan.http.map(|address| listen("edge.http.listen", address)).transpose()?;
        let https = match (plan.https, tls) {
            (None, _) => None,
            (Some(_), None) => return Err(Error::NoCertificate),
            (Some(address), Some(tls)) => Some((listen("edge.https.listen", address)?, acceptor(&tls))),
        };
        let site = Arc::new(Site::new(store, pages, plan.limits));
        Ok(Self { http, https, site, roster: Arc::default(), events })
    }

    /// Where it listens, with the ports that the system chose.
    pub fn addresses(&self) -> Addresses {
        let address = |listener: &TcpListener| listener.local_addr().ok();
        Addresses {
            http: self.http.as_ref().and_then(address),
            https: self.https.as_ref().and_then(|(listener, _)| address(listener)),
        }
    }

    /// Serves until `stop` is cancelled; then accepts nobody, lets go of who is held, says goodbye to every connection
    /// and waits for them to end, at most `grace` (EDGE-38). Returns how many were cut off.
    pub async fn run(self, stop: CancellationToken, grace: Duration) -> usize {
        let Self { http, https, site, roster, events } = self;
        let tasks = TaskTracker::new();
        let acceptors = TaskTracker::new();
        for (listener, tls) in
            http.map(|http| (http, None)).into_iter().chain(https.map(|(l, tls)| (l, Some(tls))))
        {
            let gate = Gate { site: site.clone(), roster: roster.clone(), tasks: tasks.clone(), tls };
            let stop = stop.clone();
            acceptors.spawn(async move {
                tokio::select! { () = stop.cancelled() => {}, () = gate.accept(listener) => {} }
            });
        }
        let clock = tokio::spawn(sweep(site.clone(), roster.clone(), events));
        stop.cancelled().await;
        acceptors.close();
        acceptors.wait().await;
        site.draining.cancel();
        roster.order_all(Order::Finish);
        tasks.close();
        let ended = tokio::time::timeout(grace, tasks.wait()).await;
        let cut_off = if ended.is_ok() { 0 } else { tasks.len() };
        if cut_off > 0 {
            tracing::warn!(connections = cut_off, "cut off: they did not end within the grace time");
            roster.order_all(Order::Drop);
            tasks.wait().await;
        }
        clock.abort();
        cut_off
    }
}

/// One listener's way in.
struct Gate {
    site: Arc<Site>,
    roster: Arc<Roster>,
    tasks: TaskTracker,
    tls: Option<TlsAcceptor>,
}

impl Gate {
    async fn accept(self, listener: TcpListener) {
        let http = http();
        loop {
            match listener.accept().await {
                Ok((socket, peer)) => self.admit(socket, peer, &http),
                Err(error) if is_peers_fault(&error) => {}
                Err(error) => {
                    self.site.tally.shed(Shed::Accept);
                    tracing::warn!(%error, "cannot accept a connection: raise the limit of open files");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Gives a connection its place and its task, or closes it.
    fn admit(&self, socket: TcpStream, peer: SocketAddr, http: &auto::Builder<TokioExecutor>) {
        let seat = match self.roster.seat(peer.ip(), &self.site.tally, &self.site.limits, now()) {
            Ok(seat) => seat,
            Err(reason) => return self.site.tally.shed(reason),
        };
        // Each is an improvement only: a system without the option still serves.
        let _ = socket.set_nodelay(true);
        #[cfg(any(target_os = "linux", target_os = "android"))]
        let _ = SockRef::from(&socket).set_tcp_notsent_lowat(NOT_SENT);
        let (site, tls, http) = (self.site.clone(), self.tls.clone(), http.clone());
        self.tasks.spawn(async move {
            let seat = seat;
            if let Some(socket) = secure(socket, tls, &seat.conn, &site).await {
                converse(socket, &seat.conn, &site, &http).await;
            }
        });
    }
}

/// TLS, where the listener speaks it.
async fn secure(socket: TcpStream, tls: Option<TlsAcceptor>, conn: &Conn, site: &Site) -> Option<Socket> {
    let Some(tls) = tls else { return Some(Socket::Plain(socket)) };
    let handshake = tokio::time::timeout(site.limits.head, tls.accept(socket));
    let reason = tokio::select! {
        _ = conn.ordered() => return None,
        shaken = handshake => match shaken {
            Ok(Ok(stream)) => return Some(Socket::Tls(Box::new(stream))),
            Ok(Err(_)) => Shed::Handshake,
            Err(_) => Shed::SlowHead,
        },
    };
    site.tally.shed(reason);
    None
}

/// HTTP on one connection, until either side ends it.
async fn converse(socket: Socket, conn: &Arc<Conn>, site: &Arc<Site>, http: &auto::Builder<TokioExecutor>) {
    let service = service_fn(|request: Request<Incoming>| {
        let (conn, site) = (conn.clone(), site.clone());
        // The request's body is dropped unread: nothing here takes one.
        let (parts, _) = request.into_parts();
        async move { Ok::<_, Infallible>(site.serve(&conn, parts).await) }
    });
    let io = TokioIo::new(Wire::new(socket, conn.clone()));
    let mut talk = std::pin::pin!(http.serve_connection(io, service));
    loop {
        tokio::select! {
            biased;
            ended = talk.as_mut() => {
                if let Err(error) = ended && is_malformed(error.as_ref()) {
                    site.tally.shed(Shed::Malformed);
                }
                return;
            }
            order = conn.ordered() => match order {
                Order::Finish => talk.as_mut().graceful_shutdown(),
                Order::Drop => return,
            },
        }
    }
}

/// Once a second: expires objects, judges connections, and reports.
async fn sweep(site: Arc<Site>, roster: Arc<Roster>, events: EventSender) {
    let begun = now();
    let mut reported = Reported::default();
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        seconds.tick().await;
        let now = now();
        site.store.sweep(now, now.saturating_duration_since(begun).as_secs());
        let connections = roster.sweep(now, &site.tally, &site.limits);
        let mut tick = site.tally.tick(&mut reported);
        tick.connections = connections as u64;
        let watched = |holding: crate::store::Holding| -> Option<(StreamName, u32)> {
            holding.on_air.then_some((holding.stream, holding.viewers))
        };
        tick.viewers = site.store.holdings().into_iter().filter_map(watched).collect();
        events.send(Event::Edge(tick));
    }
}

/// How HTTP is spoken.
fn http() -> auto::Builder<TokioExecutor> {
    let mut http = auto::Builder::new(TokioExecutor::new());
    // Heads are timed by the sweep, which costs nothing per request.
    http.http1()
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_buf_size(HTTP1_BUFFER)
        .keep_alive(true);
    http.http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(HTTP2_STREAMS)
        .initial_stream_window_size(HTTP2_WINDOW)
        .initial_connection_window_size(HTTP2_WINDOW)
        .max_header_list_size(HTTP2_HEAD)
        .max_pending_accept_reset_streams(HTTP2_RESETS)
        .keep_alive_interval(HTTP2_PING)
        .keep_alive_timeout(HTTP2_PING);
    http
}

fn listen(key: &'static str, address: SocketAddr) -> Result<TcpListener, Error> {
    let open = || {
        let socket = RawSocket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        TcpListener::from_std(socket.into())
    };
    open().map_err(|source| Error::Listen { key, address, source })
}

/// The certificate as configured, with HTTP/2 offered before HTTP/1.1.
fn acceptor(tls: &rustls::ServerConfig) -> TlsAcceptor {
    let mut tls = tls.clone();
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    TlsAcceptor::from(Arc::new(tls))
}

/// The client hung up before it was accepted.
fn is_peers_fault(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}

fn is_malformed(error: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse)
}
