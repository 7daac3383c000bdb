//! Where keys and the revocation list come from: a file, or a URL of the operator's own.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, ETAG, HOST, HeaderValue, IF_NONE_MATCH, USER_AGENT};
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;

/// Time that one request may take, from its connection to its last byte.
const PATIENCE: Duration = Duration::from_secs(5);

/// A file or a URL.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    /// Here.
    File(PathBuf),
    /// There.
    Url(Url),
}

/// Where to ask. It prints without its query, which may hold a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    secure: bool,
    host: String,
    port: u16,
    /// Path and query.
    target: String,
}

/// Why a text is no [`Source`].
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SourceError {
    /// Keys that anybody on the way could exchange protect nothing.
    #[error("http:// is only for this machine: use https://, or copy it to a file")]
    Insecure,
    /// Not a URL after all.
    #[error("it is no URL: write https://HOST/PATH, or the name of a file")]
    Url,
}

impl FromStr for Source {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self, SourceError> {
        let secure = match text.split_once("://") {
            Some(("https", _)) => true,
            Some(("http", _)) => false,
            Some(_) => return Err(SourceError::Url),
            None => return Ok(Self::File(text.into())),
        };
        let uri: Uri = text.parse().map_err(|_| SourceError::Url)?;
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'));
        let host = authority.ok_or(SourceError::Url)?.host().trim_matches(['[', ']']).to_owned();
        let here = host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
        if host.is_empty() || !(secure || here) {
            return Err(if host.is_empty() { SourceError::Url } else { SourceError::Insecure });
        }
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let target = uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
        Ok(Self::Url(Url { secure, host, port, target }))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Url(url) => url.fmt(f),
        }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        let path = self.target.split('?').next().unwrap_or_default();
        write!(f, "{scheme}://{}{path}", self.authority())
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Url {
    fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        format!("{host}:{}", self.port)
    }
}

/// Why nothing was read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file.
    #[error("cannot be read: {0}")]
    File(std::io::Error),
    /// No connection.
    #[error("cannot be reached: {0}")]
    Connect(std::io::Error),
    /// No certificates of authorities on this machine.
    #[error("cannot be trusted: this machine has no root certificates; install ca-certificates")]
    Roots,
    /// Its name fits no certificate.
    #[error("is no name that a certificate could have")]
    Name,
    /// No HTTP.
    #[error("does not answer as HTTP should: {0}")]
    Http(hyper::Error),
    /// Not 200.
    #[error("answers {0}; redirects are not followed")]
    Status(StatusCode),
    /// Unreasonably long.
    #[error("is longer than {0} bytes")]
    TooLong(usize),
    /// The body broke off.
    #[error("broke off: {0}")]
    Body(String),
    /// No answer.
    #[error("did not answer within {PATIENCE:?}")]
    Late,
}

