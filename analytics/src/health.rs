//! How a stream is, second by second: the signals of QOE section 4, the state machine of QOE-25, and what the streamer
//! should change. Pure: one [`Second`] in, a [`Health`] that can be looked at.

mod judge;
mod steady;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use aqueduct_common::event::Advice;
use serde::Serialize;
use utoipa::ToSchema;

use crate::streams::State;
use judge::Finding;

/// Seconds of history that judgements look back on (the 5 min of the bitrate's median).
const HISTORY: usize = 300;

/// How a stream is (QOE-25).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum HealthState {
    /// Nobody publishes it.
    #[default]
    Offline,
    /// A publisher is there; no playlist is out yet.
    Starting,
    /// It is well.
    Live,
    /// It plays, and not as well as it should.
    Degraded,
    /// Nothing comes, or nothing goes out.
    Stalled,
    /// Its publisher is gone and may come back.
    Reconnecting,
    /// It is over.
    Ended,
}

impl HealthState {
    /// As the API writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Offline => "offline",
            Self::Starting => "starting",
            Self::Live => "live",
            Self::Degraded => "degraded",
            Self::Stalled => "stalled",
            Self::Reconnecting => "reconnecting",
            Self::Ended => "ended",
        }
    }
}

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Viewers notice.
    Warning,
    /// Viewers leave.
    Critical,
}

impl Severity {
    /// As the API writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// Why a stream is as it is.
#[derive(Clone, PartialEq, Debug, Serialize, ToSchema)]
pub struct Reason {
    /// A word from a fixed set: `low-fps`, `no-data`, ….
    pub reason: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// In plain words, with figures.
    pub text: String,
    /// Since when, in milliseconds since 1970.
    pub since: i64,
}

/// How a stream is, and why.
#[derive(Clone, PartialEq, Debug, Default, Serialize, ToSchema)]
pub struct HealthView {
    /// How.
    pub state: HealthState,
    /// Since when, in milliseconds since 1970.
    pub since: i64,
    /// Why.
    pub reasons: Vec<Reason>,
}

/// What one second brought.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Second {
    /// Reports of the publisher's session in it: as a rule one; two clocks of a second beat.
    pub ticks: u32,
    /// Bytes that came.
    pub bytes: u64,
    /// Video frames that came.
    pub frames: u32,
    /// There is a video track.
    pub has_video: bool,
    /// Frame rate of the grid, per 1 000 seconds.
    pub grid_millifps: Option<u32>,
    /// Microseconds between the two newest sync samples.
    pub key_interval: Option<i64>,
    /// Sync samples that came.
    pub keyframes: u32,
    /// Audio time minus video time as they arrived, in microseconds.
    pub skew: Option<i64>,
    /// Round trip to the publisher, in microseconds.
    pub rtt: Option<u64>,
    /// Frames that were missing from the grid.
    pub missing: u32,
    /// Parts that were published.
    pub parts: u32,
    /// The longest time from a part's last sample to its publication, in microseconds.
    pub part_lag: Option<u32>,
    /// PART-TARGET in microseconds.
    pub part_target: Option<u32>,
    /// How much faster than real time the slowest rung is encoded.
    pub speed: Option<f64>,
    /// Media on its way through the encoder, in milliseconds.
    pub backlog: Option<u32>,
    /// Source frames that the worker did not get, because it was behind.
    pub unencoded: u64,
    /// Renditions that are not made, with the reason.
    pub lost: Vec<(String, String)>,
    /// Share of viewing time that went by waiting, over the last minute, and how many sessions that is of.
    pub rebuffer: Option<(f64, u64)>,
    /// For how long nothing has been heard, in seconds.
    pub silent: u32,
    /// For how long nothing has been to be seen, in seconds.
    pub black: u32,
    /// For how long the picture has stood still, in seconds.
    pub frozen: u32,
    /// How far apart the earliest and the latest frames come, in microseconds.
    pub scatter: Option<i64>,
    /// How much faster than ours the source's clock runs, in millionths.
    pub drift_ppm: Option<i32>,
    /// Timestamps that stepped back.
    pub backward: u32,
    /// Packets that were lost on the way, and all that were sent.
    pub packets: (u64, u64),
    /// The greatest true peak of the sound that is encoded here, in dBTP.
    pub true_peak: Option<f64>,
}

