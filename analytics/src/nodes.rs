//! The nodes: this one by its ticks, others by what they tell of themselves.

use std::collections::BTreeMap;

use aqueduct_common::event::{EdgeTick, RELAY_BUCKETS_MICROS, REQUEST_BUCKETS_MICROS, RelayTick};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A node that is silent for so long is gone (milliseconds).
const SILENT: i64 = 10_000;
/// One that has been gone for so long is forgotten (milliseconds).
const FORGOTTEN: i64 = 60 * 60_000;
/// Nodes that are remembered.
const MOST: usize = 1_000;
/// Seconds over which figures are smoothed.
const SMOOTH: f64 = 3.0;

/// What a node's cache does, per second.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Cache {
    /// Objects that were here.
    pub hits: f64,
    /// Objects that were fetched first.
    pub misses: f64,
    /// Share of those that were here.
    pub ratio: Option<f64>,
}

/// What a node's relay does.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct RelayView {
    /// Edges that it feeds.
    pub edges: Option<u64>,
    /// Nodes that feed it.
    pub upstreams: Option<u64>,
    /// Median from a part's publication to its being whole here, in seconds.
    pub lag_p50: Option<f64>,
    /// 95th percentile of the same.
    pub lag_p95: Option<f64>,
    /// Links lost since its start.
    pub lost: u64,
    /// Mean of the lag, in seconds.
    pub lag_mean: Option<f64>,
    /// Parts of the last seconds that this is of.
    pub parts: f64,
}

/// A node as the API shows it.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct NodeView {
    /// Its name.
    pub node: String,
    /// It is the one that was asked.
    pub this: bool,
    /// `serve`, `origin` or `edge`.
    pub role: String,
    /// Its program's version.
    pub version: String,
    /// `up`, `draining` or `gone`.
    pub state: String,
    /// When it was last heard, in milliseconds since 1970.
    pub seen: i64,
    /// Different viewers of the last 30 s.
    pub viewers: u64,
    /// Connections that are open.
    pub connections: u64,
    /// Share of the connections that it may have.
    pub load: Option<f64>,
    /// Bits a second to viewers.
    pub bitrate_out: f64,
    /// Requests a second.
    pub requests: f64,
    /// Of them, answered with 5xx.
    pub errors: f64,
    /// Requests that wait for a part.
    pub blocked: u64,
    /// 95th percentile of the time to an answer, in seconds.
    pub answer_p95: Option<f64>,
    /// Requests and connections refused or shed, per second.
    pub shed: f64,
    /// Its cache; `None` where it makes its streams itself.
    pub cache: Option<Cache>,
    /// Its relay; `None` where it has none.
    pub relay: Option<RelayView>,
    /// Where a drain of it is asked for; `None` where it cannot be from here.
    pub drain: Option<String>,
}

/// All nodes that are known.
#[derive(Debug, Default)]
pub struct Nodes {
    own: NodeView,
    others: BTreeMap<String, NodeView>,
    answers: Buckets,
    lags: Buckets,
    lag_sum: f64,
}

/// Counts by bucket that fade.
#[derive(Clone, Debug, Default)]
struct Buckets(Vec<f64>);

impl Buckets {
    fn add(&mut self, counts: &[u64]) {
        self.0.resize(self.0.len().max(counts.len()), 0.0);
        for (slot, count) in self.0.iter_mut().zip(counts.iter().chain(std::iter::repeat(&0))) {
            *slot = *slot * (1.0 - 1.0 / (2.0 * SMOOTH)) + *count as f64;
        }
    }

    fn total(&self) -> f64 {
        self.0.iter().sum()
    }

    /// The value below which this share lies, in seconds, between the bounds of its bucket.
    fn percentile(&self, share: f64, bounds_micros: &[u64]) -> Option<f64> {
        let total = self.total();
        if total < 1.0 {
            return None;
        }
        let (mut before, mut lower) = (0.0, 0.0);
        for (index, count) in self.0.iter().enumerate() {
            let upper = bounds_micros.get(index).map_or(lower * 2.0, |micros| *micros as f64 / 1e6);
            if before + count >= share * total && *count > 0.0 {
                return Some(lower + (upper - lower) * ((share * total - before) / count).clamp(0.0, 1.0));
            }
            before += count;
            lower = upper;
        }
        Some(lower)
    }
}

fn smooth(slot: &mut f64, value: f64) {
    *slot += (value - *slot) / SMOOTH;
}

impl Nodes {
    /// This node's name and what it is.
    pub fn name(&mut self, node: &str, role: &str, drain: Option<String>) {
        self.own.node = node.into();
        self.own.role = role.into();
        self.own.version = env!("CARGO_PKG_VERSION").into();
        self.own.state = "up".into();
        self.own.this = true;
        self.own.drain = drain;
    }

