//! What the operator says about a stream's sources.

use std::time::Duration;

use aqueduct_common::SourceName;
use aqueduct_common::source::SourceError;

/// Sources of one stream at most.
const MOST: usize = 16;
/// Bounds of the two times: below, every hiccup is a loss; above, nobody would call it a failover.
const FAILOVER: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(60)];
const RESTORE: Duration = Duration::from_secs(3_600);
/// What feeds a stream: publishers, cameras, pulls.
const KINDS: [&str; 3] = ["push", "rtsp", "pull"];

/// The sources of one stream, and when one takes over from another.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rules {
    pub(super) sources: Vec<SourceName>,
    pub(super) failover_after: Duration,
    pub(super) restore_after: Duration,
}

/// Why a list of sources cannot be used. The text begins with the key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourcesError {
    /// An entry is no source.
    #[error("sources: {text:?}: {error}")]
    Name {
        /// What stands there.
        text: String,
        /// Why not.
        error: SourceError,
    },
    /// Nothing of this kind feeds a stream.
    #[error("sources: {0} is nothing that feeds a stream: there are push, push:NAME, rtsp and pull:NAME")]
    Kind(SourceName),
    /// One stands there twice.
    #[error("sources: {0} stands there twice")]
    Twice(SourceName),
    /// Too many.
    #[error("sources: {MOST} at most")]
    TooMany,
    /// The failover time is out of bounds.
    #[error("failover_after: set it to 200ms up to 60s")]
    Failover,
    /// The restore time is out of bounds.
    #[error("restore_after: set it to 1h at most")]
    Restore,
}

impl Rules {
    /// Checks what stands in the configuration; the preferred source comes first.
    ///
    /// # Errors
    /// Names the key.
    pub fn new(
        sources: &[String],
        failover_after: Duration,
        restore_after: Duration,
    ) -> Result<Self, SourcesError> {
        let mut names: Vec<SourceName> = Vec::new();
        for text in sources {
            let name: SourceName =
                text.parse().map_err(|error| SourcesError::Name { text: text.clone(), error })?;
            if !KINDS.contains(&name.kind()) {
                return Err(SourcesError::Kind(name));
            }
            if names.contains(&name) {
                return Err(SourcesError::Twice(name));
            }
            names.push(name);
        }
        if names.len() > MOST {
            return Err(SourcesError::TooMany);
        }
        if failover_after < FAILOVER[0] || failover_after > FAILOVER[1] {
            return Err(SourcesError::Failover);
        }
        if restore_after > RESTORE {
            return Err(SourcesError::Restore);
        }
        Ok(Self { sources: names, failover_after, restore_after })
    }

    /// The sources, the preferred one first.
    pub fn sources(&self) -> &[SourceName] {
        &self.sources
    }

    /// The place of a source in the list. A publisher that says no name is `push`, or else the first of the publishers.
    pub(in crate::stream) fn place(&self, source: Option<&SourceName>) -> Option<usize> {
        let place = |name: &str| self.sources.iter().position(|source| source.as_str() == name);
        match source.map(SourceName::as_str) {
            None | Some(SourceName::PUSH) => place(SourceName::PUSH)
                .or_else(|| self.sources.iter().position(|source| source.kind() == SourceName::PUSH)),
            Some(name) => place(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(sources: &[&str]) -> Result<Rules, SourcesError> {
        let sources: Vec<String> = sources.iter().map(|&source| source.into()).collect();
        Rules::new(&sources, Duration::from_secs(1), Duration::from_secs(10))
    }

    #[test]
    fn a_publisher_without_a_name_is_the_first_of_the_publishers() {
        let place = |sources: &[&str], name: Option<&str>| {
            let name: Option<SourceName> = name.map(|name| name.parse().unwrap());
            rules(sources).unwrap().place(name.as_ref())
        };
        assert_eq!(place(&["rtsp:cam", "push:main", "push:backup"], None), Some(1));
        assert_eq!(place(&["push:main", "push"], None), Some(1));
        assert_eq!(place(&["push:main", "push:backup"], Some("push:backup")), Some(1));
        assert_eq!(place(&["push:main"], Some("push:other")), None);
        assert_eq!(place(&["rtsp:cam"], None), None);
    }

    #[test]
    fn lists_that_cannot_be_used_say_why() {
        let second = Duration::from_secs(1);
        // A source of a kind that nobody knows never comes: it is a publisher's name without `push:`, more likely than not.
        assert_eq!(rules(&["push", "main"]), Err(SourcesError::Kind("main".parse().unwrap())));
        assert!(
            rules(&["push main"])
                .unwrap_err()
                .to_string()
                .starts_with("sources: \"push main\": a source is named")
        );
        assert_eq!(rules(&["push", "push"]).unwrap_err(), SourcesError::Twice("push".parse().unwrap()));
        let many: Vec<String> = (0..17).map(|n| format!("pull:{n}")).collect();
        assert_eq!(Rules::new(&many, second, second), Err(SourcesError::TooMany));
        assert_eq!(Rules::new(&[], Duration::ZERO, second), Err(SourcesError::Failover));
        assert_eq!(Rules::new(&[], second, Duration::from_secs(4_000)), Err(SourcesError::Restore));
    }
}
