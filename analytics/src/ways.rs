//! Metrics of streams' sources and of what they are sent on to. The names of both are the operator's own.

use std::collections::HashSet;
use std::sync::atomic::{AtomicI64, AtomicU64};

use aqueduct_common::SourceName;
use aqueduct_common::event::{PushChange, PushState, SourceChange};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

type Total = Counter<u64, AtomicU64>;
type Level = Gauge<i64, AtomicI64>;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfSource {
    stream: String,
    source: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfTarget {
    stream: String,
    target: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByReason {
    reason: &'static str,
}

/// Sources and targets.
#[derive(Debug, Default)]
pub(crate) struct WayMetrics {
    sources: HashSet<OfSource>,
    targets: HashSet<OfTarget>,
    present: Family<OfSource, Level>,
    on_air: Family<OfSource, Level>,
    switches: Family<ByReason, Total>,
    overflowed: Total,
    standby_bytes: Total,
    up: Family<OfTarget, Level>,
    failures: Family<OfTarget, Total>,
    bytes: Total,
    dropped: Family<OfTarget, Total>,
}

impl WayMetrics {
    pub(crate) fn register(&self, r: &mut Registry) {
        r.register("source_present", "1 where this source of a stream is connected", self.present.clone());
        r.register("source_on_air", "1 where viewers see this source of a stream", self.on_air.clone());
        r.register("source_switches", "Changes of the source on air, by reason", self.switches.clone());
        let help = "Frames of sources that stand by that were let go for want of room";
        r.register("source_standby_overflowed", help, self.overflowed.clone());
        r.register(
            "source_standby_bytes",
            "Bytes received of sources that stand by",
            self.standby_bytes.clone(),
        );
        r.register("push_up", "1 where media goes to this target", self.up.clone());
        r.register("push_failures", "Connections to this target that failed", self.failures.clone());
        r.register("push_bytes", "Bytes of media that targets took", self.bytes.clone());
        let help = "Samples let go because this target was slow or away";
        r.register("push_dropped_samples", help, self.dropped.clone());
    }

    pub(crate) fn source(&mut self, stream: String, source: &SourceName, what: &SourceChange) {
        let of = OfSource { stream, source: source.to_string() };
        match what {
            SourceChange::Named(_) => {
                self.present.get_or_create(&of).set(0);
                self.on_air.get_or_create(&of).set(0);
            }
            SourceChange::Joined { .. } => {
                self.present.get_or_create(&of).set(1);
            }
            SourceChange::Left { .. } => {
                self.present.get_or_create(&of).set(0);
                self.on_air.get_or_create(&of).set(0);
            }
            SourceChange::OnAir { before, reason } => {
                if let Some(before) = before {
                    let before = OfSource { source: before.to_string(), ..of.clone() };
                    self.on_air.get_or_create(&before).set(0);
                }
                self.on_air.get_or_create(&of).set(1);
                self.switches.get_or_create(&ByReason { reason: reason.as_str() }).inc();
            }
            // It need not be one of a list.
            SourceChange::Failing { .. } => return,
            SourceChange::Standby(tick) => {
                self.overflowed.inc_by(tick.overflowed);
                self.standby_bytes.inc_by(tick.bytes);
            }
        }
        self.sources.insert(of);
    }

    pub(crate) fn push(&mut self, stream: String, target: &str, what: &PushChange) {
        let of = OfTarget { stream, target: target.to_owned() };
        match what {
            PushChange::State(state) => {
                self.up.get_or_create(&of).set(i64::from(*state == PushState::Live));
                if matches!(state, PushState::Failed { .. }) {
                    self.failures.get_or_create(&of).inc();
                }
            }
            PushChange::Tick(tick) => {
                self.bytes.inc_by(tick.bytes);
                self.dropped.get_or_create(&of).inc_by(tick.dropped);
            }
        }
        self.targets.insert(of);
    }

    /// Removes the series of a stream that is no longer known.
    pub(crate) fn forget(&mut self, stream: &str) {
        for of in self.sources.extract_if(|of| of.stream == stream) {
            self.present.remove(&of);
            self.on_air.remove(&of);
        }
        for of in self.targets.extract_if(|of| of.stream == stream) {
            self.up.remove(&of);
            self.failures.remove(&of);
            self.dropped.remove(&of);
        }
    }
}
