//! Takes a source into its stream, from its first configuration to its end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aqueduct_common::Event;
use aqueduct_common::event::{Anomaly, EventSender, PublishEnd};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Item, Link};
use crate::server::clock;
use crate::stream::{Lease, Pace, PublishRequest, Refusal, Streams};

/// Between two reports of the source's figures.
const TICK: Duration = Duration::from_secs(1);
/// How long the registry may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest time that a source is held which is ahead of real time, in one go.
const HOLD_MAX: Duration = Duration::from_secs(1);

/// What a source needs to be taken.
#[derive(Debug)]
pub(crate) struct Drive {
    pub(crate) streams: Streams,
    pub(crate) request: PublishRequest,
    /// How long the first frame may take; `None` waits for ever.
    pub(crate) first: Option<Duration>,
    /// How long nothing may come behind it.
    pub(crate) stall: Duration,
    pub(crate) link: Option<Arc<Link>>,
    pub(crate) events: EventSender,
}

/// Why it is over.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The source has ended, or failed: why, in words.
    Source(String),
    /// Another publisher has the stream, and keeps it.
    Busy,
    /// Another publisher has taken it.
    Revoked,
    /// The server stops.
    Stop,
}

/// What a wait ended with.
enum Woken {
    Item(Option<Item>),
    Revoked,
    Stop,
    Timer,
}

impl Drive {
    /// Takes what comes until something ends it. Without a lease, one is asked for at the first configuration.
    pub(crate) async fn run(
        self,
        mut items: mpsc::Receiver<Item>,
        mut lease: Option<Lease>,
        stop: &CancellationToken,
    ) -> Ended {
        let mut state = State::new(clock().0, self.first);
        let (reason, ended) = loop {
            let woken = state.wait(&mut items, lease.as_ref(), stop).await;
            let (now, wall) = clock();
            match woken {
                Woken::Stop => break (PublishEnd::Drained, Ended::Stop),
                Woken::Revoked => break (PublishEnd::Lost, Ended::Revoked),
                Woken::Timer => {
                    state.tick(now, lease.as_mut(), self.link.as_deref());
                    if state.is_late(now) {
                        let words = format!("nothing has come for {:?}", state.patience());
                        break (PublishEnd::Silent, Ended::Source(words));
                    }
                }
                Woken::Item(None) => break (PublishEnd::Lost, Ended::Source("its worker is gone".into())),
                Woken::Item(Some(Item::Gone(why))) => break (PublishEnd::Lost, Ended::Source(why)),
                Woken::Item(Some(Item::Trouble(words))) => {
                    tracing::warn!(stream = %self.request.stream, words, "source");
                }
                Woken::Item(Some(Item::Faulty { bad, damaged })) => {
                    self.count(Anomaly::BadUnit, bad);
                    self.count(Anomaly::Gap, damaged);
                }
                Woken::Item(Some(Item::Demuxed(item))) => {
                    let held = match lease.take() {
                        Some(held) => held,
                        None => match self.publish().await {
                            Ok(held) => held,
                            Err(ended) => return ended,
                        },
                    };
                    let held = lease.insert(held);
                    state.heard(now, self.stall);
                    match held.take(now, wall, item) {
                        Ok(Pace::Go) => {}
                        Ok(Pace::Wait(wait)) => state.hold(now, wait),
                        Err(shed) => break (PublishEnd::Shed, Ended::Source(shed.to_string())),
                    }
                    state.tick(now, lease.as_mut(), self.link.as_deref());
                }
            }
        };
        if let Some(lease) = lease {
            lease.end(reason);
        }
        ended
    }

    fn count(&self, kind: Anomaly, count: u32) {
        if count > 0 {
            self.events.send(Event::Anomaly { stream: self.request.stream.clone(), kind, count });
        }
    }

    async fn publish(&self) -> Result<Lease, Ended> {
        match tokio::time::timeout(PATIENCE, self.streams.publish(self.request.clone())).await {
            Ok(Ok(lease)) => Ok(lease),
            Ok(Err(Refusal::Draining)) => Err(Ended::Stop),
            Ok(Err(Refusal::Busy)) => Err(Ended::Busy),
            Ok(Err(refusal @ Refusal::UnknownSource)) => Err(Ended::Source(refusal.to_string())),
            Err(_) => Err(Ended::Source("the stream could not be opened in time".into())),
        }
    }
}

/// When something is due.
struct State {
    next_tick: Instant,
    /// Nothing is taken before, since the source is ahead.
    resume_at: Option<Instant>,
    /// Something has to have come by then, and how long that is from when it came last.
    deadline: Option<(Instant, Duration)>,
}

impl State {
    fn new(now: Instant, first: Option<Duration>) -> Self {
        Self { next_tick: now + TICK, resume_at: None, deadline: first.map(|first| (now + first, first)) }
    }

    async fn wait(
        &self,
        items: &mut mpsc::Receiver<Item>,
        lease: Option<&Lease>,
        stop: &CancellationToken,
    ) -> Woken {
        let late = self.deadline.filter(|_| self.resume_at.is_none()).map(|(at, _)| at);
        let wake = [self.resume_at, late].into_iter().flatten().fold(self.next_tick, Instant::min);
        let revoked = async {
            match lease {
                Some(lease) => lease.revoked().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => Woken::Stop,
            () = revoked => Woken::Revoked,
            item = items.recv(), if self.resume_at.is_none() => Woken::Item(item),
            () = tokio::time::sleep_until(wake.into()) => Woken::Timer,
        }
    }

    fn heard(&mut self, now: Instant, stall: Duration) {
        self.deadline = Some((now + stall, stall));
    }

    fn hold(&mut self, now: Instant, wait: Duration) {
        self.resume_at = Some(now + wait.min(HOLD_MAX));
    }

    fn tick(&mut self, now: Instant, lease: Option<&mut Lease>, link: Option<&Link>) {
        if self.resume_at.take_if(|at| *at <= now).is_some()
            && let Some((at, stall)) = &mut self.deadline
        {
            // Time in which nothing was taken says nothing about the source.
            *at = now + *stall;
        }
        if self.next_tick > now {
            return;
        }
        if let Some(lease) = lease {
            lease.tick(now, link.and_then(Link::rtt));
        }
        // A task that was held up does not make up for it.
        self.next_tick = (self.next_tick + TICK).max(now);
    }

    fn is_late(&self, now: Instant) -> bool {
        self.resume_at.is_none() && self.deadline.is_some_and(|(at, _)| at <= now)
    }

    fn patience(&self) -> Duration {
        self.deadline.map_or(Duration::ZERO, |(_, patience)| patience)
    }
}