/// One second of the past, as far as judgements need it.
#[derive(Clone, Copy, Debug)]
struct Past {
    bits: u64,
    frames: u32,
    skew: Option<i64>,
    missing: u32,
    unencoded: u64,
    late_parts: bool,
    parts: u32,
    low: bool,
    backward: u32,
    packets: (u64, u64),
    true_peak: Option<f64>,
}

/// Something that is so, and for how many seconds it has been or not been.
#[derive(Clone, Debug)]
struct Held {
    finding: Finding,
    for_seconds: u32,
    gone_for: u32,
    /// When it was taken as certain.
    since: Option<i64>,
}

/// A stream's health over time.
#[derive(Clone, Debug, Default)]
pub struct Health {
    state: HealthState,
    since: i64,
    held: Vec<Held>,
    past: VecDeque<Past>,
    /// Seconds since the publisher came.
    age: u32,
    /// Seconds since bytes came.
    idle: u32,
    /// Seconds since parts went out.
    dry: u32,
    /// Seconds since a sync sample came.
    keyless: u32,
    /// Frame rate that is expected, per 1 000 seconds, and how long another has held.
    expected: Option<u32>,
    other_grid: (u32, u32),
    /// Seconds of `age` at which the uplink stalled.
    stalls: VecDeque<u32>,
    /// Microseconds between sync samples of late.
    intervals: VecDeque<i64>,
}

impl Health {
    /// A publisher comes, or comes back: what was measured of the one before says nothing.
    pub fn begin(&mut self) {
        *self = Self { state: self.state, since: self.since, ..Self::default() };
    }

    /// Takes what a second brought, at `now` (milliseconds since 1970).
    pub fn turn(&mut self, second: &Second, life: State, now: i64) {
        let publishing = matches!(life, State::Starting | State::Live);
        if publishing {
            self.remember(second);
            let found = self.judge(second, life);
            self.hold(found, now);
        } else {
            self.held.clear();
        }
        let state = match life {
            State::Ended => HealthState::Ended,
            State::Reconnecting => HealthState::Reconnecting,
            State::Starting => HealthState::Starting,
            State::Live => self.of_live(),
        };
        if state != self.state || self.since == 0 {
            self.state = state;
            self.since = now;
        }
    }

    fn of_live(&self) -> HealthState {
        let mut certain = self.held.iter().filter(|held| held.since.is_some());
        if certain.clone().any(|held| held.finding.stalls) {
            HealthState::Stalled
        } else if certain.any(|held| held.finding.severity >= Severity::Warning) {
            HealthState::Degraded
        } else {
            HealthState::Live
        }
    }

    fn remember(&mut self, second: &Second) {
        self.age = self.age.saturating_add(1);
        let per_tick = |value: u64| value / u64::from(second.ticks.max(1));
        // A second in which the publisher's clock did not strike says nothing; three of them say that nothing comes.
        if second.ticks > 0 || self.idle > 0 {
            self.idle = if second.bytes > 0 { 0 } else { self.idle + 1 };
        } else {
            self.idle += 1;
        }
        self.dry = if second.parts > 0 { 0 } else { self.dry.saturating_add(1) };
        self.keyless = if second.keyframes > 0 { 0 } else { self.keyless.saturating_add(1) };
        let last = self.past.back().copied();
        let (bits, frames) = match (second.ticks, last) {
            (0, Some(last)) if self.idle <= 1 => (last.bits, last.frames),
            _ => (per_tick(second.bytes * 8), per_tick(u64::from(second.frames)) as u32),
        };
        let usual = self.usual_bits();
        let low = second.ticks > 0 && usual.is_some_and(|usual| bits * 10 < usual);
        if low && !last.is_some_and(|last| last.low) {
            self.stalls.push_back(self.age);
        }
        while self.stalls.front().is_some_and(|at| self.age - at > 180) {
            self.stalls.pop_front();
        }
        let late_parts =
            second.part_lag.zip(second.part_target).is_some_and(|(lag, target)| lag > target / 2);
        if self.past.len() >= HISTORY {
            self.past.pop_front();
        }
        self.past.push_back(Past {
            bits,
            frames,
            skew: second.skew,
            missing: second.missing,
            unencoded: second.unencoded,
            late_parts,
            parts: second.parts,
            low,
            backward: second.backward,
            packets: second.packets,
            true_peak: second.true_peak,
        });
        self.note_interval(second);
        self.expect_rate(second.grid_millifps);
    }

