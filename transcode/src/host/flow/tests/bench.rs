//! A source, a worker that answers as told, and a packager that checks the contract of what it gets.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aqueduct_common::codec::{AacConfig, AvcConfig, ForeignVideo, Picture};
use aqueduct_common::event::{RungState, Transcode, WorkerLoss};
use aqueduct_common::track::Grid;
use aqueduct_common::{
    ClockMap, CodecConfig, Feed, MediaTime, Sample, Timescale, Track, TrackId, TrackKind, TrackSet, WallTime,
};
use bytes::Bytes;

use super::super::{Action, Flow, Settings};
use crate::config::{Config, Plan};
use crate::hardware::Chosen;
use crate::host::supervise::Pulse;
use crate::protocol::{Frame, FromWorker, Job, Mode, Order, Preset, ToWorker, VERSION};

/// What x264 says of 1280×720 at 30 frames a second, Constrained Baseline.
const AVCC: &[u8] = &[
    1, 0x64, 0, 0x1f, 0xff, 0xe1, 0, 24, 0x67, 0x64, 0, 0x1f, 0xac, 0xd9, 0x40, 0x50, 5, 0xbb, 1, 0x6a, 2, 2,
    2, 0x80, 0, 0, 3, 0, 0x80, 0, 0, 0x1e, 1, 0, 6, 0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0,
];

pub(super) const FRAME: Duration = Duration::from_micros(33_333);
const TICKS: i64 = 3_000;

pub(super) fn video(id: u8) -> Track {
    let codec = CodecConfig::H264(AvcConfig::parse(&Bytes::from_static(AVCC)).unwrap());
    Track {
        id: TrackId(id),
        codec,
        timescale: Timescale::VIDEO,
        grid: Grid::Fixed(MediaTime::new(TICKS, Timescale::VIDEO)),
        reorder_delay: 0,
        language: "und".into(),
        bandwidth: None,
    }
}

/// JPEGs of the same size and rate.
pub(super) fn jpegs(id: u8) -> Track {
    let picture = Picture { width: 1_280, height: 720, sar: (1, 1), ..Picture::default() };
    Track { codec: CodecConfig::ForeignVideo(ForeignVideo::Mjpeg.with(picture)), ..video(id) }
}

pub(super) fn sound(id: u8) -> Track {
    let scale = Timescale::of(48_000);
    Track {
        id: TrackId(id),
        codec: CodecConfig::Aac(AacConfig::parse(&Bytes::from_static(&[0x11, 0x90])).unwrap()),
        timescale: scale,
        grid: Grid::Fixed(MediaTime::new(1_024, scale)),
        reorder_delay: 0,
        language: "de".into(),
        bandwidth: None,
    }
}

pub(super) fn settings(change: impl FnOnce(&mut Config)) -> Settings {
    let mut config = Config::default();
    change(&mut config);
    Settings {
        plan: Plan::try_from(config).unwrap(),
        segment: Duration::from_secs(1),
        effort: Preset::Veryfast,
        hardware: Chosen::default(),
        plant: None,
    }
}

/// The worker as it is imagined: what it was told, and whether it answers.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) job: Option<Job>,
    pub(super) told: Vec<ToWorker>,
    /// It gives each frame back as one of every rung, at once.
    pub(super) answers: bool,
    /// It gives the lowest rung first.
    pub(super) upwards: bool,
    /// What the system says of it.
    pub(super) pulse: Pulse,
    /// Where frames begin to count.
    mark: i64,
    /// Rungs that it was told to stop.
    stopped: Vec<TrackId>,
    /// Rungs that have begun: they need no IDR but the source's.
    running: Vec<TrackId>,
    begun: bool,
}

impl Default for Worker {
    fn default() -> Self {
        Self {
            job: None,
            told: Vec::new(),
            answers: true,
            upwards: false,
            pulse: Pulse::Idle,
            mark: i64::MIN,
            stopped: Vec::new(),
            running: Vec::new(),
            begun: false,
        }
    }
}

