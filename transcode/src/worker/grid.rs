//! Constant rate out of whatever comes: pure.
//!
//! Slot k lies at anchor + k·f and takes the nearest picture: one that comes for a slot that is filled is dropped, and
//! slots between two pictures repeat the nearer one (AVP-26). A slot is filled as soon as a picture for it or a later
//! one is there: at a steady rate nothing waits.

use aqueduct_common::{MediaTime, Timescale};

/// The grid's numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Rhythm {
    /// Ticks from one slot to the next.
    pub(super) frame: u32,
    /// Ticks a second.
    pub(super) timescale: Timescale,
    /// Slots from one IDR to the next.
    pub(super) gop: u32,
}

/// One slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Slot {
    /// Decode and presentation time, in ticks of the grid.
    pub(super) dts: i64,
    /// An IDR in every rung.
    pub(super) sync: bool,
}

/// What one picture fills.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Filled {
    /// Slots that repeat the picture before.
    pub(super) before: Vec<Slot>,
    /// Slots that show this one; none where it is dropped.
    pub(super) with: Vec<Slot>,
    /// Slots were left out: nothing came for longer than a second, without a word that the timeline breaks.
    pub(super) skipped: bool,
}

/// The grid's state.
#[derive(Debug)]
pub(super) struct Grid {
    rhythm: Rhythm,
    /// Scale of the pictures' times.
    source: Timescale,
    anchor: Option<i64>,
    /// The next slot's number since the anchor.
    next: i64,
    /// Where the last slot ends; no later one begins before it.
    end: i64,
}

impl Grid {
    /// A grid that begins at the first picture, or with its slot 0 exactly at `resume` (ticks of the source).
    pub(super) fn new(rhythm: Rhythm, source: Timescale, resume: Option<i64>) -> Self {
        let mut grid = Self { rhythm, source, anchor: None, next: 0, end: i64::MIN };
        grid.anchor = resume.map(|ticks| grid.rescale(ticks));
        grid
    }

    /// The timeline breaks: a new grid begins at the next picture.
    pub(super) const fn restart(&mut self) {
        self.anchor = None;
        self.next = 0;
    }

    /// Other source tracks, on another scale perhaps; a new grid begins at the next picture.
    pub(super) const fn replace_source(&mut self, source: Timescale) {
        self.source = source;
        self.restart();
    }

    /// A picture with this time is there, or a repeat stands in for it.
    pub(super) fn fill(&mut self, pts: i64) -> Filled {
        let mut at = self.rescale(pts);
        let anchor = match self.anchor {
            Some(anchor) => anchor,
            None => {
                at = at.max(self.end);
                *self.anchor.insert(at)
            }
        };
        let frame = i64::from(self.rhythm.frame.max(1));
        let slot = (at - anchor + frame / 2).div_euclid(frame);
        if slot < self.next {
            return Filled::default();
        }
        let missing = slot - self.next;
        if missing * frame > i64::from(self.rhythm.timescale.hz()) {
            return self.skip_to(slot);
        }
        // Of the slots between two pictures, the first half is nearer to the one before.
        let before = if self.next == 0 { missing } else { missing / 2 };
        let before = (0..before).map(|_| self.take()).collect();
        let with = (self.next..=slot).map(|_| self.take()).collect();
        Filled { before, with, skipped: false }
    }

    /// Leaves slots out up to the next IDR. Nothing is shown until a picture for it comes.
    fn skip_to(&mut self, slot: i64) -> Filled {
        let gop = i64::from(self.rhythm.gop.max(1));
        self.next = slot.div_euclid(gop) * gop + if slot % gop == 0 { 0 } else { gop };
        let with = if self.next == slot { vec![self.take()] } else { Vec::new() };
        Filled { before: Vec::new(), with, skipped: true }
    }

    fn take(&mut self) -> Slot {
        let frame = i64::from(self.rhythm.frame.max(1));
        let dts = self.anchor.unwrap_or_default() + self.next * frame;
        let sync = self.next % i64::from(self.rhythm.gop.max(1)) == 0;
        self.next += 1;
        self.end = dts + frame;
        Slot { dts, sync }
    }

    fn rescale(&self, ticks: i64) -> i64 {
        MediaTime::new(ticks, self.source).rescale(self.rhythm.timescale).ticks
    }
}

#[cfg(test)]
mod tests;
