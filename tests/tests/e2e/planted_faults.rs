//! The checker is itself checked: a stream without a fault passes, and each planted fault is found by its own rule.

#![expect(clippy::unwrap_used, reason = "faults are planted in texts and bytes that this test made itself")]

use std::time::Duration;

use crate::planted::media;
use crate::planted::{JUMP_AT, Moment, PARTS, Plant, Rendition, run};
use aqueduct_tests::check::rule::{self, Rule};

#[test]
fn a_stream_without_a_fault_passes_without_a_warning() {
    let report = run(&Plant::default());
    assert!(report.findings.is_empty(), "{report}");
    assert!(report.passed());
    assert_eq!((report.renditions, report.parts), (3, 240));
}

fn text(change: fn(Moment, String) -> String) -> Plant {
    Plant { text: change, ..Plant::default() }
}

fn part(change: fn(Moment, Vec<u8>) -> Vec<u8>) -> Plant {
    Plant { part: change, ..Plant::default() }
}

fn init(change: fn(Vec<u8>) -> Vec<u8>) -> Plant {
    Plant { init: change, ..Plant::default() }
}

fn index(change: fn(String) -> String) -> Plant {
    Plant { multivariant: change, ..Plant::default() }
}

/// Replaces the last occurrence of bytes.
fn swap(mut bytes: Vec<u8>, old: &[u8], new: &[u8]) -> Vec<u8> {
    assert_eq!(old.len(), new.len());
    if let Some(at) = bytes.windows(old.len()).rposition(|window| window == old) {
        bytes[at..at + old.len()].copy_from_slice(new);
    }
    bytes
}

/// Adds to the last byte of the number that follows a box's name by `skip` bytes.
fn add(mut bytes: Vec<u8>, kind: &[u8; 4], skip: usize, more: u8) -> Vec<u8> {
    let at = bytes.windows(4).position(|window| window == kind).unwrap() + 4 + skip;
    bytes[at] = bytes[at].wrapping_add(more);
    bytes
}

fn at(moment: Moment, rendition: Rendition, msn: u64, part: u64) -> bool {
    (moment.rendition, moment.msn, moment.part) == (rendition, msn, part)
}

/// From segment 9 on the text of the video list is changed.
fn late(moment: Moment) -> bool {
    moment.rendition == Rendition::Video && moment.msn >= 9
}

fn without_line(text: &str, start: &str) -> String {
    text.lines().filter(|line| !line.starts_with(start)).map(|line| format!("{line}\n")).collect()
}

fn faults_of_text() -> Vec<(Rule, Plant)> {
    vec![
        (rule::SYNTAX, text(|_, t| t.replace("#EXTM3U\n", "#EXTM3U \n"))),
        (rule::SYNTAX, text(|_, t| t.replace("URI=\"init.mp4\"", "URI=init.mp4"))),
        (rule::UNKNOWN_TAG, text(|_, t| t.replace("#EXT-X-MAP", "#EXT-X-NEWS:A=1\n#EXT-X-MAP"))),
        (rule::HEADER_TAG, text(|_, t| without_line(&t, "#EXT-X-DISCONTINUITY-SEQUENCE"))),
        (rule::HEADER_TAG, text(|_, t| without_line(&t, "#EXT-X-PART-INF"))),
        (rule::VERSION, text(|_, t| t.replace("VERSION:9", "VERSION:3"))),
        (
            rule::LATE_TAG,
            text(|_, t| {
                let line = "#EXT-X-PROGRAM-DATE-TIME:";
                let at = t.rfind(line).unwrap();
                let (head, tail) = t.split_at(at);
                let mut lines = tail.splitn(3, '\n');
                let (date, first, rest) =
                    (lines.next().unwrap(), lines.next().unwrap(), lines.next().unwrap());
                format!("{head}{first}\n{date}\n{rest}")
            }),
        ),
        (rule::MAP_MISSING, text(|_, t| without_line(&t, "#EXT-X-MAP"))),
        (rule::PDT_MISSING, text(|_, t| without_line(&t, "#EXT-X-PROGRAM-DATE-TIME"))),
        (rule::PDT_FORM, text(|_, t| t.replace(".000Z", "Z"))),
        (rule::DECIMALS, text(|_, t| t.replace("#EXTINF:1.00000", "#EXTINF:1.0"))),
    ]
}

