//! How much is coded of picture and sound, by the sizes of frames and by what AAC says of its bands (QOE 4). Nothing is
//! decoded: black, frozen and silent media show in it, and it costs a few bytes of each frame.

use aqueduct_common::TrackKind;
use aqueduct_common::codec::{CodecConfig, aac};
use aqueduct_common::event::{IngestTick, PictureTick};

use crate::demux::CodedFrame;

/// Frames of a second that are looked at: more than any encoder sends.
const FRAMES: usize = 512;
/// What headers, timing and a run of skipped blocks take in a frame in which nothing moves.
const HEADERS: usize = 32;

/// What was coded since the last tick.
#[derive(Debug, Default)]
pub(super) struct Content {
    key: Option<u32>,
    inter: Vec<u32>,
    reordered: bool,
    silent: u32,
}

impl Content {
    /// Notes a frame as it came, coded with `config`.
    pub(super) fn note(&mut self, frame: &CodedFrame, config: &CodecConfig) {
        match frame.kind {
            TrackKind::Audio => self.silent += u32::from(is_silent(&frame.payload, config)),
            TrackKind::Video => {
                let Some(amount) = millibits(frame.payload.len(), config) else { return };
                self.reordered |= frame.cts != 0 || frame.disposable;
                if frame.sync {
                    self.key = Some(amount);
                } else if self.inter.len() < FRAMES {
                    self.inter.push(amount);
                }
            }
        }
    }

    /// Writes it into a tick and starts the next second.
    pub(super) fn take(&mut self, tick: &mut IngestTick) {
        tick.silent_frames = std::mem::take(&mut self.silent);
        let middle = self.inter.len() / 2;
        let median = (!self.inter.is_empty()).then(|| *self.inter.select_nth_unstable(middle).1);
        self.inter.clear();
        let reordered = self.reordered;
        tick.picture =
            self.key.map(|key| PictureTick { key_millibits: key, inter_millibits: median, reordered });
    }
}

/// Thousandths of a bit for each 16 × 16 pixels.
fn millibits(bytes: usize, config: &CodecConfig) -> Option<u32> {
    let picture = config.picture()?;
    let blocks = u64::from(picture.width.div_ceil(16)) * u64::from(picture.height.div_ceil(16));
    let bits = bytes.saturating_sub(HEADERS) as u64 * 8_000;
    Some(u32::try_from(bits / blocks.max(1)).unwrap_or(u32::MAX))
}

/// Sound of other codecs than these is taken to be heard.
fn is_silent(payload: &[u8], config: &CodecConfig) -> bool {
    match config {
        CodecConfig::Aac(_) => aac::is_silent(payload),
        // The range coder's first symbol (RFC 6716, 4.3), or a frame that is not sent at all.
        CodecConfig::Opus(_) => matches!(payload, [_] | [_, 0xFF, 0xFE]),
        _ => false,
    }
}
