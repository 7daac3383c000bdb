//! What the last second cost, gathered from all threads.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use aqueduct_common::TrackId;

use crate::protocol::{Report, RungReport, SoundReport};
use crate::sys::process_micros;

/// Figures of one rung since the last report.
#[derive(Debug, Default)]
struct Lane {
    frames: u64,
    cpu: u64,
    wall: Vec<u32>,
    bits: u64,
    quantisers: f64,
    quantified: u64,
    running: bool,
    encoder: String,
}

/// Shared by all threads of a worker. Counters are taken, and so begin anew, with each report.
#[derive(Debug, Default)]
pub(super) struct Stats {
    frames_in: AtomicU64,
    repeated: AtomicU64,
    decode: AtomicU64,
    scale: AtomicU64,
    /// Microseconds of video that were read and not yet decoded.
    waiting: AtomicI64,
    /// CPU time of the process up to the last report.
    cpu: AtomicU64,
    decoder: Mutex<String>,
    complexity: Mutex<Option<f32>>,
    lanes: Mutex<Vec<(TrackId, Lane)>>,
    sound: Mutex<Vec<SoundReport>>,
    stopped: AtomicBool,
}

/// One frame's cost in a rung.
#[derive(Clone, Copy, Debug)]
pub(super) struct Encoded {
    /// CPU time of the rung's thread, in microseconds.
    pub(super) cpu: u64,
    /// Time by the clock, in microseconds.
    pub(super) wall: u64,
    /// Bytes that came out.
    pub(super) bytes: usize,
    /// Its mean quantiser.
    pub(super) quantiser: Option<f32>,
}

impl Stats {
    /// A frame of so many microseconds was read.
    pub(super) fn read(&self, micros: i64) {
        self.frames_in.fetch_add(1, Ordering::Relaxed);
        self.waiting.fetch_add(micros, Ordering::Relaxed);
    }

    /// It was decoded and given to the rungs.
    pub(super) fn handled(&self, micros: i64) {
        self.waiting.fetch_sub(micros, Ordering::Relaxed);
    }

    /// CPU time of decoding and of scaling, in microseconds.
    pub(super) fn spent(&self, decode: u64, scale: u64) {
        self.decode.fetch_add(decode, Ordering::Relaxed);
        self.scale.fetch_add(scale, Ordering::Relaxed);
    }

    /// A picture was shown again.
    pub(super) fn repeat(&self) {
        self.repeated.fetch_add(1, Ordering::Relaxed);
    }

