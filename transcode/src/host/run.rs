//! One stream's task: the shell around [`Flow`].

use std::time::Instant;

use aqueduct_common::event::{Event, Transcode, WorkerLoss};
use aqueduct_common::queue::{FeedReceiver, FeedSender, Sent};
use aqueduct_common::{EventSender, Feed, StreamName, TrackId};
use tokio::sync::mpsc;
use tokio::time;
use tokio_util::sync::CancellationToken;

use super::budget::Claim;
use super::flow::{Action, Flow, Machine, Settings};
use super::launch::Launch;
use super::process::{Heard, Process};
use super::supervise::Pulse;
use crate::hardware::Backend;
use crate::protocol::{self, FromWorker, Job, ToWorker};

/// How long a worker may take for what it still has when its source has ended.
const LAST_FRAMES: std::time::Duration = std::time::Duration::from_millis(700);

/// Everything that a stream's task is made of.
pub(super) struct Stream {
    pub(super) name: StreamName,
    pub(super) settings: Settings,
    pub(super) launch: Launch,
    pub(super) source: FeedReceiver,
    pub(super) sink: FeedSender,
    pub(super) events: EventSender,
    pub(super) claim: Claim,
    pub(super) cpus: u32,
    /// Renditions that were asked for, by how many viewers.
    pub(super) watched: mpsc::Receiver<(TrackId, u32)>,
    pub(super) stop: CancellationToken,
}

/// Why the loop of a stream ended.
enum End {
    /// Its source has ended.
    Source,
    /// Nobody takes it any more, or its policy ends it.
    Sink,
    /// The server stops.
    Stop,
}

struct Running {
    stream: Stream,
    flow: Flow,
    worker: Option<Process>,
    /// A policy or the packager has ended the stream.
    over: bool,
}

/// Runs a stream to its end.
pub(super) async fn run(stream: Stream) {
    let flow = Flow::new(stream.settings.clone(), now());
    let mut running = Running { stream, flow, worker: None, over: false };
    running.read_machine();
    let end = running.carry().await;
    running.finish(end).await;
}

impl Running {
    /// Carries messages until something ends the stream.
    async fn carry(&mut self) -> End {
        loop {
            if self.over {
                return End::Sink;
            }
            let deadline = self.flow.deadline();
            let Stream { source, sink, watched, stop, .. } = &mut self.stream;
            tokio::select! {
                () = stop.cancelled() => return End::Stop,
                () = sink.closed() => return End::Sink,
                message = source.recv() => {
                    let Some(message) = message else { return End::Source };
                    self.source(message);
                }
                heard = hear(&mut self.worker) => self.hear(heard),
                Some((track, viewers)) = watched.recv() => self.flow.watched(track, viewers, now()),
                () = until(deadline) => self.flow.tick(now()),
            }
            self.act();
        }
    }

    /// Takes in what has come of the source. Each message is acted upon at once, so that it goes on before the next.
    fn source(&mut self, message: Feed) {
        self.read_machine_for(&message);
        self.flow.source(message, now());
        self.act();
        while let Some(message) = self.stream.source.try_recv() {
            self.read_machine_for(&message);
            self.flow.source(message, now());
            self.act();
        }
    }

    fn hear(&mut self, heard: Heard) {
        match heard {
            Heard::Message(message) => {
                if matches!(message, FromWorker::Report(_)) {
                    self.read_machine();
                }
                self.flow.worker(message, now());
            }
            Heard::Gone(cause, detail) => {
                self.worker = None;
                self.flow.worker_lost(cause, detail, now());
            }
        }
    }

    fn read_machine_for(&mut self, message: &Feed) {
        if matches!(message, Feed::Tracks(_)) {
            self.read_machine();
        }
    }

    fn read_machine(&mut self) {
        let claim = &self.stream.claim;
        let (load, costliest) = claim.load();
        let (free, full, all, pace) = (claim.free(), claim.is_full(), claim.all(), claim.pace());
        self.flow.machine(Machine { free, load, costliest, cpus: self.stream.cpus, full, all, pace });
    }

    /// Does what the flow asks for, until it asks for nothing.
    fn act(&mut self) {
        while let Some(action) = self.flow.poll() {
            match action {
                Action::Publish(message) => self.over |= self.stream.sink.send(message) == Sent::Closed,
                Action::Start(job) => self.start(*job),
                Action::Tell(message) => self.tell(&message),
                Action::Kill(cause) => self.lose(cause, words(cause)),
                Action::Look => {
                    let pulse = self.worker.as_ref().map_or(Pulse::Unknown, Process::pulse);
                    self.flow.looked(pulse, now());
                }
                Action::Dismiss => {
                    if let Some(worker) = self.worker.take() {
                        worker.dismiss();
                    }
                }
                Action::Report(what) => self.report(what),
                Action::Advise(advice) => {
                    self.stream.events.send(Event::Advice { stream: self.stream.name.clone(), advice });
                }
                Action::Log(text) => {
                    let text: String = text.chars().take(300).collect();
                    tracing::warn!(stream = %self.stream.name, text, "worker");
                }
                Action::Expect(thousandths) => self.stream.claim.expect(thousandths),
                Action::Measured(thousandths) => self.stream.claim.measured(thousandths),
                Action::Learned(pace) => self.stream.claim.learn(pace),
                Action::End => self.over = true,
            }
        }
    }

