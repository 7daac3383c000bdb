//! Media time and wall time (spec/timeline TL-1, TL-2): integers with a scale, never floating seconds.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

/// Ticks per second of a timeline.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timescale(NonZeroU32);

impl Timescale {
    /// 705 600 000 ticks a second ("flicks"): exact for every usual frame rate, 90 kHz and audio rate (TL-2).
    pub const FLICKS: Self = Self::of(705_600_000);
    /// Milliseconds, RTMP's unit.
    pub const MILLIS: Self = Self::of(1_000);
    /// 90 kHz, the usual video scale (TL-3).
    pub const VIDEO: Self = Self::of(90_000);

    /// A scale known when the program is written; zero does not compile in a constant.
    pub const fn of(hz: u32) -> Self {
        match NonZeroU32::new(hz) {
            Some(hz) => Self(hz),
            None => Self(NonZeroU32::MIN),
        }
    }

    /// A scale read from outside; `None` for zero.
    pub fn new(hz: u32) -> Option<Self> {
        NonZeroU32::new(hz).map(Self)
    }

    /// Ticks per second.
    pub const fn hz(self) -> u32 {
        self.0.get()
    }
}

impl fmt::Debug for Timescale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}Hz", self.hz())
    }
}

/// A point on a media timeline, or a span of it: `ticks / scale` seconds.
///
/// There is no `+` or `-`: two times of unlike scale are added or compared only through [`MediaTime::rescale`]
/// or the checked operations.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct MediaTime {
    /// Ticks since the timeline's origin; may be negative.
    pub ticks: i64,
    /// Ticks per second.
    pub scale: Timescale,
}

impl MediaTime {
    /// `ticks` of `scale`.
    pub const fn new(ticks: i64, scale: Timescale) -> Self {
        Self { ticks, scale }
    }

    /// `ticks` flicks.
    pub const fn flicks(ticks: i64) -> Self {
        Self { ticks, scale: Timescale::FLICKS }
    }

    /// The same instant in `to` ticks, rounded to nearest, ties away from zero (TL-1).
    pub fn rescale(self, to: Timescale) -> Self {
        if self.scale == to {
            return self;
        }
        let product = i128::from(self.ticks) * i128::from(to.hz());
        let from = i128::from(self.scale.hz());
        let half = if product < 0 { -from / 2 } else { from / 2 };
        let ticks = (product + half) / from;
        Self { ticks: ticks.clamp(i64::MIN.into(), i64::MAX.into()) as i64, scale: to }
    }

    /// Flicks of this instant.
    pub fn as_flicks(self) -> i64 {
        self.rescale(Timescale::FLICKS).ticks
    }

    /// Ticks from `earlier` to `self`, or `None` where the scales differ.
    pub fn since(self, earlier: Self) -> Option<i64> {
        (self.scale == earlier.scale).then(|| self.ticks - earlier.ticks)
    }

    /// `self` moved by `ticks` of its own scale.
    #[must_use]
    pub const fn offset(self, ticks: i64) -> Self {
        Self { ticks: self.ticks + ticks, scale: self.scale }
    }

    /// Seconds, for printing only.
    pub fn seconds(self) -> f64 {
        self.ticks as f64 / f64::from(self.scale.hz())
    }

    /// Microseconds, rounded to nearest.
    pub fn micros(self) -> i64 {
        self.rescale(Timescale::of(1_000_000)).ticks
    }

    /// A span of the clock as flicks.
    pub fn from_duration(span: Duration) -> Self {
        let nanos = i64::try_from(span.as_nanos()).unwrap_or(i64::MAX);
        Self::new(nanos, Timescale::of(1_000_000_000)).rescale(Timescale::FLICKS)
    }
}

impl fmt::Debug for MediaTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.6}s({}/{})", self.seconds(), self.ticks, self.scale.hz())
    }
}

