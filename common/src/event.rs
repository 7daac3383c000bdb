//! What analytics hears: typed, cheap, dropped and counted when nobody keeps up.
//!
//! No event holds a publish key, a token or a viewer's address.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;

use crate::feed::Break;
use crate::name::StreamName;
use crate::track::TrackKind;

/// How a publisher reached us.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// RTMP over TCP.
    Rtmp,
    /// RTMP over TLS.
    Rtmps,
}

impl Protocol {
    /// The metric label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rtmp => "rtmp",
            Self::Rtmps => "rtmps",
        }
    }
}

/// How a publisher's session ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PublishEnd {
    /// It said so: FCUnpublish, deleteStream, closeStream (RTMP-31).
    Clean,
    /// The connection closed or broke without a goodbye.
    Lost,
    /// No byte came for the read timeout.
    Silent,
    /// Another publisher with a valid key took over.
    TakenOver,
    /// It broke a limit or the protocol.
    Shed,
    /// The server is stopping.
    Drained,
}

/// A source timestamp that had to be repaired, or media that did not come (TL-7).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Anomaly {
    /// A step backwards of less than a second, clamped.
    NonMonotonic,
    /// Frames missing from the grid.
    Gap,
    /// A jump or an outage: DISCONTINUITY.
    Jump,
    /// A 31- or 32-bit wrap, unrolled.
    Wrap,
    /// A composition offset beyond ±10 s, clamped (RTMP-40).
    CompositionOffset,
    /// Audio was filled with silence to stay in step (TL-15).
    AudioFill,
    /// Audio was cut to stay in step (TL-15).
    AudioCut,
    /// The frame grid was lost (TL-10).
    GridLost,
    /// An access unit that could not be parsed was dropped (RTMP-65).
    BadUnit,
    /// A sync sample came so late that a segment had to end without one.
    LongGop,
    /// A chunk's repeated timestamp was not taken for a delta (RTMP-10).
    DeltaGuess,
    /// The publisher's `colorInfo` is not what the bitstream says; the bitstream wins (RTMP-58).
    ColourConflict,
}

impl Anomaly {
    /// The metric label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NonMonotonic => "non_monotonic",
            Self::Gap => "gap",
            Self::Jump => "jump",
            Self::Wrap => "wrap",
            Self::CompositionOffset => "composition_offset",
            Self::AudioFill => "audio_fill",
            Self::AudioCut => "audio_cut",
            Self::GridLost => "grid_lost",
            Self::BadUnit => "bad_unit",
            Self::LongGop => "long_gop",
            Self::DeltaGuess => "delta_guess",
            Self::ColourConflict => "colour_conflict",
        }
    }
}

/// One second of a publisher's session, as deltas and current readings.
#[derive(Clone, PartialEq, Debug, Default, serde::Serialize)]
pub struct IngestTick {
    /// Bytes received since the last tick.
    pub bytes: u64,
    /// Video frames since the last tick.
    pub video_frames: u32,
    /// Audio frames since the last tick.
    pub audio_frames: u32,
    /// Sync samples of the video since the last tick.
    pub keyframes: u32,
    /// Microseconds between the two newest video sync samples; `None` before the second.
    pub keyframe_interval_micros: Option<i64>,
    /// Frame rate of the grid, in frames per 1 000 seconds; `None` when it is not locked.
    pub grid_millifps: Option<u32>,
    /// Audio time minus video time as they arrive, in microseconds: positive when audio leads.
    pub skew_micros: Option<i64>,
    /// Round trip by RTMP ping, in microseconds.
    pub rtt_micros: Option<u64>,
    /// RFC 6381 codec strings.
    pub codecs: Vec<String>,
    /// Samples that the queue to the packager dropped since the last tick.
    pub dropped: u64,
}

