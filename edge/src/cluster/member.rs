//! One node's part of the directory: what it claims, what it says of itself, and what it knows of the others. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aqueduct_common::StreamName;

use super::fleet::Fleet;
use super::lease::{Done, Lease, Role, Standing, Wish};
use super::record::{self, EdgeRecord, Key, LeaseRecord, NodeName, OriginRecord};

/// Who a node is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Me {
    /// Its name.
    pub(crate) node: NodeName,
    /// The process.
    pub(crate) instance: u64,
    /// HOST:PORT of its relay; empty where it is no origin.
    pub(crate) relay: String,
}

/// Something to be done in the directory. Each has one answer, for [`Member::done`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Op {
    pub(crate) key: Key,
    pub(crate) what: What,
}

/// What is to be done with an entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum What {
    /// Write it, if there is none.
    Create(Vec<u8>),
    /// Write it, if it still has this revision.
    Update(Vec<u8>, u64),
    /// Write it, whatever is there.
    Put(Vec<u8>),
    /// Read it.
    Look,
    /// Take it away, if it still has this revision.
    Take(u64),
    /// Take it away, whatever is there.
    Drop,
}

/// What became of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Answer {
    /// Written, with this revision.
    Written(u64),
    /// Another revision is there.
    Refused,
    /// This is there, with its revision; or nothing.
    There(Option<(Vec<u8>, u64)>),
    /// Taken away.
    Taken,
    /// No answer.
    Failed,
}

/// The node.
#[derive(Debug)]
pub(crate) struct Member {
    me: Me,
    /// How long entries last.
    length: Duration,
    /// The directory answers.
    up: bool,
    leases: BTreeMap<StreamName, Lease>,
    /// What whoever has a stream next is to know.
    words: BTreeMap<StreamName, Arc<str>>,
    /// Leases that were given up: to be taken away.
    given_up: Vec<Op>,
    edge: Option<EdgeRecord>,
    /// When this node says of itself next that it is there.
    presence: Instant,
    closing: bool,
    pub(crate) fleet: Fleet,
    /// Requests that had no answer.
    pub(crate) failures: u64,
    /// Another process has this node's name.
    pub(crate) rival: bool,
}

impl Member {
    /// A node that has not heard of the directory yet.
    pub(crate) fn new(me: Me, length: Duration, now: Instant) -> Self {
        Self {
            me,
            length,
            up: false,
            leases: BTreeMap::new(),
            words: BTreeMap::new(),
            given_up: Vec::new(),
            edge: None,
            presence: now,
            closing: false,
            fleet: Fleet::default(),
            failures: 0,
            rival: false,
        }
    }

    /// The directory is there; its entries last for `length`.
    pub(crate) fn up(&mut self, length: Duration, now: Instant) {
        (self.up, self.length, self.presence) = (true, length, now);
        self.leases.values_mut().for_each(|lease| lease.set_length(length));
        self.fleet.refresh(now);
    }

    /// The directory is away.
    pub(crate) fn down(&mut self) {
        self.up = false;
    }

    /// Who this node is.
    pub(crate) fn me(&self) -> &Me {
        &self.me
    }

    /// Whether the directory is there.
    pub(crate) fn is_up(&self) -> bool {
        self.up
    }

    /// These are the streams that this node wants to be the origin of.
    pub(crate) fn want(&mut self, streams: &BTreeSet<StreamName>, now: Instant) {
        let (given_up, words, me) = (&mut self.given_up, &mut self.words, &self.me);
        self.leases.retain(|stream, lease| {
            let stays = streams.contains(stream);
            if let Some(revision) = lease.held().filter(|_| !stays) {
                // A stream that has ended is not gone on with: who stands by hears that first.
                let over = words.get(stream).is_some_and(|word| word.is_empty());
                let what = if over { What::Update(me.lease(0, ""), revision) } else { What::Take(revision) };
                given_up.push(Op { key: Key::Stream(stream.clone()), what });
            }
            if !stays {
                words.remove(stream);
            }
            stays
        });
        for stream in streams {
            let length = self.length;
            self.leases.entry(stream.clone()).or_insert_with(|| Lease::new(length, now));
        }
    }

    /// This is what this edge says of itself. What changes where players go is told at once.
    pub(crate) fn report(&mut self, record: EdgeRecord, now: Instant) {
        let record = EdgeRecord { instance: self.me.instance, ..record };
        let urgent = self.edge.as_ref().is_none_or(|last| {
            (&last.pathway, &last.host, last.draining, last.fed)
                != (&record.pathway, &record.host, record.draining, record.fed)
        });
        if urgent {
            self.presence = now;
        }
        self.edge = Some(record);
    }

