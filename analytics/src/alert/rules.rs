//! What is watched, and from which value on (QOE-29).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::health::Severity;

/// What an alert is about.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// One stream.
    Stream,
    /// One node that serves viewers.
    Edge,
    /// This node, or all of them.
    Global,
}

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Signal {
    /// The source gives nothing, or its publisher is gone.
    SourceLost,
    /// Seconds out of health.
    Degraded,
    /// Share of viewing time that goes by waiting.
    Rebuffering,
    /// 95th percentile of the time to the first picture, in seconds.
    Startup,
    /// Share of attempts that fail for technical reasons.
    Failures,
    /// Median latency beyond what the stream aims at, in seconds.
    Latency,
    /// Share of requests that a node answers with 5xx.
    Errors,
    /// 95th percentile of the relay's lag, in parts.
    RelayLag,
    /// A node is silent.
    NodeGone,
    /// Share of streams that are not well.
    ManyStreams,
    /// What could not be kept or heard, in the last minute.
    Lost,
}

impl Signal {
    /// As the API writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SourceLost => "source-lost",
            Self::Degraded => "degraded",
            Self::Rebuffering => "rebuffering",
            Self::Startup => "startup",
            Self::Failures => "failures",
            Self::Latency => "latency",
            Self::Errors => "errors",
            Self::RelayLag => "relay-lag",
            Self::NodeGone => "node-gone",
            Self::ManyStreams => "many-streams",
            Self::Lost => "lost",
        }
    }

    /// Viewers feel it when the source is gone, and it says nothing new then (QOE-28).
    pub const fn is_of_viewers(self) -> bool {
        matches!(self, Self::Rebuffering | Self::Startup | Self::Failures | Self::Latency)
    }
}

/// How many must be concerned before a ratio means something (QOE-27).
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Least {
    /// So many sessions or attempts or requests,
    pub count: u64,
    /// or so many minutes played.
    pub minutes: Option<f64>,
}

/// One rule (QOE-26).
#[derive(Clone, PartialEq, Debug)]
pub struct Rule {
    /// Its name.
    pub name: &'static str,
    /// What is measured.
    pub signal: Signal,
    /// How bad it is.
    pub severity: Severity,
    /// What it is about.
    pub scope: Kind,
    /// `ratio`, `seconds`, `parts` or `count`.
    pub unit: &'static str,
    /// Above this it begins,
    pub enter: f64,
    /// after so many seconds.
    pub enter_for: u32,
    /// Below this it ends,
    pub exit: f64,
    /// after so many seconds.
    pub exit_for: u32,
    /// Population floor.
    pub least: Option<Least>,
    /// Seconds after its end before it can begin again.
    pub cooldown: u32,
}

/// Thresholds that operators set.
#[derive(Clone, PartialEq, Debug)]
pub struct Thresholds {
    /// Share of viewing time.
    pub rebuffering: f64,
    /// 95th percentile of the time to the first picture, in seconds.
    pub startup: f64,
    /// Share of attempts.
    pub failures: f64,
    /// Seconds beyond what the stream aims at.
    pub latency: f64,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self { rebuffering: 0.02, startup: 3.0, failures: 0.02, latency: 2.0 }
    }
}

const VIEWERS: Option<Least> = Some(Least { count: 50, minutes: Some(500.0) });
const ATTEMPTS: Option<Least> = Some(Least { count: 20, minutes: None });

/// All rules.
pub fn rules(thresholds: &Thresholds) -> Vec<Rule> {
    use Severity::{Critical, Warning};
    let rule = |name, signal, severity, scope, unit, enter: f64, enter_for: u32| Rule {
        name,
        signal,
        severity,
        scope,
        unit,
        enter,
        enter_for,
        // A fifth better and twice as long, at least (QOE-26).
        exit: enter * 0.7,
        exit_for: enter_for * 2,
        least: None,
        cooldown: 300,
    };
    let of = |rule: Rule, least| Rule { least, ..rule };
    let at = thresholds;
    vec![
        rule("source-lost", Signal::SourceLost, Critical, Kind::Stream, "seconds", 0.5, 5),
        rule("degraded", Signal::Degraded, Warning, Kind::Stream, "ratio", 0.8, 60),
        of(
            rule("rebuffering", Signal::Rebuffering, Warning, Kind::Stream, "ratio", at.rebuffering, 60),
            VIEWERS,
        ),
        of(
            rule(
                "rebuffering-critical",
                Signal::Rebuffering,
                Critical,
                Kind::Stream,
                "ratio",
                at.rebuffering * 2.5,
                120,
            ),
            VIEWERS,
        ),
        of(rule("startup", Signal::Startup, Warning, Kind::Stream, "seconds", at.startup, 60), ATTEMPTS),
        of(
            rule(
                "startup-critical",
                Signal::Startup,
                Critical,
                Kind::Stream,
                "seconds",
                at.startup * 2.0,
                60,
            ),
            ATTEMPTS,
        ),
        of(rule("failures", Signal::Failures, Warning, Kind::Stream, "ratio", at.failures, 60), VIEWERS),
        of(
            rule(
                "failures-critical",
                Signal::Failures,
                Critical,
                Kind::Stream,
                "ratio",
                at.failures * 2.5,
                60,
            ),
            VIEWERS,
        ),
        of(
            rule("latency", Signal::Latency, Warning, Kind::Stream, "seconds", at.latency, 180),
            Some(Least { count: 5, minutes: None }),
        ),
        of(
            rule("errors", Signal::Errors, Warning, Kind::Edge, "ratio", 0.005, 60),
            Some(Least { count: 1_000, minutes: None }),
        ),
        of(
            rule("errors-critical", Signal::Errors, Critical, Kind::Edge, "ratio", 0.02, 60),
            Some(Least { count: 1_000, minutes: None }),
        ),
        of(
            rule("relay-lag", Signal::RelayLag, Warning, Kind::Edge, "parts", 3.0, 5),
            Some(Least { count: 5, minutes: None }),
        ),
        rule("node-gone", Signal::NodeGone, Critical, Kind::Edge, "count", 0.5, 5),
        of(
            rule("many-streams", Signal::ManyStreams, Critical, Kind::Global, "ratio", 0.3, 30),
            Some(Least { count: 5, minutes: None }),
        ),
        rule("lost", Signal::Lost, Warning, Kind::Global, "count", 0.5, 5),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_lets_go_later_and_lower_than_it_grips() {
        let rules = rules(&Thresholds::default());
        for rule in &rules {
            assert!(rule.exit <= rule.enter * 0.8 && rule.exit_for >= 2 * rule.enter_for, "{rule:?}");
        }
        let named: std::collections::BTreeSet<_> = rules.iter().map(|rule| rule.name).collect();
        assert_eq!(named.len(), rules.len());
    }
}
