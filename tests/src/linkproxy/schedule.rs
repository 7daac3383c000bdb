//! When, and whether, something that enters the link comes out of it: pure.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::random::Random;

/// How a link behaves, in each direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Shape {
    /// Added to everything.
    pub delay: Duration,
    /// Up to this is added besides, anew for each piece.
    pub jitter: Duration,
    /// Datagrams lost, in millionths.
    pub loss_millionths: u32,
    /// Bytes a second, of all connections together; `None` for no limit.
    pub rate: Option<u64>,
    /// Where randomness begins.
    pub seed: u64,
}

/// The wire of one direction: all connections of a link share its rate.
#[derive(Clone, Debug, Default)]
pub struct Line {
    /// When the last byte that was let in has passed.
    free: Arc<Mutex<Duration>>,
}

/// What enters one direction of a link by one connection.
#[derive(Clone, Debug)]
pub struct Schedule {
    shape: Shape,
    random: Random,
    /// Nothing overtakes what came before, on TCP.
    ordered: bool,
    newest: Duration,
    line: Line,
}

impl Line {
    /// When so many bytes have passed that enter at `now`, at `rate` bytes a second.
    fn pass(&self, now: Duration, bytes: usize, rate: u64) -> Duration {
        let takes = Duration::from_nanos((bytes as u64).saturating_mul(1_000_000_000) / rate);
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        *free = (*free).max(now) + takes;
        *free
    }
}

impl Schedule {
    /// A direction in which nothing has passed yet; `number` tells directions and connections of one link apart.
    pub fn new(shape: Shape, line: Line, ordered: bool, number: u64) -> Self {
        let random = Random::new(shape.seed ^ number.wrapping_mul(0x1_0000_0001));
        Self { shape, random, ordered, newest: Duration::ZERO, line }
    }

    /// Behaves in another way for what enters from now on; randomness goes on.
    pub const fn reshape(&mut self, shape: Shape) {
        self.shape = shape;
    }

    /// Its rate is limited.
    pub fn is_limited(&self) -> bool {
        self.shape.rate.is_some_and(|rate| rate > 0)
    }

    /// When `bytes` that enter at `now` come out; `None` when they are lost.
    pub fn pass(&mut self, now: Duration, bytes: usize) -> Option<Duration> {
        if !self.ordered && self.random.chance(self.shape.loss_millionths) {
            return None;
        }
        let passed = match self.shape.rate.filter(|_| self.is_limited()) {
            Some(rate) => self.line.pass(now, bytes, rate),
            None => now,
        };
        let jitter = self.random.below(self.shape.jitter.as_nanos() as u64 + 1);
        let out = passed + self.shape.delay + Duration::from_nanos(jitter);
        if !self.ordered {
            return Some(out);
        }
        self.newest = self.newest.max(out);
        Some(self.newest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_rate_spaces_bytes_out() {
        let shape = Shape { rate: Some(1_000), ..Shape::default() };
        let mut schedule = Schedule::new(shape, Line::default(), true, 0);
        assert_eq!(schedule.pass(Duration::ZERO, 100), Some(100 * MS));
        assert_eq!(schedule.pass(Duration::ZERO, 100), Some(200 * MS));
        assert_eq!(schedule.pass(Duration::from_secs(5), 100), Some(5_100 * MS));
    }

    #[test]
    fn connections_share_a_rate() {
        let (shape, line) = (Shape { rate: Some(1_000), ..Shape::default() }, Line::default());
        let mut one = Schedule::new(shape, line.clone(), true, 0);
        let mut other = Schedule::new(shape, line, true, 1);
        assert_eq!(one.pass(Duration::ZERO, 100), Some(100 * MS));
        assert_eq!(other.pass(Duration::ZERO, 100), Some(200 * MS));
        assert_eq!(one.pass(Duration::ZERO, 100), Some(300 * MS));
    }

    #[test]
    fn about_as_many_are_lost_as_was_asked() {
        let shape = Shape { loss_millionths: 100_000, seed: 3, ..Shape::default() };
        let mut schedule = Schedule::new(shape, Line::default(), false, 0);
        let lost = (0..10_000).filter(|_| schedule.pass(Duration::ZERO, 1).is_none()).count();
        assert!((900..1_100).contains(&lost), "{lost}");
    }

    #[test]
    fn a_shape_can_change_under_way() {
        let mut schedule = Schedule::new(Shape::default(), Line::default(), false, 0);
        assert_eq!(schedule.pass(Duration::ZERO, 10), Some(Duration::ZERO));
        schedule.reshape(Shape { delay: 30 * MS, ..Shape::default() });
        assert_eq!(schedule.pass(Duration::ZERO, 10), Some(30 * MS));
    }

    proptest! {
        #[test]
        fn order_and_bounds_hold(gaps in proptest::collection::vec(0u64..20, 1..100), seed: u64) {
            let shape = Shape { delay: 10 * MS, jitter: 50 * MS, seed, ..Shape::default() };
            let mut schedule = Schedule::new(shape, Line::default(), true, 1);
            let (mut now, mut last) = (Duration::ZERO, Duration::ZERO);
            for gap in gaps {
                now += MS * gap as u32;
                let out = schedule.pass(now, 10).unwrap();
                prop_assert!(out >= now + 10 * MS && out <= now + 60 * MS || out == last);
                prop_assert!(out >= last);
                last = out;
            }
        }
    }
}
