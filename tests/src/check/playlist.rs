//! A strict reader of LL-HLS media playlists (RFC 8216bis): every line is understood or reported.

use super::attributes::{Attributes, Decimal};
use super::parse::Parser;
use super::rule::Rule;

/// Something wrong in a text, before any other text is looked at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// The rule.
    pub rule: Rule,
    /// Line in the playlist, from 1.
    pub line: usize,
    /// What was found.
    pub detail: String,
}

/// EXT-X-SERVER-CONTROL.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Control {
    /// CAN-BLOCK-RELOAD=YES.
    pub can_block_reload: bool,
    /// PART-HOLD-BACK.
    pub part_hold_back: Option<Decimal>,
    /// HOLD-BACK.
    pub hold_back: Option<Decimal>,
    /// CAN-SKIP-UNTIL.
    pub can_skip_until: Option<Decimal>,
}

/// What must be the same in every version of a playlist, and in every rendition (LLHLS-1, -2, -12).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Constants {
    /// EXT-X-VERSION.
    pub version: u64,
    /// EXT-X-TARGETDURATION, in seconds.
    pub target_duration: u64,
    /// EXT-X-SERVER-CONTROL.
    pub control: Option<Control>,
    /// PART-TARGET of EXT-X-PART-INF.
    pub part_target: Option<Decimal>,
}

/// EXT-X-PART.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Part {
    /// As written, relative to the playlist.
    pub uri: String,
    /// DURATION.
    pub duration: Decimal,
    /// INDEPENDENT=YES.
    pub independent: bool,
    /// GAP=YES.
    pub gap: bool,
    /// BYTERANGE as written.
    pub byte_range: Option<String>,
}

/// A media segment: complete when it has a URI, still open otherwise.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Segment {
    /// Media sequence number.
    pub msn: u64,
    /// It is preceded by EXT-X-DISCONTINUITY.
    pub discontinuity: bool,
    /// URI of the EXT-X-MAP in force.
    pub map: Option<String>,
    /// EXT-X-PROGRAM-DATE-TIME in microseconds since 1970.
    pub date: Option<i64>,
    /// EXT-X-GAP.
    pub gap: bool,
    /// EXTINF.
    pub duration: Decimal,
    /// Its URI; empty while it is open.
    pub uri: String,
    /// Its parts, where they are listed.
    pub parts: Vec<Part>,
}

impl Segment {
    /// Its EXTINF has been listed.
    pub fn complete(&self) -> bool {
        !self.uri.is_empty()
    }

    /// Sum of its parts' durations in microseconds.
    pub fn parts_micros(&self) -> i64 {
        self.parts.iter().map(|part| part.duration.micros).sum()
    }
}

/// EXT-X-RENDITION-REPORT.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// As written, relative to the playlist.
    pub uri: String,
    /// LAST-MSN.
    pub msn: Option<u64>,
    /// LAST-PART.
    pub part: Option<u64>,
}

/// The newest thing that a playlist lists.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Edge {
    /// Media sequence number of the newest listed part's segment.
    pub msn: u64,
    /// Index of that part, from 0; beyond all where the segment's parts are not listed any more.
    pub part: u64,
    /// That segment is complete.
    pub complete: bool,
}

impl Edge {
    /// What a player asks for next: the part after this one (LLHLS-20).
    pub const fn next(self) -> (u64, u64) {
        if self.complete { (self.msn + 1, 0) } else { (self.msn, self.part + 1) }
    }

    /// A list that ends here holds what `_HLS_msn` and `_HLS_part` name (LLHLS-20).
    pub fn holds(self, msn: u64, part: Option<u64>) -> bool {
        match part {
            Some(part) => (self.msn, self.part) >= (msn, part),
            None => self.msn > msn || (self.msn == msn && self.complete),
        }
    }
}

/// One version of a media playlist.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MediaPlaylist {
    /// The header's constants.
    pub constants: Constants,
    /// EXT-X-MEDIA-SEQUENCE.
    pub media_sequence: u64,
    /// EXT-X-DISCONTINUITY-SEQUENCE.
    pub discontinuity_sequence: Option<u64>,
    /// EXT-X-PLAYLIST-TYPE.
    pub playlist_type: Option<String>,
    /// EXT-X-INDEPENDENT-SEGMENTS.
    pub independent_segments: bool,
    /// SKIPPED-SEGMENTS of EXT-X-SKIP.
    pub skipped: Option<u64>,
    /// Segments in order; the last may be open.
    pub segments: Vec<Segment>,
    /// URIs of EXT-X-PRELOAD-HINT with TYPE=PART.
    pub hints: Vec<String>,
    /// EXT-X-RENDITION-REPORT tags.
    pub reports: Vec<Report>,
    /// EXT-X-ENDLIST.
    pub ended: bool,
}

