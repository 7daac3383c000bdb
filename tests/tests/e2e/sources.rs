//! Streams with several sources: one is lost, the next one takes over, and viewers go on in the same stream.
//!
//! Failover is due within a second of silence, and at once when a source leaves. The bounds here leave room for a machine
//! that runs all tests.

use std::time::Duration;

use aqueduct_tests::Outcome;
use aqueduct_tests::check::live::{self, Options};
use aqueduct_tests::publisher::clip::made;
use aqueduct_tests::world::ladder::span;
use aqueduct_tests::world::watch::{Rendition, watch_during};
use aqueduct_tests::world::{Drawing, Player, Push, RtspServer, Server, browse, decode, free_udp_port, room};
use serde_json::Value;
use tokio::time::sleep;

const START: Duration = Duration::from_secs(20);
/// Longest time without a new part: a second of silence, and what a crowded machine takes.
const PAUSE: Duration = Duration::from_millis(3_500);

const SHOW: &str = r#"[{name="live/show",sources=["push:main","push:backup"],restore_after="3s"}]"#;

fn other() -> Drawing<'static> {
    Drawing { size: "640x360", rate: "30", gop: 30, ..long("backup-640.mp4") }
}

/// Long enough for a machine on which everything takes long.
fn long(name: &str) -> Drawing<'_> {
    Drawing { name, seconds: 120, ..Drawing::default() }
}

/// Both encoders on line, the main one on air.
async fn both(server: &Server, backup: &Drawing<'_>) -> Outcome<(Push, Push)> {
    let main = Push::file(&server.rtmp_url("show"), &long("main.mp4").path()?)?;
    server.playable("show", START).await?;
    let backup = Push::file(&server.rtmp_url("show?source=backup"), &backup.path()?)?;
    let standing_by = |told: &Value| told.pointer("/sources/1/standby/codecs/0").is_some();
    server.tells("show", START, standing_by).await?;
    Ok((main, backup))
}

async fn on_air(server: &Server, place: usize) -> Outcome<Value> {
    let state = format!("/sources/{place}/state");
    server.tells("show", START, |told| told.pointer(&state).is_some_and(|state| state == "on-air")).await
}

