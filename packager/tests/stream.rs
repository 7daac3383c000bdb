//! What one stream publishes, from its first sample to its end.

mod support;

use aqueduct_common::{Event, Feed};
use support::{Source, World, aac, playlist, tracks, video};

/// 30 fps with keyframes each second, and AAC: the shape that most streamers send.
#[test]
fn an_ordinary_stream() {
    let set = tracks(&[video((30, 1), 0), aac(48_000, 1_024)]);
    let mut world = World::new();
    world.tracks(&set);
    let mut sources = [Source::new(&set.tracks[0], 10.0, 30), Source::new(&set.tracks[1], 10.0, 1)];
    world.feed(&mut sources, 31.7, 0.0);
    println!("{}", world.text("v0/media.m3u8"));
    println!("{}", world.text("a0/media.m3u8"));
    println!("{}", world.text("index.m3u8"));
    let video = playlist::read(&world.text("v0/media.m3u8"));
    assert_eq!((video.target_duration, video.part_target), (1, 214_000));
    assert!(video.segments.iter().all(|segment| segment.micros.is_none_or(|micros| micros == 1_000_000)));
    world.finish();
    assert!(world.text("v0/media.m3u8").ends_with("#EXT-X-ENDLIST\n"));
    let live = world.events().iter().filter(|event| matches!(event, Event::PackagerLive { .. })).count();
    assert_eq!(live, 1);
    let _ = Feed::Discontinuity;
}
