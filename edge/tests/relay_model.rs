//! EDGE-46 as a property: whatever the order, loss, doubling and cutting of what goes from an origin to an edge, what the
//! edge shows is a sequence of the origin's versions that only goes forward, and everything that is listed is there.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use aqueduct_common::StreamName;
use aqueduct_common::object::{
    Ahead, ContentType, Object, ObjectKind, ObjectPath, PlaylistInfo, Publish, Update, Version,
};
use aqueduct_edge::relay::Hub;
use aqueduct_edge::relay::feed::{Feed, Message, Parcel, Room};
use aqueduct_edge::relay::receive::{Receiver, Step};
use aqueduct_edge::relay::window::Window;
use aqueduct_edge::relay::wire::{Frame, What};
use aqueduct_edge::{Answer, Store};
use bytes::Bytes;
use proptest::prelude::*;

const LINE: &str = "e1/v0";
const LIST: &str = "e1/v0/media.m3u8";
/// Parts of a segment, and segments of which the list names all parts, and segments that it names at all.
const PARTS: u64 = 3;
/// Edges, each fed by the one before it.
const HOPS: usize = 2;
const OPEN: u64 = 2;
const SEGMENTS: u64 = 4;

/// One thing that happens.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// The origin publishes its next part.
    Part,
    /// The origin lists what it has.
    List,
    /// The origin starts anew, and its numbers with it; its paths go on.
    Restart,
    /// A hop gets one of the objects under way, by its place, and perhaps once more later.
    Deliver { hop: usize, place: usize, again: bool },
    /// A hop gets the next frames of the control stream.
    Hear { hop: usize, count: usize },
    /// A connection breaks, with all that is under way, and another one is made.
    Cut { hop: usize },
    /// An object is given up by the one who sends it.
    GiveUp { hop: usize, place: usize },
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let (place, hop) = (0usize..64, 0usize..HOPS);
    let event = prop_oneof![
        8 => Just(Event::Part),
        6 => Just(Event::List),
        1 => Just(Event::Restart),
        40 => (hop.clone(), place.clone(), prop::bool::weighted(0.2))
            .prop_map(|(hop, place, again)| Event::Deliver { hop, place, again }),
        10 => (hop.clone(), 1usize..4).prop_map(|(hop, count)| Event::Hear { hop, count }),
        1 => hop.clone().prop_map(|hop| Event::Cut { hop }),
        1 => (hop, place).prop_map(|(hop, place)| Event::GiveUp { hop, place }),
    ];
    prop::collection::vec(event, 1..400)
}

/// The origin: a packager of one rendition, and the window that feeds the edge.
struct Origin {
    window: Window,
    epoch: u64,
    next: u64,
    /// Bytes of the open segment's parts.
    open: Vec<Bytes>,
    /// Files that the list names, oldest first.
    listed: VecDeque<String>,
    /// Texts of all versions that were published.
    versions: Vec<String>,
    version: u64,
}

impl Origin {
    fn new() -> Self {
        let mut origin = Self {
            window: Window::new(1),
            epoch: 1,
            next: 0,
            open: Vec::new(),
            listed: VecDeque::new(),
            versions: Vec::new(),
            version: 0,
        };
        origin.init();
        origin
    }

    fn init(&mut self) {
        let index = "#EXTM3U\n# the multivariant playlist\n";
        self.publish("init.mp4".into(), ObjectKind::Init, vec![Bytes::from_static(b"init")]);
        let object = object("index.m3u8", ObjectKind::Multivariant, vec![index.into()], None);
        self.window.apply(Update::Publish(object), 0);
    }

    fn publish(&mut self, file: String, kind: ObjectKind, body: Vec<Bytes>) {
        let object = object(&format!("{LINE}/{file}"), kind, body, None);
        self.window.apply(Update::Publish(object), 0);
        self.listed.push_back(file);
    }

    fn part(&mut self) {
        let body = Bytes::from(format!("part {}", self.next));
        self.open.push(body.clone());
        self.publish(format!("p{}", self.next), ObjectKind::Part, vec![body]);
        self.next += 1;
        if self.next.is_multiple_of(PARTS) {
            let (msn, body) = (self.next / PARTS - 1, std::mem::take(&mut self.open));
            self.publish(format!("s{msn}"), ObjectKind::Segment, body);
        }
    }

