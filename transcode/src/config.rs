//! What an operator may set, and its checked form.

mod values;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::hardware::{Backend, Chosen};
use crate::protocol::{Loudness, Preset, VideoCodec};

/// Most rungs of a ladder by hand; their tracks are numbered from 16 up to the first encoded sound at 32.
pub const RUNGS_MAX: usize = 12;

pub use values::{AutoOr, Backends, Bitrate, NoBitrate, OffOr};

/// Settings of the transcode stage, as they stand in the configuration file below `transcode`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Whether renditions are made at all.
    pub mode: Mode,
    /// Whether the source itself is the top rendition.
    pub passthrough: Passthrough,
    /// Rungs by hand, from top to bottom; empty makes them from the source (AVP-38).
    pub ladder: Vec<RungByHand>,
    /// Encoding effort to begin with; `auto` goes by the number of CPUs.
    pub preset: AutoOr<Preset>,
    /// Whether rungs that nobody watches are made.
    pub demand: Demand,
    /// With `demand = "on-watch"`, how long a rung goes on without a viewer.
    #[serde(with = "humantime_serde")]
    pub sleep_after: Duration,
    /// What happens when an encoder or decoder fails in mid-stream.
    pub on_failure: OnFailure,
    /// Quality at which encoding stops spending bits (capped CRF, AVP-40): easy pictures cost less, the bitrate stays
    /// the most.
    pub crf: OffOr,
    /// Streams that are transcoded at once; those beyond play as they come. 0 is as many as the machine carries.
    pub max_streams: u32,
    /// Share of all CPUs that transcoding may take before it makes do with less, in percent.
    pub cpu_percent: u8,
    /// How often the operator's pages get a new picture of a stream that somebody looks at; zero is never.
    #[serde(with = "values::off_or_span")]
    pub thumbnails: Duration,
    /// Which backends are used.
    pub hardware: Hardware,
    /// Sound.
    pub audio: Audio,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            mode: Mode::Auto,
            passthrough: Passthrough::Auto,
            ladder: Vec::new(),
            preset: AutoOr(None),
            demand: Demand::Always,
            sleep_after: Duration::from_secs(30),
            on_failure: OnFailure::Software,
            crf: OffOr(None),
            max_streams: 0,
            cpu_percent: 85,
            thumbnails: Duration::from_secs(5),
            hardware: Hardware::default(),
            audio: Audio::default(),
        }
    }
}

/// Whether renditions are made at all.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Each stream gets the ladder that its source allows.
    #[default]
    Auto,
    /// Streams are served as they come; no worker is started.
    Off,
}

/// Whether the source itself is the top rendition.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Passthrough {
    /// Where its codec, frame rate and keyframes allow it.
    #[default]
    Auto,
    /// Even with a codec that some browsers lack, and with keyframes far apart.
    Always,
    /// The top is encoded too.
    Never,
}

/// Whether rungs that nobody watches are made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Demand {
    /// All rungs, all the time.
    #[default]
    Always,
    /// A rung without viewers sleeps, and the first request wakes it.
    OnWatch,
}

/// What happens when an encoder or decoder fails in mid-stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    /// The next backend of the list, at last software, takes over with all rungs.
    #[default]
    Software,
    /// The same with the lower half of the rungs.
    FewerRungs,
    /// Encoding stops, the source plays on.
    Passthrough,
    /// The stream ends: for operators who would rather fail over to another machine.
    Fail,
}

/// One rung of `[[transcode.ladder]]`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RungByHand {
    /// The short side in pixels: what "720p" means, also in a portrait picture.
    pub height: u32,
    /// Average bits a second; by AVP-38's table where it is left out.
    pub bitrate: Option<Bitrate>,
    /// Most frames a second: a source above it gives every second frame.
    pub fps: Option<u32>,
    /// What it is encoded with; H.264 where it is left out.
    pub codec: Option<VideoCodec>,
}

/// Which backends are used.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Hardware {
    /// For decoding: `auto` takes the first that a probe found to work.
    pub decode: Backends,
    /// For encoding: the same.
    pub encode: Backends,
    /// Never these.
    pub forbid: Vec<Backend>,
    /// The device: a number for NVIDIA, a node such as `/dev/dri/renderD128` for VAAPI and QSV; empty is the first.
    pub device: String,
}

/// Sound.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Audio {
    /// Bits a second of encoded stereo; mono gets half.
    pub bitrate: Bitrate,
    /// Loudness to bring sound to, in LUFS; `off` leaves AAC sources untouched.
    pub loudness: OffOr,
    /// Most true peak after that, in dBTP.
    pub true_peak: f64,
    /// Further renditions of the sound, in bits a second.
    pub extra: Vec<Bitrate>,
}

impl Default for Audio {
    fn default() -> Self {
        Self { bitrate: Bitrate(128_000), loudness: OffOr(None), true_peak: -1.0, extra: Vec::new() }
    }
}

