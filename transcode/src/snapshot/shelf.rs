//! Which stream a picture is made of next, and the pictures that were made. Pure: `now` comes in.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use aqueduct_common::StreamName;
use bytes::Bytes;

use super::wire::Request;

/// How long a stream counts as looked at after somebody asked for its picture.
pub const WANTED: Duration = Duration::from_secs(20);
/// After a frame that no picture could be made of, how long the stream is left alone.
pub const BACK_OFF: Duration = Duration::from_secs(30);

/// A picture of a stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Snapshot {
    /// A JPEG, no side longer than 320 pixels.
    pub jpeg: Bytes,
    /// When its frame came, so that a viewer's copy can be told from a newer one.
    pub number: u64,
}

/// What somebody sees who looks at a stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Look {
    /// This picture.
    Here(Snapshot),
    /// Nothing yet: a picture is on its way.
    Coming,
    /// Nothing: the stream is not here, or no picture can be made of it.
    Never,
}

#[derive(Debug, Default)]
struct Entry {
    /// The newest sync sample, and its number.
    source: Option<(Request, u64)>,
    picture: Option<Snapshot>,
    /// When a picture was last begun.
    begun: Option<Instant>,
    failed: Option<Instant>,
    wanted: Option<Instant>,
}

/// What there is to make pictures of, and what was made.
#[derive(Debug)]
pub struct Shelf {
    every: Duration,
    entries: HashMap<StreamName, Entry>,
    numbers: u64,
}

impl Shelf {
    /// An empty shelf whose pictures are renewed this often.
    pub fn new(every: Duration) -> Self {
        Self { every, entries: HashMap::new(), numbers: 0 }
    }

    /// A stream's newest sync sample. It replaces the one before: at most one is held for each stream.
    pub fn put(&mut self, stream: &StreamName, source: Request) {
        self.numbers += 1;
        self.entries.entry(stream.clone()).or_default().source = Some((source, self.numbers));
    }

    /// The stream has ended.
    pub fn remove(&mut self, stream: &StreamName) {
        self.entries.remove(stream);
    }

    /// Somebody looks: what there is, and from now on newer pictures.
    pub fn look(&mut self, stream: &StreamName, now: Instant) -> Look {
        let Some(entry) = self.entries.get_mut(stream) else { return Look::Never };
        entry.wanted = Some(now);
        let failed = entry.failed.is_some_and(|at| now.duration_since(at) < BACK_OFF);
        match &entry.picture {
            Some(picture) => Look::Here(picture.clone()),
            None if failed => Look::Never,
            None => Look::Coming,
        }
    }

    /// The next picture to make: of the stream that has waited longest. It counts as begun.
    pub fn next(&mut self, now: Instant) -> Option<(StreamName, Request, u64)> {
        let every = self.every;
        let due = self.entries.iter_mut().filter(|(_, entry)| entry.due(every).is_some_and(|at| at <= now));
        let due = due.filter(|(_, entry)| entry.is_wanted(now));
        let (name, entry) = due.min_by_key(|(_, entry)| entry.begun)?;
        let (request, number) = entry.source.clone()?;
        entry.begun = Some(now);
        Some((name.clone(), request, number))
    }

    /// When [`Shelf::next`] has something, if nobody comes before.
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        let waiting = self.entries.values().filter(|entry| entry.is_wanted(now));
        waiting.filter_map(|entry| entry.due(self.every)).min()
    }

    /// A picture was made of the frame with this number.
    pub fn made(&mut self, stream: &StreamName, jpeg: Bytes, number: u64) {
        if let Some(entry) = self.entries.get_mut(stream) {
            entry.picture = Some(Snapshot { jpeg, number });
            entry.failed = None;
        }
    }

    /// None could be made.
    pub fn failed(&mut self, stream: &StreamName, now: Instant) {
        if let Some(entry) = self.entries.get_mut(stream) {
            entry.failed = Some(now);
        }
    }
}

impl Entry {
    fn is_wanted(&self, now: Instant) -> bool {
        self.wanted.is_some_and(|at| now.duration_since(at) < WANTED)
    }

    /// When its next picture may be begun; `None` while there is nothing newer than the picture that there is.
    fn due(&self, every: Duration) -> Option<Instant> {
        let (_, number) = self.source.as_ref()?;
        let wanted = self.wanted?;
        if self.picture.as_ref().is_some_and(|picture| picture.number == *number) {
            return None;
        }
        let rested = self.begun.map_or(wanted, |at| at + every);
        Some(self.failed.map_or(rested, |at| rested.max(at + BACK_OFF)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::wire::Codec;
    use super::*;

    const EVERY: Duration = Duration::from_secs(5);

    fn name(n: u32) -> StreamName {
        format!("live/s{n}").parse().unwrap()
    }

    fn source() -> Request {
        Request { codec: Codec::H264, record: Bytes::new(), frame: Bytes::from_static(b"frame") }
    }

    #[expect(clippy::disallowed_methods, reason = "tests need some instant to start from")]
    fn start() -> Instant {
        Instant::now()
    }

    #[test]
    fn nothing_is_made_while_nobody_looks() {
        let (mut shelf, now) = (Shelf::new(EVERY), start());
        shelf.put(&name(1), source());
        assert_eq!((shelf.next(now), shelf.deadline(now)), (None, None));
        assert_eq!(shelf.look(&name(1), now), Look::Coming);
        let (_, _, number) = shelf.next(now).unwrap();
        shelf.made(&name(1), Bytes::from_static(b"jpeg"), number);
        assert!(matches!(shelf.look(&name(1), now), Look::Here(_)));
        assert_eq!(shelf.look(&name(2), now), Look::Never, "a stream that is not there");
        shelf.put(&name(1), source());
        assert!(shelf.next(now + WANTED).is_none(), "he has gone");
    }

    #[test]
    fn a_stream_is_shown_no_more_often_than_is_set_and_only_when_it_has_moved() {
        let (mut shelf, now) = (Shelf::new(EVERY), start());
        shelf.put(&name(1), source());
        shelf.look(&name(1), now);
        let (_, _, number) = shelf.next(now).unwrap();
        shelf.made(&name(1), Bytes::new(), number);
        assert!(shelf.next(now + EVERY).is_none(), "no newer frame");
        shelf.put(&name(1), source());
        assert!(shelf.next(now + EVERY / 2).is_none(), "too early");
        assert_eq!(shelf.deadline(now), Some(now + EVERY));
        assert!(shelf.next(now + EVERY).is_some());
    }

    #[test]
    fn each_stream_has_its_turn_and_a_bad_one_is_left_alone() {
        let (mut shelf, now) = (Shelf::new(EVERY), start());
        for n in 0..3 {
            shelf.put(&name(n), source());
            shelf.look(&name(n), now);
        }
        let mut seen: Vec<_> = (0..3).map(|_| shelf.next(now).unwrap().0).collect();
        seen.sort();
        assert_eq!(seen, [name(0), name(1), name(2)]);
        shelf.failed(&name(0), now);
        shelf.put(&name(0), source());
        let later = now + WANTED - Duration::from_secs(1);
        let next: Vec<_> = std::iter::from_fn(|| Some(shelf.next(later)?.0)).collect();
        assert_eq!(next.len(), 2, "{next:?}");
        assert_eq!(shelf.look(&name(0), later), Look::Never, "there is none, and none is on its way");
        shelf.remove(&name(1));
        assert_eq!(shelf.look(&name(1), later), Look::Never);
    }
}