    /// Gives everything back.
    pub(crate) fn close(&mut self, now: Instant) {
        self.want(&BTreeSet::new(), now);
        self.closing = true;
        let said: Vec<_> = self.presences().map(|(key, _)| Op { key, what: What::Drop }).collect();
        self.given_up.extend(said);
    }

    /// Everything that is to be done now.
    pub(crate) fn ops(&mut self, now: Instant) -> Vec<Op> {
        if !self.up {
            return Vec::new();
        }
        let mut ops = std::mem::take(&mut self.given_up);
        if now >= self.presence && !self.closing {
            self.presence = now + self.length / 3;
            ops.extend(self.presences().map(|(key, value)| Op { key, what: What::Put(value) }));
        }
        let (me, words) = (&self.me, &self.words);
        let wish = |(stream, lease): (&StreamName, &mut Lease)| {
            let value = |term| me.lease(term, words.get(stream).map_or("", |word| word));
            let what = match lease.wish(now)? {
                Wish::Create => What::Create(value(0)),
                Wish::Renew { revision, term } => What::Update(value(term), revision),
                Wish::Look => What::Look,
            };
            Some(Op { key: Key::Stream(stream.clone()), what })
        };
        ops.extend(self.leases.iter_mut().filter_map(wish));
        ops
    }

    /// What became of something.
    pub(crate) fn done(&mut self, op: Op, answer: Answer, now: Instant) {
        self.failures += u64::from(answer == Answer::Failed);
        if let (What::Create(value) | What::Update(value, _) | What::Put(value), Answer::Written(revision)) =
            (&op.what, &answer)
        {
            self.fleet.seen(&op.key.to_string(), value, *revision, now);
        }
        let Key::Stream(stream) = &op.key else { return };
        let of_lease = matches!(op.what, What::Create(_) | What::Update(..) | What::Look);
        let Some(lease) = self.leases.get_mut(stream).filter(|_| of_lease) else {
            // Given up while it was on its way: it must not stand for a whole lease.
            if let (true, Answer::Written(revision)) = (of_lease, answer) {
                self.given_up.push(Op { key: op.key, what: What::Take(revision) });
            }
            return;
        };
        let done = match answer {
            Answer::Written(revision) => Done::Written(revision),
            Answer::Refused => Done::Refused,
            Answer::There(Some((value, revision))) => match record::read::<LeaseRecord>(&value) {
                Some(record) => Done::Stands(standing(&self.me, &record, revision)),
                None => Done::Stands(Standing { ours: false, revision, term: revision }),
            },
            Answer::There(None) | Answer::Taken => Done::Nothing,
            Answer::Failed => Done::Unanswered,
        };
        lease.done(&done, now);
    }

    /// The directory holds this.
    pub(crate) fn entry(&mut self, key: &str, value: &[u8], revision: u64, now: Instant) {
        let Some(key) = self.fleet.seen(key, value, revision, now) else { return };
        if let Key::Stream(stream) = &key {
            if let (Some(lease), Some((record, revision))) =
                (self.leases.get_mut(stream), self.fleet.lease(stream))
            {
                lease.seen(standing(&self.me, record, revision), now);
            }
            return;
        }
        if self.presences().any(|(ours, _)| ours == key) {
            self.rival = self.fleet.instance(&key).is_some_and(|instance| instance != self.me.instance);
        }
    }

    /// The directory holds this no more.
    pub(crate) fn gone(&mut self, key: &str, now: Instant) {
        if let Some(Key::Stream(stream)) = self.fleet.gone(key)
            && let Some(lease) = self.leases.get_mut(&stream)
        {
            lease.vanished(now);
        }
    }

    /// Lets entries lapse.
    pub(crate) fn tick(&mut self, now: Instant) {
        if !self.up {
            return;
        }
        for key in self.fleet.expire(self.length, now) {
            if let Key::Stream(stream) = key
                && let Some(lease) = self.leases.get_mut(&stream)
            {
                lease.vanished(now);
            }
        }
    }

    /// When there is something to do next, if nothing happens.
    pub(crate) fn wake(&self) -> Option<Instant> {
        if !self.up {
            return None;
        }
        let leases = self.leases.values().filter_map(Lease::wake);
        let presence = (!self.closing).then_some(self.presence);
        leases.chain(presence).chain(self.fleet.lapses(self.length)).min()
    }

