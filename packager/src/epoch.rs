//! One life of a stream's URLs: its renditions, what they promise together, and what is published of them.

use std::collections::VecDeque;
use std::time::Duration;

use aqueduct_common::feed::Absence;
use aqueduct_common::{ClockMap, MediaTime, Track, TrackId, TrackKind, TrackSet, Update, WallTime};

use crate::checkpoint::{Checkpoint, Directories, Kept};
use crate::config::Plan;
use crate::cutter::Part;
use crate::names::{self, Directory};
use crate::playlist::multivariant::Ladder;
use crate::playlist::snapshot::{Control, Report};
use crate::publish;
use crate::rendition::{Rendition, Start};
use crate::stream::Output;
use crate::targets::MILLI;

/// Segments whose beginning is remembered: far more than a track can be behind.
const STARTS: usize = 256;

/// How long the first playlists wait for a sound that has nothing yet, once the reference has a segment; in
/// microseconds of what the reference lists meanwhile.
const START_PATIENCE: u64 = 5_000_000;

/// The same for a rung. The reference plays without it.
const START_PATIENCE_RUNG: u64 = 700_000;

/// A stream under one set of URLs.
#[derive(Debug)]
pub(crate) struct Epoch {
    plan: Plan,
    id: names::Epoch,
    /// PART-TARGET in flicks.
    part_target: i64,
    /// The promises, once the first segment is complete.
    control: Option<Control>,
    renditions: Vec<Rendition>,
    /// Directories used so far, for video and audio.
    used: [u32; 2],
    /// Renditions go on in these directories: they were on air when a restart came.
    resumes: Directories,
    /// No part of the epoch has had this number or a higher one.
    next_part: u64,
    starts: VecDeque<Start>,
    era: u64,
    /// Of an epoch that goes on: from which number and which moment on nothing was published.
    missed: Option<(u64, WallTime)>,
    live: bool,
    independent: bool,
    /// What the multivariant playlist says may have changed.
    relist: bool,
    ladder: Option<Ladder>,
}

/// Where a stream stands when it publishes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// The reference track.
    pub(crate) reference: TrackId,
    /// Number of the next segment.
    pub(crate) next_msn: u64,
    /// Now.
    pub(crate) now: WallTime,
}

impl Epoch {
    /// An epoch that begins, or goes on where `resumed` ended.
    pub(crate) fn new(plan: Plan, id: names::Epoch, part_target: i64, resumed: Option<&Checkpoint>) -> Self {
        let window = plan.window().as_secs();
        let part_millis = (part_target / MILLI) as u32;
        Self {
            plan,
            id,
            part_target,
            control: resumed.map(|at| Control::new(at.target_duration, part_millis, window)),
            renditions: Vec::new(),
            used: resumed.map_or([0; 2], |at| at.directories.used),
            resumes: resumed.map_or_else(Directories::default, |at| at.directories),
            next_part: resumed.map_or(1, |at| at.next_part),
            starts: VecDeque::new(),
            era: resumed.map_or(0, |at| at.era),
            missed: resumed.and_then(|at| Some((at.missed_msn?, at.next_date()))),
            live: false,
            independent: true,
            relist: false,
            ladder: None,
        }
    }

    /// PART-TARGET in flicks.
    pub(crate) fn part_target(&self) -> i64 {
        self.part_target
    }

    /// EXT-X-TARGETDURATION, once it is fixed.
    pub(crate) fn target_duration(&self) -> Option<u32> {
        self.control.map(|control| control.target_duration)
    }

    /// The playlists are out.
    pub(crate) fn is_live(&self) -> bool {
        self.live
    }

    /// Its name in paths.
    pub(crate) fn id(&self) -> names::Epoch {
        self.id
    }

    /// Fixes the target duration, for the life of the epoch (LLHLS-1).
    pub(crate) fn promise(&mut self, target_duration: u32) {
        let part_target = (self.part_target / MILLI) as u32;
        self.control = Some(Control::new(target_duration, part_target, self.plan.window().as_secs()));
    }

