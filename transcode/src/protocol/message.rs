//! The messages, without their form on the wire.

use aqueduct_common::{Sample, Timescale, Track, TrackId, WallTime};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::track::id;
use crate::hardware::{Backend, Chosen};

/// The protocol's version. Host and worker are the same binary, so that they differ only while it is being replaced.
pub const VERSION: u16 = 2;

/// A decode time that never comes, for [`Job::resume`].
pub const HELD: i64 = i64::MAX;

/// From the host to its worker.
#[derive(Clone, Debug, PartialEq)]
pub enum ToWorker {
    /// What to do. Always the first message, and the only one of its kind.
    Job(Job),
    /// The source tracks of all frames that follow: flush, and begin with new decoders.
    Source(Vec<Track>),
    /// One coded frame of a source track.
    Frame(Frame),
    /// The timeline breaks: flush; the next video frame is a sync frame.
    Break,
    /// A change while it runs.
    Order(Order),
    /// Flush, and exit with 0.
    End,
}

/// From a worker to its host.
#[derive(Clone, Debug, PartialEq)]
pub enum FromWorker {
    /// The worker is in its cage and reads. Always the first message.
    Ready {
        /// The version it speaks.
        version: u16,
    },
    /// A rendition's parameters: before its first frame, and when they change.
    Track(Track),
    /// One coded frame of a rendition.
    Frame(Frame),
    /// Another backend has taken over, or none is left.
    Fallback(Fallback),
    /// The answer to [`Order::Echo`].
    Echo,
    /// What the last second cost.
    Report(Report),
    /// Something that an operator should read, in words. Work goes on, or the exit code says that it does not.
    Trouble(String),
}

/// One coded frame, either way. Times are in ticks of its track's timescale.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The source track or the rendition.
    pub track: TrackId,
    /// Decode time.
    pub dts: i64,
    /// Presentation time.
    pub pts: i64,
    /// Ticks until the next frame's decode time; at least 1.
    pub duration: u32,
    /// Decoding can start here.
    pub sync: bool,
    /// No other frame needs it.
    pub disposable: bool,
    /// When its last byte arrived at the ingest. A rendition's frame has that of the source frame it was made of.
    pub received: WallTime,
    /// The coded frame, as [`Sample::payload`]. Empty toward a worker: the frame is lost, the last picture is repeated.
    pub payload: Bytes,
}

impl Frame {
    /// A sample as it goes over the wire.
    pub fn of(sample: &Sample) -> Self {
        Self {
            track: sample.track,
            dts: sample.dts.ticks,
            pts: sample.pts.ticks,
            duration: sample.duration,
            sync: sample.sync,
            disposable: sample.disposable,
            received: sample.received,
            payload: sample.payload.clone(),
        }
    }

    /// The sample that it is on a track of this scale.
    pub fn sample(self, scale: Timescale) -> Sample {
        use aqueduct_common::MediaTime;
        Sample {
            track: self.track,
            dts: MediaTime::new(self.dts, scale),
            pts: MediaTime::new(self.pts, scale),
            duration: self.duration,
            sync: self.sync,
            disposable: self.disposable,
            payload: self.payload,
            received: self.received,
        }
    }
}

/// What one worker does, from its start to its end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// [`VERSION`] of the host.
    pub version: u16,
    /// How the renditions' frames lie on the timeline.
    pub mode: Mode,
    /// The pictures; `None` where only sound is encoded.
    pub video: Option<VideoJob>,
    /// The sound renditions; several may have the same source.
    pub audio: Vec<AudioJob>,
    /// Backends to try, in order.
    pub hardware: Chosen,
    /// Set for a worker that replaces another, in ticks of the source video: frames that come before are decoded (and
    /// encoders opened with the first picture), but make no frames. *Aligned*: the first frame whose decode time is at
    /// or after it is the first that counts, and an IDR in every rung; [`Order::Begin`] moves it, and
    /// [`HELD`] waits for that. *Regular*: slot 0 of the grid lies exactly here, so that the old grid goes on.
    pub resume: Option<i64>,
    /// A fault to act out, for tests.
    pub plant: Option<Plant>,
}

