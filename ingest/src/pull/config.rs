//! What an operator may set of a pull, and what can be wrong with it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use aqueduct_common::Secret;
use serde::Deserialize;

/// One `[[ingest.pull]]`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PullConfig {
    /// The stream that it feeds: `app/name`.
    pub stream: String,
    /// What logs and the API call it; without one, the stream's name.
    #[serde(default)]
    pub name: Option<String>,
    /// Where the source is. What it holds besides a host may be secret, and is shown nowhere.
    #[serde(default)]
    pub url: Option<Secret>,
    /// Instead of a URL: files that are played one after another, over and over.
    #[serde(default)]
    pub files: Vec<PathBuf>,
    /// Instead of a URL: a still image.
    #[serde(default)]
    pub still: Option<PathBuf>,
    /// Which video stream: its number among them from 0, a language, or `none`. The first one.
    #[serde(default)]
    pub video: Option<PickConfig>,
    /// Which audio stream, in the same way.
    #[serde(default)]
    pub audio: Option<PickConfig>,
    /// Where the source has no sound, silence.
    #[serde(default)]
    pub silence: bool,
    /// A source that was lost is tried again.
    #[serde(default = "yes")]
    pub reconnect: bool,
    /// A source of which nothing comes for so long is lost.
    #[serde(default = "stall", with = "humantime_serde")]
    pub stall: Duration,
    /// SRT: what the source is encrypted with.
    #[serde(default)]
    pub passphrase: Option<Secret>,
    /// SRT: how long lost packets are waited for.
    #[serde(default, with = "humantime_serde")]
    pub latency: Option<Duration>,
    /// SRT: what the far end knows the source by.
    #[serde(default)]
    pub streamid: Option<Secret>,
    /// Options of libavformat and its protocols, as `ffmpeg` takes them.
    #[serde(default)]
    pub options: BTreeMap<String, Secret>,
    /// A still image: pixels across and down.
    #[serde(default = "size")]
    pub size: String,
    /// A still image: frames a second.
    #[serde(default = "fps")]
    pub fps: u32,
}

const fn yes() -> bool {
    true
}

const fn stall() -> Duration {
    Duration::from_secs(5)
}

fn size() -> String {
    "1280x720".into()
}

const fn fps() -> u32 {
    25
}

/// A number or a word.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum PickConfig {
    /// A number among the streams of the kind, from 0.
    Number(u8),
    /// A language, or `none`.
    Word(String),
}

/// Why a [`PullConfig`] cannot be used. The text begins with the key within its section.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PullConfigError {
    /// The stream has no usable name.
    #[error("stream: {0:?} is not app/name, such as live/camera")]
    Stream(String),
    /// The pull has no usable name.
    #[error("name: {0:?} cannot be a pull's name: 1 to 64 letters, digits, '_', '-' or '.'")]
    Name(String),
    /// No source, or more than one.
    #[error("url: set one of url, files and still")]
    Origin,
    /// The URL has no scheme and host.
    #[error("url: this is no URL; write SCHEME://HOST:PORT/…, and paths of files under `files`")]
    Url,
    /// The scheme is not pulled.
    #[error("url: {scheme} is not pulled; ingest.pull_schemes has {allowed}{hint}")]
    Scheme {
        /// It.
        scheme: String,
        /// Those that are.
        allowed: String,
        /// What else would do.
        hint: &'static str,
    },
    /// An option is not for a pull to say.
    #[error("options.{0}: this cannot be set: what a source may lead to is said by ingest.pull_schemes")]
    Option(String),
    /// The passphrase is too short or too long.
    #[error("passphrase: SRT takes 10 to 79 characters")]
    Passphrase,
    /// The option is one of SRT.
    #[error("{0}: only srt:// has this")]
    NotSrt(&'static str),
    /// A span is too short or too long.
    #[error("{key}: must be from {least:?} to {most:?}")]
    Span {
        /// Which.
        key: &'static str,
        /// The shortest.
        least: Duration,
        /// The longest.
        most: Duration,
    },
    /// The size of a still image.
    #[error("size: {0:?} is not WIDTHxHEIGHT with even sides from 64 to 4096, such as 1280x720")]
    Size(String),
    /// The frame rate of a still image.
    #[error("fps: must be from 1 to 60")]
    Fps,
    /// Neither pictures nor sound is wanted.
    #[error("video: with audio = \"none\" as well, nothing is left")]
    Nothing,
}
