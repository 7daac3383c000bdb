//! Meters: how much, how often, from whom. Pure; time is an argument.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// Entries after which a table of addresses is swept.
const SWEEP_AT: usize = 4_096;

/// A bucket of tokens that refills at a steady rate.
#[derive(Clone, Copy, Debug)]
pub struct Meter {
    per_second: f64,
    burst: f64,
    tokens: f64,
    at: Instant,
}

impl Meter {
    /// A full bucket of `burst` tokens that gains `per_second`.
    pub fn new(per_second: u32, burst: u32, now: Instant) -> Self {
        Self { per_second: per_second.into(), burst: burst.into(), tokens: burst.into(), at: now }
    }

    /// Takes one token; `false` when there is none.
    pub fn take(&mut self, now: Instant) -> bool {
        self.refill(now);
        let enough = self.tokens >= 1.0;
        if enough {
            self.tokens -= 1.0;
        }
        enough
    }

    fn refill(&mut self, now: Instant) {
        let gained = now.saturating_duration_since(self.at).as_secs_f64() * self.per_second;
        self.tokens = (self.tokens + gained).min(self.burst);
        self.at = self.at.max(now);
    }

    fn is_full(&mut self, now: Instant) -> bool {
        self.refill(now);
        self.tokens >= self.burst
    }
}

/// How a publisher's byte rate stands to its limit (RTMP-64).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Load {
    /// Below it.
    Fine,
    /// Above it over the last 5 s.
    High,
    /// Above it over the last 15 s.
    Over,
}

/// Byte rate over the last 5 and 15 s, in steps of one second.
#[derive(Clone, Debug)]
pub struct ByteRate {
    limit: u64,
    start: Instant,
    second: u64,
    seconds: [u64; 15],
}

impl ByteRate {
    /// A meter for `bits_per_second`.
    pub fn new(bits_per_second: u64, now: Instant) -> Self {
        Self { limit: bits_per_second / 8, start: now, second: 0, seconds: [0; 15] }
    }

    /// Adds bytes that came `now`.
    pub fn add(&mut self, now: Instant, bytes: usize) -> Load {
        let second = now.saturating_duration_since(self.start).as_secs();
        for passed in (self.second + 1..=second).take(15) {
            self.seconds[(passed % 15) as usize] = 0;
        }
        // After more than 15 s of silence every slot was just cleared.
        self.second = self.second.max(second);
        self.seconds[(self.second % 15) as usize] += bytes as u64;
        let over = |span: u64| {
            let sum: u64 = (0..span.min(self.second + 1))
                .map(|back| self.seconds[((self.second - back) % 15) as usize])
                .sum();
            sum > self.limit.saturating_mul(span)
        };
        match (over(15), over(5)) {
            (true, _) => Load::Over,
            (false, true) => Load::High,
            (false, false) => Load::Fine,
        }
    }
}

/// What counts as one address when handshakes and failures are counted: an IPv4 address, or an IPv6 /64.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Host(IpAddr);

impl From<IpAddr> for Host {
    fn from(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(v6) => IpAddr::V6(prefix(v6, 64)),
            v4 => v4,
        })
    }
}

/// What counts as one network when connections are counted: an IPv4 /24 or an IPv6 /48 (RTMP-63).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Network(IpAddr);

impl From<IpAddr> for Network {
    fn from(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(v4) => {
                let [a, b, c, _] = v4.octets();
                [a, b, c, 0].into()
            }
            IpAddr::V6(v6) => IpAddr::V6(prefix(v6, 48)),
        })
    }
}

fn prefix(address: Ipv6Addr, bits: u32) -> Ipv6Addr {
    Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << (128 - bits)))
}

/// Why a connection is not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Crowded {
    /// The server's limit of connections.
    #[error("ingest.limits.connections is reached")]
    Total,
    /// The network's limit of connections.
    #[error("ingest.limits.connections_per_network is reached")]
    Network,
    /// The address's limit of handshakes.
    #[error("ingest.limits.handshakes_per_second is reached")]
    Handshakes,
}

impl Crowded {
    /// The label of `aqueduct_…_refused_total`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Total => "limit_connections",
            Self::Network => "limit_network",
            Self::Handshakes => "limit_handshakes",
        }
    }
}

