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
}

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
        return PartRule { limit: wanted, spacing: wanted, target: round_up(wanted) };
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
            PartRule { limit: length, spacing, target: spread.target() }
        }
        Grid::Variable { .. } => {
            let follower = followers(tracks).map(self::spacing).max().unwrap_or(0);
            let filled = (spacing * 100 + follower * 85) / 15;
            let limit = wanted.max(filled).min(LONGEST_PART - follower).max(spacing);
            PartRule { limit, spacing, target: round_up(limit + follower) }
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
            Some(PartRule { limit, spacing, target })
        }
        Grid::Variable { .. } => {
            let follower = followers(tracks).map(self::spacing).max().unwrap_or(0);
            let limit = target - follower;
            ((limit - spacing) * 100 >= target * 85).then_some(PartRule { limit, spacing, target })
        }
    }
}

/// The rule for tracks that do not fit a published PART-TARGET: no part beyond it where whole samples allow, and
/// shorter ones than 85 % where they must be.
pub fn squeeze(tracks: &TrackSet, target: i64) -> PartRule {
    let spacing = tracks.reference().map_or(target, spacing);
    let follower = followers(tracks).map(self::spacing).max().unwrap_or(0);
    PartRule { limit: (target - follower).max(spacing), spacing, target }
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

fn followers(tracks: &TrackSet) -> impl Iterator<Item = &Track> {
    let reference = tracks.reference().map(|track| track.id);
    tracks.tracks.iter().filter(move |track| Some(track.id) != reference)
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
