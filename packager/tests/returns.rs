//! Renditions that return in the middle of a segment. Every update passes the rules of `support::check`.

mod support;

use aqueduct_common::feed::Absence;
use aqueduct_common::{Event, Feed, MediaTime, Timescale, TrackId};
use support::ladder::{begun, edge, feed_without, gaps, set, skip_to, sources};
use support::{Source, World};

const RUNG: TrackId = TrackId(16);

fn at(seconds: f64) -> MediaTime {
    MediaTime::new((seconds * 90_000.0).round() as i64, Timescale::VIDEO)
}

/// The parts of the newest listed segment: milliseconds, and whether they are gaps.
fn newest(world: &World, dir: &str) -> Vec<(u64, bool)> {
    let list = world.list(dir);
    let last = list.segments.last().expect("a list lists something");
    last.parts.iter().map(|part| (part.micros / 1_000, part.gap)).collect()
}

/// A rung's encoder begins anew at `seconds`, with a sync sample, `late` behind its time.
fn begin(source: &mut Source, seconds: f64, late: f64) {
    skip_to(source, seconds);
    (source.count, source.late) = (0, late);
}

#[test]
fn what_is_announced_is_waited_for_however_late_it_is() {
    let (mut world, mut sources) = begun(60, 16.5);
    world.push(Feed::Lost(RUNG, Absence::Failed));
    feed_without(&mut world, &mut sources, 1, 17.3);
    assert_eq!(edge(&world, "v1"), edge(&world, "v0"), "gaps are told at once");
    // Three parts late: what comes is not told to be a gap meanwhile.
    world.push(Feed::Returns(RUNG, at(17.3)));
    begin(&mut sources[1], 17.3, 0.6);
    world.feed(&mut sources, 17.85, 0.0);
    let before = [(200, false), (200, false), (200, true), (200, true), (200, true), (200, true)];
    assert_eq!(newest(&world, "v1"), before, "up to 17.2");
    world.feed(&mut sources, 18.05, 0.0);
    assert_eq!(newest(&world, "v1")[6..], [(100, true), (100, false)]);
    // The next segment begins with its GOP again.
    begin(&mut sources[1], 18.0, 0.6);
    world.feed(&mut sources, 22.0, 0.0);
    assert_eq!(gaps(&world, "v1"), [4]);
    world.checks.assert_rungs_aligned("v0", "v1");
    world.finish();
}

#[test]
fn what_was_announced_and_does_not_come_is_a_gap_again() {
    let (mut world, mut sources) = begun(30, 14.5);
    world.push(Feed::Lost(RUNG, Absence::Failed));
    world.push(Feed::Returns(RUNG, at(14.5)));
    feed_without(&mut world, &mut sources, 1, 15.5);
    assert_eq!(newest(&world, "v1").len(), 2, "waited for");
    world.push(Feed::Lost(RUNG, Absence::Failed));
    assert_eq!(edge(&world, "v1"), edge(&world, "v0"));
    world.push(Feed::Returns(RUNG, at(15.5)));
    feed_without(&mut world, &mut sources, 1, 25.4);
    assert_eq!(edge(&world, "v1"), (6, 2), "ten seconds at most");
    feed_without(&mut world, &mut sources, 1, 27.0);
    assert_eq!(edge(&world, "v1"), edge(&world, "v0"));
    world.finish();
}

#[test]
fn one_that_sleeps_returns_in_the_open_segment_with_its_first_part() {
    let (mut world, mut sources) = begun(60, 15.5);
    world.push(Feed::Lost(RUNG, Absence::Asleep));
    feed_without(&mut world, &mut sources, 1, 21.3);
    world.push(Feed::Returns(RUNG, at(21.3)));
    begin(&mut sources[1], 21.3, 0.02);
    let before = world.list("v1").segments.len();
    world.feed(&mut sources, 21.36, 0.0);
    assert_eq!(world.list("v1").segments.len(), before, "its playlist is out with its first part");
    world.feed(&mut sources, 21.42, 0.0);
    assert_eq!(newest(&world, "v1"), [vec![(200, true); 6], vec![(100, true), (100, false)]].concat());
    assert_eq!(gaps(&world, "v1"), [3, 4, 5]);
    begin(&mut sources[1], 22.0, 0.02);
    world.feed(&mut sources, 23.5, 0.0);
    assert_eq!(gaps(&world, "v1"), [3, 4, 5, 6]);
    world.checks.assert_rungs_aligned("v0", "v1");
    world.finish();
}

