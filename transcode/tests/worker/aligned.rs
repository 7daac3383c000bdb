//! Aligned mode: each source frame gives one frame in every rung, with the same times.

use aqueduct_common::{CodecConfig, TrackId};
use aqueduct_transcode::protocol::{Frame, ToWorker};
use bytes::Bytes;

use crate::support::clip::{self, Clip, Scratch};
use crate::support::job::{aligned, rung, three};
use crate::support::look;
use crate::support::worker::{Said, Worker, transcode};

/// Every rung has the source's decode times, durations and sync, and its presentation times in order.
fn assert_identical(said: &Said, clip: &Clip, rungs: &[u8]) {
    let mut pts: Vec<_> = clip.frames.iter().map(|frame| frame.pts).collect();
    pts.sort_unstable();
    for id in rungs {
        let got: Vec<_> = said.of(*id).iter().map(|f| (f.dts, f.pts, f.duration, f.sync)).collect();
        let want: Vec<_> =
            clip.frames.iter().zip(&pts).map(|(f, pts)| (f.dts, *pts, f.duration, f.sync)).collect();
        assert_eq!(got, want, "rung {id}");
        said.of(*id).into_iter().for_each(look::check_sample);
    }
}

fn repeated(said: &Said) -> u64 {
    said.reports.iter().map(|report| report.repeated).sum()
}

/// A frame that the host lost.
fn lost(frame: &Frame) -> Frame {
    Frame { payload: Bytes::new(), ..frame.clone() }
}

#[test]
fn three_rungs_come_out_of_one_source() {
    let clip = clip::small(3, &["-bf", "0"]);
    let said = transcode(&aligned(three()), &clip.track, &clip.frames);
    assert_identical(&said, &clip, &[16, 17, 18]);
    assert_eq!((said.troubles.len(), said.fallbacks.len(), repeated(&said)), (0, 0, 0));
    let dir = Scratch::new("three");
    for (id, width, height) in [(16, 320, 180), (17, 214, 120), (18, 160, 90)] {
        let track = said.track(id);
        let picture = track.codec.picture().unwrap();
        assert_eq!((picture.width, picture.height, picture.sar), (width, height, (1, 1)));
        let colour = picture.colour.unwrap();
        assert_eq!((colour.primaries, colour.transfer, colour.matrix, colour.full_range), (1, 1, 1, false));
        assert_eq!((track.id, track.timescale), (TrackId(id), clip.track.timescale));
        assert_eq!((track.grid, track.reorder_delay), (clip.track.grid, 0));
        assert_eq!(track.bandwidth, Some(u64::from(three()[usize::from(id) - 16].peak)));
        let raw = look::decode(track, &said.of(id), &dir.0);
        assert_eq!(raw.len(), 90 * (width * height * 3 / 2) as usize);
    }
    assert_eq!(said.reports.iter().map(|report| report.frames_in).sum::<u64>(), 90);
    assert_eq!(said.reports.iter().map(|report| report.frames_out).sum::<u64>(), 270);
}

#[test]
fn a_frame_goes_out_of_every_rung_before_the_next_one_comes() {
    let clip = clip::small(2, &["-bf", "0"]);
    let mut worker = Worker::start(&aligned(three()));
    worker.send(&ToWorker::Source(vec![clip.track.clone()]));
    for frame in &clip.frames {
        worker.send(&ToWorker::Frame(frame.clone()));
        let mut out: Vec<_> =
            (0..3).map(|_| worker.frame()).map(|frame| (frame.track.0, frame.dts)).collect();
        out.sort_unstable();
        assert_eq!(out, [(16, frame.dts), (17, frame.dts), (18, frame.dts)]);
    }
    worker.end().1.unwrap();
}

#[test]
fn b_frames_keep_the_delay_and_the_order_of_pictures() {
    for (bframes, pyramid) in [("1", "0"), ("2", "0"), ("3", "2")] {
        let clip =
            clip::small(3, &["-bf", bframes, "-x264-params", &format!("b-adapt=0:b-pyramid={pyramid}")]);
        assert!(clip.track.reorder_delay > 0);
        let said = transcode(&aligned(vec![rung(16, 320, 180, 800_000)]), &clip.track, &clip.frames);
        assert_identical(&said, &clip, &[16]);
        assert_eq!(repeated(&said), 0, "{bframes} B-frames");
        assert_eq!(said.track(16).reorder_delay, clip.track.reorder_delay);
        // Pictures stand where they belong: they are as near to the source's as the bitrate lets them be.
        let dir = Scratch::new(&format!("b{bframes}"));
        let raw = look::decode(said.track(16), &said.of(16), &dir.0);
        let mut source = clip.track.clone();
        source.id = TrackId(1);
        let original = look::decode(&source, &clip.frames.iter().collect::<Vec<_>>(), &dir.0);
        let psnr = look::psnr(&raw, &original, 320, 180);
        assert!(psnr > 30.0, "{psnr} dB with {bframes} B-frames");
    }
}

