//! What nodes of a cluster tell each other of themselves and of their viewers, over NATS JetStream: at least once, and what
//! comes twice counts once. While NATS is away each node knows itself, and nothing stops.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, SystemTime};

use aqueduct_analytics::Board;
use aqueduct_analytics::nodes::NodeView;
use aqueduct_common::event::{Carrier, Report};
use aqueduct_common::{StreamName, WallTime};
use async_nats::header::NATS_MESSAGE_ID;
use async_nats::jetstream::consumer::pull::Config as Consumer;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy};
use async_nats::jetstream::context::{Context, ContextBuilder};
use async_nats::jetstream::stream::{Config as Stream, DiscardPolicy};
use async_nats::{Client, ConnectOptions, HeaderMap};
use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::config::Plan;

/// Batches that wait while NATS is away; then the oldest are given up, so that what comes first is new.
const WAITING: usize = 120;
/// How long one batch may take to be acknowledged.
const REQUEST: Duration = Duration::from_secs(2);
/// Between two attempts.
const AGAIN: Duration = Duration::from_secs(2);
/// How long NATS keeps batches, and at most how many bytes of them.
const KEPT: Duration = Duration::from_secs(600);
const KEPT_BYTES: i64 = 256 * 1_024 * 1_024;
/// Nodes whose numbers are remembered.
const NODES: usize = 4_096;
/// Reports of one batch that are read.
const MOST_REPORTS: usize = 10_000;

/// A second of one node.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Batch {
    /// The process, and the number of the batch among its own.
    instance: u64,
    number: u64,
    node: NodeView,
    viewers: Vec<(String, u32)>,
    reports: Vec<Told>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Told {
    stream: String,
    at: i64,
    viewer: u64,
    carrier: Carrier,
    text: Box<str>,
}

/// Asks other nodes to drain.
#[derive(Clone, Debug)]
pub struct Remote(mpsc::Sender<String>);

impl Remote {
    /// Asks a node; whether it could be asked.
    pub fn drain(&self, node: &str) -> bool {
        self.0.try_send(node.to_owned()).is_ok()
    }
}

/// Begins to tell and to hear, where there is a cluster. `drain` is cancelled when another node asks for it.
pub fn start(plan: &Plan, board: &Board, drain: &CancellationToken) -> Option<Remote> {
    plan.cluster.servers()?;
    let (asked, asks) = mpsc::channel(16);
    tokio::spawn(run(plan.clone(), board.clone(), drain.clone(), asks));
    Some(Remote(asked))
}

async fn run(plan: Plan, board: Board, drain: CancellationToken, mut asks: mpsc::Receiver<String>) {
    let mut talk = Talk::new(board);
    let mut said = false;
    loop {
        if let Err(error) = talk.session(&plan, &drain, &mut asks).await {
            if !std::mem::replace(&mut said, true) {
                tracing::warn!(%error, "other nodes' figures are away with NATS; it is tried again");
            }
        } else {
            return;
        }
        talk.gather();
        tokio::time::sleep(AGAIN).await;
    }
}