    /// Not every segment begins with a sync sample any more.
    pub(crate) fn lose_independence(&mut self) {
        self.independent = false;
    }

    /// Takes the tracks as they are from now on. A rendition whose track is gone ends; one whose track is new
    /// begins in a directory of its own.
    pub(crate) fn set_tracks(&mut self, tracks: &TrackSet, out: &mut Vec<Output>) {
        let (kept, gone) = std::mem::take(&mut self.renditions).into_iter().partition(|rendition| {
            let now = tracks.by_id(rendition.track.id);
            now.is_some_and(|track| track.kind() == rendition.track.kind())
        });
        self.renditions = kept;
        for rendition in &gone {
            self.end_rendition(rendition, out);
        }
        for track in &tracks.tracks {
            let known = self.renditions.iter_mut().find(|rendition| rendition.track.id == track.id);
            let described = match known {
                Some(rendition) => rendition.describe(track),
                None => self.begin_rendition(track).map(|()| None),
            };
            match described {
                Ok(init) => out.extend(init.map(Output::Update)),
                Err(error) => tracing::warn!(track = ?track.id, %error, "track left out"),
            }
        }
        // Who comes now is not sent to a list that has ended, nor told of parameters that are gone.
        if self.live && self.renditions.iter().any(Rendition::is_offered) {
            self.publish_multivariant(out);
        }
    }

    /// Remembers where a segment begins.
    pub(crate) fn open(&mut self, msn: u64, at: i64, discontinuity: bool, clock: ClockMap) {
        self.era += u64::from(discontinuity);
        let start = Start { msn, at, era: self.era, discontinuity, clock };
        if let (Some((from, since)), Some(control)) = (self.missed.take(), &self.control) {
            for rendition in &mut self.renditions {
                rendition.miss(from, since, &start, control.target_duration);
            }
        }
        self.starts.push_back(start);
        if self.starts.len() > STARTS {
            self.starts.pop_front();
        }
    }

    /// First instant of a segment, in flicks.
    pub(crate) fn start_of(&self, msn: u64) -> Option<i64> {
        self.start(msn).map(|start| start.at)
    }

    /// Publishes a part and lists it.
    pub(crate) fn write(&mut self, part: &Part, clock: &ClockMap, out: &mut Vec<Output>) {
        let Some(start) = self.start(part.msn) else { return };
        let Some(rendition) = self.rendition(part.track) else { return };
        let kind = rendition.track.kind();
        let (object, line) = match rendition.write(part, &start, clock) {
            Ok(written) => written,
            Err(error) => return tracing::warn!(track = ?part.track, %error, "part left out"),
        };
        let bytes = object.len();
        if let Some(update) = rendition.ready(Update::Publish(object)) {
            out.push(Output::Update(update));
            let received = part.samples.iter().map(|sample| sample.received).max().unwrap_or_default();
            out.push(Output::Part { kind, bytes, micros: line.micros, received });
        }
    }

    /// Lists a part that is not there (LLHLS-18).
    pub(crate) fn skip(&mut self, track: TrackId, msn: u64, from: i64, to: i64) {
        let Some(start) = self.start(msn) else { return };
        // Differences of absolute times add up (TL-1).
        let micros = MediaTime::flicks(to).micros() - MediaTime::flicks(from).micros();
        if let Some(rendition) = self.rendition(track) {
            rendition.skip(&start, from, micros.max(0).cast_unsigned());
        }
    }

    /// Publishes a segment and lists it.
    pub(crate) fn close(&mut self, track: TrackId, msn: u64, end: i64, out: &mut Vec<Output>) {
        let Some(start) = self.start(msn) else { return };
        let Some(rendition) = self.rendition(track) else { return };
        if let Some(object) = rendition.close(&start, end) {
            out.extend(rendition.ready(Update::Publish(object)).map(Output::Update));
        }
        match rendition.renew() {
            Ok(init) => out.extend(init.map(Output::Update)),
            Err(error) => tracing::warn!(?track, %error, "the track keeps its init segment"),
        }
    }

