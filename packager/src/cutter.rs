//! Where parts and segments end, for all tracks of a stream at once (spec/timeline sections 7 and 10).
//!
//! The *reference* track decides: each boundary is an instant on the presentation timeline (TL-41), taken where its
//! part is full or its segment ends. The *followers* are cut by the same instants, at their first sample that starts
//! no more than half a sample before (TL-19); so nothing adds up, and all tracks count the same segments.
//!
//! A pure value: samples in, [`Cut`]s out. Spans and instants are in flicks.

use std::collections::VecDeque;

use aqueduct_common::{MediaTime, Sample, Track, TrackId, TrackSet};

use crate::lane::{Begin, Lane, Missing};
use crate::retime::{self, Retime, Room};
use crate::targets::{self, PartRule};

/// A sound that is this far ahead of the reference is cut by its own length, so that who only listens does not at once
/// wait for a picture that does not come.
pub(crate) const PATIENCE: i64 = 1_000 * targets::MILLI;

/// The first segment of a source without keyframes: longer than any usual keyframe interval.
const FIRST_SEGMENT_MOST: i64 = 20_000 * targets::MILLI;

/// What the cutter decides, in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Cut {
    /// A segment begins, on all tracks.
    Open {
        /// Its media sequence number.
        msn: u64,
        /// Its first instant.
        start: i64,
        /// It is not contiguous with the segment before.
        discontinuity: bool,
        /// It begins with a sync sample of the reference track.
        sync: bool,
    },
    /// A part of one track is complete.
    Part(Part),
    /// One track has nothing for what would be a part of it.
    Gap {
        /// The track.
        track: TrackId,
        /// The segment.
        msn: u64,
        /// First instant.
        from: i64,
        /// The instant at which it ends.
        to: i64,
    },
    /// The segment `msn` is complete on one track.
    Close {
        /// The track.
        track: TrackId,
        /// The segment.
        msn: u64,
        /// Where it ends, for tracks that had nothing in it.
        end: i64,
    },
    /// A track cannot be cut where the reference is: it is a gap up to its next sync sample (TL-30).
    Astray {
        /// The track.
        track: TrackId,
        /// The segment.
        msn: u64,
        /// What is wrong with it.
        why: Stray,
    },
    /// A track that was missing goes on, in the segment that it is in.
    Back {
        /// The track.
        track: TrackId,
    },
    /// The reference track's distance between two sync samples, or from the newest one to a segment's end that had
    /// to come without one.
    Gop {
        /// In flicks.
        length: i64,
        /// No sync sample came in time (LongGop).
        forced: bool,
    },
}

/// Why a track that comes cannot be cut where the reference is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stray {
    /// It has no sync sample where a segment begins.
    NoSync,
    /// Samples are missing within.
    Hole,
    /// It is too far behind.
    Late,
}

impl Stray {
    /// In plain words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoSync => "it has no keyframe where the segment begins",
            Self::Hole => "frames are missing in it",
            Self::Late => "it is ten seconds behind",
        }
    }
}

/// A part of a track: at least one sample.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Part {
    /// The track.
    pub track: TrackId,
    /// The segment it belongs to.
    pub msn: u64,
    /// Its samples, in decode order.
    pub samples: Vec<Sample>,
}

impl Part {
    /// Sum of the samples' durations in track ticks.
    pub fn ticks(&self) -> u64 {
        self.samples.iter().map(|sample| u64::from(sample.duration)).sum()
    }

    /// A decoder can start in it (LLHLS-6).
    pub fn independent(&self) -> bool {
        self.samples.iter().any(|sample| sample.sync)
    }
}

/// An instant at which all tracks end a part, and maybe a segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    /// The instant.
    pub(crate) at: i64,
    /// The segment before it.
    pub(crate) msn: u64,
    /// That segment ends here.
    pub(crate) closes: bool,
}

/// What a follower may have to pass.
#[derive(Debug)]
pub(crate) struct Pending<'a> {
    /// Number of the first step.
    pub(crate) base: u64,
    /// The steps.
    pub(crate) steps: &'a [Step],
    /// How far the reference has come.
    pub(crate) watermark: Option<i64>,
    /// Pass all, with what is there.
    pub(crate) forced: bool,
}

/// The segment that the reference track is in.
#[derive(Clone, Copy, Debug)]
struct Open {
    start: i64,
    /// When its first sample is shown: later than its start where that was re-timed.
    shown: i64,
    sync: bool,
}

