//! One life of a stream's URLs: its renditions, what they promise together, and what is published of them.

use std::collections::VecDeque;
use std::time::Duration;

use aqueduct_common::{ClockMap, TrackId, TrackKind, TrackSet, Update, WallTime};

use crate::checkpoint::{Checkpoint, Directories};
use crate::config::Plan;
use crate::cutter::Part;
use crate::names::{self, Directory};
use crate::playlist::multivariant::Ladder;
use crate::playlist::snapshot::{Control, Report};
use crate::publish;
use crate::rendition::{Listed, Rendition, Start};
use crate::stream::Output;
use crate::targets::MILLI;

/// Segments whose beginning is remembered: far more than a track can be behind.
const STARTS: usize = 256;

/// How long the first playlists wait for a track that has nothing yet, once another has a segment; in microseconds.
const START_PATIENCE: u64 = 5_000_000;

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
    /// The first rendition of each kind goes on in this directory: it was on air when a restart came.
    resumes: [Option<u32>; 2],
    /// No part of the epoch has had this number or a higher one.
    next_part: u64,
    starts: VecDeque<Start>,
    era: u64,
    live: bool,
    independent: bool,
    ladder: Option<Ladder>,
}

/// Whence a listing comes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settling {
    /// Boundaries that are settled.
    pub(crate) steps: u64,
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
            resumes: resumed.map_or([None; 2], |at| at.directories.on_air),
            next_part: resumed.map_or(1, |at| at.next_part),
            starts: VecDeque::new(),
            era: resumed.map_or(0, |at| at.era),
            live: false,
            independent: true,
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
        if self.live && self.renditions.iter().any(Rendition::is_live) {
            self.publish_multivariant(out);
        }
    }

    /// Remembers where a segment begins.
    pub(crate) fn open(&mut self, msn: u64, at: i64, discontinuity: bool, clock: ClockMap) {
        self.era += u64::from(discontinuity);
        self.starts.push_back(Start { msn, at, era: self.era, discontinuity, clock });
        if self.starts.len() > STARTS {
            self.starts.pop_front();
        }
    }

    /// First instant of a segment, in flicks.
    pub(crate) fn start_of(&self, msn: u64) -> Option<i64> {
        self.start(msn).map(|start| start.at)
    }

    /// Publishes a part; its line follows when the other tracks are as far.
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

    /// Publishes a segment; its line follows.
    pub(crate) fn close(&mut self, track: TrackId, msn: u64, after: u64, end: i64, out: &mut Vec<Output>) {
        let Some(start) = self.start(msn) else { return };
        let Some(rendition) = self.rendition(track) else { return };
        if let Some(object) = rendition.close(&start, after, end) {
            out.extend(rendition.ready(Update::Publish(object)).map(Output::Update));
        }
    }

    /// Lists what is settled, on all renditions at once, and publishes their playlists.
    pub(crate) fn settle(&mut self, at: &Settling, out: &mut Vec<Output>) {
        let listed: Vec<Listed> =
            self.renditions.iter_mut().map(|rendition| rendition.list(at.steps)).collect();
        self.go_live(at.reference, false, out);
        // A rendition that is not out yet changes nothing that players see.
        let live = self.renditions.iter().zip(&listed).filter(|(rendition, _)| rendition.is_live());
        let (changed, closed) = live.fold((false, false), |(changed, closed), (_, listed)| {
            (changed | listed.changed, closed | listed.closed)
        });
        let Some(control) = self.control.filter(|_| changed) else { return };
        let retired = if closed { self.retire(&control, at.reference) } else { Vec::new() };
        self.publish_playlists(&control, false, out);
        out.extend(retired.into_iter().map(Output::Update));
        if closed {
            self.publish_multivariant(out);
            out.push(Output::Checkpoint(self.checkpoint(&control, at)));
        }
    }

    /// Ends all playlists together (LLHLS-17).
    pub(crate) fn end(&mut self, reference: TrackId, out: &mut Vec<Output>) {
        self.go_live(reference, true, out);
        let Some(control) = self.control.filter(|_| self.live) else { return };
        self.publish_playlists(&control, true, out);
        self.publish_multivariant(out);
        let listed = self.renditions.iter().map(|rendition| rendition.window.micros()).max().unwrap_or(0);
        let linger = self.linger(&control).max(Duration::from_micros(listed));
        out.push(Output::Update(Update::End { linger }));
        out.push(Output::Ended);
    }

    /// Makes renditions live that have a segment. The first ones wait for each other for a while.
    fn go_live(&mut self, reference: TrackId, must: bool, out: &mut Vec<Output>) {
        let ready = |rendition: &Rendition| rendition.window.is_ready();
        if !self.live {
            let waited = self.rendition(reference).map_or(0, |rendition| rendition.window.micros());
            let all = self.renditions.iter().all(ready);
            let some = self.renditions.iter().any(ready);
            if !all && !(some && (must || waited > START_PATIENCE)) {
                return;
            }
            self.live = some;
        }
        for rendition in
            self.renditions.iter_mut().filter(|rendition| !rendition.is_live() && ready(rendition))
        {
            out.extend(rendition.go_live().into_iter().map(Output::Update));
        }
    }

    /// Takes from the lists what is older than the window, on all renditions alike.
    fn retire(&mut self, control: &Control, reference: TrackId) -> Vec<Update> {
        let three = 3_000_000 * u64::from(control.target_duration);
        let span = u64::try_from(self.plan.window().as_micros()).unwrap_or(u64::MAX).max(three);
        let linger = self.linger(control);
        let oldest = self.rendition(reference).and_then(|rendition| rendition.window.oldest_within(span));
        let mut retired = Vec::new();
        for rendition in self.renditions.iter_mut().filter(|rendition| rendition.is_live()) {
            let mut gone = rendition.window.fold_parts(three);
            // One that is behind the others keeps what it must (LLHLS-14).
            if let (Some(oldest), Some(own)) = (oldest, rendition.window.oldest_within(three)) {
                gone.extend(rendition.window.trim(oldest.min(own)));
            }
            retired.extend(
                gone.iter().map(|file| Update::Retire { path: rendition.directory.path(file), linger }),
            );
        }
        retired
    }

    fn publish_playlists(&self, control: &Control, ended: bool, out: &mut Vec<Output>) {
        let live: Vec<&Rendition> = self.renditions.iter().filter(|rendition| rendition.is_live()).collect();
        let reports: Vec<Report> = live.iter().map(|rendition| report(rendition)).collect();
        for (index, rendition) in live.iter().enumerate() {
            let mut others = reports.clone();
            others.remove(index);
            let object = publish::playlist(&rendition.directory, &rendition.window, control, &others, ended);
            out.push(Output::Update(Update::Publish(object)));
        }
    }

    fn publish_multivariant(&mut self, out: &mut Vec<Output>) {
        let live = || self.renditions.iter().filter(|rendition| rendition.is_live());
        let ladder = Ladder {
            videos: live().filter_map(Rendition::video).collect(),
            sound: live().find_map(Rendition::sound),
            independent: self.independent,
        };
        if self.ladder.as_ref() != Some(&ladder) {
            out.push(Output::Update(Update::Publish(publish::multivariant(&ladder))));
            self.ladder = Some(ladder);
        }
    }

    fn begin_rendition(&mut self, track: &aqueduct_common::Track) -> Result<(), crate::fmp4::BoxError> {
        let kind = kind_index(track.kind());
        let count = self.resumes[kind].take().unwrap_or(self.used[kind]);
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
        let object = publish::playlist(&rendition.directory, window, &control, &[], true);
        out.push(Output::Update(Update::Publish(object)));
        let linger = self.linger(&control).max(Duration::from_micros(window.micros()));
        let files = window.files().into_iter().chain([names::PLAYLIST.to_owned()]);
        out.extend(files.map(|file| {
            let path = rendition.directory.path(&file);
            Output::Update(Update::Retire { path, linger })
        }));
    }

    /// What a restart needs to go on without using a name twice.
    fn checkpoint(&self, control: &Control, at: &Settling) -> Checkpoint {
        let newest = self.renditions.iter().map(Rendition::next_part).max();
        Checkpoint {
            epoch: self.id.0,
            next_msn: at.next_msn,
            next_part: newest.unwrap_or(self.next_part),
            era: self.era,
            target_duration: control.target_duration,
            part_target: control.part_target,
            wall_micros: at.now.micros,
            directories: self.directories(),
        }
    }

    fn directories(&self) -> Directories {
        let on_air = [TrackKind::Video, TrackKind::Audio].map(|kind| {
            // One that has not been resumed yet is still on air.
            let of_kind = self.renditions.iter().find(|rendition| rendition.track.kind() == kind);
            of_kind.map_or(self.resumes[kind_index(kind)], |rendition| Some(rendition.directory.count()))
        });
        Directories { used: self.used, on_air }
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

fn report(rendition: &Rendition) -> Report {
    let version = rendition.window.version();
    Report { uri: rendition.directory.from_sibling(), msn: version.msn, part: version.part }
}
