//! One rendition that a player follows.

use std::time::Duration;

use super::ledger::follows;
use super::viewer::{AGAIN, Sitting};
use crate::check::playlist::{Edge, MediaPlaylist, Segment, resolve};

/// How long a file that is listed may take to come, on an idle machine.
pub const SOON: Duration = Duration::from_secs(5);

/// Times that a list is asked for again, after it was refused once.
const GIVES_UP: u8 = 1;

/// A list, and who showed it in which of its lives.
struct Shown {
    list: MediaPlaylist,
    host: usize,
    life: u64,
}

/// What a reload came to.
enum Reload {
    Listed(Box<Shown>),
    /// The list is not there any more.
    Gone,
    Failed,
}

/// A file that is listed and was not fetched yet.
struct Wanted {
    uri: String,
    lasts: Duration,
    /// Where to go on behind it.
    next: (u64, u64),
}

/// The state of following one rendition.
pub struct Track {
    number: usize,
    path: String,
    shown: Option<Box<Shown>>,
    map: Option<String>,
    next: Option<(u64, u64)>,
    failed: u8,
    newest: Option<Edge>,
}

impl Track {
    /// Follows the list at this path.
    pub const fn new(number: usize, path: String) -> Self {
        Self { number, path, shown: None, map: None, next: None, failed: 0, newest: None }
    }

    /// Until the list is gone, or refused too often.
    pub async fn follow(mut self, sitting: &Sitting) {
        loop {
            let shown = self.shown.take();
            let reload = self.reload(sitting, shown.as_deref());
            let path = self.path.clone();
            let (reload, next) = tokio::join!(
                reload,
                fetch(sitting, self.number, &path, shown.as_deref(), (self.next, self.map.clone()))
            );
            (self.next, self.map) = next;
            match reload {
                Reload::Listed(newer) => {
                    self.judge(sitting, shown.as_deref(), &newer);
                    // A list that has got no further is as good as refused.
                    let edge = newer.list.edge();
                    if edge > self.newest {
                        (self.newest, self.failed) = (edge, 0);
                    }
                    self.shown = Some(newer);
                }
                Reload::Failed if self.failed < GIVES_UP => {
                    self.failed += 1;
                    tokio::time::sleep(AGAIN).await;
                }
                // Where hls.js would take another rendition, this player looks which there are.
                Reload::Gone | Reload::Failed => return,
            }
        }
    }

    async fn reload(&self, sitting: &Sitting, shown: Option<&Shown>) -> Reload {
        let host = sitting.host();
        let life = sitting.stage.ledger.life(host + 1);
        let edge = shown
            .filter(|shown| (shown.host, shown.life) == (host, life))
            .and_then(|shown| shown.list.edge());
        let path = match edge.map(|edge| edge.next()) {
            Some((msn, part)) => format!("{}?_HLS_msn={msn}&_HLS_part={part}", self.path),
            None => self.path.clone(),
        };
        let Some(answer) = sitting.ask(host, &path).await else {
            sitting.went_wrong(host, true);
            return Reload::Failed;
        };
        let text = answer.text().unwrap_or_default();
        match answer.status.as_u16() {
            200 => {}
            404 | 410 => {
                sitting.went_wrong(host, false);
                return Reload::Gone;
            }
            _ => {
                sitting.went_wrong(host, false);
                return Reload::Failed;
            }
        }
        let (list, faults) = MediaPlaylist::parse(&text);
        sitting.stage.ledger.count(true);
        match list.filter(|_| faults.is_empty()) {
            Some(list) => {
                sitting.went_well();
                Reload::Listed(Box::new(Shown { list, host, life }))
            }
            None => {
                let first = faults.first();
                sitting.stage.ledger.broken(format!("{}: {path} is no playlist: {first:?}", sitting.name()));
                Reload::Failed
            }
        }
    }

    /// What is new must follow what was, where one node showed both.
    fn judge(&self, sitting: &Sitting, before: Option<&Shown>, newer: &Shown) {
        let ledger = &sitting.stage.ledger;
        let same = before.filter(|before| (before.host, before.life) == (newer.host, newer.life));
        let follows = same.map_or(Ok(()), |before| follows(&before.list, &newer.list));
        if let Err(why) = follows.and_then(|()| ledger.names(&self.path, &newer.list)) {
            let node = &sitting.stage.edge(newer.host).name;
            ledger.broken(format!("{} at {node}: {}: {why}", sitting.name(), self.path));
        }
        let hold_back = newer.list.constants.control.as_ref().and_then(|control| control.part_hold_back);
        if let Some(hold_back) = hold_back {
            let hold_back = Duration::from_micros(hold_back.micros.unsigned_abs());
            sitting.picture(|play, _| {
                play.set_hold_back(hold_back);
                None
            });
        }
    }
}