/// Everything around a flow.
#[derive(Debug)]
pub(super) struct Bench {
    pub(super) flow: Flow,
    pub(super) now: Instant,
    pub(super) worker: Worker,
    pub(super) events: Vec<Transcode>,
    pub(super) published: Vec<Feed>,
    pub(super) advice: usize,
    pub(super) kills: Vec<WorkerLoss>,
    pub(super) starts: usize,
    pub(super) dismissals: usize,
    packager: Packager,
    /// The next picture's decode time.
    pub(super) at: i64,
    sound_at: i64,
    pub(super) gop: i64,
    since_sync: i64,
}

impl Bench {
    #[expect(clippy::disallowed_methods, reason = "tests need some instant to start from")]
    pub(super) fn new(settings: Settings) -> Self {
        let now = Instant::now();
        Self {
            flow: Flow::new(settings, now),
            now,
            worker: Worker::default(),
            events: Vec::new(),
            published: Vec::new(),
            advice: 0,
            kills: Vec::new(),
            starts: 0,
            dismissals: 0,
            packager: Packager::default(),
            at: 0,
            sound_at: 0,
            gop: 30,
            since_sync: i64::MAX / 2,
        }
    }

    /// A stream of picture and sound whose rungs are out.
    pub(super) fn running(settings: Settings) -> Self {
        let mut bench = Self::new(settings);
        bench.tracks(vec![video(0), sound(1)]);
        bench.pictures(70);
        assert!(bench.tracks_out().is_some_and(|set| set.tracks.len() > 2), "{:?}", bench.tracks_out());
        bench
    }

    pub(super) fn tracks(&mut self, tracks: Vec<Track>) {
        self.since_sync = i64::MAX / 2;
        self.source(Feed::Tracks(Arc::new(TrackSet { tracks })));
        self.clock();
    }

    /// The next picture is a sync sample.
    pub(super) const fn realign(&mut self) {
        self.since_sync = i64::MAX / 2;
    }

    pub(super) fn clock(&mut self) {
        let media = MediaTime::new(self.at, Timescale::VIDEO);
        self.source(Feed::Clock(ClockMap { media, wall: WallTime::default() }));
    }

    pub(super) fn source(&mut self, message: Feed) {
        self.flow.source(message, self.now);
        self.act();
    }

    /// Pictures in real time, each with the sound beside it.
    pub(super) fn pictures(&mut self, count: usize) {
        for _ in 0..count {
            self.picture();
            while self.sound_at * 90_000 < self.at * 48_000 {
                self.sample(TrackId::AUDIO, Timescale::of(48_000), self.sound_at, 1_024, true);
                self.sound_at += 1_024;
            }
            self.wait(FRAME);
        }
    }

    pub(super) fn picture(&mut self) {
        let sync = self.since_sync >= self.gop;
        self.since_sync = if sync { 1 } else { self.since_sync + 1 };
        self.sample(TrackId::VIDEO, Timescale::VIDEO, self.at, TICKS, sync);
        self.at += TICKS;
    }

    pub(super) fn sample(&mut self, track: TrackId, scale: Timescale, at: i64, ticks: i64, sync: bool) {
        let dts = MediaTime::new(at, scale);
        let (duration, payload, received) =
            (ticks as u32, Bytes::from_static(&[1; 12_500]), WallTime::default());
        let disposable = false;
        self.source(Feed::Sample(Sample {
            track,
            dts,
            pts: dts,
            duration,
            sync,
            disposable,
            payload,
            received,
        }));
    }

    /// The timeline breaks and goes on this many pictures later.
    pub(super) fn interrupt(&mut self, skip: i64) {
        self.at += skip * TICKS;
        self.sound_at = self.sound_at.max((self.at * 48_000 + 89_999) / 90_000);
        self.since_sync = i64::MAX / 2;
        self.source(Feed::Discontinuity(aqueduct_common::feed::Break::TimestampJump));
    }

