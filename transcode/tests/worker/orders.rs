//! Changes while a worker runs.

use aqueduct_common::TrackId;
use aqueduct_transcode::protocol::{FromWorker, HELD, Job, Mode, Order, Preset, ToWorker};

use crate::support::clip::{self, Clip};
use crate::support::job::{aligned, three};
use crate::support::look;
use crate::support::worker::{Said, Worker};

/// Sends all frames, each when the one before is out of rung 16, and orders before those with these numbers.
fn run(clip: &Clip, orders: &[(usize, Order)]) -> Said {
    run_job(&aligned(three()), clip, orders)
}

fn run_job(job: &Job, clip: &Clip, orders: &[(usize, Order)]) -> Said {
    let mut worker = Worker::start(job);
    let mut said = Said::default();
    worker.send(&ToWorker::Source(vec![clip.track.clone()]));
    for (index, frame) in clip.frames.iter().enumerate() {
        for (_, order) in orders.iter().filter(|(at, _)| *at == index) {
            worker.send(&ToWorker::Order(*order));
        }
        worker.send(&ToWorker::Frame(frame.clone()));
        loop {
            let message = worker.next();
            let is_next = matches!(&message, FromWorker::Frame(out) if out.track == TrackId(16));
            said.add(message);
            if is_next {
                break;
            }
        }
    }
    let (rest, outcome) = worker.end();
    outcome.unwrap();
    said.frames.extend(rest.frames);
    said.tracks.extend(rest.tracks);
    said.reports.extend(rest.reports);
    said
}

#[test]
fn a_rung_that_stops_leaves_the_others_and_comes_back_with_an_idr_at_once() {
    let clip = clip::small(4, &["-bf", "0"]);
    // The order names a frame behind the next one: B-frames may still be on their way when it comes.
    let from = clip.frames[72].dts;
    let said = run(&clip, &[(20, Order::Stop(TrackId(17))), (70, Order::Start(TrackId(17), from))]);
    let dts = |range: &[aqueduct_transcode::protocol::Frame]| range.iter().map(|f| f.dts).collect::<Vec<_>>();
    for id in [16, 18] {
        assert_eq!(said.of(id).iter().map(|f| f.dts).collect::<Vec<_>>(), dts(&clip.frames));
    }
    let got: Vec<_> = said.of(17).iter().map(|f| f.dts).collect();
    assert_eq!(got, [dts(&clip.frames[..20]), dts(&clip.frames[72..])].concat());
    let syncs: Vec<_> = said.of(17).iter().filter(|f| f.sync).map(|f| f.dts).collect();
    let at = |indices: &[usize]| indices.iter().map(|index| clip.frames[*index].dts).collect::<Vec<_>>();
    assert_eq!(syncs, at(&[0, 72, 90]), "and with the source's keyframes, as before");
    assert!(said.of(16).iter().zip(&clip.frames).all(|(own, source)| own.sync == source.sync));
    for id in [16, 17, 18] {
        said.track(id);
        said.of(id).into_iter().for_each(look::check_sample);
    }
}

#[test]
fn a_rung_has_every_second_frame_from_one_keyframe_to_another_and_no_hole() {
    let clip = clip::small(4, &["-bf", "0"]);
    let said =
        run(&clip, &[(10, Order::HalfRate(TrackId(17), true)), (70, Order::HalfRate(TrackId(17), false))]);
    let all: Vec<i64> = clip.frames.iter().map(|frame| frame.dts).collect();
    for id in [16, 18] {
        assert_eq!(said.of(id).iter().map(|f| f.dts).collect::<Vec<_>>(), all);
    }
    let half = all[30..90].iter().copied().step_by(2);
    let want: Vec<i64> = all[..30].iter().copied().chain(half).chain(all[90..].iter().copied()).collect();
    let got = said.of(17);
    assert_eq!(got.iter().map(|f| f.dts).collect::<Vec<_>>(), want);
    assert!(got.windows(2).all(|pair| pair[0].dts + i64::from(pair[0].duration) == pair[1].dts), "a hole");
    let syncs: Vec<_> = got.iter().filter(|f| f.sync).map(|f| f.dts).collect();
    assert_eq!(syncs, [all[0], all[30], all[60], all[90]]);
    got.into_iter().for_each(look::check_sample);
    let spacings: Vec<_> = said
        .tracks
        .iter()
        .filter(|track| track.id == TrackId(17))
        .map(|track| track.grid.spacing().micros() / 1_000)
        .collect();
    assert_eq!(spacings, [33, 66, 33], "each change is announced");
}

