//! What one rendition's playlist lists, and since when (LLHLS-7, LLHLS-13, LLHLS-14).

use std::collections::VecDeque;
use std::sync::Arc;

use aqueduct_common::{Version, WallTime};

use crate::names;
use crate::playlist::snapshot::{Control, PartLine, Report, Segment, Snapshot, State};

/// What a segment is known by before it has media.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Opening {
    /// Media sequence number.
    pub msn: u64,
    /// Count of discontinuities up to and with it.
    pub era: u64,
    /// It is not contiguous with the one before.
    pub discontinuity: bool,
    /// File name of its init segment.
    pub map: Arc<str>,
    /// When its first instant was captured.
    pub date: WallTime,
}

/// What one rendition's playlist lists.
#[derive(Debug)]
pub struct Window {
    segments: VecDeque<Segment>,
    /// Parts are listed from this segment on.
    parts_from: u64,
    next_part: u64,
    /// Segments before this one were missed by a restart.
    missed_before: u64,
}

impl Window {
    /// Lists nothing yet; the first part will be `next_part`.
    pub fn new(next_part: u64) -> Self {
        Self { segments: VecDeque::new(), parts_from: 0, next_part, missed_before: 0 }
    }

    /// Lists a segment that nobody has any more.
    pub fn miss(&mut self, opening: &Opening, micros: u64) {
        self.missed_before = opening.msn + 1;
        self.begin(opening, Vec::new(), State::Gap, micros);
    }

    /// Lists a part. The first of a segment opens it.
    pub fn push(&mut self, opening: &Opening, part: PartLine) {
        self.next_part = part.number + 1;
        match self.segments.back_mut() {
            Some(open) if open.msn == opening.msn && open.state == State::Open => open.parts.push(part),
            _ => self.begin(opening, vec![part], State::Open, 0),
        }
    }

    /// Lists one more segment. Lines count their numbers (LLHLS-13): behind a number that was passed over, as by a
    /// rendition that begins late after a restart, the list begins anew.
    fn begin(&mut self, opening: &Opening, parts: Vec<PartLine>, state: State, micros: u64) {
        if self.segments.back().is_some_and(|last| last.msn.checked_add(1) != Some(opening.msn)) {
            self.segments.clear();
        }
        self.segments.push_back(listed(opening, parts, state, micros));
    }

    /// The segment is complete; its EXTINF is the sum of its parts (LLHLS-11). One without parts, or with one that is
    /// a gap, is a gap.
    pub fn close(&mut self, opening: &Opening, micros: u64) {
        match self.segments.back_mut() {
            Some(open) if open.msn == opening.msn && open.state == State::Open => {
                let gap = open.parts.iter().any(|part| part.gap);
                open.state = if gap { State::Gap } else { State::Complete };
                open.micros = micros;
            }
            _ => self.begin(opening, Vec::new(), State::Gap, micros),
        }
    }

    /// Nothing is listed, nor was.
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Nothing is listed but what was missed before it began.
    pub fn is_blank(&self) -> bool {
        self.segments.iter().all(|segment| segment.state == State::Gap && segment.parts.is_empty())
    }

    /// The oldest segment that must stay for `span` microseconds of complete segments to be listed.
    pub fn oldest_within(&self, span: u64) -> Option<u64> {
        self.newest_within(span).map(|segment| segment.msn)
    }

    /// Removes what lies before `msn`; answers the files that no line names any more.
    pub fn trim(&mut self, msn: u64) -> Vec<String> {
        let mut gone = Vec::new();
        while let Some(first) =
            self.segments.front().filter(|first| first.msn < msn && first.state != State::Open)
        {
            if first.state == State::Complete {
                gone.push(names::segment(first.msn));
            }
            let first = self.segments.pop_front();
            let map = first.map(|segment| segment.map);
            if let Some(map) = map.filter(|map| self.segments.front().is_some_and(|next| next.map != *map)) {
                gone.push(map.to_string());
            }
        }
        gone
    }

