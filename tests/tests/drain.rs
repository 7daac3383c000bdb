//! A server that is asked to stop: publishers are told, viewers are let go, and the process ends as asked.

use std::time::Duration;

use aqueduct_tests::check::live::{self, Options};
use aqueduct_tests::publisher::clip::Clip;
use aqueduct_tests::publisher::script::{Script, Wrapping};
use aqueduct_tests::publisher::session::Pace;
use aqueduct_tests::publisher::{Publisher, Style};
use aqueduct_tests::world::{Drawing, Server};
use aqueduct_tests::{Outcome, now};
use tokio::time::sleep;

const START: Duration = Duration::from_secs(15);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_releases_viewers_and_publishers_and_ends_with_0() -> Outcome {
    let mut server = Server::start(&[("stop.deadline", "5s")]).await?;
    let script = Script::play(&Clip::open(&Drawing::default().path()?)?, 30_000, Wrapping::Legacy);
    let mut publisher = Publisher::connect(&server.target("last"), Style::default()).await?;
    let publishing = tokio::spawn(async move {
        let closed = publisher.play(&script, Pace::Live).await.is_err();
        (publisher, closed)
    });
    server.playable("last", START).await?;
    let url = server.playlist("last");
    let options = Options { span: Duration::from_secs(20), probes: false, ..Options::default() };
    let viewer = tokio::spawn(async move { live::check(&url, options).await });
    sleep(Duration::from_secs(3)).await;
    let asked = now();
    server.terminate().await?;
    let code = server.ended(Duration::from_secs(8)).await?;
    assert_eq!(code, Some(0), "{}", server.log());
    assert!(now() - asked < Duration::from_secs(7), "the deadline was not kept");
    let (mut publisher, closed) = publishing.await?;
    assert!(closed, "the publisher was not let go");
    publisher.closed(Duration::from_secs(1)).await?;
    // The viewer has seen the end of the stream, or its connection's; never a hang.
    if let Ok(report) = tokio::time::timeout(Duration::from_secs(5), viewer).await?? {
        assert!(report.passed() && report.ended, "{report}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_ends_at_once() -> Outcome {
    let mut server = Server::start(&[("stop.deadline", "30s")]).await?;
    let script = Script::play(&Clip::open(&Drawing::default().path()?)?, 30_000, Wrapping::Legacy);
    let _push = server.publish("last", script);
    server.playable("last", START).await?;
    server.terminate().await?;
    sleep(Duration::from_millis(200)).await;
    // It may have ended already: then there is nobody to signal.
    let _ = server.terminate().await;
    let asked = now();
    server.ended(Duration::from_secs(5)).await?;
    assert!(now() - asked < Duration::from_secs(2), "a second signal was not heard");
    Ok(())
}
