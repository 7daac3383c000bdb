//! One publisher's stamps, repaired: unrolled, freed of jumps, both tracks on one continuous axis (TL-6..9, RTMP-42).
//!
//! The axis begins where the first stamp lies and goes on through wraps and jumps. A frame before which media is
//! missing, or before which stamps jumped, is marked [`Placed::breaks`].

use std::collections::VecDeque;

use aqueduct_common::event::Anomaly;
use aqueduct_common::{TrackKind, WallTime};

use super::arrival::ArrivalClock;
use super::counts::Counts;
use super::flicks::{self, MILLI, SECOND};
use super::unwrap::Unwrap;
use crate::demux::CodedFrame;

/// Beyond this a step backwards is a jump, and one forwards an outage (TL-7).
const STEP_MAX: i64 = SECOND;
/// Beyond this a step forwards is an outage only where as much time went by between arrivals (TL-7).
const OUTAGE_MAX: i64 = 10 * SECOND;
/// A step that differs from the time that went by between arrivals by no more than this is what really happened, and
/// a frame may come this much earlier than its track's frames did at best.
const ARRIVAL_TOLERANCE: i64 = SECOND;
/// How long one track's jump waits for the other's (TL-8).
const AGREE_WITHIN: i64 = 500 * MILLI;
/// Two tracks jumped alike when their steps differ by no more than this (TL-8).
const ALIKE: i64 = 100 * MILLI;
/// A track that was silent this long has no say in whether a jump is common.
const ACTIVE_WITHIN: i64 = 2 * SECOND;
/// Two tracks' first stamps may lie this far apart beyond what their arrivals explain (RTMP-43).
const START_SKEW_MAX: i64 = 10 * SECOND;
/// How fast a track's lead is forgotten, per frame: faster than clocks drift.
const LEAD_DECAY: i64 = MILLI / 50;
/// Frames held while a jump is undecided.
const HELD_MAX: usize = 512;
/// Steps backwards in a row that are no reordering any more.
const NOISE_MAX: u8 = 5;
/// Discontinuities within [`RESTLESS_WITHIN`] after which stamps are no longer believed (TL-9).
const RESTLESS: usize = 3;
const RESTLESS_WITHIN: i64 = 30 * SECOND;

/// When a frame came: on the monotonic clock in flicks since the timeline began, and in UTC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Arrival {
    pub(super) at: i64,
    pub(super) wall: WallTime,
    /// How long it was under way, in microseconds, where the publisher's clock says so; else 0.
    pub(super) delay: i64,
}

impl Arrival {
    /// When it was captured, as well as that is known (TL-34).
    pub(super) const fn captured(&self) -> WallTime {
        WallTime { micros: self.wall.micros.saturating_sub(self.delay) }
    }
}

/// A frame with its repaired time.
#[derive(Clone, Debug)]
pub(super) struct Placed {
    pub(super) frame: CodedFrame,
    /// Decode time on the session's axis, in flicks.
    pub(super) time: i64,
    pub(super) arrival: Arrival,
    /// Media is missing before this frame, or its stamps jumped.
    pub(super) breaks: bool,
}

/// What a track's steps showed so far.
#[derive(Clone, Copy, Debug, Default)]
struct Lane {
    last: Option<Accepted>,
    /// Smoothed frame spacing.
    expected: i64,
    /// Added to this track's stamps alone, since it jumped alone.
    skew: i64,
    /// Steps backwards in a row.
    noise: u8,
    /// Largest (time − arrival) of late: how early its frames come at best.
    lead: Option<i64>,
    /// The other track's lead when this one's last frame came.
    beside: Option<i64>,
}

#[derive(Clone, Copy, Debug)]
struct Accepted {
    time: i64,
    arrival: i64,
}

/// A step from one frame of a track to the next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    /// Forwards by up to a second.
    Forward,
    /// Backwards by up to a second, or no step.
    Noise,
    /// Forwards by more, and arrival does not speak against it.
    Outage,
    /// Anything else.
    Jump,
}

