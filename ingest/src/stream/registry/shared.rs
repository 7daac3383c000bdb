//! Streams that have a list of sources: each has a place of its own, and the stream waits when all of them are gone.

use super::{
    Answer, Entry, Group, Holding, Live, PublishEnd, PublishRequest, Refusal, Registry, Seat, Shared, clock,
    lock, refuse,
};
use aqueduct_common::event::SourceChange;
use aqueduct_common::{Event, SourceName, StreamName};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::PUBLISHERS;

impl Registry {
    /// A source asks for its place.
    pub(super) fn publish_source(&mut self, request: PublishRequest, answer: Answer) {
        let rules = self.sources.get(&request.stream);
        let Some(place) = rules.and_then(|rules| rules.place(request.source.as_ref())) else {
            tracing::info!(stream = %request.stream, source = ?request.source, "refused: not one of the stream's sources");
            return refuse(answer, Refusal::UnknownSource);
        };
        let takeover = self.policy.takeover;
        if let Some(live) = self.shared(&request.stream).and_then(|shared| shared.seats.get_mut(&place)) {
            return live.challenge(takeover, request, answer);
        }
        self.seat(place, request, answer);
    }

    /// Gives a source its place.
    fn seat(&mut self, place: usize, request: PublishRequest, answer: Answer) {
        let PublishRequest { stream, protocol, encoder, .. } = request;
        let Ok(permit) = self.returns.clone().try_reserve_owned() else {
            tracing::warn!(%stream, publishers = PUBLISHERS, "refused: too many publishers");
            return refuse(answer, Refusal::Busy);
        };
        let Some(group) = self.group(&stream) else { return refuse(answer, Refusal::Busy) };
        let resumed = lock(&group).flow().has_begun();
        let seat = Seat::take_place(&group, place);
        let (lease, live) = self.lease(Holding::Seat(seat), permit, protocol);
        if let Some(shared) = self.shared(&stream) {
            shared.seats.insert(place, live);
            shared.until = None;
        }
        let source = self.name_of(&stream, place);
        tracing::info!(%stream, %source, protocol = protocol.as_str(), %encoder, resumed, "source came");
        let what = SourceChange::Joined { protocol, encoder: encoder.clone() };
        self.events.send(Event::Source { stream: stream.clone(), source, what });
        self.events.send(Event::PublishStarted { stream, protocol, encoder, resumed });
        // Where the asker is gone, the lease comes back by being dropped.
        drop(answer.send(Ok(lease)));
    }

    /// The sources of a stream, made where there are none. A flow that nobody takes any more is let go before.
    fn group(&mut self, stream: &StreamName) -> Option<Arc<Mutex<Group>>> {
        if let Some(Entry::Shared(shared)) = self.streams.get(stream) {
            let group = shared.group.clone();
            self.renew_orphaned(&group, stream);
            return Some(group);
        }
        let rules = self.sources.get(stream)?.clone();
        let group = Arc::new(Mutex::new(Group::new(self.flow(stream), rules, self.events.clone())));
        let shared = Shared { group: group.clone(), seats: BTreeMap::new(), until: None };
        self.streams.insert(stream.clone(), Entry::Shared(shared));
        Some(group)
    }

    fn renew_orphaned(&self, group: &Mutex<Group>, stream: &StreamName) {
        let mut group = lock(group);
        if group.flow().is_orphaned() {
            self.over(stream.clone());
            group.renew(self.flow(stream));
        }
    }

    /// A source has left its place.
    pub(super) fn take_seat_back(&mut self, seat: &Seat, reason: PublishEnd) {
        let stream = seat.stream.clone();
        let Some(shared) = self.shared(&stream) else { return };
        let Some(Live { protocol, revoked, successor, .. }) = shared.seats.remove(&seat.place) else {
            return;
        };
        let group = shared.group.clone();
        // A session that ended for a reason of its own did so before it was revoked.
        let reason = if reason == PublishEnd::Lost { revoked.unwrap_or(reason) } else { reason };
        let source = self.name_of(&stream, seat.place);
        tracing::info!(%stream, %source, protocol = protocol.as_str(), ?reason, "source left");
        let what = SourceChange::Left { reason };
        self.events.send(Event::Source { stream: stream.clone(), source, what });
        self.events.send(Event::PublishEnded { stream: stream.clone(), protocol, reason });
        match successor {
            Some((_, answer)) if self.closing.is_some() => refuse(answer, Refusal::Draining),
            Some((request, answer)) => return self.seat(seat.place, request, answer),
            None => {}
        }
        self.renew_orphaned(&group, &stream);
        self.settle(&stream, &group);
    }

    /// A stream that has lost its last source waits, or is over where it never began or the server stops.
    fn settle(&mut self, stream: &StreamName, group: &Mutex<Group>) {
        let (begun, grace, closing) =
            (lock(group).flow().has_begun(), self.policy.grace, self.closing.is_some());
        let Some(shared) = self.shared(stream).filter(|shared| shared.seats.is_empty()) else { return };
        if begun && !closing {
            shared.until = Some(clock() + grace);
        } else {
            self.streams.remove(stream);
            self.over(stream.clone());
        }
    }

    fn shared(&mut self, stream: &StreamName) -> Option<&mut Shared> {
        match self.streams.get_mut(stream) {
            Some(Entry::Shared(shared)) => Some(shared),
            _ => None,
        }
    }

    fn name_of(&self, stream: &StreamName, place: usize) -> SourceName {
        let listed = self.sources.get(stream).and_then(|rules| rules.sources().get(place)).cloned();
        listed.unwrap_or_else(SourceName::unnamed)
    }
}
