//! The worker's side of a stream: starting one, hearing what it says, losing it.

use std::sync::Arc;
use std::time::Instant;

use aqueduct_common::event::{RungState, Transcode, WorkerLoss};
use aqueduct_common::feed::Break;
use aqueduct_common::{Feed, MediaTime, Sample, Track, TrackId, TrackKind};

use super::{Action, Feeding, Flow};
use crate::config::OnFailure;
use crate::hardware::Backend;
use crate::host::rendition::{Rendition, Taken};
use crate::host::supervise::{Act, Pulse};
use crate::protocol::{Fallback, Frame, FromWorker, HELD, Job, Order, Stage, ToWorker, VERSION};

/// Samples of other rungs that wait for the reference to come back: two seconds of eight rungs.
const WAITING: usize = 960;

/// A group of pictures that takes noticeable time to encode at once: a second, in flicks.
const LONG_GROUP: i64 = 705_600_000;

impl Flow {
    /// Takes in what the worker says.
    pub fn worker(&mut self, message: FromWorker, now: Instant) {
        if !self.has_worker() {
            // It was dismissed; what it had given out is of no use.
            return;
        }
        match message {
            FromWorker::Ready { version: VERSION } => {
                self.supervisor.ready(now);
                let lost_before = self.supervisor.lost_so_far();
                self.report(Transcode::WorkerStarted { lost_before });
            }
            FromWorker::Ready { version } => {
                self.log(format!("the worker speaks version {version} of the protocol, not {VERSION}"));
                self.out.push_back(Action::Kill(WorkerLoss::Start));
            }
            FromWorker::Track(track) => self.announced(track),
            FromWorker::Frame(frame) => self.frame(frame, now),
            FromWorker::Fallback(fallback) => self.fell_back(fallback),
            FromWorker::Echo => self.echoed(),
            FromWorker::Report(report) => self.reported(report, now),
            FromWorker::Trouble(text) => self.log(text),
        }
        self.tick(now);
    }

    /// What comes from a worker that the source's end has ended already: only frames matter.
    pub fn worker_at_end(&mut self, message: FromWorker, now: Instant) {
        if let FromWorker::Frame(frame) = message {
            self.frame(frame, now);
        }
    }

    /// The worker's process is gone, or was never there. `detail` says more.
    pub fn worker_lost(&mut self, cause: WorkerLoss, detail: String, now: Instant) {
        if !self.has_worker() {
            return;
        }
        (self.feeding, self.warming) = (Feeding::Nothing, false);
        self.progress = super::Progress::default();
        self.throttle.restart();
        self.governor.restart();
        self.waiting.clear();
        let Some(loss) = self.supervisor.lost(cause, now) else { return };
        let last_frame_micros = loss.last_frame.map(micros);
        let reason = detail.clone();
        self.report(Transcode::WorkerLost {
            cause,
            detail,
            last_frame_micros,
            retry_micros: micros(loss.retry),
        });
        if !self.gate.is_open() {
            // Nobody has seen anything of it: the next one begins from the beginning.
            self.gate.forget_encoded();
            self.renditions = self.describe();
            return self.tick(now);
        }
        let wanted = self.renditions.iter_mut().filter(|rendition| rendition.is_wanted());
        let lost: Vec<_> =
            wanted.filter_map(|rendition| rendition.lose().then_some(rendition.id())).collect();
        for track in lost {
            self.lose(track, RungState::Lost, &reason);
        }
        self.tick(now);
    }

    /// What the system says of a worker that gives nothing out: the answer to [`Action::Look`].
    pub fn looked(&mut self, pulse: Pulse, now: Instant) {
        self.supervisor.looked(pulse);
        self.tick(now);
    }

    /// Starts and kills.
    pub(super) fn supervise(&mut self, now: Instant) {
        match self.supervisor.poll(now) {
            Some(Act::Start) => self.start(now),
            Some(Act::Kill(cause)) => self.out.push_back(Action::Kill(cause)),
            Some(Act::Look) => self.out.push_back(Action::Look),
            None => {}
        }
    }

