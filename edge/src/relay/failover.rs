//! When a link counts as dead, when to dial again, and which node a stream is taken from. Pure.

use std::time::{Duration, Instant};

/// How often an edge says something on each link.
pub const HEARTBEAT: Duration = Duration::from_millis(250);
/// A link from which nothing was heard for so long is dead (EDGE-28): QUIC's own timers would take many round trips.
pub const DEAD: Duration = Duration::from_secs(1);
/// How long an edge stays on a link that was said to stop soon: streams go elsewhere at once, and what is under way still comes.
pub const LEAVING: Duration = Duration::from_secs(1);
/// Waits before the attempts to dial (EDGE-22); the last one holds for all that follow.
const WAITS: [u64; 5] = [0, 100, 300, 1_000, 2_000];
/// A link that was up for so long was a good one.
const STEADY: Duration = Duration::from_secs(3);
/// How long the attempts may take: short while the node probably just moved or restarted.
const PATIENCE: [u64; 5] = [800, 1_500, 3_000, 5_000, 8_000];

/// When a link was last heard.
#[derive(Clone, Copy, Debug)]
pub struct Pulse(Instant);

impl Pulse {
    /// It is heard now.
    pub fn new(now: Instant) -> Self {
        Self(now)
    }

    /// It was heard.
    pub fn heard(&mut self, now: Instant) {
        self.0 = self.0.max(now);
    }

    /// It has been silent for too long.
    pub fn is_dead(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.0) > DEAD
    }
}

/// Attempts to dial that failed one after the other.
#[derive(Clone, Copy, Debug, Default)]
pub struct Attempts {
    failed: usize,
    /// Since when the link is up that the last one made.
    linked: Option<Instant>,
}

impl Attempts {
    /// How long to wait before the next attempt, up to 30 % more by `chance` (any number), so that edges that lost one
    /// origin do not come back together.
    pub fn wait(self, chance: u64) -> Duration {
        let wait = WAITS[self.failed.min(WAITS.len() - 1)];
        Duration::from_millis(wait + wait * (chance % 301) / 1_000)
    }

    /// How long the next attempt may take.
    pub fn patience(self) -> Duration {
        Duration::from_millis(PATIENCE[self.failed.min(PATIENCE.len() - 1)])
    }

    /// It succeeded: the link is up.
    pub fn linked(&mut self, now: Instant) {
        self.linked = Some(now);
    }

    /// It failed, or the link that it made was lost. Only a link that was up for a while makes good for the failures
    /// before: one that is cut whenever it is made is not dialled the faster for it.
    pub fn failed(&mut self, now: Instant) {
        if self.linked.take().is_some_and(|linked| now.saturating_duration_since(linked) >= STEADY) {
            self.failed = 0;
        }
        self.failed += 1;
    }

    /// How many failed.
    pub fn count(self) -> usize {
        self.failed
    }
}

/// What is known of a stream at one upstream node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum At {
    /// The link is down.
    #[default]
    Down,
    /// It has no such stream.
    Absent,
    /// It was asked, and has not answered.
    Asked,
    /// It has it, and nothing new of it comes, while another node goes on.
    Stalled,
    /// It has it.
    Here,
}

/// How far a stream goes on at each node that has it (EDGE-28).
#[derive(Clone, Debug, Default)]
pub struct Paces {
    last: Vec<Option<Instant>>,
    /// Nodes that fell behind, and since when.
    stalled: Vec<(usize, Instant)>,
}

/// A stream of which nothing new came for so long has stalled where it goes on elsewhere. Nodes say so once a second.
const STALLED: Duration = Duration::from_millis(3_500);
/// A node that said something new so shortly before goes on.
const GOES_ON: Duration = Duration::from_millis(1_800);
/// A stream that stalled at a node is not taken from there for so long.
const DAMPED: Duration = Duration::from_secs(30);

impl Paces {
    /// A node has something new.
    pub fn went_on(&mut self, node: usize, now: Instant) {
        if self.last.len() <= node {
            self.last.resize(node + 1, None);
        }
        self.last[node] = Some(now);
    }

