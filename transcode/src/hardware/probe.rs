//! What a probe tries and what it finds. [`run`] is the child's half: it tries one backend after the other step and
//! tells of each as it goes, so that what it found before a crash is not lost.

use std::io::Write;

use serde::{Deserialize, Serialize};

use super::Backend;
use crate::protocol::VideoCodec;

/// One thing that a backend can do, tried by doing it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ability {
    /// Its device opens.
    Device,
    /// Eight frames are encoded with the settings that streams get, and the one that has to be an IDR is one.
    Encode(VideoCodec),
    /// Coded frames come out as the pictures that went in.
    Decode(VideoCodec),
    /// Pictures are scaled without leaving the device.
    Scale,
}

impl Ability {
    /// All, in the order in which they are tried.
    pub const ALL: [Self; 8] = [
        Self::Device,
        Self::Encode(VideoCodec::H264),
        Self::Decode(VideoCodec::H264),
        Self::Scale,
        Self::Encode(VideoCodec::H265),
        Self::Decode(VideoCodec::H265),
        Self::Encode(VideoCodec::Av1),
        Self::Decode(VideoCodec::Av1),
    ];

    /// `encode h264` and the like.
    pub fn text(self) -> String {
        match self {
            Self::Device => "device".into(),
            Self::Encode(codec) => format!("encode {}", codec_text(codec)),
            Self::Decode(codec) => format!("decode {}", codec_text(codec)),
            Self::Scale => "scale".into(),
        }
    }
}

/// `h264`, `h265` or `av1`.
pub const fn codec_text(codec: VideoCodec) -> &'static str {
    match codec {
        VideoCodec::H264 => "h264",
        VideoCodec::H265 => "h265",
        VideoCodec::Av1 => "av1",
    }
}

/// How one trial ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "outcome")]
pub enum Outcome {
    /// A frame went through.
    Works {
        /// What did it, as libav calls it.
        by: String,
        /// Time it took, from opening to the last frame, in microseconds.
        micros: u64,
    },
    /// It did not.
    Refused {
        /// What libav said.
        said: String,
    },
    /// Not tried, because something that it needs was refused.
    Skipped,
}

/// One line of a probe.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Finding {
    /// What was tried.
    pub ability: Ability,
    /// How it ended.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What stands before the name of an ability on standard error when its trial begins: libav's own words about it follow.
pub(super) const MARK: &str = "\u{1e}trying ";

/// The child's half. Tries what `backend` can do, from the `from`-th ability of [`Ability::ALL`] on, and writes each
/// [`Finding`] as a line of JSON to `out` before the next begins; libav's words go to standard error. `device` is a
/// number or node, empty for the first one.
///
/// # Errors
/// When `out` cannot be written to: nobody listens.
pub fn run(backend: Backend, device: &str, from: usize, out: &mut impl Write) -> std::io::Result<()> {
    crate::sys::choose_device(device);
    let mut bench = crate::worker::trial::Bench::new(backend);
    for ability in Ability::ALL.into_iter().skip(from) {
        eprintln!("{MARK}{}", ability.text());
        let outcome = bench.outcome(ability);
        let line = serde_json::to_string(&Finding { ability, outcome }).map_err(std::io::Error::other)?;
        writeln!(out, "{line}")?;
        out.flush()?;
    }
    Ok(())
}
