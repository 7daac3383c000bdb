//! Keys that tokens are checked with. A key has one algorithm of its own, whatever a token claims (AUTH-10).

use std::fmt;

use aqueduct_common::{Secret, StreamPattern};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::{hmac, signature};

use super::denied::Denied;
use super::ticket::MAX_KEY_ID;

/// How a token is signed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Algorithm {
    /// Ed25519 (RFC 8037).
    EdDsa,
    /// ECDSA on P-256 with SHA-256 (RFC 7518, section 3.4).
    Es256,
    /// HMAC with SHA-256: only where who makes tokens and who checks them are one (AUTH-10).
    Hs256,
}

impl Algorithm {
    /// As a token's header names it; `none` and everything else is no algorithm.
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "EdDSA" => Some(Self::EdDsa),
            "ES256" => Some(Self::Es256),
            "HS256" => Some(Self::Hs256),
            _ => None,
        }
    }

    /// Its name in a header.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
            Self::Hs256 => "HS256",
        }
    }
}

/// One key.
pub(super) struct Key {
    id: Option<String>,
    material: Material,
    /// The streams that it may open, whatever its tokens say.
    streams: StreamPattern,
}

enum Material {
    EdDsa(signature::UnparsedPublicKey<Vec<u8>>),
    Es256(signature::UnparsedPublicKey<Vec<u8>>),
    Hs256(hmac::Key),
}

impl Key {
    /// A secret shared with whoever makes tokens.
    pub(super) fn shared(id: &str, secret: &Secret, streams: StreamPattern) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes());
        Self { id: Some(id.to_owned()), material: Material::Hs256(key), streams }
    }

    /// Its `kid`.
    pub(super) fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    pub(super) const fn algorithm(&self) -> Algorithm {
        match self.material {
            Material::EdDsa(_) => Algorithm::EdDsa,
            Material::Es256(_) => Algorithm::Es256,
            Material::Hs256(_) => Algorithm::Hs256,
        }
    }

    /// Whether it may open this stream.
    pub(super) fn opens(&self, stream: &str) -> bool {
        self.streams.covers_text(stream)
    }

    pub(super) fn streams(&self) -> &StreamPattern {
        &self.streams
    }

    /// Whether this key made the signature. HMACs are compared in constant time.
    pub(super) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.material {
            Material::EdDsa(key) | Material::Es256(key) => key.verify(message, signature).is_ok(),
            Material::Hs256(key) => hmac::verify(key, message, signature).is_ok(),
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("id", &self.id)
            .field("algorithm", &self.algorithm())
            .finish_non_exhaustive()
    }
}

/// Keys by their names.
#[derive(Debug, Default)]
pub(super) struct KeySet(Vec<Key>);

impl KeySet {
    pub(super) fn new(keys: Vec<Key>) -> Self {
        Self(keys)
    }

    /// The key that is named, or the only one of its algorithm where none is. A name is compared and nothing else.
    pub(super) fn pick(&self, id: Option<&str>, algorithm: Algorithm) -> Result<&Key, Denied> {
        let Some(id) = id else {
            let mut fitting = self.0.iter().filter(|key| key.algorithm() == algorithm);
            let only = fitting.next().filter(|_| fitting.next().is_none());
            return only.ok_or(Denied::Key);
        };
        let key = self.0.iter().find(|key| key.id() == Some(id)).ok_or(Denied::Key)?;
        // A token that is signed with the text of a public key as if it were a secret ends here.
        if key.algorithm() == algorithm { Ok(key) } else { Err(Denied::Algorithm) }
    }
}

/// Most keys of a set.
const MAX_KEYS: usize = 64;

