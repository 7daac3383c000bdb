//! Streams with two sources, by the paused clock, from the registry to the feed.

use std::collections::HashMap;
use std::time::Duration;

use aqueduct_common::event::{self, Advice, EventReceiver, Protocol, PublishEnd, SourceChange};
use aqueduct_common::queue::FeedReceiver;
use aqueduct_common::{Event, Feed, Publication, Sample, TrackId, WallTime};
use bytes::Bytes;
use tokio::sync::mpsc;

use super::Rules;
use crate::rtmp::{MediaKind, Message};
use crate::stream::{Lease, Pace, Policy, PublishRequest, Refusal, Streams, Takeover, clock};

const AVCC: &[u8] =
    b"\x17\0\0\0\0\x01\x42\xc0\x0d\xff\xe1\0\x18\x67\x42\xc0\x0d\xd9\x01\x41\xfb\x01\x10\0\0\x03\0\x10\0\0\
                      \x03\x03\x20\xf1\x42\xa4\x80\x01\0\x05\x68\xcb\x83\xcb\x20";
const IDR: &[u8] = b"\x17\x01\0\0\0\0\0\0\x06\x65\x88\x84\0\x0d\x0a";
const P: &[u8] = b"\x27\x01\0\0\0\0\0\0\x04\x41\x9a\0\x01";
const AAC: &[u8] = b"\xaf\x01\x21\x10";
/// 48 kHz, and 44.1 kHz.
const ASC: [&[u8]; 2] = [b"\xaf\0\x11\x90", b"\xaf\0\x12\x10"];
/// Milliseconds of a picture.
const FRAME: u64 = 40;

struct World {
    streams: Streams,
    publications: mpsc::Receiver<Publication>,
    events: EventReceiver,
    feed: Option<FeedReceiver>,
    samples: Vec<Sample>,
    marks: Vec<String>,
    told: Vec<String>,
}

/// A publisher with a clock of its own, and a key frame each second.
struct Source {
    lease: Lease,
    millis: u64,
    phase: u64,
    begun: bool,
    asc: &'static [u8],
}

fn world(sources: &[&str], policy: Policy) -> World {
    let (publications_in, publications) = mpsc::channel(4);
    let (events_in, events) = event::bus(10_000);
    let sources: Vec<String> = sources.iter().map(|&source| source.into()).collect();
    let rules = Rules::new(&sources, Duration::from_secs(1), Duration::from_secs(5)).unwrap();
    let listed = HashMap::from([("live/show".parse().unwrap(), rules)]);
    let streams = Streams::with_sources(policy, listed, publications_in, events_in);
    World { streams, publications, events, feed: None, samples: vec![], marks: vec![], told: vec![] }
}

fn two() -> World {
    world(&["push:main", "push:backup"], Policy::default())
}

impl World {
    async fn ask(&self, source: Option<&str>) -> Result<Lease, Refusal> {
        let request = PublishRequest {
            stream: "live/show".parse().unwrap(),
            protocol: Protocol::Rtmp,
            encoder: "test".into(),
            source: source.map(|source| source.parse().unwrap()),
        };
        self.streams.publish(request).await
    }

    async fn source(&self, source: &str, phase: u64) -> Source {
        let lease = self.ask(Some(source)).await.unwrap();
        Source { lease, millis: 0, phase, begun: false, asc: ASC[0] }
    }

    /// Lets time go by, in which these sources send.
    async fn run(&mut self, seconds: f64, sources: &mut [&mut Source]) {
        for n in 0..(seconds * 1_000.0 / FRAME as f64) as u64 {
            for source in &mut *sources {
                source.send();
                if n % 25 == 0 {
                    source.lease.tick(clock(), None);
                }
            }
            tokio::time::advance(Duration::from_millis(FRAME)).await;
            self.drain();
        }
    }

