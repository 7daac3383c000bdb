//! The linter: told what was asked and what came, it says which rules were broken.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use super::init::{MediaFault, same_codec};
use super::listing::{self, Context};
use super::multivariant::{self, Entry, Multivariant};
use super::playlist::MediaPlaylist;
use super::renditions::{Beside, Publication};
use super::report::Report;
use super::reports::{self, Other};
use super::rule::{self, Rule};
use super::succession;
use super::timeline::Timeline;

/// Beyond this a held request has been held too long (LLHLS-23: 8 s, and what the answer needs).
const HOLD_LIMIT: Duration = Duration::from_millis(8_600);
/// A rendition whose list is older than this may have been withdrawn since.
const LATELY: Duration = Duration::from_secs(2);
/// Longest frame that is assumed until media was seen: 24 frames a second.
const FRAME_MICROS: i64 = 42_000;

/// Delivery directives of a playlist request.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Asked {
    /// `_HLS_msn`.
    pub msn: Option<u64>,
    /// `_HLS_part`.
    pub part: Option<u64>,
    /// `_HLS_skip=YES`.
    pub skip: bool,
}

/// One answer with a media playlist in it.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// The playlist's URL without directives.
    pub url: &'a str,
    /// What was asked.
    pub asked: Asked,
    /// When the request was sent, since the check began.
    pub sent: Duration,
    /// When the answer was complete.
    pub received: Duration,
    /// The body.
    pub text: &'a str,
}

/// One rendition under observation.
struct Rendition {
    entry: Entry,
    /// The newest multivariant playlist names it.
    offered: bool,
    latest: Option<MediaPlaylist>,
    /// When its list was first seen.
    since: Duration,
    received: Duration,
    advanced: Duration,
    timeline: Timeline,
}

/// The whole stream under observation.
#[derive(Default)]
pub struct Linter {
    renditions: BTreeMap<String, Rendition>,
    independent_segments: bool,
    /// Segments without a sync sample at their start, held against the stream only if it never takes back its
    /// EXT-X-INDEPENDENT-SEGMENTS.
    dependent: Vec<(String, String, Duration)>,
    beside: Beside,
    /// Renditions that were reported before a multivariant playlist named them: where, and when.
    unknown: BTreeMap<String, (String, Duration)>,
    report: Report,
}

impl Linter {
    /// Takes the multivariant playlist, or a newer one. A media playlist alone may be followed too: [`Self::only`].
    pub fn multivariant(&mut self, url: &str, text: &str, at: Duration) -> Multivariant {
        let (multivariant, faults) = multivariant::read(url, text);
        self.note_all(url, faults, at);
        self.independent_segments = multivariant.independent_segments;
        if !self.independent_segments {
            self.dependent.clear();
        }
        self.renditions.values_mut().for_each(|rendition| rendition.offered = false);
        for entry in &multivariant.entries {
            self.add(entry.clone());
        }
        multivariant
    }

    /// Follows one media playlist without a multivariant one.
    pub fn only(&mut self, url: &str, audio: bool) {
        self.add(Entry {
            url: url.to_owned(),
            audio,
            codecs: Vec::new(),
            resolution: None,
            millifps: None,
            bandwidth: None,
            average: None,
        });
    }

    fn add(&mut self, entry: Entry) {
        match self.renditions.entry(entry.url.clone()) {
            std::collections::btree_map::Entry::Occupied(mut known) => {
                (known.get_mut().entry, known.get_mut().offered) = (entry, true);
            }
            std::collections::btree_map::Entry::Vacant(new) => {
                new.insert(Rendition {
                    entry,
                    offered: true,
                    latest: None,
                    since: Duration::ZERO,
                    received: Duration::ZERO,
                    advanced: Duration::ZERO,
                    timeline: Timeline::default(),
                });
            }
        }
        self.report.renditions = self.renditions.len();
    }

    /// Notes a finding of the driver's own, such as one about headers.
    pub fn note(&mut self, rule: Rule, place: &str, detail: &str, at: Duration) {
        self.report.add(rule, place, detail, at);
    }

