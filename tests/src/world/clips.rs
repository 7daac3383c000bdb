//! Clips that ffmpeg draws once and that are pushed as they are afterwards, which costs no encoding.

use std::path::PathBuf;

use crate::Outcome;
use crate::publisher::clip::made;

/// What to draw.
#[derive(Clone, Copy, Debug)]
pub struct Drawing<'a> {
    /// Name of the file, with its extension.
    pub name: &'a str,
    /// `320x180`.
    pub size: &'a str,
    /// Frames a second: `25` or `30000/1001`.
    pub rate: &'a str,
    /// Frames between keyframes.
    pub gop: u32,
    /// Seconds.
    pub seconds: u32,
    /// The video encoder and its options, H.264 without B-frames if empty.
    pub video: &'a [&'a str],
    /// The audio encoder and its options, AAC if empty.
    pub audio: &'a [&'a str],
}

impl Default for Drawing<'_> {
    fn default() -> Self {
        Self { name: "plain.mp4", size: "320x180", rate: "25", gop: 25, seconds: 30, video: &[], audio: &[] }
    }
}

impl Drawing<'_> {
    /// The file, drawn now if it has not been.
    ///
    /// # Errors
    ///
    /// When ffmpeg is missing or cannot draw it.
    pub fn path(&self) -> Outcome<PathBuf> {
        let (picture, gop) =
            (format!("testsrc2=size={}:rate={}", self.size, self.rate), self.gop.to_string());
        let seconds = self.seconds.to_string();
        let mut arguments = vec!["-f", "lavfi", "-i", &picture];
        arguments.extend(["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000"]);
        if self.video.is_empty() {
            arguments.extend(["-c:v", "libx264", "-preset", "ultrafast"]);
        }
        arguments.extend_from_slice(self.video);
        arguments.extend([
            "-pix_fmt",
            "yuv420p",
            "-g",
            &gop,
            "-keyint_min",
            &gop,
            "-sc_threshold",
            "0",
            "-b:v",
            "300k",
        ]);
        if self.audio.is_empty() {
            arguments.extend(["-c:a", "aac", "-b:a", "64k", "-ac", "2"]);
        }
        arguments.extend_from_slice(self.audio);
        arguments.extend(["-t", &seconds]);
        made(self.name, &arguments)
    }
}
