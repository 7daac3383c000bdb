//! Ladders: rungs that come and go beside a passthrough. Every update passes the rules of `support::check`.

mod support;

use aqueduct_common::feed::Absence;
use aqueduct_common::{Feed, Sample, Track, TrackId, Update};
use aqueduct_packager::stream::Output;
use support::ladder::{begun, edge, feed_without, gaps, set, skip_to, sources};
use support::{Source, World, aac, rung, tracks, video};

#[test]
fn all_rungs_are_cut_at_the_same_instants_and_listed_when_they_have_come() {
    let (mut world, mut sources) = begun(30, 15.0);
    let sample = sources[0].next();
    world.push(Feed::Sample(sample));
    for dir in ["v1", "v2"] {
        world.checks.assert_rungs_aligned("v0", dir);
        assert_eq!(world.list(dir).segments[0].msn, 1);
    }
    // Of 15.0 to 15.2 the passthrough is listed, the rungs are not.
    for _ in 0..5 {
        let sample = sources[0].next();
        world.push(Feed::Sample(sample));
    }
    assert_eq!((edge(&world, "v0"), edge(&world, "v1")), ((6, 1), (5, 5)));
    world.feed(&mut sources, 15.3, 0.0);
    assert_eq!((edge(&world, "v1"), edge(&world, "v2")), ((6, 1), (6, 1)));
    world.finish();
}

#[test]
fn half_the_frames_make_the_same_parts() {
    for gop in [60, 61, 45, 7] {
        let top = video((60, 1), 0);
        let set = tracks(&[top.clone(), rung(&top, 16, 480, 1_500_000, true), aac(48_000, 1_024)]);
        let mut world = World::new();
        world.tracks(&set);
        let (mut whole, mut sound) = (Source::new(&top, 10.0, gop), Source::new(&set.tracks[2], 10.0, 1));
        while whole.seconds() < 30.0 {
            let within = whole.count % gop;
            let sample = whole.next();
            world.push(Feed::Sample(sample.clone()));
            // Every second frame of each GOP, which lasts over what is left out.
            if within % 2 == 0 {
                let mut half = Sample { track: TrackId(16), ..sample };
                half.duration *= if within + 1 == gop { 1 } else { 2 };
                world.push(Feed::Sample(half));
            }
            let until = whole.seconds();
            world.feed(std::slice::from_mut(&mut sound), until, 0.0);
        }
        world.checks.assert_rungs_aligned("v0", "v1");
        let parts = |dir: &str| -> Vec<u64> {
            let list = world.list(dir);
            list.segments.iter().flat_map(|segment| &segment.parts).map(|part| part.micros).collect()
        };
        let (all, half) = (parts("v0"), parts("v1"));
        assert!(all.len() - half.len() <= 1 && all.starts_with(&half), "gop {gop}");
        world.finish();
    }
}

#[test]
fn a_lost_rung_is_a_gap_in_step_and_comes_back_with_its_next_sync_sample() {
    let (mut world, mut sources) = begun(30, 14.5);
    world.push(Feed::Lost(TrackId(16), Absence::Failed));
    feed_without(&mut world, &mut sources, 1, 16.5);
    assert_eq!(edge(&world, "v1"), edge(&world, "v0"), "in step");
    // 14.4 to 15 is missing of segment 5, and all of what follows.
    let list = world.list("v1");
    let parts = |msn: u64| -> Vec<bool> {
        let segment = list.segments.iter().find(|segment| segment.msn == msn).unwrap();
        segment.parts.iter().map(|part| part.gap).collect()
    };
    assert_eq!(parts(5), [false, false, true, true, true]);
    assert_eq!((parts(6), parts(7)), (vec![true; 5], vec![true; 2]));
    assert_eq!(gaps(&world, "v1"), [5, 6]);
    assert!(world.text("index.m3u8").contains("/v1/"), "one that failed is still offered");
    // What lies before its sync sample in a part is a gap for itself.
    skip_to(&mut sources[1], 16.5);
    sources[1].count = 0;
    world.feed(&mut sources, 17.0, 0.0);
    let parts = world.list("v1").segments.last().unwrap().parts.clone();
    let listed: Vec<_> = parts.iter().map(|part| (part.micros / 1_000, part.gap, part.independent)).collect();
    let gap = |millis| (millis, true, false);
    assert_eq!(
        listed,
        [gap(200), gap(200), gap(100), (100, false, true), (200, false, false), (200, false, false)]
    );
    sources[1].count = 0;
    world.feed(&mut sources, 19.1, 0.0);
    assert_eq!(gaps(&world, "v1"), [5, 6, 7]);
    assert_eq!(edge(&world, "v1"), (9, 5));
    world.checks.assert_rungs_aligned("v0", "v1");
    world.checks.assert_rungs_aligned("v0", "v2");
    assert_eq!(gaps(&world, "v0").len() + gaps(&world, "v2").len() + gaps(&world, "a0").len(), 0);
    world.finish();
}

