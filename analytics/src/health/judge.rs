//! What is wrong with a second, by the table of QOE section 4.

use aqueduct_common::event::Advice;

use super::{Health, Second, Severity};
use crate::streams::State;

/// Seconds after a publisher came before anything is judged: encoders and networks settle.
const SETTLES: u32 = 6;
/// A picture that moves has at least so many frames a second, in thousandths.
const LEAST_MILLIFPS: u32 = 15_000;
/// What an encoder is told to set then.
const USUAL_MILLIFPS: u32 = 30_000;
/// So many stalls of the uplink within three minutes are a habit.
const HABIT: usize = 3;
/// Sessions below which viewers' figures are worth knowing and no more (QOE-27).
const POPULATION: u64 = 50;

/// Something that is so at this second.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Finding {
    pub(super) reason: &'static str,
    pub(super) severity: Severity,
    pub(super) text: String,
    pub(super) advice: Option<Advice>,
    /// Nothing plays on.
    pub(super) stalls: bool,
}

impl Finding {
    pub(super) fn new(reason: &'static str, severity: Severity, text: String) -> Self {
        Self { reason, severity, text, advice: None, stalls: false }
    }

    pub(super) fn advising(mut self, advice: Advice) -> Self {
        self.advice = Some(advice);
        self
    }

    /// Seconds that it lasts before it is certain.
    pub(super) fn enters_after(&self) -> u32 {
        match self.reason {
            "no-data" | "no-parts" | "keyframes" | "rendition" | "silent" | "black" | "frozen" => 1,
            "missing-frames" | "uplink-stalls" | "uneven-keyframes" => 3,
            "rebuffering" => 10,
            _ => 5,
        }
    }

    /// Seconds that it is gone before it is over: twice as long, so that nothing flickers (QOE-26).
    pub(super) fn leaves_after(&self) -> u32 {
        match self.reason {
            "no-data" | "no-parts" => 2,
            // These have lasted before they are found, and end at once.
            "silent" | "black" | "frozen" => 3,
            _ => 10,
        }
    }
}

pub(super) fn graded(value: f64, warning: f64, critical: f64) -> Option<Severity> {
    if value > critical {
        Some(Severity::Critical)
    } else if value > warning {
        Some(Severity::Warning)
    } else {
        None
    }
}

impl Health {
    pub(super) fn judge(&self, second: &Second, life: State) -> Vec<Finding> {
        let mut found: Vec<Finding> = self.stopped(second, life).into_iter().collect();
        if !found.is_empty() || self.age < SETTLES {
            return found;
        }
        let of_source = [
            self.frame_rate(second),
            self.bitrate(),
            self.keyframes(second),
            self.missing(second),
            self.skew(),
            self.round_trip(second),
            self.uplink(),
            silence(second),
            empty(second),
            still(second),
        ];
        found.extend(of_source.into_iter().flatten());
        found.extend(self.steadiness(second));
        found.extend([self.encoder(second), self.packager(second), viewers(second)].into_iter().flatten());
        found.extend(second.lost.iter().take(1).map(|(name, why)| {
            let more = if second.lost.len() > 1 {
                format!(" and {} more", second.lost.len() - 1)
            } else {
                String::new()
            };
            let text = format!(
                "{name}{more} is not made: {}.",
                if why.is_empty() { "its encoder failed" } else { why }
            );
            Finding::new("rendition", Severity::Warning, text)
        }));
        found
    }

    /// Nothing comes, or nothing goes out.
    fn stopped(&self, second: &Second, life: State) -> Option<Finding> {
        let stalled = |reason, text| {
            let mut finding = Finding::new(reason, Severity::Critical, text);
            finding.stalls = true;
            finding
        };
        if self.idle >= 3 {
            let text = format!("Nothing has come from the publisher for {} s.", self.idle);
            return Some(stalled("no-data", text));
        }
        let dry = life == State::Live && self.dry >= 4 && second.has_video;
        dry.then(|| {
            let text = format!("Media comes, and nothing has been published for {} s.", self.dry);
            stalled("no-parts", text)
        })
    }

