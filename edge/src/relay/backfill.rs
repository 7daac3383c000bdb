//! What is not in this node's windows and may still be held above it: fetched once for all who ask, and kept for a while.
//!
//! A viewer that comes from another edge, or has looked away, asks for what was listed before this node began to take the
//! stream. It is asked of those that feed this node, by its name. Names are of viewers' choice: of those that nobody has,
//! only so many are asked for, by client and by stream, and the answer that there is none is kept as well (EDGE-1, EDGE-4).

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use aqueduct_common::StreamName;
use aqueduct_common::event::BackfillTick;
use aqueduct_common::object::{Object, ObjectKind};
use moka::Expiry;
use moka::future::Cache;
use quinn::Connection;
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::fetch;
use super::link::Told;
use super::wire::path_of;
use crate::allowance::Allowance;
use crate::entry::Entry;

/// Bytes that are kept where nobody said how many.
const BYTES: u64 = 64 << 20;
/// What a kept answer costs beside its bytes.
const OVERHEAD: usize = 256;
/// Objects that are fetched at once; who comes beyond waits.
const FETCHES: usize = 64;
/// Names that nobody has and one client may ask for in a second, twice as many at once.
const MISSES_OF_ONE: u32 = 8;
/// The same of one stream, by all clients.
const MISSES_OF_STREAM: u32 = 32;
/// Clients, and streams, whose misses are counted at once. Beyond, nobody new is fetched for.
const MAX_COUNTED: usize = 16_384;
/// Nodes that one object is asked of, one after the other.
const MAX_WAYS: usize = 2;
/// Nodes, one after the other, that an object is fetched through.
pub(crate) const MAX_HOPS: u8 = 3;
/// How long one node may take to say whether it has an object.
const PATIENCE: Duration = Duration::from_secs(4);

/// What became of a question.
#[derive(Clone, Debug)]
pub(crate) enum Kept {
    /// It is here.
    Here(Arc<Entry>),
    /// No node has it. It may come.
    Absent,
    /// It was, and does not come back.
    Gone,
    /// No node could be asked.
    Unreachable,
    /// Too much that nobody has was asked for: nobody was asked.
    Limited,
}

/// One node to ask, and those behind it.
pub(super) type Ways = Vec<Connection>;

type Key = (StreamName, Box<str>);

/// What is fetched and kept. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Backfill {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    cache: Option<Cache<Key, Kept>>,
    /// Who knows the nodes that feed this one.
    desk: OnceLock<mpsc::Sender<Told>>,
    room: Semaphore,
    misses: Misses,
    counts: Counts,
}

#[derive(Debug, Default)]
struct Counts {
    asked: AtomicU64,
    fetched: AtomicU64,
    bytes: AtomicU64,
    absent: AtomicU64,
    failed: AtomicU64,
    limited: AtomicU64,
}

impl Default for Backfill {
    fn default() -> Self {
        Self::new(BYTES)
    }
}

impl Backfill {
    /// Keeps so many bytes at most; with 0 nothing is fetched.
    pub(crate) fn new(bytes: u64) -> Self {
        let cache = (bytes > 0)
            .then(|| Cache::builder().max_capacity(bytes).weigher(weight).expire_after(Lifetimes).build());
        let room = Semaphore::new(FETCHES);
        let (misses, counts) = (Misses::default(), Counts::default());
        Self { shared: Arc::new(Shared { cache, desk: OnceLock::new(), room, misses, counts }) }
    }

    /// From now on nodes are known that can be asked.
    pub(super) fn connect(&self, desk: mpsc::Sender<Told>) {
        let _ = self.shared.desk.set(desk);
    }

    /// The object, from what is kept or from above, through `hops` nodes at most. However many ask at once, it is fetched
    /// once; when who began it gives up, another one goes on.
    pub(crate) async fn get(
        &self,
        stream: &StreamName,
        line: &str,
        file: &str,
        who: Option<IpAddr>,
        hops: u8,
    ) -> Kept {
        let (Some(cache), Some(_)) = (&self.shared.cache, self.shared.desk.get()) else {
            return Kept::Absent;
        };
        if hops == 0 {
            return Kept::Absent;
        }
        self.shared.counts.asked.fetch_add(1, Relaxed);
        let key = (stream.clone(), path_of(line, file).as_str().into());
        cache.get_with(key, Box::pin(self.shared.pull(stream, line, file, who, hops))).await
    }

    /// A second has passed.
    pub(super) fn refill(&self) {
        self.shared.misses.refill();
        if let Some(cache) = self.shared.cache.clone() {
            // What has expired goes, though nobody asks for anything.
            tokio::spawn(async move { cache.run_pending_tasks().await });
        }
    }

