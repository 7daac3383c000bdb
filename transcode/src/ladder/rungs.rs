//! The rungs: sizes and bitrates of AVP-38's table, or by hand.

use aqueduct_common::codec::CodecConfig;
use aqueduct_common::track::{Track, TrackId};

use super::note::Note;
use super::rate::Rate;
use super::shape::{SHORT_MIN, Shape};
use super::{Video, rate, shape};
use crate::config::{Plan, RungByHand};
use crate::protocol::{Mode, Preset, Rung, VideoCodec};

/// Below this an encoder has nothing to work with.
const BITRATE_MIN: u64 = 20_000;
/// Largest rung that is made without being asked for (AVP-38).
const SHORT_MAX: u32 = 1_080;
/// Standard rungs below the top: short side, then bits a second up to 30 frames a second, and above (the table of AVP-38;
/// those up to 540 lines then have half the frames).
const BELOW: [(u32, [u64; 2]); 5] = [
    (1_080, [4_500_000, 6_000_000]),
    (720, [2_500_000, 3_500_000]),
    (540, [1_500_000, 1_800_000]),
    (360, [700_000, 800_000]),
    (234, [250_000, 300_000]),
];
/// A top rung, between which bitrates are interpolated by the short side.
const TOP: [(u32, [u64; 2]); 9] = [
    (0, [60_000, 70_000]),
    (234, [500_000, 600_000]),
    (359, [500_000, 600_000]),
    (360, [700_000, 900_000]),
    (480, [1_400_000, 1_800_000]),
    (576, [1_400_000, 1_800_000]),
    (720, [2_800_000, 3_500_000]),
    (1_080, [4_500_000, 6_000_000]),
    (2_160, [16_000_000, 22_000_000]),
];
/// A rung has at least this times the bits of the one below it, in tenths (AVP-38).
const STEP_TENTHS: u64 = 15;
/// A standard rung may have fewer bits than the table says, to keep that step, down to this share in percent.
const LEAST_SHARE: u64 = 55;
/// Rungs up to this short side have half the frames of a source above 30 a second (AVP-26, AVP-38's table).
const HALF_RATE_UP_TO: u32 = 540;
/// Peak over average, in percent (AVP-30: 110 to 125).
const PEAK: u64 = 120;
/// What is advertised over the peak, in percent: a segment that follows easy pictures may also spend what the buffer
/// holds. The most seen over segments of a second was 107 % (real footage, libx264).
const ADVERTISED: u64 = 110;
/// The rate buffer in milliseconds (AVP-30: 750 to 1000).
const BUFFER_MS: u32 = 750;

/// Bits a second that a rung's segments keep to, for the playlist (AVP-30). What contains them comes on top.
pub fn advertised(rung: &Rung) -> u64 {
    u64::from(rung.peak) * ADVERTISED / 100
}

/// What rungs are made from.
pub(super) struct Wanted<'a> {
    pub(super) video: &'a Video<'a>,
    /// The source is the top rendition.
    pub(super) through: bool,
    /// Tracks of the source that serve as rungs as they are.
    pub(super) ready: &'a [&'a Track],
    pub(super) mode: Mode,
    pub(super) config: &'a Plan,
    pub(super) effort: Preset,
}

/// A rung before it has a number.
#[derive(Clone, Copy)]
struct Draft {
    shape: Shape,
    bitrate: u64,
    half_rate: bool,
    codec: VideoCodec,
}

