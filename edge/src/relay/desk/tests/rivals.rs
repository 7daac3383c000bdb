//! An origin that does not hear that another one has taken its stream over goes on beside it, under the same names
//! (EDGE-29, EDGE-46): at an edge, whatever it hears of either and of the directory, no listed name comes to mean two
//! things, and lists do not go back.

use std::collections::{BTreeMap, VecDeque};

use aqueduct_common::object::{
    Ahead, ContentType, Object, ObjectKind, ObjectPath, PlaylistInfo, Update, Version,
};
use bytes::Bytes;
use proptest::prelude::*;

use super::super::super::feed::{Feed, Message, Room};
use super::super::super::window::Window;
use super::*;
use crate::route::At as Asked;
use crate::stream::Answer;

const LIST: &str = "e1/v0/media.m3u8";
/// Parts that a list names.
const LISTED: u64 = 4;
/// How far beyond the last number a standby begins.
const JUMP: u64 = 3;

/// One of the two: its packager, and what it feeds the edge with.
struct Rival {
    who: char,
    window: Option<Window>,
    next: u64,
    feed: Option<Feed>,
    said: Option<mpsc::Receiver<Frame>>,
}

impl Rival {
    fn begin(&mut self, epoch: u64, next: u64) {
        let (mut window, content_type) = (Window::new(epoch), ContentType::Hls);
        let (path, kind) = (ObjectPath::new("index.m3u8"), ObjectKind::Multivariant);
        let body = vec![Bytes::from_static(b"#EXTM3U\n")];
        window.apply(Update::Publish(Object { path, kind, content_type, body, playlist: None }), 0);
        (self.window, self.next) = (Some(window), next);
    }

    /// A part, and the list that names it.
    fn part(&mut self) {
        let (Some(window), number) = (&mut self.window, self.next) else { return };
        let path = |number: u64| ObjectPath::new(format!("e1/v0/p{number}"));
        let object = |path, kind, text: String, playlist| {
            let body = vec![Bytes::from(text)];
            Update::Publish(Object { path, kind, content_type: ContentType::VideoMp4, body, playlist })
        };
        let part = object(path(number), ObjectKind::Part, format!("{} {number}", self.who), None);
        window.apply(part, 0);
        let listed = (number.saturating_sub(LISTED - 1)..=number).map(path);
        let listed: String = listed
            .filter(|path| {
                let file = path.as_str().rsplit('/').next().unwrap_or_default();
                window.line("e1/v0").is_some_and(|line| line.items().values().any(|item| *item.file == *file))
            })
            .map(|path| format!("{}\n", path.as_str()))
            .collect();
        let info = PlaylistInfo {
            version: Version { msn: number, part: 0, complete: false },
            delta: None,
            hint: None,
            ahead: Ahead { parts: 30, hold: std::time::Duration::from_secs(8) },
            target_duration: std::time::Duration::from_secs(1),
            ended: false,
            needs: None,
            demand: None,
        };
        let text = format!("{number}\n{listed}");
        window.apply(object(ObjectPath::new(LIST), ObjectKind::Playlist, text, Some(info)), 0);
        if let Some(old) = number.checked_sub(LISTED) {
            window.apply(Update::Retire { path: path(old), linger: std::time::Duration::ZERO }, 0);
        }
        self.next += 1;
    }

    /// What the edge says to it.
    fn listen(&mut self) {
        while let Some(frame) = self.said.as_mut().and_then(|said| said.try_recv().ok()) {
            match (frame, &mut self.feed) {
                (Frame::Subscribe { sub, .. }, feed) => *feed = Some(Feed::new(sub)),
                (Frame::Unsubscribe { .. }, feed) => *feed = None,
                (Frame::Want { line, epoch, have, .. }, Some(feed)) => {
                    feed.want(&line, epoch, &have, self.window.as_ref());
                }
                (Frame::Unwant { line, .. }, Some(feed)) => feed.unwant(&line),
                _ => {}
            }
        }
    }
}

/// Two origins, the second of which has the push and stands by, and an edge.
struct World {
    desk: Desk,
    rivals: [Rival; 2],
    holders: watch::Sender<Arc<[crate::cluster::Origin]>>,
    _origins: watch::Sender<Vec<String>>,
    /// What each name that was listed means.
    meant: BTreeMap<String, Bytes>,
    newest: Option<u64>,
    /// One history is given up for the other.
    settling: bool,
}

/// What the directory says: whose the stream is, and the lease's number.
fn word(holder: usize, term: u64) -> Arc<[crate::cluster::Origin]> {
    let origin = crate::cluster::Origin {
        node: format!("o{holder}").parse().unwrap(),
        relay: format!("origin:{holder}"),
        streams: Arc::new(BTreeMap::from([(name("live/show"), term)])),
    };
    vec![origin].into()
}

