//! A clip that flashes and beeps, and how far apart the two are in what becomes of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use tokio::process::Command;
use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::ffmpeg::{complaints, play};
use super::ladder::span;
use super::{Server, workspace};
use crate::Outcome;
use crate::publisher::clip::made;

/// How long the clip is, in seconds: long enough for a crowded machine.
const LASTS: u32 = 240;
/// Pairs of flash and beep that a browser waits for.
const PAIRS: u64 = 4;
/// How long each stream may take to show them.
const PATIENCE: u64 = 60;

/// A clip: the picture is white and a tone sounds through the first tenth of each second. A keyframe each second, and AAC. It
/// is below the height that rungs begin at.
#[derive(Clone, Debug)]
pub struct Flashes {
    /// In H.264.
    pub h264: PathBuf,
    /// In H.265.
    pub h265: PathBuf,
}

impl Flashes {
    /// The clip, drawn now if it has not been.
    ///
    /// # Errors
    ///
    /// When ffmpeg cannot make it.
    pub async fn made() -> Outcome<Self> {
        static MADE: OnceCell<Flashes> = OnceCell::const_new();
        MADE.get_or_try_init(async || spawn_blocking(draw).await?).await.cloned()
    }
}

fn draw() -> Outcome<Flashes> {
    let picture = format!(
        "color=black:s=320x180:r=25:d={LASTS},drawbox=color=white:t=fill:enable=lt(mod(t\\,1)\\,0.1)"
    );
    let sound = format!("aevalsrc=0.5*sin(2*PI*1000*t)*lt(mod(t\\,1)\\,0.1):s=48000:d={LASTS}");
    let drawn = ["-f", "lavfi", "-i", &picture, "-f", "lavfi", "-i", &sound, "-c:a", "aac", "-ac", "2"];
    let h264 = ["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "25"];
    let h264 = made("flashes-240-h264.mp4", &[&drawn[..], &h264, &["-pix_fmt", "yuv420p"]].concat())?;
    let from = h264.to_string_lossy().into_owned();
    let again =
        ["-i", &from, "-c:a", "copy", "-tag:v", "hvc1", "-pix_fmt", "yuv420p", "-preset", "ultrafast"];
    let options = "keyint=25:min-keyint=25:bframes=0:scenecut=0:log-level=error";
    let h265 = ["-c:v", "libx265", "-x265-params", options];
    let h265 = made("flashes-240-h265.mp4", &[&again[..], &h265].concat())?;
    Ok(Flashes { h264, h265 })
}

/// What a browser saw and heard of one stream.
#[derive(Clone, Debug, Deserialize)]
pub struct Heard {
    /// Pairs of flash and beep.
    pub pairs: u32,
    /// How much later beeps were heard than flashes were seen, in milliseconds, less what the clip itself shows in that browser.
    pub late: Option<f64>,
    /// What hls.js gave up for.
    pub fatal: Option<String>,
    /// What it complained of.
    pub errors: Vec<String>,
}

#[derive(Deserialize)]
struct Told {
    streams: BTreeMap<String, Heard>,
}

/// Plays streams of the clip in stock hls.js, all in one page, over HTTP/2.
///
/// # Errors
///
/// When the browser does not start, or a stream does not play.
pub async fn heard(server: &Server, names: &[&str]) -> Outcome<BTreeMap<String, Heard>> {
    let (clip, pairs) = (Flashes::made().await?, span(PAIRS));
    let streams = names.iter().map(|name| format!("{name}={}", server.secure_playlist(name)));
    let playing = Command::new("node")
        .arg(workspace().join("tests/browser/in-step.mjs"))
        .args([Path::new("--clip"), &clip.h264, Path::new("--trust"), &server.certificate()])
        .args(["--pairs", &pairs.to_string(), "--patience", &(PATIENCE + pairs).to_string()])
        .args(streams)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let patience = Duration::from_secs(2 * (PATIENCE + pairs) + 30);
    let output = timeout(patience, playing).await.map_err(|_| "the browser takes too long")??;
    let (said, complained) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if !output.status.success() {
        return Err(format!("not all of {names:?} play: {said}\n{complained}").into());
    }
    Ok(serde_json::from_str::<Told>(&said)?.streams)
}

/// How much later the beeps of a stream that shows [`Flashes`] come than its flashes: the median of `seconds` of it, in
/// milliseconds.
///
/// # Errors
///
/// When it cannot be played, or neither flashes nor beeps.
pub async fn skew(url: &str, seconds: u32) -> Outcome<f64> {
    let graph = "[0:v]signalstats,metadata=print:key=lavfi.signalstats.YAVG:file=-[v];\
                 [0:a]silencedetect=n=-30dB:d=0.3[a]";
    let behind = ["-filter_complex", graph, "-map", "[v]", "-map", "[a]", "-f", "null", "-"];
    let output = play(url, seconds, &[], &behind).await?;
    let (pictures, sounds) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let beeps: Vec<f64> = sounds
        .lines()
        .filter_map(|line| line.split_once("silence_end: ")?.1.split_whitespace().next()?.parse().ok())
        .collect();
    let mut apart: Vec<f64> = flash_times(&pictures)
        .into_iter()
        .filter_map(|flash| beeps.iter().map(|beep| beep - flash).min_by(|a, b| a.abs().total_cmp(&b.abs())))
        .collect();
    apart.sort_by(f64::total_cmp);
    let median = apart
        .get(apart.len() / 2)
        .ok_or_else(|| format!("{url}: no flash and beep in {seconds} s\n{}", complaints(&sounds)))?;
    Ok(median * 1_000.0)
}

/// When the picture becomes bright, in seconds.
fn flash_times(printed: &str) -> Vec<f64> {
    let (mut time, mut bright, mut times) = (0.0, true, Vec::new());
    for line in printed.lines() {
        if let Some((_, text)) = line.split_once("pts_time:") {
            time = text.trim().parse().unwrap_or(time);
        } else if let Some((_, text)) = line.split_once("YAVG=") {
            let now = text.trim().parse::<f64>().is_ok_and(|light| light > 128.0);
            if now && !bright {
                times.push(time);
            }
            bright = now;
        }
    }
    times
}
