//! Who may feed whom: certificates of one authority with roles, or a shared token with a pinned certificate, or, on
//! one machine, nothing.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use ring::digest::{SHA256, digest};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring as provider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::wire::ALPN;

/// What begins the token's text.
const PREFIX: &str = "aqr1_";
/// What begins the names of nodes in certificates.
const SCHEME: &str = "aqueduct://";
/// What begins a name of a certificate that is no host, as the verifier tells names.
const URI_NAME: &str = "UniformResourceIdentifier(";

/// What a node with a certificate may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Feed edges.
    Origin,
    /// Be fed, and feed edges in turn.
    Edge,
}

/// A certificate of the relay's authority with its private key, and the authority.
#[derive(Debug)]
pub struct Identity {
    /// The authority's certificates.
    pub authority: RootCertStore,
    /// The node's own chain, itself first.
    pub chain: Vec<CertificateDer<'static>>,
    /// Its key.
    pub key: PrivateKeyDer<'static>,
}

/// What lets an edge in, and tells it that the origin is the one: for quick starts, where no authority is set up.
///
/// Written `aqr1_` and 32 bytes of the certificate's SHA-256 and 16 secret ones in hexadecimal.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    fingerprint: [u8; 32],
    secret: [u8; 16],
}

/// Why a text is no token.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("this is no relay token: it begins with {PREFIX} and is copied whole from what the origin prints")]
pub struct TokenError;

/// How an origin lets edges in.
#[derive(Clone)]
pub struct ServerAuth {
    pub(super) tls: rustls::ServerConfig,
    pub(super) admit: Admit,
}

/// Who is let in.
#[derive(Clone)]
pub(super) enum Admit {
    /// Who has a certificate of the authority with the role of an edge.
    Role,
    /// Who knows the token, and everybody on this machine.
    Token(Token),
}

/// How an edge reaches its origins.
#[derive(Clone)]
pub struct ClientAuth {
    pub(super) tls: rustls::ClientConfig,
    pub(super) tokens: Vec<Token>,
    pub(super) role: bool,
}

impl ServerAuth {
    /// Edges need a certificate of the authority, and show it.
    pub fn with_authority(identity: Identity) -> Result<Self, rustls::Error> {
        let provider = Arc::new(provider::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(identity.authority), provider.clone())
                .build()
                .map_err(|error| rustls::Error::General(error.to_string()))?;
        let mut tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(verifier)
            .with_single_cert(identity.chain, identity.key)?;
        tls.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Self { tls, admit: Admit::Role })
    }

    /// Edges need the token, unless they are on this machine. The certificate is the one that the token names.
    pub fn with_token(
        certificate: CertificateDer<'static>,
        key: PrivateKeyDer<'static>,
        token: Token,
    ) -> Result<Self, rustls::Error> {
        let mut tls = rustls::ServerConfig::builder_with_provider(Arc::new(provider::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)?;
        tls.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Self { tls, admit: Admit::Token(token) })
    }
}

impl ClientAuth {
    /// Who feeds this node needs a certificate of the authority with a role, for the host that is dialled. One that names no
    /// host at all does for an origin; a node that is itself an edge feeds others under its hosts' names alone.
    pub fn with_authority(identity: Identity) -> Result<Self, rustls::Error> {
        let provider = Arc::new(provider::default_provider());
        let chain =
            WebPkiServerVerifier::builder_with_provider(Arc::new(identity.authority), provider.clone())
                .build()
                .map_err(|error| rustls::Error::General(error.to_string()))?;
        let verifier = Arc::new(Authority(chain));
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_client_auth_cert(identity.chain, identity.key)?;
        Ok(Self { tls: with_alpn(tls), tokens: Vec::new(), role: true })
    }

    /// Origins have the certificate that one of the tokens names. Without a token every certificate will do, which is
    /// right for origins on this machine alone.
    pub fn with_tokens(tokens: Vec<Token>) -> Result<Self, rustls::Error> {
        let provider = Arc::new(provider::default_provider());
        let pinned = tokens.iter().map(|token| token.fingerprint).collect();
        let verifier = Arc::new(Pinned { provider: provider.clone(), pinned });
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        Ok(Self { tls: with_alpn(tls), tokens, role: false })
    }

    /// An origin elsewhere cannot be reached like this: nothing would tell it from another.
    pub fn is_open(&self) -> bool {
        !self.role && self.tokens.is_empty()
    }

