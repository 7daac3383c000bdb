//! The right to publish a stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use aqueduct_common::event::{Advice, Anomaly, EventSender, IngestTick, Protocol, PublishEnd, SourceChange};
use aqueduct_common::{Event, StreamName, WallTime};
use tokio::sync::mpsc::OwnedPermit;
use tokio_util::sync::CancellationToken;

use super::advice::{Advices, Cause};
use super::flow::Flow;
use super::sources::{Seat, Second, StandsIn};
use super::{Pace, Shed};
use crate::demux::{Demuxed, Demuxer, Notice};
use crate::flv::Metadata;
use crate::rtmp::{MediaKind, Message};

/// How long a publisher may send media without a usable track (RTMP-60).
const USABLE_WITHIN: Duration = Duration::from_secs(5);
/// How long pictures that only lack a key frame to begin with are waited for where nothing else is usable: long enough
/// for the streamer to hear of it.
const KEY_WITHIN: Duration = Duration::from_secs(15);
/// How long pictures come without a key frame before the streamer hears of it.
const KEYLESS_FOR: Duration = Duration::from_secs(10);
/// Pictures come while the newest one came within this time.
const PICTURES_WITHIN: Duration = Duration::from_secs(2);
/// How often it is said that a source stands in for another.
const STANDS_IN_EVERY: Duration = Duration::from_secs(10);
/// How long a frame rate varies before the streamer hears of it.
const VARIABLE_FOR: Duration = Duration::from_secs(10);

/// When a publisher last sent media, shared with the registry.
#[derive(Clone, Debug)]
pub(super) struct Activity {
    origin: Instant,
    millis: Arc<AtomicU64>,
}

impl Activity {
    /// Active at `now`. `origin` is any earlier instant.
    pub(super) fn new(origin: Instant, now: Instant) -> Self {
        let activity = Self { origin, millis: Arc::default() };
        activity.note(now);
        activity
    }

