//! What is said with one edge: who it is, what it subscribes to, and why it is not served any more.

use std::collections::HashMap;
use std::sync::Arc;

use aqueduct_common::StreamName;
use quinn::Connection;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::super::control::{self, Control, OUTBOX, PeerError};
use super::super::door::Waiting;
use super::super::fetch;
use super::super::hub::Hub;
use super::super::post::{Post, Subscription};
use super::super::refused::Refused;
use super::super::trail::Trail;
use super::super::wire::Frame;
use super::{HELLO, SECOND, Shared, certificate};

/// Subscriptions of one edge.
const MAX_SUBS: usize = 4_096;
/// Heartbeats without an answer after which an edge counts as one that does not read.
const MAX_UNSAID: u32 = 8;

/// Why an edge is not served any more.
#[derive(Debug, thiserror::Error)]
pub(super) enum End {
    #[error("{0}")]
    Peer(#[from] PeerError),
    #[error("{0}")]
    Refused(&'static str),
    #[error("it sent {0}, which no edge sends")]
    Protocol(&'static str),
    #[error("it is on the list of nodes that are not let in (relay.refused)")]
    Revoked,
    #[error("this node feeds as many edges as it may")]
    Full,
    #[error("it does not read what is said to it")]
    Slow,
    #[error("this node stops")]
    Stopped,
}

/// One edge.
pub(super) struct Talk<'a> {
    pub(super) shared: &'a Arc<Shared>,
    pub(super) conn: &'a Connection,
    /// Where its demand comes from.
    pub(super) place: u64,
}

impl Talk<'_> {
    /// Serves it until it goes, or is sent away.
    pub(super) async fn run(&self, waiting: Waiting, stop: CancellationToken) -> End {
        let mut subs = Subs { running: HashMap::new(), tasks: Vec::new(), unsaid: 0 };
        let end = self.serve(&mut subs, waiting, stop).await;
        subs.tasks.drain(..).for_each(|task| task.abort());
        for (_, (_, task)) in subs.running.drain() {
            task.abort();
        }
        match end {
            Ok(()) => End::Stopped,
            Err(end) => end,
        }
    }

    async fn serve(&self, subs: &mut Subs, waiting: Waiting, stop: CancellationToken) -> Result<(), End> {
        let hello = async {
            let (send, receive) = self.conn.accept_bi().await.map_err(PeerError::from)?;
            let mut control = Control::new(receive);
            let frame = control.next().await?;
            Ok::<_, PeerError>((send, control, frame))
        };
        let (send, mut control, frame) =
            tokio::time::timeout(HELLO, hello).await.map_err(|_| PeerError::Late)??;
        let Frame::Hello { node, token, announce } = frame else {
            return Err(End::Protocol("something before it said who it is"));
        };
        let name = self.shared.name(self.conn, &node, &token)?;
        let mut refused = self.shared.refused.clone();
        refused.mark_changed();
        let certificate = certificate(self.conn);
        let is_refused = |list: &Refused| list.names(&name, certificate.as_ref());
        if is_refused(&refused.borrow()) {
            return Err(End::Revoked);
        }
        let _seat = waiting.seat().ok_or(End::Full)?;
        let (outbox, frames) = mpsc::channel(OUTBOX);
        subs.tasks.push(tokio::spawn(control::write(send, frames)));
        self.say(&outbox, Frame::Welcome { node: self.shared.node.clone() })?;
        self.say(&outbox, Frame::Lends)?;
        subs.tasks.push(tokio::spawn(fetch::lend(self.conn.clone(), self.shared.clone())));
        tracing::info!(edge = %name, peer = %self.conn.remote_address(), "an edge is fed");
        let mut trail = self.shared.trail.clone();
        trail.mark_changed();
        if announce {
            subs.tasks.push(tokio::spawn(tell_all(self.shared.hub.clone(), outbox.clone())));
        }
        let post = Post::new(self.conn.clone(), outbox.clone());
        let mut seconds = tokio::time::interval(SECOND);
        let mut stopping = false;
        loop {
            tokio::select! {
                frame = control.next() => self.heard(frame?, &post, subs, &outbox)?,
                Ok(()) = trail.changed() => {
                    let Trail { nodes, depth } = trail.borrow_and_update().told_by(&self.shared.node);
                    let depth = u16::try_from(depth).unwrap_or(u16::MAX);
                    self.say(&outbox, Frame::Trail { nodes, depth })?;
                }
                Ok(()) = refused.changed() => {
                    if is_refused(&refused.borrow_and_update()) {
                        return Err(End::Revoked);
                    }
                }
                _ = seconds.tick() => subs.renew(self.shared, &outbox),
                () = stop.cancelled(), if !stopping => {
                    stopping = true;
                    self.say(&outbox, Frame::GoAway)?;
                }
                error = self.conn.closed() => return Err(PeerError::from(error).into()),
            }
        }
    }

    fn say(&self, outbox: &mpsc::Sender<Frame>, frame: Frame) -> Result<(), End> {
        outbox.try_send(frame).map_err(|_| End::Slow)
    }

    fn heard(
        &self,
        frame: Frame,
        post: &Arc<Post>,
        subs: &mut Subs,
        outbox: &mpsc::Sender<Frame>,
    ) -> Result<(), End> {
        match frame {
            Frame::Ping { number } => {
                // Answers to thousands of subscriptions may just be on their way: that is not yet one who does not read.
                let said = outbox.try_send(Frame::Pong { number }).is_ok();
                subs.unsaid = if said { 0 } else { subs.unsaid + 1 };
                return if subs.unsaid < MAX_UNSAID { Ok(()) } else { Err(End::Slow) };
            }
            Frame::Subscribe { sub, stream } => return self.subscribe(sub, &stream, post, subs),
            Frame::Unsubscribe { sub } => {
                if let Some((_, task)) = subs.running.remove(&sub) {
                    task.abort();
                }
            }
            Frame::Want { sub, line, epoch, have } => {
                let Some((subscription, _)) = subs.running.get(&sub) else { return Ok(()) };
                // Viewers choose what is wished for: too much of it is left out, and costs the edge nothing else.
                if subscription.want(&line, epoch, &have) {
                    subscription.touch(self.shared, &line);
                } else {
                    self.shared.tally.note("refused", "limit_names");
                }
            }
            Frame::Unwant { sub, line } => {
                if let Some((subscription, _)) = subs.running.get(&sub) {
                    subscription.unwant(&line);
                }
            }
            Frame::Demand { sub, demand, viewers } => {
                if let (Some((subscription, _)), Some(gathered)) =
                    (subs.running.get(&sub), &self.shared.demand)
                {
                    gathered.told(self.place, subscription.stream(), demand, viewers);
                }
            }
            Frame::Hello { .. } => return Err(End::Protocol("who it is twice")),
            _ => return Err(End::Protocol("what only origins say")),
        }
        Ok(())
    }

    fn subscribe(&self, sub: u32, stream: &str, post: &Arc<Post>, subs: &mut Subs) -> Result<(), End> {
        if subs.running.contains_key(&sub) {
            return Err(End::Protocol("one number for two streams"));
        }
        let name = stream.parse::<StreamName>().ok().filter(|_| subs.running.len() < MAX_SUBS);
        let found = name.and_then(|name| Some((self.shared.hub.channel(&name)?, name)));
        let Some((channel, stream)) = found else {
            // Viewers choose names: too many of them are not on air, and cost the edge nothing else.
            self.shared.tally.note("refused", "limit_names");
            tracing::debug!(sub, "one name more than is waited for, or none at all: answered as absent");
            let _ = post.outbox().try_send(Frame::Absent { sub });
            return Ok(());
        };
        let subscription = Arc::new(Subscription::new(sub, stream, channel));
        let feeding = post.clone().feed(subscription.clone(), self.shared.clone());
        subs.running.insert(sub, (subscription, tokio::spawn(feeding)));
        Ok(())
    }
}

/// What one edge is subscribed to, and the tasks that serve it.
struct Subs {
    running: HashMap<u32, (Arc<Subscription>, JoinHandle<()>)>,
    tasks: Vec<JoinHandle<()>>,
    /// Heartbeats one after the other for whose answer there was no room.
    unsaid: u32,
}

impl Subs {
    /// What this edge wants is wanted of those that feed this node, and it is told which streams go on. What finds no room
    /// is not said: the next second's word stands for it.
    fn renew(&self, shared: &Shared, outbox: &mpsc::Sender<Frame>) {
        let subscriptions = || self.running.values().map(|(subscription, _)| subscription);
        subscriptions().for_each(|subscription| subscription.touch_all(shared));
        let subs: Vec<u32> = subscriptions().filter_map(|subscription| subscription.progress()).collect();
        if !subs.is_empty() {
            let _ = outbox.try_send(Frame::Progress { subs });
        }
    }
}

/// Tells of every stream on air, and of those that come, or come again.
async fn tell_all(hub: Hub, outbox: mpsc::Sender<Frame>) {
    let mut begun = hub.begun();
    let mut told = HashMap::new();
    loop {
        begun.mark_unchanged();
        let lives: HashMap<StreamName, u64> = hub.lives().into_iter().collect();
        for (stream, _) in lives.iter().filter(|(stream, life)| told.get(*stream) != Some(*life)) {
            let frame = Frame::Announce { stream: stream.as_str().to_owned() };
            if outbox.send(frame).await.is_err() {
                return;
            }
        }
        told = lives;
        if begun.changed().await.is_err() {
            return;
        }
    }
}
