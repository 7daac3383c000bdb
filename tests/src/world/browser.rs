//! A real browser, driven by the script in `tests/browser`.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use super::workspace;
use crate::Outcome;

/// Which player plays.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Player {
    /// Our page.
    Page,
    /// Stock hls.js in low-latency mode.
    Hls,
    /// Stock Shaka in low-latency mode.
    Shaka,
}

impl Player {
    const fn name(self) -> &'static str {
        match self {
            Self::Page => "page",
            Self::Hls => "hls",
            Self::Shaka => "shaka",
        }
    }
}

/// Plays a stream for `seconds` and gives what the script saw.
///
/// # Errors
///
/// When the browser cannot be started or the stream does not play.
pub async fn browse(url: &str, player: Player, seconds: u32, extra: &[&str]) -> Outcome<serde_json::Value> {
    let script = workspace().join("tests/browser/play.mjs");
    let playing = Command::new("node")
        .arg(script)
        .args(["--url", url, "--player", player.name(), "--seconds", &seconds.to_string()])
        .args(extra)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let patience = Duration::from_secs(u64::from(seconds) + 60);
    let output = timeout(patience, playing).await.map_err(|_| "the browser takes too long")??;
    if !output.status.success() {
        let (said, complained) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        return Err(format!("{url} does not play in {}: {said}\n{complained}", player.name()).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}
