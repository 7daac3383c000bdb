//! Stands between the ingest and the transcode: streams that are sent on are tapped, all others go by.

use std::collections::HashMap;

use aqueduct_common::queue::{self, FeedReceiver, FeedSender, Sent};
use aqueduct_common::{EventSender, Feed, Publication, StreamName};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::carry::is_source;
use super::target::Target;
use super::task::{self, Pushing};
use crate::host::Launch;

/// Messages that wait for what follows: the tap takes them on at once, so that there are few.
const ON: usize = 2_048;
/// Messages that wait for one target: about five seconds of pictures and sound. Beyond, they are dropped up to the next
/// sync sample.
const WAITING: usize = 512;

/// The stage.
#[derive(Debug)]
pub struct Stage {
    targets: HashMap<StreamName, Vec<Target>>,
    launch: Launch,
    events: EventSender,
}

/// A stream that is tapped.
struct Tap {
    source: FeedReceiver,
    sink: FeedSender,
    targets: Vec<FeedSender>,
}

impl Stage {
    /// A stage that sends these streams on. Workers are started by `launch`.
    pub const fn new(targets: HashMap<StreamName, Vec<Target>>, launch: Launch, events: EventSender) -> Self {
        Self { targets, launch, events }
    }

    /// Takes streams from `begun` and hands them on to `out`, until `stop` or until no more can come. On a stop, targets
    /// are told that the stream ends; the feeds that go on stay open until nobody takes them.
    pub async fn run(
        self,
        mut begun: mpsc::Receiver<Publication>,
        out: mpsc::Sender<Publication>,
        stop: CancellationToken,
    ) {
        let mut running = JoinSet::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                publication = begun.recv() => {
                    let Some(publication) = publication else { break };
                    let publication = self.take(publication, &mut running, &stop);
                    if out.send(publication).await.is_err() {
                        break;
                    }
                }
                Some(ended) = running.join_next() => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "the sending on of a stream died; it begins anew when its publisher returns");
                    }
                }
            }
        }
        while running.join_next().await.is_some() {}
    }

    fn take(
        &self,
        publication: Publication,
        running: &mut JoinSet<()>,
        stop: &CancellationToken,
    ) -> Publication {
        let Some(targets) = self.targets.get(&publication.stream) else { return publication };
        let Publication { stream, feed: source } = publication;
        let (sink, feed) = queue::feed(ON);
        let mut senders = Vec::new();
        for target in targets {
            let (sender, waiting) = queue::feed(WAITING);
            senders.push(sender);
            running.spawn(task::run(Pushing {
                stream: stream.clone(),
                target: target.clone(),
                launch: self.launch.clone(),
                feed: waiting,
                events: self.events.clone(),
                stop: stop.clone(),
            }));
        }
        running.spawn(Tap { source, sink, targets: senders }.run(stop.clone()));
        Publication { stream, feed }
    }
}

impl Tap {
    /// Hands everything on, and the source's own tracks to the targets as well.
    async fn run(mut self, stop: CancellationToken) {
        loop {
            let message = tokio::select! {
                () = stop.cancelled() => break,
                () = self.sink.closed() => return,
                message = self.source.recv() => message,
            };
            let Some(message) = message else { return };
            for target in &mut self.targets {
                offer(target, &message);
            }
            if self.sink.send(message) == Sent::Closed {
                return;
            }
        }
        // A feed that closes ends its stream for the viewers, and a stop must not: the packager goes first.
        tokio::spawn(async move { self.sink.closed().await });
    }
}

/// Gives a target what concerns it. One whose task has died is passed over.
fn offer(target: &mut FeedSender, message: &Feed) {
    let wanted = match message {
        Feed::Sample(sample) => is_source(sample.track),
        Feed::Tracks(_) => true,
        _ => false,
    };
    if wanted {
        let _ = target.send(message.clone());
    }
}