#[test]
fn a_shed_rung_is_not_offered_until_it_is_back() {
    let (mut world, mut sources) = begun(30, 14.5);
    assert!(world.text("index.m3u8").contains("/v2/"));
    world.push(Feed::Lost(TrackId(17), Absence::Shed));
    assert!(!world.text("index.m3u8").contains("/v2/"), "at once");
    feed_without(&mut world, &mut sources, 2, 17.0);
    assert_eq!(edge(&world, "v2"), edge(&world, "v0"), "who is on it sees gaps, and leaves");
    assert!(!world.text("index.m3u8").contains("/v2/"));
    skip_to(&mut sources[2], 17.0);
    world.feed(&mut sources, 17.5, 0.0);
    assert!(world.text("index.m3u8").contains("/v2/"));
    assert_eq!(gaps(&world, "v2"), [5, 6, 7]);
    world.finish();
}

/// What an edge was told to report, each time that a playlist was put to sleep.
fn sleeps(world: &World, dir: &str) -> Vec<u8> {
    let suffix = format!("/{dir}/media.m3u8");
    let told = |output: &Output| match output {
        Output::Update(Update::Sleep { path, demand, hold }) if path.as_str().ends_with(&suffix) => {
            assert_eq!(hold.as_secs(), 8, "LLHLS-23");
            Some(*demand)
        }
        _ => None,
    };
    world.log.iter().filter_map(told).collect()
}

/// What an edge is told to report of a playlist that is out.
fn demand(world: &World, dir: &str) -> Option<u8> {
    let suffix = format!("/{dir}/media.m3u8");
    let of = |output: &Output| match output {
        Output::Update(Update::Publish(object)) if object.path.as_str().ends_with(&suffix) => {
            object.playlist.as_ref().map(|info| info.demand)
        }
        _ => None,
    };
    world.log.iter().rev().find_map(of).flatten()
}

fn lists(world: &World, dir: &str) -> usize {
    world
        .checks
        .lists
        .iter()
        .find(|(path, _)| path.ends_with(&format!("/{dir}/media.m3u8")))
        .map_or(0, |(_, lists)| lists.len())
}

