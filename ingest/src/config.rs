//! What an operator may set under `ingest`, and the checked form of it.

use std::net::SocketAddr;
use std::time::Duration;

use serde::Deserialize;

use crate::keys::{KeyConfig, KeyEntry, KeyError};
use crate::rtmp;
use crate::stream::{Policy, Takeover};

/// Longest time that a stream may wait for its publisher.
const MAX_GRACE: Duration = Duration::from_secs(3_600);

/// Section `ingest`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where encoders push over plain RTMP.
    pub rtmp: Listen,
    /// Where encoders push over RTMP in TLS (usual port 1936 or 443). Off until it is set; uses the server's certificate.
    pub rtmps: Listen,
    /// How long a stream waits for a publisher that was lost. Within it the publisher goes on with the same stream and
    /// viewers just wait; after it the stream has ended. 0 ends it at once.
    #[serde(with = "humantime_serde")]
    pub grace: Duration,
    /// When a second publisher with a valid key comes: `replace` gives it the stream at once, `refuse` turns it away
    /// while the first one is alive.
    pub takeover: Takeover,
    /// Who may publish what. Publishers on this machine need no key until the first one is set here; others always
    /// need one, and the key that a first start makes counts for them.
    pub keys: Vec<KeyConfig>,
    /// Limits on publishers. They are wide; narrow them only against abuse.
    pub limits: Limits,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            rtmp: Listen { listen: "0.0.0.0:1935".to_owned() },
            rtmps: Listen { listen: String::new() },
            grace: Duration::from_secs(30),
            takeover: Takeover::Replace,
            keys: Vec::new(),
            limits: Limits::default(),
        }
    }
}

/// One listening address.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    /// `ADDRESS:PORT`; port 0 takes any free one; `off` or empty is off.
    pub listen: String,
}

/// Section `ingest.limits` (RTMP-5, RTMP-63, RTMP-64).
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Connections at the same time, publishers and strangers together.
    pub connections: usize,
    /// Connections of one network: an IPv4 /24 or an IPv6 /48.
    pub connections_per_network: usize,
    /// New connections a second of one address; twice as many may come at once.
    pub handshakes_per_second: u32,
    /// A publisher above this over 15 s is closed; over 5 s it is logged.
    pub megabits_per_second: u32,
    /// Messages a second of one publisher; twice as many may come at once.
    pub messages_per_second: u32,
    /// Commands a second of one connection.
    pub commands_per_second: u32,
    /// From the connection to the end of the handshake.
    #[serde(with = "humantime_serde")]
    pub handshake: Duration,
    /// From there to `connect`.
    #[serde(with = "humantime_serde")]
    pub connect: Duration,
    /// From there to `publish`.
    #[serde(with = "humantime_serde")]
    pub publish: Duration,
    /// From there to the first audio or video.
    #[serde(with = "humantime_serde")]
    pub first_media: Duration,
    /// A publisher from which no byte came for so long is lost.
    #[serde(with = "humantime_serde")]
    pub silence: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let session = rtmp::Limits::default();
        Self {
            connections: 2_000,
            connections_per_network: 200,
            handshakes_per_second: 20,
            megabits_per_second: 50,
            messages_per_second: session.messages,
            commands_per_second: session.commands,
            handshake: session.handshake,
            connect: session.connect,
            publish: session.publish,
            first_media: session.media,
            silence: session.idle,
        }
    }
}

/// Why a [`Config`] cannot be used. The text begins with the key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A listening address that is not one.
    #[error("{key}: {text:?} is not ADDRESS:PORT, such as 0.0.0.0:1935 or [::]:1935; \"off\" is off")]
    Listen {
        /// The key.
        key: &'static str,
        /// What stands there.
        text: String,
    },
    /// The grace time is too long.
    #[error("ingest.grace: at most {}", humantime_serde::re::humantime::format_duration(MAX_GRACE))]
    Grace,
    /// A publish key cannot be used.
    #[error("ingest.keys[{index}].{source}")]
    Key {
        /// Which, from 0.
        index: usize,
        /// Why.
        source: KeyError,
    },
    /// A limit that would let nobody in.
    #[error("ingest.limits.{key}: must be greater than 0")]
    Zero {
        /// Which.
        key: &'static str,
    },
}

/// A checked [`Config`].
#[derive(Clone, Debug)]
pub struct Plan {
    pub(crate) rtmp: Option<SocketAddr>,
    pub(crate) rtmps: Option<SocketAddr>,
    pub(crate) limits: Limits,
    policy: Policy,
    keys: Vec<KeyEntry>,
}

impl Plan {
    /// The rules of the registry of streams.
    pub fn policy(&self) -> Policy {
        self.policy
    }

    /// The configured publish keys.
    pub fn keys(&self) -> &[KeyEntry] {
        &self.keys
    }

