//! One node's claim on one stream: to be its origin for as long as it says so again and again. Pure.
//!
//! The directory decides. A lease is an entry that only who knows its revision may write again, and that the directory
//! itself lets end when it was not written for the lease's length. A holder counts that length from before it *sent* its
//! last renewal, so it stops believing before the directory lets go: there is never a moment with two confirmed holders,
//! whatever is lost or late on the way.

use std::time::{Duration, Instant};

/// What a claim wants done. One at a time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wish {
    /// Make the entry, if there is none.
    Create,
    /// Write it again, if it still has this revision.
    Renew {
        /// The revision.
        revision: u64,
        /// The lease's number.
        term: u64,
    },
    /// See what stands there.
    Look,
}

/// What became of a wish.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Done {
    /// Written, with this revision.
    Written(u64),
    /// Refused: somebody else wrote it, or it ended.
    Refused,
    /// Nothing stands there.
    Nothing,
    /// This stands there.
    Stands(Standing),
    /// No answer. It may have been done, or not.
    Unanswered,
}

/// An entry as the directory holds it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Standing {
    /// This very process wrote it.
    pub(crate) ours: bool,
    /// Its revision.
    pub(crate) revision: u64,
    /// The lease's number.
    pub(crate) term: u64,
}

/// What this node is to a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// It is the origin: no other node is, for now.
    Holder {
        /// The lease's number: later leases have higher ones.
        term: u64,
    },
    /// It was, and the directory does not answer. It goes on; another one may be the origin by now.
    Unconfirmed {
        /// The lease's number.
        term: u64,
    },
    /// Another node is, or it is not known yet.
    Standby,
}

/// The claim.
#[derive(Clone, Debug)]
pub(crate) struct Lease {
    length: Duration,
    state: State,
    /// When the next wish is due.
    due: Instant,
    /// The wish that has no answer yet, and when it was sent.
    sent: Option<(Wish, Instant)>,
    /// A creation was not answered: the entry that stands there may be this node's.
    unsure: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Nobody knows who is.
    Open,
    /// This node is, until then at least.
    Held { revision: u64, term: u64, until: Instant },
    /// This node was, and what stands there is not known.
    Adrift { term: u64 },
    /// Another one is.
    Other { revision: u64 },
}

impl Lease {
    /// A claim that begins now.
    pub(crate) fn new(length: Duration, now: Instant) -> Self {
        Self { length, state: State::Open, due: now, sent: None, unsure: false }
    }

    /// The directory told how long entries last.
    pub(crate) fn set_length(&mut self, length: Duration) {
        self.length = length;
    }

    /// What this node is to the stream.
    pub(crate) fn role(&self, now: Instant) -> Role {
        match self.state {
            State::Held { term, until, .. } if now < until => Role::Holder { term },
            State::Held { term, .. } | State::Adrift { term } => Role::Unconfirmed { term },
            State::Open | State::Other { .. } => Role::Standby,
        }
    }

    /// When to ask for the next wish; `None` while one is under way.
    pub(crate) fn wake(&self) -> Option<Instant> {
        self.sent.is_none().then_some(self.due)
    }

    /// What is to be done now. Its answer goes to [`Lease::done`].
    pub(crate) fn wish(&mut self, now: Instant) -> Option<Wish> {
        if self.sent.is_some() || now < self.due {
            return None;
        }
        let wish = match self.state {
            State::Held { revision, term, .. } => Wish::Renew { revision, term },
            State::Adrift { .. } => Wish::Look,
            State::Open | State::Other { .. } if self.unsure => Wish::Look,
            // While it stands, the directory refuses; when it has ended, the first who asks gets it.
            State::Open | State::Other { .. } => Wish::Create,
        };
        self.sent = Some((wish, now));
        Some(wish)
    }

    /// The answer to the wish.
    pub(crate) fn done(&mut self, done: &Done, now: Instant) {
        let Some((wish, sent)) = self.sent.take() else { return };
        self.due = now + self.length / 3;
        match (wish, done) {
            (_, Done::Unanswered) => self.unanswered(wish, now),
            (Wish::Look, Done::Stands(standing)) => self.found(*standing, now),
            (Wish::Look, _) => {
                (self.state, self.unsure, self.due) = (State::Open, false, now);
            }
            (Wish::Create, Done::Written(revision)) => self.hold(*revision, *revision, sent),
            (Wish::Renew { term, .. }, Done::Written(revision)) => self.hold(*revision, term, sent),
            // Whoever wrote it may be this node, by a wish whose answer was lost.
            (Wish::Renew { term, .. }, _) => {
                self.state = State::Adrift { term };
                self.due = now;
            }
            (Wish::Create, _) => {
                if self.state == State::Open {
                    self.state = State::Other { revision: 0 };
                }
            }
        }
    }

