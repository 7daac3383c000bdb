//! What each stream is doing: the state machine of QOE-25 and the newest figures, from events alone.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use aqueduct_common::StreamName;
use aqueduct_common::event::{Advice, Anomaly, Event, IngestTick, Protocol, PublishEnd};
use aqueduct_common::feed::Break;
use serde::Serialize;
use utoipa::ToSchema;

/// How long an ended stream stays in the list.
const KEEP_ENDED: Duration = Duration::from_secs(300);
/// Advice is repeated while it holds; without a repeat for this long it is cured.
const ADVICE_HOLDS: Duration = Duration::from_secs(25);
/// Ended and unknown names are forgotten first beyond this many streams.
const MAX_STREAMS: usize = 10_000;

/// Where a stream is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// A publisher is there; no playlist is out yet.
    Starting,
    /// It plays.
    Live,
    /// Its publisher is gone and may come back within the grace time.
    Reconnecting,
    /// It ended.
    Ended,
}

/// One piece of advice for the streamer.
#[derive(Clone, PartialEq, Debug, Serialize, ToSchema)]
pub struct Advised {
    /// What, with its figures.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    pub advice: Advice,
    /// What to do, in plain words.
    pub text: String,
}

/// A stream as the API shows it.
#[derive(Clone, PartialEq, Debug, Serialize, ToSchema)]
pub struct StreamView {
    /// Its name, `app/name`.
    #[schema(value_type = String)]
    pub name: StreamName,
    /// Where it is in its life.
    pub state: State,
    /// How its publisher came.
    #[schema(value_type = Option<String>)]
    pub protocol: Option<Protocol>,
    /// What its encoder calls itself.
    pub encoder: String,
    /// Its epoch, as in its paths.
    pub epoch: Option<String>,
    /// EXT-X-TARGETDURATION in seconds.
    pub target_duration: Option<u32>,
    /// PART-TARGET in seconds.
    pub part_target: Option<f64>,
    /// Viewers in the last 30 s.
    pub viewers: u32,
    /// Bits per second over the last second.
    pub bitrate: u64,
    /// Returns and takeovers since it began.
    pub reconnects: u32,
    /// Discontinuities since it began.
    pub discontinuities: u32,
    /// Repaired timestamps since it began, by type.
    #[schema(value_type = BTreeMap<String, u64>)]
    pub anomalies: BTreeMap<&'static str, u64>,
    /// The publisher's last second.
    #[schema(value_type = Object)]
    pub ingest: IngestTick,
    /// What the streamer should change.
    pub advice: Vec<Advised>,
    /// Why the last publisher left.
    #[schema(value_type = Option<String>)]
    pub last_end: Option<PublishEnd>,
}

#[derive(Debug)]
struct Entry {
    view: StreamView,
    advice: Vec<(Advice, Instant)>,
    /// An epoch's playlists are out.
    published: bool,
    ended_at: Option<Instant>,
}

/// All streams heard of, until they have been over for five minutes.
#[derive(Debug, Default)]
pub struct Streams {
    entries: BTreeMap<StreamName, Entry>,
}

impl Streams {
    /// Takes in one event.
    pub fn record(&mut self, event: &Event, now: Instant) {
        match event {
            Event::PublishStarted { stream, protocol, encoder, resumed } => {
                let entry = self.entry(stream);
                entry.view.protocol = Some(*protocol);
                entry.view.encoder.clone_from(encoder);
                entry.view.state = if entry.published { State::Live } else { State::Starting };
                entry.view.reconnects += u32::from(*resumed);
                entry.ended_at = None;
            }
            Event::PublishEnded { stream, reason, .. } => {
                let entry = self.entry(stream);
                entry.view.last_end = Some(*reason);
                if *reason != PublishEnd::TakenOver && entry.view.state != State::Ended {
                    entry.view.state = State::Reconnecting;
                    entry.view.bitrate = 0;
                }
            }
            Event::Ingest { stream, tick, .. } => {
                let entry = self.entry(stream);
                entry.view.bitrate = tick.bytes * 8;
                entry.view.ingest = tick.clone();
            }
            Event::Anomaly { stream, kind, count } => self.count_anomaly(stream, *kind, *count),
            Event::Advice { stream, advice } => self.entry(stream).advise(advice, now),
            Event::PackagerLive { stream, epoch, target_duration, part_target_micros } => {
                let view = &mut self.entry(stream).view;
                view.epoch = Some(epoch.clone());
                view.target_duration = Some(*target_duration);
                view.part_target = Some(f64::from(*part_target_micros) / 1e6);
                view.state = State::Live;
                self.entry(stream).published = true;
            }
            Event::Discontinuity { stream, .. } => self.entry(stream).view.discontinuities += 1,
            Event::PackagerEnded { stream } | Event::StreamExpired { stream } => self.end(stream, now),
            Event::Edge(tick) => self.set_viewers(&tick.viewers),
            Event::ConnectionOpened { .. }
            | Event::ConnectionClosed { .. }
            | Event::Refused { .. }
            | Event::Part { .. } => {}
        }
    }

    /// Drops cured advice and streams that have been over for long; returns the names dropped.
    pub fn sweep(&mut self, now: Instant) -> Vec<StreamName> {
        for entry in self.entries.values_mut() {
            entry.advice.retain(|(_, seen)| now.duration_since(*seen) < ADVICE_HOLDS);
            entry.refresh_advice();
        }
        let over = |entry: &Entry| entry.ended_at.is_some_and(|at| now.duration_since(at) >= KEEP_ENDED);
        let gone: Vec<_> =
            self.entries.iter().filter(|(_, e)| over(e)).map(|(name, _)| name.clone()).collect();
        for name in &gone {
            self.entries.remove(name);
        }
        gone
    }

