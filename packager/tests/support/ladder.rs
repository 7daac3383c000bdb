//! A passthrough with two rungs and a sound.

use aqueduct_common::{Sample, TrackId, TrackSet};

use super::{Source, World, aac, rung, tracks, video};

/// 1280x720 as it comes, two rungs and a sound.
pub fn set() -> TrackSet {
    let top = video((30, 1), 0);
    let rungs = [rung(&top, 16, 480, 1_500_000, false), rung(&top, 17, 240, 500_000, false)];
    tracks(&[top.clone(), rungs[0].clone(), rungs[1].clone(), aac(48_000, 1_024)])
}

/// Its sources from `seconds` on, with the rungs 20 ms behind.
pub fn sources(set: &TrackSet, seconds: f64, gop: u64) -> Vec<Source> {
    let source = |track: &aqueduct_common::Track| {
        let mut source = Source::new(track, seconds, if track.id == TrackId::AUDIO { 1 } else { gop });
        source.late = if track.id.0 >= 16 { 0.02 } else { 0.0 };
        source
    };
    set.tracks.iter().map(source).collect()
}

/// The first segment is out with all tracks, and more.
pub fn begun(gop: u64, until: f64) -> (World, Vec<Source>) {
    let set = set();
    let mut world = World::new();
    world.tracks(&set);
    let mut sources = sources(&set, 10.0, gop);
    world.feed(&mut sources, until, 0.0);
    (world, sources)
}

/// The newest listed segment and how many parts of it.
pub fn edge(world: &World, dir: &str) -> (u64, usize) {
    let list = world.list(dir);
    let last = list.segments.last().expect("a list lists something");
    (last.msn, last.parts.len())
}

/// Segments that are listed as gaps.
pub fn gaps(world: &World, dir: &str) -> Vec<u64> {
    world.list(dir).segments.iter().filter(|segment| segment.gap).map(|segment| segment.msn).collect()
}

/// Feeds all but one source.
pub fn feed_without(world: &mut World, sources: &mut [Source], left_out: usize, until: f64) {
    let mut others: Vec<Source> = Vec::new();
    for (index, source) in sources.iter().enumerate() {
        if index != left_out {
            others.push(source.clone());
        }
    }
    world.feed(&mut others, until, 0.0);
    let mut others = others.into_iter();
    for (index, source) in sources.iter_mut().enumerate() {
        if index != left_out {
            *source = others.next().expect("as many as were taken out");
        }
    }
}

/// Moves a source on to the sample at `seconds`, without making those between.
pub fn skip_to(source: &mut Source, seconds: f64) {
    while source.seconds() < seconds - 1e-6 {
        let _: Sample = source.next();
    }
}
