//! What can go wrong when an edge starts.

use std::io;
use std::net::SocketAddr;

/// An edge that cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address is taken, not this machine's, or needs more rights.
    #[error(
        "cannot listen on {address} ({key}): {source}; give {key} another address, or stop what listens there"
    )]
    Listen {
        /// The configuration's key.
        key: &'static str,
        /// Its value.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// HTTPS needs a certificate.
    #[error(
        "edge.https.listen is on, but there is no certificate: configure one, or set edge.https.listen = \"off\""
    )]
    NoCertificate,
    /// QUIC needs TLS 1.3.
    #[error("HTTP/3 cannot use the certificate's TLS settings: {0}; set edge.http3.enabled = false")]
    Http3(String),
    /// Keys of viewers' tokens.
    #[error(transparent)]
    Access(#[from] crate::token::AccessError),
}