    /// Every stream as it is, by name.
    pub fn views(&self) -> Vec<StreamView> {
        self.entries.values().map(|entry| entry.view.clone()).collect()
    }

    fn entry(&mut self, stream: &StreamName) -> &mut Entry {
        if self.entries.len() >= MAX_STREAMS && !self.entries.contains_key(stream) {
            let ended = self.entries.iter().find(|(_, e)| e.ended_at.is_some()).map(|(name, _)| name.clone());
            ended.and_then(|name| self.entries.remove(&name));
        }
        self.entries.entry(stream.clone()).or_insert_with(|| Entry::new(stream.clone()))
    }

    fn count_anomaly(&mut self, stream: &StreamName, kind: Anomaly, count: u32) {
        *self.entry(stream).view.anomalies.entry(kind.as_str()).or_default() += u64::from(count);
    }

    fn end(&mut self, stream: &StreamName, now: Instant) {
        let entry = self.entry(stream);
        entry.view.state = State::Ended;
        entry.view.bitrate = 0;
        entry.published = false;
        entry.advice.clear();
        entry.refresh_advice();
        entry.ended_at = Some(now);
    }

    fn set_viewers(&mut self, viewers: &[(StreamName, u32)]) {
        for entry in self.entries.values_mut() {
            entry.view.viewers = 0;
        }
        for (stream, count) in viewers {
            if let Some(entry) = self.entries.get_mut(stream) {
                entry.view.viewers = *count;
            }
        }
    }
}

impl Entry {
    fn new(name: StreamName) -> Self {
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
            advice: Vec::new(),
            last_end: None,
        };
        Self { view, advice: Vec::new(), published: false, ended_at: None }
    }

    /// Remembers advice; a newer figure of the same kind replaces the older one.
    fn advise(&mut self, advice: &Advice, now: Instant) {
        let same = |old: &Advice| std::mem::discriminant(old) == std::mem::discriminant(advice);
        self.advice.retain(|(old, _)| !same(old));
        self.advice.push((advice.clone(), now));
        self.refresh_advice();
    }

    fn refresh_advice(&mut self) {
        let advised =
            |(advice, _): &(Advice, Instant)| Advised { advice: advice.clone(), text: advice.text() };
        self.view.advice = self.advice.iter().map(advised).collect();
    }
}

/// The metric label of a session's end.
pub(crate) const fn end_label(reason: PublishEnd) -> &'static str {
    match reason {
        PublishEnd::Clean => "clean",
        PublishEnd::Lost => "lost",
        PublishEnd::Silent => "silent",
        PublishEnd::TakenOver => "taken_over",
        PublishEnd::Shed => "shed",
        PublishEnd::Drained => "drained",
    }
}

/// The metric label of a discontinuity's cause.
pub(crate) const fn break_label(reason: Option<Break>) -> &'static str {
    match reason {
        None => "tracks",
        Some(Break::TimestampJump) => "timestamp_jump",
        Some(Break::Reconnect) => "reconnect",
        Some(Break::Overflow) => "overflow",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> StreamName {
        "live/show".parse().unwrap()
    }

    fn started(resumed: bool) -> Event {
        Event::PublishStarted { stream: name(), protocol: Protocol::Rtmp, encoder: "obs".into(), resumed }
    }

    fn ended(reason: PublishEnd) -> Event {
        Event::PublishEnded { stream: name(), protocol: Protocol::Rtmp, reason }
    }

    fn live() -> Event {
        Event::PackagerLive {
            stream: name(),
            epoch: "e1".into(),
            target_duration: 1,
            part_target_micros: 214_000,
        }
    }

    #[expect(clippy::disallowed_methods, reason = "tests need some instant to start from")]
    fn start() -> Instant {
        Instant::now()
    }

    #[test]
    fn a_stream_goes_from_starting_to_live_waits_for_its_publisher_and_ends() {
        let (mut streams, now) = (Streams::default(), start());
        let mut after = |event: &Event| {
            streams.record(event, now);
            streams.views()[0].state
        };
        assert_eq!(after(&started(false)), State::Starting);
        assert_eq!(after(&live()), State::Live);
        assert_eq!(after(&ended(PublishEnd::TakenOver)), State::Live, "the newcomer is already there");
        assert_eq!(after(&ended(PublishEnd::Lost)), State::Reconnecting);
        assert_eq!(after(&started(true)), State::Live, "its playlists are still out");
        assert_eq!(after(&Event::PackagerEnded { stream: name() }), State::Ended);
        assert_eq!(after(&started(false)), State::Starting);
        assert_eq!(streams.views()[0].reconnects, 1);
    }

    #[test]
    fn advice_stays_while_it_is_repeated_and_goes_when_cured() {
        let (mut streams, now) = (Streams::default(), start());
        let advice = |is_millis| Advice::KeyframeInterval { is_millis, set_seconds: 1 };
        streams.record(&Event::Advice { stream: name(), advice: advice(8_333) }, now);
        streams.record(&Event::Advice { stream: name(), advice: advice(4_000) }, now);
        assert_eq!(streams.views()[0].advice.len(), 1, "the newer figure replaces the older");
        assert!(streams.views()[0].advice[0].text.contains("4.0 s"));
        streams.sweep(now + ADVICE_HOLDS);
        assert!(streams.views()[0].advice.is_empty());
    }

    #[test]
    fn an_ended_stream_is_forgotten_after_five_minutes() {
        let (mut streams, now) = (Streams::default(), start());
        streams.record(&started(false), now);
        streams.record(&Event::StreamExpired { stream: name() }, now);
        assert!(streams.sweep(now + Duration::from_secs(299)).is_empty());
        assert_eq!(streams.sweep(now + KEEP_ENDED), [name()]);
        assert!(streams.views().is_empty());
    }
}
