//! Viewers of a cluster are counted once, however they move between its nodes (QOE-23).
#![allow(clippy::unwrap_used, reason = "the helpers of a test fail it")]

use std::time::{Duration, Instant};

use aqueduct_analytics::nodes::NodeView;
use aqueduct_analytics::{Board, Setup};
use aqueduct_common::event::{Carrier, EdgeTick, Protocol, Report};
use aqueduct_common::{Event, StreamName, WallTime};

const BEGIN: i64 = 1_763_634_000_000;

struct World {
    board: Board,
    stream: StreamName,
    now: Instant,
    wall: i64,
}

impl World {
    #[expect(clippy::disallowed_methods, reason = "tests need some instant to start from")]
    fn new() -> Self {
        let setup = Setup { node: "edge-a".into(), role: "edge", cluster: true, ..Setup::default() };
        let stream: StreamName = "live/show".parse().unwrap();
        let world = Self { board: Board::new(setup, BEGIN), stream, now: Instant::now(), wall: BEGIN };
        let (stream, protocol) = (world.stream.clone(), Protocol::Rtmp);
        let started = Event::PublishStarted { stream, protocol, encoder: "obs".into(), resumed: false };
        world.board.record(&started, world.now);
        world
    }

    fn report(&self, session: &str) -> Report {
        let (stream, at) = (self.stream.clone(), WallTime { micros: self.wall * 1_000 });
        let text = format!("ot=m,sid=\"{session}\"").into();
        Report { stream, at, viewer: 1, carrier: Carrier::Headers, text }
    }

    /// A second in which each node counts so many, and hears these sessions; viewers of the stream, and of all.
    fn second(&mut self, [here, there]: [u32; 2], by: [&[&str]; 2]) -> (u32, u64) {
        let viewers = |count| vec![(self.stream.clone(), count)];
        let tick = EdgeTick { viewers: viewers(here), ..EdgeTick::default() };
        self.board.record(&Event::Edge(tick), self.now);
        for session in by[0] {
            self.board.record(&Event::Report(self.report(session)), self.now);
        }
        let reports: Vec<Report> = by[1].iter().map(|session| self.report(session)).collect();
        let state = "up".into();
        let node = NodeView {
            node: "edge-b".into(),
            state,
            seen: self.wall,
            viewers: u64::from(there),
            ..NodeView::default()
        };
        self.board.heard(node, viewers(there), &reports, None);
        self.now += Duration::from_secs(1);
        self.wall += 1_000;
        self.board.turn(self.now, self.wall, (0, 0));
        (self.board.stream(&self.stream).unwrap().viewers, self.board.overview().viewers)
    }
}

#[test]
fn who_moves_to_another_node_is_counted_once() {
    let mut world = World::new();
    assert_eq!(world.second([2, 1], [&["a", "b"], &["c"]]), (3, 3));
    // One moves: the node that was left goes on counting it for half a minute.
    for second in 0..29 {
        assert_eq!(world.second([2, 2], [&["b"], &["c", "a"]]), (3, 3), "{second} s after");
    }
    assert_eq!(world.second([1, 2], [&["b"], &["c", "a"]]), (3, 3));
    // And back again.
    for _ in 0..20 {
        assert_eq!(world.second([2, 2], [&["b", "a"], &["c"]]), (3, 3));
    }
}

#[test]
fn what_one_node_counts_by_itself_stands() {
    let mut world = World::new();
    world.second([2, 0], [&["a", "b"], &[]]);
    // Both moved, and the node that they left has forgotten them sooner than is assumed here.
    assert_eq!(world.second([0, 2], [&[], &["a", "b"]]).0, 2);
    // Who reports no session cannot be told apart.
    assert_eq!(world.second([5, 2], [&[], &["a", "b"]]).0, 5);
}
