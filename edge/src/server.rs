//! Sockets: accepting, HTTP/1.1 and HTTP/2 on those of TCP, the sweep that watches over them, and the drain that ends them.

use std::convert::Infallible;
use std::error::Error as _;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use aqueduct_common::event::{Event, EventSender};
use aqueduct_common::name::StreamName;
use http::header::ALT_SVC;
use http::{HeaderValue, Method, Request};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use socket2::{Domain, Protocol, SockRef, Socket as RawSocket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::audience::Demand;
use crate::config::{Http3, Plan};
use crate::conn::{Conn, Order};
use crate::error::Error;
use crate::http3::{self, Door};
use crate::pages::{Pages, Service};
use crate::report;
use crate::roster::Roster;
use crate::site::{Site, now};
use crate::steering::Steering;
use crate::store::Store;
use crate::tally::{Reported, Shed};
use crate::token::Access;
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
/// Twice what is answered, so that a head a little too long gets our own answer (EDGE-36); a longer one gets 431 of the
/// library itself.
const HTTP2_HEAD: u32 = 32 * 1_024;
/// Streams that a client may reset before they are looked at (rapid reset, CVE-2023-44487).
const HTTP2_RESETS: usize = 20;
/// A peer that does not answer a ping for so long is gone.
const HTTP2_PING: Duration = Duration::from_secs(20);
/// Ports that are tried for one that is free for TCP and for UDP.
const PORT_TRIES: u32 = 32;
/// Pause after the system had no socket to give.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// An edge that listens. [`Server::run`] serves.
pub struct Server {
    http: Option<TcpListener>,
    https: Option<(TcpListener, TlsAcceptor)>,
    http3: Option<Door>,
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
    /// HTTP/3, over UDP.
    pub http3: Option<SocketAddr>,
}

impl Server {
    /// Listens on the plan's addresses. Needs a Tokio runtime around it. ALPN is set here. `demand` hears which playlists
    /// are asked for, of those whose publisher wants to know.
    pub fn bind(
        plan: Plan,
        store: Store,
        pages: Arc<dyn Pages>,
        tls: Option<Arc<rustls::ServerConfig>>,
        events: EventSender,
        demand: Option<Arc<dyn Demand>>,
    ) -> Result<Self, Error> {
        let http = plan.http.map(|address| listen("edge.http.listen", address)).transpose()?;
        let (https, http3) = match (plan.https, tls) {
            (None, _) => (None, None),
            (Some(_), None) => return Err(Error::NoCertificate),
            (Some(address), Some(tls)) => {
                let (https, http3) = listen_secure(address, &tls, &plan.http3)?;
                (Some((https, acceptor(&tls))), http3)
            }
        };
        let access = Access::open(plan.access)?;
        let site = Arc::new(Site::new(store, pages, plan.limits, access, demand));
        let _ = site.reports.set(events.clone());
        Ok(Self { http, https, http3, site, roster: Arc::default(), events })
    }

    /// Has it tell players which group of edges to play from.
    #[must_use]
    pub fn steered_by(self, steering: Arc<Steering>) -> Self {
        let _ = self.site.steering.set(steering);
        self
    }

    /// Has it give the answers of this service beside its pages.
    #[must_use]
    pub fn with_service(self, service: Arc<dyn Service>) -> Self {
        let _ = self.site.service.set(service);
        self
    }

    /// Where it listens, with the ports that the system chose.
    pub fn addresses(&self) -> Addresses {
        let address = |listener: &TcpListener| listener.local_addr().ok();
        Addresses {
            http: self.http.as_ref().and_then(address),
            https: self.https.as_ref().and_then(|(listener, _)| address(listener)),
            http3: self.http3.as_ref().and_then(|door| door.endpoint.local_addr().ok()),
        }
    }

    /// Serves until `stop` is cancelled; then accepts nobody, lets go of who is held, says goodbye to every connection
    /// and waits for them to end, at most `grace` (EDGE-38). Returns how many were cut off.
    pub async fn run(self, stop: CancellationToken, grace: Duration) -> usize {
        let Self { http, https, http3, site, roster, events } = self;
        let offer = http3.as_ref().map(|door| door.offer.clone());
        let tasks = TaskTracker::new();
        let acceptors = TaskTracker::new();
        for (listener, tls) in
            http.map(|http| (http, None)).into_iter().chain(https.map(|(l, tls)| (l, Some(tls))))
        {
            let offer = tls.as_ref().and(offer.clone());
            let gate = Gate { site: site.clone(), roster: roster.clone(), tasks: tasks.clone(), tls, offer };
            let stop = stop.clone();
            acceptors.spawn(async move {
                tokio::select! { () = stop.cancelled() => {}, () = gate.accept(listener) => {} }
            });
        }
        let endpoint = http3.map(|door| {
            let gate = http3::Gate::new(site.clone(), roster.clone(), tasks.clone(), door.offer);
            let (stop, endpoint) = (stop.clone(), door.endpoint.clone());
            acceptors.spawn(async move {
                tokio::select! { () = stop.cancelled() => {}, () = gate.accept(endpoint) => {} }
            });
            door.endpoint
        });
        let clock = tokio::spawn(sweep(site.clone(), roster.clone(), events));
        let keys = tokio::spawn({
            let site = site.clone();
            async move { site.access.keep().await }
        });
        stop.cancelled().await;
        acceptors.close();
        acceptors.wait().await;
        if let Some(endpoint) = &endpoint {
            endpoint.set_server_config(None);
        }
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
        if let Some(endpoint) = &endpoint {
            http3::close(endpoint).await;
        }
        clock.abort();
        keys.abort();
        cut_off
    }
}

/// One listener's way in.
struct Gate {
    site: Arc<Site>,
    roster: Arc<Roster>,
    tasks: TaskTracker,
    tls: Option<TlsAcceptor>,
    /// `Alt-Svc`, on connections with TLS.
    offer: Option<HeaderValue>,
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
        let offer = self.offer.clone();
        self.tasks.spawn(async move {
            let seat = seat;
            if let Some(socket) = secure(socket, tls, &seat.conn, &site).await {
                converse(socket, &seat.conn, &site, &http, offer).await;
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
async fn converse(
    socket: Socket,
    conn: &Arc<Conn>,
    site: &Arc<Site>,
    http: &auto::Builder<TokioExecutor>,
    offer: Option<HeaderValue>,
) {
    let service = service_fn(|request: Request<Incoming>| {
        let (conn, site, offer) = (conn.clone(), site.clone(), offer.clone());
        // A body is dropped unread, but that of a player's report.
        let (parts, body) = request.into_parts();
        async move {
            let mut response = if parts.method == Method::POST {
                let posted = report::collect(body, site.limits.head).await;
                site.serve_posted(&conn, &parts, posted)
            } else {
                site.serve(&conn, parts).await
            };
            if let Some(offer) = offer {
                response.headers_mut().insert(ALT_SVC, offer);
            }
            Ok::<_, Infallible>(response)
        }
    });
    let io = TokioIo::new(Wire::new(socket, conn.clone()));
    let mut talk = std::pin::pin!(http.serve_connection(io, service));
    loop {
        tokio::select! {
            biased;
            ended = talk.as_mut() => {
                // What it was shed for already is not counted again.
                if let (Err(error), false) = (ended, conn.is_dropped()) && let Some(reason) = fault(error.as_ref()) {
                    site.tally.shed(reason);
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
        let seconds = now.saturating_duration_since(begun).as_secs();
        site.store.sweep(now, seconds);
        if let Some(demand) = &site.demand {
            site.store.tell(demand.as_ref(), seconds);
        }
        let connections = roster.sweep(now, &site.tally, &site.limits);
        let mut tick = site.tally.tick(&mut reported);
        tick.connections = connections as u64;
        tick.capacity = site.limits.connections as u64;
        let steered_away = site.steering.get().is_some_and(|steering| steering.is_draining());
        tick.draining = steered_away || site.draining.is_cancelled();
        if let Some(steering) = site.steering.get() {
            let viewers = site.store.holdings().iter().map(|holding| holding.viewers).sum();
            steering.tick(connections, site.limits.connections, tick.bytes, viewers, now);
        }
        let watched = |holding: crate::store::Holding| -> Option<(StreamName, u32)> {
            holding.on_air.then_some((holding.stream, holding.viewers))
        };
        let ages = site.access.ages(now).into_iter();
        tick.source_ages = ages.map(|(key, age)| (key, age.as_secs())).collect();
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

/// The listener of HTTPS, and the door of HTTP/3 on the same port. Where the system is to choose the port, it chooses
/// until one is free for both.
fn listen_secure(
    address: SocketAddr,
    tls: &rustls::ServerConfig,
    http3: &Http3,
) -> Result<(TcpListener, Option<Door>), Error> {
    let mut tries = 0;
    loop {
        tries += 1;
        let https = listen("edge.https.listen", address)?;
        if !http3.enabled {
            return Ok((https, None));
        }
        let chosen = https.local_addr().unwrap_or(address);
        match Door::bind(chosen, tls, http3.advertise) {
            Ok(door) => return Ok((https, Some(door))),
            Err(Error::Listen { .. }) if address.port() == 0 && tries < PORT_TRIES => {}
            Err(error) => return Err(error),
        }
    }
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

/// What a client did that ended its connection, where it did something.
fn fault(error: &(dyn std::error::Error + Send + Sync + 'static)) -> Option<Shed> {
    let error = error.downcast_ref::<hyper::Error>()?;
    if error.is_parse() {
        return Some(Shed::Malformed);
    }
    let http2 = error.source()?.downcast_ref::<h2::Error>().filter(|error| error.is_library())?;
    Some(match http2.reason() {
        Some(h2::Reason::ENHANCE_YOUR_CALM) => Shed::Flood,
        _ => Shed::Malformed,
    })
}
