//! Which streams a fed node takes, from whom, and when it lets them go.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use aqueduct_common::StreamName;
use aqueduct_common::event::Event;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::backfill::Ways;
use super::failover::At;
use super::fence::Offer;
use super::intake::Intake;
use super::lead::lease;
use super::link::{Link, Outbox, Told, chance};
use super::now;
use super::taken::Taken;
use super::trail::{Barred, Trail};
use super::upstream::Options;
use super::wants::Due;
use super::wire::Frame;

/// Words of nodes that are heard before it is looked.
const AT_ONCE: usize = 512;
/// A stream of so few lines, picture and sound, is taken whole as soon as anybody asks for it.
const FEW: usize = 2;

/// One node that feeds this one. Its place in the list is kept when others go.
pub(super) struct Node {
    pub(super) address: String,
    pub(super) task: JoinHandle<()>,
    outbox: Option<Outbox>,
    /// Objects can be fetched from it.
    lends: bool,
    /// What it says of those that feed it; `None` until it does.
    trail: Option<Trail>,
    /// It is not taken from for a while.
    barred: Option<Barred>,
}

pub(super) struct Desk {
    pub(super) options: Options,
    pub(super) intake: Arc<Intake>,
    pub(super) trail: watch::Sender<Trail>,
    pub(super) told: mpsc::Sender<Told>,
    pub(super) nodes: Vec<Node>,
    pub(super) streams: HashMap<StreamName, Taken>,
    pub(super) subs: u32,
    /// Something may be taken now that could not be when it was looked last.
    pub(super) unseen: bool,
}

impl Desk {
    /// The list of origins is this one from now on.
    pub(super) fn set_nodes(&mut self, list: &[String]) {
        for place in 0..self.nodes.len() {
            if !list.contains(&self.nodes[place].address) && !self.nodes[place].task.is_finished() {
                self.nodes[place].task.abort();
                self.down(place);
            }
        }
        for address in list {
            let running = |node: &Node| node.address == *address && !node.task.is_finished();
            if self.nodes.iter().any(running) {
                continue;
            }
            let task = self.dial(self.nodes.len(), address);
            let (address, trail, barred) = (address.clone(), None, None);
            self.nodes.push(Node { address, task, outbox: None, lends: false, trail, barred });
        }
    }

    fn dial(&self, place: usize, address: &str) -> JoinHandle<()> {
        let link = Link {
            place,
            address: address.to_owned(),
            node: self.options.node.clone(),
            announce: self.options.prefetch.iter().any(|pattern| pattern.single().is_none()),
            auth: self.options.auth.clone(),
            refused: self.options.refused.clone(),
            intake: self.intake.clone(),
            told: self.told.clone(),
        };
        tokio::spawn(link.keep())
    }

    /// Dials again who was not taken from for a while, where it is still one of those that may feed this node.
    fn review(&mut self, now: Instant) {
        for place in 0..self.nodes.len() {
            if !self.nodes[place].barred.is_some_and(|barred| barred.is_over(now)) {
                continue;
            }
            self.nodes[place].barred = None;
            let address = self.nodes[place].address.clone();
            let dialled = self.nodes.iter().any(|node| node.address == address && !node.task.is_finished());
            if !dialled && self.options.origins.borrow().contains(&address) {
                self.nodes[place].task = self.dial(place, &address);
            }
        }
    }

    /// Hears what is there, and then looks once: a node that comes up tells of thousands of streams.
    pub(super) fn hear_all(&mut self, first: Told, more: &mut mpsc::Receiver<Told>) {
        self.take_in(first);
        for _ in 0..AT_ONCE {
            let Ok(told) = more.try_recv() else { break };
            self.take_in(told);
        }
        if std::mem::take(&mut self.unseen) {
            self.look();
        }
    }

    fn take_in(&mut self, told: Told) {
        match told {
            Told::Up { place, outbox } => self.up(place, outbox),
            Told::Down { place } => self.down(place),
            Told::Frame { place, frame } => match frame {
                Frame::Stream { sub, epoch, lines } => self.here(place, sub, epoch, &lines),
                Frame::Absent { sub } => self.absent(place, sub),
                Frame::End { sub, .. } => self.ends(place, sub),
                Frame::Trail { nodes, depth } => self.follow(place, Trail { nodes, depth: depth.into() }),
                Frame::Announce { stream } => self.announced(&stream),
                Frame::GoAway => self.leave(place),
                Frame::Lends => self.lends(place),
                Frame::Progress { subs } => self.went_on(place, &subs),
                _ => {}
            },
            Told::Ways { stream, answer } => {
                let _ = answer.send(self.ways(&stream));
            }
        }
    }

