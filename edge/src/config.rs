//! What the operator writes under `edge`, and its checked form.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::token;

/// The `edge` section.
#[derive(Clone, PartialEq, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Plain HTTP: HTTP/1.1, and HTTP/2 for clients that begin with it (h2c).
    pub http: Http,
    /// HTTP over TLS: HTTP/2 and HTTP/1.1 by ALPN. Safari plays at low latency only over HTTP/2 with TLS.
    pub https: Https,
    /// HTTP/3, beside HTTPS.
    pub http3: Http3,
    /// What one client, and all of them together, may take.
    pub limits: Limits,
    /// Who may watch what.
    pub access: token::Config,
}

/// The `edge.http` section.
#[derive(Clone, PartialEq, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    /// Where players connect, or `off`.
    pub listen: Listen,
}

/// The `edge.https` section.
#[derive(Clone, PartialEq, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Https {
    /// Where players connect with TLS, or `off`.
    pub listen: Listen,
}

/// The `edge.http3` section.
#[derive(Clone, PartialEq, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Http3 {
    /// Speak HTTP/3 on the port of `edge.https.listen`, over UDP, and offer it to who comes over TLS. Without HTTPS
    /// there is none.
    pub enabled: bool,
    /// The port that players are told (`Alt-Svc`), where something in front of the edge gives it another one; 0 tells
    /// the edge's own.
    pub advertise: u16,
}

/// The `edge.limits` section (EDGE-36).
#[derive(Clone, PartialEq, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Connections open at once. Each may need a file descriptor, so the process's own limit must be higher.
    pub connections: usize,
    /// Connections open at once from one address (one /64 of IPv6). Viewers behind one proxy or one carrier's
    /// gateway share an address.
    pub connections_per_ip: usize,
    /// New connections a second from one address; twice as many may come at once.
    pub connections_per_second_per_ip: u32,
    /// Requests a second from one address; twice as many may come at once. A viewer at low latency makes about 20.
    pub requests_per_second_per_ip: u32,
    /// Requests of one connection that may wait for something to be published.
    pub held_per_connection: u32,
    /// The same of one player and one rendition, where players tell their session (CMCD `sid`).
    pub held_per_rendition: u32,
    /// A connection that takes fewer bytes a second than this, for `slow_reader_over`, is closed.
    pub slow_reader_bytes_per_second: u64,
    /// How long a client may read too slowly.
    #[serde(with = "humantime_serde")]
    pub slow_reader_over: Duration,
    /// How long a connection may stay open between requests.
    #[serde(with = "humantime_serde")]
    pub idle: Duration,
    /// How long a client may take to send the head of a request, and a new one to finish its TLS handshake.
    #[serde(with = "humantime_serde")]
    pub head: Duration,
}

/// An address to listen on, or `off`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Listen {
    /// Not at all.
    Off,
    /// Here; port 0 takes any free one.
    At(SocketAddr),
}

/// A checked [`Config`].
#[derive(Clone, PartialEq, Debug)]
pub struct Plan {
    pub(crate) http: Option<SocketAddr>,
    pub(crate) https: Option<SocketAddr>,
    pub(crate) http3: Http3,
    pub(crate) limits: Limits,
    pub(crate) access: token::Plan,
}

/// What is wrong with a [`Config`], by its key.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// Nothing would be served.
    #[error(
        "edge.http.listen and edge.https.listen are both off: give one of them an address, for example \"0.0.0.0:8080\""
    )]
    NothingListens,
    /// Two sockets cannot have one address.
    #[error("edge.https.listen is the same address as edge.http.listen ({0}): give it another port")]
    SameAddress(SocketAddr),
    /// Who may watch what.
    #[error(transparent)]
    Access(#[from] token::ConfigError),
    /// A limit that would refuse everybody.
    #[error("edge.limits.{key} is 0, which would refuse every request: use 1 or more")]
    Zero {
        /// The key below `edge.limits`.
        key: &'static str,
    },
}

impl Default for Http {
    fn default() -> Self {
        Self { listen: Listen::At(SocketAddr::from(([0, 0, 0, 0], 8080))) }
    }
}

impl Default for Https {
    fn default() -> Self {
        Self { listen: Listen::At(SocketAddr::from(([0, 0, 0, 0], 8443))) }
    }
}

impl Default for Http3 {
    fn default() -> Self {
        Self { enabled: true, advertise: 0 }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 16_384,
            connections_per_ip: 4_096,
            connections_per_second_per_ip: 2_000,
            requests_per_second_per_ip: 20_000,
            held_per_connection: 64,
            held_per_rendition: 8,
            slow_reader_bytes_per_second: 8_000,
            slow_reader_over: Duration::from_secs(10),
            idle: Duration::from_secs(75),
            head: Duration::from_secs(10),
        }
    }
}