    /// The rate that held longest is what the encoder means to send. Another one is believed when it has held for five
    /// minutes, or for ten seconds where it is higher.
    fn expect_rate(&mut self, grid: Option<u32>) {
        let Some(grid) = grid else {
            self.other_grid = (0, 0);
            return;
        };
        if self.expected.is_some_and(|expected| expected.abs_diff(grid) * 100 < expected) {
            self.other_grid = (0, 0);
            return;
        }
        let (rate, held) = self.other_grid;
        self.other_grid = if rate.abs_diff(grid) * 100 <= grid { (grid, held + 1) } else { (grid, 1) };
        let patience = if self.expected.is_none_or(|expected| grid > expected) { 10 } else { HISTORY as u32 };
        if self.other_grid.1 >= patience {
            self.expected = Some(grid);
            self.other_grid = (0, 0);
        }
    }

    /// The median of what came in the last five minutes, but for the last ten seconds; `None` before there are twenty.
    fn usual_bits(&self) -> Option<u64> {
        let count = self.past.len().checked_sub(10).filter(|count| *count >= 20)?;
        let mut bits: Vec<u64> = self.past.iter().take(count).map(|past| past.bits).collect();
        let (_, median, _) = bits.select_nth_unstable(count / 2);
        (*median > 200_000).then_some(*median)
    }

    /// The last `seconds`, newest last.
    fn last(&self, seconds: usize) -> impl Iterator<Item = &Past> + Clone {
        self.past.iter().skip(self.past.len().saturating_sub(seconds))
    }

    /// What is found becomes certain when it lasts, and is over when it has been gone for a while.
    fn hold(&mut self, found: Vec<Finding>, now: i64) {
        for held in &mut self.held {
            if !found.iter().any(|finding| finding.reason == held.finding.reason) {
                held.gone_for += 1;
                held.for_seconds = 0;
            }
        }
        self.held.retain(|held| match held.since {
            Some(_) => held.gone_for < held.finding.leaves_after(),
            None => held.gone_for == 0,
        });
        for finding in found {
            let same = |held: &&mut Held| held.finding.reason == finding.reason;
            let held = match self.held.iter_mut().find(same) {
                Some(held) => {
                    held.gone_for = 0;
                    held.for_seconds += 1;
                    held.finding = finding;
                    held
                }
                None => {
                    self.held.push(Held { finding, for_seconds: 1, gone_for: 0, since: None });
                    let last = self.held.len() - 1;
                    &mut self.held[last]
                }
            };
            if held.since.is_none() && held.for_seconds >= held.finding.enters_after() {
                held.since = Some(now);
            }
        }
    }

    /// How it is.
    pub fn state(&self) -> HealthState {
        self.state
    }

    /// How it is, and why.
    pub fn view(&self) -> HealthView {
        let reasons = self.held.iter().filter_map(|held| {
            let Finding { reason, severity, text, .. } = &held.finding;
            Some(Reason { reason, severity: *severity, text: text.clone(), since: held.since? })
        });
        let mut reasons: Vec<Reason> = reasons.collect();
        reasons.sort_by(|a, b| b.severity.cmp(&a.severity).then(a.since.cmp(&b.since)));
        HealthView { state: self.state, since: self.since, reasons }
    }

    /// What the streamer should change, and since when.
    pub fn advice(&self) -> impl Iterator<Item = (&Advice, i64)> {
        self.held.iter().filter_map(|held| Some((held.finding.advice.as_ref()?, held.since?)))
    }
}
