//! PSNR and SSIM of rungs against the source, by ffmpeg's filters, frame by frame.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use super::output;
use crate::error::{Error, doing};
use crate::http1::{Body, Connection};
use crate::server::load;

/// A frame in small, for finding it again: 32 by 18 pixels of grey.
const SMALL: usize = 32 * 18;
/// Frames by which a place in the source is found.
const PROBE: usize = 12;

/// How near some frames are to the source.
#[derive(Clone, Copy, Debug)]
pub(super) struct Quality {
    /// Frames compared.
    pub(super) frames: usize,
    /// Decibels, of luma and chroma.
    pub(super) psnr: f64,
    /// 0 to 1.
    pub(super) ssim: f64,
    /// What they take, in kbit/s at 30 frames a second.
    pub(super) kilobits: f64,
}

/// Saves what a media playlist lists as one file.
pub(super) async fn save(http: SocketAddr, path: &str, file: &Path) -> Result<(), Error> {
    let mut connection = Connection::open(http, 0).await?;
    let media = load(&mut connection, path).await?;
    let map = media.map.ok_or(Error::Unreadable { what: path.into(), why: "it has no EXT-X-MAP" })?;
    let mut bytes = connection.get(&map, Body::Keep).await?.body;
    for segment in &media.segments {
        bytes.extend(connection.get(segment, Body::Keep).await?.body);
    }
    fs::write(file, bytes).map_err(doing(format!("write {}", file.display())))
}

/// Ours and the peer's on the same frames of the source.
pub(super) fn compare(
    film: &Path,
    size: (u32, u32),
    ours: &Path,
    peer: &Path,
) -> Result<(Quality, Quality), Error> {
    let (source, mine, theirs) = (small(film)?, small(ours)?, small(peer)?);
    let unfound = |what: &Path| Error::Unreadable {
        what: what.display().to_string(),
        why: "its pictures are not the source's",
    };
    let begin = find(&mine, &source).ok_or_else(|| unfound(ours))?;
    // What the peer's loop adds or loses at the film's end moves its frames: they are looked for as well.
    let probe = source.get(begin..).unwrap_or_default();
    let at = find(probe, &theirs).ok_or_else(|| unfound(peer))?;
    let frames = mine.len().min(source.len() - begin).min(theirs.len() - at);
    let judge = |file, from| judge(film, begin, file, from, frames, size);
    Ok((judge(ours, 0)?, judge(peer, at)?))
}

/// Where `frames` begin in `all`: where the difference is least.
fn find(frames: &[Vec<u8>], all: &[Vec<u8>]) -> Option<usize> {
    let probe = frames.get(..PROBE)?;
    let difference = |place: usize| -> u64 {
        let pairs = probe.iter().zip(&all[place..]);
        pairs.map(|(one, other)| apart(one, other)).sum()
    };
    (0..=all.len().checked_sub(PROBE)?).min_by_key(|place| difference(*place))
}

fn apart(one: &[u8], other: &[u8]) -> u64 {
    one.iter().zip(other).map(|(a, b)| u64::from(a.abs_diff(*b)).pow(2)).sum()
}

fn small(file: &Path) -> Result<Vec<Vec<u8>>, Error> {
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-v", "error", "-i"]).arg(file).args(["-map", "0:v", "-vf"]);
    command.args(["scale=32:18:flags=area,setsar=1", "-pix_fmt", "gray", "-fps_mode", "passthrough"]);
    let pixels = output(command.args(["-f", "rawvideo", "pipe:1"]))?.stdout;
    Ok(pixels.chunks_exact(SMALL).map(<[u8]>::to_vec).collect())
}

fn judge(
    film: &Path,
    begin: usize,
    file: &Path,
    from: usize,
    frames: usize,
    (height, width): (u32, u32),
) -> Result<Quality, Error> {
    let cut =
        |from: usize| format!("trim=start_frame={from}:end_frame={},setpts=N/30/TB,fps=30", from + frames);
    let graph = format!(
        "[0:v]{},split[a][b];[1:v]{},scale={width}:{height}:flags=bicubic,format=yuv420p,split[c][d];\
         [a][c]psnr;[b][d]ssim",
        cut(from),
        cut(begin)
    );
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-nostats", "-v", "info", "-i"]).arg(file).arg("-i").arg(film);
    command.args(["-lavfi", &graph, "-f", "null", "-"]);
    let said = String::from_utf8_lossy(&output(&mut command)?.stderr).into_owned();
    let figure = |filter: &str, key: &str| {
        let line = said.lines().find(|line| line.contains(filter) && line.contains(key))?;
        line.split_once(key)?.1.split_whitespace().next()?.parse::<f64>().ok()
    };
    let (psnr, ssim) = (figure("Parsed_psnr", " average:"), figure("Parsed_ssim", " All:"));
    let (Some(psnr), Some(ssim)) = (psnr, ssim) else {
        return Err(Error::Unreadable { what: "ffmpeg's psnr and ssim".into(), why: "there are no figures" });
    };
    Ok(Quality { frames, psnr, ssim, kilobits: kilobits(file, from, frames)? })
}

/// What some frames of a file take.
fn kilobits(file: &Path, from: usize, frames: usize) -> Result<f64, Error> {
    let mut command = Command::new("ffprobe");
    command.args(["-v", "error", "-select_streams", "v", "-show_entries", "packet=size", "-of", "csv=p=0"]);
    let text = output(command.arg(file))?.stdout;
    let text = String::from_utf8_lossy(&text).into_owned();
    let sizes = text.lines().filter_map(|line| line.trim_matches(',').parse::<f64>().ok());
    let bytes: f64 = sizes.skip(from).take(frames).sum();
    Ok(bytes * 8.0 / 1_000.0 * 30.0 / frames.max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_found_where_they_differ_least() {
        let all: Vec<Vec<u8>> = (0..60u8).map(|index| vec![index * 4; SMALL]).collect();
        let noisy: Vec<Vec<u8>> = all[20..40].iter().map(|frame| vec![frame[0] + 1; SMALL]).collect();
        assert_eq!(find(&noisy, &all), Some(20));
        assert_eq!(find(&noisy, &all[..4]), None);
    }
}
