//! What is known, behind one lock: stages' events and viewers' reports come in, and a second at a time they become health,
//! alerts and records.

mod outbox;
mod overview;
mod readings;
mod second;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aqueduct_common::event::{EventReceiver, Report};
use aqueduct_common::{Event, StreamName, WallTime};
use serde::Serialize;
use tokio::sync::broadcast;
use utoipa::ToSchema;

use crate::alert::{AlertView, Alerts, Notice, RuleView, Saved, Thresholds, rules};
use crate::health::HealthState;
use crate::metrics::Metrics;
use crate::nodes::{NodeView, Nodes};
use crate::series::SeriesView;
use crate::store::Store;
use crate::streams::{StreamRow, StreamView, Streams};
use crate::viewers::{SessionView, Viewers};
use crate::watch::Happening;
use outbox::Outbox;
pub use overview::{AlertCounts, Lost, NodeCounts, Overview, StreamCounts};

/// Notices and happenings that a slow listener may be behind.
const TOLD: usize = 1_024;
/// Events that are taken in under one lock.
const AT_ONCE: usize = 256;

/// Something to tell to whoever listens.
#[derive(Clone, PartialEq, Debug)]
pub enum Told {
    /// Something happened.
    Happened(Happening),
    /// An alert began, stays or ended.
    Alert(Notice),
    /// A stream plays, or is over.
    Stream(StreamName, bool),
    /// A stream's health changed.
    Health(StreamName, HealthState, String),
}

/// All alerts, as the API shows them.
#[derive(Clone, PartialEq, Debug, Serialize, ToSchema)]
pub struct AlertsView {
    /// What is so now, the worst first.
    pub active: Vec<AlertView>,
    /// What is over, the newest last.
    pub recent: Vec<AlertView>,
    /// What is watched.
    pub rules: Vec<RuleView>,
}

/// What the board is told at its beginning.
#[derive(Debug, Default)]
pub struct Setup {
    /// The node's name.
    pub node: String,
    /// `serve`, `origin` or `edge`.
    pub role: &'static str,
    /// Other nodes are heard.
    pub cluster: bool,
    /// Where alerts begin.
    pub thresholds: Thresholds,
    /// Where records are kept, and what alerts remember of an earlier run.
    pub store: Option<(Store, Saved)>,
}

/// Where stages' events become what operators see. Clones share it.
#[derive(Clone, Debug)]
pub struct Board {
    inner: Arc<Mutex<Inner>>,
    told: broadcast::Sender<Told>,
}

#[derive(Debug)]
struct Inner {
    metrics: Metrics,
    streams: Streams,
    viewers: Viewers,
    nodes: Nodes,
    /// Viewers of each stream that this node serves,
    served: Vec<(StreamName, u32)>,
    /// and that others do, by their names.
    served_elsewhere: BTreeMap<String, Vec<(StreamName, u32)>>,
    /// Viewers that two nodes count at this moment.
    twice: u64,
    /// Reports that other nodes are to hear of, where there are any.
    outbox: Option<Outbox>,
    alerts: Alerts,
    happened: VecDeque<Happening>,
    store: Option<Store>,
    node: Arc<str>,
    setup: (String, &'static str, bool),
    begun: Option<i64>,
    now: i64,
    lost: Lost,
    lost_before: Lost,
    /// When sessions were last recorded.
    recorded: i64,
    /// What `alerts` remembered when it was last kept.
    saved: Saved,
}

impl Default for Board {
    fn default() -> Self {
        Self::new(Setup { node: "aqueduct".into(), role: "serve", ..Setup::default() }, 0)
    }
}

impl Board {
    /// An empty one, at `now` (milliseconds since 1970).
    pub fn new(setup: Setup, now: i64) -> Self {
        let Setup { node, role, cluster, thresholds, store } = setup;
        let (store, saved) = store.map_or((None, Saved::default()), |(store, saved)| (Some(store), saved));
        let mut nodes = Nodes::default();
        nodes.name(&node, role, Some(format!("/api/v1/nodes/{node}/drain")));
        let inner = Inner {
            metrics: Metrics::default(),
            streams: Streams::default(),
            viewers: Viewers::default(),
            nodes,
            served: Vec::new(),
            served_elsewhere: BTreeMap::new(),
            twice: 0,
            outbox: cluster.then(Outbox::default),
            alerts: Alerts::new(rules(&thresholds), saved.clone(), now),
            happened: VecDeque::new(),
            store,
            node: node.as_str().into(),
            setup: (node, role, cluster),
            begun: None,
            now,
            lost: Lost::default(),
            lost_before: Lost::default(),
            recorded: now,
            saved,
        };
        Self { inner: Arc::new(Mutex::new(inner)), told: broadcast::channel(TOLD).0 }
    }

    /// What every known stream is doing, by name.
    pub fn streams(&self) -> Vec<StreamView> {
        self.lock().streams.views()
    }

    /// What one stream is doing.
    pub fn stream(&self, stream: &StreamName) -> Option<StreamView> {
        self.lock().streams.view(stream)
    }

