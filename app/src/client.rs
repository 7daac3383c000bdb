//! Posts a notice: to https, or to this machine; no redirects, bounded in time and length (AUTH-7).

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::http::{Request, StatusCode, Uri, header};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;

/// Time for one attempt.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes of an answer that are read.
const MOST: usize = 64 * 1_024;

/// Where a hook is. It prints without its path, which may hold a secret.
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
    /// Not one that is posted to.
    #[error("it is no URL: write https://HOST/PATH")]
    Shape,
    /// Anybody on the way could read it.
    #[error("http:// is only for this machine: use https://")]
    Insecure,
}

impl FromStr for Url {
    type Err = BadUrl;

    fn from_str(text: &str) -> Result<Self, BadUrl> {
        let uri: Uri = text.parse().map_err(|_| BadUrl::Shape)?;
        let secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(BadUrl::Shape),
        };
        let authority =
            uri.authority().filter(|authority| !authority.as_str().contains('@')).ok_or(BadUrl::Shape)?;
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let here = host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
        if !secure && !here {
            return Err(BadUrl::Insecure);
        }
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let target = uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
        Ok(Self { secure, host, port, target })
    }
}

impl Url {
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

/// Why a notice was not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotTaken {
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
}

/// Posts notices.
#[derive(Default)]
pub(super) struct Client {
    trust: OnceLock<Arc<rustls::ClientConfig>>,
}

impl Client {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Posts it; taken where the answer is 2xx.
    pub(super) async fn post(
        &self,
        url: &Url,
        id: &str,
        signature: &str,
        body: String,
    ) -> Result<(), NotTaken> {
        let post = async {
            let socket = TcpStream::connect((url.host.as_str(), url.port)).await?;
            if !url.secure {
                return exchange(url, TokioIo::new(socket), id, signature, body).await;
            }
            let name = ServerName::try_from(url.host.clone()).map_err(|_| NotTaken::Name)?;
            let connector = tokio_rustls::TlsConnector::from(self.trust());
            let socket = connector.connect(name, socket).await?;
            exchange(url, TokioIo::new(socket), id, signature, body).await
        };
        tokio::time::timeout(PATIENCE, post).await.unwrap_or(Err(NotTaken::Late))
    }

    /// The authorities that this machine trusts. Without any, no https:// hook is reached.
    fn trust(&self) -> Arc<rustls::ClientConfig> {
        let make = || {
            let mut roots = rustls::RootCertStore::empty();
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            Arc::new(rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
        };
        self.trust.get_or_init(make).clone()
    }
}

async fn exchange<T>(url: &Url, io: T, id: &str, signature: &str, body: String) -> Result<(), NotTaken>
where
    T: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await?;
    let request = Request::post(&url.target)
        .header(header::HOST, url.authority())
        .header(header::USER_AGENT, concat!("aqueduct/", env!("CARGO_PKG_VERSION")))
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::CONNECTION, "close")
        .header("idempotency-key", id)
        .header("x-sig", signature)
        .body(Full::new(Bytes::from(body)))?;
    let talk = async {
        let (head, body) = sender.send_request(request).await?.into_parts();
        // The answer's text is of no interest; reading it lets the other side end in order.
        let _ = Limited::new(body, MOST).collect().await;
        if head.status.is_success() { Ok(()) } else { Err(NotTaken::Status(head.status)) }
    };
    let drive = async {
        let _ = connection.await;
        // What had come before the end is still to be read.
        std::future::pending::<()>().await;
    };
    tokio::select! { done = talk => done, () = drive => Err(NotTaken::Late) }
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
}
