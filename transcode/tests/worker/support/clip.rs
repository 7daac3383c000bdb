//! H.264 samples as the ingest hands them on, made by the ffmpeg program and read from FLV.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

use aqueduct_common::codec::AvcConfig;
use aqueduct_common::codec::nal::{NalCodec, access_unit};
use aqueduct_common::track::Grid;
use aqueduct_common::{CodecConfig, MediaTime, Timescale, Track, TrackId, WallTime};
use aqueduct_transcode::protocol::Frame;
use bytes::Bytes;

/// A source: its track, and its frames on a fixed grid at 90 kHz.
#[derive(Clone)]
pub struct Clip {
    pub track: Track,
    pub frames: Vec<Frame>,
    /// Ticks of a frame.
    pub spacing: u32,
}

/// A directory of this test's own, gone with it.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("aqueduct-{name}-{}-{count}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The footage that tests share.
pub fn footage() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/media/bigbuckbunny.mp4")
}

/// Runs the ffmpeg program.
pub fn ffmpeg(args: &[&str]) -> String {
    let output = Command::new("ffmpeg").args(["-hide_banner", "-nostdin", "-y"]).args(args).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "ffmpeg {args:?}: {said}");
    said
}

/// A synthetic clip: `input` is a source of lavfi, `encode` are x264's arguments.
pub fn synthetic(input: &str, fps: u32, seconds: u32, encode: &[&str]) -> Clip {
    let scratch = Scratch::new("clip");
    let file = scratch.file("clip.flv");
    let (seconds, path) = (seconds.to_string(), file.to_str().unwrap().to_owned());
    let mut args = vec!["-v", "error", "-f", "lavfi", "-i", input, "-t", &seconds, "-an", "-c:v", "libx264"];
    args.extend(["-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709"]);
    args.extend(encode);
    args.extend(["-f", "flv", &path]);
    ffmpeg(&args);
    read_flv(&std::fs::read(&file).unwrap(), fps)
}

/// What `testsrc2` gives in 320×180 at 30 fps with a GOP of a second.
pub fn small(seconds: u32, encode: &[&str]) -> Clip {
    let mut all = vec!["-preset", "veryfast", "-g", "30", "-sc_threshold", "0", "-pix_fmt", "yuv420p"];
    all.extend(encode);
    synthetic("testsrc2=s=320x180:r=30", 30, seconds, &all)
}

/// Reads the H.264 of an FLV file; its milliseconds become the grid they stand for.
pub fn read_flv(data: &[u8], fps: u32) -> Clip {
    let spacing = 90_000 / fps;
    let (mut config, mut frames) = (None, Vec::new());
    let mut at = 13;
    while let Some(header) = data.get(at..at + 11) {
        let size = usize::from(header[1]) << 16 | usize::from(header[2]) << 8 | usize::from(header[3]);
        let body = &data[at + 11..at + 11 + size];
        at += 11 + size + 4;
        if header[0] != 9 || size < 5 || body[0] & 0xf != 7 {
            continue;
        }
        let payload = Bytes::copy_from_slice(&body[5..]);
        match body[1] {
            0 => config = Some(AvcConfig::parse(&payload).unwrap()),
            1 => frames.push(frame(&payload, &body[2..5], frames.len(), fps, spacing)),
            _ => {}
        }
    }
    let delay = frames.first().map_or(0, |frame: &Frame| frame.pts - frame.dts);
    let scale = Timescale::VIDEO;
    let track = Track {
        id: TrackId::VIDEO,
        codec: CodecConfig::H264(config.unwrap()),
        timescale: scale,
        grid: Grid::Fixed(MediaTime::new(spacing.into(), scale)),
        reorder_delay: delay,
        language: "und".into(),
        bandwidth: None,
    };
    Clip { track, frames, spacing }
}

fn frame(payload: &Bytes, offset: &[u8], index: usize, fps: u32, spacing: u32) -> Frame {
    let unit = access_unit(payload, 4, NalCodec::H264).unwrap();
    let millis = i64::from(offset[0]) << 16 | i64::from(offset[1]) << 8 | i64::from(offset[2]);
    let places = (millis * i64::from(fps) + 500) / 1_000;
    let dts = index as i64 * i64::from(spacing);
    Frame {
        track: TrackId::VIDEO,
        dts,
        pts: dts + places * i64::from(spacing),
        duration: spacing,
        sync: unit.sync,
        disposable: unit.disposable,
        received: WallTime { micros: index as i64 },
        payload: unit.payload,
    }
}
