//! Line by line through a media playlist.

use super::attributes::{Attributes, Decimal, parse_date};
use super::playlist::{Fault, MediaPlaylist, Part, Report, Segment, read_control};
use super::rule::{self, Rule};

/// Durations are printed with at least this many decimals (LLHLS-11).
const DECIMALS: usize = 5;

/// State of the reading.
#[derive(Default)]
pub(super) struct Parser {
    list: MediaPlaylist,
    faults: Vec<Fault>,
    line: usize,
    seen: Vec<&'static str>,
    map: Option<String>,
    current: Segment,
    /// EXTINF came; the URI is due.
    awaiting_uri: bool,
    /// A tag of `current` has been read.
    touched: bool,
}

impl Parser {
    pub(super) fn read(text: &str) -> (Option<MediaPlaylist>, Vec<Fault>) {
        let mut parser = Self::default();
        for line in text.lines() {
            parser.line += 1;
            if parser.line == 1 {
                if line != "#EXTM3U" {
                    parser.fault(rule::SYNTAX, "the first line is not #EXTM3U");
                    return (None, parser.faults);
                }
                continue;
            }
            parser.read_line(line);
        }
        if !text.ends_with('\n') {
            parser.fault(rule::SYNTAX, "the last line does not end");
        }
        parser.finish()
    }

    fn fault(&mut self, rule: Rule, detail: impl Into<String>) {
        self.faults.push(Fault { rule, line: self.line, detail: detail.into() });
    }

    fn read_line(&mut self, line: &str) {
        if line.trim() != line {
            self.fault(rule::SYNTAX, "blanks around a line");
        }
        if line.is_empty() {
            return;
        }
        let Some(tag) = line.strip_prefix('#') else { return self.uri(line) };
        if !tag.starts_with("EXT") {
            return;
        }
        if self.awaiting_uri && !tag.starts_with("EXT-X-BITRATE") && !tag.starts_with("EXT-X-GAP") {
            self.fault(rule::SYNTAX, "a tag between EXTINF and its URI");
        }
        let (name, value) = tag.split_once(':').unwrap_or((tag, ""));
        self.tag(name, value);
    }

    fn tag(&mut self, name: &str, value: &str) {
        match name {
            "EXT-X-VERSION" => self.header("EXT-X-VERSION", value, |list, v| {
                v.parse().map(|v| list.constants.version = v).is_ok()
            }),
            "EXT-X-TARGETDURATION" => self.header("EXT-X-TARGETDURATION", value, |list, v| {
                v.parse().map(|v| list.constants.target_duration = v).is_ok()
            }),
            "EXT-X-MEDIA-SEQUENCE" => self.header("EXT-X-MEDIA-SEQUENCE", value, |list, v| {
                v.parse().map(|v| list.media_sequence = v).is_ok()
            }),
            "EXT-X-DISCONTINUITY-SEQUENCE" => {
                self.header("EXT-X-DISCONTINUITY-SEQUENCE", value, |list, v| {
                    v.parse().map(|v| list.discontinuity_sequence = Some(v)).is_ok()
                })
            }
            "EXT-X-PLAYLIST-TYPE" => self.header("EXT-X-PLAYLIST-TYPE", value, |list, v| {
                list.playlist_type = Some(v.to_owned());
                matches!(v, "EVENT" | "VOD")
            }),
            "EXT-X-INDEPENDENT-SEGMENTS" => self.header("EXT-X-INDEPENDENT-SEGMENTS", value, |list, v| {
                list.independent_segments = true;
                v.is_empty()
            }),
            "EXT-X-SERVER-CONTROL" => self.server_control(value),
            "EXT-X-PART-INF" => self.part_inf(value),
            "EXT-X-SKIP" => self.skip(value),
            "EXT-X-MAP" => self.map(value),
            "EXT-X-DISCONTINUITY" => {
                self.before_parts("EXT-X-DISCONTINUITY");
                self.current.discontinuity = true;
            }
            "EXT-X-PROGRAM-DATE-TIME" => self.date(value),
            "EXT-X-KEY" => self.before_parts("EXT-X-KEY"),
            "EXT-X-GAP" => self.current.gap = true,
            "EXT-X-BITRATE" | "EXT-X-DATERANGE" | "EXT-X-DEFINE" | "EXT-X-START" => {}
            "EXT-X-PART" => self.part(value),
            "EXTINF" => self.extinf(value),
            "EXT-X-PRELOAD-HINT" => self.hint(value),
            "EXT-X-RENDITION-REPORT" => self.report(value),
            "EXT-X-ENDLIST" => self.list.ended = true,
            other => self.fault(rule::UNKNOWN_TAG, other),
        }
    }