    fn note(&self, now: Instant) {
        let millis = now.saturating_duration_since(self.origin).as_millis();
        self.millis.store(u64::try_from(millis).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// How long ago media came.
    pub(super) fn ago(&self, now: Instant) -> Duration {
        let last = Duration::from_millis(self.millis.load(Ordering::Relaxed));
        now.saturating_duration_since(self.origin).saturating_sub(last)
    }
}

/// What comes back to the registry when a lease ends.
#[derive(Debug)]
pub(super) struct Returned {
    pub(super) back: Back,
    pub(super) reason: PublishEnd,
}

/// What a lease had.
#[derive(Debug)]
pub(super) enum Back {
    /// The stream itself.
    Flow(Box<Flow>),
    /// A place among its sources.
    Seat(Seat),
}

/// What a lease has: the stream itself, or a place among its sources.
#[derive(Debug)]
pub(super) enum Holding {
    Sole(Box<Flow>),
    Seat(Seat),
}

impl Holding {
    fn stream(&self) -> &StreamName {
        match self {
            Self::Sole(flow) => flow.stream(),
            Self::Seat(seat) => &seat.stream,
        }
    }

    fn take(&mut self, now: Instant, wall: WallTime, item: Demuxed) -> Result<bool, Shed> {
        match self {
            Self::Sole(flow) => flow.take(now, wall, item),
            Self::Seat(seat) => seat.take(now, wall, item),
        }
    }

    fn pace(&self) -> Pace {
        match self {
            Self::Sole(flow) => flow.pace(),
            Self::Seat(seat) => seat.pace(),
        }
    }

    fn take_notice(&mut self) -> Option<crate::demux::Notice> {
        match self {
            Self::Sole(flow) => flow.take_notice(),
            Self::Seat(seat) => seat.take_notice(),
        }
    }

    fn set_languages(&mut self, metadata: &Metadata) {
        match self {
            Self::Sole(flow) => flow.set_languages(&metadata.languages),
            Self::Seat(seat) => seat.set_languages(&metadata.languages),
        }
    }

    /// Does this to the flow, where the source is on air.
    fn on_air(&mut self, what: impl FnOnce(&mut Flow)) {
        match self {
            Self::Sole(flow) => what(flow),
            Self::Seat(seat) => seat.on_air(what),
        }
    }

    fn second<T>(&mut self, now: Instant, read: impl FnOnce(&mut Flow) -> T) -> Second<T> {
        match self {
            Self::Sole(flow) => Second::OnAir(read(flow)),
            Self::Seat(seat) => seat.second(now, read),
        }
    }
}

/// What a second of the flow was.
struct Observed {
    tick: IngestTick,
    counts: Vec<(aqueduct_common::event::Anomaly, u32)>,
    variable: bool,
    clocked: bool,
}

impl Observed {
    fn of(flow: &mut Flow, mut tick: IngestTick) -> Self {
        flow.take_readings(&mut tick);
        let counts = flow.take_counts().collect();
        let timeline = flow.timeline();
        Self { tick, counts, variable: timeline.has_variable_rate(), clocked: timeline.is_arrival_clocked() }
    }
}

/// The right to publish a stream, or to be one of its sources. Dropping it is a lost publisher: the grace time begins,
/// or another source takes over.
#[derive(Debug)]
pub struct Lease {
    /// There until the lease is dropped.
    held: Option<(Holding, OwnedPermit<Returned>)>,
    /// Of publishers whose messages are demuxed here.
    demuxer: Demuxer,
    /// First and newest of the pictures since the last sync sample.
    keyless: Option<[Instant; 2]>,
    reason: PublishEnd,
    protocol: Protocol,
    token: CancellationToken,
    activity: Activity,
    events: EventSender,
    advices: Advices,
    bytes: u64,
    first_media: Option<Instant>,
    usable: bool,
    variable_since: Option<Instant>,
    warned: bool,
    stand_in_told: Option<(Instant, StandsIn)>,
}

impl Lease {
    /// A lease that goes back through `permit`. Sound that needs a transcode is left out unless `transcodes`.
    pub(super) fn new(
        held: Holding,
        permit: OwnedPermit<Returned>,
        protocol: Protocol,
        activity: Activity,
        events: EventSender,
        transcodes: bool,
    ) -> Self {
        Self {
            held: Some((held, permit)),
            demuxer: Demuxer::new(transcodes),
            keyless: None,
            reason: PublishEnd::Lost,
            protocol,
            token: CancellationToken::new(),
            activity,
            events,
            advices: Advices::default(),
            bytes: 0,
            first_media: None,
            usable: false,
            variable_since: None,
            warned: false,
            stand_in_told: None,
        }
    }

    /// Cancelling it revokes the lease.
    pub(super) const fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// Takes one media message that arrived at `now`, which is `wall` in UTC.
    ///
    /// # Errors
    /// When the publisher has to go.
    pub fn push(&mut self, now: Instant, wall: WallTime, message: &Message) -> Result<Pace, Shed> {
        let Some((held, _)) = &mut self.held else { return Ok(Pace::Go) };
        self.activity.note(now);
        self.bytes += message.body.len() as u64;
        self.demuxer.push(message);
        while let Some(item) = self.demuxer.poll() {
            self.usable |= held.take(now, wall, item)?;
        }
        if message.kind == MediaKind::Video {
            let first = self.keyless.map_or(now, |[first, _]| first);
            self.keyless = self.demuxer.awaits_key().then_some([first, now]);
        }
        if let Some(notice) = self.demuxer.take_notice().or_else(|| held.take_notice()) {
            self.advices.note(Cause::Notice(notice), now);
        }
        if let Some(metadata) = self.demuxer.take_metadata() {
            held.set_languages(&metadata);
            tracing::debug!(stream = %held.stream(), ?metadata, "metadata");
        }
        let pace = held.pace();
        if message.kind != MediaKind::Data {
            let first = *self.first_media.get_or_insert(now);
            let limit = if self.keyless(now).is_some() { KEY_WITHIN } else { USABLE_WITHIN };
            if !self.usable && now.saturating_duration_since(first) >= limit {
                return Err(Shed::NoUsableTrack);
            }
        }
        Ok(pace)
    }

    /// Takes one item of a source that demuxes for itself (RTSP, a worker), which arrived at `now`, which is `wall` in
    /// UTC. A track's configuration comes before its frames, and its first frame behind one is a sync sample.
    ///
    /// # Errors
    /// When the source has to go.
    pub fn take(&mut self, now: Instant, wall: WallTime, item: Demuxed) -> Result<Pace, Shed> {
        let Some((held, _)) = &mut self.held else { return Ok(Pace::Go) };
        self.activity.note(now);
        if let Demuxed::Frame(frame) = &item {
            self.bytes += frame.payload.len() as u64;
        }
        self.usable |= held.take(now, wall, item)?;
        if let Some(notice) = held.take_notice() {
            self.advices.note(Cause::Notice(notice), now);
        }
        Ok(held.pace())
    }

    /// For how long pictures have been coming of which none is a sync sample.
    fn keyless(&self, now: Instant) -> Option<Duration> {
        let [first, newest] = self.keyless?;
        (now.saturating_duration_since(newest) < PICTURES_WITHIN)
            .then(|| now.saturating_duration_since(first))
    }

    /// Notes a picture of such a source, whether or not it was taken: it is none that decoding can start with if
    /// `awaits_key`.
    pub fn note_picture(&mut self, now: Instant, awaits_key: bool) {
        let first = self.keyless.map_or(now, |[first, _]| first);
        self.keyless = awaits_key.then_some([first, now]);
    }

    /// Something about the source that its owner should hear of.
    pub fn note(&mut self, now: Instant, notice: Notice) {
        self.advices.note(Cause::Notice(notice), now);
    }

    /// What such a source repaired or left out.
    pub fn count(&self, counts: impl IntoIterator<Item = (Anomaly, u32)>) {
        let Some((held, _)) = &self.held else { return };
        for (kind, count) in counts {
            self.events.send(Event::Anomaly { stream: held.stream().clone(), kind, count });
        }
    }

    /// How long after their capture such a source's frames come from now on, where its clock is believed.
    pub fn set_delay(&mut self, delay: Duration) {
        if let Some((held, _)) = &mut self.held {
            held.on_air(|flow| flow.set_delay(delay));
        }
    }

    /// Once a second: sends the figures of the last second. `rtt` is the round trip to the publisher, where known.
    pub fn tick(&mut self, now: Instant, rtt: Option<Duration>) {
        let Some((held, _)) = &mut self.held else { return };
        let stream = held.stream().clone();
        let bytes = std::mem::take(&mut self.bytes);
        let rtt_micros = rtt.map(|rtt| u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX));
        let tick = IngestTick { bytes, rtt_micros, ..IngestTick::default() };
        match held.second(now, |flow| Observed::of(flow, tick)) {
            Second::OnAir(observed) => self.tell(&stream, now, observed),
            Second::Standby(source, tick) => {
                let what = SourceChange::Standby(tick);
                self.events.send(Event::Source { stream: stream.clone(), source, what });
            }
            Second::Gone => {}
        }
        for (kind, count) in self.demuxer.take_counts() {
            self.events.send(Event::Anomaly { stream: stream.clone(), kind, count });
        }
        if let Some(keyless) = self.keyless(now).filter(|keyless| *keyless >= KEYLESS_FOR) {
            let seconds = u32::try_from(keyless.as_secs()).unwrap_or(u32::MAX);
            self.advices.note(Cause::NoKeyframes(seconds), now);
        }
        for advice in self.advices.due(now) {
            self.events.send(Event::Advice { stream: stream.clone(), advice });
        }
        self.tell_stand_in(&stream, now);
    }

    /// The second of a publisher that is on air.
    fn tell(&mut self, stream: &StreamName, now: Instant, observed: Observed) {
        let Observed { tick, counts, variable, clocked } = observed;
        self.events.send(Event::Ingest { stream: stream.clone(), protocol: self.protocol, tick });
        for (kind, count) in counts {
            self.events.send(Event::Anomaly { stream: stream.clone(), kind, count });
        }
        if variable {
            let since = *self.variable_since.get_or_insert(now);
            if now.saturating_duration_since(since) >= VARIABLE_FOR {
                self.advices.note(Cause::VariableRate, now);
            }
        } else {
            self.variable_since = None;
        }
        if clocked {
            self.advices.note(Cause::UnsteadyTimestamps, now);
            if !std::mem::replace(&mut self.warned, true) {
                tracing::warn!(%stream, "timestamps jump again and again: frames are timed by their arrival");
            }
        }
    }

    /// Says again and again while a source is on air in the stead of a preferred one.
    fn tell_stand_in(&mut self, stream: &StreamName, now: Instant) {
        let Some((Holding::Seat(seat), _)) = &self.held else { return };
        let Some(stands_in) = seat.stands_in(now) else {
            self.stand_in_told = None;
            return;
        };
        let told = self.stand_in_told.as_ref().is_some_and(|(told, what)| {
            *what == stands_in && now.saturating_duration_since(*told) < STANDS_IN_EVERY
        });
        if !told {
            let advice = Advice::OnBackup {
                source: stands_in.source.to_string(),
                missing: stands_in.missing.to_string(),
                returning: stands_in.returning,
            };
            self.events.send(Event::Advice { stream: stream.clone(), advice });
            self.stand_in_told = Some((now, stands_in));
        }
    }

    /// Resolves when the lease is taken away: another publisher took over, or the server stops. Drop it then.
    pub async fn revoked(&self) {
        self.token.cancelled().await;
    }

    /// It was taken away.
    pub fn is_revoked(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Ends it with its reason. Whatever the reason, the stream waits for the grace time.
    pub fn end(mut self, reason: PublishEnd) {
        self.reason = reason;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some((held, permit)) = self.held.take() else { return };
        let back = match held {
            Holding::Sole(mut flow) => {
                flow.end();
                Back::Flow(flow)
            }
            Holding::Seat(seat) => {
                seat.leave();
                Back::Seat(seat)
            }
        };
        permit.send(Returned { back, reason: self.reason });
    }
}

#[cfg(test)]
mod tests;
