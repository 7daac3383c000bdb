//! The list of who was cut off (AUTH-18).

use std::collections::HashSet;

use super::claims::Identity;

/// Most lines of a list.
const MAX_LINES: usize = 200_000;

/// A read list.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Revoked {
    tokens: HashSet<String>,
    viewers: HashSet<String>,
    sessions: HashSet<String>,
}

/// Why a text is no list.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RevokedError {
    /// Not text.
    #[error("it is not UTF-8 text")]
    Text,
    /// A line that says nothing.
    #[error("line {0} is none of sub:VIEWER, sid:SESSION, jti:TOKEN and # for a comment")]
    Line(usize),
    /// Unreasonably many.
    #[error(
        "it has more than 200000 lines: leave out tokens that have expired, or revoke viewers in their place"
    )]
    TooLong,
}

/// How many a list names.
///
/// # Errors
/// When it is no list.
pub fn named_in(text: &[u8]) -> Result<usize, RevokedError> {
    Revoked::read(text).map(|list| list.len())
}

impl Revoked {
    /// A line each: `sub:VIEWER`, `sid:SESSION` or `jti:TOKEN`; empty lines and those that begin with `#` say nothing.
    pub(super) fn read(text: &[u8]) -> Result<Self, RevokedError> {
        let text = std::str::from_utf8(text).map_err(|_| RevokedError::Text)?;
        let mut list = Self::default();
        for (index, line) in text.lines().map(str::trim).enumerate() {
            if index >= MAX_LINES {
                return Err(RevokedError::TooLong);
            }
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = RevokedError::Line(index + 1);
            let (kind, id) = line.split_once(':').ok_or(wrong)?;
            let ids = match kind {
                "jti" => &mut list.tokens,
                "sub" => &mut list.viewers,
                "sid" => &mut list.sessions,
                _ => return Err(wrong),
            };
            let id = id.trim();
            if id.is_empty() {
                return Err(wrong);
            }
            ids.insert(id.to_owned());
        }
        Ok(list)
    }

    /// Whether a ticket's holder is on it.
    pub(super) fn names(&self, identity: &Identity) -> bool {
        let listed = |ids: &HashSet<String>, id: &Option<String>| {
            id.as_ref().is_some_and(|id| ids.contains(id.as_str()))
        };
        listed(&self.tokens, &identity.token)
            || listed(&self.viewers, &identity.viewer)
            || listed(&self.sessions, &identity.session)
    }

    /// How many it names.
    pub(super) fn len(&self) -> usize {
        self.tokens.len() + self.viewers.len() + self.sessions.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_names_tokens_viewers_and_sessions() {
        let list = Revoked::read(b"# cut off\n\n sub:viewer-7 \njti:a:b\r\nsid: s1\n").unwrap();
        assert_eq!(list.len(), 3);
        let identity = |token: &str, viewer: &str, session: &str| {
            let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
            Identity { token: some(token), viewer: some(viewer), session: some(session) }
        };
        assert!(list.names(&identity("", "viewer-7", "")));
        assert!(list.names(&identity("a:b", "other", "")));
        assert!(list.names(&identity("", "", "s1")));
        for other in
            [identity("", "", ""), identity("viewer-7", "a:b", "viewer-7"), identity("x", "viewer-71", "S1")]
        {
            assert!(!list.names(&other), "{other:?}");
        }
    }

    #[test]
    fn a_list_that_cannot_be_read_names_the_line() {
        for (text, error) in [
            (&b"sub:a\nviewer-7\n"[..], RevokedError::Line(2)),
            (b"user:a", RevokedError::Line(1)),
            (b"\n\nsub:\n", RevokedError::Line(3)),
            (b"<html>", RevokedError::Line(1)),
            (b"sub:\xff", RevokedError::Text),
        ] {
            assert_eq!(Revoked::read(text), Err(error));
        }
        assert_eq!(Revoked::read("#\n".repeat(200_001).as_bytes()), Err(RevokedError::TooLong));
    }
}
