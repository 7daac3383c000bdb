//! How many requests of one player wait for one rendition (EDGE-36).

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Tables that the counts are spread over, so that threads seldom wait for each other.
const TABLES: usize = 16;

/// The counts, by a hash of who waits and for which rendition.
#[derive(Debug, Default)]
pub(crate) struct Crowd {
    tables: [Mutex<HashMap<u64, u32>>; TABLES],
}

/// One that waits, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    crowd: Arc<Crowd>,
    key: u64,
}

impl Crowd {
    /// A place for one more, unless `most` wait already.
    pub(crate) fn enter(self: &Arc<Self>, key: u64, most: u32) -> Option<Place> {
        let mut table = self.table(key);
        let waiting = table.entry(key).or_default();
        if *waiting >= most {
            return None;
        }
        *waiting += 1;
        drop(table);
        Some(Place { crowd: self.clone(), key })
    }

    fn table(&self, key: u64) -> MutexGuard<'_, HashMap<u64, u32>> {
        self.tables[key as usize % TABLES].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Entry::Occupied(mut waiting) = self.crowd.table(self.key).entry(self.key) {
            *waiting.get_mut() -= 1;
            if *waiting.get() == 0 {
                waiting.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_given_back() {
        let crowd = Arc::new(Crowd::default());
        let places: Vec<_> = (0..3).map_while(|_| crowd.enter(7, 2)).collect();
        assert_eq!(places.len(), 2);
        assert!(crowd.enter(7 + TABLES as u64, 2).is_some(), "another one's in the same table");
        drop(places);
        assert!(crowd.enter(7, 2).is_some());
        assert!(crowd.tables.iter().all(|table| table.lock().unwrap().is_empty()), "nothing is left behind");
    }
}
