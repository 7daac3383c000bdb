use std::time::Duration;

use aqueduct_common::event::{GovernorStep, RungState, Transcode};
use aqueduct_common::feed::Absence;
use aqueduct_common::track::Grid;
use aqueduct_common::{Feed, MediaTime, Timescale, TrackId};

use super::bench::*;
use crate::config::{Demand, Passthrough, RungByHand};
use crate::host::flow::Machine;
use crate::protocol::{FromWorker, Order, Preset, Report, RungReport, ToWorker};

/// A second in which each frame took this long to encode.
fn report(micros: u64) -> FromWorker {
    let rungs = (16..=18).map(|track| RungReport {
        track: TrackId(track),
        frames: 30,
        encode_micros: micros * 30,
        encode_p95_micros: micros,
        bits: 1,
        mean_qp: None,
    });
    FromWorker::Report(Report { rungs: rungs.collect(), ..Report::default() })
}

fn seconds(bench: &mut Bench, count: u32, micros: u64) {
    for _ in 0..count {
        bench.pictures(30);
        bench.worker_says(report(micros));
    }
}

fn orders(bench: &Bench) -> Vec<Order> {
    let of = |told: &ToWorker| match told {
        ToWorker::Order(order) => Some(*order),
        _ => None,
    };
    bench.worker.told.iter().filter_map(of).collect()
}

fn steps(bench: &Bench) -> Vec<GovernorStep> {
    let of = |event: &Transcode| match event {
        Transcode::Governor { step, .. } => Some(*step),
        _ => None,
    };
    bench.events.iter().filter_map(of).collect()
}

#[test]
fn load_takes_effort_away_then_the_rung_that_the_fewest_watch_and_room_brings_it_back() {
    let mut bench = Bench::running(settings(|_| {}));
    bench.flow.watched(TrackId(16), 9, bench.now);
    bench.flow.watched(TrackId(18), 2, bench.now);
    seconds(&mut bench, 9, 40_000);
    assert_eq!(
        orders(&bench),
        [Order::Preset(Preset::Superfast), Order::Preset(Preset::Ultrafast), Order::Stop(TrackId(17))]
    );
    assert_eq!(steps(&bench), [GovernorStep::Quicker, GovernorStep::Quicker, GovernorStep::Shed]);
    assert!(bench.published.iter().any(|message| matches!(message, Feed::Lost(TrackId(17), Absence::Shed))));
    let given = bench.samples(17).len();
    seconds(&mut bench, 30, 2_000);
    assert!(matches!(orders(&bench).last(), Some(Order::Start(TrackId(17), _))));
    seconds(&mut bench, 2, 2_000);
    assert!(bench.samples(17).len() > given);
    seconds(&mut bench, 70, 2_000);
    assert_eq!(orders(&bench).last(), Some(&Order::Preset(Preset::Veryfast)));
    seconds(&mut bench, 70, 2_000);
    assert_eq!(steps(&bench).len(), 6, "never more effort than it began with");
    assert_eq!(bench.samples(0).len(), bench.at as usize / 3_000, "the source is whole");
}

#[test]
fn the_last_rung_is_never_given_up_but_has_every_second_frame() {
    let mut bench = Bench::running(settings(|_| {}));
    seconds(&mut bench, 60, 60_000);
    let stopped = orders(&bench).iter().filter(|order| matches!(order, Order::Stop(_))).count();
    assert_eq!(stopped, 2);
    assert!(bench.samples(18).len() > 1_700);
    assert_eq!(orders(&bench).last(), Some(&Order::HalfRate(TrackId(18), true)));
    assert_eq!(steps(&bench)[4..], [GovernorStep::Halve, GovernorStep::Spent]);
    // Another worker is told of it.
    bench.worker_dies(aqueduct_common::event::WorkerLoss::Hang);
    bench.pictures(60);
    assert!(orders(&bench).contains(&Order::HalfRate(TrackId(18), true)));
    seconds(&mut bench, 35, 2_000);
    assert_eq!(orders(&bench).last(), Some(&Order::HalfRate(TrackId(18), false)));
}

#[test]
fn a_rung_that_leads_and_has_every_second_frame_is_described_anew() {
    let hand = RungByHand { height: 360, bitrate: None, fps: None, codec: None };
    let mut bench = Bench::new(settings(|config| {
        config.passthrough = Passthrough::Never;
        config.ladder = vec![hand];
    }));
    bench.tracks(vec![video(0), sound(1)]);
    bench.pictures(70);
    seconds(&mut bench, 9, 60_000);
    assert_eq!(steps(&bench), [GovernorStep::Quicker, GovernorStep::Quicker, GovernorStep::Halve]);
    let sets = |bench: &Bench| bench.published.iter().filter(|one| matches!(one, Feed::Tracks(_))).count();
    let before = sets(&bench);
    let mut halved = video(16);
    halved.grid = Grid::Fixed(MediaTime::new(6_000, Timescale::VIDEO));
    bench.worker_says(FromWorker::Track(halved));
    assert_eq!(sets(&bench), before + 1);
    let spacing = bench.tracks_out().and_then(|set| set.by_id(TrackId(16)).map(|track| track.grid.spacing()));
    assert_eq!(spacing.map(|spacing| spacing.ticks), Some(6_000));
    let given = bench.samples(16).len();
    bench.pictures(60);
    assert!(bench.samples(16).len() > given, "and goes on");
}

