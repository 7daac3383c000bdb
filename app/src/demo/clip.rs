//! A clip of real film, looped as it is: `make demo` shows it beside the clock.

use std::path::Path;
use std::process::Stdio;

use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use super::DemoError;

/// Pushes `file` to `target` in real time, again and again, without transcoding, until `stop`.
///
/// # Errors
///
/// When ffmpeg cannot be started, or ends before `stop`.
pub async fn push_clip(target: &str, file: &Path, stop: CancellationToken) -> Result<(), DemoError> {
    let mut command = Command::new("ffmpeg");
    command
        .args(["-hide_banner", "-nostats", "-loglevel", "error", "-re", "-stream_loop", "-1", "-i"])
        .arg(file);
    command.args(["-c", "copy", "-f", "flv", "-flvflags", "no_duration_filesize", target]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let pushing = command.spawn().map_err(DemoError::Start)?.wait_with_output();
    tokio::select! {
        () = stop.cancelled() => Ok(()),
        ended = pushing => {
            let output = ended.map_err(DemoError::Start)?;
            let reason = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
            Err(DemoError::Ended { target: target.to_owned(), reason })
        }
    }
}