    /// What to show to the node with this certificate.
    pub(super) fn secret_for(&self, certificate: Option<&CertificateDer<'_>>) -> Vec<u8> {
        let Some(certificate) = certificate else { return Vec::new() };
        let print = fingerprint(certificate);
        let token = self.tokens.iter().find(|token| token.fingerprint == print);
        token.map(|token| token.secret.to_vec()).unwrap_or_default()
    }
}

fn with_alpn(mut tls: rustls::ClientConfig) -> rustls::ClientConfig {
    tls.alpn_protocols = vec![ALPN.to_vec()];
    tls.enable_early_data = false;
    tls
}

impl Token {
    /// The token of the node that has this certificate.
    pub fn new(certificate: &CertificateDer<'_>, secret: [u8; 16]) -> Self {
        Self { fingerprint: fingerprint(certificate), secret }
    }

    /// Whether this is the secret. Takes the same time whatever is wrong.
    pub(super) fn is(&self, secret: &[u8]) -> bool {
        // Comparing digests tells nothing of the secret by how long it takes.
        digest(&SHA256, secret).as_ref() == digest(&SHA256, &self.secret).as_ref()
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(PREFIX)?;
        self.fingerprint.iter().chain(&self.secret).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

impl FromStr for Token {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let digits = text.trim().strip_prefix(PREFIX).ok_or(TokenError)?.as_bytes();
        let nibble = |digit: u8| char::from(digit).to_digit(16).map(|value| value as u8);
        let byte = |pair: &[u8]| match pair {
            [high, low] => Some(nibble(*high)? << 4 | nibble(*low)?),
            _ => None,
        };
        let bytes: Vec<u8> = digits.chunks(2).map(byte).collect::<Option<_>>().ok_or(TokenError)?;
        let (fingerprint, secret) = bytes.split_at_checked(32).ok_or(TokenError)?;
        let fingerprint = fingerprint.try_into().map_err(|_| TokenError)?;
        Ok(Self { fingerprint, secret: secret.try_into().map_err(|_| TokenError)? })
    }
}

/// A certificate's role and the node's name, from its URI `aqueduct://origin/NAME` or `aqueduct://edge/NAME`.
pub fn role(certificate: &CertificateDer<'_>) -> Option<(Role, String)> {
    let certificate = webpki::EndEntityCert::try_from(certificate).ok()?;
    certificate.valid_uri_names().find_map(|uri| {
        let (role, name) = uri.strip_prefix(SCHEME)?.split_once('/')?;
        let role = match role {
            "origin" => Role::Origin,
            "edge" => Role::Edge,
            _ => return None,
        };
        (!name.is_empty()).then(|| (role, name.to_owned()))
    })
}

fn fingerprint(certificate: &CertificateDer<'_>) -> [u8; 32] {
    let mut print = [0; 32];
    print.copy_from_slice(digest(&SHA256, certificate).as_ref());
    print
}

/// A chain of the authority, with a role, for the host that is dialled.
#[derive(Debug)]
struct Authority(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for Authority {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        use rustls::Error::InvalidCertificate;
        let Some((role, _)) = role(certificate) else {
            self.0.verify_server_cert(certificate, intermediates, name, ocsp, now)?;
            return Err(InvalidCertificate(CertificateError::InvalidPurpose));
        };
        match self.0.verify_server_cert(certificate, intermediates, name, ocsp, now) {
            // The chain was good: the name is looked at last.
            Err(InvalidCertificate(CertificateError::NotValidForNameContext { presented, .. }))
                if role == Role::Origin && presented.iter().all(|name| name.starts_with(URI_NAME)) =>
            {
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// One of these certificates; any where there are none.
#[derive(Debug)]
struct Pinned {
    provider: Arc<CryptoProvider>,
    pinned: Vec<[u8; 32]>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.pinned.is_empty() || self.pinned.contains(&fingerprint(certificate)) {
            return Ok(ServerCertVerified::assertion());
        }
        Err(rustls::Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::PeerIncompatible(rustls::PeerIncompatible::Tls12NotOffered))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_written_and_read_and_shows_itself_to_nobody() {
        let certificate = CertificateDer::from(vec![1, 2, 3]);
        let token = Token::new(&certificate, [7; 16]);
        assert_eq!(token.to_string().parse(), Ok(token.clone()));
        assert!(token.is(&[7; 16]) && !token.is(&[8; 16]) && !token.is(&[]));
        assert_eq!(format!("{token:?}"), "Token(…)");
        for bad in ["", "aqr1_", "aqr1_00", &token.to_string()[..99], &format!("{token}00"), "aqr1_zz"] {
            assert_eq!(bad.parse::<Token>(), Err(TokenError), "{bad}");
        }
    }
}

#[cfg(test)]
mod hosts;
