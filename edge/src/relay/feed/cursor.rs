//! Where one edge is in one line: what it was given, what it gets next, and what will not come.

use std::collections::BTreeSet;

use aqueduct_common::object::{ContentType, ObjectKind};
use bytes::Bytes;

use super::super::window::{Edition, Item, Line, Listed, Word};
use super::super::wire::{Body, Frame, Head, ListHead, Media, Ranges, What};
use super::{Class, Message, Parcel};

/// Complete segments that a cursor may be behind before it jumps to the newest one's end: for live, latency beats
/// history.
const MAX_BEHIND: usize = 2;

#[derive(Debug, Default)]
pub(super) struct Cursor {
    /// Objects of the window that it has or was sent.
    pub(super) given: BTreeSet<u64>,
    /// Everything from here on is live.
    pub(super) next: u64,
    /// Objects of it that did not arrive whole: a segment that went as a reference may need them, retired or not.
    pub(super) again: BTreeSet<u64>,
    /// What to send behind what is live, the last one first.
    pub(super) history: Vec<u64>,
    /// Objects that were not sent and will not come.
    pub(super) gone: Vec<u64>,
    /// Serial of the last word that was sent.
    pub(super) serial: u64,
    /// A version is being written: a later one waits, so that only the newest goes next.
    pub(super) writing: bool,
    pub(super) begun: bool,
    /// What is missing will not come.
    pub(super) ordered: bool,
    /// Everything below was there before it was wanted.
    pub(super) born: u64,
    /// How many late objects of the line were looked at.
    pub(super) late: u64,
}

/// What every message about a line says.
#[derive(Clone, Copy)]
pub(super) struct Address<'a> {
    pub(super) sub: u32,
    pub(super) epoch: u64,
    pub(super) line: &'a str,
}

impl Cursor {
    /// Puts the cursor at the newest complete segment's start; what is before it is history.
    pub(super) fn begin(&mut self, line: &Line) {
        if self.begun || line.items().is_empty() {
            // What came late may lie behind the cursor.
            if self.begun && self.late != line.late() {
                self.late = line.late();
                self.push_history(line, self.next);
            }
            return;
        }
        (self.begun, self.late, self.born) = (true, line.late(), line.next());
        let mut ends = line.items().iter().rev().filter(|(_, item)| item.kind == ObjectKind::Segment);
        let start = ends.nth(1).map_or(0, |(seq, _)| seq.saturating_add(1));
        let first = line.items().keys().next().copied().unwrap_or_default();
        self.next = start.max(first);
        self.push_history(line, self.next);
    }

    /// What is not given of the numbers below `end` is history, init segments and the newest segment first.
    fn push_history(&mut self, line: &Line, end: u64) {
        let (mut order, mut unit, mut inits) = (Vec::new(), Vec::new(), Vec::new());
        for (seq, item) in line.items().range(..end) {
            match item.kind {
                ObjectKind::Init => inits.push(*seq),
                _ => unit.push(*seq),
            }
            if item.kind == ObjectKind::Segment {
                let made = self.given.contains(seq);
                let is_retired = |seq: &u64| line.items().get(seq).is_some_and(|part| part.retired);
                unit.retain(|seq| self.again.contains(seq) || !(made && is_retired(seq)));
                // Within a segment its parts go first, and the last one of the list is the first to go.
                order.extend(unit.drain(..).rev());
            }
        }
        order.extend(unit.drain(..).rev());
        order.extend(inits.drain(..).rev());
        order.retain(|seq| !self.given.contains(seq));
        self.history = order;
    }

    /// An object did not arrive whole: it goes again, as long as it is there.
    pub(super) fn failed(&mut self, seq: u64) {
        if self.given.remove(&seq) {
            self.again.insert(seq);
            self.history.push(seq);
        }
    }

    pub(super) fn give(&mut self, seq: u64) {
        self.given.insert(seq);
        self.again.remove(&seq);
    }

    pub(super) fn next_word(&mut self, line: &Line, at: Address<'_>) -> Option<Message> {
        let Listed { serial, word } = line.listed()?;
        let (serial, sub, epoch, name) = (*serial, at.sub, at.epoch, at.line.to_owned());
        if serial <= self.serial || self.writing {
            return None;
        }
        self.serial = serial;
        Some(match word {
            Word::Version(edition) => {
                self.writing = true;
                // Numbers below the window's are of no use any more.
                if let Some(first) = line.items().keys().next() {
                    self.given = self.given.split_off(first);
                    self.again = self.again.split_off(first);
                }
                Message::Object(Box::new(version(edition, serial, line, at)))
            }
            Word::Asleep { file, demand, hold } => {
                let (file, demand, hold) = (file.to_string(), *demand, *hold);
                Message::Frame(Frame::Sleep { sub, epoch, line: name, serial, file, demand, hold })
            }
            Word::Closed { linger } => {
                Message::Frame(Frame::Close { sub, epoch, line: name, serial, linger: *linger })
            }
        })
    }

