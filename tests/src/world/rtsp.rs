//! RTSP from both ends: GStreamer's server as a camera, ffmpeg and GStreamer as publishers.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::{Flashes, free_port, workspace};
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

    /// Starts it on a free port, with a clip to play: `/file` as it is, `/file-pcmu` with its sound as G.711, and `/file-h265`
    /// with its pictures in H.265.
    ///
    /// # Errors
    ///
    /// When it does not start.
    pub async fn showing(clip: &Flashes) -> Outcome<Self> {
        Self::start_at(free_port()?, None, Some(clip)).await
    }

    /// Starts it on this port. With `credentials` (`user:password`) it wants them, by Digest.
    ///
    /// # Errors
    ///
    /// When it does not start.
    pub async fn start_at(port: u16, credentials: Option<&str>, clip: Option<&Flashes>) -> Outcome<Self> {
        // The distribution's Python: GStreamer's bindings are in no other.
        let mut command = Command::new("/usr/bin/python3");
        command.arg(workspace().join("tests/rtsp/server.py")).arg(port.to_string()).args(credentials);
        if let Some(clip) = clip {
            command.env("RTSP_FILE", &clip.h264).env("RTSP_FILE_H265", &clip.h265);
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

    /// GStreamer's `rtspclientsink` pushes a file of H.264 and AAC as it is, over `tcp` or `udp`.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn gstreamer_file(url: &str, transport: &str, file: &Path) -> Outcome<Self> {
        let pipeline = format!(
            "rtspclientsink name=s location={url} protocols={transport} filesrc location={} ! qtdemux name=d \
             d.video_0 ! queue ! h264parse ! s. d.audio_0 ! queue ! aacparse ! s.",
            file.display()
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
