//! Which of a stream's tracks a target is sent. Pure.

use aqueduct_common::codec::{CodecConfig, ForeignCodec};
use aqueduct_common::{Track, TrackId, TrackKind, TrackSet};

use super::target::Form;

/// The source's own first video and audio track: what its publisher sent.
pub(super) const fn is_source(track: TrackId) -> bool {
    track.0 <= TrackId::AUDIO.0
}

/// What a target is sent of these tracks, or why it can be sent nothing.
pub(super) fn carried(form: Form, tracks: &TrackSet) -> Result<Vec<Track>, String> {
    let own: Vec<&Track> = tracks.tracks.iter().filter(|track| is_source(track.id)).collect();
    let taken: Vec<Track> =
        own.iter().filter(|track| fits(form, &track.codec)).map(|&track| track.clone()).collect();
    let missing = own.iter().find(|track| track.kind() == TrackKind::Video && !fits(form, &track.codec));
    match missing {
        Some(video) => Err(format!(
            "its video is {}, which {} does not carry here: {}",
            video.codec.rfc6381(),
            form.name(),
            form.instead()
        )),
        None if taken.is_empty() => Err(format!("nothing of it can be carried by {}", form.name())),
        None => Ok(taken),
    }
}

/// What is sent goes on as it is.
pub(super) fn is_same(before: &[Track], after: &[Track]) -> bool {
    let parts = |track: &Track| (track.id, track.timescale, track.codec.record().clone());
    before.len() == after.len() && before.iter().zip(after).all(|(a, b)| parts(a) == parts(b))
}

impl Form {
    const fn name(self) -> &'static str {
        match self {
            Self::Flv => "RTMP",
            Self::MpegTs => "SRT (MPEG-TS)",
        }
    }

    const fn instead(self) -> &'static str {
        match self {
            Self::Flv => "publish H.264, or push it by srt:// where the target takes that",
            Self::MpegTs => "publish H.264 or H.265",
        }
    }
}

fn fits(form: Form, codec: &CodecConfig) -> bool {
    match codec {
        CodecConfig::H264(_) | CodecConfig::Aac(_) => true,
        CodecConfig::Foreign(foreign) => foreign.codec == ForeignCodec::Mp3,
        CodecConfig::H265(_) => form == Form::MpegTs,
        CodecConfig::Av1(_) | CodecConfig::Vp9(_) | CodecConfig::Opus(_) | CodecConfig::ForeignVideo(_) => {
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aqueduct_common::codec::{AvcConfig, HevcConfig, OpusConfig, Picture};
    use aqueduct_common::track::Grid;
    use aqueduct_common::{MediaTime, Timescale};
    use bytes::Bytes;

    fn avc(profile: u8) -> CodecConfig {
        let (sps, pps, picture) = (Vec::new(), Vec::new(), Picture::default());
        let record = Bytes::copy_from_slice(&[1, profile, 0, 31]);
        CodecConfig::H264(AvcConfig { record, length_size: 4, sps, pps, picture })
    }

    fn track(id: u8, codec: CodecConfig) -> Track {
        let grid = Grid::Fixed(MediaTime::new(3_600, Timescale::VIDEO));
        let (timescale, language) = (Timescale::VIDEO, "und".to_owned());
        Track { id: TrackId(id), codec, timescale, grid, reorder_delay: 0, language, bandwidth: None }
    }

    fn opus() -> CodecConfig {
        CodecConfig::Opus(OpusConfig { record: Bytes::from_static(&[0]), channels: 2, pre_skip: 0 })
    }

    fn ids(form: Form, tracks: Vec<Track>) -> Result<Vec<u8>, String> {
        carried(form, &TrackSet { tracks }).map(|tracks| tracks.iter().map(|track| track.id.0).collect())
    }

    #[test]
    fn the_source_s_own_tracks_go_and_what_cannot_is_said() {
        assert_eq!(
            ids(Form::Flv, vec![track(0, avc(100)), track(2, avc(66)), track(16, avc(66))]),
            Ok(vec![0])
        );
        assert_eq!(ids(Form::Flv, vec![track(0, avc(100)), track(1, opus())]), Ok(vec![0]));
        assert_eq!(
            ids(Form::Flv, vec![track(1, opus())]),
            Err("nothing of it can be carried by RTMP".into())
        );
        let record = Bytes::from_static(&[
            1, 1, 0x60, 0, 0, 0, 0x90, 0, 0, 0, 0, 0, 93, 0xf0, 0, 0xfc, 0xfd, 0xf8, 0xf8, 0, 0, 3, 0,
        ]);
        let hevc = HevcConfig { record, length_size: 4, picture: Picture::default() };
        let hevc = || CodecConfig::H265(hevc.clone());
        assert_eq!(ids(Form::MpegTs, vec![track(0, hevc())]), Ok(vec![0]));
        let refused = ids(Form::Flv, vec![track(0, hevc())]).unwrap_err();
        assert!(
            refused.contains("which RTMP does not carry here") && refused.contains("srt://"),
            "{refused}"
        );
    }

    #[test]
    fn another_record_is_another_connection_and_a_language_is_not() {
        let before = [track(0, avc(100))];
        let spoken = [Track { language: "en".into(), ..track(0, avc(100)) }];
        assert!(is_same(&before, &spoken));
        assert!(!is_same(&before, &[track(0, avc(66))]));
        assert!(!is_same(&before, &[track(0, avc(100)), track(1, avc(66))]));
    }
}
