//! Part lengths and the two targets that a playlist promises for its whole life (LLHLS-1, LLHLS-2, TL-31).
//!
//! The reference track decides where parts end. Its parts hold `k` whole frames; the other tracks follow the same
//! boundaries and round to their own samples, so their parts hold a sample more or less. PART-TARGET is the longest
//! part that can come of it, in whole milliseconds, rounded up; `k` is chosen so that the shortest is at least 85 %
//! of that (LLHLS-3).

use std::time::Duration;

use aqueduct_common::track::Grid;
use aqueduct_common::{MediaTime, Timescale, Track, TrackKind, TrackSet};

/// Flicks of a millisecond.
pub const MILLI: i64 = Timescale::FLICKS.hz() as i64 / 1_000;

/// The longest part of any grid, save where one sample is longer.
const LONGEST_PART: i64 = 1_000 * MILLI;

/// How the reference track is cut into parts. Spans are in flicks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PartRule {
    /// A part ends as soon as another sample of `spacing` would take it beyond this.
    pub limit: i64,
    /// What the next sample is expected to last.
    pub spacing: i64,
    /// PART-TARGET: no part is longer.
    pub target: i64,
    /// A part that lacks no more than this of its limit is full.
    pub slack: i64,
    /// Samples last `spacing` each, so that a part's end is known before the next comes.
    pub fixed: bool,
}

impl PartRule {
    /// Parts of up to `limit` on this grid, under PART-TARGET `target`.
    ///
    /// On a fixed grid a quarter of a sample absorbs the rounding of grids that ticks cannot hold; on a variable
    /// one a part is full when another sample might not fit. Neither goes below 85 % of the target (LLHLS-3).
    fn of(grid: Grid, limit: i64, spacing: i64, target: i64) -> Self {
        let fixed = matches!(grid, Grid::Fixed(_));
        let most = if fixed { spacing / 4 } else { spacing - 1 };
        let slack = (limit - target * 85 / 100).clamp(LEAST_SLACK, most.max(LEAST_SLACK));
        Self { limit, spacing, target, slack, fixed }
    }
}

/// More than a tick of any scale: what is left of a part that is not full holds a sample.
const LEAST_SLACK: i64 = MILLI / 5;

/// What the parts of all tracks span when the reference track's last `length`.
#[derive(Clone, Copy)]
struct Spread {
    shortest: i64,
    longest: i64,
}

impl Spread {
    /// PART-TARGET in flicks: whole milliseconds, rounded up.
    fn target(self) -> i64 {
        round_up(self.longest)
    }

    /// The shortest part fills at least 85 % of PART-TARGET.
    fn fills(self) -> bool {
        self.shortest * 100 >= self.target() * 85
    }
}

/// Chooses part lengths for a new epoch, nearest to `part`.
///
/// Two kinds of grid differ. On a fixed one each part holds the same number of frames and ends with its last,
/// without a look at the next. On a variable one a part ends as soon as the widest spacing seen would not fit any
/// more, so the target must be wide enough for that slack to be within 15 %.
pub fn choose(tracks: &TrackSet, part: Duration) -> PartRule {
    let wanted = MediaTime::from_duration(part).ticks;
    let Some(reference) = tracks.reference() else {
        return PartRule { limit: wanted, spacing: wanted, target: round_up(wanted), slack: 0, fixed: true };
    };
    let spacing = spacing(reference);
    match reference.grid {
        Grid::Fixed(_) => {
            let spreads =
                frames(spacing, LONGEST_PART.max(spacing)).map(|length| (length, spread(tracks, length)));
            let best = spreads.min_by_key(|(length, spread)| {
                let off = (length - wanted).abs();
                if spread.fills() { (false, off, 0) } else { (true, unfilled(*spread), off) }
            });
            let (length, spread) = best.unwrap_or((spacing, spread(tracks, spacing)));
            PartRule::of(reference.grid, length, spacing, spread.target())
        }
        Grid::Variable { .. } => {
            let follower = followers(tracks).map(self::spacing).max().unwrap_or(0);
            let filled = (spacing * 100 + follower * 85) / 15;
            let limit = wanted.max(filled).min(LONGEST_PART - follower).max(spacing);
            PartRule::of(reference.grid, limit, spacing, round_up(limit + follower))
        }
    }
}

