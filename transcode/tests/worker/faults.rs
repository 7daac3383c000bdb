//! What fails, and what goes on: backends, planted faults, a host that breaks the protocol.

use std::time::Duration;

use aqueduct_transcode::hardware::{Backend, Chosen};
use aqueduct_transcode::protocol::{Fallback, Job, Plant, PlantedFault, Stage, ToWorker};

use crate::support::clip::{self, Clip};
use crate::support::job::{aligned, three};
use crate::support::look;
use crate::support::worker::{Worker, transcode};

fn with(job: Job, decode: &[Backend], encode: &[Backend]) -> Job {
    let hardware = Chosen { decode: decode.to_vec(), encode: encode.to_vec(), ..Chosen::default() };
    Job { hardware, ..job }
}

fn planted(job: Job, after_frames: u64, fault: PlantedFault) -> Job {
    Job { plant: Some(Plant { after_frames, fault }), ..job }
}

const SOFTWARE: &[Backend] = &[Backend::Software];
const TWICE: &[Backend] = &[Backend::Software, Backend::Software];

#[test]
fn backends_that_do_not_open_are_passed_over_without_losing_a_frame() {
    let clip = clip::small(2, &["-bf", "0"]);
    let absent = [Backend::VideoToolbox, Backend::Software];
    let said = transcode(&with(aligned(three()), &absent, &absent), &clip.track, &clip.frames);
    for id in [16, 17, 18] {
        assert_eq!(said.of(id).len(), clip.frames.len());
        said.of(id).into_iter().for_each(look::check_sample);
    }
    let of = |stage| said.fallbacks.iter().filter(move |fallback| fallback.stage == stage);
    let words = |fallback: &Fallback| (fallback.from, fallback.to);
    assert_eq!(
        of(Stage::Decode).map(words).collect::<Vec<_>>(),
        [(Backend::VideoToolbox, Some(Backend::Software))]
    );
    assert_eq!(
        of(Stage::Encode).map(words).collect::<Vec<_>>(),
        [(Backend::VideoToolbox, Some(Backend::Software)); 3]
    );
    assert!(said.fallbacks.iter().all(|fallback| !fallback.reason.is_empty()));
}

#[test]
fn an_encoder_that_fails_is_replaced_within_the_frame_and_begins_anew_with_it() {
    let clip = clip::small(3, &["-bf", "0"]);
    let job = planted(with(aligned(three()), SOFTWARE, TWICE), 40, PlantedFault::Fail);
    let said = transcode(&job, &clip.track, &clip.frames);
    for id in [16, 17, 18] {
        let got: Vec<_> = said.of(id).iter().map(|frame| (frame.dts, frame.sync)).collect();
        let want = clip.frames.iter().enumerate().map(|(n, frame)| (frame.dts, frame.sync || n == 40));
        assert_eq!(got, want.collect::<Vec<_>>(), "rung {id}: no hole");
        said.of(id).into_iter().for_each(look::check_sample);
        // The same encoder with the same settings: the same parameters, so that no new init segment is needed.
        said.track(id);
    }
    assert_eq!(said.fallbacks.len(), 3);
    assert!(said.fallbacks[0].reason.contains("planted"), "{}", said.fallbacks[0].reason);
}

#[test]
fn an_encoder_that_fails_at_an_idr_is_replaced_within_the_frame() {
    let clip = clip::small(2, &["-bf", "0"]);
    for at in [0, 30] {
        let job = planted(with(aligned(three()), SOFTWARE, TWICE), at, PlantedFault::Fail);
        let said = transcode(&job, &clip.track, &clip.frames);
        assert_eq!(said.fallbacks.len(), 3);
        assert!([16, 17, 18].iter().all(|id| said.of(*id).len() == clip.frames.len()));
    }
}

#[test]
fn a_worker_without_a_backend_says_so_and_fails() {
    let clip = clip::small(2, &["-bf", "0"]);
    let run = |job: &Job| {
        let mut worker = Worker::start(job);
        worker.send(&ToWorker::Source(vec![clip.track.clone()]));
        for frame in &clip.frames {
            worker.send(&ToWorker::Frame(frame.clone()));
            std::thread::sleep(Duration::from_millis(2));
        }
        worker.end()
    };
    let (said, outcome) = run(&planted(aligned(three()), 5, PlantedFault::Fail));
    assert!(outcome.is_err());
    assert_eq!(said.fallbacks.iter().filter(|fallback| fallback.to.is_none()).count(), 3);
    assert!(said.troubles.iter().any(|words| words.contains("no backend is left")), "{:?}", said.troubles);
    let (said, outcome) = run(&with(aligned(three()), &[Backend::VideoToolbox], SOFTWARE));
    assert!(outcome.is_err());
    assert_eq!((said.fallbacks[0].stage, said.fallbacks[0].to), (Stage::Decode, None));
    assert!(said.frames.is_empty());
}

#[test]
fn a_worker_that_acts_out_a_hang_says_nothing_more() {
    let clip = clip::small(1, &["-bf", "0"]);
    let mut worker = Worker::start(&planted(aligned(three()), 10, PlantedFault::Hang));
    worker.send(&ToWorker::Source(vec![clip.track.clone()]));
    clip.frames.iter().take(15).for_each(|frame| worker.send(&ToWorker::Frame(frame.clone())));
    for _ in 0..30 {
        worker.frame();
    }
    let later = Duration::from_millis(2_500);
    assert!(worker.messages.recv_timeout(later).is_err(), "no frame, no report");
}

#[test]
fn a_host_that_breaks_the_protocol_is_left() {
    let refused = |begin: &dyn Fn(&mut Worker), job: &Job| {
        let mut worker = Worker::start(job);
        begin(&mut worker);
        worker.gather().1.unwrap_err().to_string()
    };
    let job = aligned(three());
    let words = refused(&|worker| worker.send(&ToWorker::Job(job.clone())), &job);
    assert!(words.contains("second job"), "{words}");
    let words = refused(&|_| {}, &Job { version: 77, ..job.clone() });
    assert!(words.contains("version 77"), "{words}");
}

#[test]
fn an_input_that_closes_is_an_end_like_another() {
    let clip = clip::small(1, &["-bf", "2"]);
    let mut worker = Worker::start(&aligned(three()));
    worker.send(&ToWorker::Source(vec![clip.track.clone()]));
    clip.frames.iter().for_each(|frame| worker.send(&ToWorker::Frame(frame.clone())));
    let (said, outcome) = worker.gather();
    outcome.unwrap();
    assert_eq!(said.of(16).len(), clip.frames.len());
}

/// Frames and tracks that nobody announced, and jobs without rungs, are nothing to fall over.
#[test]
fn what_makes_no_sense_does_no_harm() {
    let Clip { track, frames, .. } = clip::small(1, &["-bf", "0"]);
    let mut worker = Worker::start(&aligned(vec![]));
    worker.send(&ToWorker::Frame(frames[0].clone()));
    worker.send(&ToWorker::Break);
    worker.send(&ToWorker::Source(vec![]));
    worker.send(&ToWorker::Source(vec![track]));
    worker.send(&ToWorker::Break);
    let (said, outcome) = worker.end();
    outcome.unwrap();
    assert!(said.frames.is_empty());
}
