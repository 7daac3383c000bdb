use std::time::Duration;

use aqueduct_common::event::{Alignment, GovernorStep, Transcode};
use aqueduct_common::feed::Absence;
use aqueduct_common::{Feed, Timescale, TrackId};

use super::bench::*;
use crate::config;
use crate::host::flow::Machine;
use crate::protocol::{Mode, ToWorker};

fn plans(bench: &Bench) -> Vec<(Alignment, bool, usize)> {
    let of = |event: &Transcode| match event {
        Transcode::Planned { alignment, passthrough, renditions, .. } => {
            Some((*alignment, *passthrough, renditions.len()))
        }
        _ => None,
    };
    bench.events.iter().filter_map(of).collect()
}

fn ids(bench: &Bench) -> Vec<u8> {
    bench.tracks_out().map(|set| set.tracks.iter().map(|track| track.id.0).collect()).unwrap_or_default()
}

#[test]
fn all_renditions_begin_in_one_track_set_once_the_second_keyframe_has_come() {
    let mut bench = Bench::new(settings(|_| {}));
    bench.tracks(vec![video(0), sound(1)]);
    bench.pictures(30);
    assert!(bench.published.is_empty(), "the interval of keyframes is not known yet");
    bench.pictures(2);
    assert!(matches!(bench.published.first(), Some(Feed::Tracks(_))));
    assert_eq!(ids(&bench), [0, 16, 17, 18, 1]);
    for rung in 16..=18 {
        let (of_rung, of_source) = (bench.samples(rung), bench.samples(0));
        assert_eq!(of_rung.len(), of_source.len());
        for (one, other) in of_rung.iter().zip(of_source) {
            assert_eq!(
                (one.dts, one.pts, one.duration, one.sync),
                (other.dts, other.pts, other.duration, other.sync)
            );
        }
    }
    let bandwidth = bench.tracks_out().unwrap().by_id(TrackId(16)).unwrap().bandwidth;
    assert!(bandwidth.is_some(), "the peak that the rung is held to");
}

#[test]
fn source_samples_go_on_in_the_call_that_brings_them() {
    let mut bench = Bench::running(settings(|_| {}));
    bench.worker.answers = false;
    for _ in 0..15 {
        let before = bench.samples(0).len();
        bench.picture();
        assert_eq!(bench.samples(0).len(), before + 1);
    }
}

#[test]
fn a_silent_worker_is_waited_for_three_seconds_and_joins_later_at_a_keyframe() {
    let mut bench = Bench::new(settings(|_| {}));
    bench.worker.answers = false;
    bench.tracks(vec![video(0), sound(1)]);
    bench.pictures(88);
    assert!(bench.published.is_empty());
    bench.pictures(4);
    assert_eq!(ids(&bench), [0, 1]);
    assert_eq!(bench.samples(0).len(), 92, "what was held came along");
    bench.worker.answers = true;
    bench.pictures(60);
    assert_eq!(ids(&bench), [0, 16, 17, 18, 1]);
    assert!(!bench.samples(16).is_empty());
    assert_eq!(bench.samples(0).len(), 152);
}

#[test]
fn what_no_browser_plays_is_encoded_and_never_goes_out_itself() {
    let mut bench = Bench::new(settings(|_| {}));
    bench.gop = 1;
    bench.tracks(vec![jpegs(0), sound(1)]);
    bench.pictures(90);
    assert_eq!(ids(&bench), [16, 17, 18, 19, 1]);
    assert!(bench.samples(0).is_empty() && !bench.samples(16).is_empty());
    // Its worker is lost and comes back.
    bench.worker_dies(aqueduct_common::event::WorkerLoss::Signal(9));
    bench.pictures(150);
    assert!(bench.samples(0).is_empty());
    let before = bench.samples(16).len();
    bench.pictures(30);
    assert!(bench.samples(16).len() > before);
}

