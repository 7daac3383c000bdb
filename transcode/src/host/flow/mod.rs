//! One stream through the host: what comes from its source and from its worker becomes what the packager gets, and what
//! the worker is told. Pure: messages and `now` in, [`Action`]s out.
//!
//! Source samples that are renditions themselves go on at once, whatever the worker does. An *era* is a stretch of
//! the timeline between breaks; what a worker still gives of an old era is dropped by its times.

mod back;
mod govern;
mod load;
mod plan;
mod publish;
mod ready;
#[cfg(test)]
mod tests;
mod worker;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aqueduct_common::event::{Advice, Transcode, WorkerLoss};
use aqueduct_common::feed::{Absence, Break};
use aqueduct_common::{Feed, MediaTime, Sample, TrackId, TrackKind, TrackSet};

use crate::config::Plan;
use crate::hardware::Chosen;
use crate::host::gate::Gate;
use crate::host::governor::Governor;
use crate::host::look::Look;
use crate::host::rendition::Rendition;
use crate::host::replay::Replay;
use crate::host::supervise::Supervisor;
use crate::host::throttle::Throttle;
use crate::ladder::Ladder;
use crate::protocol::{Frame, Job, Mode, Plant, Preset, ToWorker};

pub use load::Machine;

/// What the shell has to do.
#[derive(Clone, Debug)]
pub enum Action {
    /// Send it on to the packager.
    Publish(Feed),
    /// Start a worker with this job. What is told follows it.
    Start(Box<Job>),
    /// Tell the worker.
    Tell(ToWorker),
    /// Kill the worker, and report this loss.
    Kill(WorkerLoss),
    /// Ask the system what the worker does, and tell [`Flow::looked`].
    Look,
    /// The worker is not needed any more: close its input, and kill it when it stays.
    Dismiss,
    /// Report what happened.
    Report(Transcode),
    /// Advise the streamer.
    Advise(Advice),
    /// The worker said this of itself.
    Log(String),
    /// What the stream is expected to take, in thousandths of a CPU.
    Expect(u32),
    /// What the stream's worker took in the last second, in thousandths of a CPU.
    Measured(u32),
    /// What it took in a second of steady work, over what is estimated for it.
    Learned(f64),
    /// End the stream: its policy says so.
    End,
}

/// What a stream is made by.
#[derive(Clone, PartialEq, Debug)]
pub struct Settings {
    /// The configuration.
    pub plan: Plan,
    /// What segments aim at.
    pub segment: Duration,
    /// Encoding effort to begin with.
    pub effort: Preset,
    /// Backends that work here, in order.
    pub hardware: Chosen,
    /// A fault for workers to act out, for tests.
    pub plant: Option<Plant>,
}

/// Which frames the worker gets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Feeding {
    /// There is no worker.
    Nothing,
    /// Sound, and pictures from the next sync frame on.
    FromSync,
    /// Everything.
    All,
    /// Nothing of the pictures: nobody wants any.
    Paused,
}

/// How far the worker has come, in flicks of the presentation.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    /// Where the first frame began that it was fed since it began or the timeline broke.
    from: Option<i64>,
    /// Where the newest frame ended that it was fed.
    fed: i64,
}

/// One stream.
#[derive(Debug)]
pub struct Flow {
    settings: Settings,
    source: Arc<TrackSet>,
    look: Look,
    /// Further video tracks of the source, beside the first one.
    ready: ready::Ready,
    /// The first keyframe interval is known, or is known to be long.
    looked: bool,
    ladder: Ladder,
    gate: Gate,
    renditions: Vec<Rendition>,
    /// The tracks that the packager knows.
    published: Vec<TrackId>,
    reference: Option<TrackId>,
    /// The reference is a rung whose worker was lost: what it goes on with begins after a break.
    broken: bool,
    /// Samples of other rungs that came before it.
    waiting: Vec<Sample>,
    replay: Replay,
    supervisor: Supervisor,
    throttle: Throttle,
    governor: Governor,
    feeding: Feeding,
    /// A new worker decodes what was held: its rungs begin when it says that it has.
    warming: bool,
    progress: Progress,
    /// Encoding effort as it is now.
    effort: Preset,
    load: load::Load,
    /// Sound and pictures of the source that came last, in flicks: where they ended.
    end: MediaTime,
    out: VecDeque<Action>,
}

