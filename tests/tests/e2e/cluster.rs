//! Two origins, an edge that knows neither, and a directory in NATS: a stream goes on when its origin leaves or dies.

use std::time::Duration;

use aqueduct_tests::fetch::Client;
use aqueduct_tests::world::{Nats, Player, Publishing, Server, browse, free_udp_port, room};
use aqueduct_tests::{Outcome, now};
use tokio::task::JoinHandle;
use tokio::time::sleep;

const PATIENCE: Duration = Duration::from_secs(60);

async fn origin(nats: &Nats, node: &str) -> Outcome<Server> {
    let relay = free_udp_port()?;
    let (url, address) = (nats.url(), format!("127.0.0.1:{relay}"));
    let settings = [
        ("cluster.nats", &*url),
        ("cluster.node", node),
        ("cluster.relay", &*address),
        ("cluster.lease", "3s"),
    ];
    Server::origin(relay, &settings).await
}

async fn edge(nats: &Nats) -> Outcome<Server> {
    let url = nats.url();
    Server::edge(&[], &[("cluster.nats", &*url), ("cluster.node", "e1"), ("cluster.lease", "3s")]).await
}

/// What names a packager's run in its paths, as this node's playlist has it; empty where it has none.
async fn epoch(server: &Server) -> String {
    let answer = Client::new().get(&server.playlist("show")).await;
    let text = answer.and_then(|answer| answer.text()).unwrap_or_default();
    let media = text.lines().find(|line| !line.starts_with('#') && line.contains('/'));
    media.and_then(|line| line.split('/').next()).unwrap_or_default().to_owned()
}

/// Waits until an edge serves what an origin makes.
async fn follows(edge: &Server, origin: &Server) -> Outcome<Duration> {
    let begun = now();
    loop {
        let (made, served) = (epoch(origin).await, epoch(edge).await);
        if !made.is_empty() && made == served {
            return Ok(now() - begun);
        }
        if now() - begun > PATIENCE {
            return Err(format!("the edge serves {served:?} and not {made:?}:\n{}", edge.log()).into());
        }
        sleep(Duration::from_millis(100)).await;
    }
}

