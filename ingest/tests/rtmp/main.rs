//! The publishing ports as encoders meet them: real sockets, the real server and registry behind them.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]
#![expect(clippy::disallowed_methods, reason = "real sockets run on real time")]

mod publisher;
mod world;

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use aqueduct_common::event::{Protocol, PublishEnd};
use aqueduct_common::{Event, Feed, Secret, TrackKind};
use aqueduct_ingest::keys::KeyConfig;
use aqueduct_ingest::rtmp::amf0::Value;
use aqueduct_ingest::stream::Takeover;
use aqueduct_ingest::{Error, KeyRing, Plan, Server, Streams};
use publisher::Publisher;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use world::{World, config, feed, sample, soon};

const KEY: &str = "show-key-0123456789";

fn keyed() -> aqueduct_ingest::Config {
    let key = KeyConfig {
        stream: "live/show".into(),
        secret: Some(Secret::new(KEY.into())),
        hash: None,
        source: None,
    };
    aqueduct_ingest::Config { keys: vec![key], ..config() }
}

#[tokio::test]
async fn ffmpeg_publishes() {
    let mut world = World::start(config());
    let url = format!("rtmp://{}/live/x", world.rtmp());
    let arguments = "-nostdin -v error -re -f lavfi -i testsrc2=size=320x180:rate=25 -f lavfi -i sine=r=48000 -t 3 \
                     -c:v libx264 -preset ultrafast -tune zerolatency -g 25 -pix_fmt yuv420p -c:a aac -f flv";
    let mut ffmpeg = tokio::process::Command::new("ffmpeg")
        .args(arguments.split_whitespace())
        .arg(url)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("ffmpeg is installed");
    assert_eq!(world.started().await, ("live/x".into(), false));
    let mut publication = world.publication().await;
    assert_eq!(publication.stream.as_str(), "live/x");
    let Feed::Tracks(tracks) = feed(&mut publication).await else { panic!("tracks come first") };
    assert!(tracks.first(TrackKind::Video).is_some() && tracks.first(TrackKind::Audio).is_some());
    assert!(soon("ffmpeg's end", ffmpeg.wait()).await.unwrap().success());
    assert_eq!(world.ended().await, PublishEnd::Clean);
    world.stop().await;
    let (mut video, mut audio) = (0, 0);
    while let Some(message) = publication.feed.recv().await {
        match message {
            Feed::Sample(sample) if Some(sample.track) == tracks.first(TrackKind::Video).map(|t| t.id) => {
                video += 1
            }
            Feed::Sample(_) => audio += 1,
            _ => {}
        }
    }
    assert_eq!(video, 75);
    assert!((138..=144).contains(&audio), "{audio} audio frames of 3 s");
}

#[tokio::test]
async fn a_stream_begins_and_ends_clean_or_lost() {
    let mut world = World::start(config());
    for (clean, reason) in [(true, PublishEnd::Clean), (false, PublishEnd::Lost)] {
        let mut publisher = Publisher::publish(world.rtmp(), "x").await;
        world.started().await;
        publisher.audio(60).await;
        if clean {
            publisher.command(0, &["FCUnpublish".into(), Value::Number(6.0), Value::Null, "x".into()]).await;
        }
        drop(publisher);
        assert_eq!(world.ended().await, reason);
    }
    let mut publication = world.publication().await;
    assert!(matches!(feed(&mut publication).await, Feed::Tracks(_)));
    // Both publishers went on with the same stream.
    assert!(world.publications_are_empty());
    world.stop().await;
}

#[tokio::test]
async fn the_right_key_opens_its_stream_and_a_wrong_one_says_why() {
    let mut world = World::start(keyed());
    for name in [format!("show?key={KEY}"), KEY.to_owned()] {
        let mut publisher = Publisher::publish(world.rtmp(), &name).await;
        assert_eq!(world.started().await.0, "live/show");
        publisher.audio(3).await;
        drop(publisher);
        world.ended().await;
    }
    for (name, code, reason) in [
        ("show?key=wrong".to_owned(), "NetStream.Publish.Denied", "bad_key"),
        (format!("other?key={KEY}"), "NetStream.Publish.Denied", "bad_key"),
        ("show".to_owned(), "NetStream.Publish.Denied", "bad_key"),
    ] {
        let begun = tokio::time::Instant::now();
        let mut publisher = Publisher::ask(world.rtmp(), "live", &name).await;
        let (told, description) = publisher.status().await;
        assert_eq!(told, code);
        assert!(description.contains("key") && !description.contains(KEY), "{description}");
        assert_eq!(world.refused().await, reason);
        publisher.end().await;
        let taken = begun.elapsed();
        // AUTH-4's delay, then RTMP-29's time for the text to arrive.
        assert!(taken >= Duration::from_millis(800), "{taken:?}");
        world.closed().await;
    }
}

