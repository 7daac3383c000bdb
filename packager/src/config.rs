//! What an operator may set, and its checked form.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Settings of the packager, as they stand in the configuration file below `packager`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Length of a part that is aimed for; the frame grid decides the exact one. Sets the latency floor at about
    /// three parts. More, shorter parts cost requests.
    #[serde(with = "humantime_serde")]
    pub part: Duration,
    /// Length of a segment that is aimed for; segments end at the first keyframe from there on.
    #[serde(with = "humantime_serde")]
    pub segment: Duration,
    /// How much a media playlist lists, at least. More costs memory, not latency.
    #[serde(with = "humantime_serde")]
    pub window: Duration,
    /// How long a part or segment stays fetchable after it has left the playlist: for players that hold an older
    /// one. Costs memory like `window` does. Never less than three target durations (LLHLS-7).
    #[serde(with = "humantime_serde")]
    pub retention: Duration,
    /// A restart within this time of the last segment continues the stream's URLs and numbers; a later one begins
    /// anew.
    #[serde(with = "humantime_serde")]
    pub resume: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            part: Duration::from_millis(200),
            segment: Duration::from_secs(1),
            window: Duration::from_secs(8),
            retention: Duration::from_secs(10),
            resume: Duration::from_secs(30),
        }
    }
}

/// A [`Config`] whose values fit each other. The only way in is `TryFrom<Config>`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Plan {
    config: Config,
    steering: bool,
}

/// Why a [`Config`] was refused. The text names the key.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A length is outside the range in which players work.
    #[error("{key} is {}: set it to {} up to {}", millis(.is), millis(.least), millis(.most))]
    Range {
        /// The key, from the top of the file.
        key: &'static str,
        /// What it is.
        is: Duration,
        /// The least that is allowed.
        least: Duration,
        /// The most that is allowed.
        most: Duration,
    },
}

fn millis(span: &Duration) -> String {
    format!("{} ms", span.as_millis())
}

impl TryFrom<Config> for Plan {
    type Error = ConfigError;

    fn try_from(config: Config) -> Result<Self, ConfigError> {
        let within = |key, is: Duration, least: Duration, most: Duration| {
            if (least..=most).contains(&is) {
                Ok(())
            } else {
                Err(ConfigError::Range { key, is, least, most })
            }
        };
        let (second, hour) = (Duration::from_secs(1), Duration::from_secs(3_600));
        within("packager.segment", config.segment, second / 2, 10 * second)?;
        within("packager.part", config.part, second / 20, config.segment.min(second))?;
        within("packager.window", config.window, (3 * config.segment).max(4 * second), hour)?;
        within("packager.retention", config.retention, second, hour)?;
        within("packager.resume", config.resume, Duration::ZERO, hour)?;
        Ok(Self { config, steering: false })
    }
}

impl Plan {
    /// The same, with multivariant playlists that name where players are told which edges to play from (LLHLS-36).
    #[must_use]
    pub fn steered(self, steering: bool) -> Self {
        Self { steering, ..self }
    }

    /// Multivariant playlists name the steering.
    pub(crate) fn is_steered(&self) -> bool {
        self.steering
    }

    /// Length of a part that is aimed for.
    pub fn part(&self) -> Duration {
        self.config.part
    }

    /// Length of a segment that is aimed for.
    pub fn segment(&self) -> Duration {
        self.config.segment
    }

    /// How much a playlist lists, at least.
    pub fn window(&self) -> Duration {
        self.config.window
    }

    /// How long an object stays fetchable after it has left the playlist, at least.
    pub fn retention(&self) -> Duration {
        self.config.retention
    }

    /// How old a checkpoint may be to be continued.
    pub fn resume(&self) -> Duration {
        self.config.resume
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_a_plan() {
        assert_eq!(Plan::try_from(Config::default()), Ok(Plan::default()));
    }

    #[test]
    fn a_refusal_names_the_key_and_what_to_set() {
        let config = Config { part: Duration::from_millis(20), ..Config::default() };
        let error = Plan::try_from(config).unwrap_err().to_string();
        assert_eq!(error, "packager.part is 20 ms: set it to 50 ms up to 1000 ms");
        let config = Config { window: Duration::from_secs(2), ..Config::default() };
        assert!(Plan::try_from(config).unwrap_err().to_string().starts_with("packager.window"));
    }
}
