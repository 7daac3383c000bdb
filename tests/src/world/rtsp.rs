//! RTSP from both ends: GStreamer's server as a camera, ffmpeg and GStreamer as publishers, and a clip that flashes and
//! beeps.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::OnceCell;
use tokio::time::timeout;

use super::ffmpeg::complaints;
use super::{free_port, target_folder, workspace};
use crate::Outcome;

/// How long GStreamer may take to start, on a machine that is busy.
const START: Duration = Duration::from_secs(20);

/// GStreamer's RTSP server. Dropped, it is killed.
pub struct RtspServer {
    _child: Child,
    /// Where it listens.
    pub port: u16,
}

impl RtspServer {
    /// Starts it on a free port.
    ///
    /// # Errors
    ///
    /// When it does not start.
    pub async fn start() -> Outcome<Self> {
        Self::start_at(free_port()?, None, None).await
    }

    /// Starts it on this port. With `credentials` (`user:password`) it wants them, by Digest; `file` is what `/file` plays.
    ///
    /// # Errors
    ///
    /// When it does not start.
    pub async fn start_at(port: u16, credentials: Option<&str>, file: Option<&Path>) -> Outcome<Self> {
        // The distribution's Python: GStreamer's bindings are in no other.
        let mut command = Command::new("/usr/bin/python3");
        command.arg(workspace().join("tests/rtsp/server.py")).arg(port.to_string()).args(credentials);
        if let Some(file) = file {
            command.env("RTSP_FILE", file);
        }
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
        let stdout = child.stdout.take().ok_or("no standard output")?;
        let mut lines = BufReader::new(stdout).lines();
        let line =
            timeout(START, lines.next_line()).await.map_err(|_| "the RTSP server does not start")??;
        match line.as_deref() {
            Some(line) if line.starts_with("ready") => Ok(Self { _child: child, port }),
            other => Err(format!("the RTSP server does not start: {other:?}").into()),
        }
    }

    /// The URL of one of its mounts.
    pub fn url(&self, mount: &str) -> String {
        format!("rtsp://127.0.0.1:{}/{mount}", self.port)
    }

    /// Kills it, as if its plug was pulled.
    ///
    /// # Errors
    ///
    /// When it is gone already.
    pub async fn kill(mut self) -> Outcome<u16> {
        self._child.kill().await?;
        Ok(self.port)
    }
}

/// A push over RTSP. Dropped, it is killed without a goodbye.
pub struct RtspPush {
    child: Child,
}

impl RtspPush {
    /// `ffmpeg` pushes a file as it is, over `tcp` or `udp`.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn ffmpeg(url: &str, transport: &str, file: &Path) -> Outcome<Self> {
        let mut command = Command::new("ffmpeg");
        command.args(["-hide_banner", "-nostats", "-loglevel", "error", "-nostdin", "-re"]);
        command.arg("-i").arg(file).args(["-c", "copy", "-f", "rtsp", "-rtsp_transport", transport, url]);
        Self::spawn(command)
    }

    /// GStreamer's `rtspclientsink` pushes a test picture and a tone, over `tcp` or `udp`.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn gstreamer(url: &str, transport: &str) -> Outcome<Self> {
        let pipeline = format!(
            "rtspclientsink name=s location={url} protocols={transport} \
             videotestsrc is-live=true ! video/x-raw,format=I420,width=320,height=240,framerate=25/1 ! \
             x264enc speed-preset=ultrafast tune=zerolatency key-int-max=25 ! video/x-h264,profile=main ! queue ! s. \
             audiotestsrc is-live=true ! audio/x-raw,rate=48000,channels=2 ! avenc_aac ! aacparse ! queue ! s."
        );
        let mut command = Command::new("gst-launch-1.0");
        command.arg("-q").args(pipeline.split_whitespace());
        Self::spawn(command)
    }

    fn spawn(mut command: Command) -> Outcome<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        Ok(Self { child: command.spawn()? })
    }

    /// Waits for its end; whether it succeeded and what it complained about.
    ///
    /// # Errors
    ///
    /// When it goes on for longer than `patience`.
    pub async fn ended(self, patience: Duration) -> Outcome<(bool, String)> {
        let output =
            timeout(patience, self.child.wait_with_output()).await.map_err(|_| "the push goes on")??;
        Ok((output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned()))
    }
}

/// A clip of half a minute: the picture is white and a tone sounds through the first tenth of each second. H.264 with a
/// keyframe each second, and AAC.
///
/// # Errors
///
/// When ffmpeg cannot make it.
pub async fn flashes() -> Outcome<PathBuf> {
    static MADE: OnceCell<PathBuf> = OnceCell::const_new();
    MADE.get_or_try_init(make_flashes).await.cloned()
}

async fn make_flashes() -> Outcome<PathBuf> {
    let path = target_folder().join("flashes-1.mp4");
    if path.exists() {
        return Ok(path);
    }
    let made = path.with_extension(format!("{}.mp4", std::process::id()));
    let picture = "color=black:s=320x240:r=25:d=30,drawbox=color=white:t=fill:enable=lt(mod(t\\,1)\\,0.1)";
    let sound = "aevalsrc=0.5*sin(2*PI*1000*t)*lt(mod(t\\,1)\\,0.1):s=48000:d=30";
    let status = Command::new("ffmpeg")
        .args(["-hide_banner", "-nostats", "-loglevel", "error", "-nostdin", "-y"])
        .args(["-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", sound])
        .args([
            "-c:v",
            "libx264",
            "-preset",
            "ultrafast",
            "-tune",
            "zerolatency",
            "-g",
            "25",
            "-pix_fmt",
            "yuv420p",
        ])
        .args(["-c:a", "aac", "-ac", "2"])
        .arg(&made)
        .status()
        .await?;
    if !status.success() {
        return Err(format!("ffmpeg makes no clip: {status}").into());
    }
    std::fs::rename(&made, &path)?;
    Ok(path)
}

/// How much later the beeps of a stream that shows [`flashes`] come than its flashes: the median of `seconds` of it, in
/// milliseconds.
///
/// # Errors
///
/// When it cannot be played, or neither flashes nor beeps.
pub async fn skew(url: &str, seconds: u32) -> Outcome<f64> {
    let graph = "[0:v]signalstats,metadata=print:key=lavfi.signalstats.YAVG:file=-[v];\
                 [0:a]silencedetect=n=-30dB:d=0.3[a]";
    let decoding = Command::new("ffmpeg")
        .args([
            "-hide_banner",
            "-nostats",
            "-nostdin",
            "-threads",
            "1",
            "-i",
            url,
            "-t",
            &seconds.to_string(),
        ])
        .args(["-filter_complex", graph, "-map", "[v]", "-map", "[a]", "-f", "null", "-"])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let patience = Duration::from_secs(u64::from(seconds) * 2 + 25);
    let output =
        timeout(patience, decoding).await.map_err(|_| format!("ffmpeg plays {url} too slowly"))??;
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
