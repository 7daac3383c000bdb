//! What a node shows, read once for all who look at it, and judged: every list is true and follows the one before.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use aqueduct_edge::route::At;
use aqueduct_edge::{Answer, Entry, Store};
use aqueduct_tests::check::playlist::{MediaPlaylist, resolve};

/// What a node says to a request.
pub enum Said {
    List(Arc<MediaPlaylist>),
    Wait,
    Missing,
}

/// One node's lists.
#[derive(Default)]
pub struct Shown {
    lists: HashMap<String, (Arc<Entry>, Arc<MediaPlaylist>)>,
    /// What each number of a rendition was called when it was first seen.
    names: HashMap<String, BTreeMap<(u64, u64), String>>,
    pub seen: u64,
}

impl Shown {
    /// Asks for a playlist as it is, or for a version of it.
    pub fn ask(&mut self, store: &Store, path: &str, at: At) -> Result<Said, String> {
        let Some(stream) = store.find("live/show") else { return Ok(Said::Missing) };
        match stream.read(path, at) {
            Answer::Ready(entry) => self.read(store, path, entry).map(Said::List),
            Answer::Wait(_) => Ok(Said::Wait),
            Answer::TooFarAhead | Answer::Gone | Answer::NotFound | Answer::Stale => Ok(Said::Missing),
        }
    }

    fn read(&mut self, store: &Store, path: &str, entry: Arc<Entry>) -> Result<Arc<MediaPlaylist>, String> {
        let before = self.lists.get(path);
        if let Some((same, list)) = before.filter(|(before, _)| Arc::ptr_eq(before, &entry)) {
            debug_assert!(Arc::ptr_eq(same, &entry));
            return Ok(list.clone());
        }
        let text =
            String::from_utf8(entry.full().plain().chunks().concat()).map_err(|error| error.to_string())?;
        let (list, faults) = MediaPlaylist::parse(&text);
        let list = list.filter(|_| faults.is_empty());
        let list = Arc::new(list.ok_or_else(|| format!("{path} is no playlist: {faults:?}\n{text}"))?);
        if let Some((_, before)) = before {
            follows(before, &list).map_err(|why| format!("{path}: {why}"))?;
        }
        self.everything_is_there(store, path, &list)?;
        self.names_stay(path, &list)?;
        self.lists.insert(path.to_owned(), (entry, list.clone()));
        self.seen += 1;
        Ok(list)
    }

    fn everything_is_there(&self, store: &Store, path: &str, list: &MediaPlaylist) -> Result<(), String> {
        let stream = store.find("live/show").ok_or("the stream went while it was looked at")?;
        let segments = list.segments.iter();
        let files = segments.flat_map(|segment| {
            let parts = segment.parts.iter().filter(|part| !part.gap).map(|part| &part.uri);
            let whole = Some(&segment.uri).filter(|uri| !uri.is_empty() && !segment.gap);
            parts.chain(whole).chain(segment.map.as_ref())
        });
        for file in files {
            let full = resolve(path, file);
            if !matches!(stream.read(&full, At::Now), Answer::Ready(_)) {
                return Err(format!("{path} lists {full}, which is not there"));
            }
        }
        Ok(())
    }

    fn names_stay(&mut self, path: &str, list: &MediaPlaylist) -> Result<(), String> {
        let names = self.names.entry(path.to_owned()).or_default();
        for segment in &list.segments {
            for (number, part) in segment.parts.iter().enumerate().filter(|(_, part)| !part.gap) {
                let place = (segment.msn, number as u64);
                let name = names.entry(place).or_insert_with(|| part.uri.clone());
                if *name != part.uri {
                    return Err(format!("{path}: part {place:?} was {name}, and is now {}", part.uri));
                }
            }
        }
        Ok(())
    }
}

/// Numbers go up; what is constant stays.
fn follows(before: &MediaPlaylist, list: &MediaPlaylist) -> Result<(), String> {
    let end = |list: &MediaPlaylist| list.edge().map(|edge| (edge.msn, edge.complete, edge.part));
    if list.media_sequence < before.media_sequence {
        return Err(format!("begins at {} after {}", list.media_sequence, before.media_sequence));
    }
    if list.discontinuity_sequence < before.discontinuity_sequence {
        return Err(format!(
            "era {:?} after {:?}",
            list.discontinuity_sequence, before.discontinuity_sequence
        ));
    }
    if list.edge().map(|edge| edge.msn) < before.edge().map(|edge| edge.msn) {
        return Err(format!("ends at {:?} after {:?}", end(list), end(before)));
    }
    let constants = |list: &MediaPlaylist| {
        (list.constants.target_duration, list.constants.part_target.map(|target| target.micros))
    };
    if constants(list) != constants(before) {
        return Err(format!("targets {:?} after {:?}", constants(list), constants(before)));
    }
    Ok(())
}