    fn drain(&mut self) {
        if let Ok(publication) = self.publications.try_recv() {
            self.feed = Some(publication.feed);
        }
        while let Some(message) = self.feed.as_mut().and_then(FeedReceiver::try_recv) {
            match message {
                Feed::Sample(sample) => self.samples.push(sample),
                Feed::Tracks(_) => self.marks.push("tracks".into()),
                Feed::Discontinuity(reason) => self.marks.push(format!("{reason:?}")),
                _ => {}
            }
        }
        while let Some(event) = self.events.try_recv() {
            let text = match event {
                Event::Source { source, what: SourceChange::OnAir { reason, .. }, .. } => {
                    format!("{source} {}", reason.as_str())
                }
                Event::Advice { advice: advice @ Advice::OnBackup { .. }, .. } => advice.text(),
                _ => continue,
            };
            self.told.push(text);
        }
    }

    /// Who went on air, and why.
    fn story(&self) -> Vec<&str> {
        self.told.iter().map(String::as_str).filter(|text| !text.ends_with('.')).collect()
    }

    /// The steps of the pictures' output times that are not one frame, in milliseconds, and how late each came.
    fn holes(&self) -> Vec<i64> {
        let pictures = self.samples.iter().filter(|sample| sample.track == TrackId::VIDEO);
        let ends: Vec<(i64, i64)> =
            pictures.map(|sample| (sample.dts.as_flicks(), sample.end().as_flicks())).collect();
        ends.windows(2).map(|pair| (pair[1].0 - pair[0].1) / 705_600).filter(|hole| *hole != 0).collect()
    }
}

impl Source {
    fn push(&mut self, kind: MediaKind, stamp: u64, body: &'static [u8]) {
        let message = Message { kind, timestamp: stamp as u32, body: Bytes::from_static(body) };
        let wall = WallTime { micros: 1_700_000_000_000_000 };
        assert_eq!(self.lease.push(clock(), wall, &message), Ok(Pace::Go));
    }

    fn send(&mut self) {
        let stamp = self.millis;
        if !std::mem::replace(&mut self.begun, true) {
            self.push(MediaKind::Video, stamp, AVCC);
            self.push(MediaKind::Audio, stamp, self.asc);
        }
        let key = (self.millis + self.phase).is_multiple_of(1_000);
        self.push(MediaKind::Video, stamp, if key { IDR } else { P });
        self.push(MediaKind::Audio, stamp, AAC);
        self.push(MediaKind::Audio, stamp + 21, AAC);
        self.millis += FRAME;
    }
}

#[tokio::test(start_paused = true)]
async fn a_backup_takes_over_at_once_when_the_main_one_leaves_and_gives_way_when_it_is_back() {
    let mut world = two();
    let (mut main, mut backup) = (world.source("push:main", 0).await, world.source("push:backup", 480).await);
    world.run(4.0, &mut [&mut main, &mut backup]).await;
    assert_eq!(world.story(), ["push:main first"]);
    let before = world.samples.len();
    drop(main.lease);
    world.run(0.2, &mut [&mut backup]).await;
    assert!(world.samples.len() > before + 5, "{} {before}", world.samples.len());
    world.run(2.8, &mut [&mut backup]).await;
    assert_eq!(world.story(), ["push:main first", "push:backup left"]);
    // Its last key frame lies a little before the end of the main one: no media is missing.
    assert!(world.holes().iter().all(|hole| *hole < FRAME as i64), "{:?}", world.holes());
    assert_eq!(world.marks, ["tracks", "Reconnect"]);
    let mut main = world.source("push:main", 0).await;
    world.run(4.9, &mut [&mut main, &mut backup]).await;
    assert_eq!(world.story().len(), 2);
    world.run(1.5, &mut [&mut main, &mut backup]).await;
    assert_eq!(world.story()[2..], ["push:main restored"]);
    world.run(6.0, &mut [&mut main, &mut backup]).await;
    assert_eq!((world.story().len(), world.marks.len()), (3, 3));
    assert!(world.holes().iter().all(|hole| (0..=1_000).contains(hole)), "{:?}", world.holes());
    assert!(
        world
            .told
            .iter()
            .any(|text| text.starts_with("push:backup is on air because nothing comes of push:main"))
    );
    assert!(world.told.iter().any(|text| text.contains("push:main sends again")));
}

