//! What the operator writes under `relay`, and its checked form.

use std::path::PathBuf;
use std::time::Duration;

use aqueduct_common::pattern::StreamPattern;
use serde::{Deserialize, Serialize};

use super::tls::Token;
use crate::config::Listen;

/// The `relay` section.
#[derive(Clone, PartialEq, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where edges connect (UDP), or `off`. Not set: 0.0.0.0:4443 for `aqueduct origin`, off for the others.
    pub listen: Option<Listen>,
    /// Name of this node among those that feed each other. Empty: the certificate's, or one made at each start.
    pub node: String,
    /// Nodes to be fed by, as `host:port`, the preferred one first. `aqueduct edge --origin` sets it.
    pub origins: Vec<String>,
    /// Streams to take before anybody asks: `live/show`, `live/*` or `*`.
    #[serde(deserialize_with = "crate::token::names")]
    pub prefetch: Vec<String>,
    /// A line that nobody has asked for in this time is not taken any more (EDGE-8).
    #[serde(with = "humantime_serde")]
    pub idle: Duration,
    /// Certificate of the relay's authority, PEM.
    pub ca: Option<PathBuf>,
    /// This node's certificate of that authority, PEM.
    pub certificate: Option<PathBuf>,
    /// Its private key, PEM.
    pub key: Option<PathBuf>,
    /// List of nodes that are not let in nor listened to any more: a file of lines `node:NAME` or `serial:HEX`, read again
    /// when it changes.
    pub refused: Option<PathBuf>,
    /// Tokens of the origins, as they print them, where there is no authority. `aqueduct edge --token` sets it.
    pub tokens: Vec<String>,
    /// How links to edges are filled.
    pub congestion: Congestion,
    /// What CUBIC keeps in flight whatever is lost, in KiB; 0 is plain CUBIC, for links that are shared with others.
    pub floor_kib: u32,
    /// What an edge fetches one by one because it was not pushed to it, kept in memory at most, in MiB; 0 fetches nothing.
    pub backfill_mib: u32,
}

/// How a link is filled.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Congestion {
    /// CUBIC with a floor.
    #[default]
    Cubic,
    /// BBR.
    Bbr,
}

/// A checked [`Config`].
#[derive(Clone, PartialEq, Debug)]
pub struct Plan {
    /// Where edges connect; `None` where that was not said.
    pub listen: Option<Listen>,
    /// This node's name; empty where that was not said.
    pub node: String,
    /// Nodes to be fed by.
    pub origins: Vec<String>,
    /// Streams to take before anybody asks.
    pub prefetch: Vec<StreamPattern>,
    /// When what nobody asks for is let go.
    pub idle: Duration,
    /// How nodes know each other.
    pub credentials: Credentials,
    /// List of nodes that are refused.
    pub refused: Option<PathBuf>,
    /// How links to edges are filled.
    pub congestion: Congestion,
    /// Bytes that CUBIC keeps in flight.
    pub floor: u64,
    /// Bytes of what is fetched one by one that are kept.
    pub backfill: u64,
}

/// How nodes know each other.
#[derive(Clone, PartialEq, Debug)]
pub enum Credentials {
    /// By certificates of one authority, in these files.
    Authority {
        /// The authority's certificate.
        ca: PathBuf,
        /// The node's chain.
        certificate: PathBuf,
        /// Its key.
        key: PathBuf,
    },
    /// By tokens; without one only on this machine.
    Tokens(Vec<Token>),
}

/// What is wrong with a [`Config`], by its key.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// Only a part of the three files.
    #[error(
        "relay.{0} is missing: relay.ca, relay.certificate and relay.key go together (`aqueduct ca` makes them)"
    )]
    Incomplete(&'static str),
    /// Both ways at once.
    #[error(
        "relay.tokens and relay.ca are both set: nodes know each other in one way, leave one of them out"
    )]
    Both,
    /// Not a token.
    #[error("relay.tokens: {0}")]
    Token(#[from] super::tls::TokenError),
    /// Not an address.
    #[error("relay.origins: {0:?} is no HOST:PORT, such as \"origin.example:4443\"")]
    Origin(String),
    /// Not a pattern.
    #[error("relay.prefetch: {0:?} is neither a stream such as \"live/show\" nor \"live/*\" nor \"*\"")]
    Prefetch(String),
    /// Not a name.
    #[error("relay.node: {0:?}: 1 to 64 letters, digits, '-', '_' or '.'")]
    Node(String),
    /// Everything would be let go at once.
    #[error("relay.idle is below 1s, which would let go of what is being watched: set it to 1s or more")]
    Idle,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: None,
            node: String::new(),
            origins: Vec::new(),
            prefetch: Vec::new(),
            idle: Duration::from_secs(30),
            ca: None,
            certificate: None,
            key: None,
            refused: None,
            tokens: Vec::new(),
            congestion: Congestion::Cubic,
            floor_kib: 256,
            backfill_mib: 64,
        }
    }
}

