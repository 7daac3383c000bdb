//! Asks other HTTP servers: hooks, collectors, and the operator's port of a node elsewhere. HTTP/1.1, one connection for
//! each request, no redirects (AUTH-7).

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::http::{HeaderValue, Request, StatusCode, Uri, header};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// Time for the head of an answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes that are read of an answer which is of no interest.
const MOST: usize = 64 * 1_024;

/// Where a server is. It prints without its path, which may hold a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    secure: bool,
    host: String,
    port: u16,
    target: String,
}

/// Why a text is no [`Url`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadUrl {
    /// Not one that is asked.
    #[error("it is no URL: write https://HOST/PATH")]
    Shape,
    /// Anybody on the way could read it.
    #[error("http:// is only for this machine: use https://")]
    Insecure,
}

impl FromStr for Url {
    type Err = BadUrl;

    /// What holds secrets goes over https, or stays on this machine.
    fn from_str(text: &str) -> Result<Self, BadUrl> {
        let url = Self::open(text)?;
        let here = url.host == "localhost" || url.host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
        if url.secure || here { Ok(url) } else { Err(BadUrl::Insecure) }
    }
}

impl Url {
    /// For what others may read on the way as well.
    pub fn open(text: &str) -> Result<Self, BadUrl> {
        let uri: Uri = text.parse().map_err(|_| BadUrl::Shape)?;
        let secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(BadUrl::Shape),
        };
        let authority =
            uri.authority().filter(|authority| !authority.as_str().contains('@')).ok_or(BadUrl::Shape)?;
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let target = uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
        Ok(Self { secure, host, port, target })
    }

    /// Something below it: `path` begins with a slash.
    pub fn join(&self, path: &str) -> Self {
        let base = self.target.split('?').next().unwrap_or_default().trim_end_matches('/');
        Self { target: format!("{base}{path}"), ..self.clone() }
    }

    fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        format!("{host}:{}", self.port)
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        write!(f, "{scheme}://{}/…", self.authority())
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why there is no good answer.
#[derive(Debug, thiserror::Error)]
pub enum NotTaken {
    /// No connection.
    #[error("cannot be reached: {0}")]
    Connect(#[from] std::io::Error),
    /// Its name fits no certificate.
    #[error("is no name that a certificate could have")]
    Name,
    /// No HTTP.
    #[error("does not answer as HTTP should: {0}")]
    Http(#[from] hyper::Error),
    /// The request cannot be written.
    #[error("cannot be asked: {0}")]
    Request(#[from] axum::http::Error),
    /// Not 2xx.
    #[error("answers {0}; redirects are not followed")]
    Status(StatusCode),
    /// No answer.
    #[error("did not answer within {PATIENCE:?}")]
    Late,
    /// The answer is longer than it may be, or broke off.
    #[error("sends an answer that is too long or breaks off")]
    Body,
}

/// A good answer, as it comes. Dropped, its connection ends.
pub struct Answer {
    body: Incoming,
    connection: JoinHandle<()>,
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Answer {
    /// The next piece of the body; `None` at its end.
    pub async fn piece(&mut self) -> Result<Option<Bytes>, NotTaken> {
        loop {
            match self.body.frame().await {
                None => return Ok(None),
                Some(frame) => {
                    // Trailers say nothing that is wanted.
                    if let Ok(data) = frame?.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }

    /// All of the body, `most` bytes at most.
    pub async fn bytes(mut self, most: usize) -> Result<Bytes, NotTaken> {
        let read = Limited::new(&mut self.body, most).collect();
        match tokio::time::timeout(PATIENCE, read).await {
            Ok(body) => Ok(body.map_err(|_| NotTaken::Body)?.to_bytes()),
            Err(_) => Err(NotTaken::Late),
        }
    }
}

/// Asks servers.
#[derive(Default)]
pub struct Client {
    trust: OnceLock<Arc<rustls::ClientConfig>>,
}

impl Client {
    /// One that has asked nobody yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks for it with these headers; an answer that is not 2xx is an error.
    pub async fn get(&self, url: &Url, headers: &[(&str, &str)]) -> Result<Answer, NotTaken> {
        self.ask(url, "GET", headers, Bytes::new()).await
    }

    /// Posts it; taken where the answer is 2xx, whose text is of no interest.
    pub async fn post(&self, url: &Url, headers: &[(&str, &str)], body: Bytes) -> Result<(), NotTaken> {
        let mut answer = self.ask(url, "POST", headers, body).await?;
        // Reading it lets the other side end in order.
        let rest = Limited::new(&mut answer.body, MOST).collect();
        let _ = tokio::time::timeout(PATIENCE, rest).await;
        Ok(())
    }

    async fn ask(
        &self,
        url: &Url,
        method: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Answer, NotTaken> {
        let asking = async {
            let socket = TcpStream::connect((url.host.as_str(), url.port)).await?;
            // What is asked is small, and waits for nothing.
            socket.set_nodelay(true)?;
            if !url.secure {
                return exchange(TokioIo::new(socket), request(url, method, headers, body)?).await;
            }
            let name = ServerName::try_from(url.host.clone()).map_err(|_| NotTaken::Name)?;
            let connector = tokio_rustls::TlsConnector::from(self.trust());
            let socket = connector.connect(name, socket).await?;
            exchange(TokioIo::new(socket), request(url, method, headers, body)?).await
        };
        tokio::time::timeout(PATIENCE, asking).await.unwrap_or(Err(NotTaken::Late))
    }

    /// The authorities that this machine trusts. Without any, no https:// server is reached.
    fn trust(&self) -> Arc<rustls::ClientConfig> {
        let make = || {
            let mut roots = rustls::RootCertStore::empty();
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            Arc::new(rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
        };
        self.trust.get_or_init(make).clone()
    }
}

fn request(
    url: &Url,
    method: &str,
    headers: &[(&str, &str)],
    body: Bytes,
) -> Result<Request<Full<Bytes>>, NotTaken> {
    let mut request = Request::builder()
        .method(method)
        .uri(&url.target)
        .header(header::HOST, url.authority())
        .header(header::USER_AGENT, concat!("aqueduct/", env!("CARGO_PKG_VERSION")))
        .header(header::CONNECTION, "close");
    for (name, value) in headers {
        let mut value = HeaderValue::try_from(*value).map_err(axum::http::Error::from)?;
        value.set_sensitive(name.eq_ignore_ascii_case("authorization"));
        request = request.header(*name, value);
    }
    Ok(request.body(Full::new(body))?)
}

async fn exchange<T>(io: T, request: Request<Full<Bytes>>) -> Result<Answer, NotTaken>
where
    T: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await?;
    let connection = tokio::spawn(async move {
        // What ends it early shows in the answer's body.
        let _ = connection.await;
    });
    match sender.send_request(request).await {
        Ok(answer) => {
            let (head, body) = answer.into_parts();
            let answer = Answer { body, connection };
            if head.status.is_success() { Ok(answer) } else { Err(NotTaken::Status(head.status)) }
        }
        Err(error) => {
            connection.abort();
            Err(error.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hook_is_reached_by_https_or_on_this_machine() {
        let url: Url = "https://example.com/hook?token=hidden".parse().unwrap();
        assert_eq!((url.secure, url.port, url.target.as_str()), (true, 443, "/hook?token=hidden"));
        assert_eq!(url.to_string(), "https://example.com:443/…");
        assert!(
            "http://127.0.0.1:9000/x".parse::<Url>().is_ok() && "http://[::1]:9000/x".parse::<Url>().is_ok()
        );
        assert_eq!("http://example.com/".parse::<Url>(), Err(BadUrl::Insecure));
        for text in ["", "x", "ftp://example.com/", "https://user@example.com/"] {
            assert_eq!(text.parse::<Url>(), Err(BadUrl::Shape), "{text}");
        }
    }

    #[test]
    fn what_lies_below_an_address_is_found() {
        let root = Url::open("http://example.com:4318").unwrap();
        assert_eq!(root.join("/v1/metrics").target, "/v1/metrics");
        let below = Url::open("https://example.com/otlp/?x=1").unwrap();
        assert_eq!((below.join("/v1/metrics").target.as_str(), below.port), ("/otlp/v1/metrics", 443));
    }
}
