//! What each encoder is told, for low latency and exact IDRs (AVP-28 to AVP-34): pure.

use ffmpeg_next::format::Pixel;

use super::bitstream::Framing;
use crate::hardware::Backend;
use crate::protocol::{Preset, Rung, VideoCodec};

/// One encoder's settings.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Settings {
    /// libav's name for the encoder.
    pub(super) name: &'static str,
    /// Its own options; those that it does not know are an error.
    pub(super) options: Vec<(&'static str, String)>,
    /// Options that only newer versions of it know.
    pub(super) wished: Vec<(&'static str, String)>,
    /// Where it reads its pictures.
    pub(super) memory: Memory,
    /// Layouts in memory that it takes; others are brought to the first.
    pub(super) formats: &'static [Pixel],
    /// Frames between key frames that nobody asked for.
    pub(super) gop: u32,
    /// Threads for the slices of one frame.
    pub(super) threads: u32,
    /// How its packets separate their units.
    pub(super) framing: Framing,
}

/// What an encoder takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Memory {
    /// From memory, or from its own device.
    Any,
    /// From surfaces of its device only.
    Surfaces,
}

/// Average, peak and buffer of a rung: bits a second, and bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Rates {
    /// Bits a second to aim at; 0 where a quality is aimed at.
    pub(super) average: u32,
    /// Most bits a second.
    pub(super) peak: u32,
    /// Bits of the buffer.
    pub(super) buffer: u32,
}

impl Rates {
    /// A rung's rates, at most `cap` bits a second. Never above its peak, which the playlist advertises (AVP-40).
    pub(super) fn of(rung: &Rung, cap: u32) -> Self {
        let peak = rung.peak.min(cap).max(1);
        // AV1's encoders take a peak beside an average only; the quality stops them all the same.
        let no_average = rung.crf.is_some() && rung.codec != VideoCodec::Av1;
        let average = if no_average { 0 } else { rung.bitrate.min(peak) };
        let buffer = u64::from(peak) * u64::from(rung.buffer_ms.max(1)) / 1_000;
        Self { average, peak, buffer: u32::try_from(buffer).unwrap_or(u32::MAX) }
    }
}

const PLANAR: &[Pixel] = &[Pixel::YUV420P];
const SEMI: &[Pixel] = &[Pixel::NV12];
const BOTH: &[Pixel] = &[Pixel::YUV420P, Pixel::NV12];

/// The settings of a rung on a backend; `None` where the backend has no encoder for the codec.
pub(super) fn settings(backend: Backend, rung: &Rung, threads: u32) -> Option<Settings> {
    match (backend, rung.codec) {
        (Backend::Software, VideoCodec::H264) => Some(x264(rung, threads)),
        (Backend::Software, VideoCodec::H265) => Some(x265(rung)),
        (Backend::Software, VideoCodec::Av1) => Some(aom(rung, threads)),
        (Backend::Nvidia, VideoCodec::H264) => Some(nvenc("h264_nvenc", rung)),
        (Backend::Nvidia, VideoCodec::H265) => Some(nvenc("hevc_nvenc", rung)),
        (Backend::Nvidia, VideoCodec::Av1) => Some(nvenc("av1_nvenc", rung)),
        (Backend::Vaapi, VideoCodec::H264) => Some(vaapi("h264_vaapi", rung)),
        (Backend::Vaapi, VideoCodec::H265) => Some(vaapi("hevc_vaapi", rung)),
        (Backend::Vaapi, VideoCodec::Av1) => Some(vaapi("av1_vaapi", rung)),
        (Backend::Qsv, VideoCodec::H264) => Some(qsv("h264_qsv", rung)),
        (Backend::Qsv, VideoCodec::H265) => Some(qsv("hevc_qsv", rung)),
        (Backend::Qsv, VideoCodec::Av1) => Some(qsv("av1_qsv", rung)),
        (Backend::VideoToolbox, VideoCodec::H264) => Some(toolbox("h264_videotoolbox", rung)),
        (Backend::VideoToolbox, VideoCodec::H265) => Some(toolbox("hevc_videotoolbox", rung)),
        (Backend::VideoToolbox, VideoCodec::Av1) => None,
    }
}

