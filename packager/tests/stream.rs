//! What one stream publishes, from its first sample to its end. Every update passes the rules of `support::check`.

mod support;

use std::time::Duration;

use aqueduct_common::event::{Advice, Anomaly};
use aqueduct_common::feed::Break;
use aqueduct_common::track::Grid;
use aqueduct_common::{Event, Feed, MediaTime, ObjectKind, TrackId, Update};
use aqueduct_packager::checkpoint::Origin;
use aqueduct_packager::stream::Output;
use aqueduct_packager::{Config, Plan};
use support::{World, aac, opus, sources, tracks, video};

fn origin() -> Origin {
    Origin { fresh: 1_763_634_000, resumed: None }
}

#[test]
fn usual_rates_keep_the_rules_and_stay_aligned() {
    let sounds = [aac(48_000, 1_024), aac(44_100, 1_024), aac(48_000, 2_048), opus()];
    let rates =
        [(24_000, 1_001), (24, 1), (25, 1), (30_000, 1_001), (30, 1), (50, 1), (60_000, 1_001), (60, 1)];
    for rate in rates {
        for sound in &sounds {
            let set = tracks(&[video(rate, 2), sound.clone()]);
            let mut world = World::new();
            world.tracks(&set);
            let gop = (f64::from(rate.0) / f64::from(rate.1)).round() as u64;
            world.feed(&mut sources(&set, gop), 15.0, 0.0);
            world.assert_aligned(&set);
            assert_eq!(
                world.list("v0").segments.last().unwrap().msn,
                world.list("a0").segments.last().unwrap().msn
            );
            // All parts fill 85 %, though sound need not: each of its parts is independent (LLHLS-3).
            let least = world.list("a0").part_target * 85 / 100;
            let list = world.list("a0");
            let complete = list.segments.iter().filter(|segment| segment.micros.is_some());
            let parts = complete
                .filter_map(|segment| segment.parts.split_last())
                .flat_map(|(_, all_but_last)| all_but_last);
            for part in parts {
                assert!(
                    part.micros >= least,
                    "{rate:?} {:?}: {} of {least}",
                    sound.codec.rfc6381(),
                    part.micros
                );
            }
            world.finish();
        }
    }
}

#[test]
fn targets_come_from_the_grid() {
    let targets = |set: &aqueduct_common::TrackSet, gop| {
        let mut world = World::new();
        world.tracks(set);
        world.feed(&mut sources(set, gop), 31.0, 0.0);
        let list = world.list(if set.tracks[0].id == TrackId::VIDEO { "v0" } else { "a0" });
        (list.part_target, list.target_duration)
    };
    let aac = aac(48_000, 1_024);
    assert_eq!(targets(&tracks(&[video((30, 1), 0), aac.clone()]), 30), (214_000, 1));
    assert_eq!(targets(&tracks(&[video((30, 1), 0), opus()]), 30), (200_000, 1));
    assert_eq!(targets(&tracks(&[video((24, 1), 0), aac.clone()]), 48), (214_000, 2));
    assert_eq!(targets(&tracks(&[video((30_000, 1_001), 0)]), 30), (201_000, 1));
    // OBS without a keyframe interval: 250 frames.
    assert_eq!(targets(&tracks(&[video((30, 1), 2), aac.clone()]), 250), (214_000, 9));
    assert_eq!(targets(&tracks(&[aac]), 1), (192_000, 1));
}

