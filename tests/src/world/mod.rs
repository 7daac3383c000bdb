//! The world around the server: the real binary in a process of its own, ffmpeg, ffprobe, a browser.

mod authority;
mod browser;
pub mod busy;
mod clips;
mod ffmpeg;
mod flashes;
pub mod ladder;
mod nats;
mod ports;
pub mod room;
mod rtsp;
mod server;
mod signal;
mod spoiler;
pub mod watch;

use std::path::{Path, PathBuf};

pub use authority::Authority;
pub use browser::{Player, browse};
pub use clips::Drawing;
pub use ffmpeg::{Decoded, Push, decode, probe};
pub use flashes::{Flashes, Heard, heard, skew};
pub use nats::Nats;
pub use ports::{free_port, free_udp_port, local};
pub use rtsp::{RtspPush, RtspServer};
pub use server::{Publishing, Server, Setting, binary, borrowed, run_program};
pub use signal::signal;
pub use spoiler::{Reports, Spoil, Spoiler};

/// The workspace's folder.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// Cargo's target folder.
pub fn target_folder() -> PathBuf {
    // A test runs from TARGET/PROFILE/deps, a program from TARGET/PROFILE.
    let running = std::env::current_exe().ok();
    let profile = running.as_deref().and_then(|path| {
        let folder = path.parent()?;
        if folder.ends_with("deps") { folder.parent() } else { Some(folder) }
    });
    profile.and_then(Path::parent).map_or_else(|| workspace().join("target"), Path::to_path_buf)
}
