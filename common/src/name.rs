//! Names of streams.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// A stream's public name, `app/name`: safe in a URL path, a file name and a metric label.
///
/// Each half is 1 to 64 of `A–Z a–z 0–9 _ - .` and does not begin with a dot. The only way in is [`FromStr`].
/// A publish key is never a stream's name.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamName {
    text: Arc<str>,
    slash: usize,
}

/// Why a text is not a [`StreamName`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It is not two halves with one `/` between.
    #[error("a stream is named app/name, for example live/show")]
    Shape,
    /// A half is empty or longer than 64 characters.
    #[error("each half of a stream's name has 1 to 64 characters")]
    Length,
    /// A character outside the allowed set, or a leading dot.
    #[error("a stream's name holds letters, digits, '_', '-' and '.' (not first), not {0:?}")]
    Character(char),
    /// The app's place in URLs belongs to the player page or to viewers' tokens.
    #[error(
        "a stream's app cannot be called {0:?}: in URLs that is where the player page or a viewer's token stands"
    )]
    Reserved(&'static str),
}

/// First steps of URL paths that are not streams: the pages, their files, and viewers' tokens (`/t/TOKEN/…`).
const RESERVED: [&str; 4] = ["watch", "assets", "t", "doctor"];

impl StreamName {
    /// The whole name, `app/name`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The half before the slash.
    pub fn app(&self) -> &str {
        &self.text[..self.slash]
    }

    /// The half after the slash.
    pub fn name(&self) -> &str {
        &self.text[self.slash + 1..]
    }
}

impl FromStr for StreamName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let (app, name) = text.split_once('/').ok_or(NameError::Shape)?;
        for half in [app, name] {
            if half.is_empty() || half.len() > 64 {
                return Err(NameError::Length);
            }
            let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
            if let Some(bad) = half.chars().find(|c| !allowed(*c)) {
                return Err(if bad == '/' { NameError::Shape } else { NameError::Character(bad) });
            }
            if half.starts_with('.') {
                return Err(NameError::Character('.'));
            }
        }
        if let Some(reserved) = RESERVED.into_iter().find(|reserved| *reserved == app) {
            return Err(NameError::Reserved(reserved));
        }
        Ok(Self { text: text.into(), slash: app.len() })
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl serde::Serialize for StreamName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> serde::Deserialize<'de> for StreamName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_two_safe_halves() {
        let name: StreamName = "live/Show-1.b_c".parse().unwrap();
        assert_eq!((name.app(), name.name()), ("live", "Show-1.b_c"));
        for (text, error) in [
            ("show", NameError::Shape),
            ("a/b/c", NameError::Shape),
            ("/b", NameError::Length),
            ("a/", NameError::Length),
            ("a/..", NameError::Character('.')),
            ("a/b?key", NameError::Character('?')),
            ("a/ü", NameError::Character('ü')),
            ("watch/b", NameError::Reserved("watch")),
            ("t/b", NameError::Reserved("t")),
        ] {
            assert_eq!(text.parse::<StreamName>(), Err(error), "{text}");
        }
        assert_eq!(format!("a/{}", "x".repeat(65)).parse::<StreamName>(), Err(NameError::Length));
    }
}
