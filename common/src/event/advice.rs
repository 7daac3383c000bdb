//! What a streamer is told to change.

use crate::track::TrackKind;

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
    /// A further track is left unused.
    UnusedTrack {
        /// Video or audio.
        kind: TrackKind,
        /// Its number, as the encoder gave it.
        number: u8,
        /// Why, and what to do.
        reason: &'static str,
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
    /// The source cannot be a rendition beside the others: its keyframes are farther apart than a segment is long.
    PassthroughKeyframes {
        /// How far, in milliseconds; at least that, where no second one has come.
        is_millis: u32,
        /// A segment's length, in milliseconds.
        segment_millis: u32,
    },
    /// A codec or packet type that is not known.
    UnknownCodec {
        /// Its FourCC or number.
        codec: String,
    },
    /// A source stands in for one that is preferred.
    OnBackup {
        /// The one on air.
        source: String,
        /// The preferred one.
        missing: String,
        /// The preferred one is connected, and not steady yet.
        returning: bool,
    },
    /// A source that is pulled does not play.
    SourceFails {
        /// Why, and what to do.
        problem: String,
    },
    /// Fewer frames come than the encoder means to send.
    LowFrameRate {
        /// Frames per 1 000 seconds that come.
        is_millifps: u32,
        /// Frames per 1 000 seconds that came before, or that are the least for moving pictures.
        should_millifps: u32,
    },
    /// The bitrate fell far below what it was.
    BitrateCollapse {
        /// What it is, in kilobits a second.
        is_kbps: u32,
        /// What it was, in kilobits a second.
        was_kbps: u32,
    },
    /// Nothing comes for a moment, again and again.
    UplinkStalls {
        /// Seconds between two such moments, as a rule.
        every_seconds: u32,
    },
    /// Sound and picture arrive apart.
    AudioOffset {
        /// How far audio leads, in milliseconds; negative when it lags.
        millis: i32,
    },
    /// Frames are missing between those that come.
    MissingFrames {
        /// Milliseconds of picture that were missing in the last ten seconds.
        millis: u32,
    },
    /// Media comes in bursts.
    UnevenArrival {
        /// How far apart the earliest and the latest frames come, in milliseconds.
        millis: u32,
    },
    /// Packets are lost on the way to this server.
    PacketLoss {
        /// How many of a thousand.
        permille: u32,
    },
    /// Timestamps stand still or step back.
    TimestampsBack {
        /// How often in the last minute.
        times: u32,
    },
    /// The source's clock runs faster or slower than time does.
    ClockDrift {
        /// How much faster, in millionths; negative when it is slower.
        ppm: i32,
    },
    /// The way to this server is long or crowded.
    LongRoundTrip {
        /// Round trip in milliseconds.
        millis: u32,
    },
    /// There is a sound track, and nothing is to be heard in it.
    Silence {
        /// For how long, in seconds.
        for_seconds: u32,
    },
    /// Nothing is to be seen: the picture is black, or of one colour.
    BlackPicture {
        /// For how long, in seconds.
        for_seconds: u32,
    },
    /// The picture stands still, which may be meant.
    FrozenPicture {
        /// For how long, in seconds.
        for_seconds: u32,
    },
}

