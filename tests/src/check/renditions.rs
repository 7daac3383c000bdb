//! Rules between renditions: they number, date, break and publish alike (TL-28, TL-38, LLHLS-12, -16).

use std::collections::BTreeMap;
use std::time::Duration;

use super::listing::Found;
use super::playlist::{Constants, MediaPlaylist, resolve};
use super::reports;
use super::rule;
use super::timeline::Start;

/// Segments and parts that are remembered.
const KEPT: usize = 512;
/// Rungs begin a segment at the same time: less than a tick of any scale apart, and the rounding of two numbers.
const SAME_MICROS: i64 = 44;
/// How far audio may start from the boundary where the timeline broke.
const FRESH_MICROS: i64 = 100_000;

/// A media playlist as it was published.
pub(super) struct Publication<'a> {
    pub(super) url: &'a str,
    pub(super) list: &'a MediaPlaylist,
    pub(super) sent: Duration,
    pub(super) received: Duration,
    /// The answer was held until the part was there, so that `received` is when it came.
    pub(super) blocked: bool,
}

/// What a rendition report promised.
struct Claim {
    target: String,
    from: String,
    promised: (u64, u64),
    received: Duration,
}

/// What is known of each segment, from the first rendition that showed it.
struct Shared {
    url: String,
    date: Option<i64>,
    discontinuities: u64,
}

/// The state across renditions.
#[derive(Default)]
pub(super) struct Beside {
    constants: Option<(String, Constants)>,
    segments: BTreeMap<u64, Shared>,
    published: BTreeMap<(u64, u64), (String, Duration)>,
    lags: Vec<Duration>,
    claims: Vec<Claim>,
    starts: BTreeMap<u64, Vec<(bool, Start)>>,
}

impl Beside {
    pub(super) fn observe(&mut self, seen: &Publication<'_>) -> Vec<Found> {
        let mut found = Vec::new();
        self.constants(seen, &mut found);
        self.segments(seen, &mut found);
        self.claims(seen, &mut found);
        self.lockstep(seen);
        found
    }

    fn constants(&mut self, seen: &Publication<'_>, found: &mut Vec<Found>) {
        let (first, constants) =
            self.constants.get_or_insert_with(|| (seen.url.to_owned(), seen.list.constants.clone()));
        if first != seen.url && *constants != seen.list.constants {
            found.push((
                rule::CONTROL_APART,
                format!("{:?}, but {constants:?} in {first}", seen.list.constants),
            ));
        }
    }

    fn segments(&mut self, seen: &Publication<'_>, found: &mut Vec<Found>) {
        let mut discontinuities = seen.list.discontinuity_sequence.unwrap_or(0);
        for segment in &seen.list.segments {
            discontinuities += u64::from(segment.discontinuity);
            if !segment.complete() && segment.parts.is_empty() {
                continue;
            }
            let shared = self.segments.entry(segment.msn).or_insert_with(|| Shared {
                url: seen.url.to_owned(),
                date: segment.date,
                discontinuities,
            });
            if shared.url == seen.url {
                continue;
            }
            let apart = shared.date.zip(segment.date).map_or(0, |(one, other)| (one - other).abs());
            if apart > 1_000 {
                found.push((
                    rule::PDT_APART,
                    format!("segment {}: {apart} µs from {}", segment.msn, shared.url),
                ));
            }
            if shared.discontinuities != discontinuities {
                let (ours, theirs) = (discontinuities, shared.discontinuities);
                found.push((
                    rule::DISCONTINUITY_APART,
                    format!("segment {}: number {ours}, but {theirs} in {}", segment.msn, shared.url),
                ));
            }
        }
        while self.segments.len() > KEPT {
            self.segments.pop_first();
        }
    }

