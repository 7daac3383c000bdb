//! Prometheus metrics (QOE-31 to QOE-33), named `aqueduct_…`.
//!
//! The label `stream` stands only on gauges of live streams, for at most [`MAX_STREAMS`] of them; nothing else that
//! a publisher or viewer chooses becomes a label.

use std::collections::HashSet;
use std::sync::atomic::{AtomicI64, AtomicU64};

use aqueduct_common::StreamName;
use aqueduct_common::event::{EdgeTick, Event, IngestTick, REQUEST_BUCKETS_MICROS};
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use crate::alert::Alerts;
use crate::cluster::ClusterMetrics;
use crate::histogram::Bucketed;
use crate::pull::PullMetrics;
use crate::qoe::{QoeMetrics, Scored};
use crate::relay::RelayMetrics;
use crate::transcode::TranscodeMetrics;
use crate::viewers::Viewers;
use crate::ways::WayMetrics;

/// Streams that get a label of their own (QOE-33).
const MAX_STREAMS: usize = 2_000;

type Total = Counter<u64, AtomicU64>;
type Level = Gauge<i64, AtomicI64>;
type Reading = Gauge<f64, AtomicU64>;

macro_rules! labels {
    ($($name:ident { $($field:ident),+ })+) => {$(
        #[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
        struct $name { $($field: &'static str),+ }
    )+};
}
labels! {
    ByProtocol { protocol }
    ByKind { kind }
    ByType { r#type }
    ByReason { reason }
    Refusal { protocol, reason }
    Request { class, status_class, proto }
    BySource { source }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ByStream {
    stream: String,
}

/// All counters, and how events move them.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    labelled: HashSet<StreamName>,
    connections: Family<ByProtocol, Level>,
    sessions: Family<ByProtocol, Level>,
    session_ends: Family<ByReason, Total>,
    refused: Family<Refusal, Total>,
    sheds: Family<Refusal, Total>,
    throttles: Family<ByProtocol, Total>,
    throttled: Family<ByProtocol, Counter<f64, AtomicU64>>,
    ingest_bytes: Family<ByProtocol, Total>,
    frames: Family<ByKind, Total>,
    dropped_samples: Total,
    anomalies: Family<ByType, Total>,
    fps: Family<ByStream, Reading>,
    skew: Family<ByStream, Reading>,
    scatter: Family<ByStream, Reading>,
    drift: Family<ByStream, Reading>,
    rtt: Family<ByStream, Reading>,
    parts: Family<ByKind, Total>,
    part_bytes: Family<ByKind, Total>,
    publish_lag: Histogram,
    discontinuities: Family<ByReason, Total>,
    astray: Total,
    live: Level,
    requests: Family<Request, Total>,
    request_seconds: Bucketed,
    http_bytes: Total,
    http_blocked: Level,
    http_connections: Level,
    shed: Family<ByReason, Total>,
    source_ages: Family<BySource, Level>,
    viewers: Family<ByStream, Level>,
    transcode: TranscodeMetrics,
    cluster: ClusterMetrics,
    relay: RelayMetrics,
    ways: WayMetrics,
    pull: PullMetrics,
    qoe: QoeMetrics,
    events_dropped: Level,
    exports_dropped: Total,
    series: Level,
}

impl Default for Metrics {
    fn default() -> Self {
        let request_seconds = Bucketed::new(
            "http_request_duration_seconds",
            "Time from a request to its answer, without the time it was held for a part",
            &REQUEST_BUCKETS_MICROS,
        );
        let lag = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0];
        let mut metrics = Self {
            registry: Registry::with_prefix("aqueduct"),
            labelled: HashSet::new(),
            connections: Family::default(),
            sessions: Family::default(),
            session_ends: Family::default(),
            refused: Family::default(),
            sheds: Family::default(),
            throttles: Family::default(),
            throttled: Family::default(),
            ingest_bytes: Family::default(),
            frames: Family::default(),
            dropped_samples: Counter::default(),
            anomalies: Family::default(),
            fps: Family::default(),
            skew: Family::default(),
            scatter: Family::default(),
            drift: Family::default(),
            rtt: Family::default(),
            parts: Family::default(),
            part_bytes: Family::default(),
            publish_lag: Histogram::new(lag),
            discontinuities: Family::default(),
            astray: Total::default(),
            live: Gauge::default(),
            requests: Family::default(),
            request_seconds,
            http_bytes: Counter::default(),
            http_blocked: Gauge::default(),
            http_connections: Gauge::default(),
            shed: Family::default(),
            source_ages: Family::default(),
            viewers: Family::default(),
            transcode: TranscodeMetrics::default(),
            cluster: ClusterMetrics::default(),
            relay: RelayMetrics::default(),
            ways: WayMetrics::default(),
            pull: PullMetrics::default(),
            qoe: QoeMetrics::default(),
            events_dropped: Gauge::default(),
            exports_dropped: Counter::default(),
            series: Gauge::default(),
        };
        metrics.register_ingest();
        metrics.register_delivery();
        metrics.transcode.register(&mut metrics.registry);
        metrics.cluster.register(&mut metrics.registry);
        metrics.relay.register(&mut metrics.registry);
        metrics.ways.register(&mut metrics.registry);
        metrics.pull.register(&mut metrics.registry);
        metrics.qoe.register(&mut metrics.registry);
        metrics
    }
}

impl Metrics {
    fn register_ingest(&mut self) {
        let r = &mut self.registry;
        r.register("build", "The running program", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        r.register("ingest_connections", "Connections open on publishing ports", self.connections.clone());
        r.register("ingest_sessions", "Publishers at work", self.sessions.clone());
        r.register("ingest_session_ends", "Publishers that left, by reason", self.session_ends.clone());
        r.register("ingest_refused", "Connections and publishes refused, by reason", self.refused.clone());
        let help = "Publishers closed for what they sent, by reason";
        r.register("ingest_shed", help, self.sheds.clone());
        let help = "Pauses in reading from publishers that send faster than real time";
        r.register("ingest_throttles", help, self.throttles.clone());
        r.register_with_unit(
            "ingest_throttled",
            "Time in such pauses",
            Unit::Seconds,
            self.throttled.clone(),
        );
        r.register("ingest_bytes", "Bytes received from publishers", self.ingest_bytes.clone());
        r.register("ingest_frames", "Frames received from publishers", self.frames.clone());
        r.register(
            "ingest_dropped_samples",
            "Samples dropped for a slow packager",
            self.dropped_samples.clone(),
        );
        r.register("ingest_ts_anomalies", "Source timestamps repaired, by type", self.anomalies.clone());
        r.register("ingest_fps", "Frame rate of the source's grid", self.fps.clone());
        r.register_with_unit(
            "ingest_av_skew",
            "Audio ahead of video as they arrive",
            Unit::Seconds,
            self.skew.clone(),
        );
        r.register_with_unit(
            "ingest_arrival_scatter",
            "How far apart the earliest and the latest frames of ten seconds come",
            Unit::Seconds,
            self.scatter.clone(),
        );
        let help = "How much faster than ours the source's clock runs, over five minutes";
        r.register_with_unit("ingest_clock_drift", help, Unit::Ratios, self.drift.clone());
        r.register_with_unit("ingest_rtt", "Round trip to the publisher", Unit::Seconds, self.rtt.clone());
    }

    fn register_delivery(&mut self) {
        let r = &mut self.registry;
        r.register("pack_streams", "Streams with playlists out", self.live.clone());
        r.register("pack_parts", "Parts published", self.parts.clone());
        r.register("pack_bytes", "Bytes of parts published", self.part_bytes.clone());
        r.register("pack_discontinuities", "Discontinuities begun, by reason", self.discontinuities.clone());
        let help = "Renditions that could not be cut where the others are, and went on as gaps";
        r.register("pack_astray", help, self.astray.clone());
        let help = "From the arrival of a part's last sample to its publication";
        r.register_with_unit("pack_part_publish_lag", help, Unit::Seconds, self.publish_lag.clone());
        r.register("http_requests", "Requests answered", self.requests.clone());
        r.register_collector(Box::new(self.request_seconds.clone()));
        r.register("http_bytes", "Body bytes sent to viewers", self.http_bytes.clone());
        r.register(
            "http_blocked_requests",
            "Requests held for a part at this moment",
            self.http_blocked.clone(),
        );
        r.register("http_connections", "Connections open at this moment", self.http_connections.clone());
        let help = "Since viewers' keys or the list of who was revoked were last read well, in seconds";
        r.register("access_source_age_seconds", help, self.source_ages.clone());
        r.register("http_shed", "Connections and requests refused or shed, by reason", self.shed.clone());
        r.register("viewers", "Distinct viewers in the last 30 s", self.viewers.clone());
        r.register(
            "events_dropped",
            "Events lost since the start because nobody kept up",
            self.events_dropped.clone(),
        );
        let help = "OTLP messages given up because the collector was away or refused them";
        r.register("otlp_dropped", help, self.exports_dropped.clone());
        r.register("metrics_streams", "Streams that have a label of their own", self.series.clone());
    }

    /// Moves the counters by one event.
    pub fn record(&mut self, event: &Event) {
        match event {
            Event::ConnectionOpened { protocol } => {
                self.connections.get_or_create(&ByProtocol { protocol: protocol.as_str() }).inc();
            }
            Event::ConnectionClosed { protocol } => {
                self.connections.get_or_create(&ByProtocol { protocol: protocol.as_str() }).dec();
            }
            Event::Refused { protocol, reason } => {
                self.refused.get_or_create(&Refusal { protocol: protocol.as_str(), reason }).inc();
            }
            Event::Shed { protocol, reason } => {
                self.sheds.get_or_create(&Refusal { protocol: protocol.as_str(), reason }).inc();
            }
            Event::Throttled { protocol, pause_micros } => {
                let label = ByProtocol { protocol: protocol.as_str() };
                self.throttles.get_or_create(&label).inc();
                self.throttled.get_or_create(&label).inc_by(*pause_micros as f64 / 1e6);
            }
            Event::PublishStarted { protocol, .. } => {
                self.sessions.get_or_create(&ByProtocol { protocol: protocol.as_str() }).inc();
            }
            Event::PublishEnded { protocol, reason, .. } => {
                self.sessions.get_or_create(&ByProtocol { protocol: protocol.as_str() }).dec();
                self.session_ends
                    .get_or_create(&ByReason { reason: crate::streams::end_label(*reason) })
                    .inc();
            }
            Event::Ingest { stream, protocol, tick } => self.record_ingest(stream, protocol.as_str(), tick),
            Event::Anomaly { kind, count, .. } => {
                self.anomalies.get_or_create(&ByType { r#type: kind.as_str() }).inc_by(u64::from(*count));
            }
            Event::Part { kind, bytes, lag_micros, .. } => {
                let kind = ByKind { kind: kind.as_str() };
                self.parts.get_or_create(&kind).inc();
                self.part_bytes.get_or_create(&kind).inc_by(u64::from(*bytes));
                self.publish_lag.observe(f64::from(*lag_micros) / 1e6);
            }
            Event::Discontinuity { reason, .. } => {
                self.discontinuities
                    .get_or_create(&ByReason { reason: crate::streams::break_label(*reason) })
                    .inc();
            }
            Event::Astray { .. } => {
                self.astray.inc();
            }
            Event::PackagerLive { .. } => {
                self.live.inc();
            }
            Event::PackagerEnded { .. } => {
                self.live.dec();
            }
            Event::Transcode { stream, what } => {
                let label = || label(&mut self.labelled, stream);
                self.transcode.record(what, label);
            }
            Event::Source { stream, source, what } => {
                let label = self.label(stream);
                self.ways.source(label.stream, source, what);
            }
            Event::Push { stream, target, what } => {
                let label = self.label(stream);
                self.ways.push(label.stream, target, what);
            }
            Event::Edge(tick) => self.record_edge(tick),
            Event::Relay(tick) => self.relay.record(tick),
            Event::Cluster(tick) => self.cluster.record(tick),
            Event::Pull { what, .. } => self.pull.record_pull(what),
            Event::Srt { tick, .. } => self.pull.record_srt(tick),
            Event::Advice { .. } | Event::StreamExpired { .. } | Event::Report(_) => {}
        }
    }

    /// Events lost since the start.
    pub fn set_events_dropped(&self, dropped: u64) {
        self.events_dropped.set(i64::try_from(dropped).unwrap_or(i64::MAX));
    }

    /// OTLP messages given up since the start.
    pub fn set_exports_dropped(&self, dropped: u64) {
        self.exports_dropped.inc_by(dropped.saturating_sub(self.exports_dropped.get()));
    }

    /// Brings what viewers live through, and alerts, to what they are.
    pub fn watch(&self, viewers: &Viewers, alerts: &Alerts, reports_dropped: u64, records_dropped: u64) {
        self.qoe.watch(viewers, alerts, reports_dropped, records_dropped);
    }

    /// Brings streams' scores to what they are.
    pub(crate) fn scores<'a>(&mut self, streams: impl Iterator<Item = Scored<'a>>) {
        for (stream, score) in streams {
            let label = self.label(stream);
            self.qoe.scored(&label, score);
        }
    }

    /// Removes the series of the streams that are no longer known (QOE-33).
    pub fn keep(&mut self, known: impl Fn(&StreamName) -> bool) {
        let gone: Vec<_> = self.labelled.extract_if(|stream| !known(stream)).collect();
        gone.iter().for_each(|stream| self.forget(stream));
    }

    fn forget(&mut self, stream: &StreamName) {
        let label = ByStream { stream: stream.to_string() };
        self.fps.remove(&label);
        self.skew.remove(&label);
        self.scatter.remove(&label);
        self.drift.remove(&label);
        self.rtt.remove(&label);
        self.viewers.remove(&label);
        self.qoe.score.remove(&label);
        self.transcode.forget(&label);
        self.ways.forget(&label.stream);
    }

    /// The OpenMetrics text.
    pub fn render(&self) -> String {
        self.series.set(self.labelled.len() as i64);
        let mut out = String::new();
        // Writing into a String does not fail; a collector that did would leave the text short, not wrong.
        let _ = text::encode(&mut out, &self.registry);
        out
    }

    fn record_ingest(&mut self, stream: &StreamName, protocol: &'static str, tick: &IngestTick) {
        self.ingest_bytes.get_or_create(&ByProtocol { protocol }).inc_by(tick.bytes);
        self.frames.get_or_create(&ByKind { kind: "video" }).inc_by(u64::from(tick.video_frames));
        self.frames.get_or_create(&ByKind { kind: "audio" }).inc_by(u64::from(tick.audio_frames));
        self.dropped_samples.inc_by(tick.dropped);
        let label = self.label(stream);
        if let Some(fps) = tick.grid_millifps {
            self.fps.get_or_create(&label).set(f64::from(fps) / 1e3);
        }
        if let Some(skew) = tick.skew_micros {
            self.skew.get_or_create(&label).set(skew as f64 / 1e6);
        }
        if let Some(scatter) = tick.scatter_micros {
            self.scatter.get_or_create(&label).set(scatter as f64 / 1e6);
        }
        if let Some(ppm) = tick.drift_ppm {
            self.drift.get_or_create(&label).set(f64::from(ppm) / 1e6);
        }
        if let Some(rtt) = tick.rtt_micros {
            self.rtt.get_or_create(&label).set(rtt as f64 / 1e6);
        }
    }

    fn record_edge(&mut self, tick: &EdgeTick) {
        for (class, status_class, proto, count) in &tick.requests {
            self.requests.get_or_create(&Request { class, status_class, proto }).inc_by(*count);
        }
        for (reason, count) in &tick.shed {
            self.shed.get_or_create(&ByReason { reason }).inc_by(*count);
        }
        self.http_bytes.inc_by(tick.bytes);
        self.http_blocked.set(tick.blocked as i64);
        self.http_connections.set(tick.connections as i64);
        self.request_seconds.add(&tick.latency_buckets, tick.latency_sum_micros);
        for (source, age) in &tick.source_ages {
            let age = i64::try_from(*age).unwrap_or(i64::MAX);
            self.source_ages.get_or_create(&BySource { source }).set(age);
        }
        for (stream, viewers) in &tick.viewers {
            let label = self.label(stream);
            self.viewers.get_or_create(&label).set(i64::from(*viewers));
        }
    }

    fn label(&mut self, stream: &StreamName) -> ByStream {
        label(&mut self.labelled, stream)
    }
}

fn label(labelled: &mut HashSet<StreamName>, stream: &StreamName) -> ByStream {
    if !labelled.contains(stream) {
        if labelled.len() >= MAX_STREAMS {
            return ByStream { stream: "other".into() };
        }
        labelled.insert(stream.clone());
    }
    ByStream { stream: stream.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aqueduct_common::event::{Anomaly, Protocol};
    use aqueduct_common::track::TrackKind;

    fn name() -> StreamName {
        "live/show".parse().unwrap()
    }

    #[test]
    fn events_move_the_counters_that_are_named_for_them() {
        let mut metrics = Metrics::default();
        metrics.record(&Event::Refused { protocol: Protocol::Rtmp, reason: "bad_key" });
        metrics.record(&Event::Shed { protocol: Protocol::Rtmps, reason: "limit_bitrate" });
        metrics.record(&Event::Throttled { protocol: Protocol::Rtmp, pause_micros: 1_500_000 });
        metrics.record(&Event::Anomaly { stream: name(), kind: Anomaly::DeltaGuess, count: 2 });
        metrics.record(&Event::Anomaly { stream: name(), kind: Anomaly::Gap, count: 3 });
        metrics.record(&Event::Part {
            stream: name(),
            kind: TrackKind::Video,
            bytes: 75_000,
            duration_micros: 200_000,
            lag_micros: 700,
        });
        metrics.record(&Event::Edge(EdgeTick {
            requests: vec![("part", "2xx", "h1", 5)],
            latency_buckets: vec![4, 1],
            latency_sum_micros: 2_500,
            shed: vec![("slow", 2)],
            source_ages: vec![("revoked", 7)],
            ..EdgeTick::default()
        }));
        let text = metrics.render();
        for line in [
            r#"aqueduct_ingest_refused_total{protocol="rtmp",reason="bad_key"} 1"#,
            r#"aqueduct_ingest_shed_total{protocol="rtmps",reason="limit_bitrate"} 1"#,
            r#"aqueduct_ingest_throttles_total{protocol="rtmp"} 1"#,
            r#"aqueduct_ingest_throttled_seconds_total{protocol="rtmp"} 1.5"#,
            r#"aqueduct_ingest_ts_anomalies_total{type="delta_guess"} 2"#,
            r#"aqueduct_ingest_ts_anomalies_total{type="gap"} 3"#,
            r#"aqueduct_pack_bytes_total{kind="video"} 75000"#,
            r#"aqueduct_pack_part_publish_lag_seconds_bucket{le="0.001"} 1"#,
            r#"aqueduct_http_requests_total{class="part",status_class="2xx",proto="h1"} 5"#,
            r#"aqueduct_http_request_duration_seconds_bucket{le="0.002"} 5"#,
            r#"aqueduct_http_request_duration_seconds_count 5"#,
            r#"aqueduct_http_shed_total{reason="slow"} 2"#,
            r#"aqueduct_access_source_age_seconds{source="revoked"} 7"#,
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }

    #[test]
    fn a_stream_that_ended_leaves_no_series_and_many_streams_share_one() {
        let mut metrics = Metrics::default();
        let tick = IngestTick { grid_millifps: Some(29_970), ..IngestTick::default() };
        metrics.record(&Event::Ingest { stream: name(), protocol: Protocol::Rtmp, tick: tick.clone() });
        assert!(metrics.render().contains(r#"aqueduct_ingest_fps{stream="live/show"} 29.97"#));
        metrics.keep(|stream| *stream == name());
        assert!(metrics.render().contains("live/show"));
        metrics.keep(|_| false);
        assert!(!metrics.render().contains("live/show"));
        for n in 0..=MAX_STREAMS {
            let stream = format!("live/s{n}").parse().unwrap();
            metrics.record(&Event::Ingest { stream, protocol: Protocol::Rtmp, tick: tick.clone() });
        }
        let text = metrics.render();
        assert!(text.contains(r#"stream="other""#) && !text.contains(&format!(r#""live/s{MAX_STREAMS}""#)));
    }
}
