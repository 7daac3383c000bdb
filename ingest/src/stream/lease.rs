//! The right to publish a stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use aqueduct_common::event::{EventSender, IngestTick, Protocol, PublishEnd};
use aqueduct_common::{Event, WallTime};
use tokio::sync::mpsc::OwnedPermit;
use tokio_util::sync::CancellationToken;

use super::advice::{Advices, Cause};
use super::flow::Flow;
use super::{Pace, Shed};
use crate::rtmp::{MediaKind, Message};

/// How long a publisher may send media without a usable track (RTMP-60).
const USABLE_WITHIN: Duration = Duration::from_secs(5);
/// How long pictures that only lack a key frame to begin with are waited for where nothing else is usable: long enough
/// for the streamer to hear of it.
const KEY_WITHIN: Duration = Duration::from_secs(15);
/// How long pictures come without a key frame before the streamer hears of it.
const KEYLESS_FOR: Duration = Duration::from_secs(10);
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
    pub(super) flow: Box<Flow>,
    pub(super) reason: PublishEnd,
}

/// The right to publish a stream. Dropping it is a lost publisher: the grace time begins.
#[derive(Debug)]
pub struct Lease {
    /// There until the lease is dropped.
    held: Option<(Box<Flow>, OwnedPermit<Returned>)>,
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
}

impl Lease {
    /// A lease on `flow`, which goes back through `permit`.
    pub(super) fn new(
        mut flow: Box<Flow>,
        permit: OwnedPermit<Returned>,
        protocol: Protocol,
        activity: Activity,
        events: EventSender,
    ) -> Self {
        flow.begin();
        Self {
            held: Some((flow, permit)),
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
        let Some((flow, _)) = &mut self.held else { return Ok(Pace::Go) };
        self.activity.note(now);
        self.bytes += message.body.len() as u64;
        self.usable |= flow.push(now, wall, message)?;
        if let Some(notice) = flow.take_notice() {
            self.advices.note(Cause::Notice(notice), now);
        }
        if let Some(metadata) = flow.take_metadata() {
            tracing::debug!(stream = %flow.stream(), ?metadata, "metadata");
        }
        if message.kind != MediaKind::Data {
            let first = *self.first_media.get_or_insert(now);
            let limit = if flow.keyless(now).is_some() { KEY_WITHIN } else { USABLE_WITHIN };
            if !self.usable && now.saturating_duration_since(first) >= limit {
                return Err(Shed::NoUsableTrack);
            }
        }
        let wait = flow.timeline().wait();
        Ok(if wait.is_zero() { Pace::Go } else { Pace::Wait(wait) })
    }

    /// Once a second: sends the figures of the last second. `rtt` is the round trip to the publisher, where known.
    pub fn tick(&mut self, now: Instant, rtt: Option<Duration>) {
        let Some((flow, _)) = &mut self.held else { return };
        let stream = flow.stream().clone();
        let bytes = std::mem::take(&mut self.bytes);
        let rtt_micros = rtt.map(|rtt| u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX));
        let mut tick = IngestTick { bytes, rtt_micros, ..IngestTick::default() };
        flow.take_readings(&mut tick);
        self.events.send(Event::Ingest { stream: stream.clone(), protocol: self.protocol, tick });
        for (kind, count) in flow.take_counts() {
            self.events.send(Event::Anomaly { stream: stream.clone(), kind, count });
        }
        if flow.timeline().has_variable_rate() {
            let since = *self.variable_since.get_or_insert(now);
            if now.saturating_duration_since(since) >= VARIABLE_FOR {
                self.advices.note(Cause::VariableRate, now);
            }
        } else {
            self.variable_since = None;
        }
        if flow.timeline().is_arrival_clocked() {
            self.advices.note(Cause::UnsteadyTimestamps, now);
            if !std::mem::replace(&mut self.warned, true) {
                tracing::warn!(%stream, "timestamps jump again and again: frames are timed by their arrival");
            }
        }
        if let Some(keyless) = flow.keyless(now).filter(|keyless| *keyless >= KEYLESS_FOR) {
            let seconds = u32::try_from(keyless.as_secs()).unwrap_or(u32::MAX);
            self.advices.note(Cause::NoKeyframes(seconds), now);
        }
        for advice in self.advices.due(now) {
            self.events.send(Event::Advice { stream: stream.clone(), advice });
        }
    }

    /// Resolves when the lease is taken away: another publisher took over, or the server stops. Drop it then.
    pub async fn revoked(&self) {
        self.token.cancelled().await;
    }

    /// Ends it with its reason. Whatever the reason, the stream waits for the grace time.
    pub fn end(mut self, reason: PublishEnd) {
        self.reason = reason;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some((mut flow, permit)) = self.held.take() {
            flow.end();
            permit.send(Returned { flow, reason: self.reason });
        }
    }
}

#[cfg(test)]
mod tests;
