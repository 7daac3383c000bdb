//! A player that does what hls.js does at low latency: a blocking reload of each of its lists at all times, every part as soon
//! as it is listed, play from PART-HOLD-BACK behind the end on, and wait for as much again after a stall.

use std::sync::Arc;

use aqueduct_edge::route::At;
use aqueduct_edge::{Answer, Store};
use aqueduct_tests::check::multivariant;
use aqueduct_tests::check::playlist::MediaPlaylist;

use crate::plan::{Micros, SECOND, Seat};
use crate::shown::{Said, Shown};

/// After an answer that is none.
const AGAIN: Micros = SECOND / 4;
/// How long an edge holds a request.
const HOLD: Micros = 8 * SECOND;

/// A span in which somebody waited for a picture.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stall {
    pub from: Micros,
    pub to: Micros,
}

/// One viewer.
pub struct Player {
    pub seat: Seat,
    tracks: Vec<Track>,
    ask_index_at: Micros,
    /// What was played, and when it began.
    played: Micros,
    playing: Option<Micros>,
    pub started: Option<Micros>,
    pub stalls: Vec<Stall>,
    waiting_since: Option<Micros>,
}

/// One rendition that it follows.
struct Track {
    path: String,
    list: Option<Arc<MediaPlaylist>>,
    reload: Reload,
    fetch: Option<Fetch>,
    /// The part that it wants next.
    next: Option<(u64, u64)>,
    buffered: Micros,
}

/// A request for a list.
enum Reload {
    /// It reaches the server then.
    Sent { at: Micros, what: At, until: Micros },
    /// Its answer is here then.
    Answered { at: Micros, list: Arc<MediaPlaylist> },
}

/// A request for media: when it is here, and how much it lasts.
struct Fetch {
    at: Micros,
    lasts: Micros,
}

impl Player {
    pub fn new(seat: &Seat) -> Self {
        Self {
            seat: seat.clone(),
            tracks: Vec::new(),
            ask_index_at: seat.joins,
            played: 0,
            playing: None,
            started: None,
            stalls: Vec::new(),
            waiting_since: None,
        }
    }

    /// Paths that it asks for; an edge begins to take them.
    pub fn asks(&self) -> impl Iterator<Item = &str> {
        self.tracks.iter().map(|track| track.path.as_str())
    }

    /// Lets time pass since the last turn.
    pub fn turn(
        &mut self,
        store: &Store,
        shown: &mut Shown,
        now: Micros,
        step: Micros,
    ) -> Result<(), String> {
        if now < self.seat.joins {
            return Ok(());
        }
        if self.tracks.is_empty() {
            self.open(store, now);
        }
        for track in &mut self.tracks {
            track.turn(store, shown, now, self.seat.round_trip)?;
        }
        self.play(now, step);
        Ok(())
    }

    fn open(&mut self, store: &Store, now: Micros) {
        if now < self.ask_index_at + self.seat.round_trip {
            return;
        }
        self.ask_index_at = now + AGAIN;
        let answer = store.find("live/show").map(|stream| stream.read("index.m3u8", At::Now));
        let Some(Answer::Ready(entry)) = answer else { return };
        let text = String::from_utf8(entry.full().plain().chunks().concat()).unwrap_or_default();
        let (index, _) = multivariant::read("index.m3u8", &text);
        let mut entries: Vec<_> = index.entries.iter().map(|entry| entry.url.clone()).collect();
        entries.dedup();
        self.tracks = entries.into_iter().map(|path| Track::new(path, now)).collect();
    }

    fn play(&mut self, now: Micros, step: Micros) {
        let Some(buffered) = self.tracks.iter().map(|track| track.buffered).min() else { return };
        let hold_back = self.tracks.iter().filter_map(|track| hold_back(track.list.as_ref()?)).max();
        let ahead = buffered.saturating_sub(self.played);
        if self.playing.is_some() {
            self.played += step.min(ahead);
            if ahead < step {
                self.playing = None;
                self.waiting_since = Some(now);
            }
        } else if hold_back.is_some_and(|least| ahead >= least.saturating_sub(SECOND / 20)) {
            self.playing = Some(now);
            self.started.get_or_insert(now);
            let waited = self.waiting_since.take();
            self.stalls.extend(waited.map(|from| Stall { from, to: now }));
        }
    }

