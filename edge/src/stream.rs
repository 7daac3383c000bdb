//! What is served of one stream.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use aqueduct_common::name::StreamName;
use aqueduct_common::object::{Object, ObjectKind, ObjectPath, PlaylistInfo, Update};
use tokio::sync::watch;

use crate::entry::Entry;
use crate::ledger::Ledger;
use crate::list::{List, Wake};
use crate::playlist::follows;
use crate::route::At;
use crate::viewers::Viewers;
use crate::wait::Waiter;

/// How long an expired path is remembered, to be told from one that never was (LLHLS-27, EDGE-4).
const REMEMBER: Duration = Duration::from_secs(60);
/// Expired paths that are remembered at most; the oldest are forgotten first.
const MAX_REMEMBERED: usize = 4_096;

/// What becomes of a request for an object.
#[derive(Debug)]
pub enum Answer {
    /// Here it is.
    Ready(Arc<Entry>),
    /// It is due: wait for it.
    Wait(Waiter),
    /// What is asked of the playlist is not due soon (LLHLS-22).
    TooFarAhead,
    /// It was here, and is gone for good (LLHLS-27).
    Gone,
    /// It is not here. It may come.
    NotFound,
    /// What is here is too old to be shown as live: the way to the origin has been cut for long (EDGE-5).
    Stale,
}

/// One stream's objects. One publisher writes, any number of requests read.
#[derive(Debug)]
pub struct Stream {
    name: StreamName,
    shelf: RwLock<Shelf>,
    viewers: Viewers,
    /// Milliseconds since the way to the origin was cut, plus 1; 0 where it is not.
    cut_off: AtomicU32,
}

/// What an update did.
#[derive(Debug, Default)]
pub(crate) struct Applied {
    pub(crate) wakes: Vec<Wake>,
    /// The stream came on air with this update.
    pub(crate) came_on_air: bool,
    /// The update was older than what is here, and was left out.
    pub(crate) stale: bool,
}

#[derive(Debug, Default)]
struct Shelf {
    slots: HashMap<ObjectPath, Slot>,
    /// Paths retired since the last sweep, which gives them their time.
    leaving: Vec<(ObjectPath, Duration)>,
    due: BinaryHeap<Reverse<(Instant, ObjectPath)>>,
    remembered: VecDeque<(Instant, ObjectPath)>,
    /// Which playlist waits for a path before it shows a version.
    needed: HashMap<ObjectPath, ObjectPath>,
    ledger: Ledger,
    on_air: bool,
}

#[derive(Debug)]
struct Slot {
    state: State,
    /// Nothing lists it any more.
    retired: bool,
    /// When it goes.
    expires: Option<Instant>,
}

#[derive(Debug)]
enum State {
    /// An object that has one version at a time, and nobody waits for the next.
    Here(Arc<Entry>),
    /// A playlist.
    List(List),
    /// A hinted path (LLHLS-26): the object goes to those who wait for it. Dropping the sender tells them that it
    /// will not come.
    Awaited { arrival: watch::Sender<Option<Arc<Entry>>>, hold: Duration },
    /// Expired.
    Gone,
}

impl Stream {
    pub(crate) fn new(name: StreamName) -> Self {
        Self { name, shelf: RwLock::default(), viewers: Viewers::default(), cut_off: AtomicU32::new(0) }
    }

    /// Its name.
    pub fn name(&self) -> &StreamName {
        &self.name
    }

    /// Looks a path up, and says what becomes of the request.
    pub fn read(&self, path: &str, at: At) -> Answer {
        let shelf = self.shelf();
        let Some(slot) = shelf.slots.get(path) else { return Answer::NotFound };
        match &slot.state {
            State::Here(entry) => Answer::Ready(entry.clone()),
            State::Gone => Answer::Gone,
            State::Awaited { arrival, hold } => Answer::Wait(Waiter::part(arrival.subscribe(), *hold)),
            State::List(list) if self.is_stale(list) => Answer::Stale,
            State::List(list) => list.read(at),
        }
    }

    /// How long ago the way to the origin was cut, where it is.
    pub fn cut_off(&self) -> Option<Duration> {
        let millis = self.cut_off.load(Relaxed).checked_sub(1)?;
        Some(Duration::from_millis(millis.into()))
    }

