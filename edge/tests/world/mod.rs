//! A running edge with one stream, and HTTP clients for it.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part of this")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "the helpers of a test fail it")]

pub mod node;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aqueduct_common::StreamName;
use aqueduct_common::event::{EventReceiver, bus};
use aqueduct_common::object::{
    Ahead, ContentType, Object, ObjectKind, ObjectPath, PlaylistInfo, Publish, Update, Version,
};
use aqueduct_edge::{Config, Demand, Limits, Listen, Page, Pages, Plan, Server, Store};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::{PrivatePkcs8KeyDer, ServerName};
use tokio::net::{TcpStream, UdpSocket};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub const LIST: &str = "/live/show/e1/v0/media.m3u8";

pub fn name() -> StreamName {
    "live/show".parse().unwrap()
}

pub fn path(text: &str) -> ObjectPath {
    ObjectPath::new(text)
}

pub fn media(at: &str, kind: ObjectKind, body: Vec<Bytes>) -> Update {
    Update::Publish(Object {
        path: path(at),
        kind,
        content_type: ContentType::VideoMp4,
        body,
        playlist: None,
    })
}

pub fn part(number: u64) -> String {
    format!("e1/v0/p{number}.m4s")
}

/// A body that tells which object it is of.
pub fn bytes_of(number: u64, len: usize) -> Bytes {
    (0..len).map(|at| (at as u64).wrapping_mul(31).wrapping_add(number) as u8).collect::<Vec<_>>().into()
}

pub fn publish_part(number: u64) -> Update {
    media(&part(number), ObjectKind::Part, vec![bytes_of(number, 2_000)])
}

/// Parts per segment of the test stream.
pub const PER_SEGMENT: u64 = 5;

pub fn info(newest: u64) -> PlaylistInfo {
    let version = Version {
        msn: newest / PER_SEGMENT,
        part: (newest % PER_SEGMENT) as u32,
        complete: newest % PER_SEGMENT == PER_SEGMENT - 1,
    };
    PlaylistInfo {
        version,
        delta: Some(Bytes::from(format!(
            "#EXTM3U\n#EXT-X-SKIP:SKIPPED-SEGMENTS=3\n# newest part {newest}\n"
        ))),
        hint: Some(path(&part(newest + 1))),
        ahead: Ahead { parts: 30, hold: Duration::from_secs(8) },
        target_duration: Duration::from_secs(1),
        ended: false,
        needs: Some(path(&part(newest))),
        demand: None,
    }
}

pub fn list_text(newest: u64) -> String {
    let lines =
        (newest.saturating_sub(20)..=newest).map(|n| format!("#EXT-X-PART:DURATION=0.2,URI=\"p{n}.m4s\"\n"));
    format!("#EXTM3U\n{}", lines.collect::<String>())
}

pub fn list_with(info: PlaylistInfo, text: String) -> Update {
    Update::Publish(Object {
        path: path("e1/v0/media.m3u8"),
        kind: ObjectKind::Playlist,
        content_type: ContentType::Hls,
        body: vec![text.into()],
        playlist: Some(info),
    })
}

/// The playlist whose newest part is this one.
pub fn publish_list(newest: u64) -> Update {
    list_with(info(newest), list_text(newest))
}

pub fn publish_multivariant() -> Update {
    Update::Publish(Object {
        path: path("index.m3u8"),
        kind: ObjectKind::Multivariant,
        content_type: ContentType::Hls,
        body: vec![Bytes::from("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\ne1/v0/media.m3u8\n".repeat(4))],
        playlist: None,
    })
}

/// Puts the test stream on air with parts 0 to `newest`.
pub fn go_live(store: &Store, newest: u64) {
    for number in 0..=newest {
        store.publish(&name(), publish_part(number));
    }
    store.publish(&name(), publish_list(newest));
    store.publish(&name(), publish_multivariant());
}

struct Site;

impl Pages for Site {
    fn find(&self, path: &str) -> Option<Page> {
        let html = "text/html; charset=utf-8";
        match path {
            "/" => {
                Some(Page { content_type: html, body: Bytes::from_static(b"<p>home</p>"), immutable: false })
            }
            "/assets/app-1f.js" => Some(Page {
                content_type: "text/javascript; charset=utf-8",
                body: Bytes::from_static(include_bytes!("mod.rs")),
                immutable: true,
            }),
            _ => path.strip_prefix("/watch/").map(|stream| Page {
                content_type: html,
                body: Bytes::from(format!("<p>{stream}</p>")),
                immutable: false,
            }),
        }
    }
}