    pub(super) fn up(&mut self, place: usize, outbox: Outbox) {
        let Some(node) = self.nodes.get_mut(place) else { return };
        node.outbox = Some(outbox);
        for (name, taken) in &mut self.streams {
            taken.set(place, At::Asked);
            node.say(Frame::Subscribe { sub: taken.sub, stream: name.as_str().to_owned() });
        }
        self.choose_all();
    }

    fn went_on(&mut self, place: usize, subs: &[u32]) {
        let (subs, now): (HashSet<&u32>, _) = (subs.iter().collect(), now());
        self.streams
            .values_mut()
            .filter(|taken| subs.contains(&taken.sub))
            .for_each(|taken| taken.paces.went_on(place, now));
    }

    fn lends(&mut self, place: usize) {
        if let Some(node) = self.nodes.get_mut(place) {
            node.lends = true;
        }
    }

    /// Nodes that have a stream and lend what they have of it, the one first that it is taken from.
    fn ways(&self, stream: &StreamName) -> Ways {
        let Some(taken) = self.streams.get(stream) else { return Ways::new() };
        let (leader, known) = (taken.leader.node(), taken.known(self.lease(stream)));
        let others = (0..self.nodes.len()).filter(|place| Some(*place) != leader);
        let here = |place: &usize| known.get(*place) == Some(&At::Here);
        let places = leader.into_iter().chain(others).filter(here);
        let way = |node: &Node| node.outbox.as_ref().filter(|_| node.lends)?.conn.clone();
        places.filter_map(|place| way(self.nodes.get(place)?)).collect()
    }

    pub(super) fn down(&mut self, place: usize) {
        if let Some(node) = self.nodes.get_mut(place) {
            node.outbox = None;
            node.lends = false;
            node.trail = None;
        }
        for taken in self.streams.values_mut() {
            taken.set(place, At::Down);
            taken.offers.remove(&place);
        }
        self.tell_trail();
        self.choose_all();
    }

    /// It stops soon: whatever another node has is taken from there. The link ends by itself.
    pub(super) fn leave(&mut self, place: usize) {
        let Some(node) = self.nodes.get(place) else { return };
        tracing::info!(origin = %node.address, "the origin stops soon");
        let holders = self.options.holders.borrow().clone();
        for (name, taken) in &mut self.streams {
            if taken.is_elsewhere(place, lease(&holders, &self.nodes, name)) {
                taken.set(place, At::Down);
            }
        }
        self.choose_all();
    }

    pub(super) fn here(&mut self, place: usize, sub: u32, epoch: u64, lines: &[String]) {
        let Some((name, taken)) = self.streams.iter_mut().find(|(_, taken)| taken.sub == sub) else { return };
        let name = name.clone();
        if taken.at.get(place) != Some(&At::Stalled) {
            taken.set(place, At::Here);
        }
        let first = taken.offers.is_empty();
        taken.offers.insert(place, Offer { epoch, lines: lines.iter().cloned().collect() });
        let plain = lines.iter().filter(|line| !line.is_empty());
        // Whoever asked for the stream asks for these next, and then they are on their way.
        let few = plain.clone().count() <= FEW && first && {
            let mut wants = self.options.wants.streams();
            wants.get_mut(&name).is_some_and(|want| want.lines.is_empty())
        };
        if taken.pinned || few {
            plain.for_each(|line| drop(self.options.wants.line(&name, line, None)));
        }
        let led = taken.leader.node() == Some(place);
        self.choose(&name);
        let lease = self.lease(&name);
        if let Some(taken) = self.streams.get_mut(&name)
            && led
            && taken.leader.node() == Some(place)
        {
            // The running node says that another epoch has begun. Where its clock was set back, what came of it before
            // this word was left out, and is asked for again.
            let again = taken.inflow.epoch().is_some_and(|running| running > epoch);
            taken.follow(&self.intake, place, lease);
            if let Some(node) = self.nodes.get(place).filter(|_| again) {
                taken.lines.keys().for_each(|line| node.say(taken.want(line)));
            }
        }
        self.note_barred(&name, place);
        self.offer(&name);
        self.unseen = true;
    }

