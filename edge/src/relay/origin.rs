//! The node that feeds: sockets, who is let in, and what the edges ask for.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use aqueduct_common::StreamName;
use aqueduct_common::event::{Event, EventSender};
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Connection, Endpoint, TransportConfig};
use rustls::pki_types::CertificateDer;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::config::Plan;
use super::control::{self, Code, Control, OUTBOX, PeerError};
use super::door::{Door, Refusal, Waiting};
use super::fetch;
use super::hub::Hub;
use super::post::{Post, Subscription};
use super::refused::Refused;
use super::tally::Tally;
use super::tls::{Admit, Role, ServerAuth, role};
use super::trail::Trail;
use super::transport;
use super::wants::{Gathered, Wants};
use super::wire::Frame;
use crate::error::Error;
use crate::store::Store;

/// How long an edge may take to say who it is.
const HELLO: Duration = Duration::from_secs(5);
/// Subscriptions of one edge.
const MAX_SUBS: usize = 4_096;
/// Heartbeats without an answer after which an edge counts as one that does not read.
const MAX_UNSAID: u32 = 8;
/// How often it is told that what an edge wants is still wanted, and the hub is swept.
const SECOND: Duration = Duration::from_secs(1);

/// What a feeding node is made of.
pub struct Options {
    /// Its name.
    pub node: String,
    /// What it feeds others with.
    pub hub: Hub,
    /// What it serves its own viewers, and lends others one by one.
    pub store: Store,
    /// How it lets edges in. A renewed certificate counts from the next handshake on; who may be let in stays as it is.
    pub auth: watch::Receiver<ServerAuth>,
    /// Nodes that are not let in, and are sent away once they are on the list.
    pub refused: watch::Receiver<Arc<Refused>>,
    /// Hears what edges' viewers ask for.
    pub demand: Option<Arc<Gathered>>,
    /// What it asks for itself, where it is fed by others.
    pub wants: Option<Wants>,
    /// Nodes that it is fed by.
    pub trail: watch::Receiver<Trail>,
    /// Who hears what it counts.
    pub events: EventSender,
}

/// A node that feeds edges. [`Origin::run`] serves.
pub struct Origin {
    endpoint: Endpoint,
    shared: Arc<Shared>,
    auth: watch::Receiver<ServerAuth>,
    transport: Arc<TransportConfig>,
}

pub(super) struct Shared {
    pub(super) node: String,
    pub(super) hub: Hub,
    pub(super) store: Store,
    pub(super) demand: Option<Arc<Gathered>>,
    pub(super) wants: Option<Wants>,
    pub(super) tally: Tally,
    admit: Admit,
    refused: watch::Receiver<Arc<Refused>>,
    door: Arc<Door>,
    trail: watch::Receiver<Trail>,
    events: EventSender,
    /// Numbers the places that demand comes from.
    places: AtomicU64,
}

