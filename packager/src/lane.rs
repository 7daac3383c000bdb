//! A track that is cut where the reference track is: the sound of a picture, another rung of a ladder.
//!
//! A sound rounds each boundary to its own samples. A rung is cut exactly: its samples are re-timed as the reference's
//! are, and each of its segments begins with a sync sample at the very instant (TL-30, TL-38), or with a gap. One that
//! was missing returns with any sync sample of it: what lies before that in its part is a gap for itself.

use std::collections::VecDeque;

use aqueduct_common::{MediaTime, Sample, Track, TrackId, TrackKind};

use crate::cutter::{Cut, PATIENCE, Part, Pending, Step, Stray};
use crate::retime::{Retime, Room};
use crate::targets;

/// Samples that wait for a boundary, at most: older ones are dropped. More than any source is ahead of its picture.
const WAITING_MOST: i64 = 20_000 * targets::MILLI;

/// A boundary this far behind the reference passes a sound that has nothing for it: the segment is a gap there.
const LATEST: i64 = 30_000 * targets::MILLI;

/// The same of a rung: more than it takes to catch up when it wakes, less than a viewer waits.
const LATEST_RUNG: i64 = 10_000 * targets::MILLI;

/// Instants that differ by less are equal: a tick of the coarsest scale that pictures are timed in (TL-3).
pub(crate) const SAME: i64 = targets::MILLI / 20;

/// A segment that the reference has begun.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Begin {
    /// Boundaries before it.
    pub(crate) after: u64,
    /// Its first instant.
    pub(crate) at: i64,
    /// It begins with a sync sample of the reference.
    pub(crate) sync: bool,
}

/// Why there is nothing of a track, and what its gaps follow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Missing {
    /// Its samples do not come: it is a gap as far as the reference is.
    Lost,
    /// Nobody watches it, and nobody is told of gaps: it is one up to the last whole segment.
    Asleep,
    /// What comes of it does not fit, as long as it is not described anew.
    Refused,
    /// It has no sync sample where its segment begins, or a hole within (TL-30).
    Astray,
}

/// One follower. Spans and instants are in flicks.
#[derive(Debug)]
pub(crate) struct Lane {
    id: TrackId,
    video: bool,
    delay: i64,
    half: i64,
    target: i64,
    passed: u64,
    /// Segments that the reference has begun, from the one that this track is in or comes to.
    starts: VecDeque<Begin>,
    /// Nothing of the segment that it is in was taken or passed yet.
    fresh: bool,
    missing: Option<Missing>,
    /// It goes on with a sync sample at or behind this instant, which is on its way.
    awaited: Option<i64>,
    /// It can go on only where a segment begins: nothing of it was ever listed, or what comes needs another init segment.
    whole: bool,
    begin: Option<i64>,
    /// Where its parts and gaps have come to.
    edge: i64,
    waiting: VecDeque<Sample>,
    part: Vec<Sample>,
    /// Decode time of the next sample to come.
    end: Option<MediaTime>,
    /// Decode tick, re-timed, of the next sample to take.
    next: Option<i64>,
    retime: Retime,
    dropped: u64,
}

impl Lane {
    /// A follower whose parts last at most `target`.
    pub(crate) fn new(track: &Track, target: i64) -> Self {
        Self {
            id: track.id,
            video: track.kind() == TrackKind::Video,
            delay: track.reorder_delay,
            half: targets::spacing(track) / 2,
            target,
            passed: 0,
            starts: VecDeque::new(),
            fresh: true,
            missing: None,
            awaited: None,
            whole: true,
            begin: None,
            edge: 0,
            waiting: VecDeque::new(),
            part: Vec::new(),
            end: None,
            next: None,
            retime: Retime::default(),
            dropped: 0,
        }
    }

    pub(crate) fn id(&self) -> TrackId {
        self.id
    }

    /// Boundaries that lie behind it.
    pub(crate) fn passed(&self) -> u64 {
        self.passed
    }

