//! One viewer's session, from what its player says: pure, with the time of receipt passed in.

use std::sync::Arc;

use aqueduct_common::StreamName;
use serde::Serialize;

use super::sums::Sums;
use crate::beacon::{self, Beacon};
use crate::cmcd::{Cmcd, ObjectType, PlayState};

/// More than a clock may be off between two reports, in milliseconds: they come over other ways than their clock.
const SLACK: f64 = 5_000.0;
/// A player that says nothing for longer has not been playing all along, as far as anybody knows (milliseconds).
const SILENT: i64 = 60_000;
/// As long as a player without a word on its buffer is taken to play on (milliseconds).
const PLAYS_ON: i64 = 10_000;
/// What a first report may claim to have lived through before it (milliseconds).
const BEFORE: f64 = 6.0 * 3_600_000.0;
/// Switches that go back and forth within [`OSCILLATING_WITHIN`] are an oscillation from this many on (QOE-20).
const OSCILLATING: usize = 4;
const OSCILLATING_WITHIN: i64 = 30_000;
/// How long a node goes on counting who has left it, in milliseconds (QOE-23).
const COUNTED_FOR: i64 = 30_000;
/// Nodes that are remembered for it.
const NODES: usize = 2;

/// How a session speaks.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Player {
    /// Our page, by its beacon.
    Aqueduct,
    /// Any player, by CMCD.
    Cmcd,
}

/// What became of it (QOE-17).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// No picture yet.
    Starting,
    /// It plays, or did when it was last heard.
    Playing,
    /// It ended after it had played.
    Ended,
    /// It failed before its first picture, or for good.
    Failed,
    /// It was not let in.
    Refused,
    /// It left before its first picture.
    LeftBeforeStart,
}

/// What a report did to a session.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Heard {
    /// What was lived through since the report before.
    pub delta: Sums,
    /// The first picture is on screen.
    pub started: bool,
    /// It came so long after the wish, in milliseconds, where that is known.
    pub startup: Option<f64>,
    /// The attempt ended without a picture.
    pub ended: Option<Outcome>,
    /// The first stall of the session.
    pub first_stall: bool,
}

/// One session.
#[derive(Clone, Debug)]
pub struct Session {
    /// What it calls itself, shortened: enough to find it again, too little to be it.
    pub short: Box<str>,
    /// The stream.
    pub stream: StreamName,
    /// Who speaks.
    pub player: Player,
    /// Which node it was last heard by.
    pub edge: Arc<str>,
    /// When it began, in milliseconds since 1970.
    pub began: i64,
    /// When it was last heard.
    pub heard: i64,
    /// It has shown a picture.
    pub started: bool,
    /// From the wish to play to the first picture, in milliseconds, where somebody measured it.
    pub startup: Option<f64>,
    /// What it lived through.
    pub sums: Sums,
    /// What it does now, in a word.
    pub doing: &'static str,
    /// What became of it.
    pub outcome: Outcome,
    /// From capture to screen, in milliseconds, when it was last told.
    pub latency: Option<f64>,
    /// Buffered media, in milliseconds, when it was last told.
    pub buffer: Option<f64>,
    /// Bitrate on screen, in kilobits a second.
    pub kbps: Option<f64>,
    /// Height on screen, in pixels.
    pub height: Option<u32>,
    /// It switched back and forth (QOE-20).
    pub oscillating: bool,
    /// It said goodbye, or was silent for long.
    pub closed: bool,
    talk: Talk,
    switches: [(i64, bool); OSCILLATING],
    /// Nodes that it has left, and when; most never do.
    left: Option<Box<Left>>,
}

type Left = [Option<(Arc<str>, i64)>; NODES];

/// What is remembered of what it said.
#[derive(Clone, Debug, Default)]
struct Talk {
    /// Number of the newest report.
    number: u32,
    /// Its counters.
    told: Sums,
    /// What it had lived through when it was first heard.
    lived: f64,
    /// Time of the newest report that moved time on, by the clock that its reports go by.
    at: Option<i64>,
    first: Option<i64>,
    /// That was by its own clock.
    first_own: bool,
    state: Option<PlayState>,
    /// When it said that it plays, by its own clock, if nothing told when its start began.
    played: Option<i64>,
    /// It sends events of its own accord: requests no longer move time on.
    evented: bool,
    /// When media was last asked for, and what was buffered then.
    media: Option<(i64, i64)>,
}