fn faults_of_numbers() -> Vec<(Rule, Plant)> {
    vec![
        (rule::SEGMENT_OVER_TARGET, text(|_, t| t.replace("#EXTINF:1.00000", "#EXTINF:1.50000"))),
        (rule::PART_OVER_TARGET, text(|_, t| t.replace("TARGET=0.214", "TARGET=0.199"))),
        (rule::PART_TARGET_RANGE, text(|_, t| t.replace("TARGET=0.214", "TARGET=1.214"))),
        (rule::PART_TOO_SHORT, text(|_, t| t.replace("TARGET=0.214", "TARGET=0.245"))),
        (rule::PART_SHORT_BY_SOURCE, text(|_, t| t.replace("TARGET=0.214", "TARGET=0.237"))),
        (rule::EXTINF_SUM, text(|_, t| t.replace("#EXTINF:1.00000", "#EXTINF:1.00100"))),
        (
            rule::AUDIO_INDEPENDENT,
            text(|m, t| if m.rendition == Rendition::Audio { t.replace(",INDEPENDENT=YES", "") } else { t }),
        ),
        (
            rule::PARTS_DROPPED_EARLY,
            text(|m, t| {
                let keep = media::part_name(m.msn - 1, 0);
                let old = |line: &str| line.starts_with("#EXT-X-PART:") && !newer(line, &keep);
                t.lines().filter(|line| !old(line)).map(|line| format!("{line}\n")).collect()
            }),
        ),
        (
            rule::EMPTY_LIST,
            text(|_, t| {
                let t = without_line(&t, "#EXTINF");
                t.lines().filter(|line| !line.ends_with(".m4s")).map(|line| format!("{line}\n")).collect()
            }),
        ),
        (rule::MSN_ZERO, text(|_, t| t.replace("#EXT-X-MEDIA-SEQUENCE:1\n", "#EXT-X-MEDIA-SEQUENCE:0\n"))),
        (rule::CONTROL, text(|_, t| t.replace("PART-HOLD-BACK=0.65", "PART-HOLD-BACK=0.6"))),
        (rule::CONTROL, text(|_, t| t.replace("CAN-BLOCK-RELOAD=YES,", ""))),
        (rule::CONTROL, text(|_, t| t.replace("CAN-SKIP-UNTIL=6", "CAN-SKIP-UNTIL=5"))),
        (rule::PLAYLIST_TYPE, text(|_, t| t.replace("#EXT-X-MAP", "#EXT-X-PLAYLIST-TYPE:EVENT\n#EXT-X-MAP"))),
        (rule::HINT, text(|_, t| without_line(&t, "#EXT-X-PRELOAD-HINT"))),
        (rule::ENDLIST_REST, text(|_, t| format!("{t}#EXT-X-ENDLIST\n"))),
        (rule::PDT_HOLE, text(|_, t| t.replace(":12.000Z", ":12.100Z"))),
        (rule::PDT_HOLE, text(|m, t| if m.msn >= JUMP_AT { t.replace("10:20:1", "10:19:1") } else { t })),
        (
            rule::PARTS_KEPT_LONG,
            text(|m, t| {
                // Parts reappear on the oldest segment of the window.
                let first = m.msn.saturating_sub(8).max(1);
                let line =
                    format!("#EXT-X-PART:DURATION=1.00000,URI=\"{}\"\n#EXTINF", media::part_name(first, 0));
                if m.msn > 8 && m.rendition == Rendition::Video { t.replacen("#EXTINF", &line, 1) } else { t }
            }),
        ),
    ]
}

fn newer(line: &str, than: &str) -> bool {
    let number = |text: &str| text.trim_matches(|c: char| !c.is_ascii_digit()).parse::<u64>().unwrap_or(0);
    let name = line.split("URI=\"p").nth(1).and_then(|rest| rest.split('.').next()).unwrap_or_default();
    number(name) >= number(than.trim_end_matches(".m4s"))
}

