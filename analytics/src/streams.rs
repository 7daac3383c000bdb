//! What each stream is doing: the state machine of QOE-25 and the newest figures, from events alone.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use aqueduct_common::StreamName;
use aqueduct_common::event::{Advice, Event, IngestTick, Protocol, PublishEnd, SourceChange, Transcode};
use aqueduct_common::feed::Break;
use serde::Serialize;
use utoipa::ToSchema;

use crate::health::HealthView;
use crate::latency::LatencyView;
use crate::score::ScoreView;
use crate::series::{COLUMNS, SeriesView};
use crate::sources::{PushView, SourceView, SwitchView, Ways};
use crate::transcode::TranscodeView;
use crate::viewers::{Present, QoeView, Viewers};
use crate::watch::{Gathered, Happening, Turned, ViewersBy, Watch};

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
    /// Since when it holds, in milliseconds since 1970.
    pub since: i64,
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
    /// Its renditions; `None` before anything was decided about them.
    pub transcode: Option<TranscodeView>,
    /// What the streamer should change.
    pub advice: Vec<Advised>,
    /// Why the last publisher left.
    #[schema(value_type = Option<String>)]
    pub last_end: Option<PublishEnd>,
    /// Its sources, where it has a list of them, the preferred one first.
    pub sources: Vec<SourceView>,
    /// The newest change of who is on air.
    pub last_switch: Option<SwitchView>,
    /// Changes of who is on air since it began.
    pub switches: u32,
    /// Servers that it is sent on to.
    pub push: Vec<PushView>,
    /// Since when it plays, in milliseconds since 1970.
    pub live_since: Option<i64>,
    /// How it is, and why.
    pub health: HealthView,
    /// One number for how it is to its viewers; `None` before anything was measured for it.
    pub score: Option<ScoreView>,
    /// What viewers live through; `None` where none reports.
    pub qoe: Option<QoeView>,
    /// Where the time goes between capture and screen.
    pub latency: LatencyView,
    /// Viewers by what they have.
    pub viewers_by: ViewersBy,
}

/// A stream as a list shows it, in the order of [`ROW`].
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct StreamRow(
    pub StreamName,
    pub &'static str,
    pub Option<u32>,
    pub u32,
    pub u64,
    pub Option<f32>,
    pub Option<f32>,
    pub Option<f32>,
    pub usize,
    pub usize,
    pub Option<i64>,
);

/// What the values of a [`StreamRow`] are.
pub const ROW: [&str; 11] = [
    "name", "health", "score", "viewers", "bitrate", "fps", "latency", "rebuffer", "advice", "alerts",
    "since",
];

#[derive(Debug)]
struct Entry {
    view: StreamView,
    ways: Ways,
    /// What was advised, when it was last heard, and since when it holds.
    advice: Vec<(Advice, Instant, i64)>,
    watch: Box<Watch>,
    /// An epoch's playlists are out.
    published: bool,
    ended_at: Option<Instant>,
    heard_at: Instant,
}

/// All streams heard of, until they have been over for five minutes.
#[derive(Debug, Default)]
pub struct Streams {
    entries: BTreeMap<StreamName, Entry>,
    /// The time of the last turn, in milliseconds since 1970.
    wall: i64,
}

impl Streams {
    /// Takes in one event.
    pub fn record(&mut self, event: &Event, now: Instant) {
        let wall = self.wall;
        match event {
            // What is over needs no entry, nor does a part.
            Event::Transcode { stream, what: Transcode::Ended }
            | Event::PackagerEnded { stream, .. }
            | Event::StreamExpired { stream }
            | Event::Push { stream, .. }
            | Event::Srt { stream, .. }
            | Event::Part { stream, .. } => {
                if let Some(entry) = self.entries.get_mut(stream) {
                    entry.heard_at = now;
                    entry.hear(event, now, wall);
                }
            }
            Event::PublishStarted { stream, .. }
            | Event::PublishEnded { stream, .. }
            | Event::Ingest { stream, .. }
            | Event::Anomaly { stream, .. }
            | Event::Advice { stream, .. }
            | Event::PackagerLive { stream, .. }
            | Event::Transcode { stream, .. }
            | Event::Astray { stream, .. }
            | Event::Source { stream, .. }
            | Event::Discontinuity { stream, .. } => {
                if let Some(entry) = self.entry(stream, now) {
                    entry.heard_at = now;
                    entry.hear(event, now, wall);
                }
            }
            Event::Edge(_)
            | Event::ConnectionOpened { .. }
            | Event::ConnectionClosed { .. }
            | Event::Refused { .. }
            | Event::Shed { .. }
            | Event::Cluster(_)
            | Event::Relay(_)
            | Event::Pull { .. }
            | Event::Report(_)
            | Event::Throttled { .. } => {}
        }
    }

