//! Joins the stages. Nothing else names two of them.

mod node;
mod packagers;
mod pulls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use aqueduct_common::feed::Publication;
use aqueduct_common::{EventSender, Publish, StreamName, TrackId};
use aqueduct_edge::Store;
use aqueduct_edge::relay::{
    Gathered, Hub, Origin, OriginOptions, Tee, Trail, Upstream, UpstreamOptions, Wants,
};
use aqueduct_ingest::pull::Pulls as Fetched;
use aqueduct_ingest::{KeyRing, Pulls, Streams};
use aqueduct_transcode::hardware::survey::{self, Probe};
use aqueduct_transcode::host::{self, Launch};
use aqueduct_transcode::push;
use aqueduct_transcode::snapshot::Snapshots;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::config::Plan;
use crate::pages::Embedded;
use crate::plant::Planted;
use crate::{certificate, relay};
pub use node::{Addresses, Running, StartError};
use node::{Node, Ports, Stage};

/// How long edges that are fed may take to go elsewhere: they do within a second or two, and viewers' time must remain.
const EDGES_LEAVE: Duration = Duration::from_secs(3);
/// How often viewers of sources that are pulled while watched are looked for.
const LOOK_FOR_VIEWERS: Duration = Duration::from_millis(200);
/// Streams that may begin at once before ingest waits.
const BEGINNING: usize = 64;

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
    node.stage(
        &stop,
        packagers::run(plan.clone(), encoded, sink, node.running.nodes.clone(), events, stop.clone()),
    );
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
