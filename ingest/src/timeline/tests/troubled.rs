//! Publishers whose stamps lie, and links that lose.

use aqueduct_common::event::Anomaly;

use super::publisher::{skew, truth};
use super::*;

#[test]
fn wraps_of_both_rings_do_not_show() {
    let stamps: [(&str, Stamp); 2] = [
        ("2^31", |_, time| (time / MILLI + (1 << 31) - 7_000) % (1 << 31)),
        ("2^32", |_, time| (time / MILLI + (1 << 32) - 7_000) % (1 << 32)),
    ];
    for (ring, stamp) in stamps {
        let mut publisher = Publisher::new();
        publisher.stamp = stamp;
        publisher.standard().run(20);
        let counts = publisher.counts();
        assert!(counts.of(Anomaly::Wrap) >= 1, "{ring}");
        assert_eq!(counts.of(Anomaly::Jump), 0);
        assert!(publisher.feeds.breaks.is_empty());
        assert!(publisher.feeds.video().iter().all(|sample| sample.duration == 3_000));
        assert!(skew(&publisher.feeds, 0) < 2 * MILLI);
        assert!(publisher.feeds.end(TrackId::VIDEO) > 29.9);
    }
}

#[test]
fn slightly_negative_first_stamps_are_negative() {
    let mut publisher = Publisher::new();
    publisher.stamp = |_, time| (time / MILLI - 15).rem_euclid(1 << 31);
    publisher.standard().run(5);
    assert!(publisher.feeds.breaks.is_empty());
    assert!(skew(&publisher.feeds, 0) < 2 * MILLI);
    assert_eq!(publisher.counts().of(Anomaly::Jump), 0);
}

#[test]
fn frames_that_the_encoder_dropped_stretch_the_next_one() {
    let mut publisher = Publisher::new();
    publisher.keep = |kind, time| kind == TrackKind::Audio || !(130..132).contains(&(time * 30 / SECOND));
    publisher.standard().run(8);
    assert!(publisher.feeds.breaks.is_empty());
    assert_eq!(publisher.counts().of(Anomaly::Gap), 2, "frames, not holes");
    let video = publisher.feeds.video();
    let stretched = video.iter().position(|sample| sample.duration != 3_000).unwrap();
    let sample = video[stretched];
    assert_eq!(i64::from(sample.duration), 9_000);
    // It is shown when it is due.
    assert_eq!(sample.pts.ticks - sample.dts.ticks, 6_000);
    assert!(skew(&publisher.feeds, 0) < 2 * MILLI);
}

#[test]
fn a_longer_gap_before_a_key_frame_is_a_discontinuity() {
    let mut publisher = Publisher::new();
    publisher.keep = |kind, time| kind == TrackKind::Audio || !(110..120).contains(&(time * 30 / SECOND));
    publisher.standard().run(8);
    let feeds = &publisher.feeds;
    assert_eq!(feeds.breaks.len(), 1);
    let (at, reason) = feeds.breaks[0];
    assert_eq!(reason, Break::TimestampJump);
    assert!(feeds.samples[at].sync);
    assert!(feeds.video().iter().all(|sample| sample.duration == 3_000));
    assert!(skew(feeds, 0) < 11 * MILLI);
}

#[test]
fn stamps_that_jump_together_move_nothing_but_the_break() {
    let jumps: [Stamp; 3] = [
        |_, time| time / MILLI + if time >= 5 * SECOND { 20_000 } else { 0 },
        |_, time| time / MILLI + if time >= 5 * SECOND { 500_000_000 } else { 0 },
        |_, time| time / MILLI + if time < 5 * SECOND { 500_000_000 } else { 0 },
    ];
    for stamp in jumps {
        let mut publisher = Publisher::new();
        publisher.stamp = stamp;
        publisher.standard().run(12);
        let counts = publisher.counts();
        assert_eq!((counts.of(Anomaly::Jump), publisher.feeds.breaks.len()), (1, 1));
        // Output went on with the wall clock: nothing but the wait for the key frame at 6 s is missing.
        let end = publisher.feeds.end(TrackId::VIDEO);
        assert!((end - 22.0).abs() < 0.1, "{end}");
        assert!(
            skew(&publisher.feeds, 6 * SECOND) < 20 * MILLI,
            "{}",
            skew(&publisher.feeds, 6 * SECOND) / MILLI
        );
    }
}