    /// Lists parts only of what is needed for `span` microseconds before the open segment; answers the parts' files
    /// that no line names any more. Lines stay kept until their segment goes, but are not listed again.
    pub fn fold_parts(&mut self, span: u64) -> Vec<String> {
        let Some(from) = self.newest_within(span).map(|segment| segment.msn) else { return Vec::new() };
        let mut gone = Vec::new();
        for segment in self.segments.iter_mut().filter(|segment| segment.msn < from) {
            gone.extend(segment.parts.drain(..).filter_map(file));
        }
        self.parts_from = self.parts_from.max(from);
        gone
    }

    /// Oldest of the newest complete segments that together last `span`. What a restart missed is no part of that: it is
    /// listed until there is a window of media, for players that wait at the last of what was before.
    fn newest_within(&self, span: u64) -> Option<&Segment> {
        let mut held = 0;
        let complete = self.segments.iter().rev().filter(|segment| segment.state != State::Open);
        complete
            .take_while(|segment| {
                let needed = held < span;
                held += if segment.msn < self.missed_before { 0 } else { segment.micros };
                needed
            })
            .last()
    }

    /// There is a complete segment with media: the list may be published (LLHLS-9).
    pub fn is_ready(&self) -> bool {
        self.segments.iter().any(|segment| segment.state == State::Complete)
    }

    /// Microseconds of media that are listed after the first complete segment: how long the others were waited for.
    pub fn micros_since_ready(&self) -> u64 {
        let after = self.segments.iter().skip_while(|segment| segment.state != State::Complete).skip(1);
        after.flat_map(|segment| &segment.parts).map(|part| part.micros).sum()
    }

    /// When the newest segment that is complete ends.
    pub fn end_date(&self) -> Option<WallTime> {
        let newest = self.segments.iter().rev().find(|segment| segment.state != State::Open)?;
        Some(newest.date.offset(newest.micros.cast_signed()))
    }

    /// Microseconds of complete segments.
    pub fn micros(&self) -> u64 {
        self.segments.iter().map(|segment| segment.micros).sum()
    }

    /// How far the list has come.
    pub fn version(&self) -> Version {
        self.segments.back().map_or(Version::default(), |newest| Version {
            msn: newest.msn,
            part: (newest.parts.len().max(1) - 1) as u32,
            complete: newest.state != State::Open,
        })
    }

    /// File that the newest line with a URI of its own names.
    pub fn newest_file(&self) -> Option<String> {
        self.segments.iter().rev().find_map(|segment| match segment.state {
            State::Complete => Some(names::segment(segment.msn)),
            State::Open | State::Gap => segment.parts.iter().rev().copied().find_map(file),
        })
    }

    /// File name of the part that comes next.
    pub fn hint(&self) -> String {
        names::part(self.next_part)
    }

    /// Everything the playlist says.
    pub fn snapshot<'a>(&'a self, control: &'a Control, reports: &'a [Report], ended: bool) -> Snapshot<'a> {
        Snapshot {
            control,
            segments: &self.segments,
            parts_from: self.parts_from,
            reports,
            next_part: self.next_part,
            ended,
        }
    }

    /// Files that are named or kept: for the end of a rendition.
    pub fn files(&self) -> Vec<String> {
        let of_segment = |segment: &Segment| {
            let parts = segment.parts.iter().copied().filter_map(file);
            parts
                .chain((segment.state == State::Complete).then(|| names::segment(segment.msn)))
                .collect::<Vec<_>>()
        };
        let mut files: Vec<String> = self.segments.iter().flat_map(of_segment).collect();
        let mut maps: Vec<String> = self.segments.iter().map(|segment| segment.map.to_string()).collect();
        maps.dedup();
        files.extend(maps);
        files
    }
}

/// The file of a part that is there.
fn file(part: PartLine) -> Option<String> {
    (!part.gap).then(|| names::part(part.number))
}

fn listed(opening: &Opening, parts: Vec<PartLine>, state: State, micros: u64) -> Segment {
    Segment {
        msn: opening.msn,
        era: opening.era,
        discontinuity: opening.discontinuity,
        map: opening.map.clone(),
        date: opening.date,
        parts,
        micros,
        state,
    }
}
