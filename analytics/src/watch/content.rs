//! For how long nothing has been to be seen or heard, and for how long the picture has stood still: from what the ingest
//! says of frames' sizes, and from the loudness where that is looked after.
//!
//! The limits are measured ([0015](../../../docs/decisions/0015-analytics.md)): an all but empty sync sample takes under
//! two bits for a block with arithmetic coding and about six without; frames in which nothing moves take next to nothing
//! beside their sync sample, once an encoder has done refining it.

use aqueduct_common::event::{IngestTick, PictureTick, SoundTick};

use crate::health::Second;

/// Loudness below which nothing is to be heard, in LUFS.
const SILENCE: f64 = -60.0;
/// Thousandths of a bit that each block of an empty sync sample takes at most,
const EMPTY_KEY: u32 = 2_500;
/// and without arithmetic coding, which H.264's Baseline profile lacks.
const EMPTY_BASELINE_KEY: u32 = 7_000;
/// The same of the frames between.
const EMPTY_INTER: u32 = 400;
/// Where so little is coded, nothing moves, whatever the sync sample took.
const NOTHING: u32 = 150;
/// Where frames are reordered, most are small anyway: nothing moves where they take so little, and so little of the sync
/// sample (one part in so many).
const STILL_REORDERED: (u32, u32) = (600, 250);
/// The same where each frame is coded by the one before.
const STILL: (u32, u32) = (1_000, 100);

/// Seconds, up to now.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Content {
    /// Of frames without sound,
    silent: u32,
    /// and of sound that is too quiet.
    quiet: u32,
    black: u32,
    frozen: u32,
}

impl Content {
    /// A second of the publisher's session. One without frames says nothing.
    pub(super) fn ingest(&mut self, tick: &IngestTick) {
        let count =
            |seconds: &mut u32, holds: bool| *seconds = if holds { seconds.saturating_add(1) } else { 0 };
        if tick.audio_frames > 0 {
            count(&mut self.silent, tick.silent_frames >= tick.audio_frames);
        }
        if let Some(picture) = tick.picture.filter(|_| tick.video_frames > 0) {
            let baseline = tick.codecs.iter().any(|codec| codec.starts_with("avc1.42"));
            count(&mut self.black, is_empty(picture, baseline));
            count(&mut self.frozen, stands_still(picture));
        } else if tick.video_frames == 0 && tick.audio_frames > 0 {
            // Nothing is shown any more, which is another matter.
            (self.black, self.frozen) = (0, 0);
        }
    }

    /// A second of the renditions' sound.
    pub(super) fn sound(&mut self, sound: &[SoundTick]) {
        let quiet = |sound: &SoundTick| sound.short_term.is_none_or(|loudness| loudness < SILENCE);
        let quiet = !sound.is_empty() && sound.iter().all(quiet);
        self.quiet = if quiet { self.quiet.saturating_add(1) } else { 0 };
    }

    /// Writes it into what a second brought.
    pub(super) fn write(&self, second: &mut Second) {
        second.silent = self.silent.max(self.quiet);
        (second.black, second.frozen) = (self.black, self.frozen);
    }
}

fn is_empty(picture: PictureTick, baseline: bool) -> bool {
    let key = if baseline { EMPTY_BASELINE_KEY } else { EMPTY_KEY };
    picture.key_millibits <= key && picture.inter_millibits.is_none_or(|inter| inter <= EMPTY_INTER)
}

fn stands_still(picture: PictureTick) -> bool {
    let Some(inter) = picture.inter_millibits else { return false };
    let (most, part) = if picture.reordered { STILL_REORDERED } else { STILL };
    inter <= NOTHING || (inter <= most && inter.saturating_mul(part) <= picture.key_millibits)
}
