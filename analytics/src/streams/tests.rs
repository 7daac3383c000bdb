use aqueduct_common::event::{Advice, IngestTick, Protocol, SourceChange};

use super::entry::ADVICE_HOLDS;
use super::*;

fn name() -> StreamName {
    "live/show".parse().unwrap()
}

fn started(resumed: bool) -> Event {
    Event::PublishStarted { stream: name(), protocol: Protocol::Rtmp, encoder: "obs".into(), resumed }
}

fn ended(reason: PublishEnd) -> Event {
    Event::PublishEnded { stream: name(), protocol: Protocol::Rtmp, reason }
}

fn live() -> Event {
    live_with("e1")
}

fn packaged(epoch: &str) -> Event {
    Event::PackagerEnded { stream: name(), epoch: epoch.into() }
}

fn live_with(epoch: &str) -> Event {
    Event::PackagerLive {
        stream: name(),
        epoch: epoch.into(),
        target_duration: 1,
        part_target_micros: 214_000,
    }
}

#[expect(clippy::disallowed_methods, reason = "tests need some instant to start from")]
fn start() -> Instant {
    Instant::now()
}

#[test]
fn a_stream_goes_from_starting_to_live_waits_for_its_publisher_and_ends() {
    let (mut streams, now) = (Streams::default(), start());
    let mut after = |event: &Event| {
        streams.record(event, now);
        streams.views()[0].state
    };
    assert_eq!(after(&started(false)), State::Starting);
    assert_eq!(after(&live()), State::Live);
    assert_eq!(after(&ended(PublishEnd::TakenOver)), State::Live, "the newcomer is already there");
    assert_eq!(after(&ended(PublishEnd::Lost)), State::Reconnecting);
    assert_eq!(after(&started(true)), State::Live, "its playlists are still out");
    assert_eq!(after(&packaged("e1")), State::Ended);
    assert_eq!(after(&started(false)), State::Starting);
    assert_eq!(streams.views()[0].reconnects, 1);
}

#[test]
fn advice_stays_while_it_is_repeated_and_goes_when_cured() {
    let (mut streams, now) = (Streams::default(), start());
    let advice = |is_millis| Advice::KeyframeInterval { is_millis, set_seconds: 1 };
    streams.record(&Event::Advice { stream: name(), advice: advice(8_333) }, now);
    streams.record(&Event::Advice { stream: name(), advice: advice(4_000) }, now);
    assert_eq!(streams.views()[0].advice.len(), 1, "the newer figure replaces the older");
    assert!(streams.views()[0].advice[0].text.contains("4.0 s"));
    streams.sweep(now + ADVICE_HOLDS);
    assert!(streams.views()[0].advice.is_empty());
}

#[test]
fn an_ended_stream_is_forgotten_after_five_minutes() {
    let (mut streams, now) = (Streams::default(), start());
    streams.record(&started(false), now);
    streams.record(&Event::StreamExpired { stream: name() }, now);
    streams.sweep(now + Duration::from_secs(299));
    assert!(streams.knows(&name()));
    streams.sweep(now + KEEP_ENDED);
    assert!(!streams.knows(&name()) && streams.views().is_empty());
}

#[test]
fn the_end_of_an_earlier_epoch_is_not_that_of_the_stream() {
    let (mut streams, now) = (Streams::default(), start());
    let expired = Event::StreamExpired { stream: name() };
    for event in [started(false), live(), expired, started(false), packaged("e1"), live_with("e2")] {
        streams.record(&event, now);
    }
    assert_eq!(streams.views()[0].state, State::Live);
    streams.record(&packaged("e1"), now);
    assert_eq!(streams.views()[0].state, State::Live);
    streams.sweep(now + KEEP_ENDED);
    assert!(streams.knows(&name()), "a live stream stays");
    streams.record(&packaged("e2"), now);
    assert_eq!(streams.views()[0].state, State::Ended);
}

