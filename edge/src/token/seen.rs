//! What was seen of late, within a bound: two generations, of which the older is forgotten when the younger is full.

use std::collections::HashMap;
use std::hash::Hash;

/// At most twice `half` entries. What is used stays; what is not goes within two turns.
#[derive(Debug)]
pub(super) struct Seen<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    half: usize,
}

impl<K: Eq + Hash, V: Clone> Seen<K, V> {
    pub(super) fn new(half: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), half }
    }

    /// What was kept under a key.
    pub(super) fn find(&mut self, key: &K) -> Option<V> {
        if let Some(value) = self.young.get(key) {
            return Some(value.clone());
        }
        let (key, value) = self.old.remove_entry(key)?;
        self.keep(key, value.clone());
        Some(value)
    }

    pub(super) fn keep(&mut self, key: K, value: V) {
        if self.young.len() >= self.half && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }

    pub(super) fn clear(&mut self) {
        self.young.clear();
        self.old.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_stays_and_the_number_is_bounded() {
        let mut seen = Seen::new(10);
        seen.keep(0, "kept");
        for key in 1..1_000 {
            assert_eq!(seen.find(&0), Some("kept"), "{key}");
            seen.keep(key, "passing");
            assert!(seen.young.len() <= 10 && seen.old.len() <= 10);
        }
        assert_eq!((seen.find(&5), seen.find(&999)), (None, Some("passing")));
        seen.clear();
        assert_eq!(seen.find(&0), None);
    }
}