impl Session {
    /// One that is heard for the first time.
    pub fn new(name: &str, stream: StreamName, player: Player, edge: Arc<str>, at: i64) -> Self {
        let short = name.chars().take(8).collect::<String>().into();
        Self {
            short,
            stream,
            player,
            edge,
            began: at,
            heard: at,
            started: false,
            startup: None,
            sums: Sums::default(),
            doing: "starting",
            outcome: Outcome::Starting,
            latency: None,
            buffer: None,
            kbps: None,
            height: None,
            oscillating: false,
            closed: false,
            talk: Talk::default(),
            switches: [(0, false); OSCILLATING],
            left: None,
        }
    }

    /// It is heard by this node from `at` on.
    pub fn came_to(&mut self, edge: &Arc<str>, at: i64) {
        if self.edge == *edge {
            return;
        }
        let before = std::mem::replace(&mut self.edge, edge.clone());
        let left = self.left.get_or_insert_default();
        left.rotate_right(1);
        left[0] = Some((before, at));
    }

    /// By how many nodes besides its own it is counted at `now`. `counts` says whether a node is there to do so.
    pub fn counted_besides(&self, now: i64, counts: impl Fn(&str) -> bool) -> u32 {
        let mut before: Vec<&Arc<str>> = Vec::new();
        for (node, at) in self.left.iter().flat_map(|left| left.iter().flatten()) {
            let counted = now - at < COUNTED_FOR && *node != self.edge && counts(node);
            if counted && !before.contains(&node) {
                before.push(node);
            }
        }
        before.len() as u32
    }

    /// Takes a beacon that came at `at`. One that was overtaken by a later one says nothing new.
    pub fn beacon(&mut self, beacon: &Beacon, at: i64) -> Heard {
        let mut heard = Heard::default();
        if beacon.seq <= self.talk.number {
            return heard;
        }
        let first = self.talk.number == 0;
        self.talk.number = beacon.seq;
        let told = counters(&beacon.cum);
        let since = (at - *self.talk.first.get_or_insert(at)).max(0) as f64;
        let lived = self.sums.play + self.sums.stall;
        // Nothing that a viewer claims makes more time than passed: one liar must not outweigh an audience.
        let most = if first { BEFORE } else { since * 1.2 + SLACK + self.talk.lived - lived };
        heard.delta = told.since(self.talk.told).within(most.max(0.0));
        self.talk.told = told;
        if first {
            self.talk.lived = heard.delta.play + heard.delta.stall;
            self.began = at - (self.talk.lived + beacon.startup_ms.unwrap_or_default()) as i64;
        }
        self.revive(at);
        self.note_switches(heard.delta.up, heard.delta.down, at);
        heard.first_stall = self.sums.stalls == 0.0 && heard.delta.stalls > 0.0;
        self.sums.add(heard.delta);
        self.latency = beacon.now.latency_ms;
        self.buffer = beacon.now.buffer_ms;
        self.kbps = beacon.now.kbps.or(self.kbps);
        self.height = beacon.now.height.map(|height| height as u32).or(self.height);
        if let (false, Some(millis)) = (self.started, beacon.startup_ms) {
            self.start(Some(millis), &mut heard);
        }
        self.become_of(beacon.state, beacon.status, &mut heard);
        heard
    }

    fn become_of(&mut self, state: beacon::State, status: Option<u16>, heard: &mut Heard) {
        let (doing, end) = match state {
            beacon::State::Starting => ("starting", None),
            beacon::State::Playing => ("playing", None),
            beacon::State::Stalled => ("stalled", None),
            beacon::State::Paused => ("paused", None),
            beacon::State::Waiting => ("waiting", None),
            beacon::State::Left => ("left", Some(Outcome::LeftBeforeStart)),
            beacon::State::Failed => {
                let refused = matches!(status, Some(401 | 403));
                ("failed", Some(if refused { Outcome::Refused } else { Outcome::Failed }))
            }
        };
        self.doing = doing;
        if let Some(end) = end {
            self.end(end, heard);
        }
    }

    /// Takes a CMCD list that came at `at`.
    pub fn cmcd(&mut self, list: &Cmcd, at: i64) -> Heard {
        let mut heard = Heard::default();
        self.revive(at);
        if let Some(buffer) = list.buffer_millis.filter(|_| list.object != Some(ObjectType::Audio)) {
            self.buffer = Some(f64::from(buffer));
        }
        if let Some(latency) = list.latency_millis {
            self.latency = Some(f64::from(latency));
        }
        let own = list.occasion.is_some() && list.sent_millis.is_some();
        if own && list.state.is_some() && !std::mem::replace(&mut self.talk.evented, true) {
            // From here on time goes by the player's own clock.
            self.talk.at = None;
        }
        match list.state {
            Some(state) if own || !self.talk.evented => {
                let clock = if own { list.sent_millis.unwrap_or(at) } else { at };
                self.states(list, state, clock, at, &mut heard);
            }
            None if !self.talk.evented => self.requests(list, at, &mut heard),
            _ => {}
        }
        self.absolute(list, &mut heard);
        self.shown(list, at, &mut heard);
        self.sums.add(heard.delta);
        heard
    }

