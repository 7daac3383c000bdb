//! A packager that begins where another one was: the same URLs, no name twice, and no trust in what a checkpoint says. Every
//! update passes the rules of `support::check`.

mod support;

use std::time::Duration;

use aqueduct_common::Feed;
use aqueduct_packager::checkpoint::{Checkpoint, Origin};
use support::playlist::Playlist;
use support::{World, aac, sources, tracks, video};

#[test]
fn a_restart_goes_on_with_the_same_urls_and_no_name_twice() {
    let set = tracks(&[video((30, 1), 0), aac(48_000, 1_024)]);
    let mut world = World::new();
    world.tracks(&set);
    world.feed(&mut sources(&set, 30), 18.3, 0.0);
    let before = world.list("v0");
    let checkpoints = aqueduct_packager::Checkpoints::new(Some(scratch("restart")));
    let name = "live/show".parse().unwrap();
    checkpoints.keep(&name, &world.checkpoint.unwrap()).unwrap();

    let soon = world.now.offset(4_000_000);
    let origin = checkpoints.origin(&name, soon, Duration::from_secs(30));
    let mut again = World::begin(origin);
    // The same checks go on: a name that is used twice fails.
    again.checks = world.checks;
    again.checks.restart();
    again.now = soon;
    again.tracks(&set);
    again.feed(&mut sources(&set, 30), 14.0, 0.0);
    let after = again.list("v0");
    // What nobody has any more is listed as gaps, so that players find their place; then numbers beyond all that may
    // have been used.
    assert_eq!(after.media_sequence, before.segments.last().unwrap().msn, "the one that was open");
    let first = after.segments.iter().position(|segment| !segment.gap).unwrap();
    assert!(after.segments[first].msn >= before.segments.last().unwrap().msn + 2);
    assert!(after.segments[..first].iter().all(|missed| missed.parts.is_empty() && missed.micros.is_some()));
    assert_eq!(
        (after.discontinuity_sequence, after.segments[0].era, after.segments[first].era),
        (0, 0, 2),
        "one that may have been, and its own"
    );
    assert!(after.segments[first - 1].discontinuity && after.segments[first].discontinuity);
    assert_eq!((after.part_target, after.target_duration), (before.part_target, before.target_duration));
    assert!(again.objects.keys().all(|path| path == "index.m3u8" || path.starts_with("t60spc/")));

    let late = checkpoints.origin(&name, soon.offset(60_000_000), Duration::from_secs(30));
    assert!(late.resumed.is_none() && late.fresh > origin.fresh);
    again.finish();
    assert_eq!(again.checkpoint, None);
    checkpoints.forget(&name).unwrap();
    assert!(checkpoints.origin(&name, soon, Duration::from_secs(30)).resumed.is_none());
}

#[test]
fn after_a_restart_each_rung_goes_on_under_its_own_url() {
    let source = video((30, 1), 0);
    let rungs = [(16, 480, 1_200_000), (17, 360, 700_000)];
    let rungs = rungs.map(|(id, height, bits)| support::rung(&source, id, height, bits, false));
    let sound = aac(48_000, 1_024);
    let all = tracks(&[source.clone(), sound.clone(), rungs[0].clone(), rungs[1].clone()]);
    let mut world = World::new();
    world.tracks(&all);
    world.feed(&mut sources(&all, 30), 18.3, 0.0);
    let heights = |world: &World| -> Vec<(String, String)> {
        let text = world.text("index.m3u8");
        let (_, read) = m3u8_rs::parse_master_playlist(text.as_bytes()).unwrap();
        // The sound alone has no size.
        let sized =
            |variant: m3u8_rs::VariantStream| Some((variant.resolution?.height.to_string(), variant.uri));
        read.variants.into_iter().filter_map(sized).collect()
    };
    let before = heights(&world);
    assert_eq!(before.len(), 3);
    let checkpoint = world.checkpoint.unwrap();
    // The ladder is there at once, or later than the source, or the other way round.
    let alone = tracks(&[source.clone(), sound.clone()]);
    let turned = tracks(&[source, sound, rungs[1].clone(), rungs[0].clone()]);
    for begins in [&all, &alone, &turned] {
        let checkpoints = aqueduct_packager::Checkpoints::new(Some(scratch("rungs")));
        let name = "live/show".parse().unwrap();
        checkpoints.keep(&name, &checkpoint).unwrap();
        let soon = world.now.offset(2_000_000);
        let mut again = World::begin(checkpoints.origin(&name, soon, Duration::from_secs(30)));
        again.now = soon;
        again.tracks(begins);
        again.feed(&mut sources(begins, 30), 18.0, 0.0);
        if begins.tracks.len() < all.tracks.len() {
            assert_eq!(again.checkpoint.unwrap().directories.further, checkpoint.directories.further);
            again.push(Feed::Tracks(all.clone().into()));
            let mut later = sources(&all, 30);
            later.iter_mut().for_each(|source| source.dts += 8 * i64::from(source.track.timescale.hz()));
            again.feed(&mut later, 24.0, 0.0);
        }
        let mut after = heights(&again);
        after.sort_by_key(|(height, _)| before.iter().position(|(before, _)| before == height));
        assert_eq!(after, before);
    }
}

