//! The node that feeds: sockets, who is let in, and what the edges ask for.

mod talk;
mod words;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use aqueduct_common::event::{Event, EventSender};
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Connection, Endpoint, TransportConfig};
use rustls::pki_types::CertificateDer;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::talk::{End, Talk};
pub(super) use self::words::in_words;
use super::config::Plan;
use super::control::{Code, PeerError};
use super::door::{Door, Refusal, Waiting};
use super::gathered::Gathered;
use super::hub::Hub;
use super::refused::Refused;
use super::tally::Tally;
use super::tls::{Admit, Role, ServerAuth, role};
use super::trail::Trail;
use super::transport;
use super::wants::Wants;
use crate::error::Error;
use crate::store::Store;

/// How long an edge may take to say who it is.
const HELLO: Duration = Duration::from_secs(5);
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

impl std::fmt::Debug for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Origin").field("address", &self.address()).finish_non_exhaustive()
    }
}
