//! Cameras with faults, which real servers are given on their way: clocks that lie or jump, pictures that change, a cable
//! that is out for a while. Viewers go on, and sound stays with pictures.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use aqueduct_tests::linkproxy::{Link, Shape};
use aqueduct_tests::world::{
    Flashes, Player, Reports, RtspServer, Server, Spoil, Spoiler, browse, decode, room, skew,
};
use aqueduct_tests::{Outcome, now};
use tokio::task::JoinSet;
use tokio::time::sleep;

/// What sound may be off by, in milliseconds (TL-40).
const APART_MAX: f64 = 40.0;
const START: Duration = Duration::from_secs(40);
const HOUR: i32 = 3_600;

/// A server that pulls these cameras: name and URL.
async fn pulling(cameras: &[(&str, String)]) -> Outcome<Server> {
    let camera =
        |(name, url): &(&str, String)| format!("{{stream='live/{name}',url='{url}',transport='tcp'}}");
    let cameras = format!("[{}]", cameras.iter().map(camera).collect::<Vec<_>>().join(","));
    Server::start(&[("ingest.rtsp_server.listen", "off"), ("ingest.rtsp", &cameras)]).await
}

/// The first media playlist that a list names.
fn path(index: &str) -> Option<String> {
    index.lines().find(|line| line.ends_with("media.m3u8")).map(str::to_owned)
}

/// RTSP-32..34, TL-9: jumps in mid-stream, and sender reports that are missing, wrong or coarse.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clocks_that_lie_or_jump_cost_no_viewer_the_stream() -> Outcome {
    let _room = room::half().await;
    let camera = RtspServer::showing(&Flashes::made().await?).await?;
    let cases = [
        ("ahead", Reports::True, 600_000),
        ("back", Reports::True, -60_000),
        ("jumps", Reports::Missing, 100_000),
        ("hour", Reports::Off(HOUR), 0),
        ("absurd", Reports::Absurd, 0),
        ("coarse", Reports::WholeSeconds, 0),
    ];
    let mut spoilers = Vec::new();
    for (_, reports, _) in cases {
        spoilers.push(Spoiler::before(camera.port, Spoil { ahead: 0, reports }).await?);
    }
    let url = |spoiler: &Spoiler| format!("rtsp://127.0.0.1:{}/file", spoiler.port);
    let cameras: Vec<_> = cases.iter().zip(&spoilers).map(|((name, ..), at)| (*name, url(at))).collect();
    let server = pulling(&cameras).await?;
    for (name, ..) in cases {
        server.playable(name, START).await?;
    }
    let jumping = async {
        sleep(Duration::from_secs(3)).await;
        for ((_, reports, ahead), spoiler) in cases.into_iter().zip(&spoilers) {
            spoiler.set(Spoil { ahead, reports });
        }
        Ok(())
    };
    let conforms = |name| server.conforms(name, 8);
    tokio::try_join!(jumping, conforms("ahead"), conforms("back"), conforms("jumps"), conforms("absurd"))?;
    let mut apart = JoinSet::new();
    for (name, ..) in cases {
        let url = server.playlist(name);
        apart.spawn(async move { (name, skew(&url, 5).await) });
    }
    while let Some(measured) = apart.join_next().await {
        let (name, late) = measured?;
        let late = late?;
        println!("{name}: sound is {late:.1} ms late");
        assert!(late.abs() < APART_MAX, "{name}: sound is {late} ms late\n{}", server.log());
    }
    // None of it was a reason to begin anew.
    assert_eq!(server.metric("aqueduct_ingest_session_ends_total", "").await?, 0.0, "{}", server.log());
    for (name, _, ahead) in cases {
        let breaks = server.told(name).await?["discontinuities"].as_u64();
        assert!(breaks <= Some(u64::from(ahead != 0)), "{name}: {breaks:?} breaks\n{}", server.log());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pictures_that_change_their_size_go_on_in_a_browser() -> Outcome {
    let _room = room::half().await;
    let camera = RtspServer::start().await?;
    let server = pulling(&[("sizes", camera.url("sizes"))]).await?;
    let index = server.playable("sizes", START).await?;
    let url = server.playlist("sizes");
    let changes = async {
        for size in ["640x480", "320x240"] {
            server.names("sizes", &format!("RESOLUTION={size}"), START).await?;
        }
        Ok(())
    };
    let viewing = browse(&url, Player::Hls, 12, &["--settle", "0"]);
    let (viewer, (), _) = tokio::try_join!(viewing, changes, server.conforms("sizes", 10))?;
    println!("longest stall {} s, stalls {}", viewer["longestStall"], viewer["stalls"]);
    assert!(viewer["fatal"].is_null(), "{viewer:#}");
    assert!(viewer["playedSeconds"].as_f64().is_some_and(|played| played >= 8.0), "{viewer:#}");
    assert_eq!(path(&server.playable("sizes", START).await?), path(&index), "the same URL");
    assert_eq!(server.metric("aqueduct_ingest_session_ends_total", "").await?, 0.0, "{}", server.log());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cable_that_is_out_for_ten_seconds_costs_ten_seconds() -> Outcome {
    let _room = room::quarter().await;
    let camera = RtspServer::start().await?;
    let here = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let link = Link::tcp(here(0), here(camera.port), Shape::default()).await?;
    let server = pulling(&[("door", format!("rtsp://{}/h264", link.address))]).await?;
    let index = server.playable("door", START).await?;
    link.blackout(true);
    let cut = now();
    let stalled = |told: &serde_json::Value| told["advice"].to_string().contains("stopped coming");
    server.tells("door", START, stalled).await?;
    tokio::time::sleep_until(cut + Duration::from_secs(10)).await;
    link.blackout(false);
    let back = now();
    while server.metric("aqueduct_ingest_sessions", "").await? < 1.0 {
        assert!(back.elapsed() < START, "{}", server.log());
        sleep(Duration::from_millis(50)).await;
    }
    println!("back after {:?}", back.elapsed());
    assert_eq!(
        path(&server.playable("door", START).await?),
        path(&index),
        "the same renditions at the same URLs"
    );
    server.conforms("door", 4).await?;
    decode(&server.playlist("door"), 3).await?;
    Ok(())
}
