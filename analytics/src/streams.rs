//! What each stream is doing: the state machine of QOE-25 and the newest figures, from events alone.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use aqueduct_common::StreamName;
use aqueduct_common::event::{Advice, Event, IngestTick, Protocol, PublishEnd};
use aqueduct_common::feed::Break;
use serde::Serialize;
use utoipa::ToSchema;

/// How long an ended stream stays in the list.
const KEEP_ENDED: Duration = Duration::from_secs(300);
/// Advice is repeated while it holds; without a repeat for this long it is cured.
const ADVICE_HOLDS: Duration = Duration::from_secs(25);
/// A stream that nothing was heard of for so long is forgotten, whatever its state. Longer than the longest grace time,
/// and than [`KEEP_ENDED`].
const KEEP_UNHEARD: Duration = Duration::from_secs(2 * 3_600);
/// No more streams than these are kept: an ended one makes room for a new one, and without any the new one is left out.
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
    heard_at: Instant,
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
            Event::PublishStarted { stream, .. }
            | Event::PublishEnded { stream, .. }
            | Event::Ingest { stream, .. }
            | Event::Anomaly { stream, .. }
            | Event::Advice { stream, .. }
            | Event::PackagerLive { stream, .. }
            | Event::Discontinuity { stream, .. } => {
                if let Some(entry) = self.entry(stream, now) {
                    entry.heard_at = now;
                    entry.record(event, now);
                }
            }
            // What is over needs no entry, nor does a part.
            Event::PackagerEnded { stream, .. }
            | Event::StreamExpired { stream }
            | Event::Part { stream, .. } => {
                if let Some(entry) = self.entries.get_mut(stream) {
                    entry.heard_at = now;
                    entry.record(event, now);
                }
            }
            Event::Edge(tick) => self.set_viewers(&tick.viewers),
            Event::ConnectionOpened { .. }
            | Event::ConnectionClosed { .. }
            | Event::Refused { .. }
            | Event::Shed { .. }
            | Event::Throttled { .. } => {}
        }
    }

    /// Drops cured advice, and the streams that have been over or unheard of for long.
    pub fn sweep(&mut self, now: Instant) {
        for entry in self.entries.values_mut() {
            entry.advice.retain(|(_, seen)| now.duration_since(*seen) < ADVICE_HOLDS);
            entry.refresh_advice();
        }
        self.entries.retain(|_, entry| {
            let over = entry.ended_at.is_some_and(|at| now.duration_since(at) >= KEEP_ENDED);
            !over && now.duration_since(entry.heard_at) < KEEP_UNHEARD
        });
    }

    /// Whether a stream is among those kept.
    pub fn knows(&self, stream: &StreamName) -> bool {
        self.entries.contains_key(stream)
    }

    /// Every stream as it is, by name.
    pub fn views(&self) -> Vec<StreamView> {
        self.entries.values().map(|entry| entry.view.clone()).collect()
    }

    /// The stream's entry, made if there is room.
    fn entry(&mut self, stream: &StreamName, now: Instant) -> Option<&mut Entry> {
        if self.entries.len() >= MAX_STREAMS && !self.entries.contains_key(stream) {
            let ended =
                self.entries.iter().find(|(_, e)| e.ended_at.is_some()).map(|(name, _)| name.clone())?;
            self.entries.remove(&ended);
        }
        Some(self.entries.entry(stream.clone()).or_insert_with(|| Entry::new(stream.clone(), now)))
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
    fn new(name: StreamName, now: Instant) -> Self {
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
        Self { view, advice: Vec::new(), published: false, ended_at: None, heard_at: now }
    }

    /// Takes in an event of this stream.
    fn record(&mut self, event: &Event, now: Instant) {
        match event {
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
            Event::Advice { advice, .. } => self.advise(advice, now),
            Event::PackagerLive { epoch, target_duration, part_target_micros, .. } => {
                self.view.epoch = Some(epoch.clone());
                self.view.target_duration = Some(*target_duration);
                self.view.part_target = Some(f64::from(*part_target_micros) / 1e6);
                self.published = true;
                self.revive();
            }
            Event::Discontinuity { .. } => self.view.discontinuities += 1,
            Event::PackagerEnded { epoch, .. } if self.view.epoch.as_ref() == Some(epoch) => self.end(now),
            Event::StreamExpired { .. } => self.end(now),
            _ => {}
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
        live_with("e1")
    }

    fn packaged(epoch: &str) -> Event {
        Event::PackagerEnded { stream: name(), epoch: epoch.into() }
    }

    fn live_with(epoch: &str) -> Event {
        Event::PackagerLive {
            stream: name(),
            epoch: epoch.into(),
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
        assert_eq!(after(&packaged("e1")), State::Ended);
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
        streams.sweep(now + Duration::from_secs(299));
        assert!(streams.knows(&name()));
        streams.sweep(now + KEEP_ENDED);
        assert!(!streams.knows(&name()) && streams.views().is_empty());
    }

    #[test]
    fn the_end_of_an_earlier_epoch_is_not_that_of_the_stream() {
        let (mut streams, now) = (Streams::default(), start());
        let expired = Event::StreamExpired { stream: name() };
        for event in [started(false), live(), expired, started(false), packaged("e1"), live_with("e2")] {
            streams.record(&event, now);
        }
        assert_eq!(streams.views()[0].state, State::Live);
        streams.record(&packaged("e1"), now);
        assert_eq!(streams.views()[0].state, State::Live);
        streams.sweep(now + KEEP_ENDED);
        assert!(streams.knows(&name()), "a live stream stays");
        streams.record(&packaged("e2"), now);
        assert_eq!(streams.views()[0].state, State::Ended);
    }

    #[test]
    fn figures_of_a_publisher_bring_a_stream_back_whose_beginning_was_lost() {
        let (mut streams, now) = (Streams::default(), start());
        let tick = IngestTick::default();
        streams.record(&started(false), now);
        streams.record(&Event::StreamExpired { stream: name() }, now);
        streams.record(&Event::Ingest { stream: name(), protocol: Protocol::Rtmp, tick }, now);
        assert_eq!(streams.views()[0].state, State::Starting);
        streams.sweep(now + KEEP_ENDED);
        assert!(streams.knows(&name()));
    }

    #[test]
    fn a_stream_that_nothing_is_heard_of_is_forgotten_in_the_end() {
        let (mut streams, now) = (Streams::default(), start());
        streams.record(&started(false), now);
        streams.record(&ended(PublishEnd::Lost), now);
        streams.sweep(now + KEEP_UNHEARD - Duration::from_secs(1));
        assert!(streams.knows(&name()));
        streams.sweep(now + KEEP_UNHEARD);
        assert!(!streams.knows(&name()));
    }

    #[test]
    fn no_more_streams_are_kept_than_there_is_room_for() {
        let (mut streams, now) = (Streams::default(), start());
        let begin = |n: usize| Event::PublishStarted {
            stream: format!("live/s{n}").parse().unwrap(),
            protocol: Protocol::Rtmp,
            encoder: String::new(),
            resumed: false,
        };
        for n in 0..=MAX_STREAMS {
            streams.record(&begin(n), now);
        }
        assert_eq!(streams.views().len(), MAX_STREAMS);
        let last = format!("live/s{MAX_STREAMS}").parse().unwrap();
        assert!(!streams.knows(&last), "those that are there stay");
        streams.record(&Event::StreamExpired { stream: "live/s7".parse().unwrap() }, now);
        streams.record(&begin(MAX_STREAMS), now);
        assert!(streams.knows(&last) && streams.views().len() == MAX_STREAMS);
    }
}
