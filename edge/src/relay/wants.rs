//! What viewers of this node, and nodes that it feeds, want of streams that are made elsewhere.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use aqueduct_common::StreamName;
use tokio::sync::{Notify, watch};

use super::backfill::Backfill;
use super::wire::is_name;
use crate::audience::Demand;

/// Streams that may be wanted at once. Beyond, those that nobody has give way, the ones first that were asked for the
/// longest time ago; names of viewers' choice cost no more than this.
const MAX_STREAMS: usize = 4_096;
/// How many give way at once: looking for them takes a look at all.
const GIVE_WAY: usize = 256;
/// Streams that are not here and that one client was the first to ask for; beyond, the answer is "not found" right away.
const MAX_OF_ONE: usize = 256;
/// Lines of one stream that no node is known to have; beyond, the oldest give way.
const MAX_UNKNOWN: usize = 256;

/// Whether something that was asked for is here yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Due {
    /// It was asked for.
    #[default]
    Coming,
    /// It is here.
    Here,
    /// Nobody has it, for now.
    Absent,
}

/// What is wanted. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Wants {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    table: Mutex<Table>,
    changed: Notify,
    backfill: Backfill,
}

/// All that is wanted.
#[derive(Debug, Default)]
pub(crate) struct Table {
    streams: HashMap<StreamName, Wanted>,
    /// Streams that are not here, by the client that was the first to ask.
    owed: HashMap<IpAddr, usize>,
    /// Numbers the wishes.
    count: u64,
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
    by: Option<IpAddr>,
    /// Number of the last wish for it.
    order: u64,
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
    order: u64,
}

/// Somebody waits for something that was asked for.
#[derive(Debug)]
pub struct Coming(watch::Receiver<Due>);

impl Coming {
    /// Waits until it is here, or known not to be.
    pub async fn settled(mut self) -> Due {
        self.0.wait_for(|due| *due != Due::Coming).await.map_or(Due::Absent, |due| *due)
    }
}

impl Wants {
    /// Nothing is wanted. So many bytes of what is fetched are kept (0: nothing is).
    pub fn keeping(bytes: u64) -> Self {
        Self { shared: Arc::new(Shared { backfill: Backfill::new(bytes), ..Shared::default() }) }
    }

    /// What is not pushed, and can be fetched.
    pub(crate) fn backfill(&self) -> &Backfill {
        &self.shared.backfill
    }

    /// Asks for a stream, for this client. `None` when too many are asked for already.
    pub fn stream(&self, name: &StreamName, who: Option<IpAddr>) -> Option<Coming> {
        self.with(name, who, |wanted, _| Coming(wanted.due.subscribe()))
    }

    /// Asks for a line of it. `None` as well where no line can have that name.
    pub fn line(&self, name: &StreamName, line: &str, who: Option<IpAddr>) -> Option<Coming> {
        if line.is_empty() || !is_name(line) {
            return None;
        }
        self.with(name, who, |wanted, order| {
            if !wanted.lines.contains_key(line) {
                wanted.make_room();
            }
            let fresh = || WantedLine { order, ..WantedLine::default() };
            let wanted = wanted.lines.entry(line.to_owned()).or_insert_with(fresh);
            wanted.touched = true;
            Coming(wanted.due.subscribe())
        })
    }

    /// Wants a stream until [`Wanted::kept`] is taken back.
    pub(super) fn keep(&self, name: &StreamName) {
        let kept = self.with(name, None, |wanted, _| wanted.kept = true);
        if kept.is_none() {
            tracing::error!(stream = %name, "not taken before anybody asks: too many streams are wanted");
        }
    }

    fn with<T>(
        &self,
        name: &StreamName,
        who: Option<IpAddr>,
        ask: impl FnOnce(&mut Wanted, u64) -> T,
    ) -> Option<T> {
        let mut table = self.streams();
        let wanted = table.admit(name, who)?;
        let fresh = !wanted.touched;
        wanted.touched = true;
        let unknown = |wanted: &Wanted| wanted.lines.values().filter(|line| line.begun.is_none()).count();
        let (before, order) = (unknown(wanted), wanted.order);
        let asked = ask(wanted, order);
        let news = fresh || unknown(wanted) != before;
        drop(table);
        if news {
            self.shared.changed.notify_one();
        }
        Some(asked)
    }