/// Every segment is there, in order, and parts never stopped for long.
fn assert_whole(seen: &[Rendition]) {
    for rendition in seen {
        let numbers: Vec<u64> = rendition.segments.keys().copied().collect();
        assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
        assert!(!rendition.gone, "{}", rendition.entry.url);
        let from = rendition.parts.first().map(|part| part.at);
        let pause = from.map_or(Duration::ZERO, |from| rendition.longest_pause(from));
        assert!(pause <= PAUSE, "{}: {pause:?} without a part", rendition.entry.url);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_takes_over_and_the_main_one_gets_back_while_viewers_watch() -> Outcome {
    let _room = room::half().await;
    let server = Server::start(&[("stream", SHOW)]).await?;
    let (main, backup) = both(&server, &long("backup.mp4")).await?;
    let index = server.playable("show", START).await?;
    let (page, url) = (server.watch_page("show"), server.playlist("show"));
    let viewing = tokio::spawn(async move { browse(&page, Player::Page, 28, &["--settle", "0"]).await });
    server.tells("show", START, |told| told["viewers"].as_u64() >= Some(1)).await?;
    let happening = async {
        sleep(Duration::from_secs(4)).await;
        main.kill().await?;
        let lost = on_air(&server, 1).await?;
        assert_eq!(lost.pointer("/last_switch/reason"), Some(&"left".into()), "{lost:#}");
        let main = Push::file(&server.rtmp_url("show"), &long("main.mp4").path()?)?;
        on_air(&server, 0).await?;
        sleep(Duration::from_secs(3)).await;
        // Its connection stands, and nothing comes.
        main.signal("STOP").await?;
        let silent = on_air(&server, 1).await?;
        assert_eq!(silent.pointer("/last_switch/reason"), Some(&"silent".into()), "{silent:#}");
        let advice =
            server.tells("show", START, |told| told.to_string().contains("nothing comes of push:main")).await;
        advice?;
        main.signal("CONT").await?;
        on_air(&server, 0).await?;
        sleep(Duration::from_secs(2)).await;
        Ok(main)
    };
    let options = Options { span: Duration::from_secs(20), ..Options::default() };
    let (report, (seen, _main)) =
        tokio::try_join!(live::check(&url, options), watch_during(&url, happening))?;
    let viewer = viewing.await??;
    assert!(report.passed(), "{report}\n{}", server.log());
    assert_whole(&seen);
    assert!(viewer["fatal"].is_null(), "{viewer:#}");
    assert!(viewer["longestStall"].as_f64().is_some_and(|stall| stall <= 3.0), "{viewer:#}");
    assert!(viewer["playedSeconds"].as_f64().is_some_and(|played| played >= 20.0), "{viewer:#}");
    // The same stream all along, with one break for each change.
    let paths = |index: &str| {
        index.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(paths(&server.playable("show", START).await?), paths(&index));
    let told = server.told("show").await?;
    assert_eq!((&told["switches"], &told["discontinuities"]), (&4.into(), &4.into()), "{told:#}");
    assert_eq!(server.metric("aqueduct_source_switches_total", "left").await?, 1.0);
    assert_eq!(server.metric("aqueduct_source_on_air", "push:main").await?, 1.0);
    let pauses: Vec<Duration> =
        seen.iter().filter_map(|r| Some(r.longest_pause(r.parts.first()?.at))).collect();
    println!("longest stall {} s, stalls {}, pauses {pauses:?}", viewer["longestStall"], viewer["stalls"]);
    drop(backup);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_with_another_picture_is_a_discontinuity_with_a_new_init() -> Outcome {
    let _room = room::half().await;
    let server = Server::start(&[("stream", SHOW)]).await?;
    let (main, _backup) = both(&server, &other()).await?;
    let (url, watched) = (server.playlist("show"), server.playlist("show"));
    let viewing = tokio::spawn(async move { browse(&watched, Player::Hls, 16, &["--settle", "0"]).await });
    server.tells("show", START, |told| told["viewers"].as_u64() >= Some(1)).await?;
    let happening = async {
        sleep(Duration::from_secs(4)).await;
        main.kill().await?;
        on_air(&server, 1).await?;
        sleep(Duration::from_secs(4)).await;
        Ok(())
    };
    let options = Options { span: Duration::from_secs(9), ..Options::default() };
    let (report, (seen, ())) = tokio::try_join!(live::check(&url, options), watch_during(&url, happening))?;
    let viewer = viewing.await??;
    assert!(report.passed(), "{report}\n{}", server.log());
    assert_whole(&seen);
    assert!(viewer["fatal"].is_null(), "{viewer:#}");
    assert!(viewer["playedSeconds"].as_f64().is_some_and(|played| played >= 8.0), "{viewer:#}");
    let video = seen.iter().find(|rendition| rendition.is_video()).ok_or("no video")?;
    assert_eq!(video.inits.len(), 2, "one init segment for each picture");
    assert!(server.playable("show", START).await?.contains("RESOLUTION=640x360"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ladder_goes_on_over_a_failover() -> Outcome {
    let _room = room::half().await;
    let server = Server::start(&[("stream", SHOW), ("transcode.mode", "auto")]).await?;
    let (main, _backup) = both(&server, &other()).await?;
    let url = server.playlist("show");
    let happening = async {
        sleep(Duration::from_secs(4)).await;
        main.kill().await?;
        on_air(&server, 1).await?;
        sleep(Duration::from_secs(6)).await;
        Ok(())
    };
    let options = Options { span: Duration::from_secs(12), ..Options::default() };
    let (report, ()) = tokio::try_join!(live::check(&url, options), happening)?;
    assert!(report.passed(), "{report}\n{}", server.log());
    assert!(server.playable("show", START).await?.contains("RESOLUTION=640x360"));
    Ok(())
}

/// A stream of all kinds of sources: two pushes, one that is fetched, and a still image.
async fn chain(seconds: u64) -> Outcome<(Server, [Push; 3])> {
    let port = free_udp_port()?;
    let slate = made("slate-show.png", &["-f", "lavfi", "-i", "testsrc2=size=320x180", "-frames:v", "1"])?;
    let stream = r#"[{name="live/show",sources=["push:main","push:backup","pull:far","pull:slate"],restore_after="3s"}]"#;
    let pulls = format!(
        "[{{stream='live/show',name='far',url='udp://127.0.0.1:{port}'}},\
          {{stream='live/show',name='slate',still={slate:?},size='320x180',fps=25}}]"
    );
    let server = Server::start(&[("stream", stream), ("ingest.pull", &pulls)]).await?;
    let far = Push::transport(&format!("udp://127.0.0.1:{port}?pkt_size=1316"), &long("far.mp4").path()?)?;
    // It is there from the beginning on, and has to last until it is its turn to end.
    let seconds = 120.max(seconds as u32);
    let name = format!("backup-{seconds}.mp4");
    let (main, backup) = both(&server, &Drawing { seconds, ..long(&name) }).await?;
    let stands_by =
        |told: &Value, place: usize| told.pointer(&format!("/sources/{place}/standby/codecs/0")).is_some();
    server.tells("show", START, |told| stands_by(told, 2) && stands_by(told, 3)).await?;
    Ok((server, [main, backup, far]))
}

/// Ends one source after the other, and has the first one come back.
async fn down_and_back(server: &Server, pushes: [Push; 3], each: Duration) -> Outcome<Push> {
    for (push, next) in pushes.into_iter().zip(1..) {
        sleep(each).await;
        push.kill().await?;
        on_air(server, next).await?;
    }
    sleep(each).await;
    let main = Push::file(&server.rtmp_url("show"), &long("main.mp4").path()?)?;
    let told = on_air(server, 0).await?;
    assert_eq!(told.pointer("/last_switch/reason"), Some(&"restored".into()), "{told:#}");
    sleep(each).await;
    Ok(main)
}

/// One change after the other while a browser plays. `SPAN_SECONDS` divides into how long each source is on air; a
/// machine that has the time for that shows no stall above a second.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn down_to_the_slate_and_back_while_a_browser_plays() -> Outcome {
    let _room = room::whole().await;
    let all = span(15);
    let (each, stall_max) = (Duration::from_secs(all / 5), if all > 15 { 1.0 } else { 3.0 });
    let (server, pushes) = chain(all).await?;
    // The slate is there first, and may have been on air.
    let begun = on_air(&server, 0).await?["switches"].as_u64().unwrap_or_default();
    let index = server.playable("show", START).await?;
    let (page, seconds) = (server.watch_page("show"), all as u32 + 10);
    let viewing = tokio::spawn(async move { browse(&page, Player::Page, seconds, &["--settle", "0"]).await });
    server.tells("show", START, |told| told["viewers"].as_u64() >= Some(1)).await?;
    let _main = down_and_back(&server, pushes, each).await?;
    let viewer = viewing.await??;
    println!("longest stall {} s, stalls {}", viewer["longestStall"], viewer["stalls"]);
    assert!(viewer["fatal"].is_null(), "{viewer:#}");
    assert!(viewer["longestStall"].as_f64().is_some_and(|stall| stall <= stall_max), "{viewer:#}");
    let least = f64::from(seconds) * 0.7;
    assert!(viewer["playedSeconds"].as_f64().is_some_and(|played| played >= least), "{viewer:#}");
    let told = server.told("show").await?;
    assert_eq!(told["switches"].as_u64(), Some(begun + 4), "{told:#}");
    // The same stream all along: the page had nothing to load anew.
    let path = |index: &str| index.lines().find(|line| line.ends_with("media.m3u8")).map(str::to_owned);
    assert_eq!(path(&server.playable("show", START).await?), path(&index));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_cameras_of_a_stream_the_other_one_goes_on() -> Outcome {
    let _room = room::quarter().await;
    let (front, side) = (RtspServer::start().await?, RtspServer::start().await?);
    let camera = |name: &str, url: String| {
        format!(r#"{{stream="live/door",name="{name}",url="{url}",transport="tcp"}}"#)
    };
    let cameras = format!("[{},{}]", camera("front", front.url("h264")), camera("side", side.url("h264")));
    let stream = r#"[{name="live/door",sources=["rtsp:front","rtsp:side"]}]"#;
    let settings =
        [("ingest.rtsp_server.listen", "off"), ("stream", stream), ("ingest.rtsp", cameras.as_str())];
    let server = Server::start(&settings).await?;
    let is = |told: &Value, place: usize, wanted: &str| {
        told.pointer(&format!("/sources/{place}/state")).is_some_and(|state| state == wanted)
    };
    server.tells("door", START, |told| is(told, 0, "on-air") && is(told, 1, "standby")).await?;
    server.playable("door", START).await?;
    front.kill().await?;
    let refused = |told: &Value| told.pointer("/sources/0/problem").is_some_and(Value::is_string);
    let told = server.tells("door", START, |told| is(told, 1, "on-air") && refused(told)).await?;
    let problem = told.pointer("/sources/0/problem").and_then(Value::as_str).unwrap_or_default();
    assert!(problem.contains("refuses connections") || problem.contains("closed"), "{problem}");
    decode(&server.playlist("door"), 2).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_is_told_that_it_is_no_source() -> Outcome {
    let _room = room::quarter().await;
    let server = Server::start(&[("stream", SHOW)]).await?;
    let push = Push::file(&server.rtmp_url("show?source=third"), &Drawing::default().path()?)?;
    let (good, words) = push.ended(START).await?;
    assert!(!good && !words.is_empty(), "{words}");
    assert_eq!(server.metric("aqueduct_ingest_refused_total", "bad_source").await?, 1.0);
    Ok(())
}
