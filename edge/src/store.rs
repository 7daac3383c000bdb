//! Versioned objects of every stream: published in order, read by anyone, waited for by many.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Instant;

use aqueduct_common::StreamName;
use aqueduct_common::object::{Publish, Update};
use tokio::sync::watch;

use crate::audience::Demand;
use crate::list::Wake;
use crate::relay::Wants;
use crate::stream::{Applied, Stream};

/// Names of streams that somebody may wait for at once; beyond, the answer is "not found" right away.
const MAX_AWAITED: usize = 4_096;

/// What the edge serves. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Store {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    streams: RwLock<HashMap<Box<str>, Arc<Stream>>>,
    /// Streams that are not on air and somebody waits for.
    awaited: Mutex<HashMap<Box<str>, watch::Sender<()>>>,
    /// Streams that come on air when somebody asks for them.
    expected: RwLock<HashSet<Box<str>>>,
    stale: AtomicU64,
    /// What is asked of those that feed this node, where it is fed.
    wants: Option<Wants>,
}

/// What is held of one stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Holding {
    /// Its name.
    pub stream: StreamName,
    /// It has a multivariant playlist and has not ended.
    pub on_air: bool,
    /// Memory of its objects, shared bytes counted once.
    pub bytes: u64,
    /// Objects that can be fetched.
    pub objects: usize,
    /// Distinct viewers of the last 30 s.
    pub viewers: u32,
}

/// Somebody waits for a stream to come on air.
#[derive(Debug)]
pub struct Arrival {
    shared: Arc<Shared>,
    name: Box<str>,
    came: Option<watch::Receiver<()>>,
}

impl Store {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty store of a node that is fed by others: what is not here is asked for.
    pub fn fed(wants: Wants) -> Self {
        Self { shared: Arc::new(Shared { wants: Some(wants), ..Shared::default() }) }
    }

    /// What is asked of those that feed this node; `None` where its streams are made here.
    pub fn wants(&self) -> Option<&Wants> {
        self.shared.wants.as_ref()
    }

    /// Lets a stream go at once, as if it had never been here.
    pub(crate) fn forget(&self, name: &StreamName) {
        self.shared.streams_mut().remove(name.as_str());
    }

    /// The stream with this name (`app/name`), if anything of it is here.
    pub fn find(&self, name: &str) -> Option<Arc<Stream>> {
        self.shared.streams().get(name).cloned()
    }

    /// Waits from now on for this stream to come on air. `None` for a text that can name no stream, and when too many
    /// names are waited for already.
    pub fn await_stream(&self, name: &str) -> Option<Arrival> {
        name.parse::<StreamName>().ok()?;
        let mut awaited = self.shared.awaited();
        if awaited.len() >= MAX_AWAITED && !awaited.contains_key(name) {
            return None;
        }
        let came = awaited.entry(name.into()).or_insert_with(|| watch::Sender::new(())).subscribe();
        drop(awaited);
        Some(Arrival { shared: self.shared.clone(), name: name.into(), came: Some(came) })
    }

    /// Streams that come on air when somebody asks for them, in place of those named before: who asks is held until they do.
    pub fn expect(&self, names: impl IntoIterator<Item = StreamName>) {
        let names = names.into_iter().map(|name| name.as_str().into()).collect();
        *self.shared.expected.write().unwrap_or_else(PoisonError::into_inner) = names;
    }

    /// Who asks for this stream is held until it comes on air.
    pub(crate) fn expects(&self, name: &str) -> bool {
        self.shared.expected.read().unwrap_or_else(PoisonError::into_inner).contains(name)
    }

    /// Streams that are not on air and somebody waits for.
    pub fn awaited(&self) -> Vec<StreamName> {
        self.shared.awaited().keys().filter_map(|name| name.parse().ok()).collect()
    }

    /// Lets go of what has expired and brings the viewer counts forward. Called about once a second; what is retired
    /// lingers from the first call after it on.
    pub fn sweep(&self, now: Instant, seconds: u64) {
        let streams: Vec<_> = self.shared.streams().values().cloned().collect();
        for stream in streams {
            stream.viewers().turn(seconds);
            if stream.sweep(now) {
                continue;
            }
            // Publishing holds the read lock, so nothing comes in between.
            let mut streams = self.shared.streams_mut();
            if !stream.sweep(now) {
                streams.remove(stream.name().as_str());
            }
        }
    }

    /// Tells of every playlist that was asked for since the last time by how many, and once of those that nobody asks for
    /// any more. Called about once a second; `seconds` count from any fixed moment.
    pub fn tell(&self, sink: &dyn Demand, seconds: u64) {
        let streams: Vec<_> = self.shared.streams().values().cloned().collect();
        for stream in streams {
            for (demand, viewers) in stream.demands(seconds) {
                sink.asked(stream.name(), demand, viewers);
            }
        }
    }

    /// What is held, stream by stream, in order of their names.
    pub fn holdings(&self) -> Vec<Holding> {
        let holding = |stream: &Arc<Stream>| {
            let (bytes, objects) = stream.holding();
            let viewers = stream.viewers().count();
            Holding { stream: stream.name().clone(), on_air: stream.is_on_air(), bytes, objects, viewers }
        };
        let mut holdings: Vec<_> = self.shared.streams().values().map(holding).collect();
        holdings.sort_by(|one, other| one.stream.cmp(&other.stream));
        holdings
    }

    /// Playlist versions that came after a later one and were left out.
    pub fn stale(&self) -> u64 {
        self.shared.stale.load(Ordering::Relaxed)
    }
}

impl Publish for Store {
    fn withdraw(&self, stream: &StreamName) {
        self.forget(stream);
    }

    fn publish(&self, stream: &StreamName, update: Update) {
        let applied = self.shared.apply(stream, update);
        applied.wakes.into_iter().for_each(Wake::send);
        if applied.stale {
            self.shared.stale.fetch_add(1, Ordering::Relaxed);
            tracing::debug!(%stream, "a playlist version older than the current one was left out");
        }
        if applied.came_on_air
            && let Some(came) = self.shared.awaited().get(stream.as_str())
        {
            came.send_replace(());
        }
    }
}

impl Shared {
    fn apply(&self, name: &StreamName, update: Update) -> Applied {
        if let Some(stream) = self.streams().get(name.as_str()) {
            return stream.apply(update);
        }
        if !matches!(update, Update::Publish(_) | Update::Sleep { .. }) {
            return Applied::default();
        }
        let mut streams = self.streams_mut();
        let stream =
            streams.entry(name.as_str().into()).or_insert_with(|| Arc::new(Stream::new(name.clone())));
        stream.apply(update)
    }

    fn streams(&self) -> RwLockReadGuard<'_, HashMap<Box<str>, Arc<Stream>>> {
        self.streams.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn streams_mut(&self) -> RwLockWriteGuard<'_, HashMap<Box<str>, Arc<Stream>>> {
        self.streams.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn awaited(&self) -> MutexGuard<'_, HashMap<Box<str>, watch::Sender<()>>> {
        self.awaited.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Arrival {
    /// Waits until the stream comes on air. Look first: it may be there already.
    pub async fn came(mut self) {
        if let Some(came) = &mut self.came {
            // The sender is removed only by the last arrival that is dropped, so this ends with a message.
            let _ = came.changed().await;
        }
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        let mut awaited = self.shared.awaited();
        self.came = None;
        if awaited.get(&self.name).is_some_and(|sender| sender.receiver_count() == 0) {
            awaited.remove(&self.name);
        }
    }
}
