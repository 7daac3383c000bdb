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
        if part.gap {
            text.push_str(",GAP=YES");
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

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use aqueduct_common::WallTime;

    use super::*;
    use crate::playlist::snapshot::{Control, PartLine, Report};

    /// Section D's example: two-second segments of four parts, from 10:20:00 on.
    fn segments() -> VecDeque<Segment> {
        let parts = |first: u64, count: u64| -> Vec<PartLine> {
            let part = |index| PartLine {
                number: first + index,
                micros: 500_000,
                independent: index == 0,
                gap: false,
            };
            (0..count).map(part).collect()
        };
        let segment = |msn: u64, parts, state| Segment {
            msn,
            era: 0,
            discontinuity: false,
            map: "init-9f2c.mp4".into(),
            date: WallTime { micros: 1_763_634_000_000_000 + (msn as i64 - 266) * 2_000_000 },
            parts,
            micros: if state == State::Open { 0 } else { 2_000_000 },
            state,
        };
        [
            segment(266, Vec::new(), State::Complete),
            segment(267, parts(1_068, 4), State::Complete),
            segment(268, parts(1_072, 4), State::Complete),
            segment(269, parts(1_076, 4), State::Complete),
            segment(270, parts(1_080, 1), State::Open),
        ]
        .into()
    }

    fn report() -> Vec<Report> {
        vec![Report { uri: "../a0/media.m3u8".into(), msn: 270, part: 0 }]
    }

    fn control(window: u64) -> Control {
        Control::new(2, 500, window)
    }

    #[test]
    fn a_live_list_reads_as_section_d_shows_it() {
        let (control, segments, reports) = (control(8), segments(), report());
        let snapshot = Snapshot {
            control: &control,
            segments: &segments,
            parts_from: 267,
            reports: &reports,
            next_part: 1_081,
            ended: false,
        };
        let expected = "\
#EXTM3U
#EXT-X-VERSION:9
#EXT-X-TARGETDURATION:2
#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=1.500,HOLD-BACK=6
#EXT-X-PART-INF:PART-TARGET=0.500
#EXT-X-MEDIA-SEQUENCE:266
#EXT-X-DISCONTINUITY-SEQUENCE:0
#EXT-X-MAP:URI=\"init-9f2c.mp4\"
#EXT-X-PROGRAM-DATE-TIME:2025-11-20T10:20:00.000Z
#EXTINF:2.000000,
s266.m4s
#EXT-X-PROGRAM-DATE-TIME:2025-11-20T10:20:02.000Z
#EXT-X-PART:DURATION=0.500000,URI=\"p1068.m4s\",INDEPENDENT=YES
#EXT-X-PART:DURATION=0.500000,URI=\"p1069.m4s\"
#EXT-X-PART:DURATION=0.500000,URI=\"p1070.m4s\"
#EXT-X-PART:DURATION=0.500000,URI=\"p1071.m4s\"
#EXTINF:2.000000,
s267.m4s
#EXT-X-PROGRAM-DATE-TIME:2025-11-20T10:20:04.000Z
#EXT-X-PART:DURATION=0.500000,URI=\"p1072.m4s\",INDEPENDENT=YES
#EXT-X-PART:DURATION=0.500000,URI=\"p1073.m4s\"
#EXT-X-PART:DURATION=0.500000,URI=\"p1074.m4s\"
#EXT-X-PART:DURATION=0.500000,URI=\"p1075.m4s\"
#EXTINF:2.000000,
s268.m4s
#EXT-X-PROGRAM-DATE-TIME:2025-11-20T10:20:06.000Z
#EXT-X-PART:DURATION=0.500000,URI=\"p1076.m4s\",INDEPENDENT=YES
#EXT-X-PART:DURATION=0.500000,URI=\"p1077.m4s\"
#EXT-X-PART:DURATION=0.500000,URI=\"p1078.m4s\"
#EXT-X-PART:DURATION=0.500000,URI=\"p1079.m4s\"
#EXTINF:2.000000,
s269.m4s
#EXT-X-PROGRAM-DATE-TIME:2025-11-20T10:20:08.000Z
#EXT-X-PART:DURATION=0.500000,URI=\"p1080.m4s\",INDEPENDENT=YES
#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"p1081.m4s\"
#EXT-X-RENDITION-REPORT:URI=\"../a0/media.m3u8\",LAST-MSN=270,LAST-PART=0
";
        assert_eq!(render(&snapshot), expected);
        assert_eq!(render_delta(&snapshot), None, "a short window offers no delta updates (LLHLS-12)");
    }

    #[test]
    fn discontinuity_map_and_gap_stand_before_the_first_part() {
        let (control, mut segments) = (control(8), segments());
        for segment in segments.iter_mut().skip(2) {
            segment.era = 1;
            segment.map = "init-77aa.mp4".into();
        }
        segments[2].discontinuity = true;
        segments[3].state = State::Gap;
        segments[3].parts.clear();
        segments[1].parts[3].gap = true;
        segments[1].state = State::Gap;
        let snapshot = Snapshot {
            control: &control,
            segments: &segments,
            parts_from: 267,
            reports: &[],
            next_part: 1_081,
            ended: false,
        };
        let text = render(&snapshot);
        let expected = "#EXT-X-PART:DURATION=0.500000,URI=\"p1071.m4s\",GAP=YES
#EXT-X-GAP
#EXTINF:2.000000,
s267.m4s
#EXT-X-DISCONTINUITY
#EXT-X-MAP:URI=\"init-77aa.mp4\"
#EXT-X-PROGRAM-DATE-TIME:2025-11-20T10:20:04.000Z
#EXT-X-PART:DURATION=0.500000,URI=\"p1072.m4s\",INDEPENDENT=YES
";
        assert!(text.contains(expected), "{text}");
        assert!(text.contains("06.000Z\n#EXT-X-GAP\n#EXTINF:2.000000,\ns269.m4s\n"), "{text}");
        let later = segments.iter().skip(2).cloned().collect();
        let snapshot = Snapshot { segments: &later, ..snapshot };
        let text = render(&snapshot);
        // The tag is still listed, so it is not yet counted (LLHLS-13).
        assert!(
            text.contains(
                "#EXT-X-MEDIA-SEQUENCE:268\n#EXT-X-DISCONTINUITY-SEQUENCE:0\n#EXT-X-DISCONTINUITY\n"
            )
        );
    }

    #[test]
    fn an_ended_list_has_segments_alone() {
        let (control, mut segments, reports) = (control(60), segments(), report());
        segments.pop_back();
        let snapshot = Snapshot {
            control: &control,
            segments: &segments,
            parts_from: 267,
            reports: &reports,
            next_part: 1_081,
            ended: true,
        };
        let text = render(&snapshot);
        assert!(text.ends_with("#EXTINF:2.000000,\ns269.m4s\n#EXT-X-ENDLIST\n"), "{text}");
        assert!(!text.contains("PRELOAD-HINT") && !text.contains("#EXT-X-PART:") && !text.contains("REPORT"));
        assert_eq!(render_delta(&snapshot), None);
    }

    #[test]
    fn a_delta_update_skips_what_is_farther_than_it_may() {
        let (mut segments, reports) = (segments(), report());
        let oldest = segments[0].clone();
        for msn in (250..266).rev() {
            segments.push_front(Segment { msn, ..oldest.clone() });
        }
        let control = control(40);
        assert_eq!(control.skip_until, Some(12));
        let snapshot = Snapshot {
            control: &control,
            segments: &segments,
            parts_from: 267,
            reports: &reports,
            next_part: 1_081,
            ended: false,
        };
        let delta = render_delta(&snapshot).unwrap();
        // 20 complete segments of 2 s, 12 s of which stay.
        let expected = "#EXT-X-MEDIA-SEQUENCE:250
#EXT-X-DISCONTINUITY-SEQUENCE:0
#EXT-X-SKIP:SKIPPED-SEGMENTS=14
#EXT-X-MAP:URI=\"init-9f2c.mp4\"
#EXT-X-PROGRAM-DATE-TIME:2025-11-20T10:20:00.000Z
#EXTINF:2.000000,
s264.m4s
";
        assert!(delta.contains(expected), "{delta}");
        assert!(delta.contains("CAN-SKIP-UNTIL=12\n"));
        let full = render(&snapshot);
        let tail = |text: &str| text[text.find("s264.m4s").unwrap()..].to_owned();
        assert_eq!(tail(&delta), tail(&full));
    }
}
