//! Why ingest cannot start.

use std::io;
use std::net::SocketAddr;

/// Why ingest cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Somebody else listens there.
    #[error(
        "{address} is in use by another program, perhaps another server of this kind: stop it, or set {key} to \
         another port"
    )]
    InUse {
        /// The key that sets the address.
        key: &'static str,
        /// The address.
        address: SocketAddr,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}; check {key}")]
    Listen {
        /// The key that sets the address.
        key: &'static str,
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// RTMPS without a certificate.
    #[error("ingest.rtmps.listen is set, but the server has no certificate")]
    NoCertificate,
}
