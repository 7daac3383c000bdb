//! An origin and its edges, as processes of their own: same bytes, same playlists, and what happens to the way between them.

use std::time::Duration;

use aqueduct_tests::check::live::{self, Options};
use aqueduct_tests::check::playlist::{MediaPlaylist, resolve};
use aqueduct_tests::fetch::Client;
use aqueduct_tests::linkproxy::{Link, Shape};
use aqueduct_tests::world::{Drawing, Push, Server, decode, free_udp_port, local, room};
use aqueduct_tests::{Outcome, now};
use tokio::time::sleep;

const START: Duration = Duration::from_secs(20);
const MS: Duration = Duration::from_millis(1);
/// Objects that may come twice where a link is lost: what was under way on it, a MiB of history and a second of what is live.
const UNDER_WAY: f64 = 40.0;

/// What it lists that is there: a gap is not.
fn files(list: &MediaPlaylist) -> impl Iterator<Item = &str> {
    let parts = list.segments.iter().flat_map(|segment| &segment.parts).filter(|part| !part.gap);
    let segments = list.segments.iter().filter(|segment| !segment.gap).map(|segment| segment.uri.as_str());
    parts.map(|part| part.uri.as_str()).chain(segments).filter(|uri| !uri.is_empty())
}

async fn media(client: &Client, index: &str) -> Outcome<Vec<String>> {
    let text = client.get(index).await?.text()?;
    let media = text.lines().filter(|line| line.ends_with(".m3u8") && !line.starts_with('#'));
    Ok(media.map(|line| resolve(index, line)).collect())
}

/// Every file that the edge lists is there, and is what the origin serves; and so is the list itself.
async fn same(origin: &Server, edge: &Server, name: &str) -> Outcome<usize> {
    let client = Client::new();
    let swap = |url: &str| url.replace(&edge.http_address(), &origin.http_address());
    let mut compared = 0;
    for list in media(&client, &edge.playlist(name)).await? {
        let text = client.get(&list).await?.text()?;
        let parsed = MediaPlaylist::parse(&text).0.ok_or("no playlist")?;
        let edge_at = parsed.edge().ok_or("an empty playlist")?;
        // The origin may be ahead by now: it is asked for what it said then only where it still says it.
        let at_origin = client.get(&swap(&list)).await?.text()?;
        if MediaPlaylist::parse(&at_origin).0.and_then(|list| list.edge()) == Some(edge_at) {
            assert_eq!(text, at_origin, "{list}");
            compared += 1;
        }
        for file in files(&parsed) {
            let (here, there) = (resolve(&list, file), swap(&resolve(&list, file)));
            let (here, there) = tokio::try_join!(client.get(&here), client.get(&there))?;
            assert!(here.status.is_success(), "{file} is listed and answers {}", here.status);
            assert_eq!(here.body, there.body, "{file}");
            compared += 1;
        }
    }
    Ok(compared)
}

/// The newest part that a stream's first media playlist lists.
async fn newest(client: &Client, server: &Server, name: &str) -> Outcome<(u64, u64)> {
    let list = media(client, &server.playlist(name)).await?.into_iter().next().ok_or("no media playlist")?;
    let answer = client.get(&list).await?;
    if !answer.status.is_success() {
        return Err(format!("{list}: {}", answer.status).into());
    }
    let list = MediaPlaylist::parse(&answer.text()?).0.ok_or("no playlist")?;
    let edge = list.edge().ok_or("an empty playlist")?;
    Ok((edge.msn, edge.part))
}

/// Waits until an edge lists something newer than `than`.
async fn advances(server: &Server, name: &str, than: (u64, u64), patience: Duration) -> Outcome<Duration> {
    let (client, begun) = (Client::new(), now());
    loop {
        let seen = newest(&client, server, name).await;
        if seen.as_ref().is_ok_and(|seen| *seen > than) {
            return Ok(now() - begun);
        }
        if now() - begun > patience {
            return Err(format!(
                "nothing newer than {than:?} within {patience:?}: {seen:?}\n{}",
                server.log()
            )
            .into());
        }
        sleep(50 * MS).await;
    }
}