    /// A node has the stream no more, or is gone.
    pub fn forget(&mut self, node: usize) {
        if let Some(last) = self.last.get_mut(node) {
            *last = None;
        }
        self.stalled.retain(|(stalled, _)| *stalled != node);
    }

    /// Whether the stream has stalled at a node that has it, while another one of these goes on. One that never said how
    /// far it is is not judged.
    pub fn stalls(&mut self, node: usize, known: &[At], now: Instant) -> bool {
        let since = |node: usize| Some(now.saturating_duration_since((*self.last.get(node)?)?));
        let silent = since(node).is_some_and(|silent| silent >= STALLED);
        let here = |other: usize| other != node && known.get(other) == Some(&At::Here);
        let others = (0..known.len()).filter(|other| here(*other));
        let goes_on = |other: usize| since(other).is_some_and(|since| since <= GOES_ON);
        let stalls = silent && others.into_iter().any(goes_on);
        if stalls {
            self.stalled.push((node, now));
        }
        stalls
    }

    /// Nodes that may be taken from again: they go on, and have been out for long enough.
    pub fn healed(&mut self, now: Instant) -> Vec<usize> {
        let last = &self.last;
        let goes_on = |node: usize| {
            last.get(node)
                .copied()
                .flatten()
                .is_some_and(|last| now.saturating_duration_since(last) <= GOES_ON)
        };
        let over = |(node, since): &(usize, Instant)| {
            now.saturating_duration_since(*since) >= DAMPED && goes_on(*node)
        };
        let healed: Vec<_> = self.stalled.iter().filter(|one| over(one)).map(|(node, _)| *node).collect();
        self.stalled.retain(|(node, _)| !healed.contains(node));
        healed
    }
}

/// Which node a stream is taken from: the first of the list that has it, and then that one for as long as it has it,
/// whatever others offer. A link that comes and goes therefore moves a stream once (EDGE-28).
#[derive(Clone, Copy, Debug, Default)]
pub struct Leader {
    node: Option<usize>,
    begun: bool,
    moves: u64,
}

impl Leader {
    /// The node's place in the list.
    pub fn node(&self) -> Option<usize> {
        self.node
    }

    /// How often it changed after the first time.
    pub fn moves(&self) -> u64 {
        self.moves
    }

    /// Looks at what is known; answers whether the node is another one now.
    pub fn choose(&mut self, known: &[At]) -> bool {
        let state = |node: usize| known.get(node).copied().unwrap_or_default();
        let current = self.node.map_or(At::Down, state);
        // The first of equals is the best.
        let best = (0..known.len()).rev().max_by_key(|node| state(*node));
        let Some(best) = best.filter(|best| state(*best) > At::Down) else {
            return self.node.take().is_some();
        };
        // One that has not answered yet, or has nothing, gives way only to one that is known to have the stream.
        let moves = state(best) > current && (current == At::Down || state(best) == At::Here);
        if moves {
            self.moves += u64::from(self.begun);
            (self.node, self.begun) = (Some(best), true);
        }
        moves
    }

    /// The directory says which node is the stream's origin: whoever else has the stream, it is taken from there as soon as
    /// that one is known to have it (EDGE-29). Answers whether the node is another one now.
    pub fn prefer(&mut self, known: &[At], holder: usize) -> bool {
        let moves = self.node != Some(holder) && known.get(holder) == Some(&At::Here);
        if moves {
            self.moves += u64::from(self.begun);
            (self.node, self.begun) = (Some(holder), true);
        }
        moves
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a moment to count from")]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_dead_after_a_second_of_silence() {
        let begin = Instant::now();
        let mut pulse = Pulse::new(begin);
        assert!(!pulse.is_dead(begin + DEAD));
        assert!(pulse.is_dead(begin + DEAD + HEARTBEAT));
        pulse.heard(begin + DEAD);
        assert!(!pulse.is_dead(begin + DEAD + HEARTBEAT));
    }

