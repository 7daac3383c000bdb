//! What a node knows of the others. Pure.
//!
//! Nothing is forgotten because the directory is silent: only an entry that its node let lapse while the directory was
//! there to say otherwise goes away. So a lost directory leaves everybody with what they knew.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aqueduct_common::StreamName;

use super::record::{self, EdgeRecord, Key, LeaseRecord, NodeName, OriginRecord};

/// Entries that are kept at most. Beyond, new ones are left out and counted.
const MAX_ENTRIES: usize = 65_536;

/// An origin: where its relay is, and which streams it is the origin of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Origin {
    /// The node.
    pub node: NodeName,
    /// HOST:PORT of its relay.
    pub relay: String,
    /// Its streams, each with the number of the lease: of two claims the one with the higher number counts (EDGE-29).
    pub streams: Arc<BTreeMap<StreamName, u64>>,
}

/// Where the relay of a stream's origin is, as the directory knows it, and the number of its lease: of several claims the
/// newest counts.
pub fn holder<'a>(origins: &'a [Origin], stream: &StreamName) -> Option<(&'a str, u64)> {
    let claims = origins.iter().filter_map(|origin| Some((&*origin.relay, *origin.streams.get(stream)?)));
    claims.max_by_key(|(_, term)| *term)
}

/// An edge.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Edge {
    /// The node.
    pub node: NodeName,
    /// What it says of itself.
    pub said: EdgeRecord,
}

/// All entries that are known.
#[derive(Debug, Default)]
pub(crate) struct Fleet {
    entries: HashMap<Key, Known>,
    /// Entries left out because there were too many.
    pub(crate) left_out: u64,
    /// Entries that could not be read.
    pub(crate) unread: u64,
}

#[derive(Debug)]
struct Known {
    value: Value,
    revision: u64,
    seen: Instant,
}

#[derive(Debug)]
enum Value {
    Origin(OriginRecord),
    Edge(EdgeRecord),
    Lease(LeaseRecord),
}

impl Fleet {
    /// The directory holds this. Answers the key, where it is one of ours.
    pub(crate) fn seen(&mut self, key: &str, value: &[u8], revision: u64, now: Instant) -> Option<Key> {
        let parsed = key.parse::<Key>().ok();
        let value = parsed.as_ref().and_then(|key| match key {
            Key::Origin(_) => record::read(value).map(Value::Origin),
            Key::Edge(_) => record::read(value).map(Value::Edge),
            Key::Stream(_) => record::read(value).map(Value::Lease),
        });
        let (Some(key), Some(value)) = (parsed, value) else {
            self.unread += 1;
            return None;
        };
        if self.entries.len() >= MAX_ENTRIES && !self.entries.contains_key(&key) {
            self.left_out += 1;
            return None;
        }
        let late = self.entries.get(&key).is_some_and(|known| known.revision > revision);
        if !late {
            self.entries.insert(key.clone(), Known { value, revision, seen: now });
        }
        Some(key)
    }

    /// The directory holds this no more.
    pub(crate) fn gone(&mut self, key: &str) -> Option<Key> {
        let key = key.parse::<Key>().ok()?;
        self.entries.remove(&key);
        Some(key)
    }

    /// The directory is back: whatever is known has this long to show itself again.
    pub(crate) fn refresh(&mut self, now: Instant) {
        self.entries.values_mut().for_each(|known| known.seen = now);
    }

    /// Forgets what was not seen for so long. Answers the keys.
    pub(crate) fn expire(&mut self, age: Duration, now: Instant) -> Vec<Key> {
        let lapsed = |known: &mut Known| now.saturating_duration_since(known.seen) >= age;
        self.entries.extract_if(|_, known| lapsed(known)).map(|(key, _)| key).collect()
    }

    /// When the next entry lapses.
    pub(crate) fn lapses(&self, age: Duration) -> Option<Instant> {
        self.entries.values().map(|known| known.seen + age).min()
    }

    /// Who says to be the origin of a stream: the record and its revision.
    pub(crate) fn lease(&self, stream: &StreamName) -> Option<(&LeaseRecord, u64)> {
        match self.entries.get(&Key::Stream(stream.clone())) {
            Some(Known { value: Value::Lease(record), revision, .. }) => Some((record, *revision)),
            _ => None,
        }
    }

    /// The process that stands behind a key of a node.
    pub(crate) fn instance(&self, key: &Key) -> Option<u64> {
        match &self.entries.get(key)?.value {
            Value::Origin(record) => Some(record.instance),
            Value::Edge(record) => Some(record.instance),
            Value::Lease(_) => None,
        }
    }

