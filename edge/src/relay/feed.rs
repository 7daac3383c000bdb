//! What to send next to one edge of one stream. Pure: a [`Window`] and what the edge wants in, messages out.
//!
//! Each wanted line has a cursor that follows the window's head; what lies behind it is *history*, sent newest segment
//! first, behind everything that is live. A list's newest version alone is sent (EDGE-16, EDGE-22).

use std::collections::{BTreeMap, BTreeSet};

use aqueduct_common::object::{ContentType, ObjectKind};
use bytes::Bytes;

use super::window::{Edition, Item, Line, Listed, Window, Word};
use super::wire::{Body, Frame, Head, ListHead, Media, Ranges, What};

/// Complete segments that a cursor may be behind before it jumps to the newest one's end: for live, latency beats
/// history.
const MAX_BEHIND: usize = 2;
/// Lines that one edge may want of a stream.
const MAX_LINES: usize = 256;

/// What is sent to one edge of one stream.
#[derive(Debug)]
pub struct Feed {
    sub: u32,
    epoch: Option<u64>,
    told: Option<Told>,
    cursors: BTreeMap<String, Cursor>,
}

/// What the edge was last told of the stream as a whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Told {
    Absent,
    Lines { epoch: u64, generation: u64 },
    Ended { epoch: u64 },
}

#[derive(Debug, Default)]
struct Cursor {
    /// Objects of the window that it has or was sent.
    given: BTreeSet<u64>,
    /// Everything from here on is live.
    next: u64,
    /// What to send behind what is live, the last one first.
    history: Vec<u64>,
    /// Objects that were not sent and will not come.
    gone: Vec<u64>,
    /// Serial of the last word that was sent.
    serial: u64,
    /// A version is being written: a later one waits, so that only the newest goes next.
    writing: bool,
    begun: bool,
    /// What is missing will not come.
    ordered: bool,
    /// Everything below was there before it was wanted.
    born: u64,
    /// How many late objects of the line were looked at.
    late: u64,
}

/// How urgent something is; each has its room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// Lists.
    List,
    /// What has just been published.
    Live,
    /// What was there before.
    History,
}

/// Something to send.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message {
    /// On the control stream.
    Frame(Frame),
    /// On a stream of its own.
    Object(Box<Parcel>),
}

/// An object to send.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Parcel {
    /// What it is.
    pub head: Head,
    /// Its bytes.
    pub body: Vec<Bytes>,
    /// How urgent.
    pub class: Class,
    /// Among streams; higher goes first.
    pub priority: i32,
}

/// Where there is room for more.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// For what is live.
    pub live: bool,
    /// For what was there before.
    pub history: bool,
}

impl Feed {
    /// An edge that is interested in a stream, and wants nothing of it yet.
    pub fn new(sub: u32) -> Self {
        Self { sub, epoch: None, told: None, cursors: BTreeMap::new() }
    }

    /// The edge wants a line, and has these objects of it. `false` where it wants too many, and this one is left out.
    pub fn want(&mut self, line: &str, epoch: u64, have: &Ranges, window: Option<&Window>) -> bool {
        let exists = |line: &str| line.is_empty() || window.is_some_and(|window| window.line(line).is_some());
        if self.cursors.len() >= MAX_LINES && !self.cursors.contains_key(line) {
            // Wishes for what there is come before those for what there may be.
            let absent = self.cursors.keys().find(|line| !exists(line)).cloned();
            let Some(absent) = absent.filter(|_| exists(line)) else { return false };
            self.cursors.remove(&absent);
        }
        let mut cursor = Cursor::default();
        if let Some(window) = window.filter(|window| window.epoch() == epoch) {
            let items = window.line(line).map(Line::items).into_iter().flatten();
            cursor.given.extend(items.map(|(seq, _)| *seq).filter(|seq| have.contains(*seq)));
            // Where it begins counts within this epoch.
            self.epoch.get_or_insert(epoch);
        }
        self.cursors.insert(line.to_owned(), cursor);
        true
    }

    /// It wants the line no more.
    pub fn unwant(&mut self, line: &str) {
        self.cursors.remove(line);
    }

    /// Lines that it wants.
    pub fn wanted(&self) -> impl Iterator<Item = &str> {
        self.cursors.keys().map(String::as_str)
    }

    /// A version of the line's list is on its way: the next may follow.
    pub fn written(&mut self, line: &str) {
        if let Some(cursor) = self.cursors.get_mut(line) {
            cursor.writing = false;
        }
    }

    /// An object did not arrive whole: it is sent again, as long as it is there.
    pub fn failed(&mut self, line: &str, epoch: u64, seq: u64) {
        if self.epoch == Some(epoch)
            && let Some(cursor) = self.cursors.get_mut(line)
            && cursor.given.remove(&seq)
        {
            cursor.history.push(seq);
        }
    }