/// A [`Config`] whose values fit each other. The only way in is `TryFrom<Config>`.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct Plan {
    /// Renditions are made.
    pub enabled: bool,
    /// Whether the source itself is the top rendition.
    pub passthrough: Passthrough,
    /// Rungs by hand, from top to bottom; empty makes them from the source.
    pub ladder: Vec<RungByHand>,
    /// Encoding effort to begin with; `None` goes by the number of CPUs.
    pub preset: Option<Preset>,
    /// Whether rungs that nobody watches are made.
    pub demand: Demand,
    /// How long a rung goes on without a viewer, with [`Demand::OnWatch`].
    pub sleep_after: Duration,
    /// What happens when a backend fails in mid-stream.
    pub on_failure: OnFailure,
    /// Capped CRF's quality.
    pub crf: Option<u8>,
    /// Most streams that are transcoded at once; `None` is as many as the machine carries.
    pub max_streams: Option<u32>,
    /// Share of all CPUs that transcoding may take, 0 to 1.
    pub cpu_share: f64,
    /// How often streams that somebody looks at get a new picture; zero is never.
    pub thumbnails: Duration,
    /// Which backends are used.
    pub hardware: Hardware,
    /// Bits a second of encoded stereo.
    pub audio_bitrate: u32,
    /// Loudness to bring sound to.
    pub loudness: Option<Loudness>,
    /// Bits a second of further sound renditions, from most to least.
    pub audio_extra: Vec<u32>,
}

/// Why a [`Config`] was refused. The text names the key.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A number is outside the range that makes sense.
    #[error("{key} is {is}: set it to {least} up to {most}")]
    Range {
        /// The key, from the top of the file.
        key: String,
        /// What it is.
        is: String,
        /// The least that is allowed.
        least: String,
        /// The most that is allowed.
        most: String,
    },
    /// Two rungs are one.
    #[error(
        "transcode.ladder.{second}: it is the same as the rung before it of that height: change it or leave it out"
    )]
    SameRung {
        /// The second of them, from 0.
        second: usize,
    },
    /// A list has nothing that can be used.
    #[error(
        "{key}: transcode.hardware.forbid leaves nothing: allow one more, or set transcode.mode to \"off\""
    )]
    NoBackend {
        /// The key.
        key: &'static str,
    },
}

impl TryFrom<Config> for Plan {
    type Error = ConfigError;

    fn try_from(config: Config) -> Result<Self, ConfigError> {
        check_numbers(&config)?;
        check_ladder(&config.ladder)?;
        let plan = Self::of(config);
        for (key, list) in [
            ("transcode.hardware.decode", plan.wanted(&plan.hardware.decode)),
            ("transcode.hardware.encode", plan.wanted(&plan.hardware.encode)),
        ] {
            if list.is_empty() {
                return Err(ConfigError::NoBackend { key });
            }
        }
        Ok(plan)
    }
}

impl Default for Plan {
    fn default() -> Self {
        Self::of(Config::default())
    }
}

impl Plan {
    fn of(config: Config) -> Self {
        let Config { audio, mut ladder, .. } = config;
        ladder.sort_by_key(|rung| std::cmp::Reverse((rung.height, rung.bitrate)));
        let mut audio_extra: Vec<u32> = audio.extra.iter().map(|bitrate| bitrate.0).collect();
        audio_extra.sort_unstable_by(|a, b| b.cmp(a));
        audio_extra.dedup();
        Self {
            enabled: config.mode == Mode::Auto,
            passthrough: config.passthrough,
            ladder,
            preset: config.preset.0,
            demand: config.demand,
            sleep_after: config.sleep_after,
            on_failure: config.on_failure,
            crf: config.crf.0.map(|crf| crf as u8),
            max_streams: (config.max_streams > 0).then_some(config.max_streams),
            cpu_share: f64::from(config.cpu_percent) / 100.0,
            thumbnails: config.thumbnails,
            hardware: config.hardware,
            audio_bitrate: audio.bitrate.0,
            loudness: audio.loudness.0.map(|target| Loudness { target, ceiling: audio.true_peak }),
            audio_extra,
        }
    }

    /// Backends worth a probe, from first to last: what is set, or all; without the forbidden ones. Where failures are
    /// to end at software, it stands at the end of a list that leaves it out.
    pub fn wanted(&self, backends: &Backends) -> Vec<Backend> {
        let mut list = backends.0.clone().unwrap_or_else(|| Backend::ALL.to_vec());
        if matches!(self.on_failure, OnFailure::Software | OnFailure::FewerRungs) {
            list.push(Backend::Software);
        }
        let mut seen = Vec::new();
        list.retain(|backend| {
            let new = !seen.contains(backend) && !self.hardware.forbid.contains(backend);
            seen.push(*backend);
            new
        });
        list
    }