/// One track jumped, and it is not yet known whether the other did.
#[derive(Debug)]
struct Suspect {
    kind: TrackKind,
    /// The jump, in flicks.
    step: i64,
    since: i64,
    /// The other track goes on as usual: its largest (time − arrival) since.
    beside: Option<i64>,
    held: Vec<(CodedFrame, i64, Arrival)>,
}

/// One publisher's session.
#[derive(Debug, Default)]
pub(super) struct Source {
    unwrap: Unwrap,
    lanes: [Lane; 2],
    /// Added to every stamp, since both tracks jumped.
    shift: i64,
    suspect: Option<Suspect>,
    break_next: bool,
    jumps: VecDeque<i64>,
    clocked: Option<[ArrivalClock; 2]>,
    out: VecDeque<Placed>,
    /// Frames of further audio tracks.
    beside: VecDeque<(CodedFrame, Arrival)>,
    pub(super) counts: Counts,
}

const fn slot(kind: TrackKind) -> usize {
    match kind {
        TrackKind::Video => 0,
        TrackKind::Audio => 1,
    }
}

const fn other(kind: TrackKind) -> TrackKind {
    match kind {
        TrackKind::Video => TrackKind::Audio,
        TrackKind::Audio => TrackKind::Video,
    }
}

impl Source {
    /// Takes a frame as it came. Drain [`poll`](Self::poll) after it.
    pub(super) fn push(&mut self, frame: CodedFrame, arrival: Arrival) {
        let unrolled = self.unwrap.extend(frame.timestamp);
        if unrolled.wrapped {
            self.counts.add(Anomaly::Wrap);
        }
        let stamp = unrolled.millis * MILLI + flicks::of_nanos(i64::from(frame.nanos));
        self.admit(frame, stamp, arrival);
    }

    fn admit(&mut self, frame: CodedFrame, stamp: i64, arrival: Arrival) {
        if self.clocked.is_some() {
            return self.place_by_arrival(frame, arrival);
        }
        match self.suspect.take() {
            Some(suspect) if suspect.kind == frame.kind => {
                self.push_suspected(suspect, frame, stamp, arrival)
            }
            Some(suspect) => self.push_beside(suspect, frame, stamp, arrival),
            None => self.push_plain(frame, stamp, arrival),
        }
    }

    /// The next repaired frame.
    pub(super) fn poll(&mut self) -> Option<Placed> {
        self.out.pop_front()
    }

    /// Takes a frame of a further audio track. It has no say: where the first tracks go, it goes.
    pub(super) fn push_further(&mut self, frame: CodedFrame, arrival: Arrival) {
        if self.beside.len() < HELD_MAX {
            self.beside.push_back((frame, arrival));
        }
    }

    /// The next frame of a further audio track, once it is known where it lies; `None` while a jump is undecided. One
    /// that lies far from the first tracks is left out, and so are all where stamps are not believed.
    pub(super) fn poll_further(&mut self) -> Option<Placed> {
        if self.clocked.is_some() {
            self.beside.clear();
        }
        while self.suspect.is_none() {
            let (frame, arrival) = self.beside.pop_front()?;
            let [video, audio] = self.lanes;
            let lane = if audio.last.is_some() { audio } else { video };
            // A copy: a stamp of a further track must not move the count of the first ones.
            let mut unwrap = self.unwrap;
            let stamp = unwrap.extend(frame.timestamp).millis * MILLI + flicks::of_nanos(frame.nanos.into());
            let time = stamp + self.shift + lane.skew;
            if lane.last.is_none_or(|last| (time - last.time).abs() <= START_SKEW_MAX) {
                return Some(Placed { frame, time, arrival, breaks: false });
            }
        }
        None
    }

    /// Stamps are no longer believed: arrival times stand in for them (TL-9).
    pub(super) const fn is_arrival_clocked(&self) -> bool {
        self.clocked.is_some()
    }

