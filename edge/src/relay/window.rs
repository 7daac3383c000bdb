//! What a node holds of one stream to feed others with: numbered objects by line, and each line's newest list. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use aqueduct_common::object::{ContentType, Object, ObjectKind, PlaylistInfo, Update};
use bytes::Bytes;

use super::wire::{Ranges, split};

/// How long what is retired lingers where nothing said how long.
pub(crate) const LINGER: Duration = Duration::from_secs(10);

/// Init segment, part or segment, as it was published.
#[derive(Clone, Debug)]
pub struct Item {
    /// What it is.
    pub kind: ObjectKind,
    /// Its content type.
    pub content_type: ContentType,
    /// Its name within its line.
    pub file: Arc<str>,
    /// Its bytes.
    pub body: Vec<Bytes>,
    /// The objects of the line whose bytes, one after the other, are its own; empty for what has bytes of its own.
    pub parts: Arc<[u64]>,
    /// When it was published where it was made, in microseconds since 1970.
    pub created: i64,
    /// It was there before it was asked for: how late it is says nothing of the link.
    pub history: bool,
    /// No list names it any more, but a segment that is listed is made of it.
    pub retired: bool,
}

/// The newest word on a line's list.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Place among the line's words: a later one has a greater number.
    pub serial: u64,
    /// The word.
    pub word: Word,
}

/// What is said of a line's list.
#[derive(Clone, Debug)]
pub enum Word {
    /// A version of it.
    Version(Box<Edition>),
    /// It sleeps.
    Asleep {
        /// Its file.
        file: Arc<str>,
        /// What to report when it is asked for.
        demand: u8,
        /// How long a request is held.
        hold: Duration,
    },
    /// The line has ended.
    Closed {
        /// How long its objects stay fetchable.
        linger: Duration,
    },
}

/// A version of a playlist.
#[derive(Clone, Debug)]
pub struct Edition {
    /// Its file within the line.
    pub file: Arc<str>,
    /// Its content type.
    pub content_type: ContentType,
    /// Its text.
    pub full: Vec<Bytes>,
    /// The delta update of the same version.
    pub delta: Option<Bytes>,
    /// A media playlist's particulars, with neither `delta` nor `needs`; `None` for a multivariant playlist.
    pub info: Option<PlaylistInfo>,
    /// Objects of the line that were there and not retired when it was published.
    pub live: Ranges,
    /// How long what it retires stays fetchable.
    pub linger: Duration,
    /// When it was published where it was made, in microseconds since 1970.
    pub created: i64,
}

/// One stream.
#[derive(Debug)]
pub struct Window {
    epoch: u64,
    lines: BTreeMap<Arc<str>, Line>,
    /// Counts changes of what can be wanted.
    generation: u64,
    /// Counts objects and words.
    count: u64,
    ended: Option<Duration>,
    /// Its objects come from another node, in any order.
    relayed: bool,
    /// Lines that the other node has.
    offered: BTreeSet<String>,
}

/// One line: objects that share a directory.
#[derive(Debug, Default)]
pub struct Line {
    next: u64,
    items: BTreeMap<u64, Item>,
    files: HashMap<Arc<str>, u64>,
    /// Parts by the place of their first bytes: how a segment's parts are known again.
    places: HashMap<(usize, usize), u64>,
    listed: Option<Listed>,
    linger: Option<Duration>,
    /// Objects that came after one of a greater number.
    late: u64,
}

impl Window {
    /// Nothing yet, in an epoch of its own.
    pub fn new(epoch: u64) -> Self {
        let (lines, offered) = (BTreeMap::new(), BTreeSet::new());
        Self { epoch, lines, generation: 0, count: 0, ended: None, relayed: false, offered }
    }

    /// The same for what comes from another node, numbered, in any order.
    pub fn relayed(epoch: u64) -> Self {
        Self { relayed: true, ..Self::new(epoch) }
    }

    /// What is missing between its objects will not come.
    pub fn is_ordered(&self) -> bool {
        !self.relayed
    }

    /// What numbers belong to.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Grows when [`Window::names`] says something new.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Grows with every object and word.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Lines that can be wanted.
    pub fn names(&self) -> Vec<String> {
        let open = |line: &Line| !matches!(line.listed, Some(Listed { word: Word::Closed { .. }, .. }));
        let own = self.lines.iter().filter(|(_, line)| open(line)).map(|(name, _)| name.to_string());
        let more = self.offered.iter().filter(|name| !self.lines.contains_key(name.as_str()));
        own.chain(more.cloned()).collect()
    }

    /// The node that this comes from has these lines: they can be wanted before anything of them is here. Answers
    /// whether that is news.
    pub fn offer(&mut self, lines: &BTreeSet<String>) -> bool {
        let news = *lines != self.offered;
        self.generation += u64::from(news);
        self.offered.clone_from(lines);
        news
    }

    /// A line.
    pub fn line(&self, name: &str) -> Option<&Line> {
        self.lines.get(name)
    }

