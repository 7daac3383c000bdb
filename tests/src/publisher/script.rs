//! Scripts: FLV tags with the times at which they are sent, and ways to bend them as real publishers do.

use super::amf::{self, Value};
use super::clip::{Clip, Frame, Track};

/// One message to send.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tag {
    /// Milliseconds since the push began at which it is sent.
    pub at: i64,
    /// Type: 8 audio, 9 video, 18 data.
    pub kind: u8,
    /// Milliseconds as they go over the wire.
    pub timestamp: u32,
    /// The body.
    pub body: Vec<u8>,
}

/// A whole push.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Script {
    /// Its tags in the order in which they are sent.
    pub tags: Vec<Tag>,
}

/// How video and audio are wrapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Wrapping {
    /// FLV's old tags, as ffmpeg 5 and OBS write H.264 and AAC.
    #[default]
    Legacy,
    /// Enhanced RTMP's headers with a FourCC.
    Enhanced,
    /// Enhanced RTMP, each frame as track 0 of a multitrack message.
    Multitrack,
    /// Enhanced RTMP, each frame as the track of this number in a multitrack message.
    Further(u8),
}

impl Script {
    /// Plays a clip over and over for `millis`: metadata, sequence headers, then frames in order of time.
    pub fn play(clip: &Clip, millis: i64, wrapping: Wrapping) -> Self {
        let mut tags = vec![metadata(clip)];
        let mut frames = Vec::new();
        for (kind, track) in tracks(clip) {
            let mut all = Self::track(clip, kind, track, millis, wrapping);
            frames.extend(all.split_off(1));
            tags.extend(all);
        }
        frames.sort_by_key(|tag| tag.at);
        tags.extend(frames);
        Self { tags }
    }

    /// One track: its header, then its frames over and over.
    fn track(clip: &Clip, kind: u8, track: &Track, millis: i64, wrapping: Wrapping) -> Vec<Tag> {
        let mut tags = vec![Tag { at: 0, kind, timestamp: 0, body: sequence_header(track, wrapping) }];
        let rounds = millis / clip.millis.max(1) + 1;
        for frame in (0..rounds).flat_map(|round| track.frames.iter().map(move |frame| (round, frame))) {
            let at = frame.0 * clip.millis + frame.1.dts;
            if at < millis {
                let body = coded_frame(track, frame.1, wrapping);
                tags.push(Tag { at, kind, timestamp: at as u32, body });
            }
        }
        tags
    }

    /// Adds further tracks, as OBS sends them (RTMP-56): each in messages of its own, numbered from 1 on by its kind, right
    /// behind the first track's of the same time. `videos` and `sounds` are played over and over like the first ones.
    #[must_use]
    pub fn beside(mut self, videos: &[&Clip], sounds: &[&Clip]) -> Self {
        let millis = self.tags.last().map_or(0, |tag| tag.at + 1);
        let videos =
            videos.iter().enumerate().filter_map(|(n, clip)| Some((n, 9, clip, clip.video.as_ref()?)));
        let sounds =
            sounds.iter().enumerate().filter_map(|(n, clip)| Some((n, 8, clip, clip.audio.as_ref()?)));
        for (n, kind, clip, track) in videos.chain(sounds) {
            let further = Script::track(clip, kind, track, millis, Wrapping::Further(n as u8 + 1));
            self.tags.extend(further);
        }
        // Stable: headers stay before frames, and the first tracks before the further ones.
        let header = |tag: &Tag| tag.at == 0 && (tag.kind == 18 || is_header(tag));
        self.tags.sort_by_key(|tag| if header(tag) { i64::MIN } else { tag.at });
        self
    }

    /// Says which languages the audio tracks are spoken in, as onMetaData's `audioTrackIdInfoMap` does.
    #[must_use]
    pub fn in_languages(mut self, languages: &[&str]) -> Self {
        let tracks = languages.iter().enumerate().map(|(n, language)| {
            (
                ["0", "1", "2", "3", "4", "5"][n.min(5)],
                Value::Object(vec![("language", Value::text(language))]),
            )
        });
        let pairs = vec![("audioTrackIdInfoMap", Value::Object(tracks.collect()))];
        let values = [Value::text("@setDataFrame"), Value::text("onMetaData"), Value::EcmaArray(1, pairs)];
        self.tags.insert(0, Tag { at: 0, kind: 18, timestamp: 0, body: amf::body(&values) });
        self
    }

