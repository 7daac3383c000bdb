//! Many edges on one origin, and many players on an edge that is fed by another node: in short, with what they cost.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod world;

use std::time::{Duration, Instant};

use aqueduct_common::object::Publish as _;
use http::Method;
use world::node::{Node, PATIENCE};
use world::{LIST, World, name, publish_list, publish_multivariant, publish_part};

/// Memory of this process, in KiB.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or_default()
}

#[expect(clippy::disallowed_methods, reason = "what it costs is told, and not judged")]
fn now() -> Instant {
    Instant::now()
}

fn go_live(origin: &Node, newest: u64) {
    (0..=newest).for_each(|number| origin.tee.publish(&name(), publish_part(number)));
    origin.tee.publish(&name(), publish_list(newest));
    origin.tee.publish(&name(), publish_multivariant());
}

fn publish(origin: &Node, number: u64) {
    origin.tee.publish(&name(), publish_part(number));
    origin.tee.publish(&name(), publish_list(number));
}

/// Waits until an edge shows this version.
async fn shows(edge: &Node, number: u64) {
    let needle = format!("\"p{number}.m4s\"");
    let shown = async {
        while !String::from_utf8_lossy(&edge.get(LIST).await.1).contains(&needle) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(2 * PATIENCE, shown).await.unwrap_or_else(|_| panic!("part {number} is not shown"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_edges_on_one_origin_all_get_everything() {
    let origin = Node::new("origin", None);
    go_live(&origin, 40);
    let before = memory();
    let edges: Vec<_> = (0..50).map(|number| Node::new(&format!("edge-{number}"), Some(&origin))).collect();
    // All at once.
    futures_util::future::join_all(edges.iter().map(|edge| edge.serves(LIST))).await;
    for number in 41..=60 {
        publish(&origin, number);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let begun = now();
    futures_util::future::join_all(edges.iter().map(|edge| shows(edge, 60))).await;
    let (took, grown) = (now() - begun, memory().saturating_sub(before));
    println!(
        "50 edges: the newest part at the last one after {took:?}, {} KiB for each edge and its link",
        grown / 50
    );
    for edge in &edges {
        let (status, body) = edge.get("/live/show/e1/v0/p60.m4s").await;
        assert_eq!((status, body.len()), (200, 2_000));
    }
    // A connection may hold 2 MiB of what is under way at either end; window and stores are small here.
    assert!(grown < 50 * 8 * 1_024, "{grown} KiB");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_blocked_players_of_a_remote_edge_are_all_answered_by_one_part() {
    let origin = Node::new("origin", None);
    go_live(&origin, 52);
    let mut edge = Node::new("edge", Some(&origin));
    shows(&edge, 52).await;
    let before = memory();
    let mut waiting = tokio::task::JoinSet::new();
    let mut clients = Vec::new();
    for _ in 0..40 {
        let client = World::h2c_to(edge.http).await;
        for _ in 0..50 {
            waiting.spawn(client.send(Method::GET, &format!("{LIST}?_HLS_msn=10&_HLS_part=3"), &[]));
        }
        clients.push(client);
    }
    edge.holds(2_000).await;
    let grown = memory().saturating_sub(before);
    assert!(waiting.try_join_next().is_none(), "somebody was answered before the part was there");
    let begun = now();
    publish(&origin, 53);
    let mut answered = 0;
    while let Some(reply) = tokio::time::timeout(PATIENCE, waiting.join_next()).await.unwrap() {
        let reply = reply.unwrap().unwrap();
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert!(reply.text().contains("\"p53.m4s\""));
        answered += 1;
    }
    println!(
        "{answered} players answered {:?} after the part was published at the origin; {} bytes for each that waits, client and server",
        now() - begun,
        grown * 1_024 / 2_000
    );
    assert_eq!(answered, 2_000);
    assert!(grown < 2_000 * 64, "{grown} KiB: both ends of a held request take less than 64 KiB");
}