/// Threads for one frame of a rung: one, unless its pictures are large and there are cores to spare. More would cost
/// CPU (each slice breaks prediction) for time that is not short.
pub(super) fn threads(rung: &Rung, fps: (u32, u32), cores: usize) -> u32 {
    let per_second =
        u64::from(rung.width) * u64::from(rung.height) * u64::from(fps.0) / u64::from(fps.1.max(1));
    let slow = u64::from(rung.preset >= Preset::Faster) + 1;
    let wanted = (per_second * slow).div_ceil(1_280 * 720 * 65);
    u32::try_from(wanted).unwrap_or(1).clamp(1, u32::try_from(cores / 4).unwrap_or(1).clamp(1, 4))
}

fn text(options: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
    options.iter().map(|(key, value)| (*key, (*value).to_owned())).collect()
}

/// AVP-31. `stitchable` and settings that do not change keep SPS and PPS the same over restarts (AVP-37); `annexb=0`
/// makes it write the 4-byte lengths that samples have, so that its buffer goes out as it is.
fn x264(rung: &Rung, threads: u32) -> Settings {
    let sliced = u8::from(threads > 1);
    // What makes a stream High rather than Baseline: the fastest preset goes without, and a rung that changes its
    // preset keeps what CODECS says of it (CMAF-5).
    let params = format!(
        "annexb=0:keyint=infinite:scenecut=0:open-gop=0:bframes=0:stitchable=1:repeat-headers=0:nal-hrd=none:aud=0:\
         force-cfr=1:sliced-threads={sliced}:ipratio=1.3:8x8dct=1"
    );
    let mut options = text(&[
        ("preset", rung.preset.as_str()),
        ("tune", "zerolatency"),
        ("profile", "high"),
        ("forced-idr", "1"),
    ]);
    // Adaptive quantisation of dark and flat parts; the fastest preset goes without any.
    if rung.preset > Preset::Ultrafast {
        options.extend(text(&[("aq-mode", "2")]));
    }
    options.push(("x264-params", params));
    options.extend(rung.crf.map(|crf| ("crf", crf.to_string())));
    Settings {
        name: "libx264",
        options,
        wished: vec![],
        memory: Memory::Any,
        formats: BOTH,
        gop: 1 << 20,
        threads,
        framing: Framing::Lengths,
    }
}

/// AVP-34.
fn x265(rung: &Rung) -> Settings {
    let params = "keyint=-1:min-keyint=1:scenecut=0:open-gop=0:bframes=0:rc-lookahead=0:repeat-headers=0:hrd=0:aud=0:\
                  info=0:log-level=none:frame-threads=1:pools=none";
    let preset = rung.preset.as_str();
    let mut options =
        text(&[("preset", preset), ("tune", "zerolatency"), ("forced-idr", "1"), ("x265-params", params)]);
    options.extend(rung.crf.map(|crf| ("crf", crf.to_string())));
    Settings {
        name: "libx265",
        options,
        wished: vec![],
        memory: Memory::Any,
        formats: PLANAR,
        gop: 1 << 20,
        threads: 1,
        framing: Framing::Stream,
    }
}

/// libaom's realtime mode: no frames held back, key frames where they are forced.
fn aom(rung: &Rung, threads: u32) -> Settings {
    let speed = match rung.preset {
        // FFmpeg 5.1 refuses 9 and 10.
        Preset::Ultrafast | Preset::Superfast | Preset::Veryfast => "8",
        Preset::Faster | Preset::Fast => "7",
        Preset::Medium => "6",
    };
    let mut options = text(&[
        ("usage", "realtime"),
        ("cpu-used", speed),
        ("lag-in-frames", "0"),
        ("auto-alt-ref", "0"),
        ("row-mt", "1"),
        ("aq-mode", "3"),
        ("error-resilience", "0"),
        ("enable-palette", "0"),
    ]);
    options.extend(rung.crf.map(|crf| ("crf", (u32::from(crf) * 63 / 51).to_string())));
    Settings {
        name: "libaom-av1",
        options,
        wished: vec![],
        memory: Memory::Any,
        formats: PLANAR,
        gop: 1 << 20,
        threads,
        framing: Framing::Stream,
    }
}

