//! Which renditions a source gets: pure.
//!
//! [`plan`] looks at what is known of a stream and says which of its tracks pass through, which rungs and which sound
//! are encoded, and why in plain words. It reads no clock and asks no machine.

mod effort;
mod note;
mod rate;
mod rungs;
mod shape;
mod sound;
#[cfg(test)]
mod tests;

use std::time::Duration;

use aqueduct_common::codec::CodecConfig;
use aqueduct_common::time::MediaTime;
use aqueduct_common::track::{Grid, Track, TrackId};

use crate::config::{Passthrough, Plan};
use crate::protocol::{AudioJob, Mode, Preset, VideoJob};

pub use effort::{Cost, begin_with, cost};
pub(crate) use effort::{encode_picos, harder};
pub use note::{NotReady, Note, WhyNot};
pub use rate::Rate;
pub use rungs::advertised;
pub use sound::sound;

/// A video track of the source, and what was measured of it.
#[derive(Clone, Debug)]
pub struct Video<'a> {
    /// The track as the source announced it.
    pub track: &'a Track,
    /// What was measured.
    pub measured: Measured,
}

/// What samples tell that no header does. Nothing is known at the beginning; what is unknown is taken to be harmless.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Measured {
    /// How keyframes are spaced; `None` before the second one.
    pub keyframes: Option<Keyframes>,
    /// Mean bits a second.
    pub bitrate: Option<u64>,
    /// Mean spacing of frames.
    pub spacing: Option<MediaTime>,
    /// Frames do not lie on the grid that was announced, for good.
    pub off_grid: bool,
}

/// How keyframes are spaced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Keyframes {
    /// Longest time from one to the next.
    pub widest: MediaTime,
    /// Always an even number of frames apart, so that every second frame can be left out between any two.
    pub even: bool,
}

/// What a stream is made into.
#[derive(Clone, PartialEq, Debug)]
pub struct Ladder {
    /// How the rungs' frames lie on the timeline.
    pub mode: Mode,
    /// Source tracks that pass through untouched, in the order of the track set: pictures, then sound.
    pub through: Vec<TrackId>,
    /// What is encoded of the pictures.
    pub video: Option<VideoJob>,
    /// What is encoded of the sound.
    pub audio: Vec<AudioJob>,
    /// What was left out and why, for the stream's health.
    pub notes: Vec<Note>,
}

impl Ladder {
    /// Nothing is encoded: no worker is needed.
    pub const fn is_idle(&self) -> bool {
        self.video.is_none() && self.audio.is_empty()
    }

    /// Makes do with `budget` thousandths of a CPU: less effort first, then without the costliest rung, the top one
    /// (AVP-35), as long as one is left. Sets the effort; says which rungs are beyond it.
    pub fn fit(&mut self, source: &Video<'_>, budget: u32) -> Fit {
        let mut fit = Fit { fits: true, ..Fit::default() };
        let Some(job) = &mut self.video else { return fit };
        loop {
            let cost = cost(source, self.mode, job);
            let left = cost.rungs.iter().skip(fit.cut);
            fit.takes = left.fold(cost.source, |sum, rung| sum.saturating_add(*rung));
            if fit.takes <= budget {
                return fit;
            }
            match job.rungs.first().and_then(|rung| rung.preset.quicker()) {
                Some(preset) => job.rungs.iter_mut().for_each(|rung| rung.preset = preset),
                None if fit.cut + 1 < job.rungs.len() => fit.cut += 1,
                None => return Fit { fits: false, ..fit },
            }
        }
    }
}

/// How far a ladder goes on a machine that may not carry all of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Fit {
    /// So many of the topmost rungs are too much.
    pub cut: usize,
    /// Thousandths of a CPU that the others take.
    pub takes: u32,
    /// That is within the budget; else not even the smallest rung is.
    pub fits: bool,
    /// The smallest rung is made although it is beyond the budget: without it there is no picture.
    pub forced: bool,
}

