//! What flows from a publisher to the packager.

use std::sync::Arc;

use bytes::Bytes;

use crate::name::StreamName;
use crate::queue::FeedReceiver;
use crate::time::{MediaTime, WallTime};
use crate::track::{Track, TrackId, TrackSet};

/// One coded frame, ISO BMFF's word. Times are in the track's timescale.
///
/// Within a track, samples come in decode order and without holes: the next sample's `dts` is this one's
/// `dts + duration`, except after [`Feed::Discontinuity`] or [`Feed::Tracks`] (TL-37).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The track it belongs to.
    pub track: TrackId,
    /// Decode time. Never negative (TL-5).
    pub dts: MediaTime,
    /// Presentation time.
    pub pts: MediaTime,
    /// Ticks until the next sample's decode time; at least 1.
    pub duration: u32,
    /// Decoding can start here: an IDR, IRAP or key frame; every audio frame.
    pub sync: bool,
    /// No other sample needs it (`nal_ref_idc` 0 and the like): `sample_is_depended_on` = 2.
    pub disposable: bool,
    /// The coded frame as its sample entry wants it: length-prefixed (4 bytes) NAL units without parameter sets
    /// and delimiters, OBUs without temporal delimiters, raw AAC, Opus packets. Sound that needs a transcode may be
    /// without: that is silence.
    pub payload: Bytes,
    /// When its last byte arrived at the ingest, for latency figures.
    pub received: WallTime,
}

impl Sample {
    /// Decode time of the sample that follows.
    pub const fn end(&self) -> MediaTime {
        self.dts.offset(self.duration as i64)
    }
}

/// Maps media time to the wall clock: `wall` is when `media` was captured, as well as is known (TL-33, TL-34).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClockMap {
    /// A point on the output timeline.
    pub media: MediaTime,
    /// Its UTC.
    pub wall: WallTime,
}

impl ClockMap {
    /// UTC of a point on the output timeline.
    pub fn wall_at(&self, time: MediaTime) -> WallTime {
        let ahead = MediaTime::flicks(time.as_flicks() - self.media.as_flicks());
        self.wall.offset(ahead.micros())
    }
}

/// Why samples stop being contiguous (TL-24).
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Break {
    /// The publisher's timestamps jumped, or media was missing for more than a second.
    TimestampJump,
    /// The publisher left and came back, or another took over.
    Reconnect,
    /// The queue to the packager overflowed and dropped to the next sync sample.
    Overflow,
    /// The encoder of the reference track was lost, and another one took over.
    Encoder,
}

/// Why one rendition has no samples while the stream goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Absence {
    /// Its encoder failed and is being replaced: it comes back by itself.
    Failed,
    /// The machine cannot carry it: whoever comes now is not sent to it.
    Shed,
    /// Nobody watches it, and the first request wakes it.
    Asleep,
}

/// One message from a publisher's timeline to the packager.
#[derive(Clone, Debug)]
pub enum Feed {
    /// The tracks of all samples that follow. Always the first message; a later one is an implied discontinuity
    /// with new init segments. The first sample of the reference track after it is a sync sample.
    Tracks(Arc<TrackSet>),
    /// Samples that follow are not contiguous with those before; the reference track goes on with a sync sample.
    Discontinuity(Break),
    /// One track of the set goes on with other parameters on the same timeline: another encoder has taken over. Its
    /// next sample is a sync sample that begins a segment.
    Changed(Arc<Track>),
    /// The samples of one track other than the reference stop coming. It is back with its next sync sample.
    Lost(TrackId, Absence),
    /// One track other than the reference goes on with a sync sample that is on its way, whose decode time and reorder
    /// delay put it at or behind this instant: up to there it has nothing, and from there on it is waited for as one
    /// whose samples come.
    Returns(TrackId, MediaTime),
    /// The wall clock of samples that follow. Sent before the first sample and when it moves.
    Clock(ClockMap),
    /// One coded frame.
    Sample(Sample),
}

/// A stream that has begun. Closing `feed` ends it: the packager then publishes ENDLIST.
#[derive(Debug)]
pub struct Publication {
    /// Its public name.
    pub stream: StreamName,
    /// What its publishers send, over takeovers and returns within the grace time.
    pub feed: FeedReceiver,
}
