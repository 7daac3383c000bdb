//! What an edge is sent next, in whatever state it is.

use std::time::Duration;

use aqueduct_common::object::{ContentType, Object, ObjectKind, ObjectPath, Update};

use super::super::wire::What;
use super::*;

const ROOM: Room = Room { live: true, history: true };
const FULL: Room = Room { live: false, history: false };
const PARTS: u64 = 3;

fn publish(window: &mut Window, file: &str, kind: ObjectKind, body: Vec<Bytes>) {
    let (path, content_type) = (ObjectPath::new(format!("e/v0/{file}")), ContentType::VideoMp4);
    window.apply(Update::Publish(Object { path, kind, content_type, body, playlist: None }), 0);
}

/// A segment and its parts before it.
fn segment(window: &mut Window, msn: u64) {
    let parts: Vec<Bytes> = (0..PARTS).map(|part| format!("part {part} of {msn}").into()).collect();
    for (part, body) in (0..).zip(&parts) {
        publish(window, &format!("p{}", msn * PARTS + part), ObjectKind::Part, vec![body.clone()]);
    }
    publish(window, &format!("s{msn}"), ObjectKind::Segment, parts);
}

/// Everything that is sent while there is room.
fn drain(feed: &mut Feed, window: &Window) -> Vec<Message> {
    std::iter::from_fn(|| feed.next(Some(window), ROOM)).collect()
}

/// Files of what is sent, and whether they are live.
fn files(messages: &[Message]) -> Vec<(&str, bool)> {
    let sent = messages.iter().filter_map(|message| match message {
        Message::Object(parcel) => Some(parcel),
        Message::Frame(_) => None,
    });
    sent.map(|parcel| (&*parcel.head.file, parcel.class == Class::Live)).collect()
}

/// An edge that has all of the first segment.
fn follows() -> (Feed, Window) {
    let (mut window, mut feed) = (Window::new(1), Feed::new(1));
    segment(&mut window, 0);
    assert!(feed.want("e/v0", 0, &Ranges::default(), Some(&window)));
    assert_eq!(files(&drain(&mut feed, &window)).len(), 4);
    (feed, window)
}

#[test]
fn a_cursor_that_falls_behind_jumps_to_what_is_live_and_gets_the_rest_as_history_the_newest_first() {
    let (mut feed, mut window) = follows();
    // Nothing can be sent for three segments.
    (1..=3).for_each(|msn| segment(&mut window, msn));
    publish(&mut window, "p12", ObjectKind::Part, vec!["live".into()]);
    assert_eq!(feed.next(Some(&window), FULL), None);
    let sent = drain(&mut feed, &window);
    let sent = files(&sent);
    assert_eq!(sent[0], ("p12", true), "latency beats history");
    assert_eq!(sent[1..5], [("p9", false), ("p10", false), ("p11", false), ("s3", false)]);
    assert_eq!(sent.len(), 1 + 3 * 4, "and all of it comes: {sent:?}");
}

#[test]
fn one_that_is_a_little_behind_gets_everything_in_order() {
    let (mut feed, mut window) = follows();
    (1..=2).for_each(|msn| segment(&mut window, msn));
    let sent = drain(&mut feed, &window);
    let expected = ["p3", "p4", "p5", "s1", "p6", "p7", "p8", "s2"].map(|file| (file, true));
    assert_eq!(files(&sent), expected);
}

#[test]
fn what_has_left_the_window_before_it_was_sent_is_told_as_gone() {
    let (mut feed, mut window) = follows();
    (1..=4).for_each(|msn| segment(&mut window, msn));
    for msn in 0..=2 {
        let retire = |window: &mut Window, file: String| {
            let path = ObjectPath::new(format!("e/v0/{file}"));
            window.apply(Update::Retire { path, linger: Duration::ZERO }, 0);
        };
        (0..PARTS).for_each(|part| retire(&mut window, format!("p{}", msn * PARTS + part)));
        retire(&mut window, format!("s{msn}"));
    }
    let sent = drain(&mut feed, &window);
    let gone: Vec<_> =
        sent.iter().filter(|message| matches!(message, Message::Frame(Frame::Gap { .. }))).collect();
    // Segments 1 and 2 with their parts: numbers 4 to 11.
    assert!(
        matches!(gone[..], [Message::Frame(Frame::Gap { gone, .. })] if gone.spans() == [(4, 11)]),
        "{gone:?}"
    );
    assert_eq!(files(&sent).len(), 2 * 4);
}

#[test]
fn a_list_that_is_on_its_way_is_followed_by_the_newest_alone() {
    let (mut feed, mut window) = (Feed::new(1), Window::new(1));
    let list = |window: &mut Window, text: &'static str| {
        let (path, kind) = (ObjectPath::new("index.m3u8"), ObjectKind::Multivariant);
        let (content_type, body) = (ContentType::Hls, vec![text.into()]);
        window.apply(Update::Publish(Object { path, kind, content_type, body, playlist: None }), 0);
    };
    list(&mut window, "one");
    feed.want("", 0, &Ranges::default(), Some(&window));
    assert_eq!(drain(&mut feed, &window).len(), 2, "the stream, and its list");
    ["two", "three"].into_iter().for_each(|text| list(&mut window, text));
    assert!(drain(&mut feed, &window).is_empty(), "the first is still being written");
    feed.written("");
    let sent = drain(&mut feed, &window);
    let [Message::Object(parcel)] = &sent[..] else { panic!("{sent:?}") };
    assert!(matches!(parcel.head.what, What::Index { serial: 3, .. }));
}

#[test]
fn wishes_for_lines_that_are_none_do_not_stand_in_the_way_of_one_that_is() {
    let mut window = Window::new(1);
    let (path, hold) = (ObjectPath::new("e/v0/media.m3u8"), Duration::from_secs(1));
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