/// Why an edge is not served any more.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("{0}")]
    Peer(#[from] PeerError),
    #[error("{0}")]
    Refused(&'static str),
    #[error("it sent {0}, which no edge sends")]
    Protocol(&'static str),
    #[error("it is on the list of nodes that are not let in (relay.refused)")]
    Revoked,
    #[error("this node feeds as many edges as it may")]
    Full,
    #[error("it does not read what is said to it")]
    Slow,
    #[error("this node stops")]
    Stopped,
}

impl Origin {
    /// Listens. Needs a Tokio runtime around it.
    pub fn bind(plan: &Plan, listen: SocketAddr, options: Options) -> Result<Self, Error> {
        let Options { node, hub, store, auth, refused, demand, wants, trail, events } = options;
        let failed = |source| Error::Listen { key: "relay.listen", address: listen, source };
        let admit = auth.borrow().admit.clone();
        let transport = Arc::new(transport::feeding(plan.congestion, plan.floor));
        let config = server_config(&auth.borrow(), transport.clone())
            .map_err(|error| failed(std::io::Error::other(error.to_string())))?;
        let endpoint = Endpoint::server(config, listen).map_err(failed)?;
        let shared = Shared {
            node,
            hub,
            store,
            demand,
            wants,
            tally: Tally::default(),
            admit,
            refused,
            door: Arc::default(),
            trail,
            events,
            places: AtomicU64::new(1),
        };
        Ok(Self { endpoint, shared: Arc::new(shared), auth, transport })
    }

    /// Where it listens, with the port that the system chose.
    pub fn address(&self) -> Option<SocketAddr> {
        self.endpoint.local_addr().ok()
    }

    /// Feeds edges until `stop` is cancelled; then sends them elsewhere and waits for them to go, at most `grace`.
    pub async fn run(self, stop: CancellationToken, grace: Duration) {
        let Self { endpoint, shared, auth, transport } = self;
        let tasks = TaskTracker::new();
        let clock = tokio::spawn(sweep(shared.clone()));
        let renewal = tokio::spawn(renew(endpoint.clone(), auth, transport));
        loop {
            let incoming = tokio::select! {
                () = stop.cancelled() => break,
                incoming = endpoint.accept() => incoming,
            };
            let Some(incoming) = incoming else { break };
            let proven = incoming.remote_address_validated();
            match shared.door.knock(incoming.remote_address().ip(), proven) {
                Ok(waiting) => {
                    let (shared, stop) = (shared.clone(), stop.clone());
                    tasks.spawn(async move { shared.admit(incoming, waiting, stop).await });
                }
                Err(Refusal::Prove) => {
                    if let Err(error) = incoming.retry() {
                        error.into_incoming().refuse();
                    }
                }
                Err(Refusal::Full) => {
                    shared.tally.note("refused", "limit_waiting");
                    incoming.refuse();
                }
            }
        }
        renewal.abort();
        // Whoever comes back finds nobody, and goes elsewhere.
        endpoint.set_server_config(None);
        tasks.close();
        if tokio::time::timeout(grace, tasks.wait()).await.is_err() {
            tracing::warn!(edges = tasks.len(), "cut off: they did not leave within the grace time");
        }
        endpoint.close(Code::Done.into(), b"this node has stopped");
        clock.abort();
    }
}

impl Shared {
    async fn admit(self: Arc<Self>, incoming: quinn::Incoming, waiting: Waiting, stop: CancellationToken) {
        let peer = incoming.remote_address();
        let shaken = tokio::time::timeout(HELLO, incoming.into_future()).await;
        let conn = match shaken.unwrap_or(Err(quinn::ConnectionError::TimedOut)) {
            Ok(conn) => conn,
            Err(error) => {
                self.tally.note("refused", "handshake");
                return tracing::warn!(%peer, reason = %in_words(&error), "a node was not let in");
            }
        };
        let place = self.places.fetch_add(1, Relaxed);
        let end = Box::pin(Talk { shared: &self, conn: &conn, place }.run(waiting, stop)).await;
        if let Some(demand) = &self.demand {
            demand.left(place);
        }
        let (code, label) = match &end {
            End::Peer(PeerError::Malformed(_)) | End::Protocol(_) => (Code::Protocol, Some("protocol")),
            End::Refused(_) => (Code::Refused, Some("credentials")),
            End::Revoked => (Code::Refused, Some("revoked")),
            End::Full => (Code::Refused, Some("limit_edges")),
            End::Slow => (Code::Slow, Some("slow")),
            End::Stopped | End::Peer(_) => (Code::Done, None),
        };
        if let Some(reason) = label {
            self.tally.note("refused", reason);
        }
        conn.close(code.into(), end.to_string().as_bytes());
        tracing::info!(%peer, reason = %end, "an edge left");
    }

    /// The name of who may be fed.
    fn name(&self, conn: &Connection, hello: &str, secret: &[u8]) -> Result<String, End> {
        match &self.admit {
            Admit::Role => match certificate(conn).as_ref().and_then(role) {
                Some((Role::Edge, name)) => Ok(name),
                Some((Role::Origin, _)) => Err(End::Refused("its certificate is an origin's: edges are fed")),
                None => Err(End::Refused("its certificate names no role: make one with `aqueduct ca node`")),
            },
            Admit::Token(token) if token.is(secret) => Ok(hello.to_owned()),
            Admit::Token(_) if secret.is_empty() && conn.remote_address().ip().is_loopback() => {
                Ok(hello.to_owned())
            }
            Admit::Token(_) => {
                Err(End::Refused("it needs the token that this origin prints at its start (--token)"))
            }
        }
    }
}

fn server_config(
    auth: &ServerAuth,
    transport: Arc<TransportConfig>,
) -> Result<quinn::ServerConfig, quinn::crypto::rustls::NoInitialCipherSuite> {
    let crypto = QuicServerConfig::try_from(auth.tls.clone())?;
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    config.transport_config(transport);
    Ok(config)
}

/// Takes up a renewed certificate: the next handshake is made with it, and links that are up stay.
async fn renew(endpoint: Endpoint, mut auth: watch::Receiver<ServerAuth>, transport: Arc<TransportConfig>) {
    while auth.changed().await.is_ok() {
        match server_config(&auth.borrow_and_update(), transport.clone()) {
            Ok(config) => endpoint.set_server_config(Some(config)),
            Err(error) => tracing::error!(%error, "the relay's renewed certificate is not used"),
        }
    }
}

/// The certificate that the other side showed.
pub(super) fn certificate(conn: &Connection) -> Option<CertificateDer<'static>> {
    let identity = conn.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    identity.into_iter().next()
}

/// One edge.
struct Talk<'a> {
    shared: &'a Arc<Shared>,
    conn: &'a Connection,
    place: u64,
}

