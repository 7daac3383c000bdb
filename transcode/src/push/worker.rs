//! The worker of one target: connects, and sends on what it is fed.
//!
//! Its standard input begins with one line of JSON, the [`Job`]; behind it stand messages of
//! [`protocol`](crate::protocol). Its standard output says in lines of JSON how it fares ([`Said`]). It has one thread: a
//! target that is slow holds the worker, and the worker its pipe, where the host sees it and drops.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use aqueduct_common::{CodecConfig, Track, TrackId};
use ffmpeg_next::codec::Id;
use serde::{Deserialize, Serialize};

use super::target::Form;
use crate::protocol::{Frame, ProtocolError, Reader, ToWorker};
use crate::sys::{AvError, Output, OutputFrame, OutputTrack};
use crate::worker::cage;

/// Longest job that is read.
const JOB_MAX: usize = 64 << 10;
/// Bytes that are read in one go.
const CHUNK: usize = 64 << 10;
/// How long a target may take to connect, or to take anything.
const PATIENCE: Duration = Duration::from_secs(8);

/// Where systems keep the certificates of authorities.
const AUTHORITIES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// What to do.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Job {
    pub(super) form: Form,
    pub(super) url: String,
    pub(super) verify: bool,
}

/// How it fares.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "lowercase", deny_unknown_fields)]
pub(super) enum Said {
    /// It is connected, and awaits a sync sample.
    Live,
    /// It ends for this reason.
    Trouble {
        /// In words, without the address.
        text: String,
    },
}