#[test]
fn a_part_is_published_and_listed_with_its_last_frame_whatever_the_others_have() {
    let set = tracks(&[video((30, 1), 0), aac(48_000, 1_024)]);
    let mut world = World::new();
    world.tracks(&set);
    let mut sources = sources(&set, 30);
    world.feed(&mut sources, 12.0, 0.0);
    let parts =
        |world: &World| world.objects.values().filter(|object| object.kind == ObjectKind::Part).count();
    let (before, mut renders) = (parts(&world), world.log.len());
    let listed = |world: &World, dir: &str| world.list(dir).segments.last().unwrap().parts.len();
    assert_eq!((listed(&world, "v0"), listed(&world, "a0")), (5, 5));
    // Frames 61 to 66 make a part: the last one publishes and lists it, without a look at the next or at the sound.
    for frame in 0..6 {
        let sample = sources[0].next();
        world.push(Feed::Sample(sample));
        assert_eq!(parts(&world) - before, usize::from(frame == 5));
        assert_eq!(listed(&world, "v0"), if frame == 5 { 1 } else { 5 }, "frame {frame}");
        if frame == 0 {
            renders = world.log.len();
        }
    }
    assert_eq!(world.log.len() - renders, 3, "a part, its event and one playlist");
    assert_eq!(
        world.list("v0").reports,
        [("../a0/media.m3u8".to_owned(), 2, 4)],
        "as the sound's list stands"
    );
    while listed(&world, "a0") != 1 {
        let sample = sources[1].next();
        assert!(sample.dts.seconds() < 12.2, "listed with its last sample");
        world.push(Feed::Sample(sample));
    }
    assert!(world.text("/a0/media.m3u8").contains("p11.m4s"));
    assert_eq!(world.list("a0").reports, [("../v0/media.m3u8".to_owned(), 3, 0)]);
}

#[test]
fn nothing_is_published_before_the_first_segment_is_complete_on_all_tracks() {
    let set = tracks(&[video((25, 1), 0), aac(48_000, 1_024)]);
    let mut world = World::new();
    world.tracks(&set);
    let mut sources = sources(&set, 50);
    world.feed(&mut sources, 11.99, 0.0);
    assert!(world.log.is_empty());
    world.feed(&mut sources, 12.1, 0.0);
    let kinds: Vec<ObjectKind> = world
        .log
        .iter()
        .filter_map(|output| match output {
            Output::Update(Update::Publish(object)) => Some(object.kind),
            _ => None,
        })
        .collect();
    assert_eq!(kinds[0], ObjectKind::Init);
    assert_eq!(kinds.last(), Some(&ObjectKind::Multivariant));
    assert_eq!(world.list("v0").segments[0].msn, 1);
    assert_eq!(world.list("v0").target_duration, 2);
}

#[test]
fn a_later_longer_gop_is_cut_before_the_target_duration_is_broken() {
    let set = tracks(&[video((30, 1), 2), aac(48_000, 1_024)]);
    let mut world = World::new();
    world.tracks(&set);
    let mut sources = sources(&set, 30);
    world.feed(&mut sources, 14.0, 0.0);
    assert!(world.text("index.m3u8").contains("INDEPENDENT-SEGMENTS"));
    sources[0].gop = 120;
    world.feed(&mut sources, 40.0, 0.0);
    world.assert_aligned(&set);
    assert_eq!(world.list("v0").target_duration, 1);
    assert!(!world.text("index.m3u8").contains("INDEPENDENT-SEGMENTS"));
    // A keyframe always begins a segment: the flag on the first part of others is absent, and true where it is.
    let list = world.list("v0");
    let firsts: Vec<bool> = list
        .segments
        .iter()
        .filter_map(|segment| segment.parts.first())
        .map(|part| part.independent)
        .collect();
    assert!(firsts.contains(&true) && firsts.contains(&false), "{firsts:?}");
    for segment in &list.segments {
        assert!(segment.parts.iter().skip(1).all(|part| !part.independent));
    }
    let long = |event: &&Event| matches!(event, Event::Anomaly { kind: Anomaly::LongGop, .. });
    assert!(world.events().into_iter().filter(long).count() >= 6);
    let advice = |event: &&Event| {
        matches!(
            event,
            Event::Advice { advice: Advice::KeyframeInterval { is_millis: 4_000, set_seconds: 1 }, .. }
        )
    };
    assert!(world.events().into_iter().any(|event| advice(&event)));
}