/// What was told of who asks: the demand, and by how many.
#[derive(Default)]
pub struct Asked(Mutex<Vec<(u8, u32)>>);

impl Demand for Asked {
    fn asked(&self, stream: &StreamName, demand: u8, viewers: u32) {
        assert_eq!(*stream, name());
        self.0.lock().unwrap().push((demand, viewers));
    }
}

impl Asked {
    /// What was told since the last time.
    pub fn take(&self) -> Vec<(u8, u32)> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

pub struct World {
    pub store: Store,
    pub asked: Arc<Asked>,
    pub http: SocketAddr,
    pub https: SocketAddr,
    pub events: EventReceiver,
    pub stop: CancellationToken,
    pub run: JoinHandle<usize>,
    roots: Arc<rustls::RootCertStore>,
}

impl World {
    pub async fn start() -> Self {
        Self::with(Limits::default()).await
    }

    pub async fn with(limits: Limits) -> Self {
        Self::of(Config { limits, ..Config::default() })
    }

    /// With these settings, and addresses of its own.
    pub fn of(mut config: Config) -> Self {
        let loopback = Listen::At(SocketAddr::from(([127, 0, 0, 1], 0)));
        config.http.listen = loopback;
        config.https.listen = loopback;
        let (tls, roots) = certificate();
        let (sender, events) = bus(1_000);
        let store = Store::new();
        let plan = Plan::try_from(config).unwrap();
        let asked = Arc::new(Asked::default());
        let demand = Some(asked.clone() as Arc<dyn Demand>);
        let server = Server::bind(plan, store.clone(), Arc::new(Site), Some(tls), sender, demand).unwrap();
        let addresses = server.addresses();
        let stop = CancellationToken::new();
        let run = tokio::spawn(server.run(stop.clone(), Duration::from_secs(5)));
        let (http, https) = (addresses.http.unwrap(), addresses.https.unwrap());
        Self { store, asked, http, https, events, stop, run, roots }
    }

    /// HTTP/3, with a client that reads as fast as it can.
    pub async fn http3(&self) -> Client {
        Client::http3(self.quic(self.https, quinn::TransportConfig::default()).await.unwrap()).await
    }

