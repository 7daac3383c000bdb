//! What all streams together may take of the machine's CPUs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// How much of a new reading goes into the running mean, in eighths.
const NEW_PARTS: u64 = 2;
/// How much of a second's pace goes into the running mean.
const PACE_PART: f64 = 1.0 / 16.0;
/// The widest that a pace is believed: pictures, CPUs and GPUs differ, but not more than this.
const PACE_LEAST: f64 = 0.05;
const PACE_MOST: f64 = 4.0;

/// Thousandths of a CPU, shared by all streams of this process.
#[derive(Clone, Debug)]
pub struct Budget {
    all: u32,
    most_streams: Option<u32>,
    claims: Arc<Mutex<Claims>>,
}

#[derive(Debug)]
struct Claims {
    next: u64,
    by_stream: BTreeMap<u64, u32>,
    pace: f64,
}

impl Default for Claims {
    fn default() -> Self {
        Self { next: 0, by_stream: BTreeMap::new(), pace: 1.0 }
    }
}

/// One stream's share. It is given back when this is dropped.
#[derive(Debug)]
pub struct Claim {
    id: u64,
    budget: Budget,
}

impl Budget {
    /// `share` (0 to 1) of so many CPUs, for at most so many streams.
    pub fn new(cpus: usize, share: f64, most_streams: Option<u32>) -> Self {
        let all = (cpus as f64 * 1_000.0 * share).max(1.0) as u32;
        Self { all, most_streams, claims: Arc::default() }
    }

    /// A share for a stream that takes nothing yet.
    pub fn claim(&self) -> Claim {
        let mut claims = self.lock();
        claims.next += 1;
        let id = claims.next;
        claims.by_stream.insert(id, 0);
        Claim { id, budget: self.clone() }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Claims> {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Claim {
    /// Thousandths of a CPU that other streams leave.
    pub fn free(&self) -> u32 {
        let claims = self.budget.lock();
        let others = claims.by_stream.iter().filter(|(id, _)| **id != self.id);
        self.budget.all.saturating_sub(others.map(|(_, claim)| *claim).sum())
    }

    /// As many other streams take something as may at once.
    pub fn is_full(&self) -> bool {
        let claims = self.budget.lock();
        let others = claims.by_stream.iter().filter(|(id, claim)| **id != self.id && **claim > 0).count();
        self.budget.most_streams.is_some_and(|most| others >= most as usize)
    }

    /// What the stream is expected to take, before anything is measured.
    pub fn expect(&self, thousandths: u32) {
        self.budget.lock().by_stream.insert(self.id, thousandths);
    }

    /// What the stream has taken in the last second.
    pub fn measured(&self, thousandths: u32) {
        let mut claims = self.budget.lock();
        let claim = claims.by_stream.entry(self.id).or_default();
        let mean = (u64::from(*claim) * (8 - NEW_PARTS) + u64::from(thousandths) * NEW_PARTS) / 8;
        *claim = u32::try_from(mean).unwrap_or(u32::MAX);
    }

    /// What streams on this machine take over what was estimated, as it was measured so far; 1 before anything was.
    pub fn pace(&self) -> f64 {
        self.budget.lock().pace
    }

    /// A stream has taken this many times what was estimated of it, in a second of steady work.
    pub fn learn(&self, pace: f64) {
        let mut claims = self.budget.lock();
        claims.pace += (pace.clamp(PACE_LEAST, PACE_MOST) - claims.pace) * PACE_PART;
    }

    /// Thousandths of a CPU that all streams may take.
    pub const fn all(&self) -> u32 {
        self.budget.all
    }

    /// What all streams take of what they may, 1 being all of it; and whether none takes more than this one.
    pub fn load(&self) -> (f64, bool) {
        let claims = self.budget.lock();
        let all: u32 = claims.by_stream.values().sum();
        let own = claims.by_stream.get(&self.id).copied().unwrap_or(0);
        let costliest = claims.by_stream.values().all(|claim| *claim <= own);
        (f64::from(all) / f64::from(self.budget.all), costliest)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.budget.lock().by_stream.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_share_what_there_is_and_give_it_back() {
        let budget = Budget::new(2, 0.85, None);
        let (one, two) = (budget.claim(), budget.claim());
        assert_eq!(one.free(), 1_700);
        one.expect(1_000);
        assert_eq!((one.free(), two.free()), (1_700, 700));
        two.expect(900);
        let (load, costliest) = two.load();
        assert!(load > 1.1 && !costliest && one.load().1);
        drop(one);
        assert_eq!(two.free(), 1_700);
        assert!(two.load().1);
    }

    #[test]
    fn what_is_measured_replaces_what_was_expected_bit_by_bit() {
        let claim = Budget::new(1, 1.0, None).claim();
        claim.expect(1_000);
        (0..40).for_each(|_| claim.measured(200));
        assert!(claim.load().0 < 0.21);
    }

    #[test]
    fn all_streams_learn_from_what_each_was_seen_to_take() {
        let budget = Budget::new(2, 1.0, None);
        let (one, two) = (budget.claim(), budget.claim());
        assert_eq!(two.pace(), 1.0);
        (0..100).for_each(|_| one.learn(0.5));
        assert!((two.pace() - 0.5).abs() < 0.01, "{}", two.pace());
        (0..200).for_each(|_| two.learn(f64::INFINITY));
        assert!(one.pace() <= 4.0);
    }

    #[test]
    fn no_more_streams_than_may_be() {
        let budget = Budget::new(8, 1.0, Some(1));
        let (one, two) = (budget.claim(), budget.claim());
        one.expect(10);
        assert!(two.is_full() && !one.is_full());
        drop(one);
        assert!(!two.is_full());
    }
}
