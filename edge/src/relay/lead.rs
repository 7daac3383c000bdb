//! Whom a stream is taken from.

use std::sync::atomic::Ordering::Relaxed;

use aqueduct_common::StreamName;

use super::desk::{Desk, Node};
use super::failover::At;
use super::taken::{Lease, Taken};
use super::wire::Frame;

impl Desk {
    pub(super) fn choose_all(&mut self) {
        let names: Vec<_> = self.streams.keys().cloned().collect();
        names.iter().for_each(|name| self.choose(name));
    }

    /// Takes a stream from whoever is best.
    pub(super) fn choose(&mut self, name: &StreamName) {
        let lease = self.lease(name);
        let Some(taken) = self.streams.get_mut(name) else { return };
        let (before, known) = (taken.leader, taken.known(lease));
        let chosen = taken.leader.choose(&known);
        if !lease.is_some_and(|lease| taken.leader.prefer(&known, lease.holder)) && !chosen {
            // The directory's word may come after the stream itself.
            if let Some(lease) = lease.filter(|lease| taken.leader.node() == Some(lease.holder)) {
                taken.fence.follow(lease.holder, &taken.offers, Some(lease.term));
            }
            return;
        }
        if taken.leader.moves() > before.moves() {
            self.intake.tally.moves.fetch_add(1, Relaxed);
        }
        taken.inflow.lead(taken.leader.node());
        // The node before may still be up: it need not send this any more.
        if let Some(node) = before.node().and_then(|place| self.nodes.get(place)) {
            for line in taken.lines.keys() {
                node.say(Frame::Unwant { sub: taken.sub, line: line.clone() });
            }
        }
        let Some(place) = taken.leader.node() else { return };
        taken.follow(&self.intake, place, lease);
        if let Some(node) = self.nodes.get(place) {
            taken.lines.keys().for_each(|line| node.say(taken.want(line)));
        }
        self.offer(name);
    }

    /// Whose stream it is, as the directory says, where that node feeds this one.
    pub(super) fn lease(&self, name: &StreamName) -> Option<Lease> {
        lease(&self.options.holders.borrow(), &self.nodes, name)
    }

    /// A node that has an older history under names which are shown is told of: it has not heard that it lost the stream.
    pub(super) fn note_barred(&self, name: &StreamName, place: usize) {
        let (lease, node) = (self.lease(name), self.nodes.get(place));
        let barred = |taken: &Taken| taken.known(lease).get(place) == Some(&At::Down);
        if let Some(node) = node.filter(|_| self.streams.get(name).is_some_and(barred)) {
            tracing::warn!(stream = %name, origin = %node.address, "not taken from there: another origin has taken it over");
            self.intake.tally.note("refused", "older");
        }
    }

    /// What can be had of a stream can be had from this node too.
    pub(super) fn offer(&self, name: &StreamName) {
        if let Some(lines) = self.streams.get(name).and_then(Taken::offered) {
            self.options.hub.offer(name, lines);
        }
    }
}

/// Whose stream it is. Of several places of one address the last one is dialled.
pub(super) fn lease(holders: &[crate::cluster::Origin], nodes: &[Node], name: &StreamName) -> Option<Lease> {
    let (relay, term) = crate::cluster::holder(holders, name)?;
    let holder = nodes.iter().rposition(|node| node.address == relay)?;
    Some(Lease { holder, term })
}