    fn note_all(&mut self, place: &str, faults: Vec<(Rule, String)>, at: Duration) {
        for (rule, detail) in faults {
            self.report.add(rule, place, &detail, at);
        }
    }

    /// Takes an answer with a media playlist. The full list that it stands for comes back, for the driver's next step.
    pub fn observe(&mut self, seen: &Seen<'_>) -> Option<MediaPlaylist> {
        self.report.playlists += 1;
        let (list, faults) = MediaPlaylist::parse(seen.text);
        for fault in faults {
            self.note(fault.rule, seen.url, &format!("line {}: {}", fault.line, fault.detail), seen.received);
        }
        let list = self.whole(seen, list?)?;
        self.judge_answer(seen, &list);
        let found = self.judge_list(seen, &list);
        self.note_all(seen.url, found, seen.received);
        self.judge_reports(seen, &list);
        self.judge_beside(seen, &list);
        self.remember(seen, &list);
        Some(list)
    }

    /// Applies a delta update to the list before.
    fn whole(&mut self, seen: &Seen<'_>, list: MediaPlaylist) -> Option<MediaPlaylist> {
        if list.skipped.is_none() {
            self.ask_m3u8_rs(seen, &list);
            return Some(list);
        }
        if !seen.asked.skip {
            self.note(rule::DELTA, seen.url, "EXT-X-SKIP was not asked for", seen.received);
        }
        let older = self.renditions.get(seen.url).and_then(|rendition| rendition.latest.clone())?;
        match list.applied_to(&older) {
            Ok(full) => Some(full),
            Err(error) => {
                self.note(rule::DELTA, seen.url, &error, seen.received);
                None
            }
        }
    }

    fn ask_m3u8_rs(&mut self, seen: &Seen<'_>, list: &MediaPlaylist) {
        let ours: Vec<_> = list.complete().map(|segment| segment.uri.clone()).collect();
        match multivariant::segments_by_m3u8_rs(seen.text) {
            Ok(theirs) if theirs == ours => {}
            Ok(theirs) => {
                let detail = format!("{} segments, m3u8-rs reads {}", ours.len(), theirs.len());
                self.note(rule::M3U8_RS, seen.url, &detail, seen.received);
            }
            Err(error) => self.note(rule::M3U8_RS, seen.url, &error, seen.received),
        }
    }

    /// The answer is what was asked for, in time (LLHLS-20, -23).
    fn judge_answer(&mut self, seen: &Seen<'_>, list: &MediaPlaylist) {
        if seen.received.saturating_sub(seen.sent) > HOLD_LIMIT {
            let detail = format!("{:?}", seen.received.saturating_sub(seen.sent));
            self.note(rule::HELD_TOO_LONG, seen.url, &detail, seen.received);
        }
        let Some(msn) = seen.asked.msn.filter(|_| !list.ended) else { return };
        if !list.edge().is_some_and(|edge| edge.holds(msn, seen.asked.part)) {
            let detail = format!("asked for {msn}/{:?}, got {:?}", seen.asked.part, list.edge());
            self.note(rule::UNBLOCKED, seen.url, &detail, seen.received);
        }
    }

    fn judge_list(&self, seen: &Seen<'_>, list: &MediaPlaylist) -> Vec<(Rule, String)> {
        let Some(rendition) = self.renditions.get(seen.url) else { return Vec::new() };
        let frame_micros = match rendition.timeline.frame_micros() {
            0 => FRAME_MICROS,
            frame => frame,
        };
        let mut found = listing::check(list, Context { audio: rendition.entry.audio, frame_micros });
        // An answer that was under way while a newer one came is not a step back.
        if let Some(latest) = rendition
            .latest
            .as_ref()
            .filter(|latest| seen.sent >= rendition.received || list.edge() >= latest.edge())
        {
            found.extend(succession::check(latest, list));
            let late = seen.received.saturating_sub(rendition.advanced);
            let allowed = list.constants.part_target.map_or(i64::MAX, |target| 3 * target.micros);
            if list.edge() > latest.edge() && i64::try_from(late.as_micros()).unwrap_or(i64::MAX) > allowed {
                found.push((rule::STALLED, format!("{late:?} until {:?}", list.edge())));
            }
        }
        found
    }

