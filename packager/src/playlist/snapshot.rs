//! Everything that one media playlist says.

use std::collections::VecDeque;
use std::sync::Arc;

use aqueduct_common::WallTime;

/// What all media playlists of an epoch promise alike, for its whole life (LLHLS-1, LLHLS-2, LLHLS-12).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Control {
    /// EXT-X-TARGETDURATION, in seconds.
    pub target_duration: u32,
    /// PART-TARGET, in milliseconds.
    pub part_target: u32,
    /// CAN-SKIP-UNTIL, in seconds; `None` where the window is too short for delta updates.
    pub skip_until: Option<u32>,
}

impl Control {
    /// Targets for a window of `window` seconds: delta updates are offered where it holds twice what is skipped.
    pub const fn new(target_duration: u32, part_target: u32, window: u64) -> Self {
        let skip_until = 6 * target_duration;
        let skip_until = if window >= 2 * skip_until as u64 { Some(skip_until) } else { None };
        Self { target_duration, part_target, skip_until }
    }
}

/// A listed part.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PartLine {
    /// Its number in the rendition's running count.
    pub number: u64,
    /// Duration in microseconds.
    pub micros: u64,
    /// INDEPENDENT=YES.
    pub independent: bool,
    /// GAP=YES: there is nothing under its name (LLHLS-18).
    pub gap: bool,
}

/// How far a listed segment is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// Parts are still added.
    Open,
    /// Its EXTINF is listed.
    Complete,
    /// The rendition has no media for it, or not for all of it: EXT-X-GAP (LLHLS-18).
    Gap,
}

/// A listed segment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Segment {
    /// Media sequence number.
    pub msn: u64,
    /// Count of discontinuities up to and with it.
    pub era: u64,
    /// EXT-X-DISCONTINUITY comes before it.
    pub discontinuity: bool,
    /// File name of its init segment.
    pub map: Arc<str>,
    /// EXT-X-PROGRAM-DATE-TIME.
    pub date: WallTime,
    /// Its parts, oldest first.
    pub parts: Vec<PartLine>,
    /// Duration in microseconds, once it is not open.
    pub micros: u64,
    /// How far it is.
    pub state: State,
}

/// A line about another rendition (LLHLS-16).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// URI of its playlist, seen from this one's.
    pub uri: String,
    /// Segment of its newest listed part.
    pub msn: u64,
    /// Index of that part.
    pub part: u32,
}

/// Everything that one media playlist says.
#[derive(Clone, Copy, Debug)]
pub struct Snapshot<'a> {
    /// The promises.
    pub control: &'a Control,
    /// What is listed, oldest first; the newest may be open.
    pub segments: &'a VecDeque<Segment>,
    /// Parts are listed from this segment on.
    pub parts_from: u64,
    /// The other renditions.
    pub reports: &'a [Report],
    /// Number of the part that comes next.
    pub next_part: u64,
    /// ENDLIST: nothing comes any more.
    pub ended: bool,
}
