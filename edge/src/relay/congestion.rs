//! How fast a link is filled: CUBIC that never goes below a floor, or BBR.
//!
//! CUBIC alone takes each lost datagram for a full queue, and at one in a hundred cannot carry a ladder at 40 ms. The
//! floor stands for what a link of a known size carries in any case: a burst of all renditions' parts.

use std::any::Any;
use std::sync::Arc;
use std::time::Instant;

use quinn::congestion::{Controller, ControllerFactory, Cubic, CubicConfig};
use quinn_proto::RttEstimator;

/// CUBIC with a floor.
#[derive(Debug, Clone)]
pub struct Floored {
    /// Bytes that may be in flight whatever is lost.
    pub floor: u64,
}

struct Floor {
    inner: Box<dyn Controller>,
    floor: u64,
    /// Everything was lost for a while: the link is gone or much smaller, and the floor does not hold.
    collapsed: bool,
}

impl ControllerFactory for Floored {
    fn build(self: Arc<Self>, now: Instant, mtu: u16) -> Box<dyn Controller> {
        let inner = Box::new(Cubic::new(Arc::new(CubicConfig::default()), now, mtu));
        Box::new(Floor { inner, floor: self.floor, collapsed: false })
    }
}

impl Controller for Floor {
    fn on_sent(&mut self, now: Instant, bytes: u64, last: u64) {
        self.inner.on_sent(now, bytes, last);
    }

    fn on_ack(&mut self, now: Instant, sent: Instant, bytes: u64, app_limited: bool, rtt: &RttEstimator) {
        self.collapsed = false;
        self.inner.on_ack(now, sent, bytes, app_limited, rtt);
    }

    fn on_end_acks(&mut self, now: Instant, in_flight: u64, app_limited: bool, largest: Option<u64>) {
        self.inner.on_end_acks(now, in_flight, app_limited, largest);
    }

    fn on_congestion_event(&mut self, now: Instant, sent: Instant, persistent: bool, lost: u64) {
        self.collapsed |= persistent;
        self.inner.on_congestion_event(now, sent, persistent, lost);
    }

    fn on_mtu_update(&mut self, mtu: u16) {
        self.inner.on_mtu_update(mtu);
    }

    fn window(&self) -> u64 {
        let window = self.inner.window();
        if self.collapsed { window } else { window.max(self.floor) }
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(Self { inner: self.inner.clone_box(), floor: self.floor, collapsed: self.collapsed })
    }

    fn initial_window(&self) -> u64 {
        self.inner.initial_window().max(self.floor)
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a moment to count from")]
mod tests {
    use super::*;

    #[test]
    fn loss_does_not_go_below_the_floor_and_the_end_of_the_link_does() {
        let now = Instant::now();
        let mut floor = Arc::new(Floored { floor: 256 * 1_024 }).build(now, 1_200);
        assert_eq!(floor.window(), 256 * 1_024);
        for _ in 0..20 {
            floor.on_congestion_event(now, now, false, 1_200);
        }
        assert_eq!(floor.window(), 256 * 1_024);
        floor.on_congestion_event(now, now, true, 1_200);
        assert!(floor.window() < 10_000, "{}", floor.window());
    }
}
