//! What the operator writes under `steering`, and its checked form.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Load, in thousandths, by which a group must be calmer than busy before new viewers are sent to it again.
const CALMER: u32 = 150;

/// The `steering` section: content steering of players between groups of edges (LLHLS-36).
#[derive(Clone, PartialEq, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Name the steering in multivariant playlists, and answer players that ask for it.
    pub enabled: bool,
    /// How often players ask where to go. A drain waits this long for them to leave.
    #[serde(with = "humantime_serde")]
    pub ttl: Duration,
    /// The group that this edge belongs to. Its edges are one address for players.
    pub pathway: String,
    /// The host name by which players reach this group, without a port: all groups have the same.
    pub host: String,
    /// Load in per cent of `edge.limits.connections`, or of `mbits`, above which viewers are sent to other groups.
    pub busy: u32,
    /// What this edge's network carries, in Mbit/s. 0: connections alone say how much it does.
    pub mbits: u32,
    /// Groups that are not in the directory, or all of them where there is none.
    pub pathways: Vec<Pathway>,
}

/// A group of edges.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Pathway {
    /// What players call it.
    pub id: String,
    /// Its host name.
    pub host: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            enabled: false,
            ttl: Duration::from_secs(10),
            pathway: String::new(),
            host: String::new(),
            busy: 85,
            mbits: 0,
            pathways: Vec::new(),
        }
    }
}

/// A checked [`Config`].
#[derive(Clone, PartialEq, Debug)]
pub struct Plan {
    pub(crate) enabled: bool,
    pub(crate) ttl: Duration,
    pub(crate) own: Pathway,
    pub(crate) others: Vec<Pathway>,
    /// Bytes a second that this edge may send; 0 where that is not known.
    pub(crate) bytes: u64,
    /// In thousandths.
    pub(crate) busy: u32,
    pub(crate) calm: u32,
}

/// What is wrong with a [`Config`], by its key.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A name that players or URLs would not take.
    #[error("steering.{key} is {is:?}: use 1 to 64 letters, digits, '-', '_' and '.', and not \".\" alone")]
    Id {
        /// The key below `steering`.
        key: &'static str,
        /// What it is.
        is: String,
    },
    /// A host that is none, or has a port.
    #[error(
        "steering.{key} is {is:?}: write a host name or an IPv4 address without scheme and port; all groups have one port"
    )]
    Host {
        /// The key below `steering`.
        key: &'static str,
        /// What it is.
        is: String,
    },
    /// One without the other.
    #[error("steering.pathway and steering.host go together: a group has a name and an address")]
    Half,
    /// Two groups of one name.
    #[error("steering.pathways names {0:?} twice, or as this edge's own group")]
    Twice(String),
    /// Too short or too long.
    #[error("steering.ttl is {0:?}: use 2s up to 5m; a drain waits that long, 30 s at most")]
    Ttl(Duration),
    /// No share of anything.
    #[error("steering.busy is {0}: use 20 up to 100 (per cent)")]
    Busy(u32),
}

impl TryFrom<Config> for Plan {
    type Error = ConfigError;

    fn try_from(config: Config) -> Result<Self, ConfigError> {
        if !(Duration::from_secs(2)..=Duration::from_secs(300)).contains(&config.ttl) {
            return Err(ConfigError::Ttl(config.ttl));
        }
        if !(20..=100).contains(&config.busy) {
            return Err(ConfigError::Busy(config.busy));
        }
        match (config.pathway.is_empty(), config.host.is_empty()) {
            (true, true) => {}
            (false, false) => checked("pathway", "host", &config.pathway, &config.host)?,
            _ => return Err(ConfigError::Half),
        }
        for (at, pathway) in config.pathways.iter().enumerate() {
            checked("pathways.id", "pathways.host", &pathway.id, &pathway.host)?;
            let same = |other: &Pathway| other.id == pathway.id;
            if pathway.id == config.pathway || config.pathways[..at].iter().any(same) {
                return Err(ConfigError::Twice(pathway.id.clone()));
            }
        }
        let busy = config.busy * 10;
        Ok(Self {
            enabled: config.enabled,
            ttl: config.ttl,
            own: Pathway { id: config.pathway, host: config.host },
            others: config.pathways,
            bytes: u64::from(config.mbits) * 125_000,
            busy,
            calm: busy - CALMER,
        })
    }
}

impl Plan {
    /// Multivariant playlists name the steering.
    pub fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// This node's group, where it has one.
    pub fn own(&self) -> Option<&Pathway> {
        Some(&self.own).filter(|own| !own.id.is_empty())
    }

    /// How long a drain waits for players to leave.
    pub fn leave(&self) -> Duration {
        // A player that asked just before needs a moment to act as well.
        (self.ttl + Duration::from_secs(3)).min(Duration::from_secs(25))
    }
}

fn checked(id_key: &'static str, host_key: &'static str, id: &str, host: &str) -> Result<(), ConfigError> {
    let letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if id.is_empty() || id.len() > 64 || id == "." || !id.chars().all(letter) {
        return Err(ConfigError::Id { key: id_key, is: id.into() });
    }
    let label = |label: &str| {
        let inside = |c: char| c.is_ascii_alphanumeric() || c == '-';
        (1..=63).contains(&label.len()) && label.chars().all(inside)
    };
    if host.len() > 253 || !host.split('.').all(label) {
        return Err(ConfigError::Host { key: host_key, is: host.into() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(json: &str) -> Result<Plan, ConfigError> {
        serde_json::from_str::<Config>(json).unwrap().try_into()
    }

    #[test]
    fn it_is_off_by_default() {
        let plan = plan("{}").unwrap();
        assert!(!plan.is_enabled() && plan.own().is_none());
        let text = serde_json::to_string(&Config::default()).unwrap();
        assert_eq!(serde_json::from_str::<Config>(&text).unwrap(), Config::default());
    }

    #[test]
    fn an_error_names_the_key() {
        for (json, key) in [
            (r#"{"pathway":"a"}"#, "steering.pathway"),
            (r#"{"pathway":".","host":"a"}"#, "steering.pathway"),
            (r#"{"pathway":"a b","host":"a"}"#, "steering.pathway"),
            (r#"{"pathway":"a","host":"a:443"}"#, "steering.host"),
            (r#"{"pathway":"a","host":"https://a"}"#, "steering.host"),
            (r#"{"pathways":[{"id":"a","host":""}]}"#, "steering.pathways.host"),
            (r#"{"pathways":[{"id":"a","host":"a"},{"id":"a","host":"b"}]}"#, "steering.pathways"),
            (r#"{"ttl":"1s"}"#, "steering.ttl"),
            (r#"{"busy":5}"#, "steering.busy"),
        ] {
            assert!(plan(json).unwrap_err().to_string().starts_with(key), "{json}");
        }
    }
}
