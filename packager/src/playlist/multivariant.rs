//! The multivariant playlist (LLHLS-33, LLHLS-34), written by `m3u8-rs`.

use std::collections::HashMap;

use aqueduct_common::codec::VideoRange;
use m3u8_rs::{
    AlternativeMedia, AlternativeMediaType, MasterPlaylist, QuotedOrUnquoted, Resolution, VariantStream,
};

use super::media::VERSION;

/// Bits per second, as stated to players.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Rate {
    /// Of the heaviest segment.
    pub peak: u64,
    /// In the long run.
    pub average: u64,
}

impl std::ops::Add for Rate {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { peak: self.peak + other.peak, average: self.average + other.average }
    }
}

/// A video rendition.
#[derive(Clone, PartialEq, Debug)]
pub struct Video {
    /// URI of its playlist.
    pub uri: String,
    /// RFC 6381 string.
    pub codec: String,
    /// Its own rate, without sound.
    pub rate: Rate,
    /// Displayed width and height.
    pub size: (u32, u32),
    /// Frames per 1 000 seconds.
    pub millifps: Option<u64>,
    /// VIDEO-RANGE.
    pub range: VideoRange,
}

/// A sound rendition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sound {
    /// URI of its playlist.
    pub uri: String,
    /// RFC 6381 string.
    pub codec: String,
    /// Its own rate.
    pub rate: Rate,
    /// Channels.
    pub channels: u16,
    /// RFC 5646 language; `und` is not printed.
    pub language: String,
}

/// Everything that the multivariant playlist says.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Ladder {
    /// Video renditions; the first is the one to start with.
    pub videos: Vec<Video>,
    /// The sound, shared by all of them (TL-18).
    pub sound: Option<Sound>,
    /// Every segment of every rendition begins with a sync sample.
    pub independent: bool,
}

/// GROUP-ID of the sound.
const GROUP: &str = "audio";

/// The playlist's text.
pub fn render(ladder: &Ladder) -> String {
    let sound = ladder.sound.as_ref();
    let mut variants: Vec<_> = ladder.videos.iter().map(|video| of_video(video, sound)).collect();
    variants.extend(sound.map(|sound| of_sound(sound, ladder.videos.is_empty())));
    let grouped = sound.filter(|_| !ladder.videos.is_empty());
    let playlist = MasterPlaylist {
        version: Some(VERSION),
        variants,
        independent_segments: ladder.independent,
        alternatives: grouped.map(group).into_iter().collect(),
        ..MasterPlaylist::default()
    };
    let mut text = Vec::new();
    // Writing to memory cannot fail, and all that is written is text.
    let _ = playlist.write_to(&mut text);
    String::from_utf8_lossy(&text).into_owned()
}

fn of_video(video: &Video, sound: Option<&Sound>) -> VariantStream {
    let rate = video.rate + sound.map(|sound| sound.rate).unwrap_or_default();
    let codecs = match sound {
        Some(sound) => format!("{},{}", video.codec, sound.codec),
        None => video.codec.clone(),
    };
    let range = match video.range {
        VideoRange::Sdr => "SDR",
        VideoRange::Pq => "PQ",
        VideoRange::Hlg => "HLG",
    };
    VariantStream {
        uri: video.uri.clone(),
        bandwidth: rate.peak,
        average_bandwidth: Some(rate.average),
        codecs: Some(codecs),
        resolution: Some(Resolution { width: video.size.0.into(), height: video.size.1.into() }),
        frame_rate: video.millifps.map(|rate| rate as f64 / 1_000.0),
        audio: sound.map(|_| GROUP.to_owned()),
        other_attributes: Some(HashMap::from([(
            "VIDEO-RANGE".to_owned(),
            QuotedOrUnquoted::Unquoted(range.to_owned()),
        )])),
        ..VariantStream::default()
    }
}

/// The variant of the sound alone: all there is, or a way to go on listening on a poor network.
fn of_sound(sound: &Sound, alone: bool) -> VariantStream {
    VariantStream {
        uri: sound.uri.clone(),
        bandwidth: sound.rate.peak,
        average_bandwidth: Some(sound.rate.average),
        codecs: Some(sound.codec.clone()),
        audio: (!alone).then(|| GROUP.to_owned()),
        ..VariantStream::default()
    }
}

fn group(sound: &Sound) -> AlternativeMedia {
    let known = sound.language != "und";
    AlternativeMedia {
        media_type: AlternativeMediaType::Audio,
        uri: Some(sound.uri.clone()),
        group_id: GROUP.to_owned(),
        language: known.then(|| sound.language.clone()),
        name: if known { sound.language.clone() } else { "Audio".to_owned() },
        default: true,
        autoselect: true,
        channels: Some(sound.channels.to_string()),
        ..AlternativeMedia::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn video() -> Video {
        Video {
            uri: "t60spc/v0/media.m3u8".into(),
            codec: "avc1.640028".into(),
            rate: Rate { peak: 3_450_000, average: 3_000_000 },
            size: (1_920, 1_080),
            millifps: Some(29_970),
            range: VideoRange::Sdr,
        }
    }

    fn sound() -> Sound {
        Sound {
            uri: "t60spc/a0/media.m3u8".into(),
            codec: "mp4a.40.2".into(),
            rate: Rate { peak: 150_000, average: 130_000 },
            channels: 2,
            language: "und".into(),
        }
    }

    #[test]
    fn picture_with_sound() {
        let ladder = Ladder { videos: vec![video()], sound: Some(sound()), independent: true };
        let expected = "\
#EXTM3U
#EXT-X-VERSION:9
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-MEDIA:TYPE=AUDIO,URI=\"t60spc/a0/media.m3u8\",GROUP-ID=\"audio\",NAME=\"Audio\",DEFAULT=YES,AUTOSELECT=YES,CHANNELS=\"2\"
#EXT-X-STREAM-INF:BANDWIDTH=3600000,AVERAGE-BANDWIDTH=3130000,CODECS=\"avc1.640028,mp4a.40.2\",RESOLUTION=1920x1080,FRAME-RATE=29.97,VIDEO-RANGE=SDR,AUDIO=\"audio\"
t60spc/v0/media.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=150000,AVERAGE-BANDWIDTH=130000,CODECS=\"mp4a.40.2\",AUDIO=\"audio\"
t60spc/a0/media.m3u8
";
        assert_eq!(render(&ladder), expected);
    }

    #[test]
    fn picture_alone_and_sound_alone() {
        let text = render(&Ladder { videos: vec![video()], sound: None, independent: false });
        assert!(
            !text.contains("AUDIO") && !text.contains("INDEPENDENT") && text.contains("\"avc1.640028\""),
            "{text}"
        );
        let text = render(&Ladder { videos: Vec::new(), sound: Some(sound()), independent: true });
        assert!(!text.contains("EXT-X-MEDIA") && !text.contains("AUDIO="), "{text}");
        assert!(text.ends_with("CODECS=\"mp4a.40.2\"\nt60spc/a0/media.m3u8\n"), "{text}");
    }

    #[test]
    fn a_known_language_is_named_and_hdr_says_so() {
        let sound = Sound { language: "de".into(), channels: 6, ..sound() };
        let video = Video { range: VideoRange::Pq, ..video() };
        let text = render(&Ladder { videos: vec![video], sound: Some(sound), independent: true });
        assert!(text.contains("LANGUAGE=\"de\"") && text.contains("CHANNELS=\"6\""), "{text}");
        assert!(text.contains("VIDEO-RANGE=PQ"), "{text}");
    }
}
