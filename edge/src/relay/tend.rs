//! What is wanted becomes what is taken, and goes when nobody asks for it any more.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use aqueduct_common::StreamName;

use super::desk::Desk;
use super::failover::{At, Leader, Paces};
use super::fence::Fence;
use super::now;
use super::taken::{Taken, TakenLine};
use super::wants::Due;
use super::wire::Frame;

/// A line that a stream is not known to have is absent after so long.
const UNKNOWN_LINE: Duration = Duration::from_secs(1);
/// A stream that no node answers for is absent after so long.
const UNKNOWN_STREAM: Duration = Duration::from_secs(4);
/// A stream that nobody has is not asked for any longer than this after the last wish for it: such names are of viewers'
/// choice.
const MISSED: Duration = Duration::from_secs(2);
/// A stream that nobody has any more ends here after so long.
const ABANDON: Duration = Duration::from_secs(60);
/// An end that was announced is not waited for any longer, nor lines of an epoch that is over.
const SETTLE: Duration = Duration::from_secs(10);

impl Desk {
    /// Looks at what is wanted, and begins to take what is new. Of a stream only those lines are asked for that the node
    /// which it is taken from says it has: viewers choose the names of all others.
    pub(super) fn look(&mut self) {
        let now = now();
        let wants = self.options.wants.clone();
        let given_way = {
            let table = wants.streams();
            let over = self.streams.keys().filter(|name| !table.contains(name));
            over.cloned().collect::<Vec<_>>()
        };
        given_way.iter().for_each(|name| self.let_go(name));
        let mut begun = Vec::new();
        for (name, want) in wants.streams().iter_mut() {
            if !self.streams.contains_key(name) {
                want.touched = true;
                begun.push(name.clone());
                self.begin(name.clone(), want.kept, now);
            }
            let Some(taken) = self.streams.get_mut(name) else { continue };
            let leader = taken.leader.node().and_then(|place| self.nodes.get(place));
            let absent = taken.is_nowhere();
            want.lines.retain(|_, line| line.known || !absent);
            for (line, one) in want.lines.iter_mut().filter(|(_, one)| !one.known) {
                one.begun.get_or_insert(now);
                one.known = taken.offered().is_some_and(|lines| lines.contains(line));
                if !one.known {
                    continue;
                }
                taken.lines.insert(line.clone(), TakenLine { asked: now, begun: now });
                let frame = taken.want(line);
                if let Some(node) = leader {
                    node.say(frame);
                }
            }
            for (demand, viewers) in want.demands.drain() {
                if let Some(node) = leader {
                    node.say(Frame::Demand { sub: taken.sub, demand, viewers });
                }
            }
        }
        begun.iter().for_each(|name| self.choose(name));
    }

    fn begin(&mut self, name: StreamName, pinned: bool, now: Instant) {
        self.subs += 1;
        let sub = self.subs;
        let inflow = self.intake.begin(sub, name.clone());
        inflow.want("");
        let own = TakenLine { asked: now, begun: now };
        let mut taken = Taken {
            sub,
            inflow,
            at: vec![At::Down; self.nodes.len()],
            leader: Leader::default(),
            paces: Paces::default(),
            offers: HashMap::new(),
            fence: Fence::default(),
            lines: HashMap::from([(String::new(), own)]),
            asked: now,
            begun: now,
            without: None,
            turned: None,
            ending: None,
            pinned,
        };
        for (place, node) in self.nodes.iter().enumerate().filter(|(_, node)| node.is_up()) {
            taken.set(place, At::Asked);
            node.say(Frame::Subscribe { sub, stream: name.as_str().to_owned() });
        }
        self.streams.insert(name, taken);
    }

    /// Who was asked for what since the last time. Who waits for something asks for it all the time.
    pub(super) fn note_asked(&mut self, now: Instant) {
        for (name, taken) in &mut self.streams {
            if let Some(stream) = self.options.store.find(name.as_str()) {
                for line in stream.take_asked() {
                    if let Some(line) = taken.lines.get_mut(&line) {
                        line.asked = now;
                    }
                    taken.asked = now;
                }
            }
        }
        for (name, want) in self.options.wants.streams().iter_mut() {
            let Some(taken) = self.streams.get_mut(name) else { continue };
            if std::mem::take(&mut want.touched) || want.is_awaited() {
                taken.asked = now;
            }
            for (line, want) in &mut want.lines {
                let Some(line) = taken.lines.get_mut(line) else { continue };
                if std::mem::take(&mut want.touched) || want.is_awaited() {
                    line.asked = now;
                }
            }
        }
    }

