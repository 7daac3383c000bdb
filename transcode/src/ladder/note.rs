//! What a ladder leaves out, in words for the stream's health.

use std::time::Duration;

use aqueduct_common::time::MediaTime;
use aqueduct_common::track::TrackId;

/// Something that was left out of a ladder.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Note {
    /// The source is not its own top rendition.
    SourceLeftOut(WhyNot),
    /// A further video track of the source is not used.
    TrackLeftOut {
        /// Which one.
        track: TrackId,
        /// Why.
        why: NotReady,
    },
    /// A rung by hand is larger than the source.
    AboveSource {
        /// Its short side.
        short: u32,
    },
    /// A rung by hand would look like another rendition: the source has no more bits to give.
    NoGain {
        /// Its short side.
        short: u32,
    },
    /// The source passes through alone.
    NothingEncoded {
        /// Because the picture is too small to be encoded.
        too_small: bool,
    },
}

/// Why the source is not its own top rendition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum WhyNot {
    /// `transcode.passthrough` is `never`.
    Forbidden,
    /// Not H.264; the RFC 6381 string.
    Codec(String),
    /// No browser plays its codec, and no packager packages it; its name.
    Unplayable(&'static str),
    /// A profile of H.264 that browsers lack; the RFC 6381 string.
    Profile(String),
    /// No frame grid.
    VariableRate,
    /// A player could change renditions too seldom.
    KeyframesFarApart {
        /// Longest time between two of them.
        widest: MediaTime,
        /// What passes.
        most: Duration,
    },
}

/// Why a further video track is not used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NotReady {
    /// Browsers lack it; the RFC 6381 string.
    Codec(String),
    /// Other frame times than the first track's.
    Rate,
    /// Other delay between decoding and showing (TL-41).
    Reordering,
    /// Keyframes elsewhere than the first track's.
    Keyframes,
    /// Its frames stopped coming, or ceased to fit.
    Stopped,
}

impl Note {
    /// One or two sentences for the operator and the streamer: what, why, and what to do about it.
    pub fn text(&self) -> String {
        match self {
            Self::SourceLeftOut(why) => {
                format!("the source is encoded anew for the top rendition: {}", why.text())
            }
            Self::TrackLeftOut { track, why } => {
                format!("video track {} of the publisher is not used: {}", track.0, why.text())
            }
            Self::AboveSource { short } => {
                format!(
                    "the rung of {short} lines is left out: the source is smaller, and nothing is scaled up"
                )
            }
            Self::NoGain { short } => {
                format!("the rung of {short} lines is left out: it would hardly differ from the one above it")
            }
            Self::NothingEncoded { too_small: true } => {
                "nothing is encoded: the picture is smaller than 32 pixels".into()
            }
            Self::NothingEncoded { too_small: false } => {
                "nothing is encoded: every rung would hardly differ from the source".into()
            }
        }
    }

    /// A short name for events and metrics.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::SourceLeftOut(why) => why.code(),
            Self::TrackLeftOut { .. } => "track-left-out",
            Self::AboveSource { .. } => "above-source",
            Self::NoGain { .. } => "no-gain",
            Self::NothingEncoded { .. } => "nothing-encoded",
        }
    }
}

impl WhyNot {
    /// The reason in words.
    pub fn text(&self) -> String {
        match self {
            Self::Forbidden => "transcode.passthrough is \"never\"".into(),
            Self::Codec(codec) => format!(
                "not every browser plays {codec}; send H.264 to save its encoding, or set transcode.passthrough to \
                 \"always\""
            ),
            Self::Unplayable(codec) => {
                format!("no browser plays {codec}; set the camera or encoder to H.264 to save its encoding")
            }
            Self::Profile(codec) => format!(
                "browsers do not play this profile of H.264 ({codec}); set the encoder to profile high, 8 bits and \
                 4:2:0 (NV12)"
            ),
            Self::VariableRate => "its frame rate varies; set the encoder to a constant frame rate".into(),
            Self::KeyframesFarApart { widest, most } => format!(
                "its keyframes are up to {:.1} s apart, more than the {:.1} s after which a player may change \
                 renditions; set the encoder's keyframe interval to 1 s",
                widest.seconds(),
                most.as_secs_f64()
            ),
        }
    }

    /// A short name for events and metrics.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Forbidden => "passthrough-forbidden",
            Self::Codec(_) => "source-codec",
            Self::Unplayable(_) => "source-unplayable",
            Self::Profile(_) => "source-profile",
            Self::VariableRate => "variable-frame-rate",
            Self::KeyframesFarApart { .. } => "keyframes-far-apart",
        }
    }
}

impl NotReady {
    /// The reason in words.
    pub fn text(&self) -> String {
        match self {
            Self::Codec(codec) => format!("not every browser plays {codec}; send H.264, main or high"),
            Self::Rate => "its frame rate is another than the first track's".into(),
            Self::Reordering => "it has another number of B-frames than the first track".into(),
            Self::Keyframes => {
                "its keyframes do not lie where the first track's do; set the same keyframe interval for all tracks"
                    .into()
            }
            Self::Stopped => {
                "its frames stopped coming, or ceased to fit the first track's; a rendition is encoded in its place"
                    .into()
            }
        }
    }
}