impl Flow {
    /// A stream of which nothing is known yet.
    pub fn new(settings: Settings, now: Instant) -> Self {
        let effort = settings.effort;
        Self {
            settings,
            source: Arc::default(),
            look: Look::default(),
            ready: ready::Ready::default(),
            looked: false,
            ladder: plan::idle(),
            gate: Gate::hold(now),
            renditions: Vec::new(),
            published: Vec::new(),
            reference: None,
            broken: false,
            waiting: Vec::new(),
            replay: Replay::new(None),
            supervisor: Supervisor::default(),
            throttle: Throttle::default(),
            governor: Governor::default(),
            feeding: Feeding::Nothing,
            warming: false,
            progress: Progress::default(),
            effort,
            load: load::Load::default(),
            end: MediaTime::flicks(0),
            out: VecDeque::new(),
        }
    }

    /// What the shell has to do, in order.
    pub fn poll(&mut self) -> Option<Action> {
        self.out.pop_front()
    }

    /// Takes in a message of the source.
    pub fn source(&mut self, message: Feed, now: Instant) {
        match message {
            Feed::Tracks(tracks) => self.begin(tracks, now),
            Feed::Discontinuity(reason) => self.interrupt(reason),
            Feed::Clock(clock) => self.publish(Feed::Clock(clock)),
            Feed::Lost(track, Absence::Shed) => {
                self.ready.lost(track);
                self.publish(message);
            }
            Feed::Changed(_) | Feed::Lost(..) | Feed::Returns(..) => self.publish(message),
            Feed::Sample(sample) => self.sample(&sample, now),
        }
        self.tick(now);
    }

    /// Takes in that time has passed.
    pub fn tick(&mut self, now: Instant) {
        self.settle(now);
        self.sleep_unwatched(now);
        self.supervise(now);
    }

    /// When [`Flow::tick`] has something to do, if nothing happens before.
    pub fn deadline(&self) -> Option<Instant> {
        let times = [self.supervisor.deadline(), self.gate_deadline(), self.sleep_deadline()];
        times.into_iter().flatten().min()
    }

    /// The source has ended: the worker is to give what it still has.
    pub fn finish(&mut self) {
        self.supervisor.release();
        if self.has_worker() {
            self.tell(ToWorker::End);
        }
        if !self.gate.is_open() {
            self.open();
        }
    }

    const fn has_worker(&self) -> bool {
        !matches!(self.feeding, Feeding::Nothing)
    }

    /// The source's picture.
    fn main(&self) -> Option<TrackId> {
        self.source.first(TrackKind::Video).map(|track| track.id)
    }

    fn begin(&mut self, tracks: Arc<TrackSet>, now: Instant) {
        self.source = tracks;
        self.load.given_up = false;
        self.look.begin(self.source.first(TrackKind::Video));
        self.begin_ready();
        self.end = MediaTime::flicks(0);
        self.replay = Replay::new(self.main());
        self.forget_era();
        self.gate.forget_samples();
        let ladder = self.decide();
        let same = self.has_worker() && self.gate.is_open() && plan::same_work(&ladder, &self.ladder);
        if !same {
            return self.adopt(ladder, now);
        }
        self.ladder = ladder;
        self.tell(ToWorker::Source(self.used_tracks()));
        self.publish_tracks();
    }

    /// Watches the further video tracks anew.
    fn begin_ready(&mut self) {
        let videos = self.source.tracks.iter().filter(|track| track.kind() == TrackKind::Video);
        self.ready.begin(videos.skip(1).map(|track| track.id));
    }

    fn interrupt(&mut self, reason: Break) {
        self.look.interrupt();
        self.ready.interrupt();
        self.replay.clear();
        self.forget_era();
        if self.has_worker() {
            self.tell(ToWorker::Break);
        }
        match self.gate.is_open() {
            true => self.publish(Feed::Discontinuity(reason)),
            false => self.gate.forget_samples(),
        }
    }

