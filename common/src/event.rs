//! What analytics hears: typed, cheap, dropped and counted when nobody keeps up.
//!
//! No event holds a publish key, a token or a viewer's address.

mod advice;
mod pull;
mod relay;
mod report;
mod source;
mod transcode;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;

use crate::feed::Break;
use crate::name::StreamName;
use crate::source::SourceName;
use crate::track::{TrackId, TrackKind};

pub use advice::Advice;
pub use pull::{PullChange, SrtTick};
pub use relay::{BackfillTick, RELAY_BUCKETS_MICROS, RelayTick};
pub use report::{Carrier, Report};
pub use source::{PushChange, PushState, PushTick, SourceChange, StandbyTick, SwitchReason};
pub use transcode::{
    Alignment, GovernorStep, Rendition, RungState, RungTick, SoundTick, Transcode, TranscodeTick, WorkerLoss,
};

/// How a publisher reached us.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// RTMP over TCP.
    Rtmp,
    /// RTMP over TLS.
    Rtmps,
    /// SRT.
    Srt,
    /// A source that this server fetches.
    Pull,
    /// RTSP, whether it is pulled or pushed.
    Rtsp,
}

impl Protocol {
    /// The metric label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rtmp => "rtmp",
            Self::Rtmps => "rtmps",
            Self::Srt => "srt",
            Self::Pull => "pull",
            Self::Rtsp => "rtsp",
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
    /// An RTP packet that never came.
    PacketLost,
    /// An RTP packet that was overtaken and put back in its place.
    PacketReordered,
    /// An RTP packet that came twice, or too late.
    PacketLate,
    /// An RTP packet of another sender or another format than the track's.
    StrayPacket,
    /// A sender report that contradicts what is known of its clock (RTSP-34).
    ReportRefused,
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
            Self::PacketLost => "packet_lost",
            Self::PacketReordered => "packet_reordered",
            Self::PacketLate => "packet_late",
            Self::StrayPacket => "stray_packet",
            Self::ReportRefused => "report_refused",
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
    /// How far apart the earliest and the latest frames of the last ten seconds came, beside their stamps, in microseconds:
    /// one in a hundred left out on either side.
    pub scatter_micros: Option<i64>,
    /// How much faster than ours the source's clock runs, in millionths, over the last five minutes.
    pub drift_ppm: Option<i32>,
    /// Round trip by RTMP ping, in microseconds.
    pub rtt_micros: Option<u64>,
    /// RFC 6381 codec strings.
    pub codecs: Vec<String>,
    /// Samples that the queue to the packager dropped since the last tick.
    pub dropped: u64,
    /// What the sizes of the pictures' frames say; `None` before there is a video sync sample.
    pub picture: Option<PictureTick>,
    /// Audio frames since the last tick in which nothing is coded: digital silence.
    pub silent_frames: u32,
}