/// AVP-32.
fn nvenc(name: &'static str, rung: &Rung) -> Settings {
    let preset = match rung.preset {
        Preset::Ultrafast | Preset::Superfast => "p2",
        Preset::Veryfast => "p3",
        Preset::Faster | Preset::Fast => "p4",
        Preset::Medium => "p5",
    };
    let mut options = text(&[
        ("preset", preset),
        ("tune", "ll"),
        ("rc", "vbr"),
        ("multipass", "qres"),
        ("zerolatency", "1"),
        ("delay", "0"),
        ("surfaces", "8"),
        ("forced-idr", "1"),
        ("no-scenecut", "1"),
        ("strict_gop", "1"),
        ("spatial-aq", "1"),
        ("b_ref_mode", "disabled"),
    ]);
    options.extend(rung.crf.map(|crf| ("cq", crf.to_string())));
    if name != "av1_nvenc" {
        options.extend(text(&[("aud", "0")]));
    }
    Settings {
        name,
        options,
        wished: vec![],
        memory: Memory::Any,
        formats: BOTH,
        gop: 1 << 20,
        threads: 1,
        framing: Framing::Stream,
    }
}

/// AVP-33. Its forced I frames are IDRs by `idr_interval` 0.
fn vaapi(name: &'static str, rung: &Rung) -> Settings {
    let rate = if rung.crf.is_some() { "QVBR" } else { "VBR" };
    let mut options = text(&[("rc_mode", rate), ("async_depth", "1"), ("idr_interval", "0")]);
    if name == "h264_vaapi" || name == "hevc_vaapi" {
        options.extend(text(&[("aud", "0"), ("sei", "0")]));
    }
    Settings {
        name,
        options,
        wished: vec![],
        memory: Memory::Surfaces,
        formats: SEMI,
        gop: 32_767,
        threads: 1,
        framing: Framing::Stream,
    }
}

/// AVP-33.
fn qsv(name: &'static str, rung: &Rung) -> Settings {
    let preset = match rung.preset {
        Preset::Ultrafast | Preset::Superfast | Preset::Veryfast => "veryfast",
        preset => preset.as_str(),
    };
    let options = text(&[("preset", preset), ("async_depth", "1"), ("forced_idr", "1")]);
    let wished = text(&[
        ("low_delay_brc", "1"),
        ("look_ahead", "0"),
        ("adaptive_i", "0"),
        ("adaptive_b", "0"),
        ("scenario", "livestreaming"),
        ("aud", "0"),
    ]);
    Settings {
        name,
        options,
        wished,
        memory: Memory::Any,
        formats: SEMI,
        gop: 32_767,
        threads: 1,
        framing: Framing::Stream,
    }
}

/// AVP-33.
fn toolbox(name: &'static str, _rung: &Rung) -> Settings {
    let options = text(&[("realtime", "1"), ("allow_sw", "0")]);
    let wished = text(&[("prio_speed", "1"), ("max_ref_frames", "1")]);
    Settings {
        name,
        options,
        wished,
        memory: Memory::Any,
        formats: BOTH,
        gop: 32_767,
        threads: 1,
        framing: Framing::Stream,
    }
}

#[cfg(test)]
mod tests {
    use aqueduct_common::TrackId;

    use super::*;

    fn rung(width: u32, height: u32) -> Rung {
        Rung {
            track: TrackId(16),
            width,
            height,
            bitrate: 2_000_000,
            peak: 2_400_000,
            buffer_ms: 1_000,
            half_rate: false,
            codec: VideoCodec::H264,
            preset: Preset::Veryfast,
            crf: None,
        }
    }

    #[test]
    fn rates_never_pass_the_peak() {
        let rates = Rates::of(&rung(1_280, 720), u32::MAX);
        assert_eq!(rates, Rates { average: 2_000_000, peak: 2_400_000, buffer: 2_400_000 });
        let capped = Rates::of(&rung(1_280, 720), 1_000_000);
        assert_eq!(capped, Rates { average: 1_000_000, peak: 1_000_000, buffer: 1_000_000 });
        let quality = Rates::of(&Rung { crf: Some(23), ..rung(1_280, 720) }, u32::MAX);
        assert_eq!((quality.average, quality.peak), (0, 2_400_000));
    }

    #[test]
    fn small_pictures_take_one_thread_and_large_ones_more_where_there_are_cores() {
        assert_eq!(threads(&rung(1_280, 720), (30, 1), 16), 1);
        assert_eq!(threads(&rung(1_920, 1_080), (60, 1), 2), 1);
        assert_eq!(threads(&rung(1_920, 1_080), (60, 1), 16), 3);
        assert_eq!(threads(&rung(1_920, 1_080), (30, 1), 16), 2);
    }
}