#[test]
fn without_a_worker_its_sound_goes_out_and_pictures_follow_when_there_is_one() {
    let mut bench = Bench::new(settings(|_| {}));
    bench.gop = 1;
    bench.worker.answers = false;
    bench.tracks(vec![jpegs(0), sound(1)]);
    bench.pictures(320);
    assert_eq!(ids(&bench), [1]);
    bench.worker.answers = true;
    bench.pictures(200);
    assert_eq!(ids(&bench), [16, 17, 18, 19, 1]);
    // Pictures alone are waited for, and little is held meanwhile.
    let mut silent = Bench::new(settings(|_| {}));
    silent.gop = 1;
    silent.worker.answers = false;
    silent.tracks(vec![jpegs(0)]);
    for _ in 0..6_000 {
        silent.picture();
        silent.wait(FRAME);
    }
    assert!(silent.published.is_empty() && !silent.flow.gate.is_full());
    silent.worker.answers = true;
    // A worker that was lost so often is tried again every half a minute.
    for _ in 0..1_200 {
        silent.picture();
        silent.wait(FRAME);
    }
    assert_eq!(ids(&silent), [16, 17, 18, 19]);
}

#[test]
fn a_picture_that_costs_too_much_is_made_small_and_none_is_made_where_no_stream_may_be() {
    let mut bench = Bench::new(settings(|_| {}));
    bench.flow.machine(Machine { free: 1, ..Machine::default() });
    bench.gop = 1;
    bench.tracks(vec![jpegs(0), sound(1)]);
    bench.pictures(90);
    assert_eq!(ids(&bench), [19, 1]);
    let mut full = Bench::new(settings(|_| {}));
    full.flow.machine(Machine { full: true, ..Machine::default() });
    full.gop = 1;
    full.tracks(vec![jpegs(0), sound(1)]);
    full.pictures(90);
    assert_eq!(ids(&full), [1]);
    let reasons = full.events.iter().find_map(|event| match event {
        Transcode::Planned { reasons, .. } => Some(reasons.join("; ")),
        _ => None,
    });
    assert!(reasons.is_some_and(|reasons| reasons.contains("its pictures are left out")));
}

#[test]
fn keyframes_far_apart_make_rungs_of_their_own_and_leave_the_source_out() {
    let mut bench = Bench::new(settings(|_| {}));
    bench.gop = 250;
    bench.tracks(vec![video(0), sound(1)]);
    bench.pictures(100);
    assert_eq!(
        plans(&bench).iter().map(|plan| plan.0).collect::<Vec<_>>(),
        [Alignment::Aligned, Alignment::Regular]
    );
    assert!(matches!(bench.worker.job.as_ref().map(|job| job.mode), Some(Mode::Regular { .. })));
    assert_eq!((bench.starts, bench.dismissals), (2, 1));
    assert!(!ids(&bench).contains(&0) && ids(&bench).contains(&16) && ids(&bench).contains(&1));
    let first = bench.samples(16).first().map(|sample| (sample.dts.ticks / 3_000, sample.sync));
    assert!(
        first.is_some_and(|(at, sync)| (70..80).contains(&at) && sync),
        "at once where the source is: {first:?}"
    );
    assert!(bench.advice > 0, "the streamer can change it");
}

#[test]
fn a_source_that_comes_more_slowly_than_it_plays_is_judged_by_its_own_clock() {
    let mut bench = Bench::new(settings(|_| {}));
    bench.gop = 200;
    bench.tracks(vec![video(0)]);
    for _ in 0..110 {
        bench.picture();
        bench.wait(FRAME * 2);
    }
    assert!(!ids(&bench).is_empty() && !ids(&bench).contains(&0), "{:?}", ids(&bench));
    let aligned = bench
        .published
        .iter()
        .any(|message| matches!(message, Feed::Sample(sample) if sample.track == TrackId(0)));
    assert!(!aligned, "it was taken for one with keyframes near to each other");
    // One of which nothing more comes is not waited for without end.
    let mut bench = Bench::new(settings(|_| {}));
    bench.tracks(vec![video(0)]);
    bench.pictures(20);
    bench.wait(Duration::from_secs(9));
    bench.pictures(1);
    assert!(!ids(&bench).is_empty());
}