#[test]
fn a_restart_does_not_bring_back_a_rendition_that_has_ended() {
    let alone = tracks(&[video((30, 1), 0)]);
    let both = tracks(&[video((30, 1), 0), aac(48_000, 1_024)]);
    let mut world = World::new();
    let mut seconds = 0;
    for set in [&both, &alone, &both] {
        world.tracks(set);
        let mut sources = sources(set, 30);
        sources.iter_mut().for_each(|source| source.dts += seconds * i64::from(source.track.timescale.hz()));
        seconds += 5;
        world.feed(&mut sources, 10.0 + seconds as f64, 0.0);
    }
    assert!(world.list("a0").ended && !world.list("a1").ended);
    let resumed = world.checkpoint.unwrap();
    let mut again = World::begin(Origin { fresh: 1_763_634_099, resumed: Some(resumed) });
    again.tracks(&both);
    again.feed(&mut sources(&both, 30), 13.0, 0.0);
    let text = again.text("index.m3u8");
    assert!(
        text.contains("/v0/media.m3u8") && text.contains("/a1/media.m3u8") && !text.contains("/a0/"),
        "{text}"
    );
    // And one that ended before the restart has its directory for itself.
    world.push(Feed::Tracks(alone.clone().into()));
    let mut picture = sources(&alone, 30);
    picture[0].dts += seconds * 90_000;
    world.feed(&mut picture, 13.0 + seconds as f64, 0.0);
    let resumed = world.checkpoint.unwrap();
    let mut again = World::begin(Origin { fresh: 1_763_634_099, resumed: Some(resumed) });
    again.tracks(&both);
    again.feed(&mut sources(&both, 30), 13.0, 0.0);
    assert!(again.text("index.m3u8").contains("/a2/media.m3u8"));
}

#[test]
fn after_a_restart_a_sound_that_begins_late_has_its_numbers_all_the_same() {
    let both = tracks(&[video((30, 1), 0), aac(48_000, 1_024)]);
    let mut world = World::new();
    world.tracks(&both);
    world.feed(&mut sources(&both, 30), 14.0, 0.0);
    let at = world.checkpoint.unwrap();
    let resumed =
        Checkpoint { next_msn: at.next_msn + 9, missed_msn: Some(at.next_msn), era: at.era + 1, ..at };
    let mut again = World::begin(Origin { fresh: 1_763_634_099, resumed: Some(resumed) });
    again.tracks(&both);
    let mut sources = sources(&both, 30);
    // Three segments of sound are not there.
    sources[1].dts += 144_000;
    again.feed(&mut sources, 17.0, 0.0);
    let (picture, sound) = (again.list("v0"), again.list("a0"));
    let newest = |list: &Playlist| list.segments.last().unwrap().msn;
    assert_eq!(newest(&picture), newest(&sound), "lines count their numbers (LLHLS-13)");
    assert_eq!(picture.media_sequence, at.next_msn, "the gaps are listed until there is a window of media");
    again.feed(&mut sources, 30.0, 0.0);
    assert!(again.list("v0").segments.iter().all(|segment| !segment.gap), "and no longer");
}

#[test]
fn a_checkpoint_that_says_anything_begins_a_new_epoch() {
    let set = tracks(&[video((30, 1), 0)]);
    let mut world = World::new();
    world.tracks(&set);
    world.feed(&mut sources(&set, 30), 14.0, 0.0);
    let good = world.checkpoint.unwrap();
    let checkpoints = aqueduct_packager::Checkpoints::new(Some(scratch("anything")));
    let name = "live/show".parse().unwrap();
    for bad in [
        Checkpoint { next_msn: u64::MAX, ..good },
        Checkpoint { era: u64::MAX, ..good },
        Checkpoint { next_part: u64::MAX, ..good },
        Checkpoint { target_duration: 1 << 30, ..good },
        Checkpoint { target_duration: 0, ..good },
        Checkpoint { part_target: u32::MAX, ..good },
    ] {
        checkpoints.keep(&name, &bad).unwrap();
        let origin = checkpoints.origin(&name, world.now, Duration::from_secs(30));
        assert_eq!(origin.resumed, None, "{bad:?}");
    }
    checkpoints.keep(&name, &good).unwrap();
    assert!(checkpoints.origin(&name, world.now, Duration::from_secs(30)).resumed.is_some());
}

fn scratch(name: &str) -> std::path::PathBuf {
    let dir = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&dir);
    dir
}
