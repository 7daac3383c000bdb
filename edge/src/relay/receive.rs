//! What becomes of a stream's objects where they arrive: any order in, ordered steps out. Pure.
//!
//! Media are taken as they come; a list's version is shown when every object that it lists is held, and then everything
//! older that it does not list is retired. So whatever is lost, late, doubled or re-sent, what is shown is always whole,
//! and only goes forward (EDGE-14, EDGE-46).

mod line;
mod step;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use self::line::{Incoming, size};
use self::step::{edition, index, item};
use super::window::{LINGER, Listed, Word};
use super::wire::{Frame, Head, Ranges, What, path_of};

pub use self::step::Step;

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
