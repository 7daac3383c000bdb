//! The task behind a directory: it owns the node's part of it, and moves what the pure parts decide.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use aqueduct_common::event::{ClusterTick, Event, EventSender};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::fleet::{Edge, Origin};
use super::lease::Role;
use super::member::{Answer, Member, Op, What};
use super::nats::{self, Link};
use super::shelf::Shelf;
use super::{Lead, Shared, Status};

/// Requests that may be under way at once.
const MAX_ASKED: usize = 64;
/// How long giving everything back may take.
const CLOSING: Duration = Duration::from_secs(1);

/// Where entries are kept.
enum Place {
    /// In this process.
    Memory(Shelf),
    /// In NATS; not yet, or not now.
    Away,
    /// In NATS.
    Nats(Box<async_nats::jetstream::kv::Store>),
}

/// What the task tells.
pub(super) struct Views {
    pub(super) origins: watch::Sender<Arc<[Origin]>>,
    pub(super) edges: watch::Sender<Arc<[Edge]>>,
    pub(super) status: watch::Sender<Status>,
}

pub(super) struct Task {
    pub(super) member: Member,
    pub(super) shared: Arc<Shared>,
    pub(super) links: Option<mpsc::Receiver<Link>>,
    pub(super) views: Views,
    pub(super) events: EventSender,
    pub(super) lease: Duration,
}

impl Task {
    /// Runs until the directory is closed or nobody has a handle on it any more.
    pub(super) async fn run(mut self) {
        let mut place = match self.links {
            Some(_) => Place::Away,
            None => {
                self.member.up(self.lease, now());
                Place::Memory(Shelf::new(self.lease))
            }
        };
        let (mut asked, mut queue) = (JoinSet::new(), Vec::new());
        let mut seconds = tokio::time::interval(Duration::from_secs(1));
        while !self.shared.is_closing() {
            self.turn(&mut place, &mut queue, &mut asked);
            let wake = self.member.wake().unwrap_or_else(|| now() + CLOSING);
            tokio::select! {
                () = self.shared.changed.notified() => {}
                Some(answered) = asked.join_next(), if !asked.is_empty() => self.answered(answered),
                Some(link) = heard(&mut self.links) => self.link(link, &mut place),
                () = tokio::time::sleep_until(wake.into()) => {}
                _ = seconds.tick() => self.report(),
            }
        }
        self.member.close(now());
        self.turn(&mut place, &mut queue, &mut asked);
        let _ = tokio::time::timeout(CLOSING, async {
            while asked.join_next().await.is_some() {
                begin(&mut queue, &mut place, &mut asked);
            }
        })
        .await;
        self.shared.closed.cancel();
    }

    /// Takes in what is wanted, begins what is to be done, and tells what is known.
    fn turn(&mut self, place: &mut Place, queue: &mut Vec<Op>, asked: &mut JoinSet<(Op, Answer)>) {
        let now = now();
        let shared = self.shared.clone();
        let mut wanted = shared.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        for (stream, claims) in &wanted.claims {
            claims.said.iter().for_each(|word| self.member.say(stream, word));
        }
        if !self.shared.is_closing() {
            let streams: BTreeSet<_> = wanted.claims.keys().cloned().collect();
            self.member.want(&streams, now);
        }
        if let Some(report) = &wanted.report {
            self.member.report(report.clone(), now);
        }
        self.member.tick(now);
        queue.extend(self.member.ops(now));
        if let Place::Memory(shelf) = place {
            for op in queue.drain(..) {
                let answer = in_memory(shelf, &op, now);
                self.member.done(op, answer, now);
            }
        }
        begin(queue, place, asked);
        for (stream, claims) in &mut wanted.claims {
            let role = self.member.role(stream, now);
            let rival = self.member.rival(stream);
            if let Some((_, word)) = rival {
                let known = claims.heard.as_ref().is_some_and(|(heard, _)| **heard == *word);
                if !known {
                    claims.heard = Some((word.into(), now));
                }
            }
            let lead = match (role, rival) {
                (Role::Holder { .. } | Role::Unconfirmed { .. }, _) => Lead::Ours,
                // This node before it was started again: nobody else goes on with it.
                (Role::Standby, Some((node, _))) if *node == self.member.me().node => Lead::Ours,
                (Role::Standby, Some(_)) => Lead::Theirs,
                // Between two leases everything stays as it is.
                (Role::Standby, None) => *claims.lead.borrow(),
            };
            claims.lead.send_if_modified(|last| std::mem::replace(last, lead) != lead);
            claims.role.send_if_modified(|last| {
                if *last != role {
                    tracing::info!(%stream, from = ?last, to = ?role, "role in the directory");
                }
                std::mem::replace(last, role) != role
            });
        }
        drop(wanted);
        self.tell();
    }

