//! The multivariant playlist (LLHLS-33, LLHLS-34), written by `m3u8-rs`.

use std::collections::HashMap;

use aqueduct_common::codec::VideoRange;
use m3u8_rs::{
    AlternativeMedia, AlternativeMediaType, ExtTag, MasterPlaylist, QuotedOrUnquoted, Resolution,
    VariantStream,
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
    /// Video renditions, in any order.
    pub videos: Vec<Video>,
    /// Sounds, shared by all of them (TL-18); the first is the one that plays where nobody chooses.
    pub sounds: Vec<Sound>,
    /// Every segment of every rendition begins with a sync sample.
    pub independent: bool,
    /// Players may ask which edges to play from.
    pub steered: bool,
}

/// Where players ask, relative to this playlist, so that all edges serve the same bytes. Variants name no pathway: they are
/// the pathway `.`, which is the group of edges that the playlist came from (LLHLS-36).
const STEERING: &str = "SERVER-URI=\"steering.json\",PATHWAY-ID=\".\"";

/// GROUP-ID of the sounds.
const GROUP: &str = "audio";

/// Bits a second of the variant to start with, as nearly as there is one (LLHLS-34).
const START: u64 = 2_000_000;

/// The playlist's text.
pub fn render(ladder: &Ladder) -> String {
    let sounds = &ladder.sounds;
    let mut variants: Vec<_> = ladder.videos.iter().map(|video| of_video(video, sounds)).collect();
    in_order(&mut variants);
    variants.extend(sounds.first().map(|sound| of_sound(sound, ladder.videos.is_empty())));
    let grouped: &[Sound] = if ladder.videos.is_empty() { &[] } else { sounds };
    let playlist = MasterPlaylist {
        version: Some(VERSION),
        variants,
        independent_segments: ladder.independent,
        alternatives: group(grouped),
        unknown_tags: ladder.steered.then(steering).into_iter().collect(),
        ..MasterPlaylist::default()
    };
    let mut text = Vec::new();
    // Writing to memory cannot fail, and all that is written is text.
    let _ = playlist.write_to(&mut text);
    String::from_utf8_lossy(&text).into_owned()
}

fn steering() -> ExtTag {
    ExtTag { tag: "X-CONTENT-STEERING".to_owned(), rest: Some(STEERING.to_owned()) }
}

/// The one to start with first, the others from the heaviest down.
fn in_order(variants: &mut Vec<VariantStream>) {
    variants.sort_by_key(|variant| std::cmp::Reverse(variant.bandwidth));
    let off = |(_, variant): &(usize, &VariantStream)| variant.bandwidth.abs_diff(START);
    if let Some((start, _)) = variants.iter().enumerate().min_by_key(off) {
        let start = variants.remove(start);
        variants.insert(0, start);
    }
}