impl Advice {
    /// It may be as it is meant to be: worth a look, and nothing to worry about.
    pub const fn is_hint(&self) -> bool {
        matches!(self, Self::FrozenPicture { .. })
    }

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
                 and AAC audio, or transcode.mode to \"auto\"."
            ),
            Self::ExtraTracks { kind, unused } => {
                format!(
                    "{unused} more {} track(s) came than are used: only the first one plays.",
                    kind.as_str()
                )
            }
            Self::UnusedTrack { kind, number, reason } => {
                format!("{} track {number} is not used: {reason}.", kind.as_str())
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
            Self::PassthroughKeyframes { is_millis, segment_millis } => format!(
                "Keyframes are {:.1} s apart, so the source cannot be played beside its renditions and is encoded as well: \
                 set Keyframe Interval to {:.0} s (OBS: Settings → Output → Streaming).",
                f64::from(*is_millis) / 1_000.0,
                (f64::from(*segment_millis) / 1_000.0).max(1.0).floor()
            ),
            Self::OnBackup { source, missing, returning: false } => format!(
                "{source} is on air because nothing comes of {missing}: check that encoder or camera and its network."
            ),
            Self::OnBackup { source, missing, returning: true } => format!(
                "{source} is on air, and {missing} sends again: it is put back on air once it has been steady for a while."
            ),
            Self::SourceFails { problem } => problem.clone(),
            Self::UnknownCodec { codec } => {
                format!("Codec {codec} is not known: set the encoder to H.264 or HEVC video and AAC audio.")
            }
            Self::LowFrameRate { is_millifps, should_millifps } => format!(
                "Only {:.0} frames a second come, and {:.0} should: the encoder cannot keep up. In OBS set a quicker CPU \
                 preset or a hardware encoder (Settings → Output), or a lower resolution (Settings → Video).",
                f64::from(*is_millifps) / 1_000.0,
                f64::from(*should_millifps) / 1_000.0
            ),
            Self::BitrateCollapse { is_kbps, was_kbps } => format!(
                "The bitrate fell from {was_kbps} to {is_kbps} kbit/s: unless the picture stands still, your uplink no longer \
                 carries it. Set Bitrate to {} kbit/s or less (OBS: Settings → Output), use a cable, or stop other uploads.",
                (is_kbps * 8 / 10).max(300) / 100 * 100
            ),
            Self::UplinkStalls { every_seconds } => format!(
                "Your uplink stalls about every {every_seconds} s: use a cable instead of Wi-Fi, stop other uploads, or \
                 lower Bitrate (OBS: Settings → Output)."
            ),
            Self::AudioOffset { millis } => {
                let lead = if *millis > 0 { "leads" } else { "lags" };
                format!(
                    "Audio {lead} by {} ms: set Sync Offset of your audio source to {} ms (OBS: Edit → Advanced Audio \
                     Properties).",
                    millis.unsigned_abs(),
                    -millis
                )
            }
            Self::MissingFrames { millis } => format!(
                "{millis} ms of picture were missing in the last 10 s: the encoder or the network drops frames. In OBS see \
                 Dropped Frames in View → Stats, and lower Bitrate or set a quicker CPU preset."
            ),
            Self::UnevenArrival { millis } => format!(
                "Pictures come up to {millis} ms late and then in a burst, so players must hold more: use a cable instead of \
                 Wi-Fi, stop other uploads, or lower Bitrate (OBS: Settings → Output)."
            ),
            Self::PacketLoss { permille } => format!(
                "{:.1} % of the packets are lost on the way to this server: use a cable instead of Wi-Fi, lower the bitrate, \
                 or give SRT a longer latency (four round trips), and cameras TCP.",
                f64::from(*permille) / 10.0
            ),
            Self::TimestampsBack { times } => format!(
                "Timestamps stood still or stepped back {times} times in the last minute and were put right: restart the encoder, and if it \
                 goes on, use one capture device for sound and picture."
            ),
            Self::ClockDrift { ppm } => format!(
                "The source's clock runs {:.2} % {}: sound and picture stay together, and players must catch up or wait. Set \
                 the same sample rate in the encoder and in the sound device (OBS: Settings → Audio), and see that the \
                 encoder keeps up.",
                f64::from(ppm.unsigned_abs()) / 10_000.0,
                if *ppm > 0 { "fast" } else { "slow" }
            ),
            Self::LongRoundTrip { millis } => format!(
                "The way to this server takes {millis} ms there and back: use a cable, a nearer server, or a lower Bitrate."
            ),
            Self::Silence { for_seconds } => format!(
                "Nothing was to be heard for {for_seconds} s: look whether the microphone is muted or another device is \
                 chosen (OBS: Audio Mixer)."
            ),
            Self::BlackPicture { for_seconds } => format!(
                "The picture has been black or empty for {for_seconds} s: look whether the right scene is chosen, its sources \
                 are shown, and nothing covers them (OBS: Scenes, Sources)."
            ),
            Self::FrozenPicture { for_seconds } => format!(
                "The picture has stood still for {for_seconds} s. If it is a slide or a title, all is well; if not, the camera \
                 or the capture hangs: switch that source off and on again (OBS: Sources)."
            ),
        }
    }
}