    /// A track's parameters have changed: from now on, or with its next segment.
    pub(crate) fn change(&mut self, track: &Track, at_once: bool, out: &mut Vec<Output>) {
        let Some(rendition) = self.rendition(track.id) else { return };
        rendition.describe_next(track);
        if at_once {
            match rendition.renew() {
                Ok(init) => out.extend(init.map(Output::Update)),
                Err(error) => tracing::warn!(track = ?track.id, %error, "the track keeps its init segment"),
            }
        }
        self.relist = true;
    }

    /// A track has no samples any more. One that sleeps has no playlist either, and a request for that tells that
    /// somebody wants it; one that was shed is not offered.
    pub(crate) fn lose(&mut self, track: TrackId, absence: Absence, out: &mut Vec<Output>) {
        let Some(rendition) = self.rendition(track) else { return };
        let before = rendition.absence.replace(absence);
        if absence == Absence::Asleep && rendition.is_live() {
            rendition.shown = None;
            out.push(Output::Update(publish::sleep(&rendition.directory, track)));
        }
        rendition.changed |= before == Some(Absence::Asleep) || std::mem::take(&mut rendition.waking);
        self.relist = true;
    }

    /// A track that was missing is back.
    pub(crate) fn regain(&mut self, track: TrackId) {
        let Some(rendition) = self.rendition(track) else { return };
        rendition.waking |= rendition.absence.take() == Some(Absence::Asleep);
        self.relist = true;
    }

    /// Tracks without samples, and why.
    pub(crate) fn absences(&self) -> Vec<(TrackId, Absence)> {
        let absent = |rendition: &Rendition| Some((rendition.track.id, rendition.absence?));
        self.renditions.iter().filter_map(absent).collect()
    }

    /// Publishes what has changed: each rendition's playlist for itself, since nobody waits for another.
    pub(crate) fn flush(&mut self, at: &Moment, out: &mut Vec<Output>) {
        self.go_live(at.reference, false, out);
        let Some(control) = self.control.filter(|_| self.live) else { return };
        let mut kept = false;
        for index in 0..self.renditions.len() {
            let Some(rendition) = self.renditions.get_mut(index).filter(|one| one.is_live()) else {
                continue;
            };
            let closed = std::mem::take(&mut rendition.closed);
            let changed = std::mem::take(&mut rendition.changed) && rendition.is_shown();
            let reference = rendition.track.id == at.reference;
            let retired = if closed { self.trim(index, &control) } else { Vec::new() };
            if changed {
                self.publish_playlist(index, &control, false, out);
            }
            out.extend(retired.into_iter().map(Output::Update));
            self.relist |= closed;
            kept |= closed && reference;
        }
        if std::mem::take(&mut self.relist) {
            self.publish_multivariant(out);
        }
        if kept {
            out.push(Output::Checkpoint(self.checkpoint(&control, at)));
        }
    }

    /// Ends all playlists together (LLHLS-17).
    pub(crate) fn end(&mut self, reference: TrackId, out: &mut Vec<Output>) {
        self.go_live(reference, true, out);
        let Some(control) = self.control.filter(|_| self.live) else { return };
        for index in 0..self.renditions.len() {
            let Some(rendition) = self.renditions.get_mut(index).filter(|one| one.is_live()) else {
                continue;
            };
            if rendition.window.is_empty() {
                // It slept from the start: nobody is sent to what never was.
                rendition.absence = Some(Absence::Shed);
            } else {
                self.publish_playlist(index, &control, true, out);
            }
        }
        self.publish_multivariant(out);
        let listed = self.renditions.iter().map(|rendition| rendition.window.micros()).max().unwrap_or(0);
        let linger = self.linger(&control).max(Duration::from_micros(listed));
        out.push(Output::Update(Update::End { linger }));
        out.push(Output::Ended);
    }

