//! `[[stream]]`: what is said of single streams.

use std::collections::HashMap;
use std::time::Duration;

use aqueduct_common::StreamName;
use aqueduct_ingest::stream::Rules;
use aqueduct_transcode::push::{PushConfig, Target};
use serde::Deserialize;

/// One entry of `[[stream]]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StreamConfig {
    /// The stream's name, `app/name`.
    pub name: String,
    /// Its sources, the preferred one first.
    pub sources: Vec<String>,
    /// After how long without media the next source takes over.
    #[serde(with = "humantime_serde")]
    pub failover_after: Duration,
    /// How long a preferred source has to be steady before it is put back on air.
    #[serde(with = "humantime_serde")]
    pub restore_after: Duration,
    /// Servers that it is sent on to.
    pub push: Vec<PushConfig>,
}

impl Default for StreamConfig {
    fn default() -> Self {
        Self {
            name: String::new(),
            sources: Vec::new(),
            failover_after: Duration::from_secs(1),
            restore_after: Duration::from_secs(10),
            push: Vec::new(),
        }
    }
}

/// The checked entries, by what they are for.
#[derive(Clone, Debug, Default)]
pub struct StreamPlans {
    /// Streams with several sources.
    pub sources: HashMap<StreamName, Rules>,
    /// Streams that are sent on.
    pub targets: HashMap<StreamName, Vec<Target>>,
}

impl TryFrom<Vec<StreamConfig>> for StreamPlans {
    type Error = String;

    fn try_from(entries: Vec<StreamConfig>) -> Result<Self, String> {
        let mut plans = Self::default();
        let mut names = Vec::new();
        for (index, entry) in entries.iter().enumerate() {
            let at = |key: &str, error: &dyn std::fmt::Display| format!("stream.{index}.{key}: {error}");
            let name: StreamName = entry.name.parse().map_err(|error| at("name", &error))?;
            if names.contains(&name) {
                return Err(at("name", &format_args!("{name} has a section already")));
            }
            names.push(name.clone());
            let rules = Rules::new(&entry.sources, entry.failover_after, entry.restore_after);
            let rules = rules.map_err(|error| format!("stream.{index}.{error}"))?;
            if !rules.sources().is_empty() {
                plans.sources.insert(name.clone(), rules);
            }
            let targets = targets(&entry.push).map_err(|error| format!("stream.{index}.push.{error}"))?;
            if !targets.is_empty() {
                plans.targets.insert(name, targets);
            }
        }
        Ok(plans)
    }
}

fn targets(entries: &[PushConfig]) -> Result<Vec<Target>, String> {
    let mut targets: Vec<Target> = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let target = Target::try_from(entry).map_err(|error| format!("{index}.{error}"))?;
        if targets.iter().any(|before| before.shown() == target.shown()) {
            let shown = target.shown();
            return Err(format!(
                "{index}.name: {shown} is shown for another target already: give each a name"
            ));
        }
        targets.push(target);
    }
    Ok(targets)
}
