//! One stream that is taken from others, as the one who chooses sees it.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use super::failover::{At, Leader, Paces};
use super::fence::{Fence, Offer};
use super::intake::{Inflow, Intake};
use super::now;
use super::wire::Frame;

/// One stream that is taken.
pub(super) struct Taken {
    pub(super) sub: u32,
    pub(super) inflow: Arc<Inflow>,
    pub(super) at: Vec<At>,
    pub(super) leader: Leader,
    pub(super) paces: Paces,
    /// What each node says it has.
    pub(super) offers: HashMap<usize, Offer>,
    /// Whose history it is that is shown.
    pub(super) fence: Fence,
    pub(super) lines: HashMap<String, TakenLine>,
    pub(super) asked: Instant,
    pub(super) begun: Instant,
    /// Since when no node has it.
    pub(super) without: Option<Instant>,
    pub(super) turned: Option<Instant>,
    pub(super) ending: Option<Instant>,
    /// It stays whoever asks.
    pub(super) pinned: bool,
}

pub(super) struct TakenLine {
    pub(super) asked: Instant,
    pub(super) begun: Instant,
}

/// Whose stream it is, as the directory says: the node's place, and the number of its lease.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lease {
    pub(super) holder: usize,
    pub(super) term: u64,
}

impl Taken {
    pub(super) fn set(&mut self, place: usize, at: At) {
        if self.at.len() <= place {
            self.at.resize(place + 1, At::Down);
        }
        self.at[place] = at;
        if at < At::Stalled {
            self.paces.forget(place);
        }
    }

    /// Lines that the node which it is taken from has; `None` while that has not said so.
    pub(super) fn offered(&self) -> Option<&BTreeSet<String>> {
        Some(&self.offers.get(&self.leader.node()?)?.lines)
    }

    /// What is known of it at each node that it may be taken from: one whose history may not be shown counts as one that
    /// is not there.
    pub(super) fn known(&self, lease: Option<Lease>) -> Vec<At> {
        let barred = |place: usize| self.fence.bars(place, &self.offers, term(lease, place));
        let state = |(place, at): (usize, &At)| if barred(place) { At::Down } else { *at };
        self.at.iter().enumerate().map(state).collect()
    }

    /// Another node than this one has it as well.
    pub(super) fn is_elsewhere(&self, place: usize, lease: Option<Lease>) -> bool {
        let known = self.known(lease);
        (0..known.len()).any(|other| other != place && known[other] == At::Here)
    }

    /// Every node that can be asked says that it has no such stream.
    pub(super) fn is_nowhere(&self) -> bool {
        self.at.contains(&At::Absent) && self.at.iter().all(|at| *at < At::Asked)
    }

    pub(super) fn want(&self, line: &str) -> Frame {
        let (epoch, have) = self.inflow.want(line);
        Frame::Want { sub: self.sub, line: line.to_owned(), epoch, have }
    }

    /// What this node has of it is shown from now on, once that is known.
    pub(super) fn follow(&mut self, intake: &Intake, place: usize, lease: Option<Lease>) {
        let Some(offer) = self.offers.get(&place) else { return };
        let (epoch, mut turned) = (offer.epoch, false);
        self.fence.follow(place, &self.offers, term(lease, place));
        intake.with(&self.inflow, |receiver| {
            turned = receiver.epoch() != Some(epoch);
            receiver.turn(epoch)
        });
        if turned {
            self.turned = Some(now());
        }
    }
}

/// The number of the lease where it is this node's.
fn term(lease: Option<Lease>, place: usize) -> Option<u64> {
    lease.filter(|lease| lease.holder == place).map(|lease| lease.term)
}
