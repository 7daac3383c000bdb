//! Events of streams and viewers that are not there, at a rate: what analytics costs the media path is measured beside it.

use std::time::Duration;

use aqueduct_common::event::{Carrier, EventSender, IngestTick, PictureTick, Protocol, Report};
use aqueduct_common::track::TrackKind;
use aqueduct_common::{Event, StreamName, WallTime};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// Streams, and viewers of each: 10,000 sessions in all.
const STREAMS: u32 = 500;
const VIEWERS: u32 = 20;
/// How often events are sent: as a burst, as stages do.
const BURST: Duration = Duration::from_millis(2);

/// Sends so many events a second until `stop`.
pub async fn run(events: EventSender, rate: u32, stop: CancellationToken) {
    let streams: Vec<StreamName> =
        (0..STREAMS).filter_map(|number| format!("plant/s{number}").parse().ok()).collect();
    streams.iter().for_each(|stream| begin(&events, stream));
    let mut bursts = tokio::time::interval(BURST);
    bursts.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let (began, mut sent) = (bursts.tick().await, 0u64);
    while let Some(now) = stop.run_until_cancelled(bursts.tick()).await {
        let due = ((now - began).as_secs_f64() * f64::from(rate)) as u64;
        while sent < due {
            if let Some(stream) = streams.get((sent % u64::from(STREAMS)) as usize) {
                events.send(one(stream, sent / u64::from(STREAMS), rate / STREAMS));
            }
            sent += 1;
        }
    }
}

fn begin(events: &EventSender, stream: &StreamName) {
    let (stream, encoder) = (stream.clone(), "planted".to_owned());
    events.send(Event::PublishStarted {
        stream: stream.clone(),
        protocol: Protocol::Rtmp,
        encoder,
        resumed: false,
    });
    let (epoch, target_duration, part_target_micros) = ("p1".to_owned(), 1, 200_000);
    events.send(Event::PackagerLive { stream, epoch, target_duration, part_target_micros });
}

/// The stream's event of this number, of so many a second: one second of its publisher, and parts and viewers in turn.
fn one(stream: &StreamName, number: u64, in_a_second: u32) -> Event {
    let stream = stream.clone();
    if number.is_multiple_of(u64::from(in_a_second.max(1))) {
        let tick = IngestTick {
            bytes: 375_000,
            video_frames: 30,
            audio_frames: 47,
            keyframes: 1,
            keyframe_interval_micros: Some(1_000_000),
            grid_millifps: Some(30_000),
            skew_micros: Some(9_000),
            rtt_micros: Some(18_000),
            picture: Some(PictureTick {
                key_millibits: 90_000,
                inter_millibits: Some(9_000),
                reordered: true,
            }),
            ..IngestTick::default()
        };
        return Event::Ingest { stream, protocol: Protocol::Rtmp, tick };
    }
    if number.is_multiple_of(2) {
        let (kind, bytes) = (TrackKind::Video, 75_000);
        return Event::Part { stream, kind, bytes, duration_micros: 200_000, lag_micros: 900 };
    }
    let viewer = number / 2 % u64::from(VIEWERS);
    let text = format!("bl=1200,br=3300,d=200,mtp=18400,ot=v,sf=h,sid=\"planted-{viewer}\",st=l,tb=6200");
    Event::Report(Report { stream, at: now(), viewer, carrier: Carrier::Headers, text: text.into() })
}

#[expect(clippy::disallowed_methods, reason = "the shell reads the clock for the pure parts")]
fn now() -> WallTime {
    WallTime::from_system(std::time::SystemTime::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_rate_is_kept_and_every_kind_is_there() {
        let (events, mut heard) = aqueduct_common::event::bus(100_000);
        let stop = CancellationToken::new();
        let running = tokio::spawn(run(events, 10_000, stop.clone()));
        tokio::time::sleep(Duration::from_secs(2)).await;
        stop.cancel();
        running.await.unwrap();
        let (mut ticks, mut parts, mut reports) = (0, 0, 0);
        while let Some(event) = heard.try_recv() {
            match event {
                Event::Ingest { .. } => ticks += 1,
                Event::Part { .. } => parts += 1,
                Event::Report(_) => reports += 1,
                _ => {}
            }
        }
        let sum = ticks + parts + reports;
        assert!((19_900..=20_000).contains(&sum), "{sum}");
        assert!(
            (900..=1_500).contains(&ticks) && parts > 7_000 && reports > 7_000,
            "{ticks} {parts} {reports}"
        );
    }
}
