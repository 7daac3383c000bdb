//! Bytes of the stream without a fault.

use aqueduct_common::WallTime;
use aqueduct_tests::bmff::put;

use super::{JUMP_AT, PARTS, Rendition};

/// 2025-11-20T10:20:00Z.
const EPOCH_MICROS: i64 = 1_763_634_000_000_000;
/// How far media time jumps.
const JUMP_SECONDS: u64 = 3;

/// Name of a part: one running counter per rendition.
pub fn part_name(msn: u64, part: u64) -> String {
    format!("p{}.m4s", msn * PARTS + part)
}

/// PROGRAM-DATE-TIME of a segment.
pub fn date(msn: u64) -> String {
    WallTime { micros: EPOCH_MICROS + (start_seconds(msn) as i64) * 1_000_000 }.rfc3339_millis()
}

/// Media time at which a segment's boundary lies.
fn start_seconds(msn: u64) -> u64 {
    9 + msn + if msn >= JUMP_AT { JUMP_SECONDS } else { 0 }
}

/// First access unit at or after a boundary, less half a unit, in units of 1 024 samples.
fn unit(msn: u64, part: u64) -> u64 {
    let samples = start_seconds(msn) * 48_000 + part * 9_600;
    (samples + 512).div_ceil(1_024) - 1
}

/// First unit of a part, and how many.
fn units(msn: u64, part: u64) -> (u64, u64) {
    let first = unit(msn, part);
    // Where time jumps, the segment ends at its own boundary and not at the next one's.
    let end = if part + 1 == PARTS && msn + 1 == JUMP_AT {
        (((start_seconds(msn) + 1) * 48_000) + 512).div_ceil(1_024) - 1
    } else if part + 1 == PARTS {
        unit(msn + 1, 0)
    } else {
        unit(msn, part + 1)
    };
    (first, end - first)
}

/// DURATION of a part.
pub fn part_seconds(rendition: Rendition, msn: u64, part: u64) -> f64 {
    match rendition {
        Rendition::Video | Rendition::Rung => 0.2,
        Rendition::Audio => units(msn, part).1 as f64 * 1_024.0 / 48_000.0,
    }
}

/// A part's bytes.
pub fn part(rendition: Rendition, msn: u64, index: u64) -> Vec<u8> {
    let mut out = Vec::new();
    if index == 0 {
        put(&mut out, b"styp", |out| out.extend_from_slice(b"msdh\0\0\0\0msdhcmfs"));
    }
    let samples: Vec<Sample> = match rendition {
        Rendition::Video | Rendition::Rung => {
            (0..5).map(|frame| video_sample(index == 0 && frame == 0)).collect()
        }
        Rendition::Audio => (0..units(msn, index).1).map(|_| audio_sample()).collect(),
    };
    let time = match rendition {
        Rendition::Video | Rendition::Rung => start_seconds(msn) * 90_000 + index * 18_000,
        Rendition::Audio => units(msn, index).0 * 1_024,
    };
    chunk(&mut out, (msn * PARTS + index) as u32, time, &samples);
    out
}

struct Sample {
    duration: u32,
    flags: u32,
    data: Vec<u8>,
}

fn video_sample(idr: bool) -> Sample {
    let (flags, nal) = if idr { (0x0200_0000, 0x65) } else { (0x0101_0000, 0x41) };
    Sample { duration: 3_600, flags, data: vec![0, 0, 0, 4, nal, 1, 2, 3] }
}

fn audio_sample() -> Sample {
    Sample { duration: 1_024, flags: 0x0200_0000, data: vec![0x21, 0x10, 0x04] }
}

fn chunk(out: &mut Vec<u8>, sequence: u32, time: u64, samples: &[Sample]) {
    let start = out.len();
    put(out, b"moof", |out| {
        put(out, b"mfhd", |out| full(out, 0, 0, &[sequence]));
        put(out, b"traf", |out| {
            put(out, b"tfhd", |out| full(out, 0, 0x02_0000, &[1]));
            put(out, b"tfdt", |out| full(out, 1, 0, &[(time >> 32) as u32, time as u32]));
            put(out, b"trun", |out| {
                full(out, 1, 0xf01, &[samples.len() as u32, 0]);
                for sample in samples {
                    words(out, &[sample.duration, sample.data.len() as u32, sample.flags, 0]);
                }
            });
        });
    });
    let offset = (out.len() - start + 8) as u32;
    // trun is moof's last box: its data offset stands before its samples.
    let at = out.len() - samples.len() * 16 - 4;
    out[at..at + 4].copy_from_slice(&offset.to_be_bytes());
    put(out, b"mdat", |out| samples.iter().for_each(|sample| out.extend_from_slice(&sample.data)));
}

