//! One stream's checkpoint: its numbers, and how far they move before they are used again.

use std::time::Duration;

use aqueduct_common::{TrackId, WallTime};
use serde::{Deserialize, Serialize};

/// Parts that may have been published since the newest checkpoint: more than a segment's, many times.
const PARTS_AHEAD: u64 = 1_000;

/// Segments that may have been published since the newest checkpoint, beside one for each second.
pub(super) const SEGMENTS_AHEAD: u64 = 2;

/// How far a stream has come. Numbers are those that come next.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The epoch's number.
    pub epoch: u64,
    /// Media sequence number.
    pub next_msn: u64,
    /// Part number, the highest of all renditions.
    pub next_part: u64,
    /// Discontinuities so far.
    pub era: u64,
    /// EXT-X-TARGETDURATION, in seconds.
    pub target_duration: u32,
    /// PART-TARGET, in milliseconds.
    pub part_target: u32,
    /// When it was taken, in microseconds since 1970.
    pub wall_micros: i64,
    /// Date of what comes next, in microseconds since 1970.
    #[serde(default)]
    pub next_micros: i64,
    /// The renditions' directories.
    #[serde(default)]
    pub directories: Directories,
    /// Of one that is resumed, the first number whose segment nobody has any more.
    #[serde(skip)]
    pub missed_msn: Option<u64>,
}

/// Which directories an epoch has given to its renditions: one whose list has ended does not come back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Directories {
    /// How many were used, for video and for audio.
    pub used: [u32; 2],
    /// That of the first rendition on air, if there is one.
    pub on_air: [Option<u32>; 2],
    /// Those of the others on air, such as the rungs of a ladder.
    #[serde(default, skip_serializing_if = "are_none")]
    pub further: [[Option<Kept>; FURTHER]; 2],
}

/// Renditions of a kind whose directories are kept, beside the first: more than anybody makes. What is beyond begins anew.
const FURTHER: usize = 8;

/// The directory of a track's rendition.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// The track's number.
    pub track: u8,
    /// The directory's.
    pub directory: u32,
}

fn are_none(further: &[[Option<Kept>; FURTHER]; 2]) -> bool {
    further.iter().flatten().all(Option::is_none)
}

impl Directories {
    /// The directory in which this track's rendition goes on: its own, or that of the first of its kind.
    pub(crate) fn take(&mut self, track: TrackId, kind: usize) -> Option<u32> {
        let is_own = |kept: &&mut Option<Kept>| kept.is_some_and(|kept| kept.track == track.0);
        match self.further[kind].iter_mut().find(is_own) {
            Some(own) => own.take().map(|kept| kept.directory),
            None => self.on_air[kind].take(),
        }
    }

    /// Itself with the directories that are on air now; what has not gone on yet still is.
    pub(crate) fn with(mut self, kind: usize, mut on_air: impl Iterator<Item = Kept>) -> Self {
        self.on_air[kind] = self.on_air[kind].or_else(|| on_air.next().map(|kept| kept.directory));
        let waiting = self.further[kind].into_iter().flatten();
        let mut all = on_air.chain(waiting);
        self.further[kind] = std::array::from_fn(|_| all.next());
        self
    }

    fn are_sane(&self) -> bool {
        let further = self.further.iter().flatten().flatten().map(|kept| kept.directory);
        let mut all = self.used.into_iter().chain(self.on_air.into_iter().flatten()).chain(further);
        all.all(|directory| directory < u32::MAX / 2)
    }
}

impl Checkpoint {
    /// Its numbers leave room for those that come. A file or another node may say anything.
    pub(super) fn is_sane(&self) -> bool {
        const MOST: u64 = 1 << 53;
        let numbers = [self.epoch, self.next_msn, self.next_part, self.era];
        numbers.iter().all(|number| *number < MOST)
            && (1..=3_600).contains(&self.target_duration)
            && (1..=60_000).contains(&self.part_target)
            && self.directories.are_sane()
    }

    /// Date of what comes next. One that an older version has written does not say.
    pub(crate) fn next_date(&self) -> WallTime {
        WallTime { micros: if self.next_micros > 0 { self.next_micros } else { self.wall_micros } }
    }

    /// Itself, moved beyond every number that may have been used since; `None` when it is too old.
    pub(super) fn resume(mut self, now: WallTime, within: Duration) -> Option<Self> {
        let elapsed = now.micros.checked_sub(self.wall_micros)?;
        if elapsed < 0 || i128::from(elapsed) > i128::try_from(within.as_micros()).ok()? {
            return None;
        }
        self.missed_msn = Some(self.next_msn);
        self.next_msn = self.next_msn.saturating_add(SEGMENTS_AHEAD + elapsed.cast_unsigned() / 1_000_000);
        self.next_part = self.next_part.saturating_add(PARTS_AHEAD);
        // The newest discontinuity may have come after it was taken; the next one must be another.
        self.era = self.era.saturating_add(1);
        Some(self)
    }
}

/// The later of two. Of one epoch that is the one that has come further.
pub(super) fn newer(one: Option<Checkpoint>, other: Option<Checkpoint>) -> Option<Checkpoint> {
    match (one, other) {
        (Some(one), Some(other)) => {
            let place = |at: &Checkpoint| (at.epoch, at.next_msn);
            Some(if place(&other) >= place(&one) { other } else { one })
        }
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::checkpoint) const NOW: WallTime = WallTime { micros: 1_763_634_000_000_000 };
    pub(in crate::checkpoint) const WITHIN: Duration = Duration::from_secs(30);

    pub(in crate::checkpoint) fn checkpoint(epoch: u64) -> Checkpoint {
        Checkpoint {
            epoch,
            next_msn: 100,
            next_part: 500,
            era: 3,
            target_duration: 1,
            part_target: 214,
            wall_micros: NOW.micros,
            next_micros: 0,
            directories: Directories::default(),
            missed_msn: None,
        }
    }

    #[test]
    fn a_checkpoint_of_an_earlier_version_reads() {
        let text = r#"{"epoch":9,"next_msn":100,"next_part":500,"era":3,"target_duration":1,"part_target":214,
            "wall_micros":1763634000000000}"#;
        assert_eq!(serde_json::from_str::<Checkpoint>(text).unwrap(), checkpoint(9));
    }

    #[test]
    fn numbers_move_beyond_all_that_may_have_been_used() {
        let resumed = checkpoint(9).resume(NOW.offset(7_900_000), WITHIN).unwrap();
        assert_eq!((resumed.next_msn, resumed.next_part, resumed.era), (109, 1_500, 4));
        assert_eq!(checkpoint(9).resume(NOW.offset(30_000_001), WITHIN), None, "too old");
        assert_eq!(checkpoint(9).resume(NOW.offset(-1), WITHIN), None, "from the future");
    }
}
