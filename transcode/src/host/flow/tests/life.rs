use std::time::Duration;

use aqueduct_common::event::{RungState, Transcode, WorkerLoss};
use aqueduct_common::feed::{Absence, Break};
use aqueduct_common::{Feed, MediaTime, TrackId};

use super::bench::*;
use crate::config::{self, OnFailure};
use crate::hardware::Backend;
use crate::host::supervise::Pulse;
use crate::protocol::{Fallback, FromWorker, HELD, Order, Plant, PlantedFault, Stage, ToWorker, VERSION};

fn lost(bench: &Bench) -> Vec<(u8, Absence)> {
    let of = |message: &Feed| match message {
        Feed::Lost(track, absence) => Some((track.0, *absence)),
        _ => None,
    };
    bench.published.iter().filter_map(of).collect()
}

#[test]
fn a_lost_worker_costs_its_rungs_a_gap_and_the_source_nothing() {
    let mut bench = Bench::running(settings(|_| {}));
    bench.pictures(10);
    bench.worker_dies(WorkerLoss::Signal(9));
    assert_eq!(lost(&bench), [(16, Absence::Failed), (17, Absence::Failed), (18, Absence::Failed)]);
    let loss = bench.events.iter().find_map(|event| match event {
        Transcode::WorkerLost { cause, last_frame_micros, retry_micros, .. } => {
            Some((*cause, *last_frame_micros, *retry_micros))
        }
        _ => None,
    });
    assert_eq!(loss, Some((WorkerLoss::Signal(9), Some(33_333), 0)));
    let (source, rung) = (bench.samples(0).len(), bench.samples(16).len());
    bench.pictures(31);
    assert_eq!(bench.samples(0).len(), source + 31, "the source does not notice");
    let back = bench.samples(16)[rung];
    assert!(back.sync && back.dts == bench.samples(0)[source].dts, "with the next frame there is");
    assert_eq!(returns(&bench), [16, 17, 18].map(|track| (track, back.pts)), "and it is told before");
    assert_eq!(bench.states(16), [RungState::Running, RungState::Lost, RungState::Running]);
    assert_eq!(bench.tracks_out().map(|set| set.tracks.len()), Some(5), "the same set as before");
    let resume = bench.worker.job.as_ref().and_then(|job| job.resume);
    assert_eq!(resume, Some(HELD));
}

/// What was said to go on, and where.
fn returns(bench: &Bench) -> Vec<(u8, MediaTime)> {
    let of = |message: &Feed| match message {
        Feed::Returns(track, at) => Some((track.0, *at)),
        _ => None,
    };
    bench.published.iter().filter_map(of).collect()
}

#[test]
fn a_worker_that_comes_up_slowly_begins_with_the_frame_that_is_next_then() {
    let mut bench = Bench::running(settings(|_| {}));
    bench.pictures(10);
    bench.worker.answers = false;
    bench.worker_dies(WorkerLoss::Signal(9));
    bench.pictures(12);
    assert!(returns(&bench).is_empty(), "gaps are told in step while it comes up");
    let (source, rung) = (bench.samples(0).len(), bench.samples(16).len());
    bench.worker_says(FromWorker::Ready { version: VERSION });
    bench.worker_says(FromWorker::Echo);
    let at = bench.samples(0)[source - 1].end();
    assert_eq!(returns(&bench), [16, 17, 18].map(|track| (track, at)));
    assert!(bench.worker.told.contains(&ToWorker::Order(Order::Begin(at.ticks))));
    // A frame of before that is of no use.
    let job = bench.worker.job.clone().unwrap();
    let told = |told: &ToWorker| match told {
        ToWorker::Frame(frame) => Some(frame.clone()),
        _ => None,
    };
    let frames: Vec<_> = bench.worker.told.iter().filter_map(told).collect();
    bench.answer(&job, frames.last().unwrap());
    bench.act();
    assert_eq!(bench.samples(16).len(), rung);
    bench.worker.answers = true;
    bench.pictures(1);
    assert_eq!(bench.samples(16)[rung].dts, at);
    bench.worker_says(FromWorker::Echo);
    assert_eq!(returns(&bench).len(), 3, "an echo that nobody asked for says nothing");
}

#[test]
fn without_a_keyframe_that_is_held_rungs_begin_with_the_next_one() {
    let mut bench = Bench::running(settings(|_| {}));
    bench.flow.replay.clear();
    bench.worker_dies(WorkerLoss::Signal(9));
    let rung = bench.samples(16).len();
    bench.pictures(31);
    let back = bench.samples(16)[rung];
    assert!(bench.samples(0).iter().any(|sample| sample.sync && sample.dts == back.dts));
    assert_eq!(returns(&bench), [16, 17, 18].map(|track| (track, back.pts)));
}