    /// The directory tells what stands there, unasked.
    pub(crate) fn seen(&mut self, standing: Standing, now: Instant) {
        match self.state {
            // Its own news come late and say nothing new.
            State::Held { revision, .. } if standing.ours || standing.revision <= revision => {}
            State::Held { .. } | State::Adrift { .. } if !standing.ours => {
                self.state = State::Other { revision: standing.revision };
            }
            State::Open | State::Adrift { .. } | State::Other { .. } if standing.ours => {
                // A wish whose answer was lost was done after all. What it is worth is not known: renew to know.
                if self.sent.is_none() {
                    self.found(standing, now);
                }
            }
            _ => self.state = State::Other { revision: standing.revision },
        }
    }

    /// The directory tells that nothing stands there any more.
    pub(crate) fn vanished(&mut self, now: Instant) {
        if let State::Other { .. } = self.state {
            self.state = State::Open;
            self.due = now;
        }
    }

    /// The revision to take back when the claim is given up.
    pub(crate) fn held(&self) -> Option<u64> {
        match self.state {
            State::Held { revision, .. } => Some(revision),
            _ => None,
        }
    }

    fn hold(&mut self, revision: u64, term: u64, sent: Instant) {
        self.state = State::Held { revision, term, until: sent + self.length };
        self.due = sent + self.length / 3;
    }

    /// It stands there. Ours is renewed at once: until then nobody counts on it.
    fn found(&mut self, standing: Standing, now: Instant) {
        let Standing { ours, revision, term } = standing;
        self.unsure = false;
        self.state = if ours {
            self.due = now;
            State::Held { revision, term, until: now }
        } else {
            State::Other { revision }
        };
    }