    /// LLHLS-16: one report for each other rendition, naming nothing else.
    fn judge_reports(&mut self, seen: &Seen<'_>, list: &MediaPlaylist) {
        let others = self.renditions.iter().filter(|(url, _)| *url != seen.url);
        // The newest list may have been made a part ago, before another rendition came.
        let part = list.constants.part_target.map_or(0, |target| target.micros.max(0).unsigned_abs());
        let part = Duration::from_micros(part);
        let others: Vec<Other<'_>> = others
            .map(|(url, rendition)| Other {
                url,
                list: rendition.latest.as_ref(),
                before: rendition.received <= seen.sent,
                due: rendition.offered
                    && rendition.latest.is_some()
                    && rendition.since + part <= seen.sent
                    && seen.received.saturating_sub(rendition.received) < LATELY,
            })
            .collect();
        let (found, unknown) = reports::judge(seen.url, list, &others);
        self.note_all(seen.url, found, seen.received);
        for url in unknown {
            self.unknown.entry(url).or_insert_with(|| (seen.url.to_owned(), seen.received));
        }
    }

    fn judge_beside(&mut self, seen: &Seen<'_>, list: &MediaPlaylist) {
        let publication = Publication {
            url: seen.url,
            list,
            sent: seen.sent,
            received: seen.received,
            blocked: seen.asked.part.is_some(),
        };
        let found = self.beside.observe(&publication);
        self.note_all(seen.url, found, seen.received);
    }

    fn remember(&mut self, seen: &Seen<'_>, list: &MediaPlaylist) {
        let Some(rendition) = self.renditions.get_mut(seen.url) else { return };
        let before = rendition.latest.as_ref().and_then(MediaPlaylist::edge);
        if list.edge() > before {
            rendition.advanced = seen.received;
        }
        if rendition.latest.is_none() {
            rendition.since = seen.received;
        }
        if list.edge() >= before {
            rendition.timeline.list(list, self.independent_segments);
            rendition.latest = Some(list.clone());
            rendition.received = seen.received;
        }
        self.report.ended |= list.ended;
        self.drain(seen.url, seen.received);
    }

    /// An init segment of this rendition was fetched.
    pub fn init(&mut self, url: &str, uri: &str, bytes: Bytes, at: Duration) {
        let Some(rendition) = self.renditions.get_mut(url) else { return };
        let mut faults = rendition.timeline.init(uri, bytes);
        if let Some(init) = rendition.timeline.init_at(uri) {
            let entry = &rendition.entry;
            if !entry.codecs.is_empty() && !entry.codecs.iter().any(|codec| same_codec(&init.codec, codec)) {
                faults.push((rule::CODECS, format!("{} is not among {:?}", init.codec, entry.codecs)));
            }
            let size = init.shown;
            // Widths that are no whole number may be rounded either way.
            let differs = |(across, down): &(u64, u64)| across.abs_diff(size.0) > 1 || *down != size.1;
            if let Some(resolution) = entry.resolution.filter(|resolution| init.video && differs(resolution))
            {
                faults.push((rule::CODECS, format!("{size:?} is not RESOLUTION {resolution:?}")));
            }
        }
        self.note_all(url, faults, at);
        self.drain(url, at);
    }

    /// A part of this rendition was fetched; `uri` as its playlist writes it.
    pub fn part(&mut self, url: &str, uri: &str, bytes: Bytes, at: Duration) {
        let Some(rendition) = self.renditions.get_mut(url) else { return };
        let faults = rendition.timeline.part(uri, bytes);
        self.note_all(url, faults, at);
        self.drain(url, at);
    }