impl TryFrom<Config> for Plan {
    type Error = ConfigError;

    fn try_from(config: Config) -> Result<Self, ConfigError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if config.node.len() > 64 || !config.node.chars().all(plain) || config.node.starts_with('.') {
            return Err(ConfigError::Node(config.node));
        }
        if config.idle < Duration::from_secs(1) {
            return Err(ConfigError::Idle);
        }
        if let Some(bad) = config.origins.iter().find(|origin| !is_address(origin)) {
            return Err(ConfigError::Origin(bad.clone()));
        }
        let pattern = |text: String| text.parse().map_err(|_| ConfigError::Prefetch(text));
        let prefetch = config.prefetch.into_iter().map(pattern).collect::<Result<_, _>>()?;
        let tokens: Vec<Token> = config.tokens.iter().map(|token| token.parse()).collect::<Result<_, _>>()?;
        let credentials = match (config.ca, config.certificate, config.key) {
            (None, None, None) => Credentials::Tokens(tokens),
            (Some(_), Some(_), Some(_)) if !tokens.is_empty() => return Err(ConfigError::Both),
            (Some(ca), Some(certificate), Some(key)) => Credentials::Authority { ca, certificate, key },
            (None, ..) => return Err(ConfigError::Incomplete("ca")),
            (_, None, _) => return Err(ConfigError::Incomplete("certificate")),
            (_, _, None) => return Err(ConfigError::Incomplete("key")),
        };
        Ok(Self {
            listen: config.listen,
            node: config.node,
            origins: config.origins,
            prefetch,
            idle: config.idle,
            credentials,
            refused: config.refused,
            congestion: config.congestion,
            floor: u64::from(config.floor_kib) * 1_024,
            backfill: u64::from(config.backfill_mib) << 20,
        })
    }
}

/// `host:port`, where the host may be an address in brackets.
pub(crate) fn is_address(text: &str) -> bool {
    text.rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|p| p > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(json: &str) -> Result<Plan, String> {
        let config: Config = serde_json::from_str(json).map_err(|error| error.to_string())?;
        Plan::try_from(config).map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_make_a_plan_and_each_error_names_its_key() {
        let defaults = serde_json::to_string(&Config::default()).unwrap();
        let made = plan(&defaults).unwrap();
        assert_eq!((made.listen, made.floor, made.credentials), (None, 262_144, Credentials::Tokens(vec![])));
        for (json, key) in [
            (r#"{"ca":"a.pem"}"#, "relay.certificate"),
            (r#"{"certificate":"a.pem","key":"b"}"#, "relay.ca"),
            (r#"{"tokens":["x"]}"#, "relay.tokens"),
            (r#"{"origins":["host"]}"#, "relay.origins"),
            (r#"{"origins":["host:0"]}"#, "relay.origins"),
            (r#"{"prefetch":["live"]}"#, "relay.prefetch"),
            (r#"{"node":"a/b"}"#, "relay.node"),
            (r#"{"idle":"1ms"}"#, "relay.idle"),
        ] {
            let error = plan(json).unwrap_err();
            assert!(error.contains(key), "{json}: {error}");
        }
        // As a flag may carry it.
        let (text, list) = (plan(r#"{"prefetch":"live/*, b/c"}"#), plan(r#"{"prefetch":["live/*","b/c"]}"#));
        assert_eq!((text.unwrap().prefetch.len(), list.is_ok()), (2, true));
        assert!(plan(r#"{"origins":["[::1]:4443","origin.example:4443"],"prefetch":["live/*"]}"#).is_ok());
    }
}
