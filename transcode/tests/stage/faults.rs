use std::time::{Duration, Instant};

use aqueduct_common::Feed;
use aqueduct_common::event::WorkerLoss;
use aqueduct_transcode::protocol::{Plant, PlantedFault};
use rustix::process::Signal;

use crate::live::{Live, Received, check_source, publish, samples, signal, source, workers};

/// Rungs of the ladder here.
const RUNGS: [u8; 2] = [16, 17];

fn lost(received: &Received) -> usize {
    let received = received.lock().unwrap();
    received.iter().filter(|(_, message)| matches!(message, Feed::Lost(..))).count()
}

/// Each rung's samples are those of the source but for the ones of an absence; after it they begin with a sync sample.
/// Returns the longest time without a sample of the rung that was out longest.
fn check_rungs(received: &Received, absences: usize) -> Duration {
    let source = samples(received, 0);
    let mut longest = Duration::ZERO;
    for rung in RUNGS {
        let all = samples(received, rung);
        assert!(all.first().is_some_and(|(_, first)| first.sync));
        let mut holes = 0;
        for pair in all.windows(2) {
            let ((before, one), (after, other)) = (&pair[0], &pair[1]);
            if one.end() != other.dts {
                holes += 1;
                assert!(other.sync && other.dts.ticks > one.end().ticks, "it is back with a sync sample");
                longest = longest.max(after.duration_since(*before));
            }
        }
        assert_eq!(holes, absences, "rung {rung}");
        let mut end = None;
        for (_, sample) in &all {
            let begins = end.replace(sample.end()) != Some(sample.dts);
            let same =
                source.iter().find(|(_, of_source)| of_source.dts == sample.dts).map(|(_, sample)| sample);
            let same = same.unwrap_or_else(|| {
                panic!("rung {rung} has a frame at {:?} that the source lacks", sample.dts)
            });
            let sync = same.sync || begins;
            assert_eq!((sample.pts, sample.duration, sample.sync), (same.pts, same.duration, sync));
        }
    }
    println!("rungs: away for {longest:?}");
    longest
}

#[tokio::test(flavor = "multi_thread")]
async fn every_rung_has_each_frame_of_the_source_and_follows_at_once() {
    let mut live = Live::start(None).await;
    let (feed, received) = live.begin("live/whole").await;
    let sent = publish(source(), feed, 240).await;
    check_source(&sent, &received, sent[0].1 + Duration::from_secs(3));
    assert_eq!(check_rungs(&received, 0), Duration::ZERO);
    assert_eq!((samples(&received, 16).len(), lost(&received)), (240, 0));
    let late = |rung| {
        let (rung, source) = (samples(&received, rung), samples(&received, 0));
        let steady = rung.iter().zip(&source).skip(120);
        let mut late: Vec<_> = steady.map(|((rung, _), (source, _))| rung.duration_since(*source)).collect();
        late.sort_unstable();
        late[late.len() / 2]
    };
    println!("a rung follows the source by {:?} and {:?} in the median", late(16), late(17));
    assert!(late(16) < Duration::from_millis(60), "{:?}", late(16));
    assert_eq!(live.losses(), []);
    live.end().await;
    // One that does not end by itself in time is killed a second later.
    let gone = async {
        while !workers().is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let gone = tokio::time::timeout(Duration::from_secs(10), gone).await;
    assert!(gone.is_ok(), "no worker outlives the stage");
}

/// A stream whose worker is struck after four seconds. The rungs are back within two.
async fn strike(plant: Option<Plant>, blow: Option<Signal>) -> Vec<WorkerLoss> {
    let mut live = Live::start(plant).await;
    let (feed, received) = live.begin("live/struck").await;
    let publisher = tokio::spawn(publish(source(), feed, 270));
    tokio::time::sleep(Duration::from_millis(4_250)).await;
    if let Some(blow) = blow {
        workers().into_iter().for_each(|pid| signal(pid, blow));
    }
    let struck = Instant::now();
    let sent = publisher.await.unwrap();
    check_source(&sent, &received, sent[0].1 + Duration::from_secs(3));
    let away = check_rungs(&received, 1);
    assert!(away < Duration::from_secs(2), "away for {away:?}");
    let back = samples(&received, 16).iter().filter(|(at, _)| *at > struck).count();
    assert!(back > 60, "{back}");
    assert_eq!(lost(&received), RUNGS.len());
    let losses = live.losses();
    live.end().await;
    losses
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_worker_costs_the_source_nothing_and_its_rungs_less_than_two_seconds() {
    assert_eq!(strike(None, Some(Signal::KILL)).await, [WorkerLoss::Signal(9)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_worker_counts_as_a_hang_and_is_replaced() {
    assert_eq!(strike(None, Some(Signal::STOP)).await, [WorkerLoss::Hang]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aborting_codec_counts_as_its_signal_and_is_replaced() {
    let plant = Plant { after_frames: 127, fault: PlantedFault::Abort };
    assert_eq!(strike(Some(plant), None).await, [WorkerLoss::Signal(6)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_codec_that_hangs_is_told_by_its_silence() {
    let plant = Plant { after_frames: 127, fault: PlantedFault::Hang };
    assert_eq!(strike(Some(plant), None).await, [WorkerLoss::Hang]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_cannot_be_started_leaves_the_source_alone() {
    let mut live = Live::start_with(|launch| launch.program = "/nonexistent/aqueduct".into()).await;
    let (feed, received) = live.begin("live/alone").await;
    let sent = publish(source(), feed, 150).await;
    assert_eq!(samples(&received, 0).len(), sent.len());
    assert!(live.losses().iter().all(|loss| *loss == WorkerLoss::Start));
    live.end().await;
}
