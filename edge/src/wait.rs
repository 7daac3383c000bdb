//! Waiting for what is due. A waiter holds nothing else, and vanishes when it is dropped.

use std::sync::Arc;
use std::time::Duration;

use aqueduct_common::object::PlaylistInfo;
use tokio::sync::watch;

use crate::entry::Entry;
use crate::playlist::{Verdict, decide};
use crate::route::At;

/// A request that waits for a version of a playlist, or for a hinted part.
#[derive(Debug)]
pub struct Waiter {
    arrivals: watch::Receiver<Option<Arc<Entry>>>,
    at: At,
    hold: Duration,
}

impl Waiter {
    pub(crate) fn list(arrivals: watch::Receiver<Option<Arc<Entry>>>, at: At, hold: Duration) -> Self {
        Self { arrivals, at, hold }
    }

    pub(crate) fn part(arrivals: watch::Receiver<Option<Arc<Entry>>>, hold: Duration) -> Self {
        Self { arrivals, at: At::Now, hold }
    }

    /// How long to wait at most, before the answer is 503 (LLHLS-23).
    pub fn hold(&self) -> Duration {
        self.hold
    }

    /// Waits. `None` when it will never come: the hint was superseded, or the stream is gone.
    pub async fn arrived(mut self) -> Option<Arc<Entry>> {
        let at = self.at;
        let answers = |info: &PlaylistInfo| decide(info, at) == Verdict::Ready;
        let found = self
            .arrivals
            .wait_for(|seen| seen.as_ref().is_some_and(|entry| entry.list().is_none_or(answers)));
        found.await.ok().and_then(|entry| entry.clone())
    }
}
