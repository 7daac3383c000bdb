//! What becomes of a stream's objects where they arrive: any order in, ordered steps out. Pure.
//!
//! Media are taken as they come; a list's version is shown when every object that it lists is held, and then everything
//! older that it does not list is retired. So whatever is lost, late, doubled or re-sent, what is shown is always whole,
//! and only goes forward (EDGE-14, EDGE-46).

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use aqueduct_common::object::{Object, ObjectKind, ObjectPath, PlaylistInfo, Update};
use bytes::Bytes;

use super::window::{Edition, Item, LINGER, Listed, Word};
use super::wire::{Body, Frame, Head, ListHead, Media, Ranges, What, path_of};
use crate::playlist::follows;

/// Versions that wait for what they list; when there are more, the oldest is given up: a later one stands for it.
const MAX_STAGED: usize = 64;
/// Objects of one line that are held at most; the oldest go first.
const MAX_HELD: usize = 32_768;
/// Bytes of one stream that are held at most: what comes beyond is refused.
const MAX_BYTES: u64 = 4 << 30;
/// Epochs that are remembered as over.
const MAX_PAST: usize = 8;

/// One stream, as it arrives.
#[derive(Debug, Default)]
pub struct Receiver {
    epoch: Option<u64>,
    /// Epochs that are over: what still comes of them is left out.
    past: VecDeque<u64>,
    lines: BTreeMap<String, Incoming>,
    end: Option<(Duration, Vec<(String, u64)>)>,
    /// Bytes held.
    bytes: u64,
    counts: Counts,
}

/// What happened since it was last asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Objects that were here already.
    pub doubled: u64,
    /// Objects that will not come.
    pub gone: u64,
    /// Objects of another epoch or an unwanted line.
    pub strays: u64,
    /// Objects beyond what may be held.
    pub refused: u64,
}

/// One wanted line.
#[derive(Debug, Default)]
struct Incoming {
    held: BTreeMap<u64, Item>,
    /// Segments whose parts are not all here.
    pending: BTreeMap<u64, Item>,
    staged: BTreeMap<u64, Edition>,
    /// Serial of the last word that was shown.
    shown: u64,
    /// The list's path, once one was shown in any epoch.
    list: Option<ObjectPath>,
    /// What the list said last that was shown, in any epoch.
    last: Option<PlaylistInfo>,
    /// Files of the epoch before and their bytes, which go when this one shows a list that does not have them. Until then
    /// their names mean what they meant (EDGE-29).
    orphans: BTreeMap<Arc<str>, Vec<Bytes>>,
    /// The line ends with this serial.
    closing: Option<(u64, Duration)>,
    /// Bytes that were let go and still count as held.
    freed: u64,
    /// Objects with the name of another one that is still shown, which still count as taken.
    contradicted: u64,
}

/// One change, in order: what a store is told of, and a node that feeds others.
#[derive(Clone, Debug)]
pub enum Step {
    /// Everything from here on is of this epoch.
    Turn {
        /// The epoch.
        epoch: u64,
    },
    /// An object is here.
    Item {
        /// Its line.
        line: String,
        /// Its number.
        seq: u64,
        /// The object.
        item: Item,
    },
    /// There is a new word on a line's list.
    Show {
        /// The line.
        line: String,
        /// The word.
        listed: Listed,
    },
    /// No list names these any more.
    Retire {
        /// Their line.
        line: String,
        /// Their numbers, where they have one in this epoch.
        seqs: Vec<u64>,
        /// Their paths.
        paths: Vec<ObjectPath>,
        /// How long they stay fetchable.
        linger: Duration,
    },
    /// The line is not wanted any more: as if it had never been here.
    Forget {
        /// The line.
        line: String,
    },
    /// The stream has ended.
    End {
        /// How long everything stays fetchable.
        linger: Duration,
    },
}

impl Receiver {
    /// Wants a line from now on; answers what is had of it, to be asked for the rest.
    pub fn want(&mut self, line: &str) -> (u64, Ranges) {
        let incoming = self.lines.entry(line.to_owned()).or_default();
        // A segment that waits for its parts is asked for again, and with it they are.
        (self.epoch.unwrap_or_default(), Ranges::of(incoming.held.keys().copied()))
    }

    /// Wants a line no more.
    pub fn unwant(&mut self, line: &str) -> Vec<Step> {
        let Some(incoming) = self.lines.remove(line) else { return Vec::new() };
        self.bytes = self.bytes.saturating_sub(incoming.held.values().map(size).sum());
        vec![Step::Forget { line: line.to_owned() }]
    }

    /// The line's list has been shown in this epoch.
    pub fn is_shown(&self, line: &str) -> bool {
        self.lines.get(line).is_some_and(|incoming| incoming.shown > 0)
    }

    /// The running epoch.
    pub fn epoch(&self) -> Option<u64> {
        self.epoch
    }

    /// What happened since this was last asked.
    pub fn counts(&mut self) -> Counts {
        std::mem::take(&mut self.counts)
    }

    /// Whether this is an epoch that follows the running one: a later one of the same node has a greater number.
    fn begins(&self, epoch: u64) -> bool {
        self.epoch.is_none_or(|running| running < epoch) && !self.past.contains(&epoch)
    }