    /// What a worker is told before anything has been probed: software, unless it is forbidden.
    pub fn unprobed(&self) -> Chosen {
        let without_probe = |backends: &Backends| {
            let wanted = self.wanted(backends);
            match wanted.contains(&Backend::Software) {
                true => vec![Backend::Software],
                false => wanted,
            }
        };
        Chosen {
            decode: without_probe(&self.hardware.decode),
            encode: without_probe(&self.hardware.encode),
            device: self.hardware.device.clone(),
        }
    }
}

fn within<T: PartialOrd + std::fmt::Display>(key: &str, is: T, least: T, most: T) -> Result<(), ConfigError> {
    if is >= least && is <= most {
        return Ok(());
    }
    let text = |value: T| value.to_string();
    Err(ConfigError::Range { key: key.to_owned(), is: text(is), least: text(least), most: text(most) })
}

fn check_numbers(config: &Config) -> Result<(), ConfigError> {
    within("transcode.cpu_percent", config.cpu_percent, 10, 100)?;
    within("transcode.sleep_after in seconds", config.sleep_after.as_secs(), 5, 3_600)?;
    if !config.thumbnails.is_zero() {
        within("transcode.thumbnails in seconds", config.thumbnails.as_secs(), 1, 300)?;
    }
    if let Some(crf) = config.crf.0 {
        within("transcode.crf", crf, 15.0, 35.0)?;
    }
    let audio = &config.audio;
    within("transcode.audio.bitrate", audio.bitrate, Bitrate(32_000), Bitrate(320_000))?;
    for extra in &audio.extra {
        within("transcode.audio.extra", *extra, Bitrate(16_000), Bitrate(320_000))?;
    }
    if let Some(target) = audio.loudness.0 {
        within("transcode.audio.loudness", target, -31.0, -14.0)?;
    }
    within("transcode.audio.true_peak", audio.true_peak, -9.0, 0.0)
}

fn check_ladder(ladder: &[RungByHand]) -> Result<(), ConfigError> {
    within("transcode.ladder, number of rungs,", ladder.len(), 0, RUNGS_MAX)?;
    for (at, rung) in ladder.iter().enumerate() {
        let key = |name| format!("transcode.ladder.{at}.{name}");
        within(&key("height"), rung.height, 32, 4_320)?;
        if let Some(bitrate) = rung.bitrate {
            within(&key("bitrate"), bitrate, Bitrate(50_000), Bitrate(100_000_000))?;
        }
        if let Some(fps) = rung.fps {
            within(&key("fps"), fps, 1, 240)?;
        }
        if ladder.iter().take(at).any(|before| before == rung) {
            return Err(ConfigError::SameRung { second: at });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut Config)) -> String {
        let mut config = Config::default();
        change(&mut config);
        Plan::try_from(config).unwrap_err().to_string()
    }

    #[test]
    fn the_defaults_are_a_plan() {
        assert_eq!(Plan::try_from(Config::default()), Ok(Plan::default()));
    }

    #[test]
    fn a_refusal_names_the_key_and_what_to_set() {
        let error = refused(|config| config.audio.loudness = OffOr(Some(-8.0)));
        assert_eq!(error, "transcode.audio.loudness is -8: set it to -31 up to -14");
        let rung = RungByHand { height: 9_000, bitrate: None, fps: None, codec: None };
        let error = refused(|config| config.ladder = vec![rung]);
        assert_eq!(error, "transcode.ladder.0.height is 9000: set it to 32 up to 4320");
        let error = refused(|config| config.hardware.forbid = Backend::ALL.to_vec());
        assert!(
            error.starts_with("transcode.hardware.decode: transcode.hardware.forbid leaves nothing"),
            "{error}"
        );
    }

    #[test]
    fn a_forced_backend_is_first_and_software_last_unless_it_is_forbidden() {
        let mut config = Config::default();
        config.hardware.encode = Backends(Some(vec![Backend::Vaapi]));
        let plan = Plan::try_from(config.clone()).unwrap();
        assert_eq!(plan.wanted(&plan.hardware.encode), [Backend::Vaapi, Backend::Software]);
        assert_eq!(plan.unprobed(), Chosen::default());
        config.hardware.forbid = vec![Backend::Software];
        let plan = Plan::try_from(config).unwrap();
        assert_eq!(plan.wanted(&plan.hardware.encode), [Backend::Vaapi]);
        assert_eq!(plan.unprobed().encode, [Backend::Vaapi]);
    }

    #[test]
    fn rungs_and_extra_bitrates_are_put_in_order() {
        let rung = |height| RungByHand { height, bitrate: None, fps: None, codec: None };
        let mut config = Config { ladder: vec![rung(360), rung(720)], ..Config::default() };
        config.audio.extra = vec![Bitrate(64_000), Bitrate(96_000), Bitrate(64_000)];
        let plan = Plan::try_from(config).unwrap();
        assert_eq!(plan.ladder.iter().map(|rung| rung.height).collect::<Vec<_>>(), [720, 360]);
        assert_eq!(plan.audio_extra, [96_000, 64_000]);
    }
}