#[test]
fn one_that_is_stopped_is_told_from_one_that_is_slow() {
    for (pulse, most) in [(Pulse::Stopped, 450), (Pulse::Busy, 1_100)] {
        let mut bench = Bench::running(settings(|_| {}));
        (bench.worker.answers, bench.worker.pulse) = (false, pulse);
        let begin = bench.now;
        while bench.kills.is_empty() {
            bench.pictures(1);
        }
        let took = bench.now.duration_since(begin);
        assert!(took <= Duration::from_millis(most), "{pulse:?}: {took:?}");
    }
}

#[test]
fn a_hole_before_an_idr_is_told_as_what_it_is() {
    let mut bench = Bench::running(settings(|_| {}));
    bench.worker.answers = false;
    bench.pictures(3);
    let told = |told: &ToWorker| match told {
        ToWorker::Frame(frame) if frame.track == TrackId::VIDEO => Some(frame.clone()),
        _ => None,
    };
    let frame = bench.worker.told.iter().filter_map(told).next_back().unwrap();
    let payload = bytes::Bytes::from_static(b"rung");
    let frame = crate::protocol::Frame { track: TrackId(17), sync: true, payload, ..frame };
    let at = MediaTime::new(frame.dts, aqueduct_common::Timescale::VIDEO);
    bench.worker_says(FromWorker::Frame(frame));
    assert_eq!((returns(&bench), lost(&bench)), (vec![(17, at)], vec![]));
    assert_eq!(bench.samples(17).last().map(|sample| sample.dts), Some(at));
}

#[test]
fn a_worker_that_gives_nothing_is_killed_and_replaced_within_two_seconds() {
    let mut bench = Bench::running(settings(|_| {}));
    bench.pictures(5);
    bench.worker.answers = false;
    let (begin, rung) = (bench.now, bench.samples(16).len());
    while bench.kills.is_empty() {
        bench.pictures(1);
    }
    assert_eq!(bench.kills, [WorkerLoss::Hang]);
    assert!(bench.now.duration_since(begin) < Duration::from_millis(800));
    bench.worker.answers = true;
    bench.worker_says(FromWorker::Ready { version: VERSION });
    bench.worker_says(FromWorker::Echo);
    bench.pictures(1);
    assert_eq!(bench.samples(16).len(), rung + 1, "with the next frame");
    assert!(bench.now.duration_since(begin) < Duration::from_secs(1));
}

#[test]
fn while_a_worker_is_behind_its_frames_lose_their_payload_and_the_count_is_told() {
    let mut bench = Bench::running(settings(|_| {}));
    bench.worker.answers = false;
    bench.worker.told.clear();
    bench.pictures(19);
    let empty = |told: &&ToWorker| matches!(told, ToWorker::Frame(frame) if frame.payload.is_empty());
    let thinned = bench.worker.told.iter().filter(empty).count();
    assert!((2..8).contains(&thinned), "{thinned} of 19, beyond half a second");
    assert_eq!(bench.samples(0).len(), 89);
    bench.worker_says(FromWorker::Report(crate::protocol::Report::default()));
    let dropped = bench.events.iter().find_map(|event| match event {
        Transcode::Tick(tick) => Some(tick.dropped),
        _ => None,
    });
    assert_eq!(dropped, Some(thinned as u64));
}

#[test]
fn what_a_worker_still_gives_of_an_old_era_is_dropped() {
    let mut bench = Bench::running(settings(|_| {}));
    bench.worker.answers = false;
    bench.pictures(3);
    let late: Vec<_> = bench.worker.told.iter().rev().take(2).cloned().collect();
    bench.interrupt(90);
    let job = bench.worker.job.clone().unwrap();
    let count = bench.samples(16).len();
    for told in late.into_iter().rev() {
        let ToWorker::Frame(frame) = told else { continue };
        bench.answer(&job, &frame);
    }
    bench.act();
    assert_eq!(bench.samples(16).len(), count, "late frames of before the break");
    bench.worker.answers = true;
    bench.pictures(5);
    let rung = bench.samples(16)[count];
    assert!(rung.sync && rung.dts == bench.samples(0)[bench.samples(0).len() - 5].dts);
    assert!(bench.worker.told.contains(&ToWorker::Break));
}

