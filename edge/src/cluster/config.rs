//! What the operator writes under `cluster`, and its checked form.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::record::NodeName;

/// Shortest lease: below it a slow answer of the directory would cost an origin its streams.
const SHORTEST: Duration = Duration::from_secs(2);
/// Longest lease: a standby waits for its end.
const LONGEST: Duration = Duration::from_secs(60);

/// The `cluster` section: the directory of nodes and streams.
#[derive(Clone, PartialEq, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// URLs of NATS servers with JetStream, separated by commas. Empty: no directory but what this node itself knows.
    pub nats: String,
    /// File with NATS credentials (`.creds`). Empty: the URL's user and password, or none.
    pub credentials: String,
    /// Name of the key-value bucket. All nodes of one cluster share it.
    pub bucket: String,
    /// What this node is called. Empty: the machine's name. No two nodes may share one.
    pub node: String,
    /// Where edges reach this origin's relay, HOST:PORT. Empty: nobody is told.
    pub relay: String,
    /// How long a node may be silent before its streams go to another one.
    #[serde(with = "humantime_serde")]
    pub lease: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            nats: String::new(),
            credentials: String::new(),
            bucket: "aqueduct".into(),
            node: String::new(),
            relay: String::new(),
            lease: Duration::from_secs(4),
        }
    }
}

/// A checked [`Config`].
#[derive(Clone, PartialEq, Debug)]
pub struct Plan {
    pub(crate) nats: Option<Nats>,
    pub(crate) node: NodeName,
    pub(crate) relay: String,
    pub(crate) lease: Duration,
}

/// How the directory's servers are reached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Nats {
    pub(crate) urls: Vec<String>,
    pub(crate) credentials: Option<std::path::PathBuf>,
    pub(crate) bucket: String,
}

/// What is wrong with a [`Config`], by its key.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// No URL of a server. It may hold a password, and is not shown.
    #[error(
        "cluster.nats: what stands here is no URL of a NATS server: write \"nats://HOST:4222\" or \"tls://HOST:4222\""
    )]
    Url,
    /// A bucket that NATS would refuse.
    #[error("cluster.bucket is {0:?}: use letters, digits, '-' and '_'")]
    Bucket(String),
    /// A name that is none.
    #[error("cluster.node is {0:?}: use 1 to 63 lowercase letters, digits and hyphens between them")]
    Node(String),
    /// An address without a port.
    #[error("cluster.relay is {0:?}: write HOST:PORT, as edges reach it")]
    Relay(String),
    /// Too short or too long.
    #[error("cluster.lease is {0:?}: use {SHORTEST:?} up to {LONGEST:?}")]
    Lease(Duration),
}

impl TryFrom<Config> for Plan {
    type Error = ConfigError;

    fn try_from(config: Config) -> Result<Self, ConfigError> {
        let urls: Vec<String> =
            config.nats.split(',').map(str::trim).filter(|url| !url.is_empty()).map(String::from).collect();
        let known = |url: &String| url.starts_with("nats://") || url.starts_with("tls://");
        if !urls.iter().all(known) {
            return Err(ConfigError::Url);
        }
        let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if config.bucket.is_empty() || !config.bucket.chars().all(word) {
            return Err(ConfigError::Bucket(config.bucket));
        }
        let port = |relay: &str| {
            relay.rsplit_once(':').is_some_and(|(host, port)| {
                !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port != 0)
            })
        };
        if !config.relay.is_empty() && !port(&config.relay) {
            return Err(ConfigError::Relay(config.relay));
        }
        if !(SHORTEST..=LONGEST).contains(&config.lease) {
            return Err(ConfigError::Lease(config.lease));
        }
        let node = match config.node.as_str() {
            "" => NodeName::of_this_machine(),
            name => name.parse().map_err(|()| ConfigError::Node(name.into()))?,
        };
        let credentials = Some(config.credentials).filter(|file| !file.is_empty()).map(Into::into);
        let nats = (!urls.is_empty()).then_some(Nats { urls, credentials, bucket: config.bucket });
        Ok(Self { nats, node, relay: config.relay, lease: config.lease })
    }
}

impl Plan {
    /// What this node is called.
    pub fn node(&self) -> &NodeName {
        &self.node
    }

    /// Other nodes are told where this one feeds edges.
    pub fn is_announced(&self) -> bool {
        !self.relay.is_empty()
    }

    /// Where the directory's servers are, the file with credentials for them, and the name that all of this cluster begins with.
    pub fn servers(&self) -> Option<(&[String], Option<&std::path::Path>, &str)> {
        self.nats.as_ref().map(|nats| (&*nats.urls, nats.credentials.as_deref(), &*nats.bucket))
    }

    /// There is a directory that nodes share.
    pub fn is_shared(&self) -> bool {
        self.nats.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(json: &str) -> Result<Plan, ConfigError> {
        serde_json::from_str::<Config>(json).unwrap().try_into()
    }

    #[test]
    fn the_default_is_a_directory_in_memory() {
        let plan = plan("{}").unwrap();
        assert!(!plan.is_shared() && !plan.node().as_str().is_empty());
        let text = serde_json::to_string(&Config::default()).unwrap();
        assert_eq!(serde_json::from_str::<Config>(&text).unwrap(), Config::default());
    }

    #[test]
    fn several_servers_may_be_named() {
        let plan = plan(r#"{"nats":"nats://a:4222, tls://b:4222","node":"edge-1","lease":"3s"}"#).unwrap();
        assert_eq!(plan.nats.unwrap().urls, ["nats://a:4222", "tls://b:4222"]);
    }

    #[test]
    fn an_error_names_the_key() {
        for (json, key) in [
            (r#"{"nats":"a:4222"}"#, "cluster.nats"),
            (r#"{"bucket":"a.b"}"#, "cluster.bucket"),
            (r#"{"node":"A"}"#, "cluster.node"),
            (r#"{"relay":"host"}"#, "cluster.relay"),
            (r#"{"relay":"host:0"}"#, "cluster.relay"),
            (r#"{"lease":"1s"}"#, "cluster.lease"),
        ] {
            assert!(plan(json).unwrap_err().to_string().starts_with(key), "{json}");
        }
    }
}
