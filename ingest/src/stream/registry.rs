//! The registry's task: who has which stream, and what waits for its publisher to come back.

mod shared;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aqueduct_common::event::{EventSender, Protocol, PublishEnd};
use aqueduct_common::{Event, Publication, StreamName};
use tokio::sync::mpsc::OwnedPermit;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::flow::Flow;
use super::lease::{Activity, Back, Holding, Lease, Returned};
use super::sources::{Group, Rules, Seat, lock};
use super::{Ask, Policy, PublishRequest, Refusal, Takeover};

/// Publishers at a time: each live lease holds a place in the queue on which it comes back, so its return can neither
/// fail nor wait.
const PUBLISHERS: usize = 4_096;
/// A publisher with data within this is alive (RTMP-68).
const ALIVE_WITHIN: Duration = Duration::from_secs(2);

type Answer = oneshot::Sender<Result<Lease, Refusal>>;

/// A stream that has a publisher, or waits for one.
#[derive(Debug)]
enum Entry {
    Live(Live),
    Waiting { flow: Box<Flow>, until: Instant },
    Shared(Shared),
}

/// A stream with a list of sources.
#[derive(Debug)]
struct Shared {
    group: Arc<Mutex<Group>>,
    /// The sources that have come, by their place in the list.
    seats: BTreeMap<usize, Live>,
    /// Without any, it waits until then.
    until: Option<Instant>,
}

impl Entry {
    /// It waits for a publisher until then.
    const fn until(&self) -> Option<Instant> {
        match self {
            Self::Waiting { until, .. } => Some(*until),
            Self::Shared(shared) => shared.until,
            Self::Live(_) => None,
        }
    }
}

#[derive(Debug)]
struct Live {
    token: CancellationToken,
    activity: Activity,
    protocol: Protocol,
    /// Why it was revoked, once it was.
    revoked: Option<PublishEnd>,
    /// Who gets the stream when it comes back.
    successor: Option<(PublishRequest, Answer)>,
}

/// The registry's state, owned by its task.
#[derive(Debug)]
pub(super) struct Registry {
    policy: Policy,
    /// Streams that have a list of sources.
    sources: HashMap<StreamName, Rules>,
    streams: HashMap<StreamName, Entry>,
    returns: mpsc::Sender<Returned>,
    returned: mpsc::Receiver<Returned>,
    publications: mpsc::Sender<Publication>,
    events: EventSender,
    origin: Instant,
    /// Who waits for the end, once the server stops.
    closing: Option<Vec<oneshot::Sender<()>>>,
}

impl Live {
    fn of(lease: &Lease, protocol: Protocol, activity: Activity) -> Self {
        Self { token: lease.token().clone(), activity, protocol, revoked: None, successor: None }
    }

    /// Another publisher wants what this one has.
    fn challenge(&mut self, takeover: Takeover, request: PublishRequest, answer: Answer) {
        if takeover == Takeover::Refuse && self.activity.ago(clock()) < ALIVE_WITHIN {
            return refuse(answer, Refusal::Busy);
        }
        self.revoked.get_or_insert(PublishEnd::TakenOver);
        self.token.cancel();
        // The newest wins.
        if let Some((_, before)) = self.successor.replace((request, answer)) {
            refuse(before, Refusal::Busy);
        }
    }

    fn revoke(&mut self) {
        self.revoked.get_or_insert(PublishEnd::Drained);
        self.token.cancel();
    }
}

impl Registry {
    pub(super) fn new(
        policy: Policy,
        sources: HashMap<StreamName, Rules>,
        publications: mpsc::Sender<Publication>,
        events: EventSender,
    ) -> Self {
        let (returns, returned) = mpsc::channel(PUBLISHERS);
        let streams = HashMap::new();
        let origin = clock();
        Self { policy, sources, streams, returns, returned, publications, events, origin, closing: None }
    }

    /// Answers until every handle is gone, or until closed.
    pub(super) async fn run(mut self, mut asks: mpsc::Receiver<Ask>) {
        let mut open = true;
        while open || self.has_live() {
            let expiry = self.next_expiry();
            // What has come back is taken first, so that who asks next finds it.
            tokio::select! {
                biased;
                Some(returned) = self.returned.recv() => self.take_back(returned),
                ask = asks.recv(), if open => match ask {
                    Some(Ask::Publish(request, answer)) => self.publish(request, answer),
                    Some(Ask::PublishIfFree(request, answer)) => match self.streams.get(&request.stream) {
                        Some(Entry::Live(_)) => refuse(answer, Refusal::Busy),
                        _ => self.publish(request, answer),
                    },
                    Some(Ask::Close(done)) => self.close(Some(done)),
                    None => {
                        open = false;
                        self.close(None);
                    }
                },
                () = until(expiry) => self.expire(),
            }
        }
    }

    fn publish(&mut self, request: PublishRequest, answer: Answer) {
        if self.closing.is_some() {
            return refuse(answer, Refusal::Draining);
        }
        if self.sources.contains_key(&request.stream) {
            return self.publish_source(request, answer);
        }
        match self.streams.get_mut(&request.stream) {
            Some(Entry::Live(live)) => live.challenge(self.policy.takeover, request, answer),
            Some(Entry::Shared(_)) => refuse(answer, Refusal::Busy),
            Some(Entry::Waiting { .. }) => {
                if let Some(Entry::Waiting { flow, .. }) = self.streams.remove(&request.stream) {
                    self.grant(Some(flow), request, answer);
                }
            }
            None => self.grant(None, request, answer),
        }
    }

