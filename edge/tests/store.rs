//! The store alone: versions, waiting, expiry. No sockets.
#![allow(clippy::unwrap_used, clippy::panic, reason = "the helpers of a test fail it")]

mod world;

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake};
use std::time::{Duration, Instant};

use aqueduct_common::object::{ObjectKind, PlaylistInfo, Publish, Update, Version};
use aqueduct_edge::route::At;
use aqueduct_edge::{Answer, Entry, Store, Waiter};
use bytes::Bytes;
use proptest::prelude::*;
use world::{
    bytes_of, go_live, info, list_text, list_with, media, name, part, path, publish_list, publish_part,
};

const LIST: &str = "e1/v0/media.m3u8";

fn read(store: &Store, path: &str, at: At) -> Answer {
    store.find("live/show").map_or(Answer::NotFound, |stream| stream.read(path, at))
}

fn ready(store: &Store, path: &str) -> Arc<Entry> {
    match read(store, path, At::Now) {
        Answer::Ready(entry) => entry,
        other => panic!("{path} is {other:?}"),
    }
}

fn wait(store: &Store, path: &str, at: At) -> Waiter {
    match read(store, path, at) {
        Answer::Wait(waiter) => waiter,
        other => panic!("{path} at {at:?} is {other:?}"),
    }
}

fn bytes(store: &Store) -> u64 {
    store.holdings()[0].bytes
}

fn text(entry: &Entry) -> Bytes {
    entry.full().plain().chunks().concat().into()
}

#[expect(clippy::disallowed_methods, reason = "a moment to count from")]
fn begin() -> Instant {
    Instant::now()
}

#[tokio::test]
async fn a_waiting_request_gets_the_version_it_waits_for() {
    let store = Store::new();
    go_live(&store, 52);
    // Part 52 is (10, 2); it asks for (10, 4).
    let waiter = wait(&store, LIST, At::Part(10, 4));
    assert_eq!(waiter.hold(), Duration::from_secs(8));
    let waiting = tokio::spawn(waiter.arrived());
    for newest in [53, 54] {
        assert!(!waiting.is_finished());
        store.publish(&name(), publish_part(newest));
        store.publish(&name(), publish_list(newest));
        tokio::task::yield_now().await;
    }
    let entry = waiting.await.unwrap().unwrap();
    assert_eq!(text(&entry), list_text(54));
    // Whoever asks now gets the very same bytes.
    assert!(Arc::ptr_eq(&entry, &ready(&store, LIST)));
}

#[tokio::test]
async fn the_end_lets_everybody_go_with_the_final_list() {
    let store = Store::new();
    go_live(&store, 52);
    let waiting = tokio::spawn(wait(&store, LIST, At::Segment(11)).arrived());
    let hinted = tokio::spawn(wait(&store, &part(53), At::Now).arrived());
    let ended = PlaylistInfo { ended: true, hint: None, ..info(52) };
    store.publish(&name(), list_with(ended, "#EXT-X-ENDLIST\n".into()));
    assert_eq!(text(&waiting.await.unwrap().unwrap()), "#EXT-X-ENDLIST\n");
    assert!(hinted.await.unwrap().is_none());
    // Directives mean nothing any more, and nothing follows the end.
    assert!(matches!(read(&store, LIST, At::Segment(999)), Answer::Ready(_)));
    store.publish(&name(), publish_list(53));
    assert_eq!((text(&ready(&store, LIST)), store.stale()), (Bytes::from("#EXT-X-ENDLIST\n"), 1));
}