#[test]
fn a_rung_that_sleeps_has_no_playlist_and_wakes_at_the_newest_segments_start() {
    let (mut world, mut sources) = begun(60, 15.5);
    world.push(Feed::Lost(TrackId(16), Absence::Asleep));
    assert_eq!(sleeps(&world, "v1"), [16]);
    assert_eq!((demand(&world, "v0"), demand(&world, "v1")), (None, Some(16)), "what is encoded here");
    assert!(world.text("index.m3u8").contains("/v1/"), "still offered");
    let before = lists(&world, "v1");
    feed_without(&mut world, &mut sources, 1, 21.3);
    assert_eq!(lists(&world, "v1"), before, "nothing is out");
    assert!(!world.list("v0").reports.iter().any(|(uri, ..)| uri.contains("v1")), "nor reported");
    // Somebody asks. The encoder begins with the keyframe at 20 s, faster than real time.
    skip_to(&mut sources[1], 20.0);
    world.feed(&mut sources[1..2], 21.3, 0.0);
    assert_eq!(lists(&world, "v1"), before + 6, "with its first part");
    assert_eq!(edge(&world, "v1"), (6, 6));
    let list = world.list("v1");
    assert!(list.segments.last().unwrap().parts.iter().all(|part| !part.gap));
    assert_eq!(gaps(&world, "v1"), [3, 4, 5]);
    world.feed(&mut sources, 24.1, 0.0);
    world.checks.assert_rungs_aligned("v0", "v1");
    world.finish();
    assert!(world.list("v1").ended);
}

#[test]
fn a_rung_that_sleeps_from_the_start_is_offered_and_wakes_with_gaps_behind_it() {
    let set = set();
    let mut world = World::new();
    world.tracks(&set);
    world.push(Feed::Lost(TrackId(16), Absence::Asleep));
    let mut sources = sources(&set, 10.0, 30);
    assert_eq!(sleeps(&world, "v1").len(), 0, "nothing is out");
    feed_without(&mut world, &mut sources, 1, 11.2);
    assert!(world.text("index.m3u8").contains("/v1/"));
    assert_eq!(sleeps(&world, "v1"), [16], "with the multivariant playlist that offers it");
    feed_without(&mut world, &mut sources, 1, 15.1);
    assert_eq!(lists(&world, "v1"), 0);
    skip_to(&mut sources[1], 15.0);
    world.feed(&mut sources, 15.3, 0.0);
    let list = world.list("v1");
    assert_eq!(list.media_sequence, 1);
    assert_eq!(gaps(&world, "v1"), [1, 2, 3, 4, 5]);
    assert_eq!(edge(&world, "v1"), (6, 1));
    world.finish();
}

#[test]
fn one_that_never_wakes_is_not_offered_when_the_stream_has_ended() {
    let set = set();
    let mut world = World::new();
    world.tracks(&set);
    world.push(Feed::Lost(TrackId(16), Absence::Asleep));
    let mut sources = sources(&set, 10.0, 30);
    feed_without(&mut world, &mut sources, 1, 11.1);
    world.finish();
    assert!(world.list("v0").ended);
}

#[test]
fn one_that_vanishes_without_having_waked_is_retired() {
    let set = set();
    let mut world = World::new();
    world.tracks(&set);
    world.push(Feed::Lost(TrackId(16), Absence::Asleep));
    let mut sources = sources(&set, 10.0, 30);
    feed_without(&mut world, &mut sources, 1, 11.1);
    world.tracks(&tracks(&[set.tracks[0].clone(), set.tracks[2].clone(), set.tracks[3].clone()]));
    let gone = |output: &Output| matches!(output, Output::Update(Update::Retire { path, .. }) if path.as_str().ends_with("/v1/media.m3u8"));
    assert_eq!(world.log.iter().filter(|output| gone(output)).count(), 1);
    assert!(!world.text("index.m3u8").contains("/v1/"));
}

#[test]
fn a_rung_without_a_sync_sample_at_the_boundary_is_a_gap_until_it_has_one() {
    let (mut world, mut sources) = begun(30, 13.5);
    // Its encoder ignored the order to begin a GOP at 14.
    sources[1].gop = 60;
    world.feed(&mut sources, 17.1, 0.0);
    assert_eq!(gaps(&world, "v1"), [6], "with keyframes at 14 and 16");
    world.checks.assert_rungs_aligned("v0", "v1");
    world.finish();
}