    /// Another epoch begins: what is here is shown until the new epoch's lists are.
    pub fn turn(&mut self, epoch: u64) -> Vec<Step> {
        if self.epoch == Some(epoch) {
            return Vec::new();
        }
        if let Some(last) = self.epoch.replace(epoch) {
            self.past.push_back(last);
            self.past.keep_newest(MAX_PAST);
        }
        self.past.retain(|past| *past != epoch);
        (self.end, self.bytes) = (None, 0);
        for incoming in self.lines.values_mut() {
            let held = std::mem::take(&mut incoming.held);
            incoming.orphans.extend(held.into_values().map(|item| (item.file, item.body)));
            incoming.pending.clear();
            incoming.staged.clear();
            (incoming.shown, incoming.closing) = (0, None);
        }
        vec![Step::Turn { epoch }]
    }

    /// An object came whole. `leading` is whether it came from the node that this stream is taken from: only that one
    /// may begin another epoch.
    pub fn object(&mut self, head: &Head, body: Bytes, leading: bool) -> Vec<Step> {
        let mut steps = Vec::new();
        if leading && self.begins(head.epoch) {
            steps = self.turn(head.epoch);
        }
        let Some(incoming) = self.lines.get_mut(&head.line).filter(|_| self.epoch == Some(head.epoch)) else {
            self.counts.strays += 1;
            return steps;
        };
        if body.len() != head.follows() || self.bytes.saturating_add(body.len() as u64) > MAX_BYTES {
            self.counts.refused += 1;
            return steps;
        }
        let line = head.line.as_str();
        match &head.what {
            What::Media(media) if incoming.has(media.seq, &media.body) => self.counts.doubled += 1,
            What::Media(media) => {
                self.bytes += body.len() as u64;
                incoming.take(line, item(head, media, body), media, &mut steps);
            }
            What::List(list) => incoming.stage(list.serial, edition(head, list.clone(), &body)),
            What::Index { serial, .. } => incoming.stage(*serial, index(head, body)),
        }
        self.settle(line, &mut steps);
        steps
    }

    /// A frame about a line or the stream came.
    pub fn frame(&mut self, frame: &Frame, leading: bool) -> Vec<Step> {
        let mut steps = Vec::new();
        let Some((epoch, line)) = subject(frame) else { return steps };
        if leading && self.begins(epoch) {
            steps = self.turn(epoch);
        }
        if self.epoch != Some(epoch) {
            return steps;
        }
        if let Frame::End { linger, finals, .. } = frame {
            self.end = Some((*linger, finals.clone()));
        }
        if let Some(incoming) = self.lines.get_mut(line) {
            match frame {
                Frame::Gap { gone, .. } => self.counts.gone += incoming.miss(gone),
                Frame::Sleep { serial, file, demand, hold, .. } => {
                    let word = Word::Asleep { file: file.as_str().into(), demand: *demand, hold: *hold };
                    incoming.list = Some(path_of(line, file));
                    incoming.say(line, Listed { serial: *serial, word }, &mut steps);
                }
                Frame::Close { serial, linger, .. } => {
                    let word = Word::Closed { linger: *linger };
                    incoming.say(line, Listed { serial: *serial, word }, &mut steps);
                }
                _ => {}
            }
        }
        self.settle(line, &mut steps);
        steps
    }

    /// Nobody has the stream any more: what is here lingers. It may come back in the same epoch.
    pub fn abandon(&mut self) -> Vec<Step> {
        let epoch = self.epoch;
        let steps = self.finish(LINGER);
        self.past.retain(|past| Some(*past) != epoch);
        steps
    }

    /// Lines of the epoch before that the running one has not shown: they are not waited for any longer.
    pub fn drop_orphans(&mut self) -> Vec<Step> {
        let mut steps = Vec::new();
        for (line, incoming) in self.lines.iter_mut().filter(|(_, incoming)| incoming.shown == 0) {
            let orphans = std::mem::take(&mut incoming.orphans);
            incoming.last = None;
            let paths = orphans.into_keys().map(|file| path_of(line, &file));
            let paths: Vec<_> = paths.chain(incoming.list.take()).collect();
            if !paths.is_empty() {
                steps.push(Step::Retire { line: line.clone(), seqs: Vec::new(), paths, linger: LINGER });
            }
        }
        steps
    }

    /// An end that was announced is not waited for any longer.
    pub fn end_now(&mut self) -> Vec<Step> {
        match self.end.take() {
            Some((linger, _)) => self.finish(linger),
            None => Vec::new(),
        }
    }

    /// Shows what can be shown of a line, and ends the stream where that was the last of it.
    fn settle(&mut self, line: &str, steps: &mut Vec<Step>) {
        if let Some(incoming) = self.lines.get_mut(line) {
            incoming.release(line, steps);
            incoming.close(line, steps);
            self.bytes = self.bytes.saturating_sub(std::mem::take(&mut incoming.freed));
            self.counts.refused += std::mem::take(&mut incoming.contradicted);
        }
        let last = |finals: &[(String, u64)], name: &str| {
            finals.iter().find(|(line, _)| line == name).map_or(0, |(_, serial)| *serial)
        };
        let whole = self.end.as_ref().is_some_and(|(_, finals)| {
            self.lines.iter().all(|(name, incoming)| incoming.shown >= last(finals, name))
        });
        if whole {
            steps.extend(self.end_now());
        }
    }

