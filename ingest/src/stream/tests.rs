use std::time::Duration;

use aqueduct_common::event::{self, Advice, EventReceiver, IngestTick, PublishEnd};
use aqueduct_common::feed::Break;
use aqueduct_common::queue::FeedReceiver;
use aqueduct_common::{Event, Feed, WallTime};
use bytes::Bytes;

use super::*;
use crate::rtmp::{MediaKind, Message};

const AVCC: &[u8] =
    b"\x17\0\0\0\0\x01\x42\xc0\x0d\xff\xe1\0\x18\x67\x42\xc0\x0d\xd9\x01\x41\xfb\x01\x10\0\0\x03\0\x10\0\0\
                      \x03\x03\x20\xf1\x42\xa4\x80\x01\0\x05\x68\xcb\x83\xcb\x20";
const IDR: &[u8] = b"\x17\x01\0\0\0\0\0\0\x06\x65\x88\x84\0\x0d\x0a";
const P: &[u8] = b"\x27\x01\0\0\0\0\0\0\x04\x41\x9a\0\x01";
const ASC: &[u8] = b"\xaf\0\x11\x90";
const AAC: &[u8] = b"\xaf\x01\x21\x10";

struct World {
    streams: Streams,
    publications: mpsc::Receiver<Publication>,
    events: EventReceiver,
}

fn world(policy: Policy) -> World {
    let (publications_in, publications) = mpsc::channel(4);
    let (events_in, events) = event::bus(1_000);
    World { streams: Streams::start(policy, publications_in, events_in), publications, events }
}

fn request() -> PublishRequest {
    PublishRequest {
        stream: "live/show".parse().unwrap(),
        protocol: Protocol::Rtmp,
        encoder: "test".into(),
        source: None,
    }
}

impl World {
    async fn publish(&self) -> Result<Lease, Refusal> {
        self.streams.publish(request()).await
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.events.try_recv()).collect()
    }

    /// The names of what happened, without the figures.
    fn story(&mut self) -> Vec<String> {
        let name = |event: &Event| match event {
            Event::PublishStarted { resumed, .. } => {
                Some(if *resumed { "resumed" } else { "started" }.to_owned())
            }
            Event::PublishEnded { reason, .. } => Some(format!("{reason:?}")),
            Event::StreamExpired { .. } => Some("expired".into()),
            _ => None,
        };
        self.events().iter().filter_map(name).collect()
    }
}

fn push(lease: &mut Lease, kind: MediaKind, millis: u64, body: &'static [u8]) -> Result<Pace, Shed> {
    let message = Message { kind, timestamp: millis as u32, body: Bytes::from_static(body) };
    lease.push(clock(), WallTime { micros: 1_700_000_000_000_000 }, &message)
}

/// Sends `seconds` of video and sound from stamp 0, by the paused clock.
async fn send(lease: &mut Lease, seconds: u64) {
    push(lease, MediaKind::Video, 0, AVCC).unwrap();
    push(lease, MediaKind::Audio, 0, ASC).unwrap();
    for n in 0..seconds * 25 {
        push(lease, MediaKind::Video, n * 40, if n % 25 == 0 { IDR } else { P }).unwrap();
        push(lease, MediaKind::Audio, n * 40, AAC).unwrap();
        push(lease, MediaKind::Audio, n * 40 + 21, AAC).unwrap();
        tokio::time::advance(Duration::from_millis(40)).await;
    }
}