#[test]
fn another_preset_begins_at_an_idr_and_says_its_parameters() {
    let clip = clip::small(3, &["-bf", "0"]);
    let said = run(&clip, &[(10, Order::Preset(Preset::Ultrafast))]);
    for id in [16, 17, 18] {
        let got: Vec<_> = said.of(id).iter().map(|f| (f.dts, f.sync)).collect();
        assert_eq!(got, clip.frames.iter().map(|f| (f.dts, f.sync)).collect::<Vec<_>>());
        said.of(id).into_iter().for_each(look::check_sample);
        let tracks: Vec<_> = said.tracks.iter().filter(|track| track.id == TrackId(id)).collect();
        assert_eq!(tracks.len(), 2, "ultrafast has no CABAC: its parameters differ");
        let [before, after] = [tracks[0], tracks[1]].map(|track| track.codec.rfc6381());
        assert_eq!(before, after, "CODECS stays true (CMAF-5)");
    }
}

#[test]
fn a_lower_bitrate_is_kept_from_the_order_on() {
    let input = "testsrc2=s=320x180:r=30,noise=alls=30:allf=t";
    let args = ["-preset", "veryfast", "-g", "30", "-bf", "0", "-pix_fmt", "yuv420p", "-b:v", "4M"];
    let clip = clip::synthetic(input, 30, 6, &args);
    let said = run(&clip, &[(90, Order::Bitrate(TrackId(16), 100_000))]);
    let bytes = |range: std::ops::Range<usize>| -> usize {
        said.of(16)[range].iter().map(|frame| frame.payload.len()).sum()
    };
    let (before, after) = (bytes(30..90), bytes(120..180));
    assert!(after * 2 < before, "{before} bytes in 2 s before, {after} after");
    said.track(16);
}

#[test]
fn reports_tell_what_each_rung_costs() {
    let clip = clip::small(2, &["-bf", "0"]);
    let said = run(&clip, &[]);
    let report = said.reports.iter().max_by_key(|report| report.frames_out).unwrap();
    assert_eq!(report.decoder, "h264");
    let ids: Vec<_> = report.rungs.iter().map(|rung| rung.track.0).collect();
    assert_eq!(ids, [16, 17, 18]);
    for rung in &report.rungs {
        assert!(rung.encode_micros > 0 && rung.encode_p95_micros > 0 && rung.bits > 0, "{rung:?}");
        assert!(rung.mean_qp.is_some_and(|qp| (1.0..51.0).contains(&qp)), "{rung:?}");
    }
    assert!(report.decode_micros > 0 && report.scale_micros > 0);
    assert_eq!(said.reports.iter().map(|report| report.frames_in).sum::<u64>(), 60);
}

#[test]
fn a_worker_that_is_held_decodes_and_begins_within_a_gop_where_it_is_told() {
    for b_frames in ["0", "2"] {
        let clip = clip::small(3, &["-bf", b_frames]);
        let mut rungs = three();
        rungs[2].half_rate = true;
        let mut worker = Worker::start(&Job { resume: Some(HELD), ..aligned(rungs) });
        worker.send(&ToWorker::Source(vec![clip.track.clone()]));
        clip.frames[30..43].iter().for_each(|frame| worker.send(&ToWorker::Frame(frame.clone())));
        worker.send(&ToWorker::Order(Order::Echo));
        let mut said = Said::default();
        while said.echoes == 0 {
            said.add(worker.next());
        }
        assert!(said.frames.is_empty(), "nothing is made before it is told to");
        assert_eq!(said.tracks.len(), 3, "and every encoder is open");
        worker.send(&ToWorker::Order(Order::Begin(clip.frames[43].dts)));
        clip.frames[43..].iter().for_each(|frame| worker.send(&ToWorker::Frame(frame.clone())));
        let (rest, outcome) = worker.end();
        outcome.unwrap();
        for id in [16, 17] {
            let got: Vec<_> = rest.of(id).iter().map(|f| (f.dts, f.sync)).collect();
            let want = clip.frames[43..].iter().enumerate().map(|(n, f)| (f.dts, f.sync || n == 0));
            assert_eq!(got, want.collect::<Vec<_>>(), "{b_frames} B-frames, rung {id}");
            rest.of(id).into_iter().for_each(look::check_sample);
        }
        let half = rest.of(18);
        assert!(half[0].sync && half[0].dts == clip.frames[43].dts);
        assert!(half.windows(2).all(|two| two[0].dts + i64::from(two[0].duration) == two[1].dts));
        // What it begins with is the picture of its time: half a second into the clip, not the group's first.
        assert!(half[0].payload.len() > half[1].payload.len());
    }
}

#[test]
fn in_regular_mode_a_rung_comes_back_with_the_next_slot() {
    let clip = clip::small(3, &["-bf", "0"]);
    let mode = Mode::Regular { frame: 3_000, timescale: 90_000, gop: 30 };
    let job = Job { mode, ..aligned(three()) };
    let orders = [(10, Order::Stop(TrackId(17))), (40, Order::Start(TrackId(17), 0))];
    let said = run_job(&job, &clip, &orders);
    let (own, other) = (said.of(17), said.of(16));
    let back = &own[10..];
    assert!(back[0].sync && back[0].dts == other[40].dts, "{} {}", back[0].dts, other[40].dts);
    assert_eq!(back.len(), other.len() - 40);
    assert!(other.iter().enumerate().all(|(index, frame)| frame.sync == (index % 30 == 0)));
}