#[test]
fn a_hole_before_a_sync_sample_costs_no_more_than_itself_and_its_part() {
    let (mut world, mut sources) = begun(60, 15.5);
    begin(&mut sources[1], 15.7, 0.02);
    world.feed(&mut sources, 16.0, 0.0);
    begin(&mut sources[1], 16.0, 0.02);
    world.feed(&mut sources, 16.5, 0.0);
    let list = world.list("v1");
    let parts: Vec<_> = list.segments[2].parts.iter().map(|part| (part.micros / 1_000, part.gap)).collect();
    let there = |count| vec![(200, false); count];
    let hole = vec![(200, true), (100, true), (100, false)];
    assert_eq!(parts, [there(7), hole, there(1)].concat());
    let strays: Vec<_> = world
        .events()
        .into_iter()
        .filter_map(|event| match event {
            Event::Astray { track, segment, reason, .. } => Some((*track, *segment, reason.clone())),
            _ => None,
        })
        .collect();
    assert_eq!(strays, [(RUNG, 3, "frames are missing in it".to_owned())], "TL-30: told once");
    world.finish();
}

#[test]
fn other_parameters_wait_for_a_segment_that_can_name_their_init_segment() {
    let (mut world, mut sources) = begun(60, 16.5);
    let map = world.list("v1").segments[0].map.clone();
    world.push(Feed::Lost(RUNG, Absence::Failed));
    feed_without(&mut world, &mut sources, 1, 17.1);
    let mut other = sources[1].track.clone();
    if let aqueduct_common::CodecConfig::H264(config) = &mut other.codec {
        config.record = [&config.record[..], &[0]].concat().into();
    }
    world.push(Feed::Changed(other.into()));
    world.push(Feed::Returns(RUNG, at(17.1)));
    begin(&mut sources[1], 17.1, 0.02);
    world.feed(&mut sources, 18.0, 0.0);
    assert!(newest(&world, "v1")[2..].iter().all(|(_, gap)| *gap));
    begin(&mut sources[1], 18.0, 0.02);
    world.feed(&mut sources, 20.1, 0.0);
    let list = world.list("v1");
    assert_eq!(gaps(&world, "v1"), [4]);
    assert!(list.segments.iter().all(|segment| (segment.map == map) == (segment.msn <= 4)));
    world.finish();
}

#[test]
fn one_that_never_was_there_begins_with_a_segment() {
    let set = set();
    let mut world = World::new();
    world.tracks(&set);
    world.push(Feed::Lost(RUNG, Absence::Failed));
    let mut sources = sources(&set, 10.0, 60);
    feed_without(&mut world, &mut sources, 1, 13.1);
    world.push(Feed::Returns(RUNG, at(13.1)));
    begin(&mut sources[1], 13.1, 0.02);
    world.feed(&mut sources, 14.0, 0.0);
    begin(&mut sources[1], 14.0, 0.02);
    world.feed(&mut sources, 16.5, 0.0);
    let list = world.list("v1");
    assert_eq!((list.media_sequence, gaps(&world, "v1").len()), (3, 0));
    world.finish();
}

#[test]
fn a_sound_returns_with_its_next_frame() {
    let (mut world, mut sources) = begun(60, 16.5);
    let sound = sources[3].track.id;
    world.push(Feed::Lost(sound, Absence::Failed));
    feed_without(&mut world, &mut sources, 3, 17.25);
    assert_eq!(edge(&world, "a0"), edge(&world, "v0"));
    skip_to(&mut sources[3], 17.25);
    world.feed(&mut sources, 17.7, 0.0);
    let parts = newest(&world, "a0");
    let gaps_of: Vec<bool> = parts.iter().map(|(_, gap)| *gap).collect();
    assert_eq!(gaps_of, [vec![false; 2], vec![true; 5], vec![false; 2]].concat(), "{parts:?}");
    let whole: u64 = parts.iter().map(|(millis, _)| millis).sum();
    assert!((1_580..=1_620).contains(&whole), "a gap is as long as what is missing: {whole} ms");
    world.feed(&mut sources, 20.1, 0.0);
    assert_eq!(gaps(&world, "a0"), [4]);
    world.finish();
}
