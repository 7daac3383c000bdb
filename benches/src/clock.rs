//! The one place that reads the clock.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Now, on the monotonic clock that every timestamp of a measurement comes from.
#[expect(clippy::disallowed_methods, reason = "a measurement reads the clock; it does so here only")]
pub fn now() -> Instant {
    Instant::now()
}

/// Seconds since 1970, for saying when a figure was taken.
#[expect(clippy::disallowed_methods, reason = "a measurement reads the clock; it does so here only")]
pub fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