    /// Whoever has a stream of this node next is to know this. It is written with the lease.
    pub(crate) fn say(&mut self, stream: &StreamName, word: &Arc<str>) {
        if self.words.get(stream) != Some(word) {
            self.words.insert(stream.clone(), word.clone());
        }
    }

    /// Which other process has the stream, as far as is known, and what whoever has it next is to know.
    pub(crate) fn rival(&self, stream: &StreamName) -> Option<(&NodeName, &str)> {
        let (record, _) = self.fleet.lease(stream)?;
        let other = record.instance != self.me.instance || record.node != self.me.node;
        other.then_some((&record.node, record.word.as_str()))
    }

    /// What this node is to a stream.
    pub(crate) fn role(&self, stream: &StreamName, now: Instant) -> Role {
        self.leases.get(stream).map_or(Role::Standby, |lease| lease.role(now))
    }

    /// How many streams it is the origin of.
    pub(crate) fn holds(&self, now: Instant) -> usize {
        let holds = |lease: &&Lease| matches!(lease.role(now), Role::Holder { .. });
        self.leases.values().filter(holds).count()
    }

    /// What this node says of itself: keys and values.
    fn presences(&self) -> impl Iterator<Item = (Key, Vec<u8>)> {
        let me = &self.me;
        let origin = (!me.relay.is_empty()).then(|| {
            let record = OriginRecord { relay: me.relay.clone(), instance: me.instance };
            (Key::Origin(me.node.clone()), record::write(&record))
        });
        let edge = self.edge.as_ref().map(|edge| (Key::Edge(me.node.clone()), record::write(edge)));
        origin.into_iter().chain(edge)
    }
}

impl Me {
    /// A lease of this node.
    fn lease(&self, term: u64, word: &str) -> Vec<u8> {
        let (node, relay, word) = (self.node.clone(), self.relay.clone(), word.to_owned());
        record::write(&LeaseRecord { node, instance: self.instance, relay, term, word })
    }
}