#[tokio::test]
async fn a_name_that_is_none_is_told_so() {
    let mut world = World::start(config());
    let mut publisher = Publisher::ask(world.rtmp(), "live", "a b").await;
    let (code, description) = publisher.status().await;
    assert_eq!(code, "NetStream.Publish.BadName");
    assert!(description.contains("name"), "{description}");
    assert_eq!(world.refused().await, "bad_name");
}

#[tokio::test]
async fn a_second_publisher_takes_over_at_once() {
    // RTMP-68, takeover = "replace".
    let mut world = World::start(config());
    let mut first = Publisher::publish(world.rtmp(), "x").await;
    assert_eq!(world.started().await, ("live/x".into(), false));
    first.audio(120).await;
    let mut publication = world.publication().await;
    sample(&mut publication).await;
    let mut second = Publisher::publish(world.rtmp(), "x").await;
    assert_eq!(first.status().await.0, "NetStream.Publish.BadName");
    assert_eq!(world.ended().await, PublishEnd::TakenOver);
    assert_eq!(world.started().await, ("live/x".into(), true));
    first.end().await;
    second.audio(120).await;
    while !matches!(feed(&mut publication).await, Feed::Discontinuity(_)) {}
    sample(&mut publication).await;
}

#[tokio::test]
async fn a_second_publisher_is_refused_where_the_policy_says_so() {
    let mut world = World::start(aqueduct_ingest::Config { takeover: Takeover::Refuse, ..config() });
    let mut first = Publisher::publish(world.rtmp(), "x").await;
    first.audio(60).await;
    world.publication().await;
    let mut second = Publisher::ask(world.rtmp(), "live", "x").await;
    assert_eq!(second.status().await.0, "NetStream.Publish.BadName");
    assert_eq!(world.refused().await, "busy");
    second.end().await;
    first.audio(3).await;
}

#[tokio::test]
async fn a_publisher_faster_than_real_time_is_slowed_down() {
    // RTMP-69: 8 s of sound at once; 5 s pass at once.
    let mut world = World::start(config());
    let mut publisher = Publisher::publish(world.rtmp(), "x").await;
    let begun = tokio::time::Instant::now();
    publisher.audio(375).await;
    let mut publication = world.publication().await;
    let start = sample(&mut publication).await.dts;
    while sample(&mut publication).await.dts.since(start).unwrap() < 48_000 * 7 {}
    let taken = begun.elapsed();
    assert!(taken >= Duration::from_millis(1_500), "7 s of media came through in {taken:?}");
    let pause = |event: &Event| match event {
        Event::Throttled { pause_micros, .. } => Some(*pause_micros),
        _ => None,
    };
    assert!(world.event("a pause", pause).await > 0);
}

#[tokio::test]
async fn the_server_stops_with_a_plain_close() {
    let mut world = World::start(config());
    let mut publisher = Publisher::publish(world.rtmp(), "x").await;
    publisher.audio(60).await;
    let mut publication = world.publication().await;
    world.stop().await;
    publisher.end().await;
    assert_eq!(world.ended().await, PublishEnd::Drained);
    let end = async { while publication.feed.recv().await.is_some() {} };
    soon("the feed's end", end).await;
    assert!(TcpStream::connect(world.rtmp()).await.is_err());
}

#[tokio::test]
async fn an_encoder_that_understands_is_asked_to_connect_again() {
    // RTMP-61: it may go on sending until it leaves.
    let mut world = World::start(config());
    let socket = TcpStream::connect(world.rtmp()).await.unwrap();
    let caps = [("capsEx".to_owned(), Value::Number(1.0))];
    let mut publisher = Publisher::ask_with(socket, "live", "x", &caps).await;
    assert_eq!(publisher.status().await.0, "NetStream.Publish.Start");
    publisher.audio(60).await;
    let mut publication = world.publication().await;
    let leave = async {
        assert_eq!(publisher.status().await.0, "NetConnection.Connect.ReconnectRequest");
        while publication.feed.try_recv().is_some() {}
        publisher.audio(10).await;
        sample(&mut publication).await;
        drop(publisher);
    };
    tokio::join!(world.stop(), leave);
    assert_eq!(world.ended().await, PublishEnd::Drained);
}

#[tokio::test]
async fn hostile_peers_are_counted_and_do_not_disturb_a_publisher() {
    let mut world = World::start(config());
    let mut publisher = Publisher::publish(world.rtmp(), "x").await;
    publisher.audio(60).await;
    let mut publication = world.publication().await;

    let mut web = TcpStream::connect(world.rtmp()).await.unwrap();
    web.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert_eq!(world.refused().await, "handshake");
    assert_eq!(soon("a close", web.read(&mut [0; 16])).await.unwrap_or(0), 0);

    for (bytes, reason) in [
        // A compressed header first, chunk size 0, 16 MiB of video, a command that is no AMF0, 2 000 000 messages.
        (vec![0xc5], "malformed"),
        (vec![2, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0, 0, 0, 0, 0], "malformed"),
        (vec![4, 0, 0, 0, 0xff, 0xff, 0xff, 9, 1, 0, 0, 0], "limit_message"),
        (vec![3, 0, 0, 0, 0, 0, 2, 20, 0, 0, 0, 0, 0xff, 0xff], "malformed"),
        ([4, 0, 0, 0, 0, 0, 0, 8, 1, 0, 0, 0].repeat(5_000), "limit_messages"),
    ] {
        let mut hostile = Publisher::greet(world.rtmp()).await;
        // It may be closed while it still writes.
        let _ = hostile.write(&bytes).await;
        assert_eq!(world.refused().await, reason);
        hostile.end().await;
    }

    while publication.feed.try_recv().is_some() {}
    publisher.audio(10).await;
    sample(&mut publication).await;
}

