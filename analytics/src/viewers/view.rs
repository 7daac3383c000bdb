//! What players report, as the API shows it.

use std::collections::HashMap;

use aqueduct_common::StreamName;
use serde::Serialize;
use utoipa::ToSchema;

use super::audience::{Audience, percentile};
use super::session::{Outcome, Player, Session};
use super::{Tally, Viewers};
use crate::store::SessionRecord;

/// The window of a stream's figures, in milliseconds.
pub(crate) const WINDOW: i64 = 300_000;
/// A session that was not heard for longer says nothing of this moment (milliseconds).
const PRESENT: i64 = 40_000;

/// Percentiles of the time to the first picture, in seconds.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, ToSchema)]
pub struct StartupView {
    /// Half of the viewers have it sooner.
    pub p50: Option<f64>,
    /// Nine of ten have it sooner.
    pub p90: Option<f64>,
    /// Nineteen of twenty have it sooner.
    pub p95: Option<f64>,
}

/// Percentiles of the time from capture to screen, in seconds.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, ToSchema)]
pub struct Spread {
    /// Half of the viewers are nearer.
    pub p50: Option<f64>,
    /// Nineteen of twenty are nearer.
    pub p95: Option<f64>,
}

/// What viewers of a stream live through, over the last five minutes.
#[derive(Clone, PartialEq, Debug, Default, Serialize, ToSchema)]
pub struct QoeView {
    /// Seconds that it is of.
    pub window: u32,
    /// Sessions that are open.
    pub sessions: u64,
    /// Attempts that began in the window.
    pub attempts: u64,
    /// Those that showed a picture.
    pub started: u64,
    /// Those that failed before.
    pub failed: u64,
    /// Those that were not let in.
    pub refused: u64,
    /// Those that left before.
    pub left_before_start: u64,
    /// Time to the first picture.
    pub startup: StartupView,
    /// Share of viewing time that went by waiting.
    pub rebuffer_ratio: Option<f64>,
    /// Stalls.
    pub stalls: u64,
    /// Sessions that stalled for the first time.
    pub stalled_sessions: u64,
    /// Stalls in an hour of viewing.
    pub stalls_per_hour: Option<f64>,
    /// Switches of rendition in a minute of viewing.
    pub switches_per_minute: Option<f64>,
    /// Sessions that switch back and forth.
    pub oscillating: u64,
    /// Mean bitrate on screen, in bits a second.
    pub bitrate: Option<f64>,
    /// From capture to screen.
    pub latency: Spread,
    /// `player` where players compare their clock with the stream's date.
    pub latency_by: Option<&'static str>,
    /// Seconds played.
    pub play_seconds: f64,
    /// Seconds waited.
    pub stall_seconds: f64,
    /// Share of frames that were not shown.
    pub dropped_frames_ratio: Option<f64>,
}

/// A session as the API shows it.
#[derive(Clone, PartialEq, Debug, Serialize, ToSchema)]
pub struct SessionView {
    /// The first characters of what it calls itself.
    pub session: String,
    /// The stream.
    pub stream: String,
    /// Who speaks.
    #[schema(value_type = String)]
    pub player: Player,
    /// Which node serves it.
    pub edge: String,
    /// When it began, in milliseconds since 1970.
    pub began: i64,
    /// When it was last heard.
    pub heard: i64,
    /// What it does.
    pub state: &'static str,
    /// Seconds to the first picture.
    pub startup: Option<f64>,
    /// Seconds played.
    pub play: f64,
    /// Seconds waited.
    pub stall: f64,
    /// Share of the two that went by waiting.
    pub rebuffer_ratio: Option<f64>,
    /// Stalls.
    pub stalls: u64,
    /// Switches of rendition.
    pub switches: u64,
    /// It switches back and forth.
    pub oscillating: bool,
    /// Mean bitrate on screen, in bits a second.
    pub bitrate: Option<f64>,
    /// Height on screen, in pixels.
    pub height: Option<u32>,
    /// Mean latency in seconds.
    pub latency: Option<f64>,
    /// Buffered media in seconds.
    pub buffer: Option<f64>,
    /// Frames that were not shown.
    pub dropped_frames: u64,
    /// What became of it.
    #[schema(value_type = String)]
    pub outcome: Outcome,
}

/// How many viewers have something.
#[derive(Clone, PartialEq, Debug, Serialize, ToSchema)]
pub struct Share {
    /// What.
    pub name: String,
    /// How many.
    pub viewers: u64,
}

/// What the open sessions of one stream say of this moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Present {
    pub(crate) sessions: u64,
    pub(crate) latencies: Vec<f32>,
    pub(crate) buffers: Vec<f32>,
    pub(crate) oscillating: u64,
    pub(crate) best_kbps: f64,
    pub(crate) heights: HashMap<u32, u64>,
    pub(crate) edges: HashMap<String, u64>,
    pub(crate) players: HashMap<Player, u64>,
}

impl Present {
    fn add(&mut self, session: &Session) {
        self.sessions += 1;
        self.oscillating += u64::from(session.oscillating);
        *self.edges.entry(session.edge.to_string()).or_default() += 1;
        *self.players.entry(session.player).or_default() += 1;
        if let Some(height) = session.height {
            *self.heights.entry(height).or_default() += 1;
        }
        if session.doing == "playing" {
            self.latencies.extend(session.latency.map(|millis| millis as f32));
            self.buffers.extend(session.buffer.map(|millis| millis as f32));
            self.best_kbps = self.best_kbps.max(session.kbps.unwrap_or_default());
        }
    }