    /// A header tag: once, and before the first tag of a segment.
    fn header(&mut self, name: &'static str, value: &str, set: fn(&mut MediaPlaylist, &str) -> bool) {
        self.header_place(name);
        if !set(&mut self.list, value) {
            self.fault(rule::SYNTAX, format!("{name} cannot be {value:?}"));
        }
    }

    fn header_place(&mut self, name: &'static str) {
        if self.seen.contains(&name) {
            self.fault(rule::HEADER_TAG, format!("{name} twice"));
        }
        if self.touched || !self.list.segments.is_empty() || self.list.skipped.is_some() {
            self.fault(rule::HEADER_TAG, format!("{name} after the first segment"));
        }
        self.seen.push(name);
    }

    fn attributes<'a>(&mut self, tag: &str, value: &'a str) -> Option<Attributes<'a>> {
        match Attributes::parse(value) {
            Ok(list) => Some(list),
            Err(error) => {
                self.fault(rule::SYNTAX, format!("{tag}: {error}"));
                None
            }
        }
    }

    fn server_control(&mut self, value: &str) {
        self.header_place("EXT-X-SERVER-CONTROL");
        let Some(list) = self.attributes("EXT-X-SERVER-CONTROL", value) else { return };
        self.list.constants.control = Some(read_control(&list));
    }

    fn part_inf(&mut self, value: &str) {
        self.header_place("EXT-X-PART-INF");
        let Some(list) = self.attributes("EXT-X-PART-INF", value) else { return };
        self.list.constants.part_target = list.decimal("PART-TARGET");
        if self.list.constants.part_target.is_none() {
            self.fault(rule::SYNTAX, "EXT-X-PART-INF without PART-TARGET");
        }
    }

    fn skip(&mut self, value: &str) {
        if self.touched || !self.list.segments.is_empty() || !self.seen.contains(&"EXT-X-MEDIA-SEQUENCE") {
            self.fault(rule::HEADER_TAG, "EXT-X-SKIP is not between MEDIA-SEQUENCE and the first segment");
        }
        let Some(list) = self.attributes("EXT-X-SKIP", value) else { return };
        self.list.skipped = list.integer("SKIPPED-SEGMENTS").filter(|skipped| *skipped > 0);
        if self.list.skipped.is_none() {
            self.fault(rule::SYNTAX, "EXT-X-SKIP without a SKIPPED-SEGMENTS above 0");
        }
    }

    /// LLHLS-10: what a segment begins with comes before its first part.
    fn before_parts(&mut self, name: &str) {
        self.touched = true;
        if !self.current.parts.is_empty() {
            self.fault(rule::LATE_TAG, name);
        }
    }

    fn map(&mut self, value: &str) {
        self.before_parts("EXT-X-MAP");
        let Some(list) = self.attributes("EXT-X-MAP", value) else { return };
        match list.quoted("URI") {
            Some(uri) => self.map = Some(uri.to_owned()),
            None => self.fault(rule::SYNTAX, "EXT-X-MAP without URI"),
        }
    }

    fn date(&mut self, value: &str) {
        self.before_parts("EXT-X-PROGRAM-DATE-TIME");
        self.current.date = parse_date(value);
        if self.current.date.is_none() {
            self.fault(rule::PDT_FORM, value);
        }
    }

    fn part(&mut self, value: &str) {
        self.touched = true;
        let Some(list) = self.attributes("EXT-X-PART", value) else { return };
        let (Some(uri), Some(duration)) = (list.quoted("URI"), list.decimal("DURATION")) else {
            return self.fault(rule::SYNTAX, "EXT-X-PART without URI or DURATION");
        };
        if !self.list.hints.is_empty() {
            self.fault(rule::SYNTAX, "EXT-X-PART after EXT-X-PRELOAD-HINT");
        }
        self.decimals(duration, value);
        self.current.parts.push(Part {
            uri: uri.to_owned(),
            duration,
            independent: list.yes("INDEPENDENT"),
            gap: list.yes("GAP"),
            byte_range: list.quoted("BYTERANGE").map(str::to_owned),
        });
    }

    fn decimals(&mut self, value: Decimal, text: &str) {
        if value.decimals < DECIMALS {
            self.fault(rule::DECIMALS, text);
        }
    }

    fn extinf(&mut self, value: &str) {
        self.touched = true;
        let Some((duration, _title)) = value.split_once(',') else {
            return self.fault(rule::SYNTAX, "EXTINF without a comma");
        };
        match Decimal::parse(duration) {
            Some(duration) => {
                self.decimals(duration, value);
                self.current.duration = duration;
                self.awaiting_uri = true;
            }
            None => self.fault(rule::SYNTAX, format!("EXTINF:{value}")),
        }
    }

    fn uri(&mut self, uri: &str) {
        if !self.awaiting_uri {
            return self.fault(rule::SYNTAX, format!("a URI without EXTINF: {uri}"));
        }
        self.current.uri = uri.to_owned();
        self.push_segment();
    }

    fn push_segment(&mut self) {
        let mut segment = std::mem::take(&mut self.current);
        let before = self.list.media_sequence.saturating_add(self.list.skipped.unwrap_or(0));
        segment.msn = before.saturating_add(self.list.segments.len() as u64);
        segment.map = self.map.clone();
        let what = if segment.complete() { segment.uri.clone() } else { "the open segment".to_owned() };
        if segment.map.is_none() {
            self.fault(rule::MAP_MISSING, what.clone());
        }
        if segment.date.is_none() {
            self.fault(rule::PDT_MISSING, what);
        }
        self.list.segments.push(segment);
        (self.awaiting_uri, self.touched) = (false, false);
    }

    fn hint(&mut self, value: &str) {
        let Some(list) = self.attributes("EXT-X-PRELOAD-HINT", value) else { return };
        match (list.raw("TYPE"), list.quoted("URI")) {
            (Some("PART"), Some(uri)) => self.list.hints.push(uri.to_owned()),
            (Some("MAP"), Some(_)) => {}
            _ => self.fault(rule::SYNTAX, "EXT-X-PRELOAD-HINT without TYPE or URI"),
        }
    }

    fn report(&mut self, value: &str) {
        let Some(list) = self.attributes("EXT-X-RENDITION-REPORT", value) else { return };
        let Some(uri) = list.quoted("URI") else {
            return self.fault(rule::SYNTAX, "EXT-X-RENDITION-REPORT without URI");
        };
        if uri.contains('?') {
            self.fault(rule::REPORT_MISSING, format!("{uri} has a query"));
        }
        let (msn, part) = (list.integer("LAST-MSN"), list.integer("LAST-PART"));
        self.list.reports.push(Report { uri: uri.to_owned(), msn, part });
    }

    fn finish(mut self) -> (Option<MediaPlaylist>, Vec<Fault>) {
        if self.awaiting_uri {
            self.fault(rule::SYNTAX, "EXTINF without a URI");
        }
        // What comes before the hint of a new segment's first part belongs to a segment that has no part yet.
        if self.touched && !self.awaiting_uri {
            self.push_segment();
        }
        for tag in
            ["EXT-X-VERSION", "EXT-X-TARGETDURATION", "EXT-X-MEDIA-SEQUENCE", "EXT-X-DISCONTINUITY-SEQUENCE"]
        {
            if !self.seen.contains(&tag) {
                self.fault(rule::HEADER_TAG, format!("{tag} is missing"));
            }
        }
        let has_parts = self.list.segments.iter().any(|segment| !segment.parts.is_empty());
        if has_parts && self.list.constants.part_target.is_none() {
            self.fault(rule::HEADER_TAG, "EXT-X-PART without EXT-X-PART-INF");
        }
        let needed = if self.list.skipped.is_some() { 9 } else { 6 };
        if self.list.constants.version < needed {
            self.fault(rule::VERSION, format!("{} but {needed} is needed", self.list.constants.version));
        }
        (Some(self.list), self.faults)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::playlist::Edge;

    const LIST: &str = "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-TARGETDURATION:2\n\
        #EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=1.5,HOLD-BACK=6,CAN-SKIP-UNTIL=12\n\
        #EXT-X-PART-INF:PART-TARGET=0.5\n#EXT-X-MEDIA-SEQUENCE:266\n#EXT-X-DISCONTINUITY-SEQUENCE:3\n\
        #EXT-X-MAP:URI=\"init.mp4\"\n#EXT-X-PROGRAM-DATE-TIME:2025-11-20T10:20:00.000Z\n#EXTINF:2.00000,\ns266.m4s\n\
        #EXT-X-PROGRAM-DATE-TIME:2025-11-20T10:20:02.000Z\n#EXT-X-PART:DURATION=0.50000,URI=\"p1.m4s\",INDEPENDENT=YES\n\
        #EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"p2.m4s\"\n#EXT-X-RENDITION-REPORT:URI=\"../a/m.m3u8\",LAST-MSN=267,LAST-PART=0\n";

    #[test]
    fn reads_the_example_without_a_fault() {
        let (list, faults) = MediaPlaylist::parse(LIST);
        assert_eq!(faults, []);
        let list = list.unwrap();
        assert_eq!(list.edge(), Some(Edge { msn: 267, part: 0, complete: false }));
        assert_eq!(list.complete().count(), 1);
        assert_eq!(list.open().unwrap().parts.len(), 1);
        assert_eq!(list.hints, ["p2.m4s"]);
        assert_eq!(list.reports[0].msn, Some(267));
    }

    #[test]
    fn each_broken_line_is_found() {
        let cases = [
            ("#EXT-X-VERSION:9\n", "", rule::HEADER_TAG),
            ("#EXT-X-VERSION:9", "#EXT-X-VERSION:5", rule::VERSION),
            ("#EXT-X-DISCONTINUITY-SEQUENCE:3\n", "", rule::HEADER_TAG),
            ("#EXT-X-MAP:URI=\"init.mp4\"\n", "", rule::MAP_MISSING),
            ("10:20:02.000Z", "10:20:02Z", rule::PDT_FORM),
            ("#EXTINF:2.00000,", "#EXTINF:2.0,", rule::DECIMALS),
            ("#EXTINF:2.00000,", "#EXTINF:2.00000", rule::SYNTAX),
            ("s266.m4s\n", "s266.m4s\n#EXT-X-FOO\n", rule::UNKNOWN_TAG),
            ("INDEPENDENT=YES", "INDEPENDENT=YES\n#EXT-X-DISCONTINUITY", rule::LATE_TAG),
            ("LAST-PART=0\n", "LAST-PART=0", rule::SYNTAX),
        ];
        for (old, new, rule) in cases {
            let (_, faults) = MediaPlaylist::parse(&LIST.replacen(old, new, 1));
            assert!(faults.iter().any(|fault| fault.rule == rule), "{new:?}: {faults:?}");
        }
    }
}