#[test]
fn keyframes_two_seconds_apart_are_no_reason_for_advice() {
    let set = tracks(&[video((30, 1), 0)]);
    let mut world = World::new();
    world.tracks(&set);
    world.feed(&mut sources(&set, 60), 30.0, 0.0);
    assert!(
        !world.events().iter().any(|event| matches!(event, Event::Advice { .. } | Event::Anomaly { .. }))
    );
}

#[test]
fn a_source_without_keyframes_is_published_in_the_end() {
    let set = tracks(&[video((30, 1), 0), aac(48_000, 1_024)]);
    let mut world = World::new();
    world.tracks(&set);
    world.feed(&mut sources(&set, u64::MAX), 80.0, 0.0);
    assert_eq!(world.list("v0").target_duration, 20);
    world.assert_aligned(&set);
}

#[test]
fn sound_alone_and_picture_alone() {
    let mut world = World::new();
    let set = tracks(&[aac(44_100, 1_024)]);
    world.tracks(&set);
    world.feed(&mut sources(&set, 1), 25.0, 0.0);
    world.finish();
    assert!(world.list("a0").ended);
    let text = world.text("index.m3u8");
    assert!(
        text.contains("CODECS=\"mp4a.40.2\"\n") && !text.contains("EXT-X-MEDIA") && !text.contains("AUDIO=")
    );

    let mut world = World::new();
    let set = tracks(&[video((25, 1), 3)]);
    world.tracks(&set);
    world.feed(&mut sources(&set, 25), 25.0, 0.0);
    let text = world.text("index.m3u8");
    assert!(text.contains("CODECS=\"avc1.64001f\"") && !text.contains("AUDIO"));
    assert!(world.list("v0").reports.is_empty());
}

#[test]
fn a_return_of_the_publisher_is_a_discontinuity_on_every_rendition() {
    let set = tracks(&[video((30, 1), 2), aac(48_000, 1_024)]);
    let mut world = World::new();
    world.tracks(&set);
    let mut before = sources(&set, 30);
    world.feed(&mut before, 14.57, 0.0);
    world.push(Feed::Discontinuity(Break::Reconnect));
    let closed = world.list("v0");
    assert!(closed.segments.last().unwrap().micros.unwrap() < 700_000, "closed as it is (TL-29)");
    let mut after = sources(&set, 30);
    after.iter_mut().for_each(|source| source.dts += 9 * i64::from(source.track.timescale.hz()));
    world.feed(&mut after, 25.0, 0.0);
    world.assert_aligned(&set);
    for dir in ["v0", "a0"] {
        let list = world.list(dir);
        let first = list.segments.iter().find(|segment| segment.discontinuity).unwrap();
        assert_eq!((first.msn, first.era), (closed.segments.last().unwrap().msn + 1, 1), "{dir}");
    }
    world.feed(&mut after, 40.0, 0.0);
    for dir in ["v0", "a0"] {
        assert_eq!(world.list(dir).discontinuity_sequence, 1, "{dir}: the tag has left the list (LLHLS-13)");
    }
    let reason =
        |event: &&Event| matches!(event, Event::Discontinuity { reason: Some(Break::Reconnect), .. });
    assert_eq!(world.events().into_iter().filter(reason).count(), 1);
}

#[test]
fn other_parameters_bring_another_init_segment_and_the_targets_stay() {
    let set = tracks(&[video((30, 1), 0), aac(48_000, 1_024)]);
    let mut world = World::new();
    world.tracks(&set);
    world.feed(&mut sources(&set, 30), 14.0, 0.0);
    let old = world.list("v0").segments[0].map.clone();
    let mut smaller = video((50, 1), 2);
    if let aqueduct_common::CodecConfig::H264(config) = &mut smaller.codec {
        config.picture.width = 640;
        config.picture.height = 360;
    }
    let set = tracks(&[smaller, aac(44_100, 1_024)]);
    world.push(Feed::Tracks(set.clone().into()));
    world.push(Feed::Discontinuity(Break::Reconnect));
    let mut after = sources(&set, 50);
    after.iter_mut().for_each(|source| source.dts += 10 * i64::from(source.track.timescale.hz()));
    world.feed(&mut after, 24.0, 0.0);
    let list = world.list("v0");
    assert_eq!((list.part_target, list.target_duration), (214_000, 1));
    let first = list.segments.iter().find(|segment| segment.discontinuity).unwrap();
    assert_ne!(first.map, old);
    assert!(world.text("index.m3u8").contains("RESOLUTION=640x360"));
    world.feed(&mut after, 45.0, 0.0);
    let retired = |output: &Output| matches!(output, Output::Update(Update::Retire { path, .. }) if path.as_str().ends_with(&old));
    assert!(world.log.iter().any(retired), "the old init segment goes with the last segment that needs it");
    assert_eq!(world.list("v0").discontinuity_sequence, 1);
}

