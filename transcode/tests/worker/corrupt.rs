//! Hostile and broken bitstreams: no panic, no hang, no hole, and no half-decoded picture (AVP-18).

use aqueduct_transcode::protocol::Frame;
use bytes::Bytes;
use proptest::prelude::*;

use crate::support::clip::{self, Clip, Scratch, ffmpeg};
use crate::support::job::{aligned, regular, rung};
use crate::support::look;
use crate::support::worker::transcode;

/// Two seconds of the shared footage, small: real pictures, B-frames or not.
fn footage(bframes: &str) -> Clip {
    let scratch = Scratch::new(&format!("corrupt{bframes}"));
    let file = scratch.file("clip.flv").to_str().unwrap().to_owned();
    let input = clip::footage();
    ffmpeg(&[
        "-v",
        "error",
        "-i",
        input.to_str().unwrap(),
        "-t",
        "2",
        "-an",
        "-s",
        "320x180",
        "-c:v",
        "libx264",
        "-preset",
        "veryfast",
        "-g",
        "25",
        "-bf",
        bframes,
        "-f",
        "flv",
        &file,
    ]);
    clip::read_flv(&std::fs::read(&file).unwrap(), 25)
}

/// Flips one bit in each of some frames, lengths of NAL units included.
fn flipped(frames: &[Frame], flips: &[(usize, usize)]) -> Vec<Frame> {
    let mut frames = frames.to_vec();
    for (frame, bit) in flips {
        let index = frame % frames.len();
        let frame = &mut frames[index];
        let mut payload = frame.payload.to_vec();
        let bit = bit % (payload.len() * 8);
        payload[bit / 8] ^= 1 << (bit % 8);
        frame.payload = Bytes::from(payload);
    }
    frames
}

fn assert_no_hole(job: &aqueduct_transcode::protocol::Job, clip: &Clip, frames: &[Frame]) {
    let said = transcode(job, &clip.track, frames);
    let out = said.of(16);
    for frame in &out {
        look::check_sample(frame);
    }
    let times: Vec<_> = out.iter().map(|f| (f.dts, f.duration, f.sync)).collect();
    let want: Vec<_> = clip.frames.iter().map(|f| (f.dts, f.duration, f.sync)).collect();
    assert_eq!(times, want);
    assert!(out.windows(2).all(|pair| pair[0].pts < pair[1].pts));
}

#[test]
fn flipped_bits_leave_every_slot_filled() {
    let clips = [footage("0"), footage("2")];
    let job = aligned(vec![rung(16, 160, 90, 200_000)]);
    let strategy = prop::collection::vec((any::<usize>(), any::<usize>()), 1..40);
    let config = ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(flips in strategy, which in 0usize..2)| {
        let clip = &clips[which];
        assert_no_hole(&job, clip, &flipped(&clip.frames, &flips));
    });
}

#[test]
fn frames_cut_short_or_swapped_leave_every_slot_filled() {
    let clip = footage("2");
    let job = aligned(vec![rung(16, 160, 90, 200_000)]);
    let mut cut = clip.frames.clone();
    for frame in cut.iter_mut().step_by(3) {
        frame.payload.truncate(frame.payload.len() / 2 + 1);
    }
    assert_no_hole(&job, &clip, &cut);
    let mut swapped = clip.frames.clone();
    for index in (0..swapped.len() - 1).step_by(5) {
        let other = swapped[index + 1].payload.clone();
        swapped[index].payload = other;
    }
    assert_no_hole(&job, &clip, &swapped);
}

#[test]
fn flipped_bits_leave_a_regular_grid_without_a_hole() {
    let clip = footage("2");
    let job = regular(vec![rung(16, 160, 90, 200_000)], 25);
    for seed in 0..8usize {
        let flips: Vec<_> = (0..30).map(|i| (seed * 977 + i * 31, seed * 7_919 + i * 104_729)).collect();
        let said = transcode(&job, &clip.track, &flipped(&clip.frames, &flips));
        let out = said.of(16);
        assert!(out.len() + 3 >= clip.frames.len() && out.len() <= clip.frames.len() + 1, "{}", out.len());
        for (index, frame) in out.iter().enumerate() {
            look::check_sample(frame);
            assert_eq!(frame.dts, out[0].dts + index as i64 * 3_600);
            assert_eq!(frame.sync, index % 25 == 0);
        }
    }
}

/// A picture of which half is missing is not shown: the one before is, whole.
#[test]
fn a_half_decoded_picture_is_not_encoded() {
    let mut clip = footage("0");
    let whole = clip.frames.clone();
    for frame in clip.frames.iter_mut().skip(10).take(1) {
        frame.payload = {
            let cut = frame.payload.len() / 2;
            let mut payload = frame.payload[..cut].to_vec();
            // The unit's length agrees with what is left, so that only its slice data is short.
            let last = last_unit(&frame.payload);
            let length = u32::try_from(cut - last - 4).unwrap();
            payload[last..last + 4].copy_from_slice(&length.to_be_bytes());
            Bytes::from(payload)
        };
    }
    let job = aligned(vec![rung(16, 320, 180, 3_000_000)]);
    let said = transcode(&job, &clip.track, &clip.frames[..11]);
    assert!(said.reports.iter().map(|report| report.repeated).sum::<u64>() >= 1);
    let dir = Scratch::new("half-decoded");
    let raw = look::decode(said.track(16), &said.of(16), &dir.0);
    let mut source = clip.track.clone();
    source.id = aqueduct_common::TrackId(1);
    let original = look::decode(&source, &whole[..10].iter().collect::<Vec<_>>(), &dir.0);
    let size = 320 * 180 * 3 / 2;
    let psnr = look::psnr(&raw[10 * size..], &original[9 * size..], 320, 180);
    assert!(psnr > 30.0, "the repeat is {psnr} dB from the picture before");
}

/// Where the last NAL unit's length stands.
fn last_unit(payload: &[u8]) -> usize {
    let mut at = 0;
    loop {
        let length = u32::from_be_bytes(payload[at..at + 4].try_into().unwrap()) as usize;
        if at + 4 + length >= payload.len() {
            return at;
        }
        at += 4 + length;
    }
}