impl World {
    fn new() -> Self {
        let (holders, heard) = watch::channel(Vec::new().into());
        let (desk, origins) = desk(&["live/show"], &["origin:0", "origin:1"], heard);
        desk.options.wants.keep(&name("live/show"));
        let rival = |who| Rival { who, window: None, next: 0, feed: None, said: None };
        let rivals = [rival('a'), rival('b')];
        let (meant, newest, settling) = (BTreeMap::new(), None, false);
        let mut world = Self { desk, rivals, holders, _origins: origins, meant, newest, settling };
        world.rivals[0].begin(10, 0);
        world.desk.look();
        world
    }

    fn up(&mut self, place: usize) {
        if self.rivals[place].said.is_some() {
            return;
        }
        let ((frames, said), cut) = (mpsc::channel(1_000), CancellationToken::new());
        self.rivals[place].said = Some(said);
        hear(&mut self.desk, Told::Up { place, outbox: Outbox { frames, cut, conn: None } });
    }

    fn down(&mut self, place: usize) {
        (self.rivals[place].said, self.rivals[place].feed) = (None, None);
        hear(&mut self.desk, Told::Down { place });
    }

    /// The standby gets the lease: it knows how far the first one was.
    fn take_over(&mut self) {
        if self.rivals[1].window.is_none() {
            let next = self.rivals[0].next + JUMP;
            self.rivals[1].begin(20, next);
        }
    }

    /// The directory's word comes to the edge.
    fn told(&mut self) {
        let taken_over = self.rivals[1].window.is_some();
        self.holders.send_replace(if taken_over { word(1, 9) } else { word(0, 5) });
        self.desk.choose_all();
    }

    /// A viewer asks for the list: what nobody asks for is taken only where a node has it that is heard first.
    fn asked(&mut self) {
        let _ = self.desk.options.wants.line(&name("live/show"), "e1/v0", None);
        self.desk.look();
    }

    /// So many messages of each at most come to the edge.
    fn carry(&mut self, most: usize) {
        for place in 0..2 {
            for _ in 0..most {
                self.rivals[place].listen();
                let rival = &mut self.rivals[place];
                let room = Room { live: true, history: true };
                let message = rival.feed.as_mut().and_then(|feed| feed.next(rival.window.as_ref(), room));
                match message {
                    None => break,
                    Some(Message::Object(parcel)) => {
                        rival.feed.iter_mut().for_each(|feed| feed.written(&parcel.head.line));
                        self.desk.intake.object(place, &parcel.head, parcel.body.concat().into());
                    }
                    Some(Message::Frame(frame)) => match &frame {
                        Frame::Gap { sub, .. } | Frame::Close { sub, .. } => {
                            self.desk.intake.frame(place, *sub, &frame);
                        }
                        _ => hear(&mut self.desk, Told::Frame { place, frame }),
                    },
                }
                self.check();
            }
        }
    }

    fn read(&self, path: &str) -> Option<Bytes> {
        match self.desk.options.store.find("live/show")?.read(path, Asked::Now) {
            Answer::Ready(entry) => Some(entry.full().plain().chunks().concat().into()),
            _ => None,
        }
    }

    fn check(&mut self) {
        let Some(text) = self.read(LIST).filter(|_| !self.settling) else { return };
        let text = String::from_utf8(text.to_vec()).unwrap();
        let mut lines = text.lines();
        let number = lines.next().and_then(|line| line.parse::<u64>().ok());
        assert!(number >= self.newest, "{number:?} after {:?}", self.newest);
        self.newest = number;
        for path in lines {
            let body = self.read(path).unwrap_or_else(|| panic!("{path} is listed and not here"));
            let meant = self.meant.entry(path.to_owned()).or_insert_with(|| body.clone());
            assert_eq!(*meant, body, "{path} has come to mean another thing");
        }
    }

    /// Whose part it is that the edge's list ends with.
    fn shows(&self) -> Option<char> {
        let text = String::from_utf8(self.read(LIST)?.to_vec()).ok()?;
        self.read(text.lines().last()?)?.first().map(|byte| char::from(*byte))
    }
}

/// One thing that happens.
#[derive(Clone, Copy, Debug)]
enum Happens {
    Part(usize),
    TakeOver,
    /// The first one hears of it, and withdraws.
    Learn,
    Up(usize),
    Down(usize),
    Told,
    Carry(usize),
}

fn happenings() -> impl Strategy<Value = VecDeque<Happens>> {
    let one = prop_oneof![
        8 => (0usize..2).prop_map(Happens::Part),
        1 => Just(Happens::TakeOver),
        1 => prop::bool::weighted(0.2).prop_map(|it| if it { Happens::Learn } else { Happens::Carry(9) }),
        3 => (0usize..2).prop_map(Happens::Up),
        2 => (0usize..2).prop_map(Happens::Down),
        1 => Just(Happens::Told),
        8 => (1usize..9).prop_map(Happens::Carry),
    ];
    prop::collection::vec(one, 1..200).prop_map(VecDeque::from)
}

fn happen(world: &mut World, what: Happens) {
    match what {
        Happens::Part(rival) => world.rivals[rival].part(),
        Happens::TakeOver => world.take_over(),
        Happens::Learn if world.rivals[1].window.is_some() => world.rivals[0].window = None,
        Happens::Learn => {}
        Happens::Up(place) => world.up(place),
        Happens::Down(place) => world.down(place),
        Happens::Told => world.told(),
        Happens::Carry(most) => world.carry(most),
    }
    world.check();
}

