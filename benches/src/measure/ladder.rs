//! A ladder of 720, 480 and 360 lines made of 720p30: CPU, memory and quality beside the ffmpeg program making the same
//! one in one process with the same settings of the same encoder, and what a rung comes later than the source.
//!
//! Ours is counted whole: the server with its ingest and packaging, and its worker. ffmpeg reads the same file at the
//! same pace and writes each rung to a file.

mod lag;
mod peer;
mod quality;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::{Setting, push_clip, runtime, wait};
use crate::error::{Error, doing};
use crate::http1::{Body, Connection};
use crate::playlist::Variant;
use crate::process::{Memory, Program};
use crate::report::Row;
use crate::scratch::Scratch;
use crate::server::Server;

use quality::Quality;

/// The rungs: pixels down, average bits a second.
const RUNGS: [(u32, u32); 3] = [(720, 2_500_000), (480, 1_200_000), (360, 700_000)];
/// The effort of both.
pub(super) const PRESET: &str = "veryfast";
/// How much later a rung's part may be there than the source's, in the middle, in milliseconds.
const LATER_MS: f64 = 60.0;
/// From the first picture of a ladder until its cost is measured.
const SETTLE: Duration = Duration::from_secs(5);
const MIB: f64 = 1_048_576.0;

/// Measures.
pub fn run(setting: &Setting<'_>) -> Result<Vec<Row>, Error> {
    runtime()?.block_on(measure(setting))
}

async fn measure(setting: &Setting<'_>) -> Result<Vec<Row>, Error> {
    let scratch = Scratch::new("ladder")?;
    let span = setting.size(Duration::from_secs(30), Duration::from_secs(5));
    let film = film(setting.clip, &scratch, setting.size(60, 25))?;
    let (encoded, ladder) = ours(setting, &scratch, &film, span, &RUNGS, "never").await?;
    let (passing, lag) = ours(setting, &scratch, &film, span, &RUNGS[1..], "always").await?;
    let sizes: Vec<(u32, u32)> = ladder.variants.iter().map(|variant| variant.size).collect();
    let (peer, files) = peer::run(&film, &scratch, span, &sizes).await?;
    let mut rows = costs(span, encoded, passing, peer);
    for (index, (size, mine)) in sizes.iter().zip(&ladder.files).enumerate() {
        let (mine, theirs) = quality::compare(&film, *size, mine, &files[index])?;
        rows.push(quality_row(*size, mine, theirs));
    }
    rows.extend(lag.rows);
    Ok(rows)
}

/// CPU time over the span, and memory at its end.
#[derive(Clone, Copy, Debug)]
struct Cost {
    cpu: Duration,
    /// Of that, child processes': a worker's.
    children: Duration,
    memory: Memory,
}

/// What else is taken of a run of ours.
struct Taken {
    variants: Vec<Variant>,
    /// What each rung's playlist listed at the end, as one file.
    files: Vec<PathBuf>,
    rows: Vec<Row>,
}

async fn ours(
    setting: &Setting<'_>,
    scratch: &Scratch,
    film: &Path,
    span: Duration,
    rungs: &[(u32, u32)],
    passthrough: &str,
) -> Result<(Cost, Taken), Error> {
    let ladder = written(rungs);
    let settings = [
        ("transcode.mode", "auto"),
        ("transcode.ladder", ladder.as_str()),
        ("transcode.passthrough", passthrough),
        ("transcode.preset", PRESET),
        // Both do all the work, whatever the machine: the governor would help ours only.
        ("transcode.cpu_percent", "100"),
    ];
    let mut server = Server::start_with(setting.server, None, &settings).await?;
    // Until backends have been probed.
    wait(Duration::from_secs(3), &mut []).await?;
    let url = format!("rtmp://{}/live/ladder", server.rtmp);
    let mut pushes = [push_clip(film, &[url], scratch, "push")?];
    let variants = server.ladder("ladder", RUNGS.len()).await?;
    wait(SETTLE, &mut pushes).await?;
    let read = |server: &Server| (server.program.cpu(), server.program.children_cpu());
    let before = read(&server);
    wait(span, &mut pushes).await?;
    let after = read(&server);
    let memory = server.program.memory();
    undiminished(&server).await?;
    let cost = Cost { cpu: after.0 - before.0, children: after.1 - before.1, memory };
    let (mut files, mut rows) = (Vec::new(), Vec::new());
    if passthrough == "never" {
        for variant in &variants {
            let file = scratch.path().join(format!("ours-{}.mp4", variant.size.0));
            quality::save(server.http, &variant.path, &file).await?;
            files.push(file);
        }
    } else {
        rows = lag::rows(server.http, &variants, setting.size(150, 15)).await?;
    }
    pushes.iter_mut().try_for_each(Program::check)?;
    Ok((cost, Taken { variants, files, rows }))
}