/// Who is connected, and how fast newcomers arrive (RTMP-63).
#[derive(Debug)]
pub struct Admission {
    total: usize,
    per_network: usize,
    handshakes: u32,
    open: usize,
    networks: HashMap<Network, usize>,
    arrivals: HashMap<Host, Meter>,
}

impl Admission {
    /// At most `total` connections, `per_network` of one network, and `handshakes` a second of one address.
    pub fn new(total: usize, per_network: usize, handshakes: u32) -> Self {
        Self { total, per_network, handshakes, open: 0, networks: HashMap::new(), arrivals: HashMap::new() }
    }

    /// Takes a connection in, or says why not. Each one that was taken is given back by [`Admission::leave`].
    pub fn enter(&mut self, now: Instant, address: IpAddr) -> Result<(), Crowded> {
        let rate = self.handshakes;
        // A second's worth may come at once: an encoder with many outputs starts them together.
        let fresh = || Meter::new(rate, rate.saturating_mul(2), now);
        sweep(&mut self.arrivals, |meter| !meter.is_full(now));
        if !self.arrivals.entry(address.into()).or_insert_with(fresh).take(now) {
            return Err(Crowded::Handshakes);
        }
        if self.open >= self.total {
            return Err(Crowded::Total);
        }
        let network = self.networks.entry(address.into()).or_default();
        if *network >= self.per_network {
            return Err(Crowded::Network);
        }
        *network += 1;
        self.open += 1;
        Ok(())
    }

    /// A connection of this address is gone.
    pub fn leave(&mut self, address: IpAddr) {
        let network = Network::from(address);
        self.open = self.open.saturating_sub(1);
        if let Some(count) = self.networks.get_mut(&network) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.networks.remove(&network);
            }
        }
    }
}

/// Failed attempts by address: ten within a minute, and the address is refused for five (AUTH-4).
#[derive(Debug, Default)]
pub struct Backoff {
    hosts: HashMap<Host, Failures>,
}

#[derive(Debug)]
struct Failures {
    count: u32,
    since: Instant,
    refused_until: Option<Instant>,
}

impl Failures {
    fn is_live(&self, now: Instant) -> bool {
        match self.refused_until {
            Some(until) => now < until,
            None => now.saturating_duration_since(self.since) < Backoff::WINDOW,
        }
    }
}

impl Backoff {
    /// Failures after which an address is refused.
    pub const FAILURES: u32 = 10;
    /// The span in which they count.
    pub const WINDOW: Duration = Duration::from_secs(60);
    /// How long it is refused.
    pub const REFUSED: Duration = Duration::from_secs(300);

    /// Whether this address is refused without being heard.
    pub fn refuses(&self, now: Instant, address: IpAddr) -> bool {
        let failures = self.hosts.get(&address.into());
        failures.and_then(|failures| failures.refused_until).is_some_and(|until| now < until)
    }

    /// Counts a failed attempt.
    pub fn failed(&mut self, now: Instant, address: IpAddr) {
        sweep(&mut self.hosts, |failures| failures.is_live(now));
        let fresh = || Failures { count: 0, since: now, refused_until: None };
        let failures = self.hosts.entry(address.into()).or_insert_with(fresh);
        if !failures.is_live(now) {
            *failures = fresh();
        }
        failures.count += 1;
        if failures.count >= Self::FAILURES {
            failures.refused_until = Some(now + Self::REFUSED);
        }
    }
}