#[test]
fn a_rung_with_a_hole_is_a_gap_from_there_on() {
    let (mut world, mut sources) = begun(30, 13.5);
    let frames = sources[1].seconds() + 0.1;
    skip_to(&mut sources[1], frames);
    world.feed(&mut sources, 16.1, 0.0);
    assert_eq!(gaps(&world, "v1"), [4]);
    world.checks.assert_rungs_aligned("v0", "v1");
    world.finish();
}

#[test]
fn a_rung_that_is_late_at_first_holds_the_stream_for_less_than_a_second() {
    let set = set();
    let mut world = World::new();
    world.tracks(&set);
    let mut sources = sources(&set, 10.0, 30);
    feed_without(&mut world, &mut sources, 2, 11.5);
    assert!(world.log.is_empty());
    feed_without(&mut world, &mut sources, 2, 12.0);
    assert!(world.text("index.m3u8").contains("/v1/") && !world.text("index.m3u8").contains("/v2/"));
    skip_to(&mut sources[2], 13.0);
    feed_without(&mut world, &mut sources, 2, 13.0);
    world.feed(&mut sources, 15.1, 0.0);
    assert!(world.text("index.m3u8").contains("/v2/"));
    assert_eq!(world.list("v2").media_sequence, 4);
    world.checks.assert_rungs_aligned("v0", "v2");
    world.finish();
}

/// The same rung of another encoder.
fn coded_anew(source: &Source) -> Track {
    let mut other = source.track.clone();
    if let aqueduct_common::CodecConfig::H264(config) = &mut other.codec {
        config.record = [&config.record[..], &[0]].concat().into();
        config.sps = vec![bytes::Bytes::from_static(&[0x67, 0x64, 0, 0x1f, 0xad])];
    }
    other
}

#[test]
fn a_rung_that_was_ten_seconds_behind_is_back_with_the_segment_that_it_catches_up_in() {
    for changes in [false, true] {
        let (mut world, mut sources) = begun(30, 14.5);
        feed_without(&mut world, &mut sources, 1, 26.0);
        let until = sources[0].seconds();
        let (early, late) = (until - 6.0, until);
        world.feed(&mut sources[1..2], early, 0.0);
        if changes {
            world.push(Feed::Changed(coded_anew(&sources[1]).into()));
        }
        world.feed(&mut sources[1..2], late, 0.0);
        world.feed(&mut sources, 31.1, 0.0);
        assert_eq!(edge(&world, "v1"), edge(&world, "v0"), "changes: {changes}");
        let gaps = gaps(&world, "v1");
        assert!(gaps.iter().all(|msn| *msn <= 17), "changes: {changes}, {gaps:?}");
        world.checks.assert_rungs_aligned("v0", "v1");
        world.finish();
    }
}

#[test]
fn another_encoder_brings_another_init_segment_and_no_discontinuity() {
    let (mut world, mut sources) = begun(30, 14.5);
    let map = world.list("v1").segments[0].map.clone();
    world.push(Feed::Changed(coded_anew(&sources[1]).into()));
    world.feed(&mut sources, 17.1, 0.0);
    let list = world.list("v1");
    for segment in &list.segments {
        assert_eq!(segment.map == map, segment.msn <= 5, "segment {}", segment.msn);
        assert!(!segment.discontinuity && !segment.gap);
    }
    // Of another size it is another rendition: nothing of it is taken until it is what it was.
    let mut larger = sources[1].track.clone();
    if let aqueduct_common::CodecConfig::H264(config) = &mut larger.codec {
        config.picture.width += 16;
    }
    world.push(Feed::Changed(larger.into()));
    world.feed(&mut sources, 19.1, 0.0);
    assert!(!world.text("index.m3u8").contains("/v1/"));
    assert_eq!(gaps(&world, "v1"), [8, 9]);
    world.push(Feed::Changed(sources[1].track.clone().into()));
    world.feed(&mut sources, 21.1, 0.0);
    assert!(world.text("index.m3u8").contains("/v1/"));
    assert_eq!(gaps(&world, "v1"), [8, 9, 10]);
    world.finish();
}