    /// What was made of samples up to here is late from now on.
    fn forget_era(&mut self) {
        self.renditions.iter_mut().for_each(Rendition::interrupt);
        self.progress = Progress::default();
        self.supervisor.forget_input();
        self.throttle.restart();
        self.broken = false;
        self.waiting.clear();
    }

    fn sample(&mut self, sample: &Sample, now: Instant) {
        let main = self.main() == Some(sample.track);
        if main {
            self.look.push(sample);
            self.ready.push_first(sample);
            self.end = sample.end();
            self.settle(now);
            if sample.sync {
                self.at_sync(sample, now);
            }
        } else {
            self.ready.push(sample);
        }
        for rendition in &mut self.renditions {
            rendition.begin(sample.track, sample.pts);
        }
        if !self.gate.is_open() || self.ladder.through.contains(&sample.track) {
            self.publish(Feed::Sample(sample.clone()));
        }
        self.replay.push(sample);
        self.feed(sample, now);
    }

    /// A sync sample of the source's picture, before it goes on.
    fn at_sync(&mut self, sample: &Sample, now: Instant) {
        if let Some(reason) = self.load.untouched.take() {
            return self.fall_back(sample.track, &reason, now);
        }
        if self.replan(now) {
            return;
        }
        if self.reference == Some(sample.track) && self.lacks_renditions() {
            self.publish_tracks();
            self.restart_renditions(sample.pts);
        }
        self.begin_with(sample);
    }

    /// Hands a source sample to the worker.
    fn feed(&mut self, sample: &Sample, now: Instant) {
        let is_main = self.ladder.video.as_ref().is_some_and(|job| job.source == sample.track);
        let is_sound = self.ladder.audio.iter().any(|job| job.source == sample.track);
        match self.feeding {
            _ if !is_main && !is_sound => return,
            Feeding::Nothing => return,
            Feeding::Paused if is_main => return,
            Feeding::FromSync if is_main && !sample.sync => return,
            Feeding::FromSync if is_main => self.feeding = Feeding::All,
            _ => {}
        }
        let leads = is_main || self.ladder.video.is_none();
        let mut frame = Frame::of(sample);
        let (behind, gives) = self.behind();
        let counted = self.throttle.dropped();
        if !self.throttle.admit(sample.sync && leads, behind, gives) {
            frame.payload = bytes::Bytes::new();
        }
        self.load.dropped += self.throttle.dropped() - counted;
        if leads {
            let from = sample.pts.as_flicks();
            self.progress.from.get_or_insert(from);
            self.progress.fed = self.progress.fed.max(from + self.spacing_flicks(sample));
            if self.expects_output() {
                self.supervisor.fed(now);
            }
        }
        self.tell(ToWorker::Frame(frame));
    }

    fn spacing_flicks(&self, sample: &Sample) -> i64 {
        MediaTime::new(sample.duration.into(), sample.dts.scale).as_flicks()
    }

    /// Media on its way through the worker, and whether all that is wanted of it has begun to come.
    fn behind(&self) -> (Duration, bool) {
        let Some(from) = self.progress.from else { return (Duration::ZERO, false) };
        let video = self.ladder.video.is_some();
        let leading = |rendition: &&Rendition| video == (rendition.kind == TrackKind::Video);
        let wanted = self.renditions.iter().filter(leading).filter(|rendition| rendition.is_wanted());
        let reached: Option<Vec<i64>> = wanted.map(Rendition::reached).collect();
        let slowest =
            reached.as_ref().map(|reached| reached.iter().min().copied().unwrap_or(self.progress.fed));
        let behind = self.progress.fed - slowest.unwrap_or(from).max(from);
        let behind = MediaTime::flicks(behind).micros().max(0).unsigned_abs();
        (Duration::from_micros(behind), reached.is_some())
    }

    fn tell(&mut self, message: ToWorker) {
        self.out.push_back(Action::Tell(message));
    }

    fn report(&mut self, what: Transcode) {
        self.out.push_back(Action::Report(what));
    }

    fn is_regular(&self) -> bool {
        matches!(self.ladder.mode, Mode::Regular { .. })
    }
}