/// Part lengths for tracks that come later in an epoch, under a PART-TARGET that is already published.
///
/// `None` where no length keeps every part within the target and, on a fixed grid, at 85 % of it.
pub fn refit(tracks: &TrackSet, target: i64) -> Option<PartRule> {
    let reference = tracks.reference()?;
    let spacing = spacing(reference);
    match reference.grid {
        Grid::Fixed(_) => {
            let fitting = frames(spacing, target)
                .map(|length| (length, spread(tracks, length)))
                .filter(|(_, spread)| spread.longest <= target && spread.shortest * 100 >= target * 85);
            let (limit, _) = fitting.max_by_key(|(length, _)| *length)?;
            Some(PartRule::of(reference.grid, limit, spacing, target))
        }
        Grid::Variable { .. } => {
            let follower = followers(tracks).map(self::spacing).max().unwrap_or(0);
            let limit = target - follower;
            ((limit - spacing) * 100 >= target * 85)
                .then(|| PartRule::of(reference.grid, limit, spacing, target))
        }
    }
}

/// The rule for tracks that do not fit a published PART-TARGET: the reference's samples are re-timed to fill it.
/// Followers split what would be too long; each of a sound's parts is independent and may be short (LLHLS-3).
pub fn squeeze(tracks: &TrackSet, target: i64) -> PartRule {
    let grid = tracks.reference().map_or(Grid::Fixed(MediaTime::flicks(target)), |track| track.grid);
    let spacing = tracks.reference().map_or(target, spacing);
    PartRule::of(grid, target.max(spacing), spacing, target)
}

/// EXT-X-TARGETDURATION in seconds: what the configured segment and the first one of the source need. A tenth of a
/// second is left to rounding, since an EXTINF counts as rounded to nearest (LLHLS-1).
pub fn target_duration(segment: Duration, first: i64) -> u32 {
    let longest = MediaTime::from_duration(segment).ticks.max(first) - 100 * MILLI;
    let second = 1_000 * MILLI;
    u32::try_from((longest + second - 1) / second).unwrap_or(1).max(1)
}

/// The longest reference segment whose EXTINF, on every track, still rounds to `target_duration`.
pub fn longest_segment(tracks: &TrackSet, target_duration: u32) -> i64 {
    let follower = followers(tracks).map(spacing).max().unwrap_or(0);
    i64::from(target_duration) * 1_000 * MILLI + 499 * MILLI - follower
}

/// Spacing of a track's samples in flicks, at least half a millisecond: a grid from outside cannot make the search
/// long.
pub fn spacing(track: &Track) -> i64 {
    track.grid.spacing().as_flicks().clamp(MILLI / 2, 10 * LONGEST_PART)
}

/// The tracks whose parts are longer or shorter than the reference's: sounds. A rung is re-timed to end where the
/// reference does.
fn followers(tracks: &TrackSet) -> impl Iterator<Item = &Track> {
    let reference = tracks.reference().map(|track| track.id);
    let sound = |track: &&Track| track.kind() == TrackKind::Audio;
    tracks.tracks.iter().filter(sound).filter(move |track| Some(track.id) != reference)
}

/// Lengths of 1, 2, 3 … frames up to `most`; one frame at least.
fn frames(spacing: i64, most: i64) -> impl Iterator<Item = i64> {
    (1..=(most / spacing).max(1)).map(move |count| count * spacing)
}

fn spread(tracks: &TrackSet, length: i64) -> Spread {
    let start = Spread { shortest: length, longest: length };
    followers(tracks).map(spacing).fold(start, |spread, sample| {
        let whole = length / sample;
        let most = if length % sample == 0 { whole } else { whole + 1 };
        Spread { shortest: spread.shortest.min(whole * sample), longest: spread.longest.max(most * sample) }
    })
}

/// How far from filling a spread is: smaller is better.
fn unfilled(spread: Spread) -> i64 {
    -(spread.shortest * 1_000 / spread.target().max(1))
}

fn round_up(flicks: i64) -> i64 {
    (flicks + MILLI - 1) / MILLI * MILLI
}

/// The reference track is video: its sync samples end segments. Sound can be cut anywhere.
pub fn cuts_at_sync(tracks: &TrackSet) -> bool {
    tracks.reference().is_some_and(|track| track.kind() == TrackKind::Video)
}

#[cfg(test)]
mod tests {
    use aqueduct_common::TrackId;
    use aqueduct_common::codec::{AacConfig, CodecConfig, Picture, Vp9Config};
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    fn video(spacing: Duration, fixed: bool) -> Track {
        let spacing = MediaTime::from_duration(spacing);
        let config = Vp9Config { record: Bytes::new(), picture: Picture::default() };
        Track {
            id: TrackId::VIDEO,
            codec: CodecConfig::Vp9(config),
            timescale: Timescale::VIDEO,
            grid: if fixed { Grid::Fixed(spacing) } else { Grid::Variable { widest: spacing } },
            reorder_delay: 0,
            language: "und".into(),
            bandwidth: None,
        }
    }