fn faults_of_succession() -> Vec<(Rule, Plant)> {
    vec![
        (rule::CONSTANT, text(|m, t| if late(m) { t.replace("TARGET=0.214", "TARGET=0.215") } else { t })),
        (
            rule::MSN_BACK,
            text(|m, t| {
                let back = Moment { msn: 8, part: 0, ..m };
                if at(m, Rendition::Video, 9, 2) { crate::planted::playlist(back) } else { t }
            }),
        ),
        (
            rule::MSN_REMOVED,
            text(|m, t| {
                let (right, wrong) = ("#EXT-X-MEDIA-SEQUENCE:5\n", "#EXT-X-MEDIA-SEQUENCE:6\n");
                if m.rendition == Rendition::Video { t.replace(right, wrong) } else { t }
            }),
        ),
        (
            rule::DISCONTINUITY_SEQUENCE,
            text(|_, t| t.replace("DISCONTINUITY-SEQUENCE:1", "DISCONTINUITY-SEQUENCE:0")),
        ),
        (rule::WINDOW_SHORT, text(|m, t| if late(m) { only_two_segments(m, &t) } else { t })),
        (rule::REWRITTEN, text(|m, t| if late(m) { t.replace("s7.m4s", "s7b.m4s") } else { t })),
        (
            rule::HINT_BROKEN,
            text(|m, t| {
                let right = format!("TYPE=PART,URI=\"{}\"", media::part_name(9, 3));
                if at(m, Rendition::Video, 9, 2) {
                    t.replace(&right, "TYPE=PART,URI=\"p9999.m4s\"")
                } else {
                    t
                }
            }),
        ),
        (rule::AFTER_END, text(|m, t| if late(m) && m.msn < 11 { ended(m) } else { t })),
        (
            rule::STALLED,
            Plant {
                answer: |m, asked| {
                    let late = if at(m, Rendition::Video, 9, 2) {
                        Duration::from_millis(900)
                    } else {
                        Duration::ZERO
                    };
                    (asked, late)
                },
                ..Plant::default()
            },
        ),
        (
            rule::UNBLOCKED,
            Plant {
                answer: |m, asked| {
                    let wrong = at(m, Rendition::Video, 9, 2);
                    (
                        if wrong { aqueduct_tests::check::Asked { part: Some(3), ..asked } } else { asked },
                        Duration::ZERO,
                    )
                },
                ..Plant::default()
            },
        ),
        (
            rule::HELD_TOO_LONG,
            Plant {
                answer: |m, asked| {
                    (
                        asked,
                        if at(m, Rendition::Video, 9, 2) { Duration::from_secs(9) } else { Duration::ZERO },
                    )
                },
                ..Plant::default()
            },
        ),
        (
            rule::DELTA,
            text(|m, t| {
                if late(m) {
                    t.replace("#EXT-X-MAP", "#EXT-X-SKIP:SKIPPED-SEGMENTS=1\n#EXT-X-MAP")
                } else {
                    t
                }
            }),
        ),
        (rule::M3U8_RS, text(|_, t| t.replace("s2.m4s", "s2.m4s\ns2b.m4s"))),
    ]
}

/// The window without all but the two newest complete segments.
fn only_two_segments(moment: Moment, text: &str) -> String {
    let complete = if moment.part + 1 == PARTS { moment.msn } else { moment.msn - 1 };
    let first = complete - 1;
    let head: String = text
        .lines()
        .take_while(|line| !line.starts_with("#EXT-X-PROGRAM"))
        .map(|l| format!("{l}\n"))
        .collect();
    let head = without_line(&head, "#EXT-X-MEDIA-SEQUENCE");
    let tail = text.find(&format!("#EXT-X-PROGRAM-DATE-TIME:{}", media::date(first))).unwrap();
    let head = head.replace("#EXT-X-DISCONTINUITY\n", "").replace("SEQUENCE:0", "SEQUENCE:1");
    format!(
        "{}{}",
        head.replace("#EXT-X-PART-INF", &format!("#EXT-X-MEDIA-SEQUENCE:{first}\n#EXT-X-PART-INF")),
        &text[tail..]
    )
}

