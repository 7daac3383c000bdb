//! The shell: feeds a [`Stream`] and publishes what it makes. Knows no media; reads the clock.

use std::sync::Arc;

use aqueduct_common::object::Publish;
use aqueduct_common::{Event, EventSender, Publication, StreamName, WallTime};
use tokio::task::{JoinHandle, spawn_blocking};

use crate::checkpoint::{Checkpoint, Checkpoints};
use crate::config::Plan;
use crate::stream::{Output, Stream};

/// Packages one stream until its feed closes; then its playlists end.
///
/// A future that is dropped leaves the stream as it is, without ENDLIST: a process that starts again within
/// `packager.resume` goes on with the same URLs.
pub async fn run(
    plan: Plan,
    publication: Publication,
    sink: Arc<dyn Publish>,
    checkpoints: Checkpoints,
    events: EventSender,
) {
    let Publication { stream: name, mut feed } = publication;
    let _running = checkpoints.running(&name);
    let (keeper, stream, within) = (checkpoints.clone(), name.clone(), plan.resume());
    let origin = spawn_blocking(move || keeper.origin(&stream, wall_now(), within)).await;
    let Ok(origin) = origin else { return };
    let mut stream = Stream::new(name.clone(), plan, origin);
    let mut shell = Shell { name, sink, events, keeper: Keeper { checkpoints, writing: None, next: None } };
    while let Some(message) = feed.recv().await {
        stream.push(message, wall_now());
        shell.carry_out(stream.drain());
    }
    if let Some(epoch) = stream.epoch() {
        shell.keeper.checkpoints.end(&shell.name, epoch);
    }
    stream.finish(wall_now());
    shell.carry_out(stream.drain());
    shell.keeper.finish(shell.name).await;
}

/// Where outputs go.
struct Shell {
    name: StreamName,
    sink: Arc<dyn Publish>,
    events: EventSender,
    keeper: Keeper,
}

impl Shell {
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