/// Advice for the streamer, in words OBS knows.
#[derive(Clone, PartialEq, Eq, Hash, Debug, serde::Serialize)]
#[serde(tag = "advice", rename_all = "kebab-case")]
pub enum Advice {
    /// The keyframe interval is longer than a segment.
    KeyframeInterval {
        /// What it is, in milliseconds.
        is_millis: u32,
        /// What to set, in seconds.
        set_seconds: u32,
    },
    /// A track's codec plays nowhere without a transcode.
    NeedsTranscode {
        /// Its codec.
        codec: String,
    },
    /// More tracks came than are used.
    ExtraTracks {
        /// Video or audio.
        kind: TrackKind,
        /// How many are left unused.
        unused: u8,
    },
    /// The frame rate varies.
    VariableFrameRate,
    /// Timestamps jump again and again, so that frames are timed by their arrival (TL-9).
    UnsteadyTimestamps,
    /// Pictures come, and none of them can be begun with.
    NoKeyframes {
        /// For how long, in seconds.
        for_seconds: u32,
    },
    /// A codec or packet type that is not known.
    UnknownCodec {
        /// Its FourCC or number.
        codec: String,
    },
}

impl Advice {
    /// What to do, in plain words.
    pub fn text(&self) -> String {
        match self {
            Self::KeyframeInterval { is_millis, set_seconds } => format!(
                "The keyframe interval is {:.1} s, so segments are long and players start late: set Keyframe Interval to \
                 {set_seconds} s (OBS: Settings → Output → Streaming, Advanced mode).",
                f64::from(*is_millis) / 1_000.0
            ),
            Self::NeedsTranscode { codec } => format!(
                "{codec} does not play in browsers without a transcode and is left out: set the encoder to H.264 video \
                 and AAC audio."
            ),
            Self::ExtraTracks { kind, unused } => {
                format!(
                    "{unused} more {} track(s) came than are used: only the first one plays.",
                    kind.as_str()
                )
            }
            Self::VariableFrameRate => {
                "The frame rate varies, so parts are longer and latency grows: set a constant frame rate."
                    .into()
            }
            Self::UnsteadyTimestamps => {
                "Timestamps jump again and again, so frames are timed by their arrival and may stutter: use one capture \
                 device for sound and picture, or restart the source or the encoder."
                    .into()
            }
            Self::NoKeyframes { for_seconds } => format!(
                "No keyframe came for {for_seconds} s, so players cannot start: set Keyframe Interval to 1 s (OBS: Settings \
                 → Output → Streaming, Advanced mode) and switch intra refresh off."
            ),
            Self::UnknownCodec { codec } => {
                format!("Codec {codec} is not known: set the encoder to H.264 or HEVC video and AAC audio.")
            }
        }
    }
}