    pub(crate) fn set_cut_off(&self, since: Option<Duration>) {
        let millis =
            since.map_or(0, |since| u32::try_from(since.as_millis()).map_or(u32::MAX, |ms| ms.max(1)));
        self.cut_off.store(millis, Relaxed);
    }

    /// A list is shown as live for three target durations after the way to the origin was cut.
    fn is_stale(&self, list: &List) -> bool {
        let Some(cut_off) = self.cut_off() else { return false };
        list.target_duration().is_some_and(|target| cut_off > 3 * target)
    }

    /// Lines (directories) whose playlist was asked for since the last time, and those that somebody waits for.
    pub(crate) fn take_asked(&self) -> Vec<String> {
        let shelf = self.shelf();
        let asked = shelf.slots.iter().filter(|(_, slot)| match &slot.state {
            State::List(list) => list.take_asked(),
            State::Awaited { arrival, .. } => arrival.receiver_count() > 0,
            State::Here(_) | State::Gone => false,
        });
        asked
            .map(|(path, _)| path.as_str().rsplit_once('/').map_or("", |(line, _)| line).to_owned())
            .collect()
    }

    /// Lets go at once of all that is in this directory, as if it had never been here.
    pub(crate) fn withdraw(&self, line: &str) {
        let mut shelf = self.shelf_mut();
        let Shelf { slots, ledger, needed, .. } = &mut *shelf;
        let of_line = |path: &ObjectPath| path.as_str().rsplit_once('/').map_or("", |(line, _)| line) == line;
        slots.retain(|path, slot| {
            let gone = of_line(path);
            match &slot.state {
                State::Here(entry) if gone => ledger.remove(entry.chunks()),
                State::List(list) if gone => {
                    if let Some(entry) = list.current.borrow().as_deref() {
                        ledger.remove(entry.chunks());
                    }
                }
                _ => {}
            }
            !gone
        });
        needed.retain(|path, _| !of_line(path));
    }

    /// It is on air: it has a multivariant playlist, and has not ended since.
    pub fn is_on_air(&self) -> bool {
        self.shelf().on_air
    }

    /// Bytes held, and objects that can be fetched.
    pub fn holding(&self) -> (u64, usize) {
        let shelf = self.shelf();
        let here = |slot: &&Slot| match &slot.state {
            State::Here(_) => true,
            State::List(list) => !list.is_asleep(),
            State::Awaited { .. } | State::Gone => false,
        };
        (shelf.ledger.bytes(), shelf.slots.values().filter(here).count())
    }

    /// Who watches.
    pub fn viewers(&self) -> &Viewers {
        &self.viewers
    }

    /// Brings the counts of those who ask for its playlists forward; what is to be told of them.
    pub(crate) fn demands(&self, seconds: u64) -> Vec<(u8, u32)> {
        let shelf = self.shelf();
        let lists = shelf.slots.values().filter_map(|slot| match &slot.state {
            State::List(list) => list.turn(seconds),
            _ => None,
        });
        lists.collect()
    }

    /// Applies one update. The wakes it returns are sent when no lock is held.
    pub(crate) fn apply(&self, update: Update) -> Applied {
        let mut shelf = self.shelf_mut();
        match update {
            Update::Publish(object) => shelf.publish(object),
            Update::Retire { path, linger } => shelf.retire(path, linger),
            Update::Sleep { path, demand, hold } => shelf.sleep(&path, demand, hold),
            Update::End { linger } => shelf.end(linger),
        }
    }

    /// Lets go of what has expired. `false` when nothing is left, not even a memory.
    pub(crate) fn sweep(&self, now: Instant) -> bool {
        self.shelf_mut().sweep(now)
    }

    fn shelf(&self) -> RwLockReadGuard<'_, Shelf> {
        self.shelf.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn shelf_mut(&self) -> RwLockWriteGuard<'_, Shelf> {
        self.shelf.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    fn new(state: State) -> Self {
        Self { state, retired: false, expires: None }
    }
}