    fn unanswered(&mut self, wish: Wish, now: Instant) {
        // Soon again, and not at once: the directory may be overwhelmed.
        self.due = now + self.length / 6;
        if let State::Held { term, until, .. } = self.state
            && now >= until
        {
            self.state = State::Adrift { term };
        }
        self.unsure |= wish == Wish::Create;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cluster::shelf::Shelf;

    const LENGTH: Duration = Duration::from_millis(6_000);
    const KEY: &str = "stream.live/show";

    /// What becomes of one request on its way to the directory and back.
    #[derive(Clone, Copy, Debug)]
    enum Fate {
        /// Done and answered at once.
        Answered,
        /// Lost on the way there.
        Lost,
        /// Done; the answer is lost.
        Unheard,
        /// Done; the answer takes some turns.
        Late(u8),
        /// It takes some turns to be done; nobody waits for it any more.
        Stray(u8),
    }

    fn fate() -> impl Strategy<Value = Fate> {
        prop_oneof![
            6 => Just(Fate::Answered),
            1 => Just(Fate::Lost),
            1 => Just(Fate::Unheard),
            1 => (1u8..40).prop_map(Fate::Late),
            1 => (1u8..40).prop_map(Fate::Stray),
        ]
    }

    /// Three nodes and a directory, on a clock of the test's own.
    struct World {
        now: Instant,
        shelf: Shelf,
        nodes: Vec<Lease>,
        /// Requests and answers on their way: turns left, node, request, answer.
        late: Vec<(u8, usize, Option<Wish>, Option<Done>)>,
        last_term: u64,
        holder: Option<usize>,
    }

    impl World {
        #[expect(clippy::disallowed_methods, reason = "a moment to count from")]
        fn new() -> Self {
            let now = Instant::now();
            let nodes = (0..3).map(|_| Lease::new(LENGTH, now)).collect();
            Self { now, shelf: Shelf::new(LENGTH), nodes, late: Vec::new(), last_term: 0, holder: None }
        }

        fn apply(&mut self, node: usize, wish: Wish) -> Done {
            let value = |term: u64| format!("{node} {term}").into_bytes();
            match wish {
                Wish::Create => match self.shelf.write(KEY, value(0), 0, self.now) {
                    Some(revision) => Done::Written(revision),
                    None => Done::Refused,
                },
                Wish::Renew { revision, term } => {
                    match self.shelf.write(KEY, value(term), revision, self.now) {
                        Some(revision) => Done::Written(revision),
                        None => Done::Refused,
                    }
                }
                Wish::Look => self.standing(node).map_or(Done::Nothing, Done::Stands),
            }
        }

        fn standing(&mut self, node: usize) -> Option<Standing> {
            let (value, revision) = self.shelf.read(KEY, self.now)?;
            let text = String::from_utf8(value).unwrap();
            let (writer, term) = text.split_once(' ').unwrap();
            let term: u64 = term.parse().unwrap();
            let term = if term == 0 { revision } else { term };
            Some(Standing { ours: writer == node.to_string(), revision, term })
        }

        fn turn(&mut self, node: usize, fate: Fate, watch: bool, millis: u64) {
            self.now += Duration::from_millis(millis);
            self.deliver();
            if watch && let Some(standing) = self.standing(node) {
                self.nodes[node].seen(standing, self.now);
            }
            if let Some(wish) = self.nodes[node].wish(self.now) {
                self.send(node, wish, fate);
            }
            self.check();
        }

        fn send(&mut self, node: usize, wish: Wish, fate: Fate) {
            let now = self.now;
            match fate {
                Fate::Answered => {
                    let done = self.apply(node, wish);
                    self.nodes[node].done(&done, now);
                }
                Fate::Lost => self.nodes[node].done(&Done::Unanswered, now),
                Fate::Unheard => {
                    self.apply(node, wish);
                    self.nodes[node].done(&Done::Unanswered, now);
                }
                Fate::Late(turns) => {
                    let done = self.apply(node, wish);
                    self.late.push((turns, node, None, Some(done)));
                }
                Fate::Stray(turns) => {
                    self.late.push((turns, node, Some(wish), None));
                    self.nodes[node].done(&Done::Unanswered, now);
                }
            }
        }

        fn deliver(&mut self) {
            for (turns, ..) in &mut self.late {
                *turns -= 1;
            }
            let due: Vec<_> = self.late.extract_if(.., |(turns, ..)| *turns == 0).collect();
            for (_, node, wish, done) in due {
                if let Some(wish) = wish {
                    self.apply(node, wish);
                }
                if let Some(done) = done {
                    self.nodes[node].done(&done, self.now);
                }
            }
        }

        fn holders(&self) -> Vec<(usize, u64)> {
            let role = |node: &Lease| match node.role(self.now) {
                Role::Holder { term } => Some(term),
                _ => None,
            };
            self.nodes.iter().enumerate().filter_map(|(at, node)| Some((at, role(node)?))).collect()
        }

        /// One holder at most, and a new holder's number is higher than any before.
        fn check(&mut self) {
            let holders = self.holders();
            assert!(holders.len() <= 1, "{holders:?}");
            if let Some((node, term)) = holders.first() {
                let fresh = self.holder != Some(*node);
                assert!(*term > self.last_term || !fresh && *term == self.last_term, "{term}");
                (self.holder, self.last_term) = (Some(*node), *term);
            }
        }
    }

    proptest! {
        #[test]
        fn there_is_never_more_than_one_holder_and_in_the_end_there_is_one(
            turns in proptest::collection::vec((0usize..3, fate(), any::<bool>(), 0u64..2_500), 0..300),
        ) {
            let mut world = World::new();
            for (node, fate, watch, millis) in turns {
                world.turn(node, fate, watch, millis);
            }
            for _ in 0..60 {
                for node in 0..3 {
                    world.turn(node, Fate::Answered, true, 200);
                }
            }
            prop_assert_eq!(world.holders().len(), 1);
        }
    }

    #[test]
    fn a_standby_takes_over_when_the_lease_has_ended_and_with_a_higher_number() {
        let mut world = World::new();
        world.turn(0, Fate::Answered, false, 0);
        world.turn(1, Fate::Answered, false, 0);
        assert_eq!(world.holders(), [(0, 1)]);
        // The first node is gone. The second one asks on, and gets it when the directory has let go.
        let mut waited = 0;
        while world.nodes[1].role(world.now) == Role::Standby {
            world.turn(1, Fate::Answered, false, 100);
            waited += 100;
        }
        assert!((6_000..=8_100).contains(&waited), "{waited}");
        assert_eq!(world.holders(), [(1, 2)]);
    }

    #[test]
    fn a_holder_that_cannot_reach_the_directory_goes_on_and_says_that_it_does_not_know() {
        let mut world = World::new();
        world.turn(0, Fate::Answered, false, 0);
        for _ in 0..10 {
            world.turn(0, Fate::Lost, false, 1_000);
        }
        assert_eq!(world.nodes[0].role(world.now), Role::Unconfirmed { term: 1 });
        // Nobody else wanted it: it is the origin again as soon as it can say so.
        for _ in 0..4 {
            world.turn(0, Fate::Answered, false, 1_000);
        }
        assert_eq!(world.holders(), [(0, 2)]);
    }
}
