//! What is known, behind one lock: stages' events and viewers' reports come in, and a second at a time they become health,
//! alerts and records.

mod outbox;
mod readings;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aqueduct_common::event::{EventReceiver, Report};
use aqueduct_common::{Event, StreamName, WallTime};
use serde::Serialize;
use tokio::sync::broadcast;
use utoipa::ToSchema;

use crate::alert::{AlertView, Alerts, Notice, RuleView, Saved, Thresholds, rules};
use crate::health::{HealthState, Severity};
use crate::metrics::Metrics;
use crate::nodes::{NodeView, Nodes};
use crate::series::SeriesView;
use crate::store::{Store, Write};
use crate::streams::{StreamRow, StreamView, Streams};
use crate::viewers::{SessionView, Viewers};
use crate::watch::Happening;
use outbox::Outbox;

/// Happenings over all streams that are remembered.
const HAPPENED: usize = 200;
/// Notices and happenings that a slow listener may be behind.
const TOLD: usize = 1_024;
/// Milliseconds between two records of the sessions that were heard since.
const RECORD_EVERY: i64 = 60_000;
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

/// How many streams are how.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, ToSchema)]
pub struct StreamCounts {
    /// A publisher is there; nothing plays yet.
    pub starting: u32,
    /// Well.
    pub live: u32,
    /// Not as well as they should be.
    pub degraded: u32,
    /// Nothing comes.
    pub stalled: u32,
    /// Their publishers are away.
    pub reconnecting: u32,
    /// Over, within the last minutes.
    pub ended: u32,
}

/// How many alerts there are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, ToSchema)]
pub struct AlertCounts {
    /// Warnings.
    pub warning: u32,
    /// Critical ones.
    pub critical: u32,
}

/// How many nodes there are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, ToSchema)]
pub struct NodeCounts {
    /// At work.
    pub up: u32,
    /// About to stop.
    pub draining: u32,
    /// Silent.
    pub gone: u32,
}

/// What analytics had to drop since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, ToSchema)]
pub struct Lost {
    /// Events of stages.
    pub events: u64,
    /// Reports of viewers.
    pub reports: u64,
    /// Records that could not be kept.
    pub records: u64,
}

/// Everything in a few figures.
#[derive(Clone, PartialEq, Debug, Serialize, ToSchema)]
pub struct Overview {
    /// The node's name.
    pub node: String,
    /// `serve`, `origin` or `edge`.
    pub role: String,
    /// The program's version.
    pub version: &'static str,
    /// Now, in milliseconds since 1970.
    pub at: i64,
    /// Seconds since the start.
    pub uptime: u64,
    /// Streams by how they are.
    pub streams: StreamCounts,
    /// Viewers over all nodes.
    pub viewers: u64,
    /// Bits a second from publishers.
    pub bitrate_in: u64,
    /// Bits a second to viewers, over all nodes.
    pub bitrate_out: u64,
    /// Alerts.
    pub alerts: AlertCounts,
    /// Nodes.
    pub nodes: NodeCounts,
    /// What had to be dropped.
    pub lost: Lost,
    /// Other nodes are heard.
    pub cluster: bool,
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

    fn turn(&mut self, now: Instant, wall: i64, dropped: (u64, u64)) -> Vec<Told> {
        self.now = wall;
        self.begun.get_or_insert(wall);
        let records = self.store.as_ref().map_or(0, Store::lost);
        self.lost = Lost { events: dropped.0, reports: dropped.1, records };
        self.streams.sweep(now);
        self.nodes.sweep(wall);
        self.count_viewers(wall);
        self.viewers.make_room();
        let before: Vec<(StreamName, HealthState)> =
            self.streams.watched().map(|(view, watch)| (view.name.clone(), watch.state())).collect();
        let present = self.viewers.present(wall);
        let relay = self.nodes.own().relay.and_then(|relay| relay.lag_mean);
        let turned = self.streams.turn(&self.viewers, &present, relay, wall);
        let mut told = self.changes(&before);
        for one in turned {
            if let (Some(minute), Some(store)) = (one.minute, &self.store) {
                store.write(Write::Minute(minute));
            }
            told.extend(one.happened.into_iter().map(Told::Happened));
        }
        let readings = readings::take(self, &present);
        for notice in self.alerts.turn(&readings, wall) {
            told.push(Told::Happened(readings::happening(&notice, wall)));
            if let (Notice::Raised(alert) | Notice::Resolved(alert), Some(store)) = (&notice, &self.store) {
                store.write(Write::Alert(alert.clone()));
            }
            told.push(Told::Alert(notice));
        }
        self.keep(&told, wall);
        self.metrics.set_events_dropped(self.lost.events);
        self.metrics.watch(&self.viewers, &self.alerts, self.lost.reports, self.lost.records);
        self.metrics.scores(self.streams.watched().map(|(view, watch)| (&view.name, watch.score.as_ref())));
        let streams = &self.streams;
        self.metrics.keep(|stream| streams.knows(stream));
        told
    }