    /// Whether a certificate is needed.
    pub fn needs_tls(&self) -> bool {
        self.rtmps.is_some()
    }

    pub(crate) fn session_limits(&self) -> rtmp::Limits {
        rtmp::Limits {
            handshake: self.limits.handshake,
            connect: self.limits.connect,
            publish: self.limits.publish,
            media: self.limits.first_media,
            idle: self.limits.silence,
            messages: self.limits.messages_per_second,
            commands: self.limits.commands_per_second,
            ..rtmp::Limits::default()
        }
    }
}

impl TryFrom<Config> for Plan {
    type Error = ConfigError;

    fn try_from(config: Config) -> Result<Self, ConfigError> {
        if config.grace > MAX_GRACE {
            return Err(ConfigError::Grace);
        }
        let key = |(index, key)| KeyEntry::try_from(key).map_err(|source| ConfigError::Key { index, source });
        let keys = config.keys.iter().enumerate().map(key).collect::<Result<_, _>>()?;
        none_is_zero(&config.limits)?;
        Ok(Self {
            rtmp: address("ingest.rtmp.listen", &config.rtmp.listen)?,
            rtmps: address("ingest.rtmps.listen", &config.rtmps.listen)?,
            policy: Policy { takeover: config.takeover, grace: config.grace },
            limits: config.limits,
            keys,
        })
    }
}

fn address(key: &'static str, text: &str) -> Result<Option<SocketAddr>, ConfigError> {
    let text = text.trim();
    if text.is_empty() || text == "off" {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| ConfigError::Listen { key, text: text.to_owned() })
}

fn none_is_zero(limits: &Limits) -> Result<(), ConfigError> {
    let zeros = [
        ("connections", limits.connections == 0),
        ("connections_per_network", limits.connections_per_network == 0),
        ("handshakes_per_second", limits.handshakes_per_second == 0),
        ("megabits_per_second", limits.megabits_per_second == 0),
        ("messages_per_second", limits.messages_per_second == 0),
        ("commands_per_second", limits.commands_per_second == 0),
        ("handshake", limits.handshake.is_zero()),
        ("connect", limits.connect.is_zero()),
        ("publish", limits.publish.is_zero()),
        ("first_media", limits.first_media.is_zero()),
        ("silence", limits.silence.is_zero()),
    ];
    match zeros.into_iter().find(|(_, is_zero)| *is_zero) {
        Some((key, _)) => Err(ConfigError::Zero { key }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Plan, String> {
        let config: Config = toml_edit::de::from_str(text).map_err(|error| error.to_string())?;
        Plan::try_from(config).map_err(|error| error.to_string())
    }

    #[test]
    fn an_empty_file_is_the_default() {
        assert_eq!(toml_edit::de::from_str::<Config>("").unwrap(), Config::default());
        let plan = read("").unwrap();
        assert_eq!(plan.rtmp, Some("0.0.0.0:1935".parse().unwrap()));
        assert_eq!((plan.rtmps, plan.needs_tls()), (None, false));
        assert_eq!(plan.policy(), Policy::default());
        assert_eq!(plan.session_limits(), rtmp::Limits::default());
    }

    #[test]
    fn every_key_is_read() {
        let plan = read(
            "grace = '5s'\ntakeover = 'refuse'\n\
             [rtmp]\nlisten = 'off'\n[rtmps]\nlisten = '[::1]:1936'\n\
             [limits]\nsilence = '3s'\nmessages_per_second = 7\n\
             [[keys]]\nstream = 'live/show'\nsecret = '0123456789abcdef'\n",
        )
        .unwrap();
        assert_eq!(plan.policy(), Policy { takeover: Takeover::Refuse, grace: Duration::from_secs(5) });
        assert_eq!((plan.rtmp, plan.rtmps), (None, Some("[::1]:1936".parse().unwrap())));
        assert_eq!(plan.session_limits().idle, Duration::from_secs(3));
        assert_eq!(plan.session_limits().messages, 7);
        assert_eq!(plan.keys(), [KeyEntry::new("live/show".parse().unwrap(), "0123456789abcdef")]);
    }

    #[test]
    fn errors_name_the_key() {
        for (text, part) in [
            ("grace = '2h'", "ingest.grace: "),
            ("[rtmp]\nlisten = '1935'", "ingest.rtmp.listen: "),
            ("[rtmps]\nlisten = 'localhost:1'", "ingest.rtmps.listen: "),
            ("[[keys]]\nstream = 'x'\nsecret = '0123456789abcdef'", "ingest.keys[0].stream: "),
            ("[[keys]]\nstream = '*'\nsecret = 'short'", "ingest.keys[0].secret: "),
            ("[limits]\nsilence = '0s'", "ingest.limits.silence: "),
            ("[limits]\nbitrate = 1", "bitrate"),
            ("takeover = 'perhaps'", "perhaps"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
            assert!(!error.contains("abcdef"), "{error}");
        }
    }
}