fn words(out: &mut Vec<u8>, words: &[u32]) {
    words.iter().for_each(|word| out.extend_from_slice(&word.to_be_bytes()));
}

fn full(out: &mut Vec<u8>, version: u32, flags: u32, rest: &[u32]) {
    words(out, &[version << 24 | flags]);
    words(out, rest);
}

/// An init segment's bytes.
pub fn init(rendition: Rendition) -> Vec<u8> {
    let video = rendition != Rendition::Audio;
    let mut out = Vec::new();
    put(&mut out, b"ftyp", |out| out.extend_from_slice(b"iso6\0\0\0\0iso6cmfcmp41"));
    put(&mut out, b"moov", |out| {
        put(out, b"mvhd", |out| {
            full(out, 0, 0, &[0, 0, 1_000, 0, 0x1_0000, 0x0100_0000, 0, 0]);
            matrix(out);
            words(out, &[0, 0, 0, 0, 0, 0, 2]);
        });
        put(out, b"trak", |out| {
            put(out, b"tkhd", |out| {
                full(out, 0, 7, &[0, 0, 1, 0, 0, 0, 0, 0, if video { 0 } else { 0x0100_0000 }]);
                matrix(out);
                words(out, &if video { [640 << 16, 360 << 16] } else { [0, 0] });
            });
            put(out, b"mdia", |out| mdia(out, video));
        });
        put(out, b"mvex", |out| put(out, b"trex", |out| full(out, 0, 0, &[1, 1, 0, 0, 0])));
    });
    out
}

fn matrix(out: &mut Vec<u8>) {
    words(out, &[0x1_0000, 0, 0, 0, 0x1_0000, 0, 0, 0, 0x4000_0000]);
}

fn mdia(out: &mut Vec<u8>, video: bool) {
    put(out, b"mdhd", |out| full(out, 0, 0, &[0, 0, if video { 90_000 } else { 48_000 }, 0, 0x55c4_0000]));
    put(out, b"hdlr", |out| {
        full(out, 0, 0, &[0]);
        out.extend_from_slice(if video { b"vide" } else { b"soun" });
        out.extend_from_slice(&[0; 13]);
    });
    put(out, b"minf", |out| {
        if video {
            put(out, b"vmhd", |out| full(out, 0, 1, &[0, 0]));
        } else {
            put(out, b"smhd", |out| full(out, 0, 0, &[0]));
        }
        put(out, b"dinf", |out| {
            put(out, b"dref", |out| {
                full(out, 0, 0, &[1]);
                put(out, b"url ", |out| full(out, 0, 1, &[]));
            });
        });
        put(out, b"stbl", |out| {
            put(out, b"stsd", |out| {
                full(out, 0, 0, &[1]);
                if video { avc1(out) } else { mp4a(out) }
            });
            for kind in [b"stts", b"stsc"] {
                put(out, kind, |out| full(out, 0, 0, &[0]));
            }
            put(out, b"stsz", |out| full(out, 0, 0, &[0, 0]));
            put(out, b"stco", |out| full(out, 0, 0, &[0]));
        });
    });
}

fn avc1(out: &mut Vec<u8>) {
    put(out, b"avc1", |out| {
        words(out, &[0, 1, 0, 0, 0, 0, 640 << 16 | 360, 0x48_0000, 0x48_0000, 0]);
        out.extend_from_slice(&[0, 1]);
        out.extend_from_slice(&[0; 32]);
        out.extend_from_slice(&[0, 24, 0xff, 0xff]);
        put(out, b"avcC", |out| {
            out.extend_from_slice(&[1, 0x64, 0, 0x28, 0xff, 0xe1, 0, 4, 0x67, 0x64, 0, 0x28]);
            out.extend_from_slice(&[1, 0, 2, 0x68, 0xee, 0xfd, 0xf8, 0xf8, 0]);
        });
    });
}

fn mp4a(out: &mut Vec<u8>) {
    put(out, b"mp4a", |out| {
        words(out, &[0, 1, 0, 0, 2 << 16 | 16, 0, 48_000 << 16]);
        put(out, b"esds", |out| {
            full(out, 0, 0, &[]);
            out.extend_from_slice(&[
                3, 25, 0, 1, 0, 4, 17, 0x40, 0x15, 0, 0, 0, 0, 1, 0xf4, 0, 0, 1, 0xf4, 0,
            ]);
            out.extend_from_slice(&[5, 2, 0x11, 0x90, 6, 1, 2]);
        });
    });
}
