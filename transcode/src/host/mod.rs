//! The server's half: feeds a worker, joins its renditions with the source, replaces it when it dies.
//!
//! [`Stage`] stands between the ingest and the packagers. Each stream has a task of its own around a [`flow::Flow`],
//! which is pure and decides everything, and at most one worker process. What happens to one stream or to its worker
//! touches no other.

pub mod budget;
pub mod flow;
pub mod gate;
pub mod governor;
pub(crate) mod launch;
pub mod look;
pub mod process;
pub mod rendition;
pub mod replay;
mod run;
pub mod supervise;
pub mod throttle;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aqueduct_common::{EventSender, Publication, StreamName, TrackId, queue};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use flow::Settings;
pub use launch::Launch;

use crate::config::Plan;
use crate::hardware::Chosen;
use crate::ladder;
use crate::protocol::Plant;
use crate::snapshot::Snapshots;

/// Messages that wait for a packager: three seconds of a stream with six renditions, which are held while it begins,
/// and as much again.
const FEED: usize = 8_192;
/// Requests for renditions that wait for a stream's task; beyond, they are let go: the next one tells the same.
const WATCHED: usize = 64;

/// What the stage is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// The configuration.
    pub plan: Plan,
    /// What segments aim at.
    pub segment: Duration,
    /// Backends that work here, in order, as far as is known.
    pub hardware: watch::Receiver<Chosen>,
    /// How workers are started.
    pub launch: Launch,
    /// A fault for the first worker of each stream, for tests.
    pub plant: Option<Plant>,
}

type Asked = (TrackId, u32);

/// Tells a stream which of its renditions are asked for, so that those that sleep wake up.
#[derive(Clone, Debug, Default)]
pub struct Demand {
    streams: Arc<Mutex<HashMap<StreamName, mpsc::Sender<Asked>>>>,
}

impl Demand {
    /// So many viewers watch a rendition at this moment, or ask for it while it sleeps. Never waits.
    pub fn asked(&self, stream: &StreamName, track: TrackId, viewers: u32) {
        let streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = streams.get(stream) {
            // A full queue holds requests that have not been looked at yet: this one says nothing new.
            let _ = sender.try_send((track, viewers));
        }
    }

    fn enter(&self, stream: &StreamName) -> mpsc::Receiver<Asked> {
        let (sender, receiver) = mpsc::channel(WATCHED);
        self.streams.lock().unwrap_or_else(PoisonError::into_inner).insert(stream.clone(), sender);
        receiver
    }

    /// Forgets streams whose tasks are gone.
    fn sweep(&self) {
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        streams.retain(|_, sender| !sender.is_closed());
    }
}

/// The stage.
#[derive(Debug)]
pub struct Stage {
    options: Options,
    budget: budget::Budget,
    cpus: usize,
    demand: Demand,
    snapshots: Snapshots,
    events: EventSender,
}

impl Stage {
    /// A stage that has not begun.
    pub fn new(options: Options, events: EventSender) -> Self {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let budget = budget::Budget::new(cpus, options.plan.cpu_share, options.plan.max_streams);
        let (demand, snapshots) = (Demand::default(), Snapshots::default());
        Self { options, budget, cpus, demand, snapshots, events }
    }

    /// Shows its streams' sync samples to who makes pictures of them, transcoded or not.
    #[must_use]
    pub fn shown_to(self, snapshots: Snapshots) -> Self {
        Self { snapshots, ..self }
    }

    /// Where requests for renditions are told.
    pub fn demand(&self) -> Demand {
        self.demand.clone()
    }

    /// Takes streams from `begun` and hands them on to `out`, with their renditions, until `stop` or until no more can
    /// come. With `transcode.mode = "off"` they go on as they are.
    ///
    /// On a stop, workers end; the feeds toward the packagers stay open until the packagers are gone.
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
                    let (publication, stream) = self.take(publication, &stop);
                    running.spawn(async move {
                        if let Some(stream) = stream {
                            run::run(stream).await;
                        }
                    });
                    if out.send(publication).await.is_err() {
                        break;
                    }
                }
                Some(ended) = running.join_next() => {
                    self.demand.sweep();
                    if let Err(error) = ended {
                        tracing::error!(%error, "a stream's transcode died; it begins anew when its publisher returns");
                    }
                }
            }
        }
        while running.join_next().await.is_some() {}
    }

    /// The publication that goes on, and the stream that is to be run for it.
    fn take(
        &self,
        mut publication: Publication,
        stop: &CancellationToken,
    ) -> (Publication, Option<run::Stream>) {
        if let Some(tap) = self.snapshots.tap(&publication.stream) {
            publication.feed.watch(tap);
        }
        if !self.options.plan.enabled {
            return (publication, None);
        }
        let Publication { stream: name, feed: source } = publication;
        let (sink, feed) = queue::feed(FEED);
        let Options { plan, segment, hardware, launch, plant } = self.options.clone();
        let hardware = hardware.borrow().clone();
        let effort = plan.preset.unwrap_or_else(|| ladder::begin_with(self.cpus));
        let stream = run::Stream {
            name: name.clone(),
            settings: Settings { plan, segment, effort, hardware, plant },
            launch,
            source,
            sink,
            events: self.events.clone(),
            claim: self.budget.claim(),
            cpus: u32::try_from(self.cpus).unwrap_or(u32::MAX),
            watched: self.demand.enter(&name),
            stop: stop.clone(),
        };
        (Publication { stream: name, feed }, Some(stream))
    }
}