/// Waits until an origin says that it holds so many streams.
async fn holds(origin: &Server, streams: f64) -> Outcome {
    let begun = now();
    while origin.metric("aqueduct_cluster_streams_held", "").await? != streams {
        if now() - begun > PATIENCE {
            return Err(format!("it does not hold {streams}:\n{}", origin.log()).into());
        }
        sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// Where a media playlist is, the numbers of its first and last segment, and whether it lists gaps.
type Listed = (String, u64, u64, bool);

/// The edge's first media playlist.
async fn newest(edge: &Server) -> Outcome<Listed> {
    let (client, index) = (Client::new(), edge.playlist("show"));
    let text = client.get(&index).await?.text()?;
    let media = text.lines().find(|line| !line.starts_with('#') && line.contains('/')).ok_or("no media")?;
    let url = index.replace("index.m3u8", media);
    let answer = client.get(&url).await?;
    if !answer.status.is_success() {
        return Err(format!("{} for {url}", answer.status).into());
    }
    let list = answer.text()?;
    let first = list.lines().find_map(|line| line.strip_prefix("#EXT-X-MEDIA-SEQUENCE:"));
    let first: u64 = first.ok_or("no number")?.parse()?;
    let count = list.lines().filter(|line| line.starts_with("#EXTINF:")).count() as u64;
    Ok((url, first, first + count, list.contains("#EXT-X-GAP")))
}

/// Waits until the edge lists a number of its own from there on, at the same place.
async fn goes_on(edge: &Server, (url, _, last, _): &Listed) -> Outcome<Duration> {
    let begun = now();
    loop {
        let seen = newest(edge).await;
        // What was missed between two runs of a packager is listed as gaps.
        if let Ok((at, first, to, gaps)) = &seen
            && (at != url || *gaps)
        {
            let joined = *first <= last + 1 && to > last;
            assert_eq!((at, joined), (url, true), "viewers would have to load the stream again");
            return Ok(now() - begun);
        }
        if now() - begun > PATIENCE {
            return Err(format!("{seen:?} after {url} {last}:\n{}", edge.log()).into());
        }
        sleep(Duration::from_millis(100)).await;
    }
}

/// Two origins that get the same push, the first of which has the stream, and an edge.
async fn pair(nats: &Nats) -> Outcome<(Server, Server, Server, [Publishing; 2])> {
    let (one, two) = (origin(nats, "o1").await?, origin(nats, "o2").await?);
    let edge = edge(nats).await?;
    let first = one.publish_drawn("show")?;
    holds(&one, 1.0).await?;
    let second = two.publish_drawn("show")?;
    follows(&edge, &one).await?;
    // The other one packages nothing, says so, and has heard how far the first one is.
    let begun = now();
    while !two.log().contains("standing by") {
        assert!(now() - begun < PATIENCE, "{}", two.log());
        sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(epoch(&two).await, "");
    let before = newest(&edge).await?.2;
    while newest(&edge).await?.2 < before + 4 {
        sleep(Duration::from_millis(200)).await;
    }
    Ok((one, two, edge, [first, second]))
}

/// Somebody who watches at the edge for half a minute, and has begun to.
async fn watched(edge: &Server, player: Player) -> Outcome<JoinHandle<Outcome<serde_json::Value>>> {
    let url = match player {
        Player::Page => edge.watch_page("show"),
        _ => edge.playlist("show"),
    };
    let watching = tokio::spawn(async move { browse(&url, player, 30, &["--settle", "0"]).await });
    let begun = now();
    while edge.metric("aqueduct_http_requests_total", "class=\"part\"").await? < 40.0 {
        assert!(now() - begun < PATIENCE, "nobody watches:\n{}", edge.log());
        sleep(Duration::from_millis(100)).await;
    }
    Ok(watching)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_page_plays_on_when_the_origin_is_killed_and_a_standby_takes_over() -> Outcome {
    let _room = room::half().await;
    let nats = Nats::start().await?;
    let (one, two, edge, _pushes) = pair(&nats).await?;
    let watching = watched(&edge, Player::Page).await?;
    holds(&two, 0.0).await?;
    let before = newest(&edge).await?;
    drop(one);
    let took = goes_on(&edge, &before).await?;
    holds(&two, 1.0).await?;
    println!("the list went on {took:?} after the origin was killed");
    let seen = watching.await??;
    // 30 s from the first picture on, of which a lease, a GOP and a busy machine's time are lost.
    assert!(seen["playedSeconds"].as_f64() > Some(12.0), "{seen}");
    assert!(edge.metric("aqueduct_cluster_up", "").await? == 1.0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_origin_that_drains_hands_its_streams_over_and_hls_js_plays_on() -> Outcome {
    let _room = room::half().await;
    let nats = Nats::start().await?;
    let (mut one, two, edge, _pushes) = pair(&nats).await?;
    let watching = watched(&edge, Player::Hls).await?;
    let before = newest(&edge).await?;
    one.terminate().await?;
    goes_on(&edge, &before).await?;
    assert_eq!(one.ended(Duration::from_secs(30)).await?, Some(0), "{}", one.log());
    holds(&two, 1.0).await?;
    follows(&edge, &two).await?;
    edge.conforms("show", 5).await?;
    // Stock hls.js finds the new numbers' place behind what was missed.
    let seen = watching.await??;
    println!("hls.js: {} s of 30 played, longest stall {} s", seen["playedSeconds"], seen["longestStall"]);
    assert!(seen["playedSeconds"].as_f64() > Some(15.0) && seen["fatal"].is_null(), "{seen:#}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn live_goes_on_when_nats_is_gone() -> Outcome {
    let _room = room::quarter().await;
    let mut nats = Nats::start().await?;
    let one = origin(&nats, "o1").await?;
    let edge = edge(&nats).await?;
    let _push = one.publish_drawn("show")?;
    follows(&edge, &one).await?;
    nats.kill().await?;
    for server in [&one, &edge] {
        let begun = now();
        while server.metric("aqueduct_cluster_up", "").await? != 0.0 {
            assert!(now() - begun < PATIENCE, "{}", server.log());
            sleep(Duration::from_millis(100)).await;
        }
        assert!(server.log().contains("live goes on with what is known"), "{}", server.log());
    }
    // Two leases later it still lists what is new.
    edge.conforms("show", 8).await?;
    Ok(())
}
