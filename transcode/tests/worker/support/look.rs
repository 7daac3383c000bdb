//! What is in a rendition's samples, by an independent decoder: the ffmpeg program.

use std::path::Path;

use aqueduct_common::codec::nal::Nals;
use aqueduct_common::{CodecConfig, Track};
use aqueduct_transcode::protocol::Frame;

use super::clip::ffmpeg;

/// NAL unit types of a sample.
pub fn kinds(frame: &Frame) -> Vec<u8> {
    Nals::new(&frame.payload, 4).map(|nal| nal.unwrap()[0] & 0x1f).collect()
}

/// Asserts that a sample is an IDR exactly where it says sync, and holds nothing that belongs elsewhere.
pub fn check_sample(frame: &Frame) {
    let kinds = kinds(frame);
    assert!(!kinds.is_empty());
    assert!(kinds.iter().all(|kind| matches!(kind, 1 | 5 | 6)), "{kinds:?}");
    assert_eq!(kinds.contains(&5), frame.sync, "{kinds:?} at {}", frame.dts);
    assert!(!(kinds.contains(&1) && kinds.contains(&5)), "{kinds:?}");
}

/// The rendition as an Annex B stream.
pub fn annex_b(track: &Track, frames: &[&Frame]) -> Vec<u8> {
    let CodecConfig::H264(config) = &track.codec else { panic!("{:?}", track.codec) };
    let mut out = Vec::new();
    for set in config.sps.iter().chain(&config.pps) {
        out.extend([0, 0, 0, 1]);
        out.extend_from_slice(set);
    }
    for frame in frames {
        for nal in Nals::new(&frame.payload, 4) {
            out.extend([0, 0, 0, 1]);
            out.extend_from_slice(&nal.unwrap());
        }
    }
    out
}

/// Decodes a rendition; gives its pictures in 8-bit planar 4:2:0, one after the other. An error of the decoder fails.
pub fn decode(track: &Track, frames: &[&Frame], dir: &Path) -> Vec<u8> {
    let (stream, raw) = (dir.join(format!("r{}.h264", track.id.0)), dir.join(format!("r{}.yuv", track.id.0)));
    std::fs::write(&stream, annex_b(track, frames)).unwrap();
    let said = ffmpeg(&[
        "-v",
        "warning",
        "-f",
        "h264",
        "-i",
        stream.to_str().unwrap(),
        "-fps_mode",
        "passthrough",
        "-f",
        "rawvideo",
        "-pix_fmt",
        "yuv420p",
        raw.to_str().unwrap(),
    ]);
    assert_eq!(
        said.replace("Timestamps are unset", "").lines().filter(|line| line.contains("rror")).count(),
        0,
        "{said}"
    );
    std::fs::read(&raw).unwrap()
}

/// Peak signal-to-noise ratio of luma over pictures of equal size, in dB.
pub fn psnr(a: &[u8], b: &[u8], width: usize, height: usize) -> f64 {
    assert_eq!(a.len(), b.len());
    let size = width * height * 3 / 2;
    let (mut sum, mut count) = (0u64, 0u64);
    for (a, b) in a.chunks_exact(size).zip(b.chunks_exact(size)) {
        for (a, b) in a[..width * height].iter().zip(&b[..width * height]) {
            sum += u64::from(a.abs_diff(*b)).pow(2);
            count += 1;
        }
    }
    10.0 * (255.0f64.powi(2) * count as f64 / sum.max(1) as f64).log10()
}
