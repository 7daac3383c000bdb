//! Regular mode: a constant rate out of whatever comes.

use aqueduct_transcode::protocol::{Frame, Job, Rung, ToWorker};

use crate::support::clip::{self, Clip};
use crate::support::job::{regular, rung, three};
use crate::support::look;
use crate::support::worker::{Said, Worker, transcode};

fn assert_grid(said: &Said, id: u8, first: i64, count: usize, spacing: u32, gop: usize) {
    let got: Vec<_> = said.of(id).iter().map(|f| (f.dts, f.pts, f.duration, f.sync)).collect();
    let want: Vec<_> = (0..count)
        .map(|k| (first + k as i64 * i64::from(spacing), k))
        .map(|(dts, k)| (dts, dts, spacing, k % gop == 0))
        .collect();
    assert_eq!(got, want, "rung {id}");
    said.of(id).into_iter().for_each(look::check_sample);
}

#[test]
fn a_steady_source_with_b_frames_and_a_long_gop_gets_idrs_on_the_grid() {
    let clip = clip::small(4, &["-g", "1000", "-keyint_min", "1000", "-bf", "2"]);
    assert_eq!(clip.frames.iter().filter(|frame| frame.sync).count(), 1);
    let said = transcode(&regular(three(), 30), &clip.track, &clip.frames);
    for id in [16, 17, 18] {
        assert_grid(&said, id, clip.frames[0].pts, clip.frames.len(), 3_000, 30);
        assert_eq!(said.track(id).reorder_delay, 0);
    }
}

#[test]
fn a_variable_source_is_filled_and_thinned() {
    let clip = clip::small(4, &["-bf", "0", "-g", "1000"]);
    // Frames come at an uneven pace: gaps of up to 0.9 s, and bursts.
    let steps = [3_000i64, 1_000, 9_000, 500, 27_000, 3_000, 81_000, 3_000, 100, 6_000];
    let (mut at, mut frames) = (45_000, Vec::new());
    for (frame, step) in clip.frames.iter().zip(steps.iter().cycle()) {
        let duration = u32::try_from(*step).unwrap();
        frames.push(Frame { dts: at, pts: at, duration, ..frame.clone() });
        at += step;
    }
    let said = transcode(&regular(three(), 30), &clip.track, &frames);
    let last = frames.last().unwrap().pts;
    let count = usize::try_from((last - 45_000 + 1_500) / 3_000).unwrap() + 1;
    for id in [16, 17, 18] {
        assert_grid(&said, id, 45_000, count, 3_000, 30);
    }
}

#[test]
fn sixty_become_thirty_and_thirty_become_sixty() {
    let clip = clip::small(2, &["-bf", "0"]);
    let said = transcode(&regular(three(), 60), &clip.track, &clip.frames);
    assert_grid(&said, 16, 0, 119, 1_500, 60);
    let said = transcode(&regular(three(), 15), &clip.track, &clip.frames);
    // The last picture is as near to slot 30 as to slot 29.
    assert_grid(&said, 16, 0, 31, 6_000, 15);
}

#[test]
fn a_new_worker_goes_on_with_the_old_grid() {
    let clip = clip::small(3, &["-bf", "0", "-g", "1000"]);
    let job = Job { resume: Some(123_000), ..regular(three(), 30) };
    let said = transcode(&job, &clip.track, &clip.frames);
    for id in [16, 17, 18] {
        assert_grid(&said, id, 123_000, (270_000 - 123_000) / 3_000, 3_000, 30);
    }
}

#[test]
fn after_a_break_the_grid_begins_anew_with_an_idr() {
    let clip = clip::small(1, &["-bf", "0"]);
    let mut worker = Worker::start(&regular(three(), 30));
    worker.send(&ToWorker::Source(vec![clip.track.clone()]));
    clip.frames[..20].iter().for_each(|frame| worker.send(&ToWorker::Frame(frame.clone())));
    worker.send(&ToWorker::Break);
    for frame in &clip.frames {
        let moved = Frame { dts: frame.dts + 500_123, pts: frame.pts + 500_123, ..frame.clone() };
        worker.send(&ToWorker::Frame(moved));
    }
    let (said, outcome) = worker.end();
    outcome.unwrap();
    let frames = said.of(17);
    assert_eq!(frames.len(), 50);
    assert_eq!((frames[20].dts, frames[20].sync), (500_123, true));
}

#[test]
fn half_rate_rungs_lie_on_every_second_slot() {
    let clip = clip::small(2, &["-bf", "0"]);
    let half = Rung { half_rate: true, ..rung(17, 160, 90, 100_000) };
    let said = transcode(&regular(vec![rung(16, 320, 180, 400_000), half], 30), &clip.track, &clip.frames);
    assert_grid(&said, 16, 0, 60, 3_000, 30);
    assert_grid(&said, 17, 0, 30, 6_000, 15);
}

#[test]
fn fields_become_frames_where_the_grid_has_room() {
    let Clip { track, frames, .. } = interlaced();
    // 25 frames of two fields each: 50 pictures a second. The very last field has no successor to be joined with.
    let said = transcode(&regular(vec![rung(16, 320, 180, 400_000)], 50), &track, &frames);
    assert_grid(&said, 16, frames[0].pts, frames.len() * 2 - 1, 1_800, 50);
    assert!(said.reports.iter().map(|report| report.repeated).sum::<u64>() == 0);
}

/// A second of 25 interlaced frames of a ball that moves: the fields of a frame differ.
pub fn interlaced() -> Clip {
    let input = "testsrc2=s=320x192:r=50,tinterlace=interleave_top,fieldorder=tff";
    let args =
        ["-preset", "veryfast", "-g", "25", "-bf", "0", "-flags", "+ilme+ildct", "-pix_fmt", "yuv420p"];
    clip::synthetic(input, 25, 2, &args)
}
