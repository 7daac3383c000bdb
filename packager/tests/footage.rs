//! Real footage through the whole packager: what players fetch is what the encoder made, frame for frame.

#![allow(clippy::unwrap_used, clippy::panic, reason = "test code outside of test functions too")]

mod support;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use aqueduct_common::codec::{AacConfig, AvcConfig};
use aqueduct_common::feed::Publication;
use aqueduct_common::object::Publish;
use aqueduct_common::track::Grid;
use aqueduct_common::{
    CodecConfig, Event, EventSender, Feed, MediaTime, Object, ObjectKind, Sample, StreamName, Timescale,
    Track, TrackId, TrackSet, Update, WallTime, event, queue,
};
use aqueduct_packager::{Checkpoints, Plan};
use bytes::Bytes;
use mp4_atom::{Atom as _, Codec, Decode as _, Header, Moof, Moov, Stbl, StszSamples};

const CLIP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/media/bigbuckbunny.mp4");

/// The clip's tracks and the coded frames of each.
fn clip() -> (TrackSet, [Vec<(Bytes, bool)>; 2]) {
    let file = Bytes::from(std::fs::read(CLIP).expect("the clip is in the repository"));
    let moov = moov(&file);
    let stbl = |index: usize| &moov.trak[index].mdia.minf.stbl;
    let Codec::Avc1(entry) = &stbl(0).stsd.codecs[0] else { panic!("no avc1") };
    let record = body(&entry.avcc);
    let video = Track {
        id: TrackId::VIDEO,
        codec: CodecConfig::H264(AvcConfig::parse(&record).unwrap()),
        timescale: Timescale::VIDEO,
        grid: Grid::Fixed(MediaTime::new(3_600, Timescale::VIDEO)),
        reorder_delay: 0,
        language: "und".into(),
        bandwidth: None,
    };
    let Codec::Mp4a(entry) = &stbl(1).stsd.codecs[0] else { panic!("no mp4a") };
    let record = entry.esds.es_desc.dec_config.dec_specific.clone().unwrap().raw.into();
    let config = AacConfig::parse(&record).unwrap();
    assert_eq!((config.output_rate, config.channels), (48_000, 6));
    let timescale = Timescale::of(48_000);
    let audio = Track {
        id: TrackId::AUDIO,
        codec: CodecConfig::Aac(config),
        timescale,
        grid: Grid::Fixed(MediaTime::new(1_024, timescale)),
        ..video.clone()
    };
    let frames = [frames(&file, stbl(0)), frames(&file, stbl(1))];
    (TrackSet { tracks: vec![video, audio] }, frames)
}

fn moov(file: &Bytes) -> Moov {
    let mut rest = &file[..];
    loop {
        let mut after = rest;
        let header = Header::decode(&mut after).unwrap();
        if header.kind == Moov::KIND {
            return Moov::decode(&mut rest).unwrap();
        }
        rest = &after[header.size.unwrap()..];
    }
}

/// A box without its header.
fn body(record: &impl mp4_atom::Encode) -> Bytes {
    let mut out = Vec::new();
    record.encode(&mut out).unwrap();
    Bytes::from(out).slice(8..)
}

/// Samples by the tables of a file that is not fragmented, and which are sync samples.
fn frames(file: &Bytes, stbl: &Stbl) -> Vec<(Bytes, bool)> {
    let StszSamples::Different { sizes } = &stbl.stsz.samples else { panic!("sizes differ") };
    let offsets = &stbl.stco.as_ref().unwrap().entries;
    let mut frames = Vec::new();
    let mut sizes = sizes.iter();
    for (index, offset) in offsets.iter().enumerate() {
        let chunk = index as u32 + 1;
        let per = stbl
            .stsc
            .entries
            .iter()
            .rev()
            .find(|entry| entry.first_chunk <= chunk)
            .unwrap()
            .samples_per_chunk;
        let mut at = *offset as usize;
        for size in sizes.by_ref().take(per as usize) {
            let sync =
                stbl.stss.as_ref().is_none_or(|table| table.entries.contains(&(frames.len() as u32 + 1)));
            frames.push((file.slice(at..at + *size as usize), sync));
            at += *size as usize;
        }
    }
    frames
}

/// The clip, `loops` times over, interleaved by time.
fn samples(set: &TrackSet, frames: &[Vec<(Bytes, bool)>; 2], loops: usize) -> Vec<Sample> {
    let pictures = frames[0].len();
    // As much sound as one pass of the picture lasts, whole frames.
    let sounds = pictures * 3_600 * 48_000 / 90_000 / 1_024;
    let track = |index: usize, count: usize| {
        let track = &set.tracks[index];
        let ticks = track.grid.spacing().ticks;
        let start = 10 * i64::from(track.timescale.hz());
        (0..loops * count).map(move |number| {
            let (payload, sync) = frames[index][number % count].clone();
            let dts = MediaTime::new(start + number as i64 * ticks, track.timescale);
            let received = WallTime { micros: 1_763_634_000_000_000 + dts.micros() };
            Sample {
                track: track.id,
                dts,
                pts: dts,
                duration: ticks as u32,
                sync,
                disposable: false,
                payload,
                received,
            }
        })
    };
    let mut all: Vec<Sample> = track(0, pictures).chain(track(1, sounds)).collect();
    all.sort_by_key(|sample| (sample.dts.as_flicks(), sample.track));
    all
}

