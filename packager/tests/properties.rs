//! Any stream of samples that keeps the contract of `common::feed` becomes playlists that keep the rules of
//! `support::check`: TL-37, TL-38, LLHLS-2, -3, -11, -13, -16, -32 and what goes with them.

mod support;

use std::time::Duration;

use aqueduct_common::feed::Break;
use aqueduct_common::{Feed, TrackId, TrackSet};
use aqueduct_packager::checkpoint::Origin;
use aqueduct_packager::{Config, Plan};
use proptest::prelude::*;
use support::{Source, World, aac, opus, tracks, video};

/// What happens to a stream, in order.
#[derive(Clone, Debug)]
enum Op {
    /// It goes on, with the sound this far behind the picture; or ahead, as it is where encoders are overloaded.
    Run { seconds: f64, lag: f64 },
    /// Keyframes come at this distance from the next one on.
    Gop(u64),
    /// A keyframe comes at once.
    Keyframe,
    /// Timestamps jump, and the sound begins this much before the picture.
    Break { gap: f64, lead: f64 },
    /// The other set of tracks comes: with or without sound.
    Tracks,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0.3..4.0, -0.6..0.6).prop_map(|(seconds, lag)| Op::Run { seconds, lag }),
        2 => (0.3..4.0, -3.0..-0.6).prop_map(|(seconds, lag)| Op::Run { seconds, lag }),
        2 => (1_u64..200).prop_map(Op::Gop),
        2 => Just(Op::Keyframe),
        2 => (0.1..5.0, 0.0..0.4).prop_map(|(gap, lead)| Op::Break { gap, lead }),
        1 => Just(Op::Tracks),
    ]
}

fn set() -> impl Strategy<Value = TrackSet> {
    let rates = vec![(24, 1), (25, 1), (30_000, 1_001), (30, 1), (48, 1), (50, 1), (60_000, 1_001), (60, 1)];
    let sounds = vec![aac(48_000, 1_024), aac(44_100, 1_024), aac(48_000, 2_048), aac(32_000, 960), opus()];
    (prop::sample::select(rates), 0_i64..3, prop::sample::select(sounds))
        .prop_map(|(rate, b_frames, sound)| tracks(&[video(rate, b_frames), sound]))
}

/// A stream under way.
struct Life {
    both: TrackSet,
    world: World,
    sources: Vec<Source>,
    end: f64,
    with_sound: bool,
}

impl Life {
    fn begin(both: TrackSet, window: u64, gop: u64) -> Self {
        let config = Config { window: Duration::from_secs(window), ..Config::default() };
        let origin = Origin { fresh: 1_763_634_000, resumed: None };
        let mut world =
            World::with(Plan::try_from(config).expect("windows of 4 s and more are allowed"), origin);
        world.tracks(&both);
        let mut sources = sources_at(&both, 10.0, gop);
        sources.iter_mut().for_each(|source| source.size = 20);
        Self { both, world, sources, end: 10.0, with_sound: true }
    }

    fn apply(&mut self, op: &Op) {
        match *op {
            Op::Run { seconds, lag } => {
                self.end += seconds;
                self.world.feed(&mut self.sources, self.end, lag);
            }
            Op::Gop(frames) => self.sources[0].gop = frames,
            Op::Keyframe => self.sources[0].restart_gop(),
            Op::Break { gap, lead } => {
                self.world.push(Feed::Discontinuity(Break::TimestampJump));
                self.jump(gap, lead);
            }
            Op::Tracks => {
                self.with_sound = !self.with_sound;
                let set = if self.with_sound { self.both.clone() } else { tracks(&self.both.tracks[..1]) };
                self.world.push(Feed::Tracks(set.into()));
                self.jump(0.5, 0.1);
            }
        }
    }

    fn jump(&mut self, gap: f64, lead: f64) {
        self.end += gap;
        let gop = self.sources[0].gop;
        let set = if self.with_sound { self.both.clone() } else { tracks(&self.both.tracks[..1]) };
        self.sources = sources_at(&set, self.end, gop);
        for source in &mut self.sources {
            source.size = 20;
            if source.track.id == TrackId::AUDIO {
                source.dts -= (lead * f64::from(source.track.timescale.hz())) as i64;
            }
        }
    }
}

fn sources_at(set: &TrackSet, seconds: f64, gop: u64) -> Vec<Source> {
    let gop = |id| if id == TrackId::VIDEO { gop } else { 1 };
    set.tracks.iter().map(|track| Source::new(track, seconds, gop(track.id))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_stream_becomes_playlists_that_keep_the_rules(
        both in set(),
        window in prop::sample::select(vec![4_u64, 8, 30]),
        gop in 1_u64..90,
        ops in prop::collection::vec(op(), 1..14),
    ) {
        let mut life = Life::begin(both, window, gop);
        for op in &ops {
            life.apply(op);
        }
        // Directories after the first are other renditions of the same kind; `a0` is compared where it is.
        let begun = |dir, track: usize| life.world.starts(dir, &life.both.tracks[track]).len();
        if begun("a0", 1) > 1 && begun("v0", 0) > 1 {
            life.world.assert_aligned(&life.both);
        }
        life.world.finish();
        let ended = life.world.checks.lists.values().all(|lists| lists.last().is_some_and(|list| list.ended));
        prop_assert!(ended, "all lists end together (LLHLS-17)");
    }
}
