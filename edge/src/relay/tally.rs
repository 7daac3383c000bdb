//! What the relay counts (EDGE-44).

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use aqueduct_common::event::{RELAY_BUCKETS_MICROS, RelayTick};

/// Running sums; each tick takes what came since the last one.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) sent_objects: AtomicU64,
    pub(crate) sent_bytes: AtomicU64,
    pub(crate) received_objects: AtomicU64,
    pub(crate) received_bytes: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) doubled: AtomicU64,
    pub(crate) gone: AtomicU64,
    pub(crate) strays: AtomicU64,
    pub(crate) moves: AtomicU64,
    pub(crate) lent_objects: AtomicU64,
    lags: Mutex<Lags>,
    labelled: Mutex<Vec<(&'static str, &'static str, u64)>>,
}

#[derive(Debug)]
struct Lags {
    buckets: [u64; RELAY_BUCKETS_MICROS.len() + 1],
    sum: u64,
}

impl Default for Lags {
    fn default() -> Self {
        Self { buckets: [0; RELAY_BUCKETS_MICROS.len() + 1], sum: 0 }
    }
}

impl Tally {
    /// A live object was whole here so long after it was published.
    pub(crate) fn lag(&self, micros: u64) {
        let mut lags = self.lags.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = RELAY_BUCKETS_MICROS.partition_point(|bound| *bound < micros);
        if let Some(count) = lags.buckets.get_mut(bucket) {
            *count += 1;
        }
        lags.sum += micros;
    }

    /// An edge fetched an object of so many bytes.
    pub(crate) fn lent(&self, bytes: u64) {
        self.lent_objects.fetch_add(1, Relaxed);
        self.sent_bytes.fetch_add(bytes, Relaxed);
    }

    /// A node was not let in, or not listened to any more (`refused`), or a link was lost (`lost`).
    pub(crate) fn note(&self, what: &'static str, reason: &'static str) {
        let mut labelled = self.labelled.lock().unwrap_or_else(PoisonError::into_inner);
        match labelled.iter_mut().find(|(one, other, _)| (*one, *other) == (what, reason)) {
            Some((_, _, count)) => *count += 1,
            None => labelled.push((what, reason, 1)),
        }
    }

    /// What came since the last tick; `upstreams` and the like are the caller's to fill in.
    pub(crate) fn tick(&self) -> RelayTick {
        let take = |sum: &AtomicU64| sum.swap(0, Relaxed);
        let lags = std::mem::take(&mut *self.lags.lock().unwrap_or_else(PoisonError::into_inner));
        let labelled = std::mem::take(&mut *self.labelled.lock().unwrap_or_else(PoisonError::into_inner));
        let (refused, lost): (Vec<_>, Vec<_>) =
            labelled.into_iter().partition(|(what, ..)| *what == "refused");
        let plain = |(_, reason, count): (&'static str, &'static str, u64)| (reason, count);
        RelayTick {
            sent_objects: take(&self.sent_objects),
            sent_bytes: take(&self.sent_bytes),
            received_objects: take(&self.received_objects),
            received_bytes: take(&self.received_bytes),
            failed: take(&self.failed),
            doubled: take(&self.doubled),
            gone: take(&self.gone),
            strays: take(&self.strays),
            moves: take(&self.moves),
            lent_objects: take(&self.lent_objects),
            backfill: None,
            refused: refused.into_iter().map(plain).collect(),
            lost: lost.into_iter().map(plain).collect(),
            lag_buckets: lags.buckets.to_vec(),
            lag_sum_micros: lags.sum,
            edges: None,
            upstreams: None,
        }
    }
}
