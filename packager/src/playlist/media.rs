//! Media playlists, tag by tag (spec/cmaf-llhls section D) and their delta updates (section G).
//!
//! Rendered ten times a second for each stream, so numbers are written without detours.

use std::fmt::Write as _;

use super::snapshot::{Segment, Snapshot, State};
use crate::names;

/// EXT-X-VERSION: 9 covers EXT-X-SKIP; one constant for all playlists.
pub const VERSION: usize = 9;

/// The whole playlist.
pub fn render(snapshot: &Snapshot<'_>) -> String {
    let mut text = open(snapshot);
    write_segments(&mut text, snapshot, 0);
    write_tail(&mut text, snapshot);
    text
}

/// The delta update of the same version, or `None` where nothing can be skipped (LLHLS-29 to LLHLS-31).
pub fn render_delta(snapshot: &Snapshot<'_>) -> Option<String> {
    let skipped = skipped(snapshot)?;
    let mut text = open(snapshot);
    line(&mut text, format_args!("#EXT-X-SKIP:SKIPPED-SEGMENTS={skipped}"));
    write_segments(&mut text, snapshot, skipped);
    write_tail(&mut text, snapshot);
    Some(text)
}

/// How many of the oldest segments lie farther back than CAN-SKIP-UNTIL from the last complete segment's end.
fn skipped(snapshot: &Snapshot<'_>) -> Option<usize> {
    let skip_until = u64::from(snapshot.control.skip_until?) * 1_000_000;
    if snapshot.ended {
        return None;
    }
    let mut kept = 0;
    let complete = snapshot.segments.iter().filter(|segment| segment.state != State::Open).rev();
    let near = complete
        .take_while(|segment| {
            kept += segment.micros;
            kept - segment.micros < skip_until
        })
        .count();
    let complete = snapshot.segments.iter().filter(|segment| segment.state != State::Open).count();
    (complete > near).then_some(complete - near)
}

/// The tags before the first segment.
fn open(snapshot: &Snapshot<'_>) -> String {
    let mut text = String::with_capacity(512 + 112 * snapshot.segments.len() + 70 * 24);
    let control = snapshot.control;
    text.push_str("#EXTM3U\n");
    line(&mut text, format_args!("#EXT-X-VERSION:{VERSION}"));
    line(&mut text, format_args!("#EXT-X-TARGETDURATION:{}", control.target_duration));
    text.push_str("#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=");
    push_fixed(&mut text, 3 * u64::from(control.part_target), 3);
    let _ = write!(text, ",HOLD-BACK={}", 3 * control.target_duration);
    if let Some(skip_until) = control.skip_until {
        let _ = write!(text, ",CAN-SKIP-UNTIL={skip_until}");
    }
    text.push_str("\n#EXT-X-PART-INF:PART-TARGET=");
    push_fixed(&mut text, control.part_target.into(), 3);
    text.push('\n');
    let (sequence, eras) = snapshot
        .segments
        .front()
        .map_or((0, 0), |first| (first.msn, first.era - u64::from(first.discontinuity).min(first.era)));
    line(&mut text, format_args!("#EXT-X-MEDIA-SEQUENCE:{sequence}"));
    line(&mut text, format_args!("#EXT-X-DISCONTINUITY-SEQUENCE:{eras}"));
    text
}

fn write_segments(text: &mut String, snapshot: &Snapshot<'_>, from: usize) {
    let mut map = None;
    for segment in snapshot.segments.iter().skip(from) {
        if segment.discontinuity {
            text.push_str("#EXT-X-DISCONTINUITY\n");
        }
        if map != Some(&segment.map) {
            line(text, format_args!("#EXT-X-MAP:URI=\"{}\"", segment.map));
            map = Some(&segment.map);
        }
        text.push_str("#EXT-X-PROGRAM-DATE-TIME:");
        text.push_str(&segment.date.rfc3339_millis());
        text.push('\n');
        if segment.msn >= snapshot.parts_from && !snapshot.ended {
            write_parts(text, segment);
        }
        write_end(text, segment);
    }
}

fn write_parts(text: &mut String, segment: &Segment) {
    for part in &segment.parts {
        text.push_str("#EXT-X-PART:DURATION=");
        push_fixed(text, part.micros, 6);
        text.push_str(",URI=\"p");
        push_number(text, part.number);
        text.push_str(".m4s\"");
        if part.independent {
            text.push_str(",INDEPENDENT=YES");
        }
        text.push('\n');
    }
}

fn write_end(text: &mut String, segment: &Segment) {
    if segment.state == State::Open {
        return;
    }
    if segment.state == State::Gap {
        text.push_str("#EXT-X-GAP\n");
    }
    text.push_str("#EXTINF:");
    push_fixed(text, segment.micros, 6);
    text.push_str(",\ns");
    push_number(text, segment.msn);
    text.push_str(".m4s\n");
}

/// The tags after the last segment.
fn write_tail(text: &mut String, snapshot: &Snapshot<'_>) {
    if snapshot.ended {
        text.push_str("#EXT-X-ENDLIST\n");
        return;
    }
    let hint = names::part(snapshot.next_part);
    line(text, format_args!("#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"{hint}\""));
    for report in snapshot.reports {
        let (uri, msn, part) = (&report.uri, report.msn, report.part);
        line(text, format_args!("#EXT-X-RENDITION-REPORT:URI=\"{uri}\",LAST-MSN={msn},LAST-PART={part}"));
    }
}

/// One line. Writing to a `String` cannot fail.
fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    let _ = text.write_fmt(arguments);
    text.push('\n');
}

/// `value` with its last `places` digits behind the point.
fn push_fixed(text: &mut String, value: u64, places: usize) {
    let unit = 10_u64.pow(places as u32);
    push_number(text, value / unit);
    text.push('.');
    push_digits(text, value % unit, places);
}

fn push_number(text: &mut String, value: u64) {
    push_digits(text, value, value.checked_ilog10().unwrap_or(0) as usize + 1);
}

/// The lowest `places` digits of `value`.
fn push_digits(text: &mut String, value: u64, places: usize) {
    let mut digits = [b'0'; 20];
    let places = places.min(digits.len());
    let mut rest = value;
    for digit in digits[..places].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    text.extend(digits[..places].iter().map(|digit| char::from(*digit)));
}
