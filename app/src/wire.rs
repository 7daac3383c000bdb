//! Joins the stages. The only file that names two of them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aqueduct_analytics::Board;
use aqueduct_common::feed::Publication;
use aqueduct_common::{EventSender, event};
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

/// Where the running server listens.
#[derive(Clone, Debug)]
pub struct Addresses {
    /// RTMP, then RTMPS if it is on.
    pub ingest: Vec<SocketAddr>,
    /// HTTP, then HTTPS if it is on.
    pub edge: Vec<SocketAddr>,
    /// The operator's port.
    pub admin: SocketAddr,
}

/// A running server.
#[derive(Debug)]
pub struct Running {
    /// Where it listens.
    pub addresses: Addresses,
    ready: Arc<AtomicBool>,
    ingest: (CancellationToken, JoinHandle<()>),
    packagers: (CancellationToken, JoinHandle<()>),
    edge: (CancellationToken, JoinHandle<()>),
    admin: (CancellationToken, JoinHandle<()>),
}

/// Opens every port and starts every stage.
pub async fn start(plan: &Plan, keys: KeyRing) -> Result<Running, StartError> {
    let (events, heard) = event::bus(EVENTS);
    let board = Board::default();
    tokio::spawn(aqueduct_analytics::run(board.clone(), heard));

    let tls = certificate::load(&plan.tls, &plan.data_dir)?;
    let store = Store::new();
    let (stop_edge, edge) =
        spawn_edge(plan, store.clone(), tls.clone(), events.clone()).await?;
    let (begun, publications) = mpsc::channel(BEGINNING);
    let streams = Streams::start(plan.ingest.streams(), begun, events.clone());
    let ingest = aqueduct_ingest::Server::bind(&plan.ingest, Some(Arc::new(tls)), keys, streams, events.clone()).await?;
    let ingest_addresses = ingest.addresses();
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
        addresses: Addresses { ingest: ingest_addresses, edge: edge.0, admin: admin_address },
        ready,
        ingest: (stop_ingest, ingest_task),
        packagers: (stop_packagers, packagers),
        edge: (stop_edge, edge.1),
        admin: (stop_admin, admin_task),
    })
}

async fn spawn_edge(
    plan: &Plan,
    store: Store,
    tls: rustls::ServerConfig,
    events: EventSender,
) -> Result<(CancellationToken, (Vec<SocketAddr>, JoinHandle<()>)), StartError> {
    let server = aqueduct_edge::Server::bind(&plan.edge, store, Arc::new(Embedded), Some(Arc::new(tls)), events).await?;
    let (addresses, stop) = (server.addresses(), CancellationToken::new());
    let task = tokio::spawn(server.run(stop.clone(), plan.deadline));
    Ok((stop, (addresses, task)))
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
    let mut running = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            begun = publications.recv() => {
                let Some(publication) = begun else { break };
                running.spawn(aqueduct_packager::run(
                    plan.packager.clone(),
                    publication,
                    Arc::new(store.clone()),
                    checkpoints.clone(),
                    events.clone(),
                ));
            }
            Some(ended) = running.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "a packager died; its stream begins anew when its publisher returns");
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
        tokio::time::timeout(deadline, in_flow_order).await.is_ok()
    }
}