/// A list that has ended at this moment, one segment shorter each time.
fn ended(moment: Moment) -> String {
    let whole = crate::planted::playlist(Moment { part: PARTS - 1, ..moment });
    let whole = ["#EXT-X-PART:", "#EXT-X-PRELOAD", "#EXT-X-RENDITION"]
        .iter()
        .fold(whole, |t, tag| without_line(&t, tag));
    format!("{whole}#EXT-X-ENDLIST\n")
}

fn faults_between_renditions() -> Vec<(Rule, Plant)> {
    vec![
        (
            rule::PDT_APART,
            text(|m, t| if m.rendition == Rendition::Audio { t.replace(".000Z", ".005Z") } else { t }),
        ),
        (
            rule::DISCONTINUITY_APART,
            text(
                |m, t| {
                    if m.rendition == Rendition::Audio { t.replace("#EXT-X-DISCONTINUITY\n", "") } else { t }
                },
            ),
        ),
        (
            rule::CONTROL_APART,
            text(
                |m, t| {
                    if m.rendition == Rendition::Audio { t.replace("HOLD-BACK=3", "HOLD-BACK=4") } else { t }
                },
            ),
        ),
        (rule::REPORT_MISSING, text(|_, t| without_line(&t, "#EXT-X-RENDITION-REPORT"))),
        (
            rule::REPORT_FALSE,
            text(|m, t| {
                let (right, wrong) = (format!("LAST-MSN={}", m.msn), format!("LAST-MSN={}", m.msn + 1));
                if m.rendition == Rendition::Video { t.replace(&right, &wrong) } else { t }
            }),
        ),
        (
            rule::REPORT_STALE,
            text(|m, t| {
                let (right, wrong) =
                    (format!("LAST-MSN={}", m.msn), format!("LAST-MSN={}", m.msn.saturating_sub(2)));
                if m.rendition == Rendition::Video { t.replace(&right, &wrong) } else { t }
            }),
        ),
        (
            rule::LOCKSTEP,
            Plant {
                answer: |m, asked| {
                    (
                        asked,
                        if m.rendition == Rendition::Audio {
                            Duration::from_millis(230)
                        } else {
                            Duration::ZERO
                        },
                    )
                },
                ..Plant::default()
            },
        ),
        (
            rule::RUNG_START,
            part(|m, b| if m.rendition == Rendition::Rung { add(b, b"tfdt", 10, 16) } else { b }),
        ),
        (
            rule::RUNG_SYNC,
            part(|m, b| {
                let inter = swap(b.clone(), &[2, 0, 0, 0], &[1, 1, 0, 0]);
                if at(m, Rendition::Rung, 9, 0) { swap(inter, &[0x65, 1, 2, 3], &[0x41, 1, 2, 3]) } else { b }
            }),
        ),
        (
            rule::RUNG_DELAY,
            // Decoded a frame earlier and shown at the same time: the last byte but one of each composition offset.
            part(|m, b| if at(m, Rendition::Rung, 9, 0) { earlier(b) } else { b }),
        ),
        (
            rule::AUDIO_START,
            part(|m, b| if m.rendition == Rendition::Audio { add(b, b"tfdt", 10, 16) } else { b }),
        ),
        (
            rule::AUDIO_NEAR,
            part(|m, b| if m.rendition == Rendition::Audio { add(b, b"tfdt", 10, 4) } else { b }),
        ),
    ]
}

/// The part of one that is decoded a frame earlier and shown at the same time.
fn earlier(mut bytes: Vec<u8>) -> Vec<u8> {
    let at = |kind: &[u8; 4]| bytes.windows(4).position(|window| window == kind).unwrap() + 4;
    let (tfdt, trun) = (at(b"tfdt") + 8, at(b"trun"));
    let time = u32::from_be_bytes(*bytes[tfdt..].first_chunk().unwrap());
    bytes[tfdt..tfdt + 4].copy_from_slice(&(time - 3_600).to_be_bytes());
    for sample in 0..5 {
        let offset = trun + 12 + sample * 16 + 12;
        bytes[offset..offset + 4].copy_from_slice(&3_600_u32.to_be_bytes());
    }
    bytes
}

