//! Whether a connection deserves to stay open. Pure: readings in, verdict out, about once a second.

use std::time::{Duration, Instant};

use crate::config::Limits;
use crate::tally::Shed;

/// What a connection shows at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Reading {
    /// Requests so far.
    pub(crate) requests: u64,
    /// One of them is being answered or held.
    pub(crate) busy: bool,
    /// A body is on its way.
    pub(crate) sending: bool,
    /// Bytes of bodies taken so far.
    pub(crate) moved: u64,
    /// How often the last body on its way was finished.
    pub(crate) cleared: u32,
    /// Bytes came that are no whole request yet. Known of HTTP/1.1 only; HTTP/2 has frames between requests.
    pub(crate) partial: bool,
}

/// What to do with a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// Nothing.
    Keep,
    /// It is idle: say goodbye.
    Close,
    /// It costs more than it should: drop it.
    Shed(Shed),
}

/// A connection's pace, from reading to reading.
#[derive(Debug)]
pub(crate) struct Pace {
    last: Reading,
    /// Since when there has been no new request and nothing to do.
    quiet: Instant,
    /// Since when a head has been coming.
    head: Option<Instant>,
    /// Since when bodies have been on their way without a pause, and the bytes taken before.
    window: Option<(Instant, u64)>,
}

impl Pace {
    /// A connection that was accepted now.
    pub(crate) fn new(now: Instant) -> Self {
        Self { last: Reading::default(), quiet: now, head: None, window: None }
    }

    /// Judges by the newest reading.
    pub(crate) fn judge(&mut self, now: Instant, reading: Reading, limits: &Limits) -> Verdict {
        let last = std::mem::replace(&mut self.last, reading);
        let since = |then: Instant| now.saturating_duration_since(then);
        let fresh = reading.requests != last.requests;
        if fresh || reading.busy || reading.sending {
            self.quiet = now;
        }
        if !reading.partial || fresh {
            self.head = None;
        }
        let head = reading.partial.then(|| *self.head.get_or_insert(now));
        if self.is_slow(now, reading, last, limits) {
            return Verdict::Shed(Shed::SlowReader);
        }
        // The first head counts from the beginning, so that saying nothing is no way around.
        let heading = if reading.requests == 0 { Some(self.quiet) } else { head };
        if heading.is_some_and(|from| since(from) >= limits.head) {
            return Verdict::Shed(Shed::SlowHead);
        }
        if since(self.quiet) >= limits.idle { Verdict::Close } else { Verdict::Keep }
    }

    fn is_slow(&mut self, now: Instant, reading: Reading, last: Reading, limits: &Limits) -> bool {
        if !reading.sending || reading.cleared != last.cleared {
            self.window = reading.sending.then_some((now, reading.moved));
            return false;
        }
        let (from, before) = *self.window.get_or_insert((now, reading.moved));
        let over = now.saturating_duration_since(from);
        if over < limits.slow_reader_over {
            return false;
        }
        self.window = Some((now, reading.moved));
        reading.moved - before < bytes_in(over, limits.slow_reader_bytes_per_second)
    }
}

fn bytes_in(time: Duration, bytes_per_second: u64) -> u64 {
    let bytes = time.as_millis() * u128::from(bytes_per_second) / 1_000;
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a moment to count from")]
mod tests {
    use super::*;

    /// Judges one reading a second and returns the first verdict that is not to keep, with its second.
    fn run(readings: impl Fn(u64) -> Reading, seconds: u64) -> Option<(u64, Verdict)> {
        let begin = Instant::now();
        let mut pace = Pace::new(begin);
        (1..=seconds).find_map(|second| {
            let now = begin + Duration::from_secs(second);
            let verdict = pace.judge(now, readings(second), &Limits::default());
            (verdict != Verdict::Keep).then_some((second, verdict))
        })
    }

    #[test]
    fn a_slow_reader_is_shed_after_ten_seconds() {
        let at = |rate: u64| {
            run(|s| Reading { requests: 1, sending: true, moved: s * rate, ..Reading::default() }, 60)
        };
        assert_eq!(at(0), Some((11, Verdict::Shed(Shed::SlowReader))));
        assert_eq!(at(7_900), Some((11, Verdict::Shed(Shed::SlowReader))));
        assert_eq!(at(8_100), None);
    }

    #[test]
    fn small_answers_that_are_all_taken_are_not_slow() {
        let playlists = |s: u64| Reading {
            requests: s,
            sending: true,
            moved: s * 500,
            cleared: s as u32,
            ..Reading::default()
        };
        assert_eq!(run(playlists, 120), None);
    }

    #[test]
    fn a_stall_after_a_fast_start_is_seen() {
        let stall = |s: u64| Reading {
            requests: 1,
            sending: true,
            moved: s.min(5) * 1_000_000,
            ..Reading::default()
        };
        assert_eq!(run(stall, 60), Some((21, Verdict::Shed(Shed::SlowReader))));
    }

    #[test]
    fn heads_have_ten_seconds_and_quiet_connections_seventy_five() {
        assert_eq!(run(|_| Reading::default(), 60), Some((10, Verdict::Shed(Shed::SlowHead))));
        let trickle = |s: u64| Reading { requests: 1, partial: s >= 20, ..Reading::default() };
        assert_eq!(run(trickle, 60), Some((30, Verdict::Shed(Shed::SlowHead))));
        let quiet = |_| Reading { requests: 1, ..Reading::default() };
        assert_eq!(run(quiet, 100), Some((76, Verdict::Close)));
        let held = |_| Reading { requests: 1, busy: true, ..Reading::default() };
        assert_eq!(run(held, 100), None);
    }
}
