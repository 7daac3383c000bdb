//! How much of a connection's room for unsent bytes whole segments and files may take.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// Places for slices. Who asks for one is served by priority, the highest first, then in turn.
#[derive(Debug)]
pub(super) struct Room {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    free: usize,
    /// By priority, negated so that the highest comes first, and turn. There are at most as many as requests at once.
    waiting: BTreeMap<(i64, u64), oneshot::Sender<Place>>,
    turn: u64,
}

/// A place, until it is dropped.
#[derive(Debug)]
pub(super) struct Place(Arc<Room>);

impl Room {
    pub(super) fn new(places: usize) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(State { free: places, waiting: BTreeMap::new(), turn: 0 }) })
    }

    /// A place, once there is one. Whoever stops waiting leaves nothing behind.
    pub(super) async fn enter(self: &Arc<Self>, priority: i32) -> Place {
        loop {
            let waiting = {
                let mut state = self.state();
                if state.free > 0 {
                    state.free -= 1;
                    return Place(self.clone());
                }
                let (sender, receiver) = oneshot::channel();
                state.turn += 1;
                let turn = state.turn;
                state.waiting.insert((-i64::from(priority), turn), sender);
                receiver
            };
            if let Ok(place) = waiting.await {
                return place;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let first = {
            let mut state = self.0.state();
            let first = state.waiting.pop_first();
            if first.is_none() {
                state.free += 1;
            }
            first
        };
        // One that waits no longer drops it, and so hands it on.
        if let Some((_, sender)) = first {
            drop(sender.send(Self(self.0.clone())));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_most_urgent_enters_next_and_those_who_went_are_passed_over() {
        let room = Room::new(2);
        let (one, two) = (room.enter(-9).await, room.enter(-9).await);
        let (sender, mut entered) = tokio::sync::mpsc::channel(10);
        let wait = |name: &'static str, priority: i32| {
            let (room, sender) = (room.clone(), sender.clone());
            tokio::spawn(async move {
                let place = room.enter(priority).await;
                sender.send((name, place)).await.unwrap();
            })
        };
        let mut waiting = 0;
        let mut tasks = Vec::new();
        for (name, priority) in [("late", -20), ("first", -5), ("gone", -1), ("second", -5)] {
            tasks.push(wait(name, priority));
            waiting += 1;
            while room.state().waiting.len() < waiting {
                tokio::task::yield_now().await;
            }
        }
        let gone = tasks.remove(2);
        gone.abort();
        assert!(gone.await.unwrap_err().is_cancelled());
        drop(one);
        let (name, place) = entered.recv().await.unwrap();
        assert_eq!(name, "first");
        drop(place);
        let (name, place) = entered.recv().await.unwrap();
        assert_eq!(name, "second");
        drop((place, two));
        assert_eq!(entered.recv().await.unwrap().0, "late");
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(room.state().free, 2);
    }
}