    /// Every origin, by name.
    pub(crate) fn origins(&self) -> Vec<Origin> {
        let mut streams: BTreeMap<&NodeName, (&str, BTreeMap<StreamName, u64>)> = BTreeMap::new();
        for (key, known) in &self.entries {
            match (key, &known.value) {
                (Key::Origin(node), Value::Origin(record)) => {
                    streams.entry(node).or_default().0 = &record.relay;
                }
                (Key::Stream(stream), Value::Lease(record)) => {
                    let entry = streams.entry(&record.node).or_default();
                    entry.1.insert(stream.clone(), record.term(known.revision));
                    if entry.0.is_empty() {
                        entry.0 = &record.relay;
                    }
                }
                _ => {}
            }
        }
        let reached = streams.into_iter().filter(|(_, (relay, _))| !relay.is_empty());
        let origin = |(node, (relay, streams)): (&NodeName, (&str, BTreeMap<_, _>))| Origin {
            node: node.clone(),
            relay: relay.to_owned(),
            streams: Arc::new(streams),
        };
        reached.map(origin).collect()
    }

    /// Every edge, by name.
    pub(crate) fn edges(&self) -> Vec<Edge> {
        let edge = |(key, known): (&Key, &Known)| match (key, &known.value) {
            (Key::Edge(node), Value::Edge(said)) => Some(Edge { node: node.clone(), said: said.clone() }),
            _ => None,
        };
        let mut edges: Vec<_> = self.entries.iter().filter_map(edge).collect();
        edges.sort_by(|one, other| one.node.cmp(&other.node));
        edges
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGE: Duration = Duration::from_secs(6);

    fn lease(node: &str, term: u64) -> Vec<u8> {
        let record = LeaseRecord {
            node: node.parse().unwrap(),
            instance: 1,
            relay: format!("{node}:4443"),
            term,
            word: String::new(),
        };
        record::write(&record)
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a moment to count from")]
    fn entries_lapse_one_by_one_and_never_while_the_directory_is_away() {
        let (mut fleet, begin) = (Fleet::default(), Instant::now());
        let at = |seconds| begin + Duration::from_secs(seconds);
        fleet.seen("stream.live/a", &lease("o1", 0), 7, at(0));
        fleet.seen("origin.o1", br#"{"relay":"o1:4443","instance":1}"#, 8, at(2));
        assert_eq!(fleet.expire(AGE, at(5)), []);
        // Away for a minute: who calls expire knows, and does not. Back:
        fleet.refresh(at(60));
        assert_eq!(fleet.expire(AGE, at(65)), []);
        fleet.seen("origin.o1", br#"{"relay":"o1:4443","instance":1}"#, 9, at(65));
        assert_eq!(fleet.expire(AGE, at(66)), [Key::Stream("live/a".parse().unwrap())]);
        assert_eq!(fleet.origins().len(), 1);
        assert_eq!(fleet.expire(AGE, at(71)).len(), 1);
        assert!(fleet.origins().is_empty());
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a moment to count from")]
    fn an_origin_has_the_streams_whose_leases_it_holds() {
        let (mut fleet, now) = (Fleet::default(), Instant::now());
        fleet.seen("origin.o1", br#"{"relay":"one:4443","instance":1}"#, 1, now);
        fleet.seen("stream.live/a", &lease("o1", 0), 2, now);
        fleet.seen("stream.live/b", &lease("o2", 5), 9, now);
        // Late news of an earlier revision change nothing.
        fleet.seen("stream.live/a", &lease("o2", 1), 1, now);
        let origins = fleet.origins();
        let told: Vec<_> = origins
            .iter()
            .map(|origin| (origin.relay.as_str(), origin.streams.values().copied().collect::<Vec<_>>()))
            .collect();
        assert_eq!(told, [("one:4443", vec![2]), ("o2:4443", vec![5])]);
        fleet.gone("stream.live/a");
        assert!(fleet.origins()[0].streams.is_empty());
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a moment to count from")]
    fn what_cannot_be_read_is_counted_and_left() {
        let (mut fleet, now) = (Fleet::default(), Instant::now());
        for (key, value) in [("edge.e1", "{}"), ("weather.e1", "{}"), ("edge.E1", "{}"), ("stream.x", "1")] {
            assert_eq!(fleet.seen(key, value.as_bytes(), 1, now), None, "{key}");
        }
        assert_eq!((fleet.unread, fleet.edges().len()), (4, 0));
    }
}
