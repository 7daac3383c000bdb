//! Orders that are known of before their turn comes.
//!
//! A host stops a rung because there is too much to do. What is on its way to it by then is of no use to anyone, and
//! must not be encoded first: it counts from the moment that the order is read.

use std::sync::atomic::{AtomicU32, Ordering};

use aqueduct_common::TrackId;

use crate::protocol::{Order, VideoJob};

/// How many orders to stop are on their way to each rung.
#[derive(Debug)]
pub(super) struct Ahead(Vec<(TrackId, AtomicU32)>);

impl Ahead {
    /// None, for the rungs of a job.
    pub(super) fn of(job: &VideoJob) -> Self {
        Self(job.rungs.iter().map(|rung| (rung.track, AtomicU32::new(0))).collect())
    }

    /// An order was read.
    pub(super) fn read(&self, order: Order) {
        if let Order::Stop(track) = order
            && let Some(stops) = self.stops(track)
        {
            stops.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Its turn has come.
    pub(super) fn done(&self, order: Order) {
        if let Order::Stop(track) = order
            && let Some(stops) = self.stops(track)
        {
            // Each was read before.
            stops.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Frames of this rung are of no use.
    pub(super) fn is_stopping(&self, track: TrackId) -> bool {
        self.stops(track).is_some_and(|stops| stops.load(Ordering::Relaxed) > 0)
    }

    fn stops(&self, track: TrackId) -> Option<&AtomicU32> {
        self.0.iter().find(|(of, _)| *of == track).map(|(_, stops)| stops)
    }
}
