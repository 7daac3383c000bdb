//! Real footage becomes a ladder: every rung conforms, decodes without a complaint, and comes on screen.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use aqueduct_tests::Outcome;
use aqueduct_tests::publisher::clip::{footage, made};
use aqueduct_tests::world::ladder::{aligned, brightness, sounds, span};
use aqueduct_tests::world::watch::watch;
use aqueduct_tests::world::{Player, Push, Server, Setting, browse, room};
use tokio::sync::Mutex;

/// The least effort: renditions are looked at here, and not how much a machine carries.
const SETTINGS: [Setting<'_>; 2] = [("transcode.mode", "auto"), ("transcode.preset", "ultrafast")];
const START: Duration = Duration::from_secs(20);
/// How often a crowded machine may try again.
const TURNS: usize = 4;
/// Each of these takes most of a small machine.
static TURN: Mutex<()> = Mutex::const_new(());

/// The bundled film with a frame rate and keyframes as an encoder is told to make them, in this height.
fn film(name: &str, height: u32, bitrate: &str) -> Outcome<PathBuf> {
    let (film, filter) = (footage(), format!("fps=30,scale=-2:{height}"));
    let film = film.to_string_lossy();
    let mut arguments = vec!["-stream_loop", "-1", "-i", &film, "-t", "20", "-vf", &filter];
    arguments.extend(["-c:v", "libx264", "-preset", "superfast", "-profile:v", "high", "-bf", "0"]);
    arguments.extend(["-g", "30", "-keyint_min", "30", "-sc_threshold", "0"]);
    arguments.extend(["-b:v", bitrate, "-maxrate", bitrate, "-bufsize", bitrate]);
    arguments.extend(["-c:a", "aac", "-ac", "2", "-b:a", "128k"]);
    made(name, &arguments)
}

/// Pushes a file over and over.
fn push(server: &Server, name: &str, film: &std::path::Path) -> Outcome<Push> {
    let (url, film) = (server.rtmp_url(name), film.to_string_lossy());
    Push::start(&url, &["-re", "-stream_loop", "-1", "-i", &film, "-c", "copy"])
}

/// No rung was given up, and no frame left out: the machine had room for all that it was to do.
async fn carried(server: &Server) -> Outcome<bool> {
    let left_out = server.metric("aqueduct_transcode_frames_total", "state=\"dropped\"").await?;
    let steps = server.metric("aqueduct_transcode_governor_steps_total", "").await?;
    Ok(left_out + steps == 0.0)
}

/// Pushes a film and looks at every rendition. A machine that has no room for a ladder costs rungs segments, as it should: it
/// says nothing of ladders, and gets another turn.
async fn becomes_a_ladder(film: PathBuf, seconds: u64, heights: &[u64]) -> Outcome {
    let _turn = TURN.lock().await;
    let mut turn = 1;
    loop {
        let server = Server::start(&SETTINGS).await?;
        let _push = push(&server, "film", &film)?;
        let judged = Box::pin(is_a_ladder(&server, seconds, heights)).await;
        if judged.is_ok() || turn == TURNS || carried(&server).await? {
            return judged;
        }
        println!("turn {turn}: frames were left out");
        turn += 1;
    }
}

/// The checker, the alignment, and what a decoder makes of it.
async fn is_a_ladder(server: &Server, seconds: u64, heights: &[u64]) -> Outcome {
    let name = "film";
    server.playable(name, START).await?;
    let url = server.playlist(name);
    let (report, seen) =
        tokio::try_join!(server.conforms(name, seconds), watch(&url, Duration::from_secs(seconds)))?;
    let there: BTreeSet<u64> = seen.iter().map(|rendition| rendition.height()).collect();
    // Sound is a rendition without a height.
    let want: BTreeSet<u64> = heights.iter().copied().chain([0]).collect();
    let compared = aligned(&seen)?;
    if there != want || report.renditions <= heights.len() || (compared as u64) < seconds - 4 {
        let log = server.log();
        return Err(
            format!("{there:?}, not {want:?}, {compared} segments in {seconds} s: {report}\n{log}").into()
        );
    }
    for rendition in &seen {
        if rendition.is_video() {
            brightness(rendition).await?;
        } else {
            sounds(rendition).await?;
        }
    }
    assert_eq!(server.metric("aqueduct_transcode_worker_losses_total", "").await?, 0.0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn footage_of_720_lines_becomes_a_ladder() -> Outcome {
    let _room = room::half().await;
    Box::pin(becomes_a_ladder(film("film-720p30.mp4", 720, "3M")?, span(12), &[720, 540, 360, 234])).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn footage_of_1080_lines_becomes_a_ladder() -> Outcome {
    let _room = room::half().await;
    Box::pin(becomes_a_ladder(film("film-1080p30.mp4", 1080, "5M")?, span(9), &[1080, 720, 540, 360, 234]))
        .await
}

/// What hls.js showed of a ladder.
struct Shown {
    seen: serde_json::Value,
    /// No rung was given up meanwhile, and no frame left out: the machine had room for the ladder and the player.
    carried: bool,
    log: String,
}

/// One way up and down again through four renditions, every three seconds. They are small: a browser beside them takes most
/// of a machine.
async fn shown(seconds: u64) -> Outcome<Shown> {
    const LADDER: &str =
        "[{height=270,bitrate=400000},{height=180,bitrate=250000},{height=120,bitrate=150000}]";
    let [mode, preset] = SETTINGS;
    let server = Server::start(&[mode, preset, ("transcode.ladder", LADDER)]).await?;
    let _push = push(&server, "film", &film("film-360p30-1M.mp4", 360, "1M")?)?;
    server.names("film", "x120", START).await?;
    let url = server.playlist("film");
    let seen = browse(&url, Player::Hls, u32::try_from(seconds)?, &["--switch", "3"]).await?;
    Ok(Shown { seen, carried: carried(&server).await?, log: server.log() })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_rung_comes_on_screen_in_hls_js_without_a_stall() -> Outcome {
    let _room = room::whole().await;
    let _turn = TURN.lock().await;
    let seconds = span(22);
    let mut turns = 1;
    let mut shown = Box::pin(self::shown(seconds)).await?;
    // A machine that has no room for a ladder costs rungs segments, as it should: it says nothing of how players switch.
    while !shown.carried && turns < TURNS {
        println!("turn {turns}: frames were left out");
        shown = Box::pin(self::shown(seconds)).await?;
        turns += 1;
    }
    let Shown { seen, carried, log } = shown;
    let times = |height: &str| seen["shown"]["heights"][height].as_u64().unwrap_or(0);
    let missing = ["360", "270", "180", "120"].into_iter().find(|&height| times(height) < 1);
    assert_eq!(missing, None, "never shown (no frame was left out: {carried}): {seen:#}\n{log}");
    assert!(seen["fatal"].is_null(), "{seen:#}");
    assert_eq!(seen["stalls"].as_u64(), Some(0), "{seen:#}\n{log}");
    // A switch ends a load that is under way; a gap, where there is a reason for one, is skipped.
    let gap = |error: &str| error == "fragGap" || error.starts_with("bufferSeekOverHole");
    let harmless = |error: &str| error == "aborted" || (!carried && gap(error));
    let errors = seen["errors"].as_array().into_iter().flatten().filter_map(|error| error.as_str());
    let errors: Vec<&str> = errors.filter(|error| !harmless(error)).collect();
    assert!(errors.is_empty(), "no frame was left out: {carried}; {seen:#}\n{log}");
    assert!(seen["playedSeconds"].as_f64() >= Some(seconds as f64 - 2.0), "{seen:#}");
    Ok(())
}
