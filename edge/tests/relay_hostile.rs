//! What an origin makes of edges that do not keep to the protocol: nothing, but a count.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use aqueduct_common::event::{Event, EventReceiver, bus};
use aqueduct_common::object::{ContentType, Object, ObjectKind, ObjectPath, Publish, Update};
use aqueduct_edge::relay::wire::{ALPN, Frame, Ranges};
use aqueduct_edge::relay::{
    ClientAuth, Config, Hub, Origin, OriginOptions, Plan, ServerAuth, Token, Trail, Upstream,
    UpstreamOptions, Wants,
};
use aqueduct_edge::{Listen, NoPages, Server, Store};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{Connecting, Connection, ConnectionError, Endpoint};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(20);

struct World {
    address: SocketAddr,
    certificate: CertificateDer<'static>,
    token: Token,
    events: EventReceiver,
    hub: Hub,
    _stop: tokio_util::sync::DropGuard,
}

impl World {
    fn new() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let made = rcgen::generate_simple_self_signed(["relay".to_owned()]).unwrap();
        let certificate = CertificateDer::from(made.cert);
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()).into();
        let token = Token::new(&certificate, [9; 16]);
        let auth = ServerAuth::with_token(certificate.clone(), key, token.clone()).unwrap();
        let ((sender, events), hub) = (bus(4_096), Hub::new());
        let trail = watch::channel(Trail::default()).1;
        let options = OriginOptions {
            node: "origin".into(),
            hub: hub.clone(),
            store: Store::new(),
            auth: watch::channel(auth).1,
            refused: watch::channel(Arc::default()).1,
            demand: None,
            wants: None,
            trail,
            events: sender,
        };
        let plan = Plan::try_from(Config::default()).unwrap();
        let origin = Origin::bind(&plan, ([127, 0, 0, 1], 0).into(), options).unwrap();
        let (address, stop) = (origin.address().unwrap(), CancellationToken::new());
        tokio::spawn(origin.run(stop.clone(), Duration::from_secs(1)));
        let world = Self { address, certificate, token, events, hub, _stop: stop.drop_guard() };
        world.publish("live/show");
        world
    }

    /// Puts a stream on air.
    fn publish(&self, stream: &str) {
        let object = Object {
            path: ObjectPath::new("index.m3u8"),
            kind: ObjectKind::Multivariant,
            content_type: ContentType::Hls,
            body: vec!["#EXTM3U\n".into()],
            playlist: None,
        };
        self.hub.publish(&stream.parse().unwrap(), Update::Publish(object));
    }

    async fn connect(&self, alpn: &[u8]) -> Result<Connection, ConnectionError> {
        self.dial([127, 0, 0, 1], alpn).await
    }

    fn dial(&self, from: [u8; 4], alpn: &[u8]) -> Connecting {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let mut tls = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        tls.alpn_protocols = vec![alpn.to_vec()];
        let mut endpoint = Endpoint::client((from, 0).into()).unwrap();
        let crypto = QuicClientConfig::try_from(tls).unwrap();
        endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(crypto)));
        endpoint.connect(self.address, "relay").unwrap()
    }

    /// Waits until somebody was refused for this reason.
    async fn refused(&mut self, reason: &str) {
        let counted = async {
            loop {
                if let Some(Event::Relay(tick)) = self.events.recv().await
                    && tick.refused.iter().any(|(counted, _)| *counted == reason)
                {
                    return;
                }
            }
        };
        tokio::time::timeout(PATIENCE, counted).await.unwrap_or_else(|_| panic!("{reason} was not counted"));
    }
}

fn bytes(frames: &[Frame]) -> Vec<u8> {
    let mut out = Vec::new();
    frames.iter().for_each(|frame| frame.write(&mut out).unwrap());
    out
}

fn hello(token: &[u8]) -> Frame {
    Frame::Hello { node: "edge".into(), token: token.to_vec(), announce: false }
}

/// Says these bytes on the control stream; answers why the origin closed the connection.
async fn say(conn: &Connection, bytes: &[u8]) -> ConnectionError {
    let (mut send, _receive) = conn.open_bi().await.unwrap();
    send.write_all(bytes).await.unwrap();
    tokio::time::timeout(PATIENCE, conn.closed()).await.unwrap()
}

