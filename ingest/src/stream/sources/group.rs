//! The sources of one stream together: shared by their leases, and by the registry, which lets them in.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aqueduct_common::event::{EventSender, SourceChange, StandbyTick, SwitchReason};
use aqueduct_common::{Event, SourceName, StreamName, WallTime};

use super::choice::{Choice, Wish};
use super::rules::Rules;
use super::standby::Standby;
use crate::demux::Demuxed;
use crate::stream::flow::Flow;
use crate::stream::{Pace, Shed};

/// What is kept of a standby beyond the time in which a loss shows.
const MARGIN: Duration = Duration::from_secs(2);

/// A source that has come.
#[derive(Debug)]
struct Member {
    id: u64,
    standby: Standby,
    languages: Vec<(u8, String)>,
}

/// One stream's sources, and its flow, which the one on air feeds.
#[derive(Debug)]
pub(in crate::stream) struct Group {
    flow: Box<Flow>,
    rules: Rules,
    choice: Choice,
    members: Vec<Option<Member>>,
    ids: u64,
    /// Newest media of whoever was on air.
    lost: Option<Instant>,
    /// A change has been due since then.
    due: Option<Instant>,
    /// Who was on air last.
    last_on_air: Option<usize>,
    events: EventSender,
}

/// A source's place in its group: what a lease holds.
#[derive(Debug)]
pub(in crate::stream) struct Seat {
    group: Arc<Mutex<Group>>,
    pub(in crate::stream) stream: StreamName,
    pub(in crate::stream) place: usize,
    pub(in crate::stream) id: u64,
}

/// What a second of a source was.
#[derive(Debug)]
pub(in crate::stream) enum Second<T> {
    /// It is on air, and this was read.
    OnAir(T),
    /// It stands by.
    Standby(SourceName, StandbyTick),
    /// Another session has its place.
    Gone,
}

/// What the streamer hears while a source stands in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::stream) struct StandsIn {
    pub(in crate::stream) source: SourceName,
    pub(in crate::stream) missing: SourceName,
    pub(in crate::stream) returning: bool,
}

impl Group {
    pub(in crate::stream) fn new(flow: Box<Flow>, rules: Rules, events: EventSender) -> Self {
        let sources = rules.sources.len();
        let choice = Choice::new(sources, rules.failover_after, rules.restore_after);
        let members = (0..sources).map(|_| None).collect();
        for (place, source) in rules.sources.iter().enumerate() {
            let what = SourceChange::Named(u8::try_from(place).unwrap_or(u8::MAX));
            events.send(Event::Source { stream: flow.stream().clone(), source: source.clone(), what });
        }
        let (lost, due, last_on_air) = (None, None, None);
        Self { flow, rules, choice, members, ids: 0, lost, due, last_on_air, events }
    }

    /// Another flow takes the place of one that nobody takes any more.
    pub(in crate::stream) fn renew(&mut self, flow: Box<Flow>) {
        if let Some(on_air) = self.choice.on_air() {
            self.choice.off_air();
            if let Some(member) = &mut self.members[on_air] {
                member.standby.forget();
            }
        }
        (self.flow, self.lost, self.due) = (flow, None, None);
    }

    pub(in crate::stream) const fn flow(&self) -> &Flow {
        &self.flow
    }

    /// Lets a source in. Whoever had its place has left before.
    fn join(&mut self, place: usize) -> u64 {
        self.ids += 1;
        let standby = Standby::new(self.rules.failover_after + MARGIN);
        if let Some(member) = self.members.get_mut(place) {
            *member = Some(Member { id: self.ids, standby, languages: Vec::new() });
        }
        self.choice.join(place);
        self.ids
    }

    fn leave(&mut self, place: usize, id: u64) {
        if self.member(place, id).is_none() {
            return;
        }
        if self.choice.on_air() == Some(place) {
            self.flow.end();
        }
        self.members[place] = None;
        self.choice.leave(place);
    }

    fn member(&mut self, place: usize, id: u64) -> Option<&mut Member> {
        self.members.get_mut(place)?.as_mut().filter(|member| member.id == id)
    }

    /// Takes what came of a source. Returns whether it is a frame that can be used.
    fn take(
        &mut self,
        (place, id): (usize, u64),
        now: Instant,
        wall: WallTime,
        item: Demuxed,
    ) -> Result<bool, Shed> {
        let on_air = self.choice.on_air() == Some(place);
        let Some(member) = self.member(place, id) else { return Ok(false) };
        member.standby.note(now, &item);
        let counts = matches!(&item, Demuxed::Frame(frame) if member.standby.counts(frame));
        let usable = matches!(&item, Demuxed::Frame(frame) if frame.track <= aqueduct_common::TrackId::AUDIO);
        if counts {
            self.choice.media(place, now);
        }
        if on_air {
            self.lost = if counts { Some(now) } else { self.lost };
            self.flow.take(now, wall, item)?;
        } else {
            if let Some(member) = self.member(place, id) {
                member.standby.hold(now, wall, item);
            }
            self.choose(place, now)?;
        }
        Ok(usable)
    }

    /// Makes the change that is due, if one is and it can begin now. `place` has just sent.
    fn choose(&mut self, place: usize, now: Instant) -> Result<(), Shed> {
        let Some(wish) = self.choice.wish(now, self.flow.has_begun()) else {
            self.due = None;
            return Ok(());
        };
        let Some(member) = self.members.get_mut(wish.to).and_then(Option::as_mut) else { return Ok(()) };
        let start = match wish.reason {
            SwitchReason::Restored if wish.to == place && member.standby.ends_with_sync() => {
                Some(member.standby.len() - 1)
            }
            SwitchReason::Restored => None,
            SwitchReason::First | SwitchReason::Left | SwitchReason::Silent => {
                let due = *self.due.get_or_insert(now);
                member.standby.start(self.lost, due, now)
            }
        };
        match start {
            Some(start) => self.switch(wish, start, now),
            None => Ok(()),
        }
    }

