//! Every open connection: how many from where, and whether each may stay.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::allowance::Allowance;
use crate::config::Limits;
use crate::conn::{Conn, Order};
use crate::pace::{Pace, Verdict};
use crate::tally::{Shed, Tally};

/// Everything that is open.
#[derive(Default)]
pub(crate) struct Roster {
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    next: u64,
    conns: HashMap<u64, (Arc<Conn>, Pace)>,
    clients: HashMap<IpAddr, Client>,
}

/// What comes from one address. Kept until it has been quiet for as long as its allowances remember.
struct Client {
    open: usize,
    connects: Allowance,
    requests: Arc<Allowance>,
}

impl Client {
    fn new(limits: &Limits) -> Self {
        Self {
            open: 0,
            connects: Allowance::new(limits.connections_per_second_per_ip),
            requests: Arc::new(Allowance::new(limits.requests_per_second_per_ip)),
        }
    }
}

/// A connection's place on the roster, given back when it is dropped.
pub(crate) struct Seat {
    roster: Arc<Roster>,
    number: u64,
    address: IpAddr,
    pub(crate) conn: Arc<Conn>,
}

impl Roster {
    /// A place for a connection, or why there is none.
    pub(crate) fn seat(
        self: &Arc<Self>,
        peer: IpAddr,
        tally: &Arc<Tally>,
        limits: &Limits,
        now: Instant,
    ) -> Result<Seat, Shed> {
        let address = network(peer);
        let mut open = self.open();
        if open.conns.len() >= limits.connections {
            return Err(Shed::Connections);
        }
        let client = open.clients.entry(address).or_insert_with(|| Client::new(limits));
        if !client.connects.take() {
            return Err(Shed::ConnectionRate);
        }
        if client.open >= limits.connections_per_ip {
            return Err(Shed::ConnectionsPerIp);
        }
        client.open += 1;
        let conn = Arc::new(Conn::new(peer, tally, client.requests.clone()));
        let number = open.next;
        open.next += 1;
        open.conns.insert(number, (conn.clone(), Pace::new(now)));
        drop(open);
        Ok(Seat { roster: self.clone(), number, address, conn })
    }

    /// Judges every connection, once a second, and says how many there are.
    pub(crate) fn sweep(&self, now: Instant, tally: &Tally, limits: &Limits) -> usize {
        let mut open = self.open();
        open.clients.retain(|_, client| {
            client.connects.refill();
            client.requests.refill();
            client.open > 0 || !client.connects.is_full() || !client.requests.is_full()
        });
        for (conn, pace) in open.conns.values_mut() {
            match pace.judge(now, conn.reading(), limits) {
                Verdict::Keep => {}
                Verdict::Close => conn.order(Order::Finish),
                Verdict::Shed(reason) => {
                    tally.shed(reason);
                    conn.order(Order::Drop);
                }
            }
        }
        open.conns.len()
    }

    pub(crate) fn order_all(&self, order: Order) {
        self.open().conns.values().for_each(|(conn, _)| conn.order(order));
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut open = self.roster.open();
        open.conns.remove(&self.number);
        if let Some(client) = open.clients.get_mut(&self.address) {
            client.open -= 1;
        }
    }
}

/// What counts as one client: an address, or a /64 of IPv6.
pub(crate) fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V4(v4) => v4.into(),
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_an_address_or_a_network_of_ipv6() {
        let network = |text: &str| network(text.parse().unwrap()).to_string();
        assert_eq!(network("203.0.113.9"), "203.0.113.9");
        assert_eq!(network("::ffff:203.0.113.9"), "203.0.113.9");
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
    }
}