/// Keeps every update.
#[derive(Default)]
struct Kept(Mutex<Vec<Update>>);

impl Publish for Kept {
    fn publish(&self, stream: &StreamName, update: Update) {
        assert_eq!(stream.as_str(), "live/bunny");
        self.0.lock().unwrap().push(update);
    }
}

impl Kept {
    fn objects(&self, kind: ObjectKind, dir: &str) -> Vec<Object> {
        let within = |object: &Object| object.kind == kind && object.path.as_str().contains(dir);
        let object = |update: &Update| match update {
            Update::Publish(object) if within(object) => Some(object.clone()),
            _ => None,
        };
        self.0.lock().unwrap().iter().filter_map(object).collect()
    }
}

/// Payloads of a segment, by its boxes.
fn payloads(segment: &[u8]) -> Vec<Bytes> {
    let mut found = Vec::new();
    let mut rest = segment;
    let mut sizes = VecDeque::new();
    while !rest.is_empty() {
        let mut after = rest;
        let header = Header::decode(&mut after).unwrap();
        let (content, next) = after.split_at(header.size.unwrap());
        if header.kind == Moof::KIND {
            let moof = Moof::decode(&mut &rest[..]).unwrap();
            sizes.extend(moof.traf[0].trun[0].samples.iter().map(|sample| sample.size.unwrap() as usize));
        } else if header.kind == mp4_atom::FourCC::new(b"mdat") {
            let mut at = 0;
            for size in sizes.drain(..) {
                found.push(Bytes::copy_from_slice(&content[at..at + size]));
                at += size;
            }
            assert_eq!(at, content.len());
        }
        rest = next;
    }
    found
}

#[tokio::test]
async fn what_goes_in_comes_out_and_then_it_ends() {
    let (set, frames) = clip();
    let samples = samples(&set, &frames, 3);
    let dir = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("footage");
    let _ = std::fs::remove_dir_all(&dir);
    let kept = Arc::new(Kept::default());
    let (mut sender, receiver) = queue::feed(2_048);
    let (events, mut heard) = event::bus(4_096);
    let publication = Publication { stream: "live/bunny".parse().unwrap(), feed: receiver };
    let packager = tokio::spawn(aqueduct_packager::run(
        Plan::default(),
        publication,
        kept.clone(),
        Checkpoints::new(Some(dir.join("checkpoints"))),
        EventSender::clone(&events),
        tokio::sync::watch::channel(aqueduct_packager::Lead::Leads).1,
    ));
    sender.send(Feed::Tracks(set.clone().into()));
    sender.send(Feed::Clock(support::clock()));
    for sample in samples.clone() {
        sender.send(Feed::Sample(sample));
    }
    assert_eq!(sender.dropped(), 0);
    drop(sender);
    packager.await.unwrap();
    drop(events);

    for (track, dir) in [(TrackId::VIDEO, "/v0/"), (TrackId::AUDIO, "/a0/")] {
        let out: Vec<Bytes> = kept
            .objects(ObjectKind::Segment, dir)
            .iter()
            .flat_map(|segment| payloads(&segment.body.concat()))
            .collect();
        let fed: Vec<Bytes> = samples
            .iter()
            .filter(|sample| sample.track == track)
            .map(|sample| sample.payload.clone())
            .collect();
        // Sound beyond the picture's end is left out.
        assert!(out.len() <= fed.len() && out.len() + 2 >= fed.len(), "{} of {}", out.len(), fed.len());
        assert!(out[..] == fed[..out.len()]);
        write_file(&kept, dir);
    }
    let large = kept.objects(ObjectKind::Part, "/v0/");
    let shared = large.iter().flat_map(|part| &part.body).any(|bytes| {
        samples
            .iter()
            .any(|sample| sample.payload.as_ptr() == bytes.as_ptr() && sample.payload.len() == bytes.len())
    });
    assert!(shared, "large frames are not copied");
    let list = kept.objects(ObjectKind::Playlist, "/v0/").pop().unwrap();
    assert!(list.body.concat().ends_with(b"#EXT-X-ENDLIST\n"));
    assert!(matches!(kept.0.lock().unwrap().last(), Some(Update::End { .. })));
    let (mut live, mut ended) = (None, None);
    while let Some(event) = heard.recv().await {
        match event {
            Event::PackagerLive { epoch, .. } => live = Some(epoch),
            Event::PackagerEnded { epoch, .. } => ended = Some(epoch),
            _ => {}
        }
    }
    assert!(live.is_some() && live == ended);
    assert!(!dir.join("checkpoints/live/bunny.json").exists(), "an ended stream is not resumed");
}

/// A file that any player opens, for looking at by hand: `target/tmp/footage/v0.mp4`.
fn write_file(kept: &Kept, dir: &str) {
    let mut file = kept.objects(ObjectKind::Init, dir)[0].body.concat();
    kept.objects(ObjectKind::Segment, dir).iter().for_each(|segment| file.extend(segment.body.concat()));
    let name = format!("{}.mp4", dir.trim_matches('/'));
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("footage");
    std::fs::create_dir_all(&path).unwrap();
    std::fs::write(path.join(name), file).unwrap();
}
