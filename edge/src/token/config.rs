//! The `edge.access` section, and its checked form.

use std::collections::HashSet;
use std::time::Duration;

use aqueduct_common::name::NameError;
use aqueduct_common::{Secret, StreamPattern};
use serde::{Deserialize, Serialize};

use super::key::SHORTEST_SECRET;
use super::source::{Source, SourceError};

/// The `edge.access` section: who may watch what.
#[derive(Clone, PartialEq, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Streams that need a token: `live/show`, `live/*` or `*`. All others are public.
    #[serde(deserialize_with = "names")]
    pub protected: Vec<String>,
    /// Public keys of tokens: a JWKS file, or its `https://` URL. Empty: none.
    pub jwks: String,
    /// How often the keys are looked at again.
    #[serde(with = "humantime_serde")]
    pub jwks_refresh: Duration,
    /// The `iss` that a token must have. Empty: any.
    pub issuer: String,
    /// The `aud` that a token must name. Empty: any.
    pub audience: String,
    /// Who was cut off: a file, or its `https://` URL. Empty: nobody.
    pub revoked: String,
    /// How often the list is looked at again.
    #[serde(with = "humantime_serde")]
    pub revoked_refresh: Duration,
    /// Secrets for HS256 tokens and signed URLs.
    pub keys: Vec<SharedKey>,
}

/// One of `edge.access.keys`.
#[derive(Clone, PartialEq, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SharedKey {
    /// Its name: `kid` of tokens, `k` of signed URLs.
    pub id: String,
    /// At least 32 bytes; the key is the bytes of this text.
    #[serde(skip_serializing)]
    pub secret: Secret,
    /// Streams that it may open.
    #[serde(default = "all")]
    pub streams: String,
}

/// A list, or one text with commas as a flag may carry it.
pub(crate) fn names<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "streams as a list, such as [\"live/*\"]")]
    enum Names {
        Text(String),
        List(Vec<String>),
    }
    Ok(match Names::deserialize(deserializer)? {
        Names::List(names) => names,
        Names::Text(text) => {
            text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
        }
    })
}

fn all() -> String {
    "*".into()
}

impl Default for Config {
    fn default() -> Self {
        Self {
            protected: Vec::new(),
            jwks: String::new(),
            // AUTH-30: a key that is taken back stops within 30 s.
            jwks_refresh: Duration::from_secs(20),
            issuer: String::new(),
            audience: String::new(),
            revoked: String::new(),
            // AUTH-18: who is cut off is out within 10 s.
            revoked_refresh: Duration::from_secs(5),
            keys: Vec::new(),
        }
    }
}

/// A checked [`Config`].
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Plan {
    pub(super) protected: Vec<StreamPattern>,
    pub(super) jwks: Option<Source>,
    pub(super) jwks_refresh: Duration,
    pub(super) issuer: Option<String>,
    pub(super) audience: Option<String>,
    pub(super) revoked: Option<Source>,
    pub(super) revoked_refresh: Duration,
    pub(super) keys: Vec<Shared>,
}

/// A checked [`SharedKey`].
#[derive(Clone, PartialEq, Debug)]
pub struct Shared {
    /// Its name.
    pub id: String,
    /// The key is the bytes of this text.
    pub secret: Secret,
    /// Streams that it may open.
    pub streams: StreamPattern,
}

/// What is wrong with a [`Config`], by its key.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// Not a stream's name or a pattern.
    #[error("edge.access.protected: {text:?}: {error}; or give live/* for all of an app, or * for all")]
    Protected {
        /// The entry.
        text: String,
        /// What is wrong.
        error: NameError,
    },
    /// Neither a file nor a URL that can be trusted.
    #[error("edge.access.{key}: {error}")]
    Source {
        /// The key below `edge.access`.
        key: &'static str,
        /// What is wrong.
        error: SourceError,
    },
    /// It would be read without a pause.
    #[error("edge.access.{0} is below 1s: use 1s or more")]
    TooOften(&'static str),
    /// A key's name would not survive a URL.
    #[error("edge.access.keys: the id {0:?} must have 1 to 64 letters, digits, '-', '_' or '.'")]
    KeyId(String),
    /// Two keys of one name.
    #[error("edge.access.keys: two have the id {0:?}: give each its own")]
    SameId(String),
    /// A secret that can be guessed.
    #[error(
        "edge.access.keys: the secret of {0:?} is shorter than 32 bytes; `openssl rand -base64 32` makes one"
    )]
    Short(String),
    /// Not a stream's name or a pattern.
    #[error("edge.access.keys: streams of {id:?}: {error}; or give live/* for all of an app, or * for all")]
    Streams {
        /// The key's name.
        id: String,
        /// What is wrong.
        error: NameError,
    },
}

impl TryFrom<Config> for Plan {
    type Error = ConfigError;