/// Keeps a table of addresses small: what says nothing any more goes; if all of it still does, all of it goes, since
/// the limits on connections stand without it.
fn sweep<K: Eq + Hash, V>(table: &mut HashMap<K, V>, mut keep: impl FnMut(&mut V) -> bool) {
    if table.len() < SWEEP_AT {
        return;
    }
    table.retain(|_, value| keep(value));
    if table.len() >= SWEEP_AT {
        table.clear();
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "an arbitrary instant to count from")]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_meter_gives_its_burst_and_then_its_rate() {
        let start = Instant::now();
        let mut meter = Meter::new(50, 100, start);
        assert_eq!((0..200).filter(|_| meter.take(start)).count(), 100);
        let later = start + Duration::from_secs(1);
        assert_eq!((0..200).filter(|_| meter.take(later)).count(), 50);
        assert!(!meter.take(start), "a clock that steps back gives nothing");
    }

    #[test]
    fn byte_rates_are_averages_over_5_and_15_seconds() {
        // RTMP-64: 8 Mbit/s is 1 MB a second.
        let start = Instant::now();
        let mut rate = ByteRate::new(8_000_000, start);
        let at = |second| start + Duration::from_secs(second);
        let loads: Vec<_> = (0..20).map(|second| rate.add(at(second), 1_500_000)).collect();
        assert_eq!(loads.iter().position(|load| *load == Load::High), Some(3));
        assert_eq!(loads.iter().position(|load| *load == Load::Over), Some(10));
        // A pause makes it forget.
        assert_eq!(rate.add(at(60), 1_000_000), Load::Fine);
        let steady: Vec<_> = (61..100).map(|second| rate.add(at(second), 1_000_000)).collect();
        assert!(steady.iter().all(|load| *load != Load::Over));
    }

    #[test]
    fn connections_are_counted_by_network_and_in_total() {
        let now = Instant::now();
        let mut admission = Admission::new(3, 2, 100);
        let (a, b, c) = (address("192.0.2.1"), address("192.0.2.200"), address("192.0.3.1"));
        assert_eq!(admission.enter(now, a), Ok(()));
        assert_eq!(admission.enter(now, b), Ok(()));
        assert_eq!(admission.enter(now, address("::ffff:192.0.2.9")), Err(Crowded::Network));
        assert_eq!(admission.enter(now, c), Ok(()));
        assert_eq!(admission.enter(now, address("2001:db8::1")), Err(Crowded::Total));
        admission.leave(a);
        admission.leave(c);
        assert_eq!(admission.enter(now, b), Ok(()));
        assert_eq!(admission.networks.len(), 1);
    }

    #[test]
    fn handshakes_are_limited_by_address() {
        let now = Instant::now();
        let mut admission = Admission::new(1_000, 1_000, 20);
        let entered = (0..100).filter(|_| admission.enter(now, address("192.0.2.1")).is_ok()).count();
        assert_eq!(entered, 40);
        assert_eq!(admission.enter(now, address("192.0.2.1")), Err(Crowded::Handshakes));
        assert_eq!(admission.enter(now, address("192.0.2.2")), Ok(()));
        let later = now + Duration::from_secs(1);
        assert_eq!((0..100).filter(|_| admission.enter(later, address("192.0.2.1")).is_ok()).count(), 20);
    }

    #[test]
    fn ten_failures_in_a_minute_refuse_an_address_for_five() {
        let start = Instant::now();
        let at = |second| start + Duration::from_secs(second);
        let (mut backoff, host) = (Backoff::default(), address("198.51.100.7"));
        (0..9).for_each(|second| backoff.failed(at(second), host));
        assert!(!backoff.refuses(at(9), host));
        backoff.failed(at(9), host);
        assert!(backoff.refuses(at(9), host) && backoff.refuses(at(308), host));
        assert!(!backoff.refuses(at(309), host));
        assert!(!backoff.refuses(at(10), address("198.51.100.8")));
        backoff.failed(at(310), host);
        assert!(!backoff.refuses(at(310), host), "counting begins again");
    }

    #[test]
    fn an_ipv6_site_is_one_host() {
        assert_eq!(Host::from(address("2001:db8:1:2::5")), Host::from(address("2001:db8:1:2:ffff::")));
        assert_ne!(Host::from(address("2001:db8:1:2::5")), Host::from(address("2001:db8:1:3::5")));
        assert_eq!(Network::from(address("2001:db8:1:2::5")), Network::from(address("2001:db8:1:3::5")));
    }

    #[test]
    fn tables_of_addresses_stay_small() {
        let now = Instant::now();
        let (mut admission, mut backoff) = (Admission::new(10, 10, 20), Backoff::default());
        for host in 0..3 * SWEEP_AT as u32 {
            let address = IpAddr::V4(host.into());
            if admission.enter(now, address).is_ok() {
                admission.leave(address);
            }
            backoff.failed(now, address);
        }
        assert!(admission.arrivals.len() <= SWEEP_AT && backoff.hosts.len() <= SWEEP_AT);
        assert!(admission.networks.is_empty());
    }
}