    /// Puts a source on air, from this item of what is held of it.
    fn switch(&mut self, wish: Wish, start: usize, now: Instant) -> Result<(), Shed> {
        let before = self.choice.on_air();
        if let Some(member) = before.and_then(|before| self.members[before].as_mut()) {
            member.standby.forget();
        }
        self.choice.switched(wish.to);
        self.tell(wish, before.or(self.last_on_air), now);
        (self.due, self.lost, self.last_on_air) = (None, Some(now), Some(wish.to));
        self.flow.begin();
        let Some(member) = &mut self.members[wish.to] else { return Ok(()) };
        let beginning = member.standby.take_from(start);
        self.flow.set_languages(&member.languages);
        if let Some(known) = beginning.known {
            self.flow.expect(known);
        }
        let wall = |micros| WallTime { micros };
        for (track, config) in beginning.configs {
            self.flow.take(now, wall(0), Demuxed::Config(track, config))?;
        }
        for held in beginning.items {
            self.flow.take(held.at, held.wall, held.item)?;
        }
        Ok(())
    }

    fn tell(&self, wish: Wish, before: Option<usize>, now: Instant) {
        let (stream, source) = (self.flow.stream().clone(), self.rules.sources[wish.to].clone());
        let before = before.map(|before| self.rules.sources[before].clone());
        let (reason, text) = (wish.reason, wish.reason.text());
        let from = before.as_ref().map(tracing::field::display);
        match reason {
            SwitchReason::First | SwitchReason::Restored => {
                tracing::info!(%stream, %source, from, reason = text, "source on air");
            }
            SwitchReason::Left | SwitchReason::Silent => {
                let silent = self.lost.map_or(0, |lost| now.saturating_duration_since(lost).as_millis());
                tracing::warn!(%stream, %source, from, silent_millis = silent, reason = text, "source on air");
            }
        }
        self.events.send(Event::Source { stream, source, what: SourceChange::OnAir { before, reason } });
    }

    /// Whether the source at `place` is on air in the stead of a preferred one.
    fn stands_in(&self, place: usize, now: Instant) -> Option<StandsIn> {
        let missing = self.rules.sources.first().filter(|_| place != 0)?;
        let source = self.rules.sources.get(place)?.clone();
        Some(StandsIn { source, missing: missing.clone(), returning: self.choice.is_live(0, now) })
    }
}

impl Seat {
    /// Takes a place in the group.
    pub(in crate::stream) fn take_place(group: &Arc<Mutex<Group>>, place: usize) -> Self {
        let mut inner = lock(group);
        let id = inner.join(place);
        Self { group: group.clone(), stream: inner.flow.stream().clone(), place, id }
    }

    pub(in crate::stream) fn take(&self, now: Instant, wall: WallTime, item: Demuxed) -> Result<bool, Shed> {
        lock(&self.group).take((self.place, self.id), now, wall, item)
    }

    /// How fast the source may go on.
    pub(in crate::stream) fn pace(&self) -> Pace {
        let mut group = lock(&self.group);
        let on_air = group.choice.on_air() == Some(self.place);
        match group.member(self.place, self.id) {
            None => Pace::Go,
            Some(_) if on_air => group.flow.pace(),
            Some(member) => Pace::after(member.standby.wait()),
        }
    }

    pub(in crate::stream) fn set_languages(&self, languages: &[(u8, String)]) {
        let mut group = lock(&self.group);
        let on_air = group.choice.on_air() == Some(self.place);
        if let Some(member) = group.member(self.place, self.id) {
            languages.clone_into(&mut member.languages);
            if on_air {
                group.flow.set_languages(languages);
            }
        }
    }

    /// Does this to the flow, where the source is on air.
    pub(in crate::stream) fn on_air(&self, what: impl FnOnce(&mut Flow)) {
        let mut group = lock(&self.group);
        if group.choice.on_air() == Some(self.place) {
            what(&mut group.flow);
        }
    }

    /// What the last second was: `read` reads the flow of a source that is on air.
    pub(in crate::stream) fn second<T>(&self, now: Instant, read: impl FnOnce(&mut Flow) -> T) -> Second<T> {
        let mut group = lock(&self.group);
        let on_air = group.choice.on_air() == Some(self.place);
        let source = group.rules.sources.get(self.place).cloned();
        match (group.member(self.place, self.id), source) {
            (Some(_), _) if on_air => Second::OnAir(read(&mut group.flow)),
            (Some(member), Some(source)) => Second::Standby(source, member.standby.take_tick(now)),
            _ => Second::Gone,
        }
    }

    /// Whether it is on air in the stead of a preferred one.
    pub(in crate::stream) fn stands_in(&self, now: Instant) -> Option<StandsIn> {
        let group = lock(&self.group);
        group.stands_in(self.place, now).filter(|_| group.choice.on_air() == Some(self.place))
    }

    /// Something to hear of the flow, where it is on air.
    pub(in crate::stream) fn take_notice(&self) -> Option<crate::demux::Notice> {
        let mut group = lock(&self.group);
        (group.choice.on_air() == Some(self.place)).then(|| group.flow.take_notice()).flatten()
    }

    /// Gives the place back.
    pub(in crate::stream) fn leave(&self) {
        lock(&self.group).leave(self.place, self.id);
    }
}

/// The state is whole between two calls; a panic in another session's call leaves it usable.
pub(in crate::stream) fn lock(group: &Mutex<Group>) -> MutexGuard<'_, Group> {
    group.lock().unwrap_or_else(PoisonError::into_inner)
}
