//! Names of a stream's sources.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Which of a stream's sources something comes from: `push`, `push:backup`, `rtsp:cam1`, `pull:slate`. Safe in a log, an
/// API and a metric label.
///
/// A kind of small letters, and behind a colon, where there is one, a name of 1 to 64 of `A–Z a–z 0–9 _ - .`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceName(Arc<str>);

/// Why a text is not a [`SourceName`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a source is named push, push:NAME, rtsp:NAME or pull:NAME, where NAME is 1 to 64 letters, digits, '_', '-' or '.'"
)]
pub struct SourceError;

impl SourceName {
    /// A publisher that says no name.
    pub const PUSH: &str = "push";

    /// The publisher that says no name.
    pub fn unnamed() -> Self {
        Self(Self::PUSH.into())
    }

    /// The publisher that calls itself `name`.
    ///
    /// # Errors
    /// When that cannot be a name.
    pub fn push(name: &str) -> Result<Self, SourceError> {
        format!("{}:{name}", Self::PUSH).parse()
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands before the colon: how it comes.
    pub fn kind(&self) -> &str {
        self.0.split_once(':').map_or(&*self.0, |(kind, _)| kind)
    }
}

impl FromStr for SourceName {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self, SourceError> {
        let (kind, name) = match text.split_once(':') {
            Some((kind, name)) => (kind, Some(name)),
            None => (text, None),
        };
        let allowed = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-' | b'.');
        let is_name = |name: &str| (1..=64).contains(&name.len()) && name.bytes().all(allowed);
        let is_kind = (1..=16).contains(&kind.len()) && kind.bytes().all(|c| c.is_ascii_lowercase());
        if is_kind && name.is_none_or(is_name) { Ok(Self(text.into())) } else { Err(SourceError) }
    }
}

impl fmt::Display for SourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl serde::Serialize for SourceName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_source_is_a_kind_and_perhaps_a_name() {
        for (text, kind) in [("push", "push"), ("push:backup", "push"), ("rtsp:cam-1.a", "rtsp")] {
            let source: SourceName = text.parse().unwrap();
            assert_eq!((source.as_str(), source.kind()), (text, kind));
        }
        for text in ["", ":", "push:", ":a", "push:a:b", "push: a", "Push:a", "push:\n", "push:ä"] {
            assert_eq!(text.parse::<SourceName>(), Err(SourceError), "{text:?}");
        }
        assert_eq!(SourceName::push("backup").unwrap().as_str(), "push:backup");
        assert!(SourceName::push("a b").is_err() && SourceName::push("").is_err());
    }

    proptest! {
        #[test]
        fn what_is_taken_is_safe_to_show(text in ".{0,80}") {
            if let Ok(source) = text.parse::<SourceName>() {
                prop_assert_eq!(source.as_str(), &text);
                let safe = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.:".contains(&byte);
                prop_assert!(text.bytes().all(safe), "not safe to show");
            }
        }
    }
}
