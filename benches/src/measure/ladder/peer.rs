//! The ffmpeg program making the same ladder.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::{Cost, PRESET, RUNGS, SETTLE};
use crate::error::Error;
use crate::measure::wait;
use crate::process::Program;
use crate::scratch::Scratch;

/// What our worker tells x264; the lengths before units aside, which is how libavcodec hands them to ffmpeg's muxer.
const X264: &str = "keyint=infinite:scenecut=0:open-gop=0:bframes=0:stitchable=1:nal-hrd=none:aud=0:force-cfr=1:\
                    sliced-threads=0:ipratio=1.3";

/// Runs it, and gives its cost and what it wrote.
pub(super) async fn run(
    film: &Path,
    scratch: &Scratch,
    span: Duration,
    sizes: &[(u32, u32)],
) -> Result<(Cost, Vec<PathBuf>), Error> {
    let files: Vec<PathBuf> =
        sizes.iter().map(|(height, _)| scratch.path().join(format!("ffmpeg-{height}.mp4"))).collect();
    let command = command(film, sizes, &files);
    let mut programs = [Program::start(command, &scratch.path().join("ffmpeg"), "apt-get install ffmpeg")?];
    wait(SETTLE + Duration::from_secs(2), &mut programs).await?;
    let before = programs[0].cpu();
    wait(span, &mut programs).await?;
    let (cpu, memory) = (programs[0].cpu() - before, programs[0].memory());
    let cost = Cost { cpu, children: Duration::ZERO, memory };
    // On until it has written the frames that are compared.
    wait(Duration::from_secs(10), &mut programs).await?;
    Ok((cost, files))
}

fn command(film: &Path, sizes: &[(u32, u32)], files: &[PathBuf]) -> Command {
    // A cascade as ours: each size is made of the one above it.
    let mut graph = String::from("[0:v]null[t0]");
    for (index, (height, width)) in sizes.iter().enumerate() {
        let scale = format!("scale={width}:{height}:flags=bicubic,format=yuv420p");
        // Writing into a String does not fail.
        let _ = match index + 1 == sizes.len() {
            true => write!(graph, ";[t{index}]{scale}[v{index}]"),
            false => write!(graph, ";[t{index}]{scale},split[v{index}][t{}]", index + 1),
        };
    }
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-v", "error", "-y", "-filter_complex_threads", "1", "-threads", "1"]);
    command.args(["-re", "-stream_loop", "-1", "-i"]).arg(film).args(["-filter_complex", &graph]);
    for (index, file) in files.iter().enumerate() {
        let bitrate = RUNGS[index].1;
        let (average, peak) = (bitrate.to_string(), (bitrate * 12 / 10).to_string());
        let buffer = (bitrate * 12 / 10 * 3 / 4).to_string();
        let stream = format!("[v{index}]");
        command.args(["-map", &stream, "-map", "0:a", "-c:a", "copy", "-c:v", "libx264", "-threads", "1"]);
        command.args(["-preset", PRESET, "-tune", "zerolatency", "-profile:v", "high", "-aq-mode", "2"]);
        command.args(["-b:v", &average, "-maxrate", &peak, "-bufsize", &buffer, "-forced-idr", "1"]);
        command.args(["-x264-params", X264, "-force_key_frames", "expr:gte(t,n_forced)"]);
        // Fragments, so that what is written can be read whenever it is ended.
        command.args(["-movflags", "+frag_keyframe+empty_moov+default_base_moof", "-f", "mp4"]).arg(file);
    }
    command
}