/// Marks a part and its segment as gaps.
fn with_gap(text: &str, part: &str, whole: bool) -> String {
    let text = text.replace(&format!("URI=\"{part}\""), &format!("URI=\"{part}\",GAP=YES"));
    let segment = "#EXTINF:1.00000,\ns9.m4s";
    if whole { text.replace(segment, &format!("#EXT-X-GAP\n{segment}")) } else { text }
}

fn faults_of_gaps() -> Vec<(Rule, Plant)> {
    let part = |number| media::part_name(9, number);
    assert_eq!(part(2), "p47.m4s");
    vec![
        (
            rule::GAP_FORM,
            text(|m, t| if m.rendition == Rendition::Rung { with_gap(&t, "p47.m4s", false) } else { t }),
        ),
        (
            rule::GAP_FORM,
            text(|m, t| if m.rendition == Rendition::Rung { with_gap(&t, "p0.m4s", true) } else { t }),
        ),
        (
            rule::GAP_FORM,
            // Its first part is INDEPENDENT.
            text(|m, t| if m.rendition == Rendition::Rung { with_gap(&t, "p45.m4s", true) } else { t }),
        ),
        (
            rule::GAP_FORM,
            // What follows it does not begin with a sync sample.
            text(|m, t| if m.rendition == Rendition::Rung { with_gap(&t, "p47.m4s", true) } else { t }),
        ),
    ]
}

#[test]
fn a_rung_with_a_gap_of_the_right_form_passes() {
    let report = run(&Plant {
        text: |m, t| if m.rendition == Rendition::Rung { with_gap(&t, "p49.m4s", true) } else { t },
        ..Plant::default()
    });
    assert!(report.findings.is_empty(), "{report}");
}

fn faults_of_the_multivariant() -> Vec<(Rule, Plant)> {
    vec![
        (rule::MULTIVARIANT, index(|_| "hello".into())),
        (rule::VARIANT, index(|t| t.replace(",FRAME-RATE=25.000", ""))),
        (rule::VARIANT, index(|t| t.replace(",RESOLUTION=640x360", ""))),
        (rule::FRAME_RATE, index(|t| t.replace("FRAME-RATE=25.000", "FRAME-RATE=1000.000"))),
        (rule::AUDIO_GROUP, index(|t| t.replace("GROUP-ID=\"aac\"", "GROUP-ID=\"other\""))),
        (rule::AUDIO_GROUP, index(|t| t.replace(",CHANNELS=\"2\"", ""))),
        (rule::CODECS, index(|t| t.replace("640028", "42c01e"))),
        (rule::CODECS, index(|t| t.replace("mp4a.40.2", "mp4a.40.5"))),
        (rule::CODECS, index(|t| t.replace("640x360", "1280x720"))),
        (
            rule::BANDWIDTH,
            index(|t| t.replace("BANDWIDTH=200000,AVERAGE-BANDWIDTH=100000", "BANDWIDTH=1000")),
        ),
        (rule::AVERAGE, index(|t| t.replace("AVERAGE-BANDWIDTH=100000", "AVERAGE-BANDWIDTH=1000"))),
        (rule::AUDIO_GROUP, index(|t| second_sound(&t, "Main", ""))),
        (rule::AUDIO_GROUP, index(|t| second_sound(&t, "Other", "DEFAULT=YES,"))),
    ]
}

/// The same sound once more, under another name or the same.
fn second_sound(text: &str, name: &str, default: &str) -> String {
    let media = format!(
        "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"aac\",NAME=\"{name}\",{default}AUTOSELECT=YES,CHANNELS=\"2\",URI=\"e1/a0/media.m3u8\"\n#EXT-X-STREAM-INF"
    );
    text.replacen("#EXT-X-STREAM-INF", &media, 1)
}

fn faults_of_inits() -> Vec<(Rule, Plant)> {
    vec![
        (rule::INIT_BOXES, init(|b| swap(b, b"mvex", b"free"))),
        (rule::INIT_BOXES, init(|b| b[..b.len() - 1].to_vec())),
        (rule::INIT_FIELDS, init(|b| swap(b, b"cmfc", b"cmfx"))),
        (rule::INIT_FIELDS, init(|b| add(b, b"tkhd", 3, 1))),
        (rule::INIT_ENTRY, init(|b| swap(b, b"avc1", b"avc3"))),
    ]
}

