//! What alerts are told of at the end of a second.

use std::collections::HashMap;

use aqueduct_common::StreamName;

use super::Inner;
use crate::alert::{Kind, Notice, Reading, Scope, Signal};
use crate::health::{HealthState, Severity};
use crate::streams::StreamView;
use crate::viewers::Present;
use crate::watch::{Happening, Watch};

/// What every signal reads.
pub(super) fn take(inner: &mut Inner, present: &HashMap<StreamName, Present>) -> Vec<Reading> {
    let mut readings = Vec::new();
    for (view, watch) in inner.streams.watched() {
        of_stream(view, watch, present.get(&view.name), &mut readings);
    }
    of_nodes(inner, &mut readings);
    of_all(inner, &mut readings);
    readings
}

fn of_stream(view: &StreamView, watch: &Watch, present: Option<&Present>, readings: &mut Vec<Reading>) {
    let name = view.name.as_str();
    let scope = Scope { kind: Kind::Stream, name: name.to_owned() };
    let state = watch.state();
    if matches!(state, HealthState::Offline | HealthState::Starting | HealthState::Ended) {
        return;
    }
    let mut add = |signal, value: f64, count: u64, minutes: f64, text: String| {
        readings.push(Reading { signal, scope: scope.clone(), value, count, minutes, text });
    };
    let gone = matches!(state, HealthState::Stalled | HealthState::Reconnecting);
    let reason = watch.health().reasons.into_iter().next().map(|reason| reason.text);
    let why = || reason.clone().unwrap_or_else(|| "Its publisher is gone and may come back.".into());
    add(Signal::SourceLost, f64::from(u8::from(gone)), 1, 0.0, format!("{name} has no source. {}", why()));
    add(
        Signal::Degraded,
        watch.ill(),
        1,
        0.0,
        format!("{name} has not been well for a minute. {}", reason.clone().unwrap_or_default()),
    );
    let Some(qoe) = &watch.qoe else { return };
    let minutes = qoe.play_seconds / 60.0;
    if let Some(ratio) = qoe.rebuffer_ratio {
        let text = format!("{:.1} % of viewing time of {name} is waiting.", ratio * 100.0);
        add(Signal::Rebuffering, ratio, qoe.sessions, minutes, text);
    }
    if let Some(seconds) = qoe.startup.p95 {
        let text =
            format!("One in twenty viewers of {name} waits {seconds:.1} s and more for the first picture.");
        add(Signal::Startup, seconds, qoe.started, 0.0, text);
    }
    let tried = qoe.started + qoe.failed + qoe.left_before_start;
    if tried > 0 {
        let ratio = qoe.failed as f64 / tried as f64;
        let text = format!("{} of {tried} attempts to watch {name} failed.", qoe.failed);
        add(Signal::Failures, ratio, tried, minutes, text);
    }
    if let (Some(latency), Some(part)) = (qoe.latency.p50, view.part_target) {
        // What a stream aims at: three parts behind its end (LLHLS: PART-HOLD-BACK).
        let beyond = latency - 3.0 * part;
        let text = format!("Half of the viewers of {name} are {latency:.1} s and more behind.");
        add(Signal::Latency, beyond, present.map_or(0, |present| present.sessions), 0.0, text);
    }
}

fn of_nodes(inner: &Inner, readings: &mut Vec<Reading>) {
    let part = inner.streams.watched().filter_map(|(view, _)| view.part_target).fold(0.2, f64::max);
    for node in inner.nodes.all() {
        let scope = Scope { kind: Kind::Edge, name: node.node.clone() };
        let mut add = |signal, value: f64, count: f64, text: String| {
            let count = count as u64;
            readings.push(Reading { signal, scope: scope.clone(), value, count, minutes: 0.0, text });
        };
        let gone = node.state == "gone";
        add(
            Signal::NodeGone,
            f64::from(u8::from(gone)),
            1.0,
            format!("{} has been silent for 10 s.", node.node),
        );
        if gone {
            continue;
        }
        if node.requests > 0.0 {
            let ratio = node.errors / node.requests;
            let text =
                format!("{} answers {:.1} % of requests with an error of its own.", node.node, ratio * 100.0);
            add(Signal::Errors, ratio, node.requests * 60.0, text);
        }
        if let Some((lag, relay)) = node.relay.and_then(|relay| Some((relay.lag_p95?, relay))) {
            let text = format!("Parts reach {} {:.0} ms after they were made.", node.node, lag * 1e3);
            add(Signal::RelayLag, lag / part, relay.parts, text);
        }
    }
}

fn of_all(inner: &mut Inner, readings: &mut Vec<Reading>) {
    let scope = || Scope { kind: Kind::Global, name: String::new() };
    let states: Vec<HealthState> = inner.streams.watched().map(|(_, watch)| watch.state()).collect();
    let on_air =
        states.iter().filter(|state| !matches!(state, HealthState::Ended | HealthState::Offline)).count();
    let ill = states
        .iter()
        .filter(|state| {
            matches!(state, HealthState::Degraded | HealthState::Stalled | HealthState::Reconnecting)
        })
        .count();
    if on_air > 0 {
        readings.push(Reading {
            signal: Signal::ManyStreams,
            scope: scope(),
            value: ill as f64 / on_air as f64,
            count: on_air as u64,
            minutes: 0.0,
            text: format!("{ill} of {on_air} streams are not well: look at this node and its network first."),
        });
    }
    let lost = (inner.lost.events + inner.lost.reports + inner.lost.records)
        .saturating_sub(inner.lost_before.events + inner.lost_before.reports + inner.lost_before.records);
    inner.lost_before = inner.lost;
    readings.push(Reading {
        signal: Signal::Lost,
        scope: scope(),
        value: lost as f64,
        count: 1,
        minutes: 0.0,
        text: format!("{lost} events, reports or records were lost within a second: figures are too low (see /api/v1/overview)."),
    });
}

/// An alert's notice, as something that happened.
pub(super) fn happening(notice: &Notice, at: i64) -> Happening {
    let (alert, severity, text) = match notice {
        Notice::Raised(alert) => (alert, severity(&alert.severity), alert.text.clone()),
        Notice::Stays(alert) => (alert, severity(&alert.severity), format!("Still: {}", alert.text)),
        Notice::Resolved(alert) => (alert, Severity::Info, format!("Over: {}", alert.text)),
    };
    let stream = if alert.scope.kind == Kind::Stream { alert.scope.name.clone() } else { String::new() };
    Happening { at, stream, kind: "alert", severity, text }
}

/// How bad an alert is, for its happening.
fn severity(word: &str) -> Severity {
    match word {
        "critical" => Severity::Critical,
        "warning" => Severity::Warning,
        _ => Severity::Info,
    }
}