/// Why nothing is told.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("no connection: {0}")]
    Connect(#[from] async_nats::ConnectError),
    #[error("cluster.credentials: {0}")]
    Credentials(#[from] std::io::Error),
    #[error("the stream of events cannot be opened: {0}")]
    Stream(String),
    #[error("the stream of events broke off")]
    Ended,
    #[error("a batch was not acknowledged: {0}")]
    Publish(String),
}

struct Talk {
    board: Board,
    waiting: VecDeque<Batch>,
    number: u64,
    instance: u64,
    /// The newest number of each process that was taken in.
    heard: HashMap<u64, u64>,
    /// What of the stream comes next, once something came.
    from: Option<u64>,
}

impl Talk {
    fn new(board: Board) -> Self {
        Self {
            board,
            waiting: VecDeque::new(),
            number: 0,
            instance: instance(),
            heard: HashMap::new(),
            from: None,
        }
    }

    /// Until NATS is lost (an error), or nobody is left (none).
    async fn session(
        &mut self,
        plan: &Plan,
        drain: &CancellationToken,
        asks: &mut mpsc::Receiver<String>,
    ) -> Result<(), Lost> {
        let Some((urls, credentials, cluster)) = plan.cluster.servers() else { return Ok(()) };
        let node = plan.cluster.node().as_str();
        let mut options =
            ConnectOptions::new().name(format!("aqueduct {node} analytics")).request_timeout(Some(REQUEST));
        if let Some(file) = credentials {
            options = options.credentials_file(file).await?;
        }
        let client = options.connect(urls.to_vec()).await?;
        let context = ContextBuilder::new().timeout(REQUEST).build(client.clone());
        let mut batches = self.open(&context, cluster).await?;
        let stream = |error: async_nats::SubscribeError| Lost::Stream(error.to_string());
        let mut orders = client.subscribe(format!("{cluster}.drain.{node}")).await.map_err(stream)?;
        let mut seconds = tokio::time::interval(Duration::from_secs(1));
        seconds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                _ = seconds.tick() => {
                    self.gather();
                    self.tell(&context, cluster, node).await?;
                }
                batch = batches.next() => {
                    let batch = batch.ok_or(Lost::Ended)?.map_err(|error| Lost::Stream(error.to_string()))?;
                    self.from = batch.info().ok().map(|info| info.stream_sequence + 1).or(self.from);
                    self.hear(&batch.payload, node);
                }
                Some(_) = orders.next() => {
                    tracing::info!("another node asked for a drain");
                    drain.cancel();
                }
                asked = asks.recv() => match asked {
                    Some(other) => order(&client, cluster, &other).await,
                    None => return Ok(()),
                },
            }
        }
    }

    /// The stream, made if it is not there, from where it was left or from now on.
    async fn open(
        &self,
        context: &Context,
        cluster: &str,
    ) -> Result<async_nats::jetstream::consumer::pull::Stream, Lost> {
        let failed = |error: String| Lost::Stream(error);
        let stream = Stream {
            name: format!("{cluster}_events"),
            subjects: vec![format!("{cluster}.events.>")],
            max_age: KEPT,
            max_bytes: KEPT_BYTES,
            duplicate_window: Duration::from_secs(120),
            discard: DiscardPolicy::Old,
            ..Stream::default()
        };
        let stream = context.get_or_create_stream(stream).await.map_err(|error| failed(error.to_string()))?;
        let deliver_policy = self
            .from
            .map_or(DeliverPolicy::New, |start_sequence| DeliverPolicy::ByStartSequence { start_sequence });
        let consumer = Consumer {
            deliver_policy,
            ack_policy: AckPolicy::None,
            inactive_threshold: Duration::from_secs(60),
            ..Consumer::default()
        };
        let consumer = stream.create_consumer(consumer).await.map_err(|error| failed(error.to_string()))?;
        consumer.messages().await.map_err(|error| failed(error.to_string()))
    }

    /// Puts this node's second to those that wait.
    fn gather(&mut self) {
        let (node, viewers) = self.board.own();
        let told = |report: Report| Told {
            stream: report.stream.to_string(),
            at: report.at.micros,
            viewer: report.viewer,
            carrier: report.carrier,
            text: report.text,
        };
        self.number += 1;
        if self.waiting.len() >= WAITING {
            self.waiting.pop_front();
        }
        self.waiting.push_back(Batch {
            instance: self.instance,
            number: self.number,
            node,
            viewers: viewers.into_iter().map(|(stream, viewers)| (stream.to_string(), viewers)).collect(),
            reports: self.board.take_reports().into_iter().map(told).collect(),
        });
    }

    /// Tells what waits, oldest first. What is not acknowledged stays.
    async fn tell(&mut self, context: &Context, cluster: &str, node: &str) -> Result<(), Lost> {
        while let Some(batch) = self.waiting.front() {
            let mut headers = HeaderMap::new();
            headers.insert(NATS_MESSAGE_ID, format!("{:x}-{}", batch.instance, batch.number));
            let body = serde_json::to_vec(batch).unwrap_or_default();
            let subject = format!("{cluster}.events.{node}");
            let failed = |error: String| Lost::Publish(error);
            let sent = context.publish_with_headers(subject, headers, body.into()).await;
            sent.map_err(|error| failed(error.to_string()))?
                .await
                .map_err(|error| failed(error.to_string()))?;
            self.waiting.pop_front();
        }
        Ok(())
    }

    /// Takes in another node's second, once.
    fn hear(&mut self, body: &[u8], own: &str) {
        let Ok(batch) = serde_json::from_slice::<Batch>(body) else { return };
        if batch.instance == self.instance || batch.node.node == own {
            return;
        }
        if self.heard.len() >= NODES && !self.heard.contains_key(&batch.instance) {
            self.heard.clear();
        }
        let newest = self.heard.entry(batch.instance).or_default();
        if batch.number <= *newest {
            return;
        }
        *newest = batch.number;
        let name = |text: &str| text.parse::<StreamName>().ok();
        let viewers =
            batch.viewers.iter().filter_map(|(stream, viewers)| Some((name(stream)?, *viewers))).collect();
        let report = |told: Told| {
            let stream = name(&told.stream)?;
            let Told { at, viewer, carrier, text, .. } = told;
            (text.len() <= Report::MOST).then_some(Report {
                stream,
                at: WallTime { micros: at },
                viewer,
                carrier,
                text,
            })
        };
        let reports: Vec<Report> = batch.reports.into_iter().take(MOST_REPORTS).filter_map(report).collect();
        let drain = format!("/api/v1/nodes/{}/drain", batch.node.node);
        self.board.heard(batch.node, viewers, &reports, Some(drain));
    }
}

