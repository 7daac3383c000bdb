//! Sources that this server fetches, and connections of SRT.

use std::sync::atomic::AtomicU64;

use aqueduct_common::event::{PullChange, SrtTick};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

type Total = Counter<u64, AtomicU64>;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByFate {
    fate: &'static str,
}

/// The counters.
#[derive(Debug, Default)]
pub(crate) struct PullMetrics {
    openings: Total,
    losses: Total,
    packets: Family<ByFate, Total>,
}

impl PullMetrics {
    pub(crate) fn register(&self, r: &mut Registry) {
        r.register("ingest_pull_openings", "Sources that were opened", self.openings.clone());
        r.register("ingest_pull_losses", "Sources that ended or failed", self.losses.clone());
        let help = "Packets of SRT publishers: received, missing at first, sent again, never come in time, or without room";
        r.register("ingest_srt_packets", help, self.packets.clone());
    }

    pub(crate) fn record_pull(&self, what: &PullChange) {
        match what {
            PullChange::Opening => self.openings.inc(),
            PullChange::Lost { .. } => self.losses.inc(),
        };
    }

    pub(crate) fn record_srt(&self, tick: &SrtTick) {
        for (fate, count) in [
            ("received", tick.packets),
            ("lost", tick.lost),
            ("retransmitted", tick.retransmitted),
            ("dropped", tick.dropped),
            ("unfit", tick.unfit),
        ] {
            self.packets.get_or_create(&ByFate { fate }).inc_by(count);
        }
    }
}

#[cfg(test)]
mod tests {
    use aqueduct_common::Event;
    use aqueduct_common::event::{PullChange, SrtTick};

    #[test]
    fn packets_are_counted_by_what_became_of_them() {
        let (mut metrics, stream) = (crate::Metrics::default(), "live/a".parse().unwrap());
        let tick = SrtTick { packets: 100, lost: 7, retransmitted: 6, dropped: 1, ..SrtTick::default() };
        metrics.record(&Event::Srt { stream, tick });
        let lost = PullChange::Lost { reason: "the source has ended".into(), retry_millis: Some(250) };
        for what in [PullChange::Opening, lost, PullChange::Opening] {
            let (stream, name) = ("live/a".parse().unwrap(), "a".into());
            metrics.record(&Event::Pull { stream, name, what });
        }
        let text = metrics.render();
        for line in [
            "aqueduct_ingest_srt_packets_total{fate=\"received\"} 100",
            "aqueduct_ingest_srt_packets_total{fate=\"lost\"} 7",
            "aqueduct_ingest_srt_packets_total{fate=\"dropped\"} 1",
            "aqueduct_ingest_pull_openings_total 2",
            "aqueduct_ingest_pull_losses_total 1",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }
}
