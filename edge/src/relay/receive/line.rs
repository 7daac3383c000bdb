//! One line as it arrives: what is held of it, which version of its list may be shown, and what that retires.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aqueduct_common::object::{ObjectPath, PlaylistInfo};
use bytes::Bytes;

use super::super::window::{Edition, Item, LINGER, Listed, Word};
use super::super::wire::{Body, Media, Ranges, path_of};
use super::step::Step;
use crate::playlist::follows;

/// Versions that wait for what they list; when there are more, the oldest is given up: a later one stands for it.
const MAX_STAGED: usize = 64;
/// Objects of one line that are held at most; the oldest go first.
pub(super) const MAX_HELD: usize = 32_768;

/// One wanted line.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    pub(super) held: BTreeMap<u64, Item>,
    /// Segments whose parts are not all here.
    pub(super) pending: BTreeMap<u64, Item>,
    pub(super) staged: BTreeMap<u64, Edition>,
    /// Serial of the last word that was shown.
    pub(super) shown: u64,
    /// The list's path, once one was shown in any epoch.
    pub(super) list: Option<ObjectPath>,
    /// What the list said last that was shown, in any epoch.
    pub(super) last: Option<PlaylistInfo>,
    /// Files of the epoch before and their bytes, which go when this one shows a list that does not have them. Until then
    /// their names mean what they meant (EDGE-29).
    pub(super) orphans: BTreeMap<Arc<str>, Vec<Bytes>>,
    /// The line ends with this serial.
    pub(super) closing: Option<(u64, Duration)>,
    /// Bytes that were let go and still count as held.
    pub(super) freed: u64,
    /// Objects with the name of another one that is still shown, which still count as taken.
    pub(super) contradicted: u64,
}

impl Incoming {
    /// A segment that waits for parts is not here while its bytes come in another way.
    pub(super) fn has(&self, seq: u64, body: &Body) -> bool {
        let pending = matches!(body, Body::Of(_)) && self.pending.contains_key(&seq);
        pending || self.held.contains_key(&seq)
    }

    pub(super) fn take(&mut self, line: &str, item: Item, media: &Media, steps: &mut Vec<Step>) {
        let seq = media.seq;
        let waits = matches!(media.body, Body::Of(_));
        self.pending.remove(&seq);
        if waits {
            self.pending.insert(seq, item);
        } else {
            self.hold(line, seq, item, steps);
        }
        let whole = |item: &Item| item.parts.iter().all(|part| self.held.contains_key(part));
        let ready: Vec<u64> =
            self.pending.iter().filter(|(_, item)| whole(item)).map(|(seq, _)| *seq).collect();
        for seq in ready {
            let Some(mut item) = self.pending.remove(&seq) else { continue };
            let parts = item.parts.iter().filter_map(|part| self.held.get(part));
            item.body = parts.flat_map(|part| part.body.iter().cloned()).collect();
            self.hold(line, seq, item, steps);
        }
        while self.pending.len() > MAX_STAGED {
            self.pending.pop_first();
        }
    }

    fn hold(&mut self, line: &str, seq: u64, item: Item, steps: &mut Vec<Step>) {
        // No list that names it is shown before what had the name is gone: two origins have gone on from one place.
        if self.orphans.get(&item.file).is_some_and(|body| !is_same(body, &item.body)) {
            self.contradicted += 1;
            self.freed += size(&item);
            return;
        }
        self.held.insert(seq, item.clone());
        steps.push(Step::Item { line: line.to_owned(), seq, item });
        if self.held.len() > MAX_HELD
            && let Some((seq, item)) = self.held.pop_first()
        {
            self.freed += size(&item);
            let paths = vec![path_of(line, &item.file)];
            steps.push(Step::Retire { line: line.to_owned(), seqs: vec![seq], paths, linger: LINGER });
        }
    }

    pub(super) fn stage(&mut self, serial: u64, edition: Edition) {
        let goes_back = |next: &PlaylistInfo| self.last.as_ref().is_some_and(|last| !follows(last, next));
        if serial <= self.shown || edition.info.as_ref().is_some_and(goes_back) {
            return;
        }
        self.staged.insert(serial, edition);
        if self.staged.len() > MAX_STAGED {
            self.staged.pop_first();
        }
    }