impl Wanted<'_> {
    pub(super) fn rungs(&self, notes: &mut Vec<Note>) -> Vec<Rung> {
        let mut drafts = match self.config.ladder.is_empty() {
            true => self.made(),
            false => self.by_hand(notes),
        };
        // Rungs by hand may all be above the source, which then has to have one of its own size.
        if drafts.is_empty() && !self.video.track.codec.is_playable() {
            drafts = self.made();
        }
        drafts.retain(|draft| !self.ready.iter().any(|track| serves(track, draft.shape)));
        let number = |at: usize| TrackId(TrackId::FIRST_ENCODED.0.saturating_add(at as u8));
        drafts.into_iter().enumerate().map(|(at, draft)| self.rung(number(at), draft)).collect()
    }

    fn rung(&self, track: TrackId, draft: Draft) -> Rung {
        Rung {
            track,
            width: draft.shape.width,
            height: draft.shape.height,
            bitrate: draft.bitrate as u32,
            peak: (draft.bitrate * PEAK / 100) as u32,
            buffer_ms: BUFFER_MS,
            half_rate: draft.half_rate,
            codec: draft.codec,
            preset: self.effort,
            crf: self.config.crf,
        }
    }

    fn made(&self) -> Vec<Draft> {
        let shown = shape::shown(self.video);
        let top = shown.with_short(shown.short().min(SHORT_MAX));
        let fast = self.rate().above(30);
        let top_bits = self.capped(self.slowed(table(&TOP, top.short(), fast)), VideoCodec::H264);
        let mut drafts = Vec::new();
        // Bits and size of the rendition above the next rung; a source that was not measured is taken to be a usual one.
        let (mut above, mut size) = match self.through {
            true => {
                let usual = || self.slowed(table(&TOP, shown.short(), fast));
                (self.video.measured.bitrate.unwrap_or_else(usual), shown.short())
            }
            false => {
                drafts.push(self.draft(top, top_bits, false));
                (top_bits, top.short())
            }
        };
        for (short, bits) in self.below(shown.short(), top_bits) {
            let bitrate = self.capped(bits.min(above.saturating_mul(10) / STEP_TENTHS), VideoCodec::H264);
            let shape = shown.with_short(short);
            let worth = bitrate * 100 >= bits * LEAST_SHARE && bitrate > BITRATE_MIN;
            let smaller = shape.short() < size || shown.short() < 360;
            if worth && smaller && shape.short() >= SHORT_MIN {
                drafts.push(self.draft(shape, bitrate, self.halved(short)));
                (above, size) = (bitrate, shape.short());
            }
        }
        drafts
    }

    /// Rungs below the top, with the table's bits: the standard ones, or the same size with half the bits for a source
    /// below 360 lines.
    fn below(&self, source: u32, top_bits: u64) -> Vec<(u32, u64)> {
        if source < 360 {
            return vec![(source, top_bits / 2)];
        }
        let fast = usize::from(self.rate().above(30));
        let full_rate = |short| fast == 1 && short <= HALF_RATE_UP_TO && !self.halved(short);
        let sd = (480..=576).contains(&source);
        let standard = BELOW.into_iter().filter(|(short, _)| *short + 1 < source && (!sd || *short <= 360));
        // All frames of a fast source cost more bits than the table has for half of them.
        let bits = |short, bits: [u64; 2]| if full_rate(short) { bits[1] * 13 / 10 } else { bits[fast] };
        standard.map(|(short, both)| (short, self.slowed(bits(short, both)))).collect()
    }

    fn by_hand(&self, notes: &mut Vec<Note>) -> Vec<Draft> {
        let shown = shape::shown(self.video);
        let mut drafts: Vec<Draft> = Vec::new();
        for hand in &self.config.ladder {
            let codec = hand.codec.unwrap_or(VideoCodec::H264);
            let short = hand.height - hand.height % 2;
            if short > shown.short() {
                notes.push(Note::AboveSource { short });
                continue;
            }
            let bits = hand.bitrate.map(|bitrate| u64::from(bitrate.0));
            let bits = bits.unwrap_or_else(|| in_codec(self.table_bits(short), codec));
            let shape = shown.with_short(short);
            let bitrate = self.capped(bits, codec);
            let above = drafts.iter().rev().find(|draft| draft.codec == codec).map(|draft| draft.bitrate);
            if shape.short() < SHORT_MIN || above.is_some_and(|above| bitrate >= above) {
                notes.push(Note::NoGain { short });
                continue;
            }
            drafts.push(Draft { shape, bitrate, half_rate: self.half_by_hand(hand), codec });
        }
        if drafts.is_empty() && !self.through {
            // None fits below the source, and without one there would be no picture at all.
            drafts.extend(self.made().into_iter().take(1));
        }
        drafts
    }

    fn table_bits(&self, short: u32) -> u64 {
        let fast = self.rate().above(30);
        let standard = BELOW.iter().find(|(standard, _)| *standard == short);
        self.slowed(standard.map_or_else(|| table(&TOP, short, fast), |(_, bits)| bits[usize::from(fast)]))
    }

    fn draft(&self, shape: Shape, bitrate: u64, half_rate: bool) -> Draft {
        // What is too fast for any encoder loses every second frame (AVP-26).
        let half_rate = self.can_halve() && (half_rate || self.rate().above(60));
        Draft { shape, bitrate, half_rate, codec: VideoCodec::H264 }
    }

    fn half_by_hand(&self, hand: &RungByHand) -> bool {
        let least = hand.fps.unwrap_or(60);
        self.can_halve() && self.rate().above(least)
    }

    fn halved(&self, short: u32) -> bool {
        short <= HALF_RATE_UP_TO && self.rate().above(30) && self.can_halve()
    }

    /// Every second frame can go: keyframes are an even number of frames apart.
    fn can_halve(&self) -> bool {
        match self.mode {
            Mode::Aligned => self.video.measured.keyframes.is_none_or(|keyframes| keyframes.even),
            Mode::Regular { gop, .. } => gop.is_multiple_of(2),
        }
    }

    fn rate(&self) -> Rate {
        rate::of_mode(self.video, self.mode)
    }

    /// Bits of the table, which is for 15 frames a second and more; below that in proportion.
    fn slowed(&self, bits: u64) -> u64 {
        bits * self.rate().in_million_seconds().min(15_000_000) / 15_000_000
    }

    /// At most 95 % of what the source spends on the same picture, counted in the rung's codec (AVP-38, AVP-39).
    fn capped(&self, bits: u64, codec: VideoCodec) -> u64 {
        let source = match self.video.track.codec {
            CodecConfig::H264(_) => VideoCodec::H264,
            CodecConfig::Av1(_) => VideoCodec::Av1,
            _ => VideoCodec::H265,
        };
        let cap = self
            .video
            .measured
            .bitrate
            .map(|bits| in_codec(bits.saturating_mul(95) / in_percent(source), codec));
        bits.min(cap.unwrap_or(u64::MAX)).clamp(BITRATE_MIN, u64::from(u32::MAX) / 2)
    }
}