/// Cuts all tracks of a stream; see the module.
#[derive(Debug)]
pub struct Cutter {
    rule: PartRule,
    segment: i64,
    /// What a segment may last, once it is promised.
    longest: Option<i64>,
    cuts_at_sync: bool,
    reference: Reference,
    lanes: Vec<Lane>,
    /// Boundaries that a follower has yet to pass; `base` numbers the first.
    steps: VecDeque<Step>,
    base: u64,
    msn: u64,
    open: Option<Open>,
    opened: bool,
    discontinuity: bool,
    cuts: VecDeque<Cut>,
    /// Samples that came before or between what can be placed.
    dropped: u64,
}

/// The reference track's open part.
#[derive(Debug)]
struct Reference {
    id: TrackId,
    delay: i64,
    samples: Vec<Sample>,
    part_start: i64,
    /// Where its next sample begins; `None` until a run of samples has begun.
    end: Option<Edge>,
    last_sync: Option<i64>,
    retime: Retime,
}

/// The same edge in decode ticks and as a presentation instant.
#[derive(Clone, Copy, Debug)]
struct Edge {
    dts: i64,
    at: i64,
}

impl Cutter {
    /// A cutter whose first segment is `msn`; `None` without tracks. `longest` bounds a segment without a sync
    /// sample to end it; without one the target duration is yet to come of the first segment. `discontinuity`: the first segment continues an earlier timeline.
    pub fn new(
        tracks: &TrackSet,
        rule: PartRule,
        segment: i64,
        longest: Option<i64>,
        msn: u64,
        discontinuity: bool,
    ) -> Option<Self> {
        let reference = tracks.reference()?;
        let followers = tracks.tracks.iter().filter(|track| track.id != reference.id);
        Some(Self {
            rule,
            segment,
            longest,
            cuts_at_sync: targets::cuts_at_sync(tracks),
            reference: Reference::new(reference),
            lanes: followers.map(|track| Lane::new(track, rule.target)).collect(),
            steps: VecDeque::new(),
            base: 0,
            msn,
            open: None,
            opened: false,
            discontinuity,
            cuts: VecDeque::new(),
            dropped: 0,
        })
    }

    /// Takes the next sample of any track. Drain [`poll`](Self::poll) before the next.
    pub fn push(&mut self, sample: Sample) {
        if sample.track == self.reference.id {
            self.push_reference(sample);
        } else if let Some(lane) = self.lanes.iter_mut().find(|lane| lane.id() == sample.track) {
            lane.push(sample);
        } else {
            self.dropped += 1;
        }
        self.settle(false);
    }

    /// The next decision.
    pub fn poll(&mut self) -> Option<Cut> {
        self.cuts.pop_front()
    }

    /// Ends the open segment of every track as it is (TL-29). What follows begins a new one, with a sync sample.
    pub fn interrupt(&mut self) {
        if let (Some(end), Some(_)) = (self.reference.end.take(), self.open) {
            self.end_segment(end.at);
        }
        self.settle(true);
        for lane in &mut self.lanes {
            lane.restart();
        }
        self.reference.last_sync = None;
        self.reference.retime = Retime::default();
        self.discontinuity |= self.opened;
    }

    /// Takes out what came of sounds for after the pictures so far. Where the pictures go on with other parameters, it
    /// belongs beside those: their segment begins with it (TL-38).
    pub(crate) fn take_ahead(&mut self) -> Vec<Sample> {
        let Some(end) = self.reference.end else { return Vec::new() };
        self.lanes.iter_mut().flat_map(|lane| lane.take_ahead(end.at)).collect()
    }

    /// Bounds segments from now on: the target duration is fixed.
    pub fn set_longest(&mut self, longest: i64) {
        self.longest = Some(longest);
    }

    fn longest(&self) -> i64 {
        self.longest.unwrap_or(FIRST_SEGMENT_MOST)
    }

    /// Number of the segment that is open or comes next.
    pub fn msn(&self) -> u64 {
        self.msn
    }

    /// What follows does not continue what came before.
    pub fn discontinuity(&self) -> bool {
        self.discontinuity
    }

    /// Samples dropped so far: before the first sync sample, or overlapping their track's own past.
    pub fn dropped(&self) -> u64 {
        self.dropped + self.lanes.iter().map(Lane::dropped).sum::<u64>()
    }

