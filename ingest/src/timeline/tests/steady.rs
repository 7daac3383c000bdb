//! Publishers that behave.

use super::publisher::{skew, truth};
use super::*;

#[test]
fn output_begins_at_ten_seconds_with_tracks_a_clock_and_a_key_frame() {
    let mut publisher = Publisher::new();
    publisher.standard().run(4);
    let feeds = &publisher.feeds;
    let track = &feeds.tracks[0].tracks[0];
    assert_eq!(track.grid, Grid::Fixed(MediaTime::new(3_000, aqueduct_common::Timescale::VIDEO)));
    assert_eq!(track.reorder_delay, 0);
    let video = feeds.video();
    assert_eq!(video[0].dts.ticks, 900_000);
    assert!(video.iter().all(|sample| sample.duration == 3_000));
    assert!((video.len() as i64 - 119).abs() <= 1);
    // Sound begins with the picture, half a frame at most apart.
    let begins = feeds.audio()[0].dts.as_flicks() - 10 * SECOND;
    assert!(begins.abs() <= SECOND * 512 / 48_000, "{}", begins / MILLI);
    assert!(skew(feeds, 0) < 2 * MILLI);
    assert_eq!((feeds.breaks.len(), feeds.clocks.len()), (0, 1));
    assert_eq!(publisher.counts(), super::super::Counts::default());
}

#[test]
fn every_usual_rate_is_exact_in_its_timescale() {
    for (rate, scale, ticks) in [
        (Rate(24, 1), 90_000, 3_750),
        (Rate(25, 1), 90_000, 3_600),
        (Rate(30_000, 1_001), 90_000, 3_003),
        (Rate(50, 1), 90_000, 1_800),
        (Rate(60, 1), 90_000, 1_500),
        (Rate(60_000, 1_001), 60_000, 1_001),
        (Rate(24_000, 1_001), 24_000, 1_001),
    ] {
        let mut publisher = Publisher::new();
        publisher.video = Some(rate);
        publisher.standard().run(8);
        let track = &publisher.feeds.tracks[0].tracks[0];
        let grid = Grid::Fixed(MediaTime::new(ticks, aqueduct_common::Timescale::of(scale)));
        assert_eq!((track.timescale.hz(), track.grid), (scale, grid), "{rate:?}");
        assert!(publisher.feeds.video().iter().all(|sample| i64::from(sample.duration) == ticks), "{rate:?}");
        assert!(skew(&publisher.feeds, 0) < 2 * MILLI);
        assert_eq!(publisher.counts(), super::super::Counts::default(), "{rate:?}");
    }
}

#[test]
fn b_frames_keep_decode_times_on_the_grid_and_snap_their_offsets() {
    let mut publisher = Publisher::new();
    publisher.offsets = vec![67, 133, 33, 0, 133, 33];
    publisher.standard().run(6);
    let video = publisher.feeds.video();
    assert_eq!(publisher.feeds.tracks[0].tracks[0].reorder_delay, 6_000);
    let offsets: Vec<i64> = video.iter().take(6).map(|sample| sample.pts.ticks - sample.dts.ticks).collect();
    assert_eq!(offsets, [6_000, 12_000, 3_000, 0, 12_000, 3_000]);
    assert!(video.iter().all(|sample| sample.duration == 3_000));
}

#[test]
fn audio_is_timed_by_its_samples() {
    let mut publisher = Publisher::new();
    publisher.audio = Some((44_100, 1_024));
    publisher.begin(&[avc(1280), aac_44()]).run(30);
    let audio = publisher.feeds.audio();
    assert!(audio.iter().all(|sample| sample.duration == 1_024 && sample.dts.scale.hz() == 44_100));
    assert!(skew(&publisher.feeds, 0) < 2 * MILLI);

    let mut publisher = Publisher::new();
    publisher.audio = Some((48_000, 960));
    publisher.begin(&[avc(1280), opus()]).run(10);
    assert!(publisher.feeds.audio().iter().all(|sample| sample.duration == 960));
}

#[test]
fn audio_alone_and_video_alone_begin_within_two_seconds_of_media() {
    let mut publisher = Publisher::new();
    publisher.video = None;
    publisher.begin(&[aac()]).run(5);
    let feeds = &publisher.feeds;
    assert_eq!(feeds.tracks[0].tracks.len(), 1);
    assert_eq!(feeds.audio()[0].dts.ticks, 480_000);
    assert!(feeds.end(TrackId::AUDIO) > 14.9);

    let mut publisher = Publisher::new();
    publisher.audio = None;
    publisher.begin(&[avc(1280)]).run(5);
    assert_eq!(publisher.feeds.tracks[0].tracks.len(), 1);
    assert!(publisher.feeds.end(TrackId::VIDEO) > 14.9);
}