    fn finish(&mut self, linger: Duration) -> Vec<Step> {
        if let Some(epoch) = self.epoch.take() {
            self.past.push_back(epoch);
            self.past.keep_newest(MAX_PAST);
        }
        (self.end, self.bytes) = (None, 0);
        self.lines.values_mut().for_each(|incoming| *incoming = Incoming::default());
        vec![Step::End { linger }]
    }
}

impl Incoming {
    /// A segment that waits for parts is not here while its bytes come in another way.
    fn has(&self, seq: u64, body: &Body) -> bool {
        let pending = matches!(body, Body::Of(_)) && self.pending.contains_key(&seq);
        pending || self.held.contains_key(&seq)
    }

    fn take(&mut self, line: &str, item: Item, media: &Media, steps: &mut Vec<Step>) {
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

    fn stage(&mut self, serial: u64, edition: Edition) {
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
    fn miss(&mut self, gone: &Ranges) -> u64 {
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
    fn say(&mut self, line: &str, listed: Listed, steps: &mut Vec<Step>) {
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
    fn close(&mut self, line: &str, steps: &mut Vec<Step>) {
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
    fn release(&mut self, line: &str, steps: &mut Vec<Step>) {
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

impl Step {
    /// What a store is told.
    pub fn updates(self) -> Vec<Update> {
        match self {
            Self::Turn { .. } | Self::Forget { .. } => Vec::new(),
            Self::Item { line, item, .. } => {
                let Item { kind, content_type, file, body, .. } = item;
                let path = path_of(&line, &file);
                vec![Update::Publish(Object { path, kind, content_type, body, playlist: None })]
            }
            Self::Show { line, listed } => listed.word.update(&line).into_iter().collect(),
            Self::Retire { paths, linger, .. } => {
                paths.into_iter().map(|path| Update::Retire { path, linger }).collect()
            }
            Self::End { linger } => vec![Update::End { linger }],
        }
    }
}

impl Word {
    fn update(self, line: &str) -> Option<Update> {
        match self {
            Self::Version(edition) => {
                let Edition { file, content_type, full, delta, info, .. } = *edition;
                let kind = if info.is_some() { ObjectKind::Playlist } else { ObjectKind::Multivariant };
                let playlist = info.map(|mut info| {
                    info.delta = delta;
                    info
                });
                let path = path_of(line, &file);
                Some(Update::Publish(Object { path, kind, content_type, body: full, playlist }))
            }
            Self::Asleep { file, demand, hold } => {
                Some(Update::Sleep { path: path_of(line, &file), demand, hold })
            }
            Self::Closed { .. } => None,
        }
    }
}

/// Epoch and line that a frame is about.
fn subject(frame: &Frame) -> Option<(u64, &str)> {
    match frame {
        Frame::Gap { epoch, line, .. }
        | Frame::Sleep { epoch, line, .. }
        | Frame::Close { epoch, line, .. } => Some((*epoch, line)),
        Frame::Stream { epoch, .. } | Frame::End { epoch, .. } => Some((*epoch, "")),
        _ => None,
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

fn size(item: &Item) -> u64 {
    // What is made of others holds no bytes of its own.
    if item.parts.is_empty() { item.body.iter().map(|chunk| chunk.len() as u64).sum() } else { 0 }
}

fn item(head: &Head, media: &Media, body: Bytes) -> Item {
    let (body, parts): (_, Arc<[u64]>) = match &media.body {
        Body::Bytes(_) => (vec![body], Arc::default()),
        Body::Of(parts) => (Vec::new(), parts.as_slice().into()),
    };
    Item {
        kind: media.kind,
        content_type: head.content_type,
        file: head.file.as_str().into(),
        body,
        parts,
        created: head.created,
        history: head.history,
        retired: false,
    }
}

fn edition(head: &Head, list: ListHead, body: &Bytes) -> Edition {
    let len = list.len as usize;
    Edition {
        file: head.file.as_str().into(),
        content_type: head.content_type,
        full: vec![body.slice(..len)],
        delta: list.delta.map(|_| body.slice(len..)),
        info: Some(list.info),
        live: list.live,
        linger: list.linger,
        created: head.created,
    }
}

fn index(head: &Head, body: Bytes) -> Edition {
    Edition {
        file: head.file.as_str().into(),
        content_type: head.content_type,
        full: vec![body],
        delta: None,
        info: None,
        live: Ranges::default(),
        linger: LINGER,
        created: head.created,
    }
}

/// Forgets the oldest of a queue.
trait KeepNewest {
    fn keep_newest(&mut self, most: usize);
}

impl KeepNewest for VecDeque<u64> {
    fn keep_newest(&mut self, most: usize) {
        while self.len() > most {
            self.pop_front();
        }
    }
}

#[cfg(test)]
mod tests;
