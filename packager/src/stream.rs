//! One stream, from its feed to what is published: a pure value.
//!
//! [`Stream::push`] takes a message, [`Stream::drain`] gives what came of it. The epoch's promises are made here:
//! PART-TARGET with the first tracks, EXT-X-TARGETDURATION with the first complete segment, both once.

use std::sync::Arc;

use aqueduct_common::event::{Advice, Anomaly};
use aqueduct_common::feed::{Absence, Break};
use aqueduct_common::{
    ClockMap, Event, Feed, MediaTime, Sample, StreamName, Track, TrackId, TrackKind, TrackSet, Update,
    WallTime,
};

use crate::checkpoint::{Checkpoint, Origin};
use crate::config::Plan;
use crate::cutter::{Cut, Cutter};
use crate::epoch::{Epoch, Moment};
use crate::lane::Missing;
use crate::names;
use crate::targets::{self, MILLI};

/// What comes of a message, in order.
#[derive(Debug)]
pub enum Output {
    /// For the edge.
    Update(Update),
    /// A part was published.
    Part {
        /// Video or audio.
        kind: TrackKind,
        /// Its length in bytes.
        bytes: usize,
        /// Its duration in microseconds.
        micros: u64,
        /// When its last sample arrived.
        received: WallTime,
    },
    /// For analytics.
    Event(Event),
    /// To be kept for a restart; replaces earlier ones.
    Checkpoint(Checkpoint),
    /// The stream has ended: nothing is to be resumed.
    Ended,
}

/// One stream's packager.
#[derive(Debug)]
pub struct Stream {
    name: StreamName,
    plan: Plan,
    origin: Origin,
    clock: Option<ClockMap>,
    tracks: Arc<TrackSet>,
    cutter: Option<Cutter>,
    /// Sound that came for after the pictures before the tracks changed: the next of it may join there.
    ahead: Vec<Sample>,
    epoch: Option<Epoch>,
    /// Why the next segment is a discontinuity.
    reason: Option<Break>,
    announced: bool,
    now: WallTime,
    out: Vec<Output>,
}

impl Stream {
    /// A stream that begins where `origin` says.
    pub fn new(name: StreamName, plan: Plan, origin: Origin) -> Self {
        Self {
            name,
            plan,
            origin,
            clock: None,
            tracks: Arc::default(),
            cutter: None,
            ahead: Vec::new(),
            epoch: None,
            reason: None,
            announced: false,
            now: WallTime::default(),
            out: Vec::new(),
        }
    }

    /// Takes the next message, at `now`.
    pub fn push(&mut self, message: Feed, now: WallTime) {
        self.now = now;
        match message {
            Feed::Tracks(tracks) => self.change_tracks(tracks),
            Feed::Discontinuity(reason) => {
                self.interrupt();
                self.reason = Some(reason);
            }
            Feed::Changed(track) => self.change_track(&track),
            Feed::Lost(track, absence) => self.lose(track, absence),
            Feed::Returns(track, at) => {
                if let Some(cutter) = &mut self.cutter {
                    cutter.expect(track, at.as_flicks());
                    self.apply_cuts();
                }
            }
            Feed::Clock(clock) => self.clock = Some(clock),
            Feed::Sample(sample) => self.push_sample(sample),
        }
    }

    /// Number of the epoch that its URLs name, once it has tracks.
    pub fn epoch(&self) -> Option<u64> {
        self.epoch.as_ref().map(|epoch| epoch.id().0)
    }