#[tokio::test]
async fn a_hinted_part_is_handed_to_those_who_asked_for_it_early() {
    let store = Store::new();
    go_live(&store, 52);
    let early = tokio::spawn(wait(&store, &part(53), At::Now).arrived());
    store.publish(&name(), publish_part(53));
    assert_eq!(text(&early.await.unwrap().unwrap()), bytes_of(53, 2_000));
    // Before the next version nothing else is promised.
    assert!(matches!(read(&store, &part(54), At::Now), Answer::NotFound));
    store.publish(&name(), publish_list(53));
    let never = tokio::spawn(wait(&store, &part(54), At::Now).arrived());
    // The next version announces another path: the earlier one will not come (LLHLS-26).
    let other = PlaylistInfo { hint: Some(path("e1/v0/other.m4s")), needs: None, ..info(54) };
    store.publish(&name(), list_with(other, list_text(54)));
    assert!(never.await.unwrap().is_none());
    assert!(matches!(read(&store, &part(54), At::Now), Answer::NotFound));
    wait(&store, "e1/v0/other.m4s", At::Now);
}

#[test]
fn retired_objects_linger_are_remembered_and_then_forgotten() {
    let store = Store::new();
    go_live(&store, 52);
    let begin = begin();
    let at = |seconds: u64| store.sweep(begin + Duration::from_secs(seconds), seconds);
    store.publish(&name(), Update::Retire { path: path(&part(0)), linger: Duration::from_secs(10) });
    store.publish(&name(), Update::Retire { path: path("never/was"), linger: Duration::from_secs(10) });
    at(1);
    at(10);
    ready(&store, &part(0));
    let before = bytes(&store);
    at(11);
    assert!(matches!(read(&store, &part(0), At::Now), Answer::Gone));
    assert_eq!(bytes(&store), before - 2_000);
    at(70);
    assert!(matches!(read(&store, &part(0), At::Now), Answer::Gone));
    at(71);
    assert!(matches!(read(&store, &part(0), At::Now), Answer::NotFound));
    ready(&store, &part(1));
}

#[test]
fn an_ended_stream_vanishes_and_a_new_epoch_stays() {
    let store = Store::new();
    let begin = begin();
    let at = |seconds: u64| store.sweep(begin + Duration::from_secs(seconds), seconds);
    go_live(&store, 10);
    store.publish(&name(), Update::End { linger: Duration::from_secs(20) });
    assert!(!store.find("live/show").unwrap().is_on_air());
    assert!(matches!(read(&store, &part(11), At::Now), Answer::NotFound));
    at(1);
    // The next epoch begins while the old one lingers: the multivariant playlist is taken over.
    store.publish(&name(), media("e2/v0/p0.m4s", ObjectKind::Part, vec![bytes_of(7, 100)]));
    store.publish(&name(), world::publish_multivariant());
    at(20);
    ready(&store, &part(10));
    at(21);
    assert!(matches!(read(&store, &part(10), At::Now), Answer::Gone));
    assert!(matches!(read(&store, LIST, At::Now), Answer::Gone));
    ready(&store, "index.m3u8");
    ready(&store, "e2/v0/p0.m4s");
    assert!(store.find("live/show").unwrap().is_on_air());
    store.publish(&name(), Update::End { linger: Duration::from_secs(20) });
    at(22);
    at(42);
    assert!(store.find("live/show").is_some());
    at(103);
    assert!(store.find("live/show").is_none() && store.holdings().is_empty());
}

#[test]
fn memory_is_counted_once_and_given_back() {
    let store = Store::new();
    let parts = [bytes_of(1, 1_000), bytes_of(2, 500)];
    for (number, body) in parts.iter().enumerate() {
        store.publish(&name(), media(&part(number as u64), ObjectKind::Part, vec![body.clone()]));
    }
    store.publish(&name(), media("e1/v0/s1.m4s", ObjectKind::Segment, parts.to_vec()));
    assert_eq!(bytes(&store), 1_500);
    // A playlist replaces itself.
    for newest in [0, 1] {
        let info = PlaylistInfo { delta: None, ..info(newest) };
        store.publish(&name(), list_with(info, "x".repeat(300)));
        assert_eq!(bytes(&store), 1_800);
    }
    let begin = begin();
    store.publish(&name(), Update::End { linger: Duration::ZERO });
    store.sweep(begin, 0);
    assert_eq!(bytes(&store), 0);
}