    /// The next object that is live, in order. A cursor that is too far behind jumps first.
    pub(super) fn next_live(&mut self, line: &Line) -> Option<u64> {
        let ahead = line.items().range(self.next..);
        let ends = ahead.filter(|(_, item)| item.kind == ObjectKind::Segment).map(|(seq, _)| *seq);
        let (count, newest) = ends.fold((0, 0), |(count, _), seq| (count + 1, seq));
        if self.begun && count > MAX_BEHIND {
            self.note_gone(line, newest.saturating_add(1));
            self.push_history(line, self.next);
        }
        let found =
            line.items().range(self.next..).map(|(seq, _)| *seq).find(|seq| !self.given.contains(seq));
        if let Some(seq) = found {
            self.note_gone(line, seq);
            self.next = seq.saturating_add(1);
        }
        found
    }

    /// Moves the cursor; what has left the window before it was sent will not come.
    fn note_gone(&mut self, line: &Line, to: u64) {
        if self.ordered {
            let here = |seq: &u64| line.items().contains_key(seq) || self.given.contains(seq);
            self.gone.extend((self.next..to).filter(|seq| !here(seq)));
        }
        self.next = self.next.max(to);
    }

    pub(super) fn next_old(&mut self, line: &Line) -> Option<u64> {
        while let Some(seq) = self.history.pop() {
            match line.items().contains_key(&seq) {
                true if !self.given.contains(&seq) => return Some(seq),
                true => {}
                false if self.ordered => self.gone.push(seq),
                false => {}
            }
        }
        None
    }

    pub(super) fn gap(&mut self, at: Address<'_>) -> Option<Frame> {
        if self.gone.is_empty() {
            return None;
        }
        let mut gone = std::mem::take(&mut self.gone);
        gone.sort_unstable();
        let (sub, epoch, line) = (at.sub, at.epoch, at.line.to_owned());
        Some(Frame::Gap { sub, epoch, line, gone: Ranges::of(gone) })
    }

    /// A segment goes as a reference where all of its parts went.
    pub(super) fn parcel(&self, seq: u64, item: &Item, class: Class, at: Address<'_>) -> Parcel {
        let made = !item.parts.is_empty() && item.parts.iter().all(|part| self.given.contains(part));
        let (body, bytes) = match made {
            true => (Body::Of(item.parts.to_vec()), Vec::new()),
            false => (Body::Bytes(length(&item.body)), item.body.clone()),
        };
        let media = Media { seq, kind: item.kind, body };
        let head = Head {
            sub: at.sub,
            epoch: at.epoch,
            line: at.line.to_owned(),
            file: item.file.to_string(),
            created: item.created,
            content_type: item.content_type,
            history: class == Class::History || item.history || seq < self.born,
            what: What::Media(media),
        };
        let priority = priority(item, class);
        Parcel { head, body: bytes, class, priority }
    }
}

/// Sound before pictures, small objects before large ones, and what was there before last (EDGE-16). There are few
/// levels: quinn keeps a queue for each.
fn priority(item: &Item, class: Class) -> i32 {
    match (item.kind, class, item.content_type) {
        (ObjectKind::Init, ..) => 35,
        (_, Class::History, _) => 0,
        (_, _, ContentType::AudioMp4) => 30,
        _ => match length(&item.body) {
            0..0x1_0000 => 24,
            0x1_0000..0x4_0000 => 22,
            _ => 20,
        },
    }
}

fn version(edition: &Edition, serial: u64, line: &Line, at: Address<'_>) -> Parcel {
    let len = length(&edition.full);
    let mut body = edition.full.clone();
    let what = match &edition.info {
        None => What::Index { serial, len },
        Some(info) => {
            let delta = edition.delta.as_ref().map(|delta| delta.len() as u32);
            body.extend(edition.delta.clone());
            // What was retired since is not listed by the newest version, and this is the newest.
            let live =
                line.items().iter().filter(|(seq, item)| !item.retired && edition.live.contains(**seq));
            let live = Ranges::of(live.map(|(seq, _)| *seq));
            let (linger, info) = (edition.linger, info.clone());
            What::List(ListHead { serial, live, linger, info, len, delta })
        }
    };
    let head = Head {
        sub: at.sub,
        epoch: at.epoch,
        line: at.line.to_owned(),
        file: edition.file.to_string(),
        created: edition.created,
        content_type: edition.content_type,
        history: false,
        what,
    };
    Parcel { head, body, class: Class::List, priority: 40 }
}

fn length(body: &[Bytes]) -> u32 {
    u32::try_from(body.iter().map(Bytes::len).sum::<usize>()).unwrap_or(u32::MAX)
}
