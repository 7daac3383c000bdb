//! The words that some keys have for values.

/// What a player does (QOE-6).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum PlayState {
    /// Starting, or loading ahead of a start.
    Starting,
    /// Playing.
    Playing,
    /// Seeking.
    Seeking,
    /// Playing was meant, and nothing is there to play.
    Rebuffering,
    /// Paused by the viewer.
    Paused,
    /// Over.
    Ended,
    /// Failed for good.
    Failed,
    /// The viewer left.
    Quit,
}

/// What kind of object was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ObjectType {
    /// A playlist.
    Manifest,
    /// Pictures, with or without sound.
    Video,
    /// Sound alone.
    Audio,
    /// Anything else.
    Other,
}

/// Why a report was sent by itself (QOE-7).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Occasion {
    /// The state changed.
    PlayState,
    /// An error.
    Error,
    /// Time passed.
    Interval,
    /// Another bitrate.
    BitrateChange,
    /// Anything else.
    Other,
}

impl PlayState {
    pub(super) fn read(word: &str) -> Option<Self> {
        Some(match word {
            "s" | "d" => Self::Starting,
            "p" => Self::Playing,
            "k" => Self::Seeking,
            "r" | "w" => Self::Rebuffering,
            "a" => Self::Paused,
            "e" => Self::Ended,
            "f" => Self::Failed,
            "q" => Self::Quit,
            _ => return None,
        })
    }

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "s",
            Self::Playing => "p",
            Self::Seeking => "k",
            Self::Rebuffering => "r",
            Self::Paused => "a",
            Self::Ended => "e",
            Self::Failed => "f",
            Self::Quit => "q",
        }
    }
}

impl ObjectType {
    pub(super) fn read(word: &str) -> Option<Self> {
        Some(match word {
            "m" => Self::Manifest,
            "v" | "av" => Self::Video,
            "a" => Self::Audio,
            "i" | "c" | "tt" | "k" | "o" => Self::Other,
            _ => return None,
        })
    }

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Manifest => "m",
            Self::Video => "v",
            Self::Audio => "a",
            Self::Other => "o",
        }
    }
}

impl Occasion {
    pub(super) fn read(word: &str) -> Self {
        match word {
            "ps" => Self::PlayState,
            "e" => Self::Error,
            "t" => Self::Interval,
            "bc" => Self::BitrateChange,
            _ => Self::Other,
        }
    }

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::PlayState => "ps",
            Self::Error => "e",
            Self::Interval => "t",
            Self::BitrateChange => "bc",
            Self::Other => "c",
        }
    }
}