#[test]
fn where_a_rung_is_the_reference_its_loss_is_a_break_once_it_goes_on() {
    let mut bench = Bench::running(settings(|config| config.passthrough = config::Passthrough::Never));
    assert_eq!(bench.tracks_out().and_then(|set| set.reference().map(|track| track.id)), Some(TrackId(16)));
    bench.worker_dies(WorkerLoss::Signal(6));
    bench.pictures(45);
    let breaks = |message: &&Feed| matches!(message, Feed::Discontinuity(Break::Encoder));
    assert_eq!(bench.published.iter().filter(breaks).count(), 1);
    assert!(bench.samples(16).len() > 80);
}

#[test]
fn rungs_that_come_before_the_reference_wait_for_its_break() {
    let mut bench = Bench::running(settings(|config| config.passthrough = config::Passthrough::Never));
    bench.worker.upwards = true;
    bench.worker_dies(WorkerLoss::Signal(6));
    bench.published.clear();
    bench.pictures(32);
    let order: Vec<_> = bench
        .published
        .iter()
        .filter_map(|message| match message {
            Feed::Discontinuity(_) => Some(0),
            Feed::Sample(sample) if sample.track.0 >= 16 => Some(sample.track.0),
            _ => None,
        })
        .collect();
    assert_eq!(order[..3], [0, 16, 19]);
    assert_eq!(
        bench.samples(19).first().map(|sample| sample.dts),
        bench.samples(16).first().map(|sample| sample.dts)
    );
}

#[test]
fn another_version_and_tracks_that_cannot_be_are_not_trusted() {
    let mut bench = Bench::new(settings(|_| {}));
    bench.worker.answers = false;
    bench.tracks(vec![video(0), sound(1)]);
    bench.pictures(1);
    bench.worker_says(FromWorker::Ready { version: VERSION + 1 });
    assert_eq!(bench.kills, [WorkerLoss::Start]);
    bench.worker_says(FromWorker::Ready { version: VERSION });
    bench.worker_says(FromWorker::Track(sound(16)));
    assert_eq!(bench.kills, [WorkerLoss::Start, WorkerLoss::Protocol]);
    bench.wait(Duration::from_millis(300));
    bench.worker_says(FromWorker::Track(video(40)));
    assert_eq!(bench.kills.len(), 3, "a track that nobody asked for");
}

#[test]
fn a_rung_with_other_parameters_is_announced_alone() {
    let mut bench = Bench::running(settings(|_| {}));
    let mut other = video(17);
    if let aqueduct_common::CodecConfig::H264(config) = &mut other.codec {
        config.picture.frame_rate = None;
        config.picture.width = 854;
    }
    bench.worker.answers = false;
    bench.worker_says(FromWorker::Track(other.clone()));
    let changed = |message: &&Feed| matches!(message, Feed::Changed(track) if track.id == TrackId(17));
    assert_eq!(bench.published.iter().filter(changed).count(), 1);
}

#[test]
fn a_planted_fault_strikes_the_first_worker_alone() {
    let plant = Plant { after_frames: 40, fault: PlantedFault::Abort };
    let mut bench = Bench::running(crate::host::Settings { plant: Some(plant), ..settings(|_| {}) });
    assert_eq!(bench.worker.job.as_ref().and_then(|job| job.plant), Some(plant));
    bench.worker_dies(WorkerLoss::Signal(6));
    assert_eq!(bench.worker.job.as_ref().and_then(|job| job.plant), None);
}

fn fall_back(bench: &mut Bench) {
    let (from, to) = (Backend::Nvidia, Some(Backend::Software));
    let fallback = Fallback { stage: Stage::Encode, from, to, reason: "no session".into() };
    bench.worker_says(FromWorker::Fallback(fallback));
}

#[test]
fn a_fallback_does_what_the_policy_says() {
    let mut software = Bench::running(settings(|_| {}));
    fall_back(&mut software);
    software.pictures(35);
    assert!(lost(&software).is_empty());

    let mut fewer = Bench::running(settings(|config| config.on_failure = OnFailure::FewerRungs));
    fall_back(&mut fewer);
    assert_eq!(lost(&fewer), [(16, Absence::Shed)]);

    let mut alone = Bench::running(settings(|config| config.on_failure = OnFailure::Passthrough));
    fall_back(&mut alone);
    alone.pictures(35);
    let ids: Vec<_> = alone.tracks_out().unwrap().tracks.iter().map(|track| track.id.0).collect();
    assert_eq!((ids, alone.dismissals), (vec![0, 1], 1));
    alone.pictures(400);
    assert_eq!(alone.starts, 1, "it stays so");
}
