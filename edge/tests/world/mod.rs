//! A running edge with one stream, and HTTP clients for it.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part of this")]
#![allow(clippy::unwrap_used, reason = "the helpers of a test fail it")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use aqueduct_common::StreamName;
use aqueduct_common::event::{EventReceiver, bus};
use aqueduct_common::object::{
    Ahead, ContentType, Object, ObjectKind, ObjectPath, PlaylistInfo, Publish, Update, Version,
};
use aqueduct_edge::{Config, Limits, Listen, Page, Pages, Plan, Server, Store};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::{PrivatePkcs8KeyDer, ServerName};
use tokio::net::TcpStream;
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

pub struct World {
    pub store: Store,
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
        let loopback = Listen::At(SocketAddr::from(([127, 0, 0, 1], 0)));
        let mut config = Config { limits, ..Config::default() };
        config.http.listen = loopback;
        config.https.listen = loopback;
        let (tls, roots) = certificate();
        let (sender, events) = bus(1_000);
        let store = Store::new();
        let plan = Plan::try_from(config).unwrap();
        let server = Server::bind(plan, store.clone(), Arc::new(Site), Some(tls), sender).unwrap();
        let addresses = server.addresses();
        let stop = CancellationToken::new();
        let run = tokio::spawn(server.run(stop.clone(), Duration::from_secs(5)));
        let (http, https) = (addresses.http.unwrap(), addresses.https.unwrap());
        Self { store, http, https, events, stop, run, roots }
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
}

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

    /// Sends a request; over HTTP/2 any number may be under way.
    pub fn send(
        &self,
        method: Method,
        target: &str,
        headers: &[(&str, &str)],
    ) -> impl Future<Output = hyper::Result<Reply>> + Send + 'static {
        let sender = self.sender.clone();
        let uri = match sender {
            Sender::Http1(_) => target.to_owned(),
            Sender::Http2(_) => format!("http://localhost{target}"),
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
            };
            let (head, body) = response.into_parts();
            let body = body.collect().await?.to_bytes();
            Ok(Reply { status: head.status, headers: head.headers, body })
        }
    }

    pub async fn get(&self, target: &str) -> Reply {
        self.get_with(target, &[]).await
    }

    pub async fn get_with(&self, target: &str, headers: &[(&str, &str)]) -> Reply {
        self.send(Method::GET, target, headers).await.unwrap()
    }
}
