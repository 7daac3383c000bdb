//! Packager, relay, edges and players under a virtual clock: no socket, no task, no waiting. A seed decides the stream, the
//! nodes, their links, the viewers and what goes wrong, and leads to the same run every time.
//!
//! What has to hold whatever the seed: a playlist that a node shows lists nothing that the node does not have; numbers only
//! go up and a part's name never comes to mean another; players stall only while something was made to go wrong on their way,
//! and shortly after; in the end everybody sees the newest list.
//!
//! `make sim SEEDS=5000` runs many; `SEED=4711 cargo test --workspace --test sim` runs one again and tells of it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    unreachable_pub,
    reason = "a test program"
)]

mod node;
mod origin;
mod plan;
mod player;
mod run;
mod shown;
#[path = "../../../packager/tests/support/mod.rs"]
mod support;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use plan::{Plan, Sabotage};
use run::{Outcome, run};

/// Seeds of an ordinary run of the tests.
const SEEDS: u64 = 200;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Runs seeds on all cores, and gives what went wrong of each that failed.
fn run_all(seeds: std::ops::Range<u64>) -> (Outcome, Vec<String>) {
    let (next, all) = (AtomicU64::new(seeds.start), Mutex::new((Outcome::default(), Vec::new())));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            let outcome = std::panic::catch_unwind(|| run(&Plan::of(seed)));
            let outcome = outcome.unwrap_or_else(|_| Err("a panic; it is told above".into()));
            let mut all = all.lock().unwrap();
            match outcome {
                Ok(outcome) => all.0.add(&outcome),
                Err(why) => all.1.push(format!("SEED={seed}: {why}")),
            }
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| (0..cores).for_each(|_| drop(scope.spawn(work))));
    all.into_inner().unwrap()
}

#[test]
fn whatever_goes_wrong_lists_are_true_and_players_stall_only_for_that() {
    if let Some(seed) = number("SEED") {
        let plan = Plan::of(seed);
        println!("{plan:#?}");
        println!("{:#?}", run(&plan).unwrap_or_else(|why| panic!("SEED={seed}: {why}")));
        return;
    }
    let first = number("FIRST_SEED").unwrap_or(0);
    let (outcome, failed) = run_all(first..first + number("SEEDS").unwrap_or(SEEDS));
    println!("{outcome:#?}");
    let shown: Vec<&str> = failed.iter().take(5).map(String::as_str).collect();
    assert!(failed.is_empty(), "{} seeds failed:\n{}", failed.len(), shown.join("\n"));
    // A model in which nothing happens would hold everything.
    assert!(outcome.lists > 100 * outcome.runs && outcome.faults > 0 && outcome.stalls > 0, "{outcome:?}");
}

#[test]
fn a_seed_leads_to_the_same_run_every_time() {
    for seed in [3, 17] {
        assert_eq!(run(&Plan::of(seed)), run(&Plan::of(seed)), "{seed}");
    }
}

/// The judge itself is judged: each of these is a fault that it has to find.
#[test]
fn what_is_broken_on_purpose_is_found() {
    for (sabotage, says) in [
        (Sabotage::LosePart, "lists"),
        (Sabotage::RepeatName, "now"),
        (Sabotage::FreezeWithoutFault, "stall"),
    ] {
        let plan = Plan { sabotage: Some(sabotage), faults: Vec::new(), ..Plan::of(1) };
        let why = run(&plan).expect_err("it is broken");
        assert!(why.contains(says), "{sabotage:?}: {why}");
    }
}