#[test]
fn keyframes_that_move_apart_for_good_change_the_ladder_and_one_long_interval_does_not() {
    let mut bench = Bench::running(settings(|_| {}));
    bench.gop = 120;
    bench.pictures(130);
    bench.gop = 30;
    bench.pictures(150);
    assert_eq!(plans(&bench).len(), 1);
    bench.gop = 120;
    bench.pictures(120 * 5);
    assert_eq!(plans(&bench).last().map(|plan| (plan.0, plan.1)), Some((Alignment::Regular, false)));
    assert!(!ids(&bench).contains(&0));
    bench.gop = 30;
    bench.pictures(30 * 30);
    assert_eq!(plans(&bench).last().map(|plan| (plan.0, plan.1)), Some((Alignment::Aligned, true)));
    assert!(ids(&bench).contains(&0));
}

/// Plays the first track and a further one, whose keyframes come `shift` frames after the first one's.
fn both(bench: &mut Bench, frames: i64, shift: i64) {
    for _ in 0..frames {
        let (at, n) = (bench.at, bench.at / 3_000);
        bench.pictures(1);
        let sync = (n - shift).rem_euclid(30) == 0;
        bench.sample(TrackId(2), Timescale::VIDEO, at, 3_000, sync);
    }
}

fn reasons(bench: &Bench) -> String {
    let of = |event: &Transcode| match event {
        Transcode::Planned { reasons, .. } => Some(reasons.join("; ")),
        _ => None,
    };
    bench.events.iter().rev().find_map(of).unwrap_or_default()
}

#[test]
fn a_further_track_is_a_rendition_as_long_as_its_keyframes_lie_where_the_first_one_s_do() {
    let mut bench = Bench::new(settings(|_| {}));
    bench.tracks(vec![video(0), video(2), sound(1)]);
    both(&mut bench, 200, 0);
    assert_eq!(ids(&bench), [0, 2, 16, 17, 18, 1]);
    assert!(!bench.samples(2).is_empty());
    both(&mut bench, 70, 7);
    assert_eq!(ids(&bench), [0, 16, 17, 18, 1]);
    assert!(
        reasons(&bench).contains("keyframes do not lie where the first track's do"),
        "{}",
        reasons(&bench)
    );
    let starts = bench.starts;
    both(&mut bench, 300, 0);
    assert_eq!((bench.starts, ids(&bench).contains(&2)), (starts, false), "it does not swing");
}

#[test]
fn a_further_track_with_other_keyframes_never_becomes_a_rendition() {
    let mut bench = Bench::new(settings(|_| {}));
    bench.tracks(vec![video(0), video(2), sound(1)]);
    both(&mut bench, 80, 15);
    assert_eq!(ids(&bench), [0, 16, 17, 18, 1]);
    assert_eq!(plans(&bench).last().map(|plan| plan.2), Some(3));
    assert!(bench.samples(2).is_empty());
}

#[test]
fn a_further_track_that_the_source_gives_up_is_replaced() {
    let mut bench = Bench::new(settings(|_| {}));
    bench.tracks(vec![video(0), video(2), sound(1)]);
    both(&mut bench, 200, 0);
    bench.source(Feed::Lost(TrackId(2), Absence::Shed));
    bench.pictures(40);
    assert_eq!(ids(&bench), [0, 16, 17, 18, 1]);
    assert!(reasons(&bench).contains("stopped coming"), "{}", reasons(&bench));
}

#[test]
fn a_source_that_loses_its_grid_gets_rungs_with_one_of_their_own_until_it_has_it_again() {
    let mut bench = Bench::running(settings(|_| {}));
    // Frames of two lengths, as when a capture falls behind; then one bad second, and good ones.
    let uneven = |bench: &mut Bench, seconds: i64| {
        for n in 0..seconds * 30 {
            let ticks = if n % 2 == 0 { 2_000 } else { 4_000 };
            bench.sample(TrackId::VIDEO, Timescale::VIDEO, bench.at, ticks, n % 30 == 0);
            bench.at += ticks;
            bench.wait(FRAME);
        }
        bench.gop = 30;
    };
    uneven(&mut bench, 1);
    bench.realign();
    bench.pictures(150);
    assert_eq!(plans(&bench).len(), 1, "one second is an exception");
    uneven(&mut bench, 5);
    assert_eq!(plans(&bench).last().map(|plan| (plan.0, plan.1)), Some((Alignment::Regular, false)));
    assert!(reasons(&bench).contains("frame rate varies"), "{}", reasons(&bench));
    bench.realign();
    bench.pictures(30 * 14);
    assert_eq!(plans(&bench).last().map(|plan| (plan.0, plan.1)), Some((Alignment::Aligned, true)));
}

