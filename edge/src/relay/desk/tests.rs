//! Which wishes reach a node, and what becomes of them there.

mod rivals;

use tokio_util::sync::CancellationToken;

use super::super::hub::Hub;
use super::super::tls::ClientAuth;
use super::super::wants::Wants;
use super::*;
use crate::store::Store;

/// A desk, and what it says to its one node.
struct Office {
    desk: Desk,
    said: mpsc::Receiver<Frame>,
    cut: CancellationToken,
    _origins: watch::Sender<Vec<String>>,
}

/// A desk with these nodes, none of which is up.
fn desk(
    prefetch: &[&str],
    addresses: &[&str],
    holders: watch::Receiver<Arc<[crate::cluster::Origin]>>,
) -> (Desk, watch::Sender<Vec<String>>) {
    let (origins, list) = watch::channel(Vec::new());
    let (wants, hub) = (Wants::default(), Hub::new());
    let store = Store::fed(wants.clone());
    let intake = Arc::new(Intake::new(store.clone(), hub.clone(), wants.clone()));
    let options = Options {
        node: "edge".into(),
        auth: watch::channel(ClientAuth::with_tokens(Vec::new()).unwrap()).1,
        refused: watch::channel(Arc::default()).1,
        origins: list,
        holders,
        prefetch: prefetch.iter().map(|text| text.parse().unwrap()).collect(),
        idle: std::time::Duration::from_secs(30),
        store,
        hub,
        wants,
        events: aqueduct_common::event::bus(16).0,
    };
    let node = |address: &&str| {
        let (address, task) = ((*address).to_owned(), tokio::spawn(async {}));
        Node { address, task, outbox: None, lends: false, trail: None, barred: None }
    };
    let (told, trail) = (mpsc::channel(16).0, watch::Sender::new(Trail::default()));
    let (nodes, streams) = (addresses.iter().map(node).collect(), HashMap::new());
    (Desk { options, intake, trail, told, nodes, streams, subs: 0, unseen: false }, origins)
}

/// Nothing else is said meanwhile.
fn hear(desk: &mut Desk, told: Told) {
    desk.hear_all(told, &mut mpsc::channel(1).1);
}

impl Office {
    fn new(prefetch: &[&str], room: usize) -> Self {
        let holders = watch::channel(Vec::new().into()).1;
        let (mut desk, origins) = desk(prefetch, &["origin:1"], holders);
        let ((frames, said), cut) = (mpsc::channel(room), CancellationToken::new());
        hear(&mut desk, Told::Up { place: 0, outbox: Outbox { frames, cut: cut.clone(), conn: None } });
        Self { desk, said, cut, _origins: origins }
    }

    fn wants(&self) -> Wants {
        self.desk.options.wants.clone()
    }

    fn heard(&mut self, frame: Frame) {
        hear(&mut self.desk, Told::Frame { place: 0, frame });
    }

    fn has(&mut self, sub: u32, lines: &[&str]) {
        let lines = lines.iter().map(|line| (*line).to_owned()).collect();
        self.heard(Frame::Stream { sub, epoch: 1, lines });
    }

    /// Lines that were asked for since the last time.
    fn asked(&mut self) -> Vec<String> {
        let said = std::iter::from_fn(|| self.said.try_recv().ok());
        let wish = |frame| if let Frame::Want { line, .. } = frame { Some(line) } else { None };
        said.filter_map(wish).collect()
    }

    fn tick(&mut self, seconds: u64) {
        self.desk.tick(now() + std::time::Duration::from_secs(seconds), false);
    }
}

fn name(text: &str) -> StreamName {
    text.parse().unwrap()
}

#[tokio::test]
async fn only_lines_that_the_node_names_are_asked_of_it() {
    let mut office = Office::new(&[], 1_000);
    let (wants, show) = (office.wants(), name("live/show"));
    let real = wants.line(&show, "e/v0", None).unwrap();
    let made_up: Vec<_> =
        (0..200).map(|number| wants.line(&show, &format!("x{number}"), None).unwrap()).collect();
    office.desk.look();
    assert_eq!(office.asked(), [""], "nothing is known of the stream yet");
    office.has(1, &["", "e/v0", "e/v1"]);
    assert_eq!(office.asked(), ["e/v0"]);
    // A line that is named later is asked for then.
    let later = wants.line(&show, "e/v2", None).unwrap();
    office.desk.look();
    office.has(1, &["", "e/v0", "e/v2"]);
    assert_eq!(office.asked(), ["e/v2"]);
    // Who waits for what nobody names is told so; the others wait on.
    office.tick(2);
    for made_up in made_up {
        assert_eq!(made_up.settled().await, Due::Absent);
    }
    wants.settle(&show, "e/v0", Due::Here);
    wants.settle(&show, "e/v2", Due::Here);
    assert_eq!((real.settled().await, later.settled().await), (Due::Here, Due::Here));
    assert_eq!(wants.streams().get_mut(&show).unwrap().lines.len(), 2);
}