    /// What came since the last tick, and what is kept.
    pub(super) fn tick(&self) -> BackfillTick {
        let Counts { asked, fetched, bytes, absent, failed, limited } = &self.shared.counts;
        let take = |count: &AtomicU64| count.swap(0, Relaxed);
        BackfillTick {
            asked: take(asked),
            fetched: take(fetched),
            bytes: take(bytes),
            absent: take(absent),
            failed: take(failed),
            limited: take(limited),
            kept_bytes: self.shared.cache.as_ref().map_or(0, Cache::weighted_size),
        }
    }
}

impl Shared {
    async fn pull(&self, stream: &StreamName, line: &str, file: &str, who: Option<IpAddr>, hops: u8) -> Kept {
        let Some(missed) = self.misses.take(stream, who) else {
            self.counts.limited.fetch_add(1, Relaxed);
            return Kept::Limited;
        };
        let Ok(_room) = self.room.acquire().await else { return Kept::Unreachable };
        let mut kept = Kept::Unreachable;
        for way in self.ways(stream).await.iter().take(MAX_WAYS) {
            let asked = fetch::ask(way, stream, line, file, hops - 1);
            kept = match tokio::time::timeout(PATIENCE, asked).await {
                Ok(Ok(fetch::Reply::Lent(object))) => return self.lent(object, missed),
                Ok(Ok(fetch::Reply::Missing { gone: true })) => Kept::Gone,
                Ok(Ok(fetch::Reply::Missing { gone: false })) => Kept::Absent,
                Ok(Err(error)) => {
                    tracing::debug!(%stream, line, file, %error, "not fetched");
                    continue;
                }
                Err(_) => continue,
            };
            if matches!(kept, Kept::Gone) {
                break;
            }
        }
        let count = if matches!(kept, Kept::Unreachable) { &self.counts.failed } else { &self.counts.absent };
        count.fetch_add(1, Relaxed);
        kept
    }

    fn lent(&self, object: Object, missed: Taken) -> Kept {
        missed.give_back();
        let bytes: usize = object.body.iter().map(bytes::Bytes::len).sum();
        self.counts.fetched.fetch_add(1, Relaxed);
        self.counts.bytes.fetch_add(bytes as u64, Relaxed);
        Kept::Here(Arc::new(Entry::new(object)))
    }

    /// Nodes that have the stream and lend, the best first.
    async fn ways(&self, stream: &StreamName) -> Ways {
        let Some(desk) = self.desk.get() else { return Ways::new() };
        let (answer, ways) = oneshot::channel();
        let asked = desk.send(Told::Ways { stream: stream.clone(), answer });
        let answered = async { asked.await.ok().and(ways.await.ok()).unwrap_or_default() };
        tokio::time::timeout(PATIENCE, answered).await.unwrap_or_default()
    }
}

/// Bytes of a kept answer.
fn weight((stream, path): &Key, kept: &Kept) -> u32 {
    let body = if let Kept::Here(entry) = kept { entry.full().plain().len() } else { 0 };
    let names = OVERHEAD + stream.as_str().len() + path.len();
    u32::try_from(body).unwrap_or(u32::MAX).saturating_add(u32::try_from(names).unwrap_or(u32::MAX))
}

/// How long an answer is good for.
fn lifetime(kept: &Kept) -> Duration {
    match kept {
        Kept::Here(entry) => match entry.kind() {
            // Of what is made once for a rendition there is little, and every late viewer wants it.
            ObjectKind::Init => Duration::from_secs(600),
            ObjectKind::Segment => Duration::from_secs(60),
            _ => Duration::from_secs(20),
        },
        // What is pushed a moment later is found before this is looked at.
        Kept::Absent => Duration::from_millis(500),
        Kept::Gone => Duration::from_secs(60),
        Kept::Unreachable | Kept::Limited => Duration::from_millis(300),
    }
}

#[derive(Debug)]
struct Lifetimes;

impl Expiry<Key, Kept> for Lifetimes {
    fn expire_after_create(&self, _: &Key, kept: &Kept, _: Instant) -> Option<Duration> {
        Some(lifetime(kept))
    }
}

/// What was asked for and nobody had, by client and by stream.
#[derive(Debug, Default)]
struct Misses {
    counted: Mutex<Counted>,
}

#[derive(Debug, Default)]
struct Counted {
    clients: HashMap<IpAddr, Arc<Allowance>>,
    streams: HashMap<StreamName, Arc<Allowance>>,
}

/// One that may be asked for, and counts as missed unless it is given back.
#[derive(Debug)]
struct Taken(Vec<Arc<Allowance>>);

impl Taken {
    fn give_back(self) {
        self.0.iter().for_each(|allowance| allowance.give_back());
    }
}

