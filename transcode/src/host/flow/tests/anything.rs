//! Whatever a source and a worker do: the packager's contract holds, and the source's samples are not touched.

use std::time::Duration;

use aqueduct_common::TrackId;
use aqueduct_common::event::WorkerLoss;
use proptest::prelude::*;

use super::bench::*;
use crate::config::{Demand, Passthrough};
use crate::protocol::{Frame, FromWorker, Report, ToWorker, VERSION};

#[derive(Clone, Copy, Debug)]
enum Step {
    Pictures(u8),
    Gop(u8),
    Interrupt(u8),
    Tracks {
        sound: bool,
        skip: u8,
    },
    Silent(bool),
    /// The worker gives back one of the frames it was told, for any track, moved in time.
    Stray {
        back: u8,
        track: u8,
        off: i8,
        sync: bool,
    },
    Announce {
        track: u8,
        sound: bool,
    },
    Dies,
    Ready(bool),
    Report {
        slow: bool,
    },
    Watched(u8),
    Wait(u16),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (1u8..70).prop_map(Step::Pictures),
        1 => (1u8..200).prop_map(Step::Gop),
        1 => any::<u8>().prop_map(Step::Interrupt),
        1 => any::<(bool, u8)>().prop_map(|(sound, skip)| Step::Tracks { sound, skip }),
        2 => any::<bool>().prop_map(Step::Silent),
        3 => (any::<u8>(), 14u8..20, -3i8..4, any::<bool>())
            .prop_map(|(back, track, off, sync)| Step::Stray { back, track, off, sync }),
        1 => (14u8..34, any::<bool>()).prop_map(|(track, sound)| Step::Announce { track, sound }),
        1 => Just(Step::Dies),
        1 => any::<bool>().prop_map(Step::Ready),
        2 => any::<bool>().prop_map(|slow| Step::Report { slow }),
        1 => (15u8..20).prop_map(Step::Watched),
        1 => (0u16..9_000).prop_map(Step::Wait),
    ]
}

fn take(bench: &mut Bench, step: Step) {
    match step {
        Step::Pictures(count) => bench.pictures(count.into()),
        Step::Gop(gop) => bench.gop = gop.into(),
        Step::Interrupt(skip) => bench.interrupt(skip.into()),
        Step::Tracks { sound: with, skip } => {
            bench.at += i64::from(skip) * 3_000;
            bench.tracks(if with { vec![video(0), sound(1)] } else { vec![video(0)] });
        }
        Step::Silent(silent) => bench.worker.answers = !silent,
        Step::Stray { back, track, off, sync } => {
            let frames = bench.worker.told.iter().rev().filter_map(|told| match told {
                ToWorker::Frame(frame) => Some(frame.clone()),
                _ => None,
            });
            let Some(frame) = frames.take(usize::from(back) + 1).last() else { return };
            let (dts, pts) = (frame.dts + i64::from(off) * 1_500, frame.pts + i64::from(off) * 1_500);
            let track = TrackId(track);
            bench.worker_says(FromWorker::Frame(Frame { track, dts, pts, sync, ..frame }));
        }
        Step::Announce { track, sound: true } => bench.worker_says(FromWorker::Track(sound(track))),
        Step::Announce { track, sound: false } => bench.worker_says(FromWorker::Track(video(track))),
        Step::Dies if bench.worker.job.is_some() => bench.worker_dies(WorkerLoss::Signal(11)),
        Step::Dies => {}
        Step::Ready(right) => bench.worker_says(FromWorker::Ready { version: VERSION + u16::from(!right) }),
        Step::Report { slow } => {
            let backlog_ms = if slow { 900 } else { 10 };
            bench.worker_says(FromWorker::Report(Report { backlog_ms, ..Report::default() }));
        }
        Step::Watched(track) => {
            bench.flow.watched(TrackId(track), 1, bench.now);
            bench.act();
        }
        Step::Wait(millis) => bench.wait(Duration::from_millis(millis.into())),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn the_contract_holds(
        steps in proptest::collection::vec(step(), 1..60), never: bool, on_watch: bool,
    ) {
        let mut bench = Bench::new(settings(|config| {
            config.passthrough = if never { Passthrough::Never } else { Passthrough::Auto };
            config.demand = if on_watch { Demand::OnWatch } else { Demand::Always };
        }));
        bench.tracks(vec![video(0), sound(1)]);
        for step in steps {
            take(&mut bench, step);
        }
        // Whatever has happened, a good source and a good worker are a good stream again.
        bench.worker.answers = true;
        bench.gop = 30;
        bench.wait(Duration::from_secs(31));
        bench.pictures(40 * 30);
        let set = bench.tracks_out().expect("tracks");
        let main = if set.by_id(TrackId(0)).is_some() { 0 } else { 16 };
        let last = bench.samples(main).last().map(|sample| sample.end().ticks);
        prop_assert_eq!(last, Some(bench.at), "the top is up to date");
    }
}
