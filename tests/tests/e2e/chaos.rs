//! Faults by a seed over an origin, two edges and a crowd of players: the short form of `make chaos`.

use std::time::Duration;

use aqueduct_tests::Outcome;
use aqueduct_tests::chaos::{Options, run};
use aqueduct_tests::world::room;

/// Of nine kinds: edges that are drained, killed and cut off, a worker that is killed, publishers, and guests of both sorts.
const SEED: u64 = 6;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_in_a_row_break_nothing_that_is_promised() -> Outcome {
    let _room = room::whole().await;
    let options = Options { seed: SEED, length: Duration::from_secs(45), players: 12, browser: false };
    let report = Box::pin(run(options)).await?;
    assert!(report.passed(), "{report}");
    Ok(())
}
