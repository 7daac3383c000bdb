//! A server that is asked to stop: publishers are told, viewers are let go, and the process ends as asked.

use std::time::Duration;

use aqueduct_tests::check::live::{self, Options};
use aqueduct_tests::fetch::Client;
use aqueduct_tests::publisher::clip::Clip;
use aqueduct_tests::publisher::script::{Script, Wrapping};
use aqueduct_tests::publisher::session::Pace;
use aqueduct_tests::publisher::{Publisher, Style};
use aqueduct_tests::world::{Drawing, Server, free_udp_port, room};
use aqueduct_tests::{Outcome, now};
use http::Method;
use tokio::time::sleep;

const START: Duration = Duration::from_secs(15);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_releases_viewers_and_publishers_and_ends_with_0() -> Outcome {
    let _room = room::quarter().await;
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
async fn the_operator_s_port_drains_as_a_signal_does_and_not_for_strangers_pages() -> Outcome {
    let _room = room::quarter().await;
    let mut server = Server::start(&[("stop.deadline", "10s")]).await?;
    let script = Script::play(&Clip::open(&Drawing::default().path()?)?, 30_000, Wrapping::Legacy);
    let _push = server.publish("last", script);
    server.playable("last", START).await?;
    let (client, url) = (Client::new(), server.admin("/api/v1/drain"));
    assert_eq!(client.get(&url).await?.status, 405);
    let stranger = [("origin", "https://evil.example")];
    assert_eq!(client.send(Method::POST, &url, &stranger).await?.status, 403);
    let ready = client.get(&server.admin("/readyz")).await?;
    assert!(ready.status.is_success(), "a stranger's page changed something");
    assert_eq!(client.send(Method::POST, &url, &[]).await?.status, 202);
    assert_eq!(server.ended(Duration::from_secs(20)).await?, Some(0), "{}", server.log());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_ends_at_once() -> Outcome {
    let _room = room::quarter().await;
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_origin_that_feeds_an_edge_stops_long_before_its_deadline_and_its_viewers_are_let_go() -> Outcome {
    let _room = room::quarter().await;
    let relay = free_udp_port()?;
    let mut origin = Server::origin(relay, &[("stop.deadline", "300s")]).await?;
    let edge = Server::edge(&[([127, 0, 0, 1], relay).into()], &[]).await?;
    let script = Script::play(&Clip::open(&Drawing::default().path()?)?, 30_000, Wrapping::Legacy);
    let _push = origin.publish("last", script);
    edge.playable("last", START).await?;
    origin.playable("last", START).await?;
    origin.terminate().await?;
    // Where edges are waited for until the deadline, this is not before five minutes have passed.
    assert_eq!(origin.ended(Duration::from_secs(60)).await?, Some(0), "{}", origin.log());
    assert!(!origin.log().contains("cut off"), "{}", origin.log());
    let counted = async {
        while edge.metric("aqueduct_relay_links_lost_total", "leaving").await? < 1.0 {
            sleep(Duration::from_millis(100)).await;
        }
        Outcome::Ok(())
    };
    tokio::time::timeout(START, counted).await.map_err(|_| edge.log())?
}
