//! One stream: what its events make of it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use aqueduct_common::StreamName;
use aqueduct_common::event::{Advice, Event, IngestTick, PublishEnd, SourceChange};

use super::view::{Advised, State, StreamRow, StreamView};
use crate::health::HealthView;
use crate::latency::LatencyView;
use crate::series::COLUMNS;
use crate::sources::Ways;
use crate::watch::{ViewersBy, Watch};

/// Advice is repeated while it holds; without a repeat for this long it is cured.
pub(super) const ADVICE_HOLDS: Duration = Duration::from_secs(25);

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) view: StreamView,
    ways: Ways,
    /// What was advised, when it was last heard, and since when it holds.
    advice: Vec<(Advice, Instant, i64)>,
    pub(super) watch: Box<Watch>,
    /// An epoch's playlists are out.
    published: bool,
    pub(super) ended_at: Option<Instant>,
    pub(super) heard_at: Instant,
}

impl Entry {
    pub(super) fn new(name: StreamName, now: Instant) -> Self {
        let view = StreamView {
            name,
            state: State::Starting,
            protocol: None,
            encoder: String::new(),
            epoch: None,
            target_duration: None,
            part_target: None,
            viewers: 0,
            bitrate: 0,
            reconnects: 0,
            discontinuities: 0,
            anomalies: BTreeMap::new(),
            ingest: IngestTick::default(),
            transcode: None,
            advice: Vec::new(),
            last_end: None,
            sources: Vec::new(),
            last_switch: None,
            switches: 0,
            push: Vec::new(),
            live_since: None,
            health: HealthView::default(),
            score: None,
            qoe: None,
            latency: LatencyView::default(),
            viewers_by: ViewersBy::default(),
        };
        let watch = Box::default();
        Self {
            view,
            ways: Ways::default(),
            advice: Vec::new(),
            watch,
            published: false,
            ended_at: None,
            heard_at: now,
        }
    }

    /// Takes in an event of this stream.
    pub(super) fn hear(&mut self, event: &Event, now: Instant, wall: i64) {
        self.watch.record(event);
        match event {
            Event::Source { source, what, .. } => {
                self.ways.record(source, what);
                if matches!(what, SourceChange::OnAir { .. }) {
                    // What was said of the one before holds no more.
                    self.advice.retain(|(advice, ..)| !matches!(advice, Advice::OnBackup { .. }));
                    self.refresh_advice();
                }
                self.show_ways();
            }
            Event::Push { target, what, .. } => {
                self.ways.record_push(target, what);
                self.view.push.clone_from(&self.ways.push);
            }
            // Another one is on air, and stays there.
            Event::PublishStarted { .. } | Event::PublishEnded { .. } if self.ways.on_air().is_some() => {}
            Event::PublishEnded { reason, .. } if self.ways.has_any() => self.view.last_end = Some(*reason),
            Event::PublishStarted { protocol, encoder, resumed, .. } => {
                self.view.protocol = Some(*protocol);
                self.view.encoder.clone_from(encoder);
                self.view.reconnects += u32::from(*resumed);
                if !*resumed {
                    // What is still to be heard of an earlier epoch does not concern the one that begins.
                    self.view.epoch = None;
                    self.published = false;
                }
                self.revive();
            }
            Event::PublishEnded { reason, .. } => {
                self.view.last_end = Some(*reason);
                if *reason != PublishEnd::TakenOver && self.view.state != State::Ended {
                    self.view.state = State::Reconnecting;
                    self.view.bitrate = 0;
                }
            }
            Event::Ingest { tick, .. } => {
                self.view.bitrate = tick.bytes * 8;
                self.view.ingest = tick.clone();
                if self.ended_at.is_some() {
                    self.revive();
                }
            }
            Event::Anomaly { kind, count, .. } => {
                *self.view.anomalies.entry(kind.as_str()).or_default() += u64::from(*count);
            }
            Event::Advice { advice, .. } => self.advise(advice, now, wall),
            Event::Transcode { what, .. } => {
                self.view.transcode.get_or_insert_default().record(what);
            }
            Event::PackagerLive { epoch, target_duration, part_target_micros, .. } => {
                self.view.epoch = Some(epoch.clone());
                self.view.target_duration = Some(*target_duration);
                self.view.part_target = Some(f64::from(*part_target_micros) / 1e6);
                self.published = true;
                self.revive();
            }
            Event::Astray { track, segment, reason, .. } => {
                *self.view.anomalies.entry("astray").or_default() += 1;
                if let Some(view) = &mut self.view.transcode {
                    view.astray(*track, *segment, reason);
                }
            }
            Event::Discontinuity { .. } => self.view.discontinuities += 1,
            Event::PackagerEnded { epoch, .. } if self.view.epoch.as_ref() == Some(epoch) => self.end(now),
            Event::StreamExpired { .. } => self.end(now),
            _ => {}
        }
    }