impl Shelf {
    fn publish(&mut self, object: Object) -> Applied {
        let path = object.path.clone();
        let kind = object.kind;
        let entry = Entry::new(object);
        let mut applied = match entry.list() {
            Some(_) => self.publish_list(&path, entry),
            None => self.publish_plain(&path, Arc::new(entry)),
        };
        if kind == ObjectKind::Multivariant && !self.on_air {
            self.on_air = true;
            applied.came_on_air = true;
        }
        // Media that a playlist of the relay has been waiting for.
        if let Some(list) = self.needed.remove(&path) {
            applied.wakes.extend(self.release(&list));
        }
        applied
    }

    fn publish_plain(&mut self, path: &ObjectPath, entry: Arc<Entry>) -> Applied {
        let mut applied = Applied::default();
        self.ledger.add(entry.chunks());
        match self.slots.insert(path.clone(), Slot::new(State::Here(entry.clone()))).map(|slot| slot.state) {
            Some(State::Here(earlier)) => self.ledger.remove(earlier.chunks()),
            Some(State::Awaited { arrival, .. }) => applied.wakes.push(Wake { sender: arrival, entry }),
            Some(State::Gone) => self.remembered.retain(|(_, gone)| gone != path),
            Some(State::List(_)) | None => {}
        }
        applied
    }

    fn publish_list(&mut self, path: &ObjectPath, entry: Entry) -> Applied {
        let mut applied = Applied::default();
        let needs = entry.list().and_then(|info| info.needs.clone());
        self.forget(path);
        let slot = self.slots.entry(path.clone()).or_insert_with(|| Slot::new(State::List(List::new())));
        // A path never changes its kind; an update that tries is left out.
        let State::List(list) = &mut slot.state else {
            applied.stale = true;
            return applied;
        };
        let seen = list.current.borrow().clone();
        if let (Some(seen), Some(info)) = (seen.as_deref().and_then(Entry::list), entry.list())
            && !follows(seen, info)
        {
            applied.stale = true;
            return applied;
        }
        (slot.retired, slot.expires) = (false, None);
        let audience = entry.list().and_then(|info| list.audience_of(info));
        list.staged.insert(Arc::new(entry.watched_by(audience)));
        match self.release(path) {
            Some(wake) => applied.wakes.push(wake),
            None => self.needed.extend(needs.map(|needs| (needs, path.clone()))),
        }
        applied
    }

    /// Forgets that a path has expired: it comes back.
    fn forget(&mut self, path: &ObjectPath) {
        if self.slots.get(path).is_some_and(|slot| matches!(slot.state, State::Gone)) {
            self.remembered.retain(|(_, gone)| gone != path);
            self.slots.remove(path);
        }
    }

    /// Withdraws a playlist until its next version. Who waits for that goes on waiting.
    fn sleep(&mut self, path: &ObjectPath, demand: u8, hold: Duration) -> Applied {
        self.forget(path);
        let Self { slots, ledger, needed, .. } = self;
        // The playlist is out of the map while its hint is looked at.
        let mut slot = slots.remove(path).unwrap_or_else(|| Slot::new(State::List(List::new())));
        let stale = match &mut slot.state {
            State::List(list) if !list.has_ended() => {
                if let Some(earlier) = list.sleep(demand, hold) {
                    ledger.remove(earlier.chunks());
                }
                move_hint(slots, &mut list.hinted, None);
                needed.retain(|_, waiting| waiting != path);
                (slot.retired, slot.expires) = (false, None);
                false
            }
            _ => true,
        };
        slots.insert(path.clone(), slot);
        Applied { stale, ..Applied::default() }
    }

    /// Takes the newest version of a playlist that may be seen, and moves its hint.
    fn release(&mut self, path: &ObjectPath) -> Option<Wake> {
        let Self { slots, ledger, needed, .. } = self;
        // The playlist is out of the map while its neighbours are looked at.
        let mut slot = slots.remove(path)?;
        let wake = match &mut slot.state {
            State::List(list) => {
                let known = |path: &str| {
                    slots.get(path).is_some_and(|slot| !matches!(slot.state, State::Awaited { .. }))
                };
                list.staged.release(known).map(|entry| {
                    ledger.add(entry.chunks());
                    if let Some(earlier) = list.current.borrow().as_deref() {
                        ledger.remove(earlier.chunks());
                    }
                    move_hint(slots, &mut list.hinted, entry.list());
                    // What versions before this one waited for is no longer of interest.
                    needed.retain(|_, waiting| waiting != path);
                    needed.extend(list.staged.needs().map(|needs| (needs, path.clone())));
                    Wake { sender: list.current.clone(), entry }
                })
            }
            _ => None,
        };
        slots.insert(path.clone(), slot);
        wake
    }

