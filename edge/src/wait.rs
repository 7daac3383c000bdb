//! Waiting for what is due. A waiter holds nothing else, and vanishes when it is dropped.

use std::sync::Arc;
use std::time::Duration;

use aqueduct_common::object::PlaylistInfo;
use tokio::sync::watch;

use crate::audience::Audience;
use crate::entry::Entry;
use crate::playlist::{Verdict, decide};
use crate::route::At;

type Arrivals = watch::Receiver<Option<Arc<Entry>>>;

/// A request that waits for a version of a playlist, or for a hinted part.
#[derive(Debug)]
pub struct Waiter {
    arrivals: Arrivals,
    at: At,
    hold: Duration,
    audience: Option<Arc<Audience>>,
    asleep: bool,
}

impl Waiter {
    pub(crate) fn list(arrivals: Arrivals, at: At, hold: Duration, audience: Option<Arc<Audience>>) -> Self {
        Self { arrivals, at, hold, audience, asleep: false }
    }

    pub(crate) fn asleep(arrivals: Arrivals, hold: Duration, audience: Option<Arc<Audience>>) -> Self {
        Self { arrivals, at: At::Now, hold, audience, asleep: true }
    }

    pub(crate) fn part(arrivals: Arrivals, hold: Duration) -> Self {
        Self { arrivals, at: At::Now, hold, audience: None, asleep: false }
    }

    /// Who asks for the playlist, where its publisher wants to know.
    pub(crate) fn audience(&self) -> Option<&Arc<Audience>> {
        self.audience.as_ref()
    }

    /// The playlist sleeps: whatever is published of it first is the answer.
    pub fn is_asleep(&self) -> bool {
        self.asleep
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
