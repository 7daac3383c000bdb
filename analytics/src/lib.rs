//! Hears every stage's events and keeps two things: counters for Prometheus, and what each stream is doing now.
//!
//! Nothing here slows media: events come over a bounded bus that drops and counts, and readers take snapshots.
#![forbid(unsafe_code)]

mod histogram;
mod metrics;
mod streams;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aqueduct_common::event::EventReceiver;

pub use metrics::Metrics;
pub use streams::{Advised, State, StreamView, Streams};

/// Where the admin server reads: a snapshot of streams, and the metrics text.
#[derive(Clone, Debug, Default)]
pub struct Board {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    metrics: Metrics,
    streams: Streams,
}

impl Board {
    /// What every known stream is doing, by name.
    pub fn streams(&self) -> Vec<StreamView> {
        self.lock().streams.views()
    }

    /// Metrics in the OpenMetrics text format.
    pub fn metrics(&self) -> String {
        self.lock().metrics.render()
    }

    /// Takes in one event.
    pub fn record(&self, event: &aqueduct_common::Event, now: Instant) {
        let inner = &mut *self.lock();
        inner.metrics.record(event);
        inner.streams.record(event, now);
    }

    fn sweep(&self, now: Instant, dropped: u64) {
        let inner = &mut *self.lock();
        inner.metrics.set_events_dropped(dropped);
        inner.streams.sweep(now);
        inner.metrics.keep(|stream| inner.streams.knows(stream));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Feeds the board until every sender of events is gone.
pub async fn run(board: Board, mut events: EventReceiver) {
    let mut sweep = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            event = events.recv() => {
                let Some(event) = event else { return };
                board.record(&event, now());
            }
            _ = sweep.tick() => board.sweep(now(), events.dropped()),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the shell reads the clock for the pure parts")]
fn now() -> Instant {
    Instant::now()
}
