//! Decode times moved so that no part is longer than it may be (LLHLS-2), though frames were lost before its end.
//!
//! A sample that lasts longer than what is left of its part is shortened to fill it exactly. What was taken from it
//! is *carried*: the next sample is decoded that much earlier and lasts that much longer, until the following parts
//! have absorbed it all. Presentation times stay as they are; durations still add up to the decode times.

use aqueduct_common::{MediaTime, Sample, Timescale};

use crate::targets;

/// What is carried at most, in flicks. A sample that would leave more makes its part too long: nothing can fill the
/// parts that its time would need.
pub(crate) const CARRY_MOST: i64 = 1_000 * targets::MILLI;

/// How long the next sample of a part may last, in flicks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    /// What is left of the part.
    pub(crate) left: i64,
    /// What it may be exceeded by without need to shorten: the rounding of the grid.
    pub(crate) rounding: i64,
}

/// One track's carry.
#[derive(Debug, Default)]
pub(crate) struct Retime {
    ticks: i64,
}

impl Retime {
    /// What is carried, in ticks of the track.
    pub(crate) fn carry(&self) -> i64 {
        self.ticks
    }

    /// Moves a sample to where the one before it ended.
    pub(crate) fn catch_up(&mut self, sample: &mut Sample) {
        let carry = std::mem::take(&mut self.ticks);
        sample.dts = sample.dts.offset(-carry);
        sample.duration = u32::try_from(i64::from(sample.duration) + carry).unwrap_or(u32::MAX);
    }

    /// Shortens a sample to the room that it has, and carries the rest.
    pub(crate) fn fit(&mut self, sample: &mut Sample, room: Room) {
        let duration = Self::shortened(sample, room);
        self.ticks = i64::from(sample.duration) - i64::from(duration);
        sample.duration = duration;
    }

    /// What a sample would last, in flicks.
    pub(crate) fn fitting(sample: &Sample, room: Room) -> i64 {
        MediaTime::new(Self::shortened(sample, room).into(), sample.dts.scale).as_flicks()
    }

    fn shortened(sample: &Sample, room: Room) -> u32 {
        let scale = sample.dts.scale;
        let whole = MediaTime::new(sample.duration.into(), scale).as_flicks();
        if whole <= room.left + room.rounding {
            return sample.duration;
        }
        let kept = room.left.max(whole - CARRY_MOST);
        let ticks = i128::from(kept) * i128::from(scale.hz()) / i128::from(Timescale::FLICKS.hz());
        u32::try_from(ticks).unwrap_or(1).clamp(1, sample.duration.max(1))
    }
}

#[cfg(test)]
mod tests {
    use aqueduct_common::{TrackId, WallTime};
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    fn sample(dts: i64, duration: u32) -> Sample {
        Sample {
            track: TrackId::VIDEO,
            dts: MediaTime::new(dts, Timescale::VIDEO),
            pts: MediaTime::new(dts, Timescale::VIDEO),
            duration,
            sync: false,
            disposable: false,
            payload: Bytes::new(),
            received: WallTime::default(),
        }
    }

    fn room(ticks: i64) -> Room {
        Room { left: MediaTime::new(ticks, Timescale::VIDEO).as_flicks(), rounding: 0 }
    }

    #[test]
    fn a_long_sample_fills_its_part_and_the_next_ones_absorb_the_rest() {
        let mut retime = Retime::default();
        let mut long = sample(0, 33_000);
        retime.fit(&mut long, room(12_000));
        assert_eq!((long.duration, retime.carry()), (12_000, 21_000));
        let mut next = sample(33_000, 3_000);
        retime.catch_up(&mut next);
        assert_eq!((next.dts.ticks, next.pts.ticks, next.duration), (12_000, 33_000, 24_000));
        retime.fit(&mut next, room(18_000));
        assert_eq!((next.duration, retime.carry()), (18_000, 6_000));
        let mut last = sample(36_000, 3_000);
        retime.catch_up(&mut last);
        retime.fit(&mut last, room(18_000));
        assert_eq!((last.dts.ticks, last.duration, retime.carry()), (30_000, 9_000, 0));
    }

    #[test]
    fn no_more_than_a_second_is_carried() {
        let mut retime = Retime::default();
        let mut long = sample(0, 200_000);
        retime.fit(&mut long, room(18_000));
        assert_eq!((long.duration, retime.carry()), (110_000, 90_000));
    }

    proptest! {
        /// Durations add up to decode times, and none is nothing.
        #[test]
        fn nothing_is_lost(spans in prop::collection::vec((1_u32..200_000, 0_i64..20_000), 1..60)) {
            let (mut retime, mut given, mut end) = (Retime::default(), 0, 0);
            for (duration, left) in spans {
                let mut sample = sample(given, duration);
                given += i64::from(duration);
                retime.catch_up(&mut sample);
                prop_assert_eq!(sample.dts.ticks, end);
                retime.fit(&mut sample, room(left));
                prop_assert!(sample.duration >= 1 && retime.carry() <= 90_000);
                end = sample.end().ticks;
                prop_assert_eq!(end + retime.carry(), given);
            }
        }
    }
}
