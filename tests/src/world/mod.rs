//! The world around the server: the real binary in a process of its own, ffmpeg, ffprobe, a browser.

mod browser;
mod clips;
mod ffmpeg;
mod ports;
mod server;

use std::path::{Path, PathBuf};

pub use browser::{Player, browse};
pub use clips::Drawing;
pub use ffmpeg::{Decoded, Push, decode, probe};
pub use ports::free_port;
pub use server::{Publishing, Server, Setting};

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
