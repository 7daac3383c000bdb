//! How often somebody may be wrong: ten times a minute from one network, and then not for five minutes (AUTH-4).

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const TRIES: u32 = 10;
const WITHIN: Duration = Duration::from_secs(60);
const SHUT: Duration = Duration::from_secs(300);
/// Networks that are remembered. With more of them, everybody is shut out who was wrong once: a flood is no user.
const MOST: usize = 10_000;

/// Counts who was wrong.
#[derive(Debug, Default)]
pub struct Guard {
    networks: Mutex<HashMap<IpAddr, Tries>>,
}

#[derive(Clone, Copy, Debug)]
struct Tries {
    count: u32,
    since: Instant,
    shut_until: Option<Instant>,
}

impl Guard {
    /// Nobody from there is listened to at `now`.
    pub fn is_shut(&self, from: IpAddr, now: Instant) -> bool {
        let networks = self.networks.lock().unwrap_or_else(PoisonError::into_inner);
        let shut = |tries: &Tries| tries.shut_until.is_some_and(|until| until > now);
        networks.get(&network(from)).is_some_and(shut)
    }

    /// Somebody from there was wrong.
    pub fn failed(&self, from: IpAddr, now: Instant) {
        let mut networks = self.networks.lock().unwrap_or_else(PoisonError::into_inner);
        if networks.len() >= MOST {
            networks.retain(|_, tries| {
                now.saturating_duration_since(tries.since) < WITHIN
                    || tries.shut_until.is_some_and(|until| until > now)
            });
        }
        let full = networks.len() >= MOST;
        let fresh = Tries { count: 0, since: now, shut_until: None };
        let tries = networks.entry(network(from)).or_insert(fresh);
        if now.saturating_duration_since(tries.since) >= WITHIN {
            *tries = fresh;
        }
        tries.count += 1;
        if tries.count >= TRIES || full {
            tries.shut_until = Some(now + SHUT);
        }
    }
}

/// What one household or office has: an IPv4 address, a /64 of IPv6.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "tests need some instant to start from")]
    fn ten_wrong_ones_in_a_minute_shut_the_door_for_five() {
        let (guard, now) = (Guard::default(), Instant::now());
        let (one, same, other) = (
            "2001:db8::1".parse().unwrap(),
            "2001:db8::ffff:2".parse().unwrap(),
            "2001:db8:0:1::1".parse().unwrap(),
        );
        for n in 0..9 {
            guard.failed(one, now + Duration::from_secs(n));
        }
        assert!(!guard.is_shut(one, now));
        // The first minute is over: it is counted anew.
        guard.failed(one, now + WITHIN);
        assert!(!guard.is_shut(one, now + WITHIN));
        for _ in 0..9 {
            guard.failed(same, now + WITHIN);
        }
        assert!(guard.is_shut(one, now + WITHIN) && !guard.is_shut(other, now + WITHIN));
        assert!(!guard.is_shut(one, now + WITHIN + SHUT));
    }
}
