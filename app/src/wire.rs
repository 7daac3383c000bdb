//! Joins the stages. The only file that names two of them.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aqueduct_analytics::Board;
use aqueduct_common::feed::Publication;
use aqueduct_common::{EventSender, Publish, Update, event};
use aqueduct_edge::Store;
use aqueduct_ingest::{KeyRing, Streams};
use aqueduct_packager::Checkpoints;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::admin::{self, Admin};
use crate::certificate;
use crate::config::Plan;
use crate::pages::Embedded;

/// Events that may wait for analytics; beyond, they are dropped and counted.
const EVENTS: usize = 8_192;
/// How long what a dead packager had published stays fetchable.
const DEAD_LINGER: Duration = Duration::from_secs(10);
/// Streams that may begin at once before ingest waits.
const BEGINNING: usize = 64;

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Publishers' ports.
    #[error("{0}")]
    Ingest(#[from] aqueduct_ingest::Error),
    /// Viewers' ports.
    #[error("{0}")]
    Edge(#[from] aqueduct_edge::Error),
    /// Certificates.
    #[error("{0}")]
    Certificate(#[from] certificate::CertificateError),
    /// The operator's port.
    #[error("admin.listen {address}: {error}; stop what listens there, or set another address")]
    Admin {
        /// The address.
        address: SocketAddr,
        /// Why.
        error: std::io::Error,
    },
}

/// Open ports with the URL schemes that reach them.
pub type Ports = Vec<(&'static str, SocketAddr)>;

/// Where the running server listens.
#[derive(Clone, Debug)]
pub struct Addresses {
    /// Publishers' ports with their URL schemes.
    pub ingest: Ports,
    /// Viewers' ports with their URL schemes.
    pub edge: Ports,
    /// The operator's port.
    pub admin: SocketAddr,
}

/// What stops a stage, and the task that then ends.
type Stage = (CancellationToken, JoinHandle<()>);

/// A running server.
#[derive(Debug)]
pub struct Running {
    /// Where it listens.
    pub addresses: Addresses,
    ready: Arc<AtomicBool>,
    /// Kept until the packagers are gone: a registry without a handle ends its streams, and a stop must not.
    streams: Streams,
    ingest: Stage,
    packagers: Stage,
    edge: Stage,
    admin: Stage,
}

/// Opens every port and starts every stage.
pub async fn start(plan: &Plan, keys: KeyRing) -> Result<Running, StartError> {
    let (events, heard) = event::bus(EVENTS);
    let board = Board::default();
    tokio::spawn(aqueduct_analytics::run(board.clone(), heard));

    let tls = certificate::load(&plan.tls, &plan.data_dir)?;
    let store = Store::new();
    let (edge_addresses, edge) = spawn_edge(plan, store.clone(), tls.clone(), events.clone())?;
    let (begun, publications) = mpsc::channel(BEGINNING);
    let streams = Streams::start(plan.ingest.policy(), begun, events.clone());
    let ingest = aqueduct_ingest::Server::bind(
        &plan.ingest,
        Some(Arc::new(tls)),
        keys,
        streams.clone(),
        events.clone(),
    )?;
    let ingest_addresses =
        ingest.addresses().into_iter().map(|(protocol, address)| (protocol.as_str(), address)).collect();
    let stop_ingest = CancellationToken::new();
    let ingest_task = tokio::spawn(ingest.run(stop_ingest.clone()));

    let stop_packagers = CancellationToken::new();
    let packagers = tokio::spawn(package(plan.clone(), publications, store, events, stop_packagers.clone()));

    let ready = Arc::new(AtomicBool::new(true));
    let listener = TcpListener::bind(plan.admin).await;
    let listener = listener.map_err(|error| StartError::Admin { address: plan.admin, error })?;
    let admin_address = listener.local_addr().unwrap_or(plan.admin);
    let stop_admin = CancellationToken::new();
    let admin_task = tokio::spawn({
        let (admin, stop) = (Admin { board, ready: ready.clone() }, stop_admin.clone());
        async move {
            if let Err(error) = admin::run(admin, listener, stop).await {
                tracing::error!(%error, "the operator's port failed");
            }
        }
    });
    Ok(Running {
        addresses: Addresses { ingest: ingest_addresses, edge: edge_addresses, admin: admin_address },
        ready,
        streams,
        ingest: (stop_ingest, ingest_task),
        packagers: (stop_packagers, packagers),
        edge,
        admin: (stop_admin, admin_task),
    })
}

fn spawn_edge(
    plan: &Plan,
    store: Store,
    tls: rustls::ServerConfig,
    events: EventSender,
) -> Result<(Ports, Stage), StartError> {
    let tls = Some(Arc::new(tls));
    let server = aqueduct_edge::Server::bind(plan.edge.clone(), store, Arc::new(Embedded), tls, events)?;
    let bound = server.addresses();
    let http = bound.http.map(|address| ("http", address));
    let https = bound.https.map(|address| ("https", address));
    let (stop, deadline) = (CancellationToken::new(), plan.deadline);
    let task = tokio::spawn({
        let stop = stop.clone();
        async move {
            let cut = server.run(stop, deadline).await;
            if cut > 0 {
                tracing::warn!(connections = cut, "viewers that did not leave in time were cut off");
            }
        }
    });
    Ok((http.into_iter().chain(https).collect(), (stop, task)))
}

/// Gives every stream that begins a packager of its own. A packager that dies takes only its stream with it.
async fn package(
    plan: Plan,
    mut publications: mpsc::Receiver<Publication>,
    store: Store,
    events: EventSender,
    stop: CancellationToken,
) {
    let checkpoints = Checkpoints::new(Some(plan.data_dir.join("streams")));
    let (mut running, mut names) = (JoinSet::new(), HashMap::new());
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            begun = publications.recv() => {
                let Some(publication) = begun else { break };
                let name = publication.stream.clone();
                let task = running.spawn(aqueduct_packager::run(
                    plan.packager.clone(),
                    publication,
                    Arc::new(store.clone()),
                    checkpoints.clone(),
                    events.clone(),
                ));
                names.insert(task.id(), name);
            }
            Some(ended) = running.join_next_with_id() => {
                let id = match &ended {
                    Ok((id, ())) => *id,
                    Err(error) => error.id(),
                };
                let name = names.remove(&id);
                if let (Err(error), Some(stream)) = (ended, name) {
                    tracing::error!(%stream, %error, "a packager died; its stream begins anew when its publisher returns");
                    store.publish(&stream, Update::End { linger: DEAD_LINGER });
                }
            }
        }
    }
    // No ENDLIST on a stop: the numbering stands in the checkpoints, and the streams go on after a restart.
    running.shutdown().await;
}

impl Running {
    /// Stops in flow order: publishers, packagers, viewers, operator. What is not done by the deadline is cut off.
    /// Returns whether everything ended by itself.
    pub async fn drain(self, deadline: Duration) -> bool {
        self.ready.store(false, Ordering::Release);
        let in_flow_order = async {
            for (stop, task) in [self.ingest, self.packagers, self.edge, self.admin] {
                stop.cancel();
                // A stage that panicked has ended as well; it logged why.
                let _ = task.await;
            }
        };
        let whole = tokio::time::timeout(deadline, in_flow_order).await.is_ok();
        drop(self.streams);
        whole
    }
}