#[test]
fn sound_that_is_ahead_of_pictures_that_change_goes_on_without_a_hole() {
    let set = tracks(&[video((25, 1), 0), aac(48_000, 1_024)]);
    let mut other = set.clone();
    if let aqueduct_common::CodecConfig::H264(config) = &mut other.tracks[0].codec {
        config.picture.width = 640;
    }
    // Sound comes before, with or after its picture; the last is what the tracks were described for anew.
    for lag in [-0.3, -0.05, 0.0, 0.05] {
        let mut world = World::new();
        world.tracks(&set);
        let mut sources = sources(&set, 25);
        for (again, end) in [(&set, 14.0), (&other, 18.0), (&set, 22.0)] {
            if end > 14.0 {
                world.push(Feed::Tracks(again.clone().into()));
            }
            world.feed(&mut sources, end, lag);
        }
        world.finish();
        world.assert_aligned(&set);
        let sound = world.list("a0");
        let breaks = sound.segments.iter().filter(|segment| segment.discontinuity);
        assert_eq!(breaks.count(), 2, "sound {lag} s late");
        let of_sound = world.checks.chunks.iter().filter(|(path, _)| path.contains("/a0/"));
        let mut spans: Vec<_> = of_sound.map(|(_, chunk)| (chunk.tfdt, chunk.tfdt + chunk.ticks)).collect();
        spans.sort_unstable();
        let joined = spans.windows(2).all(|pair| pair[0].1 == pair[1].0);
        // What comes after the pictures that it belongs to is too late for their segment.
        assert!(joined || lag > 0.0, "sound {lag} s late: {spans:?}");
    }
}

#[test]
fn parameters_that_come_back_get_another_init_segment() {
    let set = tracks(&[video((30, 1), 0), aac(48_000, 1_024)]);
    let mut other = set.clone();
    if let aqueduct_common::CodecConfig::H264(config) = &mut other.tracks[0].codec {
        config.picture.width = 640;
    }
    let mut world = World::new();
    world.tracks(&set);
    world.feed(&mut sources(&set, 30), 14.0, 0.0);
    let mut seconds = 0;
    for (again, end) in [(&other, 18.0), (&set, 22.0), (&set, 40.0)] {
        seconds += 4;
        world.push(Feed::Tracks(again.clone().into()));
        let mut after = sources(again, 30);
        after.iter_mut().for_each(|source| source.dts += seconds * i64::from(source.track.timescale.hz()));
        world.feed(&mut after, end, 0.0);
    }
    // `support::check` fails if a file that has gone is named or used again.
    let retired = |output: &&Output| matches!(output, Output::Update(Update::Retire { path, .. }) if path.as_str().contains("v0/init"));
    assert_eq!(world.log.iter().filter(retired).count(), 2);
}