#[tokio::test(start_paused = true)]
async fn the_preferred_one_begins_where_both_come_at_once() {
    let mut world = two();
    let mut backup = world.source("push:backup", 0).await;
    world.run(0.4, &mut [&mut backup]).await;
    let mut main = world.source("push:main", 0).await;
    world.run(8.0, &mut [&mut main, &mut backup]).await;
    assert_eq!(world.story(), ["push:backup first", "push:main first"]);
    assert_eq!(world.marks, ["tracks"], "nobody has seen a change");
}

#[tokio::test(start_paused = true)]
async fn a_source_that_hangs_is_replaced_within_its_time_and_by_the_moment_at_which_it_stopped() {
    let mut world = two();
    let (mut main, mut backup) = (world.source("push:main", 0).await, world.source("push:backup", 480).await);
    world.run(5.0, &mut [&mut main, &mut backup]).await;
    // Nothing comes of it, and its connection stands.
    world.run(0.96, &mut [&mut backup]).await;
    assert_eq!(world.story().len(), 1);
    world.run(0.12, &mut [&mut backup]).await;
    assert_eq!(world.story()[1..], ["push:backup silent"]);
    assert_eq!(world.marks, ["tracks", "Reconnect"]);
    // Half a second is shown twice, and all that the backup has sent since is out, so that latency does not grow.
    assert!(world.holes().iter().all(|hole| *hole < FRAME as i64), "{:?}", world.holes());
    let newest = world.samples.iter().rfind(|sample| sample.track == TrackId::VIDEO).unwrap();
    let at = newest.end().as_flicks() / 705_600 - 10_000;
    assert!((6_400..=6_700).contains(&at), "{at}");
    // It wakes up: it is put back after five seconds, at its key frame.
    world.run(8.0, &mut [&mut main, &mut backup]).await;
    assert_eq!(world.story()[2..], ["push:main restored"]);
}

