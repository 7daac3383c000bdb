use aqueduct_common::Publication;
use aqueduct_common::event::{self, Advice, EventReceiver};
use bytes::Bytes;
use tokio::sync::mpsc;

use super::*;
use crate::stream::{Policy, PublishRequest, Streams, clock};

const AVCC: &[u8] =
    b"\x17\0\0\0\0\x01\x42\xc0\x0d\xff\xe1\0\x18\x67\x42\xc0\x0d\xd9\x01\x41\xfb\x01\x10\0\0\x03\0\x10\0\0\
                      \x03\x03\x20\xf1\x42\xa4\x80\x01\0\x05\x68\xcb\x83\xcb\x20";
const IDR: &[u8] = b"\x17\x01\0\0\0\0\0\0\x06\x65\x88\x84\0\x0d\x0a";
const P: &[u8] = b"\x27\x01\0\0\0\0\0\0\x04\x41\x9a\0\x01";
const ASC: &[u8] = b"\xaf\0\x11\x90";
const AAC: &[u8] = b"\xaf\x01\x21\x10";

/// A publisher by the paused clock, and what the streamer is told.
struct Session {
    lease: Lease,
    events: EventReceiver,
    _publications: mpsc::Receiver<Publication>,
    millis: u64,
}

/// Seconds of a session at whose end advice was sent.
type Told = Vec<(u64, Advice)>;

impl Session {
    async fn start() -> Self {
        let (publications, _publications) = mpsc::channel(4);
        let (sender, events) = event::bus(1_000);
        let streams = Streams::start(Policy::default(), publications, sender);
        let stream = "live/show".parse().unwrap();
        let request =
            PublishRequest { stream, protocol: Protocol::Rtmp, encoder: "test".into(), source: None };
        let lease = streams.publish(request).await.unwrap();
        Self { lease, events, _publications, millis: 0 }
    }

    fn push(&mut self, kind: MediaKind, stamp: u64, body: &'static [u8]) -> Result<Pace, Shed> {
        let message = Message { kind, timestamp: stamp as u32, body: Bytes::from_static(body) };
        let wall = WallTime { micros: 1_700_000_000_000_000 + self.millis as i64 * 1_000 };
        self.lease.push(clock(), wall, &message)
    }

    /// Sends 25 pictures and sounds a second, ticks every second, and gives the advice that came.
    async fn run(
        &mut self,
        seconds: u64,
        picture: impl Fn(u64) -> Option<&'static [u8]>,
        sound: Option<&'static [u8]>,
        stamp: impl Fn(u64) -> u64,
    ) -> (Told, Option<Shed>) {
        let mut told = Vec::new();
        for n in 0..seconds * 25 {
            let stamp = stamp(self.millis);
            let pictured = picture(n).map_or(Ok(Pace::Go), |body| self.push(MediaKind::Video, stamp, body));
            let sounded = sound.map_or(Ok(Pace::Go), |body| self.push(MediaKind::Audio, stamp, body));
            if let Err(shed) = pictured.and(sounded) {
                return (told, Some(shed));
            }
            tokio::time::advance(Duration::from_millis(40)).await;
            self.millis += 40;
            if self.millis.is_multiple_of(1_000) {
                self.lease.tick(clock(), None);
                while let Some(event) = self.events.try_recv() {
                    if let Event::Advice { advice, .. } = event {
                        told.push((self.millis / 1_000, advice));
                    }
                }
            }
        }
        (told, None)
    }
}

#[tokio::test(start_paused = true)]
async fn pictures_that_cannot_be_begun_with_are_told_after_ten_seconds() {
    let mut session = Session::start().await;
    session.push(MediaKind::Video, 0, AVCC).unwrap();
    session.push(MediaKind::Audio, 0, ASC).unwrap();
    let (told, shed) = session.run(15, |_| Some(P), Some(AAC), |millis| millis).await;
    assert_eq!(told, [(10, Advice::NoKeyframes { for_seconds: 10 })]);
    assert_eq!(shed, None, "the sound is usable");
    // A key frame ends it.
    let key = |n| Some(if n % 50 == 0 { IDR } else { P });
    session.run(10, key, Some(AAC), |millis| millis).await;
    let (told, shed) = session.run(15, key, Some(AAC), |millis| millis).await;
    assert_eq!((told, shed), (vec![], None));
    // And it is told again where key frames stop, but not where pictures do.
    let (told, _) = session.run(16, |_| Some(P), Some(AAC), |millis| millis).await;
    assert_eq!(told.len(), 1, "{told:?}");
    let (told, _) = session.run(16, |_| None, Some(AAC), |millis| millis).await;
    assert!(told.len() <= 1, "{told:?}");
    let (told, _) = session.run(16, |_| None, Some(AAC), |millis| millis).await;
    assert_eq!(told, []);
}

#[tokio::test(start_paused = true)]
async fn a_configuration_without_a_usable_frame_is_not_enough() {
    // RTMP-60: nothing comes but pictures without a key frame.
    let mut session = Session::start().await;
    session.push(MediaKind::Video, 0, AVCC).unwrap();
    let (told, shed) = session.run(30, |_| Some(P), None, |millis| millis).await;
    assert_eq!((shed, session.millis), (Some(Shed::NoUsableTrack), 15_000));
    assert_eq!(told, [(10, Advice::NoKeyframes { for_seconds: 10 })]);
    // A header of sound, and sound that cannot be read.
    let mut session = Session::start().await;
    session.push(MediaKind::Audio, 0, ASC).unwrap();
    let (_, shed) = session.run(30, |_| None, Some(b"\x2f\xff\xfb"), |millis| millis).await;
    assert_eq!((shed, session.millis), (Some(Shed::NoUsableTrack), 5_000));
}

#[tokio::test(start_paused = true)]
async fn stamps_that_are_not_believed_are_told() {
    // TL-9.
    let mut session = Session::start().await;
    session.push(MediaKind::Video, 0, AVCC).unwrap();
    session.push(MediaKind::Audio, 0, ASC).unwrap();
    let key = |n| Some(if n % 25 == 0 { IDR } else { P });
    let (told, _) = session.run(9, key, Some(AAC), |millis| millis).await;
    assert_eq!(told, []);
    let (told, _) = session.run(31, key, Some(AAC), |millis| millis + millis / 5_000 * 100_000).await;
    let unsteady: Vec<u64> =
        told.iter().filter(|(_, advice)| *advice == Advice::UnsteadyTimestamps).map(|(at, _)| *at).collect();
    assert_eq!(unsteady.len(), 3, "every ten seconds: {told:?}");
}