#[test]
fn a_late_track_begins_where_the_others_are_and_a_lost_one_ends() {
    let alone = tracks(&[video((30, 1), 0)]);
    let both = tracks(&[video((30, 1), 0), aac(48_000, 1_024)]);
    let mut world = World::new();
    world.tracks(&alone);
    let mut picture = sources(&alone, 30);
    world.feed(&mut picture, 15.0, 0.0);
    world.push(Feed::Tracks(both.clone().into()));
    let mut now = sources(&both, 30);
    now.iter_mut().for_each(|source| source.dts += 5 * i64::from(source.track.timescale.hz()));
    world.feed(&mut now, 20.0, 0.0);
    let (video_list, audio_list) = (world.list("v0"), world.list("a0"));
    let first = &audio_list.segments[0];
    let same = video_list.segments.iter().find(|segment| segment.msn == first.msn).unwrap();
    assert!(same.discontinuity && first.era == same.era && first.msn > 1);
    assert!(world.text("index.m3u8").contains("TYPE=AUDIO"));

    world.push(Feed::Tracks(alone.clone().into()));
    assert!(world.list("a0").ended && !world.list("v0").ended);
    assert!(!world.text("index.m3u8").contains("/a0/"), "nobody is sent to a list that has ended");
    let mut last = sources(&alone, 30);
    last.iter_mut().for_each(|source| source.dts += 10 * i64::from(source.track.timescale.hz()));
    world.feed(&mut last, 25.0, 0.0);
    assert!(!world.text("index.m3u8").contains("TYPE=AUDIO"));
    // What comes back has a directory of its own: a list that has ended does not go on.
    world.push(Feed::Tracks(both.clone().into()));
    let mut again = sources(&both, 30);
    again.iter_mut().for_each(|source| source.dts += 15 * i64::from(source.track.timescale.hz()));
    world.feed(&mut again, 30.0, 0.0);
    assert!(world.text("index.m3u8").contains("/a1/media.m3u8"));
}

#[test]
fn a_stream_shorter_than_a_segment_is_published_whole() {
    let set = tracks(&[video((30, 1), 0), aac(48_000, 1_024)]);
    let mut world = World::new();
    world.tracks(&set);
    world.feed(&mut sources(&set, 300), 10.7, 0.0);
    world.finish();
    let list = world.list("v0");
    assert!(list.ended && list.segments.len() == 1 && list.hint.is_none() && list.reports.is_empty());
    assert!(
        matches!(world.log.iter().rev().nth(2), Some(Output::Update(Update::End { .. }))),
        "{:?}",
        world.log
    );
}

#[test]
fn a_break_before_the_first_segment_is_complete_leaves_no_trace() {
    let set = tracks(&[video((30, 1), 0), aac(48_000, 1_024)]);
    let mut world = World::new();
    world.tracks(&set);
    world.feed(&mut sources(&set, 60), 10.4, 0.0);
    world.push(Feed::Discontinuity(Break::Overflow));
    let mut after = sources(&set, 60);
    after.iter_mut().for_each(|source| source.dts += 5 * i64::from(source.track.timescale.hz()));
    world.feed(&mut after, 20.0, 0.0);
    let list = world.list("v0");
    assert_eq!((list.media_sequence, list.target_duration, list.segments[0].era), (1, 2, 0));
}

#[test]
fn a_long_window_offers_delta_updates() {
    let plan = Plan::try_from(Config { window: Duration::from_secs(30), ..Config::default() }).unwrap();
    let set = tracks(&[video((30, 1), 0), aac(48_000, 1_024)]);
    let mut world = World::with(plan, origin());
    world.tracks(&set);
    let mut before = sources(&set, 30);
    world.feed(&mut before, 30.3, 0.0);
    world.push(Feed::Discontinuity(Break::TimestampJump));
    let mut after = sources(&set, 30);
    after.iter_mut().for_each(|source| source.dts += 21 * i64::from(source.track.timescale.hz()));
    world.feed(&mut after, 75.0, 0.0);
    let playlists = |output: &&Output| {
        matches!(output, Output::Update(Update::Publish(object))
            if object.playlist.as_ref().is_some_and(|playlist| playlist.delta.is_some()))
    };
    assert!(world.log.iter().filter(playlists).count() > 500);
    assert_eq!(world.list("v0").control["CAN-SKIP-UNTIL"], "6");
}