/// What a codec needs for the picture that H.264 has with 100 (AVP-39).
const fn in_percent(codec: VideoCodec) -> u64 {
    match codec {
        VideoCodec::H264 => 100,
        VideoCodec::H265 => 65,
        VideoCodec::Av1 => 55,
    }
}

const fn in_codec(h264_bits: u64, codec: VideoCodec) -> u64 {
    h264_bits * in_percent(codec) / 100
}

/// Bits of a short side between the table's, by straight lines.
fn table(points: &[(u32, [u64; 2])], short: u32, fast: bool) -> u64 {
    let column = usize::from(fast);
    let bits = |point: &(u32, [u64; 2])| point.1[column];
    let above = points.iter().position(|(at, _)| *at >= short);
    match above {
        Some(0) | None => points.last().map_or(BITRATE_MIN, bits),
        Some(at) => {
            let (low, high) = (&points[at - 1], &points[at]);
            let part = u64::from(short - low.0);
            let whole = u64::from(high.0 - low.0);
            bits(low) + bits(high).saturating_sub(bits(low)) * part / whole
        }
    }
}

/// A track of the source is near enough in size to stand for a rung.
fn serves(track: &Track, shape: Shape) -> bool {
    let Some(picture) = track.codec.picture() else { return false };
    let (width, height) = picture.display();
    let short = width.min(height);
    (85..=118).contains(&(short * 100 / shape.short().max(1)))
}