impl Talk<'_> {
    async fn run(&self, waiting: Waiting, stop: CancellationToken) -> End {
        let mut subs = Subs { running: HashMap::new(), tasks: Vec::new(), unsaid: 0 };
        let end = self.serve(&mut subs, waiting, stop).await;
        subs.tasks.drain(..).for_each(|task| task.abort());
        for (_, (_, task)) in subs.running.drain() {
            task.abort();
        }
        match end {
            Ok(()) => End::Stopped,
            Err(end) => end,
        }
    }

    async fn serve(&self, subs: &mut Subs, waiting: Waiting, stop: CancellationToken) -> Result<(), End> {
        let hello = async {
            let (send, receive) = self.conn.accept_bi().await.map_err(PeerError::from)?;
            let mut control = Control::new(receive);
            let frame = control.next().await?;
            Ok::<_, PeerError>((send, control, frame))
        };
        let (send, mut control, frame) =
            tokio::time::timeout(HELLO, hello).await.map_err(|_| PeerError::Late)??;
        let Frame::Hello { node, token, announce } = frame else {
            return Err(End::Protocol("something before it said who it is"));
        };
        let name = self.shared.name(self.conn, &node, &token)?;
        let mut refused = self.shared.refused.clone();
        refused.mark_changed();
        let certificate = certificate(self.conn);
        let is_refused = |list: &Refused| list.names(&name, certificate.as_ref());
        if is_refused(&refused.borrow()) {
            return Err(End::Revoked);
        }
        let _seat = waiting.seat().ok_or(End::Full)?;
        let (outbox, frames) = mpsc::channel(OUTBOX);
        subs.tasks.push(tokio::spawn(control::write(send, frames)));
        self.say(&outbox, Frame::Welcome { node: self.shared.node.clone() })?;
        self.say(&outbox, Frame::Lends)?;
        subs.tasks.push(tokio::spawn(fetch::lend(self.conn.clone(), self.shared.clone())));
        tracing::info!(edge = %name, peer = %self.conn.remote_address(), "an edge is fed");
        let mut trail = self.shared.trail.clone();
        trail.mark_changed();
        if announce {
            subs.tasks.push(tokio::spawn(tell_all(self.shared.hub.clone(), outbox.clone())));
        }
        let post = Post::new(self.conn.clone(), outbox.clone());
        let mut seconds = tokio::time::interval(SECOND);
        let mut stopping = false;
        loop {
            tokio::select! {
                frame = control.next() => self.heard(frame?, &post, subs, &outbox)?,
                Ok(()) = trail.changed() => {
                    let Trail { nodes, depth } = trail.borrow_and_update().told_by(&self.shared.node);
                    let depth = u16::try_from(depth).unwrap_or(u16::MAX);
                    self.say(&outbox, Frame::Trail { nodes, depth })?;
                }
                Ok(()) = refused.changed() => {
                    if is_refused(&refused.borrow_and_update()) {
                        return Err(End::Revoked);
                    }
                }
                _ = seconds.tick() => subs.renew(self.shared, &outbox),
                () = stop.cancelled(), if !stopping => {
                    stopping = true;
                    self.say(&outbox, Frame::GoAway)?;
                }
                error = self.conn.closed() => return Err(PeerError::from(error).into()),
            }
        }
    }

    fn say(&self, outbox: &mpsc::Sender<Frame>, frame: Frame) -> Result<(), End> {
        outbox.try_send(frame).map_err(|_| End::Slow)
    }

    fn heard(
        &self,
        frame: Frame,
        post: &Arc<Post>,
        subs: &mut Subs,
        outbox: &mpsc::Sender<Frame>,
    ) -> Result<(), End> {
        match frame {
            Frame::Ping { number } => {
                // Answers to thousands of subscriptions may just be on their way: that is not yet one who does not read.
                let said = outbox.try_send(Frame::Pong { number }).is_ok();
                subs.unsaid = if said { 0 } else { subs.unsaid + 1 };
                return if subs.unsaid < MAX_UNSAID { Ok(()) } else { Err(End::Slow) };
            }
            Frame::Subscribe { sub, stream } => return self.subscribe(sub, &stream, post, subs),
            Frame::Unsubscribe { sub } => {
                if let Some((_, task)) = subs.running.remove(&sub) {
                    task.abort();
                }
            }
            Frame::Want { sub, line, epoch, have } => {
                let Some((subscription, _)) = subs.running.get(&sub) else { return Ok(()) };
                // Viewers choose what is wished for: too much of it is left out, and costs the edge nothing else.
                if subscription.want(&line, epoch, &have) {
                    subscription.touch(self.shared, &line);
                } else {
                    self.shared.tally.note("refused", "limit_names");
                }
            }
            Frame::Unwant { sub, line } => {
                if let Some((subscription, _)) = subs.running.get(&sub) {
                    subscription.unwant(&line);
                }
            }
            Frame::Demand { sub, demand, viewers } => {
                if let (Some((subscription, _)), Some(gathered)) =
                    (subs.running.get(&sub), &self.shared.demand)
                {
                    gathered.told(self.place, subscription.stream(), demand, viewers);
                }
            }
            Frame::Hello { .. } => return Err(End::Protocol("who it is twice")),
            _ => return Err(End::Protocol("what only origins say")),
        }
        Ok(())
    }

    fn subscribe(&self, sub: u32, stream: &str, post: &Arc<Post>, subs: &mut Subs) -> Result<(), End> {
        if subs.running.contains_key(&sub) {
            return Err(End::Protocol("one number for two streams"));
        }
        let name = stream.parse::<StreamName>().ok().filter(|_| subs.running.len() < MAX_SUBS);
        let found = name.and_then(|name| Some((self.shared.hub.channel(&name)?, name)));
        let Some((channel, stream)) = found else {
            // Viewers choose names: too many of them are not on air, and cost the edge nothing else.
            self.shared.tally.note("refused", "limit_names");
            tracing::debug!(sub, "one name more than is waited for, or none at all: answered as absent");
            let _ = post.outbox().try_send(Frame::Absent { sub });
            return Ok(());
        };
        let subscription = Arc::new(Subscription::new(sub, stream, channel));
        let feeding = post.clone().feed(subscription.clone(), self.shared.clone());
        subs.running.insert(sub, (subscription, tokio::spawn(feeding)));
        Ok(())
    }
}

