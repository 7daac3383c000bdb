//! Metrics of the relay between nodes (EDGE-44).

use std::sync::atomic::{AtomicI64, AtomicU64};

use aqueduct_common::event::{RELAY_BUCKETS_MICROS, RelayTick};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::histogram::Bucketed;

type Total = Counter<u64, AtomicU64>;
type Level = Gauge<i64, AtomicI64>;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByReason {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByDirection {
    direction: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByFate {
    fate: &'static str,
}

/// What goes from node to node.
#[derive(Debug)]
pub(crate) struct RelayMetrics {
    objects: Family<ByDirection, Total>,
    bytes: Family<ByDirection, Total>,
    astray: Family<ByFate, Total>,
    moves: Total,
    refused: Family<ByReason, Total>,
    lost: Family<ByReason, Total>,
    lag: Bucketed,
    backfill: Family<ByFate, Total>,
    backfill_bytes: Total,
    backfill_kept: Level,
    edges: Level,
    upstreams: Level,
}

impl Default for RelayMetrics {
    fn default() -> Self {
        let help = "From a part's publication at its origin to its being whole at this edge";
        Self {
            objects: Family::default(),
            bytes: Family::default(),
            astray: Family::default(),
            moves: Total::default(),
            refused: Family::default(),
            lost: Family::default(),
            lag: Bucketed::new("relay_part_lag_seconds", help, &RELAY_BUCKETS_MICROS),
            backfill: Family::default(),
            backfill_bytes: Total::default(),
            backfill_kept: Level::default(),
            edges: Level::default(),
            upstreams: Level::default(),
        }
    }
}

impl RelayMetrics {
    pub(crate) fn register(&self, r: &mut Registry) {
        r.register("relay_objects", "Objects between nodes", self.objects.clone());
        r.register("relay_bytes", "Bytes of objects between nodes", self.bytes.clone());
        let help = "Objects that were given up, doubled, gone before they could come, or wanted by nobody";
        r.register("relay_objects_astray", help, self.astray.clone());
        r.register(
            "relay_moves",
            "Streams that were taken from another node than before",
            self.moves.clone(),
        );
        r.register("relay_refused", "Nodes that were not let in or not listened to", self.refused.clone());
        r.register("relay_links_lost", "Links that were lost or did not come about", self.lost.clone());
        let help =
            "Objects that were not pushed: asked for by viewers, and what became of each at the nodes above";
        r.register("relay_backfill", help, self.backfill.clone());
        r.register("relay_backfill_bytes", "Bytes that were fetched", self.backfill_bytes.clone());
        r.register("relay_backfill_kept_bytes", "Fetched bytes in memory", self.backfill_kept.clone());
        r.register("relay_edges", "Edges that are fed", self.edges.clone());
        r.register("relay_upstreams", "Links to nodes that feed this one", self.upstreams.clone());
        r.register_collector(Box::new(self.lag.clone()));
    }

    pub(crate) fn record(&self, tick: &RelayTick) {
        for (direction, objects, bytes) in
            [("out", tick.sent_objects, tick.sent_bytes), ("in", tick.received_objects, tick.received_bytes)]
        {
            self.objects.get_or_create(&ByDirection { direction }).inc_by(objects);
            self.bytes.get_or_create(&ByDirection { direction }).inc_by(bytes);
        }
        for (fate, count) in [
            ("given_up", tick.failed),
            ("doubled", tick.doubled),
            ("gone", tick.gone),
            ("stray", tick.strays),
        ] {
            self.astray.get_or_create(&ByFate { fate }).inc_by(count);
        }
        for (reason, count) in &tick.refused {
            self.refused.get_or_create(&ByReason { reason }).inc_by(*count);
        }
        for (reason, count) in &tick.lost {
            self.lost.get_or_create(&ByReason { reason }).inc_by(*count);
        }
        self.moves.inc_by(tick.moves);
        self.record_backfill(tick);
        self.lag.add(&tick.lag_buckets, tick.lag_sum_micros);
        for (gauge, reading) in [(&self.edges, tick.edges), (&self.upstreams, tick.upstreams)] {
            if let Some(reading) = reading {
                gauge.set(i64::try_from(reading).unwrap_or(i64::MAX));
            }
        }
    }

    fn record_backfill(&self, tick: &RelayTick) {
        self.backfill.get_or_create(&ByFate { fate: "lent" }).inc_by(tick.lent_objects);
        let Some(backfill) = &tick.backfill else { return };
        for (fate, count) in [
            ("asked", backfill.asked),
            ("fetched", backfill.fetched),
            ("absent", backfill.absent),
            ("failed", backfill.failed),
            ("limited", backfill.limited),
        ] {
            self.backfill.get_or_create(&ByFate { fate }).inc_by(count);
        }
        self.backfill_bytes.inc_by(backfill.bytes);
        self.backfill_kept.set(i64::try_from(backfill.kept_bytes).unwrap_or(i64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use aqueduct_common::Event;
    use aqueduct_common::event::RelayTick;

    use crate::Metrics;

    #[test]
    fn both_sides_of_a_node_that_is_fed_and_feeds_show() {
        let mut metrics = Metrics::default();
        metrics.record(&Event::Relay(RelayTick { edges: Some(2), sent_objects: 3, ..RelayTick::default() }));
        let lost = vec![("silent", 1)];
        metrics.record(&Event::Relay(RelayTick { upstreams: Some(1), lost, ..RelayTick::default() }));
        let text = metrics.render();
        for line in [
            "aqueduct_relay_edges 2\n",
            "aqueduct_relay_upstreams 1\n",
            "aqueduct_relay_objects_total{direction=\"out\"} 3\n",
            "aqueduct_relay_links_lost_total{reason=\"silent\"} 1\n",
        ] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
    }
}
