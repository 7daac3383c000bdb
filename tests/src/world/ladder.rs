//! What must be true of renditions that a player may switch between at any segment.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;

use super::watch::Rendition;
use crate::Outcome;

/// How long one stretch may take to decode.
const PATIENCE: Duration = Duration::from_secs(60);
/// A frame every second frame only, or every frame: at least this many of the fullest rendition's.
const HALF: usize = 2;
/// Frames beyond every second one that a rung of half the rate has behind a loss, as where the film begins again.
const MORE: usize = 2;

/// How many seconds a test watches: `short`, or `SPAN_SECONDS` where that is set for a long run by hand.
pub fn span(short: u64) -> u64 {
    std::env::var("SPAN_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(short)
}

/// Every segment that several renditions have begins with an IDR at the same instant in each, and their frames lie at
/// the same times (or every second of them, in a rung of half the rate). Says how many segments were compared.
///
/// # Errors
///
/// The first segment that differs.
pub fn aligned(renditions: &[Rendition]) -> Outcome<usize> {
    let video: Vec<&Rendition> = renditions.iter().filter(|rendition| rendition.is_video()).collect();
    let numbers = video.iter().flat_map(|rendition| rendition.segments.keys().copied());
    let numbers: std::collections::BTreeSet<u64> = numbers.collect();
    let mut compared = 0;
    for msn in numbers {
        let mut all = Vec::new();
        for rendition in &video {
            if rendition.segments.get(&msn).is_some_and(|kept| !kept.gap) {
                all.push((rendition.height(), rendition.moments(msn)?));
            }
        }
        let Some((_, fullest)) = all.iter().max_by_key(|(_, moments)| moments.len()) else { continue };
        for (height, moments) in &all {
            let (first, expected) = (moments.first(), fullest.first());
            if !first.is_some_and(|first| first.sync) {
                return Err(format!("segment {msn} of {height} lines begins without an IDR").into());
            }
            if first != expected {
                return Err(
                    format!("segment {msn} of {height} lines begins at {first:?}, not {expected:?}").into()
                );
            }
            // With B-frames in the source, frames are coded in another order than in a rung: decode times and
            // presentation times are the same, each for itself.
            let strange = moments.iter().find(|moment| {
                !fullest.iter().any(|other| other.dts == moment.dts)
                    || !fullest.iter().any(|other| other.pts == moment.pts)
            });
            let half = fullest.len().div_ceil(HALF);
            let whole = moments.len() == fullest.len() || (half..=half + MORE).contains(&moments.len());
            if strange.is_some() || !whole {
                let (have, want) = (moments.len(), fullest.len());
                return Err(format!(
                    "segment {msn} of {height} lines has {have} frames, not {want}; first strange: {strange:?}"
                )
                .into());
            }
        }
        compared += usize::from(all.len() > 1);
    }
    Ok(compared)
}

/// Decodes everything that was fetched of a rendition, and fails on any complaint of a decoder or demuxer. Gives the
/// mean brightness (0 to 255) of each picture in order of presentation.
///
/// # Errors
///
/// What ffmpeg complained about, or frames that it has not given.
pub async fn brightness(rendition: &Rendition) -> Outcome<Vec<u8>> {
    // Fewer pixels would have ffmpeg complain about the bitrate of what it writes.
    let filter = "scale=8:8:flags=area,setsar=1";
    // Behind a loss a rung of half the rate has frames that are nearer than its rate says: times are written as they are.
    let times = ["-fps_mode", "passthrough", "-enc_time_base", "1:90000"];
    let arguments = [&["-map", "0:v", "-vf", filter, "-pix_fmt", "gray"][..], &times[..]].concat();
    let mut shown = Vec::new();
    for file in rendition.files() {
        let pixels = decode(&file, &arguments, "rawvideo").await?;
        let mean = |picture: &[u8]| picture.iter().map(|pixel| u32::from(*pixel)).sum::<u32>() / 64;
        shown.extend(pixels.chunks_exact(64).map(|picture| mean(picture) as u8));
    }
    let mut frames = 0;
    for (msn, kept) in &rendition.segments {
        frames += if kept.gap { 0 } else { rendition.moments(*msn)?.len() };
    }
    if shown.len() == frames {
        return Ok(shown);
    }
    Err(format!("{}: {} of {frames} frames came out", rendition.entry.url, shown.len()).into())
}

/// Decodes everything that was fetched of a rendition with sound only.
///
/// # Errors
///
/// What ffmpeg complained about.
pub async fn sounds(rendition: &Rendition) -> Outcome {
    for file in rendition.files() {
        decode(&file, &["-map", "0:a"], "null").await?;
    }
    Ok(())
}

/// Decodes a file strictly, and gives what comes out.
async fn decode(file: &[u8], arguments: &[&str], format: &str) -> Outcome<Vec<u8>> {
    let mut child = Command::new("ffmpeg")
        .args(["-hide_banner", "-nostats", "-loglevel", "warning", "-xerror", "-threads", "1"])
        .args(["-f", "mp4", "-i", "pipe:0"])
        .args(arguments)
        .args(["-f", format, "pipe:1"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut stdin = child.stdin.take().ok_or("ffmpeg has no input")?;
    let feeding = async move {
        // It may end before it has read everything: then it has said why.
        let _ = stdin.write_all(file).await;
    };
    let (output, ()) = timeout(PATIENCE, async { tokio::join!(child.wait_with_output(), feeding) })
        .await
        .map_err(|_| format!("ffmpeg has not decoded {} bytes in {PATIENCE:?}", file.len()))?;
    let output = output?;
    let complaints = super::ffmpeg::complaints(&String::from_utf8_lossy(&output.stderr));
    if !output.status.success() || !complaints.is_empty() {
        return Err(format!("ffmpeg: {}\n{complaints}", output.status).into());
    }
    Ok(output.stdout)
}