impl MediaPlaylist {
    /// Reads a playlist and all that is wrong with its text. `None` when it is not a playlist at all.
    pub fn parse(text: &str) -> (Option<Self>, Vec<Fault>) {
        Parser::read(text)
    }

    /// Segments whose EXTINF is listed.
    pub fn complete(&self) -> impl DoubleEndedIterator<Item = &Segment> {
        self.segments.iter().filter(|segment| segment.complete())
    }

    /// The segment that is still being written, if any of its parts is listed.
    pub fn open(&self) -> Option<&Segment> {
        self.segments.last().filter(|segment| !segment.complete())
    }

    /// The segment with this number.
    pub fn segment(&self, msn: u64) -> Option<&Segment> {
        self.segments.iter().find(|segment| segment.msn == msn)
    }

    /// The newest thing listed; `None` for an empty list.
    pub fn edge(&self) -> Option<Edge> {
        let last =
            self.segments.iter().rev().find(|segment| segment.complete() || !segment.parts.is_empty())?;
        // A segment whose parts are no longer listed has them all.
        let part = (last.parts.len() as u64).checked_sub(1).unwrap_or(u64::MAX);
        Some(Edge { msn: last.msn, part, complete: last.complete() })
    }

    /// EXT-X-TARGETDURATION in microseconds.
    pub const fn target_micros(&self) -> i64 {
        self.constants.target_duration as i64 * 1_000_000
    }

    /// The full playlist that this delta update stands for, given the one before (LLHLS-29).
    ///
    /// # Errors
    ///
    /// Says which skipped segment the older playlist does not have.
    pub fn applied_to(&self, older: &Self) -> Result<Self, String> {
        let Some(skipped) = self.skipped else { return Ok(self.clone()) };
        let mut full = Self { skipped: None, segments: Vec::new(), ..self.clone() };
        for msn in self.media_sequence..self.media_sequence.saturating_add(skipped) {
            let segment = older.segment(msn).filter(|segment| segment.complete());
            full.segments
                .push(segment.ok_or_else(|| format!("segment {msn} was skipped but never listed"))?.clone());
        }
        full.segments.extend(self.segments.iter().cloned());
        Ok(full)
    }
}

/// Reads EXT-X-SERVER-CONTROL.
pub(super) fn read_control(list: &Attributes<'_>) -> Control {
    Control {
        can_block_reload: list.yes("CAN-BLOCK-RELOAD"),
        part_hold_back: list.decimal("PART-HOLD-BACK"),
        hold_back: list.decimal("HOLD-BACK"),
        can_skip_until: list.decimal("CAN-SKIP-UNTIL"),
    }
}

/// `relative` as seen from `base`, both absolute or path-absolute; queries of `base` are dropped.
pub fn resolve(base: &str, relative: &str) -> String {
    if relative.contains("://") {
        return relative.to_owned();
    }
    let base = base.split(['?', '#']).next().unwrap_or_default();
    let authority_end = base
        .find("://")
        .map_or(0, |scheme| base[scheme + 3..].find('/').map_or(base.len(), |slash| scheme + 3 + slash));
    let (authority, path) = base.split_at(authority_end);
    if relative.starts_with('/') {
        return format!("{authority}{relative}");
    }
    let mut segments: Vec<&str> = path.split('/').collect();
    segments.pop();
    for step in relative.split('/') {
        match step {
            "." => {}
            ".." if segments.len() > 1 => {
                segments.pop();
            }
            ".." => {}
            step => segments.push(step),
        }
    }
    format!("{authority}{}", segments.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_uris_resolve() {
        let base = "http://h:1/live/a/e1/v0/media.m3u8?x=1";
        assert_eq!(resolve(base, "p1.m4s"), "http://h:1/live/a/e1/v0/p1.m4s");
        assert_eq!(resolve(base, "../a0/media.m3u8"), "http://h:1/live/a/e1/a0/media.m3u8");
        assert_eq!(resolve(base, "/x"), "http://h:1/x");
        assert_eq!(resolve("http://h/index.m3u8", "../../x"), "http://h/x");
    }

    #[test]
    fn an_edge_holds_what_is_at_or_before_it() {
        let open = Edge { msn: 5, part: 2, complete: false };
        assert!(open.holds(5, Some(2)) && open.holds(4, None) && open.holds(4, Some(99)));
        assert!(!open.holds(5, None) && !open.holds(5, Some(3)));
        assert_eq!(open.next(), (5, 3));
        let complete = Edge { complete: true, ..open };
        assert!(complete.holds(5, None) && !complete.holds(5, Some(3)));
        assert_eq!(complete.next(), (6, 0));
    }
}
