//! The beacon of our own page (QOE-12, QOE-13): counters since the session began, so that a lost one does not hurt.

use serde::Deserialize;

/// Milliseconds that a counter may reach: thirty days. More is nonsense.
const MOST_MILLIS: f64 = 30.0 * 86_400_000.0;
/// Characters of a session's name.
const LONGEST_NAME: usize = 64;
/// Events of one beacon that are read.
const MOST_EVENTS: usize = 64;

/// One beacon.
#[derive(Clone, PartialEq, Debug, Deserialize)]
pub struct Beacon {
    /// Version of this form: 1.
    pub v: u32,
    /// The session.
    pub sid: String,
    /// Number of the beacon in its session, from 1 on.
    pub seq: u32,
    /// What the player does.
    #[serde(default)]
    pub state: State,
    /// From the wish to play to the first picture, in milliseconds; told from then on.
    #[serde(default)]
    pub startup_ms: Option<f64>,
    /// Since the session began.
    #[serde(default)]
    pub cum: Counters,
    /// At this moment.
    #[serde(default)]
    pub now: Now,
    /// The server's answer that ended an attempt: 401 and 403 are no technical failures (QOE-17).
    #[serde(default)]
    pub status: Option<u16>,
    /// What happened since the last one.
    #[serde(default)]
    pub events: Vec<Happened>,
}

/// What the player does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// No picture yet.
    #[default]
    Starting,
    /// It plays.
    Playing,
    /// It should play, and cannot.
    Stalled,
    /// The viewer paused it.
    Paused,
    /// The stream is over, or away.
    Waiting,
    /// The page is being left.
    Left,
    /// It failed for good.
    Failed,
}

/// Sums since the session began.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Counters {
    /// Milliseconds of playing.
    pub play_ms: f64,
    /// Milliseconds of stalls.
    pub stall_ms: f64,
    /// Stalls.
    pub stalls: f64,
    /// Switches to a better rendition.
    pub up: f64,
    /// Switches to a worse one.
    pub down: f64,
    /// Frames that were not shown.
    pub dropped: f64,
    /// Frames that came.
    pub frames: f64,
    /// Bitrate on screen times playing, in kilobits a second times milliseconds.
    pub bitrate_ms: f64,
    /// Latency times playing, in milliseconds squared.
    pub latency_ms: f64,
    /// Milliseconds of playing in which the latency was known.
    pub latency_known_ms: f64,
}

/// What holds at this moment.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Now {
    /// Height on screen, in pixels.
    pub height: Option<f64>,
    /// Bitrate on screen, in kilobits a second.
    pub kbps: Option<f64>,
    /// From capture to screen, in milliseconds.
    pub latency_ms: Option<f64>,
    /// Buffered media, in milliseconds.
    pub buffer_ms: Option<f64>,
}

/// Something that happened.
#[derive(Clone, PartialEq, Debug, Deserialize)]
pub struct Happened {
    /// What: `stall`, `switch`, `error`, …
    pub e: String,
}

/// Why a text is no beacon.
#[derive(Debug, thiserror::Error)]
pub enum BadBeacon {
    /// No JSON, or not of this form.
    #[error("not a beacon: {0}")]
    Form(#[from] serde_json::Error),
    /// A later version.
    #[error("version {0} is not known")]
    Version(u32),
    /// No session's name.
    #[error("the session's name is empty or too long")]
    Session,
}

/// Reads one. Numbers that make no sense are brought to those that do.
pub fn read(text: &str) -> Result<Beacon, BadBeacon> {
    let mut beacon: Beacon = serde_json::from_str(text)?;
    if beacon.v != 1 {
        return Err(BadBeacon::Version(beacon.v));
    }
    let fits = (1..=LONGEST_NAME).contains(&beacon.sid.len());
    if !fits || !beacon.sid.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(BadBeacon::Session);
    }
    beacon.events.truncate(MOST_EVENTS);
    let sane =
        |value: &mut f64, most: f64| *value = if value.is_finite() { value.clamp(0.0, most) } else { 0.0 };
    let cum = &mut beacon.cum;
    for value in [&mut cum.play_ms, &mut cum.stall_ms, &mut cum.latency_known_ms] {
        sane(value, MOST_MILLIS);
    }
    for value in [&mut cum.stalls, &mut cum.up, &mut cum.down] {
        sane(value, 1e6);
    }
    sane(&mut cum.dropped, 1e9);
    sane(&mut cum.frames, 1e9);
    sane(&mut cum.bitrate_ms, MOST_MILLIS * 200_000.0);
    sane(&mut cum.latency_ms, MOST_MILLIS * 3_600_000.0);
    let possible = |value: &mut Option<f64>, most: f64| {
        *value = value.filter(|value| value.is_finite() && (0.0..=most).contains(value));
    };
    possible(&mut beacon.startup_ms, 3_600_000.0);
    possible(&mut beacon.now.height, 20_000.0);
    possible(&mut beacon.now.kbps, 200_000.0);
    possible(&mut beacon.now.latency_ms, 3_600_000.0);
    possible(&mut beacon.now.buffer_ms, 600_000.0);
    Ok(beacon)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_beacon_is_read_as_far_as_it_makes_sense() {
        let beacon = read(
            r#"{"v":1,"sid":"s1","seq":3,"state":"playing","startup_ms":412.5,"later":[],
               "cum":{"play_ms":1e300,"stall_ms":-4,"stalls":2},"now":{"latency_ms":900,"height":-1},"events":[{"e":"stall","ms":3}]}"#,
        )
        .unwrap();
        assert_eq!((beacon.cum.play_ms, beacon.cum.stall_ms, beacon.cum.stalls), (MOST_MILLIS, 0.0, 2.0));
        assert_eq!((beacon.now.latency_ms, beacon.now.height), (Some(900.0), None));
        assert_eq!((beacon.state, beacon.startup_ms, beacon.events.len()), (State::Playing, Some(412.5), 1));
        for bad in [
            "",
            "{}",
            r#"{"v":2,"sid":"a","seq":1}"#,
            r#"{"v":1,"sid":"","seq":1}"#,
            r#"{"v":1,"sid":"a b","seq":1}"#,
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_is_read_or_refused(text in "\\PC{0,200}") {
            let _ = read(&text);
            let _ = read(&format!(r#"{{"v":1,"sid":"a","seq":1,"cum":{{"play_ms":{text}}}}}"#));
        }
    }
}
