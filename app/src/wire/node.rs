//! What every node has, whatever it does, and the order in which it stops.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aqueduct_analytics::Board;
use aqueduct_common::{EventSender, Secret, event};
use aqueduct_edge::relay::Token;
use aqueduct_ingest::{KeyRing, Pulls, Streams};
use aqueduct_transcode::snapshot::Snapshots;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::admin::{self, Admin};
use crate::cameras;
use crate::certificate;
use crate::config::Plan;
use crate::doctor::Doctor;
use crate::nodes::Nodes;
use crate::{observe, relay, transport};

/// Events that may wait for analytics; beyond, they are dropped and counted.
const EVENTS: usize = 8_192;

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Publishers' ports.
    #[error("{0}")]
    Ingest(#[from] aqueduct_ingest::Error),
    /// Viewers' ports.
    #[error("{0}")]
    Edge(#[from] aqueduct_edge::Error),
    /// The program of the workers.
    #[error("transcode: this program's own file cannot be told: {0}; set transcode.mode to \"off\"")]
    Transcode(std::io::Error),
    /// The key of viewers' tokens.
    #[error("{0}")]
    WatchKey(#[from] crate::token::KeyFileError),
    /// The operator's password.
    #[error("{0}")]
    Password(#[from] crate::access::PasswordError),
    /// Certificates.
    #[error("{0}")]
    Certificate(#[from] certificate::CertificateError),
    /// Other nodes.
    #[error("{0}")]
    Relay(#[from] relay::RelayError),
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
#[derive(Clone, Debug, Default)]
pub struct Addresses {
    /// Publishers' ports with their URL schemes.
    pub ingest: Ports,
    /// Viewers' ports with their URL schemes.
    pub edge: Ports,
    /// Where edges connect, and the token that lets them in from other machines.
    pub relay: Option<(SocketAddr, Option<Token>)>,
    /// Nodes that feed this one.
    pub origins: Vec<String>,
    /// The operator's port.
    pub admin: Option<SocketAddr>,
    /// Its password, where this start made one.
    pub admin_password: Option<Secret>,
}

/// What stops a stage, and the task that then ends.
pub(super) type Stage = (CancellationToken, JoinHandle<()>);

/// A running server.
#[derive(Debug)]
pub struct Running {
    /// Where it listens.
    pub addresses: Addresses,
    ready: Arc<AtomicBool>,
    pub(super) nodes: Nodes,
    /// Kept until the packagers are gone: a registry without a handle ends its streams, and a stop must not.
    pub(super) streams: Option<Streams>,
    /// In flow order.
    pub(super) stages: Vec<Stage>,
}

impl Running {
    /// Waits until the operator asks for a drain.
    pub async fn asked_to_leave(&self) {
        self.nodes.asked().cancelled().await;
    }

    /// Leaves the other nodes in order, and stops in flow order: publishers, workers, packagers, edges, viewers, operator. What is not done by the deadline is cut off.
    /// Returns whether everything ended by itself.
    pub async fn drain(self, deadline: Duration) -> bool {
        self.ready.store(false, Ordering::Release);
        let in_flow_order = async {
            self.nodes.leave(deadline).await;
            for (stop, task) in self.stages {
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

/// What every node has, whatever it does.
pub(super) struct Node {
    pub(super) events: EventSender,
    pub(super) board: Board,
    /// Sources, where this node takes streams in.
    pub(super) pulls: Option<Pulls>,
    pub(super) doctor: Arc<Doctor>,
    /// Notices that an earlier run could not deliver.
    waiting: String,
    /// Pictures of streams: of those that publishers push to this node.
    pub(super) snapshots: Snapshots,
    pub(super) running: Running,
}

impl Node {
    pub(super) fn new(
        plan: &Plan,
        relay: Option<SocketAddr>,
        role: &'static str,
        keys: Option<&KeyRing>,
    ) -> Self {
        let (events, heard) = event::bus(EVENTS);
        let (board, waiting) = observe::board(plan, role);
        observe::start(board.clone(), heard);
        let (addresses, ready) = (Addresses::default(), Arc::new(AtomicBool::new(true)));
        let nodes = Nodes::start(plan, relay, events.clone());
        let doctor = Arc::new(Doctor::new(board.clone(), keys.cloned().map(Arc::new)));
        let running = Running { addresses, ready, nodes, streams: None, stages: Vec::new() };
        Self { events, board, doctor, waiting, pulls: None, snapshots: Snapshots::default(), running }
    }

    pub(super) fn stage(
        &mut self,
        stop: &CancellationToken,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        self.running.stages.push((stop.clone(), tokio::spawn(task)));
    }

    /// The operator's port is the last to close.
    pub(super) async fn open_admin(mut self, plan: &Plan) -> Result<Running, StartError> {
        let address = plan.admin.listen;
        let listener = TcpListener::bind(address).await;
        let listener = listener.map_err(|error| StartError::Admin { address, error })?;
        self.running.addresses.admin = Some(listener.local_addr().unwrap_or(address));
        let (access, password) = observe::access(plan)?;
        self.running.addresses.admin_password = password;
        let stop = CancellationToken::new();
        let (ready, drain) = (self.running.ready.clone(), self.running.nodes.asked().clone());
        let node: Arc<str> = plan.cluster.node().as_str().into();
        let (board, doctor) = (self.board.clone(), self.doctor.clone());
        let protect_metrics = plan.admin.protect_metrics;
        let remote = transport::start(plan, &board, &drain);
        let beside = crate::dashboard::routes(self.snapshots.clone(), &self.running.addresses);
        let beside = beside.merge(cameras::routes(self.pulls.take()));
        let node_name = node.clone();
        let admin =
            Admin { board, ready, drain, access, protect_metrics, doctor, node: node_name, remote, beside };
        let stopped = stop.clone();
        let waiting = std::mem::take(&mut self.waiting);
        let hooks =
            crate::hooks::run(self.board.clone(), plan.analytics.hooks.clone(), node, waiting, stop.clone());
        self.stage(&stop, hooks);
        let otlp = crate::otlp::run(self.board.clone(), plan.analytics.otlp.clone(), stop.clone());
        self.stage(&stop, otlp);
        let board = self.board.clone();
        self.stage(&stop, async move {
            if let Err(error) = admin::run(admin, listener, stopped).await {
                tracing::error!(%error, "the operator's port failed");
            }
            observe::close(board).await;
        });
        Ok(self.running)
    }
}