/// How the renditions' frames lie on the timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Mode {
    /// Each source frame gives one frame in every rung, with the same times; IDR where the source is sync.
    Aligned,
    /// A constant-rate grid from the first frame (or [`Job::resume`]) on.
    Regular {
        /// Spacing of the grid, in ticks.
        frame: u32,
        /// Ticks a second of the grid and of the rungs.
        timescale: u32,
        /// Frames from one IDR to the next.
        gop: u32,
    },
}

/// The pictures of a job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VideoJob {
    /// The source track.
    #[serde(with = "id")]
    pub source: TrackId,
    /// From top to bottom.
    pub rungs: Vec<Rung>,
}

/// One video rendition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rung {
    /// The rendition's number, from [`TrackId::FIRST_ENCODED`] on.
    #[serde(with = "id")]
    pub track: TrackId,
    /// Pixels across; even.
    pub width: u32,
    /// Pixels down; even.
    pub height: u32,
    /// Average bits a second to aim at.
    pub bitrate: u32,
    /// Most bits a second over the buffer: what the playlist advertises.
    pub peak: u32,
    /// The rate buffer (VBV), in milliseconds of `peak`.
    pub buffer_ms: u32,
    /// Every second frame only (AVP-26).
    pub half_rate: bool,
    /// What it is encoded with.
    pub codec: VideoCodec,
    /// How much effort goes into it.
    pub preset: Preset,
    /// Quality to stop at (capped CRF, AVP-40); `None` spends the whole bitrate.
    pub crf: Option<u8>,
}

/// One sound rendition, AAC-LC.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AudioJob {
    /// The source track.
    #[serde(with = "id")]
    pub source: TrackId,
    /// The rendition's number.
    #[serde(with = "id")]
    pub track: TrackId,
    /// Bits a second.
    pub bitrate: u32,
    /// Bring it to a loudness; `None` leaves levels alone.
    pub loudness: Option<Loudness>,
}

/// Where sound is brought to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Loudness {
    /// Integrated loudness to reach, in LUFS.
    pub target: f64,
    /// Most true peak, in dBTP.
    pub ceiling: f64,
}

/// A video codec that can be encoded to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VideoCodec {
    /// H.264 / AVC.
    H264,
    /// H.265 / HEVC.
    H265,
    /// AV1.
    Av1,
}

/// Encoding effort, in the words of x264; other encoders take what comes nearest. From fastest to slowest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// Least effort.
    Ultrafast,
    /// Little more.
    Superfast,
    /// The usual one for live.
    Veryfast,
    /// More.
    Faster,
    /// More still.
    Fast,
    /// Most that makes sense live.
    Medium,
}

impl Preset {
    const ALL: [Self; 6] =
        [Self::Ultrafast, Self::Superfast, Self::Veryfast, Self::Faster, Self::Fast, Self::Medium];

    /// x264's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ultrafast => "ultrafast",
            Self::Superfast => "superfast",
            Self::Veryfast => "veryfast",
            Self::Faster => "faster",
            Self::Fast => "fast",
            Self::Medium => "medium",
        }
    }

    /// One step less effort; `None` at the end.
    pub fn quicker(self) -> Option<Self> {
        Self::ALL.into_iter().rev().find(|preset| *preset < self)
    }

    /// One step more effort; `None` at the end.
    pub fn slower(self) -> Option<Self> {
        Self::ALL.into_iter().find(|preset| *preset > self)
    }
}

