//! The directory: which node is the origin of which stream, and which edges live where.
//!
//! [`Directory`] is in memory, and then knows this node alone, or in a key-value bucket of NATS JetStream
//! (`cluster.nats`). Nothing waits for it: who asks gets what is known, and while NATS is away that is what was known
//! before, for as long as it takes.
//!
//! A stream's origin holds a *lease* ([`Claim`]): an entry that ends unless it is written again, and that only who wrote
//! it last may write again. A standby that receives the same push claims as well and gets the lease when it ends. Its
//! number is higher than any before, so an edge that hears of two origins believes the newer one (EDGE-29).

mod config;
mod fleet;
mod lease;
mod member;
mod nats;
mod record;
mod run;
mod shelf;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aqueduct_common::StreamName;
use aqueduct_common::event::EventSender;
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

pub use config::{Config, ConfigError, Plan};
pub use fleet::{Edge, Origin, holder};
pub use lease::Role;
pub use record::{EdgeRecord, NodeName};

/// What was heard of NATS and not taken in yet. NATS waits when it is full.
const LINKS: usize = 1_024;

/// A node's handle on the directory. When the last one is dropped, its leases end by themselves.
#[derive(Clone, Debug)]
pub struct Directory(Arc<Handle>);

#[derive(Debug)]
struct Handle {
    node: NodeName,
    lease: Duration,
    shared: Arc<Shared>,
    origins: watch::Receiver<Arc<[Origin]>>,
    edges: watch::Receiver<Arc<[Edge]>>,
    status: watch::Receiver<Status>,
    /// Ends the connection with the last handle.
    _link: Option<tokio_util::sync::DropGuard>,
}

/// How the directory does.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Status {
    /// It answers.
    pub up: bool,
    /// Streams that this node is the origin of.
    pub holds: usize,
    /// Requests that had no answer, since the start.
    pub failures: u64,
    /// Another process has this node's name.
    pub rival: bool,
    /// Attempts and connections that failed, since the start.
    pub downs: u64,
}

/// What handles want of the task. The newest counts, so there is no queue.
#[derive(Debug)]
struct Shared {
    wanted: Mutex<Wanted>,
    changed: Notify,
    closing: AtomicBool,
    closed: CancellationToken,
    told_downs: AtomicU64,
}

#[derive(Debug, Default)]
struct Wanted {
    claims: BTreeMap<StreamName, Claims>,
    report: Option<EdgeRecord>,
}

/// All claims of this node on one stream: a packager that begins may come before the one that ends has gone.
#[derive(Debug)]
struct Claims {
    count: usize,
    role: watch::Sender<Role>,
    lead: watch::Sender<Lead>,
    /// What whoever has the stream next is to know.
    said: Option<Arc<str>>,
    /// The same, as the node said it that had the stream before, and when that was heard.
    heard: Option<(Arc<str>, Instant)>,
}

/// Whether a stream is this node's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Lead {
    /// It is not known yet.
    #[default]
    Unknown,
    /// It is, or nobody else is known to have it.
    Ours,
    /// Another node has it.
    Theirs,
}

/// This node has the stream and would be its origin. Dropped, the claim is given up, and another node may be at once.
#[derive(Debug)]
pub struct Claim {
    stream: StreamName,
    role: watch::Receiver<Role>,
    lead: watch::Receiver<Lead>,
    shared: Arc<Shared>,
}

impl Directory {
    /// Starts the directory. Needs a Tokio runtime around it; returns at once, whether NATS is there or not.
    pub fn start(plan: Plan, events: EventSender) -> Self {
        let shared = Arc::new(Shared {
            wanted: Mutex::default(),
            changed: Notify::new(),
            closing: AtomicBool::default(),
            closed: CancellationToken::new(),
            told_downs: AtomicU64::default(),
        });
        let none: (Arc<[Origin]>, Arc<[Edge]>) = (Arc::new([]), Arc::new([]));
        let (origins_sender, origins) = watch::channel(none.0);
        let (edges_sender, edges) = watch::channel(none.1);
        let (status_sender, status) = watch::channel(Status::default());
        let views = run::Views { origins: origins_sender, edges: edges_sender, status: status_sender };
        let (node, lease) = (plan.node.clone(), plan.lease);
        let me = member::Me { node: plan.node.clone(), instance: instance(), relay: plan.relay.clone() };
        let member = member::Member::new(me, plan.lease, run::now());
        let (links, link) = match plan.nats {
            Some(nats) => {
                let (told, links) = mpsc::channel(LINKS);
                let stop = CancellationToken::new();
                let talk = nats::link(nats, plan.node, plan.lease, told);
                tokio::spawn(stop.clone().run_until_cancelled_owned(talk));
                (Some(links), Some(stop.drop_guard()))
            }
            None => (None, None),
        };
        let task = run::Task { member, shared: shared.clone(), links, views, events, lease: plan.lease };
        tokio::spawn(task.run());
        Self(Arc::new(Handle { node, lease, shared, origins, edges, status, _link: link }))
    }

