//! Real players in a real browser: our page and stock hls.js and Shaka.
//!
//! Latency is measured with the clock in the picture, from the drawing of a frame to its showing. The limits here
//! leave room for a machine that runs all tests; `make bench` holds the budgets.

use std::net::SocketAddr;
use std::time::Duration;

use aqueduct_tests::Outcome;
use aqueduct_tests::linkproxy::{Link, Shape};
use aqueduct_tests::world::{Drawing, Player, Push, Server, browse, room};
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::sleep;

const START: Duration = Duration::from_secs(15);
/// A browser wants the machine for itself where latency is measured.
static TURN: Mutex<()> = Mutex::const_new(());

fn number(seen: &Value, path: &str) -> f64 {
    seen.pointer(path).and_then(Value::as_f64).unwrap_or(f64::NAN)
}

/// It played without a stall after it had settled, and nearly all the time.
fn assert_smooth(seen: &Value, seconds: f64) {
    assert_eq!(number(seen, "/stallsSettled"), 0.0, "{seen:#}");
    assert!(number(seen, "/playedSeconds") >= seconds * 0.85, "{seen:#}");
    assert!(seen["fatal"].is_null(), "{seen:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_page_shows_the_demo_well_under_a_second_behind() -> Outcome {
    let _room = room::whole().await;
    let _turn = TURN.lock().await;
    let server = Server::start(&[]).await?;
    let _demo = server.demo("clock").await?;
    server.playable("clock", START).await?;
    let seen = browse(&server.watch_page("clock"), Player::Page, 16, &["--clock", "--settle", "8"]).await?;
    assert_smooth(&seen, 16.0);
    assert!(number(&seen, "/glassToScreen/p50") <= 0.8, "{seen:#}");
    assert!(number(&seen, "/firstPictureMillis") <= 2_500.0, "{seen:#}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stock_hls_js_stays_near_the_edge_without_a_stall() -> Outcome {
    let _room = room::whole().await;
    let _turn = TURN.lock().await;
    let server = Server::start(&[]).await?;
    let _demo = server.demo("clock").await?;
    server.playable("clock", START).await?;
    let seen = browse(&server.playlist("clock"), Player::Hls, 16, &["--clock", "--settle", "8"]).await?;
    assert_smooth(&seen, 16.0);
    // Its target grows by a second when it stalls while it starts.
    assert!(number(&seen, "/glassToScreen/p50") <= 2.6, "{seen:#}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_page_rides_out_fifty_milliseconds_of_jitter() -> Outcome {
    let _room = room::whole().await;
    let _turn = TURN.lock().await;
    let server = Server::start(&[]).await?;
    let _demo = server.demo("clock").await?;
    server.playable("clock", START).await?;
    let far: SocketAddr = server.http_address().parse()?;
    let shape = Shape { jitter: Duration::from_millis(50), seed: 1, ..Shape::default() };
    let link = Link::tcp("127.0.0.1:0".parse()?, far, shape).await?;
    let url = format!("http://{}/watch/live/clock", link.address);
    let seen = browse(&url, Player::Page, 20, &["--clock", "--settle", "10"]).await?;
    assert_smooth(&seen, 20.0);
    assert!(number(&seen, "/glassToScreen/p50") <= 1.0, "{seen:#}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_page_plays_on_when_a_killed_pusher_returns() -> Outcome {
    let _room = room::half().await;
    let _turn = TURN.lock().await;
    let server = Server::start(&[]).await?;
    let (url, clip) = (server.rtmp_url("back"), Drawing::default().path()?);
    let push = Push::file(&url, &clip)?;
    server.playable("back", START).await?;
    let page = server.watch_page("back");
    let (seen, _push) = tokio::try_join!(browse(&page, Player::Page, 20, &["--settle", "0"]), async {
        sleep(Duration::from_secs(6)).await;
        push.kill().await?;
        sleep(Duration::from_secs(3)).await;
        Push::file(&url, &clip)
    })?;
    assert!(seen["fatal"].is_null(), "{seen:#}");
    // Three seconds without a source, and what it takes to notice and to start again.
    assert!(number(&seen, "/playedSeconds") >= 12.0, "{seen:#}");
    assert!(number(&seen, "/longestStall") <= 6.0, "{seen:#}");
    Ok(())
}

/// A GOP of a second, and after twelve seconds, when every player has begun, one of eight.
fn late_long_gop() -> Drawing<'static> {
    const KEYFRAMES: &str = "0,1,2,3,4,5,6,7,8,9,10,11,12,20,28";
    const VIDEO: &[&str] = &["-c:v", "libx264", "-preset", "ultrafast", "-force_key_frames", KEYFRAMES];
    Drawing { name: "gop-of-8-from-12.mp4", gop: 10_000, video: VIDEO, ..Drawing::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gop_that_grows_long_later_plays_in_hls_js_and_shaka() -> Outcome {
    let _room = room::whole().await;
    let _turn = TURN.lock().await;
    let server = Server::start(&[]).await?;
    let _push = Push::file(&server.rtmp_url("long"), &late_long_gop().path()?)?;
    server.playable("long", START).await?;
    let url = server.playlist("long");
    let settle = ["--settle", "4"];
    let (hls, shaka, report) = tokio::try_join!(
        browse(&url, Player::Hls, 18, &settle),
        browse(&url, Player::Shaka, 18, &settle),
        server.conforms("long", 18),
    )?;
    assert_smooth(&hls, 18.0);
    // Shaka stops once, where segments begin to come without a keyframe, and goes on by itself.
    assert!(shaka["fatal"].is_null() && number(&shaka, "/longestStall") <= 4.0, "{shaka:#}");
    assert!(number(&shaka, "/playedSeconds") >= 10.0, "{shaka:#}");
    assert_eq!(report.renditions, 2);
    Ok(())
}