    /// Versions that list what will not come are never shown.
    pub(super) fn miss(&mut self, gone: &Ranges) -> u64 {
        let (held, pending) = (&self.held, &mut self.pending);
        let lost = |seq: u64| gone.contains(seq) && !held.contains_key(&seq);
        self.staged.retain(|_, edition| {
            let spans = gone.spans().iter().filter(|(first, last)| {
                edition.live.spans().iter().any(|(from, to)| first <= to && from <= last)
            });
            spans.take(1).count() == 0 || whole(&edition.live, held)
        });
        pending.retain(|_, item| !item.parts.iter().any(|part| lost(*part)));
        gone.len()
    }

    /// A word that is no version: what was said before it is not shown any more.
    pub(super) fn say(&mut self, line: &str, listed: Listed, steps: &mut Vec<Step>) {
        if listed.serial <= self.shown {
            return;
        }
        if let Word::Closed { linger } = listed.word {
            self.closing = Some((listed.serial, linger));
            return self.close(line, steps);
        }
        self.shown = listed.serial;
        self.staged = self.staged.split_off(&listed.serial.saturating_add(1));
        steps.push(Step::Show { line: line.to_owned(), listed });
    }

    /// The line ends once its last version was shown: who follows it is to see the end of the list.
    pub(super) fn close(&mut self, line: &str, steps: &mut Vec<Step>) {
        let Some((serial, linger)) =
            self.closing.filter(|(serial, _)| self.shown.saturating_add(1) >= *serial)
        else {
            return;
        };
        (self.closing, self.shown, self.last) = (None, serial, None);
        self.staged.clear();
        let listed = Listed { serial, word: Word::Closed { linger } };
        steps.push(Step::Show { line: line.to_owned(), listed });
        let held = std::mem::take(&mut self.held);
        self.freed += held.values().map(size).sum::<u64>();
        let paths = held.values().map(|item| path_of(line, &item.file));
        let orphans = std::mem::take(&mut self.orphans).into_keys().map(|file| path_of(line, &file));
        let paths = paths.chain(self.list.take()).chain(orphans).collect();
        let seqs = held.into_keys().collect();
        steps.push(Step::Retire { line: line.to_owned(), seqs, paths, linger });
    }

    /// Shows the newest version all of whose objects are here, and retires what it does not list.
    pub(super) fn release(&mut self, line: &str, steps: &mut Vec<Step>) {
        let newest = self.staged.iter().rev().find(|(_, edition)| whole(&edition.live, &self.held));
        let Some(serial) = newest.map(|(serial, _)| *serial) else { return };
        let later = self.staged.split_off(&serial.saturating_add(1));
        let Some((_, edition)) = std::mem::replace(&mut self.staged, later).pop_last() else { return };
        self.shown = serial;
        self.list = Some(path_of(line, &edition.file));
        self.last.clone_from(&edition.info);
        let (linger, live) = (edition.linger, edition.live.clone());
        let listed = Listed { serial, word: Word::Version(Box::new(edition)) };
        steps.push(Step::Show { line: line.to_owned(), listed });

        let end = live.last().map_or(0, |last| last.saturating_add(1));
        let over = self.held.range(..end).map(|(seq, _)| *seq).filter(|seq| !live.contains(*seq));
        let seqs: Vec<u64> = over.collect();
        let gone: Vec<Item> = seqs.iter().filter_map(|seq| self.held.remove(seq)).collect();
        let mut orphans = std::mem::take(&mut self.orphans);
        self.held.values().for_each(|item| drop(orphans.remove(&item.file)));
        let files = gone.iter().map(|item| item.file.clone()).chain(orphans.into_keys());
        let paths: Vec<ObjectPath> = files.map(|file| path_of(line, &file)).collect();
        if !paths.is_empty() {
            steps.push(Step::Retire { line: line.to_owned(), seqs, paths, linger });
        }
        self.freed += gone.iter().map(size).sum::<u64>();
    }
}

/// All of these are held.
fn whole(live: &Ranges, held: &BTreeMap<u64, Item>) -> bool {
    let count = |(first, last): &(u64, u64)| held.range(first..=last).count() as u64;
    live.spans().iter().all(|span| count(span) == (span.1 - span.0).saturating_add(1))
}

/// The same bytes, however they are cut.
fn is_same(one: &[Bytes], other: &[Bytes]) -> bool {
    one.iter().flatten().eq(other.iter().flatten())
}

pub(super) fn size(item: &Item) -> u64 {
    // What is made of others holds no bytes of its own.
    if item.parts.is_empty() { item.body.iter().map(|chunk| chunk.len() as u64).sum() } else { 0 }
}