fn inside<T>(run: impl FnOnce() -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let _inside = runtime.enter();
    run()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_listed_name_comes_to_mean_two_things_and_in_the_end_the_younger_history_is_shown(what in happenings()) {
        inside(|| {
            let mut world = World::new();
            what.into_iter().for_each(|what| happen(&mut world, what));
            // Both can be heard at last, and the directory: the first one goes on for as long as it does not learn.
            world.take_over();
            (0..2).for_each(|place| world.up(place));
            world.told();
            world.asked();
            let behind = world.rivals[0].next.saturating_sub(world.rivals[1].next);
            for _ in 0..behind + 2 * LISTED {
                (0..2).for_each(|rival| world.rivals[rival].part());
                world.carry(usize::MAX);
            }
            assert_eq!(world.shows(), Some('b'));
        });
    }
}

#[test]
fn the_older_history_is_not_gone_back_to_before_nothing_of_the_younger_is_shown() {
    inside(|| {
        let mut world = World::new();
        (0..2).for_each(|place| world.up(place));
        (0..6).for_each(|_| world.rivals[0].part());
        world.carry(usize::MAX);
        assert_eq!(world.shows(), Some('a'));
        // No word of the directory comes here.
        world.take_over();
        (0..6).for_each(|_| world.rivals[1].part());
        world.carry(usize::MAX);
        assert_eq!(world.shows(), Some('b'), "the younger one counts as soon as it is seen");
        world.down(1);
        (0..20).for_each(|_| world.rivals[0].part());
        world.carry(usize::MAX);
        let show = name("live/show");
        assert_eq!((world.shows(), world.desk.streams[&show].leader.node()), (Some('b'), None));
        // After a minute without anybody who may be followed the stream ends here, and may begin anew.
        let begin = now();
        let at = |seconds| begin + std::time::Duration::from_secs(seconds);
        world.desk.tick(at(0), false);
        // Its link comes and goes meanwhile.
        world.down(0);
        world.up(0);
        world.carry(usize::MAX);
        world.desk.tick(at(59), false);
        assert_eq!(world.desk.streams[&show].leader.node(), None);
        world.desk.tick(at(61), false);
        assert_eq!(world.desk.streams[&show].leader.node(), Some(0));
    });
}

#[test]
fn a_word_that_comes_after_the_stream_is_old_once_the_younger_history_is_followed() {
    inside(|| {
        let mut world = World::new();
        world.up(0);
        (0..6).for_each(|_| world.rivals[0].part());
        world.carry(usize::MAX);
        world.told();
        world.take_over();
        world.up(1);
        (0..6).for_each(|_| world.rivals[1].part());
        world.carry(usize::MAX);
        world.down(0);
        world.carry(usize::MAX);
        let leader = |world: &World| world.desk.streams[&name("live/show")].leader.node();
        assert_eq!((world.shows(), leader(&world)), (Some('b'), Some(1)));
        world.up(0);
        world.carry(usize::MAX);
        assert_eq!(leader(&world), Some(1), "the first one's lease was heard of before");
    });
}

#[test]
fn what_was_refused_for_its_name_is_asked_for_again_once_the_older_history_is_given_up() {
    inside(|| {
        let mut world = World::new();
        world.up(0);
        (0..6).for_each(|_| world.rivals[0].part());
        world.take_over();
        // Cut in two, both go on under the same names.
        while world.rivals[0].next < 15 {
            world.rivals[0].part();
        }
        while world.rivals[1].next < 16 {
            world.rivals[1].part();
        }
        world.carry(usize::MAX);
        assert_eq!(world.shows(), Some('a'));
        world.up(1);
        world.carry(usize::MAX);
        let begin = now();
        for seconds in [0, 9] {
            world.desk.tick(begin + std::time::Duration::from_secs(seconds), false);
            world.carry(usize::MAX);
            assert_eq!(
                world.shows(),
                Some('a'),
                "the younger one's objects are refused where their names are shown"
            );
        }
        // The older list lingers, while its names come to mean what the younger one means by them.
        (world.settling, world.meant) = (true, BTreeMap::new());
        world.desk.tick(begin + std::time::Duration::from_secs(11), false);
        world.carry(usize::MAX);
        world.settling = false;
        assert_eq!(world.shows(), Some('b'), "what was refused came again");
        world.check();
    });
}

#[test]
fn what_was_asked_of_one_that_withdraws_is_taken_from_the_other_at_the_next_look() {
    inside(|| {
        let mut world = World::new();
        (0..2).for_each(|place| world.up(place));
        world.take_over();
        world.rivals[1].part();
        // The first one was heard first, and withdraws without a word of the directory.
        world.carry(1);
        world.rivals[0].window = None;
        world.asked();
        world.carry(usize::MAX);
        assert_eq!(world.desk.streams[&name("live/show")].leader.node(), Some(1));
        world.desk.tick(now(), false);
        world.rivals[1].part();
        world.carry(usize::MAX);
        assert_eq!(world.shows(), Some('b'));
    });
}
