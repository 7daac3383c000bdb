//! A worker is killed, stops, or aborts: who watches the source sees nothing of it, and the rungs are back in two
//! seconds, with the cause counted, wherever the source has its keyframes.

use std::time::Duration;

use aqueduct_tests::check::playlist::resolve;
use aqueduct_tests::world::ladder::{aligned, span};
use aqueduct_tests::world::watch::{Rendition, watch};
use aqueduct_tests::world::{Drawing, Player, Push, Server, browse, room};
use aqueduct_tests::{Outcome, now};
use tokio::process::Command;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

const START: Duration = Duration::from_secs(20);
/// A rung's media that is lost, at most. Two seconds are promised, and kept on an idle machine (docs/records.md); beside two
/// browsers a slow one leaves a worker, which stands behind them, without its share for seconds.
const LOST: Duration = Duration::from_secs(8);
/// Without a rung for as long, and then the part that has to be whole before it is listed.
const BACK: Duration = Duration::from_millis(8_250);
/// Parts of 0.2 s; what a machine that starts a worker and feeds two browsers beside may add.
const UNDISTURBED: Duration = Duration::from_millis(1_500);
const LADDER: &str = "[{height=270,bitrate=200000},{height=180,bitrate=120000}]";

static TURN: Mutex<()> = Mutex::const_new(());

/// Keyframes each second, or every two seconds, as OBS is told everywhere.
fn drawing(gop: u32) -> Drawing<'static> {
    let name = if gop == 50 { "ladder-360-gop-50.mp4" } else { "ladder-360.mp4" };
    Drawing { name, size: "640x360", seconds: 40, gop, ..Drawing::default() }
}

/// Pushes the drawing over and over.
fn push(server: &Server, gop: u32) -> Outcome<Push> {
    let path = drawing(gop).path()?;
    let path = path.to_string_lossy();
    Push::start(&server.rtmp_url("show"), &["-re", "-stream_loop", "-1", "-i", &path, "-c", "copy"])
}

/// The media playlist of the variant with this many lines.
async fn variant(server: &Server, lines: u32) -> Outcome<String> {
    let index = server.names("show", "RESOLUTION=480x270", START).await?;
    let mut lines_of = index.lines().skip_while(|line| !line.contains(&format!("x{lines},")));
    let uri = lines_of.nth(1).ok_or_else(|| format!("{lines} lines are not in {index}"))?;
    Ok(resolve(&server.playlist("show"), uri))
}

/// Plays the source and a rung in browsers and follows all renditions, while faults are done.
async fn beside(
    server: &Server,
    seconds: u64,
    faults: impl Future<Output = Outcome<Vec<Instant>>>,
) -> Outcome<(Vec<Rendition>, Vec<Instant>)> {
    let (source, rung) = (variant(server, 360).await?, variant(server, 270).await?);
    let url = server.playlist("show");
    let length = u32::try_from(seconds)?;
    let (source, rung, seen, faults) = tokio::try_join!(
        browse(&source, Player::Hls, length - 4, &["--settle", "0"]),
        browse(&rung, Player::Hls, length - 4, &["--settle", "0"]),
        watch(&url, Duration::from_secs(seconds)),
        faults,
    )?;
    // Two browsers and a test on few cores: one may say that it waits for a frame.
    assert!(source["longestStall"].as_f64() <= Some(0.5), "{source:#}");
    assert!(source["fatal"].is_null() && rung["fatal"].is_null(), "{source:#} {rung:#}");
    // A player that has nothing but the rung waits over its gap for as long as it likes, and goes on by itself.
    assert!(rung["playedSeconds"].as_f64() >= Some(2.0), "{rung:#}");
    aligned(&seen)?;
    Ok((seen, faults))
}

fn judge(seen: &[Rendition], faults: &[Instant], log: &str) {
    for (index, fault) in faults.iter().enumerate() {
        let until = faults.get(index + 1).copied();
        for rendition in seen.iter().filter(|rendition| rendition.is_video()) {
            let mut rendition = rendition.clone();
            rendition.parts.retain(|part| until.is_none_or(|until| part.at < until));
            let (pause, lines) = (rendition.longest_pause(*fault), rendition.height());
            let gaps = rendition.parts.iter().filter(|part| part.gap && part.at >= *fault).count();
            if lines == 360 {
                assert!(pause <= UNDISTURBED && gaps == 0, "the source paused {pause:?}, {gaps} gaps\n{log}");
            } else {
                let lost = lost(&rendition, *fault);
                assert!(gaps > 0, "the fault did nothing to {lines} lines\n{log}");
                assert!(lost <= LOST, "{lines} lines: {lost:?} of it are lost\n{log}");
                assert!(pause <= BACK, "{lines} lines: {pause:?} without media\n{log}");
                println!("fault {index}, {lines} lines: {lost:?} lost in {gaps} parts");
            }
            println!("fault {index}, {lines} lines: {pause:?} without media");
        }
    }
}

