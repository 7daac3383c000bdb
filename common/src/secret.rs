//! Values that must not be printed.

use std::fmt;

/// A value that prints as `…`: publish keys, tokens, passphrases.
#[derive(Clone, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(transparent)]
pub struct Secret<T = String>(T);

impl<T> Secret<T> {
    /// Wraps a value so that `Debug` and logs cannot show it.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself, for the one place that compares or sends it.
    pub const fn expose(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}
