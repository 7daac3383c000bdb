//! Entries with revisions, as a key-value bucket of JetStream keeps them, in memory: the directory where there is no
//! other, and the measure of what a claim may rely on. Pure.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A bucket.
#[derive(Clone, Debug)]
pub(crate) struct Shelf {
    max_age: Duration,
    /// Raised by every write, of whatever key.
    revision: u64,
    entries: BTreeMap<String, Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    value: Vec<u8>,
    revision: u64,
    ends: Instant,
}

impl Shelf {
    /// An empty one, whose entries end `max_age` after they were written.
    pub(crate) fn new(max_age: Duration) -> Self {
        Self { max_age, revision: 0, entries: BTreeMap::new() }
    }

    /// Writes an entry if its revision is still `expected`; 0 where there must be none. Answers the new revision.
    pub(crate) fn write(&mut self, key: &str, value: Vec<u8>, expected: u64, now: Instant) -> Option<u64> {
        let revision = self.read(key, now).map_or(0, |(_, revision)| revision);
        (revision == expected).then(|| self.put(key, value, now))
    }

    /// Writes an entry, whatever stands there.
    pub(crate) fn put(&mut self, key: &str, value: Vec<u8>, now: Instant) -> u64 {
        self.revision += 1;
        let entry = Entry { value, revision: self.revision, ends: now + self.max_age };
        self.entries.insert(key.to_owned(), entry);
        self.revision
    }

    /// What stands there, and its revision.
    pub(crate) fn read(&mut self, key: &str, now: Instant) -> Option<(Vec<u8>, u64)> {
        let entry = self.entries.get(key)?;
        if entry.ends <= now {
            self.entries.remove(key);
            return None;
        }
        Some((entry.value.clone(), entry.revision))
    }

    /// Takes an entry away if its revision is still this one.
    pub(crate) fn take(&mut self, key: &str, revision: u64) {
        if self.entries.get(key).is_some_and(|entry| entry.revision == revision) {
            self.entries.remove(key);
        }
    }

    /// Everything that stands there: key, value and revision.
    #[cfg(test)]
    pub(crate) fn all(&mut self, now: Instant) -> Vec<(String, Vec<u8>, u64)> {
        self.entries.retain(|_, entry| entry.ends > now);
        let each = |(key, entry): (&String, &Entry)| (key.clone(), entry.value.clone(), entry.revision);
        self.entries.iter().map(each).collect()
    }
}
