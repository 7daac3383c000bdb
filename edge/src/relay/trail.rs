//! Who feeds a node, and who feeds those: what keeps nodes from feeding each other in a circle (EDGE-7). Pure.

use std::time::{Duration, Instant};

/// Nodes between this one and where streams are made, at most (EDGE-7).
const MAX_HOPS: usize = 3;
/// After so long a node that was not fed by another one looks at it again: the ways may have been changed.
const REVIEW: Duration = Duration::from_secs(30);

/// The nodes before one node.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Trail {
    /// All of them, on whichever way, each once.
    pub nodes: Vec<String>,
    /// Nodes on the longest way. Several nodes side by side make it no longer.
    pub depth: usize,
}

impl Trail {
    /// That of a node which these feed, each of which says what [`Trail::told_by`] gives.
    pub fn joined<'a>(upstreams: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut joined = Self::default();
        for upstream in upstreams {
            joined.depth = joined.depth.max(upstream.depth);
            for name in &upstream.nodes {
                if !joined.nodes.contains(name) {
                    joined.nodes.push(name.clone());
                }
            }
        }
        joined
    }

    /// What the node with this trail tells those that it feeds: itself is before them too.
    #[must_use]
    pub fn told_by(&self, node: &str) -> Self {
        let mut nodes = vec![node.to_owned()];
        nodes.extend(self.nodes.iter().filter(|name| *name != node).cloned());
        Self { nodes, depth: self.depth + 1 }
    }

    /// Why a node of this name is not to be fed by who tells this.
    pub fn refusal(&self, own: &str) -> Option<&'static str> {
        if self.nodes.iter().any(|name| name == own) {
            return Some("this node feeds it");
        }
        (self.depth > MAX_HOPS).then_some("there are too many nodes before it")
    }
}

/// A way that is not taken, until it is looked at again.
#[derive(Clone, Copy, Debug)]
pub struct Barred {
    until: Instant,
}

impl Barred {
    /// From now on, for half a minute and up to 30 % more by `chance` (any number): of two nodes that refused each other
    /// one looks first, and then feeds nobody that feeds it.
    pub fn new(now: Instant, chance: u64) -> Self {
        Self { until: now + REVIEW + REVIEW * (chance % 301) as u32 / 1_000 }
    }

    /// Whether it is time to look again.
    pub fn is_over(self, now: Instant) -> bool {
        now >= self.until
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn told(nodes: &[&str], depth: usize) -> Trail {
        Trail { nodes: nodes.iter().map(|name| (*name).to_owned()).collect(), depth }
    }

    #[test]
    fn many_nodes_side_by_side_are_not_many_one_after_the_other() {
        let origins: Vec<Trail> =
            (0..9).map(|index| Trail::default().told_by(&format!("o{index}"))).collect();
        let shield = Trail::joined(&origins).told_by("shield");
        assert_eq!((shield.nodes.len(), shield.depth), (10, 2));
        assert_eq!(shield.refusal("edge"), None);
        assert_eq!(shield.refusal("o7"), Some("this node feeds it"));
        let shields = [shield.clone(), shield.told_by("shield-2")];
        let edge = Trail::joined(&shields);
        assert_eq!((edge.nodes.len(), edge.depth), (11, 3), "each once");
        assert_eq!(edge.told_by("edge").refusal("far"), Some("there are too many nodes before it"));
        assert_eq!(told(&["a"], 1).told_by("a"), told(&["a"], 2));
    }

    #[test]
    fn a_way_that_was_refused_is_looked_at_again_and_not_by_both_at_once() {
        let now = crate::relay::now();
        let (first, second) = (Barred::new(now, 0), Barred::new(now, 300));
        assert!(!first.is_over(now + REVIEW - Duration::from_millis(1)));
        assert!(first.is_over(now + REVIEW) && !second.is_over(now + REVIEW));
        assert!(second.is_over(now + REVIEW * 13 / 10));
    }

    proptest! {
        /// In whatever order nodes hear of each other, nobody keeps being fed in a circle, and whoever has a way of three
        /// nodes or fewer is fed.
        #[test]
        fn a_circle_is_cut_and_a_short_way_stays(
            ways in prop::collection::vec((0usize..5, 0usize..5), 1..12),
            turns in prop::collection::vec(0usize..12, 200),
        ) {
            let name = |node: usize| format!("n{node}");
            let mut fed: Vec<(usize, usize, Trail)> = Vec::new();
            let trail = |fed: &[(usize, usize, Trail)], node: usize| {
                Trail::joined(fed.iter().filter(|(_, to, _)| *to == node).map(|(_, _, told)| told))
            };
            let ordered: Vec<usize> = turns.into_iter().chain((0..8).flat_map(|_| 0..ways.len())).collect();
            for turn in ordered {
                let (from, to) = ways[turn % ways.len()];
                let told = trail(&fed, from).told_by(&name(from));
                fed.retain(|(one, other, _)| (*one, *other) != (from, to));
                if told.refusal(&name(to)).is_none() {
                    fed.push((from, to, told));
                }
            }
            for (from, to, told) in &fed {
                prop_assert!(from != to && told.depth <= MAX_HOPS);
                let back = fed.iter().any(|(one, other, _)| (one, other) == (to, from));
                prop_assert!(!back, "n{from} and n{to} feed each other");
            }
            for (from, to) in &ways {
                let first = fed.iter().all(|(_, to, _)| to != from);
                let kept = fed.iter().any(|(one, other, _)| (one, other) == (from, to));
                let told_back = trail(&fed, *from).told_by(&name(*from)).refusal(&name(*to)).is_some();
                prop_assert!(!first || kept || told_back, "n{to} is not fed by n{from}, which nobody feeds");
            }
        }
    }
}
