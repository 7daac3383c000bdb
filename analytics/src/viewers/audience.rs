//! What all sessions of a stream add up to, over the last five minutes.

use std::collections::VecDeque;

use super::session::{Heard, Outcome};
use super::sums::Sums;

/// Milliseconds of a slot.
const SLOT: i64 = 10_000;
/// Slots of the window: five minutes.
const SLOTS: i64 = 30;
/// Start-up times that are kept for percentiles.
const STARTS: usize = 1_024;

/// What the last minutes added up to.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Tally {
    /// Time spent.
    pub sums: Sums,
    /// Sessions that began.
    pub attempts: u64,
    /// Those that showed a picture.
    pub started: u64,
    /// Those that failed before it.
    pub failed: u64,
    /// Those that were not let in.
    pub refused: u64,
    /// Those that left before it.
    pub left: u64,
    /// Those that stalled for the first time.
    pub stalled: u64,
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.sums.add(other.sums);
        self.attempts += other.attempts;
        self.started += other.started;
        self.failed += other.failed;
        self.refused += other.refused;
        self.left += other.left;
        self.stalled += other.stalled;
    }
}

/// One stream's viewers.
#[derive(Clone, Debug, Default)]
pub struct Audience {
    /// Numbered by time, oldest first.
    slots: VecDeque<(i64, Tally)>,
    starts: VecDeque<(i64, f32)>,
}

impl Audience {
    /// A session began.
    pub fn attempt(&mut self, at: i64) {
        self.slot(at).attempts += 1;
    }

    /// A session said something.
    pub fn heard(&mut self, heard: &Heard, at: i64) {
        let slot = self.slot(at);
        slot.sums.add(heard.delta);
        slot.stalled += u64::from(heard.first_stall);
        slot.started += u64::from(heard.started);
        if let Some(millis) = heard.startup {
            if self.starts.len() >= STARTS {
                self.starts.pop_front();
            }
            self.starts.push_back((at, millis as f32));
        }
        if let Some(end) = heard.ended {
            self.ended(end, at);
        }
    }

    /// An attempt ended without a picture.
    pub fn ended(&mut self, end: Outcome, at: i64) {
        let slot = self.slot(at);
        match end {
            Outcome::Failed => slot.failed += 1,
            Outcome::Refused => slot.refused += 1,
            Outcome::LeftBeforeStart => slot.left += 1,
            Outcome::Starting | Outcome::Playing | Outcome::Ended => {}
        }
    }

    /// The last `millis`, as whole slots.
    pub fn window(&self, now: i64, millis: i64) -> Tally {
        let from = now.div_euclid(SLOT) - millis / SLOT;
        let mut tally = Tally::default();
        self.slots.iter().filter(|(slot, _)| *slot > from).for_each(|(_, slot)| tally.add(slot));
        tally
    }

    /// Start-up times of the last five minutes, in milliseconds, sorted.
    pub fn starts(&self, now: i64) -> Vec<f32> {
        let from = now - SLOT * SLOTS;
        let mut starts: Vec<f32> =
            self.starts.iter().filter(|(at, _)| *at > from).map(|(_, millis)| *millis).collect();
        starts.sort_by(f32::total_cmp);
        starts
    }

    /// Nothing of it is in the window any more.
    pub fn is_over(&self, now: i64) -> bool {
        let from = now.div_euclid(SLOT) - SLOTS;
        self.slots.back().is_none_or(|(slot, _)| *slot <= from)
    }

    fn slot(&mut self, at: i64) -> &mut Tally {
        let number = at.div_euclid(SLOT);
        // What comes out of order belongs to the newest slot: reports are stamped where they come in, and nodes' clocks
        // differ a little.
        let number = self.slots.back().map_or(number, |(last, _)| number.max(*last));
        if self.slots.back().is_none_or(|(last, _)| *last < number) {
            self.slots.push_back((number, Tally::default()));
            while self.slots.front().is_some_and(|(first, _)| *first < number - SLOTS) {
                self.slots.pop_front();
            }
        }
        let last = self.slots.len() - 1;
        &mut self.slots[last].1
    }
}

/// The value below which this share of sorted values lies; `None` of none.
pub fn percentile<T: Copy>(sorted: &[T], share: f64) -> Option<T> {
    let last = sorted.len().checked_sub(1)?;
    sorted.get((last as f64 * share).round() as usize).copied()
}