#[tokio::test]
async fn half_a_handshake_is_not_waited_for_long() {
    let mut limited = config();
    limited.limits.handshake = Duration::from_millis(50);
    limited.limits.connect = Duration::from_millis(50);
    let mut world = World::start(limited);
    let mut slow = TcpStream::connect(world.rtmp()).await.unwrap();
    slow.write_all(&[3; 700]).await.unwrap();
    assert_eq!(world.refused().await, "timeout_handshake");
    let mut silent = Publisher::greet(world.rtmp()).await;
    assert_eq!(world.refused().await, "timeout_connect");
    silent.end().await;
}

#[tokio::test]
async fn connections_are_limited() {
    let mut limited = config();
    limited.limits.connections_per_network = 2;
    let mut world = World::start(limited);
    let first = Publisher::greet(world.rtmp()).await;
    let _second = Publisher::greet(world.rtmp()).await;
    let mut third = TcpStream::connect(world.rtmp()).await.unwrap();
    assert_eq!(world.refused().await, "limit_network");
    assert_eq!(soon("a close", third.read(&mut [0; 16])).await.unwrap_or(0), 0);
    drop(first);
    world.closed().await;
    Publisher::greet(world.rtmp()).await;
}

#[tokio::test]
async fn rtmps_is_the_same_inside_tls() {
    let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let certificate = certified.cert.der().clone();
    let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    let tls = rustls::ServerConfig::builder().with_no_client_auth();
    let tls = tls.with_single_cert(vec![certificate.clone()], key).unwrap();
    let mut secured = config();
    secured.rtmps.listen = "127.0.0.1:0".to_owned();
    let mut world = World::start_with(secured, Some(Arc::new(tls)));

    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).unwrap();
    let client = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(client));
    let socket = TcpStream::connect(world.address(Protocol::Rtmps)).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let socket = connector.connect(name, socket).await.unwrap();
    let mut publisher = Publisher::ask_over(socket, "live", "x").await;
    assert_eq!(publisher.status().await.0, "NetStream.Publish.Start");
    let protocol = world.event("a start", |event| match event {
        Event::PublishStarted { protocol, .. } => Some(*protocol),
        _ => None,
    });
    assert_eq!(protocol.await, Protocol::Rtmps);
    publisher.audio(60).await;
    sample(&mut world.publication().await).await;

    let mut plain = TcpStream::connect(world.address(Protocol::Rtmps)).await.unwrap();
    plain.write_all(&[3; 1_537]).await.unwrap();
    assert_eq!(world.refused().await, "tls");
    let mut wrong = TcpStream::connect(world.rtmp()).await.unwrap();
    wrong.write_all(&[0x16, 3, 1]).await.unwrap();
    assert_eq!(world.refused().await, "handshake");
}

#[tokio::test]
async fn figures_come_every_second() {
    let mut world = World::start(config());
    let mut publisher = Publisher::publish(world.rtmp(), "x").await;
    publisher.audio(60).await;
    let tick = world.event("a tick", |event| match event {
        Event::Ingest { tick, .. } => Some(tick.clone()),
        _ => None,
    });
    let tick = tick.await;
    assert!(tick.bytes > 0 && tick.audio_frames > 0, "{tick:?}");
}

#[tokio::test]
async fn what_cannot_be_bound_is_named() {
    let world = World::start(config());
    let taken = |tls_port: &str| {
        let mut config = config();
        config.rtmp.listen = if tls_port.is_empty() { world.rtmp().to_string() } else { String::new() };
        config.rtmps.listen = tls_port.to_owned();
        let plan = Plan::try_from(config).unwrap();
        let (events, publications) =
            (aqueduct_common::EventSender::detached(), tokio::sync::mpsc::channel(1).0);
        let streams = Streams::start(plan.policy(), publications, events.clone());
        Server::bind(&plan, None, KeyRing::new(&[], &[]).unwrap(), streams, events).unwrap_err()
    };
    let error = taken("");
    assert!(matches!(error, Error::InUse { .. }));
    assert!(error.to_string().contains("ingest.rtmp.listen"), "{error}");
    assert!(matches!(taken("127.0.0.1:0"), Error::NoCertificate));
}
