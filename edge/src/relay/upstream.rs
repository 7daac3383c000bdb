//! The node that is fed: which streams it takes, from whom, and when it lets them go.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aqueduct_common::StreamPattern;
use aqueduct_common::event::EventSender;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::desk::Desk;
use super::hub::Hub;
use super::intake::Intake;
use super::now;
use super::refused::Refused;
use super::tls::ClientAuth;
use super::trail::Trail;
use super::wants::Wants;
use crate::store::Store;

/// How often the state of streams is looked at.
const TICK: Duration = Duration::from_millis(250);
/// Words of links that may wait.
const TOLD: usize = 1_024;
/// What a fed node is made of.
pub struct Options {
    /// Its name.
    pub node: String,
    /// How it reaches those that feed it. A renewed certificate counts from the next link on.
    pub auth: watch::Receiver<ClientAuth>,
    /// Nodes that it is not fed by.
    pub refused: watch::Receiver<Arc<Refused>>,
    /// Who feeds it, as `host:port`, the preferred one first. May change while it runs.
    pub origins: watch::Receiver<Vec<String>>,
    /// Whose streams are whose, as the directory says; a stream is taken from there where that node has it.
    pub holders: watch::Receiver<Arc<[crate::cluster::Origin]>>,
    /// Streams to take before anybody asks.
    pub prefetch: Vec<StreamPattern>,
    /// When what nobody asks for is let go (EDGE-8).
    pub idle: Duration,
    /// For its viewers. Its wants are the same as these.
    pub store: Store,
    /// For nodes that it feeds.
    pub hub: Hub,
    /// What is wanted.
    pub wants: Wants,
    /// Who hears what it counts.
    pub events: EventSender,
}

/// A node that is fed. [`Upstream::run`] takes streams.
pub struct Upstream {
    options: Options,
    trail: watch::Sender<Trail>,
}

impl Upstream {
    /// Nothing is dialled yet.
    pub fn new(options: Options) -> Self {
        Self { options, trail: watch::Sender::new(Trail::default()) }
    }

    /// Nodes that feed this one.
    pub fn trail(&self) -> watch::Receiver<Trail> {
        self.trail.subscribe()
    }

    /// Takes what is wanted until `stop` is cancelled.
    pub async fn run(self, stop: CancellationToken) {
        let Self { options, trail } = self;
        let intake = Arc::new(Intake::new(options.store.clone(), options.hub.clone(), options.wants.clone()));
        let (told, mut heard) = mpsc::channel(TOLD);
        let mut origins = options.origins.clone();
        origins.mark_changed();
        let mut holders = options.holders.clone();
        let wants = options.wants.clone();
        wants.backfill().connect(told.clone());
        for pattern in &options.prefetch {
            if let Some(name) = pattern.single() {
                wants.keep(name);
            }
        }
        let mut desk = Desk {
            options,
            intake,
            trail,
            told,
            nodes: Vec::new(),
            streams: HashMap::new(),
            subs: 0,
            unseen: false,
        };
        let (mut ticks, mut count) = (tokio::time::interval(TICK), 0u64);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                Some(told) = heard.recv() => desk.hear_all(told, &mut heard),
                () = wants.changed() => desk.look(),
                Ok(()) = origins.changed() => {
                    let list = origins.borrow_and_update().clone();
                    desk.set_nodes(&list);
                }
                Ok(()) = holders.changed() => desk.choose_all(),
                _ = ticks.tick() => {
                    count += 1;
                    desk.tick(now(), count.is_multiple_of(4));
                }
            }
        }
        desk.nodes.iter().for_each(|node| node.task.abort());
    }
}

impl std::fmt::Debug for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upstream").finish_non_exhaustive()
    }
}
