//! What happens while renditions are made.

use serde::Serialize;

use crate::track::TrackId;

/// How renditions lie beside the source.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Alignment {
    /// Nothing is encoded: the stream is served as it comes.
    #[default]
    Untouched,
    /// The source is the top rendition, and each of its frames gives one in every rung, with the same times.
    Aligned,
    /// Rungs have a constant rate of their own, and the source is not among them.
    Regular,
}

impl Alignment {
    /// The metric label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Untouched => "untouched",
            Self::Aligned => "aligned",
            Self::Regular => "regular",
        }
    }
}

/// One rendition that is encoded.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Rendition {
    /// Its track's number.
    #[serde(serialize_with = "number")]
    pub track: TrackId,
    /// What it is called: `720p`, `audio 128k`.
    pub name: String,
    /// Pixels across and down; `None` for sound.
    pub size: Option<(u32, u32)>,
    /// Average bits a second that it aims at.
    pub bitrate: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn number<S: serde::Serializer>(track: &TrackId, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u8(track.0)
}

/// What a rendition is doing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RungState {
    /// Its encoder has not given anything yet.
    Starting,
    /// Samples come.
    Running,
    /// Its encoder failed and is being replaced.
    Lost,
    /// The machine cannot carry it.
    Shed,
    /// Nobody watches it.
    Asleep,
}

impl RungState {
    /// The metric label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Lost => "lost",
            Self::Shed => "shed",
            Self::Asleep => "asleep",
        }
    }
}

/// How a worker was lost.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize)]
#[serde(tag = "how", content = "number", rename_all = "kebab-case")]
pub enum WorkerLoss {
    /// It ended by itself, with this code.
    Exit(i32),
    /// A signal ended it: a crash, the kernel's memory limit, an operator.
    Signal(i32),
    /// It gave nothing out for too long while it was fed, and was ended.
    Hang,
    /// What it sent was no message of the protocol, and it was ended.
    Protocol,
    /// It could not be started, or did not become ready.
    Start,
}

impl WorkerLoss {
    /// The metric label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exit(_) => "exit",
            Self::Signal(_) => "signal",
            Self::Hang => "hang",
            Self::Protocol => "protocol",
            Self::Start => "start",
        }
    }
}

/// What the governor does about the load (AVP-35).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum GovernorStep {
    /// Less effort for all rungs.
    Quicker,
    /// More effort for all rungs.
    Slower,
    /// A rung is given up.
    Shed,
    /// A rung that was given up is made again.
    Restore,
    /// Every second frame of a rung is left out.
    Halve,
    /// A rung has all its frames again.
    Whole,
    /// It is too much, and nothing is left to give up.
    Spent,
    /// The stream begins with fewer rungs than its ladder has, or with none.
    Cut,
}

impl GovernorStep {
    /// The metric label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Quicker => "quicker",
            Self::Slower => "slower",
            Self::Shed => "shed",
            Self::Restore => "restore",
            Self::Halve => "halve",
            Self::Whole => "whole",
            Self::Spent => "spent",
            Self::Cut => "cut",
        }
    }
}

/// One second of one rung.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct RungTick {
    /// Its track's number.
    #[serde(serialize_with = "number")]
    pub track: TrackId,
    /// Frames encoded.
    pub frames: u64,
    /// Time spent encoding them, in microseconds.
    pub encode_micros: u64,
    /// 95th percentile of the time of one, in microseconds.
    pub encode_p95_micros: u64,
    /// Bits that came out.
    pub bits: u64,
    /// How much faster than real time its encoder is; `None` without frames.
    pub speed: Option<f64>,
    /// Mean quantiser, where the encoder says.
    pub mean_qp: Option<f32>,
}

/// One second of a stream's worker, as deltas and current readings.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct TranscodeTick {
    /// Source frames taken in.
    pub frames_in: u64,
    /// Frames given out, over all rungs.
    pub frames_out: u64,
    /// Frames that repeat a picture because none could be decoded.
    pub repeated: u64,
    /// Source frames that were not sent to the worker because it was behind.
    pub dropped: u64,
    /// Time spent decoding, in microseconds.
    pub decode_micros: u64,
    /// Time spent scaling, in microseconds.
    pub scale_micros: u64,
    /// Media on its way to the worker and waiting inside it, in milliseconds.
    pub backlog_millis: u32,
    /// Share of all CPUs that this stream's worker takes, 0 to 1.
    pub cpu_share: f64,
    /// Encoding effort, in the words of x264.
    pub preset: &'static str,
    /// What decodes.
    pub decoder: String,
    /// What encodes.
    pub encoders: Vec<String>,
    /// Each rung.
    pub rungs: Vec<RungTick>,
    /// Each sound rendition whose levels are looked after.
    pub sound: Vec<SoundTick>,
}

/// One second of one sound rendition: its levels as a listener hears them, and what was done for them.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct SoundTick {
    /// Its track's number.
    #[serde(serialize_with = "number")]
    pub track: TrackId,
    /// Loudness since it began, gated, in LUFS; `None` of silence.
    pub integrated: Option<f64>,
    /// Loudness of the last three seconds, in LUFS.
    pub short_term: Option<f64>,
    /// Greatest true peak of the last second, in dBTP.
    pub true_peak: Option<f64>,
    /// Gain toward the target loudness, in dB.
    pub gain: f64,
    /// Most that the limiter turned down, in dB.
    pub reduction: f64,
}

/// Something that happened while a stream's renditions are made.
#[derive(Clone, PartialEq, Debug)]
pub enum Transcode {
    /// What is made of the source has been decided, or decided anew.
    Planned {
        /// How.
        alignment: Alignment,
        /// The source itself is among the renditions.
        passthrough: bool,
        /// What is encoded, from top to bottom.
        renditions: Vec<Rendition>,
        /// Why it is so, in plain words: what was left out.
        reasons: Vec<String>,
    },
    /// A worker reads its first frame.
    WorkerStarted {
        /// Workers that this stream has lost before.
        lost_before: u32,
    },
    /// A worker is gone that was not asked to go.
    WorkerLost {
        /// How.
        cause: WorkerLoss,
        /// More of it, in words.
        detail: String,
        /// Since its last frame, in microseconds; `None` when it never gave one.
        last_frame_micros: Option<u64>,
        /// Until the next one is started, in microseconds.
        retry_micros: u64,
    },
    /// Another backend has taken over.
    Fallback {
        /// `decode` or `encode`.
        stage: &'static str,
        /// The backend that failed.
        from: &'static str,
        /// The one that goes on; `None` when nothing is left to try.
        to: Option<&'static str>,
        /// The refusal, in words.
        reason: String,
    },
    /// A rendition's state changed.
    Rung {
        /// Which.
        track: TrackId,
        /// To what.
        state: RungState,
        /// Why, in plain words; empty when it needs no reason.
        reason: String,
    },
    /// The governor acted.
    Governor {
        /// How.
        step: GovernorStep,
        /// Why, with figures.
        reason: String,
    },
    /// A second's figures.
    Tick(TranscodeTick),
    /// Nothing is encoded any more: the stream is over.
    Ended,
}
