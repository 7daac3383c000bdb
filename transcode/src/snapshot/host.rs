//! The server's half: taps streams, runs the process, keeps what it makes.

use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aqueduct_common::{CodecConfig, Feed, StreamName, TrackId, TrackKind};
use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::Notify;
use tokio::time;

use super::shelf::{Look, Shelf};
use super::wire::{ANSWER_MAX, Answer, Codec, Request};
use crate::host::Launch;

/// How long one picture may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the process is kept while nobody looks.
const IDLE: Duration = Duration::from_secs(30);
/// Rest after each picture, in times of what it took: a fifth of one CPU at most.
const REST: u32 = 4;
/// How long who asks first waits for the picture.
const FIRST: Duration = Duration::from_secs(2);
/// From a request in vain to the next try to start the process.
const RESTART: Duration = Duration::from_secs(5);

/// Pictures of streams. A handle; clones are the same shelf.
#[derive(Clone, Debug, Default)]
pub struct Snapshots {
    inner: Option<Arc<Inner>>,
}

#[derive(Debug)]
struct Inner {
    shelf: Mutex<Shelf>,
    /// Somebody looks, or a stream has a newer frame.
    moved: Notify,
    /// A picture was made, or could not be.
    done: Notify,
}

impl Inner {
    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Snapshots {
    /// Pictures that are renewed this often while somebody looks; with zero there are none. The process is started when
    /// the first is asked for. Needs a runtime of tokio.
    pub fn start(launch: Launch, every: Duration) -> Self {
        if every.is_zero() {
            return Self::default();
        }
        let shelf = Mutex::new(Shelf::new(every));
        let inner = Arc::new(Inner { shelf, moved: Notify::new(), done: Notify::new() });
        tokio::spawn(make(Arc::downgrade(&inner), launch));
        Self { inner: Some(inner) }
    }

    /// The newest picture of a stream. The first one is waited for, for a while.
    pub async fn look(&self, stream: &StreamName) -> Look {
        let Some(inner) = &self.inner else { return Look::Never };
        let wait = async {
            loop {
                let done = inner.done.notified();
                let found = inner.shelf().look(stream, now());
                inner.moved.notify_one();
                match found {
                    Look::Coming => done.await,
                    found => return found,
                }
            }
        };
        time::timeout(FIRST, wait).await.unwrap_or(Look::Coming)
    }

    /// What is to see all messages of a stream's feed; `None` where there are no pictures.
    pub fn tap(&self, stream: &StreamName) -> Option<impl FnMut(&Feed) + Send + Sync + use<>> {
        let inner = self.inner.clone()?;
        let mut tap = Tap { inner, stream: stream.clone(), video: None };
        Some(move |message: &Feed| tap.see(message))
    }
}

/// Watches one stream go by. Dropped with its feed.
struct Tap {
    inner: Arc<Inner>,
    stream: StreamName,
    video: Option<(TrackId, Codec, Bytes)>,
}

impl Tap {
    fn see(&mut self, message: &Feed) {
        match message {
            Feed::Tracks(tracks) => {
                let video = tracks.first(TrackKind::Video);
                self.video = video.and_then(|track| described(track.id, &track.codec));
            }
            Feed::Changed(track) if self.video.as_ref().is_some_and(|(id, ..)| *id == track.id) => {
                self.video = described(track.id, &track.codec);
            }
            Feed::Sample(sample) if sample.sync && !sample.payload.is_empty() => {
                let Some((id, codec, record)) = &self.video else { return };
                if *id == sample.track {
                    let (record, frame) = (record.clone(), sample.payload.clone());
                    self.inner.shelf().put(&self.stream, Request { codec: *codec, record, frame });
                    self.inner.moved.notify_one();
                }
            }
            _ => {}
        }
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.inner.shelf().remove(&self.stream);
    }
}

fn described(id: TrackId, codec: &CodecConfig) -> Option<(TrackId, Codec, Bytes)> {
    Some((id, Codec::of(codec)?, codec.record().clone()))
}

/// Makes pictures until nobody holds the shelf any more.
async fn make(shelf: std::sync::Weak<Inner>, launch: Launch) {
    let mut painter: Option<Painter> = None;
    loop {
        let Some(inner) = shelf.upgrade() else { return };
        let job = inner.shelf().next(now());
        let Some((stream, request, number)) = job else {
            let due = inner.shelf().deadline(now()).map(|at| at.saturating_duration_since(now()));
            if time::timeout(due.unwrap_or(IDLE).min(IDLE), inner.moved.notified()).await.is_err()
                && due.is_none()
            {
                painter = None;
            }
            continue;
        };
        let started = match painter {
            Some(_) => Ok(()),
            None => Painter::spawn(&launch).map(|new| painter = Some(new)),
        };
        let begun = now();
        let answer = match started {
            Ok(()) => ask(&mut painter, &request).await,
            Err(error) => Err(error),
        };
        let took = now().duration_since(begun);
        match answer {
            Ok(Answer::Picture(jpeg)) => inner.shelf().made(&stream, jpeg, number),
            Ok(Answer::Refused(reason)) => {
                tracing::debug!(%stream, reason, "no picture could be made");
                inner.shelf().failed(&stream, now());
            }
            Err(error) => {
                tracing::warn!(%stream, %error, "the process that makes pictures of streams was lost");
                painter = None;
                inner.shelf().failed(&stream, now());
            }
        }
        inner.done.notify_waiters();
        drop(inner);
        let rest = if painter.is_none() { RESTART } else { took * REST };
        time::sleep(rest.min(RESTART)).await;
    }
}

async fn ask(painter: &mut Option<Painter>, request: &Request) -> std::io::Result<Answer> {
    let Some(head) = request.head() else {
        return Ok(Answer::Refused("the frame is too long".into()));
    };
    let Some(painter) = painter else { return Err(std::io::Error::other("no process")) };
    let answered = time::timeout(PATIENCE, painter.ask(&head, &request.frame));
    answered.await.map_err(|_| std::io::Error::other("no answer in time"))?
}

/// The process. Dropping it kills it.
struct Painter {
    _child: Child,
    stdin: ChildStdin,
    stdout: ChildStdout,
}

impl Painter {
    fn spawn(launch: &Launch) -> std::io::Result<Self> {
        let mut command = Command::new(&launch.program);
        command.args(&launch.arguments).env_clear().process_group(0).kill_on_drop(true);
        command.envs(std::env::var_os("LD_LIBRARY_PATH").map(|path| ("LD_LIBRARY_PATH", path)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn()?;
        let missing = || std::io::Error::other("a pipe of the process is missing");
        let stdin = child.stdin.take().ok_or_else(missing)?;
        let stdout = child.stdout.take().ok_or_else(missing)?;
        Ok(Self { _child: child, stdin, stdout })
    }

    async fn ask(&mut self, head: &[u8], frame: &[u8]) -> std::io::Result<Answer> {
        self.stdin.write_all(head).await?;
        self.stdin.write_all(frame).await?;
        let length = self.stdout.read_u32().await? as usize;
        if length > ANSWER_MAX {
            return Err(std::io::Error::other("an answer that is too long"));
        }
        let mut body = Vec::new();
        (&mut self.stdout).take(length as u64).read_to_end(&mut body).await?;
        if body.len() < length {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        Answer::decode(&body.into()).map_err(std::io::Error::other)
    }
}

#[expect(clippy::disallowed_methods, reason = "the shell reads the clock for the pure parts")]
fn now() -> Instant {
    Instant::now()
}