/// A change while a worker runs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// Stop making this rendition.
    Stop(#[serde(with = "id")] TrackId),
    /// Make it again, beginning with an IDR. *Aligned*: with the first frame whose decode time is at or after this, in
    /// ticks of the source video. *Regular*: at once.
    Start(#[serde(with = "id")] TrackId, i64),
    /// Aligned mode: frames whose decode time is before this, in ticks of the source video, make no frames. The first
    /// one behind is an IDR in every rung.
    Begin(i64),
    /// Say [`FromWorker::Echo`] when everything told before is decoded, and every encoder that was given a picture is
    /// open.
    Echo,
    /// Another effort for all rungs, from the next IDR on.
    Preset(Preset),
    /// Every second frame of a rung only (AVP-26), or all of them again, from the next IDR on. Nothing where the job left
    /// every second one out.
    HalfRate(#[serde(with = "id")] TrackId, bool),
    /// Another average bitrate for one rung, in bits a second, from the next IDR on.
    Bitrate(#[serde(with = "id")] TrackId, u32),
}

/// The part of the work that a backend does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Decoding.
    Decode,
    /// Encoding.
    Encode,
}

/// Another backend has taken over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fallback {
    /// What it was doing.
    pub stage: Stage,
    /// What failed.
    pub from: Backend,
    /// What goes on; `None` when nothing is left to try.
    pub to: Option<Backend>,
    /// The refusal, in words.
    pub reason: String,
}

/// What the last second cost.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// Source video frames taken in since the last report.
    pub frames_in: u64,
    /// Frames given out since then, over all rungs.
    pub frames_out: u64,
    /// Of these, repeats of a picture because the decoder gave none.
    pub repeated: u64,
    /// Time spent decoding since then.
    pub decode_micros: u64,
    /// Time spent scaling since then.
    pub scale_micros: u64,
    /// CPU time of the whole process since then, helpers of decoders and encoders included.
    pub cpu_micros: u64,
    /// Each rung that runs.
    pub rungs: Vec<RungReport>,
    /// Media that waits inside the worker, in milliseconds.
    pub backlog_ms: u32,
    /// What decodes, as libav calls it.
    pub decoder: String,
    /// What encodes, as libav calls it, in the order of the rungs.
    pub encoders: Vec<String>,
    /// Complexity of the pictures (AVP-40 b), where it is measured.
    pub complexity: Option<f32>,
    /// Each sound rendition whose levels are looked after.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sound: Vec<SoundReport>,
}

/// Levels of one sound rendition as a listener's decoder gives them, and what was done for them (AVP-11).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SoundReport {
    /// The rendition.
    #[serde(with = "id")]
    pub track: TrackId,
    /// Loudness since it began, gated, in LUFS; `None` of silence.
    pub integrated: Option<f64>,
    /// Loudness of the last three seconds, in LUFS.
    pub short_term: Option<f64>,
    /// Greatest true peak of the last second, in dBTP.
    pub true_peak: Option<f64>,
    /// Gain toward the target, in dB; 0 where no loudness was asked for.
    pub gain: f64,
    /// Most that the limiter turned down in the last second, in dB; 0 or more.
    pub reduction: f64,
}

/// One rung's last second.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RungReport {
    /// The rung.
    #[serde(with = "id")]
    pub track: TrackId,
    /// Frames encoded.
    pub frames: u64,
    /// Time spent encoding them.
    pub encode_micros: u64,
    /// 95th percentile of the time of one.
    pub encode_p95_micros: u64,
    /// Bits that came out.
    pub bits: u64,
    /// Mean quantiser, where the encoder says.
    pub mean_qp: Option<f32>,
}

/// A fault that a worker acts out, for tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plant {
    /// Source video frames that it takes in before.
    pub after_frames: u64,
    /// What it then does.
    pub fault: PlantedFault,
}

/// What a planted fault does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PlantedFault {
    /// Aborts the process, as a failed assertion in a codec does.
    Abort,
    /// Stops for good without giving anything out.
    Hang,
    /// Lets the encoder in use fail, so that the next backend has to take over.
    Fail,
    /// Tries to open a file, a socket and a program, and says as trouble how that went.
    Escape,
}
