//! Holds a stream's first messages until its renditions are known, so that all of them begin in one track set (pure).

use std::sync::Arc;
use std::time::{Duration, Instant};

use aqueduct_common::{Feed, TrackId, TrackSet};

/// Bytes and messages that are held before it has to open with what is known.
const BYTES_MAX: usize = 64 << 20;
const MESSAGES_MAX: usize = 3_000;

/// Where messages go.
#[derive(Debug)]
pub enum Gate {
    /// They wait.
    Holding {
        /// Since when.
        since: Instant,
        /// What waits, in order.
        held: Vec<Feed>,
        /// Bytes of it.
        bytes: usize,
    },
    /// They go on at once.
    Open,
}

impl Gate {
    /// A gate that begins to hold.
    pub const fn hold(now: Instant) -> Self {
        Self::Holding { since: now, held: Vec::new(), bytes: 0 }
    }

    /// It is open.
    pub const fn is_open(&self) -> bool {
        matches!(self, Self::Open)
    }

    /// For how long it has been holding; `None` when it is open.
    pub fn held_for(&self, now: Instant) -> Option<Duration> {
        match self {
            Self::Holding { since, .. } => Some(now.duration_since(*since)),
            Self::Open => None,
        }
    }

    /// Since when it has been holding.
    pub const fn since(&self) -> Option<Instant> {
        match self {
            Self::Holding { since, .. } => Some(*since),
            Self::Open => None,
        }
    }

    /// Lets a message through, or keeps it.
    pub fn pass(&mut self, message: Feed) -> Option<Feed> {
        match self {
            Self::Open => Some(message),
            Self::Holding { held, bytes, .. } => {
                if let Feed::Sample(sample) = &message {
                    *bytes += sample.payload.len();
                }
                held.push(message);
                None
            }
        }
    }

    /// It holds as much as it may.
    pub const fn is_full(&self) -> bool {
        match self {
            Self::Holding { held, bytes, .. } => *bytes > BYTES_MAX || held.len() > MESSAGES_MAX,
            Self::Open => false,
        }
    }

    /// A break before anything was published breaks nothing: what came before it is let go.
    pub fn forget_samples(&mut self) {
        if let Self::Holding { held, bytes, .. } = self {
            held.retain(|message| matches!(message, Feed::Clock(_)));
            *bytes = 0;
        }
    }

    /// Nothing that waits will be wanted: all but the newest clock is let go.
    pub fn forget(&mut self) {
        if let Self::Holding { held, bytes, .. } = self {
            let clock = held.iter().rposition(|message| matches!(message, Feed::Clock(_)));
            *held = clock.map(|at| held.swap_remove(at)).into_iter().collect();
            *bytes = 0;
        }
    }

    /// Other renditions are made from now on: what came of the old ones was heard by nobody.
    pub fn forget_encoded(&mut self) {
        if let Self::Holding { held, .. } = self {
            held.retain(|message| match message {
                Feed::Sample(sample) => sample.track < TrackId::FIRST_ENCODED,
                Feed::Clock(_) => true,
                _ => false,
            });
        }
    }

    /// What comes of a track does not go on where it was: it begins with what comes next.
    pub fn forget_track(&mut self, track: TrackId) {
        if let Self::Holding { held, .. } = self {
            held.retain(|message| !matches!(message, Feed::Sample(sample) if sample.track == track));
        }
    }

    /// Opens: the tracks, and what of the waiting messages belongs to them.
    pub fn open(&mut self, tracks: &Arc<TrackSet>) -> Vec<Feed> {
        let Self::Holding { held, .. } = std::mem::replace(self, Self::Open) else { return Vec::new() };
        let belongs = |message: &Feed| match message {
            Feed::Sample(sample) => tracks.by_id(sample.track).is_some(),
            Feed::Lost(track, _) | Feed::Returns(track, _) => tracks.by_id(*track).is_some(),
            Feed::Changed(track) => tracks.by_id(track.id).is_some(),
            Feed::Tracks(_) => false,
            Feed::Clock(_) | Feed::Discontinuity(_) => true,
        };
        let mut out = vec![Feed::Tracks(tracks.clone())];
        out.extend(held.into_iter().filter(belongs));
        out
    }
}