    /// What decodes from now on.
    pub(super) fn set_decoder(&self, name: &str) {
        name.clone_into(&mut self.decoder.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// The running complexity index.
    pub(super) fn set_complexity(&self, index: Option<f32>) {
        *self.complexity.lock().unwrap_or_else(PoisonError::into_inner) = index;
    }

    /// Levels of a sound rendition: they stand until the next ones.
    pub(super) fn set_sound(&self, report: SoundReport) {
        let mut sound = self.sound.lock().unwrap_or_else(PoisonError::into_inner);
        sound.retain(|old| old.track != report.track);
        sound.push(report);
        sound.sort_by_key(|report| report.track);
    }

    /// What encodes a rung from now on; `None` when it stopped.
    pub(super) fn set_encoder(&self, track: TrackId, name: Option<&str>) {
        self.lane(track, |lane| {
            lane.running = name.is_some();
            name.unwrap_or_default().clone_into(&mut lane.encoder);
        });
    }

    /// A frame of a rung came out.
    pub(super) fn encoded(&self, track: TrackId, frame: Encoded) {
        self.lane(track, |lane| {
            lane.frames += 1;
            lane.cpu += frame.cpu;
            lane.wall.push(u32::try_from(frame.wall).unwrap_or(u32::MAX));
            lane.bits += frame.bytes as u64 * 8;
            if let Some(quantiser) = frame.quantiser {
                lane.quantisers += f64::from(quantiser);
                lane.quantified += 1;
            }
        });
    }

    /// The worker acts out a hang: no more reports.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// The last second's report; `None` from a worker that acts out a hang.
    pub(super) fn take(&self) -> Option<Report> {
        if self.stopped.load(Ordering::Relaxed) {
            return None;
        }
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let encoders = lanes.iter().filter(|(_, lane)| lane.running).map(|(_, lane)| lane.encoder.clone());
        let encoders = encoders.collect();
        // One that has just stopped tells what it did before.
        let worked = lanes.iter_mut().filter(|(_, lane)| lane.running || lane.frames > 0);
        let rungs: Vec<RungReport> = worked.map(|(id, lane)| lane.take(*id)).collect();
        let waiting = self.waiting.load(Ordering::Relaxed).max(0) / 1_000;
        Some(Report {
            frames_in: self.frames_in.swap(0, Ordering::Relaxed),
            frames_out: rungs.iter().map(|rung| rung.frames).sum(),
            repeated: self.repeated.swap(0, Ordering::Relaxed),
            decode_micros: self.decode.swap(0, Ordering::Relaxed),
            scale_micros: self.scale.swap(0, Ordering::Relaxed),
            cpu_micros: process_micros().saturating_sub(self.cpu.swap(process_micros(), Ordering::Relaxed)),
            rungs,
            backlog_ms: u32::try_from(waiting).unwrap_or(u32::MAX),
            decoder: self.decoder.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            encoders,
            complexity: *self.complexity.lock().unwrap_or_else(PoisonError::into_inner),
            sound: self.sound.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        })
    }

    fn lane(&self, track: TrackId, change: impl FnOnce(&mut Lane)) {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let index = lanes.iter().position(|(id, _)| *id == track).unwrap_or(lanes.len());
        if index == lanes.len() {
            lanes.push((track, Lane::default()));
            lanes.sort_by_key(|(id, _)| *id);
        }
        if let Some((_, lane)) = lanes.iter_mut().find(|(id, _)| *id == track) {
            change(lane);
        }
    }
}

impl Lane {
    fn take(&mut self, track: TrackId) -> RungReport {
        let report = RungReport {
            track,
            frames: std::mem::take(&mut self.frames),
            encode_micros: std::mem::take(&mut self.cpu),
            encode_p95_micros: percentile(&mut self.wall, 95),
            bits: std::mem::take(&mut self.bits),
            mean_qp: (self.quantified > 0).then(|| (self.quantisers / self.quantified as f64) as f32),
        };
        self.wall.clear();
        (self.quantisers, self.quantified) = (0.0, 0);
        report
    }
}

/// The smallest value that this share of all values does not pass; 0 of none.
fn percentile(values: &mut [u32], percent: usize) -> u64 {
    values.sort_unstable();
    let rank = (values.len() * percent).div_ceil(100);
    rank.checked_sub(1).and_then(|index| values.get(index)).map_or(0, |value| u64::from(*value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_takes_what_it_tells() {
        let stats = Stats::default();
        stats.set_encoder(TrackId(17), Some("b"));
        stats.set_encoder(TrackId(16), Some("a"));
        for wall in 1..=100 {
            let quantiser = Some(if wall % 2 == 0 { 20.0 } else { 30.0 });
            stats.encoded(TrackId(16), Encoded { cpu: 10, wall, bytes: 100, quantiser });
        }
        stats.read(33_000);
        let report = stats.take().unwrap();
        assert_eq!(report.encoders, ["a", "b"]);
        let rung = &report.rungs[0];
        assert_eq!((rung.track, rung.frames, rung.encode_micros), (TrackId(16), 100, 1_000));
        assert_eq!((rung.encode_p95_micros, rung.bits, rung.mean_qp), (95, 80_000, Some(25.0)));
        assert_eq!((report.frames_in, report.frames_out, report.backlog_ms), (1, 100, 33));
        stats.handled(33_000);
        let next = stats.take().unwrap();
        assert_eq!((next.rungs[0].frames, next.frames_in, next.backlog_ms), (0, 0, 0));
    }

    #[test]
    fn a_stopped_rung_is_in_no_report_and_a_hung_worker_gives_none() {
        let stats = Stats::default();
        stats.set_encoder(TrackId(16), Some("a"));
        stats.set_encoder(TrackId(16), None);
        assert!(stats.take().unwrap().rungs.is_empty());
        stats.stop();
        assert_eq!(stats.take(), None);
    }
}
