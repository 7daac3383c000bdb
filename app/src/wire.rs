//! Joins the stages. The only file that names two of them.

mod pulls;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aqueduct_analytics::Board;
use aqueduct_common::feed::Publication;
use aqueduct_common::{EventSender, Publish, Secret, StreamName, TrackId, Update, event};
use aqueduct_edge::Store;
use aqueduct_edge::relay::{
    Gathered, Hub, Origin, OriginOptions, Tee, Token, Trail, Upstream, UpstreamOptions, Wants,
};
use aqueduct_ingest::pull::Pulls as Fetched;
use aqueduct_ingest::{KeyRing, Pulls, Streams};
use aqueduct_packager::{Checkpoints, Elsewhere, Lead};
use aqueduct_transcode::hardware::survey::{self, Probe};
use aqueduct_transcode::host::{self, Launch};
use aqueduct_transcode::push;
use aqueduct_transcode::snapshot::Snapshots;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::admin::{self, Admin};
use crate::cameras;
use crate::certificate;
use crate::config::Plan;
use crate::doctor::Doctor;
use crate::nodes::{Nodes, Words};
use crate::pages::Embedded;
use crate::plant::Planted;
use crate::{observe, relay, transport};

/// Events that may wait for analytics; beyond, they are dropped and counted.
const EVENTS: usize = 8_192;
/// How long what a dead packager had published stays fetchable.
const DEAD_LINGER: Duration = Duration::from_secs(10);
/// How long edges that are fed may take to go elsewhere: they do within a second or two, and viewers' time must remain.
const EDGES_LEAVE: Duration = Duration::from_secs(3);
/// How often viewers of sources that are pulled while watched are looked for.
const LOOK_FOR_VIEWERS: Duration = Duration::from_millis(200);
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
type Stage = (CancellationToken, JoinHandle<()>);

/// A running server.
#[derive(Debug)]
pub struct Running {
    /// Where it listens.
    pub addresses: Addresses,
    ready: Arc<AtomicBool>,
    nodes: Nodes,
    /// Kept until the packagers are gone: a registry without a handle ends its streams, and a stop must not.
    streams: Option<Streams>,
    /// In flow order.
    stages: Vec<Stage>,
}

/// What every node has, whatever it does.
struct Node {
    events: EventSender,
    board: Board,
    /// Sources, where this node takes streams in.
    pulls: Option<Pulls>,
    doctor: Arc<Doctor>,
    /// Notices that an earlier run could not deliver.
    waiting: String,
    /// Pictures of streams: of those that publishers push to this node.
    snapshots: Snapshots,
    running: Running,
}

impl Node {
    fn new(plan: &Plan, relay: Option<SocketAddr>, role: &'static str, keys: Option<&KeyRing>) -> Self {
        let (events, heard) = event::bus(EVENTS);
        let (board, waiting) = observe::board(plan, role);
        observe::start(board.clone(), heard);
        let (addresses, ready) = (Addresses::default(), Arc::new(AtomicBool::new(true)));
        let nodes = Nodes::start(plan, relay, events.clone());
        let doctor = Arc::new(Doctor::new(board.clone(), keys.cloned().map(Arc::new)));
        let running = Running { addresses, ready, nodes, streams: None, stages: Vec::new() };
        Self { events, board, doctor, waiting, pulls: None, snapshots: Snapshots::default(), running }
    }

    fn stage(&mut self, stop: &CancellationToken, task: impl Future<Output = ()> + Send + 'static) {
        self.running.stages.push((stop.clone(), tokio::spawn(task)));
    }