    /// The end is said to come. What was taken because it was on air stays only for who asks.
    fn ends(&mut self, place: usize, sub: u32) {
        let Some((name, taken)) = self.streams.iter_mut().find(|(_, taken)| taken.sub == sub) else { return };
        taken.ending = Some(now());
        let name = name.clone();
        let lease = lease(&self.options.holders.borrow(), &self.nodes, &name);
        if !taken.is_elsewhere(place, lease) {
            self.unpin(&name, now());
        }
    }

    pub(super) fn absent(&mut self, place: usize, sub: u32) {
        let Some((name, taken)) = self.streams.iter_mut().find(|(_, taken)| taken.sub == sub) else { return };
        let name = name.clone();
        taken.set(place, At::Absent);
        taken.offers.remove(&place);
        self.choose(&name);
        if self.streams.get(&name).is_some_and(Taken::is_nowhere) {
            self.unpin(&name, now());
            self.settle(&name);
        }
    }

    /// Nobody waits any longer for what nobody has.
    fn settle(&mut self, name: &StreamName) {
        let Some(taken) = self.streams.get(name).filter(|taken| !taken.inflow.is_shown("")) else { return };
        self.options.wants.settle(name, "", Due::Absent);
        for line in taken.lines.keys() {
            self.options.wants.settle(name, line, Due::Absent);
        }
        self.look();
    }

    /// A node says who feeds it in turn.
    pub(super) fn follow(&mut self, place: usize, trail: Trail) {
        if let Some(node) = self.nodes.get_mut(place) {
            if let Some(reason) = trail.refusal(&self.options.node) {
                tracing::error!(origin = %node.address, reason, "not fed by this node: change relay.origins");
                self.intake.tally.note("refused", "loop");
                node.task.abort();
                node.barred = Some(Barred::new(now(), chance()));
                return self.down(place);
            }
            node.trail = Some(trail);
        }
        self.tell_trail();
    }

    pub(super) fn tell_trail(&self) {
        let trail = Trail::joined(self.nodes.iter().filter_map(|node| node.trail.as_ref()));
        self.trail.send_if_modified(|told| {
            let news = *told != trail;
            *told = trail;
            news
        });
    }

    pub(super) fn announced(&mut self, stream: &str) {
        let Ok(name) = stream.parse::<StreamName>() else { return };
        if self.options.prefetch.iter().any(|pattern| pattern.covers(&name)) {
            self.options.wants.keep(&name);
            if let Some(taken) = self.streams.get_mut(&name) {
                taken.pinned = true;
            }
        }
    }

    /// A stream that was taken because it was on air is not any more: it goes when nobody asks for it. What is to be taken
    /// by its own name stays.
    pub(super) fn unpin(&mut self, name: &StreamName, now: Instant) {
        let single = self.options.prefetch.iter().any(|pattern| pattern.single() == Some(name));
        let Some(taken) = self.streams.get_mut(name).filter(|taken| taken.pinned && !single) else { return };
        (taken.pinned, taken.asked) = (false, now);
        taken.lines.values_mut().for_each(|line| line.asked = now);
        if let Some(want) = self.options.wants.streams().get_mut(name) {
            want.kept = false;
        }
    }

    pub(super) fn tick(&mut self, now: Instant, second: bool) {
        self.look();
        self.note_asked(now);
        let names: Vec<_> = self.streams.keys().cloned().collect();
        for name in names {
            self.tend(&name, now);
        }
        if second {
            self.review(now);
            let mut tick = self.intake.tally.tick();
            let up = self.nodes.iter().filter(|node| node.outbox.is_some());
            tick.upstreams = Some(up.count() as u64);
            let backfill = self.options.wants.backfill();
            backfill.refill();
            tick.backfill = Some(backfill.tick());
            self.options.events.send(Event::Relay(tick));
        }
    }
}

impl Node {
    /// Says something, if the link is up. What is not said is never said again, so a link that takes nothing more is lost,
    /// and the next one is told everything.
    pub(super) fn say(&self, frame: Frame) {
        if let Some(Outbox { frames, cut, .. }) = &self.outbox
            && frames.try_send(frame).is_err()
        {
            cut.cancel();
        }
    }

    pub(super) fn is_up(&self) -> bool {
        self.outbox.is_some()
    }
}

#[cfg(test)]
mod tests;
