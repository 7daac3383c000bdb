//! Counters of the hot path, and what they add up to each second.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use aqueduct_common::event::{EdgeTick, REQUEST_BUCKETS_MICROS};
use aqueduct_common::object::ObjectKind;
use http::Version;

use crate::token::Denied;

/// What a request was for: a metric label.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Class {
    Multivariant,
    Playlist,
    Init,
    Part,
    Segment,
    Page,
    /// Something that is not here, or no path at all.
    Other,
}

impl Class {
    /// It was for something that a packager published.
    pub(crate) const fn is_object(self) -> bool {
        !matches!(self, Self::Page | Self::Other)
    }
}

/// Why a request or a connection was refused or shed: a metric label.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Shed {
    /// `edge.limits.connections`.
    Connections,
    /// `edge.limits.connections_per_ip`.
    ConnectionsPerIp,
    /// `edge.limits.connections_per_second_per_ip`.
    ConnectionRate,
    /// `edge.limits.requests_per_second_per_ip`.
    RequestRate,
    /// `edge.limits.held_per_connection` and `held_per_rendition`.
    Held,
    /// The head of a request is too large.
    HeadSize,
    /// The URL is too long.
    UrlSize,
    /// The head of a request, or a TLS handshake, took too long.
    SlowHead,
    /// The client reads too slowly.
    SlowReader,
    /// No HTTP.
    Malformed,
    /// No TLS, or none that we speak.
    Handshake,
    /// The process is out of file descriptors.
    Accept,
    /// Many more resets, empty frames or streams without a request than any player sends.
    Flood,
    /// Sent back to prove its address, because many others are in their QUIC handshakes.
    Unproven,
    /// A path that is written as no player writes one: dot segments, escaped slashes, a damaged token.
    Url,
}

/// What a request came over: a metric label.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Protocol {
    Http1,
    Http2,
    Http3,
}

impl From<Version> for Protocol {
    fn from(version: Version) -> Self {
        match version {
            Version::HTTP_3 => Self::Http3,
            Version::HTTP_2 => Self::Http2,
            _ => Self::Http1,
        }
    }
}

const CLASSES: [&str; 7] = ["multivariant", "playlist", "init", "part", "segment", "page", "other"];
const STATUSES: [&str; 4] = ["2xx", "3xx", "4xx", "5xx"];
const PROTOCOLS: [&str; 3] = ["h1", "h2", "h3"];
const SHEDS: [&str; 15] = [
    "connections",
    "connections_per_ip",
    "connection_rate",
    "request_rate",
    "held",
    "head_size",
    "url_size",
    "slow_head",
    "slow_reader",
    "malformed",
    "handshake",
    "accept",
    "flood",
    "unproven_address",
    "bad_url",
];
const BUCKETS: usize = REQUEST_BUCKETS_MICROS.len() + 1;
/// Sheets that connections are spread over, so that threads seldom write to the same memory.
const SHEETS: usize = 16;

/// All counters of an edge.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    sheets: [Sheet; SHEETS],
    next_sheet: AtomicUsize,
    shed: [AtomicU64; SHEDS.len()],
    denied: [AtomicU64; Denied::LABELS.len()],
    held: AtomicU64,
    fetched: AtomicU64,
}

/// Counters of some of the connections.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Sheet {
    requests: [[[AtomicU64; PROTOCOLS.len()]; STATUSES.len()]; CLASSES.len()],
    bytes: AtomicU64,
    buckets: [AtomicU64; BUCKETS],
    micros: AtomicU64,
}

/// Totals at the last tick.
#[derive(Debug, Default)]
pub(crate) struct Reported {
    requests: [[[u64; PROTOCOLS.len()]; STATUSES.len()]; CLASSES.len()],
    bytes: u64,
    buckets: [u64; BUCKETS],
    micros: u64,
    shed: [u64; SHEDS.len()],
    denied: [u64; Denied::LABELS.len()],
}

impl From<ObjectKind> for Class {
    fn from(kind: ObjectKind) -> Self {
        match kind {
            ObjectKind::Multivariant => Self::Multivariant,
            ObjectKind::Playlist => Self::Playlist,
            ObjectKind::Init => Self::Init,
            ObjectKind::Part => Self::Part,
            ObjectKind::Segment => Self::Segment,
        }
    }
}

impl Sheet {
    /// A request was answered, after `took` without what it was held.
    pub(crate) fn request(&self, class: Class, status: u16, protocol: Protocol, took: Duration) {
        let status = usize::from(status / 100).clamp(2, 5) - 2;
        add(&self.requests[class as usize][status][protocol as usize], 1);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        add(&self.buckets[REQUEST_BUCKETS_MICROS.partition_point(|bound| *bound < micros)], 1);
        add(&self.micros, micros);
    }

