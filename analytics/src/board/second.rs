//! What the end of a second makes of all that came in: health, alerts, and records.

use std::time::Instant;

use aqueduct_common::StreamName;

use super::{Inner, Lost, Told, readings};
use crate::alert::Notice;
use crate::health::HealthState;
use crate::store::{Store, Write};
use crate::watch::Happening;

/// Happenings over all streams that are remembered.
const HAPPENED: usize = 200;
/// Milliseconds between two records of the sessions that were heard since.
const RECORD_EVERY: i64 = 60_000;

impl Inner {
    pub(super) fn turn(&mut self, now: Instant, wall: i64, dropped: (u64, u64)) -> Vec<Told> {
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
}