/// UTC, in microseconds since 1970. Read by the shells and passed in; no pure module reads a clock.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct WallTime {
    /// Microseconds since 1970-01-01T00:00:00Z.
    pub micros: i64,
}

impl WallTime {
    /// From a clock reading.
    pub fn from_system(time: std::time::SystemTime) -> Self {
        let micros = match time.duration_since(std::time::UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_micros()).unwrap_or(i64::MAX),
            Err(before) => -i64::try_from(before.duration().as_micros()).unwrap_or(i64::MAX),
        };
        Self { micros }
    }

    /// `self` moved by `micros`.
    #[must_use]
    pub const fn offset(self, micros: i64) -> Self {
        Self { micros: self.micros.saturating_add(micros) }
    }

    /// `2026-11-20T10:20:00.250Z`: what EXT-X-PROGRAM-DATE-TIME prints (TL-34).
    pub fn rfc3339_millis(self) -> String {
        let millis = self.micros.div_euclid(1_000);
        let (days, ms_of_day) = (millis.div_euclid(86_400_000), millis.rem_euclid(86_400_000));
        let (year, month, day) = civil_from_days(days);
        let (h, m) = (ms_of_day / 3_600_000, ms_of_day / 60_000 % 60);
        let (s, ms) = (ms_of_day / 1_000 % 60, ms_of_day % 1_000);
        format!("{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}.{ms:03}Z")
    }

    /// The 64-bit NTP time of `prft` (CMAF-14): seconds since 1900 in the high half, a fraction in the low.
    pub fn ntp(self) -> u64 {
        const FROM_1900: i64 = 2_208_988_800;
        let seconds = self.micros.div_euclid(1_000_000) + FROM_1900;
        let fraction = (self.micros.rem_euclid(1_000_000) as u64) * (1 << 32) / 1_000_000;
        ((seconds as u64) << 32) | fraction
    }
}

/// Year, month and day of a day count since 1970, in the proleptic Gregorian calendar.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    // Counted from 0000-03-01, so that the leap day ends a year; 146 097 days make 400 years.
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rescale_rounds_to_nearest_with_ties_away_from_zero() {
        let half = |ticks| MediaTime::new(ticks, Timescale::of(2)).rescale(Timescale::of(1)).ticks;
        assert_eq!([half(1), half(-1), half(3), half(-3), half(2)], [1, -1, 2, -2, 1]);
    }

    #[test]
    fn flicks_are_exact_for_the_rates_of_tl_2() {
        for hz in [
            24, 25, 30, 48, 50, 60, 90, 100, 120, 8_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000,
            90_000, 96_000,
        ] {
            assert_eq!(Timescale::FLICKS.hz() % hz, 0, "{hz}");
        }
        for n in [24u64, 30, 60] {
            assert_eq!(u64::from(Timescale::FLICKS.hz()) * 1_001 % (n * 1_000), 0, "{n}000/1001");
        }
    }

    #[test]
    fn wall_time_prints_as_program_date_time_and_ntp() {
        // CMAF-14's worked example.
        let time = WallTime { micros: 1_763_634_000_250_000 };
        assert_eq!(time.rfc3339_millis(), "2025-11-20T10:20:00.250Z");
        assert_eq!(time.ntp(), 0xECC9_69D0_4000_0000);
        assert_eq!(WallTime { micros: 951_782_400_000_000 }.rfc3339_millis(), "2000-02-29T00:00:00.000Z");
        assert_eq!(WallTime { micros: -1 }.rfc3339_millis(), "1969-12-31T23:59:59.999Z");
    }

    proptest! {
        #[test]
        fn rescale_to_flicks_and_back_is_lossless_for_exact_rates(ticks in -1i64 << 40..1i64 << 40) {
            for hz in [1_000, 44_100, 48_000, 90_000, 24_000] {
                let time = MediaTime::new(ticks, Timescale::of(hz));
                prop_assert_eq!(time.rescale(Timescale::FLICKS).rescale(time.scale), time);
            }
        }
    }
}