/// Everything that is in a feed: samples are counted, marks are named.
fn drain(feed: &mut FeedReceiver) -> (usize, Vec<String>) {
    let (mut samples, mut marks) = (0, Vec::new());
    while let Some(message) = feed.try_recv() {
        match message {
            Feed::Sample(_) => samples += 1,
            Feed::Tracks(_) => marks.push("tracks".to_owned()),
            Feed::Discontinuity(reason) => marks.push(format!("{reason:?}")),
            Feed::Changed(_) | Feed::Lost(..) | Feed::Returns(..) | Feed::Clock(_) => {}
        }
    }
    (samples, marks)
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_published_when_its_first_samples_are_known() {
    let mut world = world(Policy::default());
    let mut lease = world.publish().await.unwrap();
    assert!(world.publications.try_recv().is_err());
    send(&mut lease, 3).await;
    let mut publication = world.publications.recv().await.unwrap();
    assert_eq!(publication.stream, request().stream);
    let (samples, marks) = drain(&mut publication.feed);
    assert!(samples > 200);
    assert_eq!(marks, ["tracks"]);
}

#[tokio::test(start_paused = true)]
async fn a_publisher_that_returns_within_grace_continues_its_stream() {
    let mut world = world(Policy::default());
    let mut published = Vec::new();
    for (turn, end) in [Some(PublishEnd::Clean), None, Some(PublishEnd::Silent)].into_iter().enumerate() {
        let mut lease = world.publish().await.unwrap();
        send(&mut lease, 3).await;
        match end {
            Some(reason) => lease.end(reason),
            None => drop(lease),
        }
        tokio::time::sleep(Duration::from_secs(29)).await;
        published.extend(world.publications.try_recv());
        assert_eq!(published.len(), 1, "turn {turn}");
    }
    assert_eq!(world.story(), ["started", "Clean", "resumed", "Lost", "resumed", "Silent"]);
}

#[tokio::test(start_paused = true)]
async fn after_grace_the_stream_ends_and_the_next_one_is_new() {
    let mut world = world(Policy::default());
    let mut lease = world.publish().await.unwrap();
    send(&mut lease, 3).await;
    drop(lease);
    let mut publication = world.publications.recv().await.unwrap();
    tokio::time::sleep(Duration::from_secs(31)).await;
    drain(&mut publication.feed);
    assert!(publication.feed.recv().await.is_none(), "the feed is closed");
    let mut lease = world.publish().await.unwrap();
    send(&mut lease, 3).await;
    assert!(world.publications.recv().await.is_some());
    assert_eq!(world.story(), ["started", "Lost", "expired", "started"]);
}

#[tokio::test(start_paused = true)]
async fn a_newcomer_takes_over_a_live_session_at_once() {
    let mut world = world(Policy::default());
    let mut first = world.publish().await.unwrap();
    send(&mut first, 3).await;
    let mut feed = world.publications.recv().await.unwrap().feed;
    drain(&mut feed);
    let (newcomer, ()) = tokio::join!(world.publish(), async {
        first.revoked().await;
        drop(first);
    });
    let mut second = newcomer.unwrap();
    send(&mut second, 1).await;
    let (samples, marks) = drain(&mut feed);
    assert!(samples > 60, "{samples}");
    assert_eq!(marks, [format!("{:?}", Break::Reconnect)]);
    assert_eq!(world.story(), ["started", "TakenOver", "resumed"]);
}

#[tokio::test(start_paused = true)]
async fn of_two_newcomers_the_later_one_wins() {
    let world = world(Policy::default());
    let first = world.publish().await.unwrap();
    let (second, third, ()) = tokio::join!(world.publish(), world.publish(), async {
        first.revoked().await;
        tokio::time::sleep(Duration::from_millis(10)).await;
        drop(first);
    });
    assert_eq!((second.err(), third.is_ok()), (Some(Refusal::Busy), true));
}

#[tokio::test(start_paused = true)]
async fn a_refusing_policy_keeps_whoever_had_data_within_two_seconds() {
    let world = world(Policy { takeover: Takeover::Refuse, ..Policy::default() });
    let mut first = world.publish().await.unwrap();
    send(&mut first, 3).await;
    assert_eq!(world.publish().await.err(), Some(Refusal::Busy));
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    let (newcomer, ()) = tokio::join!(world.publish(), async {
        first.revoked().await;
        drop(first);
    });
    assert!(newcomer.is_ok());
}

#[tokio::test(start_paused = true)]
async fn closing_revokes_and_ends_everything() {
    let mut world = world(Policy::default());
    let mut lease = world.publish().await.unwrap();
    send(&mut lease, 3).await;
    let mut feed = world.publications.recv().await.unwrap().feed;
    let closing = world.streams.clone();
    tokio::join!(closing.close(), async {
        lease.revoked().await;
        drop(lease);
    });
    drain(&mut feed);
    assert!(feed.recv().await.is_none());
    assert_eq!(world.publish().await.err(), Some(Refusal::Draining));
    assert_eq!(world.story(), ["started", "Drained", "expired"]);
    world.streams.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_nobody_takes_sheds_its_publisher_and_starts_anew() {
    let mut world = world(Policy::default());
    let mut lease = world.publish().await.unwrap();
    send(&mut lease, 3).await;
    drop(world.publications.recv().await.unwrap().feed);
    assert_eq!(push(&mut lease, MediaKind::Video, 3_000, IDR), Err(Shed::Downstream));
    lease.end(PublishEnd::Shed);
    let mut lease = world.publish().await.unwrap();
    send(&mut lease, 3).await;
    assert!(world.publications.recv().await.is_some());
    assert_eq!(world.story(), ["started", "Shed", "expired", "started"]);
}

#[tokio::test(start_paused = true)]
async fn every_stream_that_was_started_is_said_to_be_over() {
    let mut world = world(Policy::default());
    // It never began.
    drop(world.publish().await.unwrap());
    let mut lease = world.publish().await.unwrap();
    send(&mut lease, 3).await;
    drop(lease);
    // Its packager dies while it waits.
    tokio::time::sleep(Duration::from_secs(1)).await;
    drop(world.publications.recv().await.unwrap().feed);
    let mut lease = world.publish().await.unwrap();
    send(&mut lease, 3).await;
    drop(lease);
    tokio::time::sleep(Duration::from_secs(1)).await;
    // The server stops while it waits.
    world.streams.close().await;
    let story = ["started", "Lost", "expired", "started", "Lost", "expired", "started", "Lost", "expired"];
    assert_eq!(world.story(), story);
}

#[tokio::test(start_paused = true)]
async fn a_publisher_without_a_usable_track_has_to_go_after_five_seconds() {
    let mut world = world(Policy::default());
    let mut lease = world.publish().await.unwrap();
    let mut shed = None;
    for n in 0..300u64 {
        tokio::time::advance(Duration::from_millis(26)).await;
        if let Err(error) = push(&mut lease, MediaKind::Audio, n * 26, b"\x2f\xff\xfb") {
            shed = Some((n * 26, error));
            break;
        }
        if n % 40 == 0 {
            lease.tick(clock(), None);
        }
    }
    let (after, error) = shed.unwrap();
    assert_eq!(error, Shed::NoUsableTrack);
    assert!((4_900..5_200).contains(&after), "{after}");
    let told = |event: &Event| matches!(event, Event::Advice { advice: Advice::NeedsTranscode { codec }, .. } if codec == "MP3");
    assert_eq!(world.events().iter().filter(|event| told(event)).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_tick_says_what_the_last_second_was() {
    let mut world = world(Policy::default());
    let mut lease = world.publish().await.unwrap();
    send(&mut lease, 3).await;
    push(&mut lease, MediaKind::Video, 3_000, b"\x17").unwrap();
    lease.tick(clock(), Some(Duration::from_millis(20)));
    lease.tick(clock(), None);
    let events = world.events();
    let ticks: Vec<&IngestTick> = events
        .iter()
        .filter_map(|e| if let Event::Ingest { tick, .. } = e { Some(tick) } else { None })
        .collect();
    let [full, empty] = ticks[..] else { panic!("two ticks: {ticks:?}") };
    assert_eq!((full.video_frames, full.audio_frames, full.keyframes), (75, 150, 3));
    assert_eq!((full.grid_millifps, full.rtt_micros), (Some(25_000), Some(20_000)));
    assert_eq!(full.codecs, ["avc1.42c00d", "mp4a.40.2"]);
    assert_eq!((empty.video_frames, empty.bytes), (0, 0));
    assert!(events.iter().any(|event| matches!(event, Event::Anomaly { count: 1, .. })), "{events:?}");
}

#[tokio::test(start_paused = true)]
async fn a_flood_is_told_to_wait() {
    let world = world(Policy::default());
    let mut lease = world.publish().await.unwrap();
    push(&mut lease, MediaKind::Video, 0, AVCC).unwrap();
    for n in 0..=125 {
        assert_eq!(push(&mut lease, MediaKind::Video, n * 40, IDR), Ok(Pace::Go));
    }
    assert_eq!(push(&mut lease, MediaKind::Video, 6_000, IDR), Ok(Pace::Wait(Duration::from_secs(1))));
}

/// Sends three seconds whose sound is MP3, with a rung and, where asked for, a second one with other key frames.
async fn send_many(lease: &mut Lease, wild: bool) {
    const RUNG: &[u8] = b"\x96\x00avc1\x01\x01\x42\xc0\x0d\xff\xe1\0\x18\x67\x42\xc0\x0d\xd9\x01\x41\xfb\x01\x10\0\0\x03\0\x10\0\0\
                          \x03\x03\x20\xf1\x42\xa4\x80\x01\0\x05\x68\xcb\x83\xcb\x20";
    const RUNG_IDR: &[u8] = b"\x96\x03avc1\x01\0\0\0\x06\x65\x88\x84\0\x0d\x0a";
    const RUNG_P: &[u8] = b"\xa6\x03avc1\x01\0\0\0\x04\x41\x9a\0\x01";
    push(lease, MediaKind::Video, 0, AVCC).unwrap();
    push(lease, MediaKind::Video, 0, RUNG).unwrap();
    for n in 0..75 {
        push(lease, MediaKind::Video, n * 40, if n % 25 == 0 { IDR } else { P }).unwrap();
        let key = n % 25 == 0 || (wild && n == 30);
        push(lease, MediaKind::Video, n * 40, if key { RUNG_IDR } else { RUNG_P }).unwrap();
        // 64 kbit/s at 48 kHz: 24 ms.
        push(lease, MediaKind::Audio, n * 40, b"\x2f\xff\xfb\x54\0\0\0\0").unwrap();
        push(lease, MediaKind::Audio, n * 40 + 24, b"\x2f\xff\xfb\x54\0\0\0\0").unwrap();
        tokio::time::advance(Duration::from_millis(40)).await;
    }
    lease.tick(clock(), None);
}

#[tokio::test(start_paused = true)]
async fn what_needs_a_transcode_and_further_tracks_go_on_to_it() {
    for (transcodes, wild) in [(true, false), (false, false), (true, true)] {
        let mut world = world(Policy { transcodes, ..Policy::default() });
        let mut lease = world.publish().await.unwrap();
        send_many(&mut lease, wild).await;
        let mut feed = world.publications.recv().await.unwrap().feed;
        let Some(Feed::Tracks(tracks)) = feed.try_recv() else { panic!("the tracks come first") };
        let codecs: Vec<_> = tracks.tracks.iter().map(|track| (track.id.0, track.codec.rfc6381())).collect();
        let mut expected = vec![(0, "avc1.42c00d".to_owned())];
        expected.extend(transcodes.then(|| (1, "mp4a.40.34".to_owned())));
        expected.extend((!wild).then(|| (2, "avc1.42c00d".to_owned())));
        assert_eq!(codecs, expected);
        let told = world.events().into_iter().find_map(|event| match event {
            Event::Advice { advice, .. } => Some(advice),
            _ => None,
        });
        match (transcodes, wild, told) {
            (true, false, None) => {}
            (false, _, Some(Advice::NeedsTranscode { codec })) => assert_eq!(codec, "MP3"),
            (true, true, Some(advice @ Advice::UnusedTrack { number: 1, .. })) => {
                assert!(
                    advice.text().starts_with("video track 1 is not used: its keyframes"),
                    "{}",
                    advice.text()
                );
            }
            (.., other) => panic!("{other:?}"),
        }
    }
}