    /// Says of the video that it is HDR10, as ffmpeg and OBS do behind its sequence header (RTMP-58): BT.2020, PQ, a
    /// display of P3 and D65 with 0.005 to 1,000 cd/m², and these MaxCLL and MaxFALL. `fourcc` is the codec's.
    #[must_use]
    pub fn in_hdr10(mut self, fourcc: [u8; 4], max_content: f64, max_average: f64) -> Self {
        let numbers = |pairs: &[(&'static str, f64)]| {
            Value::Object(pairs.iter().map(|(name, number)| (*name, Value::Number(*number))).collect())
        };
        let config = [
            ("bitDepth", 10.0),
            ("colorPrimaries", 9.0),
            ("transferCharacteristics", 16.0),
            ("matrixCoefficients", 9.0),
        ];
        let info = Value::Object(vec![
            ("colorConfig", numbers(&config)),
            ("hdrCll", numbers(&[("maxFall", max_average), ("maxCLL", max_content)])),
            ("hdrMdcv", numbers(&P3_D65)),
        ]);
        let mut body = vec![0x94];
        body.extend_from_slice(&fourcc);
        body.extend_from_slice(&amf::body(&[Value::text("colorInfo"), info]));
        let behind = self.tags.iter().position(|tag| tag.kind == 9).map_or(0, |header| header + 1);
        self.tags.insert(behind, Tag { at: 0, kind: 9, timestamp: 0, body });
        self
    }

    /// Adds `offset` to every media timestamp, modulo 2^32; sequence headers and metadata keep their 0 (RTMP-39).
    #[must_use]
    pub fn shifted(self, offset: u32) -> Self {
        self.map_media(|tag| tag.timestamp = tag.timestamp.wrapping_add(offset))
    }

    /// Masks every timestamp to 31 bits, as OBS and ffmpeg do (RTMP-37).
    #[must_use]
    pub fn masked(self) -> Self {
        self.map_media(|tag| tag.timestamp &= 0x7fff_ffff)
    }

    /// From `after` on, media timestamps jump by `jump` milliseconds; the pace stays.
    #[must_use]
    pub fn jumping(self, after: i64, jump: i64) -> Self {
        self.map_media(|tag| {
            if tag.at >= after {
                tag.timestamp = tag.timestamp.wrapping_add(jump as u32);
            }
        })
    }

    /// Leaves out what `keep` refuses.
    #[must_use]
    pub fn without(mut self, leave_out: impl Fn(&Tag) -> bool) -> Self {
        self.tags.retain(|tag| !leave_out(tag));
        self
    }

    /// Only video.
    #[must_use]
    pub fn video_only(self) -> Self {
        self.without(|tag| tag.kind == 8)
    }

    /// Only audio.
    #[must_use]
    pub fn audio_only(self) -> Self {
        self.without(|tag| tag.kind == 9)
    }

    /// Audio, its header included, is sent from `after` on only.
    #[must_use]
    pub fn late_audio(mut self, after: i64) -> Self {
        let header = self.tags.iter().position(|tag| tag.kind == 8);
        let header = header.map(|at| self.tags.remove(at));
        self.tags.retain(|tag| tag.kind != 8 || tag.at >= after);
        if let (Some(header), Some(first)) = (header, self.tags.iter().position(|tag| tag.kind == 8)) {
            let (at, timestamp) = (self.tags[first].at, self.tags[first].timestamp);
            self.tags.insert(first, Tag { at, timestamp, ..header });
        }
        self
    }

    /// Audio is sent `early` milliseconds before the video of the same time, so that on one chunk stream every
    /// video packet is older than the audio before it (RTMP-11).
    #[must_use]
    pub fn audio_ahead(mut self, early: i64) -> Self {
        for tag in self.tags.iter_mut().filter(|tag| tag.kind == 8) {
            tag.at = (tag.at - early).max(0);
        }
        let headers = self.tags.iter().take_while(|tag| tag.timestamp == 0 && tag.at == 0).count();
        self.tags[headers..].sort_by_key(|tag| tag.at);
        self
    }

    /// Followed by another script that begins `pause` milliseconds after this one's last tag.
    #[must_use]
    pub fn then(mut self, next: Self, pause: i64) -> Self {
        let offset = self.tags.last().map_or(0, |tag| tag.at) + pause;
        self.tags.extend(next.tags.into_iter().map(|tag| Tag { at: tag.at + offset, ..tag }));
        self
    }

    fn map_media(mut self, change: impl Fn(&mut Tag)) -> Self {
        self.tags.iter_mut().filter(|tag| tag.kind != 18 && !is_header(tag)).for_each(change);
        self
    }
}

/// A mastering display as `hdrMdcv` tells it.
const P3_D65: [(&str, f64); 10] = [
    ("redX", 0.68),
    ("redY", 0.32),
    ("greenX", 0.265),
    ("greenY", 0.69),
    ("blueX", 0.15),
    ("blueY", 0.06),
    ("whitePointX", 0.3127),
    ("whitePointY", 0.329),
    ("maxLuminance", 1_000.0),
    ("minLuminance", 0.005),
];

fn tracks(clip: &Clip) -> impl Iterator<Item = (u8, &Track)> {
    let video = clip.video.iter().map(|track| (9, track));
    video.chain(clip.audio.iter().map(|track| (8, track)))
}

/// A sequence header, in any wrapping.
fn is_header(tag: &Tag) -> bool {
    match (tag.kind, tag.body.as_slice()) {
        (9, [first, inner, ..]) if first & 0x8f == 0x86 => inner & 0x0f == 0,
        (9, [first, _, ..]) if first & 0x80 != 0 => first & 0x0f == 0,
        (9, [_, kind, ..]) => *kind == 0,
        (8, [0x95, inner, ..]) => inner & 0x0f == 0,
        (8, [first, ..]) if first >> 4 == 9 => first & 0x0f == 0,
        (8, [_, kind, ..]) => *kind == 0,
        _ => false,
    }
}

/// The FourCC that Enhanced RTMP uses for a sample entry.
fn fourcc(track: &Track) -> [u8; 4] {
    if &track.entry == b"hev1" { *b"hvc1" } else { track.entry }
}

fn is_video(track: &Track) -> bool {
    !matches!(&track.entry, b"mp4a" | b"Opus")
}

/// The ex header: packet type in the low nibble, wrapped as track 0 of many if asked (RTMP-52, -55, -56).
fn ex_header(track: &Track, high: u8, packet: u8, wrapping: Wrapping) -> Vec<u8> {
    let multitrack = if is_video(track) { 6 } else { 5 };
    let mut out = Vec::new();
    let number = match wrapping {
        Wrapping::Multitrack => Some(0),
        Wrapping::Further(number) => Some(number),
        Wrapping::Legacy | Wrapping::Enhanced => None,
    };
    if let Some(number) = number {
        out.extend_from_slice(&[high | multitrack, packet]);
        out.extend_from_slice(&fourcc(track));
        out.push(number);
    } else {
        out.push(high | packet);
        out.extend_from_slice(&fourcc(track));
    }
    out
}

fn sequence_header(track: &Track, wrapping: Wrapping) -> Vec<u8> {
    let mut body = match (&track.entry, wrapping) {
        (b"avc1", Wrapping::Legacy) => vec![0x17, 0, 0, 0, 0],
        (b"mp4a", Wrapping::Legacy) => vec![0xaf, 0],
        _ => ex_header(track, 0x90, 0, wrapping),
    };
    if &track.entry == b"Opus" {
        body.extend_from_slice(&opus_head(&track.config));
    } else {
        body.extend_from_slice(&track.config);
    }
    body
}

/// OpusHead from dOps: the same fields in the other byte order (RFC 7845, 5.1).
fn opus_head(dops: &[u8]) -> Vec<u8> {
    let mut head = b"OpusHead\x01".to_vec();
    head.push(dops[1]);
    head.extend([dops[3], dops[2], dops[7], dops[6], dops[5], dops[4], dops[9], dops[8], dops[10]]);
    head
}

fn coded_frame(track: &Track, frame: &Frame, wrapping: Wrapping) -> Vec<u8> {
    let cts = &frame.cts.to_be_bytes()[1..];
    let mut body = match (&track.entry, wrapping) {
        (b"avc1", Wrapping::Legacy) => {
            let mut body = vec![if frame.key { 0x17 } else { 0x27 }, 1];
            body.extend_from_slice(cts);
            body
        }
        (b"mp4a", Wrapping::Legacy) => vec![0xaf, 1],
        _ if is_video(track) => video_frame_header(track, frame, wrapping),
        _ => ex_header(track, 0x90, 1, wrapping),
    };
    body.extend_from_slice(&frame.data);
    body
}

/// CTS is there only in CodedFrames of codecs that reorder, and OBS leaves it out where it is 0 (RTMP-53).
fn video_frame_header(track: &Track, frame: &Frame, wrapping: Wrapping) -> Vec<u8> {
    let high = if frame.key { 0x90 } else { 0xa0 };
    let has_cts = matches!(&fourcc(track), b"avc1" | b"hvc1");
    if has_cts && frame.cts == 0 {
        return ex_header(track, high, 3, wrapping);
    }
    let mut body = ex_header(track, high, 1, wrapping);
    if has_cts {
        body.extend_from_slice(&frame.cts.to_be_bytes()[1..]);
    }
    body
}

/// onMetaData, with a count that is wrong as OBS writes it (RTMP-34).
fn metadata(clip: &Clip) -> Tag {
    let mut pairs =
        vec![("duration", Value::Number(0.0)), ("encoder", Value::text("aqueduct test publisher"))];
    if clip.video.is_some() {
        pairs.push(("videocodecid", Value::Number(7.0)));
    }
    if clip.audio.is_some() {
        pairs.push(("audiocodecid", Value::Number(10.0)));
    }
    let values = [Value::text("@setDataFrame"), Value::text("onMetaData"), Value::EcmaArray(20, pairs)];
    Tag { at: 0, kind: 18, timestamp: 0, body: amf::body(&values) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publisher::clip::footage;

    fn script() -> Script {
        Script::play(&Clip::open(&footage()).unwrap(), 12_000, Wrapping::Legacy)
    }

    #[test]
    fn a_loop_goes_on_in_time() {
        let tags = script().tags;
        assert!(tags.windows(2).all(|pair| pair[0].at <= pair[1].at));
        let keys: Vec<_> =
            tags.iter().filter(|tag| tag.kind == 9 && tag.body[0] == 0x17 && tag.body[1] == 1).collect();
        assert_eq!(keys.iter().map(|tag| tag.at).collect::<Vec<_>>(), [0, 5_312, 10_624]);
    }

    #[test]
    fn headers_keep_their_zero_when_media_is_shifted() {
        let tags = script().shifted(0x7fff_f000).masked().tags;
        assert!(tags.iter().take(3).all(|tag| tag.timestamp == 0));
        assert_eq!(tags[3].timestamp, 0x7fff_f000);
        assert!(tags.iter().all(|tag| tag.timestamp < 1 << 31));
        assert!(tags.last().is_some_and(|tag| tag.timestamp < 10_000), "it has wrapped");
    }

    #[test]
    fn further_tracks_follow_the_first_ones_frame_by_frame() {
        let clip = Clip::open(&footage()).unwrap();
        let script = script().beside(&[&clip, &clip], &[&clip]).in_languages(&["en", "pt-BR"]);
        let headers: Vec<_> = script.tags.iter().take_while(|tag| tag.kind == 18 || is_header(tag)).collect();
        assert_eq!(headers.iter().map(|tag| tag.kind).collect::<Vec<_>>(), [18, 18, 9, 8, 9, 9, 8]);
        assert_eq!(headers[4].body[..7], *b"\x96\x00avc1\x01");
        assert_eq!(headers[5].body[6], 2);
        let video: Vec<_> = script.tags[headers.len()..].iter().filter(|tag| tag.kind == 9).collect();
        assert!(video.chunks(3).all(|three| three.iter().all(|tag| tag.timestamp == three[0].timestamp)));
        assert!(video.chunks(3).all(|three| three[0].body[0] & 0x80 == 0 && three[2].body[6] == 2));
    }

    #[test]
    fn colours_follow_the_video_s_header() {
        let tags = script().in_hdr10(*b"avc1", 1_000.0, 400.0).tags;
        let header = tags.iter().position(|tag| tag.kind == 9).unwrap();
        assert!(is_header(&tags[header]));
        assert_eq!(tags[header + 1].body[..18], *b"\x94avc1\x02\x00\x09colorInfo\x03");
    }

    #[test]
    fn late_audio_brings_its_header_with_it() {
        let tags = script().late_audio(2_000).tags;
        let audio: Vec<_> = tags.iter().filter(|tag| tag.kind == 8).collect();
        assert!(is_header(audio[0]) && audio[0].at >= 2_000 && !is_header(audio[1]));
    }
}