    /// Viewers of each stream over all nodes that are there. Who moves from one to another is counted by both for a
    /// while, and told once where its session is known.
    fn count_viewers(&mut self, wall: i64) {
        let here: Vec<String> =
            self.nodes.all().filter(|node| node.state != "gone").map(|node| node.node.clone()).collect();
        self.served_elsewhere.retain(|node, _| here.contains(node));
        let elsewhere = self.served_elsewhere.values().flatten();
        let all: Vec<(StreamName, u32)> = self.served.iter().chain(elsewhere).cloned().collect();
        let counts = |node: &str| *node == *self.node || self.served_elsewhere.contains_key(node);
        let twice = self.viewers.counted_twice(wall, counts);
        self.twice = twice.values().copied().map(u64::from).sum();
        self.streams.set_viewers(&all, &twice);
    }

    /// Streams whose health is another than it was.
    fn changes(&self, before: &[(StreamName, HealthState)]) -> Vec<Told> {
        let mut told = Vec::new();
        for (view, watch) in self.streams.watched() {
            let was = before
                .iter()
                .find(|(name, _)| *name == view.name)
                .map(|(_, state)| *state)
                .unwrap_or_default();
            let is = watch.state();
            if is == was {
                continue;
            }
            let plays =
                |state| matches!(state, HealthState::Live | HealthState::Degraded | HealthState::Stalled);
            let began =
                plays(is) && matches!(was, HealthState::Offline | HealthState::Starting | HealthState::Ended);
            if began || is == HealthState::Ended {
                told.push(Told::Stream(view.name.clone(), began));
            }
            let why = watch.health().reasons.into_iter().next().map(|reason| reason.text).unwrap_or_default();
            told.push(Told::Health(view.name.clone(), is, why));
        }
        told
    }

    /// Remembers and records what is told, and sessions once a minute.
    fn keep(&mut self, told: &[Told], wall: i64) {
        for one in told {
            let Told::Happened(happening) = one else { continue };
            if self.happened.len() >= HAPPENED {
                self.happened.pop_front();
            }
            self.happened.push_back(happening.clone());
            if let Some(store) = &self.store {
                let Happening { at, stream, kind, severity, text } = happening.clone();
                store.write(Write::Event(at, stream, kind, severity.as_str(), text));
            }
        }
        let due = wall - self.recorded >= RECORD_EVERY;
        let since = if due { self.recorded } else { i64::MAX };
        let changed = self.viewers.sweep(wall, since);
        if due {
            self.recorded = wall;
        }
        let Some(store) = &self.store else { return };
        for session in changed {
            let live = self.streams.watched().find(|(view, _)| view.name == session.stream);
            let since = live.and_then(|(_, watch)| watch.live_since);
            store.write(Write::Session(session.record(since)));
        }
        let save = self.alerts.save();
        if save != self.saved {
            self.saved = save.clone();
            store.write(Write::Alerts(save));
        }
    }

    fn overview(&self) -> Overview {
        let mut streams = StreamCounts::default();
        let mut bitrate_in = 0;
        for (view, watch) in self.streams.watched() {
            bitrate_in += view.bitrate;
            match watch.state() {
                HealthState::Offline | HealthState::Starting => streams.starting += 1,
                HealthState::Live => streams.live += 1,
                HealthState::Degraded => streams.degraded += 1,
                HealthState::Stalled => streams.stalled += 1,
                HealthState::Reconnecting => streams.reconnecting += 1,
                HealthState::Ended => streams.ended += 1,
            }
        }
        let mut nodes = NodeCounts::default();
        let (mut viewers, mut bitrate_out) = (0, 0.0);
        for node in self.nodes.all() {
            viewers += node.viewers;
            bitrate_out += node.bitrate_out;
            match node.state.as_str() {
                "draining" => nodes.draining += 1,
                "gone" => nodes.gone += 1,
                _ => nodes.up += 1,
            }
        }
        viewers = viewers.saturating_sub(self.twice);
        let mut alerts = AlertCounts::default();
        for alert in self.alerts.active().iter().filter(|alert| alert.suppressed_by.is_none()) {
            match alert.severity.as_str() {
                "critical" => alerts.critical += 1,
                _ => alerts.warning += 1,
            }
        }
        let (node, role, cluster) = &self.setup;
        Overview {
            node: node.clone(),
            role: (*role).into(),
            version: env!("CARGO_PKG_VERSION"),
            at: self.now,
            uptime: self.begun.map_or(0, |begun| ((self.now - begun) / 1_000).max(0) as u64),
            streams,
            viewers,
            bitrate_in,
            bitrate_out: bitrate_out as u64,
            alerts,
            nodes,
            lost: self.lost,
            cluster: *cluster,
        }
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

/// How bad an alert is, for its happening.
fn severity(word: &str) -> Severity {
    match word {
        "critical" => Severity::Critical,
        "warning" => Severity::Warning,
        _ => Severity::Info,
    }
}
