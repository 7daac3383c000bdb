//! The certificate of HTTPS and RTMPS: the operator's, or one for development made on the first start.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::sync::watch;

use crate::config::Tls;
use crate::renew;

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read as PEM.
    #[error("{}: {reason}; tls.cert and tls.key want PEM files", file.display())]
    Pem {
        /// The file.
        file: PathBuf,
        /// Why.
        reason: String,
    },
    /// Certificate and key do not fit.
    #[error("{} and its key do not fit together: {error}", file.display())]
    Mismatch {
        /// The certificate's file.
        file: PathBuf,
        /// What rustls says.
        error: rustls::Error,
    },
    /// The development certificate cannot be made or stored.
    #[error("{}: the development certificate cannot be stored: {reason}", dir.display())]
    Store {
        /// The directory.
        dir: PathBuf,
        /// Why.
        reason: String,
    },
}

/// The certificate as it is at the moment of a handshake: one that was renewed needs no restart.
#[derive(Debug)]
struct Current(watch::Receiver<Arc<CertifiedKey>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.borrow().clone())
    }
}

/// A server configuration without ALPN; each listener sets its own protocols. Needs a Tokio runtime around it: the files
/// are read again when they change.
pub fn load(tls: &Tls, data_dir: &Path) -> Result<rustls::ServerConfig, CertificateError> {
    let (cert, key) = match (&tls.cert, &tls.key) {
        (Some(cert), Some(key)) => (cert.clone(), key.clone()),
        _ => development(&data_dir.join("tls"))?,
    };
    let first = read(&cert, &key)?;
    let files = vec![cert.clone(), key.clone()];
    let file = cert.clone();
    let current =
        renew::follow("the certificate of viewers and publishers", files, first, move || read(&cert, &key));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| CertificateError::Mismatch { file, error })?;
    Ok(builder.with_no_client_auth().with_cert_resolver(Arc::new(Current(current))))
}

/// Whether the files that are named can be used.
pub fn check(tls: &Tls) -> Result<(), CertificateError> {
    match (&tls.cert, &tls.key) {
        (Some(cert), Some(key)) => read(cert, key).map(|_| ()),
        _ => Ok(()),
    }
}

/// Certificate and key, which fit together.
fn read(cert: &Path, key: &Path) -> Result<Arc<CertifiedKey>, CertificateError> {
    let pem = |file: &Path, error: rustls::pki_types::pem::Error| CertificateError::Pem {
        file: file.to_owned(),
        reason: error.to_string(),
    };
    let chain = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| pem(cert, error))?;
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| pem(key, error))?;
    let certified = CertifiedKey::from_der(chain, secret, &rustls::crypto::ring::default_provider());
    certified.map(Arc::new).map_err(|error| CertificateError::Mismatch { file: cert.to_owned(), error })
}

/// The development certificate's files, made if they are not there.
fn development(dir: &Path) -> Result<(PathBuf, PathBuf), CertificateError> {
    let (cert, key) = (dir.join("development-cert.pem"), dir.join("development-key.pem"));
    if cert.exists() && key.exists() {
        return Ok((cert, key));
    }
    let store = |reason: String| CertificateError::Store { dir: dir.to_owned(), reason };
    let names = ["localhost", "127.0.0.1", "::1"].map(String::from);
    let made = rcgen::generate_simple_self_signed(names).map_err(|error| store(error.to_string()))?;
    fs::create_dir_all(dir).map_err(|error| store(error.to_string()))?;
    write_private(&key, made.signing_key.serialize_pem().as_bytes())
        .map_err(|error| store(error.to_string()))?;
    fs::write(&cert, made.cert.pem()).map_err(|error| store(error.to_string()))?;
    tracing::info!(file = %cert.display(), "made a certificate for development; browsers will warn about it");
    Ok((cert, key))
}

/// Writes a file that only its owner may read.
pub fn write_private(file: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(file)?.write_all(bytes)
}