    /// The samples of a follower stop coming, or are not taken any more. It is a gap from its newest part on, until its
    /// next sync sample. `false` for a track that is no follower.
    pub(crate) fn lose(&mut self, track: TrackId, missing: Missing) -> bool {
        let Some(lane) = self.lanes.iter_mut().find(|lane| lane.id() == track) else { return false };
        lane.lose(missing);
        self.settle(false);
        true
    }

    /// A follower is described anew: one that was refused may come back. Without `at_once` what comes of it can go on
    /// only where a segment begins.
    pub(crate) fn accept(&mut self, track: TrackId, at_once: bool) {
        self.lanes.iter_mut().filter(|lane| lane.id() == track).for_each(|lane| lane.accept(at_once));
    }

    /// A follower goes on with a sync sample at or behind this instant: up to there it is a gap, and then waited for.
    pub(crate) fn expect(&mut self, track: TrackId, at: i64) {
        self.lanes.iter_mut().filter(|lane| lane.id() == track).for_each(|lane| lane.expect(at));
        self.settle(false);
    }

    /// What came of this track belongs to segments that are complete.
    pub(crate) fn is_at_rest(&self, track: TrackId) -> bool {
        let lane = self.lanes.iter().find(|lane| lane.id() == track);
        lane.map_or(self.open.is_none() && self.reference.samples.is_empty(), Lane::is_at_rest)
    }

    fn push_reference(&mut self, mut sample: Sample) {
        if !self.reference.continues(&sample) {
            self.interrupt();
        }
        let starts = self.reference.end.is_none();
        if starts && !sample.sync {
            self.dropped += 1;
            return;
        }
        self.reference.retime.catch_up(&mut sample);
        let begin = self.reference.edge(sample.dts).at;
        if starts {
            self.lanes.iter_mut().for_each(|lane| lane.begin(begin));
            self.reference.part_start = begin;
        }
        let shown = sample.pts.as_flicks().clamp(begin, begin + retime::CARRY_MOST);
        let apart = if sample.sync && self.cuts_at_sync { self.note_sync(shown) } else { 0 };
        self.end_before(&sample, begin, shown, apart);
        self.open_for(&sample, begin, shown);
        let room = self.room(begin);
        self.reference.retime.fit(&mut sample, room);
        let after = self.reference.edge(sample.end());
        self.reference.samples.push(sample);
        self.reference.end = Some(after);
        self.end_after(after.at);
    }

    /// What is left of the open part for a sample that starts at `begin`.
    fn room(&self, begin: i64) -> Room {
        let PartRule { limit, spacing, target, slack, fixed } = self.rule;
        // Parts of single samples have no room to catch up in but what PART-TARGET leaves.
        let full = if limit < 2 * spacing { limit.max(target) } else { limit };
        let rounding = if fixed { slack.min(target - full).max(0) } else { 0 };
        Room { left: full - (begin - self.reference.part_start), rounding }
    }

    /// Ends what the sample that starts at `begin`, and is shown at `shown`, must not be part of. A sync sample comes
    /// `apart` behind the one before.
    fn end_before(&mut self, sample: &Sample, begin: i64, shown: i64, apart: i64) {
        let Some(open) = self.open else { return };
        // Its distance is that of the pictures, whatever was re-timed; but no segment is less than a part.
        let passed = shown - open.shown;
        // Keyframes that lost or doubled frames have moved: another one as far away would come too late to end it.
        let last_chance = 2 * passed >= self.segment && passed + apart > self.longest();
        let due = (passed >= self.segment - self.rule.spacing / 2 || last_chance)
            && begin - open.start >= self.rule.limit - self.rule.slack;
        if self.cuts_at_sync && sample.sync && (due || !open.sync) {
            return self.end_segment(begin);
        }
        if begin + Retime::fitting(sample, self.room(begin)) - open.start > self.longest() {
            self.end_segment(begin);
        }
    }

    /// Opens a segment with this sample, if none is open.
    fn open_for(&mut self, sample: &Sample, begin: i64, shown: i64) {
        if self.open.is_some() {
            return;
        }
        self.open = Some(Open { start: begin, shown, sync: sample.sync });
        self.opened = true;
        let discontinuity = std::mem::take(&mut self.discontinuity);
        if !sample.sync {
            let length = (begin - self.reference.last_sync.unwrap_or(begin)).max(0);
            self.cuts.push_back(Cut::Gop { length, forced: true });
        }
        self.cuts.push_back(Cut::Open { msn: self.msn, start: begin, discontinuity, sync: sample.sync });
        let after = self.base + self.steps.len() as u64;
        self.lanes.iter_mut().for_each(|lane| lane.open(Begin { after, at: begin, sync: sample.sync }));
    }

