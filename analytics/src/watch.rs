//! One stream, watched second by second: its health, its figures over time, what happened to it, and its minutes.

mod content;
mod minute;

use std::collections::VecDeque;

use aqueduct_common::event::{Anomaly, Event, Protocol, RungState, Transcode};
use serde::Serialize;
use utoipa::ToSchema;

use crate::health::{Health, HealthState, HealthView, Second, Severity};
use crate::latency::{self, LatencyView, Measured};
use crate::score::{self, Inputs, ScoreView};
use crate::series::{COLUMNS, Row, Series};
use crate::store;
use crate::streams::{State, StreamView, break_label, end_label};
use crate::viewers::{Audience, Player, Present, QoeView, Share, qoe};
use content::Content;
use minute::MinuteSoFar;

/// What happened to a stream that is remembered.
const HAPPENED: usize = 200;
/// About what an RTP packet carries of a picture, in bytes.
const RTP_PAYLOAD: u64 = 1_200;
/// Shares of viewers that are told one by one.
const SHARES: usize = 12;

/// Something that happened.
#[derive(Clone, PartialEq, Debug, Serialize, ToSchema)]
pub struct Happening {
    /// When, in milliseconds since 1970.
    pub at: i64,
    /// To which stream; empty where to none.
    pub stream: String,
    /// `publish`, `live`, `health`, `advice`, `discontinuity`, `transcode`, `alert`, `ended` or `node`.
    pub kind: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// In plain words.
    pub text: String,
}

/// Viewers by what they have.
#[derive(Clone, PartialEq, Debug, Default, Serialize, ToSchema)]
pub struct ViewersBy {
    /// By rendition on screen.
    pub rendition: Vec<Share>,
    /// By the node that serves them.
    pub edge: Vec<Share>,
    /// By how they report; `silent` ones do not.
    pub player: Vec<Share>,
}

/// What viewers and the relay say of a stream at this second.
#[derive(Debug, Default)]
pub(crate) struct Gathered<'a> {
    pub(crate) audience: Option<&'a Audience>,
    pub(crate) present: Option<&'a Present>,
    /// Mean lag from origin to edge, in seconds.
    pub(crate) relay: Option<f64>,
}

/// What a second brought to those who want to know.
#[derive(Debug, Default)]
pub(crate) struct Turned {
    pub(crate) happened: Vec<Happening>,
    pub(crate) minute: Option<store::Minute>,
}

/// A stream over time.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    health: Health,
    second: Second,
    series: Series,
    happened: VecDeque<Happening>,
    /// What happened since the last turn, without its time.
    fresh: Vec<(&'static str, Severity, String)>,
    advised: Vec<String>,
    told: HealthState,
    /// How the last minute was.
    lately: VecDeque<HealthState>,
    minute: MinuteSoFar,
    lost: Vec<(u8, String)>,
    content: Content,
    pub(crate) live_since: Option<i64>,
    pub(crate) score: Option<ScoreView>,
    pub(crate) qoe: Option<QoeView>,
    pub(crate) latency: LatencyView,
    pub(crate) viewers_by: ViewersBy,
}