    /// Lists what is there, less what is too old, and retires that.
    fn list(&mut self) {
        if self.next == 0 {
            return;
        }
        let msn = (self.next - 1) / PARTS;
        let old = |file: &String| match file.split_at(1) {
            ("p", number) => number.parse::<u64>().unwrap() / PARTS + OPEN < msn,
            ("s", number) => number.parse::<u64>().unwrap() + SEGMENTS < msn,
            _ => false,
        };
        let (gone, kept): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(&mut self.listed).into_iter().partition(old);
        self.listed = kept;
        let text = self.listed.iter().map(|file| format!("{file}\n")).collect::<String>();
        let text = format!("#{}\n{text}", self.version);
        let info = PlaylistInfo {
            version: Version { msn: self.version, part: 0, complete: false },
            delta: Some(Bytes::from_static(b"delta")),
            hint: None,
            ahead: Ahead { parts: 30, hold: Duration::from_secs(8) },
            target_duration: Duration::from_secs(1),
            ended: false,
            needs: self.listed.back().map(|file| ObjectPath::new(format!("{LINE}/{file}"))),
            demand: None,
        };
        let list = object(LIST, ObjectKind::Playlist, vec![text.clone().into()], Some(info));
        self.window.apply(Update::Publish(list), 0);
        for file in gone {
            let path = ObjectPath::new(format!("{LINE}/{file}"));
            self.window.apply(Update::Retire { path, linger: Duration::ZERO }, 0);
        }
        self.version += 1;
        self.versions.push(text);
    }

    /// What was there before is not: names and versions go on.
    fn restart(&mut self) {
        self.epoch += 1;
        self.window = Window::new(self.epoch);
        self.listed.clear();
        self.open.clear();
        self.next = self.next.next_multiple_of(PARTS);
        self.init();
    }
}

fn object(path: &str, kind: ObjectKind, body: Vec<Bytes>, playlist: Option<PlaylistInfo>) -> Object {
    Object { path: ObjectPath::new(path), kind, content_type: ContentType::VideoMp4, body, playlist }
}

/// The edge, and what is under way to it.
struct Edge {
    feed: Feed,
    receiver: Receiver,
    store: Store,
    hub: Hub,
    name: StreamName,
    objects: Vec<Parcel>,
    frames: VecDeque<Frame>,
    /// How many versions were seen.
    seen: Option<usize>,
    begin: Instant,
}

impl Edge {
    #[expect(clippy::disallowed_methods, reason = "a moment to count from")]
    fn new(window: Option<&Window>) -> Self {
        let mut edge = Self {
            feed: Feed::new(1),
            receiver: Receiver::default(),
            store: Store::new(),
            hub: Hub::new(),
            name: "live/show".parse().unwrap(),
            objects: Vec::new(),
            frames: VecDeque::new(),
            seen: None,
            begin: Instant::now(),
        };
        edge.connect(window);
        edge
    }

    fn connect(&mut self, window: Option<&Window>) {
        (self.feed, self.objects, self.frames) = (Feed::new(1), Vec::new(), VecDeque::new());
        for line in ["", LINE] {
            let (epoch, have) = self.receiver.want(line);
            assert!(self.feed.want(line, epoch, &have, window));
        }
    }

    /// Whoever feeds it sends what there is to send.
    fn pump(&mut self, window: Option<&Window>, most: usize) {
        for _ in 0..most {
            let room = Room { live: self.objects.len() < 12, history: self.objects.len() < 6 };
            match self.feed.next(window, room) {
                Some(Message::Frame(frame)) => self.frames.push_back(frame),
                Some(Message::Object(parcel)) => {
                    self.feed.written(&parcel.head.line);
                    self.objects.push(*parcel);
                }
                None => return,
            }
        }
    }

    fn deliver(&mut self, place: usize, again: bool) {
        if self.objects.is_empty() {
            return;
        }
        let place = place % self.objects.len();
        let parcel = if again { self.objects[place].clone() } else { self.objects.swap_remove(place) };
        let body: Bytes = parcel.body.concat().into();
        let steps = self.receiver.object(&parcel.head, body, true);
        self.carry_out(steps);
    }

    /// Lists are not given up while the connection lives.
    fn give_up(&mut self, place: usize) {
        if self.objects.is_empty() {
            return;
        }
        let place = place % self.objects.len();
        if let What::Media(media) = &self.objects[place].head.what {
            let seq = media.seq;
            let head = self.objects.swap_remove(place).head;
            self.feed.failed(&head.line, head.epoch, seq);
        }
    }

    fn hear(&mut self) {
        let Some(frame) = self.frames.pop_front() else { return };
        let steps = self.receiver.frame(&frame, true);
        self.carry_out(steps);
    }

    fn carry_out(&mut self, steps: Vec<Step>) {
        for step in steps {
            self.hub.relay(&self.name, &step);
            step.updates().into_iter().for_each(|update| self.store.publish(&self.name, update));
        }
        self.store.sweep(self.begin, 0);
    }

    fn read(&self, path: &str) -> Option<Bytes> {
        match self.store.find("live/show")?.read(path, aqueduct_edge::route::At::Now) {
            Answer::Ready(entry) => Some(entry.full().plain().chunks().concat().into()),
            _ => None,
        }
    }

