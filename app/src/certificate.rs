//! The certificate of HTTPS and RTMPS: the operator's, or one for development made on the first start.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::Tls;

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

/// A server configuration without ALPN; each listener sets its own protocols.
pub fn load(tls: &Tls, data_dir: &Path) -> Result<rustls::ServerConfig, CertificateError> {
    let (cert, key) = match (&tls.cert, &tls.key) {
        (Some(cert), Some(key)) => (cert.clone(), key.clone()),
        _ => development(&data_dir.join("tls"))?,
    };
    let pem = |file: &Path, error: rustls::pki_types::pem::Error| CertificateError::Pem {
        file: file.to_owned(),
        reason: error.to_string(),
    };
    let chain = CertificateDer::pem_file_iter(&cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| pem(&cert, error))?;
    let secret = PrivateKeyDer::from_pem_file(&key).map_err(|error| pem(&key, error))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, secret))
        .map_err(|error| CertificateError::Mismatch { file: cert, error })
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
    write_private(&key, &made.signing_key.serialize_pem()).map_err(|error| store(error.to_string()))?;
    fs::write(&cert, made.cert.pem()).map_err(|error| store(error.to_string()))?;
    tracing::info!(file = %cert.display(), "made a certificate for development; browsers will warn about it");
    Ok((cert, key))
}

fn write_private(file: &Path, text: &str) -> std::io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(file)?.write_all(text.as_bytes())
}