    /// Every stream as a list shows it, by name.
    pub fn rows(&self) -> Vec<StreamRow> {
        let inner = &*self.lock();
        let alerts = inner.alerts.active();
        let of = |name: &str| alerts.iter().filter(|alert| alert.scope.name == name).count();
        inner.streams.rows(of)
    }

    /// The last seconds of a stream, in these columns.
    pub fn series(&self, stream: &StreamName, last: usize, columns: &[&'static str]) -> Option<SeriesView> {
        self.lock().streams.series(stream, last, columns)
    }

    /// The newest second of a stream.
    pub fn newest(&self, stream: &StreamName) -> Option<(i64, Vec<Option<f32>>)> {
        self.lock().streams.newest(stream)
    }

    /// What happened to a stream, newest last; `None` where it is not known.
    pub fn happened_to(&self, stream: &StreamName) -> Option<Vec<Happening>> {
        self.lock().streams.happened(stream)
    }

    /// What happened over all streams, newest last.
    pub fn happened(&self) -> Vec<Happening> {
        self.lock().happened.iter().cloned().collect()
    }

    /// How many sessions a stream has, and those that were heard last.
    pub fn sessions(&self, stream: &StreamName, limit: usize) -> (usize, Vec<SessionView>) {
        self.lock().viewers.sessions(stream, limit)
    }

    /// All nodes, this one first.
    pub fn nodes(&self) -> Vec<NodeView> {
        self.lock().nodes.all().cloned().collect()
    }

    /// This node, and how many viewers of each stream it serves: what others are told of it.
    pub fn own(&self) -> (NodeView, Vec<(StreamName, u32)>) {
        let inner = &*self.lock();
        (inner.nodes.own().clone(), inner.served.clone())
    }

    /// Another node tells of itself: how it is, how many viewers of each stream it serves, and what they report.
    pub fn heard(
        &self,
        node: NodeView,
        viewers: Vec<(StreamName, u32)>,
        reports: &[Report],
        drain: Option<String>,
    ) {
        let inner = &mut *self.lock();
        let name: Arc<str> = node.node.as_str().into();
        for report in reports {
            inner.viewers.hear(report, &name);
        }
        inner.nodes.heard(node, drain);
        inner.served_elsewhere.insert(name.to_string(), viewers);
    }

    /// Reports that other nodes are to hear of, since they were last taken.
    pub fn take_reports(&self) -> Vec<Report> {
        self.lock().outbox.as_mut().map(Outbox::take).unwrap_or_default()
    }

    /// All alerts.
    pub fn alerts(&self) -> AlertsView {
        let alerts = &self.lock().alerts;
        AlertsView { active: alerts.active(), recent: alerts.recent(), rules: alerts.rules() }
    }

    /// Everything in a few figures.
    pub fn overview(&self) -> Overview {
        self.lock().overview()
    }

    /// Metrics in the OpenMetrics text format.
    pub fn metrics(&self) -> String {
        self.lock().metrics.render()
    }

    /// OTLP messages given up since the start.
    pub fn set_exports_dropped(&self, dropped: u64) {
        self.lock().metrics.set_exports_dropped(dropped);
    }

    /// Hears what is told from now on. Who is too far behind misses the oldest.
    pub fn listen(&self) -> broadcast::Receiver<Told> {
        self.told.subscribe()
    }

    /// Where records are kept, if anywhere.
    pub fn store(&self) -> Option<Store> {
        self.lock().store.clone()
    }

    /// Takes in one event.
    pub fn record(&self, event: &Event, now: Instant) {
        self.lock().record(event, now);
    }

    /// A second is over: at `now`, which is `wall` in milliseconds since 1970. `dropped` are events and reports lost.
    pub fn turn(&self, now: Instant, wall: i64, dropped: (u64, u64)) {
        let told = self.lock().turn(now, wall, dropped);
        for one in told {
            // Nobody may be listening.
            let _ = self.told.send(one);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn record(&mut self, event: &Event, now: Instant) {
        match event {
            Event::Report(report) => {
                self.viewers.hear(report, &self.node);
                if let Some(outbox) = &mut self.outbox {
                    outbox.add(report);
                }
                return;
            }
            Event::Edge(tick) => {
                self.nodes.edge(tick);
                self.served.clone_from(&tick.viewers);
            }
            Event::Relay(tick) => self.nodes.relay(tick),
            _ => {}
        }
        self.metrics.record(event);
        self.streams.record(event, now);
    }
}

/// Feeds the board until every sender of events is gone.
pub async fn run(board: Board, mut events: EventReceiver) {
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            event = events.recv() => {
                let Some(event) = event else { return };
                let (now, mut inner) = (now(), board.lock());
                inner.record(&event, now);
                // What waits already comes along, so that a burst costs one lock and not thousands.
                for _ in 0..AT_ONCE {
                    let Some(event) = events.try_recv() else { break };
                    inner.record(&event, now);
                }
            }
            _ = seconds.tick() => {
                let dropped = (events.dropped(), events.dropped_reports());
                board.turn(now(), wall(), dropped);
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the shell reads the clock for the pure parts")]
fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "the shell reads the clock for the pure parts")]
fn wall() -> i64 {
    WallTime::from_system(std::time::SystemTime::now()).micros / 1_000
}