    fn check(&mut self, origin: &Origin) {
        let Some(text) = self.read(LIST) else { return };
        let text = std::str::from_utf8(&text).unwrap().to_owned();
        let number: usize = text.lines().next().unwrap()[1..].parse().unwrap();
        assert_eq!(origin.versions[number], text, "a version that the origin did not publish");
        assert!(Some(number) >= self.seen, "version {number} after {:?}", self.seen);
        self.seen = Some(number);
        for file in text.lines().skip(1) {
            let body = self.read(&format!("{LINE}/{file}"));
            let expected = match file.split_at(1) {
                ("p", number) => format!("part {number}"),
                ("s", number) => {
                    let first = number.parse::<u64>().unwrap() * PARTS;
                    (first..first + PARTS).map(|part| format!("part {part}")).collect()
                }
                _ => "init".to_owned(),
            };
            assert_eq!(body.as_deref(), Some(expected.as_bytes()), "{file} of version {number}");
        }
    }
}

/// The origin, and edges of which each is fed by the one before it.
struct Chain {
    origin: Origin,
    edges: Vec<Edge>,
}

impl Chain {
    fn new() -> Self {
        let origin = Origin::new();
        let edges = (0..HOPS).map(|hop| Edge::new((hop == 0).then_some(&origin.window))).collect();
        Self { origin, edges }
    }

    /// Lets one edge act, with the window that it is fed from.
    fn with(&mut self, hop: usize, act: impl FnOnce(&mut Edge, Option<&Window>)) {
        let (before, edge) = self.edges.split_at_mut(hop);
        match before.last() {
            None => act(&mut edge[0], Some(&self.origin.window)),
            Some(before) => {
                let channel = before.hub.channel(&before.name).unwrap();
                act(&mut edge[0], channel.window().as_ref());
            }
        }
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Part => self.origin.part(),
            Event::List => self.origin.list(),
            Event::Restart => {
                self.origin.restart();
                self.with(0, |edge, window| edge.connect(window));
            }
            Event::Deliver { hop, place, again } => self.edges[hop].deliver(place, again),
            Event::Hear { hop, count } => (0..count).for_each(|_| self.edges[hop].hear()),
            Event::Cut { hop } => self.with(hop, |edge, window| edge.connect(window)),
            Event::GiveUp { hop, place } => self.edges[hop].give_up(place),
        }
    }

    fn pump(&mut self, most: usize) {
        for hop in 0..HOPS {
            self.with(hop, |edge, window| edge.pump(window, most));
            self.edges[hop].check(&self.origin);
        }
    }
}

fn run(events: &[Event]) {
    let mut chain = Chain::new();
    for event in events {
        chain.happens(*event);
        chain.pump(3);
    }
    // At last everything arrives: all show what the origin shows.
    chain.origin.part();
    chain.origin.list();
    loop {
        chain.pump(usize::MAX);
        if chain.edges.iter().all(|edge| edge.objects.is_empty() && edge.frames.is_empty()) {
            break;
        }
        for edge in &mut chain.edges {
            edge.hear();
            edge.deliver(0, false);
        }
    }
    for (hop, edge) in chain.edges.iter().enumerate() {
        let newest = Some(chain.origin.versions.len() - 1);
        assert_eq!(edge.seen, newest, "the newest version is not shown at hop {hop}");
        assert!(edge.read("index.m3u8").is_some());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 400 } else { 4_000 }))]

    #[test]
    fn an_edge_shows_what_its_origin_shows_and_lists_nothing_that_is_missing(events in events()) {
        run(&events);
    }
}

/// A segment may go as a reference to its parts before one of them is given up: that one is still wanted when no list names
/// it any more.
#[test]
fn a_part_that_was_given_up_is_sent_again_while_its_segment_needs_it() {
    use Event::{Deliver, GiveUp, List, Part};
    let give_up = |place| {
        let mut events = vec![Part; 3];
        events.extend([List, List, Deliver { hop: 0, place: 0, again: false }]);
        events.extend([Part; 6]);
        events.extend([GiveUp { hop: 0, place }, List, List, List]);
        events.extend([Part; 5]);
        events
    };
    (0..16).for_each(|place| run(&give_up(place)));
}

#[test]
fn an_edge_that_comes_late_gets_segments_whose_parts_are_retired() {
    let mut origin = Origin::new();
    for _ in 0..30 {
        origin.part();
        origin.list();
    }
    let mut edge = Edge::new(Some(&origin.window));
    let mut bytes = 0;
    loop {
        edge.pump(Some(&origin.window), usize::MAX);
        bytes += edge
            .objects
            .iter()
            .map(|parcel| parcel.body.iter().map(Bytes::len).sum::<usize>())
            .sum::<usize>();
        while !edge.objects.is_empty() || !edge.frames.is_empty() {
            edge.hear();
            edge.deliver(0, false);
        }
        edge.check(&origin);
        if edge.seen == Some(29) {
            break;
        }
    }
    // No byte of media goes twice: segments are references to their parts.
    let media: usize = (0..30u64).map(|part| format!("part {part}").len()).sum();
    assert!(bytes < media + origin.versions[29].len() + 100, "{bytes} bytes for {media} of media");
}