#[test]
fn without_rungs_the_source_goes_on_untouched_and_no_worker_is_started() {
    let mut bench = Bench::new(settings(|_| {}));
    bench.tracks(vec![sound(1)]);
    assert_eq!(ids(&bench), [1]);
    assert_eq!(plans(&bench), [(Alignment::Untouched, true, 0)]);
    assert_eq!(bench.starts, 0);
}

#[test]
fn the_same_tracks_again_keep_the_worker_and_other_ones_get_another() {
    let mut bench = Bench::running(settings(|_| {}));
    bench.at += 90_000;
    bench.tracks(vec![video(0), sound(1)]);
    assert_eq!((bench.starts, ids(&bench).len()), (1, 5));
    assert!(bench.worker.told.iter().filter(|told| matches!(told, ToWorker::Source(_))).count() == 2);
    bench.pictures(40);
    bench.tracks(vec![video(0)]);
    bench.pictures(40);
    assert_eq!(ids(&bench), [0, 16, 17, 18]);
    assert_eq!(bench.starts, 2);
}

#[test]
fn a_machine_that_is_full_cuts_the_ladder_and_says_so() {
    let mut bench = Bench::new(settings(|_| {}));
    let machine = Machine { free: 30, ..Machine::default() };
    bench.flow.machine(machine);
    bench.tracks(vec![video(0), sound(1)]);
    bench.pictures(40);
    assert_eq!(ids(&bench), [0, 1]);
    let cut = |event: &&Transcode| matches!(event, Transcode::Governor { step: GovernorStep::Cut, .. });
    let Some(Transcode::Governor { reason, .. }) = bench.events.iter().find(cut) else { panic!("a cut") };
    assert!(reason.starts_with("3 rungs at preset veryfast would take about "), "{reason}");
    assert!(reason.ends_with(" and none is made"), "{reason}");
    assert_eq!(bench.starts, 0);
}

#[test]
fn a_cut_says_what_is_done_about_it() {
    let reason = |free| {
        let mut bench = Bench::new(settings(|_| {}));
        bench.flow.machine(Machine { free, ..Machine::default() });
        bench.tracks(vec![video(0), sound(1)]);
        let cut = |event: &Transcode| match event {
            Transcode::Governor { step: GovernorStep::Cut, reason } => Some(reason.clone()),
            _ => None,
        };
        bench.events.iter().find_map(cut).unwrap_or_default()
    };
    let (less, fewer) = (reason(210), reason(150));
    assert!(less.contains("all are made at preset ultrafast, for about 0.2 CPUs; "), "{less}");
    assert!(fewer.contains("the lower 2 are made, at preset ultrafast, for about 0.1 CPUs; "), "{fewer}");
    assert_eq!(reason(5_000), "");
}

#[test]
fn without_the_source_a_worker_that_never_comes_is_waited_for_longer_and_then_done_without() {
    let mut bench = Bench::new(settings(|config| config.passthrough = config::Passthrough::Never));
    bench.worker.answers = false;
    bench.tracks(vec![video(0), sound(1)]);
    bench.pictures(290);
    assert!(bench.published.is_empty());
    bench.pictures(30);
    assert_eq!(ids(&bench), [0, 1]);
    assert!(bench.samples(0).len() > 290);
    let reasons = bench.events.iter().rev().find_map(|event| match event {
        Transcode::Planned { reasons, .. } => Some(reasons.join(" ")),
        _ => None,
    });
    assert!(reasons.is_some_and(|reasons| reasons.contains("plays as it is")));
    bench.wait(Duration::from_secs(1));
}