    fn tell(&self) {
        let changed = |sender: &watch::Sender<Arc<[Origin]>>, fresh: Vec<Origin>| {
            sender.send_if_modified(|last| {
                let different = last[..] != fresh[..];
                if different {
                    *last = fresh.into();
                }
                different
            });
        };
        changed(&self.views.origins, self.member.fleet.origins());
        let fresh = self.member.fleet.edges();
        self.views.edges.send_if_modified(|last| {
            let different = last[..] != fresh[..];
            if different {
                *last = fresh.into();
            }
            different
        });
    }

    fn answered(&mut self, answered: Result<(Op, Answer), tokio::task::JoinError>) {
        if let Ok((op, answer)) = answered {
            self.member.done(op, answer, now());
        }
    }

    fn link(&mut self, link: Link, place: &mut Place) {
        match link {
            Link::Up(store, length) => {
                tracing::info!("the directory is there");
                *place = Place::Nats(store);
                self.member.up(length, now());
            }
            Link::Entry(key, value, revision) => self.member.entry(&key, &value, revision, now()),
            Link::Gone(key) => self.member.gone(&key, now()),
            Link::Down(why) => {
                if self.member.is_up() || self.views.status.borrow().downs == 0 {
                    tracing::warn!(why, "the directory is away; live goes on with what is known");
                }
                self.views.status.send_modify(|status| status.downs += 1);
                *place = Place::Away;
                self.member.down();
            }
        }
    }

    /// Once a second.
    fn report(&mut self) {
        let status = Status {
            up: self.member.is_up(),
            holds: self.member.holds(now()),
            failures: self.member.failures,
            rival: self.member.rival,
            downs: self.views.status.borrow().downs,
        };
        if status.rival && !self.views.status.borrow().rival {
            tracing::error!("another process in the directory has this node's name: set cluster.node");
        }
        let last = self.views.status.send_replace(status.clone());
        let fleet = &self.member.fleet;
        self.events.send(Event::Cluster(ClusterTick {
            up: status.up,
            failures: status.failures.saturating_sub(last.failures),
            downs: status.downs.saturating_sub(self.shared.told_downs(status.downs)),
            holds: status.holds as u64,
            origins: self.views.origins.borrow().len() as u64,
            edges: self.views.edges.borrow().len() as u64,
            unread: fleet.unread + fleet.left_out,
            rival: status.rival,
        }));
    }
}

/// Begins as much as may be under way.
fn begin(queue: &mut Vec<Op>, place: &mut Place, asked: &mut JoinSet<(Op, Answer)>) {
    while asked.len() < MAX_ASKED
        && let Some(op) = queue.pop()
    {
        match place {
            Place::Nats(store) => {
                let store = store.clone();
                asked.spawn(async move {
                    let answer = nats::perform(*store, op.key.to_string(), op.what.clone()).await;
                    (op, answer)
                });
            }
            // What was to be done before the directory went away.
            Place::Away | Place::Memory(_) => {
                asked.spawn(std::future::ready((op, Answer::Failed)));
            }
        }
    }
}

fn in_memory(shelf: &mut Shelf, op: &Op, now: Instant) -> Answer {
    let key = op.key.to_string();
    let written = |revision: Option<u64>| revision.map_or(Answer::Refused, Answer::Written);
    match op.what.clone() {
        What::Create(value) => written(shelf.write(&key, value, 0, now)),
        What::Update(value, revision) => written(shelf.write(&key, value, revision, now)),
        What::Put(value) => Answer::Written(shelf.put(&key, value, now)),
        What::Look => Answer::There(shelf.read(&key, now)),
        What::Take(revision) => {
            shelf.take(&key, revision);
            Answer::Taken
        }
        What::Drop => {
            if let Some((_, revision)) = shelf.read(&key, now) {
                shelf.take(&key, revision);
            }
            Answer::Taken
        }
    }
}

async fn heard(links: &mut Option<mpsc::Receiver<Link>>) -> Option<Link> {
    match links {
        Some(links) => links.recv().await,
        None => std::future::pending().await,
    }
}

/// What a claim begins as.
pub(super) const BEGINS: Role = Role::Standby;

#[expect(clippy::disallowed_methods, reason = "the shell reads the clock for the pure parts")]
pub(super) fn now() -> Instant {
    Instant::now()
}