    /// Makes renditions live that have a segment. The first ones wait for each other for a while.
    fn go_live(&mut self, reference: TrackId, must: bool, out: &mut Vec<Output>) {
        let first = !self.live;
        if first {
            let waited =
                self.rendition(reference).map_or(0, |rendition| rendition.window.micros_since_ready());
            let waits = |rendition: &Rendition| {
                !rendition.is_ready()
                    && rendition.absence.is_none()
                    && waited <= patience(rendition, reference)
            };
            let some = self.renditions.iter().any(|rendition| rendition.window.is_ready());
            if !some || (!must && self.renditions.iter().any(waits)) {
                return;
            }
            self.live = true;
        }
        for rendition in self.renditions.iter_mut().filter(|one| !one.is_live() && one.is_ready()) {
            out.extend(rendition.go_live().into_iter().map(Output::Update));
            if rendition.absence == Some(Absence::Asleep) || rendition.waking {
                out.push(Output::Update(publish::sleep(&rendition.directory, rendition.track.id)));
            }
            // Nobody has read the multivariant playlist before, so that reports may tell what is out with it.
            rendition.shown = (first && rendition.is_shown()).then(|| rendition.window.version());
            self.relist = true;
        }
    }

    /// Takes from a list what is older than the window.
    fn trim(&mut self, index: usize, control: &Control) -> Vec<Update> {
        let three = 3_000_000 * u64::from(control.target_duration);
        let span = u64::try_from(self.plan.window().as_micros()).unwrap_or(u64::MAX).max(three);
        let linger = self.linger(control);
        let Some(rendition) = self.renditions.get_mut(index) else { return Vec::new() };
        let mut gone = rendition.window.fold_parts(three);
        if let Some(oldest) = rendition.window.oldest_within(span) {
            gone.extend(rendition.window.trim(oldest));
        }
        let retired = |file: String| Update::Retire { path: rendition.directory.path(&file), linger };
        gone.into_iter().map(retired).collect()
    }

    /// Publishes one rendition's playlist. Its reports tell what the others show at this moment (LLHLS-16).
    fn publish_playlist(&mut self, index: usize, control: &Control, ended: bool, out: &mut Vec<Output>) {
        let others = self.renditions.iter().enumerate().filter(|(other, _)| *other != index);
        let reports: Vec<Report> = others.filter_map(|(_, rendition)| report(rendition)).collect();
        let Some(rendition) = self.renditions.get_mut(index) else { return };
        let (directory, window) = (&rendition.directory, &rendition.window);
        let object = publish::playlist(directory, rendition.track.id, window, control, &reports, ended);
        rendition.shown = Some(rendition.window.version());
        out.push(Output::Update(Update::Publish(object)));
    }

    fn publish_multivariant(&mut self, out: &mut Vec<Output>) {
        let offered = || self.renditions.iter().filter(|rendition| rendition.is_offered());
        let ladder = Ladder {
            videos: offered().filter_map(Rendition::video).collect(),
            sounds: offered().filter_map(Rendition::sound).collect(),
            independent: self.independent,
            steered: self.plan.is_steered(),
        };
        if self.ladder.as_ref() != Some(&ladder) {
            out.push(Output::Update(Update::Publish(publish::multivariant(&ladder))));
            self.ladder = Some(ladder);
        }
    }

    fn begin_rendition(&mut self, track: &Track) -> Result<(), crate::fmp4::BoxError> {
        let kind = kind_index(track.kind());
        let count = self.resumes.take(track.id, kind).unwrap_or(self.used[kind]);
        let directory = Directory::new(self.id, track.kind(), count);
        let segment = u64::try_from(self.plan.segment().as_micros()).unwrap_or(u64::MAX);
        self.renditions.push(Rendition::new(track, directory, self.next_part, segment)?);
        self.used[kind] = self.used[kind].max(count + 1);
        Ok(())
    }

