//! The worker process: decode, scale, encode.
//!
//! ```text
//! stdin ─▶ reader ─▶ pictures: decode, order, scale ─▶ a thread for each rung ─▶ writer ─▶ stdout
//!                └─▶ sound ───────────────────────────────────────────────────▶─┘
//! ```
//!
//! Queues behind the pictures' thread are short and hold it; the one before it takes more than the host lets be on its way,
//! so that an order to stop is read while there is more to do than can be done, and counts at once. A frame
//! that comes in goes out of all rungs before the next one is looked at; nothing waits for a later frame but what has
//! to (B-frames, fields, half-rate rungs). Where the rungs' frames lie on the timeline is decided by pure modules:
//! `slots` and `grid`.

mod ahead;
pub(crate) mod bitstream;
pub mod cage;
mod coder;
mod complexity;
mod fields;
mod grid;
mod half;
mod lane;
mod output;
mod recipe;
mod rungs;
mod scale;
mod settings;
mod slots;
mod sound;
mod source;
mod stats;
mod timing;
pub(crate) mod trial;
mod video;

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use aqueduct_common::{MediaTime, Timescale};

use crate::protocol::{FromWorker, Job, ProtocolError, Reader, ToWorker, VERSION};
use ahead::Ahead;
use output::Output;
use sound::ToSound;
use stats::Stats;
use video::{ToVideo, Video};

/// Bytes that are read in one go.
const CHUNK: usize = 64 << 10;
/// Frames between the reader and the pictures' thread: half a minute. The host's throttle leaves most of them without
/// their payload.
const VIDEO_QUEUE: usize = 1_024;
/// Frames between the reader and the sound's thread.
const SOUND_QUEUE: usize = 64;
/// From one report to the next.
const REPORT: Duration = Duration::from_secs(1);

