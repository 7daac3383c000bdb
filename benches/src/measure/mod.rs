//! One file per measurement.

pub mod flame;
pub mod health;
pub mod herd;
pub mod ingest;
pub mod ladder;
pub mod lag;
pub mod memory;
pub mod relay;
pub mod rtsp;
pub mod scale;
pub mod serve;
pub mod soak;
pub mod viewers;

use std::path::Path;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use crate::error::{Error, doing};
use crate::process::Program;
use crate::scratch::Scratch;

/// Video bit rate of synthetic streams, in megabits a second: the budgets' rate, and parts of 75 kB.
pub const MEGABITS: f64 = 3.0;

/// What every measurement needs to know.
#[derive(Clone, Copy, Debug)]
pub struct Setting<'a> {
    /// A smoke run.
    pub quick: bool,
    /// The server's binary.
    pub server: &'a Path,
    /// The clip that ffmpeg pushes.
    pub clip: &'a Path,
}

impl Setting<'_> {
    /// `full`, or `quick` in a smoke run.
    pub fn size<T>(&self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }
}

/// All clients of a measurement run on one thread, so that a time means the same to each of them.
fn runtime() -> Result<Runtime, Error> {
    Builder::new_current_thread().enable_all().build().map_err(doing("start the clients' runtime"))
}

/// Pushes the clip in a loop, in real time and without encoding, to all URLs at once.
fn push_clip(clip: &Path, urls: &[String], scratch: &Scratch, name: &str) -> Result<Program, Error> {
    let mut command = std::process::Command::new("ffmpeg");
    command.args(["-nostdin", "-v", "error", "-re", "-stream_loop", "-1", "-i"]).arg(clip);
    for url in urls {
        command.args(["-map", "0", "-c", "copy", "-f", "flv", url]);
    }
    Program::start(command, &scratch.path().join(name), "install it: apt-get install ffmpeg")
}

/// Waits, and fails at once when a push has ended.
async fn wait(span: Duration, pushes: &mut [Program]) -> Result<(), Error> {
    const STEP: Duration = Duration::from_millis(500);
    let mut left = span;
    while !left.is_zero() {
        let step = left.min(STEP);
        tokio::time::sleep(step).await;
        left -= step;
        pushes.iter_mut().try_for_each(Program::check)?;
    }
    Ok(())
}