impl TryFrom<Config> for Plan {
    type Error = ConfigError;

    fn try_from(config: Config) -> Result<Self, ConfigError> {
        let (http, https) = (config.http.listen.address(), config.https.listen.address());
        match (http, https) {
            (None, None) => return Err(ConfigError::NothingListens),
            (Some(one), Some(other)) if one == other && one.port() != 0 => {
                return Err(ConfigError::SameAddress(one));
            }
            _ => {}
        }
        let limits = config.limits;
        let zero = [
            ("connections", limits.connections == 0),
            ("connections_per_ip", limits.connections_per_ip == 0),
            ("connections_per_second_per_ip", limits.connections_per_second_per_ip == 0),
            ("requests_per_second_per_ip", limits.requests_per_second_per_ip == 0),
            ("held_per_connection", limits.held_per_connection == 0),
            ("held_per_rendition", limits.held_per_rendition == 0),
            ("slow_reader_over", limits.slow_reader_over.is_zero()),
            ("idle", limits.idle.is_zero()),
            ("head", limits.head.is_zero()),
        ];
        if let Some((key, _)) = zero.into_iter().find(|(_, zero)| *zero) {
            return Err(ConfigError::Zero { key });
        }
        Ok(Self { http, https, http3: config.http3, limits, access: config.access.try_into()? })
    }
}

impl Plan {
    /// The address for plain HTTP.
    pub fn http(&self) -> Option<SocketAddr> {
        self.http
    }

    /// The address for HTTP over TLS; with one, [`Server::bind`](crate::Server::bind) needs a certificate.
    pub fn https(&self) -> Option<SocketAddr> {
        self.https
    }

    /// Who may watch what.
    pub fn access(&self) -> &token::Plan {
        &self.access
    }

    /// The same, for a key that the program keeps itself.
    pub fn access_mut(&mut self) -> &mut token::Plan {
        &mut self.access
    }
}

impl Listen {
    /// The address, or `None` for `off`.
    pub fn address(self) -> Option<SocketAddr> {
        match self {
            Self::Off => None,
            Self::At(address) => Some(address),
        }
    }
}

/// Why a text is not a [`Listen`].
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0:?} is neither an address with a port, such as \"0.0.0.0:8080\" or \"[::]:8080\", nor \"off\"")]
pub struct ListenError(String);

impl FromStr for Listen {
    type Err = ListenError;

    fn from_str(text: &str) -> Result<Self, ListenError> {
        if text.eq_ignore_ascii_case("off") {
            return Ok(Self::Off);
        }
        text.parse().map(Self::At).map_err(|_| ListenError(text.into()))
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::At(address) => address.fmt(f),
        }
    }
}

impl Serialize for Listen {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Listen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(json: &str) -> Result<Config, serde_json::Error> {
        serde_json::from_str(json)
    }

    #[test]
    fn defaults_survive_a_round_trip_and_make_a_plan() {
        let text = serde_json::to_string(&Config::default()).unwrap();
        assert!(text.contains(r#""listen":"0.0.0.0:8080""#), "{text}");
        assert_eq!(config(&text).unwrap(), Config::default());
        let plan = Plan::try_from(Config::default()).unwrap();
        assert_eq!(plan.https(), Some("0.0.0.0:8443".parse().unwrap()));
    }

    #[test]
    fn durations_are_human_and_unknown_keys_are_refused() {
        let read = config(r#"{"https":{"listen":"off"},"limits":{"idle":"2m"}}"#).unwrap();
        assert_eq!((read.https.listen, read.limits.idle), (Listen::Off, Duration::from_secs(120)));
        assert!(config(r#"{"htpp":{}}"#).is_err());
        let error = config(r#"{"http":{"listen":"8080"}}"#).unwrap_err().to_string();
        assert!(error.contains("0.0.0.0:8080"), "{error}");
    }

    #[test]
    fn an_error_names_the_key() {
        let error = |json: &str| Plan::try_from(config(json).unwrap()).unwrap_err().to_string();
        assert!(error(r#"{"http":{"listen":"off"},"https":{"listen":"off"}}"#).contains("edge.http.listen"));
        assert!(error(r#"{"https":{"listen":"0.0.0.0:8080"}}"#).contains("edge.https.listen"));
        assert!(error(r#"{"limits":{"connections":0}}"#).contains("edge.limits.connections"));
    }
}