/// Times that say "no B-frames" with a bitstream that says otherwise: the decoder holds pictures back all the same.
#[test]
fn a_decoder_that_holds_back_more_than_times_say_is_waited_for() {
    let mut clip = clip::small(3, &["-bf", "2", "-x264-params", "b-adapt=0"]);
    for frame in &mut clip.frames {
        frame.pts = frame.dts;
    }
    clip.track.reorder_delay = 0;
    let said = transcode(&aligned(vec![rung(16, 320, 180, 800_000)]), &clip.track, &clip.frames);
    assert_identical(&said, &clip, &[16]);
    // By these times each third picture belongs before two that are shown before it.
    assert!(repeated(&said) < 40, "{} of 90 are repeats", repeated(&said));
}

#[test]
fn lost_frames_are_repeats_and_leave_no_hole() {
    for bframes in ["0", "2"] {
        let mut clip = clip::small(4, &["-bf", bframes]);
        let keys: Vec<_> = (0..clip.frames.len()).filter(|i| clip.frames[*i].sync).collect();
        assert_eq!(keys, [0, 30, 60, 90]);
        // To the next keyframe, as the host drops; a whole GOP with its keyframe; one alone.
        for index in (20..30).chain(60..90).chain([100]) {
            clip.frames[index] = lost(&clip.frames[index]);
        }
        let said = transcode(&aligned(three()), &clip.track, &clip.frames);
        assert_identical(&said, &clip, &[16, 17, 18]);
        assert!(repeated(&said) >= 41, "{}", repeated(&said));
    }
}

#[test]
fn nothing_decodable_still_fills_every_slot() {
    let mut clip = clip::small(2, &["-bf", "0"]);
    for frame in &mut clip.frames {
        frame.payload = Bytes::from(vec![0xff; 40]);
    }
    let said = transcode(&aligned(three()), &clip.track, &clip.frames);
    assert_identical(&said, &clip, &[16, 17, 18]);
    assert_eq!(repeated(&said), 60);
    let dir = Scratch::new("black");
    let raw = look::decode(said.track(16), &said.of(16), &dir.0);
    assert!(raw[..320 * 180].iter().all(|luma| *luma == 16), "black before the first picture");
}

#[test]
fn a_break_goes_on_elsewhere_on_the_timeline() {
    let clip = clip::small(2, &["-bf", "2"]);
    let mut worker = Worker::start(&aligned(three()));
    worker.send(&ToWorker::Source(vec![clip.track.clone()]));
    let moved: Vec<_> = clip
        .frames
        .iter()
        .map(|frame| Frame { dts: frame.dts + 1_000_000, pts: frame.pts + 1_000_000, ..frame.clone() })
        .collect();
    // The first part ends in the middle of a GOP.
    for frame in &clip.frames[..40] {
        worker.send(&ToWorker::Frame(frame.clone()));
    }
    worker.send(&ToWorker::Break);
    for frame in &moved {
        worker.send(&ToWorker::Frame(frame.clone()));
    }
    let (said, outcome) = worker.end();
    outcome.unwrap();
    for id in [16, 17, 18] {
        let got: Vec<_> = said.of(id).iter().map(|f| (f.dts, f.sync)).collect();
        let want: Vec<_> = clip.frames[..40].iter().chain(&moved).map(|f| (f.dts, f.sync)).collect();
        assert_eq!(got, want);
        said.track(id);
    }
}

#[test]
fn a_worker_that_replaces_another_begins_at_the_mark_and_with_the_same_parameters() {
    let clip = clip::small(4, &["-bf", "0"]);
    let first = transcode(&aligned(three()), &clip.track, &clip.frames);
    let mut job = aligned(three());
    job.resume = Some(clip.frames[60].dts);
    let second = transcode(&job, &clip.track, &clip.frames[30..]);
    for id in [16, 17, 18] {
        assert_eq!(first.track(id), second.track(id), "SPS and PPS stay the same (AVP-37)");
        let got: Vec<_> = second.of(id).iter().map(|f| f.dts).collect();
        let want: Vec<_> = clip.frames[60..].iter().map(|f| f.dts).collect();
        assert_eq!(got, want);
        assert!(second.of(id)[0].sync);
    }
}

