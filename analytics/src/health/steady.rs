//! What is wrong with how media comes rather than with what it is: arrivals that scatter, clocks that drift, stamps that
//! step back, packets that are lost, keyframes at odd distances, and sound that is distorted (QOE section 4).

use aqueduct_common::event::Advice;

use super::judge::{Finding, graded};
use super::{Health, Second, Severity};

/// Distances of keyframes that are compared,
const INTERVALS: usize = 12;
/// and the fewest that tell anything.
const FEWEST_INTERVALS: usize = 6;
/// Packets of ten seconds below which a share says nothing.
const FEWEST_PACKETS: u64 = 200;

impl Health {
    /// Notes the distance of the newest keyframe from the one before it.
    pub(super) fn note_interval(&mut self, second: &Second) {
        let Some(interval) = second.key_interval.filter(|_| second.keyframes > 0) else { return };
        if self.intervals.len() >= INTERVALS {
            self.intervals.pop_front();
        }
        self.intervals.push_back(interval);
    }

    pub(super) fn steadiness(&self, second: &Second) -> impl Iterator<Item = Finding> {
        [scatter(second), drift(second), self.backward(), self.loss(), self.uneven_keyframes(), self.peaks()]
            .into_iter()
            .flatten()
    }

    fn backward(&self) -> Option<Finding> {
        let times: u32 = self.last(60).map(|past| past.backward).sum();
        let severity = graded(f64::from(times), 1.0, 30.0)?;
        let text = format!("Timestamps stood still or stepped back {times} times in the last minute.");
        Some(Finding::new("backward", severity, text).advising(Advice::TimestampsBack { times }))
    }

    fn loss(&self) -> Option<Finding> {
        let (lost, all) =
            self.last(10).fold((0, 0), |(lost, all), past| (lost + past.packets.0, all + past.packets.1));
        if all < FEWEST_PACKETS {
            return None;
        }
        let percent = lost as f64 * 100.0 / all as f64;
        let severity = graded(percent, 1.0, 5.0)?;
        let text = format!("{percent:.1} % of the packets were lost on the way here in the last 10 s.");
        let permille = (percent * 10.0) as u32;
        Some(Finding::new("loss", severity, text).advising(Advice::PacketLoss { permille }))
    }

    /// Segments are then as uneven as they are. Worth knowing, and no more: some encoders place keyframes where scenes
    /// change.
    fn uneven_keyframes(&self) -> Option<Finding> {
        let count = self.intervals.len();
        if count < FEWEST_INTERVALS {
            return None;
        }
        let mean = self.intervals.iter().sum::<i64>() as f64 / count as f64;
        let square = |interval: &i64| (*interval as f64 - mean).powi(2);
        let spread = (self.intervals.iter().map(square).sum::<f64>() / count as f64).sqrt() / mean.max(1.0);
        (spread > 0.3).then(|| {
            let (least, most) = (self.intervals.iter().min()?, self.intervals.iter().max()?);
            let text = format!(
                "Keyframes come at odd distances, {:.1} to {:.1} s: segments are as uneven.",
                *least as f64 / 1e6,
                *most as f64 / 1e6
            );
            Some(Finding::new("uneven-keyframes", Severity::Info, text))
        })?
    }

    /// Behind our own limiter and encoder: nothing that the streamer could change.
    fn peaks(&self) -> Option<Finding> {
        let peak = self.last(3).filter_map(|past| past.true_peak).reduce(f64::max)?;
        (peak > 0.0).then(|| {
            let text = format!("The sound of a rendition peaks at {peak:.1} dBTP and may be distorted.");
            Finding::new("peaks", Severity::Info, text)
        })
    }
}

fn scatter(second: &Second) -> Option<Finding> {
    let millis = second.scatter? / 1_000;
    let severity = graded(millis as f64, 300.0, 1_000.0)?;
    let text = format!("Media comes in bursts: the latest frames {millis} ms after the earliest.");
    let millis = u32::try_from(millis).unwrap_or(u32::MAX);
    Some(Finding::new("jitter", severity, text).advising(Advice::UnevenArrival { millis }))
}

fn drift(second: &Second) -> Option<Finding> {
    let ppm = second.drift_ppm?;
    let severity = graded(f64::from(ppm.unsigned_abs()), 200.0, 1_000.0)?;
    let how = if ppm > 0 { "fast" } else { "slow" };
    let text = format!("The source's clock runs {:.2} % {how}.", f64::from(ppm.unsigned_abs()) / 10_000.0);
    Some(Finding::new("clock-drift", severity, text).advising(Advice::ClockDrift { ppm }))
}