    fn push_plain(&mut self, frame: CodedFrame, stamp: i64, arrival: Arrival) {
        let kind = frame.kind;
        if self.lanes[slot(kind)].last.is_none() {
            self.align_first(kind, stamp + self.shift, arrival.at);
        }
        let time = stamp + self.shift + self.lanes[slot(kind)].skew;
        match self.step(kind, time, arrival.at) {
            (Step::Forward, _) => self.accept(frame, time, arrival),
            (Step::Noise, _) => self.accept_noise(frame, stamp, time, arrival),
            (Step::Outage, _) => {
                // Sound that pauses while pictures go on is filled downstream; it breaks nothing (TL-21).
                self.break_next |= kind == TrackKind::Video || !self.is_active(other(kind), arrival.at);
                self.accept(frame, time, arrival);
            }
            (Step::Jump, step) => {
                let since = arrival.at;
                let held = vec![(frame, stamp, arrival)];
                self.suspect(Suspect { kind, step, since, beside: None, held });
            }
        }
    }

    /// A later track's first stamp: where it is far from the other track for no reason, arrival says where it lies.
    fn align_first(&mut self, kind: TrackKind, time: i64, at: i64) {
        if let Some(beside) = self.lanes[slot(other(kind))].last {
            let unexplained = (time - beside.time) - (at - beside.arrival);
            if unexplained.abs() > START_SKEW_MAX && (time - beside.time).abs() > START_SKEW_MAX {
                self.lanes[slot(kind)].skew = -unexplained;
                self.counts.add(Anomaly::Jump);
            }
        }
    }

    fn step(&self, kind: TrackKind, time: i64, at: i64) -> (Step, i64) {
        let lane = &self.lanes[slot(kind)];
        let Some(last) = lane.last else {
            return (Step::Forward, 0);
        };
        let step = time - last.time;
        // No frame comes before it was captured: stamps that went on by too much would say that this one did. The
        // delay may have shrunk over a gap, so that less time went by than media (RTMP-44).
        let is_early =
            lane.lead.is_none_or(|lead| time - at > lead + self.hastened(kind) + ARRIVAL_TOLERANCE);
        let class = match step {
            1..=STEP_MAX => Step::Forward,
            _ if (-STEP_MAX..=0).contains(&step) => Step::Noise,
            1..=OUTAGE_MAX if !is_early => Step::Outage,
            _ if step > 0 && (step - (at - last.arrival)).abs() <= ARRIVAL_TOLERANCE => Step::Outage,
            _ => Step::Jump,
        };
        (class, step)
    }

    /// By how much the delay shrank since a track's last frame, as the other track shows.
    fn hastened(&self, kind: TrackKind) -> i64 {
        let now = self.lanes[slot(other(kind))].last.map(|last| last.time - last.arrival);
        now.zip(self.lanes[slot(kind)].beside).map_or(0, |(now, before)| (now - before).max(0))
    }

    fn accept(&mut self, frame: CodedFrame, time: i64, arrival: Arrival) {
        let beside = self.lanes[slot(other(frame.kind))].lead;
        let lane = &mut self.lanes[slot(frame.kind)];
        lane.beside = beside;
        if let Some(last) = lane.last {
            let step = (time - last.time).clamp(0, 200 * MILLI);
            lane.expected =
                if lane.expected == 0 { step } else { lane.expected + (step - lane.expected) / 8 };
        }
        lane.noise = 0;
        lane.last = Some(Accepted { time, arrival: arrival.at });
        let lead = time - arrival.at;
        lane.lead = Some(lane.lead.map_or(lead, |most| lead.max(most - LEAD_DECAY)));
        self.emit(frame, time, arrival);
    }

