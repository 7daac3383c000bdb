//! The server's half: starts a pull's worker, feeds it where its bytes come from here, and hears it.
//!
//! It restarts nothing: whoever holds the source's place in the ingest decides when the next worker is tried.

use std::path::PathBuf;

use aqueduct_common::StreamName;
use bytes::Bytes;
use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, ChildStdout};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::protocol::{FromPull, Job, Source, ToPull, VERSION};
use super::tracks::{Pulled, Tracks};
use crate::host::Launch;
use crate::host::launch::{Started, cause, log, reap, write};
use crate::protocol::{Encoded, ProtocolError, Reader, encode};

/// Datagrams' worth of bytes on their way to a worker: seconds of any stream. What comes beyond is lost and counted.
const INPUT: usize = 2_048;
/// Items that wait for the ingest; the worker waits when it is full, and so does its source.
const OUTPUT: usize = 256;
/// Bytes that are read at once.
const READ: usize = 64 * 1024;

/// How a pull's workers are started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullLaunch {
    launch: Launch,
}

/// What is heard of a worker.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    /// What its source gives.
    Item(Pulled),
    /// It is gone, and reaped: why, in words. Nothing follows.
    Gone(String),
}

/// A worker that runs. Dropping it lets it end, or kills it when it stays.
#[derive(Debug)]
pub struct Worker {
    input: mpsc::Sender<Encoded>,
    output: mpsc::Receiver<Heard>,
    _kill: DropGuard,
    /// The process's number.
    pub pid: Option<u32>,
}

impl PullLaunch {
    /// This very program with its hidden subcommand for pulls.
    ///
    /// # Errors
    /// Where the system does not say which program this is.
    pub fn this_program() -> std::io::Result<Self> {
        let launch = Launch { arguments: vec!["pull-worker".into()], ..Launch::this_program()? };
        Ok(Self { launch })
    }

    /// Starts a worker for `job`, which may read `files` and no others. Sound that needs a transcode is left out unless
    /// `transcodes`.
    ///
    /// # Errors
    /// What the system says.
    pub fn start(
        &self,
        stream: &StreamName,
        job: &Job,
        files: &[PathBuf],
        transcodes: bool,
    ) -> std::io::Result<Worker> {
        let mut command = self.launch.command();
        if matches!(job.source, Source::Url { .. }) {
            command.arg("--network");
        }
        for file in files {
            command.arg("--file").arg(file);
        }
        let job = encode(&ToPull::Job(job.clone())).map_err(std::io::Error::other)?;
        let Started { child, stdin, stdout, stderr } = Started::from(command)?;
        let (input, fed) = mpsc::channel(INPUT);
        let (said, output) = mpsc::channel(OUTPUT);
        let kill = CancellationToken::new();
        let pid = child.id();
        // The queue is new and has room.
        let _ = input.try_send(job);
        let mut beside = JoinSet::new();
        beside.spawn(write(stdin, fed));
        beside.spawn(log(stderr, stream.clone()));
        let tracks = Tracks::new(transcodes);
        tokio::spawn(attend(child, stdout, tracks, said, kill.clone(), beside));
        Ok(Worker { input, output, _kill: kill.drop_guard(), pid })
    }
}

impl Worker {
    /// Hands bytes of the source over. `false` when they do not fit any more, and are lost.
    pub fn feed(&self, bytes: Bytes) -> bool {
        encode(&ToPull::Bytes(bytes)).is_ok_and(|message| self.input.try_send(message).is_ok())
    }

    /// No more bytes come: it gives what it still has, and exits.
    pub fn end_input(&mut self) {
        self.input = mpsc::channel(1).0;
    }

    /// What it says, in order; `None` after [`Heard::Gone`].
    pub async fn hear(&mut self) -> Option<Heard> {
        self.output.recv().await
    }
}

/// Moves messages until the worker is gone, and reaps it.
async fn attend(
    mut child: Child,
    stdout: ChildStdout,
    tracks: Tracks,
    said: mpsc::Sender<Heard>,
    kill: CancellationToken,
    beside: JoinSet<()>,
) {
    let ended = tokio::select! {
        () = kill.cancelled() => Ok(None),
        ended = read(stdout, tracks, &said) => ended,
    };
    if ended.is_err() || kill.is_cancelled() {
        let _ = child.start_kill();
    }
    let status = reap(&mut child).await;
    drop(beside);
    let words = match (ended, status) {
        (Err(error), _) => format!("its worker broke the protocol: {error}"),
        // What the worker said last explains its exit better than its code.
        (Ok(Some(words)), _) => words,
        (Ok(None), Ok(status)) if status.success() => "the source has ended".into(),
        (Ok(None), Ok(status)) => format!("its worker is lost: {}", cause(status).1),
        (Ok(None), Err(error)) => format!("its worker's end could not be read: {error}"),
    };
    let _ = said.send(Heard::Gone(words)).await;
}

/// Hears the worker to its end. Returns the trouble that it spoke of last, behind which nothing came.
async fn read(
    mut stdout: ChildStdout,
    mut tracks: Tracks,
    said: &mpsc::Sender<Heard>,
) -> Result<Option<String>, ProtocolError> {
    let mut reader = Reader::<FromPull>::default();
    let mut last = None;
    let mut found = Vec::new();
    loop {
        reader.buffer().reserve(READ);
        match stdout.read_buf(reader.buffer()).await {
            Ok(0) | Err(_) => return Ok(last),
            Ok(_) => {}
        }
        while let Some(message) = reader.poll() {
            match message? {
                FromPull::Ready { version: VERSION } => {}
                FromPull::Ready { .. } => return Err(ProtocolError::Frame("version")),
                FromPull::Streams(streams) => tracks.streams(&streams, &mut found),
                FromPull::Packet(packet) => {
                    last = None;
                    tracks.packet(packet, &mut found);
                }
                FromPull::Trouble(words) => {
                    let words: String = words.chars().take(300).collect();
                    last = Some(words.clone());
                    found.push(Pulled::Trouble(words));
                }
            }
            hand_on(&mut found, said).await;
        }
        tracks.tell_faults(&mut found);
        hand_on(&mut found, said).await;
    }
}

async fn hand_on(found: &mut Vec<Pulled>, said: &mpsc::Sender<Heard>) {
    for item in found.drain(..) {
        // Nobody listens any more: the drop that follows ends the worker.
        let _ = said.send(Heard::Item(item)).await;
    }
}