    fn frame_rate(&self, second: &Second) -> Option<Finding> {
        let seconds = self.last(5);
        if !second.has_video || seconds.clone().count() < 5 {
            return None;
        }
        let is = seconds.map(|past| past.frames).sum::<u32>() * 200;
        let should = self.expected.map_or(LEAST_MILLIFPS, |expected| expected.max(LEAST_MILLIFPS));
        let share = f64::from(is) / f64::from(should);
        let severity = match () {
            () if share < 0.8 => Severity::Critical,
            () if share < 0.95 => Severity::Warning,
            () => return None,
        };
        let should =
            if self.expected.is_none_or(|rate| rate < LEAST_MILLIFPS) { USUAL_MILLIFPS } else { should };
        let severity = if should == USUAL_MILLIFPS && self.expected.is_some_and(|rate| rate < LEAST_MILLIFPS)
        {
            Severity::Warning
        } else {
            severity
        };
        let text = format!(
            "{:.1} of {:.1} frames a second come from the encoder.",
            f64::from(is) / 1e3,
            f64::from(should) / 1e3
        );
        let advice = Advice::LowFrameRate { is_millifps: is, should_millifps: should };
        Some(Finding::new("low-fps", severity, text).advising(advice))
    }

    fn bitrate(&self) -> Option<Finding> {
        let usual = self.usual_bits()?;
        let is = self.last(5).map(|past| past.bits).sum::<u64>() / 5;
        let share = is as f64 / usual as f64;
        let severity = match () {
            () if share < 0.2 => Severity::Critical,
            () if share < 0.5 => Severity::Warning,
            () => return None,
        };
        let kbps = |bits: u64| u32::try_from(bits / 1_000).unwrap_or(u32::MAX);
        let text = format!("The source sends {} kbit/s, and sent {} before.", kbps(is), kbps(usual));
        let advice = Advice::BitrateCollapse { is_kbps: kbps(is), was_kbps: kbps(usual) };
        Some(Finding::new("bitrate", severity, text).advising(advice))
    }

    fn keyframes(&self, second: &Second) -> Option<Finding> {
        let waiting = f64::from(self.keyless);
        let between = second.key_interval.map_or(0.0, |micros| micros as f64 / 1e6);
        let seconds = between.max(waiting);
        let severity = graded(seconds, 4.0, 8.0).filter(|_| second.has_video)?;
        let text = format!("Keyframes are {seconds:.1} s apart: segments are long, and players start late.");
        Some(Finding::new("keyframes", severity, text))
    }

    fn missing(&self, second: &Second) -> Option<Finding> {
        let frames: u32 = self.last(10).map(|past| past.missing).sum();
        let rate = second.grid_millifps.or(self.expected)?;
        let millis = u64::from(frames) * 1_000_000 / u64::from(rate.max(1));
        let severity = graded(millis as f64, 200.0, 1_000.0)?;
        let text = format!("{millis} ms of picture were missing in the last 10 s.");
        let millis = u32::try_from(millis).unwrap_or(u32::MAX);
        Some(Finding::new("missing-frames", severity, text).advising(Advice::MissingFrames { millis }))
    }

    /// The median of ten seconds: single ones are the network's.
    fn skew(&self) -> Option<Finding> {
        let mut skews: Vec<i64> = self.last(10).filter_map(|past| past.skew).collect();
        if skews.len() < 6 {
            return None;
        }
        skews.sort_unstable();
        let millis = (skews[skews.len() / 2] / 1_000) as i32;
        let severity = graded(f64::from(millis.abs()), 80.0, 200.0)?;
        let leads = if millis > 0 { "leads" } else { "lags" };
        let text = format!("Audio {leads} by {} ms as it arrives.", millis.abs());
        Some(Finding::new("av-skew", severity, text).advising(Advice::AudioOffset { millis }))
    }