/// What one edge is subscribed to, and the tasks that serve it.
struct Subs {
    running: HashMap<u32, (Arc<Subscription>, JoinHandle<()>)>,
    tasks: Vec<JoinHandle<()>>,
    /// Heartbeats one after the other for whose answer there was no room.
    unsaid: u32,
}

impl Subs {
    /// What this edge wants is wanted of those that feed this node, and it is told which streams go on. What finds no room
    /// is not said: the next second's word stands for it.
    fn renew(&self, shared: &Shared, outbox: &mpsc::Sender<Frame>) {
        let subscriptions = || self.running.values().map(|(subscription, _)| subscription);
        subscriptions().for_each(|subscription| subscription.touch_all(shared));
        let subs: Vec<u32> = subscriptions().filter_map(|subscription| subscription.progress()).collect();
        if !subs.is_empty() {
            let _ = outbox.try_send(Frame::Progress { subs });
        }
    }
}

/// Tells of every stream on air, and of those that come, or come again.
async fn tell_all(hub: Hub, outbox: mpsc::Sender<Frame>) {
    let mut begun = hub.begun();
    let mut told = HashMap::new();
    loop {
        begun.mark_unchanged();
        let lives: HashMap<StreamName, u64> = hub.lives().into_iter().collect();
        for (stream, _) in lives.iter().filter(|(stream, life)| told.get(*stream) != Some(*life)) {
            let frame = Frame::Announce { stream: stream.as_str().to_owned() };
            if outbox.send(frame).await.is_err() {
                return;
            }
        }
        told = lives;
        if begun.changed().await.is_err() {
            return;
        }
    }
}

