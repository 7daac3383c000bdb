//! OpenTelemetry by option: the node's metrics, each publish session as a span, and where the time between capture and
//! screen goes as a trace, over OTLP/HTTP. What cannot be delivered waits in a bounded queue; the oldest is dropped and
//! counted, and nothing else notices.

mod metrics;
mod spans;

use std::collections::VecDeque;
use std::time::Duration;

use aqueduct_analytics::{Board, Told};
use aqueduct_common::WallTime;
use bytes::Bytes;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message as _;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use crate::client::{Client, NotTaken};
use crate::config::OtlpPlan;
use spans::Sessions;

/// Messages that wait for a collector; then the oldest is dropped.
const WAITING: usize = 64;

/// What every message says of its sender.
#[derive(Clone, Debug)]
struct Sender {
    resource: Resource,
    scope: InstrumentationScope,
}

impl Sender {
    fn new(node: &str, role: &str) -> Self {
        let attributes = vec![
            text("service.name", "aqueduct"),
            text("service.version", env!("CARGO_PKG_VERSION")),
            text("service.instance.id", node),
            text("aqueduct.role", role),
        ];
        let scope = InstrumentationScope {
            name: "aqueduct".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            ..InstrumentationScope::default()
        };
        Self { resource: Resource { attributes, ..Resource::default() }, scope }
    }
}

/// A message, and below which path it is posted.
struct Post {
    path: &'static str,
    body: Bytes,
}

/// Messages that wait, the oldest first.
#[derive(Default)]
struct Queue {
    waiting: VecDeque<Post>,
    dropped: u64,
}

impl Queue {
    fn add(&mut self, path: &'static str, body: Vec<u8>) {
        if self.waiting.len() >= WAITING {
            self.waiting.pop_front();
            self.dropped += 1;
        }
        self.waiting.push_back(Post { path, body: body.into() });
    }
}

/// How long the last figures are tried for.
const LAST_TRY: std::time::Duration = std::time::Duration::from_secs(2);

/// Exports until `stop`.
pub async fn run(board: Board, plan: Option<OtlpPlan>, stop: CancellationToken) {
    let Some(plan) = plan else { return };
    let overview = board.overview();
    let sender = Sender::new(&overview.node, &overview.role);
    let mut export = Export {
        began: nanos(),
        client: Client::new(),
        queue: Queue::default(),
        sessions: Sessions::default(),
        failing: false,
        sender,
        board,
        plan,
    };
    export.until(&stop).await;
    // The last figures of a process are worth one more try.
    export.gather();
    // A collector that is slow holds up no stop.
    let _ = tokio::time::timeout(LAST_TRY, export.deliver()).await;
}

struct Export {
    board: Board,
    plan: OtlpPlan,
    sender: Sender,
    client: Client,
    queue: Queue,
    sessions: Sessions,
    /// When the process began, in nanoseconds since 1970.
    began: u64,
    failing: bool,
}

impl Export {
    async fn until(&mut self, stop: &CancellationToken) {
        let mut told = self.board.listen();
        let mut turns = tokio::time::interval(self.plan.interval);
        turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        // The first turn is at once, and nothing is there yet.
        turns.tick().await;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                heard = told.recv() => match heard {
                    Ok(told) => self.hear(&told),
                    // A span lacks what was missed, and is one nevertheless; that it is over may be among that.
                    Err(broadcast::error::RecvError::Lagged(_)) => self.end_what_is_gone(),
                    Err(broadcast::error::RecvError::Closed) => return,
                },
                _ = turns.tick() => {
                    self.gather();
                    tokio::select! {
                        () = self.deliver() => {}
                        () = stop.cancelled() => return,
                    }
                }
            }
        }
    }

    fn end_what_is_gone(&mut self) {
        let streams = self.board.streams();
        let there = |name: &str| streams.iter().any(|stream| stream.name.as_str() == name);
        self.sessions.keep(there, nanos());
    }

    fn hear(&mut self, told: &Told) {
        match told {
            Told::Stream(stream, true) => self.sessions.begin(stream.as_str(), nanos()),
            Told::Stream(stream, false) => self.sessions.end(stream.as_str(), nanos()),
            Told::Happened(happening) => self.sessions.note(happening),
            Told::Health(..) | Told::Alert(_) => {}
        }
    }

    /// Puts this turn's messages to those that wait.
    fn gather(&mut self) {
        let now = nanos();
        let metrics = metrics::request(&self.sender, &self.board.metrics(), self.began, now);
        self.queue.add("/v1/metrics", metrics.encode_to_vec());
        let mut traces = self.sessions.take();
        traces.extend(spans::latencies(&self.board.streams(), now));
        if !traces.is_empty() {
            self.queue.add("/v1/traces", spans::request(&self.sender, traces).encode_to_vec());
        }
        self.board.set_exports_dropped(self.queue.dropped);
    }

    /// Posts what waits. What is not taken for now waits on; what is refused for good is dropped.
    async fn deliver(&mut self) {
        while let Some(post) = self.queue.waiting.front() {
            let mut headers = vec![("content-type", "application/x-protobuf")];
            let more = self.plan.headers.iter().map(|(name, value)| (name.as_str(), value.expose().as_str()));
            headers.extend(more);
            let taken =
                self.client.post(&self.plan.endpoint.join(post.path), &headers, post.body.clone()).await;
            let Err(error) = taken else {
                self.queue.waiting.pop_front();
                self.failing = false;
                continue;
            };
            if !std::mem::replace(&mut self.failing, true) {
                tracing::warn!(endpoint = %self.plan.endpoint, %error, "figures were not taken; it is tried again");
            }
            if !again(&error) {
                self.queue.waiting.pop_front();
                self.queue.dropped += 1;
                self.board.set_exports_dropped(self.queue.dropped);
                continue;
            }
            return;
        }
    }
}

/// The same message may be taken later (OTLP/HTTP, failures).
fn again(error: &NotTaken) -> bool {
    match error {
        NotTaken::Status(status) => matches!(status.as_u16(), 429 | 502 | 503 | 504),
        _ => true,
    }
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.into(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.into()))
}

/// Nanoseconds since 1970.
#[expect(clippy::disallowed_methods, reason = "the shell reads the clock for the pure parts")]
fn nanos() -> u64 {
    let micros = WallTime::from_system(std::time::SystemTime::now()).micros;
    u64::try_from(micros).unwrap_or(0).saturating_mul(1_000)
}

/// How often figures are sent, at least and at most.
pub const INTERVALS: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3_600);

#[cfg(test)]
mod tests;
