//! ffmpeg as a publisher, and as a player that decodes what it gets.

use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::Outcome;

/// A push by the ffmpeg program. Dropped, it is killed without a goodbye.
pub struct Push {
    child: Child,
}

impl Push {
    /// Starts `ffmpeg ARGUMENTS -f flv URL`.
    ///
    /// # Errors
    ///
    /// When ffmpeg cannot be started.
    pub fn start(url: &str, arguments: &[&str]) -> Outcome<Self> {
        let flv = ["-flvflags", "no_duration_filesize", "-f", "flv", url];
        Self::run(&[arguments, &flv].concat())
    }

    /// Sends a file as MPEG-TS, as it is, over and over at its own pace.
    ///
    /// # Errors
    ///
    /// When ffmpeg cannot be started.
    pub fn transport(url: &str, path: &std::path::Path) -> Outcome<Self> {
        let path = path.to_string_lossy();
        Self::run(&["-re", "-stream_loop", "-1", "-i", &path, "-c", "copy", "-f", "mpegts", url])
    }

    fn run(arguments: &[&str]) -> Outcome<Self> {
        let child = Command::new("ffmpeg")
            .args(["-hide_banner", "-nostats", "-loglevel", "error", "-nostdin"])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("cannot start ffmpeg: {error}"))?;
        Ok(Self { child })
    }

    /// Pushes the bundled footage as it is, over and over.
    ///
    /// # Errors
    ///
    /// When ffmpeg cannot be started.
    pub fn footage(url: &str) -> Outcome<Self> {
        let path = crate::publisher::clip::footage();
        let path = path.to_string_lossy();
        Self::start(url, &["-re", "-stream_loop", "-1", "-i", &path, "-c", "copy"])
    }

    /// Pushes a file as it is, at its own pace.
    ///
    /// # Errors
    ///
    /// When ffmpeg cannot be started.
    pub fn file(url: &str, path: &std::path::Path) -> Outcome<Self> {
        Self::start(url, &["-re", "-i", &path.to_string_lossy(), "-c", "copy"])
    }

    /// Pushes a drawn picture and a tone: `rate` frames a second, a keyframe each `gop` frames, `extra` for the encoder.
    ///
    /// # Errors
    ///
    /// When ffmpeg cannot be started.
    pub fn drawn(url: &str, size: &str, rate: &str, gop: u32, extra: &[&str]) -> Outcome<Self> {
        let (video, gop) = (format!("testsrc2=size={size}:rate={rate}"), gop.to_string());
        let mut arguments = vec!["-re", "-f", "lavfi", "-i", &video];
        arguments.extend(["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000"]);
        arguments.extend(["-c:v", "libx264", "-preset", "ultrafast", "-threads", "1", "-pix_fmt", "yuv420p"]);
        arguments.extend(["-g", &gop, "-keyint_min", &gop, "-sc_threshold", "0", "-b:v", "400k"]);
        arguments.extend(["-c:a", "aac", "-b:a", "96k", "-ac", "2"]);
        arguments.extend_from_slice(extra);
        Self::start(url, &arguments)
    }

    /// Sends it a signal by its name, such as `STOP` and `CONT`.
    ///
    /// # Errors
    ///
    /// When it is gone.
    pub async fn signal(&self, name: &str) -> Outcome {
        let pid = self.child.id().ok_or("ffmpeg has ended already")?;
        super::signal(pid, name).await
    }

    /// Starts `ffmpeg ARGUMENTS`, whatever it then does.
    ///
    /// # Errors
    ///
    /// When ffmpeg cannot be started.
    pub fn any(arguments: &[&str]) -> Outcome<Self> {
        Self::run(&[&["-y"], arguments].concat())
    }

    /// Kills it at once (SIGKILL), and waits until it is gone.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub async fn kill(mut self) -> Outcome {
        self.child.kill().await?;
        Ok(())
    }

    /// Asks it to end as a user does who presses Ctrl-C, and waits: it says goodbye to the server.
    ///
    /// # Errors
    ///
    /// When it does not end.
    pub async fn stop(mut self) -> Outcome {
        if let Some(pid) = self.child.id() {
            Command::new("kill").args(["-INT", &pid.to_string()]).status().await?;
        }
        timeout(Duration::from_secs(10), self.child.wait()).await.map_err(|_| "ffmpeg does not end")??;
        Ok(())
    }

    /// Waits until it ends by itself; what it complained about.
    ///
    /// # Errors
    ///
    /// When it has not within `patience`.
    pub async fn ended(mut self, patience: Duration) -> Outcome<(bool, String)> {
        let stderr = self.child.stderr.take();
        let words = tokio::spawn(async move {
            let mut text = String::new();
            if let Some(mut stderr) = stderr {
                let _ = tokio::io::AsyncReadExt::read_to_string(&mut stderr, &mut text).await;
            }
            text
        });
        let status = timeout(patience, self.child.wait())
            .await
            .map_err(|_| format!("ffmpeg has not ended within {patience:?}"))??;
        Ok((status.success(), words.await?))
    }
}