#[tokio::test]
async fn what_nobody_has_is_let_go_once_nobody_waits_for_it() {
    let mut office = Office::new(&[], 1_000);
    let (wants, show) = (office.wants(), name("live/show"));
    let coming = wants.stream(&show, None).unwrap();
    let line = wants.line(&show, "e/v0", None).unwrap();
    office.desk.look();
    office.heard(Frame::Absent { sub: 1 });
    assert_eq!(line.settled().await, Due::Absent);
    // Whoever waits keeps it.
    (0..3).for_each(|round| office.tick(round));
    assert!(wants.streams().contains(&show));
    assert_eq!(coming.settled().await, Due::Absent);
    office.tick(5);
    assert!(!wants.streams().contains(&show) && office.desk.streams.is_empty());
}

#[tokio::test]
async fn who_waits_keeps_a_line_longer_than_idle() {
    let mut office = Office::new(&[], 1_000);
    let (wants, show) = (office.wants(), name("live/show"));
    let waits = wants.line(&show, "e/v0", None).unwrap();
    office.desk.look();
    office.has(1, &["", "e/v0"]);
    for round in 0..5 {
        office.tick(round * 29);
    }
    assert!(office.desk.streams[&show].lines.contains_key("e/v0"));
    drop(waits);
    office.tick(180);
    assert!(office.desk.streams.is_empty());
}

#[tokio::test]
async fn a_pattern_keeps_what_was_announced_until_it_is_gone() {
    let mut office = Office::new(&["live/*", "live/always"], 1_000);
    let (wants, made_up, show, always) =
        (office.wants(), name("live/made-up"), name("live/show"), name("live/always"));
    drop(wants.stream(&made_up, None));
    wants.keep(&always);
    office.heard(Frame::Announce { stream: "live/show".into() });
    office.desk.look();
    let sub = |office: &Office, name: &StreamName| office.desk.streams[name].sub;
    for name in [&made_up, &always] {
        let sub = sub(&office, name);
        office.heard(Frame::Absent { sub });
    }
    let shows = sub(&office, &show);
    office.has(shows, &["", "e/v0"]);
    let all = office.asked();
    assert!(all.contains(&"e/v0".to_owned()), "all of what is announced is taken: {all:?}");
    (0..2).for_each(|round| office.tick(3 * round));
    let taken = |office: &Office, name: &StreamName| office.desk.streams.contains_key(name);
    assert!(!taken(&office, &made_up) && taken(&office, &show) && taken(&office, &always));
    office.tick(300);
    assert!(taken(&office, &show));
    // It ends, and comes back.
    let finals = Vec::new();
    office.heard(Frame::End { sub: shows, epoch: 1, linger: std::time::Duration::ZERO, finals });
    office.tick(20);
    assert!(taken(&office, &show), "what lingers is not taken away");
    office.tick(40);
    assert!(!taken(&office, &show) && taken(&office, &always));
    office.heard(Frame::Announce { stream: "live/show".into() });
    office.desk.look();
    assert!(office.desk.streams[&show].pinned);
}

#[tokio::test]
async fn a_link_that_takes_less_than_is_said_is_cut() {
    let mut office = Office::new(&[], 4);
    let wants = office.wants();
    (0..4).for_each(|number| drop(wants.stream(&name(&format!("live/s{number}")), None)));
    office.desk.look();
    assert!(office.cut.is_cancelled(), "what is not said would never be said again");
}

#[tokio::test]
async fn picture_and_sound_of_a_stream_that_was_asked_for_come_before_they_are_asked_for() {
    for (lines, asked) in
        [(&["", "e/v0", "e/a0"][..], &["e/a0", "e/v0"][..]), (&["", "e/v0", "e/v1", "e/a0"], &[])]
    {
        let mut office = Office::new(&[], 1_000);
        let (wants, show) = (office.wants(), name("live/show"));
        let _coming = wants.stream(&show, None).unwrap();
        office.desk.look();
        assert_eq!(office.asked(), [""]);
        office.has(1, lines);
        let mut said = office.asked();
        said.sort();
        assert_eq!(said, asked, "a ladder is taken rung by rung");
        // Once let go, they stay away until somebody asks.
        office.has(1, lines);
        assert!(office.asked().is_empty());
    }
}
