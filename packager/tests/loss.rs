//! Sources that lose frames, or whose frames come as they like: the parts keep to what was promised.

mod support;

use aqueduct_common::event::Advice;
use aqueduct_common::track::Grid;
use aqueduct_common::{Event, Feed, MediaTime, Sample, TrackId, TrackSet};
use proptest::prelude::*;
use support::{Source, World, aac, opus, tracks, video};

/// Frames that take up what a wide one leaves to carry: each of them fills a part.
const ABSORBING: usize = 10;

/// A picture as the ingest makes it on a fixed grid: after lost frames it lasts longer, and is shown when it is due.
fn after_loss(source: &mut Source, lost: u64) -> Sample {
    let frame = source.track.grid.spacing().rescale(source.track.timescale).ticks;
    let mut sample = source.next();
    let late = lost as i64 * frame;
    sample.duration += late as u32;
    sample.pts = sample.pts.offset(late);
    source.dts += late;
    source.count += lost;
    sample
}

fn sources(set: &TrackSet, gop: u64) -> Vec<Source> {
    let gop = |id| if id == TrackId::VIDEO { gop } else { 1 };
    set.tracks.iter().map(|track| Source::new(track, 10.0, gop(track.id))).collect()
}

/// Feeds the next picture, and the sound up to where it begins.
fn picture(world: &mut World, sources: &mut [Source], sample: impl FnOnce(&mut Source) -> Sample) {
    let until = sources[0].seconds();
    world.feed(&mut sources[1..], until, 0.0);
    let sample = sample(&mut sources[0]);
    world.push(Feed::Sample(sample));
}

/// Pictures in decode order by when they are shown, as fed and as published.
fn assert_shown(world: &World, dir: &str, fed: &[i64]) {
    let mut chunks: Vec<_> =
        world.checks.chunks.iter().filter(|(path, _)| path.contains(&format!("/{dir}/"))).collect();
    chunks.sort_by_key(|(_, chunk)| chunk.tfdt);
    let shown: Vec<i64> = chunks.iter().flat_map(|(_, chunk)| chunk.pts.clone()).collect();
    assert_eq!(shown, fed, "presentation times are the source's");
}

fn long_gops(world: &World) -> usize {
    let found = |event: &&&Event| {
        matches!(event, Event::Anomaly { .. } | Event::Advice { advice: Advice::KeyframeInterval { .. }, .. })
    };
    world.events().iter().filter(found).count()
}

#[test]
fn lost_frames_make_no_part_too_long() {
    for sound in [aac(48_000, 1_024), opus()] {
        let set = tracks(&[video((30, 1), 0), sound]);
        let mut world = World::new();
        world.tracks(&set);
        let mut sources = sources(&set, 30);
        let mut fed = Vec::new();
        // Ten frames of each 120 are lost in the middle of a GOP.
        while sources[0].seconds() < 30.0 {
            let lost = if sources[0].count % 120 == 45 { 10 } else { 0 };
            picture(&mut world, &mut sources, |source| {
                let sample = after_loss(source, lost);
                fed.push(sample.pts.ticks);
                sample
            });
        }
        world.finish();
        assert_shown(&world, "v0", &fed);
        assert_eq!(long_gops(&world), 0);
    }
}

#[test]
fn frames_lost_before_a_keyframe_do_not_join_two_segments() {
    let set = tracks(&[video((30, 1), 0), aac(48_000, 1_024)]);
    for lost in 1..5 {
        let mut world = World::new();
        world.tracks(&set);
        let mut sources = sources(&set, 30);
        while sources[0].seconds() < 30.0 {
            // The frames before each fourth keyframe; it is shown when it is due, and decoded when they were.
            let before_key = sources[0].count % 120 == 120 - lost;
            picture(&mut world, &mut sources, |source| {
                if !before_key {
                    return source.next();
                }
                let mut sample = after_loss(source, lost);
                sample.sync = true;
                sample
            });
        }
        assert_eq!(long_gops(&world), 0, "{lost} lost");
        assert!(world.text("index.m3u8").contains("INDEPENDENT-SEGMENTS"));
        world.finish();
    }
}

#[test]
fn a_source_of_fewer_frames_than_a_part_can_hold_is_set_right_at_the_next_keyframe() {
    // Parts of single frames have nothing to absorb in: without sound their target is one frame.
    let set = tracks(&[video((5, 1), 0)]);
    let mut world = World::new();
    world.tracks(&set);
    let mut sources = sources(&set, 5);
    while sources[0].seconds() < 40.0 {
        let lost = u64::from(sources[0].count % 5 == 2);
        picture(&mut world, &mut sources, |source| after_loss(source, lost));
    }
    assert!(world.list("v0").segments.last().unwrap().era > 0);
    world.finish();
}

/// A source of no fixed rate, whose first frames were up to `widest` ticks apart.
fn variable(widest: i64, sound: bool) -> TrackSet {
    let mut picture = video((30, 1), 0);
    picture.grid = Grid::Variable { widest: MediaTime::new(widest, picture.timescale) };
    if sound { tracks(&[picture, aac(48_000, 1_024)]) } else { tracks(&[picture]) }
}