    fn retire(&mut self, path: ObjectPath, linger: Duration) -> Applied {
        let Some(slot) = self.slots.get_mut(&path) else { return Applied::default() };
        match slot.state {
            // It was promised and will not come: whoever waits is told at once.
            State::Awaited { .. } => drop(self.slots.remove(&path)),
            State::List(ref list) if list.is_asleep() => drop(self.slots.remove(&path)),
            State::Gone => {}
            State::Here(_) | State::List(_) => {
                slot.retired = true;
                self.leaving.push((path, linger));
            }
        }
        Applied::default()
    }

    fn end(&mut self, linger: Duration) -> Applied {
        self.on_air = false;
        self.needed.clear();
        // Whoever waits for what will not come is told at once.
        self.slots.retain(|_, slot| match &slot.state {
            State::Awaited { .. } => false,
            State::List(list) => !list.is_asleep(),
            State::Here(_) | State::Gone => true,
        });
        for (path, slot) in &mut self.slots {
            if !matches!(slot.state, State::Gone) {
                slot.retired = true;
                self.leaving.push((path.clone(), linger));
            }
        }
        Applied::default()
    }

    fn sweep(&mut self, now: Instant) -> bool {
        for (path, linger) in std::mem::take(&mut self.leaving) {
            let Some(slot) = self.slots.get_mut(&path).filter(|slot| slot.retired) else { continue };
            let expires = slot.expires.max(now.checked_add(linger));
            slot.expires = expires;
            self.due.extend(expires.map(|expires| Reverse((expires, path))));
        }
        while let Some(Reverse((expires, _))) = self.due.peek()
            && *expires <= now
            && let Some(Reverse((expires, path))) = self.due.pop()
        {
            self.expire(path, expires, now);
        }
        while let Some((until, _)) = self.remembered.front()
            && (*until <= now || self.remembered.len() > MAX_REMEMBERED)
            && let Some((_, path)) = self.remembered.pop_front()
        {
            self.slots.remove(&path);
        }
        self.on_air || !self.slots.is_empty()
    }

    /// Lets a path go, unless it was published again or given more time since this was scheduled.
    fn expire(&mut self, path: ObjectPath, expires: Instant, now: Instant) {
        let Some(slot) = self.slots.get_mut(&path) else { return };
        if !slot.retired || slot.expires != Some(expires) {
            return;
        }
        match std::mem::replace(&mut slot.state, State::Gone) {
            State::Here(entry) => self.ledger.remove(entry.chunks()),
            State::List(mut list) => {
                if let Some(entry) = list.current.borrow().as_deref() {
                    self.ledger.remove(entry.chunks());
                }
                move_hint(&mut self.slots, &mut list.hinted, None);
            }
            State::Awaited { .. } | State::Gone => return,
        }
        self.remembered.extend(now.checked_add(REMEMBER).map(|until| (until, path)));
    }
}

/// A version hints another path, or none: the earlier one, if it did not come, never will (LLHLS-26).
fn move_hint(
    slots: &mut HashMap<ObjectPath, Slot>,
    hinted: &mut Option<ObjectPath>,
    info: Option<&PlaylistInfo>,
) {
    let next = info.and_then(|info| info.hint.as_ref());
    if hinted.as_ref() == next {
        return;
    }
    if let Some(earlier) = hinted.take()
        && let Some(Slot { state: State::Awaited { .. }, .. }) = slots.get(&earlier)
    {
        slots.remove(&earlier);
    }
    if let (Some(next), Some(info)) = (next, info) {
        let awaited = || State::Awaited { arrival: watch::Sender::new(None), hold: info.ahead.hold };
        slots.entry(next.clone()).or_insert_with(|| Slot::new(awaited()));
    }
    *hinted = next.cloned();
}