    /// It has ended: how long everything lingers.
    pub fn ended(&self) -> Option<Duration> {
        self.ended
    }

    /// Serial of each line's last word.
    pub fn finals(&self) -> Vec<(String, u64)> {
        let last = |line: &Line| line.listed.as_ref().map(|listed| listed.serial);
        self.lines.iter().filter_map(|(name, line)| Some((name.to_string(), last(line)?))).collect()
    }

    /// Takes what a packager publishes, and numbers it. `now` is in microseconds since 1970.
    pub fn apply(&mut self, update: Update, now: i64) {
        match update {
            Update::Publish(object) => self.publish(object, now),
            Update::Retire { path, linger } => {
                let (line, file) = split(path.as_str());
                let Some(line) = self.lines.get_mut(line) else { return };
                if line.retire(file, linger) {
                    self.generation += 1;
                }
            }
            Update::Sleep { path, demand, hold } => {
                let (line, file) = split(path.as_str());
                let line = self.line_mut(line);
                line.say(Word::Asleep { file: file.into(), demand, hold });
            }
            Update::End { linger } => self.ended = Some(linger),
        }
    }

    fn publish(&mut self, object: Object, now: i64) {
        let Object { path, kind, content_type, body, playlist } = object;
        self.count += 1;
        let (line, file) = split(path.as_str());
        let file: Arc<str> = file.into();
        let line = self.line_mut(line);
        let mut info = playlist;
        if info.is_none() && kind != ObjectKind::Multivariant {
            let parts = line.parts_of(kind, &body);
            let item =
                Item { kind, content_type, file, body, parts, created: now, history: false, retired: false };
            return line.insert(line.next, item);
        }
        let delta = info.as_mut().and_then(|info| info.delta.take());
        let info = info.map(|info| PlaylistInfo { needs: None, ..info });
        let (live, linger) = (line.live(), line.linger.unwrap_or(LINGER));
        let edition = Edition { file, content_type, full: body, delta, info, live, linger, created: now };
        line.say(Word::Version(Box::new(edition)));
    }

    /// Takes an object that has a number already.
    pub fn insert(&mut self, line: &str, seq: u64, item: Item) {
        // History says nothing of whether the stream goes on.
        self.count += u64::from(!item.history);
        self.line_mut(line).insert(seq, item);
    }

    /// Takes a word that has a serial already.
    pub fn show(&mut self, line: &str, listed: Listed) {
        self.count += 1;
        let closed = matches!(listed.word, Word::Closed { .. });
        self.line_mut(line).listed = Some(listed);
        self.generation += u64::from(closed);
    }

    /// Objects that no list names any more.
    pub fn retire(&mut self, line: &str, seqs: &[u64]) {
        if let Some(line) = self.lines.get_mut(line) {
            seqs.iter().for_each(|seq| line.drop_item(*seq));
        }
    }

    /// A line of which nothing is held any more.
    pub fn forget(&mut self, line: &str) {
        if self.lines.remove(line).is_some() {
            self.generation += 1;
        }
    }

    /// Everything lingers from now on.
    pub fn end(&mut self, linger: Duration) {
        self.ended = Some(linger);
    }

    fn line_mut(&mut self, name: &str) -> &mut Line {
        if !self.lines.contains_key(name) {
            self.generation += 1;
        }
        self.lines.entry(name.into()).or_default()
    }
}

impl Line {
    /// The number of the next object.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Its objects by number.
    pub fn items(&self) -> &BTreeMap<u64, Item> {
        &self.items
    }

    /// The newest word on its list.
    pub fn listed(&self) -> Option<&Listed> {
        self.listed.as_ref()
    }

    /// Objects that are not retired.
    fn live(&self) -> Ranges {
        Ranges::of(self.items.iter().filter(|(_, item)| !item.retired).map(|(seq, _)| *seq))
    }

    /// How many objects came after one of a greater number.
    pub fn late(&self) -> u64 {
        self.late
    }

    fn insert(&mut self, seq: u64, item: Item) {
        self.late += u64::from(seq < self.next);
        self.next = self.next.max(seq.saturating_add(1));
        if let (ObjectKind::Part, Some(first)) = (item.kind, item.body.first()) {
            self.places.insert(place(first), seq);
        }
        self.files.insert(item.file.clone(), seq);
        self.items.insert(seq, item);
    }

    fn say(&mut self, word: Word) {
        let serial = self.listed.as_ref().map_or(1, |listed| listed.serial + 1);
        self.listed = Some(Listed { serial, word });
    }

    /// Nothing lists the file any more. Answers whether the line has ended with it.
    fn retire(&mut self, file: &str, linger: Duration) -> bool {
        self.linger = Some(linger);
        if let Some(seq) = self.files.get(file).copied() {
            self.drop_item(seq);
            return false;
        }
        let own = match self.listed.as_ref().map(|listed| &listed.word) {
            Some(Word::Version(edition)) => *edition.file == *file,
            Some(Word::Asleep { file: own, .. }) => **own == *file,
            _ => false,
        };
        if own {
            self.say(Word::Closed { linger });
        }
        own
    }