    fn round_trip(&self, second: &Second) -> Option<Finding> {
        let millis = second.rtt? as f64 / 1e3;
        let severity = graded(millis, 200.0, 500.0)?;
        let text = format!("The round trip to the publisher takes {millis:.0} ms.");
        let advice = Advice::LongRoundTrip { millis: millis as u32 };
        Some(Finding::new("round-trip", severity, text).advising(advice))
    }

    fn uplink(&self) -> Option<Finding> {
        let stalls = &self.stalls;
        let (first, last) = (stalls.front()?, stalls.back()?);
        let recent = self.age - last <= 60;
        if stalls.len() < HABIT || !recent {
            return None;
        }
        let every_seconds = (last - first) / (stalls.len() as u32 - 1);
        let text = format!("The uplink stalls about every {every_seconds} s.");
        let advice = Advice::UplinkStalls { every_seconds };
        Some(Finding::new("uplink-stalls", Severity::Warning, text).advising(advice))
    }

    fn encoder(&self, second: &Second) -> Option<Finding> {
        let dropped: u64 = self.last(10).map(|past| past.unencoded).sum();
        let slow = second.speed.filter(|speed| *speed < 1.1);
        let (severity, text) = match (slow, dropped) {
            (Some(speed), _) if speed < 1.0 => {
                (Severity::Critical, format!("Renditions are encoded at {speed:.2} × real time: too slowly."))
            }
            (_, 1..) => (
                Severity::Warning,
                format!("{dropped} frames were left out of the renditions in 10 s: encoding is behind."),
            ),
            (Some(speed), _) => (
                Severity::Warning,
                format!("Renditions are encoded at {speed:.2} × real time: barely in time."),
            ),
            (None, 0) => return None,
        };
        Some(Finding::new("encoder", severity, text))
    }

    fn packager(&self, second: &Second) -> Option<Finding> {
        let late = self.last(5).filter(|past| past.late_parts || past.parts == 0).count() >= 5;
        let (lag, target) = second.part_lag.zip(second.part_target).filter(|_| late)?;
        let severity = graded(f64::from(lag), f64::from(target) * 0.5, f64::from(target))?;
        let text = format!("Parts of {} ms are published {} ms late.", target / 1_000, lag / 1_000);
        Some(Finding::new("packager", severity, text))
    }
}

fn viewers(second: &Second) -> Option<Finding> {
    let (ratio, sessions) = second.rebuffer?;
    let severity = graded(ratio, 0.02, 0.05)?;
    let severity = if sessions < POPULATION { Severity::Info } else { severity };
    let text = format!("{:.1} % of viewing time was waiting, in {sessions} sessions.", ratio * 100.0);
    Some(Finding::new("rebuffering", severity, text))
}

/// Nothing is to be heard.
fn silence(second: &Second) -> Option<Finding> {
    let silent = second.silent;
    let severity = if silent > 15 { Severity::Warning } else { Severity::Info };
    (silent >= 5).then(|| {
        let text = format!("Nothing was to be heard for {silent} s.");
        Finding::new("silent", severity, text).advising(Advice::Silence { for_seconds: silent })
    })
}

/// Nothing is to be seen.
fn empty(second: &Second) -> Option<Finding> {
    let black = second.black;
    let severity = if black > 15 { Severity::Warning } else { Severity::Info };
    (black >= 5).then(|| {
        let text = format!("The picture has been black or empty for {black} s.");
        Finding::new("black", severity, text).advising(Advice::BlackPicture { for_seconds: black })
    })
}

/// The picture stands still. A slide does as well, so it is said and makes nothing worse.
fn still(second: &Second) -> Option<Finding> {
    let frozen = second.frozen;
    (frozen >= 8 && second.black == 0).then(|| {
        let text = format!("The picture has stood still for {frozen} s.");
        Finding::new("frozen", Severity::Info, text).advising(Advice::FrozenPicture { for_seconds: frozen })
    })
}
