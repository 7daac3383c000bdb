//! An HTTP client that hides nothing: every header, every status, when the first byte and the last came.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::{Failure, Outcome, now, tls};

/// Longest time that an answer may take; beyond every hold that a server may do.
const PATIENCE: Duration = Duration::from_secs(20);

/// An answer and its times.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body as sent, still compressed if it was.
    pub body: Bytes,
    /// When the request was sent.
    pub sent: Instant,
    /// When the headers were here.
    pub first: Instant,
    /// When the body was here.
    pub done: Instant,
}

impl Answer {
    /// A header as text; empty when it is absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The body as text, decompressed if need be.
    ///
    /// # Errors
    ///
    /// When it is not UTF-8, or not gzip though it says so.
    pub fn text(&self) -> Outcome<String> {
        let mut text = String::new();
        if self.header("content-encoding") == "gzip" {
            std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&*self.body), &mut text)?;
        } else {
            text.push_str(std::str::from_utf8(&self.body)?);
        }
        Ok(text)
    }
}

type Idle = HashMap<String, Vec<http1::SendRequest<Full<Bytes>>>>;
type Shared = HashMap<String, http2::SendRequest<Full<Bytes>>>;

/// The client. Over HTTP/1.1 each request in flight has a connection; over HTTP/2 all share one.
pub struct Client {
    http2: bool,
    idle: Mutex<Idle>,
    shared: tokio::sync::Mutex<Shared>,
    tls: TlsConnector,
}

impl Client {
    /// A client that speaks HTTP/1.1.
    pub fn new() -> Self {
        Self::speaking(false)
    }

    /// A client that speaks HTTP/2: by ALPN over TLS, by prior knowledge otherwise.
    pub fn http2() -> Self {
        Self::speaking(true)
    }

    fn speaking(http2: bool) -> Self {
        let alpn = if http2 { "h2" } else { "http/1.1" };
        let tls = TlsConnector::from(Arc::new(tls::trusting_anyone(alpn)));
        Self { http2, idle: Mutex::default(), shared: tokio::sync::Mutex::default(), tls }
    }

    /// GET.
    ///
    /// # Errors
    ///
    /// When no answer came.
    pub async fn get(&self, url: &str) -> Outcome<Answer> {
        self.send(Method::GET, url, &[]).await
    }

    /// Any bodiless request.
    ///
    /// # Errors
    ///
    /// When no answer came.
    pub async fn send(&self, method: Method, url: &str, headers: &[(&str, &str)]) -> Outcome<Answer> {
        let uri: Uri = url.parse()?;
        let attempt = async {
            if self.http2 {
                self.over_http2(&method, &uri, headers).await
            } else {
                self.over_http1(&method, &uri, headers).await
            }
        };
        timeout(PATIENCE, attempt).await.map_err(|_| format!("no answer from {url} in {PATIENCE:?}"))?
    }

    async fn over_http1(&self, method: &Method, uri: &Uri, headers: &[(&str, &str)]) -> Outcome<Answer> {
        let authority = authority(uri)?;
        while let Some(mut idle) = self.take_idle(&authority) {
            if idle.ready().await.is_err() {
                continue;
            }
            // The server may close an idle connection while the request is on its way: then a fresh one is used.
            if let Ok(answer) = self.exchange(&authority, idle, method, uri, headers).await {
                return Ok(answer);
            }
        }
        let socket = TcpStream::connect(&authority).await?;
        socket.set_nodelay(true)?;
        let sender = if uri.scheme_str() == Some("https") {
            let (sender, connection) =
                http1::handshake(TokioIo::new(self.secure(uri, socket).await?)).await?;
            tokio::spawn(connection);
            sender
        } else {
            let (sender, connection) = http1::handshake(TokioIo::new(socket)).await?;
            tokio::spawn(connection);
            sender
        };
        self.exchange(&authority, sender, method, uri, headers).await
    }

    fn take_idle(&self, authority: &str) -> Option<http1::SendRequest<Full<Bytes>>> {
        self.idle.lock().ok()?.get_mut(authority)?.pop()
    }

    async fn exchange(
        &self,
        authority: &str,
        mut sender: http1::SendRequest<Full<Bytes>>,
        method: &Method,
        uri: &Uri,
        headers: &[(&str, &str)],
    ) -> Outcome<Answer> {
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let request = request(method, path, headers).header("host", authority).body(Full::default())?;
        let sent = now();
        let answer = read(sender.send_request(request).await?, sent).await?;
        if let Ok(mut idle) = self.idle.lock() {
            idle.entry(authority.to_owned()).or_default().push(sender);
        }
        Ok(answer)
    }

    async fn over_http2(&self, method: &Method, uri: &Uri, headers: &[(&str, &str)]) -> Outcome<Answer> {
        let mut sender = self.share(uri).await?;
        let request = request(method, &uri.to_string(), headers).body(Full::default())?;
        let sent = now();
        read(sender.send_request(request).await?, sent).await
    }

    async fn share(&self, uri: &Uri) -> Outcome<http2::SendRequest<Full<Bytes>>> {
        let authority = authority(uri)?;
        let mut shared = self.shared.lock().await;
        if let Some(sender) = shared.get(&authority).filter(|sender| !sender.is_closed()) {
            return Ok(sender.clone());
        }
        let socket = TcpStream::connect(&authority).await?;
        socket.set_nodelay(true)?;
        let sender = if uri.scheme_str() == Some("https") {
            let io = TokioIo::new(self.secure(uri, socket).await?);
            let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
            tokio::spawn(connection);
            sender
        } else {
            let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(socket)).await?;
            tokio::spawn(connection);
            sender
        };
        shared.insert(authority, sender.clone());
        Ok(sender)
    }

    async fn secure(
        &self,
        uri: &Uri,
        socket: TcpStream,
    ) -> Outcome<tokio_rustls::client::TlsStream<TcpStream>> {
        let host = uri.host().ok_or("a URL without a host")?.trim_matches(['[', ']']).to_owned();
        let stream = self.tls.connect(ServerName::try_from(host)?, socket).await?;
        if self.http2 && stream.get_ref().1.alpn_protocol() != Some(b"h2") {
            return Err("the server does not offer h2 by ALPN".into());
        }
        Ok(stream)
    }
}

impl Default for Client {
    fn default() -> Self {
        Self::new()
    }
}

fn authority(uri: &Uri) -> Outcome<String> {
    let host = uri.host().ok_or("a URL without a host")?;
    let standard = if uri.scheme_str() == Some("https") { 443 } else { 80 };
    Ok(format!("{host}:{}", uri.port_u16().unwrap_or(standard)))
}

fn request(method: &Method, target: &str, headers: &[(&str, &str)]) -> http::request::Builder {
    let builder = Request::builder().method(method).uri(target);
    headers.iter().fold(builder, |builder, (name, value)| builder.header(*name, *value))
}

async fn read(response: http::Response<hyper::body::Incoming>, sent: Instant) -> Outcome<Answer> {
    let first = now();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.map_err(Failure::from)?.to_bytes();
    Ok(Answer { status: parts.status, headers: parts.headers, body, sent, first, done: now() })
}
