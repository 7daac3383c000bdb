//! Spans in flicks, the unit in which the timeline reckons (TL-2).

use aqueduct_common::{MediaTime, Timescale};

/// One second.
pub(super) const SECOND: i64 = 705_600_000;
/// One millisecond.
pub(super) const MILLI: i64 = SECOND / 1_000;

/// Flicks of a span of nanoseconds, rounded to nearest.
pub(super) const fn of_nanos(nanos: i64) -> i64 {
    // 0.7056 flicks a nanosecond; exact in i64 for spans of weeks.
    (nanos / 10_000) * 7_056 + (nanos % 10_000 * 7_056 + 5_000).div_euclid(10_000)
}

/// Microseconds of a span in flicks, towards zero.
pub(super) const fn micros(span: i64) -> i64 {
    span / 3_528 * 5 + span % 3_528 * 5 / 3_528
}

/// Ticks of `scale` at this instant, rounded to nearest (TL-1).
pub(super) fn ticks(time: i64, scale: Timescale) -> i64 {
    let hz = i64::from(scale.hz());
    if SECOND % hz == 0 {
        // The usual scales divide the flick, so that one division is exact enough.
        let per_tick = SECOND / hz;
        return if time < 0 { (time - per_tick / 2) / per_tick } else { (time + per_tick / 2) / per_tick };
    }
    MediaTime::flicks(time).rescale(scale).ticks
}

/// The instant of a tick count.
pub(super) fn of_ticks(ticks: i64, scale: Timescale) -> i64 {
    MediaTime::new(ticks, scale).as_flicks()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn spans_convert() {
        assert_eq!(
            [of_nanos(1_000_000_000), of_nanos(1_000_000), of_nanos(-1_000_000)],
            [SECOND, MILLI, -MILLI]
        );
        assert_eq!([micros(SECOND), micros(-MILLI), micros(3_528)], [1_000_000, -1_000, 5]);
    }

    proptest! {
        #[test]
        fn ticks_round_as_the_common_time_does(time in -1i64 << 55..1i64 << 55, hz in prop_oneof![
            Just(90_000u32), Just(60_000), Just(24_000), Just(48_000), Just(44_100), Just(11_025), Just(7_350)]) {
            let scale = Timescale::of(hz);
            prop_assert_eq!(ticks(time, scale), MediaTime::flicks(time).rescale(scale).ticks);
        }
    }
}
