//! Making tokens and signed URLs: for operators who try it, and for tests.

use std::fmt;

use aqueduct_common::{Secret, StreamPattern};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use ring::{digest, hmac};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};

use super::key::Algorithm;
use super::network::Network;
use super::signed;

/// What a token is to say.
#[derive(Clone, PartialEq, Debug)]
pub struct Wish {
    /// What it opens.
    pub streams: StreamPattern,
    /// When it is made, in Unix seconds.
    pub issued: u64,
    /// When it ends, in Unix seconds.
    pub expires: u64,
    /// Its own name, for revoking it alone.
    pub id: String,
    /// Who holds it.
    pub viewer: Option<String>,
    /// `iss`.
    pub issuer: Option<String>,
    /// `aud`.
    pub audience: Option<String>,
    /// Where alone it works.
    pub network: Option<Network>,
}

/// A key that signs.
pub struct Signer {
    id: String,
    kind: Kind,
}

enum Kind {
    EdDsa(Ed25519KeyPair),
    Es256(EcdsaKeyPair, SystemRandom),
    Hs256(hmac::Key),
}

/// Why a key cannot sign.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SignerError {
    /// Not PEM of PKCS #8.
    #[error(
        "it is no private key in PEM (-----BEGIN PRIVATE KEY-----); `aqueduct token --new-key FILE` makes one"
    )]
    Pem,
    /// Of another kind.
    #[error("it is neither an Ed25519 nor a P-256 key, which EdDSA and ES256 need")]
    Kind,
    /// The system has no randomness.
    #[error("the system has no randomness to give")]
    Random,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Signer {
    /// A secret that the edges have as well: one of `edge.access.keys`.
    pub fn shared(id: &str, secret: &Secret) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes());
        Self { id: id.to_owned(), kind: Kind::Hs256(key) }
    }

    /// An Ed25519 or P-256 key in PEM (PKCS #8), as [`new_key`] or `openssl genpkey` makes it. Its name is the thumbprint
    /// of its public half (RFC 7638).
    pub fn from_pem(pem: &str) -> Result<Self, SignerError> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| SignerError::Pem)?;
        let der = der.secret_pkcs8_der();
        let random = SystemRandom::new();
        let kind = if let Ok(pair) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der) {
            Kind::EdDsa(pair)
        } else {
            let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der, &random);
            Kind::Es256(pair.map_err(|_| SignerError::Kind)?, random)
        };
        let mut signer = Self { id: String::new(), kind };
        // Members in the order of their names, and no others.
        let public = signer.public().map(|key| key.to_string()).unwrap_or_default();
        signer.id = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, public.as_bytes()));
        Ok(signer)
    }

    /// Its name.
    pub fn id(&self) -> &str {
        &self.id
    }

    fn algorithm(&self) -> Algorithm {
        match self.kind {
            Kind::EdDsa(_) => Algorithm::EdDsa,
            Kind::Es256(..) => Algorithm::Es256,
            Kind::Hs256(_) => Algorithm::Hs256,
        }
    }

    /// The public half as a JWK with the required members alone.
    fn public(&self) -> Option<Value> {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match &self.kind {
            Kind::EdDsa(pair) => {
                Some(json!({"crv": "Ed25519", "kty": "OKP", "x": text(pair.public_key().as_ref())}))
            }
            Kind::Es256(pair, _) => {
                let (x, y) = pair.public_key().as_ref().get(1..)?.split_at_checked(32)?;
                Some(json!({"crv": "P-256", "kty": "EC", "x": text(x), "y": text(y)}))
            }
            Kind::Hs256(_) => None,
        }
    }

    /// The key set that edges check its tokens with (`edge.access.jwks`); a secret has none.
    pub fn jwks(&self) -> Option<String> {
        let mut key = self.public()?;
        key["kid"] = self.id.clone().into();
        key["alg"] = self.algorithm().name().into();
        key["use"] = "sig".into();
        Some(json!({ "keys": [key] }).to_string())
    }

    /// A token.
    pub fn token(&self, wish: &Wish) -> Result<Secret, SignerError> {
        let mut claims = json!({
            "str": wish.streams, "act": ["play"], "iat": wish.issued, "exp": wish.expires, "jti": wish.id,
        });
        let network = wish.network.map(|network| network.to_string());
        for (name, value) in
            [("sub", &wish.viewer), ("iss", &wish.issuer), ("aud", &wish.audience), ("ip", &network)]
        {
            if let Some(value) = value {
                claims[name] = value.as_str().into();
            }
        }
        self.sign(&claims).map(Secret::new)
    }

    /// Any claims, signed.
    pub fn sign(&self, claims: &Value) -> Result<String, SignerError> {
        self.sign_bytes(claims.to_string().as_bytes())
    }

    /// The same of bytes that may be anything.
    pub fn sign_bytes(&self, claims: &[u8]) -> Result<String, SignerError> {
        let header = json!({"alg": self.algorithm().name(), "typ": "JWT", "kid": self.id});
        let header = URL_SAFE_NO_PAD.encode(header.to_string());
        let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims));
        let message = signed.as_bytes();
        let signature = match &self.kind {
            Kind::EdDsa(pair) => URL_SAFE_NO_PAD.encode(pair.sign(message)),
            Kind::Es256(pair, random) => {
                URL_SAFE_NO_PAD.encode(pair.sign(random, message).map_err(|_| SignerError::Random)?)
            }
            Kind::Hs256(key) => URL_SAFE_NO_PAD.encode(hmac::sign(key, message)),
        };
        Ok(format!("{signed}.{signature}"))
    }

    /// What a signed URL carries, in the form of a path step and in that of a query. Only a secret signs URLs.
    pub fn signed(
        &self,
        streams: &StreamPattern,
        expires: u64,
        network: Option<&Network>,
    ) -> Option<SignedUrl> {
        let Kind::Hs256(key) = &self.kind else { return None };
        let prefix = signed::prefix(streams);
        let mac = hmac::sign(key, signed::message(&prefix, expires, network).as_bytes());
        let (id, mac) = (&self.id, URL_SAFE_NO_PAD.encode(mac));
        Some(SignedUrl {
            step: Secret::new(format!("v1~{id}~{expires}~{mac}")),
            query: Secret::new(format!("e={expires}&k={id}&p={prefix}&s={mac}")),
        })
    }
}