    /// A second of this node's serving.
    pub fn edge(&mut self, tick: &EdgeTick) {
        let own = &mut self.own;
        let count = |wanted: fn(&str, &str) -> bool| {
            let chosen = tick.requests.iter().filter(|(class, status, ..)| wanted(class, status));
            chosen.map(|(.., count)| *count).sum::<u64>() as f64
        };
        smooth(&mut own.requests, count(|_, _| true));
        smooth(&mut own.errors, count(|_, status| status == "5xx"));
        smooth(&mut own.bitrate_out, tick.bytes as f64 * 8.0);
        smooth(&mut own.shed, tick.shed.iter().map(|(_, count)| *count).sum::<u64>() as f64);
        own.blocked = tick.blocked;
        own.connections = tick.connections;
        own.load = (tick.capacity > 0).then(|| tick.connections as f64 / tick.capacity as f64);
        own.viewers = tick.viewers.iter().map(|(_, viewers)| u64::from(*viewers)).sum();
        own.state = if tick.draining { "draining" } else { "up" }.into();
        if own.role == "edge" {
            let cache = own.cache.get_or_insert_default();
            let media = count(|class, status| matches!(class, "part" | "segment") && status == "2xx");
            smooth(&mut cache.misses, tick.fetched as f64);
            smooth(&mut cache.hits, (media - tick.fetched as f64).max(0.0));
            let all = cache.hits + cache.misses;
            cache.ratio = (all >= 0.1).then(|| cache.hits / all);
        }
        self.answers.add(&tick.latency_buckets);
        own.answer_p95 = self.answers.percentile(0.95, &REQUEST_BUCKETS_MICROS);
    }

    /// A second of this node's relay.
    pub fn relay(&mut self, tick: &RelayTick) {
        let relay = self.own.relay.get_or_insert_default();
        relay.edges = tick.edges.or(relay.edges);
        relay.lost += tick.lost.iter().map(|(_, count)| *count).sum::<u64>();
        if tick.upstreams.is_some() {
            relay.upstreams = tick.upstreams;
            self.lags.add(&tick.lag_buckets);
            self.lag_sum = self.lag_sum * (1.0 - 1.0 / (2.0 * SMOOTH)) + tick.lag_sum_micros as f64 / 1e6;
            relay.lag_p50 = self.lags.percentile(0.5, &RELAY_BUCKETS_MICROS);
            relay.lag_p95 = self.lags.percentile(0.95, &RELAY_BUCKETS_MICROS);
            relay.parts = self.lags.total();
            relay.lag_mean = (relay.parts >= 1.0).then(|| self.lag_sum / relay.parts);
        }
    }

    /// Another node tells of itself.
    pub fn heard(&mut self, mut node: NodeView, drain: Option<String>) {
        if node.node == self.own.node || (self.others.len() >= MOST && !self.others.contains_key(&node.node))
        {
            return;
        }
        node.this = false;
        node.drain = drain;
        self.others.insert(node.node.clone(), node);
    }

    /// At `now`, in milliseconds since 1970: who is gone, and whom to forget.
    pub fn sweep(&mut self, now: i64) {
        self.own.seen = now;
        for node in self.others.values_mut().filter(|node| now - node.seen > SILENT) {
            node.state = "gone".into();
            (node.viewers, node.connections, node.blocked) = (0, 0, 0);
            (node.requests, node.errors, node.bitrate_out, node.shed) = (0.0, 0.0, 0.0, 0.0);
            node.drain = None;
        }
        // A node that left in order is no loss.
        self.others.retain(|_, node| now - node.seen < FORGOTTEN);
    }

    /// This node.
    pub fn own(&self) -> &NodeView {
        &self.own
    }

    /// All nodes, this one first.
    pub fn all(&self) -> impl Iterator<Item = &NodeView> {
        std::iter::once(&self.own).chain(self.others.values())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_s_ticks_become_figures() {
        let mut nodes = Nodes::default();
        nodes.name("edge-a", "edge", None);
        let tick = EdgeTick {
            requests: vec![("part", "2xx", "h1", 90), ("playlist", "5xx", "h2", 10)],
            bytes: 1_000_000,
            connections: 50,
            capacity: 1_000,
            fetched: 9,
            latency_buckets: vec![90, 10],
            ..EdgeTick::default()
        };
        for _ in 0..60 {
            nodes.edge(&tick);
            nodes.relay(&RelayTick {
                upstreams: Some(1),
                lag_buckets: vec![0, 0, 5],
                lag_sum_micros: 15_000,
                ..RelayTick::default()
            });
        }
        let own = nodes.own();
        let near =
            |is: f64, should: f64| assert!((is - should).abs() < should * 0.01, "{is} is not {should}");
        near(own.requests, 100.0);
        near(own.errors, 10.0);
        near(own.bitrate_out, 8e6);
        near(own.load.unwrap(), 0.05);
        near(own.cache.unwrap().ratio.unwrap(), 0.9);
        near(own.answer_p95.unwrap(), 0.0015);
        let relay = own.relay.unwrap();
        near(relay.lag_mean.unwrap(), 0.003);
        near(relay.lag_p50.unwrap(), 0.0035);
    }

    #[test]
    fn a_silent_node_is_gone_and_then_forgotten() {
        let mut nodes = Nodes::default();
        nodes.name("a", "origin", None);
        let other =
            |seen| NodeView { node: "b".into(), state: "up".into(), viewers: 7, seen, ..NodeView::default() };
        nodes.heard(other(1_000), Some("/there".into()));
        nodes.heard(NodeView { node: "a".into(), ..NodeView::default() }, None);
        nodes.sweep(5_000);
        assert_eq!(nodes.all().map(|node| node.state.as_str()).collect::<Vec<_>>(), ["up", "up"]);
        nodes.sweep(12_000);
        let gone = nodes.all().last().unwrap();
        assert_eq!((gone.state.as_str(), gone.viewers, gone.drain.is_none()), ("gone", 0, true));
        nodes.sweep(1_000 + FORGOTTEN);
        assert_eq!(nodes.all().count(), 1);
    }
}
