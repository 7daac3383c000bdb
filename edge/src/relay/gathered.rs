//! Viewers of several nodes, added up.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use aqueduct_common::StreamName;

use crate::audience::Demand;

/// Adds the viewers of several nodes up, and tells one who wants to know (EDGE-8).
pub struct Gathered {
    inner: Arc<dyn Demand>,
    /// Viewers by stream and number, by the place that told.
    told: Mutex<HashMap<(StreamName, u8), HashMap<u64, u32>>>,
}

impl std::fmt::Debug for Gathered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gathered").finish_non_exhaustive()
    }
}

impl Gathered {
    /// Tells `inner` of the sums.
    pub fn new(inner: Arc<dyn Demand>) -> Self {
        Self { inner, told: Mutex::default() }
    }

    /// One place has so many viewers. Place 0 is this node's own.
    pub fn told(&self, place: u64, stream: &StreamName, demand: u8, viewers: u32) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (stream.clone(), demand);
        let places = told.entry(key.clone()).or_default();
        match viewers {
            0 => drop(places.remove(&place)),
            viewers => drop(places.insert(place, viewers)),
        }
        let sum = places.values().fold(0u32, |sum, viewers| sum.saturating_add(*viewers));
        if places.is_empty() {
            told.remove(&key);
        }
        drop(told);
        self.inner.asked(stream, demand, sum);
    }

    /// A place is gone, with all of its viewers.
    pub fn left(&self, place: u64) {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let of_place = told.iter().filter(|(_, places)| places.contains_key(&place));
        let keys: Vec<_> = of_place.map(|(key, _)| key.clone()).collect();
        drop(told);
        for (stream, demand) in keys {
            self.told(place, &stream, demand, 0);
        }
    }
}

impl Demand for Gathered {
    fn asked(&self, stream: &StreamName, demand: u8, viewers: u32) {
        self.told(0, stream, demand, viewers);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Heard(Mutex<Vec<(u8, u32)>>);

    impl Demand for Heard {
        fn asked(&self, _: &StreamName, demand: u8, viewers: u32) {
            self.0.lock().unwrap().push((demand, viewers));
        }
    }

    #[test]
    fn viewers_of_all_places_are_added_up_and_leave_with_their_place() {
        let (heard, name) = (Arc::new(Heard::default()), "live/show".parse().unwrap());
        let gathered = Gathered::new(heard.clone());
        gathered.asked(&name, 16, 2);
        gathered.told(7, &name, 16, 5);
        gathered.told(8, &name, 17, 1);
        gathered.left(7);
        gathered.asked(&name, 16, 0);
        assert_eq!(*heard.0.lock().unwrap(), [(16, 2), (16, 7), (17, 1), (16, 2), (16, 0)]);
    }
}
