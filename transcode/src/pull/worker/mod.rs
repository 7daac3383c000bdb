//! The worker of a pull: opens its source, and hands its packets on.
//!
//! One thread reads what the host says, the other one the source. Nothing is held but what a container interleaves: a
//! host that is slow holds the worker, and the worker its source.

mod choice;
mod join;
mod output;
mod pace;
mod still;

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::Builder;

use bytes::{Buf as _, Bytes};

use super::protocol::{FromPull, Job, Source, ToPull, VERSION};
use crate::protocol::Reader;
use crate::sys::{AvError, Input};
use crate::worker::cage;
use choice::Choice;
use join::Join;
use output::Output;
use pace::Pace;

/// Bytes that are read in one go.
const CHUNK: usize = 64 << 10;
/// Messages with bytes of the source that wait for the demuxer.
const FED: usize = 64;
/// Schemes over which some of what is sent may not come.
const LOSSY: [&str; 4] = ["udp", "rtp", "srt", "rist"];
/// Media that is looked at to find out what it is, in microseconds and bytes; a source that is live goes on meanwhile.
const ANALYZE_MICROS: u32 = 1_500_000;
const PROBE_BYTES: u32 = 2_000_000;

/// Why a worker ended before its source did.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PullError {
    /// Reading from or writing to the host failed, or a file cannot be read.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// What the host sent is no message.
    #[error("the host's messages: {0}")]
    Protocol(#[from] crate::protocol::ProtocolError),
    /// The first message was not the job, or it does not fit what the worker was started with.
    #[error("the host's messages: {0}")]
    Order(&'static str),
    /// The host is of another version.
    #[error("the host speaks version {0} of the protocol, this worker {VERSION}")]
    Version(u16),
    /// The source cannot be opened or read.
    #[error("{0}")]
    Source(String),
}

impl From<AvError> for PullError {
    fn from(error: AvError) -> Self {
        Self::Source(error.to_string())
    }
}

/// The worker's main: speaks [`protocol`](super::protocol) on standard input and output until its source ends. `files`
/// are what it may read; with `network` its cage leaves the network open.
pub fn run(network: bool, files: &[PathBuf]) -> ExitCode {
    // Files are opened, and not yet read, before the cage closes: it has no place for a file system.
    let opened = files.iter().map(|path| File::open(path).map_err(|error| (path, error)));
    let opened: Result<Vec<File>, _> = opened.collect();
    for words in cage::enter_for_pull(network) {
        let _ = writeln!(io::stderr(), "worker: {words}");
    }
    let stdin = io::stdin().as_fd().try_clone_to_owned().map(File::from);
    let stdout = io::stdout().as_fd().try_clone_to_owned().map(File::from);
    let outcome = match (opened, stdin, stdout) {
        (Ok(files), Ok(stdin), Ok(stdout)) => serve(stdin, stdout, files),
        (Err((path, error)), _, Ok(stdout)) => {
            let words = format!("{}: {error}", path.display());
            let mut out = Output::new(stdout);
            out.send(&FromPull::Ready { version: VERSION })
                .and_then(|()| out.send(&FromPull::Trouble(words)))
                .and(Err(io::ErrorKind::NotFound.into()))
                .map_err(PullError::from)
        }
        (_, Err(error), _) | (_, _, Err(error)) => Err(error.into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Serves one job over any pair of streams, with these open files. Returns at the end of the source, or when the host
/// closes its side.
///
/// # Errors
/// When the host breaks the protocol, or the source cannot be opened or read; the host has been told in words.
pub fn serve(
    input: impl Read + Send + 'static,
    output: impl Write + Send + 'static,
    files: Vec<File>,
) -> Result<(), PullError> {
    let mut out = Output::new(output);
    out.send(&FromPull::Ready { version: VERSION })?;
    let (jobs, job) = sync_channel(1);
    let (feed, fed) = sync_channel(FED);
    Builder::new().name("host".into()).spawn(move || listen(input, &jobs, &feed))?;
    let Ok(job) = job.recv() else { return Ok(()) };
    let outcome = job.and_then(|job| work(&job, files, fed, &mut out));
    if let Err(error) = &outcome {
        out.send(&FromPull::Trouble(error.to_string()))?;
    }
    outcome
}

/// Hears the host to its end. A worker whose source is elsewhere has no reason to stay then.
fn listen(mut input: impl Read, jobs: &SyncSender<Result<Job, PullError>>, feed: &SyncSender<Bytes>) {
    let mut reader = Reader::<ToPull>::default();
    let mut chunk = vec![0; CHUNK];
    let mut is_fed = false;
    loop {
        while let Some(message) = reader.poll() {
            match message {
                Ok(ToPull::Job(job)) => {
                    is_fed = matches!(job.source, Source::Fed { .. });
                    let job =
                        if job.version == VERSION { Ok(job) } else { Err(PullError::Version(job.version)) };
                    if jobs.try_send(job).is_err() {
                        return;
                    }
                }
                // The demuxer is gone: so is what it would have read.
                Ok(ToPull::Bytes(bytes)) => {
                    if is_fed && feed.send(bytes).is_err() {
                        return;
                    }
                }
                Err(error) => {
                    let _ = jobs.try_send(Err(error.into()));
                    return;
                }
            }
        }
        match input.read(&mut chunk) {
            Ok(0) | Err(_) => break,
            Ok(length) => reader.push(&chunk[..length]),
        }
    }
    if !is_fed {
        // Whatever libavformat waits for, nobody waits for it any more.
        std::process::exit(0);
    }
}

/// Bytes that the host sends, as a stream that ends.
struct Fed {
    bytes: Receiver<Bytes>,
    rest: Bytes,
}

impl Read for Fed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.bytes.recv() {
                Ok(bytes) => self.rest = bytes,
                Err(_) => return Ok(0),
            }
        }
        let length = buffer.len().min(self.rest.len());
        self.rest.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}

fn work(job: &Job, files: Vec<File>, fed: Receiver<Bytes>, out: &mut Output) -> Result<(), PullError> {
    match &job.source {
        Source::Fed { format } => {
            let options = [probing(), whole(), vec![("format_whitelist".into(), format.clone())]].concat();
            let mut input = Input::read(Fed { bytes: fed, rest: Bytes::new() }, &options)?;
            Carry::new(job, out, None).all(&mut input)
        }
        Source::Url { url, protocols, options, paced } => {
            let mut all = probing();
            let scheme = url.0.split(':').next().unwrap_or_default();
            if LOSSY.iter().any(|lossy| scheme.eq_ignore_ascii_case(lossy)) {
                all.extend(whole());
            }
            all.push(("protocol_whitelist".into(), protocols.clone()));
            all.extend(options.iter().map(|(key, value)| (key.clone(), value.0.clone())));
            let mut input = Input::open(&url.0, &all)?;
            let pace = paced.then(Pace::default);
            Carry::new(job, out, pace).all(&mut input)
        }
        Source::Files { names } => play(job, names, &files, out),
        Source::Still { name, size, fps } => {
            let file = files.into_iter().next().ok_or(PullError::Order("there is no image"))?;
            still::show(file, name, *size, *fps, out)
        }
    }
}

/// Packets with bytes missing are left out before they are parsed: Chromium gives up on AAC with a hole in it.
fn whole() -> Vec<(String, String)> {
    vec![("fflags".into(), "+discardcorrupt".into())]
}

fn probing() -> Vec<(String, String)> {
    vec![
        ("analyzeduration".into(), ANALYZE_MICROS.to_string()),
        ("probesize".into(), PROBE_BYTES.to_string()),
    ]
}

/// Plays files one after another, over and over, as one source.
fn play(job: &Job, names: &[String], files: &[File], out: &mut Output) -> Result<(), PullError> {
    if files.is_empty() || names.len() != files.len() {
        return Err(PullError::Order("there are no files"));
    }
    // No option of these opens another file: a playlist among them plays nothing.
    let options = [("protocol_whitelist".to_owned(), String::new())];
    let mut carry = Carry::new(job, out, Some(Pace::default()));
    carry.join = Some(Join::default());
    loop {
        let before = carry.carried;
        for (file, name) in files.iter().zip(names) {
            let mut again = file.try_clone()?;
            io::Seek::rewind(&mut again)?;
            let named = |error: PullError| PullError::Source(format!("{name}: {error}"));
            let mut input = Input::seek(again, name, &options).map_err(|error| named(error.into()))?;
            carry.all(&mut input).map_err(named)?;
        }
        if carry.carried == before {
            return Err(PullError::Source(format!("{}: there is nothing to play in it", names.join(", "))));
        }
    }
}

/// Carries packets from an input to the host.
struct Carry<'a> {
    job: &'a Job,
    out: &'a mut Output,
    pace: Option<Pace>,
    /// Files follow each other on one clock.
    join: Option<Join>,
    silence: Option<output::Silence>,
    carried: u64,
}

impl<'a> Carry<'a> {
    fn new(job: &'a Job, out: &'a mut Output, pace: Option<Pace>) -> Self {
        Self { job, out, pace, join: None, silence: None, carried: 0 }
    }

    /// Carries an input to its end.
    fn all(&mut self, input: &mut Input) -> Result<(), PullError> {
        let mut choice = self.choose(input)?;
        let mut known = input.len();
        if let Some(join) = &mut self.join {
            join.begin(choice.has_video());
        }
        while let Some(packet) = input.next()? {
            if input.len() != known {
                known = input.len();
                choice = self.rechoose(input, choice)?;
            }
            for packet in choice.take(packet) {
                let ready = match &mut self.join {
                    None => vec![packet],
                    Some(join) => join.place(packet),
                };
                for packet in ready {
                    self.give(packet)?;
                }
            }
        }
        Ok(())
    }

    fn choose(&mut self, input: &Input) -> Result<Choice, PullError> {
        let choice =
            Choice::new(&input.streams(), &self.job.video, &self.job.audio).map_err(PullError::Source)?;
        self.announce(&choice)?;
        Ok(choice)
    }

    /// A stream has come that was not there before.
    fn rechoose(&mut self, input: &Input, before: Choice) -> Result<Choice, PullError> {
        let Ok(choice) = Choice::new(&input.streams(), &self.job.video, &self.job.audio) else {
            return Ok(before);
        };
        if choice.is_same(&before) {
            return Ok(before);
        }
        self.announce(&choice)?;
        Ok(choice)
    }

    fn announce(&mut self, choice: &Choice) -> Result<(), PullError> {
        let mut streams = choice.streams();
        let silent = self.job.silence && choice.has_video() && !choice.has_audio();
        if silent {
            streams.push(output::Silence::stream());
        }
        if !silent {
            self.silence = None;
        } else if self.silence.is_none() {
            self.silence = output::Silence::new();
        }
        self.out.send(&FromPull::Streams(streams))?;
        Ok(())
    }

    fn give(&mut self, packet: super::protocol::Packet) -> Result<(), PullError> {
        if let Some(pace) = &mut self.pace {
            pace.wait(packet.dts);
        }
        self.carried += 1;
        let at = packet.dts;
        self.out.send(&FromPull::Packet(packet.reasonable()))?;
        if let Some(silence) = &mut self.silence {
            silence.until(at, self.out)?;
        }
        Ok(())
    }
}