    /// Lets an object go, unless a segment that stays is made of it.
    fn drop_item(&mut self, seq: u64) {
        let needed = |item: &Item| item.parts.contains(&seq);
        let is_part = self.items.get(&seq).is_some_and(|item| item.kind == ObjectKind::Part);
        if is_part && self.items.range(seq..).any(|(_, item)| needed(item)) {
            if let Some(item) = self.items.get_mut(&seq) {
                item.retired = true;
            }
            return;
        }
        let Some(item) = self.items.remove(&seq) else { return };
        self.files.remove(&item.file);
        if let Some(first) = item.body.first().filter(|_| is_part) {
            self.places.remove(&place(first));
        }
        for part in item.parts.iter() {
            if self.items.get(part).is_some_and(|part| part.retired) {
                self.drop_item(*part);
            }
        }
    }

    /// The parts whose bytes a segment's body is, where all are known.
    fn parts_of(&self, kind: ObjectKind, body: &[Bytes]) -> Arc<[u64]> {
        let (mut parts, mut rest) = (Vec::new(), body);
        while kind == ObjectKind::Segment
            && let Some(first) = rest.first()
        {
            let part = self.places.get(&place(first)).and_then(|seq| Some((*seq, self.items.get(seq)?)));
            let Some((seq, item)) = part else { return Arc::default() };
            let same = |(one, other): (&Bytes, &Bytes)| place(one) == place(other);
            if rest.len() < item.body.len() || !item.body.iter().zip(rest).all(same) {
                return Arc::default();
            }
            parts.push(seq);
            rest = &rest[item.body.len()..];
        }
        parts.into()
    }
}

fn place(bytes: &Bytes) -> (usize, usize) {
    (bytes.as_ptr() as usize, bytes.len())
}

#[cfg(test)]
mod tests {
    use aqueduct_common::object::ObjectPath;

    use super::*;

    fn publish(window: &mut Window, path: &str, kind: ObjectKind, body: Vec<Bytes>) {
        let content_type = ContentType::VideoMp4;
        let object = Object { path: ObjectPath::new(path), kind, content_type, body, playlist: None };
        window.apply(Update::Publish(object), 0);
    }

    fn retire(window: &mut Window, path: &str) {
        window.apply(Update::Retire { path: ObjectPath::new(path), linger: Duration::from_secs(3) }, 0);
    }

    #[test]
    fn a_segment_is_its_parts_and_keeps_them_when_they_are_retired() {
        let mut window = Window::new(1);
        let parts: Vec<Vec<Bytes>> =
            (0..2u8).map(|n| vec![Bytes::from(vec![n; 4]), Bytes::from(vec![n; 9])]).collect();
        publish(&mut window, "e/v0/p0", ObjectKind::Part, parts[0].clone());
        publish(&mut window, "e/v0/p1", ObjectKind::Part, parts[1].clone());
        publish(&mut window, "e/v0/s0", ObjectKind::Segment, parts.concat());
        let seqs = |window: &Window| window.line("e/v0").unwrap().live().spans().to_vec();
        assert_eq!(*window.line("e/v0").unwrap().items()[&2].parts, [0, 1]);
        retire(&mut window, "e/v0/p0");
        assert_eq!(seqs(&window), [(1, 2)]);
        assert!(window.line("e/v0").unwrap().items()[&0].retired);
        retire(&mut window, "e/v0/s0");
        // The part that was retired goes with its segment; the other one is still listed.
        assert_eq!(window.line("e/v0").unwrap().items().keys().copied().collect::<Vec<_>>(), [1]);
        // Bytes that are no part's are a body of its own.
        publish(&mut window, "e/v0/s1", ObjectKind::Segment, vec![Bytes::from_static(b"other")]);
        assert!(window.line("e/v0").unwrap().items()[&3].parts.is_empty());
    }

    #[test]
    fn a_line_ends_with_its_list_and_is_named_no_more() {
        let mut window = Window::new(1);
        publish(&mut window, "index.m3u8", ObjectKind::Multivariant, vec![]);
        let sleep = Update::Sleep { path: ObjectPath::new("e/v1/media.m3u8"), demand: 1, hold: LINGER };
        window.apply(sleep, 0);
        assert_eq!(window.names(), ["", "e/v1"]);
        let before = window.generation();
        retire(&mut window, "e/v1/media.m3u8");
        assert_eq!((window.names(), window.generation()), (vec![String::new()], before + 1));
        assert_eq!(window.finals(), [(String::new(), 1), ("e/v1".to_owned(), 2)]);
        // What another node has is named before it is here; what has ended here is not.
        let offered = BTreeSet::from(["e/v1".to_owned(), "e/v2".to_owned()]);
        assert!(window.offer(&offered));
        assert_eq!((window.names(), window.generation()), (vec![String::new(), "e/v2".into()], before + 2));
        assert!(!window.offer(&offered));
    }
}