/// Once a second: lets go of what has ended, and reports.
async fn sweep(shared: Arc<Shared>) {
    let mut seconds = tokio::time::interval(SECOND);
    loop {
        seconds.tick().await;
        shared.hub.sweep(super::now());
        let mut tick = shared.tally.tick();
        tick.edges = Some(shared.door.fed() as u64);
        shared.events.send(Event::Relay(tick));
    }
}

/// Why a handshake failed, so that an operator knows what to do.
pub(super) fn in_words(error: &quinn::ConnectionError) -> String {
    use quinn::ConnectionError as E;
    // TLS alerts, as QUIC carries them (RFC 9001, 4.8).
    let alert = |code: u64| (0x100..0x200).contains(&code).then_some(code & 0xff);
    let code = match error {
        E::TransportError(error) => alert(error.code.into()),
        E::ConnectionClosed(close) => alert(close.error_code.into()),
        _ => None,
    };
    match code {
        Some(120) => {
            "the nodes speak no common version of the relay's protocol (this one speaks aqr/1): bring \
                      both to the same release"
                .to_owned()
        }
        Some(116) => {
            "no certificate was shown: set relay.ca, relay.certificate and relay.key on both nodes".to_owned()
        }
        Some(42 | 43 | 46 | 48 | 51) => format!("the certificate is not one that is known here ({error})"),
        Some(45) => format!("a certificate has expired ({error}): make a new one with `aqueduct ca node`"),
        Some(49) => format!("the certificate does not give that right ({error})"),
        _ => error.to_string(),
    }
}

impl std::fmt::Debug for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Origin").field("address", &self.address()).finish_non_exhaustive()
    }
}
