//! What goes wrong between an origin and an edge while somebody watches there: the link is cut, the origin is killed, one of
//! two ways is lost. The page plays on by itself.

use std::time::Duration;

use aqueduct_tests::Outcome;
use aqueduct_tests::fetch::Client;
use aqueduct_tests::linkproxy::{Link, Shape};
use aqueduct_tests::world::{Player, Server, browse, free_udp_port, local, room};
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::sleep;

const START: Duration = Duration::from_secs(20);

async fn parts(edge: &Server) -> Outcome<f64> {
    edge.metric("aqueduct_http_requests_total", "class=\"part\",status_class=\"2xx\"").await
}

/// Waits until so many more parts went out of the edge: who watches has got on.
async fn gets_on(edge: &Server, more: f64) -> Outcome {
    let wanted = parts(edge).await? + more;
    let patience = Duration::from_secs(40);
    edge.until("who watches gets on", patience, async || Ok(parts(edge).await? >= wanted)).await
}

/// Our page at the edge, for so many seconds; it plays by now.
async fn watched(edge: &Server, seconds: u32) -> Outcome<JoinHandle<Outcome<Value>>> {
    edge.playable("show", START).await?;
    let url = edge.watch_page("show");
    let watching = tokio::spawn(async move { browse(&url, Player::Page, seconds, &["--settle", "0"]).await });
    gets_on(edge, 40.0).await?;
    Ok(watching)
}

/// What it saw: it was never told that the stream was over, it played for so long, and stalled no longer than that.
fn assert_played_on(seen: &Value, played: f64, longest_stall: f64) {
    println!("{} s played, longest stall {} s", seen["playedSeconds"], seen["longestStall"]);
    assert!(seen["fatal"].is_null(), "{seen:#}");
    assert!(seen["playedSeconds"].as_f64() > Some(played), "{seen:#}");
    assert!(seen["longestStall"].as_f64() < Some(longest_stall), "{seen:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_page_plays_on_after_the_link_was_cut_for_3_and_for_20_seconds() -> Outcome {
    let _room = room::half().await;
    let relay = free_udp_port()?;
    let origin = Server::origin(relay, &[]).await?;
    let shape = Shape { delay: Duration::from_millis(20), ..Shape::default() };
    let link = Link::udp(local(0), local(relay), shape).await?;
    let edge = Server::edge(&[link.address], &[]).await?;
    let _push = origin.publish_drawn("show")?;
    origin.playable("show", START).await?;
    let watching = watched(&edge, 60).await?;
    for cut in [3, 20] {
        link.blackout(true);
        sleep(Duration::from_secs(cut)).await;
        link.blackout(false);
        gets_on(&edge, 40.0).await?;
    }
    // Of 60 s 23 are cut; each link is found dead after a second, and made anew within a few.
    assert_played_on(&watching.await??, 20.0, 20.0 + 8.0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_page_plays_on_when_the_origin_is_killed_and_starts_again() -> Outcome {
    let _room = room::half().await;
    let relay = free_udp_port()?;
    let origin = Server::origin(relay, &[]).await?;
    let edge = Server::edge(&[local(relay)], &[]).await?;
    let first = origin.publish_drawn("show")?;
    origin.playable("show", START).await?;
    let watching = watched(&edge, 40).await?;
    let origin = origin.restart_origin(relay, &[]).await?;
    drop(first);
    let _second = origin.publish_drawn("show")?;
    gets_on(&edge, 40.0).await?;
    // A start, a publisher that comes back, a keyframe, and a link that is dialled anew.
    assert_played_on(&watching.await??, 20.0, 12.0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_page_plays_on_when_one_of_two_upstreams_is_killed() -> Outcome {
    let _room = room::half().await;
    let (relay, one, two) = (free_udp_port()?, free_udp_port()?, free_udp_port()?);
    let origin = Server::origin(relay, &[]).await?;
    let (first, second) = (local(one).to_string(), local(two).to_string());
    let shield = Server::edge(&[local(relay)], &[("relay.listen", &first)]).await?;
    let edge = Server::edge(&[local(one), local(two)], &[]).await?;
    let _push = origin.publish_drawn("show")?;
    origin.playable("show", START).await?;
    // The one that is up first is the one that it is taken from.
    edge.playable("show", START).await?;
    let _standby = Server::edge(&[local(relay)], &[("relay.listen", &second)]).await?;
    let upstreams = async || edge.metric("aqueduct_relay_upstreams", "").await;
    edge.until("the second way is there", START, async || Ok(upstreams().await? >= 2.0)).await?;
    let watching = watched(&edge, 25).await?;
    assert_eq!(parts(&shield).await?, 0.0, "nobody watches there");
    let moves = edge.metric("aqueduct_relay_moves_total", "").await?;
    drop(shield);
    gets_on(&edge, 40.0).await?;
    let client = Client::new();
    assert!(client.get(&edge.playlist("show")).await?.status.is_success());
    assert!(edge.metric("aqueduct_relay_moves_total", "").await? > moves, "{}", edge.log());
    // It is found dead after a second of silence (EDGE-28).
    assert_played_on(&watching.await??, 17.0, 4.0);
    Ok(())
}
