//! Who may wait to be let in, and how many edges are fed: strangers take no edge's place.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::roster::network;

/// Edges that are fed at once.
const MAX_EDGES: usize = 1_024;
/// Nodes at once that have not yet been let in.
const MAX_WAITING: usize = 1_024;
/// Of these, from one network.
const MAX_OF_NETWORK: usize = 64;
/// So many of them wait when the next ones must first prove their address: packets with false ones fill no place.
const PROVE_FROM: usize = 64;

/// What becomes of a node that comes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Refusal {
    /// It must show that its address is its own, which costs it a round trip.
    Prove,
    /// There are too many already.
    Full,
}

/// Where nodes come in.
#[derive(Debug, Default)]
pub(super) struct Door(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    waiting: usize,
    /// Those of each network whose address is proven. Others say nothing of a network.
    of_network: HashMap<IpAddr, usize>,
    fed: usize,
}

/// The place of a node that is not yet let in, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Waiting {
    door: Arc<Door>,
    network: Option<IpAddr>,
}

/// The place of an edge that is fed, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Seat(Arc<Door>);

impl Door {
    /// A node comes from `peer`, whose address is `proven` or may be false.
    pub(super) fn knock(self: &Arc<Self>, peer: IpAddr, proven: bool) -> Result<Waiting, Refusal> {
        let network = proven.then(|| network(peer));
        self.state().begin(network)?;
        Ok(Waiting { door: self.clone(), network })
    }

    /// Edges that are fed at this moment.
    pub(super) fn fed(&self) -> usize {
        self.state().fed
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn begin(&mut self, network: Option<IpAddr>) -> Result<(), Refusal> {
        let Some(network) = network else {
            if self.waiting >= PROVE_FROM {
                return Err(Refusal::Prove);
            }
            self.waiting += 1;
            return Ok(());
        };
        let of_network = self.of_network.get(&network).copied().unwrap_or_default();
        if self.waiting >= MAX_WAITING || of_network >= MAX_OF_NETWORK {
            return Err(Refusal::Full);
        }
        self.of_network.insert(network, of_network + 1);
        self.waiting += 1;
        Ok(())
    }

    fn end(&mut self, network: Option<IpAddr>) {
        self.waiting -= 1;
        if let Some(network) = network
            && let Some(count) = self.of_network.get_mut(&network)
        {
            *count -= 1;
            if *count == 0 {
                self.of_network.remove(&network);
            }
        }
    }
}

impl Waiting {
    /// It has said who it is, and is let in where there is room for an edge.
    pub(super) fn seat(self) -> Option<Seat> {
        let mut state = self.door.state();
        let room = state.fed < MAX_EDGES;
        state.fed += usize::from(room);
        drop(state);
        room.then(|| Seat(self.door.clone()))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.door.state().end(self.network);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.state().fed -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn false_addresses_fill_no_place_that_a_proven_one_needs() {
        let door = Arc::new(Door::default());
        // Even those that claim to be the edge's.
        let flood: Vec<_> = (0..2_000).map(|_| door.knock(at(1), false)).collect();
        let let_wait = flood.iter().filter(|knock| knock.is_ok()).count();
        assert_eq!(let_wait, PROVE_FROM);
        assert!(matches!(flood.last(), Some(Err(Refusal::Prove))));
        assert!(door.knock(at(1), true).unwrap().seat().is_some());
        drop(flood);
        assert!(door.knock(at(1), false).is_ok());
    }

    #[test]
    fn a_network_keeps_no_other_out_and_gets_its_places_back() {
        let door = Arc::new(Door::default());
        let crowd: Vec<_> = (0..100).map(|_| door.knock(at(1), true)).collect();
        assert_eq!(crowd.iter().filter(|knock| knock.is_ok()).count(), MAX_OF_NETWORK);
        assert_eq!(crowd.last().unwrap().as_ref().unwrap_err(), &Refusal::Full);
        assert!(door.knock(at(2), true).is_ok());
        drop(crowd);
        assert!(door.knock(at(1), true).is_ok());
        let state = door.state();
        assert_eq!((state.waiting, state.of_network.len()), (0, 0));
    }

    #[test]
    fn who_waits_takes_no_edge_s_place_and_edges_are_bounded() {
        let door = Arc::new(Door::default());
        let waiting: Vec<_> =
            (0..16).flat_map(|net| (0..64).map(move |_| net)).map(|net| door.knock(at(net), true)).collect();
        assert!(waiting.iter().all(Result::is_ok));
        assert_eq!(door.knock(at(99), true).unwrap_err(), Refusal::Full);
        drop(waiting);
        let seats: Vec<_> = (0..MAX_EDGES).map(|_| door.knock(at(1), true).unwrap().seat()).collect();
        assert!(seats.iter().all(Option::is_some));
        assert!(door.knock(at(1), true).unwrap().seat().is_none());
        drop(seats);
        assert!(door.knock(at(1), true).unwrap().seat().is_some());
    }
}
