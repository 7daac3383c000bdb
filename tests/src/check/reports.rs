//! EXT-X-RENDITION-REPORT: one for each other rendition that is out, as it stood when the list was made (LLHLS-16).

use super::listing::Found;
use super::playlist::{Edge, MediaPlaylist, resolve};
use super::rule;

/// Parts that a report may be old: one that was listed since the list was made, and one while the answer was on its
/// way.
const STALE: usize = 2;

/// What is known of another rendition.
pub(super) struct Other<'a> {
    pub(super) url: &'a str,
    /// Its newest list; `None` before one was seen.
    pub(super) list: Option<&'a MediaPlaylist>,
    /// That list was served before the request for this one was sent.
    pub(super) before: bool,
    /// It is offered, and was seen lately: it has to be reported.
    pub(super) due: bool,
}

/// Judges the reports of a list at `url`, and names those that no other rendition has.
pub(super) fn judge(url: &str, list: &MediaPlaylist, others: &[Other<'_>]) -> (Vec<Found>, Vec<String>) {
    let (mut found, mut unknown) = (Vec::new(), Vec::new());
    if list.ended || list.constants.part_target.is_none() {
        return (found, unknown);
    }
    let named: Vec<String> = list.reports.iter().map(|report| resolve(url, &report.uri)).collect();
    for other in others.iter().filter(|other| other.due && !named.iter().any(|named| named == other.url)) {
        found.push((rule::REPORT_MISSING, format!("none of {}", other.url)));
    }
    for (report, named) in list.reports.iter().zip(named) {
        if named == url {
            found.push((rule::REPORT_MISSING, format!("{named} is no other rendition")));
            continue;
        }
        let Some(other) = others.iter().find(|other| other.url == named) else {
            unknown.push(named);
            continue;
        };
        let (Some(msn), Some(part)) = (report.msn, report.part) else {
            found.push((rule::REPORT_MISSING, format!("{named} lacks LAST-MSN or LAST-PART")));
            continue;
        };
        let Some(served) = other.list.filter(|_| other.before) else { continue };
        let old = listed_since(served, msn, part);
        if old > STALE {
            let edge = served.edge();
            let detail = format!("{named}: {msn}/{part} is {old} parts old, {edge:?} was served before");
            found.push((rule::REPORT_STALE, detail));
        }
    }
    (found, unknown)
}

/// Parts that a list has beyond this one. A segment whose parts are not listed counts as one.
fn listed_since(list: &MediaPlaylist, msn: u64, part: u64) -> usize {
    let of_segment = |segment: &super::playlist::Segment| match segment.msn.cmp(&msn) {
        std::cmp::Ordering::Less => 0,
        std::cmp::Ordering::Equal => segment.parts.len().saturating_sub(part as usize + 1),
        std::cmp::Ordering::Greater => segment.parts.len().max(1),
    };
    list.segments.iter().map(of_segment).sum()
}

/// The edge of a list is at least what a report promised.
pub(super) fn holds(edge: Option<Edge>, promised: (u64, u64)) -> bool {
    edge.is_some_and(|edge| edge.holds(promised.0, Some(promised.1)))
}