/// Reads a source again and again.
pub(super) struct Reader<'a> {
    source: &'a Source,
    /// Bytes at most.
    most: usize,
    trust: Option<Arc<rustls::ClientConfig>>,
    tag: Option<HeaderValue>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(source: &'a Source, most: usize) -> Self {
        Self { source, most, trust: None, tag: None }
    }

    /// Its bytes, or `None` where the server says that they are those of the last time.
    pub(super) async fn read(&mut self) -> Result<Option<Bytes>, ReadError> {
        match self.source {
            Source::File(path) => {
                let bytes = tokio::fs::read(path).await.map_err(ReadError::File)?;
                if bytes.len() > self.most {
                    Err(ReadError::TooLong(self.most))
                } else {
                    Ok(Some(bytes.into()))
                }
            }
            Source::Url(url) => {
                tokio::time::timeout(PATIENCE, self.fetch(url)).await.map_err(|_| ReadError::Late)?
            }
        }
    }

    /// What was read is of no use: it is asked for again.
    pub(super) fn forget(&mut self) {
        self.tag = None;
    }

    async fn fetch(&mut self, url: &Url) -> Result<Option<Bytes>, ReadError> {
        let connect = TcpStream::connect((url.host.as_str(), url.port));
        let socket = connect.await.map_err(ReadError::Connect)?;
        if !url.secure {
            return self.exchange(url, TokioIo::new(socket)).await;
        }
        let name = ServerName::try_from(url.host.clone()).map_err(|_| ReadError::Name)?;
        let connector = tokio_rustls::TlsConnector::from(self.trust()?);
        let socket = connector.connect(name, socket).await.map_err(ReadError::Connect)?;
        self.exchange(url, TokioIo::new(socket)).await
    }

    async fn exchange<T>(&mut self, url: &Url, io: T) -> Result<Option<Bytes>, ReadError>
    where
        T: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
    {
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(io).await.map_err(ReadError::Http)?;
        let mut request = Request::get(&url.target)
            .header(HOST, url.authority())
            .header(USER_AGENT, concat!("aqueduct/", env!("CARGO_PKG_VERSION")))
            .header(CONNECTION, "close");
        if let Some(tag) = &self.tag {
            request = request.header(IF_NONE_MATCH, tag);
        }
        let request = request.body(Empty::<Bytes>::new()).expect("a URL's target is one of a request");
        let talk = async {
            let response = sender.send_request(request).await.map_err(ReadError::Http)?;
            let (head, body) = response.into_parts();
            match head.status {
                StatusCode::OK => {}
                StatusCode::NOT_MODIFIED if self.tag.is_some() => return Ok(None),
                other => return Err(ReadError::Status(other)),
            }
            let body = Limited::new(body, self.most).collect().await.map_err(|error| {
                let too_long = error.downcast_ref::<LengthLimitError>().is_some();
                if too_long { ReadError::TooLong(self.most) } else { ReadError::Body(error.to_string()) }
            })?;
            self.tag = head.headers.get(ETAG).cloned();
            Ok(Some(body.to_bytes()))
        };
        let drive = async {
            let _ = connection.await;
            // What had come before the end is still to be read.
            std::future::pending::<()>().await;
        };
        tokio::select! { done = talk => done, () = drive => Err(ReadError::Late) }
    }

    /// The authorities that this machine trusts.
    fn trust(&mut self) -> Result<Arc<rustls::ClientConfig>, ReadError> {
        if let Some(trust) = &self.trust {
            return Ok(trust.clone());
        }
        let mut roots = rustls::RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            return Err(ReadError::Roots);
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring speaks the usual versions of TLS")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(self.trust.insert(Arc::new(config)).clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_a_file_or_a_url_that_can_be_trusted() {
        let url = |text: &str| match text.parse() {
            Ok(Source::Url(url)) => Some((url.secure, url.host, url.port, url.target)),
            _ => None,
        };
        assert_eq!(
            url("https://id.example/jwks.json?a=b"),
            Some((true, "id.example".into(), 443, "/jwks.json?a=b".into()))
        );
        assert_eq!(url("http://127.0.0.1:9000"), Some((false, "127.0.0.1".into(), 9_000, "/".into())));
        assert_eq!(url("http://[::1]:9000/k"), Some((false, "::1".into(), 9_000, "/k".into())));
        assert_eq!("keys/jwks.json".parse(), Ok(Source::File("keys/jwks.json".into())));
        for (text, error) in [
            ("http://id.example/jwks.json", SourceError::Insecure),
            ("http://127.0.0.1.example/", SourceError::Insecure),
            ("http://localhost@id.example/", SourceError::Url),
            ("ftp://id.example/", SourceError::Url),
            ("https://", SourceError::Url),
            ("https://a b/", SourceError::Url),
        ] {
            assert_eq!(text.parse::<Source>(), Err(error), "{text}");
        }
    }

    #[test]
    fn a_secret_in_a_query_is_not_printed() {
        let source: Source = "https://id.example/list?key=hidden".parse().unwrap();
        assert_eq!(source.to_string(), "https://id.example:443/list");
        assert!(!format!("{source:?}").contains("hidden"));
    }
}
