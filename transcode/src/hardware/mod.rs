//! Backends for decoding, scaling and encoding, probed on this machine.
//!
//! That a library was built with an encoder says nothing: drivers are missing, device nodes closed, sessions used up.
//! So [`probe`] sends frames through each candidate, in a child process, because drivers crash and hang; [`survey`] runs
//! those children and keeps what they found; [`words`] says what a refusal means and what to do.

pub mod probe;
pub mod survey;
pub mod words;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Something that decodes or encodes pictures. Decoding and encoding are chosen apart: data-centre cards of NVIDIA
/// decode and have no encoder.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// libav's own decoders, libx264 and the like. Always there.
    Software,
    /// NVDEC and NVENC, by CUDA.
    Nvidia,
    /// Intel's and AMD's video engines on Linux, by VAAPI.
    Vaapi,
    /// Intel's Quick Sync Video, by oneVPL or the Media SDK.
    Qsv,
    /// Apple's video engine.
    VideoToolbox,
}

impl Backend {
    /// All of them, in the order in which `auto` tries them; software is last.
    pub const ALL: [Self; 5] = [Self::Nvidia, Self::VideoToolbox, Self::Qsv, Self::Vaapi, Self::Software];

    /// Its name in configuration, events and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Software => "software",
            Self::Nvidia => "nvidia",
            Self::Vaapi => "vaapi",
            Self::Qsv => "qsv",
            Self::VideoToolbox => "videotoolbox",
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A name that is no backend's.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0:?} is no backend; there are software, nvidia, vaapi, qsv and videotoolbox")]
pub struct UnknownBackend(String);

impl FromStr for Backend {
    type Err = UnknownBackend;

    fn from_str(name: &str) -> Result<Self, UnknownBackend> {
        Self::ALL
            .into_iter()
            .find(|backend| backend.as_str() == name)
            .ok_or_else(|| UnknownBackend(name.into()))
    }
}

/// Which backends a worker tries, each list from first to last, and on which device.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Chosen {
    /// For decoding.
    pub decode: Vec<Backend>,
    /// For encoding.
    pub encode: Vec<Backend>,
    /// A number for NVIDIA, a node for VAAPI and QSV; empty is the first one.
    #[serde(default)]
    pub device: String,
}

impl Default for Chosen {
    /// Software alone: what works before anything has been probed.
    fn default() -> Self {
        Self { decode: vec![Backend::Software], encode: vec![Backend::Software], device: String::new() }
    }
}

/// libav's libraries with the versions that run here.
pub fn versions() -> Vec<(&'static str, String)> {
    let text = |version: u32| format!("{}.{}.{}", version >> 16, version >> 8 & 0xff, version & 0xff);
    vec![
        ("libavcodec", text(ffmpeg_next::codec::version())),
        ("libavfilter", text(ffmpeg_next::filter::version())),
        ("libavutil", text(ffmpeg_next::util::version())),
        ("libswscale", text(ffmpeg_next::software::scaling::version())),
    ]
}