    /// Gives the stream to a publisher, with what it had before.
    fn grant(&mut self, flow: Option<Box<Flow>>, request: PublishRequest, answer: Answer) {
        let Ok(permit) = self.returns.clone().try_reserve_owned() else {
            tracing::warn!(stream = %request.stream, publishers = PUBLISHERS, "refused: too many publishers");
            if let Some(flow) = flow {
                self.keep(flow);
            }
            return refuse(answer, Refusal::Busy);
        };
        let PublishRequest { stream, protocol, encoder, .. } = request;
        let flow = flow.and_then(|flow| self.unless_orphaned(flow));
        let resumed = flow.as_ref().is_some_and(|flow| flow.has_begun());
        let mut flow = flow.unwrap_or_else(|| self.flow(&stream));
        flow.begin();
        let (lease, live) = self.lease(Holding::Sole(flow), permit, protocol);
        self.streams.insert(stream.clone(), Entry::Live(live));
        tracing::info!(%stream, protocol = protocol.as_str(), %encoder, resumed, "publisher started");
        self.events.send(Event::PublishStarted { stream, protocol, encoder, resumed });
        // Where the asker is gone, the lease comes back by being dropped.
        drop(answer.send(Ok(lease)));
    }

    /// The flow of a stream that begins.
    fn flow(&self, stream: &StreamName) -> Box<Flow> {
        Box::new(Flow::new(stream.clone(), self.publications.clone()))
    }

    fn lease(&self, held: Holding, permit: OwnedPermit<Returned>, protocol: Protocol) -> (Lease, Live) {
        let activity = Activity::new(self.origin, clock());
        let events = self.events.clone();
        let lease = Lease::new(held, permit, protocol, activity.clone(), events, self.policy.transcodes);
        let live = Live::of(&lease, protocol, activity);
        (lease, live)
    }

    fn take_back(&mut self, Returned { back, reason }: Returned) {
        match back {
            Back::Flow(flow) => self.take_flow_back(flow, reason),
            Back::Seat(seat) => self.take_seat_back(&seat, reason),
        }
        self.finish_closing();
    }

    fn take_flow_back(&mut self, flow: Box<Flow>, reason: PublishEnd) {
        let stream = flow.stream().clone();
        let Some(Entry::Live(live)) = self.streams.remove(&stream) else { return };
        let Live { protocol, revoked, successor, .. } = live;
        // A session that ended for a reason of its own did so before it was revoked.
        let reason = if reason == PublishEnd::Lost { revoked.unwrap_or(reason) } else { reason };
        tracing::info!(%stream, protocol = protocol.as_str(), ?reason, "publisher ended");
        self.events.send(Event::PublishEnded { stream: stream.clone(), protocol, reason });
        match successor {
            Some((_, answer)) if self.closing.is_some() => {
                refuse(answer, Refusal::Draining);
                self.over(stream);
            }
            Some((request, answer)) => self.grant(Some(flow), request, answer),
            // Dropping the flow ends the stream.
            None if self.closing.is_some() || !flow.has_begun() || flow.is_orphaned() => self.over(stream),
            None => self.keep(flow),
        }
    }

    /// A flow that nobody takes any more is dropped: what follows begins a new stream.
    fn unless_orphaned(&self, flow: Box<Flow>) -> Option<Box<Flow>> {
        if flow.is_orphaned() {
            self.over(flow.stream().clone());
            return None;
        }
        Some(flow)
    }

    /// A stream's flow is dropped for good.
    fn over(&self, stream: StreamName) {
        self.events.send(Event::StreamExpired { stream });
    }

    /// Lets a stream wait for its publisher.
    fn keep(&mut self, flow: Box<Flow>) {
        let until = clock() + self.policy.grace;
        self.streams.insert(flow.stream().clone(), Entry::Waiting { flow, until });
    }

    /// Ends the streams whose grace time is over.
    fn expire(&mut self) {
        let now = clock();
        let expired = |_: &StreamName, entry: &mut Entry| entry.until().is_some_and(|until| until <= now);
        for (stream, _flow) in self.streams.extract_if(expired) {
            tracing::info!(%stream, grace = ?self.policy.grace, "stream ended: no publisher came back");
            self.events.send(Event::StreamExpired { stream });
        }
    }

    /// Revokes every lease and ends every stream that has none.
    fn close(&mut self, done: Option<oneshot::Sender<()>>) {
        self.closing.get_or_insert_default().extend(done);
        self.streams.retain(|stream, entry| match entry {
            Entry::Live(live) => {
                live.revoke();
                true
            }
            Entry::Shared(shared) if !shared.seats.is_empty() => {
                shared.seats.values_mut().for_each(Live::revoke);
                true
            }
            Entry::Waiting { .. } | Entry::Shared(_) => {
                self.events.send(Event::StreamExpired { stream: stream.clone() });
                false
            }
        });
        self.finish_closing();
    }

    fn finish_closing(&mut self) {
        if !self.has_live()
            && let Some(waiting) = &mut self.closing
        {
            for done in waiting.drain(..) {
                // Nobody waits any more: nothing to tell.
                let _ = done.send(());
            }
        }
    }

    fn has_live(&self) -> bool {
        self.streams.values().any(|entry| match entry {
            Entry::Live(_) => true,
            Entry::Shared(shared) => !shared.seats.is_empty(),
            Entry::Waiting { .. } => false,
        })
    }

    fn next_expiry(&self) -> Option<Instant> {
        self.streams.values().filter_map(Entry::until).min()
    }
}

fn refuse(answer: Answer, refusal: Refusal) {
    // An asker that is gone needs no answer.
    drop(answer.send(Err(refusal)));
}

async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant.into()).await,
        None => std::future::pending().await,
    }
}

/// The runtime's clock, so that tests may turn it.
#[expect(clippy::disallowed_methods, reason = "the registry is a shell: grace times need a clock")]
pub(crate) fn clock() -> Instant {
    tokio::time::Instant::now().into_std()
}