/// Why a text is not a key set that can be used (RFC 7517).
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum JwksError {
    /// Not JSON, or of another shape.
    #[error("it is no JWK set, {{\"keys\":[…]}}: {0}")]
    Shape(String),
    /// Unreasonably many.
    #[error("it holds more than 64 keys")]
    TooMany,
    /// A key of a kind that is used here, but broken.
    #[error("key {number} ({id:?}): {why}")]
    Key {
        /// Its place, from 1.
        number: usize,
        /// Its `kid`.
        id: String,
        /// What is wrong.
        why: &'static str,
    },
    /// Two with one name.
    #[error("two keys are called {0:?}: give each a kid of its own")]
    SameId(String),
    /// None that is for checking tokens.
    #[error(
        "it holds no Ed25519, P-256 or oct key for signatures: these are what EdDSA, ES256 and HS256 need"
    )]
    NoKey,
}

#[derive(serde::Deserialize)]
struct Jwks {
    keys: Vec<serde_json::Value>,
}

#[derive(serde::Deserialize)]
struct Jwk {
    kty: String,
    #[serde(default)]
    crv: String,
    x: Option<String>,
    y: Option<String>,
    k: Option<Secret>,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
}

/// The keys of a JWK set that check signatures of tokens; others in it are passed over. `oct` keys are secrets: they
/// count only where `secrets` are welcome, which is never in what comes over a network.
pub(super) fn jwks(json: &[u8], secrets: bool) -> Result<Vec<Key>, JwksError> {
    let set: Jwks = serde_json::from_slice(json).map_err(|error| JwksError::Shape(error.to_string()))?;
    if set.keys.len() > MAX_KEYS {
        return Err(JwksError::TooMany);
    }
    let mut keys: Vec<Key> = Vec::new();
    for (index, value) in set.keys.into_iter().enumerate() {
        let Ok(jwk) = serde_json::from_value::<Jwk>(value) else { continue };
        let id = jwk.kid.clone();
        let error = |why| JwksError::Key { number: index + 1, id: id.clone().unwrap_or_default(), why };
        let Some(key) = jwk.key(secrets).map_err(error)? else { continue };
        if let Some(id) = key.id()
            && keys.iter().any(|other| other.id() == Some(id))
        {
            return Err(JwksError::SameId(id.to_owned()));
        }
        keys.push(key);
    }
    if keys.is_empty() { Err(JwksError::NoKey) } else { Ok(keys) }
}

/// How many keys of a JWK set would be used; `secrets` as for a set that lies in a file.
///
/// # Errors
/// When it is no set that can be used.
pub fn keys_in(json: &[u8], secrets: bool) -> Result<usize, JwksError> {
    jwks(json, secrets).map(|keys| keys.len())
}

impl Jwk {
    fn key(self, secrets: bool) -> Result<Option<Key>, &'static str> {
        let verifies = |ops: &Vec<String>| ops.iter().any(|op| op == "verify");
        if self.usage.as_deref().is_some_and(|usage| usage != "sig")
            || !self.key_ops.as_ref().is_none_or(verifies)
        {
            return Ok(None);
        }
        let material = match (self.kty.as_str(), self.crv.as_str()) {
            ("OKP", "Ed25519") => {
                let point = coordinate(self.x.as_deref())?;
                Material::EdDsa(signature::UnparsedPublicKey::new(&signature::ED25519, point.to_vec()))
            }
            ("EC", "P-256") => {
                let (x, y) = (coordinate(self.x.as_deref())?, coordinate(self.y.as_deref())?);
                let point = [&[4], &x[..], &y[..]].concat();
                Material::Es256(signature::UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point))
            }
            ("oct", _) if secrets => {
                let secret = self.k.as_ref().and_then(|k| URL_SAFE_NO_PAD.decode(k.expose()).ok());
                let secret = secret.ok_or("k is missing or no base64url")?;
                if secret.len() < SHORTEST_SECRET {
                    return Err("k is shorter than 32 bytes, which can be guessed");
                }
                Material::Hs256(hmac::Key::new(hmac::HMAC_SHA256, &secret))
            }
            _ => return Ok(None),
        };
        if self.kid.as_ref().is_some_and(|id| id.len() > MAX_KEY_ID) {
            return Err("its kid is longer than 128 characters");
        }
        let key = Key { id: self.kid, material, streams: StreamPattern::Any };
        match self.alg.as_deref().map(Algorithm::named) {
            Some(named) if named != Some(key.algorithm()) => Err("its alg is not the one of its kind of key"),
            _ => Ok(Some(key)),
        }
    }
}