    /// Bytes of a body went to a connection.
    pub(crate) fn sent(&self, bytes: usize) {
        add(&self.bytes, bytes as u64);
    }
}

impl Tally {
    /// A connection's share of the sheets.
    pub(crate) fn assign(&self) -> usize {
        self.next_sheet.fetch_add(1, Ordering::Relaxed) % SHEETS
    }

    /// An assigned sheet.
    pub(crate) fn sheet(&self, number: usize) -> &Sheet {
        &self.sheets[number % SHEETS]
    }

    /// Something was refused or shed.
    pub(crate) fn shed(&self, reason: Shed) {
        add(&self.shed[reason as usize], 1);
    }

    /// A viewer was turned away from a protected stream.
    pub(crate) fn denied(&self, denied: Denied) {
        add(&self.denied[denied as usize], 1);
    }

    /// An object was fetched for a request.
    pub(crate) fn fetched(&self) {
        add(&self.fetched, 1);
    }

    /// A request is held from now on, or no longer.
    pub(crate) fn hold(&self, begins: bool) {
        if begins {
            self.held.fetch_add(1, Ordering::Relaxed);
        } else {
            self.held.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Requests held at this moment.
    pub(crate) fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    /// What was counted since the last tick.
    pub(crate) fn tick(&self, last: &mut Reported) -> EdgeTick {
        let mut tick =
            EdgeTick { blocked: self.held(), latency_buckets: vec![0; BUCKETS], ..EdgeTick::default() };
        for (c, class) in CLASSES.into_iter().enumerate() {
            for (s, status) in STATUSES.into_iter().enumerate() {
                for (p, protocol) in PROTOCOLS.into_iter().enumerate() {
                    let count = self.since(|sheet| &sheet.requests[c][s][p], &mut last.requests[c][s][p]);
                    if count > 0 {
                        tick.requests.push((class, status, protocol, count));
                    }
                }
            }
        }
        tick.fetched = self.fetched.swap(0, Ordering::Relaxed);
        tick.bytes = self.since(|sheet| &sheet.bytes, &mut last.bytes);
        for (bucket, count) in tick.latency_buckets.iter_mut().enumerate() {
            *count = self.since(|sheet| &sheet.buckets[bucket], &mut last.buckets[bucket]);
        }
        tick.latency_sum_micros = self.since(|sheet| &sheet.micros, &mut last.micros);
        let mut since = |label, counter: &AtomicU64, last: &mut u64| {
            let total = counter.load(Ordering::Relaxed);
            let count = total - std::mem::replace(last, total);
            if count > 0 {
                tick.shed.push((label, count));
            }
        };
        for (reason, label) in SHEDS.into_iter().enumerate() {
            since(label, &self.shed[reason], &mut last.shed[reason]);
        }
        for (reason, label) in Denied::LABELS.into_iter().enumerate() {
            since(label, &self.denied[reason], &mut last.denied[reason]);
        }
        tick
    }

    fn since(&self, counter: impl Fn(&Sheet) -> &AtomicU64, last: &mut u64) -> u64 {
        let total =
            self.sheets.iter().map(|sheet| counter(sheet).load(Ordering::Relaxed)).fold(0, u64::wrapping_add);
        total.wrapping_sub(std::mem::replace(last, total))
    }
}

fn add(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_is_what_came_since_the_last() {
        let (tally, mut last) = (Tally::default(), Reported::default());
        let sheets = [tally.assign(), tally.assign()];
        assert_ne!(sheets[0], sheets[1]);
        for sheet in sheets.map(|number| tally.sheet(number)) {
            sheet.request(Class::Part, 206, Protocol::Http3, Duration::from_micros(1_000));
            sheet.sent(500);
        }
        tally.sheet(0).request(Class::Other, 404, Protocol::Http1, Duration::from_secs(60));
        tally.shed(Shed::SlowReader);
        tally.denied(Denied::Expired);
        tally.hold(true);
        let tick = tally.tick(&mut last);
        assert_eq!(tick.requests, [("part", "2xx", "h3", 2), ("other", "4xx", "h1", 1)]);
        assert_eq!((tick.bytes, tick.blocked, tick.latency_sum_micros), (1_000, 1, 60_002_000));
        assert_eq!((tick.latency_buckets[0], tick.latency_buckets[13]), (2, 1));
        assert_eq!(tick.shed, [("slow_reader", 1), ("token_expired", 1)]);
        tally.hold(false);
        let tick = tally.tick(&mut last);
        assert_eq!((tick.requests.len(), tick.bytes, tick.blocked, tick.shed.len()), (0, 0, 0, 0));
    }
}