    /// Time passes; what is due is done on time.
    pub(super) fn wait(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(due) = self.flow.deadline().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.flow.tick(self.now);
            self.act();
            if self.flow.deadline() == Some(due) {
                break;
            }
        }
        self.now = end;
    }

    pub(super) fn worker_says(&mut self, message: FromWorker) {
        self.flow.worker(message, self.now);
        self.act();
    }

    pub(super) fn worker_dies(&mut self, cause: WorkerLoss) {
        self.worker.job = None;
        self.flow.worker_lost(cause, "it died".into(), self.now);
        self.act();
    }

    pub(super) fn act(&mut self) {
        while let Some(action) = self.flow.poll() {
            match action {
                Action::Publish(message) => {
                    self.packager.take(&message);
                    self.published.push(message);
                }
                Action::Start(job) => {
                    assert!(self.worker.job.is_none(), "a second worker");
                    self.starts += 1;
                    let Worker { answers, upwards, pulse, .. } = self.worker;
                    let (mark, job) = (job.resume.unwrap_or(i64::MIN), Some(*job));
                    self.worker = Worker { job, answers, upwards, pulse, mark, ..Worker::default() };
                }
                Action::Tell(message) => self.told(message),
                Action::Kill(cause) => {
                    self.kills.push(cause);
                    self.worker_dies(cause);
                }
                Action::Look => self.flow.looked(self.worker.pulse, self.now),
                Action::Dismiss => {
                    self.dismissals += 1;
                    self.worker.job = None;
                }
                Action::Report(what) => self.events.push(what),
                Action::Advise(_) => self.advice += 1,
                Action::Log(_)
                | Action::Expect(_)
                | Action::Measured(_)
                | Action::Learned(_)
                | Action::End => {}
            }
        }
    }

    fn told(&mut self, message: ToWorker) {
        let Some(job) = self.worker.job.clone() else { return };
        self.worker.told.push(message.clone());
        if let ToWorker::Order(Order::Begin(mark)) = message {
            self.worker.mark = mark;
        }
        if !self.worker.answers {
            return;
        }
        if !std::mem::replace(&mut self.worker.begun, true) {
            self.flow.worker(FromWorker::Ready { version: VERSION }, self.now);
        }
        match message {
            ToWorker::Frame(frame) => self.answer(&job, &frame),
            ToWorker::Order(Order::Stop(track)) => {
                self.worker.stopped.push(track);
                self.worker.running.retain(|running| *running != track);
            }
            ToWorker::Order(Order::Start(track, _)) => {
                self.worker.stopped.retain(|stopped| *stopped != track);
            }
            ToWorker::Order(Order::Echo) => self.flow.worker(FromWorker::Echo, self.now),
            _ => {}
        }
    }

    /// One frame of each rung, as an aligned worker gives it.
    pub(super) fn answer(&mut self, job: &Job, frame: &Frame) {
        let Some(video_job) = job.video.as_ref().filter(|video| video.source == frame.track) else { return };
        if frame.dts < self.worker.mark {
            return;
        }
        let mut rungs: Vec<_> = video_job.rungs.iter().collect();
        if self.worker.upwards {
            rungs.reverse();
        }
        for rung in rungs.into_iter().filter(|rung| !self.worker.stopped.contains(&rung.track)) {
            let announced =
                self.flow.renditions.iter().any(|r| r.id() == rung.track && r.announced.is_some());
            if !announced || frame.sync {
                self.flow.worker(FromWorker::Track(video(rung.track.0)), self.now);
            }
            let payload = Bytes::from_static(b"rung");
            let sync = match job.mode {
                Mode::Aligned => frame.sync || !self.worker.running.contains(&rung.track),
                Mode::Regular { gop, .. } => {
                    (frame.pts - job.resume.unwrap_or(0)) / TICKS % i64::from(gop) == 0
                }
            };
            self.worker.running.push(rung.track);
            let frame = Frame { track: rung.track, payload, sync, ..frame.clone() };
            self.flow.worker(FromWorker::Frame(frame), self.now);
        }
    }

    /// The newest track set that was published.
    pub(super) fn tracks_out(&self) -> Option<Arc<TrackSet>> {
        self.published.iter().rev().find_map(|message| match message {
            Feed::Tracks(set) => Some(set.clone()),
            _ => None,
        })
    }

    /// Samples of a track that were published.
    pub(super) fn samples(&self, track: u8) -> Vec<&Sample> {
        let all = self.published.iter().filter_map(|message| match message {
            Feed::Sample(sample) => Some(sample),
            _ => None,
        });
        all.filter(|sample| sample.track == TrackId(track)).collect()
    }

    pub(super) fn states(&self, track: u8) -> Vec<RungState> {
        let of = |event: &Transcode| match event {
            Transcode::Rung { track: of, state, .. } if *of == TrackId(track) => Some(*state),
            _ => None,
        };
        self.events.iter().filter_map(of).collect()
    }
}