#[tokio::test]
async fn somebody_may_wait_for_a_stream_and_leaves_nothing_behind() {
    let store = Store::new();
    assert!(store.await_stream("no-stream").is_none() && store.await_stream("live/..").is_none());
    let names: Vec<_> = (0..4_096).map(|n| store.await_stream(&format!("live/s{n}")).unwrap()).collect();
    assert!(store.await_stream("live/show").is_none());
    drop(names);
    let (one, other) = (store.await_stream("live/show").unwrap(), store.await_stream("live/show").unwrap());
    drop(other);
    let came = tokio::spawn(one.came());
    tokio::task::yield_now().await;
    assert!(!came.is_finished());
    go_live(&store, 0);
    came.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_waiters_share_one_body() {
    let store = Store::new();
    go_live(&store, 52);
    let waiting: Vec<_> =
        (0..10_000).map(|_| tokio::spawn(wait(&store, LIST, At::Part(10, 3)).arrived())).collect();
    store.publish(&name(), publish_part(53));
    store.publish(&name(), publish_list(53));
    let current = ready(&store, LIST);
    let packed = current.full().gzip().unwrap();
    for waiter in waiting {
        let entry = waiter.await.unwrap().unwrap();
        assert!(Arc::ptr_eq(&entry, &current) && Arc::ptr_eq(entry.full().gzip().unwrap(), packed));
    }
}

/// Counts how often a task is woken.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn only_those_who_wait_for_a_playlist_are_woken_by_it() {
    let store = Store::new();
    go_live(&store, 52);
    let other = |msn: u64| {
        let version = Version { msn, part: 0, complete: true };
        let info = PlaylistInfo { version, hint: None, needs: None, ..info(0) };
        let Update::Publish(mut object) = list_with(info, "#EXTM3U\n".into()) else { unreachable!() };
        object.path = path("e1/a0/media.m3u8");
        Update::Publish(object)
    };
    store.publish(&name(), other(10));
    let wakes = Arc::new(Wakes::default());
    let waker = wakes.clone().into();
    let mut waiting = pin!(wait(&store, LIST, At::Part(10, 3)).arrived());
    assert!(waiting.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    (11..20).for_each(|msn| store.publish(&name(), other(msn)));
    store.publish(&name(), publish_part(53));
    assert_eq!(wakes.0.load(Ordering::Relaxed), 0);
    store.publish(&name(), publish_list(53));
    assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
    assert!(waiting.as_mut().poll(&mut Context::from_waker(&waker)).is_ready());
}

/// One step at the edge, as the relay may bring it.
#[derive(Clone, Debug)]
enum Step {
    Part(u64),
    List(u64),
    Retire(u64),
}

fn sleep(store: &Store) {
    let hold = Duration::from_secs(5);
    store.publish(&name(), Update::Sleep { path: path(LIST), demand: 16, hold });
}

#[tokio::test]
async fn a_playlist_that_sleeps_holds_whoever_asks_and_answers_with_its_next_version() {
    let store = Store::new();
    go_live(&store, 52);
    let before = bytes(&store);
    let early = tokio::spawn(wait(&store, LIST, At::Part(11, 0)).arrived());
    let hinted = tokio::spawn(wait(&store, &part(53), At::Now).arrived());
    sleep(&store);
    assert!(hinted.await.unwrap().is_none(), "what was hinted does not come");
    assert!(bytes(&store) < before, "its text is let go");
    // Nothing is in the past, and nothing too far ahead.
    let asleep = [At::Now, At::Segment(3), At::Part(10, 2), At::Part(11, 4), At::Part(9_000, 0)].map(|at| {
        let waiter = wait(&store, LIST, at);
        assert!(waiter.is_asleep(), "{at:?}");
        assert_eq!(waiter.hold(), Duration::from_secs(5));
        tokio::spawn(waiter.arrived())
    });
    tokio::task::yield_now().await;
    assert!(!early.is_finished() && asleep.iter().all(|one| !one.is_finished()));
    store.publish(&name(), publish_part(70));
    store.publish(&name(), publish_list(70));
    for waiting in asleep {
        assert_eq!(text(&waiting.await.unwrap().unwrap()), list_text(70));
    }
    assert_eq!(text(&early.await.unwrap().unwrap()), list_text(70));
    assert_eq!(text(&ready(&store, LIST)), list_text(70));
    assert!(matches!(read(&store, LIST, At::Part(9_000, 0)), Answer::TooFarAhead), "it is awake");
    // Versions that wait for their media do not wake it, and those that come after do.
    sleep(&store);
    store.publish(&name(), publish_list(71));
    wait(&store, LIST, At::Now);
    store.publish(&name(), publish_part(71));
    assert_eq!(text(&ready(&store, LIST)), list_text(71));
}

#[tokio::test]
async fn a_playlist_may_sleep_before_it_was_ever_out_and_vanish_without_waking() {
    let store = Store::new();
    store.publish(&name(), world::publish_multivariant());
    for leave in
        [Update::Retire { path: path(LIST), linger: Duration::ZERO }, Update::End { linger: Duration::ZERO }]
    {
        sleep(&store);
        assert_eq!(store.holdings()[0].objects, 1, "there is nothing of it");
        let waiting = tokio::spawn(wait(&store, LIST, At::Now).arrived());
        store.publish(&name(), leave);
        assert!(waiting.await.unwrap().is_none(), "whoever waits is told at once");
        assert!(matches!(read(&store, LIST, At::Now), Answer::NotFound));
    }
    // What has ended does not sleep.
    go_live(&store, 10);
    store.publish(&name(), list_with(PlaylistInfo { ended: true, hint: None, ..info(10) }, "end".into()));
    sleep(&store);
    assert_eq!((text(&ready(&store, LIST)), store.stale()), (Bytes::from("end"), 1));
}

const WINDOW: u64 = 4;

/// Parts come in order; playlist versions come in any order, before or after their media, and more than once.
fn steps() -> impl Strategy<Value = Vec<Step>> {
    (2u64..14).prop_flat_map(|count| {
        let lists = proptest::collection::vec((0..count, 0.0..1.0f64), 1..30);
        let retires = proptest::collection::vec(0.0..1.0f64, count as usize);
        (Just(count), lists, retires).prop_map(|(count, lists, retires)| {
            let span = |n: u64| n as f64 / count as f64;
            let mut steps: Vec<_> = (0..count).map(|n| (span(n), Step::Part(n))).collect();
            steps.extend(lists.into_iter().map(|(n, at)| (at, Step::List(n))));
            // A part is retired some time after the version that no longer lists it was made.
            steps.extend((0..count).zip(retires).map(|(n, at)| (span(n + WINDOW) + at, Step::Retire(n))));
            steps.sort_by(|one, other| one.0.total_cmp(&other.0));
            steps.into_iter().map(|(_, step)| step).collect()
        })
    })
}

proptest! {
    /// EDGE-46: whatever the order of updates, what is listed is here, and versions only grow.
    #[test]
    fn nothing_is_listed_that_is_missing_and_versions_grow(steps in steps()) {
        let store = Store::new();
        let mut seen = None;
        for step in steps {
            store.publish(&name(), match step {
                Step::Part(n) => publish_part(n),
                Step::List(n) => list_with(info(n), n.to_string()),
                Step::Retire(n) => Update::Retire { path: path(&part(n)), linger: Duration::from_secs(3) },
            });
            let Answer::Ready(entry) = read(&store, LIST, At::Now) else { continue };
            let newest: u64 = std::str::from_utf8(&text(&entry)).unwrap().parse().unwrap();
            prop_assert!(Some(newest) >= seen, "{newest} after {seen:?}");
            seen = Some(newest);
            for listed in newest.saturating_sub(WINDOW)..=newest {
                prop_assert!(matches!(read(&store, &part(listed), At::Now), Answer::Ready(_)), "{listed} of {newest}");
            }
        }
    }
}