/// Bytes that a secret has at least: those of the hash (RFC 7518, section 3.2).
pub(super) const SHORTEST_SECRET: usize = 32;

/// 32 bytes of a public key.
fn coordinate(text: Option<&str>) -> Result<[u8; 32], &'static str> {
    let bytes = text.and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
    bytes.and_then(|bytes| bytes.try_into().ok()).ok_or("x or y is missing or not 32 bytes of base64url")
}

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 8037, appendix A.2; RFC 7515, appendix A.3; RFC 7515, appendix A.1.
    const ED: &str =
        r#"{"kty":"OKP","crv":"Ed25519","kid":"ed","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    const EC: &str = r#"{"kty":"EC","crv":"P-256","kid":"ec","alg":"ES256","use":"sig","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;
    const OCT: &str = r#"{"kty":"oct","kid":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}"#;

    fn set(keys: &[&str], secrets: bool) -> Result<KeySet, JwksError> {
        jwks(format!(r#"{{"keys":[{}]}}"#, keys.join(",")).as_bytes(), secrets).map(KeySet::new)
    }

    #[test]
    fn a_key_is_found_by_its_name_and_keeps_its_algorithm() {
        let keys = set(&[ED, EC, OCT], true).unwrap();
        assert_eq!(keys.pick(Some("ed"), Algorithm::EdDsa).unwrap().algorithm(), Algorithm::EdDsa);
        assert_eq!(keys.pick(None, Algorithm::Es256).unwrap().id.as_deref(), Some("ec"));
        for (id, algorithm, denied) in [
            (Some("ed"), Algorithm::Hs256, Denied::Algorithm),
            (Some("ec"), Algorithm::EdDsa, Denied::Algorithm),
            (Some("oct"), Algorithm::EdDsa, Denied::Algorithm),
            (Some("ED"), Algorithm::EdDsa, Denied::Key),
            (Some("../../etc/passwd"), Algorithm::EdDsa, Denied::Key),
            (Some(""), Algorithm::EdDsa, Denied::Key),
        ] {
            assert_eq!(keys.pick(id, algorithm).unwrap_err(), denied, "{id:?}");
        }
        // Without a name there is no choosing between two.
        let two = set(&[ED, &ED.replace("\"ed\"", "\"other\"")], false).unwrap();
        assert_eq!(two.pick(None, Algorithm::EdDsa).unwrap_err(), Denied::Key);
        assert!(!format!("{keys:?}").contains("11qYAY"));
    }

    #[test]
    fn sets_that_cannot_be_used_say_why() {
        // A secret that came over a network is none.
        assert_eq!(set(&[OCT], false).unwrap_err(), JwksError::NoKey);
        let rsa = r#"{"kty":"RSA","kid":"r","n":"AQAB","e":"AQAB"}"#;
        assert_eq!(set(&[rsa, "7"], true).unwrap_err(), JwksError::NoKey);
        assert!(set(&[rsa, ED], true).is_ok());
        let encrypting = EC.replace(r#""use":"sig""#, r#""use":"enc""#);
        let signing = ED.replace(r#""kid":"#, r#""key_ops":["sign"],"kid":"#);
        assert_eq!(set(&[&encrypting, &signing], true).unwrap_err(), JwksError::NoKey);
        assert_eq!(set(&[ED, ED], true).unwrap_err(), JwksError::SameId("ed".into()));
        let why = |key: &str| set(&[ED, key], true).unwrap_err().to_string();
        assert!(why(&EC.replace("ES256", "HS256")).contains("alg"));
        assert!(why(&EC.replace("x_FE", "x_F")).contains("key 2 (\"ec\"): x or y"));
        assert!(why(r#"{"kty":"oct","kid":"o","k":"c2hvcnQ"}"#).contains("32 bytes"));
        assert!(matches!(jwks(b"[]", true), Err(JwksError::Shape(_))));
        assert_eq!(set(&[ED; 65], true).unwrap_err(), JwksError::TooMany);
    }
}
