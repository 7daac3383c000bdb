//! What is known of a publisher's frames before its part begins, since it stood by.

use aqueduct_common::TrackKind;

use super::flicks::{self, MILLI, SECOND};
use super::grid;
use super::unwrap::Unwrap;
use crate::demux::CodedFrame;

/// What a probe would find out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Known {
    kinds: [bool; 2],
    /// Frame duration in flicks, where the pictures lie on a grid.
    pub(super) spacing: Option<i64>,
    /// Widest spacing of pictures, in flicks.
    pub(super) widest: i64,
}

impl Known {
    /// A publisher of video, audio or both, whose pictures have these stamps (flicks, in decode order).
    pub fn of(kinds: [bool; 2], stamps: impl Iterator<Item = i64>) -> Self {
        let stamps: Vec<i64> = stamps.collect();
        let widest = stamps.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0).clamp(0, SECOND);
        Self { kinds, spacing: grid::fit(&stamps).map(|fit| fit.spacing), widest }
    }

    /// It sends this kind.
    pub(super) const fn has(&self, kind: TrackKind) -> bool {
        match kind {
            TrackKind::Video => self.kinds[0],
            TrackKind::Audio => self.kinds[1],
        }
    }
}

/// One track's stamps on an axis without wraps.
#[derive(Debug, Default)]
pub struct StampLine {
    unwrap: Unwrap,
    last: Option<i64>,
}

impl StampLine {
    /// The frame's time in flicks, and whether stamps jumped before it.
    pub fn place(&mut self, frame: &CodedFrame) -> (i64, bool) {
        let millis = self.unwrap.extend(frame.timestamp).millis;
        let time = millis * MILLI + flicks::of_nanos(i64::from(frame.nanos));
        let jumped = self.last.is_some_and(|last| !(0..=SECOND).contains(&(time - last)));
        self.last = Some(time);
        (time, jumped)
    }
}