    /// This node has the stream. Claim it when it begins, and keep the claim while it lives.
    pub fn claim(&self, stream: &StreamName) -> Claim {
        let shared = self.0.shared.clone();
        let (role, lead) = {
            let mut wanted = shared.wanted();
            match wanted.claims.entry(stream.clone()) {
                Entry::Occupied(mut claims) => {
                    claims.get_mut().count += 1;
                    (claims.get().role.subscribe(), claims.get().lead.subscribe())
                }
                Entry::Vacant(place) => {
                    let (role, heard) = watch::channel(run::BEGINS);
                    let lead = watch::Sender::new(Lead::Unknown);
                    let leads = lead.subscribe();
                    place.insert(Claims { count: 1, role, lead, said: None, heard: None });
                    (heard, leads)
                }
            }
        };
        shared.changed.notify_one();
        Claim { stream: stream.clone(), role, lead, shared }
    }

    /// Whoever has a stream next that this node [claims](Self::claim) is to know this; an empty text says that it has
    /// ended. It is told with the next renewal of the lease.
    pub fn say(&self, stream: &StreamName, word: &str) {
        let ended = word.is_empty();
        if let Some(claims) = self.0.shared.wanted().claims.get_mut(stream) {
            claims.said = Some(word.into());
        }
        if ended {
            self.0.shared.changed.notify_one();
        }
    }

    /// What the node said last that had a stream before, where this node has [claimed](Self::claim) it since, and how long
    /// ago that was at most, by this node's clock.
    pub fn heard(&self, stream: &StreamName) -> Option<(Arc<str>, Duration)> {
        let (word, at) = self.0.shared.wanted().claims.get(stream)?.heard.clone()?;
        // It waits for a renewal before it is said.
        Some((word, run::now().saturating_duration_since(at) + self.0.lease / 3))
    }

    /// What this node is called.
    pub fn node(&self) -> &NodeName {
        &self.0.node
    }

    /// What this edge says of itself, now and until it says something else.
    pub fn report(&self, record: EdgeRecord) {
        self.0.shared.wanted().report = Some(record);
        self.0.shared.changed.notify_one();
    }

    /// Every origin that is known, by name: the upstreams that an edge may have.
    pub fn origins(&self) -> watch::Receiver<Arc<[Origin]>> {
        self.0.origins.clone()
    }

    /// Every edge that is known, by name, this one included.
    pub fn edges(&self) -> watch::Receiver<Arc<[Edge]>> {
        self.0.edges.clone()
    }

    /// How it does. Changes once a second.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.0.status.clone()
    }

    /// Gives every lease back, so that others need not wait for their end. Takes about a second at most.
    pub async fn close(&self) {
        self.0.shared.closing.store(true, Relaxed);
        self.0.shared.changed.notify_one();
        let patience = Duration::from_secs(2);
        let _ = tokio::time::timeout(patience, self.0.shared.closed.cancelled()).await;
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.closing.store(true, Relaxed);
        self.shared.changed.notify_one();
    }
}

impl Claim {
    /// The stream.
    pub fn stream(&self) -> &StreamName {
        &self.stream
    }

    /// What this node is to the stream, now.
    pub fn role(&self) -> Role {
        *self.role.borrow()
    }

    /// The same as it changes.
    pub fn roles(&self) -> watch::Receiver<Role> {
        self.role.clone()
    }

    /// Whether the stream is this node's, as it changes.
    pub fn leads(&self) -> watch::Receiver<Lead> {
        self.lead.clone()
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut wanted = self.shared.wanted();
        if let Entry::Occupied(mut claims) = wanted.claims.entry(self.stream.clone()) {
            claims.get_mut().count -= 1;
            if claims.get().count == 0 {
                claims.remove();
            }
        }
        drop(wanted);
        self.shared.changed.notify_one();
    }
}

impl Shared {
    fn wanted(&self) -> MutexGuard<'_, Wanted> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_closing(&self) -> bool {
        self.closing.load(Relaxed)
    }

    /// Downs that were told before these.
    fn told_downs(&self, downs: u64) -> u64 {
        self.told_downs.swap(downs, Relaxed)
    }
}

/// A number that no other process has.
fn instance() -> u64 {
    RandomState::new().build_hasher().finish()
}
