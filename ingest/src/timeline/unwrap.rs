//! Unrolls the wire's 31- or 32-bit milliseconds (RTMP-37, RTMP-38, TL-6).

/// Values this close below a wrap are negative when they come first: the encoder subtracted a later track's start.
const NEGATIVE_START: u32 = 10_000;
/// A difference beyond this is tried again in 31-bit arithmetic.
const HALF: i32 = 1 << 30;
/// The 31-bit ring of encoders that write FLV's extended byte with its top bit cleared.
const RING_31: u32 = 1 << 31;

/// Beyond 34 years the count starts afresh, which is a jump: no stamp can make the arithmetic overflow.
const FARTHEST: i64 = 1 << 40;

/// The unroller of one publisher's session; all its tracks share the clock.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Unwrap {
    last: Option<(u32, i64)>,
}

/// A stamp without a wrap.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Unrolled {
    /// Milliseconds; may be negative.
    pub(super) millis: i64,
    /// The ring's end lies between this stamp and the one before, in the direction of time.
    pub(super) wrapped: bool,
}

impl Unwrap {
    /// Unrolls the next stamp, relative to the one before.
    pub(super) fn extend(&mut self, stamp: u32) -> Unrolled {
        let unrolled = match self.last {
            None => Unrolled { millis: first(stamp), wrapped: false },
            Some((last, millis)) => {
                let step = difference(stamp, last);
                let millis = millis + i64::from(step);
                let millis = if millis.abs() > FARTHEST { first(stamp) } else { millis };
                Unrolled { millis, wrapped: step > 0 && stamp < last }
            }
        };
        self.last = Some((stamp, unrolled.millis));
        unrolled
    }
}

fn first(stamp: u32) -> i64 {
    for ring in [RING_31, 0] {
        let below = ring.wrapping_sub(stamp);
        if (1..=NEGATIVE_START).contains(&below) {
            return -i64::from(below);
        }
    }
    i64::from(stamp)
}

/// Signed modular difference; of the two rings the one that gives the smaller step where the usual one is huge.
const fn difference(new: u32, last: u32) -> i32 {
    let wide = new.wrapping_sub(last) as i32;
    if wide.unsigned_abs() <= HALF.unsigned_abs() {
        return wide;
    }
    // Shifting up by one and back keeps 31 bits and extends their sign.
    let narrow = (new.wrapping_sub(last) << 1) as i32 >> 1;
    if narrow.unsigned_abs() < wide.unsigned_abs() { narrow } else { wide }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn unroll(stamps: &[u32]) -> Vec<i64> {
        let mut unwrap = Unwrap::default();
        stamps.iter().map(|stamp| unwrap.extend(*stamp).millis).collect()
    }

    #[test]
    fn both_rings_unroll() {
        assert_eq!(unroll(&[0x7FFF_FFDF, 0, 33]), [-33, 0, 33]);
        let far = 0x7000_0000;
        assert_eq!(unroll(&[far, 0x7FFF_FFF0, 0x0000_0011]), [i64::from(far), 0x7FFF_FFF0, 0x8000_0011]);
        assert_eq!(unroll(&[0xF000_0000, 0xFFFF_FFF0, 0x11]), [0xF000_0000, 0xFFFF_FFF0, 0x1_0000_0011]);
    }

    #[test]
    fn tracks_interleave_over_a_wrap() {
        let mut unwrap = Unwrap::default();
        let seen: Vec<_> =
            [0x7000_0000, 0x7FFF_FFFE, 5, 0x7FFF_FFFF, 26].map(|stamp| unwrap.extend(stamp)).into();
        assert_eq!(seen.iter().map(|s| s.millis - 0x7FFF_FFFE).skip(1).collect::<Vec<_>>(), [0, 7, 1, 28]);
        assert_eq!(seen.iter().filter(|s| s.wrapped).count(), 2);
    }

    #[test]
    fn first_stamps_just_below_a_wrap_are_negative() {
        assert_eq!(unroll(&[0x7FFF_FFF5, 0, 12]), [-11, 0, 12]);
        assert_eq!(unroll(&[0xFFFF_FFF5, 0, 12]), [-11, 0, 12]);
        assert_eq!(unroll(&[0, 0xFFFF_FFF3, 20]), [0, -13, 20]);
        assert_eq!(unroll(&[0x7FFF_D8EF])[0], 0x7FFF_D8EF);
    }

    #[test]
    fn endless_jumps_do_not_overflow() {
        let mut unwrap = Unwrap::default();
        let farthest = (0..5_000u32).map(|n| unwrap.extend(n.wrapping_mul(1 << 30)).millis.abs()).max();
        assert!(farthest <= Some(FARTHEST));
    }

    proptest! {
        /// RTMP-37: whatever the ring, the truth comes back up to a constant.
        #[test]
        fn any_walk_comes_back(start in 0i64..1 << 33, ring in prop_oneof![Just(1i64 << 31), Just(1i64 << 32)],
                               steps in proptest::collection::vec(-2_000i64..600_000_000, 1..40)) {
            let mut unwrap = Unwrap::default();
            let mut truth = start;
            let origin = truth - unwrap.extend(truth.rem_euclid(ring) as u32).millis;
            for step in steps {
                truth += step;
                prop_assert_eq!(unwrap.extend(truth.rem_euclid(ring) as u32).millis + origin, truth);
            }
        }
    }
}
