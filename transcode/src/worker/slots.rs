//! Which picture is shown when, where every source frame gives one frame in every rung: pure.
//!
//! A source frame brings two things apart: a *slot* (decode time, duration, sync) and a *place* (presentation time).
//! Slots leave in decode order, places in presentation order, and the i-th slot takes the i-th place. Rungs without
//! B-frames so carry exactly the source's decode times, durations and presentation times, and the same delay D from
//! one to the other (TL-41). A place whose picture does not come is shown all the same, by a repeat (AVP-18).

use std::collections::{BTreeMap, VecDeque};

use aqueduct_common::WallTime;

/// Times of one source frame, in ticks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Times {
    /// Decode time.
    pub(super) dts: i64,
    /// Presentation time.
    pub(super) pts: i64,
    /// Ticks to the next decode time.
    pub(super) duration: u32,
    /// Sync frame of the source: an IDR in every rung.
    pub(super) sync: bool,
    /// When the source frame arrived.
    pub(super) received: WallTime,
}

/// A slot with what is shown in it.
#[derive(Debug)]
pub(super) struct Shown<T> {
    /// Its times.
    pub(super) times: Times,
    /// Its picture; `None` repeats the one before.
    pub(super) picture: Option<T>,
}

/// How long a picture is waited for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// Pictures that the source's order makes a decoder hold back; 0 where each comes out at once.
    pub(super) reorder: u32,
    /// More frames that the decoder may hold back by itself.
    pub(super) slack: u32,
}

#[derive(Debug)]
enum State<T> {
    Coming,
    Here(T),
    Lost,
}

/// Order of presentation: which GOP, the time, and the number of the frame where times are equal.
type Place = (u64, i64, u64);

#[derive(Debug)]
struct Entry<T> {
    state: State<T>,
    received: WallTime,
}

/// Frames that are in, and not yet shown.
#[derive(Debug)]
pub(super) struct Slots<T> {
    patience: Patience,
    /// Slots in decode order; as many as there are places.
    slots: VecDeque<Times>,
    places: BTreeMap<Place, Entry<T>>,
    /// Where a frame's place is, by its number.
    by_number: BTreeMap<u64, Place>,
    /// Number of the next frame.
    next: u64,
    gop: u64,
    /// Decode time of the frame that follows the newest: none that comes is shown before it.
    horizon: i64,
    /// The latest place of which a picture has come.
    reached: Option<Place>,
    /// The GOP of the last shown place, the number of its first frame, and how many of it were shown.
    shown: (u64, u64, u64),
    /// First frame number of each GOP that is not shown to its end.
    starts: BTreeMap<u64, u64>,
}

impl<T> Slots<T> {
    /// Nothing is in.
    pub(super) fn new(patience: Patience) -> Self {
        Self {
            patience,
            slots: VecDeque::new(),
            places: BTreeMap::new(),
            by_number: BTreeMap::new(),
            next: 0,
            gop: 0,
            horizon: i64::MIN,
            reached: None,
            shown: (0, 0, 0),
            starts: BTreeMap::from([(0, 0)]),
        }
    }

    /// Another decoder has other habits.
    pub(super) const fn set_patience(&mut self, patience: Patience) {
        self.patience = patience;
    }

    /// Takes in a frame that goes to the decoder, and gives it a number, by which its picture is known.
    pub(super) fn feed(&mut self, times: Times) -> u64 {
        let number = self.next;
        self.next += 1;
        if times.sync && number > 0 {
            self.gop += 1;
            self.starts.insert(self.gop, number);
        }
        let place = (self.gop, times.pts, number);
        self.slots.push_back(times);
        self.places.insert(place, Entry { state: State::Coming, received: times.received });
        self.by_number.insert(number, place);
        self.horizon = times.dts + i64::from(times.duration);
        number
    }

    /// The picture of a frame came out. Gives it back where its place was shown already.
    pub(super) fn picture(&mut self, number: u64, picture: T) -> Option<T> {
        self.reach(number);
        match self.entry(number) {
            Some(entry) => {
                entry.state = State::Here(picture);
                None
            }
            None => Some(picture),
        }
    }

    /// No picture of this frame will come.
    pub(super) fn lost(&mut self, number: u64) {
        if let Some(entry) = self.entry(number) {
            entry.state = State::Lost;
        }
    }

    /// No picture of any frame that is in will come: the decoder was replaced, or the timeline breaks.
    pub(super) fn lose_all(&mut self) {
        for entry in self.places.values_mut() {
            if matches!(entry.state, State::Coming) {
                entry.state = State::Lost;
            }
        }
    }

    /// What is to be shown now, in order; `None` when the next has to be waited for.
    pub(super) fn pop(&mut self) -> Option<Shown<T>> {
        let (&place, entry) = self.places.first_key_value()?;
        let overdue = self.is_overdue(place);
        let passed = self.reached.is_some_and(|reached| reached > place);
        match &entry.state {
            State::Coming if !overdue && !passed => return None,
            State::Here(_) | State::Lost if !overdue && !self.is_next(place) => return None,
            _ => {}
        }
        self.show()
    }

    /// Everything that is left, in order: pictures that are here, repeats for the others.
    pub(super) fn drain(&mut self) -> Vec<Shown<T>> {
        std::iter::from_fn(|| self.show()).collect()
    }

    /// Frames that are in and not shown.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    fn entry(&mut self, number: u64) -> Option<&mut Entry<T>> {
        let place = self.by_number.get(&number)?;
        self.places.get_mut(place)
    }

    fn reach(&mut self, number: u64) {
        let place = self.by_number.get(&number).copied();
        self.reached = self.reached.max(place);
    }

    /// No frame that is still to come can be shown before it.
    const fn is_next(&self, place: Place) -> bool {
        self.patience.reorder == 0 || place.0 < self.gop || place.1 <= self.horizon
    }

    /// A decoder that works had given its picture by now.
    fn is_overdue(&self, place: Place) -> bool {
        let start = self.starts.get(&place.0).copied().unwrap_or_default();
        let rank = if self.shown.0 == place.0 { self.shown.2 } else { 0 };
        let slack = if self.patience.reorder == 0 { 0 } else { 1 };
        let wait = u64::from(self.patience.reorder) + u64::from(self.patience.slack) + slack;
        self.next > start + rank + wait
    }

    fn show(&mut self) -> Option<Shown<T>> {
        let (place, entry) = self.places.pop_first()?;
        let slot = self.slots.pop_front()?;
        self.by_number.remove(&place.2);
        self.count(place.0);
        let picture = match entry.state {
            State::Here(picture) => Some(picture),
            State::Coming | State::Lost => None,
        };
        let times = Times { pts: place.1, received: entry.received, ..slot };
        Some(Shown { times, picture })
    }

    fn count(&mut self, gop: u64) {
        if self.shown.0 == gop {
            self.shown.2 += 1;
        } else {
            self.shown = (gop, self.starts.get(&gop).copied().unwrap_or_default(), 1);
            self.starts = self.starts.split_off(&gop);
        }
    }
}

#[cfg(test)]
mod tests;
