//! Our page in a real browser over HTTP/3, on a good network and on one that loses packets.

use std::net::SocketAddr;
use std::time::Duration;

use aqueduct_tests::Outcome;
use aqueduct_tests::linkproxy::{Link, Shape};
use aqueduct_tests::world::{Player, Server, browse, room};
use serde_json::Value;
use tokio::sync::Mutex;

const START: Duration = Duration::from_secs(15);
/// A browser wants the machine for itself.
static TURN: Mutex<()> = Mutex::const_new(());

fn number(seen: &Value, path: &str) -> f64 {
    seen.pointer(path).and_then(Value::as_f64).unwrap_or(f64::NAN)
}

/// It played without a stall after it had settled, and every media file and playlist came over HTTP/3.
fn assert_smooth_over_http3(seen: &Value, seconds: f64) {
    assert_eq!(number(seen, "/stallsSettled"), 0.0, "{seen:#}");
    assert!(number(seen, "/playedSeconds") >= seconds * 0.85, "{seen:#}");
    assert!(seen["fatal"].is_null(), "{seen:#}");
    let protocols = seen["protocols"].as_object().cloned().unwrap_or_default();
    // Two renditions, picture and sound, of a part and a playlist five times a second.
    assert!(number(seen, "/protocols/h3") >= seconds * 5.0, "{seen:#}");
    assert_eq!(protocols.keys().collect::<Vec<_>>(), ["h3"], "{seen:#}");
}

/// What the server counted as sent over HTTP/3.
async fn counted(server: &Server) -> Outcome<f64> {
    server.metric("aqueduct_http_requests_total", r#"class="part",status_class="2xx",proto="h3""#).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_page_plays_over_http3() -> Outcome {
    let _room = room::whole().await;
    let _turn = TURN.lock().await;
    let server = Server::start(&[]).await?;
    let _demo = server.demo("clock").await?;
    server.playable("clock", START).await?;
    let page = format!("https://{}/watch/live/clock", server.https_address());
    let certificate = server.certificate();
    let certificate = certificate.to_str().ok_or("a path that is no text")?;
    let seen = browse(&page, Player::Page, 16, &["--h3", certificate, "--settle", "8"]).await?;
    assert_smooth_over_http3(&seen, 16.0);
    assert!(counted(&server).await? >= 50.0, "counted as HTTP/3");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_page_plays_over_http3_through_delay_and_loss() -> Outcome {
    let _room = room::whole().await;
    let _turn = TURN.lock().await;
    let server = Server::start(&[]).await?;
    let _demo = server.demo("clock").await?;
    server.playable("clock", START).await?;
    let far: SocketAddr = server.https_address().parse()?;
    let shape =
        Shape { delay: Duration::from_millis(20), loss_millionths: 10_000, seed: 3, ..Shape::default() };
    let link = Link::udp("127.0.0.1:0".parse()?, far, shape).await?;
    let page = format!("https://{}/watch/live/clock", link.address);
    let certificate = server.certificate();
    let certificate = certificate.to_str().ok_or("a path that is no text")?;
    let seen = browse(&page, Player::Page, 20, &["--h3", certificate, "--settle", "10"]).await?;
    assert_smooth_over_http3(&seen, 20.0);
    Ok(())
}