    /// QUIC with the edge, or with something in front of it, by a client with these settings.
    pub async fn quic(
        &self,
        address: SocketAddr,
        transport: quinn::TransportConfig,
    ) -> Result<quinn::Connection, quinn::ConnectionError> {
        let mut config = self.quic_client();
        config.transport_config(Arc::new(transport));
        let mut endpoint = quinn::Endpoint::client(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        endpoint.set_default_client_config(config);
        endpoint.connect(address, "localhost").unwrap().await
    }

    /// The settings of a client of HTTP/3.
    pub fn quic_client(&self) -> quinn::ClientConfig {
        self.quic_client_for(b"h3")
    }

    /// The same, of something else on QUIC.
    pub fn quic_client_for(&self, protocol: &[u8]) -> quinn::ClientConfig {
        let mut tls = rustls::ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(self.roots.clone())
            .with_no_client_auth();
        tls.alpn_protocols = vec![protocol.to_vec()];
        tls.enable_early_data = true;
        quinn::ClientConfig::new(Arc::new(quinn::crypto::rustls::QuicClientConfig::try_from(tls).unwrap()))
    }

    pub async fn live() -> Self {
        let world = Self::start().await;
        go_live(&world.store, 52);
        world
    }

    pub async fn http1(&self) -> Client {
        Client::http1(TokioIo::new(TcpStream::connect(self.http).await.unwrap())).await
    }

    pub async fn h2c(&self) -> Client {
        Client::http2(TokioIo::new(TcpStream::connect(self.http).await.unwrap())).await
    }

    /// HTTP/2 without TLS, to any edge.
    pub async fn h2c_to(address: SocketAddr) -> Client {
        Client::http2(TokioIo::new(TcpStream::connect(address).await.unwrap())).await
    }

    /// Asks for something over HTTP/2 and never gives the server room to send it.
    pub async fn h2c_without_window(&self, target: &str) -> Box<dyn std::any::Any + Send> {
        let io = TokioIo::new(TcpStream::connect(self.http).await.unwrap());
        let mut http2 = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
        let (mut sender, talk) = http2.initial_stream_window_size(70_000).handshake(io).await.unwrap();
        let talk = tokio::spawn(async { drop(talk.await) });
        let request = Request::get(format!("http://localhost{target}")).body(Empty::<Bytes>::new()).unwrap();
        let response = sender.send_request(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        // The body is kept and not read.
        Box::new((sender, talk, response))
    }

    /// HTTP over TLS, in the protocol that the server picks of these.
    pub async fn tls(&self, alpn: &[&str]) -> (Client, Option<Vec<u8>>) {
        let mut config = rustls::ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(self.roots.clone())
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let socket = TcpStream::connect(self.https).await.unwrap();
        let host = ServerName::try_from("localhost").unwrap();
        let stream = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(host, socket).await.unwrap();
        let chosen = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
        let io = TokioIo::new(stream);
        let http2 = chosen.as_deref() == Some(b"h2");
        (if http2 { Client::http2(io).await } else { Client::http1(io).await }, chosen)
    }

    /// The next report of a player.
    pub async fn report(&mut self) -> aqueduct_common::event::Report {
        let found = async {
            loop {
                if let Some(aqueduct_common::Event::Report(report)) = self.events.recv().await {
                    return report;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(30), found).await.expect("a report")
    }

    /// The next tick that fulfils the condition. Ticks come once a second.
    pub async fn tick(&mut self, wanted: impl Fn(&aqueduct_common::event::EdgeTick) -> bool) {
        let found = async {
            loop {
                if let Some(aqueduct_common::Event::Edge(tick)) = self.events.recv().await
                    && wanted(&tick)
                {
                    return;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(30), found)
            .await
            .expect("a tick that fulfils the condition");
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn certificate() -> (Arc<rustls::ServerConfig>, Arc<rustls::RootCertStore>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let server = rustls::ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .unwrap();
    (Arc::new(server), Arc::new(roots))
}

/// One connection.
pub struct Client {
    sender: Sender,
    pub talk: JoinHandle<()>,
}

#[derive(Clone)]
enum Sender {
    Http1(Arc<tokio::sync::Mutex<hyper::client::conn::http1::SendRequest<Empty<Bytes>>>>),
    Http2(hyper::client::conn::http2::SendRequest<Empty<Bytes>>),
    Http3(h3::client::SendRequest<h3_quinn::OpenStreams, Bytes>),
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

impl Client {
    async fn http1(io: impl hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static) -> Self {
        let (sender, talk) = hyper::client::conn::http1::handshake(io).await.unwrap();
        let talk = tokio::spawn(async { drop(talk.await) });
        Self { sender: Sender::Http1(Arc::new(sender.into())), talk }
    }

    async fn http2(io: impl hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static) -> Self {
        let (sender, talk) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
        let talk = tokio::spawn(async { drop(talk.await) });
        Self { sender: Sender::Http2(sender), talk }
    }

    pub async fn http3(quic: quinn::Connection) -> Self {
        let (mut driver, sender) = h3::client::new(h3_quinn::Connection::new(quic)).await.unwrap();
        // Dropping the driver closes the connection.
        let talk = tokio::spawn(async move { drop(driver.wait_idle().await) });
        Self { sender: Sender::Http3(sender), talk }
    }

    /// Sends a request; over HTTP/2 and HTTP/3 any number may be under way.
    pub fn send(
        &self,
        method: Method,
        target: &str,
        headers: &[(&str, &str)],
    ) -> impl Future<Output = Result<Reply, Failure>> + Send + 'static {
        let sender = self.sender.clone();
        let uri = match sender {
            Sender::Http1(_) => target.to_owned(),
            Sender::Http2(_) => format!("http://localhost{target}"),
            Sender::Http3(_) => format!("https://localhost{target}"),
        };
        let mut request = Request::builder().method(method).uri(uri);
        if matches!(sender, Sender::Http1(_)) {
            request = request.header("host", "localhost");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Empty::new()).unwrap();
        async move {
            let response = match sender {
                Sender::Http1(sender) => {
                    let mut sender = sender.lock().await;
                    sender.ready().await?;
                    sender.send_request(request).await?
                }
                Sender::Http2(mut sender) => sender.send_request(request).await?,
                Sender::Http3(sender) => return begin(sender, request.map(|_| ())).await?.read().await,
            };
            let (head, body) = response.into_parts();
            let body = body.collect().await?.to_bytes();
            Ok(Reply { status: head.status, headers: head.headers, body })
        }
    }

    /// Sends a request over HTTP/3, and waits for the head of its answer only.
    pub async fn begin(&self, target: &str) -> Begun {
        let Sender::Http3(sender) = &self.sender else { panic!("not over HTTP/3") };
        begin(sender.clone(), Request::get(format!("https://localhost{target}")).body(()).unwrap())
            .await
            .unwrap()
    }

    /// Posts a body over HTTP/3, in two pieces.
    pub async fn post(&self, target: &str, body: &'static str) -> Reply {
        let Sender::Http3(sender) = &self.sender else { panic!("not over HTTP/3") };
        let request = Request::post(format!("https://localhost{target}")).body(()).unwrap();
        let mut exchange = sender.clone().send_request(request).await.unwrap();
        let (first, second) = body.split_at(body.len() / 2);
        for piece in [first, second] {
            // An edge that has had enough says so and reads no more.
            let _ = exchange.send_data(Bytes::from_static(piece.as_bytes())).await;
        }
        let _ = exchange.finish().await;
        let (head, ()) = exchange.recv_response().await.unwrap().into_parts();
        Begun { head, exchange }.read().await.unwrap()
    }

    pub async fn get(&self, target: &str) -> Reply {
        self.get_with(target, &[]).await
    }

    pub async fn get_with(&self, target: &str, headers: &[(&str, &str)]) -> Reply {
        self.send(Method::GET, target, headers).await.unwrap()
    }
}

/// An answer over HTTP/3 whose head came.
pub struct Begun {
    head: http::response::Parts,
    exchange: h3::client::RequestStream<h3_quinn::BidiStream<Bytes>, Bytes>,
}

impl Begun {
    /// The rest of it.
    pub async fn read(mut self) -> Result<Reply, Failure> {
        let mut body = Vec::new();
        while let Some(mut piece) = self.exchange.recv_data().await? {
            let len = bytes::Buf::remaining(&piece);
            body.extend_from_slice(&bytes::Buf::copy_to_bytes(&mut piece, len));
        }
        Ok(Reply { status: self.head.status, headers: self.head.headers, body: body.into() })
    }
}

async fn begin(
    mut sender: h3::client::SendRequest<h3_quinn::OpenStreams, Bytes>,
    request: Request<()>,
) -> Result<Begun, Failure> {
    let mut exchange = sender.send_request(request).await?;
    exchange.finish().await?;
    let (head, ()) = exchange.recv_response().await?.into_parts();
    Ok(Begun { head, exchange })
}

/// A way to an edge over UDP on which so many bytes a second come back, and no fewer are kept than come.
pub async fn narrow(far: SocketAddr, bytes_per_second: u32) -> SocketAddr {
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let near = Arc::new(UdpSocket::bind(loopback).await.unwrap());
    let out = Arc::new(UdpSocket::bind(loopback).await.unwrap());
    out.connect(far).await.unwrap();
    let address = near.local_addr().unwrap();
    let (there, back) = (out.clone(), near.clone());
    let (to, client) = tokio::sync::watch::channel(loopback);
    tokio::spawn(async move {
        let mut bytes = vec![0; 65_536];
        while let Ok((len, from)) = near.recv_from(&mut bytes).await {
            to.send_replace(from);
            let _ = there.send(&bytes[..len]).await;
        }
    });
    let (queue, mut queued) = tokio::sync::mpsc::channel::<Vec<u8>>(4_096);
    tokio::spawn(async move {
        let mut bytes = vec![0; 65_536];
        while let Ok(len) = out.recv(&mut bytes).await {
            let _ = queue.send(bytes[..len].to_vec()).await;
        }
    });
    #[expect(clippy::disallowed_methods, reason = "the clock of the way")]
    tokio::spawn(async move {
        let mut due = tokio::time::Instant::now();
        while let Some(bytes) = queued.recv().await {
            due = due.max(tokio::time::Instant::now())
                + Duration::from_secs_f64(bytes.len() as f64 / f64::from(bytes_per_second));
            tokio::time::sleep_until(due).await;
            let client = *client.borrow();
            let _ = back.send_to(&bytes, client).await;
        }
    });
    address
}
