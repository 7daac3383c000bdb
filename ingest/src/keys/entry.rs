//! One key: which streams it opens, and its hash.

use std::fmt;

use aqueduct_common::name::NameError;
pub use aqueduct_common::pattern::StreamPattern;
use aqueduct_common::source::SourceError;
use aqueduct_common::{Secret, SourceName};
use ring::digest;

/// Characters that a secret has at least.
pub(super) const SHORTEST_SECRET: usize = 16;

/// One entry of `ingest.keys`, and of the key file.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyConfig {
    /// The stream that the key opens: `live/show`, `live/*` or `*`.
    pub stream: String,
    /// The key itself, at least 16 of `A–Z a–z 0–9 _ - . ~`. Give this or `hash`.
    #[serde(default)]
    pub secret: Option<Secret>,
    /// `sha256:` and the hex digest of the key: `printf %s SECRET | sha256sum`. Only for keys that are random.
    #[serde(default)]
    pub hash: Option<String>,
    /// Whoever publishes with this key is this one of the stream's sources: `main` is `push:main`.
    #[serde(default)]
    pub source: Option<String>,
}

/// Why an entry cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The stream is not a name or a pattern.
    #[error("stream: {0}; or give live/* for all of an app, or * for all")]
    Stream(#[from] NameError),
    /// Neither secret nor hash, or both.
    #[error("secret: give either secret or hash")]
    OneOf,
    /// The hash is not `sha256:` and 64 hex digits.
    #[error("hash: write sha256: and the 64 hex digits of `printf %s SECRET | sha256sum`")]
    Hash,
    /// The secret is too short.
    #[error("secret: at least 16 characters, better the 32 random ones of a generated key")]
    Short,
    /// The secret would be changed on its way through a URL.
    #[error("secret: only letters, digits and _ - . ~ survive a URL")]
    Character,
    /// The source cannot be one's name.
    #[error("source: 1 to 64 letters, digits, '_', '-' or '.', such as \"backup\"")]
    Source,
}

/// A key that is ready to be compared.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyEntry {
    /// What it opens.
    pub pattern: StreamPattern,
    /// SHA-256 of the secret. Secrets are long and random, so there is nothing to stretch.
    pub(super) digest: [u8; 32],
    /// Which of the stream's sources it stands for.
    pub source: Option<SourceName>,
}

impl KeyEntry {
    /// A key for a secret that was made by [`super::generate`].
    pub fn new(pattern: StreamPattern, secret: &str) -> Self {
        let mut digest = [0; 32];
        digest.copy_from_slice(digest::digest(&digest::SHA256, secret.as_bytes()).as_ref());
        Self { pattern, digest, source: None }
    }

    /// `sha256:` and the digest in hex.
    pub fn hash(&self) -> String {
        self.digest.iter().fold("sha256:".to_owned(), |text, byte| text + &format!("{byte:02x}"))
    }
}

impl fmt::Debug for KeyEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyEntry").field("pattern", &self.pattern).finish_non_exhaustive()
    }
}

impl TryFrom<&KeyConfig> for KeyEntry {
    type Error = KeyError;

    fn try_from(config: &KeyConfig) -> Result<Self, KeyError> {
        let pattern = config.stream.parse()?;
        let source = config.source.as_deref().map(SourceName::push).transpose();
        let source = source.map_err(|SourceError| KeyError::Source)?;
        match (&config.secret, &config.hash) {
            (Some(secret), None) => {
                let secret = secret.expose();
                let survives = |c: char| c.is_ascii_alphanumeric() || "_-.~".contains(c);
                if !secret.chars().all(survives) {
                    return Err(KeyError::Character);
                }
                if secret.len() < SHORTEST_SECRET {
                    return Err(KeyError::Short);
                }
                Ok(Self { source, ..Self::new(pattern, secret) })
            }
            (None, Some(hash)) => {
                let digest = hash.strip_prefix("sha256:").and_then(unhex).ok_or(KeyError::Hash)?;
                Ok(Self { pattern, digest, source })
            }
            _ => Err(KeyError::OneOf),
        }
    }
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    if text.len() != 64 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (index, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(stream: &str, secret: Option<&str>, hash: Option<&str>) -> KeyConfig {
        KeyConfig {
            stream: stream.into(),
            secret: secret.map(|text| Secret::new(text.to_owned())),
            hash: hash.map(str::to_owned),
            source: None,
        }
    }

    #[test]
    fn a_secret_and_its_hash_are_the_same_key() {
        // `printf %s abc | sha256sum`, FIPS 180-2.
        let abc = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(KeyEntry::new(StreamPattern::Any, "abc").hash(), abc);
        let hashed = KeyEntry::try_from(&config("*", None, Some(abc))).unwrap();
        assert_eq!(hashed, KeyEntry::new(StreamPattern::Any, "abc"));
        assert_eq!(hashed.hash(), abc);
    }

    #[test]
    fn entries_that_cannot_be_used_say_what_to_do() {
        let long = "0123456789abcdef";
        for (config, error) in [
            (config("live", Some(long), None), KeyError::Stream(NameError::Shape)),
            (config("a b/*", Some(long), None), KeyError::Stream(NameError::Character(' '))),
            (config("*", None, None), KeyError::OneOf),
            (config("*", Some(long), Some("sha256:")), KeyError::OneOf),
            (config("*", Some("short"), None), KeyError::Short),
            (config("*", Some("0123456789 bcdefg"), None), KeyError::Character),
            (config("*", None, Some("sha256:00")), KeyError::Hash),
            (config("*", None, Some("00")), KeyError::Hash),
        ] {
            assert_eq!(KeyEntry::try_from(&config), Err(error), "{config:?}");
        }
        let of = |source: &str| KeyConfig { source: Some(source.into()), ..config("*", Some(long), None) };
        let named = KeyEntry::try_from(&of("backup")).unwrap();
        assert_eq!(named.source, Some("push:backup".parse().unwrap()));
        assert_eq!(KeyEntry::try_from(&of("a b")), Err(KeyError::Source));
    }
}