#[test]
fn a_jump_of_one_track_alone_is_taken_back() {
    for (jumps, stamp) in [
        (
            TrackKind::Audio,
            (|kind, time| {
                time / MILLI + if kind == TrackKind::Audio && time >= 5 * SECOND { 60_000 } else { 0 }
            }) as Stamp,
        ),
        (TrackKind::Video, |kind, time| {
            time / MILLI + if kind == TrackKind::Video && time >= 5 * SECOND { 60_000 } else { 0 }
        }),
    ] {
        let mut publisher = Publisher::new();
        publisher.stamp = stamp;
        publisher.standard().run(12);
        let counts = publisher.counts();
        assert_eq!(counts.of(Anomaly::Jump), 1, "{jumps:?}");
        assert!(publisher.feeds.breaks.is_empty(), "{jumps:?}");
        assert!(skew(&publisher.feeds, 0) < 40 * MILLI, "{jumps:?} {}", skew(&publisher.feeds, 0) / MILLI);
        assert!((publisher.feeds.end(TrackId::AUDIO) - 22.0).abs() < 0.1);
        assert!((publisher.feeds.end(TrackId::VIDEO) - 22.0).abs() < 0.1);
    }
}

#[test]
fn a_single_stray_stamp_breaks_nothing() {
    let mut publisher = Publisher::new();
    publisher.stamp = |kind, time| {
        let stray = kind == TrackKind::Video && time * 30 / SECOND == 130;
        time / MILLI + if stray { 50_000 } else { 0 }
    };
    publisher.standard().run(8);
    assert!(publisher.feeds.breaks.is_empty());
    assert!(publisher.feeds.video().iter().all(|sample| sample.duration == 3_000));
    assert_eq!(publisher.counts().of(Anomaly::NonMonotonic), 1);
}

#[test]
fn an_outage_keeps_the_media_clock_and_begins_anew_with_a_key_frame() {
    let mut publisher = Publisher::new();
    publisher.keep = |_, time| !(5_000..8_000).contains(&(time / MILLI));
    publisher.standard().run(14);
    let feeds = &publisher.feeds;
    assert_eq!(feeds.breaks.len(), 1);
    let resumed = &feeds.samples[feeds.breaks[0].0];
    assert!(resumed.sync);
    assert!((resumed.dts.seconds() - 18.0).abs() < 0.05, "{:?}", resumed.dts);
    assert!(skew(feeds, 8 * SECOND) < 11 * MILLI);
}

#[test]
fn five_seconds_without_sound_are_silence_in_step_with_the_pictures() {
    // TL-21, TL-40.
    let mut publisher = Publisher::new();
    publisher.keep = |kind, time| kind == TrackKind::Video || !(5_000..10_000).contains(&(time / MILLI));
    publisher.standard().run(9);
    let behind = publisher.feeds.end(TrackId::VIDEO) - publisher.feeds.end(TrackId::AUDIO);
    assert!(behind < 0.05, "{behind}");
    publisher.run(6);
    assert!(publisher.feeds.breaks.is_empty());
    assert!(publisher.counts().of(Anomaly::AudioFill) > 200);
    assert!(skew(&publisher.feeds, 0) < 40 * MILLI);
}