    /// Sorts what percentiles are taken of.
    fn settle(&mut self) {
        self.latencies.sort_by(f32::total_cmp);
        self.buffers.sort_by(f32::total_cmp);
    }

    /// Median latency in seconds.
    pub(crate) fn latency(&self) -> Option<f64> {
        percentile(&self.latencies, 0.5).map(seconds)
    }

    /// Median buffer in seconds.
    pub(crate) fn buffer(&self) -> Option<f64> {
        percentile(&self.buffers, 0.5).map(seconds)
    }
}

fn seconds(millis: f32) -> f64 {
    f64::from(millis) / 1e3
}

impl Viewers {
    /// What open sessions say of this moment, by stream.
    pub(crate) fn present(&self, now: i64) -> HashMap<StreamName, Present> {
        let mut present: HashMap<StreamName, Present> = HashMap::new();
        for session in self.open().filter(|session| now - session.heard < PRESENT) {
            present.entry(session.stream.clone()).or_default().add(session);
        }
        present.values_mut().for_each(Present::settle);
        present
    }

    /// A stream's sessions, those heard last first, at most `limit`, and how many there are.
    pub fn sessions(&self, stream: &StreamName, limit: usize) -> (usize, Vec<SessionView>) {
        let mut sessions: Vec<&Session> = self.of(stream).collect();
        sessions.sort_by_key(|session| std::cmp::Reverse(session.heard));
        (sessions.len(), sessions.into_iter().take(limit).map(Session::view).collect())
    }
}

/// What viewers of a stream live through.
pub(crate) fn qoe(audience: &Audience, present: Option<&Present>, now: i64) -> QoeView {
    let Tally { sums, attempts, started, failed, refused, left, stalled } = audience.window(now, WINDOW);
    let starts = audience.starts(now);
    let start = |share| percentile(&starts, share).map(seconds);
    let hours = sums.play / 3_600_000.0;
    let latencies = present.map(|present| present.latencies.as_slice()).unwrap_or_default();
    QoeView {
        window: (WINDOW / 1_000) as u32,
        sessions: present.map_or(0, |present| present.sessions),
        attempts,
        started,
        failed,
        refused,
        left_before_start: left,
        startup: StartupView { p50: start(0.5), p90: start(0.9), p95: start(0.95) },
        rebuffer_ratio: sums.rebuffer_ratio(),
        stalls: sums.stalls as u64,
        stalled_sessions: stalled,
        stalls_per_hour: (hours > 0.0).then(|| sums.stalls / hours),
        switches_per_minute: (hours > 0.0).then(|| (sums.up + sums.down) / hours / 60.0),
        oscillating: present.map_or(0, |present| present.oscillating),
        bitrate: sums.bits_per_second(),
        latency: Spread {
            p50: percentile(latencies, 0.5).map(seconds),
            p95: percentile(latencies, 0.95).map(seconds),
        },
        latency_by: (!latencies.is_empty()).then_some("player"),
        play_seconds: sums.play / 1e3,
        stall_seconds: sums.stall / 1e3,
        dropped_frames_ratio: (sums.frames > 0.0).then(|| sums.dropped / sums.frames),
    }
}

impl Session {
    fn view(&self) -> SessionView {
        SessionView {
            session: self.short.to_string(),
            stream: self.stream.to_string(),
            player: self.player,
            edge: self.edge.to_string(),
            began: self.began,
            heard: self.heard,
            state: self.doing,
            startup: self.startup.map(|millis| millis / 1e3),
            play: self.sums.play / 1e3,
            stall: self.sums.stall / 1e3,
            rebuffer_ratio: self.sums.rebuffer_ratio(),
            stalls: self.sums.stalls as u64,
            switches: (self.sums.up + self.sums.down) as u64,
            oscillating: self.oscillating,
            bitrate: self.sums.bits_per_second(),
            height: self.height,
            latency: self.sums.mean_latency().map(|millis| millis / 1e3),
            buffer: self.buffer.map(|millis| millis / 1e3),
            dropped_frames: self.sums.dropped as u64,
            outcome: self.outcome,
        }
    }

    /// As it is kept. `live_since` is when the broadcast began, in milliseconds since 1970.
    pub(crate) fn record(&self, live_since: Option<i64>) -> SessionRecord {
        let view = self.view();
        let broadcast = live_since.map(|since| (self.heard - since) as f64).filter(|millis| *millis > 0.0);
        SessionRecord {
            key: format!("{}/{}/{}", view.stream, view.began, view.session),
            stream: view.stream,
            session: view.session,
            player: match self.player {
                Player::Aqueduct => "aqueduct",
                Player::Cmcd => "cmcd",
            }
            .into(),
            edge: view.edge,
            outcome: serde_json::to_value(self.outcome)
                .ok()
                .and_then(|word| word.as_str().map(str::to_owned))
                .unwrap_or_default(),
            span: [self.began, self.heard],
            startup: view.startup,
            time: [view.play, view.stall],
            counts: [self.sums.stalls, self.sums.up, self.sums.down, self.sums.dropped],
            bitrate: view.bitrate,
            latency: view.latency,
            completion: broadcast.map(|millis| (self.sums.play / millis).min(1.0)),
        }
    }
}