    /// Samples dropped so far.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// All that came of it belongs to segments that are complete: the next sample begins one.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.fresh && self.waiting.is_empty()
    }

    /// Takes a sample.
    pub(crate) fn push(&mut self, sample: Sample) {
        let overlaps = self.end.is_some_and(|end| sample.dts.ticks < end.ticks);
        // Nothing can begin with what is no sync sample.
        let useless = self.missing.is_some() && self.waiting.is_empty() && !sample.sync;
        if self.missing == Some(Missing::Refused) || overlaps || useless || self.precedes(&sample) {
            self.dropped += 1;
            return;
        }
        self.end = Some(sample.end());
        let newest = self.instant(sample.dts);
        self.waiting.push_back(sample);
        while self.waiting.front().is_some_and(|oldest| newest - self.instant(oldest.dts) > WAITING_MOST) {
            self.waiting.pop_front();
            self.dropped += 1;
        }
    }

    /// The reference begins at `at`: what lies before is dropped, so that both start within half a sample.
    pub(crate) fn begin(&mut self, at: i64) {
        self.begin = Some(at);
        self.drop_before(at - self.half);
    }

    /// Takes out what waits of a sound and belongs behind `at`.
    pub(crate) fn take_ahead(&mut self, at: i64) -> VecDeque<Sample> {
        if self.video || self.missing.is_some() {
            return VecDeque::new();
        }
        let before = self.waiting.iter().take_while(|sample| self.at(sample) < at - self.half).count();
        self.waiting.split_off(before)
    }

    /// The reference has begun a segment.
    pub(crate) fn open(&mut self, begin: Begin) {
        self.starts.push_back(begin);
    }

    /// Its samples stop coming, or are not taken any more. What is not yet a part is dropped.
    pub(crate) fn lose(&mut self, missing: Missing) {
        self.missing = Some(missing);
        self.awaited = None;
        self.dropped += (self.waiting.len() + self.part.len()) as u64;
        self.forget();
    }

    /// It is described anew: where it was refused it may come back, `at_once` or with the next segment.
    pub(crate) fn accept(&mut self, at_once: bool) {
        if self.missing == Some(Missing::Refused) {
            self.missing = Some(Missing::Lost);
        }
        if !at_once {
            (self.whole, self.awaited) = (true, None);
        }
    }

    /// What it goes on with, at or behind this instant, is on its way. What is not yet a part is dropped.
    pub(crate) fn expect(&mut self, at: i64) {
        if self.missing.is_none() {
            self.lose(Missing::Lost);
        }
        self.awaited = (!self.whole).then_some(at);
    }

    /// Forgets the timeline: what follows is on another.
    pub(crate) fn restart(&mut self) {
        self.begin = None;
        self.starts.clear();
        self.fresh = true;
        self.awaited = None;
        self.missing = self.missing.filter(|missing| *missing != Missing::Astray);
        self.forget();
    }

    fn forget(&mut self) {
        self.waiting.clear();
        self.part.clear();
        (self.end, self.next) = (None, None);
        self.retime = Retime::default();
    }

    /// Passes the boundaries that it has the samples for, or that it is missing at.
    pub(crate) fn advance(&mut self, pending: &Pending<'_>, cuts: &mut VecDeque<Cut>) {
        while let Some(step) = pending.steps.get((self.passed - pending.base) as usize) {
            self.enter(step.msn, cuts);
            self.fill(step, cuts);
            let behind = pending.watermark.map_or(0, |at| at - step.at);
            let late = behind > if self.video { LATEST_RUNG } else { LATEST };
            if late {
                self.awaited = None;
            }
            if self.missing.is_none() && self.video && late {
                self.stray(step.msn, Stray::Late, cuts);
            }
            if !pending.forced && !late && !self.is_past(step, pending) {
                return;
            }
            self.pass(step, cuts);
        }
    }

    /// Nothing of it can come any more that lies before the boundary.
    fn is_past(&self, step: &Step, pending: &Pending<'_>) -> bool {
        let cut = self.cut_at(step);
        match (self.missing, self.awaited) {
            (None, _) => self.reaches(cut),
            // What it goes on with is there, and lies behind.
            (Some(_), _) if !self.waiting.is_empty() => true,
            (Some(_), Some(at)) => at >= cut,
            (Some(Missing::Asleep), None) => self.is_segment_over(pending),
            (Some(_), None) => true,
        }
    }

    /// Takes what lies before the boundary, from where it is back where it was missing.
    fn fill(&mut self, step: &Step, cuts: &mut VecDeque<Cut>) {
        while (self.missing.is_none() || self.rejoin(step, cuts))
            && !self.take_until(self.cut_at(step), step, cuts)
        {}
    }

    /// It goes on with the next sync sample, where that lies before the boundary. Whether it does.
    fn rejoin(&mut self, step: &Step, cuts: &mut VecDeque<Cut>) -> bool {
        let (cut, slack) = (self.cut_at(step), self.slack());
        while self.waiting.front().is_some_and(|first| {
            let at = self.at(first);
            !first.sync || at < self.edge - slack || (self.whole && at < cut)
        }) {
            self.waiting.pop_front();
            self.dropped += 1;
        }
        let Some(at) = self.waiting.front().map(|first| self.at(first)).filter(|at| *at < cut) else {
            return false;
        };
        if at > self.edge + slack {
            cuts.push_back(Cut::Gap { track: self.id, msn: step.msn, from: self.edge, to: at });
            self.edge = at;
        }
        self.go_on(cuts);
        true
    }

    /// It is back, with the next sample.
    fn go_on(&mut self, cuts: &mut VecDeque<Cut>) {
        (self.missing, self.awaited) = (None, None);
        self.next = self.waiting.front().map(|first| first.dts.ticks - self.retime.carry());
        cuts.push_back(Cut::Back { track: self.id });
    }

    /// Cuts by its own length what is more than [`PATIENCE`] ahead of the reference, up to `most`, where the open segment
    /// may end.
    ///
    /// Only a sound, and only where it has passed all boundaries; `msn` is the segment that is open.
    pub(crate) fn run_ahead(&mut self, watermark: i64, msn: u64, most: i64, cuts: &mut VecDeque<Cut>) {
        let Some(newest) = self.waiting.back().map(|sample| self.instant(sample.dts)) else { return };
        if !self.video && self.missing.is_none() && newest - watermark > PATIENCE {
            let cut = (newest - PATIENCE).min(most - 2 * self.half);
            self.take_until(cut, &Step { at: cut, msn, closes: false }, cuts);
        }
    }

    /// Begins the segment at whose start it stands, if it can be told by its next sample how.
    fn enter(&mut self, msn: u64, cuts: &mut VecDeque<Cut>) {
        while self.starts.front().is_some_and(|start| start.after < self.passed) {
            self.starts.pop_front();
        }
        let Some(start) = self.starts.front().copied().filter(|_| self.fresh) else { return };
        let slack = self.slack();
        if self.video || self.missing.is_some() {
            self.drop_before(start.at - slack);
        }
        self.edge = start.at;
        let Some(first) = self.waiting.front() else { return };
        let begins = (self.at(first) - start.at).abs() <= slack;
        let (sync, joins) = (first.sync, self.joins(first));
        match self.missing {
            Some(_) if begins && sync => self.go_on(cuts),
            None if self.video && !(begins && (sync || !start.sync && joins)) => {
                self.stray(msn, Stray::NoSync, cuts);
            }
            Some(_) | None => {}
        }
        if self.missing.is_none() {
            self.next = self.waiting.front().map(|first| first.dts.ticks - self.retime.carry());
        }
    }

    /// It is a gap up to its next sync sample.
    fn stray(&mut self, msn: u64, why: Stray, cuts: &mut VecDeque<Cut>) {
        self.missing = Some(Missing::Astray);
        self.part.clear();
        self.retime = Retime::default();
        cuts.push_back(Cut::Astray { track: self.id, msn, why });
    }

    /// How far from an instant a sample may begin that begins there.
    const fn slack(&self) -> i64 {
        if self.video { SAME } else { self.half }
    }

    /// Before which instant a sample has to start to lie before the boundary (TL-19).
    const fn cut_at(&self, step: &Step) -> i64 {
        step.at - self.slack()
    }

    /// The segment that it is in is complete on the reference.
    fn is_segment_over(&self, pending: &Pending<'_>) -> bool {
        let steps = pending.steps.iter().skip((self.passed - pending.base) as usize);
        steps.into_iter().any(|step| step.closes)
    }

    fn pass(&mut self, step: &Step, cuts: &mut VecDeque<Cut>) {
        self.passed += 1;
        // What comes for an earlier time is too late: it would make a later segment too long.
        self.begin = Some(step.at);
        self.end_part(step.msn, cuts);
        if self.missing.is_some() && step.at > self.edge {
            cuts.push_back(Cut::Gap { track: self.id, msn: step.msn, from: self.edge, to: step.at });
        }
        // The end of a sound's last part is as good as the boundary.
        if self.missing.is_some() || step.at - self.edge > self.half {
            self.edge = step.at;
        }
        self.fresh = step.closes;
        if step.closes {
            // One that sleeps is offered all the same, and has listed a gap.
            self.whole &= self.missing != Some(Missing::Asleep);
            cuts.push_back(Cut::Close { track: self.id, msn: step.msn, end: step.at });
        }
    }

    /// Moves what starts before `cut` into the open part, ending parts that are full. `false` where it strays.
    fn take_until(&mut self, cut: i64, step: &Step, cuts: &mut VecDeque<Cut>) -> bool {
        // A rung that carries more than the reference has nothing for the last of a segment: it does not take from the
        // next one.
        let begins = |lane: &Self, sample: &Sample| {
            lane.video && step.closes && sample.sync && lane.instant(sample.dts) >= cut
        };
        while let Some(sample) =
            self.waiting.front().filter(|sample| self.at(sample) < cut && !begins(self, sample))
        {
            let hole = self.next.is_some() && !self.joins(sample);
            if hole && self.video {
                self.stray(step.msn, Stray::Hole, cuts);
                return false;
            }
            let Some(mut sample) = self.waiting.pop_front() else { break };
            self.retime.catch_up(&mut sample);
            if self.video {
                let left = step.at - self.instant(sample.dts);
                self.retime.fit(&mut sample, Room { left, rounding: SAME });
            }
            let first = self.part.first();
            let full =
                first.is_some_and(|first| sample.end().as_flicks() - first.dts.as_flicks() > self.target);
            if hole || full {
                self.end_part(step.msn, cuts);
            }
            self.fresh = false;
            self.next = Some(sample.end().ticks);
            self.part.push(sample);
        }
        // The hole may lie over the boundary.
        let joined = !self.video || self.fresh || self.waiting.front().is_none_or(|next| self.joins(next));
        if !joined {
            self.stray(step.msn, Stray::Hole, cuts);
        }
        joined
    }

    /// The sample begins where the one before it ended.
    fn joins(&self, sample: &Sample) -> bool {
        self.next == Some(sample.dts.ticks - self.retime.carry())
    }

    fn end_part(&mut self, msn: u64, cuts: &mut VecDeque<Cut>) {
        if let Some(last) = self.part.last() {
            self.edge = self.instant(last.end());
            self.whole = false;
            let samples = std::mem::take(&mut self.part);
            cuts.push_back(Cut::Part(Part { track: self.id, msn, samples }));
        }
    }

    /// The next sample, here or to come, starts at `cut` or later.
    fn reaches(&self, cut: i64) -> bool {
        !self.waiting.is_empty() || self.end.is_some_and(|end| self.carried(end) >= cut)
    }

    /// The sample lies before the run's first boundary.
    fn precedes(&self, sample: &Sample) -> bool {
        self.begin.is_some_and(|begin| self.at(sample) < begin - self.half)
    }

    fn drop_before(&mut self, at: i64) {
        while self.waiting.front().is_some_and(|sample| self.at(sample) < at) {
            self.waiting.pop_front();
            self.dropped += 1;
        }
    }

    /// The presentation instant of a sample's decode time, where what is carried puts it.
    fn at(&self, sample: &Sample) -> i64 {
        self.carried(sample.dts)
    }

    fn carried(&self, dts: MediaTime) -> i64 {
        self.instant(dts.offset(-self.retime.carry()))
    }

    /// The presentation instant of a decode time.
    fn instant(&self, dts: MediaTime) -> i64 {
        dts.offset(self.delay).as_flicks()
    }
}
