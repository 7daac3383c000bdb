//! Jobs.

use aqueduct_common::TrackId;
use aqueduct_transcode::hardware::Chosen;
use aqueduct_transcode::protocol::{Job, Mode, Preset, Rung, VERSION, VideoCodec, VideoJob};

/// A rung with the usual settings.
pub fn rung(track: u8, width: u32, height: u32, bitrate: u32) -> Rung {
    Rung {
        track: TrackId(track),
        width,
        height,
        bitrate,
        peak: bitrate / 5 * 6,
        buffer_ms: 1_000,
        half_rate: false,
        codec: VideoCodec::H264,
        preset: Preset::Veryfast,
        crf: None,
    }
}

/// Three small rungs.
pub fn three() -> Vec<Rung> {
    vec![rung(16, 320, 180, 400_000), rung(17, 214, 120, 200_000), rung(18, 160, 90, 100_000)]
}

/// A job in aligned mode.
pub fn aligned(rungs: Vec<Rung>) -> Job {
    Job {
        version: VERSION,
        mode: Mode::Aligned,
        video: Some(VideoJob { source: TrackId::VIDEO, rungs }),
        audio: vec![],
        hardware: Chosen::default(),
        resume: None,
        plant: None,
    }
}

/// A job in regular mode at this rate, with a GOP of a second.
pub fn regular(rungs: Vec<Rung>, fps: u32) -> Job {
    Job { mode: Mode::Regular { frame: 90_000 / fps, timescale: 90_000, gop: fps }, ..aligned(rungs) }
}