    /// The next message, if there is one for which there is room.
    pub fn next(&mut self, window: Option<&Window>, room: Room) -> Option<Message> {
        let Some(window) = window else {
            if self.told == Some(Told::Absent) {
                return None;
            }
            self.turn(None);
            self.told = Some(Told::Absent);
            return Some(Message::Frame(Frame::Absent { sub: self.sub }));
        };
        if self.epoch != Some(window.epoch()) {
            self.turn(Some(window.epoch()));
        }
        let lines = Told::Lines { epoch: window.epoch(), generation: window.generation() };
        let ended = Told::Ended { epoch: window.epoch() };
        if self.told != Some(lines) && self.told != Some(ended) {
            self.told = Some(lines);
            let frame = Frame::Stream { sub: self.sub, epoch: window.epoch(), lines: window.names() };
            return Some(Message::Frame(frame));
        }
        if let Some(message) = self.next_of_lines(window, room) {
            return Some(message);
        }
        let linger = window.ended().filter(|_| self.told != Some(ended))?;
        self.told = Some(ended);
        let (sub, epoch, finals) = (self.sub, window.epoch(), window.finals());
        Some(Message::Frame(Frame::End { sub, epoch, linger, finals }))
    }

    fn next_of_lines(&mut self, window: &Window, room: Room) -> Option<Message> {
        let (sub, epoch) = (self.sub, window.epoch());
        for (name, cursor) in &mut self.cursors {
            let Some(line) = window.line(name) else { continue };
            cursor.ordered = window.is_ordered();
            cursor.begin(line);
            if let Some(message) = cursor.next_word(line, Address { sub, epoch, line: name }) {
                return Some(message);
            }
        }
        for class in [Class::Live, Class::History] {
            let has_room = if class == Class::Live { room.live } else { room.history };
            for (name, cursor) in self.cursors.iter_mut().filter(|_| has_room) {
                let Some(line) = window.line(name) else { continue };
                let address = Address { sub, epoch, line: name };
                let found = if class == Class::Live { cursor.next_live(line) } else { cursor.next_old(line) };
                if let Some(seq) = found
                    && let Some(item) = line.items().get(&seq)
                {
                    cursor.given.insert(seq);
                    return Some(Message::Object(Box::new(cursor.parcel(seq, item, class, address))));
                }
                if let Some(frame) = cursor.gap(address) {
                    return Some(Message::Frame(frame));
                }
            }
        }
        None
    }

    fn turn(&mut self, epoch: Option<u64>) {
        self.epoch = epoch;
        for cursor in self.cursors.values_mut() {
            *cursor = Cursor { writing: cursor.writing, ..Cursor::default() };
        }
    }
}

/// What every message about a line says.
#[derive(Clone, Copy)]
struct Address<'a> {
    sub: u32,
    epoch: u64,
    line: &'a str,
}

impl Cursor {
    /// Puts the cursor at the newest complete segment's start; what is before it is history.
    fn begin(&mut self, line: &Line) {
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
                unit.retain(|seq| !(made && line.items().get(seq).is_some_and(|part| part.retired)));
                // Within a segment its parts go first, and the last one of the list is the first to go.
                order.extend(unit.drain(..).rev());
            }
        }
        order.extend(unit.drain(..).rev());
        order.extend(inits.drain(..).rev());
        order.retain(|seq| !self.given.contains(seq));
        self.history = order;
    }

    fn next_word(&mut self, line: &Line, at: Address<'_>) -> Option<Message> {
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
    fn next_live(&mut self, line: &Line) -> Option<u64> {
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

    fn next_old(&mut self, line: &Line) -> Option<u64> {
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

    fn gap(&mut self, at: Address<'_>) -> Option<Frame> {
        if self.gone.is_empty() {
            return None;
        }
        let mut gone = std::mem::take(&mut self.gone);
        gone.sort_unstable();
        let (sub, epoch, line) = (at.sub, at.epoch, at.line.to_owned());
        Some(Frame::Gap { sub, epoch, line, gone: Ranges::of(gone) })
    }

    /// A segment goes as a reference where all of its parts went.
    fn parcel(&self, seq: u64, item: &Item, class: Class, at: Address<'_>) -> Parcel {
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

#[cfg(test)]
mod tests {
    use aqueduct_common::object::{ObjectPath, Update};

    use super::*;

    #[test]
    fn wishes_for_lines_that_are_none_do_not_stand_in_the_way_of_one_that_is() {
        let mut window = Window::new(1);
        let (path, hold) = (ObjectPath::new("e/v0/media.m3u8"), std::time::Duration::from_secs(1));
        window.apply(Update::Sleep { path, demand: 1, hold }, 0);
        let (mut feed, none) = (Feed::new(1), Ranges::default());
        let mut want = |line: &str| feed.want(line, 0, &none, Some(&window));
        assert!(want(""));
        for number in 1..MAX_LINES {
            assert!(want(&format!("x{number}")));
        }
        assert!(!want("one more"));
        assert!(want("e/v0"));
        assert!(feed.wanted().any(str::is_empty));
        assert_eq!(feed.wanted().count(), MAX_LINES);
    }
}