fn faults_of_chunks() -> Vec<(Rule, Plant)> {
    vec![
        (rule::CHUNK_BOXES, part(|_, b| b[..b.len() - 1].to_vec())),
        (rule::CHUNK_BOXES, part(|m, b| if m.part == 0 { b[24..].to_vec() } else { b })),
        (rule::CHUNK_BOXES, part(|_, b| swap(b, b"tfdt", b"free"))),
        (rule::CHUNK_FIELDS, part(|_, b| add(b, b"tfhd", 1, 254))),
        (rule::CHUNK_FIELDS, part(|_, b| add(b, b"trun", 11, 1))),
        (rule::CHUNK_FIELDS, part(|_, b| add(b, b"trun", 19, 1))),
        (rule::SEQUENCE, part(|m, b| if m.part == 3 { add(b, b"mfhd", 7, 1) } else { b })),
        (
            rule::SAMPLE_FLAGS,
            part(|m, b| if m.part == 0 { swap(b, &[0x65, 1, 2, 3], &[0x41, 1, 2, 3]) } else { b }),
        ),
        (rule::SAMPLE_FLAGS, part(|_, b| swap(b, &[1, 1, 0, 0], &[1, 0, 0, 0]))),
        (rule::ZERO_DURATION, part(|_, b| swap(b, &3_600u32.to_be_bytes(), &[0; 4]))),
        (rule::ONLY_SEI, part(|_, b| swap(b, &[0x41, 1, 2, 3], &[0x06, 1, 2, 3]))),
        (rule::IN_BAND, part(|_, b| swap(b, &[0, 0, 0, 4, 0x41, 1, 2, 3], &[0, 0, 0, 4, 0x09, 1, 2, 3]))),
        (rule::NAL_LENGTHS, part(|_, b| swap(b, &[0, 0, 0, 4, 0x41], &[0, 0, 0, 5, 0x41]))),
        (rule::PART_DURATION, part(|_, b| swap(b, &3_600u32.to_be_bytes(), &3_690u32.to_be_bytes()))),
        (
            rule::INDEPENDENT_FALSE,
            text(|m, t| if m.part == 1 { t.replace(",INDEPENDENT=YES", "") } else { t }),
        ),
        (
            rule::SEGMENT_START,
            part(|m, b| {
                let all_inter = swap(b, &[2, 0, 0, 0], &[1, 1, 0, 0]);
                if m.part == 0 { swap(all_inter, &[0x65, 1, 2, 3], &[0x41, 1, 2, 3]) } else { all_inter }
            }),
        ),
        (rule::HOLE, part(|m, b| if m.part == 2 { add(b, b"tfdt", 11, 1) } else { b })),
        (
            rule::SEGMENT_BYTES,
            Plant {
                segment: |mut b| {
                    b.push(0);
                    b
                },
                ..Plant::default()
            },
        ),
    ]
}

#[test]
fn each_planted_fault_is_found_by_its_rule() {
    let mut missed = Vec::new();
    for (index, (rule, plant)) in all_faults().iter().enumerate() {
        let report = run(plant);
        if !report.has(*rule) {
            missed.push(format!("fault {index}, {rule}, was not found; instead:\n{report}"));
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

fn all_faults() -> Vec<(Rule, Plant)> {
    let mut all = faults_of_text();
    all.extend(faults_of_numbers());
    all.extend(faults_of_succession());
    all.extend(faults_between_renditions());
    all.extend(faults_of_gaps());
    all.extend(faults_of_the_multivariant());
    all.extend(faults_of_inits());
    all.extend(faults_of_chunks());
    all
}

#[test]
fn every_rule_has_a_planted_fault() {
    // Those about fetching are planted beside this.
    let beside = crate::live_faults::FETCHING.into_iter().chain([rule::INIT_REUSED]);
    let planted: Vec<Rule> = all_faults().iter().map(|(rule, _)| *rule).chain(beside).collect();
    let without: Vec<_> = rule::ALL.iter().filter(|rule| !planted.contains(rule)).collect();
    assert!(without.is_empty(), "{without:?}");
}