    /// Shows the sources; what is said of the publisher is of the one on air.
    fn show_ways(&mut self) {
        self.view.sources.clone_from(&self.ways.sources);
        self.view.last_switch.clone_from(&self.ways.last_switch);
        self.view.switches = self.ways.switches;
        if let Some(on_air) = self.ways.on_air() {
            self.view.protocol = on_air.protocol;
            self.view.encoder.clone_from(&on_air.encoder);
        }
    }

    /// A publisher is there, or playlists are out.
    fn revive(&mut self) {
        self.view.state = if self.published { State::Live } else { State::Starting };
        self.ended_at = None;
    }

    fn end(&mut self, now: Instant) {
        self.view.state = State::Ended;
        self.view.bitrate = 0;
        self.published = false;
        self.advice.clear();
        self.refresh_advice();
        self.ended_at = Some(now);
    }

    /// Remembers advice; a newer figure of the same kind replaces the older one.
    fn advise(&mut self, advice: &Advice, now: Instant, wall: i64) {
        let since = self.advice.iter().find(|(old, ..)| same(old, advice)).map_or(wall, |(.., since)| *since);
        self.advice.retain(|(old, ..)| !same(old, advice));
        self.advice.push((advice.clone(), now, since));
        self.refresh_advice();
    }

    /// Forgets advice that is not repeated any more.
    pub(super) fn drop_cured(&mut self, now: Instant) {
        self.advice.retain(|(_, seen, _)| now.duration_since(*seen) < ADVICE_HOLDS);
        self.refresh_advice();
    }

    /// What stages advise, and what the figures say besides.
    pub(super) fn refresh_advice(&mut self) {
        let heard = self.advice.iter().map(|(advice, _, since)| (advice, *since));
        let of_health =
            self.watch.advice().filter(|(advice, _)| !self.advice.iter().any(|(old, ..)| same(old, advice)));
        let advised =
            |(advice, since): (&Advice, i64)| Advised { advice: advice.clone(), text: advice.text(), since };
        self.view.advice = heard.chain(of_health).map(advised).collect();
    }

    /// All that is known of it.
    pub(super) fn view(&self) -> StreamView {
        let watch = &self.watch;
        StreamView {
            live_since: watch.live_since,
            health: watch.health(),
            score: watch.score.clone(),
            qoe: watch.qoe.clone(),
            latency: watch.latency.clone(),
            viewers_by: watch.viewers_by.clone(),
            ..self.view.clone()
        }
    }

    /// It as a list shows it. `alerts` says how many it has.
    pub(super) fn row(&self, alerts: &impl Fn(&str) -> usize) -> StreamRow {
        let view = &self.view;
        let newest = self.watch.series().newest().map(|(_, row)| *row).unwrap_or([f32::NAN; COLUMNS.len()]);
        let qoe = self.watch.qoe.as_ref();
        StreamRow(
            view.name.clone(),
            self.watch.state().as_str(),
            self.watch.score.as_ref().map(|score| score.value),
            view.viewers,
            view.bitrate,
            crate::series::known(newest[1]),
            self.watch.latency.total.and_then(|seconds| crate::series::known(seconds as f32)),
            qoe.and_then(|qoe| qoe.rebuffer_ratio).and_then(|ratio| crate::series::known(ratio as f32)),
            view.advice.len(),
            alerts(view.name.as_str()),
            self.watch.live_since,
        )
    }
}

fn same(one: &Advice, other: &Advice) -> bool {
    std::mem::discriminant(one) == std::mem::discriminant(other)
}