    fn start(&mut self, job: Job) {
        let mut backends = job.hardware.decode.iter().chain(&job.hardware.encode);
        let devices = backends.any(|backend| *backend != Backend::Software);
        match Process::spawn(&self.stream.launch, &self.stream.name, devices) {
            Ok(worker) => {
                tracing::info!(stream = %self.stream.name, pid = worker.pid, "worker started");
                self.worker = Some(worker);
                self.tell(&ToWorker::Job(job));
            }
            Err(error) => {
                let detail =
                    format!("{} could not be started: {error}", self.stream.launch.program.display());
                self.lose(WorkerLoss::Start, detail);
            }
        }
    }

    fn tell(&mut self, message: &ToWorker) {
        let Some(worker) = &self.worker else { return };
        match protocol::encode(message).map(|encoded| worker.tell(encoded)) {
            Ok(true) => {}
            Ok(false) => self.lose(WorkerLoss::Hang, "it reads nothing".into()),
            // A frame beyond the protocol's limit: it is lost to the renditions, as one that cannot be decoded.
            Err(error) => self.tell_lost(message, &error),
        }
    }

    fn tell_lost(&mut self, message: &ToWorker, error: &protocol::ProtocolError) {
        tracing::warn!(stream = %self.stream.name, %error, "a message did not go to the worker");
        if let ToWorker::Frame(frame) = message
            && !frame.payload.is_empty()
        {
            let lost = protocol::Frame { payload: bytes::Bytes::new(), ..frame.clone() };
            self.tell(&ToWorker::Frame(lost));
        }
    }

    fn lose(&mut self, cause: WorkerLoss, detail: String) {
        if let Some(worker) = self.worker.take() {
            worker.kill();
        }
        self.flow.worker_lost(cause, detail, now());
    }

    fn report(&self, what: Transcode) {
        let stream = &self.stream.name;
        match &what {
            Transcode::WorkerLost { cause, detail, last_frame_micros, retry_micros } => tracing::warn!(
                %stream, cause = cause.as_str(), detail, last_frame_micros, retry_micros, "worker lost"
            ),
            Transcode::Fallback { stage, from, to, reason } => {
                tracing::warn!(%stream, stage, from, to, reason, "a backend gave way");
            }
            Transcode::Governor { step, reason } => {
                tracing::warn!(%stream, step = step.as_str(), reason, "governor");
            }
            Transcode::Rung { track, state, reason } => {
                tracing::info!(%stream, track = track.0, state = state.as_str(), reason, "rendition");
            }
            Transcode::Planned { alignment, passthrough, renditions, reasons } => {
                let names: Vec<_> = renditions.iter().map(|rendition| rendition.name.as_str()).collect();
                let alignment = alignment.as_str();
                tracing::info!(%stream, alignment, passthrough, ?names, ?reasons, "renditions planned");
            }
            Transcode::WorkerStarted { .. } | Transcode::Tick(_) | Transcode::Ended => {}
        }
        self.stream.events.send(Event::Transcode { stream: stream.clone(), what });
    }

    async fn finish(mut self, end: End) {
        if matches!(end, End::Source) {
            self.flow.finish();
            self.act();
            // What the worker still has may take a moment; what it has not given by then is lost.
            let _ = time::timeout(LAST_FRAMES, self.last_frames()).await;
        }
        self.report(Transcode::Ended);
        if let Some(worker) = self.worker.take() {
            worker.dismiss();
        }
        if matches!(end, End::Stop) {
            // A feed that closes ends its stream for the viewers, and a stop must not: the packager goes first.
            tokio::spawn(async move { self.stream.sink.closed().await });
        }
    }

    async fn last_frames(&mut self) {
        if let Some(worker) = &mut self.worker {
            worker.end_input();
        }
        while let Heard::Message(message) = hear(&mut self.worker).await {
            self.flow.worker_at_end(message, now());
            self.act();
        }
        self.worker = None;
    }
}

/// What the worker says; never anything without one.
async fn hear(worker: &mut Option<Process>) -> Heard {
    let Some(process) = worker else { return std::future::pending().await };
    let gone = || Heard::Gone(WorkerLoss::Exit(-1), "its attendant is gone".into());
    process.hear().await.unwrap_or_else(gone)
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

fn words(cause: WorkerLoss) -> String {
    match cause {
        WorkerLoss::Hang => "it was fed and gave nothing out",
        WorkerLoss::Start => "it did not become ready",
        WorkerLoss::Protocol => "it announced what cannot be",
        WorkerLoss::Exit(_) | WorkerLoss::Signal(_) => "it ended",
    }
    .into()
}

#[expect(clippy::disallowed_methods, reason = "the shell reads the clock for the pure parts")]
fn now() -> Instant {
    Instant::now()
}
