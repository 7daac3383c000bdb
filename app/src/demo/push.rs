//! The push: frames and beeps, paced by the clock, through an ffmpeg child that encodes them and speaks RTMP.

use std::process::Stdio;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, ChildStderr, ChildStdin, Command};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::picture::Picture;
use super::{DemoError, DemoOptions, beep};

/// How long ffmpeg may take to say goodbye to the server once its input has ended.
const GOODBYE: Duration = Duration::from_secs(2);
/// How long ffmpeg may take to open its inputs.
const OPENING: Duration = Duration::from_secs(10);
/// Bytes of ffmpeg's complaints that are kept.
const COMPLAINT: usize = 2_048;

/// Pushes the demo stream to `target` (`rtmp://host/app/key`) until `stop`, and then ends it cleanly.
///
/// # Errors
///
/// When ffmpeg cannot be started, or ends before `stop`.
pub async fn push(target: &str, options: DemoOptions, stop: CancellationToken) -> Result<(), DemoError> {
    let picture = Picture::new(options.width, options.height);
    let fps = options.fps.clamp(24, 60);
    let sound = if options.audio { Some(listen().await?) } else { None };
    let port = sound.as_ref().map(|(_, port)| *port);
    let mut encoder = spawn(target, &picture, fps, port)?;
    let complaints = encoder.stderr.take().map(|stderr| tokio::spawn(last_words(stderr)));
    let stdin = encoder.stdin.take();
    let pump = async {
        let Some(frames) = stdin else { return Ok(()) };
        let listener = sound.map(|(listener, _)| listener);
        Box::pin(Pump { picture, fps, frames }.run(listener)).await
    };
    tokio::select! {
        () = stop.cancelled() => {}
        // A broken pipe says only that ffmpeg is gone; its own words say why.
        _ = pump => return Err(ended(target, encoder, complaints).await),
        _ = encoder.wait() => return Err(ended(target, encoder, complaints).await),
    }
    let _ = tokio::time::timeout(GOODBYE, encoder.wait()).await;
    Ok(())
}

async fn listen() -> Result<(TcpListener, u16), DemoError> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(DemoError::Sound)?;
    let port = listener.local_addr().map_err(DemoError::Sound)?.port();
    Ok((listener, port))
}

fn spawn(target: &str, picture: &Picture, fps: u32, sound: Option<u16>) -> Result<Child, DemoError> {
    let mut command = Command::new("ffmpeg");
    command.args(["-hide_banner", "-nostats", "-loglevel", "error"]);
    command.args(["-probesize", "32", "-f", "rawvideo", "-pix_fmt", "yuv420p"]);
    command.args(["-video_size", &format!("{}x{}", picture.width(), picture.height())]);
    command.args(["-framerate", &fps.to_string(), "-i", "pipe:0"]);
    if let Some(port) = sound {
        command.args(["-probesize", "32", "-f", "s16le", "-ar", &beep::RATE.to_string(), "-ac", "2"]);
        command.args(["-i", &format!("tcp://127.0.0.1:{port}")]);
        command.args(["-c:a", "aac", "-b:a", "96k"]);
    }
    // One thread and no look-ahead: a frame leaves as soon as it came, and the demo leaves the machine to the server.
    command.args(["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-threads", "1"]);
    command.args(["-g", &fps.to_string(), "-keyint_min", &fps.to_string(), "-sc_threshold", "0"]);
    command.args(["-b:v", "1200k", "-maxrate", "1500k", "-bufsize", "750k", "-pix_fmt", "yuv420p"]);
    command.args(["-flags", "+low_delay", "-max_delay", "0", "-flush_packets", "1"]);
    command.args(["-f", "flv", "-flvflags", "no_duration_filesize", target]);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    command.spawn().map_err(DemoError::Start)
}

async fn ended(
    target: &str,
    mut encoder: Child,
    complaints: Option<tokio::task::JoinHandle<String>>,
) -> DemoError {
    let _ = tokio::time::timeout(GOODBYE, encoder.wait()).await;
    drop(encoder);
    let words = match complaints {
        Some(task) => task.await.unwrap_or_default(),
        None => String::new(),
    };
    let reason = if words.is_empty() { "it did not say why".to_owned() } else { words };
    DemoError::Ended { target: without_key(target), reason: reason.replace(target, &without_key(target)) }
}

/// The target without the part that may be a publish key.
fn without_key(target: &str) -> String {
    target.split('?').next().unwrap_or_default().to_owned()
}

/// The end of what ffmpeg wrote to its standard error.
async fn last_words(mut stderr: ChildStderr) -> String {
    let mut kept = Vec::new();
    let mut buffer = [0; 1_024];
    while let Ok(read) = stderr.read(&mut buffer).await {
        if read == 0 {
            break;
        }
        kept.extend_from_slice(&buffer[..read]);
        let excess = kept.len().saturating_sub(COMPLAINT);
        kept.drain(..excess);
    }
    String::from_utf8_lossy(&kept).trim().replace('\n', "; ")
}

/// What feeds ffmpeg.
struct Pump {
    picture: Picture,
    fps: u32,
    frames: ChildStdin,
}

impl Pump {
    async fn run(mut self, listener: Option<TcpListener>) -> std::io::Result<()> {
        // ffmpeg opens its inputs in order and wants a first frame of the one before it opens the next.
        self.picture.draw(unix_millis());
        self.frames.write_all(self.picture.bytes()).await?;
        let mut sound = match listener {
            Some(listener) => Some(tokio::time::timeout(OPENING, accept(listener)).await??),
            None => None,
        };
        // The sound counts its own samples from here on: it is continuous, whatever the pace of the frames.
        let (start, first_sample) = (now(), beep::sample_at(unix_millis()));
        let (mut samples, mut samples_sent) = (Vec::new(), 0);
        for frame in 0u64.. {
            let due = start + Duration::from_micros(frame * 1_000_000 / u64::from(self.fps));
            tokio::time::sleep_until(due).await;
            if let Some(sound) = &mut sound {
                let until = (frame + 1) * u64::from(beep::RATE) / u64::from(self.fps);
                samples.clear();
                beep::render(&mut samples, first_sample + samples_sent, (until - samples_sent) as u32);
                samples_sent = until;
                sound.write_all(&samples).await?;
            }
            if frame > 0 {
                self.picture.draw(unix_millis());
                self.frames.write_all(self.picture.bytes()).await?;
            }
        }
        Ok(())
    }
}

async fn accept(listener: TcpListener) -> std::io::Result<TcpStream> {
    let (socket, _) = listener.accept().await?;
    socket.set_nodelay(true)?;
    Ok(socket)
}

#[expect(clippy::disallowed_methods, reason = "the demo's pace is the real clock's")]
fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "the picture shows the real time")]
fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