    /// A step backwards of less than a second: clamped to just after the last frame (TL-7). When stamps stay behind,
    /// it is a jump after all. Sound is timed by its samples, which say for themselves whether to believe it (TL-15).
    fn accept_noise(&mut self, frame: CodedFrame, stamp: i64, time: i64, arrival: Arrival) {
        let kind = frame.kind;
        if kind == TrackKind::Audio {
            self.counts.add(Anomaly::NonMonotonic);
            return self.accept(frame, time, arrival);
        }
        let lane = &mut self.lanes[slot(kind)];
        let Some(last) = lane.last else { return };
        lane.noise += 1;
        if lane.noise >= NOISE_MAX {
            let step = time - last.time;
            let since = arrival.at;
            let held = vec![(frame, stamp, arrival)];
            return self.suspect(Suspect { kind, step, since, beside: None, held });
        }
        lane.last = Some(Accepted { time: last.time + 1, arrival: arrival.at });
        self.counts.add(Anomaly::NonMonotonic);
        self.emit(frame, last.time + 1, arrival);
    }

    fn emit(&mut self, frame: CodedFrame, time: i64, arrival: Arrival) {
        let breaks = std::mem::take(&mut self.break_next);
        self.out.push_back(Placed { frame, time, arrival, breaks });
    }

    fn is_active(&self, kind: TrackKind, at: i64) -> bool {
        self.lanes[slot(kind)].last.is_some_and(|last| at - last.arrival <= ACTIVE_WITHIN)
    }

    fn suspect(&mut self, suspect: Suspect) {
        if self.is_active(other(suspect.kind), suspect.since) {
            self.suspect = Some(suspect);
        } else {
            self.jump_together(suspect);
        }
    }

    /// Another frame of the track that jumped.
    fn push_suspected(&mut self, mut suspect: Suspect, frame: CodedFrame, stamp: i64, arrival: Arrival) {
        let lane = self.lanes[slot(suspect.kind)];
        let time = stamp + self.shift + lane.skew;
        if matches!(self.step(suspect.kind, time, arrival.at), (Step::Forward, _)) {
            // Back on the old axis: the stamps between were strays. Their frames follow the last good one.
            for (stray, _, arrival) in suspect.held {
                let follows = self.lanes[slot(stray.kind)].last.map_or(time, |last| last.time + 1);
                self.counts.add(Anomaly::NonMonotonic);
                self.lanes[slot(stray.kind)].last = Some(Accepted { time: follows, arrival: arrival.at });
                self.emit(stray, follows, arrival);
            }
            return self.push_plain(frame, stamp, arrival);
        }
        suspect.held.push((frame, stamp, arrival));
        if arrival.at - suspect.since < AGREE_WITHIN && suspect.held.len() < HELD_MAX {
            self.suspect = Some(suspect);
        } else if suspect.beside.is_some() {
            self.jump_alone(suspect);
        } else {
            self.jump_together(suspect);
        }
    }

    /// A frame of the other track.
    fn push_beside(&mut self, mut suspect: Suspect, frame: CodedFrame, stamp: i64, arrival: Arrival) {
        let kind = frame.kind;
        let time = stamp + self.shift + self.lanes[slot(kind)].skew;
        let (class, step) = self.step(kind, time, arrival.at);
        match class {
            Step::Forward | Step::Noise
                if suspect.step.abs() > STEP_MAX || (step - suspect.step).abs() > ALIKE =>
            {
                suspect.beside = suspect.beside.max(Some(time - arrival.at));
                let waited = arrival.at - suspect.since >= AGREE_WITHIN;
                self.push_plain(frame, stamp, arrival);
                // Where this track begins to be suspected itself, the first suspicion is settled.
                if waited || self.suspect.is_some() {
                    self.jump_alone(suspect);
                } else {
                    self.suspect = Some(suspect);
                }
            }
            _ => {
                // It jumped as well: alike, or it is looked at again on the moved axis.
                self.jump_together(suspect);
                self.push_plain(frame, stamp, arrival);
            }
        }
    }