#[test]
fn late_audio_joins_at_a_key_frame_with_new_tracks() {
    for late in [1_000, 5_000] {
        let mut publisher = Publisher::new();
        publisher.keep = match late {
            1_000 => |kind, time| kind == TrackKind::Video || time >= SECOND,
            _ => |kind, time| kind == TrackKind::Video || time >= 5 * SECOND,
        };
        publisher.standard().run(12);
        let feeds = &publisher.feeds;
        assert_eq!(feeds.tracks.len(), if late == 1_000 { 1 } else { 2 });
        assert_eq!(feeds.tracks.last().unwrap().tracks.len(), 2);
        assert!(feeds.breaks.is_empty());
        assert!(skew(feeds, 0) < 11 * MILLI, "{}", skew(feeds, 0) / MILLI);
        // Whatever of the announced sound did not come is silence, from the announcing key frame on.
        let first = feeds.audio()[0].dts.seconds();
        assert!((first - if late == 1_000 { 10.0 } else { 16.0 }).abs() < 0.02, "{first}");
        assert!(feeds.video().iter().all(|sample| sample.duration == 3_000));
    }
}

#[test]
fn late_video_takes_over_the_lead() {
    let mut publisher = Publisher::new();
    publisher.keep = |kind, time| kind == TrackKind::Audio || time >= 4 * SECOND;
    publisher.begin(&[aac()]).run(4);
    publisher.timeline.config(TrackId::VIDEO, avc(640));
    publisher.run(6);
    let feeds = &publisher.feeds;
    assert_eq!(feeds.tracks.iter().map(|set| set.tracks.len()).collect::<Vec<_>>(), [1, 2]);
    assert!(feeds.end(TrackId::VIDEO) > 19.8 && feeds.end(TrackId::AUDIO) > 19.8);
    assert!(skew(feeds, 4 * SECOND) < 11 * MILLI);
}

#[test]
fn a_variable_rate_has_true_durations_one_frame_later() {
    let mut publisher = Publisher::new();
    // Spacings of 20 to 60 ms.
    publisher.stamp = |kind, time| {
        let millis = time / MILLI;
        if kind == TrackKind::Video { millis + (millis * 7 / 33 % 3) * 9 } else { millis }
    };
    publisher.standard().run(10);
    let feeds = &publisher.feeds;
    assert!(matches!(feeds.tracks[0].tracks[0].grid, Grid::Variable { .. }));
    let video = feeds.video();
    let stamps: Vec<i64> =
        video.iter().map(|s| (publisher.stamp)(TrackKind::Video, truth(s).unwrap())).collect();
    for (n, pair) in stamps.windows(2).enumerate() {
        assert_eq!(i64::from(video[n].duration), (pair[1] - pair[0]) * 90);
    }
    assert!(publisher.timeline.has_variable_rate());
    // One frame is waiting for its successor.
    let sent = video.len();
    assert_eq!(publisher.end().feeds.video().len(), sent + 1);
}

#[test]
fn pdt_follows_the_earliest_arrivals() {
    let mut publisher = Publisher::new();
    publisher.delay = |_, time| 80 * MILLI + time / MILLI * 7_919 % 60 * MILLI;
    publisher.standard().run(60);
    let feeds = &publisher.feeds;
    let clock = feeds.clocks.last().unwrap();
    for sample in feeds.video() {
        let age = WALL + flicks::micros(truth(sample).unwrap()) + 80_000 - clock.wall_at(sample.pts).micros;
        assert!(age.abs() < 15_000, "{age} µs");
    }
}

#[test]
fn a_file_pushed_as_fast_as_it_goes_is_told_to_wait() {
    let mut publisher = Publisher::new();
    publisher.delay = |_, time| -time;
    publisher.standard().run(20);
    let wait = publisher.timeline.wait().as_secs_f64();
    assert!((14.8..15.1).contains(&wait), "{wait}");
    assert!(publisher.feeds.breaks.is_empty());
    assert!(publisher.feeds.video().len() > 595);
}

#[test]
fn readings_say_what_came() {
    let mut publisher = Publisher::new();
    publisher.delay = |kind, _| if kind == TrackKind::Audio { 100 * MILLI } else { 0 };
    publisher.standard().run(9);
    let mut tick = aqueduct_common::event::IngestTick::default();
    publisher.timeline.take_readings(&mut tick);
    assert_eq!((tick.video_frames, tick.keyframes), (270, 5));
    assert_eq!(tick.keyframe_interval_micros, Some(2_000_000));
    assert_eq!(tick.grid_millifps, Some(30_000));
    let skew = tick.skew_micros.unwrap();
    assert!((skew + 100_000).abs() < 2_000, "{skew}");
    assert_eq!(tick.codecs.len(), 2);
}
