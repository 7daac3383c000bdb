//! A stage, publishers that send in real time, and what comes out of it.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aqueduct_common::event::{self, Event, EventReceiver, Transcode, WorkerLoss};
use aqueduct_common::queue::{self, FeedReceiver, FeedSender};
use aqueduct_common::{ClockMap, Feed, MediaTime, Publication, Sample, StreamName, TrackSet, WallTime};
use aqueduct_transcode::config::{Config, Plan, RungByHand};
use aqueduct_transcode::hardware::Chosen;
use aqueduct_transcode::host::{Launch, Options, Stage};
use aqueduct_transcode::protocol::Plant;
use rustix::process::{Pid, Signal};
use tokio::sync::{MutexGuard, mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::clip::{self, Clip};

const FRAME: Duration = Duration::from_micros(33_333);

/// Tests here measure time, and look for their own process's children: one at a time.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// A running stage.
pub struct Live {
    begun: mpsc::Sender<Publication>,
    out: mpsc::Receiver<Publication>,
    events: EventReceiver,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
    _alone: MutexGuard<'static, ()>,
}

/// What came out of a stream, with the time at which it did.
pub type Received = Arc<Mutex<Vec<(Instant, Feed)>>>;

/// How workers are started here.
pub fn launch() -> Launch {
    Launch { program: env!("CARGO_BIN_EXE_aqueduct-worker").into(), arguments: Vec::new() }
}

/// Four seconds of a small picture with a keyframe each second.
pub fn source() -> Clip {
    clip::small(4, &["-profile:v", "main", "-bf", "0", "-b:v", "900k"])
}

impl Live {
    pub async fn start(plant: Option<Plant>) -> Self {
        Self::begin_stage(launch(), plant).await
    }

    /// The same with workers that are started otherwise.
    pub async fn start_with(change: impl FnOnce(&mut Launch)) -> Self {
        let mut launch = launch();
        change(&mut launch);
        Self::begin_stage(launch, None).await
    }

    async fn begin_stage(launch: Launch, plant: Option<Plant>) -> Self {
        let alone = ALONE.lock().await;
        let rung = |height| RungByHand { height, bitrate: None, fps: None, codec: None };
        let config = Config { ladder: vec![rung(120), rung(90)], ..Config::default() };
        let options = Options {
            plan: Plan::try_from(config).unwrap(),
            segment: Duration::from_secs(1),
            hardware: watch::channel(Chosen::default()).1,
            launch,
            plant,
        };
        let (events, heard) = event::bus(8_192);
        let (begun, publications) = mpsc::channel(8);
        let (encoded, out) = mpsc::channel(8);
        let stop = CancellationToken::new();
        let task = tokio::spawn(Stage::new(options, events).run(publications, encoded, stop.clone()));
        Self { begun, out, events: heard, stop, task, _alone: alone }
    }

    /// Begins a stream. What comes out of it is gathered from now on.
    pub async fn begin(&mut self, name: &str) -> (FeedSender, Received) {
        let stream: StreamName = name.parse().unwrap();
        let (sender, feed) = queue::feed(512);
        self.begun.send(Publication { stream, feed }).await.unwrap();
        let publication = self.out.recv().await.unwrap();
        let received = Received::default();
        tokio::spawn(gather(publication.feed, received.clone()));
        (sender, received)
    }

    /// What has been told since the last time.
    pub fn told(&mut self) -> Vec<(StreamName, Transcode)> {
        let mut told = Vec::new();
        while let Some(event) = self.events.try_recv() {
            if let Event::Transcode { stream, what } = event {
                told.push((stream, what));
            }
        }
        told
    }

    /// How workers were lost since the last time.
    pub fn losses(&mut self) -> Vec<WorkerLoss> {
        let told = self.told().into_iter();
        told.filter_map(|(_, what)| match what {
            Transcode::WorkerLost { cause, .. } => Some(cause),
            _ => None,
        })
        .collect()
    }

    pub async fn end(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

async fn gather(mut feed: FeedReceiver, received: Received) {
    while let Some(message) = feed.recv().await {
        let now = Instant::now();
        received.lock().unwrap().push((now, message));
    }
}

/// Sends a clip over and over in real time. Returns when each picture went, by its decode time.
pub async fn publish(clip: Clip, mut feed: FeedSender, count: usize) -> Vec<(i64, Instant)> {
    feed.send(Feed::Tracks(Arc::new(TrackSet { tracks: vec![clip.track.clone()] })));
    let scale = clip.track.timescale;
    feed.send(Feed::Clock(ClockMap { media: MediaTime::new(0, scale), wall: WallTime::default() }));
    let length = clip.frames.len() as i64 * i64::from(clip.spacing);
    let (begin, mut sent) = (tokio::time::Instant::now(), Vec::new());
    for n in 0..count {
        tokio::time::sleep_until(begin + FRAME * n as u32).await;
        let mut frame = clip.frames[n % clip.frames.len()].clone();
        let shift = (n / clip.frames.len()) as i64 * length;
        (frame.dts, frame.pts) = (frame.dts + shift, frame.pts + shift);
        sent.push((frame.dts, Instant::now()));
        feed.send(Feed::Sample(frame.sample(scale)));
    }
    // The feed closes only when what is on its way has come out.
    tokio::time::sleep(Duration::from_millis(300)).await;
    sent
}

/// Samples of a track with the time at which they came out.
pub fn samples(received: &Received, track: u8) -> Vec<(Instant, Sample)> {
    let received = received.lock().unwrap();
    let of = |(at, message): &(Instant, Feed)| match message {
        Feed::Sample(sample) if sample.track.0 == track => Some((*at, sample.clone())),
        _ => None,
    };
    received.iter().filter_map(of).collect()
}

/// Checks that every picture that was sent from `since` on came out of the source's own rendition, and at once.
pub fn check_source(sent: &[(i64, Instant)], received: &Received, since: Instant) {
    let out = samples(received, 0);
    assert_eq!(out.len(), sent.len(), "each picture, once");
    let mut delays = Vec::new();
    for ((dts, at), (came, sample)) in sent.iter().zip(&out) {
        assert_eq!(sample.dts.ticks, *dts);
        if *at >= since {
            delays.push(came.duration_since(*at));
        }
    }
    delays.sort_unstable();
    let worst = delays.last().copied().unwrap_or_default();
    println!("source: {} pictures, median {:?}, worst {worst:?}", delays.len(), delays[delays.len() / 2]);
    assert!(worst < Duration::from_millis(150), "a picture of the source was held back for {worst:?}");
}

/// Workers of this process.
pub fn workers() -> Vec<Pid> {
    let own = std::process::id();
    let all = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let is_ours = |pid: &i32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let Some((head, rest)) = stat.rsplit_once(") ") else { return false };
        let mut fields = rest.split(' ');
        let (state, parent) = (fields.next(), fields.next().and_then(|parent| parent.parse().ok()));
        head.contains("(aqueduct-worker") && parent == Some(own) && state != Some("Z")
    };
    all.filter(is_ours).filter_map(Pid::from_raw).collect()
}

pub fn signal(pid: Pid, signal: Signal) {
    rustix::process::kill_process(pid, signal).unwrap();
}