    fn sound(rate: u32, samples: u32) -> Track {
        let config = AacConfig {
            record: Bytes::new(),
            object_type: 2,
            output_rate: rate,
            channels: 2,
            frame_samples: samples,
        };
        let timescale = Timescale::of(rate);
        Track {
            id: TrackId::AUDIO,
            codec: CodecConfig::Aac(config),
            timescale,
            grid: Grid::Fixed(MediaTime::new(samples.into(), timescale)),
            reorder_delay: 0,
            language: "und".into(),
            bandwidth: None,
        }
    }

    fn set(tracks: &[Track]) -> TrackSet {
        TrackSet { tracks: tracks.to_vec() }
    }

    const PART: Duration = Duration::from_millis(200);

    #[test]
    fn parts_are_as_many_frames_as_come_nearest_and_fill() {
        let chosen = |fps: u64, sound: Track| {
            let rule = choose(&set(&[video(Duration::from_nanos(1_000_000_000 / fps), true), sound]), PART);
            (rule.limit / rule.spacing, rule.target / MILLI)
        };
        assert_eq!(chosen(30, sound(48_000, 1_024)), (6, 214));
        assert_eq!(chosen(25, sound(48_000, 1_024)), (5, 214));
        assert_eq!(chosen(24, sound(48_000, 1_024)), (5, 214));
        assert_eq!(chosen(60, sound(44_100, 1_024)), (12, 209));
        // Frames of 43 ms: four or five of them would be 80 % of five.
        assert_eq!(chosen(30, sound(48_000, 2_048)), (8, 299));
    }

    #[test]
    fn sound_alone_has_parts_of_whole_frames() {
        let rule = choose(&set(&[sound(48_000, 1_024)]), PART);
        assert_eq!((rule.limit / rule.spacing, rule.target / MILLI), (9, 192));
    }

    #[test]
    fn a_variable_grid_needs_slack() {
        let widest = Duration::from_millis(50);
        let rule = choose(&set(&[video(widest, false)]), PART);
        assert_eq!(rule.target / MILLI, 334);
        assert!((rule.limit - rule.spacing) * 100 >= rule.target * 85 - MILLI * 100);
        let rule = choose(&set(&[video(Duration::from_millis(400), false)]), PART);
        assert_eq!(rule.target / MILLI, 1_000, "capped");
        let rule = choose(&set(&[video(Duration::from_secs(3), false)]), PART);
        assert_eq!(rule.target / MILLI, 3_000, "a part holds one sample at least");
    }

    #[test]
    fn the_target_duration_leaves_room_for_rounding() {
        let second = Duration::from_secs(1);
        let td = |millis: i64| target_duration(second, millis * MILLI);
        assert_eq!([td(500), td(1_000), td(1_100), td(1_101), td(2_002), td(8_333)], [1, 1, 1, 2, 2, 9]);
        assert_eq!(target_duration(Duration::from_millis(500), 500 * MILLI), 1);
    }

    #[test]
    fn later_tracks_keep_the_published_target_or_are_refused() {
        let target = 214 * MILLI;
        let fits = |fps: u64| {
            refit(
                &set(&[video(Duration::from_nanos(1_000_000_000 / fps), true), sound(48_000, 1_024)]),
                target,
            )
        };
        assert_eq!(fits(25).map(|rule| rule.limit / rule.spacing), Some(5));
        assert_eq!(fits(50).map(|rule| rule.limit / rule.spacing), Some(10));
        assert_eq!(fits(7), None);
        assert!(squeeze(&set(&[video(Duration::from_millis(142), true)]), target).limit >= 142 * MILLI);
    }

    proptest! {
        /// LLHLS-2 and LLHLS-3 for every track of any usual source, and refitting its own choice is the identity.
        #[test]
        fn any_usual_source_has_parts_that_fill(
            fps in 10_u64..=120,
            rate in prop::sample::select(vec![44_100_u32, 48_000, 32_000, 24_000]),
            samples in prop::sample::select(vec![1_024_u32, 960]),
            part in 100_u64..=500,
        ) {
            let tracks = set(&[video(Duration::from_nanos(1_000_000_000 / fps), true), sound(rate, samples)]);
            let rule = choose(&tracks, Duration::from_millis(part));
            prop_assert!(rule.limit <= rule.target && rule.target % MILLI == 0);
            let spread = spread(&tracks, rule.limit);
            prop_assert!(spread.longest <= rule.target);
            prop_assert!(spread.fills(), "{rule:?}");
            prop_assert!(refit(&tracks, rule.target).is_some());
        }
    }
}
