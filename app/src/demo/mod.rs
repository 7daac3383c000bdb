//! A stream to look at: a picture with a clock burnt in and a beep each second, pushed by RTMP like any encoder's.
//!
//! What it is for: latency that can be read by eye (hold a clock beside the screen) and by a program (the rows of
//! cells that [`picture`] describes). It goes through the same door as a real publisher, with no short cut.

pub mod beep;
mod clip;
pub mod picture;
mod push;

pub use clip::push_clip;
pub use push::push;

/// What the demo sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DemoOptions {
    /// Width in pixels; rounded down to a multiple of 32, so that the cells of the clock are whole.
    pub width: u32,
    /// Height in pixels; rounded down to a multiple of 24.
    pub height: u32,
    /// Frames per second, held within 24 to 60. A keyframe comes each second.
    pub fps: u32,
    /// Send the beep as an AAC track.
    pub audio: bool,
}

impl Default for DemoOptions {
    fn default() -> Self {
        Self { width: 640, height: 360, fps: 30, audio: true }
    }
}

/// Why the demo's push ended by itself.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DemoError {
    /// The encoder is the ffmpeg program; it has to be there.
    #[error(
        "cannot start ffmpeg, which encodes the demo picture: {0}; install it (Debian: apt-get install ffmpeg)"
    )]
    Start(#[source] std::io::Error),
    /// The loopback socket that carries the sound to ffmpeg could not be opened.
    #[error("cannot open a loopback socket for the demo's sound: {0}")]
    Sound(#[source] std::io::Error),
    /// ffmpeg went away: most often the target refused the push.
    #[error("ffmpeg stopped pushing to {target}: {reason}")]
    Ended {
        /// Where it pushed.
        target: String,
        /// The last lines that ffmpeg wrote.
        reason: String,
    },
}