/// Checks what the packager trusts in.
#[derive(Debug, Default)]
struct Packager {
    tracks: Option<Arc<TrackSet>>,
    awaits_sync: bool,
    /// Where each track's next sample begins; none after a break or an absence.
    next: HashMap<TrackId, i64>,
    /// Where each track's samples ended, at all.
    ends: HashMap<TrackId, i64>,
}

impl Packager {
    fn take(&mut self, message: &Feed) {
        match message {
            Feed::Tracks(tracks) => {
                assert!(!tracks.tracks.is_empty());
                let mut ids: Vec<_> = tracks.tracks.iter().map(|track| track.id).collect();
                ids.dedup();
                assert_eq!(ids.len(), tracks.tracks.len(), "a track twice");
                self.tracks = Some(tracks.clone());
                self.awaits_sync = true;
                self.next.clear();
            }
            Feed::Discontinuity(_) => {
                assert!(self.tracks.is_some(), "a break before the tracks");
                self.awaits_sync = true;
                self.next.clear();
            }
            Feed::Lost(track, _) => {
                let tracks = self.tracks.as_ref().expect("tracks come first");
                assert!(tracks.by_id(*track).is_some(), "an unknown track is lost");
                assert!(tracks.reference().is_none_or(|of| of.id != *track), "the reference is never lost");
                self.next.remove(track);
            }
            Feed::Changed(track) => {
                let tracks = self.tracks.as_ref().expect("tracks come first");
                assert!(tracks.by_id(track.id).is_some_and(|before| before.timescale == track.timescale));
                self.next.remove(&track.id);
            }
            Feed::Returns(track, _) => {
                let tracks = self.tracks.as_ref().expect("tracks come first");
                assert!(tracks.by_id(*track).is_some(), "an unknown track returns");
                assert!(
                    tracks.reference().is_none_or(|of| of.id != *track),
                    "the reference breaks, and is not awaited"
                );
                self.next.remove(track);
            }
            Feed::Clock(_) => {}
            Feed::Sample(sample) => self.sample(sample),
        }
    }

    fn sample(&mut self, sample: &Sample) {
        let tracks = self.tracks.as_ref().expect("tracks come first");
        let track = tracks.by_id(sample.track).expect("a sample of no track");
        assert_eq!(sample.dts.scale, track.timescale);
        assert!(!sample.payload.is_empty(), "an empty sample");
        if tracks.reference().is_some_and(|reference| reference.id == sample.track) && self.awaits_sync {
            assert!(sample.sync, "the reference begins with a sync sample");
            self.awaits_sync = false;
        }
        match self.next.get(&sample.track) {
            Some(next) => assert_eq!(sample.dts.ticks, *next, "{:?} has a hole", sample.track),
            None => assert!(
                sample.sync || track.kind() == TrackKind::Audio,
                "{:?} begins without sync",
                sample.track
            ),
        }
        let end = self.ends.insert(sample.track, sample.end().ticks);
        assert!(end.is_none_or(|end| sample.dts.ticks >= end), "{:?} goes back", sample.track);
        self.next.insert(sample.track, sample.end().ticks);
    }
}
