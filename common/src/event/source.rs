//! What happens to the sources of a stream that has several, and to the targets that a stream is sent on to.

use crate::event::{Protocol, PublishEnd};
use crate::source::SourceName;

/// Why another source went on air.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SwitchReason {
    /// None had been on air.
    First,
    /// The one before left.
    Left,
    /// Nothing came of the one before for `failover_after`.
    Silent,
    /// A preferred one had been steady for `restore_after`.
    Restored,
}

impl SwitchReason {
    /// The metric label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Left => "left",
            Self::Silent => "silent",
            Self::Restored => "restored",
        }
    }

    /// In plain words.
    pub const fn text(self) -> &'static str {
        match self {
            Self::First => "it came first",
            Self::Left => "the source before it left",
            Self::Silent => "nothing came of the source before it",
            Self::Restored => "it is preferred, and has been steady again",
        }
    }
}

/// One second of a source that stands by.
#[derive(Clone, PartialEq, Eq, Debug, Default, serde::Serialize)]
pub struct StandbyTick {
    /// Bytes received since the last tick.
    pub bytes: u64,
    /// Video frames since the last tick.
    pub video_frames: u32,
    /// Audio frames since the last tick.
    pub audio_frames: u32,
    /// Milliseconds since its newest picture that decoding can start with; `None` before the first.
    pub keyframe_age_millis: Option<u64>,
    /// RFC 6381 codec strings.
    pub codecs: Vec<String>,
    /// Frames let go since the last tick because they would have taken more memory than a standby may.
    pub overflowed: u64,
}

/// Something that happened to one source of a stream that has several.
#[derive(Clone, PartialEq, Debug)]
pub enum SourceChange {
    /// It is one of the stream's sources, at this place in the order of preference (from 0), and has not come yet.
    Named(u8),
    /// It came.
    Joined {
        /// How.
        protocol: Protocol,
        /// What it calls itself.
        encoder: String,
    },
    /// It left.
    Left {
        /// Why.
        reason: PublishEnd,
    },
    /// It went on air.
    OnAir {
        /// Which was on air before, if one was.
        before: Option<SourceName>,
        /// Why.
        reason: SwitchReason,
    },
    /// It is fetched by this server, and fails.
    Failing {
        /// Why, in words without secrets, and what to do.
        problem: String,
    },
    /// It stands by: its last second.
    Standby(StandbyTick),
}

/// What the sending on of a stream to another server is doing.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum PushState {
    /// It is being connected.
    Connecting,
    /// Media goes there.
    Live,
    /// It broke off, or did not come about.
    Failed {
        /// Why, in plain words, without keys.
        reason: String,
        /// When it is tried again, in milliseconds.
        again_millis: u64,
    },
    /// The stream has ended, and with it the sending.
    Ended,
}

impl PushState {
    /// The metric label.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Live => "live",
            Self::Failed { .. } => "failed",
            Self::Ended => "ended",
        }
    }
}

/// One second of sending a stream on, as deltas.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize)]
pub struct PushTick {
    /// Bytes of media that were taken by the connection.
    pub bytes: u64,
    /// Samples that were taken.
    pub samples: u64,
    /// Samples let go because the target was slow or away.
    pub dropped: u64,
}

/// Something that happened to one target of a stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PushChange {
    /// Its state changed.
    State(PushState),
    /// A second went by.
    Tick(PushTick),
}
