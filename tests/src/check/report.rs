//! What was found, folded so that one broken rule in a thousand playlists is one line.

use std::fmt;
use std::time::Duration;

use super::rule::{Rule, Severity};

/// A broken rule.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
pub struct Finding {
    /// The rule.
    #[serde(flatten)]
    pub rule: Rule,
    /// Where: the path of a playlist or of media.
    pub place: String,
    /// The first occurrence in detail.
    pub detail: String,
    /// How often.
    pub count: u64,
    /// Milliseconds into the check at the first occurrence.
    pub at_millis: u64,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.rule.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let at = self.at_millis as f64 / 1_000.0;
        write!(
            f,
            "{severity}: {} at {}: {} (x{}, first at {at:.1} s)",
            self.rule, self.place, self.detail, self.count
        )
    }
}

/// Everything that a check found and looked at.
#[derive(Clone, PartialEq, Eq, Debug, Default, serde::Serialize)]
pub struct Report {
    /// Findings, errors first.
    pub findings: Vec<Finding>,
    /// Media playlists followed.
    pub renditions: usize,
    /// Playlist answers read.
    pub playlists: u64,
    /// Parts whose bytes were looked at.
    pub parts: u64,
    /// The stream ended while it was followed.
    pub ended: bool,
}

impl Report {
    pub(super) fn add(&mut self, rule: Rule, place: &str, detail: &str, at: Duration) {
        // Names of parts and segments differ in each occurrence: the playlist is the place.
        let known = self.findings.iter_mut().find(|known| known.rule == rule && known.place == place);
        if let Some(known) = known {
            known.count += 1;
            return;
        }
        let at_millis = u64::try_from(at.as_millis()).unwrap_or(u64::MAX);
        self.findings.push(Finding {
            rule,
            place: place.to_owned(),
            detail: detail.to_owned(),
            count: 1,
            at_millis,
        });
    }

    /// Findings that are errors.
    pub fn errors(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.rule.severity == Severity::Error)
    }

    /// No error was found, and something was looked at.
    pub fn passed(&self) -> bool {
        self.errors().next().is_none() && self.playlists > 0 && self.parts > 0
    }

    /// This rule was broken.
    pub fn has(&self, rule: Rule) -> bool {
        self.findings.iter().any(|finding| finding.rule == rule)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            writeln!(f, "{finding}")?;
        }
        let errors = self.errors().count();
        let warnings = self.findings.len() - errors;
        let ended = if self.ended { ", ended" } else { "" };
        write!(
            f,
            "{} renditions, {} playlists, {} parts{ended}: {errors} errors, {warnings} warnings",
            self.renditions, self.playlists, self.parts
        )
    }
}