    fn start(&mut self, now: Instant) {
        self.supervisor.started(now);
        self.throttle.restart();
        self.governor.restart();
        self.progress = super::Progress::default();
        let group = self.replay.samples().to_vec();
        let resume = self.resume();
        let mut video = self.ladder.video.clone();
        video.iter_mut().flat_map(|job| &mut job.rungs).for_each(|rung| rung.preset = self.effort);
        let job = Job {
            version: VERSION,
            mode: self.ladder.mode,
            video,
            audio: self.ladder.audio.clone(),
            hardware: self.settings.hardware.clone(),
            resume: resume.map(|at| if self.is_regular() { at.ticks } else { HELD }),
            // A planted fault strikes once: what it is to show is that the next worker does the job.
            plant: self.settings.plant.filter(|_| self.supervisor.lost_so_far() == 0),
        };
        self.out.push_back(Action::Start(Box::new(job)));
        self.tell(ToWorker::Source(self.used_tracks()));
        self.stop_unwanted();
        self.tell_rates();
        self.warming = false;
        self.feeding = if self.wants_nothing() { Feeding::Paused } else { Feeding::FromSync };
        match resume {
            _ if self.feeding == Feeding::Paused => {}
            None => group.iter().for_each(|sample| {
                let renditions = self.renditions.iter_mut();
                renditions.for_each(|rendition| rendition.begin(sample.track, sample.pts));
                self.feed(sample, now);
            }),
            Some(at) => self.warm_up(&group, at),
        }
    }

    /// From where on a new worker's frames count; `None` from its first one on.
    ///
    /// Where nobody has seen anything yet, that is the group's keyframe. A grid of its own needs no keyframe to begin
    /// with, so that a long group is decoded only: a stream that begins behind has that to catch up with.
    fn resume(&self) -> Option<MediaTime> {
        let main = self.main();
        let mut pictures = self.replay.samples().iter().filter(|sample| Some(sample.track) == main);
        let first = pictures.next()?;
        let newest = pictures.last().unwrap_or(first);
        let long = self.is_regular() && newest.end().as_flicks() - first.dts.as_flicks() > LONG_GROUP;
        (self.gate.is_open() || long).then(|| match self.is_regular() {
            true => newest.pts.offset(newest.duration.into()),
            false => newest.end(),
        })
    }

    /// Source tracks that something is encoded of.
    pub(super) fn used_tracks(&self) -> Vec<Track> {
        let video = self.ladder.video.iter().map(|job| job.source);
        let audio = self.ladder.audio.iter().map(|job| job.source);
        let used: Vec<TrackId> = video.chain(audio).collect();
        self.source.tracks.iter().filter(|track| used.contains(&track.id)).cloned().collect()
    }

    fn stop_unwanted(&mut self) {
        let unwanted = self.renditions.iter().filter(|rendition| !rendition.is_wanted());
        let orders: Vec<_> = unwanted.map(|rendition| Order::Stop(rendition.id())).collect();
        orders.into_iter().for_each(|order| self.tell(ToWorker::Order(order)));
    }

    /// A rendition's parameters. What the host knows better is not taken from the worker.
    fn announced(&mut self, mut track: Track) {
        let main = self.main().and_then(|main| self.source.by_id(main));
        let aligned = main.filter(|_| !self.is_regular()).map(|main| (main.timescale, main.reorder_delay));
        let peak = self.ladder.video.iter().flat_map(|job| &job.rungs).find(|rung| rung.track == track.id);
        let peak = peak.map(crate::ladder::advertised);
        let published = self.published.contains(&track.id);
        let Some(rendition) = self.renditions.iter_mut().find(|rendition| rendition.id() == track.id) else {
            return self.distrust(format!("it announced track {}, which nobody asked for", track.id.0));
        };
        let in_step = aligned.is_none_or(|aligned| aligned == (track.timescale, track.reorder_delay));
        if rendition.kind != track.kind() || (track.kind() == TrackKind::Video && !in_step) {
            return self.distrust(format!("it announced track {} out of step with the source", track.id.0));
        }
        if let Some(source) = self.source.by_id(rendition.source) {
            track.language.clone_from(&source.language);
        }
        track.bandwidth = peak.or(track.bandwidth);
        let id = track.id;
        let before = rendition.announced.replace(Arc::new(track));
        self.stop_cut(id);
        let Some(rendition) = self.renditions.iter_mut().find(|rendition| rendition.id() == id) else {
            return;
        };
        let (Some(before), Some(after)) = (before, rendition.announced.clone()) else { return };
        if before == after {
            return;
        }
        rendition.lose();
        match published {
            // Parts are cut by its frames: how long they may be is decided anew.
            true if self.reference == Some(id) && before.grid != after.grid => self.publish_tracks(),
            true => self.publish(Feed::Changed(after)),
            false => {}
        }
    }

    /// What it says cannot be: it is replaced.
    fn distrust(&mut self, text: String) {
        self.log(text);
        self.out.push_back(Action::Kill(WorkerLoss::Protocol));
    }