fn of_video(video: &Video, sounds: &[Sound]) -> VariantStream {
    // With whatever sound somebody chooses.
    let heaviest = sounds.iter().map(|sound| sound.rate).fold(Rate::default(), |most, rate| Rate {
        peak: most.peak.max(rate.peak),
        average: most.average.max(rate.average),
    });
    let rate = video.rate + heaviest;
    let mut codecs = vec![video.codec.as_str()];
    for sound in sounds {
        if !codecs.contains(&sound.codec.as_str()) {
            codecs.push(&sound.codec);
        }
    }
    let range = match video.range {
        VideoRange::Sdr => "SDR",
        VideoRange::Pq => "PQ",
        VideoRange::Hlg => "HLG",
    };
    VariantStream {
        uri: video.uri.clone(),
        bandwidth: rate.peak,
        average_bandwidth: Some(rate.average),
        codecs: Some(codecs.join(",")),
        resolution: Some(Resolution { width: video.size.0.into(), height: video.size.1.into() }),
        frame_rate: video.millifps.map(|rate| rate as f64 / 1_000.0),
        audio: (!sounds.is_empty()).then(|| GROUP.to_owned()),
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

/// The group's renditions: each with a name of its own, the first one the default.
fn group(sounds: &[Sound]) -> Vec<AlternativeMedia> {
    let mut group: Vec<AlternativeMedia> = Vec::new();
    for sound in sounds {
        let known = sound.language != "und";
        let plain = if known { sound.language.clone() } else { "Audio".to_owned() };
        let named = |name: &String| group.iter().any(|other| &other.name == name);
        let numbered = (2..).map(|number| format!("{plain} {number}"));
        let name = std::iter::once(plain.clone()).chain(numbered).find(|name| !named(name));
        group.push(AlternativeMedia {
            media_type: AlternativeMediaType::Audio,
            uri: Some(sound.uri.clone()),
            group_id: GROUP.to_owned(),
            language: known.then(|| sound.language.clone()),
            name: name.unwrap_or(plain),
            default: group.is_empty(),
            autoselect: true,
            channels: Some(sound.channels.to_string()),
            ..AlternativeMedia::default()
        });
    }
    group
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
        let ladder =
            Ladder { videos: vec![video()], sounds: vec![sound()], independent: true, steered: false };
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
    fn steering_is_one_more_line() {
        let plain =
            Ladder { videos: vec![video()], sounds: vec![sound()], independent: true, steered: false };
        let text = render(&Ladder { steered: true, ..plain.clone() });
        let line = "#EXT-X-CONTENT-STEERING:SERVER-URI=\"steering.json\",PATHWAY-ID=\".\"\n";
        assert_eq!(text.replace(line, ""), render(&plain));
        assert_eq!(text.matches("#EXT-X-CONTENT-STEERING").count(), 1);
    }

    #[test]
    fn picture_alone_and_sound_alone() {
        let text =
            render(&Ladder { videos: vec![video()], sounds: Vec::new(), independent: false, steered: false });
        assert!(
            !text.contains("AUDIO") && !text.contains("INDEPENDENT") && text.contains("\"avc1.640028\""),
            "{text}"
        );
        let text =
            render(&Ladder { videos: Vec::new(), sounds: vec![sound()], independent: true, steered: false });
        assert!(!text.contains("EXT-X-MEDIA") && !text.contains("AUDIO="), "{text}");
        assert!(text.ends_with("CODECS=\"mp4a.40.2\"\nt60spc/a0/media.m3u8\n"), "{text}");
    }

    #[test]
    fn a_known_language_is_named_and_hdr_says_so() {
        let sound = Sound { language: "de".into(), channels: 6, ..sound() };
        let video = Video { range: VideoRange::Pq, ..video() };
        let text =
            render(&Ladder { videos: vec![video], sounds: vec![sound], independent: true, steered: false });
        assert!(text.contains("LANGUAGE=\"de\"") && text.contains("CHANNELS=\"6\""), "{text}");
        assert!(text.contains("VIDEO-RANGE=PQ"), "{text}");
    }

    #[test]
    fn the_one_to_start_with_comes_first_and_the_rest_from_the_heaviest_down() {
        let of = |name: &str, peak: u64| Video {
            uri: format!("{name}.m3u8"),
            rate: Rate { peak, average: peak },
            ..video()
        };
        let videos =
            vec![of("top", 6_000_000), of("low", 600_000), of("mid", 1_900_000), of("high", 3_500_000)];
        let text = render(&Ladder { videos, sounds: vec![sound()], independent: true, steered: false });
        let order: Vec<&str> = text.lines().filter(|line| line.ends_with("m3u8")).collect();
        assert_eq!(order, ["mid.m3u8", "top.m3u8", "high.m3u8", "low.m3u8", "t60spc/a0/media.m3u8"]);
        assert_eq!(text.matches("AUDIO=\"audio\"").count(), 5);
    }

    #[test]
    fn sounds_of_several_languages_are_one_group() {
        let of = |uri: &str, language: &str, codec: &str, peak| Sound {
            uri: uri.into(),
            language: language.into(),
            codec: codec.into(),
            rate: Rate { peak, average: peak },
            ..sound()
        };
        let sounds = vec![
            of("a0", "en", "mp4a.40.2", 150_000),
            of("a1", "de", "opus", 200_000),
            of("a2", "en", "mp4a.40.2", 100_000),
        ];
        let text = render(&Ladder { videos: vec![video()], sounds, independent: true, steered: false });
        let media: Vec<&str> = text.lines().filter(|line| line.starts_with("#EXT-X-MEDIA:")).collect();
        assert_eq!(media.len(), 3);
        assert!(media[0].contains("LANGUAGE=\"en\",NAME=\"en\",DEFAULT=YES"), "{text}");
        assert!(
            media[1].contains("LANGUAGE=\"de\",NAME=\"de\"") && !media[1].contains("DEFAULT=YES"),
            "{text}"
        );
        assert!(media[2].contains("NAME=\"en 2\"") && media[2].contains("AUTOSELECT=YES"), "{text}");
        assert!(text.contains("BANDWIDTH=3650000"), "with the heaviest of them");
        assert!(text.contains("CODECS=\"avc1.640028,mp4a.40.2,opus\""), "{text}");
    }
}
