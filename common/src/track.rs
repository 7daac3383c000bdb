//! Tracks: what a stream is made of.

use std::fmt;

use crate::codec::CodecConfig;
use crate::time::{MediaTime, Timescale};

/// A track's number within its stream, stable for the life of an epoch: 0 is the source video, 1 the source audio,
/// up to 15 what else the source sends; from 16 on, what is encoded here.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrackId(pub u8);

impl TrackId {
    /// The source's video.
    pub const VIDEO: Self = Self(0);
    /// The source's audio.
    pub const AUDIO: Self = Self(1);
    /// The first number of those that are encoded here.
    pub const FIRST_ENCODED: Self = Self(16);
}

impl fmt::Debug for TrackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "t{}", self.0)
    }
}

/// Video or audio.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TrackKind {
    /// Pictures.
    Video,
    /// Sound.
    Audio,
}

impl TrackKind {
    /// `video` or `audio`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Video => "video",
            Self::Audio => "audio",
        }
    }
}

/// How a track's samples are spaced (TL-10).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Grid {
    /// Every sample lasts exactly this long; the next sample's time is known before it arrives.
    Fixed(MediaTime),
    /// Samples are spaced as measured. The value is the widest spacing seen before the track was announced.
    Variable {
        /// Widest spacing seen so far.
        widest: MediaTime,
    },
}

impl Grid {
    /// The frame duration of a fixed grid, or the widest spacing seen of a variable one.
    pub const fn spacing(self) -> MediaTime {
        match self {
            Self::Fixed(spacing) | Self::Variable { widest: spacing } => spacing,
        }
    }
}

/// One track of a stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Track {
    /// Its number.
    pub id: TrackId,
    /// Codec and its parameters.
    pub codec: CodecConfig,
    /// Scale of its samples' times (TL-3). Constant within an epoch.
    pub timescale: Timescale,
    /// How its samples are spaced.
    pub grid: Grid,
    /// Presentation delay of a sync sample, PTS − DTS, in track ticks (`D` of TL-41); 0 without B-frames.
    pub reorder_delay: i64,
    /// RFC 5646 language, `und` when the source does not say.
    pub language: String,
    /// Most bits a second that its encoder was told to keep to over any segment; `None` where nobody promised and
    /// the rate has to be measured.
    pub bandwidth: Option<u64>,
}

impl Track {
    /// Video or audio.
    pub const fn kind(&self) -> TrackKind {
        self.codec.kind()
    }
}

/// All tracks of a stream from one moment on.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TrackSet {
    /// In order of [`TrackId`].
    pub tracks: Vec<Track>,
}

impl TrackSet {
    /// The track with this number.
    pub fn by_id(&self, id: TrackId) -> Option<&Track> {
        self.tracks.iter().find(|track| track.id == id)
    }

    /// The first track of this kind: the reference video, or the audio.
    pub fn first(&self, kind: TrackKind) -> Option<&Track> {
        self.tracks.iter().find(|track| track.kind() == kind)
    }

    /// The track whose sync samples decide where segments end (TL-30): the video, or the audio without one.
    pub fn reference(&self) -> Option<&Track> {
        self.first(TrackKind::Video).or_else(|| self.first(TrackKind::Audio))
    }
}