    /// What came of it.
    pub fn drain(&mut self) -> std::vec::Drain<'_, Output> {
        self.out.drain(..)
    }

    /// The feed has closed: completes what is open and ends all playlists (LLHLS-17).
    pub fn finish(&mut self, now: WallTime) {
        self.now = now;
        if let Some(cutter) = &mut self.cutter {
            cutter.interrupt();
            tracing::debug!(stream = %self.name, dropped = cutter.dropped(), "feed closed");
        }
        self.apply_cuts();
        let Some(reference) = self.tracks.reference().map(|track| track.id) else { return };
        if let Some(epoch) = &mut self.epoch {
            epoch.end(reference, &mut self.out);
        }
        self.announce();
        if self.announced
            && let Some(epoch) = &self.epoch
        {
            let epoch = epoch.id().to_string();
            self.out.push(Output::Event(Event::PackagerEnded { stream: self.name.clone(), epoch }));
        }
    }

    fn push_sample(&mut self, sample: Sample) {
        self.clock.get_or_insert(ClockMap { media: sample.pts, wall: sample.received });
        let mut ahead: Vec<Sample> = self.ahead.extract_if(.., |ahead| ahead.track == sample.track).collect();
        if ahead.last().is_some_and(|last| last.end().ticks != sample.dts.ticks) {
            ahead.clear();
        }
        for sample in ahead.into_iter().chain([sample]) {
            if let Some(cutter) = &mut self.cutter {
                cutter.push(sample);
                self.apply_cuts();
            }
        }
    }

    /// Ends the open segment of every rendition. Before the first one is complete there is nothing to keep: its
    /// length would say nothing about the source's.
    fn interrupt(&mut self) {
        let settled = self.epoch.as_ref().is_some_and(|epoch| epoch.target_duration().is_some());
        if !settled {
            self.begin();
        } else if let Some(cutter) = &mut self.cutter {
            cutter.interrupt();
            self.apply_cuts();
        }
    }

    fn change_tracks(&mut self, tracks: Arc<TrackSet>) {
        let mut ahead = self.cutter.as_mut().map_or_else(Vec::new, Cutter::take_ahead);
        ahead.retain(|sample| self.tracks.by_id(sample.track) == tracks.by_id(sample.track));
        self.interrupt();
        self.reason = None;
        self.tracks = tracks;
        self.ahead = ahead;
        self.go_on_with_tracks();
    }

    fn go_on_with_tracks(&mut self) {
        let Some(epoch) = self.epoch.as_mut().filter(|epoch| epoch.target_duration().is_some()) else {
            return self.begin();
        };
        let (msn, discontinuity) =
            self.cutter.as_ref().map_or((1, true), |cutter| (cutter.msn(), cutter.discontinuity()));
        let target = epoch.part_target();
        let rule =
            targets::refit(&self.tracks, target).unwrap_or_else(|| targets::squeeze(&self.tracks, target));
        let longest = targets::longest_segment(&self.tracks, epoch.target_duration().unwrap_or(1));
        epoch.set_tracks(&self.tracks, &mut self.out);
        let segment = MediaTime::from_duration(self.plan.segment()).ticks;
        self.cutter = Cutter::new(&self.tracks, rule, segment, Some(longest), msn, discontinuity);
        // Whoever was missing is still, until a sync sample of it begins a segment.
        if let Some(cutter) = &mut self.cutter {
            for (track, absence) in epoch.absences() {
                cutter.lose(track, missing(absence));
            }
        }
    }

    /// One track goes on with other parameters. Where they fit no segment between two others of its list, they are
    /// not taken: the rendition stays a gap, out of the multivariant playlist, until it or all tracks are described
    /// anew.
    fn change_track(&mut self, track: &Arc<Track>) {
        let (Some(epoch), Some(cutter)) = (&mut self.epoch, &mut self.cutter) else { return };
        let Some(before) = self.tracks.by_id(track.id) else { return };
        if !fits(before, track) {
            tracing::warn!(stream = %self.name, track = ?track.id, "changed to what its list cannot go on with");
            if cutter.lose(track.id, Missing::Refused) {
                epoch.lose(track.id, Absence::Shed, &mut self.out);
            }
            return self.apply_cuts();
        }
        let at_once = cutter.is_at_rest(track.id);
        cutter.accept(track.id, at_once);
        epoch.change(track, at_once, &mut self.out);
        let replaced = |one: &Track| if one.id == track.id { (**track).clone() } else { one.clone() };
        self.tracks = Arc::new(TrackSet { tracks: self.tracks.tracks.iter().map(replaced).collect() });
        self.apply_cuts();
    }

    fn lose(&mut self, track: TrackId, absence: Absence) {
        let (Some(epoch), Some(cutter)) = (&mut self.epoch, &mut self.cutter) else { return };
        if cutter.lose(track, missing(absence)) {
            epoch.lose(track, absence, &mut self.out);
            self.apply_cuts();
        }
    }

    /// Begins the epoch: a new one, or the one that a restart cut short if its promises can be kept.
    fn begin(&mut self) {
        if self.tracks.tracks.is_empty() {
            return;
        }
        let segment = MediaTime::from_duration(self.plan.segment()).ticks;
        let resumed = self.origin.resumed.as_ref().and_then(|at| {
            let rule = targets::refit(&self.tracks, i64::from(at.part_target) * MILLI)?;
            (targets::target_duration(self.plan.segment(), segment) <= at.target_duration)
                .then_some((at, rule))
        });
        let (mut epoch, cutter) = match resumed {
            Some((at, rule)) => {
                let epoch = Epoch::new(self.plan.clone(), names::Epoch(at.epoch), rule.target, Some(at));
                let longest = targets::longest_segment(&self.tracks, at.target_duration);
                (epoch, Cutter::new(&self.tracks, rule, segment, Some(longest), at.next_msn, true))
            }
            None => {
                let rule = targets::choose(&self.tracks, self.plan.part());
                let epoch = Epoch::new(self.plan.clone(), names::Epoch(self.origin.fresh), rule.target, None);
                (epoch, Cutter::new(&self.tracks, rule, segment, None, 1, false))
            }
        };
        epoch.set_tracks(&self.tracks, &mut self.out);
        self.epoch = Some(epoch);
        self.cutter = cutter;
    }

    fn apply_cuts(&mut self) {
        while let Some(cut) = self.cutter.as_mut().and_then(Cutter::poll) {
            self.apply(cut);
        }
        if let (Some(epoch), Some(cutter)) = (&mut self.epoch, &self.cutter)
            && let Some(reference) = self.tracks.reference().map(|track| track.id)
        {
            let moment = Moment { reference, next_msn: cutter.msn(), now: self.now };
            epoch.flush(&moment, &mut self.out);
        }
        self.announce();
    }

    fn apply(&mut self, cut: Cut) {
        let (Some(epoch), Some(cutter), Some(clock)) = (&mut self.epoch, &mut self.cutter, self.clock) else {
            return;
        };
        let Some(reference) = self.tracks.reference().map(|track| track.id) else { return };
        match cut {
            Cut::Open { msn, start, discontinuity, sync } => {
                epoch.open(msn, start, discontinuity, clock);
                if !sync {
                    epoch.lose_independence();
                }
                if discontinuity && epoch.is_live() {
                    let (stream, reason) = (self.name.clone(), self.reason);
                    self.out.push(Output::Event(Event::Discontinuity { stream, reason }));
                }
            }
            Cut::Part(part) => epoch.write(&part, &clock, &mut self.out),
            Cut::Gap { track, msn, from, to } => epoch.skip(track, msn, from, to),
            Cut::Close { track, msn, end } => {
                if track == reference && epoch.target_duration().is_none() {
                    let length = end - epoch.start_of(msn).unwrap_or(end);
                    let seconds = targets::target_duration(self.plan.segment(), length);
                    epoch.promise(seconds);
                    cutter.set_longest(targets::longest_segment(&self.tracks, seconds));
                }
                epoch.close(track, msn, end, &mut self.out);
            }
            Cut::Gop { length, forced } => self.advise(length, forced),
            Cut::Astray { track, msn, why } => {
                let (stream, reason) = (self.name.clone(), why.as_str());
                tracing::warn!(%stream, ?track, msn, reason, "a gap");
                self.out.push(Output::Event(Event::Astray {
                    stream,
                    track,
                    segment: msn,
                    reason: reason.into(),
                }));
            }
            Cut::Back { track } => epoch.regain(track),
        }
    }

    /// Says when keyframes are too far apart, in words that OBS knows, and each time that one came too late.
    fn advise(&mut self, length: i64, forced: bool) {
        let stream = &self.name;
        if forced {
            let (kind, count) = (Anomaly::LongGop, 1);
            self.out.push(Output::Event(Event::Anomaly { stream: stream.clone(), kind, count }));
        }
        let segment = MediaTime::from_duration(self.plan.segment()).ticks;
        // Twice a segment, and what OBS users are told everywhere, two seconds, is well.
        if forced || length > (2 * segment).max(2_000 * MILLI) + 100 * MILLI {
            let is_millis = u32::try_from(length / MILLI).unwrap_or(u32::MAX);
            let set_seconds = u32::try_from(self.plan.segment().as_secs()).unwrap_or(1).max(1);
            let advice = Advice::KeyframeInterval { is_millis, set_seconds };
            self.out.push(Output::Event(Event::Advice { stream: stream.clone(), advice }));
        }
    }

    /// Tells once that the first playlists are out.
    fn announce(&mut self) {
        let Some(epoch) = self.epoch.as_ref().filter(|epoch| !self.announced && epoch.is_live()) else {
            return;
        };
        self.announced = true;
        self.out.push(Output::Event(Event::PackagerLive {
            stream: self.name.clone(),
            epoch: epoch.id().to_string(),
            target_duration: epoch.target_duration().unwrap_or(1),
            part_target_micros: u32::try_from(epoch.part_target() / (MILLI / 1_000)).unwrap_or(u32::MAX),
        }));
    }
}

/// How a track's absence is cut.
fn missing(absence: Absence) -> Missing {
    match absence {
        Absence::Failed | Absence::Shed => Missing::Lost,
        Absence::Asleep => Missing::Asleep,
    }
}

/// A list of `before` may go on with `after` behind another init segment alone: decoders are set up anew, but neither
/// time nor what the multivariant playlist says of the rendition changes (TL-24, TL-41).
fn fits(before: &Track, after: &Track) -> bool {
    let size = |track: &Track| track.codec.picture().map(|picture| picture.display());
    std::mem::discriminant(&before.codec) == std::mem::discriminant(&after.codec)
        && before.timescale == after.timescale
        && before.reorder_delay == after.reorder_delay
        && size(before) == size(after)
        && before.codec.sound().map(|(_, channels)| channels)
            == after.codec.sound().map(|(_, channels)| channels)
}