/// Why it ended before it was told to.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("talking to the server: {0}")]
    Io(#[from] io::Error),
    #[error("the server's messages: {0}")]
    Protocol(#[from] ProtocolError),
    #[error("the server's messages: {0}")]
    Order(&'static str),
    #[error("{0}")]
    Target(#[from] AvError),
}

/// The worker's main.
pub fn run() -> ExitCode {
    for words in cage::enter_for_pull(true) {
        let _ = writeln!(io::stderr(), "push worker: {words}");
    }
    let stdin = io::stdin().as_fd().try_clone_to_owned().map(File::from);
    let outcome = stdin.map_err(Trouble::from).and_then(serve);
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => {
            say(&Said::Trouble { text: trouble.to_string() });
            ExitCode::FAILURE
        }
    }
}

fn say(said: &Said) {
    if let Ok(mut line) = serde_json::to_string(said) {
        line.push('\n');
        // Without a server to hear it, its end of the pipe says so to the next read.
        let _ = io::stdout().write_all(line.as_bytes());
        let _ = io::stdout().flush();
    }
}

fn serve(mut input: File) -> Result<(), Trouble> {
    let mut reader = Reader::<ToWorker>::default();
    let job = read_job(&mut input, &mut reader)?;
    let mut sender: Option<Sender> = None;
    let mut chunk = vec![0; CHUNK];
    loop {
        while let Some(message) = reader.poll() {
            match (message?, &mut sender) {
                (ToWorker::Source(tracks), None) => {
                    sender = Some(Sender::open(&job, &tracks)?);
                    say(&Said::Live);
                }
                (ToWorker::Frame(frame), Some(sender)) => sender.send(&frame)?,
                (ToWorker::End, sender) => {
                    return sender.take().map_or(Ok(()), |sender| Ok(sender.output.finish()?));
                }
                _ => return Err(Trouble::Order("out of turn")),
            }
        }
        match input.read(&mut chunk)? {
            // The server is gone, or does not need this any more.
            0 => return Ok(()),
            count => reader.push(&chunk[..count]),
        }
    }
}

/// Reads the first line; what came behind it goes to the reader.
fn read_job(input: &mut File, reader: &mut Reader<ToWorker>) -> Result<Job, Trouble> {
    let (mut line, mut chunk) = (Vec::new(), vec![0; CHUNK]);
    loop {
        let count = input.read(&mut chunk)?;
        if count == 0 || line.len() > JOB_MAX {
            return Err(Trouble::Order("no job came"));
        }
        line.extend_from_slice(&chunk[..count]);
        if let Some(end) = line.iter().position(|byte| *byte == b'\n') {
            reader.push(&line[end + 1..]);
            return serde_json::from_slice(&line[..end])
                .map_err(|_| Trouble::Order("the job does not parse"));
        }
    }
}

/// An open target, and where its time begins.
struct Sender {
    output: Output,
    tracks: Vec<Track>,
    /// Flicks of the stream's time at which the target's time begins.
    base: Option<i64>,
}

impl Sender {
    fn open(job: &Job, tracks: &[Track]) -> Result<Self, Trouble> {
        let known = |track: &Track| Some((id(&track.codec)?, track.clone()));
        let known: Vec<_> = tracks.iter().filter_map(known).collect();
        let outputs: Vec<_> = known
            .iter()
            .map(|(id, track)| OutputTrack { id: *id, codec: &track.codec, scale: track.timescale.hz() })
            .collect();
        let verify = if job.verify { "1" } else { "0" };
        let (format, mut options) = match job.form {
            Form::Flv => ("flv", vec![("tls_verify", verify), ("rtmp_live", "live"), ("tcp_nodelay", "1")]),
            Form::MpegTs => ("mpegts", vec![("mode", "caller"), ("connect_timeout", "5000")]),
        };
        // Not every TLS library behind libavformat knows where the system keeps them.
        let authorities = AUTHORITIES.into_iter().find(|path| Path::new(path).exists());
        options.extend(authorities.map(|path| ("ca_file", path)));
        let output = Output::open(format, &job.url, &options, &outputs, PATIENCE);
        let output = output.map_err(|error| hinted(job, error))?;
        let tracks = known.into_iter().map(|(_, track)| track).collect();
        Ok(Self { output, tracks, base: None })
    }

    fn send(&mut self, frame: &Frame) -> Result<(), Trouble> {
        let Some(place) = self.tracks.iter().position(|track| track.id == frame.track) else { return Ok(()) };
        let scale = i64::from(self.tracks[place].timescale.hz());
        let flicks =
            |ticks: i64| i64::try_from(i128::from(ticks) * FLICKS / i128::from(scale)).unwrap_or(i64::MAX);
        let ticks =
            |flicks: i64| i64::try_from(i128::from(flicks) * i128::from(scale) / FLICKS).unwrap_or(i64::MAX);
        // A second of room: sound may begin a little before the pictures.
        let base = *self.base.get_or_insert_with(|| flicks(frame.dts).saturating_sub(FLICKS as i64));
        let base = ticks(base);
        if frame.dts < base {
            return Ok(());
        }
        let frame = OutputFrame {
            track: place,
            dts: frame.dts - base,
            pts: frame.pts - base,
            duration: i64::from(frame.duration),
            sync: frame.sync,
            payload: &frame.payload,
        };
        Ok(self.output.write(&frame)?)
    }
}

/// libavformat does not say that a certificate was the reason.
fn hinted(job: &Job, mut error: AvError) -> AvError {
    if job.verify && job.url.starts_with("rtmps:") {
        error.why.push_str(" (or its certificate is not valid for this name: verify = false takes any)");
    }
    error
}

/// Flicks of a second.
const FLICKS: i128 = 705_600_000;

/// What a target may be sent, by libav's names.
const fn id(codec: &CodecConfig) -> Option<Id> {
    match codec {
        CodecConfig::H264(_) => Some(Id::H264),
        CodecConfig::H265(_) => Some(Id::HEVC),
        CodecConfig::Aac(_) => Some(Id::AAC),
        CodecConfig::Foreign(_) => Some(Id::MP3),
        CodecConfig::Av1(_) | CodecConfig::Vp9(_) | CodecConfig::Opus(_) | CodecConfig::ForeignVideo(_) => {
            None
        }
    }
}

/// The reference among these tracks: what a target begins with.
pub(super) fn reference(tracks: &[Track]) -> TrackId {
    tracks.iter().map(|track| track.id).min().unwrap_or(TrackId::VIDEO)
}
