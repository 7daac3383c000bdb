//! Publishers that come back, or others that take over (TL-25, TL-26).

use super::publisher::skew;
use super::*;

#[test]
fn a_publisher_that_returns_goes_on_after_the_wall_gap() {
    let mut publisher = Publisher::new();
    publisher.standard().run(6).end().pass_millis(4_000);
    let before = publisher.feeds.samples.len();
    publisher.standard();
    // One key frame and one audio frame are enough: no probe of two seconds.
    publisher.run_millis(100);
    assert!(publisher.feeds.samples.len() > before);
    publisher.run(5);
    let feeds = &publisher.feeds;
    assert_eq!(feeds.tracks.len(), 1);
    assert_eq!(feeds.breaks, [(before, Break::Reconnect)]);
    let resumed = &feeds.samples[before];
    assert!(resumed.sync && (resumed.dts.seconds() - 20.0).abs() < 0.05, "{:?}", resumed.dts);
    assert!(skew(feeds, 0) < 12 * MILLI, "{}", skew(feeds, 0) / MILLI);
    assert!(feeds.video().iter().all(|sample| sample.duration == 3_000));
    // The wall clock is the same on both sides of the gap.
    let wall = feeds.clocks.last().unwrap().wall_at(resumed.pts);
    assert!((wall.micros - WALL - 10_000_000).abs() < 50_000);
}

#[test]
fn a_takeover_without_a_gap_never_overlaps() {
    let mut publisher = Publisher::new();
    publisher.offsets = vec![67, 133, 33, 0];
    publisher.standard().run(6);
    publisher.standard().run(6);
    assert_eq!(publisher.feeds.breaks.len(), 1);
    assert!(publisher.feeds.end(TrackId::VIDEO) > 21.9);
}

#[test]
fn changed_parameters_are_new_tracks() {
    let mut publisher = Publisher::new();
    publisher.standard().run(6).end().pass_millis(2_000);
    publisher.video = Some(Rate(25, 1));
    publisher.begin(&[avc(640), aac()]).run(6);
    let feeds = &publisher.feeds;
    assert_eq!((feeds.tracks.len(), feeds.breaks.len()), (2, 0));
    let track = &feeds.tracks[1].tracks[0];
    assert_eq!(track.grid, Grid::Fixed(MediaTime::new(3_600, track.timescale)));
    assert_eq!(feeds.video().last().unwrap().duration, 3_600);
}

#[test]
fn promised_sound_that_does_not_return_is_silent() {
    let mut publisher = Publisher::new();
    publisher.standard().run(6).end().pass_millis(2_000);
    let audio = publisher.audio.take();
    publisher.begin(&[avc(1280)]).run(6);
    let feeds = &publisher.feeds;
    assert_eq!((feeds.tracks.len(), feeds.breaks.len()), (1, 1));
    let behind = feeds.end(TrackId::VIDEO) - feeds.end(TrackId::AUDIO);
    assert!(behind.abs() < 0.05, "{behind}");
    // And when it comes after all, it takes the silence's place.
    publisher.audio = audio;
    publisher.timeline.config(TrackId::AUDIO, aac());
    publisher.keep = |kind, time| kind == TrackKind::Video || time >= 6 * SECOND;
    publisher.run(6);
    assert_eq!(publisher.feeds.tracks.len(), 1);
    assert!(skew(&publisher.feeds, 14 * SECOND) < 40 * MILLI);
}

#[test]
fn pictures_that_do_not_return_leave_the_sound() {
    let mut publisher = Publisher::new();
    publisher.standard().run(6).end().pass_millis(2_000);
    publisher.video = None;
    publisher.begin(&[aac()]).run(6);
    let feeds = &publisher.feeds;
    assert_eq!(feeds.tracks.iter().map(|set| set.tracks.len()).collect::<Vec<_>>(), [2, 1]);
    assert!(feeds.end(TrackId::AUDIO) > 23.8);
    // And come back later, as a third set of tracks.
    publisher.end().pass_millis(1_000);
    publisher.video = Some(Rate(30, 1));
    publisher.standard().run(6);
    assert_eq!(publisher.feeds.tracks.len(), 3);
    assert!(publisher.feeds.end(TrackId::VIDEO) > 30.8);
}