    #[test]
    fn attempts_wait_longer_and_never_all_alike() {
        let (mut attempts, begin) = (Attempts::default(), Instant::now());
        let mut waits = Vec::new();
        for _ in 0..7 {
            waits.push((attempts.wait(0).as_millis(), attempts.wait(300).as_millis()));
            attempts.failed(begin);
        }
        assert_eq!(
            waits,
            [(0, 0), (100, 130), (300, 390), (1_000, 1_300), (2_000, 2_600), (2_000, 2_600), (2_000, 2_600)]
        );
        // A link that is lost as soon as it is made changes nothing.
        attempts.linked(begin);
        attempts.failed(begin + STEADY / 2);
        assert_eq!(attempts.wait(0), Duration::from_secs(2));
        attempts.linked(begin);
        attempts.failed(begin + STEADY);
        assert_eq!(attempts.wait(0), Duration::from_millis(100));
    }

    #[test]
    fn a_stream_goes_to_its_holder_once_that_one_has_it() {
        let mut leader = Leader::default();
        assert!(leader.choose(&[At::Here, At::Here]));
        assert!(!leader.prefer(&[At::Here, At::Absent], 1) && !leader.prefer(&[At::Here], 7));
        assert!(leader.prefer(&[At::Here, At::Here], 1));
        assert!(!leader.prefer(&[At::Here, At::Here], 1) && !leader.choose(&[At::Here, At::Here]));
        assert_eq!((leader.node(), leader.moves()), (Some(1), 1));
        // The holder is gone before the directory knows.
        assert!(leader.choose(&[At::Here, At::Down]));
        assert_eq!(leader.node(), Some(0));
    }

    #[test]
    fn a_stream_stays_where_it_is_until_that_fails() {
        let mut leader = Leader::default();
        assert!(!leader.choose(&[At::Down, At::Down]));
        assert!(leader.choose(&[At::Asked, At::Asked]));
        assert_eq!(leader.node(), Some(0));
        // The other one has it, the first is not known to.
        assert!(leader.choose(&[At::Absent, At::Here]));
        assert_eq!(leader.node(), Some(1));
        // The first one gets it as well: no reason to move.
        assert!(!leader.choose(&[At::Here, At::Here]));
        assert!(leader.choose(&[At::Here, At::Down]));
        assert_eq!((leader.node(), leader.moves()), (Some(0), 1 + 1));
        assert!(leader.choose(&[At::Down, At::Down]));
        assert_eq!(leader.node(), None);
        assert!(leader.choose(&[At::Absent, At::Absent]));
        assert_eq!(leader.node(), Some(0));
    }

    #[test]
    fn a_stream_that_stalls_at_one_node_and_goes_on_at_another_is_taken_from_there_and_stays() {
        let (begin, mut paces, mut leader) = (Instant::now(), Paces::default(), Leader::default());
        let at = |millis: u64| begin + Duration::from_millis(millis);
        let mut known = [At::Here, At::Here];
        assert!(leader.choose(&known));
        // The publisher is away: both are silent, and nobody moves.
        (0..2).for_each(|node| paces.went_on(node, begin));
        assert!(!paces.stalls(0, &known, at(60_000)));
        paces.went_on(1, at(61_000));
        assert!(paces.stalls(0, &known, at(61_500)));
        known[0] = At::Stalled;
        assert!(leader.choose(&known) && !leader.prefer(&known, 0));
        assert_eq!(leader.node(), Some(1));
        // It goes on again: not before its time is over.
        paces.went_on(0, at(70_000));
        assert!(paces.healed(at(70_500)).is_empty());
        paces.went_on(0, at(92_000));
        assert_eq!(paces.healed(at(92_500)), vec![0]);
        known[0] = At::Here;
        assert!(!leader.choose(&known) && leader.prefer(&known, 0));
        // The other one is silent, and goes: what has stalled is better than nothing.
        assert!(leader.choose(&[At::Down, At::Stalled]));
        assert_eq!(leader.node(), Some(1));
        paces.forget(0);
        assert!(!paces.stalls(0, &known, at(200_000)), "one that does not say is not judged");
    }
}
