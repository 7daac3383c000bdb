//! Our page beside a ladder: making rungs costs the viewers of the source no time.

use std::time::Duration;

use aqueduct_tests::Outcome;
use aqueduct_tests::world::{Player, Server, browse, room};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_page_is_as_near_to_reality_with_a_ladder() -> Outcome {
    let _room = room::whole().await;
    let server = Server::start(&[("transcode.mode", "auto")]).await?;
    let _demo = server.demo("clock").await?;
    server.names("clock", "x234,", Duration::from_secs(25)).await?;
    let seen = browse(&server.watch_page("clock"), Player::Page, 22, &["--clock", "--settle", "10"]).await?;
    let late = seen["glassToScreen"]["p50"].as_f64();
    println!("glass to screen {}, stalls {}", seen["glassToScreen"], seen["stalls"]);
    assert!(late.is_some_and(|late| late <= 1.0), "{seen:#}");
    assert!(seen["stallsSettled"].as_u64() == Some(0) && seen["fatal"].is_null(), "{seen:#}");
    assert_eq!(server.metric("aqueduct_transcode_worker_losses_total", "").await?, 0.0);
    Ok(())
}
