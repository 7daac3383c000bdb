//! A load generator for HTTP/2 over TLS, as players use it and wrk does not.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::Request;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use crate::clock;
use crate::error::{Error, doing};

/// Connections at once.
pub(crate) const CONNECTIONS: usize = 4;
/// Requests at once on each.
pub(crate) const STREAMS: usize = 8;
/// What browsers open, so that flow control is not what is measured.
const WINDOW: u32 = 6 << 20;

/// What to ask, of whom, for how long.
#[derive(Clone, Debug)]
pub struct Load<'a> {
    /// The server.
    pub address: SocketAddr,
    /// The path.
    pub path: &'a str,
    /// For how long.
    pub span: Duration,
    /// Who to believe to be the server.
    pub trust: Trust,
}

/// Believes one certificate.
#[derive(Clone)]
pub struct Trust {
    /// Over TCP.
    connector: TlsConnector,
    /// What it rests on.
    pub(crate) tls: Arc<ClientConfig>,
}

impl std::fmt::Debug for Trust {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Trust")
    }
}

impl Trust {
    /// Believes the certificate in a PEM file.
    pub fn read(file: &Path) -> Result<Self, Error> {
        let unreadable = |why| Error::Unreadable { what: file.display().to_string(), why };
        let mut roots = RootCertStore::empty();
        let certificate =
            CertificateDer::from_pem_file(file).map_err(|_| unreadable("it is no PEM certificate"))?;
        roots.add(certificate).map_err(|_| unreadable("its certificate cannot be believed"))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(|_| unreadable("TLS has no protocol version"))?;
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let tls = Arc::new(config);
        Ok(Self { connector: TlsConnector::from(tls.clone()), tls })
    }
}

/// Asks as fast as it can and says how many answers came whole.
pub async fn load(load: Load<'_>) -> Result<u64, Error> {
    let failed =
        |error: hyper::Error| doing(format!("HTTP/2 to {}", load.address))(std::io::Error::other(error));
    let uri = format!("https://localhost:{}{}", load.address.port(), load.path);
    let name = ServerName::from(load.address.ip());
    let end = clock::now() + load.span;
    let mut streams = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let socket =
            TcpStream::connect(load.address).await.map_err(doing(format!("connect to {}", load.address)))?;
        let socket = load.trust.connector.connect(name.clone(), socket).await;
        let socket = socket.map_err(doing(format!("TLS with {}", load.address)))?;
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .handshake::<_, Empty<Bytes>>(TokioIo::new(socket))
            .await
            .map_err(failed)?;
        // Ends with the senders; an error on it shows in their answers.
        tokio::spawn(async move { drop(connection.await) });
        for _ in 0..STREAMS {
            let (mut sender, uri) = (sender.clone(), uri.clone());
            streams.spawn(async move {
                let mut count = 0_u64;
                while clock::now() < end {
                    sender.ready().await?;
                    let request = Request::get(&uri).body(Empty::new());
                    let answer = sender.send_request(request.unwrap_or_default()).await?;
                    let status = answer.status().as_u16();
                    let mut body = answer.into_body();
                    while let Some(frame) = body.frame().await {
                        frame?;
                    }
                    if status != 200 {
                        return Ok((count, Some(status)));
                    }
                    count += 1;
                }
                Ok((count, None))
            });
        }
    }
    let mut total = 0;
    while let Some(Ok(stream)) = streams.join_next().await {
        let (count, bad) = stream.map_err(failed)?;
        if let Some(status) = bad {
            return Err(Error::Status { path: load.path.to_owned(), status });
        }
        total += count;
    }
    Ok(total.max(1))
}