async fn order(client: &Client, cluster: &str, node: &str) {
    tracing::info!(node, "asking another node to drain");
    if let Err(error) = client.publish(format!("{cluster}.drain.{node}"), bytes::Bytes::new()).await {
        tracing::warn!(node, %error, "it could not be asked");
    }
}

/// A number for this process.
#[expect(clippy::disallowed_methods, reason = "processes are told apart by when they began")]
fn instance() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    now.as_nanos() as u64 ^ (u64::from(std::process::id()) << 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_twice_counts_once() {
        let board = Board::default();
        let mut here = Talk::new(board.clone());
        let node = NodeView { node: "edge-a".into(), state: "up".into(), seen: 1, ..NodeView::default() };
        let beacon = r#"{"v":1,"sid":"a","seq":1,"state":"playing","startup_ms":300}"#;
        let told = Told {
            stream: "live/show".into(),
            at: 1_000,
            viewer: 7,
            carrier: Carrier::Beacon,
            text: beacon.into(),
        };
        let batch = |number, reports| Batch {
            instance: 5,
            number,
            node: node.clone(),
            viewers: vec![("live/show".into(), 3)],
            reports,
        };
        let body = |batch: &Batch| serde_json::to_vec(batch).unwrap();
        let first = body(&batch(1, vec![told.clone()]));
        here.hear(&first, "here");
        here.hear(&first, "here");
        here.hear(
            &body(&batch(1, vec![Told { text: beacon.replace("\"a\"", "\"b\"").into(), ..told }])),
            "here",
        );
        here.hear(b"nonsense", "here");
        let stream = "live/show".parse().unwrap();
        let (total, sessions) = board.sessions(&stream, 10);
        assert_eq!((total, sessions[0].edge.as_str()), (1, "edge-a"));
        assert_eq!(board.nodes()[1].drain.as_deref(), Some("/api/v1/nodes/edge-a/drain"));
    }

    #[test]
    fn what_waits_for_nats_is_bounded() {
        let mut talk = Talk::new(Board::default());
        for _ in 0..2 * WAITING {
            talk.gather();
        }
        assert_eq!((talk.waiting.len(), talk.waiting[0].number), (WAITING, WAITING as u64 + 1));
    }
}
