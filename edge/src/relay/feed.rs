//! What to send next to one edge of one stream. Pure: a [`Window`] and what the edge wants in, messages out.
//!
//! Each wanted line has a cursor that follows the window's head; what lies behind it is *history*, sent newest segment
//! first, behind everything that is live. A list's newest version alone is sent (EDGE-16, EDGE-22).

mod cursor;

use std::collections::BTreeMap;

use bytes::Bytes;

use self::cursor::{Address, Cursor};
use super::window::{Line, Window};
use super::wire::{Frame, Head, Ranges};

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
        {
            cursor.failed(seq);
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
                    cursor.give(seq);
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

#[cfg(test)]
mod tests;