    fn try_from(config: Config) -> Result<Self, ConfigError> {
        let protected = config
            .protected
            .into_iter()
            .map(|text| text.parse().map_err(|error| ConfigError::Protected { text, error }));
        for (key, every) in
            [("jwks_refresh", config.jwks_refresh), ("revoked_refresh", config.revoked_refresh)]
        {
            if every < Duration::from_secs(1) {
                return Err(ConfigError::TooOften(key));
            }
        }
        let some = |text: String| (!text.is_empty()).then_some(text);
        let mut ids = HashSet::new();
        let keys = config.keys.into_iter().map(|key| {
            let key = Shared::try_from(key)?;
            if ids.insert(key.id.clone()) { Ok(key) } else { Err(ConfigError::SameId(key.id)) }
        });
        Ok(Self {
            protected: protected.collect::<Result<_, _>>()?,
            jwks: source("jwks", &config.jwks)?,
            jwks_refresh: config.jwks_refresh,
            issuer: some(config.issuer),
            audience: some(config.audience),
            revoked: source("revoked", &config.revoked)?,
            revoked_refresh: config.revoked_refresh,
            keys: keys.collect::<Result<_, _>>()?,
        })
    }
}

fn source(key: &'static str, text: &str) -> Result<Option<Source>, ConfigError> {
    let read = |text: &str| text.parse().map_err(|error| ConfigError::Source { key, error });
    (!text.is_empty()).then(|| read(text)).transpose()
}

impl TryFrom<SharedKey> for Shared {
    type Error = ConfigError;

    fn try_from(key: SharedKey) -> Result<Self, ConfigError> {
        let SharedKey { id, secret, streams } = key;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if !(1..=64).contains(&id.len()) || !id.bytes().all(plain) {
            return Err(ConfigError::KeyId(id));
        }
        if secret.expose().len() < SHORTEST_SECRET {
            return Err(ConfigError::Short(id));
        }
        match streams.parse() {
            Ok(streams) => Ok(Self { id, secret, streams }),
            Err(error) => Err(ConfigError::Streams { id, error }),
        }
    }
}

impl Plan {
    /// Streams are protected, and there is nothing yet to check tokens with.
    pub fn wants_key(&self) -> bool {
        !self.protected.is_empty() && self.keys.is_empty() && self.jwks.is_none()
    }

    /// Adds a secret that the program keeps itself.
    pub fn add(&mut self, key: Shared) {
        self.keys.push(key);
    }

    /// The secrets, in the order of the configuration.
    pub fn keys(&self) -> &[Shared] {
        &self.keys
    }

    /// What a token must name as its issuer.
    pub fn issuer(&self) -> Option<&str> {
        self.issuer.as_deref()
    }

    /// What a token must name as its audience.
    pub fn audience(&self) -> Option<&str> {
        self.audience.as_deref()
    }

    /// Whether a key set is configured.
    pub fn has_jwks(&self) -> bool {
        self.jwks.is_some()
    }

    /// Whether this stream needs a token.
    pub fn protects(&self, stream: &str) -> bool {
        self.protected.iter().any(|pattern| pattern.covers_text(stream))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(json: &str) -> Result<Plan, ConfigError> {
        Plan::try_from(serde_json::from_str::<Config>(json).unwrap())
    }

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn streams_are_public_until_one_is_named() {
        let open = plan("{}").unwrap();
        assert!(!open.protects("live/show") && !open.wants_key());
        let some = plan(r#"{"protected":["live/vip","shop/*"]}"#).unwrap();
        assert!(some.protects("live/vip") && some.protects("shop/any") && some.wants_key());
        assert!(!some.protects("live/show") && !some.protects("live/vip2"));
        assert_eq!(plan(r#"{"protected":"live/vip, shop/*"}"#).unwrap(), some);
        assert!(!plan(r#"{"protected":["*"],"jwks":"keys.json"}"#).unwrap().wants_key());
    }

    #[test]
    fn an_error_names_the_key_and_no_secret() {
        let error = |json: &str| plan(json).unwrap_err().to_string();
        assert!(error(r#"{"protected":["live"]}"#).starts_with("edge.access.protected: \"live\""));
        assert!(error(r#"{"jwks":"http://id.example/k"}"#).starts_with("edge.access.jwks: "));
        assert!(error(r#"{"revoked":"ftp://x/"}"#).starts_with("edge.access.revoked: "));
        assert!(error(r#"{"revoked_refresh":"10ms"}"#).starts_with("edge.access.revoked_refresh "));
        let key = |id: &str, secret: &str, streams: &str| {
            format!(r#"{{"id":"{id}","secret":"{secret}","streams":"{streams}"}}"#)
        };
        let one = |id, secret, streams| format!(r#"{{"keys":[{}]}}"#, key(id, secret, streams));
        let good = plan(&one("shop.eu", SECRET, "shop/*")).unwrap();
        assert!(!format!("{good:?}").contains(SECRET));
        assert!(error(&one("a b", SECRET, "*")).contains("\"a b\""));
        assert!(
            error(&one("a", "short", "*")).contains("32 bytes")
                && !error(&one("a", "short", "*")).contains("short\"")
        );
        assert!(error(&one("a", SECRET, "live")).contains("streams of \"a\""));
        let twice = format!(r#"{{"keys":[{0},{0}]}}"#, key("a", SECRET, "*"));
        assert!(error(&twice).contains("two have the id"));
    }
}
