//! What a second of a publisher's session looked like (RTMP-70).

use aqueduct_common::TrackKind;
use aqueduct_common::event::IngestTick;

use super::flicks;
use super::source::Placed;
use super::steadiness::Steadiness;

/// Figures since the last tick.
#[derive(Debug, Default)]
pub(super) struct Readings {
    frames: [u32; 2],
    keyframes: u32,
    last_key: Option<i64>,
    key_interval: Option<i64>,
    /// Largest (source time − arrival) of each track: its earliest frame.
    lead: [Option<i64>; 2],
    /// Of each track: pictures tell where there are any.
    steadiness: [Steadiness; 2],
}

impl Readings {
    /// Notes a frame as it came.
    pub(super) fn note(&mut self, placed: &Placed) {
        let slot = placed.frame.kind as usize;
        self.frames[slot] += 1;
        let lead = placed.time - placed.arrival.at;
        self.lead[slot] = Some(self.lead[slot].map_or(lead, |most| most.max(lead)));
        self.steadiness[slot].note(placed.time, placed.arrival.at);
        if placed.frame.kind == TrackKind::Video && placed.frame.sync {
            self.keyframes += 1;
            let before = self.last_key.replace(placed.time);
            self.key_interval =
                before.map(|before| placed.time - before).filter(|span| *span > 0).or(self.key_interval);
        }
    }

    /// Writes them into a tick and starts the next second.
    pub(super) fn take(&mut self, tick: &mut IngestTick) {
        let [video, audio] = std::mem::take(&mut self.frames);
        (tick.video_frames, tick.audio_frames) = (video, audio);
        tick.keyframes = std::mem::take(&mut self.keyframes);
        tick.keyframe_interval_micros = self.key_interval.map(flicks::micros);
        let [video, audio] = std::mem::take(&mut self.lead);
        tick.skew_micros = video.zip(audio).map(|(video, audio)| flicks::micros(audio - video));
        self.steadiness.iter_mut().for_each(Steadiness::second);
        let [pictures, sound] = &self.steadiness;
        tick.scatter_micros = pictures.scatter().or_else(|| sound.scatter()).map(flicks::micros);
        tick.drift_ppm = pictures.drift_ppm().or_else(|| sound.drift_ppm());
    }
}