/// A signature in its two forms.
#[derive(Clone, PartialEq, Debug)]
pub struct SignedUrl {
    /// For `/t/HERE/APP/NAME/…`.
    pub step: Secret,
    /// For `/APP/NAME/…?HERE`.
    pub query: Secret,
}

/// A new Ed25519 key, in PEM.
pub fn new_key() -> Result<Secret, SignerError> {
    let der = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| SignerError::Random)?;
    let text = STANDARD.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    let body = lines.join("\n");
    Ok(Secret::new(format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n")))
}

/// Random text of 32 bytes: a shared secret.
pub fn new_secret() -> Result<Secret, SignerError> {
    random::<32>().map(Secret::new)
}

/// Random text that names one token.
pub fn new_id() -> Result<String, SignerError> {
    random::<12>()
}

fn random<const BYTES: usize>() -> Result<String, SignerError>
where
    [u8; BYTES]: ring::rand::RandomlyConstructable,
{
    let bytes = ring::rand::generate::<[u8; BYTES]>(&SystemRandom::new());
    bytes.map(|bytes| URL_SAFE_NO_PAD.encode(bytes.expose())).map_err(|_| SignerError::Random)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::jws;
    use crate::token::key::{KeySet, jwks};
    use crate::token::ticket::{Form, Ticket};

    // openssl genpkey -algorithm ed25519; openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256
    const ED: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEICgQ6I5qiOOu6JkDtSn3fGXnxO1dbr9Vfr+K7xraTaD2\n-----END PRIVATE KEY-----\n";
    const EC: &str = "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg+kWbQcXKv5zXu5gR\nt8gLk4S3Lm9c8xgHWGfNPSTKyCuhRANCAATDppNBzxAHuM5apgHMmMXby739mcL6\nQQVMOEP4srtXcKZyATUueFxmAF+rGpsi3EqiixrRsvC97wtKmbNlgVIL\n-----END PRIVATE KEY-----\n";

    #[test]
    fn what_a_signer_signs_verifies_with_its_key_set() {
        let own = new_key().unwrap();
        for (pem, algorithm) in [(own.expose().as_str(), "EdDSA"), (ED, "EdDSA"), (EC, "ES256")] {
            let signer = Signer::from_pem(pem).unwrap();
            let set = signer.jwks().unwrap();
            assert!(set.contains(algorithm) && set.contains(signer.id()) && !set.contains("\"d\""));
            let keys = KeySet::new(jwks(set.as_bytes(), false).unwrap());
            let token = signer.sign(&json!({"a": 1})).unwrap();
            let Ok(Form::Jwt(jwt)) = Ticket::new(&token).unwrap().read() else { panic!("a token") };
            assert_eq!(jws::verify(&jwt, &keys).unwrap().0, r#"{"a":1}"#);
            assert!(signer.signed(&StreamPattern::Any, 1, None).is_none());
        }
    }

    #[test]
    fn a_thumbprint_is_that_of_rfc_8037() {
        // Appendix A.1 and A.3, the key in PKCS #8.
        let pem = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----\n";
        assert_eq!(Signer::from_pem(pem).unwrap().id(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    #[test]
    fn what_is_no_key_is_refused() {
        assert_eq!(Signer::from_pem("secret").unwrap_err(), SignerError::Pem);
        let rsa = "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n";
        assert_eq!(Signer::from_pem(rsa).unwrap_err(), SignerError::Kind);
    }
}
