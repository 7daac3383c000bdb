//! A track that is cut where the reference track is: the sound of a picture, another rung of a ladder.

use std::collections::VecDeque;

use aqueduct_common::{MediaTime, Sample, Track, TrackId};

use crate::cutter::{Cut, PATIENCE, Part, Pending};
use crate::targets;

/// Samples that wait for a boundary, at most: older ones are dropped. More than any source is ahead of its picture.
const WAITING_MOST: i64 = 20_000 * targets::MILLI;

/// A boundary this far behind the reference passes a track that has nothing for it: the segment is a gap there.
const LATEST: i64 = 30_000 * targets::MILLI;

/// One follower. Spans and instants are in flicks.
#[derive(Debug)]
pub(crate) struct Lane {
    id: TrackId,
    delay: i64,
    half: i64,
    target: i64,
    passed: u64,
    begin: Option<i64>,
    waiting: VecDeque<Sample>,
    part: Vec<Sample>,
    /// Decode time of the next sample.
    end: Option<MediaTime>,
}

impl Lane {
    /// A follower whose parts last at most `target`.
    pub(crate) fn new(track: &Track, target: i64) -> Self {
        Self {
            id: track.id,
            delay: track.reorder_delay,
            half: targets::spacing(track) / 2,
            target,
            passed: 0,
            begin: None,
            waiting: VecDeque::new(),
            part: Vec::new(),
            end: None,
        }
    }

    pub(crate) fn id(&self) -> TrackId {
        self.id
    }

    /// Boundaries that lie behind it.
    pub(crate) fn passed(&self) -> u64 {
        self.passed
    }

    /// Takes a sample; answers how many were dropped.
    pub(crate) fn push(&mut self, sample: Sample) -> u64 {
        if self.end.is_some_and(|end| sample.dts.ticks < end.ticks) || self.precedes(&sample) {
            return 1;
        }
        self.end = Some(sample.end());
        let newest = self.instant(sample.dts);
        self.waiting.push_back(sample);
        let mut dropped = 0;
        while self.waiting.front().is_some_and(|oldest| newest - self.instant(oldest.dts) > WAITING_MOST) {
            self.waiting.pop_front();
            dropped += 1;
        }
        dropped
    }

    /// The reference begins at `at`: what lies before is dropped, so that both start within half a sample.
    pub(crate) fn begin(&mut self, at: i64) -> u64 {
        self.begin = Some(at);
        let before = self.waiting.len();
        while self.waiting.front().is_some_and(|sample| self.precedes(sample)) {
            self.waiting.pop_front();
        }
        (before - self.waiting.len()) as u64
    }

    /// Forgets the timeline: what follows is on another.
    pub(crate) fn restart(&mut self) {
        self.begin = None;
        self.end = None;
        self.waiting.clear();
        self.part.clear();
    }

    /// Passes the boundaries that it has the samples for.
    pub(crate) fn advance(&mut self, pending: &Pending<'_>, cuts: &mut VecDeque<Cut>) {
        while let Some(step) = pending.steps.get((self.passed - pending.base) as usize) {
            let cut = step.at - self.half;
            self.take_until(cut, step.msn, self.passed + 1, cuts);
            let late = pending.watermark.is_some_and(|at| at - step.at > LATEST);
            if !(pending.forced || late || self.reaches(cut)) {
                return;
            }
            self.passed += 1;
            // What comes for an earlier time is too late: it would make a later segment too long.
            self.begin = Some(step.at);
            self.end_part(step.msn, self.passed, cuts);
            if step.closes {
                cuts.push_back(Cut::Close {
                    track: self.id,
                    msn: step.msn,
                    after: self.passed,
                    end: step.at,
                });
            }
        }
    }

    /// Cuts by its own length what is more than [`PATIENCE`] ahead of the reference, up to `most`.
    ///
    /// Only where it has passed all boundaries; `msn` is the segment that is open.
    pub(crate) fn run_ahead(&mut self, watermark: i64, msn: u64, most: i64, cuts: &mut VecDeque<Cut>) {
        let Some(newest) = self.waiting.back().map(|sample| self.instant(sample.dts)) else { return };
        if newest - watermark > PATIENCE {
            let cut = (newest - PATIENCE).min(most - 2 * self.half);
            self.take_until(cut, msn, self.passed, cuts);
        }
    }

    /// Moves what starts before `cut` into the open part, ending parts that are full.
    fn take_until(&mut self, cut: i64, msn: u64, after: u64, cuts: &mut VecDeque<Cut>) {
        while let Some(sample) = self.waiting.front() {
            if self.instant(sample.dts) >= cut {
                return;
            }
            let hole = self.part.last().is_some_and(|last| last.end() != sample.dts);
            let full = self
                .part
                .first()
                .is_some_and(|first| sample.end().as_flicks() - first.dts.as_flicks() > self.target);
            if hole || full {
                self.end_part(msn, after, cuts);
            }
            self.part.extend(self.waiting.pop_front());
        }
    }

    fn end_part(&mut self, msn: u64, after: u64, cuts: &mut VecDeque<Cut>) {
        if !self.part.is_empty() {
            let samples = std::mem::take(&mut self.part);
            cuts.push_back(Cut::Part(Part { track: self.id, msn, after, samples }));
        }
    }

    /// The next sample, here or to come, starts at `cut` or later.
    fn reaches(&self, cut: i64) -> bool {
        !self.waiting.is_empty() || self.end.is_some_and(|end| self.instant(end) >= cut)
    }

    /// The sample lies before the run's first boundary.
    fn precedes(&self, sample: &Sample) -> bool {
        self.begin.is_some_and(|begin| self.instant(sample.dts) < begin - self.half)
    }

    /// The presentation instant of a decode time.
    fn instant(&self, dts: MediaTime) -> i64 {
        dts.offset(self.delay).as_flicks()
    }
}