    /// A rendition whose track is gone: its playlist ends, and what it has stays for as long as that lists it.
    fn end_rendition(&self, rendition: &Rendition, out: &mut Vec<Output>) {
        let Some(control) = self.control.filter(|_| rendition.is_live()) else { return };
        let window = &rendition.window;
        if window.is_empty() {
            // It slept from the start: whoever waits for it is told that it will not come.
            let path = rendition.directory.path(names::PLAYLIST);
            return out.push(Output::Update(Update::Retire { path, linger: Duration::ZERO }));
        }
        let object = publish::playlist(&rendition.directory, rendition.track.id, window, &control, &[], true);
        out.push(Output::Update(Update::Publish(object)));
        let linger = self.linger(&control).max(Duration::from_micros(window.micros()));
        let files = window.files().into_iter().chain([names::PLAYLIST.to_owned()]);
        out.extend(files.map(|file| {
            let path = rendition.directory.path(&file);
            Output::Update(Update::Retire { path, linger })
        }));
    }

    /// What a restart needs to go on without using a name twice.
    fn checkpoint(&self, control: &Control, at: &Moment) -> Checkpoint {
        let newest = self.renditions.iter().map(Rendition::next_part).max();
        Checkpoint {
            epoch: self.id.0,
            next_msn: at.next_msn,
            next_part: newest.unwrap_or(self.next_part),
            era: self.era,
            target_duration: control.target_duration,
            part_target: control.part_target,
            wall_micros: at.now.micros,
            next_micros: self.next_date(at).micros,
            directories: self.directories(),
            missed_msn: None,
        }
    }

    /// When what comes next was captured: where the reference's newest segment ends.
    fn next_date(&self, at: &Moment) -> WallTime {
        let reference = self.renditions.iter().find(|rendition| rendition.track.id == at.reference);
        reference.and_then(|reference| reference.window.end_date()).unwrap_or(at.now)
    }

    fn directories(&self) -> Directories {
        let mut directories = Directories { used: self.used, ..self.resumes };
        for kind in [TrackKind::Video, TrackKind::Audio] {
            let of_kind = self.renditions.iter().filter(|rendition| rendition.track.kind() == kind);
            let on_air = of_kind.map(|rendition| Kept {
                track: rendition.track.id.0,
                directory: rendition.directory.count(),
            });
            directories = directories.with(kind_index(kind), on_air);
        }
        directories
    }

    /// How long a file stays that no list names any more (LLHLS-7).
    fn linger(&self, control: &Control) -> Duration {
        self.plan.retention().max(Duration::from_secs(3 * u64::from(control.target_duration)))
    }

    fn start(&self, msn: u64) -> Option<Start> {
        self.starts.iter().rev().find(|start| start.msn == msn).copied()
    }

    fn rendition(&mut self, track: TrackId) -> Option<&mut Rendition> {
        self.renditions.iter_mut().find(|rendition| rendition.track.id == track)
    }
}

/// Where a kind's directories are counted.
fn kind_index(kind: TrackKind) -> usize {
    usize::from(kind == TrackKind::Audio)
}

/// What a rendition's playlist says, where one is out.
fn report(rendition: &Rendition) -> Option<Report> {
    let version = rendition.shown.filter(|_| rendition.is_live())?;
    Some(Report { uri: rendition.directory.from_sibling(), msn: version.msn, part: version.part })
}

/// How long the first playlists wait for a rendition.
fn patience(rendition: &Rendition, reference: TrackId) -> u64 {
    let rung = rendition.track.kind() == TrackKind::Video && rendition.track.id != reference;
    if rung { START_PATIENCE_RUNG } else { START_PATIENCE }
}