    pub(crate) fn streams(&self) -> MutexGuard<'_, Table> {
        self.shared.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until something is wanted that was not.
    pub(crate) async fn changed(&self) {
        self.shared.changed.notified().await;
    }

    /// A stream, or a line of it, is here or known not to be.
    pub(crate) fn settle(&self, name: &StreamName, line: &str, due: Due) {
        let mut table = self.streams();
        if line.is_empty() && due == Due::Here {
            table.is_here(name);
        }
        let Some(wanted) = table.streams.get(name) else { return };
        let told = match line {
            "" => Some(&wanted.due),
            line => wanted.lines.get(line).map(|line| &line.due),
        };
        if let Some(told) = told {
            told.send_if_modified(|last| std::mem::replace(last, due) != due);
        }
    }
}

impl Table {
    /// The stream as it is wanted, with room made for it where it is new.
    fn admit(&mut self, name: &StreamName, who: Option<IpAddr>) -> Option<&mut Wanted> {
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
    fn is_here(&mut self, name: &StreamName) {
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
    fn make_room(&mut self) {
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

/// Viewers' demand goes to where the stream is made.
impl Demand for Wants {
    fn asked(&self, stream: &StreamName, demand: u8, viewers: u32) {
        if let Some(wanted) = self.streams().get_mut(stream) {
            wanted.demands.insert(demand, viewers);
        }
        self.shared.changed.notify_one();
    }
}

/// Adds the viewers of several nodes up, and tells one who wants to know (EDGE-8).
pub struct Gathered {
    inner: Arc<dyn Demand>,
    /// Viewers by stream and number, by the place that told.
    told: Mutex<HashMap<(StreamName, u8), HashMap<u64, u32>>>,
}

impl std::fmt::Debug for Gathered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gathered").finish_non_exhaustive()
    }
}

impl Gathered {
    /// Tells `inner` of the sums.
    pub fn new(inner: Arc<dyn Demand>) -> Self {
        Self { inner, told: Mutex::default() }
    }

    /// One place has so many viewers. Place 0 is this node's own.
    pub fn told(&self, place: u64, stream: &StreamName, demand: u8, viewers: u32) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (stream.clone(), demand);
        let places = told.entry(key.clone()).or_default();
        match viewers {
            0 => drop(places.remove(&place)),
            viewers => drop(places.insert(place, viewers)),
        }
        let sum = places.values().fold(0u32, |sum, viewers| sum.saturating_add(*viewers));
        if places.is_empty() {
            told.remove(&key);
        }
        drop(told);
        self.inner.asked(stream, demand, sum);
    }

    /// A place is gone, with all of its viewers.
    pub fn left(&self, place: u64) {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let of_place = told.iter().filter(|(_, places)| places.contains_key(&place));
        let keys: Vec<_> = of_place.map(|(key, _)| key.clone()).collect();
        drop(told);
        for (stream, demand) in keys {
            self.told(place, &stream, demand, 0);
        }
    }
}

impl Demand for Gathered {
    fn asked(&self, stream: &StreamName, demand: u8, viewers: u32) {
        self.told(0, stream, demand, viewers);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Heard(Mutex<Vec<(u8, u32)>>);

    impl Demand for Heard {
        fn asked(&self, _: &StreamName, demand: u8, viewers: u32) {
            self.0.lock().unwrap().push((demand, viewers));
        }
    }

    #[test]
    fn viewers_of_all_places_are_added_up_and_leave_with_their_place() {
        let (heard, name) = (Arc::new(Heard::default()), "live/show".parse().unwrap());
        let gathered = Gathered::new(heard.clone());
        gathered.asked(&name, 16, 2);
        gathered.told(7, &name, 16, 5);
        gathered.told(8, &name, 17, 1);
        gathered.left(7);
        gathered.asked(&name, 16, 0);
        assert_eq!(*heard.0.lock().unwrap(), [(16, 2), (16, 7), (17, 1), (16, 2), (16, 0)]);
    }

    fn numbered(number: usize) -> StreamName {
        format!("live/s{number}").parse().unwrap()
    }

    fn from(host: u8) -> Option<IpAddr> {
        Some([10, 0, 0, host].into())
    }

    #[tokio::test]
    async fn who_waits_is_told() {
        let (wants, name) = (Wants::default(), "live/show".parse().unwrap());
        let coming = wants.line(&name, "e/v0", None).unwrap();
        wants.changed().await;
        wants.settle(&name, "e/v0", Due::Here);
        assert_eq!(coming.settled().await, Due::Here);
    }

    #[test]
    fn what_cannot_be_said_to_a_node_is_not_wanted() {
        let (wants, name) = (Wants::default(), "live/show".parse().unwrap());
        let long = "a".repeat(201);
        for line in ["a b", "a%20b", "..", "a/../b", "\u{fc}", "a?b", "a#b", "a\\b", "", &long] {
            assert!(wants.line(&name, line, None).is_none(), "{line}");
        }
        assert!(!wants.streams().contains(&name));
        assert!(wants.line(&name, "e1/v0", None).is_some());
    }

    #[tokio::test]
    async fn made_up_names_give_way_to_others_and_streams_that_are_here_do_not() {
        let wants = Wants::default();
        wants.keep(&numbered(0));
        let here = wants.stream(&numbered(1), None);
        wants.settle(&numbered(1), "", Due::Here);
        let coming = wants.stream(&numbered(2), None).unwrap();
        for number in 3..MAX_STREAMS {
            assert!(wants.stream(&numbered(number), from((number % 32) as u8)).is_some());
            if number != 9 {
                wants.settle(&numbered(number), "", Due::Absent);
            }
        }
        // Any number of others: what nobody has goes first, the oldest before the others.
        for number in 0..MAX_STREAMS {
            let name = format!("live/t{number}").parse().unwrap();
            assert!(wants.stream(&name, from((number % 32) as u8)).is_some(), "{number}");
            let present = |number| wants.streams().contains(&numbered(number));
            assert!(present(0) && present(1), "{number}");
            if number == 0 {
                assert!(present(2) && present(9) && !present(3) && present(MAX_STREAMS - 1));
            }
        }
        assert_eq!(here.unwrap().settled().await, Due::Here);
        // Who waited longest for what nobody was known to have is told so.
        assert_eq!(coming.settled().await, Due::Absent);
    }

    #[test]
    fn one_client_has_room_for_so_many_names_and_gets_it_back() {
        let wants = Wants::default();
        let ask = |number, host| wants.stream(&numbered(number), from(host)).is_some();
        assert!((0..MAX_OF_ONE).all(|number| ask(number, 1)));
        assert!(!ask(MAX_OF_ONE, 1) && ask(3, 1), "only what is new is refused");
        assert!(ask(MAX_OF_ONE, 2));
        assert!(ask(MAX_OF_ONE, 1), "what another one asks for as well");
        wants.settle(&numbered(0), "", Due::Here);
        wants.settle(&numbered(0), "", Due::Here);
        assert!(ask(MAX_OF_ONE + 1, 1) && !ask(MAX_OF_ONE + 2, 1));
        wants.streams().remove(&numbered(5));
        assert!(ask(MAX_OF_ONE + 2, 1) && !ask(MAX_OF_ONE + 3, 1));
        (0..MAX_OF_ONE + 9).for_each(|number| wants.streams().remove(&numbered(number)));
        assert!(wants.streams().owed.is_empty());
    }

    #[tokio::test]
    async fn made_up_lines_give_way_to_others_and_lines_that_are_known_do_not() {
        let (wants, name): (_, StreamName) = (Wants::default(), numbered(0));
        let real = wants.line(&name, "e/v0", None).unwrap();
        if let Some(line) = wants.streams().get_mut(&name).and_then(|one| one.lines.get_mut("e/v0")) {
            line.known = true;
        }
        let first = wants.line(&name, "x/first", None).unwrap();
        for number in 0..2 * MAX_UNKNOWN {
            assert!(wants.line(&name, &format!("x/{number}"), None).is_some());
        }
        assert_eq!(first.settled().await, Due::Absent);
        assert_eq!(wants.streams().get_mut(&name).unwrap().lines.len(), MAX_UNKNOWN + 1);
        wants.settle(&name, "e/v0", Due::Here);
        assert_eq!(real.settled().await, Due::Here);
    }
}