/// How much of a rendition is missing since then, by what its playlist says.
fn lost(rendition: &Rendition, since: Instant) -> Duration {
    let pairs = rendition.parts.windows(2).filter(|pair| pair[1].gap && pair[1].at >= since);
    let micros: i64 = pairs.map(|pair| pair[1].end - pair[0].end).sum();
    Duration::from_micros(micros.max(0).unsigned_abs())
}

async fn signal(server: &Server, signal: &str) -> Outcome<Instant> {
    let workers = server.workers();
    let [worker] = workers.as_slice() else { return Err(format!("workers: {workers:?}").into()) };
    Command::new("kill").args([signal, &worker.to_string()]).status().await?;
    Ok(now())
}

/// Kills a worker and stops the next one.
async fn kill_and_stop(gop: u32) -> Outcome {
    let _turn = TURN.lock().await;
    let server = Server::start(&[
        ("transcode.mode", "auto"),
        ("transcode.ladder", LADDER),
        ("transcode.preset", "ultrafast"),
    ])
    .await?;
    let _push = push(&server, gop)?;
    let faults = async {
        sleep(Duration::from_secs(7)).await;
        let killed = signal(&server, "-KILL").await?;
        sleep(Duration::from_secs(6)).await;
        let stopped = signal(&server, "-STOP").await?;
        Ok(vec![killed, stopped])
    };
    let (seen, faults) = beside(&server, span(20), faults).await?;
    judge(&seen, &faults, &server.log());
    for cause in ["signal", "hang"] {
        let label = format!("cause=\"{cause}\"");
        let count = server.metric("aqueduct_transcode_worker_losses_total", &label).await?;
        // A worker that gets nothing of the machine for a second hangs as well.
        assert!(count >= 1.0, "{cause}: {count}\n{}", server.log());
    }
    let told = server.told("show").await?;
    assert_eq!(told["transcode"]["losses"]["signal"], 1, "{told:#}");
    assert!(told["transcode"]["losses"]["hang"].as_u64() >= Some(1), "{told:#}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_and_a_stopped_worker_are_replaced_in_two_seconds() -> Outcome {
    let _room = room::whole().await;
    Box::pin(kill_and_stop(25)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rungs_do_not_wait_for_keyframes_two_seconds_apart() -> Outcome {
    let _room = room::whole().await;
    Box::pin(kill_and_stop(50)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_aborts_is_replaced_in_two_seconds() -> Outcome {
    let _room = room::whole().await;
    let _turn = TURN.lock().await;
    // In the tenth second of the stream: the browsers play by then.
    let server = Server::planted("abort@250", &[("transcode.ladder", LADDER)]).await?;
    let _push = push(&server, 50)?;
    let faults = async {
        let deadline = now() + Duration::from_secs(14);
        while now() < deadline {
            if server.metric("aqueduct_transcode_worker_losses_total", "").await? > 0.0 {
                // Its end has been heard of a moment ago.
                return Ok(vec![now() - Duration::from_millis(100)]);
            }
            sleep(Duration::from_millis(20)).await;
        }
        Err(format!("the planted fault did not strike\n{}", server.log()).into())
    };
    let (seen, faults) = Box::pin(beside(&server, span(15), faults)).await?;
    judge(&seen, &faults, &server.log());
    let told = server.told("show").await?;
    assert_eq!(told["transcode"]["losses"]["signal"], 1, "{told:#}");
    assert!(told["transcode"]["last_loss"].as_str().is_some_and(|text| text.contains("abort")), "{told:#}");
    Ok(())
}

/// Where the source is left out, a rung is the reference: all wait for it, and it goes on behind a break.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_grid_of_its_own_a_ladder_is_back_in_two_seconds() -> Outcome {
    let _room = room::whole().await;
    let _turn = TURN.lock().await;
    let settings =
        [("transcode.mode", "auto"), ("transcode.ladder", LADDER), ("transcode.passthrough", "never")];
    let server = Server::start(&settings).await?;
    let _push = push(&server, 50)?;
    server.names("show", "RESOLUTION=480x270", START).await?;
    let url = server.playlist("show");
    let faults = async {
        sleep(Duration::from_secs(4)).await;
        let killed = signal(&server, "-KILL").await?;
        sleep(Duration::from_secs(5)).await;
        Ok(vec![killed, signal(&server, "-STOP").await?])
    };
    let (seen, faults) = tokio::try_join!(watch(&url, Duration::from_secs(14)), faults)?;
    for rendition in seen.iter().filter(|rendition| rendition.is_video()) {
        for fault in &faults {
            let (pause, lines) = (rendition.longest_pause(*fault), rendition.height());
            println!("on a grid of its own, {lines} lines: {pause:?} without media");
            assert!(pause <= BACK, "{lines} lines: {pause:?} without media\n{}", server.log());
        }
        assert!(rendition.segments.values().any(|kept| kept.discontinuity), "{}", server.log());
    }
    aligned(&seen)?;
    Ok(())
}