/// One second of an edge's serving, as deltas and current readings.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct EdgeTick {
    /// Requests answered, by object class (`playlist`, `part`, …) and status class (`2xx`, …) and protocol (`h1`, `h2`).
    pub requests: Vec<(&'static str, &'static str, &'static str, u64)>,
    /// Body bytes sent.
    pub bytes: u64,
    /// Requests held at this moment.
    pub blocked: u64,
    /// Connections open at this moment.
    pub connections: u64,
    /// Connections and requests refused or shed, by reason.
    pub shed: Vec<(&'static str, u64)>,
    /// Requests' time to answer, held time excluded: counts per bucket of [`REQUEST_BUCKETS_MICROS`], then beyond.
    pub latency_buckets: Vec<u64>,
    /// Sum of the above, in microseconds.
    pub latency_sum_micros: u64,
    /// Distinct viewers per stream in the last 30 s, where known.
    pub viewers: Vec<(StreamName, u32)>,
}

/// Upper bounds of [`EdgeTick::latency_buckets`], in microseconds (QOE-32: 1, 2, 5 steps).
pub const REQUEST_BUCKETS_MICROS: [u64; 13] = [
    1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000, 2_000_000, 5_000_000,
    10_000_000,
];

/// Something that happened in a stage.
#[derive(Clone, PartialEq, Debug)]
pub enum Event {
    /// A connection reached a publishing port.
    ConnectionOpened {
        /// How.
        protocol: Protocol,
    },
    /// It is gone.
    ConnectionClosed {
        /// How it had come.
        protocol: Protocol,
    },
    /// A connection or a publish was refused or shed before it was a publisher's session.
    Refused {
        /// How it had come.
        protocol: Protocol,
        /// A label from a fixed set: `bad_key`, `busy`, `handshake`, `malformed`, `limit_connections`, ….
        reason: &'static str,
    },
    /// A publisher's session began.
    PublishStarted {
        /// The stream.
        stream: StreamName,
        /// How.
        protocol: Protocol,
        /// What the encoder calls itself.
        encoder: String,
        /// It continues a stream that was waiting for it, or took over from another.
        resumed: bool,
    },
    /// A publisher's session ended.
    PublishEnded {
        /// The stream.
        stream: StreamName,
        /// How.
        protocol: Protocol,
        /// Why.
        reason: PublishEnd,
    },
    /// A publisher's session was closed for what it sent. Its [`Event::PublishEnded`] says [`PublishEnd::Shed`].
    Shed {
        /// How it had come.
        protocol: Protocol,
        /// A label from a fixed set: `limit_bitrate`, `limit_messages`, `limit_message`, `malformed`, `no_track`, ….
        reason: &'static str,
    },
    /// Reading from a publisher paused: it sends faster than real time (RTMP-69).
    Throttled {
        /// How it had come.
        protocol: Protocol,
        /// For how long, in microseconds.
        pause_micros: u64,
    },
    /// A second of a publisher's session.
    Ingest {
        /// The stream.
        stream: StreamName,
        /// How.
        protocol: Protocol,
        /// The figures.
        tick: IngestTick,
    },
    /// Timestamps were repaired, or media was missing.
    Anomaly {
        /// The stream.
        stream: StreamName,
        /// What.
        kind: Anomaly,
        /// How often since the last such event.
        count: u32,
    },
    /// The streamer should change something. Sent again while it holds.
    Advice {
        /// The stream.
        stream: StreamName,
        /// What.
        advice: Advice,
    },
    /// A stream is over for the ingest: its grace time ended without a publisher, it never began, or nobody takes it
    /// any more.
    StreamExpired {
        /// The stream.
        stream: StreamName,
    },
    /// The first playlists of an epoch are out.
    PackagerLive {
        /// The stream.
        stream: StreamName,
        /// Its epoch, as in its paths.
        epoch: String,
        /// EXT-X-TARGETDURATION in seconds.
        target_duration: u32,
        /// PART-TARGET in microseconds.
        part_target_micros: u32,
    },
    /// A part was published.
    Part {
        /// The stream.
        stream: StreamName,
        /// Video or audio.
        kind: TrackKind,
        /// Bytes of the part.
        bytes: u32,
        /// Its duration in microseconds.
        duration_micros: u32,
        /// From the arrival of its last sample to its publication, in microseconds.
        lag_micros: u32,
    },
    /// The packager began a new discontinuity.
    Discontinuity {
        /// The stream.
        stream: StreamName,
        /// Why; `None` when the tracks changed.
        reason: Option<Break>,
    },
    /// ENDLIST is out.
    PackagerEnded {
        /// The stream.
        stream: StreamName,
        /// The epoch that ended, as in its paths: a later one may have begun already.
        epoch: String,
    },
    /// A second of an edge's serving.
    Edge(EdgeTick),
}

/// Sends events, and drops and counts them when nobody keeps up.
#[derive(Clone, Debug)]
pub struct EventSender {
    queue: mpsc::Sender<Event>,
    dropped: Arc<AtomicU64>,
}

/// Receives events.
#[derive(Debug)]
pub struct EventReceiver {
    queue: mpsc::Receiver<Event>,
    dropped: Arc<AtomicU64>,
}

/// A bus that holds at most `capacity` events.
pub fn bus(capacity: usize) -> (EventSender, EventReceiver) {
    let (sender, receiver) = mpsc::channel(capacity);
    let dropped = Arc::new(AtomicU64::new(0));
    (EventSender { queue: sender, dropped: dropped.clone() }, EventReceiver { queue: receiver, dropped })
}

impl EventSender {
    /// Sends one event. Never waits: a full bus drops it and counts.
    pub fn send(&self, event: Event) {
        if self.queue.try_send(event).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A sender that nobody listens to, for tools and tests of one stage.
    pub fn detached() -> Self {
        bus(1).0
    }
}

impl EventReceiver {
    /// The next event; `None` when every sender is gone.
    pub async fn recv(&mut self) -> Option<Event> {
        self.queue.recv().await
    }

    /// The next event if one is there already.
    pub fn try_recv(&mut self) -> Option<Event> {
        self.queue.try_recv().ok()
    }

    /// Events dropped so far.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}
