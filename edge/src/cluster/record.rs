//! What the directory holds: keys, and values as JSON. Whatever cannot be read is left alone, so that nodes of another
//! version do no harm.

use std::fmt;
use std::str::FromStr;

use aqueduct_common::StreamName;
use serde::{Deserialize, Serialize};

/// Longest value that is read, in bytes.
const MAX_VALUE: usize = 4_096;

/// What a node is called: 1 to 63 lowercase letters, digits and hyphens between them.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize)]
#[serde(transparent)]
pub struct NodeName(String);

impl NodeName {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The machine's name, as far as it can be a node's.
    pub fn of_this_machine() -> Self {
        let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
        let name: String = name.trim().chars().map(plain).take(63).collect();
        name.trim_matches('-').parse().unwrap_or_else(|()| Self("node".into()))
    }
}

impl FromStr for NodeName {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let shape = (1..=63).contains(&text.len()) && !text.starts_with('-') && !text.ends_with('-');
        if shape && text.chars().all(allowed) { Ok(Self(text.into())) } else { Err(()) }
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for NodeName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(|()| serde::de::Error::custom("no name of a node"))
    }
}

/// What an entry is about.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(crate) enum Key {
    /// An origin that is there.
    Origin(NodeName),
    /// An edge that is there.
    Edge(NodeName),
    /// Who is the origin of a stream.
    Stream(StreamName),
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Origin(node) => write!(f, "origin.{node}"),
            Self::Edge(node) => write!(f, "edge.{node}"),
            // A dot ends a step of a key, and a stream's name may have several in a row.
            Self::Stream(stream) => write!(f, "stream.{}", stream.as_str().replace('.', "=2E")),
        }
    }
}

impl FromStr for Key {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (kind, name) = text.split_once('.').ok_or(())?;
        match kind {
            "origin" => name.parse().map(Self::Origin),
            "edge" => name.parse().map(Self::Edge),
            "stream" => name.replace("=2E", ".").parse().map(Self::Stream).map_err(|_| ()),
            _ => Err(()),
        }
    }
}

/// An origin that is there.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct OriginRecord {
    /// Where its relay is reached, HOST:PORT.
    pub(crate) relay: String,
    /// The process, so that two with one name are noticed.
    pub(crate) instance: u64,
}

/// An edge that is there.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct EdgeRecord {
    /// Its group, as players are told it (LLHLS-36).
    pub pathway: String,
    /// Host name by which players reach the group.
    pub host: String,
    /// How much of what it may serve it does serve, in thousandths.
    pub load: u32,
    /// Different viewers of the last 30 s.
    pub viewers: u32,
    /// It is about to stop.
    pub draining: bool,
    /// It has what it serves: an upstream is there.
    pub fed: bool,
    /// The process, so that two with one name are noticed.
    pub instance: u64,
}

/// Who is the origin of a stream.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct LeaseRecord {
    /// The node.
    pub(crate) node: NodeName,
    /// Its process: one that is started again does not inherit what it no longer knows.
    pub(crate) instance: u64,
    /// Where its relay is reached.
    pub(crate) relay: String,
    /// The revision that the lease began with; the first record of a lease cannot know it and says 0.
    pub(crate) term: u64,
    /// What whoever has the stream next is to know; empty where there is nothing to go on with.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) word: String,
}

impl LeaseRecord {
    /// The lease's number. A later lease of the same stream has a higher one (EDGE-15, EDGE-29).
    pub(crate) fn term(&self, revision: u64) -> u64 {
        if self.term == 0 { revision } else { self.term }
    }
}

/// A value's bytes.
pub(crate) fn write(value: &impl Serialize) -> Vec<u8> {
    // Strings and numbers: nothing here can fail to be written.
    serde_json::to_vec(value).unwrap_or_default()
}

/// Reads a value.
pub(crate) fn read<T: serde::de::DeserializeOwned>(value: &[u8]) -> Option<T> {
    if value.len() > MAX_VALUE {
        return None;
    }
    serde_json::from_slice(value).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_stream_s_key_is_one_that_nats_takes_and_leads_back(
            app in "[A-Za-z0-9_-][A-Za-z0-9_.-]{0,20}", name in "[A-Za-z0-9_-][A-Za-z0-9_.-]{0,20}",
        ) {
            prop_assume!(!["watch", "assets", "t"].contains(&app.as_str()));
            let key = Key::Stream(format!("{app}/{name}").parse().unwrap());
            let text = key.to_string();
            prop_assert!(text.chars().all(|c| c.is_ascii_alphanumeric() || "-/_=.".contains(c)));
            prop_assert_eq!(text.matches('.').count(), 1);
            prop_assert_eq!(text.parse::<Key>(), Ok(key));
        }

        #[test]
        fn whatever_stands_there_is_read_or_left(key in "\\PC{0,30}", value in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = key.parse::<Key>();
            let _ = (read::<LeaseRecord>(&value), read::<EdgeRecord>(&value), read::<OriginRecord>(&value));
        }
    }

    #[test]
    fn a_value_of_a_later_version_is_read_as_far_as_it_is_known() {
        let value = br#"{"pathway":"fra","host":"h","load":1,"viewers":2,"draining":false,"fed":true,"instance":3,"new":[]}"#;
        assert_eq!(read::<EdgeRecord>(value).unwrap().pathway, "fra");
        assert_eq!(read::<OriginRecord>(&[b' '; 5_000]), None);
    }
}
