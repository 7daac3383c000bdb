//! Steps of one to ten seconds: lies that both tracks tell, and gaps that only one of them has.

use aqueduct_common::event::Anomaly;

use super::publisher::{skew, truth};
use super::*;

/// Largest difference between PROGRAM-DATE-TIME and the true time of a picture, over the samples whose true time is at
/// least `from`.
fn wall_error(feeds: &Feeds, from: i64) -> i64 {
    let clock = feeds.clocks.last().unwrap();
    let late = feeds.video().into_iter().filter_map(|s| Some((truth(s)?, s))).filter(|(t, _)| *t >= from);
    late.map(|(t, s)| (clock.wall_at(s.pts).micros - WALL - flicks::micros(t)).abs()).max().unwrap()
}

/// RTMP-42, TL-8, TL-33, RTMP-69: stamps that jump forwards with frames coming as before leave sound and picture
/// together, the wall clock right, and the publisher unthrottled.
#[test]
fn a_common_step_that_arrivals_do_not_explain_moves_nothing() {
    for millis in [1_100i64, 1_500, 2_000, 3_000, 5_000, 9_000, 9_990, 10_000, 10_500] {
        for rate in [Rate(30, 1), Rate(25, 1), Rate(60_000, 1_001)] {
            let mut publisher = Publisher::new();
            publisher.video = Some(rate);
            publisher.standard().run(20);
            publisher.shift = [millis, millis];
            for _ in 0..20 {
                publisher.run(1);
                assert!(publisher.timeline.wait().is_zero(), "{millis} ms: the publisher is throttled");
            }
            let counts = publisher.counts();
            let feeds = &publisher.feeds;
            assert_eq!((counts.of(Anomaly::Jump), feeds.breaks.len()), (1, 1), "{millis} ms");
            let apart = skew(feeds, 23 * SECOND);
            assert!(apart < 20 * MILLI, "{millis} ms: apart by {} ms", apart / MILLI);
            let wrong = wall_error(feeds, 23 * SECOND);
            assert!(wrong < 60_000, "{millis} ms: the wall clock is {wrong} µs off");
            assert!((feeds.end(TrackId::VIDEO) - 50.0).abs() < 0.1, "{millis} ms");
        }
    }
}

/// A step that is within what arrivals may differ by is kept, and then the wall clock has to follow (TL-33).
#[test]
fn a_step_that_is_believed_takes_the_wall_clock_with_it() {
    let mut publisher = Publisher::new();
    publisher.standard().run(20);
    publisher.shift = [990, 990];
    publisher.run(20);
    let feeds = &publisher.feeds;
    assert_eq!(feeds.breaks.len(), 1);
    assert!(skew(feeds, 23 * SECOND) < 20 * MILLI);
    let wrong = wall_error(feeds, 23 * SECOND);
    assert!(wrong < 60_000, "{wrong} µs");
}

/// RTMP-44: under congestion the encoder drops pictures and keeps the sound. Its stamps are right, whatever the delay
/// was before the gap and is after it.
#[test]
fn dropped_pictures_leave_the_sound_where_it_was() {
    let congested: [fn(TrackKind, i64) -> i64; 3] = [
        |_, time| match time / MILLI {
            18_000..20_900 => (time - 18 * SECOND).min(3 * SECOND),
            20_900..26_000 => 3 * SECOND - (time - 20_900 * MILLI) * 22 / 51,
            26_000..27_000 => 800 * MILLI - (time - 26 * SECOND) * 78 / 100,
            _ => 20 * MILLI,
        },
        // Congested from the start: there never was a short delay to compare with.
        |_, time| match time / MILLI {
            0..20_900 => 3 * SECOND,
            20_900..26_000 => 3 * SECOND - (time - 20_900 * MILLI) * 22 / 51,
            26_000..27_000 => 800 * MILLI - (time - 26 * SECOND) * 78 / 100,
            _ => 20 * MILLI,
        },
        |_, time| if time < 24 * SECOND { 20 * MILLI } else { 2 * SECOND },
    ];
    for (n, delay) in congested.into_iter().enumerate() {
        let mut publisher = Publisher::new();
        publisher.delay = delay;
        publisher.keep = |kind, time| kind == TrackKind::Audio || !(20_900..26_000).contains(&(time / MILLI));
        publisher.standard().run(40);
        let counts = publisher.counts();
        let apart = skew(&publisher.feeds, 26 * SECOND);
        assert!(apart < 15 * MILLI, "case {n}: apart by {} ms", apart / MILLI);
        assert_eq!((counts.of(Anomaly::Jump), publisher.feeds.breaks.len()), (0, 1), "case {n}");
    }
}

/// Dropped pictures are no lies: however often the link is congested, stamps go on being believed (TL-9).
#[test]
fn repeated_gaps_do_not_cost_the_stamps_their_credit() {
    let mut publisher = Publisher::new();
    publisher.delay = |_, time| {
        let phase = time / MILLI % 8_000;
        let delay = phase.min(2_500).min(7_500 - phase).max(20);
        if time < 16 * SECOND { 20 * MILLI } else { delay * MILLI }
    };
    publisher.keep = |kind, time| {
        kind == TrackKind::Audio || time < 16 * SECOND || !(2_500..6_000).contains(&(time / MILLI % 8_000))
    };
    publisher.standard().run(80);
    assert!(!publisher.timeline.is_arrival_clocked());
    assert!(skew(&publisher.feeds, 0) < 20 * MILLI, "{}", skew(&publisher.feeds, 0) / MILLI);
}

/// RTMP-42: pictures whose stamps step by seconds while they and the sound come as before are put back.
#[test]
fn a_step_of_pictures_alone_is_taken_back() {
    for millis in [1_500i64, 4_000, 9_000, -1_500, -9_000] {
        let mut publisher = Publisher::new();
        publisher.standard().run(20);
        publisher.shift[TrackKind::Video as usize] = millis;
        publisher.run(20);
        assert!(skew(&publisher.feeds, 0) < 40 * MILLI, "{millis}: {}", skew(&publisher.feeds, 0) / MILLI);
        assert!(publisher.feeds.breaks.is_empty(), "{millis}");
    }
}

/// TL-34, RTMP-40: an offset beyond all belief is clamped and tells nothing about when a picture was captured.
#[test]
fn absurd_composition_offsets_leave_the_wall_clock_alone() {
    for absurd in [20_000, 8_000_000, -8_000_000] {
        let mut publisher = Publisher::new();
        publisher.offsets = (0..60).map(|n| if n == 7 { absurd } else { 0 }).collect();
        publisher.feeds.negative_offsets = true;
        publisher.standard().run(60);
        assert!(publisher.counts().of(Anomaly::CompositionOffset) > 0);
        let feeds = &publisher.feeds;
        for clock in &feeds.clocks {
            for sample in feeds.audio() {
                let wrong = clock.wall_at(sample.pts).micros - WALL - flicks::micros(truth(sample).unwrap());
                assert!(wrong.abs() < 5_000, "{absurd}: {wrong} µs");
            }
        }
    }
}