impl Watch {
    /// Takes in an event of this stream.
    pub(crate) fn record(&mut self, event: &Event) {
        let second = &mut self.second;
        match event {
            Event::PublishStarted { protocol, encoder, resumed, .. } => {
                self.health.begin();
                self.content = Content::default();
                let again = if *resumed { "The publisher came back" } else { "A publisher came" };
                self.note(
                    "publish",
                    Severity::Info,
                    format!("{again} over {}: {encoder}.", protocol.as_str()),
                );
            }
            Event::PublishEnded { reason, .. } => {
                self.content = Content::default();
                self.note(
                    "publish",
                    Severity::Info,
                    format!("The publisher left: {}.", end_label(*reason).replace('_', " ")),
                );
            }
            Event::Ingest { tick, protocol, .. } => {
                second.ticks += 1;
                second.bytes += tick.bytes;
                second.frames += tick.video_frames;
                second.has_video |= tick.video_frames > 0 || tick.keyframe_interval_micros.is_some();
                second.keyframes += tick.keyframes;
                second.grid_millifps = tick.grid_millifps;
                second.key_interval = tick.keyframe_interval_micros;
                second.skew = tick.skew_micros;
                second.rtt = tick.rtt_micros;
                // A source that is fetched hands out its media in pieces, as it was made to.
                second.scatter = tick.scatter_micros.filter(|_| *protocol != Protocol::Pull);
                second.drift_ppm = tick.drift_ppm;
                if *protocol == Protocol::Rtsp {
                    let frames = u64::from(tick.video_frames + tick.audio_frames);
                    second.packets.1 += frames + tick.bytes / RTP_PAYLOAD;
                }
                self.content.ingest(tick);
            }
            Event::Anomaly { kind: Anomaly::Gap, count, .. } => second.missing += count,
            Event::Anomaly { kind: Anomaly::NonMonotonic, count, .. } => second.backward += count,
            Event::Anomaly { kind: Anomaly::PacketLost, count, .. } => {
                second.packets.0 += u64::from(*count);
                second.packets.1 += u64::from(*count);
            }
            Event::Srt { tick, .. } => {
                second.packets.0 += tick.lost;
                // Those that come again are told of among those that came.
                second.packets.1 += tick.packets + tick.dropped;
            }
            Event::Part { lag_micros, .. } => {
                second.parts += 1;
                second.part_lag = Some(second.part_lag.unwrap_or_default().max(*lag_micros));
            }
            Event::PackagerLive { part_target_micros, .. } => {
                second.part_target = Some(*part_target_micros);
                self.note("live", Severity::Info, "It plays.".into());
            }
            Event::Discontinuity { reason, .. } => {
                let why = break_label(*reason).replace('_', " ");
                self.note("discontinuity", Severity::Info, format!("A discontinuity began: {why}."));
            }
            Event::Transcode { what, .. } => self.transcode(what),
            Event::StreamExpired { .. } => self.note("ended", Severity::Info, "The stream is over.".into()),
            _ => {}
        }
    }

    fn transcode(&mut self, what: &Transcode) {
        match what {
            Transcode::Tick(tick) => {
                let slowest = tick.rungs.iter().filter_map(|rung| rung.speed).min_by(f64::total_cmp);
                self.second.speed = slowest;
                self.second.backlog = Some(tick.backlog_millis);
                self.second.unencoded += tick.dropped;
                let peaks = tick.sound.iter().filter_map(|sound| sound.true_peak);
                self.second.true_peak = peaks.reduce(f64::max);
                self.content.sound(&tick.sound);
            }
            Transcode::Rung { track, state, reason } => {
                self.lost.retain(|(lost, _)| *lost != track.0);
                if matches!(state, RungState::Lost | RungState::Shed) {
                    self.lost.push((track.0, reason.clone()));
                }
            }
            Transcode::Planned { .. } => self.lost.clear(),
            Transcode::WorkerLost { detail, .. } => {
                self.note("transcode", Severity::Warning, format!("The worker was lost: {detail}."));
            }
            Transcode::Fallback { stage, from, to, reason } => {
                let to = to.unwrap_or("nothing");
                self.note(
                    "transcode",
                    Severity::Warning,
                    format!("{stage}: {from} gave way to {to}: {reason}."),
                );
            }
            Transcode::Governor { step, reason } => {
                self.note(
                    "transcode",
                    Severity::Info,
                    format!("The governor acted ({}): {reason}.", step.as_str()),
                );
            }
            Transcode::WorkerStarted { .. } | Transcode::Ended => {}
        }
    }

