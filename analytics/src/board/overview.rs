//! Everything in a few figures.

use serde::Serialize;
use utoipa::ToSchema;

use super::Inner;
use crate::health::HealthState;

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

impl Inner {
    pub(super) fn overview(&self) -> Overview {
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