#[test]
fn a_mark_that_finds_a_lost_keyframe_repeats_the_picture_before() {
    let mut clip = clip::small(2, &["-bf", "0"]);
    clip.frames[30] = lost(&clip.frames[30]);
    let mut job = aligned(vec![rung(16, 320, 180, 2_000_000)]);
    job.resume = Some(clip.frames[30].dts);
    let said = transcode(&job, &clip.track, &clip.frames[..31]);
    let frames = said.of(16);
    assert_eq!((frames.len(), frames[0].sync), (1, true));
    let dir = Scratch::new("mark");
    let raw = look::decode(said.track(16), &frames, &dir.0);
    let mut source = clip.track.clone();
    source.id = TrackId(1);
    let original = look::decode(&source, &clip.frames[..30].iter().collect::<Vec<_>>(), &dir.0);
    let last = &original[29 * 320 * 180 * 3 / 2..];
    assert!(look::psnr(&raw, last, 320, 180) > 30.0);
}

#[test]
fn half_rate_rungs_take_every_second_frame_with_twice_the_time() {
    let args = ["-preset", "veryfast", "-g", "60", "-bf", "0", "-pix_fmt", "yuv420p"];
    let clip = clip::synthetic("testsrc2=s=320x180:r=60", 60, 3, &args);
    let mut rungs = three();
    rungs[1].half_rate = true;
    rungs[2].half_rate = true;
    let said = transcode(&aligned(rungs), &clip.track, &clip.frames);
    assert_identical(&said, &clip, &[16]);
    for id in [17, 18] {
        let got: Vec<_> = said.of(id).iter().map(|f| (f.dts, f.pts, f.duration, f.sync)).collect();
        let want: Vec<_> =
            clip.frames.iter().step_by(2).map(|f| (f.dts, f.pts, f.duration * 2, f.sync)).collect();
        assert_eq!(got, want, "rung {id}");
        assert_eq!(said.track(id).grid.spacing().ticks, 2 * i64::from(clip.spacing));
    }
}

#[test]
fn half_rate_with_gops_of_odd_length_keeps_idrs_and_leaves_no_hole() {
    let args = ["-preset", "veryfast", "-g", "15", "-sc_threshold", "0", "-bf", "0", "-pix_fmt", "yuv420p"];
    let clip = clip::synthetic("testsrc2=s=320x180:r=60", 60, 1, &args);
    let mut half = rung(16, 160, 90, 200_000);
    half.half_rate = true;
    let said = transcode(&aligned(vec![half]), &clip.track, &clip.frames);
    let frames = said.of(16);
    let syncs: Vec<_> = frames.iter().filter(|f| f.sync).map(|f| f.dts).collect();
    let want: Vec<_> = clip.frames.iter().filter(|f| f.sync).map(|f| f.dts).collect();
    assert_eq!(syncs, want);
    for pair in frames.windows(2) {
        assert_eq!(pair[0].dts + i64::from(pair[0].duration), pair[1].dts);
    }
    let last = frames.last().unwrap();
    assert_eq!(last.dts + i64::from(last.duration), 60 * i64::from(clip.spacing));
}

#[test]
fn a_source_that_turns_stands_between_bars_and_rungs_keep_their_size() {
    let wide = clip::small(1, &["-bf", "0"]);
    let args = ["-preset", "veryfast", "-g", "30", "-bf", "0", "-pix_fmt", "yuv420p"];
    let mut tall = clip::synthetic("color=white:s=180x320:r=30", 30, 1, &args);
    for frame in &mut tall.frames {
        frame.dts += 90_000;
        frame.pts += 90_000;
    }
    let mut worker = Worker::start(&aligned(three()));
    for clip in [&wide, &tall] {
        worker.send(&ToWorker::Source(vec![clip.track.clone()]));
        clip.frames.iter().for_each(|frame| worker.send(&ToWorker::Frame(frame.clone())));
    }
    let (said, outcome) = worker.end();
    outcome.unwrap();
    assert!(said.fallbacks.is_empty() && said.troubles.is_empty());
    let dir = Scratch::new("turn");
    let track = said.track(16);
    let raw = look::decode(track, &said.of(16), &dir.0);
    assert_eq!(raw.len(), 60 * 320 * 180 * 3 / 2);
    let row = &raw[45 * 320 * 180 * 3 / 2 + 90 * 320..][..320];
    assert!(row[..100].iter().all(|luma| *luma < 30) && row[220..].iter().all(|luma| *luma < 30), "{row:?}");
    assert!(row[120..200].iter().all(|luma| *luma > 220), "{row:?}");
}

#[test]
fn parameter_sets_are_h264_high_with_one_sps() {
    let clip = clip::small(1, &["-bf", "0"]);
    let said = transcode(&aligned(three()), &clip.track, &clip.frames);
    let CodecConfig::H264(config) = &said.track(16).codec else { panic!() };
    assert_eq!((config.sps.len(), config.pps.len()), (1, 1));
    assert!(config.rfc6381().starts_with("avc1.64"), "{}", config.rfc6381());
    assert_eq!(config.picture.max_reorder, Some(0));
}