    /// One stream's timers.
    pub(super) fn tend(&mut self, name: &StreamName, now: Instant) {
        let Some(taken) = self.streams.get(name) else { return };
        let since = |then: Instant| now.saturating_duration_since(then);
        if !taken.pinned {
            let missed = taken.is_nowhere() && self.options.store.find(name.as_str()).is_none();
            let idle = if missed { MISSED.min(self.options.idle) } else { self.options.idle };
            if since(taken.asked) >= idle {
                return self.let_go(name);
            }
            let over = taken.lines.iter().filter(|(line, one)| !line.is_empty() && since(one.asked) >= idle);
            let over: Vec<String> = over.map(|(line, _)| line.clone()).collect();
            over.iter().for_each(|line| self.let_line_go(name, line));
        }
        let Some(taken) = self.streams.get_mut(name) else { return };
        if taken.turned.is_some_and(|turned| since(turned) >= SETTLE) && taken.inflow.is_shown("") {
            taken.turned = None;
            self.intake.with(&taken.inflow, |receiver| receiver.drop_orphans());
            // What was refused because of their names counts as given where it came from.
            if let Some(node) = taken.leader.node().and_then(|place| self.nodes.get(place)) {
                let unshown = taken.lines.keys().filter(|line| !taken.inflow.is_shown(line));
                unshown.for_each(|line| node.say(taken.want(line)));
            }
        }
        if taken.ending.is_some_and(|ending| since(ending) >= SETTLE) {
            taken.ending = None;
            self.intake.with(&taken.inflow, |receiver| receiver.end_now());
        }
        self.judge(name, now);
        self.note_cut_off(name, now);
        self.give_up(name, now);
    }

    /// A stream that has stalled where it is taken from, and goes on elsewhere, is taken from there (EDGE-28).
    fn judge(&mut self, name: &StreamName, now: Instant) {
        let lease = self.lease(name);
        let Some(taken) = self.streams.get_mut(name) else { return };
        for place in taken.paces.healed(now) {
            if taken.at.get(place) == Some(&At::Stalled) {
                taken.at[place] = At::Here;
            }
        }
        let Some(place) = taken.leader.node().filter(|place| taken.at.get(*place) == Some(&At::Here)) else {
            return;
        };
        let known = taken.known(lease);
        if taken.paces.stalls(place, &known, now) {
            tracing::warn!(stream = %name, "nothing new comes from its origin while another one goes on: taken from there");
            taken.set(place, At::Stalled);
            self.choose(name);
        }
    }

    /// A stream that no node has shows its real age, and ends after a while.
    fn note_cut_off(&mut self, name: &StreamName, now: Instant) {
        let Some(taken) = self.streams.get_mut(name) else { return };
        let here = taken.leader.node().is_some_and(|place| taken.at[place] == At::Here);
        taken.without = if here { None } else { taken.without.or(Some(now)) };
        let silent = taken.without.map(|without| now.saturating_duration_since(without));
        if let Some(stream) = self.options.store.find(name.as_str()) {
            stream.set_cut_off(silent);
        }
        if silent.is_none_or(|silent| silent < ABANDON) {
            return;
        }
        let (shown, fenced) = (taken.inflow.is_shown(""), taken.fence.lift());
        if shown {
            tracing::warn!(stream = %name, "no origin has had it for a minute: it ends here");
            self.intake.with(&taken.inflow, |receiver| receiver.abandon());
            self.unpin(name, now);
        }
        if fenced {
            self.choose(name);
        }
    }

    /// Whoever waits for what nobody is known to have is told so.
    fn give_up(&self, name: &StreamName, now: Instant) {
        let Some(taken) = self.streams.get(name) else { return };
        let since = |then: Instant| now.saturating_duration_since(then);
        if since(taken.begun) >= UNKNOWN_STREAM && !taken.inflow.is_shown("") {
            self.options.wants.settle(name, "", Due::Absent);
        }
        let offered = taken.offered();
        for (line, one) in taken.lines.iter().filter(|(line, _)| !line.is_empty()) {
            let named = offered.is_some_and(|lines| lines.contains(line));
            if !named && since(one.begun) >= UNKNOWN_LINE && !taken.inflow.is_shown(line) {
                self.options.wants.settle(name, line, Due::Absent);
            }
        }
        // A node that has not said yet what it has may have any line.
        let patience = if offered.is_some() { UNKNOWN_LINE } else { UNKNOWN_STREAM };
        if let Some(want) = self.options.wants.streams().get_mut(name) {
            let waits = |begun: Option<Instant>| begun.is_none_or(|begun| since(begun) < patience);
            want.lines.retain(|_, line| line.known || waits(line.begun));
        }
    }

    fn let_line_go(&mut self, name: &StreamName, line: &str) {
        let Some(taken) = self.streams.get_mut(name) else { return };
        taken.lines.remove(line);
        let node = taken.leader.node().and_then(|place| self.nodes.get(place));
        if let Some(node) = node {
            node.say(Frame::Unwant { sub: taken.sub, line: line.to_owned() });
        }
        if let Some(want) = self.options.wants.streams().get_mut(name) {
            want.lines.remove(line);
        }
        tracing::debug!(stream = %name, line, "nobody asks for it: not taken any more");
        self.intake.with(&taken.inflow, |receiver| receiver.unwant(line));
    }

    fn let_go(&mut self, name: &StreamName) {
        let lines: Vec<String> =
            self.streams.get(name).into_iter().flat_map(|one| one.lines.keys().cloned()).collect();
        lines.iter().for_each(|line| self.let_line_go(name, line));
        let Some(taken) = self.streams.remove(name) else { return };
        for node in &self.nodes {
            node.say(Frame::Unsubscribe { sub: taken.sub });
        }
        self.intake.stop(taken.sub);
        self.options.wants.streams().remove(name);
        self.options.store.forget(name);
        self.options.hub.forget(name);
    }
}
