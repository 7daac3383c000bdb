//! The wall clock of the output: what EXT-X-PROGRAM-DATE-TIME is made from (TL-33, TL-34).

use aqueduct_common::{ClockMap, MediaTime, WallTime};

use super::flicks::{self, SECOND};

/// How often the map is looked at, in flicks of media, and sent if it moved.
const LOOK_EVERY: i64 = 10 * SECOND;
/// Fastest correction: 500 µs a second.
const CORRECTION_PPM: i64 = 500;

/// Follows the earliest arrivals: a frame was captured no later than it came.
#[derive(Debug)]
pub(super) struct WallClock {
    map: Option<Anchor>,
    /// Least (arrival − map) since the last look, in microseconds.
    least: Option<i64>,
    looked: i64,
    unsent: bool,
}

#[derive(Clone, Copy, Debug)]
struct Anchor {
    /// Flicks.
    media: i64,
    wall: WallTime,
}

impl WallClock {
    pub(super) const fn new() -> Self {
        Self { map: None, least: None, looked: 0, unsent: false }
    }

    /// Anchors the map anew: `media` flicks were captured at `wall`.
    pub(super) const fn anchor(&mut self, media: i64, wall: WallTime) {
        self.map = Some(Anchor { media, wall });
        self.least = None;
        self.looked = media;
        self.unsent = true;
    }

    /// Sends the map again after a break, when the picture of `media` flicks had arrived by `received`. Where the map
    /// says that it was captured later than that, it is set right at once: at a break it may step (TL-33).
    pub(super) fn resume(&mut self, media: i64, received: WallTime) {
        if self.behind(media, received).is_some_and(|behind| behind < 0) {
            self.anchor(media, received);
        }
        self.unsent = true;
    }

    /// How much later than the map says the picture of `media` flicks came, in microseconds.
    fn behind(&self, media: i64, received: WallTime) -> Option<i64> {
        self.map.map(|map| received.micros - map.wall.micros - flicks::micros(media - map.media))
    }

    /// Notes that the picture of `media` flicks had arrived by `received`.
    pub(super) fn note(&mut self, media: i64, received: WallTime) {
        let Some(map) = &mut self.map else { return };
        let expected = map.wall.micros + flicks::micros(media - map.media);
        let behind = received.micros - expected;
        self.least = Some(self.least.map_or(behind, |least| least.min(behind)));
        let elapsed = media - self.looked;
        if elapsed < LOOK_EVERY {
            return;
        }
        let limit = flicks::micros(elapsed) * CORRECTION_PPM / 1_000_000;
        let step = self.least.take().unwrap_or(0).clamp(-limit, limit);
        // Anchored afresh, so that the distance from the anchor stays small.
        *map = Anchor { media, wall: WallTime { micros: expected + step } };
        self.looked = media;
        self.unsent |= step != 0;
    }

    /// The map, if it has to be sent.
    pub(super) fn poll(&mut self) -> Option<ClockMap> {
        let map = self.map.filter(|_| std::mem::take(&mut self.unsent))?;
        Some(ClockMap { media: MediaTime::flicks(map.media), wall: map.wall })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: i64 = 1_700_000_000_000_000;

    /// Runs `seconds` of 25 frames a second whose arrivals are late by `late(second)` microseconds.
    fn run(clock: &mut WallClock, seconds: i64, late: impl Fn(i64, i64) -> i64) -> Vec<ClockMap> {
        let mut maps = Vec::new();
        for n in 0..seconds * 25 {
            let wall = START + n * 40_000 + late(n, n / 25);
            clock.note(n * SECOND / 25, WallTime { micros: wall });
            maps.extend(clock.poll());
        }
        maps
    }

    #[test]
    fn jitter_does_not_move_the_map() {
        let mut clock = WallClock::new();
        clock.anchor(0, WallTime { micros: START });
        let maps = run(&mut clock, 120, |n, _| n * 7_919 % 30 * 1_000);
        assert_eq!(maps.len(), 1);
        assert_eq!(maps[0].wall_at(MediaTime::flicks(SECOND)).micros, START + 1_000_000);
    }

    #[test]
    fn drift_is_followed_at_no_more_than_500_ppm_and_every_ten_seconds() {
        for ppm in [-2_000, -100, 100, 2_000] {
            let mut clock = WallClock::new();
            clock.anchor(0, WallTime { micros: START });
            let maps = run(&mut clock, 300, |n, _| n * 40_000 * ppm / 1_000_000);
            assert!(maps.len() >= 25 && maps.len() <= 30, "{} maps", maps.len());
            for pair in maps.windows(2) {
                let step = pair[1].wall.micros - pair[0].wall_at(pair[1].media).micros;
                let spacing = (pair[1].media.ticks - pair[0].media.ticks) / SECOND;
                assert!(spacing >= 10 && step.abs() <= 500 * spacing + 1, "{step} µs in {spacing} s");
            }
            let last = maps.last().unwrap();
            let followed = last.wall.micros - START - flicks::micros(last.media.ticks);
            let drifted = flicks::micros(last.media.ticks) * ppm / 1_000_000;
            if ppm.abs() <= 500 {
                assert!((drifted - followed).abs() < 2_500, "{followed} of {drifted}");
            }
        }
    }
}
