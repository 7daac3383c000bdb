//! All that is wanted, within its bounds.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::time::Instant;

use aqueduct_common::StreamName;
use tokio::sync::watch;

use super::Due;

/// Streams that may be wanted at once. Beyond, those that nobody has give way, the ones first that were asked for the
/// longest time ago; names of viewers' choice cost no more than this.
pub(super) const MAX_STREAMS: usize = 4_096;
/// How many give way at once: looking for them takes a look at all.
const GIVE_WAY: usize = 256;
/// Streams that are not here and that one client was the first to ask for; beyond, the answer is "not found" right away.
pub(super) const MAX_OF_ONE: usize = 256;
/// Lines of one stream that no node is known to have; beyond, the oldest give way.
pub(super) const MAX_UNKNOWN: usize = 256;

/// All that is wanted.
#[derive(Debug, Default)]
pub(crate) struct Table {
    pub(super) streams: HashMap<StreamName, Wanted>,
    /// Streams that are not here, by the client that was the first to ask.
    pub(super) owed: HashMap<IpAddr, usize>,
    /// Numbers the wishes.
    pub(super) count: u64,
}

/// One wanted stream.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    /// Somebody asked since this was last looked at.
    pub(crate) touched: bool,
    pub(crate) due: watch::Sender<Due>,
    pub(crate) lines: HashMap<String, WantedLine>,
    /// It is wanted whether anybody asks or not.
    pub(crate) kept: bool,
    /// Who was the first to ask, until it is here.
    pub(super) by: Option<IpAddr>,
    /// Number of the last wish for it.
    pub(super) order: u64,
    /// Viewers by the number that came with a playlist, where that was told since it was last looked at.
    pub(crate) demands: HashMap<u8, u32>,
}

/// One wanted line.
#[derive(Debug, Default)]
pub(crate) struct WantedLine {
    pub(crate) touched: bool,
    pub(crate) due: watch::Sender<Due>,
    /// A node is known to have it, and it is taken.
    pub(crate) known: bool,
    /// Since when a node is looked for that has it.
    pub(crate) begun: Option<Instant>,
    /// Number of the first wish for it.
    pub(super) order: u64,
}

impl Table {
    /// The stream as it is wanted, with room made for it where it is new.
    pub(super) fn admit(&mut self, name: &StreamName, who: Option<IpAddr>) -> Option<&mut Wanted> {
        self.count += 1;
        if !self.streams.contains_key(name) {
            let owed = |who: IpAddr| self.owed.get(&who).copied().unwrap_or_default();
            if who.is_some_and(|who| owed(who) >= MAX_OF_ONE) {
                return None;
            }
            if self.streams.len() >= MAX_STREAMS {
                self.make_room();
            }
            if self.streams.len() >= MAX_STREAMS {
                return None;
            }
            if let Some(who) = who {
                *self.owed.entry(who).or_default() += 1;
            }
            self.streams.insert(name.clone(), Wanted { by: who, ..Wanted::default() });
        }
        let wanted = self.streams.get_mut(name)?;
        wanted.order = self.count;
        Some(wanted)
    }

    /// What nobody has gives way, and after that what nobody is known to have; of these the oldest.
    fn make_room(&mut self) {
        let due = |wanted: &Wanted| *wanted.due.borrow();
        let may_go = self.streams.iter().filter(|(_, wanted)| !wanted.kept && due(wanted) != Due::Here);
        let mut may_go: Vec<_> =
            may_go.map(|(name, one)| (due(one) == Due::Coming, one.order, name.clone())).collect();
        if may_go.len() > GIVE_WAY {
            may_go.select_nth_unstable_by_key(GIVE_WAY, |(coming, order, _)| (*coming, *order));
            may_go.truncate(GIVE_WAY);
        }
        may_go.iter().for_each(|(_, _, name)| self.remove(name));
    }

    /// It is wanted no more; whoever waits for it is told that nobody has it.
    pub(crate) fn remove(&mut self, name: &StreamName) {
        self.is_here(name);
        self.streams.remove(name);
    }

    /// It is no longer one that its client was the first to ask for.
    pub(super) fn is_here(&mut self, name: &StreamName) {
        let Some(who) = self.streams.get_mut(name).and_then(|wanted| wanted.by.take()) else { return };
        if let Entry::Occupied(mut owed) = self.owed.entry(who) {
            *owed.get_mut() -= 1;
            if *owed.get() == 0 {
                owed.remove();
            }
        }
    }

    /// One stream.
    pub(crate) fn get_mut(&mut self, name: &StreamName) -> Option<&mut Wanted> {
        self.streams.get_mut(name)
    }

    /// Whether it is wanted.
    pub(crate) fn contains(&self, name: &StreamName) -> bool {
        self.streams.contains_key(name)
    }

    /// All streams.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (&StreamName, &mut Wanted)> {
        self.streams.iter_mut()
    }
}

impl Wanted {
    /// Somebody waits for it or for a line of it.
    pub(crate) fn is_awaited(&self) -> bool {
        self.due.receiver_count() > 0 || self.lines.values().any(WantedLine::is_awaited)
    }

    /// Lines that no node is known to have give way to a new one.
    pub(super) fn make_room(&mut self) {
        let unknown = || self.lines.iter().filter(|(_, line)| !line.known);
        if unknown().count() >= MAX_UNKNOWN
            && let Some(oldest) = unknown().min_by_key(|(_, line)| line.order).map(|(name, _)| name.clone())
        {
            self.lines.remove(&oldest);
        }
    }
}

impl WantedLine {
    /// Somebody waits for it.
    pub(crate) fn is_awaited(&self) -> bool {
        self.due.receiver_count() > 0
    }
}