    /// Ends the part right after its last sample when no other fits, and the segment where it need not wait for a
    /// sync sample, or can't any more.
    fn end_after(&mut self, end: i64) {
        if end - self.reference.part_start < self.rule.limit - self.rule.slack {
            return;
        }
        self.end_part(end);
        let Some(open) = self.open else { return };
        let due = !self.cuts_at_sync && end - open.start >= self.segment - self.rule.limit / 2;
        // Off the grid each sample is measured before it is taken: the last part may be short.
        let last = self.rule.fixed && end - open.start + self.rule.limit > self.longest();
        if due || last {
            self.end_segment(end);
        }
    }

    fn end_part(&mut self, at: i64) {
        self.step(at, false);
    }

    fn end_segment(&mut self, at: i64) {
        self.step(at, true);
        self.open = None;
        self.msn += 1;
    }

    fn step(&mut self, at: i64, closes: bool) {
        let samples = std::mem::take(&mut self.reference.samples);
        let (track, msn) = (self.reference.id, self.msn);
        if !samples.is_empty() {
            self.cuts.push_back(Cut::Part(Part { track, msn, samples }));
        }
        if closes {
            self.cuts.push_back(Cut::Close { track, msn, end: at });
        }
        self.reference.part_start = at;
        self.steps.push_back(Step { at, msn, closes });
    }

    /// Takes in where a sync sample is shown; how far behind the one before.
    fn note_sync(&mut self, at: i64) -> i64 {
        let Some(last) = self.reference.last_sync.replace(at) else { return 0 };
        let length = (at - last).max(0);
        self.cuts.push_back(Cut::Gop { length, forced: false });
        length
    }

    /// Where a sample that is yet to come may end the open segment at the earliest: a sound that was cut beyond it would
    /// begin the next segment later than the picture (TL-38). Frames that are lost may bring the end before it.
    fn earliest_end(&self, open: Open, longest: i64) -> i64 {
        let PartRule { limit, spacing, .. } = self.rule;
        if !self.cuts_at_sync {
            return open.start + self.segment - limit / 2;
        }
        if !open.sync {
            return open.start;
        }
        let since = self.reference.last_sync.map_or(0, |last| (last - open.shown).max(0));
        let last_chance = (self.segment / 2).max((longest + since) / 2);
        open.start + last_chance.min(self.segment - spacing / 2).min(longest - limit)
    }

    /// Lets the followers pass the boundaries they can.
    fn settle(&mut self, forced: bool) {
        let watermark = self.reference.end.map(|end| end.at);
        let most = self.open.zip(self.longest).map(|(open, longest)| self.earliest_end(open, longest));
        let pending = Pending { base: self.base, steps: self.steps.make_contiguous(), watermark, forced };
        for lane in &mut self.lanes {
            lane.advance(&pending, &mut self.cuts);
            // Before there is a promise nobody listens, and what is taken could break it.
            if let (Some(watermark), Some(most)) = (watermark, most) {
                lane.run_ahead(watermark, self.msn, most, &mut self.cuts);
            }
        }
        let passed = self.lanes.iter().map(Lane::passed).min().unwrap_or(u64::MAX);
        while self.base < passed && self.steps.pop_front().is_some() {
            self.base += 1;
        }
    }
}

impl Reference {
    fn new(track: &Track) -> Self {
        Self {
            id: track.id,
            delay: track.reorder_delay,
            samples: Vec::new(),
            part_start: 0,
            end: None,
            last_sync: None,
            retime: Retime::default(),
        }
    }

    /// The sample begins where the last one ended, and can be placed there: behind a second, a sync sample begins
    /// anew.
    fn continues(&self, sample: &Sample) -> bool {
        let behind = MediaTime::new(self.retime.carry(), sample.dts.scale).as_flicks();
        let contiguous = self.end.is_none_or(|end| end.dts + self.retime.carry() == sample.dts.ticks);
        contiguous && !(sample.sync && behind >= retime::CARRY_MOST)
    }

    /// The presentation instant of a decode time: what a sync sample there would be shown at (TL-41).
    fn edge(&self, dts: MediaTime) -> Edge {
        Edge { dts: dts.ticks, at: dts.offset(self.delay).as_flicks() }
    }
}
