//! One file to configure everything: each stage owns its part, this nests them.

mod analytics;
mod load;
mod locate;
mod otlp;
mod stream;
mod words;

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

pub use analytics::{AdminPlan, AnalyticsPlan, HookEvent, HookPlan};
pub use load::{load, load_file};
pub use otlp::OtlpPlan;
pub use stream::{StreamConfig, StreamPlans};

/// The commented default file, as `aqueduct config` prints it.
pub const DEFAULT_FILE: &str = include_str!("../../assets/aqueduct.toml");

/// Every setting. See the default file for what each one means.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where state is kept; empty chooses by the platform's custom.
    pub data_dir: Option<PathBuf>,
    /// How long a stop may take before what is left is cut off.
    pub stop: Stop,
    /// Publishers.
    pub ingest: aqueduct_ingest::Config,
    /// Renditions.
    pub transcode: aqueduct_transcode::config::Config,
    /// Parts, segments and playlists.
    pub packager: aqueduct_packager::Config,
    /// Viewers.
    pub edge: aqueduct_edge::Config,
    /// Other nodes.
    pub relay: aqueduct_edge::relay::Config,
    /// The directory of nodes.
    pub cluster: aqueduct_edge::cluster::Config,
    /// Where players are sent.
    pub steering: aqueduct_edge::steering::Config,
    /// The certificate of HTTPS and RTMPS.
    pub tls: Tls,
    /// The operator's port.
    pub admin: analytics::Admin,
    /// What is kept and what is an alert.
    pub analytics: analytics::Analytics,
    /// Streams with several sources, and streams that are sent on.
    pub stream: Vec<StreamConfig>,
}

/// How the program stops.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Stop {
    /// After SIGTERM, time for viewers to be sent away and for stages to end.
    #[serde(with = "humantime_serde")]
    pub deadline: Duration,
}

impl Default for Stop {
    fn default() -> Self {
        Self { deadline: Duration::from_secs(10) }
    }
}

/// A certificate; without one, one for development is made on the first start.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// PEM file with the certificate chain.
    pub cert: Option<PathBuf>,
    /// PEM file with its private key.
    pub key: Option<PathBuf>,
}

/// A checked configuration. Nothing has been opened yet.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where state is kept.
    pub data_dir: PathBuf,
    /// How long a stop may take.
    pub deadline: Duration,
    /// Publishers.
    pub ingest: aqueduct_ingest::Plan,
    /// Renditions.
    pub transcode: aqueduct_transcode::config::Plan,
    /// Packaging.
    pub packager: aqueduct_packager::Plan,
    /// Viewers.
    pub edge: aqueduct_edge::Plan,
    /// Other nodes.
    pub relay: aqueduct_edge::relay::Plan,
    /// The directory of nodes.
    pub cluster: aqueduct_edge::cluster::Plan,
    /// Where players are sent.
    pub steering: aqueduct_edge::steering::Plan,
    /// The certificate of HTTPS and RTMPS.
    pub tls: Tls,
    /// The operator's port.
    pub admin: AdminPlan,
    /// What is kept and what is an alert.
    pub analytics: AnalyticsPlan,
    /// Streams with several sources, and streams that are sent on.
    pub streams: StreamPlans,
}

/// Where state is kept when nobody says: systemd's state directory, the user's state directory, or here.
fn default_data_dir(var: impl Fn(&str) -> Option<String>) -> PathBuf {
    let set = |name| var(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("STATE_DIRECTORY")
        .or_else(|| set("XDG_STATE_HOME").map(|dir| dir.join("aqueduct")))
        .or_else(|| set("HOME").map(|dir| dir.join(".local/state/aqueduct")))
        .unwrap_or_else(|| PathBuf::from("aqueduct-data"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_is_kept_where_the_platform_keeps_it() {
        let with = |name: &'static str, value: &'static str| {
            default_data_dir(move |asked| (asked == name).then(|| value.to_owned()))
        };
        assert_eq!(with("STATE_DIRECTORY", "/var/lib/aqueduct"), PathBuf::from("/var/lib/aqueduct"));
        assert_eq!(with("XDG_STATE_HOME", "/s"), PathBuf::from("/s/aqueduct"));
        assert_eq!(with("HOME", "/h"), PathBuf::from("/h/.local/state/aqueduct"));
        assert_eq!(with("HOME", ""), PathBuf::from("aqueduct-data"));
    }
}
