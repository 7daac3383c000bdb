//! Which streams of an input are taken, and their packets with whole times (pure).

use aqueduct_common::{TrackId, TrackKind};

use crate::pull::protocol::{self, Pick, Stream};
use crate::sys::{Facts, Packet};

/// A frame's duration where nothing is known, in nanoseconds.
const UNKNOWN: i64 = 1_000_000;
/// The spacing of pictures where nothing is known.
const SPACING: i64 = 40_000_000;
/// Pictures that may come before the first one with a decode time: more than any encoder reorders.
const HELD: usize = 16;

/// The chosen streams.
#[derive(Debug)]
pub(super) struct Choice {
    tracks: Vec<Taken>,
}

#[derive(Debug)]
struct Taken {
    facts: Facts,
    track: TrackId,
    /// The newest packet's decode time and duration.
    last: Option<(i64, i64)>,
    /// Pictures that wait for the first decode time: some containers have none, and libavformat knows it only once it
    /// has seen how pictures are reordered.
    held: Vec<Packet>,
}

impl Choice {
    /// Chooses among these streams.
    ///
    /// # Errors
    /// In words, when what was asked for is not there, or nothing is.
    pub(super) fn new(streams: &[Facts], video: &Pick, audio: &Pick) -> Result<Self, String> {
        let pictures = pick(streams, TrackKind::Video, video)?;
        let sound = pick(streams, TrackKind::Audio, audio)?;
        let taken =
            |facts: &Facts, track| Taken { facts: facts.clone(), track, last: None, held: Vec::new() };
        let video = pictures.map(|facts| taken(facts, TrackId::VIDEO));
        let audio = sound.map(|facts| taken(facts, TrackId::AUDIO));
        let tracks: Vec<_> = video.into_iter().chain(audio).collect();
        if tracks.is_empty() { Err("it has neither pictures nor sound".into()) } else { Ok(Self { tracks }) }
    }

    pub(super) fn has_video(&self) -> bool {
        self.tracks.iter().any(|taken| taken.track == TrackId::VIDEO)
    }

    pub(super) fn has_audio(&self) -> bool {
        self.tracks.iter().any(|taken| taken.track == TrackId::AUDIO)
    }

    /// The same streams with the same parameters.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let facts = |choice: &Self| choice.tracks.iter().map(|taken| taken.facts.clone()).collect::<Vec<_>>();
        facts(self) == facts(other)
    }

    /// What the host has to know of them.
    pub(super) fn streams(&self) -> Vec<Stream> {
        let stream = |taken: &Taken| Stream {
            track: taken.track.0,
            codec: taken.facts.name.clone(),
            header: taken.facts.extradata.clone(),
            rate: taken.facts.sound.0,
            channels: taken.facts.sound.1,
            profile: taken.facts.profile,
            language: taken.facts.language.chars().take(16).collect(),
        };
        self.tracks.iter().map(stream).collect()
    }

    /// Packets as the host wants them; none for one of another stream, or while decode times are unknown. A packet without
    /// times follows the one before.
    pub(super) fn take(&mut self, packet: Packet) -> Vec<protocol::Packet> {
        let taken = self.tracks.iter_mut().find(|taken| taken.facts.index == packet.stream);
        taken.map_or_else(Vec::new, |taken| taken.take(packet))
    }
}

impl Taken {
    fn take(&mut self, packet: Packet) -> Vec<protocol::Packet> {
        let begins = self.last.is_none() && self.track == TrackId::VIDEO;
        if begins && packet.dts.is_none() && self.held.len() < HELD {
            self.held.push(packet);
            return Vec::new();
        }
        let first = packet.dts.or(packet.pts);
        let count = self.held.len() as i64;
        let before = std::mem::take(&mut self.held).into_iter().zip(1..).filter_map(|(mut held, place)| {
            let spacing = if held.duration > 0 { held.duration } else { SPACING };
            held.dts = first.map(|first| first.saturating_sub(spacing.saturating_mul(count + 1 - place)));
            self.timed(held)
        });
        let mut all: Vec<_> = before.collect();
        all.extend(self.timed(packet));
        all
    }

    fn timed(&mut self, packet: Packet) -> Option<protocol::Packet> {
        let follows = self.last.map(|(at, duration)| at.saturating_add(duration.max(UNKNOWN)));
        let dts = packet.dts.or(packet.pts).or(follows)?;
        let pts = packet.pts.unwrap_or(dts);
        self.last = Some((dts, packet.duration));
        Some(protocol::Packet {
            track: self.track,
            key: packet.key,
            damaged: packet.damaged,
            dts,
            pts,
            duration: packet.duration,
            payload: packet.payload,
        })
    }
}