/// Plans the pictures. `ready` are further video tracks of the source that may serve as rungs as they are (Enhanced
/// RTMP multitrack), `segment` is the length that segments aim at. The sound is [`sound`]'s to plan.
pub fn plan(
    video: &Video<'_>,
    ready: &[ReadyTrack<'_>],
    config: &Plan,
    segment: Duration,
    effort: Preset,
) -> Ladder {
    let mut notes = Vec::new();
    let why_not = why_not_through(video, config.passthrough, segment);
    let encodable = shape::encodable(video);
    let playable = video.track.codec.is_playable();
    let through = why_not.is_none() || (!encodable && playable);
    let mode = match through {
        true => Mode::Aligned,
        false => rate::regular(video, segment),
    };
    let (ready, refused) = if through { choose_ready(video, ready) } else { (Vec::new(), Vec::new()) };
    let wanted = rungs::Wanted { video, through, ready: &ready, mode, config, effort };
    let rungs = match encodable {
        true => wanted.rungs(&mut notes),
        false => Vec::new(),
    };
    notes.extend(why_not.filter(|_| !through).map(Note::SourceLeftOut));
    notes.extend(refused);
    if rungs.is_empty() {
        notes.push(Note::NothingEncoded { too_small: !encodable });
    }
    let passing = through.then_some(video.track.id).into_iter().chain(ready.iter().map(|track| track.id));
    Ladder {
        mode,
        through: passing.collect(),
        video: (!rungs.is_empty()).then_some(VideoJob { source: video.track.id, rungs }),
        audio: Vec::new(),
        notes,
    }
}

/// A further video track of the source, and what was seen of it.
#[derive(Clone, Debug)]
pub struct ReadyTrack<'a> {
    /// The track.
    pub track: &'a Track,
    /// Why it is no rung, by its samples; `None` as long as they lie where the first track's do.
    pub unfit: Option<NotReady>,
}

fn choose_ready<'a>(video: &Video<'_>, ready: &[ReadyTrack<'a>]) -> (Vec<&'a Track>, Vec<Note>) {
    let mut taken = Vec::new();
    let mut notes = Vec::new();
    for ReadyTrack { track, unfit } in ready {
        let why = match () {
            () if why_not_played(track).is_some() => Some(NotReady::Codec(track.codec.rfc6381())),
            () if track.grid != video.track.grid || track.timescale != video.track.timescale => {
                Some(NotReady::Rate)
            }
            () if track.reorder_delay != video.track.reorder_delay => Some(NotReady::Reordering),
            () => unfit.clone(),
        };
        match why {
            None => taken.push(*track),
            Some(why) => notes.push(Note::TrackLeftOut { track: track.id, why }),
        }
    }
    (taken, notes)
}

/// Why the source cannot be the top rendition (AVP-38, TL-41), or `None` where it can.
fn why_not_through(video: &Video<'_>, passthrough: Passthrough, segment: Duration) -> Option<WhyNot> {
    if let CodecConfig::ForeignVideo(pictures) = &video.track.codec {
        return Some(WhyNot::Unplayable(pictures.codec.name()));
    }
    match passthrough {
        Passthrough::Never => return Some(WhyNot::Forbidden),
        Passthrough::Always => return None,
        Passthrough::Auto => {}
    }
    if let Some(why) = why_not_played(video.track) {
        return Some(why);
    }
    if matches!(video.track.grid, Grid::Variable { .. }) || video.measured.off_grid {
        return Some(WhyNot::VariableRate);
    }
    let most = 2 * segment;
    let widest = video.measured.keyframes?.widest;
    let slack = MediaTime::as_flicks(video.track.grid.spacing()) / 2;
    let too_far = widest.as_flicks() > MediaTime::from_duration(most).as_flicks() + slack;
    too_far.then_some(WhyNot::KeyframesFarApart { widest, most })
}

/// Profiles of H.264 that every browser plays: Baseline, Main, High. All have 8 bits and 4:2:0 chroma.
const PLAYED_PROFILES: [u8; 3] = [66, 77, 100];

fn why_not_played(track: &Track) -> Option<WhyNot> {
    match &track.codec {
        CodecConfig::H264(config) => match config.record.get(1) {
            Some(profile) if PLAYED_PROFILES.contains(profile) => None,
            _ => Some(WhyNot::Profile(track.codec.rfc6381())),
        },
        _ => Some(WhyNot::Codec(track.codec.rfc6381())),
    }
}