    fn note(&mut self, kind: &'static str, severity: Severity, text: String) {
        // A second holds no more than people can read.
        if self.fresh.len() < 20 {
            self.fresh.push((kind, severity, text));
        }
    }

    /// A second is over, at `now` (milliseconds since 1970).
    pub(crate) fn turn(&mut self, view: &StreamView, gathered: &Gathered<'_>, now: i64) -> Turned {
        let mut second = std::mem::take(&mut self.second);
        let part_target = view.part_target.map(|seconds| (seconds * 1e6) as u32);
        second.part_target = part_target.or(second.part_target);
        self.second.part_target = second.part_target;
        self.second.has_video = second.has_video;
        self.content.write(&mut second);
        second.lost = self.lost.iter().map(|(track, why)| (name_of(view, *track), why.clone())).collect();
        second.rebuffer = gathered.audience.and_then(|audience| {
            let minute = audience.window(now, 60_000);
            Some((minute.sums.rebuffer_ratio()?, gathered.present.map_or(0, |present| present.sessions)))
        });
        if view.state == State::Ended {
            self.live_since = None;
        } else if view.state == State::Live {
            self.live_since.get_or_insert(now);
        }
        self.health.turn(&second, view.state, now);
        self.lately.push_back(self.health.state());
        if self.lately.len() > 60 {
            self.lately.pop_front();
        }
        self.qoe = gathered.audience.map(|audience| qoe(audience, gathered.present, now));
        self.latency = latency::share(&measured(view, &second, gathered));
        self.score = score::score(&self.inputs(view.state, gathered));
        self.viewers_by = viewers_by(view, gathered.present);
        let row = self.row(view, &second, gathered, now);
        self.series.push(now.div_euclid(1_000), row);
        let minute = self.minute.turn(&row, self.summary(view, gathered, now), now);
        Turned { happened: self.tell(view, now), minute }
    }

    fn inputs(&self, state: State, gathered: &Gathered<'_>) -> Inputs {
        let qoe = self.qoe.as_ref();
        let share = |wanted: HealthState| {
            let count = self.lately.iter().filter(|state| **state == wanted).count();
            count as f64 / self.lately.len().max(1) as f64
        };
        let best = gathered.present.map(|present| present.best_kbps * 1e3).filter(|best| *best > 0.0);
        let tried =
            qoe.map(|qoe| qoe.started + qoe.failed + qoe.left_before_start).filter(|tried| *tried > 0);
        let published = matches!(state, State::Live | State::Reconnecting);
        let away = share(HealthState::Stalled) + share(HealthState::Reconnecting);
        Inputs {
            rebuffering: qoe.and_then(|qoe| qoe.rebuffer_ratio),
            startup: qoe.and_then(|qoe| qoe.startup.p95),
            failures: qoe
                .zip(tried)
                .map(|(qoe, tried)| (qoe.failed as f64 / tried as f64, qoe.failed, tried)),
            deficit: qoe
                .and_then(|qoe| qoe.bitrate)
                .zip(best)
                .map(|(is, best)| (1.0 - is / best).clamp(0.0, 1.0)),
            source: published.then(|| (share(HealthState::Degraded), away)),
        }
    }

