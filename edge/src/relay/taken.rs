//! One stream that is taken from others, as the one who chooses sees it.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use super::failover::{At, Leader, Paces};
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
    /// Lines that each node says it has.
    pub(super) names: HashMap<usize, (u64, BTreeSet<String>)>,
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
        Some(&self.names.get(&self.leader.node()?)?.1)
    }

    /// Every node that can be asked says that it has no such stream.
    pub(super) fn is_nowhere(&self) -> bool {
        self.at.contains(&At::Absent) && self.at.iter().all(|at| *at < At::Asked)
    }

    pub(super) fn want(&self, line: &str) -> Frame {
        let (epoch, have) = self.inflow.want(line);
        Frame::Want { sub: self.sub, line: line.to_owned(), epoch, have }
    }

    pub(super) fn turn(&mut self, intake: &Intake, epoch: u64) {
        let mut turned = false;
        intake.with(&self.inflow, |receiver| {
            turned = receiver.epoch() != Some(epoch);
            receiver.turn(epoch)
        });
        if turned {
            self.turned = Some(now());
        }
    }
}
