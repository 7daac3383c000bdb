//! Which sound passes through, and which is encoded.

use aqueduct_common::codec::CodecConfig;
use aqueduct_common::track::{Track, TrackId, TrackKind};

use crate::config::Plan;
use crate::protocol::AudioJob;

/// Number of the first encoded sound; encoded pictures have those from 16 on.
const FIRST: u8 = 32;
/// Most encoded sound renditions of a stream.
const MOST: usize = 32;
/// Bits a second of mono, where a stereo rendition has the usual 128 000 (AVP-17).
const fn for_channels(bits: u32, channels: u16) -> u32 {
    match channels {
        0 | 1 => bits / 2,
        _ => bits,
    }
}

/// Sound of the source that passes through untouched, and what is encoded of it: AAC passes unless its loudness is to be
/// changed, everything else becomes AAC-LC, and further bitrates are made of each source track by option.
pub fn sound(tracks: &[Track], config: &Plan) -> (Vec<TrackId>, Vec<AudioJob>) {
    let mut through = Vec::new();
    let mut jobs = Vec::new();
    for track in tracks.iter().filter(|track| track.kind() == TrackKind::Audio) {
        let is_aac = matches!(track.codec, CodecConfig::Aac(_));
        let channels = track.codec.sound().map_or(2, |(_, channels)| channels);
        let mut bitrates = config.audio_extra.clone();
        match is_aac && config.loudness.is_none() {
            true => through.push(track.id),
            false => bitrates.insert(0, config.audio_bitrate),
        }
        jobs.extend(bitrates.into_iter().map(|bits| AudioJob {
            source: track.id,
            track: TrackId(0),
            bitrate: for_channels(bits, channels),
            loudness: config.loudness,
        }));
    }
    jobs.truncate(MOST);
    for (at, job) in jobs.iter_mut().enumerate() {
        job.track = TrackId(FIRST + at as u8);
    }
    (through, jobs)
}