fn pick<'a>(streams: &'a [Facts], kind: TrackKind, pick: &Pick) -> Result<Option<&'a Facts>, String> {
    let mut of_kind = streams.iter().filter(|facts| facts.kind == Some(kind) && !facts.is_cover);
    let missing = |what: String| {
        let there: Vec<_> = streams.iter().filter(|facts| facts.kind == Some(kind)).collect();
        let named: Vec<_> =
            there.iter().map(|facts| format!("{} {:?}", facts.name, facts.language)).collect();
        format!("it has no {} {what}; it has {}: {}", kind.as_str(), there.len(), named.join(", "))
    };
    match pick {
        Pick::None => Ok(None),
        Pick::First => Ok(of_kind.next()),
        Pick::Number(number) => of_kind
            .nth(usize::from(*number))
            .map(Some)
            .ok_or_else(|| missing(format!("with number {number}"))),
        Pick::Language(language) => of_kind
            .find(|facts| facts.language.eq_ignore_ascii_case(language))
            .map(Some)
            .ok_or_else(|| missing(format!("in language {language:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use ffmpeg_next::codec::Id;

    use super::*;

    fn facts(index: usize, kind: TrackKind, language: &str) -> Facts {
        Facts {
            index,
            kind: Some(kind),
            codec: Id::AAC,
            name: "aac".into(),
            extradata: Vec::new(),
            language: language.into(),
            sound: (48_000, 2),
            profile: 1,
            is_cover: false,
        }
    }

    fn packet(stream: usize, dts: Option<i64>, pts: Option<i64>) -> Packet {
        let payload = Bytes::from_static(&[1]);
        Packet { stream, dts, pts, duration: 20_000_000, key: true, damaged: false, payload }
    }

    #[test]
    fn streams_are_chosen_by_number_and_language() {
        let cover = Facts { is_cover: true, ..facts(0, TrackKind::Video, "") };
        let streams = [
            cover,
            facts(1, TrackKind::Audio, "eng"),
            facts(2, TrackKind::Video, ""),
            facts(3, TrackKind::Audio, "deu"),
        ];
        let chosen = |video: Pick, audio: Pick| {
            let choice = Choice::new(&streams, &video, &audio)?;
            Ok::<_, String>(choice.tracks.iter().map(|taken| taken.facts.index).collect::<Vec<_>>())
        };
        assert_eq!(chosen(Pick::First, Pick::First), Ok(vec![2, 1]));
        assert_eq!(chosen(Pick::First, Pick::Language("DEU".into())), Ok(vec![2, 3]));
        assert_eq!(chosen(Pick::None, Pick::Number(1)), Ok(vec![3]));
        assert!(chosen(Pick::First, Pick::Language("fra".into())).unwrap_err().contains("\"fra\""));
        assert!(chosen(Pick::Number(1), Pick::First).unwrap_err().contains("no video with number 1"));
        assert!(chosen(Pick::None, Pick::None).is_err());
    }

    #[test]
    fn a_packet_without_times_follows_the_one_before() {
        let streams = [facts(0, TrackKind::Audio, "")];
        let mut choice = Choice::new(&streams, &Pick::First, &Pick::First).unwrap();
        let mut times = |stream, dts, pts| {
            let taken = choice.take(packet(stream, dts, pts));
            taken.iter().map(|packet| (packet.dts, packet.pts)).collect::<Vec<_>>()
        };
        assert_eq!(times(0, None, None), []);
        assert_eq!(times(1, Some(0), None), []);
        assert_eq!(times(0, None, Some(5)), [(5, 5)]);
        assert_eq!(times(0, None, None), [(20_000_005, 20_000_005)]);
    }

    #[test]
    fn pictures_before_the_first_decode_time_get_theirs_from_it() {
        let streams = [facts(0, TrackKind::Video, "")];
        let mut choice = Choice::new(&streams, &Pick::First, &Pick::None).unwrap();
        assert!(choice.take(packet(0, None, Some(0))).is_empty());
        assert!(choice.take(packet(0, None, Some(80_000_000))).is_empty());
        let taken = choice.take(packet(0, Some(0), Some(40_000_000)));
        let times: Vec<_> =
            taken.iter().map(|packet| (packet.dts / 1_000_000, packet.pts / 1_000_000)).collect();
        assert_eq!(times, [(-40, 0), (-20, 80), (0, 40)]);
        // A container that has no decode times at all is taken as it comes.
        let mut choice = Choice::new(&streams, &Pick::First, &Pick::None).unwrap();
        let counts: Vec<_> =
            (0..18).map(|at| choice.take(packet(0, None, Some(at * 20_000_000))).len()).collect();
        assert_eq!((counts[..16].iter().sum::<usize>(), counts[16], counts[17]), (0, 17, 1));
    }
}