#[test]
fn a_variable_grid_has_parts_wide_enough_for_its_slack() {
    let mut picture = video((30, 1), 0);
    picture.grid = Grid::Variable { widest: MediaTime::new(5_000, picture.timescale) };
    let set = tracks(&[picture, aac(48_000, 1_024)]);
    let mut world = World::new();
    world.tracks(&set);
    let mut sources = sources(&set, 40);
    let mut random = 1_u32;
    while sources[0].seconds() < 30.0 {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let duration = 2_000 + (random >> 16) % 3_001;
        let until = sources[0].seconds();
        world.feed(&mut sources[1..], until, 0.0);
        let sample = sources[0].next_lasting(duration);
        world.push(Feed::Sample(sample));
    }
    assert!(world.list("v0").part_target < 600_000);
    world.assert_aligned(&set);
}

#[test]
fn sound_far_ahead_is_not_held_for_ever_and_far_behind_does_not_hold_the_picture() {
    let set = tracks(&[video((30, 1), 0), aac(48_000, 1_024)]);
    let mut world = World::new();
    world.tracks(&set);
    let mut sources = sources(&set, 30);
    world.feed(&mut sources, 14.2, 0.0);
    world.checks.lenient_dates = true;
    // The sound runs on alone for more than a second, then the picture comes.
    let newest = |world: &World, dir: &str| {
        let list = world.list(dir);
        let last = list.segments.last().unwrap();
        (last.msn, last.parts.len())
    };
    let before = newest(&world, "a0");
    world.feed(&mut sources[1..], 15.5, 0.0);
    assert!(newest(&world, "a0") > before, "who only listens hears on");
    assert_eq!(newest(&world, "v0"), newest(&world, "v0"));
    world.feed(&mut sources, 18.0, 0.0);
    // The picture runs on alone.
    let before = newest(&world, "v0");
    world.feed(&mut sources[..1], 20.5, 0.0);
    assert!(newest(&world, "v0") > before);
    assert!(newest(&world, "v0") > newest(&world, "a0"));
    world.feed(&mut sources, 26.0, 0.0);
    assert_eq!(newest(&world, "v0").0, newest(&world, "a0").0);
}

/// As where encoders are overloaded, and the sound passes them by.
#[test]
fn a_picture_that_comes_seconds_after_its_sound_still_begins_segments_with_it() {
    let set = tracks(&[video((30, 1), 0), aac(48_000, 1_024)]);
    let mut world = World::new();
    world.tracks(&set);
    let mut sources = sources(&set, 30);
    for (until, ahead) in [(14.0, 0.0), (17.0, 1.3), (22.0, 2.4), (26.0, 0.0)] {
        world.feed(&mut sources, until, -ahead);
    }
    world.assert_aligned(&set);
}

#[test]
fn sound_that_begins_late_leaves_gaps_where_it_was_missing() {
    let set = tracks(&[video((30, 1), 0), aac(48_000, 1_024)]);
    let mut world = World::new();
    world.checks.lenient_dates = true;
    world.tracks(&set);
    let mut before = sources(&set, 30);
    world.feed(&mut before, 16.0, 0.0);
    world.push(Feed::Discontinuity(Break::Reconnect));
    let mut after = sources(&set, 30);
    after.iter_mut().for_each(|source| source.dts += 8 * i64::from(source.track.timescale.hz()));
    after[1].dts += 2 * 48_000 + 24_000;
    world.feed(&mut after, 23.0, 0.0);
    let list = world.list("a0");
    let gaps: Vec<u64> =
        list.segments.iter().filter(|segment| segment.gap).map(|segment| segment.msn).collect();
    assert_eq!(gaps.len(), 2, "{list:?}");
    assert!(world.text("/a0/media.m3u8").contains("#EXT-X-GAP\n#EXTINF:1.000000,\ns"));
    world.feed(&mut after, 24.0, 0.0);
    assert_eq!(world.list("a0").segments.last().unwrap().msn, world.list("v0").segments.last().unwrap().msn);
}
