//! Rules that one full media playlist keeps or breaks by itself.

use super::playlist::{Constants, MediaPlaylist, Segment};
use super::rule::{self, Rule};

/// A finding without its place.
pub type Found = (Rule, String);

/// What the linter knows about the rendition besides the text.
#[derive(Clone, Copy, Debug)]
pub struct Context {
    /// The rendition is audio.
    pub audio: bool,
    /// Longest frame of the media in microseconds.
    pub frame_micros: i64,
}

/// All rules of one full list; delta updates are applied first.
pub fn check(list: &MediaPlaylist, context: Context) -> Vec<Found> {
    let mut found = Vec::new();
    constants(&list.constants, &mut found);
    for segment in &list.segments {
        durations(list, segment, &mut found);
        part_lengths(list, segment, &mut found);
        gaps(segment, &mut found);
        if context.audio
            && let Some(part) = segment.parts.iter().find(|part| !part.independent && !part.gap)
        {
            found.push((rule::AUDIO_INDEPENDENT, part.uri.clone()));
        }
    }
    window(list, &mut found);
    dates(list, context.frame_micros, &mut found);
    tail(list, &mut found);
    if list.complete().next().is_none() {
        found.push((rule::EMPTY_LIST, "no EXTINF".into()));
    }
    if list.media_sequence == 0 {
        found.push((rule::MSN_ZERO, "EXT-X-MEDIA-SEQUENCE:0".into()));
    }
    if let Some(kind) = &list.playlist_type {
        found.push((rule::PLAYLIST_TYPE, kind.clone()));
    }
    found
}

fn constants(constants: &Constants, found: &mut Vec<Found>) {
    let Some(part) = constants.part_target else { return };
    let target = constants.target_duration as i64 * 1_000_000;
    if !(100_000..=1_000_000).contains(&part.micros) {
        found.push((rule::PART_TARGET_RANGE, format!("{} µs", part.micros)));
    }
    let Some(control) = &constants.control else {
        return found.push((rule::CONTROL, "EXT-X-SERVER-CONTROL is missing".into()));
    };
    if !control.can_block_reload {
        found.push((rule::CONTROL, "CAN-BLOCK-RELOAD is not YES".into()));
    }
    match control.part_hold_back {
        Some(back) if back.micros >= 3 * part.micros => {}
        other => found.push((rule::CONTROL, format!("PART-HOLD-BACK {other:?} is below 3 part targets"))),
    }
    match control.hold_back {
        Some(back) if back.micros >= 3 * target => {}
        other => found.push((rule::CONTROL, format!("HOLD-BACK {other:?} is below 3 target durations"))),
    }
    if let Some(skip) = control.can_skip_until
        && skip.micros < 6 * target
    {
        found.push((rule::CONTROL, format!("CAN-SKIP-UNTIL {} µs is below 6 target durations", skip.micros)));
    }
}

fn durations(list: &MediaPlaylist, segment: &Segment, found: &mut Vec<Found>) {
    if !segment.complete() {
        return;
    }
    let micros = segment.duration.micros;
    // LLHLS-1: rounded to the nearest second.
    if (micros + 500_000) / 1_000_000 > list.constants.target_duration as i64 {
        found.push((rule::SEGMENT_OVER_TARGET, format!("{}: {micros} µs", segment.uri)));
    }
    // Each number is rounded to its fifth decimal.
    let slack = 10 * (segment.parts.len() as i64 + 1);
    let sum = segment.parts_micros();
    if !segment.parts.is_empty() && (sum - micros).abs() > slack {
        found.push((rule::EXTINF_SUM, format!("{}: EXTINF {micros} µs, parts {sum} µs", segment.uri)));
    }
}

fn part_lengths(list: &MediaPlaylist, segment: &Segment, found: &mut Vec<Found>) {
    let Some(target) = list.constants.part_target.map(|target| target.micros) else { return };
    for part in &segment.parts {
        let micros = part.duration.micros;
        if micros > target {
            found.push((rule::PART_OVER_TARGET, format!("{}: {micros} µs of {target} µs", part.uri)));
        }
    }
}

