//! What is not in an edge's windows is fetched from above: once for all who ask, and within bounds.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod world;

use std::time::Duration;

use aqueduct_common::object::{ObjectKind, Publish as _, Update};
use world::node::{Node, PATIENCE};
use world::{bytes_of, go_live, media, name, part, path};

fn target(path: &str) -> String {
    format!("/live/show/{path}")
}

/// An origin with a stream, a shield and an edge behind it, which has been watched; parts 0 to 9 had left the playlist
/// before, and the origin still holds them.
async fn three() -> (Node, Node, Node) {
    let origin = Node::new("origin", None);
    let (tee, show) = (&origin.tee, name());
    go_live(&tee.store, 52);
    for number in 0..=52 {
        tee.hub.publish(&show, world::publish_part(number));
    }
    let segment = media("e1/v0/s0.m4s", ObjectKind::Segment, (0..5).map(|n| bytes_of(n, 2_000)).collect());
    tee.publish(&show, segment);
    for file in (0..10).map(part).chain(["e1/v0/s0.m4s".to_owned()]) {
        tee.publish(&show, Update::Retire { path: path(&file), linger: Duration::from_secs(600) });
    }
    tee.hub.publish(&show, world::publish_list(52));
    tee.hub.publish(&show, world::publish_multivariant());
    let shield = Node::new("shield", Some(&origin));
    let edge = Node::new("edge", Some(&shield));
    edge.serves(&target("index.m3u8")).await;
    edge.serves(&target("e1/v0/media.m3u8")).await;
    (origin, shield, edge)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_left_the_list_before_an_edge_came_is_fetched_once_for_all_who_ask() {
    let (mut origin, mut shield, mut edge) = three().await;
    let old = target(&part(3));
    let answers = (0..60).map(|_| edge.get(&old));
    for (status, body) in futures_util::future::join_all(answers).await {
        assert_eq!((status, body), (200, bytes_of(3, 2_000).to_vec()));
    }
    // A segment is its parts' bytes, at any node.
    let (status, body) = edge.get(&target("e1/v0/s0.m4s")).await;
    assert_eq!((status, body.len()), (200, 5 * 2_000));
    assert_eq!(body, origin.get(&target("e1/v0/s0.m4s")).await.1);
    // What is in the window came by itself.
    assert_eq!(edge.get(&target(&part(40))).await.0, 200);
    edge.counted(|_, tick| tick.fetched == 2 && tick.asked == 61 && tick.bytes == 12_000).await;
    edge.counted(|_, tick| tick.kept_bytes >= 12_000).await;
    // The shield fetched each once as well, and the origin lent each once.
    shield.counted(|lent, tick| lent == 2 && tick.fetched == 2).await;
    origin.counted(|lent, _| lent == 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_that_viewers_make_up_cost_the_nodes_above_next_to_nothing() {
    let (origin, mut shield, mut edge) = three().await;
    let names: Vec<_> = (0..400).map(|number| target(&format!("e1/v0/made-up-{number}.m4s"))).collect();
    for names in names.chunks(50) {
        let answers = names.iter().map(|name| edge.get(name));
        for (status, _) in futures_util::future::join_all(answers).await {
            assert_eq!(status, 404);
        }
    }
    // The same name again and again is answered from memory, and lists are not fetched under any name.
    for _ in 0..20 {
        assert_eq!(edge.get(&target("e1/v0/made-up-0.m4s")).await.0, 404);
    }
    assert_eq!(edge.get(&target("e1/v0/../media.m3u8")).await.0, 400);
    edge.counted(|_, tick| tick.absent > 0 && tick.absent + tick.limited >= 400).await;
    let absent = edge.totals.1.absent;
    assert!(edge.totals.1.limited > absent, "{:?}", edge.totals);
    shield.counted(|_, tick| tick.absent > 0).await;
    assert!(shield.totals.1.asked <= absent, "{:?} of {absent}", shield.totals);
    // Somebody who asks for what there is gets it: a second later from the same address.
    let found = async {
        while edge.get(&target(&part(7))).await.0 != 200 {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(PATIENCE, found).await.unwrap();
    drop(origin);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_expired_above_is_gone_here_too() {
    let (origin, _shield, edge) = three().await;
    origin.tee.publish(&name(), Update::Retire { path: path(&part(11)), linger: Duration::ZERO });
    let gone = async {
        while origin.get(&target(&part(11))).await.0 != 410 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.unwrap();
    // A second edge begins now: part 11 was never here.
    let late = Node::new("late", Some(&origin));
    late.serves(&target("e1/v0/media.m3u8")).await;
    assert_eq!(late.get(&target(&part(11))).await.0, 410);
    drop(edge);
}
