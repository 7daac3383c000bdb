//! Rules between one full media playlist and a later one of the same rendition.

use super::listing::Found;
use super::playlist::{MediaPlaylist, Segment};
use super::rule;

/// All rules between two full lists; `older` was seen first.
pub fn check(older: &MediaPlaylist, newer: &MediaPlaylist) -> Vec<Found> {
    let mut found = Vec::new();
    if older.constants != newer.constants {
        found.push((rule::CONSTANT, format!("{:?} became {:?}", older.constants, newer.constants)));
    }
    if newer.media_sequence < older.media_sequence || newer.edge() < older.edge() {
        let (before, after) = (older.edge(), newer.edge());
        found.push((
            rule::MSN_BACK,
            format!("from {} and {before:?} to {} and {after:?}", older.media_sequence, newer.media_sequence),
        ));
        return found;
    }
    if older.ended && newer != older {
        found.push((rule::AFTER_END, "the list is another one".into()));
    }
    if newer.media_sequence > older.media_sequence {
        removed(older, newer, &mut found);
    }
    kept(older, newer, &mut found);
    discontinuities(older, newer, &mut found);
    hint(older, newer, &mut found);
    found
}

fn removed(older: &MediaPlaylist, newer: &MediaPlaylist, found: &mut Vec<Found>) {
    let listed: i64 = newer.complete().map(|segment| segment.duration.micros).sum();
    if !newer.ended && listed < 3 * newer.target_micros() {
        found.push((rule::WINDOW_SHORT, format!("{listed} µs are left")));
    }
    let by_uri = |uri: &str| newer.segments.iter().find(|segment| segment.uri == uri);
    for before in older.complete() {
        if let Some(after) = by_uri(&before.uri).filter(|after| after.msn != before.msn) {
            found
                .push((rule::MSN_REMOVED, format!("{} was {} and is {}", before.uri, before.msn, after.msn)));
            return;
        }
    }
}

fn kept(older: &MediaPlaylist, newer: &MediaPlaylist, found: &mut Vec<Found>) {
    for before in &older.segments {
        let Some(after) = newer.segment(before.msn) else { continue };
        // A list that moves on by seconds at once, as that of a rung which is given up, lists no parts any more of what it
        // closes meanwhile (LLHLS-7).
        let behind: i64 = newer.segments.iter().filter(|one| one.msn > before.msn).map(length).sum();
        let old = after.complete() && behind >= 3 * newer.target_micros();
        if let Some(what) = difference(before, after, newer.ended || old) {
            found.push((rule::REWRITTEN, format!("segment {}: {what}", before.msn)));
        }
    }
}

/// Of a segment, or of its parts so far, in microseconds.
fn length(segment: &Segment) -> i64 {
    let parts = segment.parts.iter().map(|part| part.duration.micros).sum();
    if segment.complete() { segment.duration.micros } else { parts }
}

/// `bare` is whether parts need not be listed any more.
fn difference(before: &Segment, after: &Segment, bare: bool) -> Option<&'static str> {
    if before.complete() && (before.uri != after.uri || before.duration != after.duration) {
        return Some("URI or EXTINF changed");
    }
    // Tags may be written when the segment's first part is.
    let begun = before.complete() || !before.parts.is_empty();
    if begun && (before.map != after.map || before.date != after.date) {
        return Some("MAP or PROGRAM-DATE-TIME changed");
    }
    if begun && before.discontinuity != after.discontinuity {
        return Some("DISCONTINUITY came or went");
    }
    let dropped = after.parts.is_empty() && (before.complete() || bare);
    if before.complete() && !dropped && !before.parts.is_empty() && before.parts != after.parts {
        return Some("its parts changed");
    }
    if !before.complete() && !dropped && !after.parts.starts_with(&before.parts) {
        return Some("its parts changed");
    }
    None
}

/// LLHLS-13: each DISCONTINUITY tag that leaves the list is counted, and nothing else is.
fn discontinuities(older: &MediaPlaylist, newer: &MediaPlaylist, found: &mut Vec<Found>) {
    let (Some(before), Some(after)) = (older.discontinuity_sequence, newer.discontinuity_sequence) else {
        return;
    };
    let left =
        older.segments.iter().filter(|segment| segment.discontinuity && segment.msn < newer.media_sequence);
    let expected = before + left.count() as u64;
    let unseen = newer.media_sequence > older.segments.last().map_or(0, |last| last.msn + 1);
    if after < expected || (after > expected && !unseen) {
        found.push((rule::DISCONTINUITY_SEQUENCE, format!("{before} became {after}, not {expected}")));
    }
}

/// LLHLS-15: what was hinted is what came next.
fn hint(older: &MediaPlaylist, newer: &MediaPlaylist, found: &mut Vec<Found>) {
    let (Some(hint), Some(edge)) = (older.hints.first(), older.edge()) else { return };
    let open = newer.segment(edge.msn).filter(|_| !edge.complete);
    if open.is_some_and(|segment| segment.complete() && segment.parts.is_empty()) {
        return; // Too old for parts already.
    }
    let same = open.and_then(|segment| {
        let next = segment.parts.get(edge.part as usize + 1);
        if next.is_none() && !segment.complete() { Some(None) } else { next.map(Some) }
    });
    let next = match same {
        Some(next) => next,
        None => newer.segment(edge.msn + 1).and_then(|segment| segment.parts.first()),
    };
    if let Some(next) = next.filter(|next| &next.uri != hint) {
        found.push((rule::HINT_BROKEN, format!("{hint} was hinted, {} came", next.uri)));
    }
}