type Place = (Option<(u64, u64)>, Option<String>);

/// Fetches what a list has and the player has not; says where to go on.
async fn fetch(sitting: &Sitting, track: usize, path: &str, shown: Option<&Shown>, at: Place) -> Place {
    let (mut next, mut map) = at;
    let Some(shown) = shown else { return (next, map) };
    let from = next.unwrap_or_else(|| first(&shown.list));
    next = Some(from);
    let listed = shown.list.segments.iter().rev().find_map(|segment| segment.map.clone());
    if listed.is_some() && listed != map {
        if let Some(uri) = &listed
            && !take(sitting, shown, &resolve(path, uri)).await
        {
            return (next, map);
        }
        map = listed;
    }
    for wanted in wanted(&shown.list, from) {
        if !wanted.uri.is_empty() && !take(sitting, shown, &resolve(path, &wanted.uri)).await {
            return (next, map);
        }
        next = Some(wanted.next);
        sitting.picture(|play, now| play.add(track, wanted.lasts, now));
    }
    (next, map)
}

/// Fetches a file from the node that listed it: it has to be there, and soon, unless the node went down meanwhile.
async fn take(sitting: &Sitting, shown: &Shown, path: &str) -> bool {
    let ledger = &sitting.stage.ledger;
    let asked = ledger.at();
    let answer = sitting.ask(shown.host, path).await;
    let (took, node) = (ledger.at() - asked, &sitting.stage.edge(shown.host).name);
    ledger.count(false);
    let went_down = ledger.life(shown.host + 1) != shown.life;
    let soon = ledger.scaled(SOON) + 2 * ledger.lateness(asked, asked + took);
    match &answer {
        Some(answer) if answer.status.as_u16() == 200 && took <= soon => return true,
        _ if went_down => {}
        Some(answer) if answer.status.as_u16() == 200 => {
            ledger.broken(format!("{}: {path}, which {node} lists, takes {took:.1?}", sitting.name()));
            return true;
        }
        Some(answer) => {
            ledger.broken(format!(
                "{}: {path}, which {node} lists, answers {}",
                sitting.name(),
                answer.status
            ));
        }
        None => ledger.broken(format!("{}: {path}, which {node} lists, does not come", sitting.name())),
    }
    sitting.went_wrong(shown.host, true);
    false
}

/// Where to begin: the newest segment that begins at least PART-HOLD-BACK before the end.
fn first(list: &MediaPlaylist) -> (u64, u64) {
    let hold_back = list.constants.control.as_ref().and_then(|control| control.part_hold_back);
    let least = hold_back.map_or(1_000_000, |hold_back| hold_back.micros);
    let mut ahead = 0;
    for segment in list.segments.iter().rev() {
        ahead += if segment.complete() { segment.duration.micros } else { segment.parts_micros() };
        if ahead >= least && !segment.gap {
            return (segment.msn, 0);
        }
    }
    (list.media_sequence, 0)
}

/// What is listed from a place on.
fn wanted(list: &MediaPlaylist, from: (u64, u64)) -> Vec<Wanted> {
    let mut all = Vec::new();
    for segment in list.segments.iter().filter(|segment| segment.msn >= from.0) {
        let begin = if segment.msn == from.0 { from.1 } else { 0 };
        for (number, part) in segment.parts.iter().enumerate().skip(begin as usize) {
            let (lasts, uri) =
                if part.gap { (0, String::new()) } else { (part.duration.micros, part.uri.clone()) };
            let lasts = Duration::from_micros(lasts.unsigned_abs());
            all.push(Wanted { uri, lasts, next: (segment.msn, number as u64 + 1) });
        }
        if segment.parts.is_empty() && begin == 0 && segment.complete() {
            all.push(whole(segment));
        }
        if segment.complete()
            && let Some(last) = all.last_mut()
        {
            last.next = (segment.msn + 1, 0);
        }
    }
    all
}

/// Of a segment whose parts are not listed any more there is the whole alone.
fn whole(segment: &Segment) -> Wanted {
    let (lasts, uri) =
        if segment.gap { (0, String::new()) } else { (segment.duration.micros, segment.uri.clone()) };
    Wanted { uri, lasts: Duration::from_micros(lasts.unsigned_abs()), next: (segment.msn + 1, 0) }
}