    /// A report must be true: what was promised has to be served to a request that is sent afterwards.
    fn claims(&mut self, seen: &Publication<'_>, found: &mut Vec<Found>) {
        let edge = seen.list.edge();
        self.claims.retain(|claim| {
            if claim.target != seen.url || claim.received > seen.sent {
                return true;
            }
            let (msn, part) = claim.promised;
            if !reports::holds(edge, claim.promised) {
                let from = &claim.from;
                found
                    .push((rule::REPORT_FALSE, format!("{from} promised {msn}/{part}, served was {edge:?}")));
            }
            false
        });
        for report in &seen.list.reports {
            if let (Some(msn), Some(part)) = (report.msn, report.part) {
                self.claims.push(Claim {
                    target: resolve(seen.url, &report.uri),
                    from: seen.url.to_owned(),
                    promised: (msn, part),
                    received: seen.received,
                });
            }
        }
        let excess = self.claims.len().saturating_sub(KEPT);
        self.claims.drain(..excess);
    }

    fn lockstep(&mut self, seen: &Publication<'_>) {
        let Some(edge) = seen.list.edge().filter(|_| seen.blocked) else { return };
        let key = (edge.msn, edge.part);
        match self.published.get(&key) {
            Some((url, at)) if url != seen.url => self.lags.push(seen.received.abs_diff(*at)),
            Some(_) => {}
            None => {
                self.published.insert(key, (seen.url.to_owned(), seen.received));
            }
        }
        while self.published.len() > KEPT {
            self.published.pop_first();
        }
    }

    /// TL-30, TL-38, TL-41: rungs begin each segment at the same instant, all with a sync sample or none.
    fn rungs(one: &Start, other: &Start, found: &mut Vec<Found>) {
        let apart = one.micros - other.micros;
        if apart.abs() > SAME_MICROS {
            found.push((rule::RUNG_START, format!("segment {}: {apart} µs", one.msn)));
        }
        if one.sync != other.sync {
            found.push((rule::RUNG_SYNC, format!("segment {}", one.msn)));
        }
        let delays = one.delay - other.delay;
        if apart.abs() <= SAME_MICROS && delays.abs() > SAME_MICROS {
            found.push((
                rule::RUNG_DELAY,
                format!("segment {}: {} and {} µs", one.msn, one.delay, other.delay),
            ));
        }
    }

    /// TL-38: audio is cut at the first access unit whose start is not half a unit before the video's boundary.
    pub(super) fn starts(&mut self, audio: bool, starts: &[Start]) -> Vec<Found> {
        let mut found = Vec::new();
        for start in starts {
            let others = self.starts.entry(start.msn).or_default();
            if let Some((_, other)) = others.iter().find(|(other_audio, _)| !audio && !other_audio) {
                Self::rungs(start, other, &mut found);
            }
            for (_, other) in others.iter().filter(|(other_audio, _)| *other_audio != audio) {
                let (sound, picture) = if audio { (start, other) } else { (other, start) };
                let apart = sound.micros - picture.micros;
                let fresh = sound.fresh || picture.fresh;
                let allowed = if fresh { FRESH_MICROS } else { sound.frame / 2 + 100 };
                if apart.abs() > allowed && picture.sync {
                    // A frame that lasts longer than its grid says is shown later than it was cut at.
                    let near = apart.abs() <= allowed + picture.frame;
                    let rule = if near { rule::AUDIO_NEAR } else { rule::AUDIO_START };
                    found.push((rule, format!("segment {}: {apart} µs", start.msn)));
                }
            }
            others.push((audio, *start));
        }
        while self.starts.len() > KEPT {
            self.starts.pop_first();
        }
        found
    }

    /// What only the whole run tells.
    pub(super) fn finish(&mut self) -> Vec<Found> {
        self.lags.sort_unstable();
        let part = self.constants.as_ref().and_then(|(_, constants)| constants.part_target);
        let part = part.map_or(0, |part| part.micros.unsigned_abs());
        match self.lags.get(self.lags.len() * 9 / 10) {
            Some(late) if part > 0 && late.as_micros() > u128::from(part) => {
                vec![(rule::LOCKSTEP, format!("one in ten comes {late:?} later or more"))]
            }
            _ => Vec::new(),
        }
    }
}
