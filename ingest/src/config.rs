//! What an operator may set under `ingest`, and the checked form of it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use aqueduct_common::Secret;
use serde::Deserialize;

use crate::keys::{KeyConfig, KeyEntry, KeyError};
use crate::pull::{PullConfig, PullConfigError, PullPlan, SCHEMES};
use crate::rtmp;
use crate::rtsp::pull::{PullConfig as CameraConfig, PullError as CameraError, PullPlan as CameraPlan};
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
    /// Where encoders push over SRT. Off until it is set.
    pub srt: Srt,
    /// Sources that this server fetches.
    pub pull: Vec<PullConfig>,
    /// Schemes of URLs that `pull` may have.
    pub pull_schemes: Vec<String>,
    /// Where encoders and cameras push over RTSP.
    pub rtsp_server: RtspServer,
    /// Cameras and servers that are pulled over RTSP.
    pub rtsp: Vec<CameraConfig>,
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
            srt: Srt::default(),
            pull: Vec::new(),
            pull_schemes: SCHEMES.iter().map(|(scheme, _)| (*scheme).to_owned()).collect(),
            rtsp_server: RtspServer::default(),
            rtsp: Vec::new(),
            grace: Duration::from_secs(30),
            takeover: Takeover::Replace,
            keys: Vec::new(),
            limits: Limits::default(),
        }
    }
}

/// Section `ingest.srt`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Srt {
    /// `ADDRESS:PORT` for UDP; port 0 takes any free one; `off` or empty is off.
    pub listen: String,
    /// How long lost packets are waited for, at least: what the encoder asks for counts where it is more.
    #[serde(with = "humantime_serde")]
    pub latency: Duration,
    /// What every publisher has to encrypt with, 10 to 79 characters; empty for no encryption.
    pub passphrase: Secret,
}

impl Default for Srt {
    fn default() -> Self {
        Self { listen: String::new(), latency: Duration::from_millis(120), passphrase: Secret::default() }
    }
}

/// One listening address.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    /// `ADDRESS:PORT`; port 0 takes any free one; `off` or empty is off.
    pub listen: String,
}

/// Section `ingest.rtsp_server`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RtspServer {
    /// `ADDRESS:PORT`; port 0 takes any free one; `off` or empty is off. Unset it is [`RTSP_ADDRESS`], and where another
    /// program has that, the server does without.
    pub listen: Option<String>,
}

/// Where publishers push over RTSP when nothing is said.
pub const RTSP_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 8554);

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
    #[error("ingest.keys.{index}.{source}")]
    Key {
        /// Which, from 0.
        index: usize,
        /// Why.
        source: KeyError,
    },
    /// A pull cannot be used.
    #[error("ingest.pull.{index}.{source}")]
    Pull {
        /// Which, from 0.
        index: usize,
        /// Why.
        source: PullConfigError,
    },
    /// Two pulls of one stream have one name.
    #[error("ingest.pull.{index}.name: another pull of this stream has it too; give each a name of its own")]
    PullName {
        /// The second of them, from 0.
        index: usize,
    },
    /// A scheme that is none.
    #[error(
        "ingest.pull_schemes: {0:?} cannot be pulled; known are srt, udp, rtp, rist, tcp, tls, http, https, rtmp, rtmps"
    )]
    PullScheme(String),
    /// The passphrase of SRT is too short or too long.
    #[error("ingest.srt.passphrase: SRT takes 10 to 79 characters")]
    SrtPassphrase,
    /// The latency of SRT is too long.
    #[error("ingest.srt.latency: at most 10s")]
    SrtLatency,
    /// A camera that cannot be pulled.
    #[error("ingest.rtsp.{index}.{source}")]
    Camera {
        /// Which, from 0.
        index: usize,
        /// Why.
        source: CameraError,
    },
    /// Two cameras of one name for one stream.
    #[error(
        "ingest.rtsp.{index}.name: another source of this name is for this stream already: give each a name, and list \
         them as rtsp:NAME in `sources` of the stream's section"
    )]
    Twice {
        /// The second of them, from 0.
        index: usize,
    },
    /// A limit that would let nobody in.
    #[error("ingest.limits.{key}: 0 lets nobody in: set it to 1 or more")]
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
    pub(crate) srt: Option<SocketAddr>,
    srt_latency: Duration,
    srt_passphrase: Option<Secret>,
    pulls: Vec<PullPlan>,
    pub(crate) rtsp: Option<SocketAddr>,
    /// The operator said so: the port must be had.
    pub(crate) rtsp_is_set: bool,
    pub(crate) cameras: Vec<CameraPlan>,
    pub(crate) limits: Limits,
    policy: Policy,
    keys: Vec<KeyEntry>,
}

impl Plan {
    /// The rules of the registry of streams, for a server without a transcode stage.
    pub fn policy(&self) -> Policy {
        self.policy
    }

    /// The configured publish keys.
    pub fn keys(&self) -> &[KeyEntry] {
        &self.keys
    }

    /// Sources that this server fetches.
    pub fn pulls(&self) -> &[PullPlan] {
        &self.pulls
    }