#[test]
fn sound_that_steps_by_150_ms_is_brought_back_in_step() {
    // TL-40.
    for stamp in [
        (|kind, time| time / MILLI + if kind == TrackKind::Audio && time >= 5 * SECOND { 150 } else { 0 })
            as Stamp,
        |kind, time| time / MILLI - if kind == TrackKind::Audio && time >= 5 * SECOND { 150 } else { 0 },
    ] {
        let mut publisher = Publisher::new();
        publisher.stamp = stamp;
        publisher.standard().run(10);
        // Against the stamps, which say where the sound belongs now.
        let last = publisher.feeds.audio().into_iter().rev().find(|sample| truth(sample).is_some()).unwrap();
        let stamped = stamp(TrackKind::Audio, truth(last).unwrap()) * MILLI;
        let apart = last.dts.as_flicks() - 10 * SECOND - stamped;
        assert!(apart.abs() < 40 * MILLI, "{}", apart / MILLI);
        let counts = publisher.counts();
        assert!(counts.of(Anomaly::AudioFill) + counts.of(Anomaly::AudioCut) >= 6);
    }
}

#[test]
fn a_new_rate_loses_the_grid_and_finds_it_again_without_new_tracks() {
    let mut publisher = Publisher::new();
    publisher.standard().run(6);
    // From 30 to 25 frames a second, from stamp to stamp.
    publisher.stamp = |kind, time| {
        let n = time * 30 / SECOND;
        if kind == TrackKind::Video { 6_000 + (n - 180) * 40 } else { time / MILLI }
    };
    publisher.audio = None;
    publisher.run(10);
    assert_eq!(publisher.counts().of(Anomaly::GridLost), 1);
    assert_eq!((publisher.feeds.tracks.len(), publisher.feeds.breaks.len()), (1, 0));
    assert_eq!(publisher.feeds.video().last().unwrap().duration, 3_600);
    assert!(!publisher.timeline.has_variable_rate());
}

#[test]
fn a_splice_off_the_grid_moves_it_at_a_key_frame() {
    // A looped file: 11 ms more than a frame at each turn of four seconds.
    let mut publisher = Publisher::new();
    publisher.stamp = |_, time| time / MILLI + time / (4 * SECOND) * 11;
    publisher.standard().run(60);
    let counts = publisher.counts();
    assert_eq!((counts.of(Anomaly::GridLost), publisher.feeds.breaks.len()), (0, 0));
    let moved: Vec<_> =
        publisher.feeds.video().into_iter().filter(|sample| sample.duration != 3_000).collect();
    assert!((10..=15).contains(&moved.len()), "{}", moved.len());
    assert!(moved.iter().all(|sample| sample.sync && (3_900..4_100).contains(&sample.duration)));
}

#[test]
fn restless_stamps_give_way_to_arrival() {
    // TL-9: three jumps within 30 s.
    let mut publisher = Publisher::new();
    publisher.stamp = |_, time| time / MILLI + (time / (5 * SECOND)) * 100_000;
    publisher.delay = |_, time| time / MILLI * 7 % 11 * MILLI;
    publisher.standard().run(60);
    assert!(publisher.timeline.is_arrival_clocked());
    assert!(publisher.feeds.breaks.len() <= 3);
    assert!((publisher.feeds.end(TrackId::VIDEO) - 70.0).abs() < 0.5);
    assert!(
        skew(&publisher.feeds, 30 * SECOND) < 60 * MILLI,
        "{}",
        skew(&publisher.feeds, 30 * SECOND) / MILLI
    );
}

#[test]
fn a_changed_configuration_is_a_change_of_tracks_at_its_key_frame() {
    let mut publisher = Publisher::new();
    publisher.standard().run(6);
    publisher.timeline.config(TrackId::VIDEO, avc(640));
    publisher.run(6);
    let feeds = &publisher.feeds;
    assert_eq!((feeds.tracks.len(), feeds.breaks.len()), (2, 0));
    assert_eq!(feeds.tracks[1].tracks[0].codec, avc(640));
    assert!(feeds.video().windows(2).all(|pair| pair[0].end() == pair[1].dts));

    let mut publisher = Publisher::new();
    publisher.standard().run(5);
    publisher.timeline.config(TrackId::AUDIO, aac_44());
    publisher.audio = Some((44_100, 1_024));
    publisher.run(7);
    let feeds = &publisher.feeds;
    assert_eq!(feeds.tracks.len(), 2);
    assert_eq!(feeds.tracks[1].tracks[1].timescale.hz(), 44_100);
}
