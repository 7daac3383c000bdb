//! How often one client may do something: a bucket of tokens that fills once a second (EDGE-36).

use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

/// Tokens for two seconds at `rate`; taking one is a single atomic operation.
#[derive(Debug)]
pub(crate) struct Allowance {
    rate: i64,
    left: AtomicI64,
}

impl Allowance {
    /// A full bucket: twice `rate` may come at once, then `rate` each second.
    pub(crate) fn new(rate: u32) -> Self {
        let rate = i64::from(rate);
        Self { rate, left: AtomicI64::new(2 * rate) }
    }

    /// Takes a token, if there is one. One that asks in vain owes nothing.
    pub(crate) fn take(&self) -> bool {
        if self.left.fetch_sub(1, Relaxed) > 0 {
            return true;
        }
        self.left.fetch_add(1, Relaxed);
        false
    }

    /// What was taken was not used after all.
    pub(crate) fn give_back(&self) {
        self.left.fetch_add(1, Relaxed);
    }

    /// A second has passed.
    pub(crate) fn refill(&self) {
        let add = self.rate.min(2 * self.rate - self.left.load(Relaxed));
        self.left.fetch_add(add, Relaxed);
    }

    /// Nothing was taken of late.
    pub(crate) fn is_full(&self) -> bool {
        self.left.load(Relaxed) >= 2 * self.rate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twice_the_rate_at_once_then_the_rate() {
        let allowance = Allowance::new(3);
        let taken = || (0..100).filter(|_| allowance.take()).count();
        assert_eq!(taken(), 6);
        allowance.refill();
        assert_eq!((taken(), allowance.is_full()), (3, false));
        (0..5).for_each(|_| allowance.refill());
        assert!(allowance.is_full());
        assert_eq!(taken(), 6, "what is not used is not saved for longer");
    }
}