    /// The operator's port is the last to close.
    async fn open_admin(mut self, plan: &Plan) -> Result<Running, StartError> {
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

/// Opens every port of a node that takes streams from publishers, and starts every stage. With an address for it, edges
/// are fed from there.
pub async fn start_origin(
    plan: &Plan,
    keys: KeyRing,
    planted: Option<&Planted>,
    relay: Option<SocketAddr>,
) -> Result<Running, StartError> {
    let role = if relay.is_some() { "origin" } else { "serve" };
    let mut node = Node::new(plan, relay, role, Some(&keys));
    let events = node.events.clone();
    if let Some(rate) = planted.and_then(|planted| planted.events) {
        let stop = CancellationToken::new();
        node.stage(&stop, crate::plant::crowd::run(events.clone(), rate, stop.clone()));
    }
    let tls = certificate::load(&plan.tls, &plan.data_dir)?;
    let store = Store::new();
    let launch = Launch {
        arguments: vec!["snapshots".into()],
        ..Launch::this_program().map_err(StartError::Transcode)?
    };
    node.snapshots = Snapshots::start(launch, plan.transcode.thumbnails);
    let transcoder = transcoder(plan, planted, events.clone())?.shown_to(node.snapshots.clone());
    let demand = Arc::new(Gathered::new(Arc::new(Asked(transcoder.demand()))));
    let (edge_addresses, edge) = spawn_edge(plan, store.clone(), demand.clone(), tls.clone(), &node)?;
    let feeding = match relay {
        Some(listen) => Some(bind_relay(plan, listen, &mut node, store.clone(), demand, None)?),
        None => None,
    };
    let (begun, publications) = mpsc::channel(BEGINNING);
    let mut policy = plan.ingest.policy();
    policy.transcodes = plan.transcode.enabled;
    let sources = plan.streams.sources.clone();
    let streams = Streams::with_sources(policy, sources, begun, events.clone());
    let (tls, ready) = (Some(Arc::new(tls)), streams.clone());
    let opener = pulls::workers(plan).map_err(StartError::Transcode)?;
    let fetched = Fetched::new(plan.ingest.pulls().to_vec(), opener.clone(), streams.clone(), events.clone());
    let ingest = aqueduct_ingest::Server::bind(&plan.ingest, tls, keys, ready, events.clone())?;
    let ingest = ingest.with_opener(opener);
    let ports = ingest.addresses().into_iter().map(|(protocol, address)| (protocol.as_str(), address));
    node.running.addresses.ingest = ports.collect();
    node.running.addresses.edge = edge_addresses;
    node.running.streams = Some(streams.clone());
    let stop = CancellationToken::new();
    node.stage(&stop, ingest.run(stop.clone()));
    let stop = CancellationToken::new();
    node.stage(&stop, fetched.run(stop.clone()));
    let stop = CancellationToken::new();
    let pulls = Pulls::start(&plan.ingest, streams, events.clone(), stop.clone());
    node.stage(&stop, pulls.clone().run());
    node.stage(&stop, wake(pulls.clone(), store.clone(), stop.clone()));
    node.pulls = Some(pulls);

    let publications = push_on(plan, &mut node, publications)?;
    let (out, encoded) = mpsc::channel(BEGINNING);
    let stop = CancellationToken::new();
    node.stage(&stop, transcoder.run(publications, out, stop.clone()));
    let sink: Arc<dyn Publish> = match &feeding {
        Some((hub, _)) => Arc::new(Tee { store, hub: hub.clone() }),
        None => Arc::new(store),
    };
    let stop = CancellationToken::new();
    node.stage(&stop, package(plan.clone(), encoded, sink, node.running.nodes.clone(), events, stop.clone()));
    node.running.stages.extend(feeding.map(|(_, stage)| stage));
    node.running.stages.push(edge);
    Box::pin(node.open_admin(plan)).await
}

/// Opens every port of a node that is fed by these others (`host:port`, the preferred one first; the list may change while
/// it runs), and starts every stage. With an address for it, further edges are fed from there.
pub async fn start_edge(
    plan: &Plan,
    origins: watch::Receiver<Vec<String>>,
    relay: Option<SocketAddr>,
) -> Result<Running, StartError> {
    let mut node = Node::new(plan, relay, "edge", None);
    let (events, name) = (node.events.clone(), relay::node(&plan.relay)?);
    let (wants, hub) = (Wants::keeping(plan.relay.backfill), Hub::new());
    let store = Store::fed(wants.clone());
    let origins = node.running.nodes.upstreams(origins);
    let upstream = Upstream::new(UpstreamOptions {
        node: name.clone(),
        auth: relay::client(&plan.relay)?,
        refused: relay::refused(&plan.relay)?,
        origins: origins.clone(),
        holders: node.running.nodes.holders(),
        prefetch: plan.relay.prefetch.clone(),
        idle: plan.relay.idle,
        store: store.clone(),
        hub: hub.clone(),
        wants: wants.clone(),
        events,
    });
    node.running.nodes.watch_feed(upstream.trail());
    let demand = Arc::new(Gathered::new(Arc::new(wants.clone())));
    let tls = certificate::load(&plan.tls, &plan.data_dir)?;
    let fed = Fed { hub, wants, name, trail: upstream.trail() };
    if let Some(listen) = relay {
        let (_, stage) = bind_relay(plan, listen, &mut node, store.clone(), demand.clone(), Some(fed))?;
        node.running.stages.push(stage);
    }
    let (edge_addresses, edge) = spawn_edge(plan, store, demand, tls, &node)?;
    node.running.addresses.edge = edge_addresses;
    node.running.addresses.origins = origins.borrow().clone();
    node.running.stages.push(edge);
    let stop = CancellationToken::new();
    node.stage(&stop, upstream.run(stop.clone()));
    Box::pin(node.open_admin(plan)).await
}

/// What a node that feeds others is, where it is itself fed.
struct Fed {
    hub: Hub,
    wants: Wants,
    name: String,
    trail: watch::Receiver<Trail>,
}

fn bind_relay(
    plan: &Plan,
    listen: SocketAddr,
    node: &mut Node,
    store: Store,
    demand: Arc<Gathered>,
    fed: Option<Fed>,
) -> Result<(Hub, Stage), StartError> {
    let (auth, token) = relay::server(&plan.relay, &plan.data_dir)?;
    let (hub, wants, name, trail) = match fed {
        Some(Fed { hub, wants, name, trail }) => (hub, Some(wants), name, trail),
        None => (Hub::new(), None, relay::node(&plan.relay)?, watch::channel(Trail::default()).1),
    };
    let (events, demand) = (node.events.clone(), Some(demand));
    let refused = relay::refused(&plan.relay)?;
    let options =
        OriginOptions { node: name, hub: hub.clone(), store, auth, refused, demand, wants, trail, events };
    let origin = Origin::bind(&plan.relay, listen, options)?;
    node.running.addresses.relay = Some((origin.address().unwrap_or(listen), token));
    let stop = CancellationToken::new();
    let grace = EDGES_LEAVE.min(plan.deadline / 3);
    let task = tokio::spawn(origin.run(stop.clone(), grace));
    Ok((hub, (stop, task)))
}

/// Streams that are sent on to other servers are tapped on their way; without any, all go by.
fn push_on(
    plan: &Plan,
    node: &mut Node,
    publications: mpsc::Receiver<Publication>,
) -> Result<mpsc::Receiver<Publication>, StartError> {
    if plan.streams.targets.is_empty() {
        return Ok(publications);
    }
    let mut launch = Launch::this_program().map_err(StartError::Transcode)?;
    launch.arguments = vec![crate::cli::PUSH_WORKER.into()];
    let stage = push::Stage::new(plan.streams.targets.clone(), launch, node.events.clone());
    let (out, tapped) = mpsc::channel(BEGINNING);
    let stop = CancellationToken::new();
    node.stage(&stop, stage.run(publications, out, stop.clone()));
    Ok(tapped)
}

/// Tells the transcode stage which of its renditions viewers ask the edge for.
struct Asked(host::Demand);

impl aqueduct_edge::Demand for Asked {
    fn asked(&self, stream: &StreamName, demand: u8, viewers: u32) {
        self.0.asked(stream, TrackId(demand), viewers);
    }
}

/// Tells sources that are pulled while watched who watches: viewers of this node that wait for their stream, or have it.
async fn wake(pulls: Pulls, store: Store, stop: CancellationToken) {
    let mut expected = Vec::new();
    while stop.run_until_cancelled(tokio::time::sleep(LOOK_FOR_VIEWERS)).await.is_some() {
        let on_watch = pulls.on_watch();
        if on_watch != expected {
            store.expect(on_watch.iter().cloned());
            expected = on_watch;
        }
        if expected.is_empty() {
            continue;
        }
        let watched = store.holdings().into_iter().filter(|held| held.viewers > 0).map(|held| held.stream);
        for stream in store.awaited().into_iter().chain(watched) {
            pulls.want(&stream);
        }
    }
}

/// The transcode stage, which stands between the ingest and the packagers. Switched off, it hands streams on as they
/// are.
fn transcoder(
    plan: &Plan,
    planted: Option<&Planted>,
    events: EventSender,
) -> Result<host::Stage, StartError> {
    let launch = Launch::this_program().map_err(StartError::Transcode)?;
    let hardware = match (planted.and_then(|planted| planted.hardware.clone()), plan.transcode.enabled) {
        (Some(chosen), _) => watch::channel(chosen).1,
        (None, true) => survey::watch(
            plan.transcode.clone(),
            Probe::new(launch.program.clone(), &[crate::hardware::PROBE]),
        ),
        (None, false) => watch::channel(plan.transcode.unprobed()).1,
    };
    let options = host::Options {
        plan: plan.transcode.clone(),
        segment: plan.packager.segment(),
        hardware,
        launch,
        plant: planted.and_then(|planted| planted.plant),
    };
    Ok(host::Stage::new(options, events))
}

fn spawn_edge(
    plan: &Plan,
    store: Store,
    demand: Arc<Gathered>,
    tls: rustls::ServerConfig,
    node: &Node,
) -> Result<(Ports, Stage), StartError> {
    let tls = Some(Arc::new(tls));
    let server = aqueduct_edge::Server::bind(
        crate::token::edge_plan(plan)?,
        store,
        Arc::new(Embedded),
        tls,
        node.events.clone(),
        Some(demand),
    )?;
    let server = server.with_service(node.doctor.clone());
    let server = match node.running.nodes.steering() {
        Some(steering) => server.steered_by(steering),
        None => server,
    };
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

/// What the packagers of two nodes tell each other when one takes a stream over.
#[derive(Debug)]
struct Takeover(Words);

impl Elsewhere for Takeover {
    fn tell(&self, stream: &StreamName, checkpoint: &str) {
        self.0.say(stream, checkpoint);
    }

    fn heard(&self, stream: &StreamName) -> Option<(String, Duration)> {
        self.0.heard(stream)
    }
}

/// What the directory says of a stream, as its packager wants it.
fn leads(mut told: watch::Receiver<aqueduct_edge::cluster::Lead>) -> watch::Receiver<Lead> {
    use aqueduct_edge::cluster::Lead as Told;
    let (sender, heard) = watch::channel(Lead::Unknown);
    tokio::spawn(async move {
        loop {
            sender.send_replace(match *told.borrow_and_update() {
                Told::Unknown => Lead::Unknown,
                Told::Ours => Lead::Leads,
                Told::Theirs => Lead::Follows,
            });
            tokio::select! {
                changed = told.changed() => if changed.is_err() { return },
                () = sender.closed() => return,
            }
        }
    });
    heard
}

/// Gives every stream that begins a packager of its own. A packager that dies takes only its stream with it.
async fn package(
    plan: Plan,
    mut publications: mpsc::Receiver<Publication>,
    sink: Arc<dyn Publish>,
    nodes: Nodes,
    events: EventSender,
    stop: CancellationToken,
) {
    let elsewhere = Arc::new(Takeover(nodes.elsewhere()));
    let checkpoints = Checkpoints::shared(Some(plan.data_dir.join("streams")), elsewhere);
    let (mut running, mut claims) = (JoinSet::new(), HashMap::new());
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            begun = publications.recv() => {
                let Some(publication) = begun else { break };
                let claim = nodes.claim(&publication.stream);
                let task = running.spawn(aqueduct_packager::run(
                    plan.packager.clone(),
                    publication,
                    sink.clone(),
                    checkpoints.clone(),
                    events.clone(),
                    leads(claim.leads()),
                ));
                claims.insert(task.id(), claim);
            }
            Some(ended) = running.join_next_with_id() => {
                let id = match &ended {
                    Ok((id, ())) => *id,
                    Err(error) => error.id(),
                };
                let claim = claims.remove(&id);
                if let (Err(error), Some(claim)) = (ended, claim) {
                    let stream = claim.stream();
                    tracing::error!(%stream, %error, "a packager died; its stream begins anew when its publisher returns");
                    sink.publish(stream, Update::End { linger: DEAD_LINGER });
                }
            }
        }
    }
    // No ENDLIST on a stop: the numbering stands in the checkpoints, and the streams go on after a restart.
    running.shutdown().await;
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