    /// Drops cured advice, and the streams that have been over or unheard of for long.
    pub fn sweep(&mut self, now: Instant) {
        for entry in self.entries.values_mut() {
            entry.advice.retain(|(_, seen, _)| now.duration_since(*seen) < ADVICE_HOLDS);
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
        self.entries.values().map(Entry::view).collect()
    }

    /// One stream as it is.
    pub fn view(&self, stream: &StreamName) -> Option<StreamView> {
        self.entries.get(stream).map(Entry::view)
    }

    /// Every stream as a list shows it, by name. `alerts` says how many it has.
    pub fn rows(&self, alerts: impl Fn(&str) -> usize) -> Vec<StreamRow> {
        let row = |entry: &Entry| {
            let view = &entry.view;
            let newest =
                entry.watch.series().newest().map(|(_, row)| *row).unwrap_or([f32::NAN; COLUMNS.len()]);
            let qoe = entry.watch.qoe.as_ref();
            StreamRow(
                view.name.clone(),
                entry.watch.state().as_str(),
                entry.watch.score.as_ref().map(|score| score.value),
                view.viewers,
                view.bitrate,
                crate::series::known(newest[1]),
                entry.watch.latency.total.and_then(|seconds| crate::series::known(seconds as f32)),
                qoe.and_then(|qoe| qoe.rebuffer_ratio).and_then(|ratio| crate::series::known(ratio as f32)),
                view.advice.len(),
                alerts(view.name.as_str()),
                entry.watch.live_since,
            )
        };
        self.entries.values().map(row).collect()
    }

    /// The last seconds of a stream.
    pub fn series(&self, stream: &StreamName, last: usize, columns: &[&'static str]) -> Option<SeriesView> {
        let watch = &self.entries.get(stream)?.watch;
        Some(watch.series().view(stream.as_str(), last, columns))
    }

    /// The newest second of a stream: its values in the order of the columns.
    pub fn newest(&self, stream: &StreamName) -> Option<(i64, Vec<Option<f32>>)> {
        let (at, row) = self.entries.get(stream)?.watch.series().newest()?;
        Some((at, row.iter().map(|value| crate::series::known(*value)).collect()))
    }

    /// What happened to a stream, newest last.
    pub fn happened(&self, stream: &StreamName) -> Option<Vec<Happening>> {
        Some(self.entries.get(stream)?.watch.happened().cloned().collect())
    }

    /// Streams that are not over, with how they are.
    pub(crate) fn watched(&self) -> impl Iterator<Item = (&StreamView, &Watch)> {
        self.entries.values().map(|entry| (&entry.view, &*entry.watch))
    }

    /// A second is over, at `now` (milliseconds since 1970). `relay` is the mean lag from origin to edge.
    pub(crate) fn turn(
        &mut self,
        viewers: &Viewers,
        present: &HashMap<StreamName, Present>,
        relay: Option<f64>,
        now: i64,
    ) -> Vec<Turned> {
        self.wall = now;
        let turn = |(name, entry): (&StreamName, &mut Entry)| {
            entry.refresh_advice();
            let gathered = Gathered { audience: viewers.audience(name), present: present.get(name), relay };
            entry.watch.turn(&entry.view, &gathered, now)
        };
        self.entries.iter_mut().map(turn).collect()
    }

    /// Viewers of each stream over all nodes.
    pub fn set_viewers(&mut self, counts: &[(StreamName, u32)], twice: &HashMap<StreamName, u32>) {
        let mut sums: HashMap<&StreamName, (u32, u32)> = HashMap::new();
        for (stream, count) in counts {
            let (sum, most) = sums.entry(stream).or_default();
            (*sum, *most) = (sum.saturating_add(*count), (*most).max(*count));
        }
        for (stream, entry) in &mut self.entries {
            let (sum, most) = sums.get(stream).copied().unwrap_or_default();
            let twice = twice.get(stream).copied().unwrap_or_default();
            // No node counts anybody twice by itself.
            entry.view.viewers = sum.saturating_sub(twice).max(most);
        }
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
    fn hear(&mut self, event: &Event, now: Instant, wall: i64) {
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

    /// What stages advise, and what the figures say besides.
    fn refresh_advice(&mut self) {
        let heard = self.advice.iter().map(|(advice, _, since)| (advice, *since));
        let of_health =
            self.watch.advice().filter(|(advice, _)| !self.advice.iter().any(|(old, ..)| same(old, advice)));
        let advised =
            |(advice, since): (&Advice, i64)| Advised { advice: advice.clone(), text: advice.text(), since };
        self.view.advice = heard.chain(of_health).map(advised).collect();
    }

    /// All that is known of it.
    fn view(&self) -> StreamView {
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
}

fn same(one: &Advice, other: &Advice) -> bool {
    std::mem::discriminant(one) == std::mem::discriminant(other)
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
        Some(Break::Encoder) => "encoder",
    }
}

#[cfg(test)]
mod tests;
