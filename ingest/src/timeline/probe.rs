//! Holds a publisher's first frames until it is known what tracks there are and how frames are spaced (RTMP-51).

use aqueduct_common::TrackKind;

use super::flicks::SECOND;
use super::grid::{self, ENOUGH_FRAMES, Fit};
use super::known::Known;
use super::source::Placed;

/// Media that is waited for before a track counts as absent.
const TRACKS_WITHIN: i64 = 2 * SECOND;
/// Frames after the first that are waited for.
const TRACKS_AFTER: usize = 40;
/// How long a key frame is waited for where a video configuration came.
const KEY_WITHIN: i64 = 10 * SECOND;
/// How long slow frames are waited for to find their grid.
const GRID_WITHIN: i64 = 2 * SECOND;
/// Most that is held. Beyond, whatever came decides.
const HELD_FRAMES: usize = 2_048;
const HELD_BYTES: usize = 32 << 20;

/// The frames held.
#[derive(Debug, Default)]
pub(super) struct Probe {
    held: Vec<Placed>,
    bytes: usize,
    frames: [usize; 2],
    known: Option<Known>,
}

impl Probe {
    /// What need not be found out.
    pub(super) const fn expect(&mut self, known: Known) {
        self.known = Some(known);
    }

    /// The spacing of pictures that is known to be another than this one.
    pub(super) fn differs(&self, spacing: Option<i64>) -> bool {
        self.known.is_some_and(|known| known.has(TrackKind::Video) && known.spacing != spacing)
    }

    /// Holds one more. Video begins with a sync sample.
    pub(super) fn push(&mut self, placed: Placed) {
        if placed.frame.kind == TrackKind::Video && !placed.frame.sync && !self.has(TrackKind::Video) {
            return;
        }
        self.bytes += placed.frame.payload.len();
        self.frames[placed.frame.kind as usize] += 1;
        self.held.push(placed);
    }

    /// Drops the frames of a kind, whose configuration is not what follows.
    pub(super) fn forget(&mut self, kind: TrackKind) {
        self.held.retain(|placed| placed.frame.kind != kind);
        self.bytes = self.held.iter().map(|placed| placed.frame.payload.len()).sum();
        self.frames[kind as usize] = 0;
    }

    /// A frame of this kind came.
    pub(super) const fn has(&self, kind: TrackKind) -> bool {
        self.frames[kind as usize] > 0
    }

    /// Enough came to decide. `configured` says for which kinds a configuration came.
    pub(super) fn is_decided(&self, configured: [bool; 2]) -> bool {
        if self.held.len() >= HELD_FRAMES || self.bytes >= HELD_BYTES {
            return true;
        }
        let waited = self.waited();
        let [video, audio] = [self.has(TrackKind::Video), self.has(TrackKind::Audio)];
        let awaits_key = configured[TrackKind::Video as usize] && !video && waited < KEY_WITHIN;
        let is_due = |kind| {
            let known = self.known.is_none_or(|known| known.has(kind));
            known && waited < TRACKS_WITHIN && self.held.len() <= TRACKS_AFTER
        };
        let awaits_sound = !audio && is_due(TrackKind::Audio);
        let awaits_pictures = !video && is_due(TrackKind::Video);
        let counted = self.known.is_some() || self.frames[TrackKind::Video as usize] >= ENOUGH_FRAMES;
        let awaits_grid = video && !counted && waited < GRID_WITHIN;
        !(awaits_key || awaits_sound || awaits_pictures || awaits_grid)
    }

    /// Media or time that went by since the first frame, whichever is more.
    fn waited(&self) -> i64 {
        let (Some(first), Some(last)) = (self.held.first(), self.held.last()) else { return 0 };
        (last.time - first.time).max(last.arrival.at - first.arrival.at)
    }

    /// The first video frame, or the first frame where there is no video: where output begins.
    pub(super) fn first(&self) -> Option<&Placed> {
        let video = self.held.iter().find(|placed| placed.frame.kind == TrackKind::Video);
        video.or_else(|| self.held.first())
    }

    /// The first frame of a kind.
    pub(super) fn first_of(&self, kind: TrackKind) -> Option<&Placed> {
        self.held.iter().find(|placed| placed.frame.kind == kind)
    }

    /// The grid on which the video frames lie, and their widest spacing.
    pub(super) fn grid(&self) -> (Option<Fit>, i64) {
        let times: Vec<i64> = self.of(TrackKind::Video).map(|placed| placed.time).collect();
        let widest = times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0);
        let known = self.known.and_then(|known| grid::along(&times, known.spacing?));
        let widest = widest.max(self.known.map_or(0, |known| known.widest));
        (known.or_else(|| grid::fit(&times)), widest.clamp(0, SECOND))
    }

    /// The frames of a kind.
    pub(super) fn of(&self, kind: TrackKind) -> impl Iterator<Item = &Placed> {
        self.held.iter().filter(move |placed| placed.frame.kind == kind)
    }

    /// Gives the frames back, in the order they came.
    pub(super) fn into_frames(self) -> Vec<Placed> {
        self.held
    }
}
