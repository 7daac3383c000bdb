//! A running ingest: the real server, the real registry, and both ends to watch.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use aqueduct_common::event::{self, EventReceiver, Protocol, PublishEnd};
use aqueduct_common::{Event, Feed, Publication, Sample};
use aqueduct_ingest::{Config, KeyRing, Plan, Server, Streams};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Nothing in these tests takes longer unless it is broken.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct World {
    addresses: Vec<(Protocol, SocketAddr)>,
    stop: CancellationToken,
    server: JoinHandle<()>,
    streams: Streams,
    events: EventReceiver,
    publications: mpsc::Receiver<Publication>,
}

/// Waits for what must come.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what} did not come"),
    }
}

/// The default configuration on free ports of this machine.
pub(crate) fn config() -> Config {
    let mut config = Config::default();
    config.rtmp.listen = "127.0.0.1:0".to_owned();
    config
}

impl World {
    pub(crate) fn start(config: Config) -> Self {
        Self::start_with(config, None)
    }

    pub(crate) fn start_with(config: Config, tls: Option<Arc<rustls::ServerConfig>>) -> Self {
        let plan = Plan::try_from(config).unwrap();
        let (sender, events) = event::bus(10_000);
        let (publications_sender, publications) = mpsc::channel(16);
        let streams = Streams::start(plan.policy(), publications_sender, sender.clone());
        let keys = KeyRing::new(plan.keys(), &[]).unwrap();
        let server = Server::bind(&plan, tls, keys, streams.clone(), sender).unwrap();
        let addresses = server.addresses();
        let stop = CancellationToken::new();
        let server = tokio::spawn(server.run(stop.clone()));
        Self { addresses, stop, server, streams, events, publications }
    }

    pub(crate) fn address(&self, protocol: Protocol) -> SocketAddr {
        self.addresses.iter().find(|(which, _)| *which == protocol).unwrap().1
    }

    pub(crate) fn rtmp(&self) -> SocketAddr {
        self.address(Protocol::Rtmp)
    }

    /// The next stream that begins.
    pub(crate) async fn publication(&mut self) -> Publication {
        soon("a publication", self.publications.recv()).await.unwrap()
    }

    /// No other stream has begun.
    pub(crate) fn publications_are_empty(&mut self) -> bool {
        self.publications.try_recv().is_err()
    }

    /// Passes over events up to one that is wanted.
    pub(crate) async fn event<T>(&mut self, what: &str, mut wanted: impl FnMut(&Event) -> Option<T>) -> T {
        let search = async {
            loop {
                let event = self.events.recv().await.unwrap();
                if let Some(found) = wanted(&event) {
                    return found;
                }
            }
        };
        soon(what, search).await
    }

    pub(crate) async fn started(&mut self) -> (String, bool) {
        self.event("a publisher's start", |event| match event {
            Event::PublishStarted { stream, resumed, .. } => Some((stream.to_string(), *resumed)),
            _ => None,
        })
        .await
    }

    pub(crate) async fn ended(&mut self) -> PublishEnd {
        self.event("a publisher's end", |event| match event {
            Event::PublishEnded { reason, .. } => Some(*reason),
            _ => None,
        })
        .await
    }

    pub(crate) async fn refused(&mut self) -> &'static str {
        self.event("a refusal", |event| match event {
            Event::Refused { reason, .. } => Some(*reason),
            _ => None,
        })
        .await
    }

    pub(crate) async fn closed(&mut self) {
        self.event("a close", |event| matches!(event, Event::ConnectionClosed { .. }).then_some(())).await;
    }

    /// Drains as the program does: the ports first, then the streams.
    pub(crate) async fn stop(&mut self) {
        self.stop.cancel();
        soon("the server's end", &mut self.server).await.unwrap();
        soon("the streams' end", self.streams.close()).await;
    }
}

/// The next message of a feed.
pub(crate) async fn feed(publication: &mut Publication) -> Feed {
    soon("a feed message", publication.feed.recv()).await.unwrap()
}

/// The next sample of a feed.
pub(crate) async fn sample(publication: &mut Publication) -> Sample {
    loop {
        if let Feed::Sample(sample) = feed(publication).await {
            return sample;
        }
    }
}