    /// What the port for SRT does with its callers.
    pub(crate) fn srt_rules(&self) -> crate::server::SrtRules {
        crate::server::SrtRules {
            latency: self.srt_latency,
            passphrase: self.srt_passphrase.clone(),
            handshake: self.limits.handshake,
            silence: self.limits.silence,
            first_media: self.limits.first_media,
        }
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
        let srt_passphrase = srt_passphrase(&config.srt)?;
        Ok(Self {
            srt: address("ingest.srt.listen", &config.srt.listen)?,
            srt_latency: config.srt.latency,
            srt_passphrase,
            pulls: pulls(config.pull, &config.pull_schemes)?,
            rtmp: address("ingest.rtmp.listen", &config.rtmp.listen)?,
            rtmps: address("ingest.rtmps.listen", &config.rtmps.listen)?,
            rtsp: match &config.rtsp_server.listen {
                Some(listen) => address("ingest.rtsp_server.listen", listen)?,
                None => Some(RTSP_ADDRESS),
            },
            rtsp_is_set: config.rtsp_server.listen.is_some(),
            cameras: cameras(&config.rtsp)?,
            policy: Policy { takeover: config.takeover, grace: config.grace, ..Policy::default() },
            limits: config.limits,
            keys,
        })
    }
}

/// Longest time that lost packets may be waited for.
const SRT_LATENCY_MAX: Duration = Duration::from_secs(10);

fn srt_passphrase(config: &Srt) -> Result<Option<Secret>, ConfigError> {
    if config.latency > SRT_LATENCY_MAX {
        return Err(ConfigError::SrtLatency);
    }
    match config.passphrase.expose().len() {
        0 => Ok(None),
        10..=79 => Ok(Some(config.passphrase.clone())),
        _ => Err(ConfigError::SrtPassphrase),
    }
}

fn cameras(configs: &[CameraConfig]) -> Result<Vec<CameraPlan>, ConfigError> {
    let mut plans: Vec<CameraPlan> = Vec::new();
    for (index, config) in configs.iter().enumerate() {
        let plan = CameraPlan::try_from(config).map_err(|source| ConfigError::Camera { index, source })?;
        if plans.iter().any(|known| known.stream == plan.stream && known.source == plan.source) {
            return Err(ConfigError::Twice { index });
        }
        plans.push(plan);
    }
    Ok(plans)
}

/// Checks the pulls: each by itself, and their names beside each other.
fn pulls(configs: Vec<PullConfig>, schemes: &[String]) -> Result<Vec<PullPlan>, ConfigError> {
    let known = |scheme: &&String| SCHEMES.iter().any(|(known, _)| known.eq_ignore_ascii_case(scheme));
    if let Some(unknown) = schemes.iter().find(|scheme| !known(scheme)) {
        return Err(ConfigError::PullScheme(unknown.clone()));
    }
    let mut plans: Vec<PullPlan> = Vec::new();
    for (index, config) in configs.into_iter().enumerate() {
        let plan = PullPlan::check(&config, schemes).map_err(|source| ConfigError::Pull { index, source })?;
        if plans.iter().any(|other| (&other.stream, &other.name) == (&plan.stream, &plan.name)) {
            return Err(ConfigError::PullName { index });
        }
        plans.push(plan);
    }
    Ok(plans)
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
        assert_eq!(plan.rtmps, None);
        assert_eq!(plan.policy(), Policy::default());
        assert_eq!(plan.session_limits(), rtmp::Limits::default());
    }

    #[test]
    fn every_key_is_read() {
        let plan = read(
            "grace = '5s'\ntakeover = 'refuse'\n\
             [rtmp]\nlisten = 'off'\n[rtmps]\nlisten = '[::1]:1936'\n\
             [[rtsp]]\nstream = 'live/door'\nurl = 'rtsp://10.0.0.5/a'\ntransport = 'udp'\nstart = 'on-watch'\n\
             [rtsp_server]\nlisten = 'off'\n\
             [limits]\nsilence = '3s'\nmessages_per_second = 7\n\
             [[keys]]\nstream = 'live/show'\nsecret = '0123456789abcdef'\n",
        )
        .unwrap();
        assert_eq!(
            plan.policy(),
            Policy { takeover: Takeover::Refuse, grace: Duration::from_secs(5), transcodes: false }
        );
        assert_eq!((plan.rtmp, plan.rtmps), (None, Some("[::1]:1936".parse().unwrap())));
        assert_eq!((plan.cameras.len(), plan.cameras[0].place().as_str()), (1, "10.0.0.5:554"));
        assert_eq!((plan.rtsp, plan.rtsp_is_set), (None, true));
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
            ("[[keys]]\nstream = 'x'\nsecret = '0123456789abcdef'", "ingest.keys.0.stream: "),
            ("[[keys]]\nstream = '*'\nsecret = 'short'", "ingest.keys.0.secret: "),
            ("[limits]\nsilence = '0s'", "ingest.limits.silence: "),
            ("[limits]\nbitrate = 1", "bitrate"),
            ("takeover = 'perhaps'", "perhaps"),
            ("[rtsp_server]\nlisten = '8554'", "ingest.rtsp_server.listen: "),
            ("[[rtsp]]\nstream = 'x'\nurl = 'rtsp://h/'", "ingest.rtsp.0.stream: "),
            ("[[rtsp]]\nstream = 'a/b'\nurl = 'http://u:0123456789abcdef@h/'", "ingest.rtsp.0.url: "),
            ("[[rtsp]]\nstream = 'a/b'\nurl = 'rtsp://h/'\ntransport = 'quic'", "quic"),
            (
                "[[rtsp]]\nstream = 'a/b'\nurl = 'rtsp://h/'\n[[rtsp]]\nstream = 'a/b'\nurl = 'rtsp://i/'",
                "ingest.rtsp.1.name: ",
            ),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
            assert!(!error.contains("abcdef"), "{error}");
        }
    }
}