    /// Version 2: states with their times.
    fn states(&mut self, list: &Cmcd, state: PlayState, clock: i64, at: i64, heard: &mut Heard) {
        let before = self.talk.at;
        if before.is_some_and(|before| clock < before) {
            self.learn_start(state, clock, heard);
            return;
        }
        let passed = before.map_or(0, |before| (clock - before).min(SILENT)) as f64;
        let own = list.occasion.is_some() && list.sent_millis.is_some();
        self.talk.first_own |= own && self.talk.first.is_none();
        let first = *self.talk.first.get_or_insert(clock);
        self.talk.at = Some(clock);
        match self.talk.state {
            Some(PlayState::Playing) => heard.delta.play += passed,
            Some(PlayState::Rebuffering) if self.started => heard.delta.stall += passed,
            _ => {}
        }
        if state == PlayState::Playing && !self.started {
            // Who was first heard by a request has its start measured here: its own clock may be another.
            let seen = if self.talk.first_own { clock - first } else { at - self.began };
            // A start takes some time: a player that says 0 has not measured it, and one whose first word is that it
            // plays has not told when it began.
            let told = list.start_millis.map(i64::from).filter(|millis| *millis > 0);
            let known = told.or(Some(seen).filter(|millis| *millis > 0));
            self.talk.played = known.is_none().then_some(clock);
            self.start(known.map(|millis| millis as f64), heard);
        }
        // A request for media may overtake the word that it plays, and then has told of no start.
        let unknown = self.started && self.startup.is_none() && self.talk.played.is_none();
        if state == PlayState::Playing && unknown && (1..PLAYS_ON).contains(&(at - self.began)) {
            self.startup = Some((at - self.began) as f64);
            heard.startup = self.startup;
        }
        let stalls = state == PlayState::Rebuffering && self.talk.state == Some(PlayState::Playing);
        if stalls && list.stalls.is_none() {
            heard.first_stall = self.sums.stalls == 0.0;
            heard.delta.stalls += 1.0;
        }
        self.talk.state = Some(state);
        self.doing = match state {
            PlayState::Starting => "starting",
            PlayState::Playing => "playing",
            PlayState::Seeking => "seeking",
            PlayState::Rebuffering if !self.started => "starting",
            PlayState::Rebuffering => "stalled",
            PlayState::Paused => "paused",
            PlayState::Ended => "ended",
            PlayState::Failed => "failed",
            PlayState::Quit => "left",
        };
        match state {
            PlayState::Failed => self.end(Outcome::Failed, heard),
            PlayState::Quit | PlayState::Ended => self.end(Outcome::LeftBeforeStart, heard),
            _ => {}
        }
    }

    /// The word that a start began may be overtaken by the word that it plays: each takes a connection of its own.
    fn learn_start(&mut self, state: PlayState, clock: i64, heard: &mut Heard) {
        if state != PlayState::Starting {
            return;
        }
        if let Some(played) = self.talk.played.take_if(|played| *played > clock) {
            self.startup = Some((played - clock) as f64);
            heard.startup = self.startup;
        }
    }

    /// Version 1: only requests, each with what is buffered. A session plays from the first request for media that is
    /// not of a start; a starved one stalled from when its buffer had run out until it asked again.
    fn requests(&mut self, list: &Cmcd, at: i64, heard: &mut Heard) {
        let first = *self.talk.first.get_or_insert(at);
        let media = !matches!(list.object, Some(ObjectType::Manifest | ObjectType::Other));
        let before = self.talk.at.replace(at).unwrap_or(at);
        if self.started {
            let buffered = self.talk.media.map_or(PLAYS_ON, |(_, buffered)| buffered + 2_000);
            let passed = (at - before).clamp(0, buffered.min(SILENT)) as f64;
            let mut stall = 0.0;
            if list.starved {
                heard.first_stall = self.sums.stalls == 0.0;
                heard.delta.stalls += 1.0;
                if let Some((asked, buffered)) = self.talk.media {
                    stall = ((at - asked - buffered).max(0) as f64).min((at - before) as f64);
                }
            }
            heard.delta.stall += stall;
            heard.delta.play += (passed - stall).max(0.0);
        } else if media && !list.starting {
            // As below: 0 was not measured.
            let told = list.start_millis.map(i64::from).filter(|millis| *millis > 0);
            let known = told.or(Some(at - first)).filter(|millis| *millis > 0);
            self.start(known.map(|millis| millis as f64), heard);
        }
        if self.started {
            self.doing = "playing";
        }
        if media && let Some(buffered) = list.buffer_millis {
            self.talk.media = Some((at, i64::from(buffered)));
        }
    }

