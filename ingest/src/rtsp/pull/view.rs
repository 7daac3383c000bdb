//! Sources as the operator's port shows them.

use super::{Start, Transport};

/// What a source is doing, for people.
#[derive(Clone, PartialEq, Eq, Debug, Default, serde::Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum PullState {
    /// Nobody watches.
    #[default]
    Asleep,
    /// It is asked.
    Connecting,
    /// Media comes.
    Playing,
    /// It failed and is tried again.
    Failing {
        /// Why, and what to do.
        problem: String,
        /// When it is tried again, in milliseconds from then.
        retry_millis: u64,
    },
}

/// A source as it is shown: without path, user name and password.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
pub struct PullView {
    /// The stream that it becomes.
    pub stream: String,
    /// What it is called among the stream's sources.
    pub source: String,
    /// Host and port.
    pub host: String,
    /// How media comes.
    pub transport: Transport,
    /// When it is pulled.
    pub start: Start,
    /// What it is doing.
    #[serde(flatten)]
    pub state: PullState,
}