    /// A whole segment of this rendition was fetched.
    pub fn segment(&mut self, url: &str, msn: u64, bytes: Bytes, at: Duration) {
        let Some(rendition) = self.renditions.get_mut(url) else { return };
        let segment = rendition.latest.as_ref().and_then(|list| list.segment(msn));
        let Some(segment) = segment.filter(|segment| segment.complete()) else { return };
        let map = segment.map.clone().unwrap_or_default();
        let (uri, parts, micros) = (segment.uri.clone(), !segment.parts.is_empty(), segment.duration.micros);
        let faults = rendition.timeline.segment(&uri, bytes, &map, parts, micros);
        self.note_all(url, faults, at);
        self.drain(url, at);
    }

    fn drain(&mut self, url: &str, at: Duration) {
        let Some(rendition) = self.renditions.get_mut(url) else { return };
        let before = rendition.timeline.looked_at();
        let faults: Vec<MediaFault> = rendition.timeline.drain();
        self.report.parts += rendition.timeline.looked_at() - before;
        let starts = rendition.timeline.take_starts();
        let audio = rendition.entry.audio;
        for (rule, detail) in faults {
            if rule == rule::SEGMENT_START {
                self.dependent.push((url.to_owned(), detail, at));
            } else {
                self.note(rule, url, &detail, at);
            }
        }
        let found = self.beside.starts(audio, &starts);
        self.note_all(url, found, at);
    }

    /// Everything found so far.
    pub fn report(mut self, at: Duration) -> Report {
        for (rule, detail) in self.beside.finish() {
            self.report.add(rule, "all renditions", &detail, at);
        }
        self.judge_rates(at);
        for (url, (place, at)) in std::mem::take(&mut self.unknown) {
            if !self.renditions.contains_key(&url) {
                self.note(rule::REPORT_MISSING, &place, &format!("{url} is no other rendition"), at);
            }
        }
        for (url, detail, at) in std::mem::take(&mut self.dependent) {
            self.note(rule::SEGMENT_START, &url, &detail, at);
        }
        self.report.findings.sort_by_key(|finding| std::cmp::Reverse(finding.rule.severity));
        self.report
    }

    /// What the multivariant playlist promises of rates, beside what came.
    fn judge_rates(&mut self, at: Duration) {
        let audio: u64 = self.peaks(true).max().unwrap_or(0);
        let sound = self.renditions.values().filter(|rendition| rendition.entry.audio);
        let sound = sound.filter_map(|rendition| rendition.timeline.average()).max().unwrap_or(0);
        let mut found = Vec::new();
        for Rendition { entry, timeline, .. } in self.renditions.values() {
            let peak = timeline.peak() + if entry.audio { 0 } else { audio };
            if let Some(bandwidth) = entry.bandwidth.filter(|bandwidth| peak > *bandwidth) {
                found.push((
                    rule::BANDWIDTH,
                    entry.url.clone(),
                    format!("a segment of {peak} bit/s, not {bandwidth}"),
                ));
            }
            let average = timeline.average().map(|own| own + if entry.audio { 0 } else { sound });
            if let (Some(told), Some(is)) = (entry.average, average)
                && is > told + told / 10
            {
                found.push((rule::AVERAGE, entry.url.clone(), format!("{is} bit/s, not {told}")));
            }
            let (Some(told), Some(is)) = (entry.millifps, timeline.millifps()) else { continue };
            if !entry.audio && (told * 4 > is * 5 || told * 5 < is * 4) {
                found.push((
                    rule::FRAME_RATE,
                    entry.url.clone(),
                    format!("{told} frames in 1 000 s, not {is}"),
                ));
            }
        }
        for (rule, url, detail) in found {
            self.report.add(rule, &url, &detail, at);
        }
    }

    fn peaks(&self, audio: bool) -> impl Iterator<Item = u64> {
        self.renditions.values().filter(move |r| r.entry.audio == audio).map(|r| r.timeline.peak())
    }
}