/// Rungs as the configuration has them.
pub(super) fn written(rungs: &[(u32, u32)]) -> String {
    let rung = |(height, bitrate): &(u32, u32)| format!("{{height={height},bitrate={bitrate}}}");
    format!("[{}]", rungs.iter().map(rung).collect::<Vec<_>>().join(","))
}

/// A governor that stepped in would make ours look cheap.
pub(super) async fn undiminished(server: &Server) -> Result<(), Error> {
    let answer = Connection::open(server.admin, 0).await?.get("/api/v1/streams", Body::Keep).await?.text()?;
    let preset = answer.split_once("\"preset\":\"").and_then(|(_, rest)| rest.split('"').next());
    match preset {
        Some(preset) if preset == PRESET => Ok(()),
        preset => Err(Error::Eased { wanted: PRESET, is: preset.unwrap_or("none").to_owned() }),
    }
}

/// The bundled film in 720p30 with a keyframe each second.
pub(super) fn film(clip: &Path, scratch: &Scratch, seconds: u32) -> Result<PathBuf, Error> {
    let file = scratch.path().join("film.mp4");
    let seconds = seconds.to_string();
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-v", "error", "-stream_loop", "-1", "-i"]).arg(clip);
    // The film is short and comes again and again: a box that wanders tells one time from another.
    command.args(["-f", "lavfi", "-i", "color=white:size=64x64:rate=30"]);
    let graph = "[0:v]fps=30,scale=1280:720[film];[film][1:v]overlay=x='20*t':y=40:shortest=1,format=yuv420p";
    command.args(["-filter_complex", graph, "-map", "0:a", "-t", &seconds]);
    command.args(["-c:v", "libx264", "-preset", "superfast"]);
    command.args(["-bf", "0", "-g", "30", "-keyint_min", "30", "-sc_threshold", "0", "-b:v", "4M"]);
    command.args(["-maxrate", "4M", "-bufsize", "4M", "-c:a", "aac", "-ac", "2", "-b:a", "128k"]);
    output(command.arg(&file))?;
    Ok(file)
}

/// Runs a program to its end.
fn output(command: &mut Command) -> Result<std::process::Output, Error> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(doing(format!("start {program}")))?;
    if output.status.success() {
        return Ok(output);
    }
    Err(Error::Ended { program, log: String::from_utf8_lossy(&output.stderr).into_owned() })
}

fn costs(span: Duration, encoded: Cost, passing: Cost, peer: Cost) -> Vec<Row> {
    let minute = |spent: Duration| spent.as_secs_f64() * 60.0 / span.as_secs_f64();
    let each = |cost: Cost| minute(cost.cpu);
    let mib = |cost: Cost| cost.memory.resident as f64 / MIB;
    let what = "720p30 → 720/480/360";
    let row = |what: String, unit: &str, ours: f64, theirs: f64| {
        Row::new("ladder", what, unit, ours).peer("ffmpeg", theirs)
    };
    let detail =
        format!("over {} s, libx264 {PRESET} in both; ours with ingest and packaging", span.as_secs());
    vec![
        row(format!("{what}: CPU-s per stream-minute"), "s", each(encoded), each(peer)).detail(detail),
        row(format!("{what}, the worker alone: CPU-s"), "s", minute(encoded.children), each(peer)),
        row(format!("{what}, the source passing as 720: CPU-s"), "s", each(passing), each(peer)),
        row(format!("{what}: RSS of all processes"), "MiB", mib(encoded), mib(peer))
            .detail("ours with the server and the stream's window"),
    ]
}

fn quality_row((height, _): (u32, u32), ours: Quality, peer: Quality) -> Row {
    Row::new("ladder", format!("{height} lines: PSNR below ffmpeg's"), "dB", peer.psnr - ours.psnr).detail(format!(
        "against the source over {} frames: ours {:.2} dB, SSIM {:.4}, {:.0} kbit/s; ffmpeg {:.2} dB, SSIM {:.4}, \
         {:.0} kbit/s on the same frames",
        ours.frames, ours.psnr, ours.ssim, ours.kilobits, peer.psnr, peer.ssim, peer.kilobits
    ))
}