#[tokio::test]
async fn garbage_upward_closes_the_connection_and_changes_nothing() {
    let mut world = World::new();
    let published = world.hub.on_air();
    let subscribe = Frame::Subscribe { sub: 1, stream: "live/show".into() };
    let cases: Vec<Vec<u8>> = vec![
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        bytes(std::slice::from_ref(&subscribe)),
        [bytes(&[hello(b"")]), vec![6, 0, 0, 0, 1, 0]].concat(),
        bytes(&[hello(b""), hello(b"")]),
        bytes(&[hello(b""), Frame::Stream { sub: 1, epoch: 1, lines: vec![] }]),
        bytes(&[hello(b""), Frame::End { sub: 1, epoch: 1, linger: Duration::ZERO, finals: vec![] }]),
        bytes(&[hello(b""), subscribe.clone(), subscribe.clone()]),
    ];
    for case in cases {
        let conn = world.connect(ALPN).await.unwrap();
        let error = say(&conn, &case).await;
        assert!(
            matches!(&error, ConnectionError::ApplicationClosed(close) if close.error_code == 2u32.into()),
            "{error}"
        );
        world.refused("protocol").await;
    }
    // Objects are not taken at all: the origin allows an edge no stream for them.
    let conn = world.connect(ALPN).await.unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(300), conn.open_uni()).await.is_err());
    assert_eq!(world.hub.on_air(), published);

    // An edge that keeps to the protocol is fed.
    let conn = world.connect(ALPN).await.unwrap();
    let (mut send, _receive) = conn.open_bi().await.unwrap();
    let want = Frame::Want { sub: 1, line: String::new(), epoch: 0, have: Ranges::default() };
    send.write_all(&bytes(&[hello(b""), subscribe, want])).await.unwrap();
    let mut object = tokio::time::timeout(PATIENCE, conn.accept_uni()).await.unwrap().unwrap();
    assert!(object.read_to_end(10_000).await.unwrap().ends_with(b"#EXTM3U\n"));
}

#[tokio::test]
async fn a_wrong_token_and_an_unknown_protocol_are_refused_in_words() {
    let mut world = World::new();
    let conn = world.connect(ALPN).await.unwrap();
    let error = say(&conn, &bytes(&[hello(b"0123456789abcdef")])).await.to_string();
    assert!(error.contains("--token"), "{error}");
    world.refused("credentials").await;
    let conn = world.connect(ALPN).await.unwrap();
    let (mut send, _receive) = conn.open_bi().await.unwrap();
    send.write_all(&bytes(&[hello(&[9; 16])])).await.unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(300), conn.closed()).await.is_err(), "it is let in");
    assert!(world.token.to_string().ends_with(&"09".repeat(16)));
    assert!(world.connect(b"aqr/9").await.is_err());
    world.refused("handshake").await;
}

#[tokio::test]
async fn many_who_never_say_who_they_are_keep_no_edge_out() {
    let mut world = World::new();
    let mut crowd = tokio::task::JoinSet::new();
    for _ in 0..200 {
        crowd.spawn(world.dial([127, 0, 0, 2], ALPN));
    }
    world.refused("limit_waiting").await;
    let conn = world.connect(ALPN).await.unwrap();
    let (mut send, mut receive) = conn.open_bi().await.unwrap();
    send.write_all(&bytes(&[hello(b"")])).await.unwrap();
    let mut welcome = [0; 1];
    tokio::time::timeout(PATIENCE, receive.read_exact(&mut welcome)).await.unwrap().unwrap();
    assert_eq!(welcome, [2]);
}

/// A real edge of the origin, and its viewers' side.
struct Edge {
    http: SocketAddr,
    events: EventReceiver,
    _origins: watch::Sender<Vec<String>>,
    _stop: tokio_util::sync::DropGuard,
}

impl Edge {
    fn of(world: &World) -> Self {
        let (wants, hub, (sender, events)) = (Wants::default(), Hub::new(), bus(4_096));
        let store = Store::fed(wants.clone());
        let (origins, list) = watch::channel(vec![world.address.to_string()]);
        let upstream = Upstream::new(UpstreamOptions {
            node: "edge".into(),
            auth: watch::channel(ClientAuth::with_tokens(vec![world.token.clone()]).unwrap()).1,
            refused: watch::channel(Arc::default()).1,
            origins: list,
            holders: watch::channel(Vec::new().into()).1,
            prefetch: Vec::new(),
            idle: Duration::from_secs(30),
            store: store.clone(),
            hub,
            wants,
            events: sender.clone(),
        });
        let mut config = aqueduct_edge::Config::default();
        config.http.listen = Listen::At(([127, 0, 0, 1], 0).into());
        config.https.listen = Listen::Off;
        let plan = aqueduct_edge::Plan::try_from(config).unwrap();
        let server = Server::bind(plan, store, Arc::new(NoPages), None, sender, None).unwrap();
        let (http, stop) = (server.addresses().http.unwrap(), CancellationToken::new());
        tokio::spawn(upstream.run(stop.clone()));
        tokio::spawn(server.run(stop.clone(), Duration::from_secs(1)));
        Self { http, events, _origins: origins, _stop: stop.drop_guard() }
    }