/// What ffmpeg made of a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Decoded {
    /// Video frames decoded.
    pub frames: u64,
    /// Video frames, of all tracks' time, in microseconds.
    pub micros: i64,
}

/// Decodes a stream for `seconds` of its media, and fails on any complaint of a decoder or demuxer.
///
/// # Errors
///
/// What ffmpeg complained about.
pub async fn decode(url: &str, seconds: u32) -> Outcome<Decoded> {
    let strict = ["-loglevel", "warning", "-xerror"];
    let output = play(url, seconds, &strict, &["-f", "null", "-progress", "pipe:1", "-"]).await?;
    let complaints = complaints(&String::from_utf8_lossy(&output.stderr));
    if !output.status.success() || !complaints.is_empty() {
        return Err(format!("ffmpeg on {url}: {}\n{complaints}", output.status).into());
    }
    let progress = String::from_utf8_lossy(&output.stdout).into_owned();
    let last = |key: &str| {
        let value = progress.lines().rev().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        value.and_then(|value| value.trim().parse::<i64>().ok()).unwrap_or(0)
    };
    Ok(Decoded { frames: last("frame") as u64, micros: last("out_time_us") })
}

/// Runs ffmpeg on `seconds` of a stream, with options before and behind it, until it ends.
pub(super) async fn play(url: &str, seconds: u32, before: &[&str], behind: &[&str]) -> Outcome<Output> {
    let playing = Command::new("ffmpeg")
        .args(["-hide_banner", "-nostats", "-nostdin", "-threads", "1"])
        .args(before)
        .args(["-i", url, "-t", &seconds.to_string()])
        .args(behind)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let patience = Duration::from_secs(u64::from(seconds) * 2 + 25);
    Ok(timeout(patience, playing).await.map_err(|_| format!("ffmpeg plays {url} too slowly"))??)
}

/// Warnings that say nothing about the stream.
pub(super) fn complaints(stderr: &str) -> String {
    // ffmpeg 5 says so of every live playlist whose newest segment it has not loaded yet.
    let harmless = [
        "Guessed Channel Layout",
        "Found duplicated MOOV Atom",
        "Last message repeated",
        "skipping ",
        "Opening '",
    ];
    stderr
        .lines()
        .filter(|line| !harmless.iter().any(|text| line.contains(text)))
        .collect::<Vec<_>>()
        .join("\n")
}

/// What ffprobe says of a stream's tracks, as `codec_name,width,height,channels` and so on: each different one a line.
///
/// # Errors
///
/// What ffprobe complained about.
pub async fn probe(url: &str, entries: &str) -> Outcome<String> {
    let probing = Command::new("ffprobe")
        .args(["-v", "error", "-show_entries", &format!("stream={entries}"), "-of", "csv=p=0", url])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = timeout(Duration::from_secs(30), probing).await.map_err(|_| "ffprobe takes too long")??;
    let complaints = complaints(&String::from_utf8_lossy(&output.stderr));
    if !output.status.success() || !complaints.is_empty() {
        return Err(format!("ffprobe on {url}: {}\n{complaints}", output.status).into());
    }
    // A track is printed again within each program that has it.
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut tracks: Vec<&str> = Vec::new();
    for line in printed.lines().filter(|line| !line.is_empty()) {
        if !tracks.contains(&line) {
            tracks.push(line);
        }
    }
    Ok(tracks.join("\n"))
}