/// Why a worker ended before it was told to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkerError {
    /// Reading from or writing to the host failed, or a thread could not start.
    #[error("talking to the host: {0}")]
    Io(#[from] io::Error),
    /// What the host sent is no message.
    #[error("the host's messages: {0}")]
    Protocol(#[from] ProtocolError),
    /// The first message was not the job, or a second job came.
    #[error("the host's messages: {0}")]
    Order(&'static str),
    /// The host is of another version.
    #[error("the host speaks version {0} of the protocol, this worker {VERSION}")]
    Version(u16),
    /// Nothing is left that could do the work.
    #[error("{0}")]
    Failed(String),
}

/// The worker's main: speaks [`protocol`](crate::protocol) on standard input and output until its end. Standard
/// output carries nothing else; words go to standard error.
pub fn run() -> ExitCode {
    let open = cage::enter();
    let stdin = io::stdin().as_fd().try_clone_to_owned().map(File::from);
    let stdout = io::stdout().as_fd().try_clone_to_owned().map(File::from);
    for words in open {
        let _ = writeln!(io::stderr(), "worker: {words}");
    }
    let outcome = match (stdin, stdout) {
        (Ok(stdin), Ok(stdout)) => serve(stdin, stdout),
        (Err(error), _) | (_, Err(error)) => Err(error.into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "worker: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Serves one job over any pair of streams. Returns when the host says the end, or closes its side.
///
/// # Errors
/// When the host breaks the protocol, its streams fail, or nothing is left that could do the work.
pub fn serve(
    input: impl Read + Send + 'static,
    output: impl Write + Send + 'static,
) -> Result<(), WorkerError> {
    let (out, messages) = Output::new();
    let writer = Builder::new().name("writer".into()).spawn(move || output::write_all(&messages, output))?;
    let stats = Arc::new(Stats::default());
    let (done, ended) = sync_channel(1);
    let reader = {
        let (out, stats) = (out.clone(), stats.clone());
        Builder::new().name("reader".into()).spawn(move || {
            let outcome = read_all(input, &out, &stats);
            let _ = done.send(());
            outcome
        })?
    };
    out.send(FromWorker::Ready { version: VERSION });
    report(&out, &stats, &ended);
    let outcome =
        reader.join().unwrap_or_else(|_| Err(WorkerError::Failed("the reader's thread died".into())));
    if let Err(error) = &outcome {
        out.trouble(error.to_string());
    }
    drop(out);
    let written = writer.join().unwrap_or_else(|_| Err(io::Error::other("the writer's thread died")));
    outcome.and(written.map_err(WorkerError::from))
}

/// Reports once a second until the reader has ended, and once then.
fn report(out: &Output, stats: &Stats, ended: &Receiver<()>) {
    loop {
        let over = !matches!(ended.recv_timeout(REPORT), Err(RecvTimeoutError::Timeout));
        if let Some(report) = stats.take() {
            out.send(FromWorker::Report(report));
        }
        if over {
            return;
        }
    }
}

/// Reads the host's messages and hands them out, until the end.
fn read_all(mut input: impl Read, out: &Output, stats: &Arc<Stats>) -> Result<(), WorkerError> {
    let mut reader = Reader::<ToWorker>::default();
    let mut chunk = vec![0; CHUNK];
    let mut threads: Option<Threads> = None;
    loop {
        while let Some(message) = reader.poll() {
            match (message?, &mut threads) {
                (ToWorker::Job(job), None) => threads = Some(Threads::start(&job, out, stats)?),
                (ToWorker::Job(_), Some(_)) => return Err(WorkerError::Order("a second job came")),
                (ToWorker::End, Some(_)) => return threads.map_or(Ok(()), Threads::finish),
                (message, Some(threads)) => {
                    if !threads.hand_out(message, stats) {
                        break;
                    }
                }
                (_, None) => return Err(WorkerError::Order("the first one was not the job")),
            }
        }
        if threads.as_ref().is_some_and(|threads| threads.failed) {
            return threads.map_or(Ok(()), Threads::finish);
        }
        match input.read(&mut chunk)? {
            0 => return threads.map_or(Ok(()), Threads::finish),
            length => reader.push(&chunk[..length]),
        }
    }
}

/// The threads that work, and the ways to them.
struct Threads {
    video: Option<VideoThread>,
    sound: Option<(SyncSender<ToSound>, JoinHandle<()>)>,
    ahead: Option<Arc<Ahead>>,
    job: Job,
    /// Ticks a second of the video source.
    scale: Timescale,
    /// The pictures' thread has ended by itself.
    failed: bool,
}

impl Threads {
    fn start(job: &Job, out: &Output, stats: &Arc<Stats>) -> Result<Self, WorkerError> {
        if job.version != VERSION {
            return Err(WorkerError::Version(job.version));
        }
        crate::sys::init();
        crate::sys::choose_device(&job.hardware.device);
        let ahead = job.video.as_ref().map(|video| Arc::new(Ahead::of(video)));
        let video = ahead.clone().map(|ahead| start_video(job, out, stats, ahead)).transpose()?;
        let sound = if job.audio.is_empty() { None } else { Some(start_sound(job, out, stats)?) };
        Ok(Self { video, sound, ahead, job: job.clone(), scale: Timescale::VIDEO, failed: false })
    }

    /// Hands a message to whom it concerns. False when the pictures' thread is gone.
    fn hand_out(&mut self, message: ToWorker, stats: &Stats) -> bool {
        let source = self.job.video.as_ref().map(|video| video.source);
        match message {
            ToWorker::Source(tracks) => {
                if let Some(track) = tracks.iter().find(|track| Some(track.id) == source) {
                    self.scale = track.timescale;
                    self.tell_video(ToVideo::Source(track.clone()));
                }
                self.tell_sound(ToSound::Source(tracks));
            }
            ToWorker::Frame(frame) if Some(frame.track) == source => {
                stats.read(MediaTime::new(frame.duration.into(), self.scale).micros());
                self.tell_video(ToVideo::Frame(frame));
            }
            ToWorker::Frame(frame) => self.tell_sound(ToSound::Frame(frame)),
            ToWorker::Break => {
                self.tell_video(ToVideo::Break);
                self.tell_sound(ToSound::Break);
            }
            ToWorker::Order(order) => {
                if let Some(ahead) = &self.ahead {
                    ahead.read(order);
                }
                self.tell_video(ToVideo::Order(order));
            }
            ToWorker::Job(_) | ToWorker::End => {}
        }
        !self.failed
    }

    fn tell_video(&mut self, message: ToVideo) {
        if let Some((sender, _)) = &self.video {
            self.failed |= sender.send(message).is_err();
        }
    }

    fn tell_sound(&self, message: ToSound) {
        if let Some((sender, _)) = &self.sound {
            let _ = sender.send(message);
        }
    }

    /// Lets every thread give out what it holds, and waits for it.
    fn finish(self) -> Result<(), WorkerError> {
        let sound = self.sound.map(|(sender, thread)| {
            drop(sender);
            thread
        });
        let video = self.video.map(|(sender, thread)| {
            drop(sender);
            thread
        });
        let outcome = video.map_or(Ok(()), |thread| {
            thread.join().unwrap_or_else(|_| Err(WorkerError::Failed("the pictures' thread died".into())))
        });
        if let Some(thread) = sound {
            let _ = thread.join();
        }
        outcome
    }
}

type VideoThread = (SyncSender<ToVideo>, JoinHandle<Result<(), WorkerError>>);

fn start_video(
    job: &Job,
    out: &Output,
    stats: &Arc<Stats>,
    ahead: Arc<Ahead>,
) -> Result<VideoThread, WorkerError> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let (sender, receiver) = sync_channel(VIDEO_QUEUE);
    let rungs = job.video.clone().ok_or(WorkerError::Order("the job has no video"))?;
    let mut video = Video::start(job, &rungs, cores, ahead, (out.clone(), stats.clone()))?;
    let thread = Builder::new().name("pictures".into()).spawn(move || {
        let outcome = video::run(&mut video, &receiver);
        drop(receiver);
        video.finish();
        outcome.map_err(|error| WorkerError::Failed(error.to_string()))
    })?;
    Ok((sender, thread))
}

fn start_sound(
    job: &Job,
    out: &Output,
    stats: &Arc<Stats>,
) -> Result<(SyncSender<ToSound>, JoinHandle<()>), WorkerError> {
    let (sender, receiver) = sync_channel(SOUND_QUEUE);
    let (jobs, out, stats) = (job.audio.clone(), out.clone(), stats.clone());
    let thread =
        Builder::new().name("sound".into()).spawn(move || sound::run(jobs, &out, &stats, &receiver))?;
    Ok((sender, thread))
}