    /// The status of a GET for this target, as it is.
    async fn get(&self, target: &str) -> u16 {
        let exchange = async {
            let mut socket = tokio::net::TcpStream::connect(self.http).await.unwrap();
            let request = format!("GET {target} HTTP/1.1\r\nHost: edge\r\nConnection: close\r\n\r\n");
            socket.write_all(request.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            socket.read_to_end(&mut answer).await.unwrap();
            String::from_utf8_lossy(&answer)[9..12].parse().unwrap()
        };
        tokio::time::timeout(PATIENCE, exchange).await.unwrap_or_else(|_| panic!("no answer to {target}"))
    }

    /// Links that were lost since the last time.
    fn lost(&mut self) -> u64 {
        let events = std::iter::from_fn(|| self.events.try_recv());
        let lost = |event| match event {
            Event::Relay(tick) => tick.lost.iter().map(|(_, count)| *count).sum(),
            _ => 0,
        };
        events.map(lost).sum()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_viewers_ask_an_edge_for_does_not_cut_it_off_from_its_origin() {
    let world = World::new();
    let mut edge = Edge::of(&world);
    assert_eq!(edge.get("/live/show/index.m3u8").await, 200);
    let long = "a".repeat(210);
    for directory in ["a%20b", "a b", "%C3%BC", "a%5Cb", "a%3Fb", "%25", "..%2f..", "%00", &long] {
        for stream in ["show", "nosuch"] {
            assert!(
                matches!(edge.get(&format!("/live/{stream}/{directory}/x")).await, 400..500),
                "{directory}"
            );
        }
    }
    // More directories of one stream, and more streams, than anything has room for.
    for round in 0..5 {
        let targets = (0..100).map(|number| match number % 2 {
            0 => format!("/live/show/d{round}-{number}/media.m3u8"),
            _ => format!("/live/n{round}-{number}/index.m3u8"),
        });
        let answers = targets.map(|target| {
            let edge = &edge;
            async move { edge.get(&target).await }
        });
        for status in futures_util::future::join_all(answers).await {
            assert!(matches!(status, 400..500), "{status}");
        }
    }
    // A stream that nobody asked for yet still comes, over the same link.
    world.publish("live/late");
    assert_eq!(edge.get("/live/late/index.m3u8").await, 200);
    assert_eq!(edge.lost(), 0, "the link was lost");
}

#[tokio::test]
async fn thousands_of_streams_that_are_wanted_before_the_link_is_up_all_come() {
    let world = World::new();
    let (wants, hub) = (Wants::default(), Hub::new());
    let names: Vec<_> = (0..2_500).map(|number| format!("live/s{number}")).collect();
    names.iter().for_each(|name| world.publish(name));
    let coming: Vec<_> =
        names.iter().map(|name| wants.stream(&name.parse().unwrap(), None).unwrap()).collect();
    let (_origins, list) = watch::channel(vec![world.address.to_string()]);
    let upstream = Upstream::new(UpstreamOptions {
        node: "edge".into(),
        auth: watch::channel(ClientAuth::with_tokens(vec![world.token.clone()]).unwrap()).1,
        refused: watch::channel(Arc::default()).1,
        origins: list,
        holders: watch::channel(Vec::new().into()).1,
        prefetch: Vec::new(),
        idle: Duration::from_secs(60),
        store: Store::fed(wants.clone()),
        hub: hub.clone(),
        wants,
        events: bus(4_096).0,
    });
    let stop = CancellationToken::new();
    let _stop = stop.clone().drop_guard();
    tokio::spawn(upstream.run(stop));
    drop(coming);
    let all = async {
        while hub.on_air().len() < names.len() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(3 * PATIENCE, all).await.unwrap_or_else(|_| panic!("{} came", hub.on_air().len()));
}