#[tokio::test(start_paused = true)]
async fn a_backup_with_other_parameters_goes_on_air_without_a_probe() {
    let mut world = two();
    let (mut main, mut backup) = (world.source("push:main", 0).await, world.source("push:backup", 480).await);
    backup.asc = ASC[1];
    world.run(4.0, &mut [&mut main, &mut backup]).await;
    let before = world.samples.len();
    drop(main);
    world.run(0.2, &mut [&mut backup]).await;
    assert!(world.samples.len() > before + 5, "nothing is waited for: {} {before}", world.samples.len());
    assert_eq!(world.marks, ["tracks", "tracks"]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_waits_for_any_of_its_sources_and_ends_after_grace() {
    let mut world = two();
    let mut backup = world.source("push:backup", 0).await;
    world.run(3.0, &mut [&mut backup]).await;
    drop(backup);
    tokio::time::sleep(Duration::from_secs(29)).await;
    // One that says no name is the first of the publishers.
    let lease = world.ask(None).await.unwrap();
    let mut main = Source { lease, millis: 0, phase: 0, begun: false, asc: ASC[0] };
    world.run(3.0, &mut [&mut main]).await;
    assert_eq!(world.story(), ["push:backup first", "push:main left"]);
    assert_eq!(world.marks, ["tracks", "Reconnect"]);
    drop(main);
    tokio::time::sleep(Duration::from_secs(31)).await;
    world.drain();
    assert!(world.feed.as_mut().unwrap().recv().await.is_none(), "the feed is closed");
    let mut main = world.source("push:main", 0).await;
    world.run(3.0, &mut [&mut main]).await;
    assert_eq!(world.story()[2..], ["push:main first"]);
}

#[tokio::test(start_paused = true)]
async fn a_place_is_taken_over_as_a_stream_is_and_a_stranger_has_none() {
    let mut world = two();
    assert_eq!(world.ask(Some("push:other")).await.err(), Some(Refusal::UnknownSource));
    assert_eq!(world.ask(Some("rtsp:main")).await.err(), Some(Refusal::UnknownSource));
    let mut first = world.source("push:main", 0).await;
    let mut backup = world.source("push:backup", 480).await;
    world.run(3.0, &mut [&mut first, &mut backup]).await;
    let (second, ()) = tokio::join!(world.source("push:main", 0), async {
        first.lease.revoked().await;
        first.lease.end(PublishEnd::Lost);
    });
    let mut second = second;
    world.run(8.0, &mut [&mut second, &mut backup]).await;
    assert_eq!(world.story(), ["push:main first", "push:backup left", "push:main restored"]);
    // With the other policy, a place that is alive is kept.
    let policy = Policy { takeover: Takeover::Refuse, ..Policy::default() };
    let mut world = super::tests::world(&["push:main", "push:backup"], policy);
    let mut main = world.source("push:main", 0).await;
    world.run(1.0, &mut [&mut main]).await;
    assert_eq!(world.ask(Some("push:main")).await.err(), Some(Refusal::Busy));
}

#[tokio::test(start_paused = true)]
async fn closing_lets_every_source_go() {
    let mut world = two();
    let (mut main, mut backup) = (world.source("push:main", 0).await, world.source("push:backup", 480).await);
    world.run(3.0, &mut [&mut main, &mut backup]).await;
    let closing = world.streams.clone();
    tokio::join!(closing.close(), async {
        main.lease.revoked().await;
        backup.lease.revoked().await;
        drop((main, backup));
    });
    world.drain();
    assert!(world.feed.as_mut().unwrap().recv().await.is_none());
    assert_eq!(world.ask(None).await.err(), Some(Refusal::Draining));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_nobody_takes_begins_anew_with_its_sources() {
    let mut world = two();
    let (mut main, mut backup) = (world.source("push:main", 0).await, world.source("push:backup", 480).await);
    world.run(3.0, &mut [&mut main, &mut backup]).await;
    world.feed = None;
    let message = Message { kind: MediaKind::Video, timestamp: 3_000, body: Bytes::from_static(IDR) };
    let wall = WallTime { micros: 0 };
    assert!(main.lease.push(clock(), wall, &message).is_err());
    drop(main);
    tokio::time::advance(Duration::from_millis(1)).await;
    // The registry has its seat back before the next one asks.
    let mut main = world.source("push:main", 0).await;
    world.run(3.0, &mut [&mut main, &mut backup]).await;
    assert!(world.feed.is_some(), "a new publication");
    assert!(world.samples.len() > 100);
}

mod standby {
    use super::super::standby::Standby;
    use crate::demux::{CodedFrame, Demuxed};
    use aqueduct_common::{TrackId, TrackKind, WallTime};
    use bytes::Bytes;
    use proptest::prelude::*;
    use std::time::Duration;

    fn frame(kind: TrackKind, millis: u64, sync: bool, bytes: usize) -> Demuxed {
        let track = if kind == TrackKind::Video { TrackId::VIDEO } else { TrackId::AUDIO };
        let payload = Bytes::from(vec![0; bytes]);
        let stamp = millis as u32;
        Demuxed::Frame(CodedFrame {
            track,
            kind,
            timestamp: stamp,
            nanos: 0,
            cts: 0,
            sync,
            disposable: false,
            samples: 0,
            nominal: 0,
            payload,
        })
    }

    proptest! {
        /// Whatever comes, what is held is bounded, and where a source begins lies among it.
        #[test]
        fn what_is_held_is_bounded(
            frames in prop::collection::vec((any::<bool>(), prop::bool::weighted(0.05), 0..2_000u64, 0..200_000usize), 0..600),
            lost in 0..60_000u64,
        ) {
            let start = crate::stream::clock();
            let mut standby = Standby::new(Duration::from_secs(3));
            let mut millis = 0;
            for (video, sync, step, bytes) in frames {
                millis += step;
                let now = start + Duration::from_millis(millis);
                let kind = if video { TrackKind::Video } else { TrackKind::Audio };
                let item = frame(kind, millis, sync || !video, bytes);
                standby.note(now, &item);
                standby.hold(now, WallTime { micros: 0 }, item);
                prop_assert!(standby.bytes() <= 24 << 20 && standby.len() <= 8_192);
                let begins = standby.start(Some(start + Duration::from_millis(lost)), now, now);
                prop_assert!(begins.is_none_or(|begins| begins <= standby.len()));
            }
            let len = standby.len();
            let beginning = standby.take_from(len / 2);
            prop_assert_eq!((beginning.items.len(), standby.len(), standby.bytes()), (len - len / 2, 0, 0));
        }
    }
}