#[test]
fn rungs_that_are_cut_at_the_start_are_known_and_come_with_the_room() {
    let mut bench = Bench::new(settings(|_| {}));
    bench.flow.machine(Machine { free: 150, all: 2_000, ..Machine::default() });
    bench.tracks(vec![video(0), sound(1)]);
    bench.pictures(70);
    assert_eq!(steps(&bench), [GovernorStep::Cut]);
    let known = |bench: &Bench| bench.tracks_out().is_some_and(|set| set.by_id(TrackId(16)).is_some());
    assert!(known(&bench), "players may know it");
    assert!(bench.published.iter().any(|message| matches!(message, Feed::Lost(TrackId(16), Absence::Shed))));
    assert_eq!((bench.samples(16).len(), bench.samples(17).len()), (0, 70));
    assert_eq!(bench.states(16), [RungState::Shed]);
    // What the machine has left is what it is expected to take, and no more.
    bench.flow.machine(Machine { free: 150, all: 150, load: 0.6, ..Machine::default() });
    seconds(&mut bench, 60, 2_000);
    assert_eq!(steps(&bench), [GovernorStep::Cut]);
    bench.flow.machine(Machine { free: 2_000, all: 2_000, load: 0.1, ..Machine::default() });
    seconds(&mut bench, 40, 2_000);
    assert_eq!(steps(&bench), [GovernorStep::Cut, GovernorStep::Restore]);
    assert!(!bench.samples(16).is_empty());
    let sets = bench.published.iter().filter(|message| matches!(message, Feed::Tracks(_))).count();
    assert_eq!(sets, 1, "nobody else's list breaks for it");
}

#[test]
fn a_rung_that_leads_hands_on_its_place_before_it_is_given_up() {
    let mut bench = Bench::running(settings(|config| config.passthrough = Passthrough::Never));
    let ids = |bench: &Bench| -> Vec<u8> {
        let set = bench.tracks_out().unwrap();
        set.tracks.iter().map(|track| track.id.0).collect()
    };
    let all = ids(&bench);
    assert_eq!(all[..2], [16, 17]);
    bench.flow.watched(TrackId(17), 5, bench.now);
    let rungs: Vec<u8> = all.iter().copied().filter(|id| *id >= 16).collect();
    rungs.iter().skip(2).for_each(|id| bench.flow.watched(TrackId(*id), 5, bench.now));
    let before = bench.samples(17).len();
    seconds(&mut bench, 9, 40_000);
    assert_eq!(steps(&bench).last(), Some(&GovernorStep::Shed));
    seconds(&mut bench, 2, 12_000);
    assert_eq!(ids(&bench), all[1..], "it is named no more, and the next one leads");
    assert_eq!(bench.states(16).last(), Some(&RungState::Shed));
    assert!(bench.samples(17).len() >= before + 300, "no frame of the others is missing");
    let led = bench.samples(17).len();
    seconds(&mut bench, 35, 2_000);
    assert_eq!(ids(&bench), all, "it leads again");
    assert!(bench.samples(17).len() >= led + 1_000);
    assert_eq!(bench.states(16).last(), Some(&RungState::Running));
}

fn on_watch() -> Bench {
    Bench::running(settings(|config| config.demand = Demand::OnWatch))
}

#[test]
fn rungs_that_nobody_asks_for_sleep_and_the_first_request_wakes_one_with_the_next_frame() {
    let mut bench = on_watch();
    bench.pictures(31 * 30);
    for rung in 16..=18 {
        assert_eq!(bench.states(rung).last(), Some(&RungState::Asleep), "{rung}");
    }
    bench.worker.told.clear();
    bench.pictures(47);
    assert!(
        !bench.worker.told.iter().any(|told| matches!(told, ToWorker::Frame(_))),
        "nothing is even decoded"
    );
    assert!(bench.kills.is_empty());
    let (given, newest) = (bench.samples(17).len(), *bench.samples(0).last().unwrap());
    let newest = newest.end();
    bench.flow.watched(TrackId(17), 0, bench.now);
    bench.act();
    assert_eq!(bench.samples(17).len(), given, "nobody is no viewer");
    bench.flow.watched(TrackId(17), 1, bench.now);
    bench.act();
    assert_eq!(bench.samples(17).len(), given, "what is held is decoded only");
    let told = |message: &Feed| matches!(message, Feed::Returns(TrackId(17), at) if *at == newest);
    assert!(bench.published.iter().any(told), "it is waited for");
    bench.pictures(1);
    let woken = &bench.samples(17)[given..];
    assert_eq!(woken.iter().map(|sample| (sample.dts, sample.sync)).collect::<Vec<_>>(), [(newest, true)]);
    bench.pictures(60);
    assert_eq!(bench.states(17).last(), Some(&RungState::Running));
    assert_eq!(bench.states(16).last(), Some(&RungState::Asleep));
}

#[test]
fn a_rung_that_is_asked_for_stays_awake() {
    let mut bench = on_watch();
    for _ in 0..8 {
        bench.pictures(300);
        bench.flow.watched(TrackId(16), 3, bench.now);
    }
    assert_eq!(bench.states(16), [RungState::Running]);
    assert_eq!(bench.states(17).last(), Some(&RungState::Asleep));
    bench.flow.watched(TrackId(17), 1, bench.now);
    bench.act();
    bench.pictures(31);
    assert_eq!(bench.states(17).last(), Some(&RungState::Running), "from the next keyframe on");
    bench.wait(Duration::from_secs(1));
}