fn standing(me: &Me, record: &LeaseRecord, revision: u64) -> Standing {
    let ours = record.node == me.node && record.instance == me.instance;
    Standing { ours, revision, term: record.term(revision) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::shelf::Shelf;

    const LENGTH: Duration = Duration::from_secs(6);

    /// Nodes around one directory, on a clock of the test's own. Each sees everything at once.
    struct World {
        now: Instant,
        shelf: Shelf,
        nodes: Vec<Member>,
    }

    impl World {
        #[expect(clippy::disallowed_methods, reason = "a moment to count from")]
        fn new(names: &[&str]) -> Self {
            let now = Instant::now();
            let member = |(at, name): (usize, &&str)| {
                let me =
                    Me { node: name.parse().unwrap(), instance: at as u64, relay: format!("{name}:4443") };
                let mut member = Member::new(me, LENGTH, now);
                member.up(LENGTH, now);
                member
            };
            Self { now, shelf: Shelf::new(LENGTH), nodes: names.iter().enumerate().map(member).collect() }
        }

        fn perform(&mut self, op: &Op) -> Answer {
            let (key, now) = (op.key.to_string(), self.now);
            let written = |revision: Option<u64>| revision.map_or(Answer::Refused, Answer::Written);
            match op.what.clone() {
                What::Create(value) => written(self.shelf.write(&key, value, 0, now)),
                What::Update(value, revision) => written(self.shelf.write(&key, value, revision, now)),
                What::Put(value) => Answer::Written(self.shelf.put(&key, value, now)),
                What::Look => Answer::There(self.shelf.read(&key, now)),
                What::Take(revision) => {
                    self.shelf.take(&key, revision);
                    self.nodes.iter_mut().for_each(|node| node.gone(&key, now));
                    Answer::Taken
                }
                What::Drop => {
                    let revision = self.shelf.read(&key, now).map_or(0, |(_, revision)| revision);
                    self.shelf.take(&key, revision);
                    self.nodes.iter_mut().for_each(|node| node.gone(&key, now));
                    Answer::Taken
                }
            }
        }

        /// Lets time pass in small steps, without the nodes that are down.
        fn pass(&mut self, time: Duration) {
            let end = self.now + time;
            while self.now < end {
                self.now += Duration::from_millis(100);
                for at in 0..self.nodes.len() {
                    for (key, value, revision) in self.shelf.all(self.now) {
                        if self.nodes[at].is_up() {
                            self.nodes[at].entry(&key, &value, revision, self.now);
                        }
                    }
                    self.nodes[at].tick(self.now);
                    for op in self.nodes[at].ops(self.now) {
                        let answer = self.perform(&op);
                        self.nodes[at].done(op, answer, self.now);
                    }
                }
            }
        }

        fn want(&mut self, at: usize, streams: &[&str]) {
            let streams = streams.iter().map(|stream| stream.parse().unwrap()).collect();
            self.nodes[at].want(&streams, self.now);
        }

        /// What a node knows: each stream with the relay to fetch it from.
        fn known(&self, at: usize) -> Vec<(String, String)> {
            let origins = self.nodes[at].fleet.origins();
            let streams = |origin: &super::super::fleet::Origin| {
                let relay = origin.relay.clone();
                origin
                    .streams
                    .keys()
                    .map(move |stream| (stream.to_string(), relay.clone()))
                    .collect::<Vec<_>>()
            };
            origins.iter().flat_map(streams).collect()
        }
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected.iter().map(|(stream, relay)| ((*stream).into(), (*relay).into())).collect()
    }

    #[test]
    fn a_stream_that_is_let_go_moves_at_once_and_one_whose_origin_dies_when_its_lease_ends() {
        let mut world = World::new(&["o1", "o2", "watcher"]);
        world.want(0, &["live/a", "live/b"]);
        world.pass(Duration::from_secs(1));
        world.want(1, &["live/a", "live/b"]);
        world.pass(Duration::from_secs(20));
        assert_eq!(world.known(2), pairs(&[("live/a", "o1:4443"), ("live/b", "o1:4443")]));
        world.want(0, &["live/b"]);
        world.pass(Duration::from_millis(300));
        assert_eq!(world.known(2), pairs(&[("live/b", "o1:4443"), ("live/a", "o2:4443")]));
        world.nodes[0].down();
        world.pass(Duration::from_secs(5));
        assert_eq!(world.known(2).len(), 2, "the lease has not ended");
        world.pass(Duration::from_secs(4));
        assert_eq!(world.known(2), pairs(&[("live/a", "o2:4443"), ("live/b", "o2:4443")]));
        let stream = "live/b".parse().unwrap();
        assert!(matches!(world.nodes[0].role(&stream, world.now), Role::Unconfirmed { .. }));
        // Back, it learns that it is not the origin any more.
        let now = world.now;
        world.nodes[0].up(LENGTH, now);
        world.pass(Duration::from_secs(3));
        assert_eq!(world.nodes[0].role(&stream, world.now), Role::Standby);
        assert_eq!((world.nodes[0].holds(world.now), world.nodes[1].holds(world.now)), (0, 2));
    }

    #[test]
    fn without_the_directory_everybody_keeps_what_they_knew() {
        let mut world = World::new(&["o1", "watcher"]);
        world.want(0, &["live/a"]);
        world.pass(Duration::from_secs(2));
        world.nodes.iter_mut().for_each(Member::down);
        world.pass(Duration::from_secs(3_600));
        assert_eq!(world.known(1), pairs(&[("live/a", "o1:4443")]));
        let now = world.now;
        world.nodes.iter_mut().for_each(|node| node.up(LENGTH, now));
        world.pass(Duration::from_secs(10));
        assert_eq!(world.known(1), pairs(&[("live/a", "o1:4443")]));
    }

    #[test]
    fn a_node_that_closes_is_gone_at_once() {
        let mut world = World::new(&["o1", "watcher"]);
        world.want(0, &["live/a"]);
        let (record, now) = (EdgeRecord { pathway: "fra".into(), ..EdgeRecord::default() }, world.now);
        world.nodes[0].report(record, now);
        world.pass(Duration::from_secs(1));
        assert_eq!(world.nodes[1].fleet.edges()[0].said.pathway, "fra");
        let now = world.now;
        world.nodes[0].close(now);
        world.pass(Duration::from_millis(200));
        assert_eq!((world.nodes[1].fleet.edges().len(), world.known(1).len()), (0, 0));
        assert!(world.shelf.all(world.now).iter().all(|(key, ..)| key == "origin.watcher"));
    }

    #[test]
    fn two_processes_of_one_name_notice_each_other() {
        let mut world = World::new(&["o1", "o1"]);
        world.pass(Duration::from_secs(5));
        assert!(world.nodes.iter().any(|node| node.rival));
        assert!(!World::new(&["o1", "o2"]).nodes.iter().any(|node| node.rival));
    }
}
