//! One target's task: its worker, its state, its retries.

use std::hash::{BuildHasher as _, Hasher as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aqueduct_common::event::{PushChange, PushState, PushTick};
use aqueduct_common::queue::FeedReceiver;
use aqueduct_common::{Event, EventSender, Feed, Sample, StreamName, Track, TrackSet};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio::sync::mpsc;
use tokio::time;
use tokio_util::sync::CancellationToken;

use super::carry;
use super::retry::Retry;
use super::target::Target;
use super::worker::{Job, Said, reference};
use crate::host::Launch;
use crate::host::launch::{Started, cause, log};
use crate::protocol::{Encoded, Frame, ToWorker, encode};

/// How long a worker that takes nothing is waited for: longer than it waits for its target.
const STUCK: Duration = Duration::from_secs(12);
/// How long a worker may take to say goodbye to its target.
const GOODBYE: Duration = Duration::from_secs(2);
/// A connection that was given up sooner than this for other tracks is not made anew at once.
const BRIEF: Duration = Duration::from_secs(5);
const BREATH: Duration = Duration::from_secs(1);
/// Longest line that a worker says.
const LINE_MAX: u64 = 16 << 10;
/// Longest reason that is shown.
const REASON_MAX: usize = 200;

/// What a target's task is made of.
pub(super) struct Pushing {
    pub(super) stream: StreamName,
    pub(super) target: Target,
    pub(super) launch: Launch,
    pub(super) feed: FeedReceiver,
    pub(super) events: EventSender,
    pub(super) stop: CancellationToken,
}

/// Why a connection is over.
enum Over {
    /// The stream has ended, or the server stops.
    Stream,
    /// The stream goes on with other tracks, for which the target has to be connected anew.
    Changed,
    /// The worker or its target failed.
    Failed(String),
}

/// What goes on between a target and its stream.
struct Run {
    pushing: Pushing,
    /// The stream's tracks, as they are now.
    tracks: Option<Arc<TrackSet>>,
    tick: PushTick,
    /// Drops of the queue that were told.
    told: u64,
    state: Option<PushState>,
    next_tick: Instant,
}

/// Sends a stream to a target until the stream ends.
pub(super) async fn run(pushing: Pushing) {
    let next_tick = now() + Duration::from_secs(1);
    let mut run = Run { pushing, tracks: None, tick: PushTick::default(), told: 0, state: None, next_tick };
    let mut retry = Retry::default();
    loop {
        let began = now();
        let over = match run.carried().await {
            Some(Ok(tracks)) => run.connect(&tracks, &mut retry).await,
            Some(Err(reason)) => Over::Failed(reason),
            None => Over::Stream,
        };
        match over {
            Over::Stream => return run.tell(PushState::Ended),
            Over::Changed if now().saturating_duration_since(began) >= BRIEF => {}
            Over::Changed => {
                if run.wait(BREATH).await.is_none() {
                    return run.tell(PushState::Ended);
                }
            }
            Over::Failed(reason) => {
                let wait = retry.failed(now(), chance());
                if run.back_off(&reason, wait).await.is_none() {
                    return run.tell(PushState::Ended);
                }
            }
        }
    }
}

impl Run {
    /// Waits for the stream's tracks, and says what the target is sent of them; `None` at the stream's end.
    async fn carried(&mut self) -> Option<Result<Vec<Track>, String>> {
        while self.tracks.is_none() {
            self.pass().await?;
        }
        let tracks = self.tracks.as_ref()?;
        Some(carry::carried(self.pushing.target.form, tracks))
    }

    /// Takes one message while the target is away. `None` at the stream's end.
    async fn pass(&mut self) -> Option<()> {
        let message = tokio::select! {
            () = self.pushing.stop.cancelled() => None,
            message = self.pushing.feed.recv() => message,
        };
        match message? {
            Feed::Tracks(tracks) => self.tracks = Some(tracks),
            Feed::Sample(_) => self.tick.dropped += 1,
            _ => {}
        }
        self.tick();
        Some(())
    }

    async fn back_off(&mut self, reason: &str, wait: Duration) -> Option<()> {
        let reason = self.pushing.target.without_secrets(reason);
        let reason: String = reason.chars().filter(|c| !c.is_control()).take(REASON_MAX).collect();
        let again_millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        self.tell(PushState::Failed { reason, again_millis });
        self.wait(wait).await
    }

    async fn wait(&mut self, wait: Duration) -> Option<()> {
        let waited = time::sleep(wait);
        tokio::pin!(waited);
        loop {
            tokio::select! {
                () = &mut waited => return Some(()),
                passed = self.pass() => passed?,
            }
        }
    }

    /// Runs one worker to its end.
    async fn connect(&mut self, tracks: &[Track], retry: &mut Retry) -> Over {
        self.tell(PushState::Connecting);
        let mut worker = match Worker::spawn(&self.pushing) {
            Ok(worker) => worker,
            Err(error) => return Over::Failed(format!("the worker does not start: {error}")),
        };
        if let Err(failed) = worker.begin(&self.pushing.target, tracks).await {
            return worker.failure(failed).await;
        }
        let over = self.feed(&mut worker, tracks, retry).await;
        match over {
            Over::Failed(reason) => worker.failure(reason).await,
            over => {
                worker.goodbye().await;
                over
            }
        }
    }

    async fn feed(&mut self, worker: &mut Worker, tracks: &[Track], retry: &mut Retry) -> Over {
        let reference = reference(tracks);
        let (mut live, mut begun) = (false, false);
        loop {
            let message = tokio::select! {
                () = self.pushing.stop.cancelled() => return Over::Stream,
                said = worker.said.recv() => {
                    match said {
                        Some(Said::Live) => {
                            live = true;
                            retry.live(now());
                            self.tell(PushState::Live);
                        }
                        Some(Said::Trouble { text }) => return Over::Failed(text),
                        None => return Over::Failed(String::new()),
                    }
                    continue;
                }
                message = self.pushing.feed.recv() => message,
            };
            match message {
                None => return Over::Stream,
                Some(Feed::Tracks(new)) => {
                    let after = carry::carried(self.pushing.target.form, &new);
                    self.tracks = Some(new);
                    if !after.is_ok_and(|after| carry::is_same(tracks, &after)) {
                        return Over::Changed;
                    }
                }
                Some(Feed::Sample(sample)) => {
                    begun |= live && sample.sync && sample.track == reference;
                    if !begun {
                        self.tick.dropped += 1;
                    } else if let Err(reason) = self.send(worker, &sample).await {
                        return Over::Failed(reason);
                    }
                }
                Some(_) => {}
            }
            self.tick();
        }
    }

    async fn send(&mut self, worker: &mut Worker, sample: &Sample) -> Result<(), String> {
        let bytes = sample.payload.len() as u64;
        worker.write(&ToWorker::Frame(Frame::of(sample))).await?;
        self.tick.bytes += bytes;
        self.tick.samples += 1;
        Ok(())
    }

    fn tell(&mut self, state: PushState) {
        if self.state.as_ref() == Some(&state) {
            return;
        }
        let (stream, target) = (self.pushing.stream.clone(), self.pushing.target.shown.clone());
        match &state {
            PushState::Failed { reason, again_millis } => {
                tracing::warn!(%stream, to = %target, reason, again_millis, "sending on failed");
            }
            state => tracing::info!(%stream, to = %target, state = state.as_str(), "sending on"),
        }
        self.state = Some(state.clone());
        self.event(PushChange::State(state));
    }

    fn event(&self, what: PushChange) {
        let (stream, target) = (self.pushing.stream.clone(), self.pushing.target.shown.clone());
        self.pushing.events.send(Event::Push { stream, target, what });
    }

    /// Tells the figures, once a second.
    fn tick(&mut self) {
        if now() < self.next_tick {
            return;
        }
        self.next_tick = now() + Duration::from_secs(1);
        let dropped = self.pushing.feed.dropped();
        self.tick.dropped += dropped - self.told;
        self.told = dropped;
        let tick = std::mem::take(&mut self.tick);
        self.event(PushChange::Tick(tick));
    }
}

/// A worker that runs. Dropped, it is killed.
struct Worker {
    child: Child,
    stdin: ChildStdin,
    said: mpsc::Receiver<Said>,
}

impl Worker {
    fn spawn(pushing: &Pushing) -> std::io::Result<Self> {
        let Started { child, stdin, stdout, stderr } = Started::from(pushing.launch.command())?;
        let (heard, said) = mpsc::channel(8);
        tokio::spawn(listen(stdout, heard));
        tokio::spawn(log(stderr, pushing.stream.clone()));
        Ok(Self { child, stdin, said })
    }

    async fn begin(&mut self, target: &Target, tracks: &[Track]) -> Result<(), String> {
        let job = Job { form: target.form, url: target.url.expose().clone(), verify: target.verify };
        let mut line = serde_json::to_vec(&job).map_err(|error| error.to_string())?;
        line.push(b'\n');
        self.stdin.write_all(&line).await.map_err(|_| String::new())?;
        self.write(&ToWorker::Source(tracks.to_vec())).await
    }

    async fn write(&mut self, message: &ToWorker) -> Result<(), String> {
        let encoded: Encoded = encode(message).map_err(|error| error.to_string())?;
        match time::timeout(STUCK, self.stdin.write_all_buf(&mut encoded.into_buf())).await {
            Ok(Ok(())) => Ok(()),
            // Its own words say why.
            Ok(Err(_)) => Err(String::new()),
            Err(_) => Err(format!("its worker took nothing for {} s", STUCK.as_secs())),
        }
    }

    /// Its stream ends: it tells the target.
    async fn goodbye(mut self) {
        let _ = time::timeout(GOODBYE, self.write(&ToWorker::End)).await;
        let _ = time::timeout(GOODBYE, self.child.wait()).await;
    }

    /// Why it failed: what is known, what it says itself, or how it ended.
    async fn failure(mut self, known: String) -> Over {
        if !known.is_empty() {
            return Over::Failed(known);
        }
        let words = time::timeout(GOODBYE, self.said.recv()).await;
        if let Ok(Some(Said::Trouble { text })) = words {
            return Over::Failed(text);
        }
        let ended = time::timeout(GOODBYE, self.child.wait()).await;
        let detail = match ended {
            Ok(Ok(status)) => cause(status).1,
            _ => "it does not end".into(),
        };
        Over::Failed(format!("its worker is gone: {detail}"))
    }
}

/// Hears a worker to its end. What is no line of its is the end as well.
async fn listen(stdout: ChildStdout, heard: mpsc::Sender<Said>) {
    let mut lines = BufReader::new(stdout.take(LINE_MAX)).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let Ok(said) = serde_json::from_str(&line) else { return };
        if heard.send(said).await.is_err() {
            return;
        }
    }
}

/// Spreads retries. Any number will do.
fn chance() -> u64 {
    std::hash::RandomState::new().build_hasher().finish()
}

#[expect(clippy::disallowed_methods, reason = "a task is a shell: retries need a clock")]
fn now() -> Instant {
    time::Instant::now().into_std()
}