#[test]
fn a_steady_gop_of_a_variable_source_is_not_cut() {
    // Frames of up to 80 ms: parts of 0.67 s, so that the third of a segment would end behind its keyframe.
    let set = variable(7_200, true);
    let mut world = World::new();
    world.tracks(&set);
    let mut sources = sources(&set, u64::MAX);
    let pattern = [7_200_u32, 3_600, 6_000, 3_600, 4_800, 4_800];
    let mut number = 0_usize;
    while sources[0].seconds() < 40.0 {
        // 180 000 ticks of six-frame groups: a keyframe each two seconds.
        if number.is_multiple_of(36) {
            sources[0].restart_gop();
        }
        let duration = pattern[number % pattern.len()];
        number += 1;
        picture(&mut world, &mut sources, |source| source.next_lasting(duration));
    }
    assert!((600_000..720_000).contains(&world.list("v0").part_target), "{}", world.list("v0").part_target);
    assert_eq!(world.list("v0").target_duration, 2);
    assert_eq!(long_gops(&world), 0);
    assert!(world.text("index.m3u8").contains("INDEPENDENT-SEGMENTS"));
    world.assert_aligned(&set);
}

#[test]
fn a_wider_frame_than_any_before_ends_its_segment_in_time() {
    let set = variable(1_500, true);
    let mut world = World::new();
    world.tracks(&set);
    let mut sources = sources(&set, u64::MAX);
    let mut number = 0_u32;
    while sources[0].seconds() < 40.0 {
        number += 1;
        let duration = if number.is_multiple_of(40) { 60_000 } else { 1_500 };
        picture(&mut world, &mut sources, |source| source.next_lasting(duration));
    }
    world.finish();
}

#[test]
fn sound_far_ahead_of_the_first_picture_keeps_to_what_is_promised_later() {
    let set = tracks(&[video((1, 1), 0), aac(24_000, 1_024)]);
    let mut world = World::new();
    world.checks.lenient_dates = true;
    world.tracks(&set);
    let mut sources = sources(&set, 1);
    let first = sources[0].next();
    world.push(Feed::Sample(first));
    world.feed(&mut sources[1..], 20.0, 0.0);
    world.feed(&mut sources, 30.0, 0.0);
    world.finish();
    assert!(world.list("a0").segments.iter().all(|segment| segment.micros.unwrap() < 1_500_000));
}

#[test]
fn sound_that_comes_minutes_late_is_not_put_into_a_later_segment() {
    let set = variable(90_000, true);
    let mut world = World::new();
    world.checks.lenient_dates = true;
    world.tracks(&set);
    let mut sources = sources(&set, 250);
    while sources[0].seconds() < 250.0 {
        let sample = sources[0].next_lasting(90_000);
        world.push(Feed::Sample(sample));
    }
    world.feed(&mut sources[1..], 251.0, 0.0);
    world.finish();
    assert!(world.list("a0").segments.iter().all(|segment| segment.micros.unwrap() < 20_500_000));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    /// Frames lost anywhere on a fixed grid, and enough between losses to absorb one: LLHLS-1, -2, -3 and TL-37 by `support::check`.
    #[test]
    fn lost_frames_keep_the_rules(
        rate in prop::sample::select(vec![(24, 1), (25, 1), (30_000, 1_001), (30, 1), (50, 1), (60, 1)]),
        sound in prop::sample::select(vec![aac(48_000, 1_024), aac(44_100, 1_024), opus()]),
        gop in 10_u64..100,
        losses in prop::collection::vec((8_u64..60, 0.0..0.95_f64), 1..20),
    ) {
        let set = tracks(&[video(rate, 0), sound]);
        let mut world = World::new();
        world.tracks(&set);
        let mut sources = sources(&set, gop);
        let mut fed = Vec::new();
        for (frames, seconds) in losses {
            let lost = (seconds * f64::from(rate.0) / f64::from(rate.1)) as u64;
            for frame in 0..=frames {
                let lost = if frame == frames && !sources[0].count.is_multiple_of(gop) { lost } else { 0 };
                picture(&mut world, &mut sources, |source| {
                    let sample = after_loss(source, lost);
                    fed.push(sample.pts.ticks);
                    sample
                });
            }
        }
        world.finish();
        assert_shown(&world, "v0", &fed);
    }

    /// Frames of any length below a second on a variable grid whose widest was less; so far apart that no more than a
    /// second of them has to be carried.
    #[test]
    fn wide_frames_keep_the_rules(
        widest in 1_000_i64..9_000,
        gop in 10_u64..60,
        spans in prop::collection::vec(1_000_u32..9_000, 20..200),
        wide in prop::collection::vec((0_usize..200, 9_000_u32..80_000), 0..6),
    ) {
        let set = variable(widest, true);
        let mut world = World::new();
        world.tracks(&set);
        let mut sources = sources(&set, gop);
        let mut absorbed = 0;
        for (index, span) in spans.iter().enumerate() {
            let wide = wide.iter().find(|(at, _)| *at == index && index >= absorbed).map(|(_, span)| *span);
            absorbed = if wide.is_some() { index + ABSORBING } else { absorbed };
            let narrow = (*span).min(widest as u32);
            picture(&mut world, &mut sources, |source| source.next_lasting(wide.unwrap_or(narrow)));
        }
        world.finish();
    }
}