impl Misses {
    fn take(&self, stream: &StreamName, who: Option<IpAddr>) -> Option<Taken> {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken = Taken(Vec::new());
        if let Some(who) = who {
            taken.0.push(allowance(&mut counted.clients, &who, MISSES_OF_ONE)?);
        }
        let of_stream = allowance(&mut counted.streams, stream, MISSES_OF_STREAM);
        if of_stream.is_none() {
            std::mem::take(&mut taken.0).iter().for_each(|allowance| allowance.give_back());
        }
        taken.0.push(of_stream?);
        Some(taken)
    }

    fn refill(&self) {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let Counted { clients, streams } = &mut *counted;
        clients.retain(|_, allowance| renew(allowance));
        streams.retain(|_, allowance| renew(allowance));
    }
}

/// Takes from an allowance, which is made where there is none and room for one.
fn allowance<K: Clone + Eq + Hash>(
    counted: &mut HashMap<K, Arc<Allowance>>,
    key: &K,
    rate: u32,
) -> Option<Arc<Allowance>> {
    if counted.len() >= MAX_COUNTED && !counted.contains_key(key) {
        return None;
    }
    let allowance = counted.entry(key.clone()).or_insert_with(|| Arc::new(Allowance::new(rate)));
    allowance.take().then(|| allowance.clone())
}

/// Answers whether it is to be kept.
fn renew(allowance: &Allowance) -> bool {
    allowance.refill();
    !allowance.is_full()
}

#[cfg(test)]
mod tests {
    use aqueduct_common::object::{ContentType, ObjectPath};

    use super::*;

    fn here(kind: ObjectKind, bytes: usize) -> Kept {
        let body = vec![bytes::Bytes::from(vec![7; bytes])];
        let (path, content_type) = (ObjectPath::new("e/v0/x"), ContentType::VideoMp4);
        Kept::Here(Arc::new(Entry::new(Object { path, kind, content_type, body, playlist: None })))
    }

    #[test]
    fn names_that_nobody_has_are_asked_for_so_often_and_found_ones_cost_nothing() {
        let (misses, show): (_, StreamName) = (Misses::default(), "live/show".parse().unwrap());
        let host = |host: u8| Some(IpAddr::from([10, 0, 0, host]));
        let most = 2 * MISSES_OF_ONE as usize;
        assert_eq!((0..100).filter(|_| misses.take(&show, host(1)).is_some()).count(), most);
        // Another client is not kept from its own, up to what all may.
        for _ in 0..1_000 {
            misses.take(&show, host(2)).unwrap().give_back();
        }
        let all = (2..200)
            .flat_map(|one| (0..100).map(move |_| one))
            .filter(|one| misses.take(&show, host(*one)).is_some());
        assert_eq!(all.count(), 2 * MISSES_OF_STREAM as usize - most);
        assert!(misses.take(&"live/other".parse().unwrap(), host(250)).is_some());
        misses.refill();
        assert!(misses.take(&show, host(1)).is_some());
        (0..3).for_each(|_| misses.refill());
        let counted = misses.counted.lock().unwrap();
        assert!(counted.clients.is_empty() && counted.streams.is_empty());
    }

    #[test]
    fn what_is_missing_is_kept_for_a_moment_and_media_for_as_long_as_somebody_may_want_them() {
        assert!(lifetime(&Kept::Absent) <= Duration::from_secs(1), "EDGE-4");
        assert!(lifetime(&Kept::Unreachable) <= Duration::from_millis(500), "EDGE-4");
        assert_eq!(lifetime(&Kept::Gone), Duration::from_secs(60), "EDGE-4");
        let (part, segment) = (here(ObjectKind::Part, 1), here(ObjectKind::Segment, 1));
        assert!(
            lifetime(&part) < lifetime(&segment) && lifetime(&segment) < lifetime(&here(ObjectKind::Init, 1))
        );
    }

    #[tokio::test]
    async fn no_more_is_kept_than_may_be() {
        let backfill = Backfill::new(100_000);
        let cache = backfill.shared.cache.as_ref().unwrap();
        for number in 0..100 {
            let key = ("live/show".parse().unwrap(), format!("e/v0/p{number}").into());
            cache.insert(key, here(ObjectKind::Part, 9_000)).await;
        }
        cache.run_pending_tasks().await;
        let kept = backfill.tick().kept_bytes;
        assert!(kept > 50_000 && kept <= 100_000, "{kept}");
    }

    #[tokio::test]
    async fn without_anybody_to_ask_there_is_nothing() {
        let show = "live/show".parse().unwrap();
        for backfill in [Backfill::new(0), Backfill::default()] {
            assert!(matches!(backfill.get(&show, "e/v0", "p1", None, MAX_HOPS).await, Kept::Absent));
        }
    }
}
