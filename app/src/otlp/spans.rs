//! Publish sessions as spans (QOE-35), and the stages between capture and screen as one trace. Pure.

use std::collections::HashMap;

use aqueduct_analytics::{Happening, StreamView};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status, span, status};
use ring::rand::{SecureRandom as _, SystemRandom};

use super::{Sender, attribute, text};

/// Streams whose sessions are told; further ones are told once there is room.
const OPEN: usize = 2_000;
/// Events of a session that are told.
const EVENTS: usize = 128;
/// Sessions that wait to be told.
const ENDED: usize = 1_000;
/// Streams whose latency is told at a time: those with the most viewers.
const LATENCIES: usize = 50;

/// A name of so many bytes.
fn random(bytes: usize) -> Vec<u8> {
    let mut name = vec![0; bytes];
    // Without random numbers nothing here would run; two spans of one name are the worst of it.
    let _ = SystemRandom::new().fill(&mut name);
    name
}

fn named(name: &str, trace: Vec<u8>, begin: u64, end: u64) -> Span {
    Span {
        trace_id: trace,
        span_id: random(8),
        name: name.into(),
        kind: span::SpanKind::Internal as i32,
        start_time_unix_nano: begin,
        end_time_unix_nano: end,
        ..Span::default()
    }
}

/// Sessions that are under way, and those that wait to be told.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    open: HashMap<String, Span>,
    ended: Vec<Span>,
}

impl Sessions {
    /// A stream plays.
    pub(super) fn begin(&mut self, stream: &str, now: u64) {
        if self.open.len() >= OPEN || self.open.contains_key(stream) {
            return;
        }
        let mut span = named("publish", random(16), now, 0);
        span.kind = span::SpanKind::Server as i32;
        span.attributes = vec![text("aqueduct.stream", stream)];
        self.open.insert(stream.into(), span);
    }

    /// Something happened to it.
    pub(super) fn note(&mut self, happening: &Happening) {
        let Some(span) = self.open.get_mut(&happening.stream) else { return };
        if span.events.len() >= EVENTS {
            span.dropped_events_count += 1;
            return;
        }
        span.events.push(span::Event {
            time_unix_nano: u64::try_from(happening.at).unwrap_or(0).saturating_mul(1_000_000),
            name: happening.kind.into(),
            attributes: vec![
                text("aqueduct.severity", happening.severity.as_str()),
                text("aqueduct.text", &happening.text),
            ],
            ..span::Event::default()
        });
    }

    /// It is over.
    pub(super) fn end(&mut self, stream: &str, now: u64) {
        let Some(mut span) = self.open.remove(stream) else { return };
        span.end_time_unix_nano = now;
        if self.ended.len() < ENDED {
            self.ended.push(span);
        }
    }

    /// Ends all but those of streams that are there.
    pub(super) fn keep(&mut self, there: impl Fn(&str) -> bool, now: u64) {
        let gone: Vec<String> = self.open.keys().filter(|stream| !there(stream)).cloned().collect();
        gone.iter().for_each(|stream| self.end(stream, now));
    }

    /// Those that are over.
    pub(super) fn take(&mut self) -> Vec<Span> {
        std::mem::take(&mut self.ended)
    }
}

/// Where the time between capture and screen went of late, as a trace for each stream: the stages one after the other,
/// up to now. They are means and medians, and say how they were measured.
pub(super) fn latencies(streams: &[StreamView], now: u64) -> Vec<Span> {
    let mut streams: Vec<&StreamView> =
        streams.iter().filter(|view| view.latency.total.is_some_and(|total| total > 0.0)).collect();
    streams.sort_by_key(|view| std::cmp::Reverse(view.viewers));
    streams.truncate(LATENCIES);
    streams.into_iter().flat_map(|view| latency(view, now)).collect()
}

fn latency(view: &StreamView, now: u64) -> Vec<Span> {
    let nanos = |seconds: f64| (seconds.clamp(0.0, 3_600.0) * 1e9) as u64;
    let total = nanos(view.latency.total.unwrap_or_default());
    let begin = now.saturating_sub(total);
    let mut whole = named("latency", random(16), begin, now);
    whole.attributes = vec![
        text("aqueduct.stream", view.name.as_str()),
        attribute("aqueduct.viewers", Value::IntValue(view.viewers.into())),
        attribute("aqueduct.measured_by_players", Value::BoolValue(view.latency.measured)),
    ];
    if view.health.reasons.iter().any(|reason| reason.severity.as_str() == "critical") {
        let message = view.health.reasons.first().map(|reason| reason.text.clone()).unwrap_or_default();
        whole.status = Some(Status { message, code: status::StatusCode::Error as i32 });
    }
    let mut spans = vec![whole];
    let mut at = begin;
    for stage in &view.latency.stages {
        let Some(seconds) = stage.seconds else { continue };
        let end = at.saturating_add(nanos(seconds));
        let mut span = named(stage.stage, spans[0].trace_id.clone(), at, end);
        span.parent_span_id.clone_from(&spans[0].span_id);
        span.attributes = vec![text("aqueduct.how", &stage.how)];
        spans.push(span);
        at = end;
    }
    spans
}

/// The message.
pub(super) fn request(sender: &Sender, spans: Vec<Span>) -> ExportTraceServiceRequest {
    let scope_spans = ScopeSpans { scope: Some(sender.scope.clone()), spans, ..ScopeSpans::default() };
    let resource_spans = ResourceSpans {
        resource: Some(sender.resource.clone()),
        scope_spans: vec![scope_spans],
        ..ResourceSpans::default()
    };
    ExportTraceServiceRequest { resource_spans: vec![resource_spans] }
}

#[cfg(test)]
mod tests {
    use aqueduct_analytics::health::Severity;

    use super::*;

    fn happening(kind: &'static str) -> Happening {
        let (stream, text) = ("live/a".into(), "Degraded: 20 of 30 frames come.".into());
        Happening { at: 5, stream, kind, severity: Severity::Warning, text }
    }

    #[test]
    fn a_session_is_one_span_with_what_happened_in_it() {
        let mut sessions = Sessions::default();
        sessions.note(&happening("health"));
        sessions.begin("live/a", 1);
        sessions.begin("live/a", 2);
        for _ in 0..EVENTS + 3 {
            sessions.note(&happening("health"));
        }
        sessions.end("live/b", 9);
        assert!(sessions.take().is_empty());
        sessions.end("live/a", 9);
        let spans = sessions.take();
        let [span] = &spans[..] else { panic!("{spans:?}") };
        assert_eq!(
            (span.start_time_unix_nano, span.end_time_unix_nano, span.name.as_str()),
            (1, 9, "publish")
        );
        assert_eq!((span.events.len(), span.dropped_events_count), (EVENTS, 3));
        assert_eq!((span.events[0].name.as_str(), span.events[0].time_unix_nano), ("health", 5_000_000));
        assert_eq!((span.trace_id.len(), span.span_id.len()), (16, 8));
    }

    #[test]
    fn sessions_are_bounded() {
        let mut sessions = Sessions::default();
        for n in 0..2 * OPEN {
            sessions.begin(&format!("live/{n}"), 1);
        }
        assert_eq!(sessions.open.len(), OPEN);
        for n in 0..2 * OPEN {
            sessions.end(&format!("live/{n}"), 2);
        }
        assert_eq!(sessions.take().len(), ENDED);
    }
}
