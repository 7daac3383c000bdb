//! Nodes that feed each other in one process: origins, shields and edges, with their viewers' side.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use aqueduct_common::event::{BackfillTick, Event, EventReceiver, bus};
use aqueduct_edge::relay::{
    ClientAuth, Config, Hub, Origin, OriginOptions, Plan, ServerAuth, Tee, Token, Trail, Upstream,
    UpstreamOptions, Wants,
};
use aqueduct_edge::{Listen, NoPages, Server, Store};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub const PATIENCE: Duration = Duration::from_secs(30);

/// A node that feeds others, and serves viewers.
pub struct Node {
    pub relay: SocketAddr,
    pub token: Token,
    pub http: SocketAddr,
    pub tee: Tee,
    pub events: EventReceiver,
    pub totals: (u64, BackfillTick),
    _origins: watch::Sender<Vec<String>>,
    _stop: tokio_util::sync::DropGuard,
}

impl Node {
    /// An origin, or a node that is fed by another one.
    pub fn new(node: &str, above: Option<&Self>) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let made = rcgen::generate_simple_self_signed(["relay".to_owned()]).unwrap();
        let certificate = CertificateDer::from(made.cert);
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()).into();
        let token = Token::new(&certificate, [9; 16]);
        let auth = ServerAuth::with_token(certificate, key, token.clone()).unwrap();
        let ((sender, events), hub, wants) = (bus(4_096), Hub::new(), above.map(|_| Wants::default()));
        let store = wants.clone().map_or_else(Store::new, Store::fed);
        let stop = CancellationToken::new();
        let (origins, list) =
            watch::channel(above.map(|above| above.relay.to_string()).into_iter().collect());
        let mut trail = watch::channel(Trail::default()).1;
        if let (Some(wants), Some(above)) = (wants.clone(), above) {
            let upstream = Upstream::new(UpstreamOptions {
                node: node.into(),
                auth: watch::channel(ClientAuth::with_tokens(vec![above.token.clone()]).unwrap()).1,
                refused: watch::channel(Arc::default()).1,
                origins: list,
                holders: watch::channel(Vec::new().into()).1,
                prefetch: Vec::new(),
                idle: Duration::from_secs(60),
                store: store.clone(),
                hub: hub.clone(),
                wants,
                events: sender.clone(),
            });
            trail = upstream.trail();
            tokio::spawn(upstream.run(stop.clone()));
        }
        let options = OriginOptions {
            node: node.into(),
            hub: hub.clone(),
            store: store.clone(),
            auth: watch::channel(auth).1,
            refused: watch::channel(Arc::default()).1,
            demand: None,
            wants,
            trail,
            events: sender.clone(),
        };
        let plan = Plan::try_from(Config::default()).unwrap();
        let origin = Origin::bind(&plan, ([127, 0, 0, 1], 0).into(), options).unwrap();
        let relay = origin.address().unwrap();
        tokio::spawn(origin.run(stop.clone(), Duration::from_secs(1)));
        let mut config = aqueduct_edge::Config::default();
        config.http.listen = Listen::At(([127, 0, 0, 1], 0).into());
        config.https.listen = Listen::Off;
        config.limits.requests_per_second_per_ip = 100_000;
        config.limits.connections_per_second_per_ip = 100_000;
        let plan = aqueduct_edge::Plan::try_from(config).unwrap();
        let server = Server::bind(plan, store.clone(), Arc::new(NoPages), None, sender, None).unwrap();
        let http = server.addresses().http.unwrap();
        tokio::spawn(server.run(stop.clone(), Duration::from_secs(1)));
        let tee = Tee { store, hub };
        let totals = (0, BackfillTick::default());
        Self { relay, token, http, tee, events, totals, _origins: origins, _stop: stop.drop_guard() }
    }

    /// Status and body of a GET.
    pub async fn get(&self, target: &str) -> (u16, Vec<u8>) {
        let exchange = async {
            let mut socket = tokio::net::TcpStream::connect(self.http).await.unwrap();
            let request = format!("GET {target} HTTP/1.1\r\nHost: edge\r\nConnection: close\r\n\r\n");
            socket.write_all(request.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            socket.read_to_end(&mut answer).await.unwrap();
            let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
            (String::from_utf8_lossy(&answer)[9..12].parse().unwrap(), answer.split_off(end + 4))
        };
        tokio::time::timeout(PATIENCE, exchange).await.unwrap_or_else(|_| panic!("no answer to {target}"))
    }

    /// Waits until this is served: a link may take a while to come about on a busy machine.
    pub async fn serves(&self, target: &str) {
        let served = async {
            while self.get(target).await.0 != 200 {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(2 * PATIENCE, served).await.unwrap_or_else(|_| panic!("{target} is not served"));
    }

    /// Waits until so many requests are held.
    pub async fn holds(&mut self, requests: u64) {
        let held = async {
            loop {
                if let Some(Event::Edge(tick)) = self.events.recv().await
                    && tick.blocked == requests
                {
                    return;
                }
            }
        };
        tokio::time::timeout(PATIENCE, held).await.unwrap_or_else(|_| panic!("{requests} are not held"));
    }

    /// Waits until what was counted fulfils the condition: objects lent to others, and what was fetched.
    pub async fn counted(&mut self, wanted: impl Fn(u64, &BackfillTick) -> bool) {
        let counted = async {
            while !wanted(self.totals.0, &self.totals.1) {
                let Some(Event::Relay(tick)) = self.events.recv().await else { continue };
                self.totals.0 += tick.lent_objects;
                let (sum, new) = (&mut self.totals.1, tick.backfill.unwrap_or_default());
                sum.asked += new.asked;
                sum.fetched += new.fetched;
                sum.bytes += new.bytes;
                sum.absent += new.absent;
                sum.failed += new.failed;
                sum.limited += new.limited;
                sum.kept_bytes = sum.kept_bytes.max(new.kept_bytes);
            }
        };
        let late = tokio::time::timeout(PATIENCE, counted).await.is_err();
        assert!(!late, "{:?}", self.totals);
    }
}