    fn frame(&mut self, frame: Frame, now: Instant) {
        let without_pictures = self.ladder.video.is_none();
        let Some(rendition) = self.renditions.iter_mut().find(|rendition| rendition.id() == frame.track)
        else {
            return;
        };
        if without_pictures || rendition.kind == TrackKind::Video {
            self.supervisor.output(now);
        }
        let kind = rendition.kind;
        // What it goes on with behind a hole, where that is a sync frame: another encoder has taken over.
        let again = frame.sync.then(|| frame.clone());
        match rendition.take(frame) {
            Taken::Sample { sample, resumes } => self.encoded(sample, kind, resumes),
            Taken::Hole => {
                let track = rendition.id();
                self.hole(track, again.as_ref());
                if let Some(frame) = again {
                    self.frame(frame, now);
                }
            }
            Taken::Late => {}
        }
    }

    /// Frames of a rung are missing. `next`: it goes on at once, with this sync frame.
    fn hole(&mut self, track: TrackId, next: Option<&Frame>) {
        let reason = "its frames had a hole";
        let own = self.renditions.iter().find(|rendition| rendition.id() == track);
        let own = own.and_then(|rendition| rendition.announced.clone());
        match next.zip(own).filter(|_| self.is_follower(track)) {
            Some((next, own)) => {
                let at = MediaTime::new(next.dts, own.timescale).offset(own.reorder_delay);
                self.publish(Feed::Returns(track, at));
                let (state, reason) = (RungState::Lost, reason.to_owned());
                self.report(Transcode::Rung { track, state, reason });
            }
            None => self.lose(track, RungState::Lost, reason),
        }
    }

    fn encoded(&mut self, sample: Sample, kind: TrackKind, resumes: bool) {
        let track = sample.track;
        if self.gate.is_open() {
            if self.succeed_reference(&sample) {
                // The reference was given up: this one is it from here on.
            } else if sample.sync && self.leads_to_other_tracks(track) {
                self.publish_tracks();
                let video = |other: &&mut Rendition| other.kind == TrackKind::Video && other.id() != track;
                self.renditions.iter_mut().filter(video).for_each(|other| other.restart_at(sample.pts));
            } else if !self.published.contains(&track) {
                return;
            }
        }
        if resumes {
            self.report(Transcode::Rung { track, state: RungState::Running, reason: String::new() });
        }
        match (self.broken, self.reference == Some(track)) {
            (false, _) => self.publish(Feed::Sample(sample)),
            (true, true) => self.mend(sample),
            (true, false) if kind == TrackKind::Audio => self.publish(Feed::Sample(sample)),
            // The others come back behind the break, with the reference.
            (true, false) => self.wait_for_reference(sample),
        }
    }

    /// The reference goes on after its worker was lost: a break, and then the rungs that were there before it.
    fn mend(&mut self, sample: Sample) {
        self.broken = false;
        self.publish(Feed::Discontinuity(Break::Encoder));
        self.publish(Feed::Sample(sample));
        for sample in std::mem::take(&mut self.waiting) {
            self.publish(Feed::Sample(sample));
        }
    }

    fn wait_for_reference(&mut self, sample: Sample) {
        if self.waiting.len() < WAITING {
            return self.waiting.push(sample);
        }
        self.waiting.clear();
        self.renditions.iter_mut().filter(|other| other.kind == TrackKind::Video).for_each(|other| {
            other.lose();
        });
    }

    /// The rung that is the reference, or is to be, at a sync sample before which the packager has to hear of tracks.
    fn leads_to_other_tracks(&self, track: TrackId) -> bool {
        let known = |rendition: &&Rendition| {
            rendition.kind == TrackKind::Video
                && rendition.announced.is_some()
                && rendition.state() != RungState::Shed
        };
        let first = self.renditions.iter().find(known);
        !self.source_leads() && first.is_some_and(|first| first.id() == track) && self.lacks_renditions()
    }

    fn fell_back(&mut self, fallback: Fallback) {
        let Fallback { stage, from, to, reason } = fallback;
        let name = match stage {
            Stage::Decode => "decode",
            Stage::Encode => "encode",
        };
        let text = format!("{name}: {from} failed: {reason}");
        let (from, to_name) = (from.as_str(), to.map(Backend::as_str));
        self.report(Transcode::Fallback { stage: name, from, to: to_name, reason });
        match self.settings.plan.on_failure {
            OnFailure::Software => {}
            OnFailure::FewerRungs if to == Some(Backend::Software) => self.halve(&text),
            OnFailure::FewerRungs => {}
            OnFailure::Passthrough => self.load.untouched = Some(text),
            OnFailure::Fail => self.out.push_back(Action::End),
        }
    }

    fn log(&mut self, text: String) {
        self.out.push_back(Action::Log(text));
    }
}

fn micros(span: std::time::Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}