    /// Both tracks jumped: the axis is moved so that it goes on by as much as the wall clock did (TL-25). That holds for
    /// short steps as well: stamps that went on while no time did say nothing about the media (RTMP-42).
    fn jump_together(&mut self, suspect: Suspect) {
        self.shift += self.onward(&suspect) - suspect.step;
        self.break_next = true;
        self.note_jump(suspect.since);
        self.replay(suspect);
    }

    /// One track jumped alone: it is put back beside the other, by arrival (TL-8). Where it lies there already, media
    /// was missing and the stamps stay as they are (RTMP-44).
    fn jump_alone(&mut self, suspect: Suspect) {
        let lane = self.lanes[slot(suspect.kind)];
        let onward = self.onward_beside(&suspect).unwrap_or_else(|| self.onward(&suspect));
        let onward = onward.max(lane.expected).max(1);
        let is_gap = suspect.step > 0 && (onward - suspect.step).abs() <= ALIKE;
        if is_gap {
            self.counts.add(Anomaly::Gap);
        } else {
            self.lanes[slot(suspect.kind)].skew += onward - suspect.step;
            self.note_jump(suspect.since);
        }
        self.break_next |= onward > STEP_MAX && suspect.kind == TrackKind::Video;
        self.replay(suspect);
    }

    /// How far a track that jumped alone went on in truth: the earliest of its held frames lies as far from its arrival
    /// as the track's earliest frames did before, less what the delay changed, which the other track shows.
    fn onward_beside(&self, suspect: &Suspect) -> Option<i64> {
        let lane = &self.lanes[slot(suspect.kind)];
        let leads =
            suspect.held.iter().map(|(_, stamp, arrival)| stamp + self.shift + lane.skew - arrival.at);
        let change = leads.max()? - lane.lead?;
        let delay = suspect.beside.zip(lane.beside).map_or(0, |(now, before)| now - before);
        Some(suspect.step - (change - delay))
    }

    /// How far the track went on in truth: the time between arrivals, at least a frame.
    fn onward(&self, suspect: &Suspect) -> i64 {
        let lane = &self.lanes[slot(suspect.kind)];
        let waited = lane.last.map_or(0, |last| suspect.since - last.arrival);
        // Stamps that went on by about a frame's worth of arrival jitter did lose nothing.
        if waited < 2 * lane.expected + 100 * MILLI { lane.expected.max(1) } else { waited }
    }

    fn replay(&mut self, suspect: Suspect) {
        let mut held = suspect.held.into_iter();
        if let Some((frame, stamp, arrival)) = held.next() {
            if self.clocked.is_some() {
                self.place_by_arrival(frame, arrival);
            } else {
                let time = stamp + self.shift + self.lanes[slot(frame.kind)].skew;
                self.accept(frame, time, arrival);
            }
        }
        for (frame, stamp, arrival) in held {
            self.admit(frame, stamp, arrival);
        }
    }

    fn note_jump(&mut self, at: i64) {
        self.counts.add(Anomaly::Jump);
        self.jumps.push_back(at);
        while self.jumps.front().is_some_and(|first| at - first > RESTLESS_WITHIN) {
            self.jumps.pop_front();
        }
        if self.jumps.len() >= RESTLESS && self.clocked.is_none() {
            self.break_next = true;
            // Both tracks share one relation of axis and arrival, so that they stay in step.
            let reference = self.lanes.iter().filter_map(|lane| lane.last).next();
            let bias = reference.map_or(0, |last| last.time - last.arrival);
            self.clocked = Some(
                self.lanes
                    .map(|lane| ArrivalClock::new(bias, lane.last.map(|last| last.time), lane.expected)),
            );
        }
    }

    fn place_by_arrival(&mut self, frame: CodedFrame, arrival: Arrival) {
        let Some(clocks) = &mut self.clocked else { return };
        let (time, jumped) = clocks[slot(frame.kind)].place(arrival.at, frame.nominal);
        if jumped {
            self.break_next = true;
            self.counts.add(Anomaly::Jump);
        }
        self.emit(frame, time, arrival);
    }
}