    /// Sums that the player keeps itself are better than what is made of states and requests.
    fn absolute(&mut self, list: &Cmcd, heard: &mut Heard) {
        if let Some(stalls) = list.stalls {
            heard.first_stall = self.sums.stalls == 0.0 && stalls > 0;
            heard.delta.stalls = (f64::from(stalls) - self.sums.stalls).max(0.0);
        }
        if let Some(millis) = list.stall_millis {
            heard.delta.stall = (f64::from(millis) - self.sums.stall).max(0.0);
        }
        if let Some(dropped) = list.dropped_frames {
            heard.delta.dropped = (f64::from(dropped) - self.sums.dropped).max(0.0);
        }
    }

    /// What is on screen while `delta` went by.
    fn shown(&mut self, list: &Cmcd, at: i64, heard: &mut Heard) {
        let play = heard.delta.play;
        if let Some(kbps) = self.kbps {
            heard.delta.bitrate += kbps * play;
            heard.delta.bitrate_known += play;
        }
        if let Some(latency) = self.latency {
            heard.delta.latency += latency * play;
            heard.delta.latency_known += play;
        }
        let asked = list.bitrate_kbps.filter(|_| list.object == Some(ObjectType::Video));
        let Some(kbps) = list.playhead_kbps.or(asked).map(f64::from) else { return };
        if let Some(before) = self.kbps.filter(|before| self.started && *before != kbps) {
            let (up, down) = if kbps > before { (1.0, 0.0) } else { (0.0, 1.0) };
            heard.delta.up += up;
            heard.delta.down += down;
            self.note_switches(up, down, at);
        }
        self.kbps = Some(kbps);
    }

    fn start(&mut self, millis: Option<f64>, heard: &mut Heard) {
        self.started = true;
        self.startup = millis;
        self.outcome = Outcome::Playing;
        heard.started = true;
        heard.startup = millis;
    }

    fn end(&mut self, before_start: Outcome, heard: &mut Heard) {
        if self.started {
            self.outcome = if before_start == Outcome::Failed { Outcome::Failed } else { Outcome::Ended };
        } else if self.outcome == Outcome::Starting {
            self.outcome = before_start;
            heard.ended = Some(before_start);
        }
        self.closed = true;
    }

    /// It speaks again. Whoever was taken to be gone is back.
    fn revive(&mut self, at: i64) {
        self.heard = self.heard.max(at);
        if std::mem::take(&mut self.closed) && self.outcome == Outcome::Ended {
            self.outcome = Outcome::Playing;
        }
    }

    /// It has been silent for long (QOE-15).
    pub fn fall_silent(&mut self) -> Option<Outcome> {
        let mut heard = Heard::default();
        self.end(Outcome::LeftBeforeStart, &mut heard);
        self.doing = "gone";
        heard.ended
    }

    fn note_switches(&mut self, up: f64, down: f64, at: i64) {
        // Within one report their order is not known: back and forth is what it most likely was.
        let (mut up, mut down) = (up as usize, down as usize);
        for _ in 0..(up + down).min(2 * OSCILLATING) {
            let upward = if up >= down { true } else { down == 0 };
            if upward {
                up = up.saturating_sub(1)
            } else {
                down = down.saturating_sub(1)
            }
            self.switches.rotate_left(1);
            self.switches[OSCILLATING - 1] = (at, upward);
        }
        let alternates = self.switches.windows(2).all(|pair| pair[0].1 != pair[1].1);
        let recent = self.switches[0].0 != 0 && at - self.switches[0].0 <= OSCILLATING_WITHIN;
        self.oscillating = alternates && recent;
    }
}

fn counters(cum: &beacon::Counters) -> Sums {
    Sums {
        play: cum.play_ms,
        stall: cum.stall_ms,
        stalls: cum.stalls,
        up: cum.up,
        down: cum.down,
        dropped: cum.dropped,
        frames: cum.frames,
        bitrate: cum.bitrate_ms,
        bitrate_known: if cum.bitrate_ms > 0.0 { cum.play_ms } else { 0.0 },
        latency: cum.latency_ms,
        latency_known: cum.latency_known_ms,
    }
}