    fn row(&self, view: &StreamView, second: &Second, gathered: &Gathered<'_>, now: i64) -> Row {
        let number = |value: Option<f64>| value.map_or(f32::NAN, |value| value as f32);
        let ticks = f64::from(second.ticks);
        let per_tick = |value: f64| (ticks > 0.0).then(|| value / ticks);
        let publishing = matches!(view.state, State::Starting | State::Live);
        let last = self.series.newest().map(|(_, row)| *row);
        // The publisher's clock of a second and this one beat; what fell between is what was there before.
        let or_before = |value: Option<f64>, column: usize| match (value, publishing) {
            (None, true) => last.map_or(f32::NAN, |row| row[column]),
            (value, _) => number(value),
        };
        let ago = |millis: i64| gathered.audience.map(|audience| audience.window(now, millis));
        let recent = ago(20_000);
        let stage = |index: usize| number(self.latency.stages.get(index).and_then(|stage| stage.seconds));
        let seconds = |micros: i64| micros as f64 / 1e6;
        let row: Row = [
            or_before(per_tick(second.bytes as f64 * 8.0), 0),
            or_before(per_tick(f64::from(second.frames)).filter(|_| second.has_video), 1),
            number(second.key_interval.map(seconds)),
            number(second.skew.map(seconds)),
            number(second.rtt.map(|micros| micros as f64 / 1e6)),
            number(second.speed),
            number(second.backlog.map(|millis| f64::from(millis) / 1e3)),
            number(second.part_lag.map(|micros| f64::from(micros) / 1e6)),
            view.viewers as f32,
            number(recent.and_then(|tally| tally.sums.rebuffer_ratio())),
            number(gathered.present.and_then(Present::latency)),
            number(self.qoe.as_ref().and_then(|qoe| qoe.startup.p95)),
            number(recent.and_then(|tally| tally.sums.bits_per_second())),
            number(self.score.as_ref().map(|score| f64::from(score.value))),
            match self.health.state() {
                HealthState::Live => 0.0,
                HealthState::Degraded => 1.0,
                HealthState::Stalled => 2.0,
                HealthState::Reconnecting => 3.0,
                HealthState::Offline | HealthState::Starting | HealthState::Ended => f32::NAN,
            },
            stage(0),
            stage(1),
            stage(2),
            stage(3),
            stage(4),
            stage(5),
            number(second.scatter.map(seconds)),
            number(second.drift_ppm.map(|ppm| f64::from(ppm) / 1e6)),
        ];
        debug_assert_eq!(row.len(), COLUMNS.len());
        row
    }

    fn summary(&self, view: &StreamView, gathered: &Gathered<'_>, now: i64) -> minute::Summary {
        let minute = gathered.audience.map(|audience| audience.window(now, 60_000).sums);
        let reasons = self.health.view().reasons;
        minute::Summary {
            stream: view.name.to_string(),
            health: self.health.state().as_str(),
            played: minute.map(|sums| [sums.play, sums.stall]),
            startup: self.qoe.as_ref().and_then(|qoe| qoe.startup.p95),
            reasons: reasons.iter().map(|reason| reason.reason).collect::<Vec<_>>().join(" "),
        }
    }

    /// What is to be told of this second.
    fn tell(&mut self, view: &StreamView, now: i64) -> Vec<Happening> {
        let state = self.health.state();
        if state != self.told {
            let of_note = matches!(state, HealthState::Live | HealthState::Degraded | HealthState::Stalled);
            let was = std::mem::replace(&mut self.told, state);
            let well_before = matches!(was, HealthState::Offline | HealthState::Starting | HealthState::Live);
            if of_note && !(state == HealthState::Live && well_before) {
                let (severity, word) = match state {
                    HealthState::Stalled => (Severity::Critical, "Stalled"),
                    HealthState::Degraded => (Severity::Warning, "Degraded"),
                    _ => (Severity::Info, "Well again"),
                };
                let why = self.health.view().reasons.into_iter().next().map(|reason| reason.text);
                let text = why
                    .filter(|_| state != HealthState::Live)
                    .map_or(format!("{word}."), |why| format!("{word}: {why}"));
                self.note("health", severity, text);
            }
        }
        let advice: Vec<String> = view.advice.iter().map(|advised| advised.text.clone()).collect();
        let kinds =
            |text: &String| text.split(|c: char| c.is_ascii_digit()).next().unwrap_or_default().to_owned();
        let known: Vec<String> = self.advised.iter().map(kinds).collect();
        for text in advice.iter().filter(|text| !known.contains(&kinds(text))) {
            self.note("advice", Severity::Info, text.clone());
        }
        self.advised = advice;
        let stream = view.name.to_string();
        let happened: Vec<Happening> = self
            .fresh
            .drain(..)
            .map(|(kind, severity, text)| Happening { at: now, stream: stream.clone(), kind, severity, text })
            .collect();
        for one in &happened {
            if self.happened.len() >= HAPPENED {
                self.happened.pop_front();
            }
            self.happened.push_back(one.clone());
        }
        happened
    }

