//! What a transport tells of itself while its source is taken.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The round trip to whoever sends, shared between the transport and who takes the source.
#[derive(Debug, Default)]
pub(crate) struct Link {
    /// In microseconds; 0 where unknown.
    rtt: AtomicU64,
}

impl Link {
    pub(crate) fn set_rtt(&self, rtt: Duration) {
        let micros = u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX);
        self.rtt.store(micros.max(1), Ordering::Relaxed);
    }

    pub(crate) fn rtt(&self) -> Option<Duration> {
        match self.rtt.load(Ordering::Relaxed) {
            0 => None,
            micros => Some(Duration::from_micros(micros)),
        }
    }
}
