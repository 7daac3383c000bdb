//! Viewers' sessions: what players report, added up once, whatever edge it came by.

mod audience;
mod session;
mod sums;
#[cfg(test)]
mod tests;
mod view;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use aqueduct_common::StreamName;
use aqueduct_common::event::{Carrier, Report};

pub use audience::{Audience, Tally, percentile};
pub use session::{Outcome, Player, Session};
pub use sums::Sums;
pub(crate) use view::{Present, qoe};
pub use view::{QoeView, SessionView, Share, Spread, StartupView};

use crate::beacon;
use crate::cmcd::{self, Cmcd, Invalid};
use session::Heard;

/// Sessions that are remembered, open and closed.
const MOST: usize = 50_000;
/// Silence after which a session is over, in milliseconds (QOE-15).
const CLOSES_AFTER: i64 = 90_000;
/// How long a late report still amends a session that is over, in milliseconds (QOE-15).
const AMENDS: i64 = 15 * 60_000;
/// Lines of one body that are read.
const MOST_LINES: usize = 64;

/// What was not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Untaken {
    /// Keys of CMCD lists.
    pub keys: Invalid,
    /// Reports that name no session.
    pub nameless: u64,
    /// Beacons that could not be read.
    pub beacons: u64,
    /// Sessions beyond those that are remembered.
    pub room: u64,
}

/// All sessions.
#[derive(Debug, Default)]
pub struct Viewers {
    hashing: RandomState,
    sessions: HashMap<u64, Session>,
    audiences: HashMap<StreamName, Audience>,
    /// Everything since the start, for counters.
    total: HashMap<Player, Tally>,
    untaken: Untaken,
}

impl Viewers {
    /// Takes a report that came by the node `edge`.
    pub fn hear(&mut self, report: &Report, edge: &Arc<str>) {
        let at = report.at.micros.div_euclid(1_000);
        match report.carrier {
            Carrier::Beacon => match beacon::read(&report.text) {
                Ok(beacon) => {
                    let take = |session: &mut Session| session.beacon(&beacon, at);
                    self.take(report, &beacon.sid, Player::Aqueduct, edge, at, take);
                }
                Err(_) => self.untaken.beacons += 1,
            },
            Carrier::Query => self.list(report, cmcd::read_query(&report.text), edge, at),
            Carrier::Headers => self.list(report, cmcd::read(&report.text), edge, at),
            Carrier::Lines => {
                for line in report.text.lines().filter(|line| !line.trim().is_empty()).take(MOST_LINES) {
                    self.list(report, cmcd::read(line), edge, at);
                }
            }
        }
    }

    fn list(&mut self, report: &Report, (list, invalid): (Cmcd, Invalid), edge: &Arc<str>, at: i64) {
        self.untaken.keys.add(invalid);
        match &list.session {
            Some(name) => self.take(report, name, Player::Cmcd, edge, at, |session| session.cmcd(&list, at)),
            None => self.untaken.nameless += 1,
        }
    }

    fn take(
        &mut self,
        report: &Report,
        name: &str,
        player: Player,
        edge: &Arc<str>,
        at: i64,
        take: impl FnOnce(&mut Session) -> Heard,
    ) {
        let key = self.hashing.hash_one((report.stream.as_str(), name));
        let full = self.sessions.len() >= MOST;
        let audience = match self.sessions.entry(key) {
            Entry::Occupied(_) => self.audiences.entry(report.stream.clone()).or_default(),
            Entry::Vacant(_) if full => {
                self.untaken.room += 1;
                return;
            }
            Entry::Vacant(place) => {
                place.insert(Session::new(name, report.stream.clone(), player, edge.clone(), at));
                let audience = self.audiences.entry(report.stream.clone()).or_default();
                audience.attempt(at);
                self.total.entry(player).or_default().attempts += 1;
                audience
            }
        };
        let Some(session) = self.sessions.get_mut(&key) else { return };
        session.came_to(edge, at);
        let heard = take(session);
        audience.heard(&heard, at);
        let total = self.total.entry(session.player).or_default();
        total.sums.add(heard.delta);
        total.started += u64::from(heard.started);
        total.failed += u64::from(heard.ended == Some(Outcome::Failed));
    }

    /// Closes who has been silent and forgets who has been over for long. Gives every session that was heard or closed
    /// since `since`, for the record.
    pub fn sweep(&mut self, now: i64, since: i64) -> Vec<Session> {
        let mut changed = Vec::new();
        self.sessions.retain(|_, session| {
            if !session.closed && now - session.heard > CLOSES_AFTER {
                if let Some(end) = session.fall_silent()
                    && let Some(audience) = self.audiences.get_mut(&session.stream)
                {
                    audience.ended(end, now);
                }
                session.closed = true;
                changed.push(session.clone());
            } else if session.heard > since {
                changed.push(session.clone());
            }
            now - session.heard < AMENDS
        });
        self.audiences.retain(|_, audience| !audience.is_over(now));
        changed
    }

    /// Room is made for newer sessions where it is scarce: those that are over go first.
    pub fn make_room(&mut self) {
        if self.sessions.len() >= MOST {
            self.sessions.retain(|_, session| !session.closed);
        }
    }

    /// What viewers of a stream live through; `None` where none reports.
    pub fn audience(&self, stream: &StreamName) -> Option<&Audience> {
        self.audiences.get(stream)
    }

    /// Everything since the start, by how it was reported.
    pub fn total(&self) -> impl Iterator<Item = (Player, &Tally)> {
        self.total.iter().map(|(player, tally)| (*player, tally))
    }

    /// Sessions that are not over, by stream.
    pub fn open(&self) -> impl Iterator<Item = &Session> {
        self.sessions.values().filter(|session| !session.closed)
    }

    /// How many viewers of each stream are counted by a node that they have left as well. `counts` says whether a node
    /// is there to do so.
    pub fn counted_twice(&self, now: i64, counts: impl Fn(&str) -> bool) -> HashMap<StreamName, u32> {
        let mut twice = HashMap::new();
        for session in self.sessions.values() {
            match session.counted_besides(now, &counts) {
                0 => {}
                more => *twice.entry(session.stream.clone()).or_default() += more,
            }
        }
        twice
    }

    /// All sessions of a stream.
    pub fn of(&self, stream: &StreamName) -> impl Iterator<Item = &Session> {
        self.sessions.values().filter(move |session| session.stream == *stream)
    }

    /// What was not taken since the start.
    pub fn untaken(&self) -> Untaken {
        self.untaken
    }
}
