//! Sound that pauses where no silence can stand in for it.

use aqueduct_common::event::Anomaly;

use super::publisher::skew;
use super::*;

fn longest(feeds: &Feeds) -> u32 {
    feeds.audio().iter().map(|sample| sample.duration).max().unwrap()
}

/// RTMP-44: a pause is no sample of its length. The sound goes on behind a break at the next key frame.
#[test]
fn sound_without_silence_goes_on_at_the_next_key_frame() {
    for (millis, rate) in [
        (300, Rate(30, 1)),
        (800, Rate(25, 1)),
        (1_500, Rate(30, 1)),
        (4_000, Rate(30, 1)),
        (9_000, Rate(60, 1)),
    ] {
        let mut publisher = Publisher::new();
        (publisher.video, publisher.audio) = (Some(rate), Some((48_000, 2_048)));
        publisher.begin(&[avc(1280), he_aac()]).run(6);
        publisher.mute[TrackKind::Audio as usize] = true;
        publisher.run_millis(millis);
        publisher.mute[TrackKind::Audio as usize] = false;
        publisher.run(12);
        let counts = publisher.counts();
        let feeds = &publisher.feeds;
        assert!(longest(feeds) <= 2_048 + 7_200, "{millis} ms: a sample of {} samples", longest(feeds));
        assert_eq!(feeds.breaks.len(), 1, "{millis} ms");
        assert!(counts.of(Anomaly::Gap) >= 1, "{millis} ms");
        // No picture is lost over it, and afterwards both are in step.
        let frame = 90_000 * rate.1 / rate.0;
        let pictures = feeds.video();
        assert!(pictures.iter().all(|sample| i64::from(sample.duration) == frame));
        assert_eq!(pictures.len() as i64, (18_000 + millis) * rate.0 / 1_000, "{millis} ms");
        assert!(
            skew(feeds, (9_000 + millis) * MILLI) < 20 * MILLI,
            "{millis} ms: {}",
            skew(feeds, 0) / MILLI
        );
    }
}

#[test]
fn sound_alone_without_silence_goes_on_at_once() {
    for millis in [300, 900, 4_000] {
        let mut publisher = Publisher::new();
        (publisher.video, publisher.audio) = (None, Some((48_000, 2_048)));
        publisher.begin(&[he_aac()]).run(6);
        publisher.mute[TrackKind::Audio as usize] = true;
        publisher.run_millis(millis);
        publisher.mute[TrackKind::Audio as usize] = false;
        publisher.run(6);
        let feeds = &publisher.feeds;
        assert!(longest(feeds) <= 2_048 + 7_200, "{millis} ms: a sample of {} samples", longest(feeds));
        assert_eq!(feeds.breaks.len(), 1, "{millis} ms");
        let end = feeds.end(TrackId::AUDIO) - 22.0 - millis as f64 / 1_000.0;
        assert!(end.abs() < 0.1, "{millis} ms: {end}");
    }
}

/// A frame or three that are missing make their predecessor's successor a little longer, and break nothing.
#[test]
fn a_short_pause_is_hidden() {
    let mut publisher = Publisher::new();
    publisher.audio = Some((48_000, 2_048));
    publisher.begin(&[avc(1280), he_aac()]).run(6);
    publisher.mute[TrackKind::Audio as usize] = true;
    publisher.run_millis(90);
    publisher.mute[TrackKind::Audio as usize] = false;
    publisher.run(6);
    assert!(publisher.feeds.breaks.is_empty());
    assert!(skew(&publisher.feeds, 7 * SECOND) < 20 * MILLI);
}