/// How much is coded of a picture, in thousandths of a bit for each 16 × 16 pixels. A frame's headers are left out, and
/// so is what encoders fill up with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize)]
pub struct PictureTick {
    /// The newest sync sample.
    pub key_millibits: u32,
    /// The median of the other frames since the last tick; `None` where none came.
    pub inter_millibits: Option<u32>,
    /// Frames are reordered, so that most of them are small whatever moves.
    pub reordered: bool,
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
    /// Seconds since each source of viewers' rights was last read well, by its key: `jwks`, `revoked`.
    pub source_ages: Vec<(&'static str, u64)>,
    /// Connections that may be open at once; 0 where that is not told.
    pub capacity: u64,
    /// Objects that were not here when they were asked for, and were fetched.
    pub fetched: u64,
    /// This edge is about to stop.
    pub draining: bool,
}

/// What a node knows of the directory of nodes, once a second.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ClusterTick {
    /// The directory answers.
    pub up: bool,
    /// Requests that had no answer since the last tick.
    pub failures: u64,
    /// Connections that were lost or did not come about since the last tick.
    pub downs: u64,
    /// Streams that this node is the origin of.
    pub holds: u64,
    /// Origins that are known.
    pub origins: u64,
    /// Edges that are known.
    pub edges: u64,
    /// Entries since the start that could not be read, or were too many.
    pub unread: u64,
    /// Another process has this node's name.
    pub rival: bool,
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
    /// A rendition that comes cannot be cut where the others are, and is a gap until it can be (TL-30).
    Astray {
        /// The stream.
        stream: StreamName,
        /// The rendition.
        track: TrackId,
        /// Number of the segment.
        segment: u64,
        /// What was wrong with it, in plain words.
        reason: String,
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
    /// Something happened while its renditions are made.
    Transcode {
        /// The stream.
        stream: StreamName,
        /// What.
        what: Transcode,
    },
    /// Something happened to one source of a stream that has several.
    Source {
        /// The stream.
        stream: StreamName,
        /// Which.
        source: SourceName,
        /// What.
        what: SourceChange,
    },
    /// Something happened to the sending of a stream to another server.
    Push {
        /// The stream.
        stream: StreamName,
        /// Where it is sent, without keys.
        target: Arc<str>,
        /// What.
        what: PushChange,
    },
    /// Something happened to a source that this server fetches.
    Pull {
        /// The stream that it feeds.
        stream: StreamName,
        /// Its name.
        name: String,
        /// What.
        what: PullChange,
    },
    /// A second of an SRT publisher's connection.
    Srt {
        /// The stream.
        stream: StreamName,
        /// The figures.
        tick: SrtTick,
    },
    /// A second of an edge's serving.
    Edge(EdgeTick),
    /// A second of the relay between nodes.
    Relay(RelayTick),
    /// A second of the directory of nodes.
    Cluster(ClusterTick),
    /// A viewer's player says how it does. On a queue of its own: however many viewers talk, stages are heard.
    Report(Report),
}

/// Sends events, and drops and counts them when nobody keeps up.
#[derive(Clone, Debug)]
pub struct EventSender {
    queue: mpsc::Sender<Event>,
    reports: mpsc::Sender<Event>,
    dropped: Arc<Dropped>,
}

/// Receives events.
#[derive(Debug)]
pub struct EventReceiver {
    queue: mpsc::Receiver<Event>,
    reports: mpsc::Receiver<Event>,
    dropped: Arc<Dropped>,
}

#[derive(Debug, Default)]
struct Dropped {
    events: AtomicU64,
    reports: AtomicU64,
}

/// A bus that holds at most `capacity` events of stages, and as many reports of viewers.
pub fn bus(capacity: usize) -> (EventSender, EventReceiver) {
    let (sender, receiver) = mpsc::channel(capacity);
    let (said, reports) = mpsc::channel(capacity);
    let dropped = Arc::new(Dropped::default());
    let receiver = EventReceiver { queue: receiver, reports, dropped: dropped.clone() };
    (EventSender { queue: sender, reports: said, dropped }, receiver)
}

impl EventSender {
    /// Sends one event. Never waits: a full bus drops it and counts.
    pub fn send(&self, event: Event) {
        let (queue, dropped) = match event {
            Event::Report(_) => (&self.reports, &self.dropped.reports),
            _ => (&self.queue, &self.dropped.events),
        };
        if queue.try_send(event).is_err() {
            dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A sender that nobody listens to, for tools and tests of one stage.
    pub fn detached() -> Self {
        bus(1).0
    }
}

impl EventReceiver {
    /// The next event, those of stages first; `None` when every sender is gone.
    pub async fn recv(&mut self) -> Option<Event> {
        tokio::select! {
            biased;
            Some(event) = self.queue.recv() => Some(event),
            Some(report) = self.reports.recv() => Some(report),
            else => None,
        }
    }

    /// The next event if one is there already.
    pub fn try_recv(&mut self) -> Option<Event> {
        self.queue.try_recv().or_else(|_| self.reports.try_recv()).ok()
    }

    /// Events of stages dropped so far.
    pub fn dropped(&self) -> u64 {
        self.dropped.events.load(Ordering::Relaxed)
    }

    /// Reports of viewers dropped so far.
    pub fn dropped_reports(&self) -> u64 {
        self.dropped.reports.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::WallTime;

    #[tokio::test]
    async fn however_many_viewers_talk_stages_are_heard() {
        let (sender, mut receiver) = bus(4);
        let stream: StreamName = "live/show".parse().unwrap();
        for viewer in 0..100_000 {
            let report = Report {
                stream: stream.clone(),
                at: WallTime::default(),
                viewer,
                carrier: Carrier::Query,
                text: "bl=1".into(),
            };
            sender.send(Event::Report(report));
        }
        sender.send(Event::StreamExpired { stream: stream.clone() });
        assert_eq!((receiver.dropped(), receiver.dropped_reports()), (0, 99_996));
        assert_eq!(receiver.recv().await, Some(Event::StreamExpired { stream }));
        assert!(matches!(receiver.recv().await, Some(Event::Report(Report { viewer: 0, .. }))));
        drop(sender);
        for _ in 0..3 {
            assert!(receiver.recv().await.is_some());
        }
        assert_eq!(receiver.recv().await, None);
    }
}