    /// The run is over: a wait that goes on is a stall.
    pub fn finish(&mut self, now: Micros) {
        let waited = self.waiting_since.take();
        self.stalls.extend(waited.map(|from| Stall { from, to: now }));
    }
}

fn hold_back(list: &MediaPlaylist) -> Option<Micros> {
    u64::try_from(list.constants.control.as_ref()?.part_hold_back?.micros).ok()
}

impl Track {
    fn new(path: String, now: Micros) -> Self {
        let reload = Reload::Sent { at: now, what: At::Now, until: now + HOLD };
        Self { path, list: None, reload, fetch: None, next: None, buffered: 0 }
    }

    fn turn(
        &mut self,
        store: &Store,
        shown: &mut Shown,
        now: Micros,
        round_trip: Micros,
    ) -> Result<(), String> {
        self.reload(store, shown, now, round_trip)?;
        // What is here makes way for the next request at once; none takes less than a step.
        if self.fetch.as_ref().is_some_and(|fetch| fetch.at <= now) {
            self.buffered += self.fetch.take().map_or(0, |fetch| fetch.lasts);
        }
        if self.fetch.is_none() {
            self.fetch = self.want().map(|lasts| Fetch { at: now + round_trip, lasts });
        }
        Ok(())
    }

    fn reload(
        &mut self,
        store: &Store,
        shown: &mut Shown,
        now: Micros,
        round_trip: Micros,
    ) -> Result<(), String> {
        match &self.reload {
            Reload::Sent { at, what, until } if *at <= now => {
                let (what, until) = (*what, *until);
                match shown.ask(store, &self.path, what)? {
                    Said::List(list) => self.reload = Reload::Answered { at: now + round_trip / 2, list },
                    Said::Wait if now < until => {}
                    Said::Wait | Said::Missing => {
                        self.reload = Reload::Sent { at: now + AGAIN, what, until: now + AGAIN + HOLD };
                    }
                }
            }
            Reload::Answered { at, list } if *at <= now => {
                let (edge, at) = (list.edge(), now + round_trip / 2);
                self.list = Some(list.clone());
                let what = edge.map_or(At::Now, |edge| {
                    let (msn, part) = edge.next();
                    At::Part(msn, part)
                });
                self.reload = Reload::Sent { at, what, until: at + HOLD };
            }
            _ => {}
        }
        Ok(())
    }

    /// Asks for the next thing that is listed, and says how much it lasts.
    fn want(&mut self) -> Option<Micros> {
        let list = self.list.clone()?;
        let (msn, part) = *self.next.get_or_insert_with(|| first(&list));
        let segment = list.segment(msn);
        let Some(segment) = segment else {
            // It has left the list, or the numbers have jumped: the player goes to where the list begins again.
            let later = list.segments.iter().find(|segment| segment.msn > msn)?;
            self.next = Some((later.msn, 0));
            return Some(0);
        };
        if let Some(found) = segment.parts.get(part as usize) {
            self.next = Some((msn, part + 1));
            let lasts = if found.gap { 0 } else { found.duration.micros };
            return u64::try_from(lasts).ok();
        }
        if !segment.complete() {
            return None;
        }
        self.next = Some((msn + 1, 0));
        // Of a segment whose parts are not listed any more there is the whole alone.
        let whole = part == 0 && segment.parts.is_empty() && !segment.gap;
        Some(if whole { segment.duration.micros.unsigned_abs() } else { 0 })
    }
}

/// Where to begin: the newest segment that begins at least PART-HOLD-BACK before the end.
fn first(list: &MediaPlaylist) -> (u64, u64) {
    let least = hold_back(list).unwrap_or(SECOND);
    let mut ahead = 0;
    for segment in list.segments.iter().rev() {
        let parts: i64 = segment.parts_micros();
        let whole = segment.duration.micros;
        ahead += if segment.complete() { whole.unsigned_abs() } else { parts.unsigned_abs() };
        if ahead >= least && !segment.gap {
            return (segment.msn, 0);
        }
    }
    (list.media_sequence, 0)
}
