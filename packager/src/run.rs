//! The shell: feeds a [`Stream`] and publishes what it makes. Knows no media; reads the clock.

use std::sync::Arc;
use std::time::Duration;

use aqueduct_common::object::Publish;
use aqueduct_common::queue::FeedReceiver;
use aqueduct_common::{Event, EventSender, Feed, Publication, StreamName, WallTime};
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::checkpoint::{Checkpoint, Checkpoints};
use crate::config::Plan;
use crate::standby::Standby;
use crate::stream::{Output, Stream};

/// What this node is to a stream that others may package as well.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Lead {
    /// It is not known yet.
    #[default]
    Unknown,
    /// It packages the stream.
    Leads,
    /// Another node does: this one stands by.
    Follows,
}

/// How long a stream waits for the word whether it is packaged here. Without it, it is: live does not wait.
const PATIENCE: Duration = Duration::from_secs(2);

/// Packages one stream, while this node leads it, until its feed closes; then its playlists end.
///
/// A future that is dropped leaves the stream as it is, without ENDLIST: a process that starts again within
/// `packager.resume` goes on with the same URLs. So does another node that takes over, where checkpoints are
/// [shared](Checkpoints::shared); this one then withdraws what it had published, and stands by.
pub async fn run(
    plan: Plan,
    publication: Publication,
    sink: Arc<dyn Publish>,
    checkpoints: Checkpoints,
    events: EventSender,
    mut lead: watch::Receiver<Lead>,
) {
    let Publication { stream: name, feed } = publication;
    let known = lead.wait_for(|lead| *lead != Lead::Unknown);
    let _ = tokio::time::timeout(PATIENCE, known).await;
    let mut input = Input { feed, standby: Standby::default(), lead };
    loop {
        if !input.follow(&name).await {
            return;
        }
        let _running = checkpoints.running(&name);
        let (keeper, stream, within) = (checkpoints.clone(), name.clone(), plan.resume());
        let origin = spawn_blocking(move || keeper.origin(&stream, wall_now(), within)).await;
        let Ok(origin) = origin else { return };
        let stream = Stream::new(name.clone(), plan.clone(), origin);
        let keeper = Keeper { checkpoints: checkpoints.clone(), writing: None, next: None };
        let shell = Shell { name: name.clone(), sink: sink.clone(), events: events.clone(), keeper };
        if shell.package(stream, &mut input).await {
            return;
        }
        tracing::warn!(stream = %name, "another origin has taken the stream over: standing by");
        sink.withdraw(&name);
        input.standby.close();
    }
}

/// What comes in, and whether it is for this node.
struct Input {
    feed: FeedReceiver,
    standby: Standby,
    lead: watch::Receiver<Lead>,
}

impl Input {
    fn follows(&self) -> bool {
        *self.lead.borrow() == Lead::Follows
    }

    /// Waits until this node leads; answers `false` when the feed has closed before.
    async fn follow(&mut self, stream: &StreamName) -> bool {
        if !self.follows() {
            self.standby.open();
            return true;
        }
        tracing::info!(%stream, "another origin has the stream: standing by");
        self.standby.close();
        let mut nothing = Vec::new();
        loop {
            let message = tokio::select! {
                leads = self.lead.wait_for(|lead| *lead != Lead::Follows) => {
                    // Nobody is left who could say otherwise.
                    drop(leads);
                    break;
                }
                message = self.feed.recv() => message,
            };
            let Some(message) = message else { return false };
            self.standby.push(message, &mut nothing);
        }
        self.standby.open();
        tracing::info!(%stream, "taking the stream over");
        true
    }

    /// The next message; `None` when the feed has closed, and an error when another node leads from now on.
    async fn next(&mut self) -> Result<Option<Feed>, Demoted> {
        tokio::select! {
            message = self.feed.recv() => Ok(message),
            () = demoted(&mut self.lead) => Err(Demoted),
        }
    }
}

/// Another node leads.
struct Demoted;

async fn demoted(lead: &mut watch::Receiver<Lead>) {
    if lead.wait_for(|lead| *lead == Lead::Follows).await.is_err() {
        std::future::pending().await
    }
}

/// Where outputs go.
struct Shell {
    name: StreamName,
    sink: Arc<dyn Publish>,
    events: EventSender,
    keeper: Keeper,
}

impl Shell {
    /// Publishes what becomes of the feed. Answers whether that has come to its end; else another node leads.
    async fn package(mut self, mut stream: Stream, input: &mut Input) -> bool {
        let mut messages = Vec::new();
        loop {
            let message = match input.next().await {
                Ok(Some(message)) => message,
                Ok(None) => break,
                Err(Demoted) => {
                    self.keeper.finish(self.name).await;
                    return false;
                }
            };
            input.standby.push(message, &mut messages);
            for message in messages.drain(..) {
                stream.push(message, wall_now());
                self.carry_out(stream.drain());
            }
        }
        if let Some(epoch) = stream.epoch() {
            self.keeper.checkpoints.end(&self.name, epoch);
        }
        stream.finish(wall_now());
        self.carry_out(stream.drain());
        self.keeper.finish(self.name).await;
        true
    }

    fn carry_out(&mut self, outputs: std::vec::Drain<'_, Output>) {
        for output in outputs {
            match output {
                Output::Update(update) => self.sink.publish(&self.name, update),
                Output::Event(event) => self.events.send(event),
                Output::Part { kind, bytes, micros, received } => {
                    let lag = wall_now().micros - received.micros;
                    self.events.send(Event::Part {
                        stream: self.name.clone(),
                        kind,
                        bytes: u32::try_from(bytes).unwrap_or(u32::MAX),
                        duration_micros: u32::try_from(micros).unwrap_or(u32::MAX),
                        lag_micros: u32::try_from(lag.max(0)).unwrap_or(u32::MAX),
                    });
                }
                Output::Checkpoint(checkpoint) => self.keeper.keep(&self.name, Some(checkpoint)),
                Output::Ended => self.keeper.keep(&self.name, None),
            }
        }
    }
}

/// Writes checkpoints aside from the async threads: one at a time, the newest wins.
struct Keeper {
    checkpoints: Checkpoints,
    writing: Option<JoinHandle<()>>,
    /// What to write next: a checkpoint, or that there is none any more.
    next: Option<Option<Checkpoint>>,
}

impl Keeper {
    fn keep(&mut self, stream: &StreamName, checkpoint: Option<Checkpoint>) {
        self.next = Some(checkpoint);
        if self.writing.as_ref().is_none_or(JoinHandle::is_finished) {
            self.start(stream);
        }
    }

    fn start(&mut self, stream: &StreamName) {
        let Some(next) = self.next.take() else { return };
        let (checkpoints, stream) = (self.checkpoints.clone(), stream.clone());
        self.writing = Some(spawn_blocking(move || {
            let written = match next {
                Some(checkpoint) => checkpoints.keep(&stream, &checkpoint),
                None => checkpoints.forget(&stream),
            };
            if let Err(error) = written {
                tracing::warn!(%stream, %error, "checkpoint not kept: a restart would begin new URLs");
            }
        }));
    }

    async fn finish(mut self, stream: StreamName) {
        while let Some(writing) = self.writing.take() {
            // The task only ends early when the runtime does.
            let _ = writing.await;
            self.start(&stream);
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the shell is where the packager reads the clock")]
fn wall_now() -> WallTime {
    WallTime::from_system(std::time::SystemTime::now())
}