/// LLHLS-18: a segment of which a part is missing is missing itself, a part that is missing is nothing to begin with,
/// and what is all there is no gap.
fn gaps(segment: &Segment, found: &mut Vec<Found>) {
    let missing = segment.parts.iter().filter(|part| part.gap).count();
    if segment.complete() && !segment.parts.is_empty() && (missing > 0) != segment.gap {
        let of = segment.parts.len();
        found.push((rule::GAP_FORM, format!("{}: {missing} of {of} parts, {}", segment.uri, segment.gap)));
    }
    if let Some(part) = segment.parts.iter().find(|part| part.gap && part.independent) {
        found.push((rule::GAP_FORM, format!("{} is INDEPENDENT", part.uri)));
    }
}

/// The part is shorter than LLHLS-3 allows: no exception of that rule is for it.
pub fn too_short(list: &MediaPlaylist, segment: &Segment, index: usize) -> bool {
    let (Some(part), Some(target)) = (segment.parts.get(index), list.constants.part_target) else {
        return false;
    };
    let next = segment.parts.get(index + 1);
    // Whether an open segment's newest part is its last is not known yet.
    let exempt = part.independent || part.gap || next.is_none_or(|next| next.gap);
    part.duration.micros * 100 < target.micros * 85 && !exempt
}

/// Where parts are listed (LLHLS-7).
fn window(list: &MediaPlaylist, found: &mut Vec<Found>) {
    if list.constants.part_target.is_none() || list.ended {
        return;
    }
    let mut newer = 0;
    for segment in list.complete().rev() {
        if newer < 3 * list.target_micros() && segment.parts.is_empty() && !segment.gap {
            found.push((rule::PARTS_DROPPED_EARLY, format!("{}: {newer} µs from the end", segment.uri)));
        }
        if newer > 6 * list.target_micros() && !segment.parts.is_empty() {
            found.push((rule::PARTS_KEPT_LONG, format!("{}: {newer} µs from the end", segment.uri)));
        }
        newer += segment.duration.micros;
    }
}

fn dates(list: &MediaPlaylist, frame: i64, found: &mut Vec<Found>) {
    for pair in list.segments.windows(2) {
        let (Some(before), Some(after)) = (pair[0].date, pair[1].date) else { continue };
        let error = after - before - pair[0].duration.micros;
        // Where the timeline breaks, the clock may leap forward but hardly overlap (TL-33).
        let wrong = match &pair[1] {
            next if next.discontinuity => error < -1_000_000,
            // Where a track has nothing at all, it may have had less than its due before: its source broke off.
            next if next.gap => !(-frame - 1_000..=list.target_micros()).contains(&error),
            _ => error.abs() > frame + 1_000,
        };
        if wrong {
            found.push((rule::PDT_HOLE, format!("segment {}: off by {error} µs", pair[1].msn)));
        }
    }
}

fn tail(list: &MediaPlaylist, found: &mut Vec<Found>) {
    if list.ended {
        let parts = list.segments.iter().any(|segment| !segment.parts.is_empty());
        let rest = [
            (parts, "parts"),
            (!list.hints.is_empty(), "a hint"),
            (!list.reports.is_empty(), "rendition reports"),
            (list.open().is_some(), "an open segment"),
        ];
        for (_, what) in rest.iter().filter(|(there, _)| *there) {
            found.push((rule::ENDLIST_REST, (*what).into()));
        }
        return;
    }
    if list.constants.part_target.is_none() {
        return;
    }
    let listed =
        |uri: &String| list.segments.iter().any(|segment| segment.parts.iter().any(|part| &part.uri == uri));
    match list.hints.as_slice() {
        [hint] if !listed(hint) => {}
        hints => found.push((rule::HINT, format!("hints: {hints:?}"))),
    }
}