/// Checks a stream at an edge and at its origin alike.
async fn conforms(server: &Server, name: &str, seconds: u64) -> Outcome {
    let options = Options { span: Duration::from_secs(seconds), wait: START, ..Options::default() };
    let report = live::check(&server.playlist(name), options).await?;
    if report.passed() { Ok(()) } else { Err(format!("{report}\n{}", server.log()).into()) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_serves_what_its_origin_serves() -> Outcome {
    let _room = room::quarter().await;
    let relay = free_udp_port()?;
    let origin = Server::origin(relay, &[]).await?;
    let edge = Server::edge(&[local(relay)], &[]).await?;
    let _push = Push::file(&origin.rtmp_url("show"), &Drawing::default().path()?)?;
    origin.playable("show", START).await?;
    conforms(&edge, "show", 8).await?;
    for _ in 0..3 {
        assert!(same(&origin, &edge, "show").await? > 20);
    }
    let decoded = decode(&edge.playlist("show"), 3).await?;
    assert!(decoded.frames > 0);
    // What nobody has is not here either, and costs no wait for long.
    let asked = now();
    let answer = Client::new().get(&edge.playlist("nothing")).await?;
    assert_eq!(answer.status, 404);
    assert!(now() - asked < Duration::from_secs(4));
    assert!(edge.metric("aqueduct_relay_objects_total", "in").await? > 20.0);
    assert_eq!(origin.metric("aqueduct_relay_edges", "").await?, 1.0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_link_is_resumed_without_a_hole() -> Outcome {
    let _room = room::quarter().await;
    let relay = free_udp_port()?;
    let origin = Server::origin(relay, &[]).await?;
    let shape = Shape { delay: 20 * MS, ..Shape::default() };
    let link = Link::udp(local(0), local(relay), shape).await?;
    let edge = Server::edge(&[link.address], &[]).await?;
    let clip = Drawing::default().path()?.display().to_string();
    let forever = ["-re", "-stream_loop", "-1", "-i", &clip, "-c", "copy"];
    let _push = Push::start(&origin.rtmp_url("show"), &forever)?;
    origin.playable("show", START).await?;
    edge.playable("show", START).await?;
    let client = Client::new();
    // The first media playlist is asked for, so that its rendition is taken.
    advances(&edge, "show", (0, 0), START).await?;
    for cut in [3, 20] {
        let before = newest(&client, &edge, "show").await?;
        link.blackout(true);
        sleep(Duration::from_secs(cut)).await;
        if cut == 20 {
            // Nothing old is shown as if it were live (EDGE-5).
            let list = media(&client, &edge.playlist("show")).await?.remove(0);
            let answer = client.get(&list).await?;
            assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (503, "1"));
        }
        link.blackout(false);
        advances(&edge, "show", before, Duration::from_secs(15)).await?;
        let seen = newest(&client, &edge, "show").await?;
        advances(&edge, "show", seen, Duration::from_secs(10)).await?;
        assert!(same(&origin, &edge, "show").await? > 20, "after {cut} s");
    }
    assert!(edge.metric("aqueduct_relay_links_lost_total", "").await? >= 2.0);
    conforms(&edge, "show", 5).await
}

/// A clip that takes 5 Mbit/s: noise, which no encoder makes small.
fn heavy() -> Drawing<'static> {
    const VIDEO: &[&str] = &[
        "-vf",
        "noise=alls=40:allf=t",
        "-c:v",
        "libx264",
        "-preset",
        "ultrafast",
        "-x264-params",
        "bitrate=5000:vbv-maxrate=5000:vbv-bufsize=2500",
    ];
    Drawing { name: "heavy.mp4", size: "640x360", seconds: 12, video: VIDEO, ..Drawing::default() }
}

/// Whether a media playlist lists a gap behind a segment.
async fn has_gap_behind(server: &Server, name: &str, msn: u64) -> Outcome<bool> {
    let client = Client::new();
    let mut found = false;
    for list in media(&client, &server.playlist(name)).await? {
        let list = MediaPlaylist::parse(&client.get(&list).await?.text()?).0.ok_or("no playlist")?;
        let later = list.segments.iter().filter(|segment| segment.msn > msn);
        found |= later.into_iter().any(|segment| segment.gap || segment.parts.iter().any(|part| part.gap));
    }
    Ok(found)
}

/// An edge that joins has the whole window to catch up with, which takes a link of 12 Mbit/s seconds beside what is
/// live. A cut meanwhile costs the time of the cut: nothing live is lost, and nothing is sent twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_while_a_thin_link_catches_up_loses_nothing() -> Outcome {
    let _room = room::half().await;
    let relay = free_udp_port()?;
    let origin = Server::origin(relay, &[]).await?;
    let shape = Shape { delay: 20 * MS, rate: Some(12_000_000 / 8), ..Shape::default() };
    let link = Link::udp(local(0), local(relay), shape).await?;
    let clip = heavy().path()?.display().to_string();
    let _push =
        Push::start(&origin.rtmp_url("show"), &["-re", "-stream_loop", "-1", "-i", &clip, "-c", "copy"])?;
    let client = Client::new();
    // Until the window is full, and what is kept behind it.
    advances(&origin, "show", (20, 0), 2 * START).await?;
    let edge = Server::edge(&[link.address], &[]).await?;
    edge.playable("show", START).await?;
    let joined = newest(&client, &origin, "show").await?;
    sleep(500 * MS).await;
    let (taken, before) =
        (edge.metric("aqueduct_relay_bytes_total", "in").await?, newest(&client, &edge, "show").await?);
    link.blackout(true);
    sleep(Duration::from_secs(3)).await;
    link.blackout(false);
    let gap = advances(&edge, "show", before, Duration::from_secs(15)).await?;
    let at_origin = newest(&client, &origin, "show").await?;
    let behind = advances(&edge, "show", at_origin, Duration::from_secs(15)).await?;
    println!(
        "cut after {taken} bytes; goes on {gap:?} after it, and {behind:?} later it is where the origin was"
    );
    assert!(!has_gap_behind(&edge, "show", joined.0).await?, "{}", edge.log());
    assert!(same(&origin, &edge, "show").await? > 20);
    // A link that counts as dead still brings what was under way, beside the one that is asked for it again: that and no more
    // comes twice, of the hundreds that the window holds.
    let doubled = edge.metric("aqueduct_relay_objects_astray_total", "doubled").await?;
    assert!(doubled <= UNDER_WAY, "{doubled} came twice\n{}", edge.log());
    assert!(edge.metric("aqueduct_relay_links_lost_total", "").await? >= 1.0);
    conforms(&edge, "show", 5).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_origin_that_is_killed_comes_back_with_the_same_urls() -> Outcome {
    let _room = room::quarter().await;
    let relay = free_udp_port()?;
    let origin = Server::origin(relay, &[]).await?;
    let edge = Server::edge(&[local(relay)], &[]).await?;
    let clip = Drawing::default().path()?;
    let push = Push::file(&origin.rtmp_url("show"), &clip)?;
    origin.playable("show", START).await?;
    advances(&edge, "show", (0, 0), START).await?;
    let client = Client::new();
    let before = newest(&client, &edge, "show").await?;
    let (list, origin) = {
        let list = media(&client, &edge.playlist("show")).await?.remove(0);
        let restarting = origin.restart_origin(relay, &[]);
        // The edge goes on serving its window.
        let answer = client.get(&list).await?;
        assert!(answer.status.is_success(), "{}", answer.status);
        (list, restarting.await?)
    };
    push.kill().await.ok();
    let _push = Push::file(&origin.rtmp_url("show"), &clip)?;
    advances(&edge, "show", before, START).await?;
    assert_eq!(media(&client, &edge.playlist("show")).await?.remove(0), list, "the URL is another one");
    conforms(&edge, "show", 5).await?;
    assert!(same(&origin, &edge, "show").await? > 10);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_feeds_an_edge_and_a_ring_is_refused() -> Outcome {
    let _room = room::quarter().await;
    let (relay, shield_relay) = (free_udp_port()?, free_udp_port()?);
    let origin = Server::origin(relay, &[]).await?;
    let listen = local(shield_relay).to_string();
    let shield =
        Server::edge(&[local(relay)], &[("relay.listen", &listen), ("relay.node", "shield")]).await?;
    let edge = Server::edge(&[local(shield_relay)], &[("relay.node", "edge")]).await?;
    let _push = Push::file(&origin.rtmp_url("show"), &Drawing::default().path()?)?;
    origin.playable("show", START).await?;
    conforms(&edge, "show", 6).await?;
    assert!(same(&origin, &edge, "show").await? > 20);
    // One that feeds itself is told so, and what it has does not go round.
    let own = free_udp_port()?;
    let listen = local(own).to_string();
    let ring = Server::edge(&[local(own)], &[("relay.listen", &listen), ("relay.node", "ring")]).await?;
    let deadline = now() + START;
    while !ring.log().contains("this node feeds it") {
        assert!(now() < deadline, "{}", ring.log());
        sleep(50 * MS).await;
    }
    drop(shield);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_two_shields_may_die() -> Outcome {
    let _room = room::quarter().await;
    let (relay, one, two) = (free_udp_port()?, free_udp_port()?, free_udp_port()?);
    let origin = Server::origin(relay, &[]).await?;
    let (first, second) = (local(one).to_string(), local(two).to_string());
    let shield = Server::edge(&[local(relay)], &[("relay.listen", &first)]).await?;
    let standby = Server::edge(&[local(relay)], &[("relay.listen", &second)]).await?;
    let edge = Server::edge(&[local(one), local(two)], &[]).await?;
    let _push = Push::file(&origin.rtmp_url("show"), &Drawing::default().path()?)?;
    origin.playable("show", START).await?;
    advances(&edge, "show", (0, 0), START).await?;
    let client = Client::new();
    let before = newest(&client, &edge, "show").await?;
    advances(&edge, "show", before, START).await?;
    let before = newest(&client, &edge, "show").await?;
    drop(shield);
    advances(&edge, "show", before, Duration::from_secs(15)).await?;
    assert!(same(&origin, &edge, "show").await? > 20);
    conforms(&edge, "show", 5).await?;
    assert!(edge.metric("aqueduct_relay_moves_total", "").await? >= 1.0);
    drop(standby);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loss_and_a_slow_edge_harm_nobody() -> Outcome {
    let _room = room::whole().await;
    let relay = free_udp_port()?;
    let origin = Server::origin(relay, &[]).await?;
    let lossy = Shape { delay: 20 * MS, loss_millionths: 10_000, seed: 7, ..Shape::default() };
    let slow = Shape { delay: 20 * MS, rate: Some(20_000), seed: 8, ..Shape::default() };
    let lossy = Link::udp(local(0), local(relay), lossy).await?;
    let slow = Link::udp(local(0), local(relay), slow).await?;
    let far = Server::edge(&[lossy.address], &[]).await?;
    let starved = Server::edge(&[slow.address], &[]).await?;
    let near = Server::edge(&[local(relay)], &[]).await?;
    let _push = Push::file(&origin.rtmp_url("show"), &Drawing::default().path()?)?;
    origin.playable("show", START).await?;
    starved.playable("show", START).await?;
    // Asks for what it cannot have in time, again and again.
    let begging = tokio::spawn(async move {
        let client = Client::new();
        loop {
            let _ = newest(&client, &starved, "show").await;
            sleep(200 * MS).await;
        }
    });
    tokio::try_join!(conforms(&near, "show", 8), conforms(&far, "show", 8))?;
    assert!(same(&origin, &far, "show").await? > 20);
    begging.abort();
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_asks_for_is_not_taken_any_more_and_comes_back() -> Outcome {
    let _room = room::quarter().await;
    let relay = free_udp_port()?;
    let origin = Server::origin(relay, &[]).await?;
    let edge = Server::edge(&[local(relay)], &[("relay.idle", "2s")]).await?;
    let _push = Push::file(&origin.rtmp_url("show"), &Drawing::default().path()?)?;
    origin.playable("show", START).await?;
    advances(&edge, "show", (0, 0), START).await?;
    let taken = async || edge.metric("aqueduct_relay_objects_total", "in").await;
    let deadline = now() + START;
    loop {
        let before = taken().await?;
        sleep(Duration::from_secs(3)).await;
        if taken().await? == before {
            break;
        }
        assert!(now() < deadline, "objects still come");
    }
    let newest_there = newest(&Client::new(), &origin, "show").await?;
    advances(&edge, "show", newest_there, START).await?;
    assert!(same(&origin, &edge, "show").await? > 10);
    Ok(())
}

/// `transcode.demand = "on-watch"` hears viewers of an edge: a rung that sleeps at the origin wakes for them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rung_that_sleeps_wakes_for_a_viewer_of_an_edge() -> Outcome {
    let _room = room::half().await;
    let relay = free_udp_port()?;
    let settings = [
        ("transcode.mode", "auto"),
        ("transcode.ladder", "[{height=120,bitrate=60000}]"),
        ("transcode.demand", "on-watch"),
        ("transcode.sleep_after", "5s"),
    ];
    let origin = Server::origin(relay, &settings).await?;
    let edge = Server::edge(&[local(relay)], &[]).await?;
    let clip = Drawing { name: "relay-demand.mp4", size: "480x270", seconds: 100, ..Drawing::default() };
    let _push = Push::file(&origin.rtmp_url("show"), &clip.path()?)?;
    origin.names("show", "RESOLUTION=214x120", START).await?;
    let (client, index) = (Client::new(), edge.names("show", "RESOLUTION=214x120", START).await?);
    let mut lines = index.lines().skip_while(|line| !line.contains("RESOLUTION=214x120"));
    let rung = lines.find(|line| !line.starts_with('#')).ok_or("the rung has no playlist")?;
    let (here, there) = (resolve(&edge.playlist("show"), rung), resolve(&origin.playlist("show"), rung));
    // The source's list reports on the rung as long as that is awake.
    let source = index.lines().find(|line| !line.starts_with('#') && !line.is_empty() && *line != rung);
    let source = resolve(&origin.playlist("show"), source.ok_or("the source has no playlist")?);
    let name = rung.rsplit('/').nth(1).ok_or("no directory")?.to_owned();
    let awake = async || {
        let text = client.get(&source).await?.text()?;
        Outcome::Ok(text.lines().any(|line| line.contains("RENDITION-REPORT") && line.contains(&name)))
    };
    let deadline = now() + 2 * START;
    while awake().await? {
        assert!(now() < deadline, "the rung does not sleep\n{}", origin.log());
        sleep(200 * MS).await;
    }
    let asked = client.get(&here).await?;
    assert!(asked.status.is_success(), "{}: {}\n{}", here, asked.status, edge.log());
    let deadline = now() + START;
    while !awake().await? {
        assert!(now() < deadline, "it answered and sleeps");
        sleep(50 * MS).await;
    }
    assert!(MediaPlaylist::parse(&asked.text()?).0.is_some_and(|list| list.edge().is_some()));
    // It stays awake while the edge's viewer asks on, though nobody asks at the origin.
    for _ in 0..20 {
        sleep(500 * MS).await;
        assert!(client.get(&here).await?.status.is_success());
    }
    assert!(client.get(&there).await?.status.is_success());
    Ok(())
}
