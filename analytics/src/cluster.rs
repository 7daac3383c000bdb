//! Metrics of the directory of nodes.

use std::sync::atomic::{AtomicI64, AtomicU64};

use aqueduct_common::event::ClusterTick;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

type Total = Counter<u64, AtomicU64>;
type Level = Gauge<i64, AtomicI64>;

/// What a node knows of the others.
#[derive(Debug, Default)]
pub(crate) struct ClusterMetrics {
    up: Level,
    failures: Total,
    downs: Total,
    holds: Level,
    origins: Level,
    edges: Level,
    unread: Level,
    conflict: Level,
}

impl ClusterMetrics {
    pub(crate) fn register(&self, r: &mut Registry) {
        r.register("cluster_up", "1 while the directory of nodes answers", self.up.clone());
        r.register("cluster_failures", "Requests to the directory without an answer", self.failures.clone());
        let help = "Connections to the directory that were lost or did not come about";
        r.register("cluster_disconnects", help, self.downs.clone());
        r.register("cluster_streams_held", "Streams that this node is the origin of", self.holds.clone());
        r.register("cluster_origins", "Origins in the directory", self.origins.clone());
        r.register("cluster_edges", "Edges in the directory", self.edges.clone());
        let help = "Entries of the directory that could not be read, or were too many, since the start";
        r.register("cluster_entries_unread", help, self.unread.clone());
        r.register(
            "cluster_name_conflict",
            "1 while another process has this node's name",
            self.conflict.clone(),
        );
    }

    pub(crate) fn record(&self, tick: &ClusterTick) {
        let level = |gauge: &Level, value: u64| gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        level(&self.up, u64::from(tick.up));
        level(&self.conflict, u64::from(tick.rival));
        level(&self.holds, tick.holds);
        level(&self.origins, tick.origins);
        level(&self.edges, tick.edges);
        level(&self.unread, tick.unread);
        self.failures.inc_by(tick.failures);
        self.downs.inc_by(tick.downs);
    }
}

#[cfg(test)]
mod tests {
    use aqueduct_common::Event;
    use aqueduct_common::event::ClusterTick;

    use crate::Metrics;

    #[test]
    fn a_lost_directory_shows() {
        let mut metrics = Metrics::default();
        let tick = |up, downs| Event::Cluster(ClusterTick { up, downs, holds: 3, ..ClusterTick::default() });
        metrics.record(&tick(true, 0));
        assert!(metrics.render().contains("aqueduct_cluster_up 1\n"));
        metrics.record(&tick(false, 1));
        metrics.record(&tick(false, 1));
        let text = metrics.render();
        assert!(
            text.contains("aqueduct_cluster_up 0\n")
                && text.contains("aqueduct_cluster_disconnects_total 2\n")
        );
        assert!(text.contains("aqueduct_cluster_streams_held 3\n"));
    }
}
