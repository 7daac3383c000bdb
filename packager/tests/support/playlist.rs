//! A strict reader of our media playlists: any line that it does not know, or that stands in the wrong place, fails.

use std::collections::HashMap;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Part {
    pub uri: String,
    pub micros: u64,
    pub independent: bool,
    pub gap: bool,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Segment {
    pub msn: u64,
    pub discontinuity: bool,
    pub era: u64,
    pub map: String,
    pub date: String,
    pub parts: Vec<Part>,
    pub micros: Option<u64>,
    pub uri: Option<String>,
    pub gap: bool,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Playlist {
    pub target_duration: u64,
    pub part_target: u64,
    pub control: HashMap<String, String>,
    pub media_sequence: u64,
    pub discontinuity_sequence: u64,
    pub skipped: usize,
    pub segments: Vec<Segment>,
    pub hint: Option<String>,
    pub reports: Vec<(String, u64, u64)>,
    pub ended: bool,
}

/// Microseconds of a decimal number of seconds.
pub fn micros(text: &str) -> u64 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    assert!(fraction.len() <= 6, "{text}");
    whole.parse::<u64>().unwrap() * 1_000_000 + format!("{fraction:0<6}").parse::<u64>().unwrap()
}

/// Attributes of a tag; quotes are taken off.
pub fn attributes(text: &str) -> HashMap<String, String> {
    let mut found = HashMap::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (name, value) = rest.split_once('=').unwrap();
        let (value, after) = match value.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap(),
            None => value.split_at(value.find(',').unwrap_or(value.len())),
        };
        assert!(found.insert(name.to_owned(), value.to_owned()).is_none(), "{name} twice");
        rest = after.strip_prefix(',').unwrap_or(after);
    }
    found
}

pub fn read(text: &str) -> Playlist {
    let mut lines = text.lines();
    let mut list = Playlist::default();
    let mut expect = |tag: &str| {
        let line = lines.next().unwrap_or_default();
        line.strip_prefix(tag).unwrap_or_else(|| panic!("{line:?} where {tag} belongs")).to_owned()
    };
    expect("#EXTM3U");
    assert_eq!(expect("#EXT-X-VERSION:"), "9");
    list.target_duration = expect("#EXT-X-TARGETDURATION:").parse().unwrap();
    list.control = attributes(&expect("#EXT-X-SERVER-CONTROL:"));
    list.part_target = micros(&attributes(&expect("#EXT-X-PART-INF:"))["PART-TARGET"]);
    list.media_sequence = expect("#EXT-X-MEDIA-SEQUENCE:").parse().unwrap();
    list.discontinuity_sequence = expect("#EXT-X-DISCONTINUITY-SEQUENCE:").parse().unwrap();
    let mut state =
        Reader { msn: list.media_sequence, era: list.discontinuity_sequence, ..Reader::default() };
    for line in lines {
        state.line(&mut list, line);
    }
    list.segments.extend(state.open.take());
    list
}

#[derive(Default)]
struct Reader {
    msn: u64,
    era: u64,
    map: String,
    open: Option<Segment>,
    discontinuity: bool,
    tail: bool,
}

impl Reader {
    fn line(&mut self, list: &mut Playlist, line: &str) {
        let tag = |tag: &str| line.strip_prefix(tag);
        if let Some(rest) = tag("#EXT-X-SKIP:SKIPPED-SEGMENTS=") {
            assert!(list.segments.is_empty() && self.open.is_none());
            list.skipped = rest.parse().unwrap();
            assert!(list.skipped > 0);
            self.msn += list.skipped as u64;
        } else if line == "#EXT-X-DISCONTINUITY" {
            assert!(self.open.is_none() && !self.discontinuity, "DISCONTINUITY comes before the first part");
            self.discontinuity = true;
            self.era += 1;
        } else if let Some(rest) = tag("#EXT-X-MAP:") {
            assert!(self.open.is_none(), "MAP comes before the first part");
            self.map = attributes(rest)["URI"].clone();
        } else if let Some(rest) = tag("#EXT-X-PROGRAM-DATE-TIME:") {
            assert!(self.open.is_none() && !self.tail);
            let discontinuity = std::mem::take(&mut self.discontinuity);
            let (msn, era, map, date) = (self.msn, self.era, self.map.clone(), rest.to_owned());
            assert!(!map.is_empty());
            self.open = Some(Segment { msn, era, discontinuity, map, date, ..Segment::default() });
        } else if let Some(rest) = tag("#EXT-X-PART:") {
            let attributes = attributes(rest);
            let part = Part {
                uri: attributes["URI"].clone(),
                micros: micros(&attributes["DURATION"]),
                independent: attributes.get("INDEPENDENT").is_some_and(|value| value == "YES"),
                gap: attributes.get("GAP").is_some_and(|value| value == "YES"),
            };
            self.open.as_mut().expect("PDT comes before the first part").parts.push(part);
        } else if line == "#EXT-X-GAP" {
            self.open.as_mut().unwrap().gap = true;
        } else if let Some(rest) = tag("#EXTINF:") {
            self.open.as_mut().expect("PDT on every segment").micros =
                Some(micros(rest.strip_suffix(',').unwrap()));
        } else if !line.starts_with('#') {
            let mut segment = self.open.take().unwrap();
            assert!(segment.micros.is_some());
            segment.uri = Some(line.to_owned());
            self.msn += 1;
            list.segments.push(segment);
        } else {
            self.tail(list, line);
        }
    }

    fn tail(&mut self, list: &mut Playlist, line: &str) {
        self.tail = true;
        if let Some(rest) = line.strip_prefix("#EXT-X-PRELOAD-HINT:") {
            let attributes = attributes(rest);
            assert_eq!(attributes["TYPE"], "PART");
            assert!(list.hint.replace(attributes["URI"].clone()).is_none());
        } else if let Some(rest) = line.strip_prefix("#EXT-X-RENDITION-REPORT:") {
            let attributes = attributes(rest);
            let number = |name: &str| attributes[name].parse().unwrap();
            list.reports.push((attributes["URI"].clone(), number("LAST-MSN"), number("LAST-PART")));
        } else if line == "#EXT-X-ENDLIST" {
            list.ended = true;
        } else {
            panic!("unknown line {line:?}");
        }
    }
}

/// What a player makes of a delta update and the list that it holds (LLHLS-32).
pub fn apply(delta: &Playlist, held: &Playlist) -> Playlist {
    let mut full = delta.clone();
    full.skipped = 0;
    let from = delta.media_sequence;
    let kept: Vec<Segment> = (from..from + delta.skipped as u64)
        .map(|msn| {
            held.segments
                .iter()
                .find(|segment| segment.msn == msn)
                .expect("a skipped segment is held")
                .clone()
        })
        .collect();
    // Discontinuities are counted over what was skipped; parts of old segments are not listed any more.
    let skipped = kept.iter().filter(|segment| segment.discontinuity).count() as u64;
    for segment in &mut full.segments {
        segment.era += skipped;
    }
    full.segments.splice(0..0, kept);
    full
}
