//! Patterns that choose streams by their names: what a key opens, what needs a token.

use std::fmt;
use std::str::FromStr;

use crate::name::{NameError, StreamName};

/// Which streams are meant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StreamPattern {
    /// `*`
    Any,
    /// `live/*`
    App(String),
    /// `live/show`
    One(StreamName),
}

impl StreamPattern {
    /// Whether this stream is meant.
    pub fn covers(&self, stream: &StreamName) -> bool {
        self.covers_text(stream.as_str())
    }

    /// The same of a name as a request carries it, which may be no stream's.
    pub fn covers_text(&self, stream: &str) -> bool {
        match self {
            Self::Any => true,
            Self::App(app) => stream.split_once('/').is_some_and(|(of, _)| of == app),
            Self::One(name) => name.as_str() == stream,
        }
    }

    /// The stream, where it is just one.
    pub fn single(&self) -> Option<&StreamName> {
        match self {
            Self::One(name) => Some(name),
            Self::Any | Self::App(_) => None,
        }
    }
}

impl FromStr for StreamPattern {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text == "*" {
            return Ok(Self::Any);
        }
        match text.strip_suffix("/*") {
            // The app alone is checked by naming a stream of it.
            Some(app) => {
                let stream: StreamName = format!("{app}/x").parse()?;
                Ok(Self::App(stream.app().to_owned()))
            }
            None => text.parse().map(Self::One),
        }
    }
}

impl fmt::Display for StreamPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::App(app) => write!(f, "{app}/*"),
            Self::One(name) => name.fmt(f),
        }
    }
}

impl serde::Serialize for StreamPattern {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_cover_what_they_say() {
        let show: StreamName = "live/show".parse().unwrap();
        for (pattern, covers) in
            [("*", true), ("live/*", true), ("live/show", true), ("sport/*", false), ("live/other", false)]
        {
            let parsed: StreamPattern = pattern.parse().unwrap();
            assert_eq!(parsed.covers(&show), covers, "{pattern}");
            assert_eq!(parsed.to_string(), pattern);
        }
        assert!("*/show".parse::<StreamPattern>().is_err());
    }

    #[test]
    fn what_begins_alike_is_not_covered() {
        for (pattern, text) in [
            ("live/s7", "live/s7k2"),
            ("live/*", "live2/show"),
            ("live/*", "live"),
            ("live/show", "LIVE/show"),
            ("live/show", "live/show."),
            ("live/show", "live/show/x"),
        ] {
            assert!(!pattern.parse::<StreamPattern>().unwrap().covers_text(text), "{pattern} {text}");
        }
    }
}
