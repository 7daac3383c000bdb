//! Streams that are sent on to other servers: to one of ours and to ffmpeg, which go away and come back.

use std::path::Path;
use std::time::Duration;

use aqueduct_tests::Outcome;
use aqueduct_tests::fetch::Client;
use aqueduct_tests::world::{Drawing, Push, Server, free_port, free_udp_port, probe, room};
use serde_json::Value;
use tokio::time::sleep;

const START: Duration = Duration::from_secs(20);
/// A target's failure shows, and it is tried again, within this.
const AGAIN: Duration = Duration::from_secs(40);
const SECRET: &str = "do-not-show-this-key";

fn state(told: &Value, place: usize) -> &str {
    told.pointer(&format!("/push/{place}/state")).and_then(Value::as_str).unwrap_or_default()
}

fn grown(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|file| file.len() > 30_000)
}

async fn written(path: &Path) -> Outcome {
    for _ in 0..400 {
        if grown(path) {
            return Ok(());
        }
        sleep(Duration::from_millis(50)).await;
    }
    Err(format!("nothing came to {}", path.display()).into())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_is_sent_on_to_another_server_that_dies_and_is_back() -> Outcome {
    let _room = room::quarter().await;
    let rtmp = format!("127.0.0.1:{}", free_port()?);
    let keys = format!(r#"[{{stream="live/*",secret="{SECRET}"}}]"#);
    let settings: &[(&str, &str)] = &[("ingest.rtmp.listen", &rtmp), ("ingest.keys", &keys)];
    let target = Server::start(settings).await?;
    let push =
        format!(r#"[{{name="live/show",push=[{{url="rtmp://{rtmp}/live",key="copy?key={SECRET}"}}]}}]"#);
    let server = Server::start(&[("stream", &push)]).await?;
    let clip = Drawing { name: "on.mp4", seconds: 60, ..Drawing::default() };
    let _push = Push::file(&server.rtmp_url("show"), &clip.path()?)?;
    server.tells("show", START, |told| state(told, 0) == "live").await?;
    target.playable("copy", START).await?;
    target.conforms("copy", 4).await?;
    // The target dies: what viewers here see does not notice.
    let dying = target.restart(true, settings);
    let failed = server.tells("show", START, |told| state(told, 0) == "failed");
    let (target, failed) = tokio::join!(dying, failed);
    let (target, failed) = (target?, failed?);
    let reason = failed.pointer("/push/0/reason").and_then(Value::as_str).unwrap_or_default();
    assert!(!reason.is_empty() && !reason.contains(SECRET), "{failed:#}");
    server.conforms("show", 3).await?;
    server.tells("show", AGAIN, |told| state(told, 0) == "live").await?;
    target.playable("copy", START).await?;
    let told = server.told("show").await?;
    assert_eq!(told.pointer("/push/0/target"), Some(&format!("rtmp://{rtmp}/live").into()));
    assert!(told.pointer("/push/0/failures").and_then(Value::as_u64) >= Some(1), "{told:#}");
    let metrics = Client::new().get(&server.admin("/metrics")).await?.text()?;
    for text in [server.log(), told.to_string(), metrics] {
        assert!(!text.contains(SECRET), "{text}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn srt_and_rtmp_listeners_get_the_stream_each_by_itself() -> Outcome {
    let _room = room::quarter().await;
    let folder = std::env::temp_dir().join(format!("aqueduct-push-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let (srt, rtmp) = (free_udp_port()?, free_port()?);
    let url = format!("srt://127.0.0.1:{srt}?mode=listener&passphrase={SECRET}");
    let rtmp_url = format!("rtmp://127.0.0.1:{rtmp}/live/out");
    let push = format!(
        r#"[{{name="live/show",push=[{{url="srt://127.0.0.1:{srt}?passphrase={SECRET}",name="there"}},{{url="{rtmp_url}"}}]}}]"#
    );
    let (ts, again, flv) = (folder.join("a.ts"), folder.join("b.ts"), folder.join("c.flv"));
    let receive = |url: &str, format: &str, path: &Path| {
        let listen: &[&str] = if format == "flv" { &["-listen", "1"] } else { &[] };
        let path = path.to_string_lossy();
        let out = ["-i", url, "-c", "copy", "-flush_packets", "1", "-f", format, &path];
        Push::any(&[listen, &out[..]].concat())
    };
    let first = receive(&url, "mpegts", &ts)?;
    let server = Server::start(&[("stream", &push)]).await?;
    let clip = Drawing { name: "on.mp4", seconds: 60, ..Drawing::default() };
    let _push = Push::file(&server.rtmp_url("show"), &clip.path()?)?;
    // One that is not there yet is tried again and again, and holds nobody up.
    server.tells("show", START, |told| state(told, 0) == "live" && state(told, 1) == "failed").await?;
    written(&ts).await?;
    let third = receive(&rtmp_url, "flv", &flv)?;
    server.tells("show", AGAIN, |told| state(told, 1) == "live").await?;
    first.kill().await?;
    server.tells("show", AGAIN, |told| state(told, 0) != "live").await?;
    let second = receive(&url, "mpegts", &again)?;
    server.tells("show", AGAIN, |told| state(told, 0) == "live").await?;
    written(&again).await?;
    written(&flv).await?;
    second.stop().await?;
    third.stop().await?;
    for path in [&again, &flv] {
        let tracks = probe(&path.to_string_lossy(), "codec_name").await?;
        assert_eq!(tracks, "h264\naac", "{}", path.display());
    }
    assert!(!server.log().contains(SECRET), "{}", server.log());
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}
