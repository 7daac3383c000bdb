//! A small stream without a fault, made by hand: 25 frames a second in two rungs and AAC at 48 kHz, parts of 0.2 s,
//! segments of 1 s, a window of 8, and a discontinuity where media time jumps.

pub mod media;

use std::time::Duration;

use aqueduct_tests::check::{Asked, Linter, Report, Seen};
use bytes::Bytes;

/// Parts in a segment.
pub const PARTS: u64 = 5;
/// Segments in the window.
const WINDOW: u64 = 8;
/// Segments whose parts are listed, besides the open one.
const WITH_PARTS: u64 = 4;
/// The segment before which media time jumps.
pub const JUMP_AT: u64 = 6;
/// The multivariant playlist's URL.
pub const INDEX: &str = "http://h/live/x/index.m3u8";

/// A rendition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rendition {
    Video,
    Rung,
    Audio,
}

/// All of them.
pub const RENDITIONS: [Rendition; 3] = [Rendition::Video, Rendition::Rung, Rendition::Audio];

impl Rendition {
    pub fn url(self) -> &'static str {
        match self {
            Self::Video => "http://h/live/x/e1/v0/media.m3u8",
            Self::Rung => "http://h/live/x/e1/v1/media.m3u8",
            Self::Audio => "http://h/live/x/e1/a0/media.m3u8",
        }
    }
}

/// A moment: part `part` of segment `msn` has just been published.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    pub rendition: Rendition,
    pub msn: u64,
    pub part: u64,
}

/// What is planted: each hook changes one thing that the linter is shown.
pub struct Plant {
    pub multivariant: fn(String) -> String,
    pub text: fn(Moment, String) -> String,
    pub init: fn(Vec<u8>) -> Vec<u8>,
    /// Changes a part's bytes; `None` keeps them.
    pub part: fn(Moment, Vec<u8>) -> Vec<u8>,
    pub segment: fn(Vec<u8>) -> Vec<u8>,
    /// What was asked, and how long the answer took beyond the part's own time.
    pub answer: fn(Moment, Asked) -> (Asked, Duration),
}

impl Default for Plant {
    fn default() -> Self {
        Self {
            multivariant: |text| text,
            text: |_, text| text,
            init: |bytes| bytes,
            part: |_, bytes| bytes,
            segment: |bytes| bytes,
            answer: |_, asked| (asked, Duration::ZERO),
        }
    }
}

/// The good multivariant playlist.
pub fn multivariant() -> String {
    "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-INDEPENDENT-SEGMENTS\n\
     #EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"aac\",NAME=\"Main\",DEFAULT=YES,AUTOSELECT=YES,CHANNELS=\"2\",URI=\"e1/a0/media.m3u8\"\n\
     #EXT-X-STREAM-INF:BANDWIDTH=200000,AVERAGE-BANDWIDTH=100000,CODECS=\"avc1.640028,mp4a.40.2\",RESOLUTION=640x360,FRAME-RATE=25.000,AUDIO=\"aac\"\n\
     e1/v0/media.m3u8\n\
     #EXT-X-STREAM-INF:BANDWIDTH=200000,AVERAGE-BANDWIDTH=100000,CODECS=\"avc1.640028,mp4a.40.2\",RESOLUTION=640x360,FRAME-RATE=25.000,AUDIO=\"aac\"\n\
     e1/v1/media.m3u8\n"
        .to_owned()
}

/// The good media playlist of a moment.
pub fn playlist(moment: Moment) -> String {
    let Moment { rendition, msn: newest, part } = moment;
    let complete = part + 1 == PARTS;
    let last_complete = if complete { newest } else { newest - 1 };
    let first = last_complete.saturating_sub(WINDOW - 1).max(1);
    let removed_jumps = u64::from(first > JUMP_AT);
    let mut out = format!(
        "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-TARGETDURATION:1\n\
         #EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=0.65,HOLD-BACK=3,CAN-SKIP-UNTIL=6\n\
         #EXT-X-PART-INF:PART-TARGET=0.214\n#EXT-X-MEDIA-SEQUENCE:{first}\n\
         #EXT-X-DISCONTINUITY-SEQUENCE:{removed_jumps}\n#EXT-X-MAP:URI=\"init.mp4\"\n"
    );
    for msn in first..=newest {
        if msn == JUMP_AT {
            out.push_str("#EXT-X-DISCONTINUITY\n");
        }
        out.push_str(&format!("#EXT-X-PROGRAM-DATE-TIME:{}\n", media::date(msn)));
        let parts = if msn == newest { part + 1 } else { PARTS };
        if msn + WITH_PARTS > last_complete {
            for index in 0..parts {
                let independent = rendition == Rendition::Audio || index == 0;
                out.push_str(&format!(
                    "#EXT-X-PART:DURATION={:.5},URI=\"{}\"{}\n",
                    media::part_seconds(rendition, msn, index),
                    media::part_name(msn, index),
                    if independent { ",INDEPENDENT=YES" } else { "" }
                ));
            }
        }
        if msn <= last_complete {
            let seconds: f64 = (0..PARTS).map(|index| media::part_seconds(rendition, msn, index)).sum();
            out.push_str(&format!("#EXTINF:{seconds:.5},\ns{msn}.m4s\n"));
        }
    }
    let (next, next_part) = if complete { (newest + 1, 0) } else { (newest, part + 1) };
    out.push_str(&format!("#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"{}\"\n", media::part_name(next, next_part)));
    for other in RENDITIONS.into_iter().filter(|other| *other != rendition) {
        let uri = other.url().replace("http://h/live/x/e1", "..");
        out.push_str(&format!("#EXT-X-RENDITION-REPORT:URI=\"{uri}\",LAST-MSN={newest},LAST-PART={part}\n"));
    }
    out
}

/// Shows the whole stream, with what is planted in it, to a linter.
pub fn run(plant: &Plant) -> Report {
    let mut linter = Linter::default();
    linter.multivariant(INDEX, &(plant.multivariant)(multivariant()), Duration::ZERO);
    for rendition in RENDITIONS {
        let init = Bytes::from((plant.init)(media::init(rendition)));
        linter.init(rendition.url(), "init.mp4", init, Duration::ZERO);
    }
    for msn in 1..=16 {
        for part in 0..PARTS {
            let now = Duration::from_millis(msn * 1_000 + part * 200);
            for rendition in RENDITIONS {
                show(&mut linter, plant, Moment { rendition, msn, part }, now);
            }
        }
    }
    linter.report(Duration::from_secs(20))
}

fn show(linter: &mut Linter, plant: &Plant, moment: Moment, now: Duration) {
    let Moment { rendition, msn, part } = moment;
    let bytes = Bytes::from((plant.part)(moment, media::part(rendition, msn, part)));
    linter.part(rendition.url(), &media::part_name(msn, part), bytes, now);
    // Before the first complete segment there is no playlist.
    if msn > 1 || part + 1 == PARTS {
        let (asked, late) = (plant.answer)(moment, Asked { msn: Some(msn), part: Some(part), skip: false });
        let text = (plant.text)(moment, playlist(moment));
        let sent = now.saturating_sub(Duration::from_millis(150));
        let seen = Seen { url: rendition.url(), asked, sent, received: now + late, text: &text };
        linter.observe(&seen);
    }
    if part + 1 == PARTS {
        let whole: Vec<u8> = (0..PARTS).flat_map(|index| media::part(rendition, msn, index)).collect();
        linter.segment(rendition.url(), msn, Bytes::from((plant.segment)(whole)), now);
    }
}