    pub(crate) fn health(&self) -> HealthView {
        self.health.view()
    }

    pub(crate) fn state(&self) -> HealthState {
        self.health.state()
    }

    pub(crate) fn advice(&self) -> impl Iterator<Item = (&aqueduct_common::event::Advice, i64)> {
        self.health.advice()
    }

    pub(crate) fn series(&self) -> &Series {
        &self.series
    }

    pub(crate) fn happened(&self) -> impl Iterator<Item = &Happening> {
        self.happened.iter()
    }

    /// Share of the last minute that was not well.
    pub(crate) fn ill(&self) -> f64 {
        let ill = |state: &&HealthState| matches!(state, HealthState::Degraded | HealthState::Stalled);
        self.lately.iter().filter(ill).count() as f64 / self.lately.len().max(1) as f64
    }
}

fn name_of(view: &StreamView, track: u8) -> String {
    let renditions = view.transcode.iter().flat_map(|transcode| &transcode.renditions);
    let found = renditions.map(|one| &one.rendition).find(|rendition| rendition.track.0 == track);
    found.map_or_else(|| format!("track {track}"), |rendition| rendition.name.clone())
}

fn measured(view: &StreamView, second: &Second, gathered: &Gathered<'_>) -> Measured {
    let transcode = view.transcode.as_ref();
    let passes = transcode.is_none_or(|transcode| transcode.passthrough || transcode.renditions.is_empty());
    let encode =
        transcode.and_then(|transcode| transcode.tick.rungs.iter().map(|rung| rung.encode_p95_micros).max());
    let seconds = |micros: u64| micros as f64 / 1e6;
    Measured {
        rtt: second.rtt.or(view.ingest.rtt_micros).map(seconds),
        encoding: second.backlog.map(|millis| f64::from(millis) / 1e3 + encode.map_or(0.0, seconds)),
        passes,
        part: view.part_target.filter(|_| view.state == State::Live),
        lag: second.part_lag.map(|micros| f64::from(micros) / 1e6),
        relay: gathered.relay,
        player: gathered.present.and_then(Present::latency),
        buffer: gathered.present.and_then(Present::buffer),
    }
}

fn viewers_by(view: &StreamView, present: Option<&Present>) -> ViewersBy {
    let shares = |mut shares: Vec<Share>| {
        shares.sort_by(|a, b| b.viewers.cmp(&a.viewers).then(a.name.cmp(&b.name)));
        shares.truncate(SHARES);
        shares
    };
    let share = |name: String, viewers: u64| Share { name, viewers };
    let Some(present) = present else {
        let silent = (view.viewers > 0).then(|| share("silent".into(), u64::from(view.viewers)));
        return ViewersBy { player: silent.into_iter().collect(), ..ViewersBy::default() };
    };
    let name = |player: &Player| match player {
        Player::Aqueduct => "aqueduct",
        Player::Cmcd => "cmcd",
    };
    let mut player: Vec<Share> =
        present.players.iter().map(|(player, count)| share(name(player).into(), *count)).collect();
    let silent = u64::from(view.viewers).saturating_sub(present.sessions);
    player.extend((silent > 0).then(|| share("silent".into(), silent)));
    ViewersBy {
        rendition: shares(
            present.heights.iter().map(|(height, count)| share(format!("{height}p"), *count)).collect(),
        ),
        edge: shares(present.edges.iter().map(|(edge, count)| share(edge.clone(), *count)).collect()),
        player: shares(player),
    }
}