#[test]
fn figures_of_a_publisher_bring_a_stream_back_whose_beginning_was_lost() {
    let (mut streams, now) = (Streams::default(), start());
    let tick = IngestTick::default();
    streams.record(&started(false), now);
    streams.record(&Event::StreamExpired { stream: name() }, now);
    streams.record(&Event::Ingest { stream: name(), protocol: Protocol::Rtmp, tick }, now);
    assert_eq!(streams.views()[0].state, State::Starting);
    streams.sweep(now + KEEP_ENDED);
    assert!(streams.knows(&name()));
}

#[test]
fn a_stream_that_nothing_is_heard_of_is_forgotten_in_the_end() {
    let (mut streams, now) = (Streams::default(), start());
    streams.record(&started(false), now);
    streams.record(&ended(PublishEnd::Lost), now);
    streams.sweep(now + KEEP_UNHEARD - Duration::from_secs(1));
    assert!(streams.knows(&name()));
    streams.sweep(now + KEEP_UNHEARD);
    assert!(!streams.knows(&name()));
}

#[test]
fn no_more_streams_are_kept_than_there_is_room_for() {
    let (mut streams, now) = (Streams::default(), start());
    let begin = |n: usize| Event::PublishStarted {
        stream: format!("live/s{n}").parse().unwrap(),
        protocol: Protocol::Rtmp,
        encoder: String::new(),
        resumed: false,
    };
    for n in 0..=MAX_STREAMS {
        streams.record(&begin(n), now);
    }
    assert_eq!(streams.views().len(), MAX_STREAMS);
    let last = format!("live/s{MAX_STREAMS}").parse().unwrap();
    assert!(!streams.knows(&last), "those that are there stay");
    streams.record(&Event::StreamExpired { stream: "live/s7".parse().unwrap() }, now);
    streams.record(&begin(MAX_STREAMS), now);
    assert!(streams.knows(&last) && streams.views().len() == MAX_STREAMS);
}

#[test]
fn a_stream_with_sources_is_live_while_one_is_on_air() {
    use aqueduct_common::event::SwitchReason;
    let (mut streams, now) = (Streams::default(), start());
    let [main, backup] = ["push:main", "push:backup"];
    let source = |source: &str, what| Event::Source { stream: name(), source: source.parse().unwrap(), what };
    let joined = |encoder: &str| SourceChange::Joined { protocol: Protocol::Rtmp, encoder: encoder.into() };
    let on_air = |reason| SourceChange::OnAir { before: None, reason };
    let ended = Event::PublishEnded { stream: name(), protocol: Protocol::Rtmp, reason: PublishEnd::Lost };
    let left = || SourceChange::Left { reason: PublishEnd::Lost };
    for event in [
        source(main, joined("one")),
        started(false),
        source(main, on_air(SwitchReason::First)),
        live(),
        source(backup, joined("two")),
        started(true),
    ] {
        streams.record(&event, now);
    }
    assert_eq!((streams.views()[0].reconnects, &*streams.views()[0].encoder), (0, "one"));
    for event in [source(main, left()), ended.clone(), source(backup, on_air(SwitchReason::Left))] {
        streams.record(&event, now);
    }
    let stands_in = Advice::OnBackup { source: backup.into(), missing: main.into(), returning: false };
    streams.record(&Event::Advice { stream: name(), advice: stands_in }, now);
    let view = &streams.views()[0];
    assert_eq!((view.state, &*view.encoder, view.advice.len(), view.switches), (State::Live, "two", 1, 1));
    streams.record(&source(main, joined("one")), now);
    streams.record(&source(main, on_air(SwitchReason::Restored)), now);
    assert_eq!(streams.views()[0].advice, []);
    for event in [source(backup, left()), ended.clone(), source(main, left()), ended] {
        streams.record(&event, now);
    }
    assert_eq!(streams.views()[0].state, State::Reconnecting);
}
