//! HTTP/3 beside the others: the same answers, holds, limits and goodbyes.
#![allow(clippy::unwrap_used, reason = "the helpers of a test fail it")]

mod world;

use std::future::IntoFuture as _;
use std::time::Duration;

use aqueduct_common::event::Carrier;
use aqueduct_common::object::{ObjectKind, Publish, Update};
use aqueduct_edge::{Config, Limits};
use bytes::Bytes;
use http::Method;
use tokio::sync::mpsc;
use world::{
    Client, LIST, Reply, World, bytes_of, go_live, list_text, media, name, part, path, publish_list,
    publish_part,
};

const NEXT: &str = "/live/show/e1/v0/media.m3u8?_HLS_msn=10&_HLS_part=3";

async fn shed(world: &mut World, reason: &'static str) {
    world.tick(|tick| tick.shed.iter().any(|(label, count)| *label == reason && *count > 0)).await;
}

/// What the client is told, without what is another for each answer.
fn told(reply: &Reply) -> (u16, Vec<(String, String)>, Bytes) {
    let mut headers: Vec<(String, String)> = reply
        .headers
        .iter()
        // Those tell the time, and how long this one answer took.
        .filter(|(name, _)| !["date", "server-timing", "cmsd-dynamic"].contains(&name.as_str()))
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    headers.sort();
    (reply.status.as_u16(), headers, reply.body.clone())
}

#[tokio::test]
async fn answers_are_those_of_http2() {
    let world = World::live().await;
    let body = vec![bytes_of(1, 200_000), Bytes::new(), bytes_of(2, 70_001), bytes_of(3, 1)];
    world.store.publish(&name(), media("e1/v0/s9.m4s", ObjectKind::Segment, body.clone()));
    world.store.publish(&name(), Update::Retire { path: path(&part(1)), linger: Duration::ZERO });
    let (three, two) = (world.http3().await, world.tls(&["h2"]).await.0);
    while three.get("/live/show/e1/v0/p1.m4s").await.status.as_u16() != 410 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (get, head, options, post) = (Method::GET, Method::HEAD, Method::OPTIONS, Method::POST);
    let segment = "/live/show/e1/v0/s9.m4s";
    let whole = three.get(segment).await;
    assert!(whole.body == body.concat());
    assert!(whole.header("date").unwrap().ends_with(" GMT"), "{:?}", whole.headers);
    let tag = whole.header("etag").unwrap().to_owned();
    for (method, target, header, status) in [
        (&get, segment, ("accept", "*/*"), 200),
        (&head, segment, ("accept", "*/*"), 200),
        (&get, segment, ("range", "bytes=199990-200009"), 206),
        (&get, segment, ("range", "bytes=-5"), 206),
        (&get, segment, ("range", "bytes=300000-"), 416),
        (&get, segment, ("if-none-match", tag.as_str()), 304),
        (&get, LIST, ("accept-encoding", "gzip"), 200),
        (&get, "/live/show/e1/v0/media.m3u8?_HLS_msn=10&_HLS_part=1&_HLS_skip=YES", ("accept", "*/*"), 200),
        (&get, "/live/show/index.m3u8", ("accept", "*/*"), 200),
        (&get, "/live/show/e1/v0/none.m4s", ("accept", "*/*"), 404),
        (&get, "/live/show/e1/v0/p1.m4s", ("accept", "*/*"), 410),
        (&get, "/live/none/index.m3u8", ("accept", "*/*"), 404),
        (&get, "/live/show/%2e%2e/x", ("accept", "*/*"), 400),
        (&get, "/live/show/e1/v0/media.m3u8?_HLS_msn=99", ("accept", "*/*"), 400),
        (&options, LIST, ("access-control-request-method", "GET"), 204),
        (&post, LIST, ("accept", "*/*"), 405),
        (&get, "/", ("accept", "*/*"), 200),
        (&get, "/assets/app-1f.js", ("accept-encoding", "gzip"), 200),
    ] {
        let (here, there) =
            (three.send(method.clone(), target, &[header]), two.send(method.clone(), target, &[header]));
        let (here, there) = (here.await.unwrap(), there.await.unwrap());
        assert_eq!(told(&here), told(&there), "{method} {target} {header:?}");
        assert_eq!(here.status.as_u16(), status, "{method} {target} {header:?}");
        assert_eq!(here.header("access-control-allow-origin"), Some("*"), "{method} {target}");
    }
}

#[tokio::test]
async fn http3_is_offered_over_tls_and_only_there() {
    let world = World::live().await;
    let offer = format!("h3=\":{}\"; ma=86400", world.https.port());
    for (client, offered) in [
        (world.tls(&["h2"]).await.0, true),
        (world.tls(&["http/1.1"]).await.0, true),
        (world.http3().await, true),
        (world.http1().await, false),
        (world.h2c().await, false),
    ] {
        for target in [LIST, "/live/none/index.m3u8", "/"] {
            let reply = client.get(target).await;
            assert_eq!(reply.header("alt-svc"), offered.then_some(offer.as_str()), "{target}");
        }
    }
    let mut config = Config::default();
    config.http3.advertise = 443;
    let mapped = World::of(config);
    assert_eq!(mapped.tls(&["h2"]).await.0.get("/").await.header("alt-svc"), Some("h3=\":443\"; ma=86400"));
    let mut config = Config::default();
    config.http3.enabled = false;
    let off = World::of(config);
    assert_eq!(off.tls(&["h2"]).await.0.get("/").await.header("alt-svc"), None);
    // Its port is free: nobody listens there.
    std::net::UdpSocket::bind(off.https).unwrap();
}

#[tokio::test]
async fn held_requests_are_answered_and_those_of_clients_that_go_are_let_go() {
    let mut world = World::live().await;
    let (stays, goes) = (world.http3().await, world.http3().await);
    let early = tokio::spawn(stays.send(Method::GET, "/live/show/e1/v0/p53.m4s", &[]));
    let next = tokio::spawn(stays.send(Method::GET, NEXT, &[]));
    let alone = tokio::spawn(stays.send(Method::GET, NEXT, &[]));
    let gone = tokio::spawn(goes.send(Method::GET, NEXT, &[]));
    world.tick(|tick| tick.blocked == 4 && tick.connections == 2).await;
    alone.abort();
    world.tick(|tick| tick.blocked == 3).await;
    goes.talk.abort();
    world.tick(|tick| tick.blocked == 2 && tick.connections == 1).await;
    assert!(gone.await.unwrap().is_err());
    world.store.publish(&name(), publish_part(53));
    world.store.publish(&name(), publish_list(53));
    assert_eq!(early.await.unwrap().unwrap().body, bytes_of(53, 2_000));
    assert_eq!(next.await.unwrap().unwrap().text(), list_text(53));
    world.tick(|tick| tick.blocked == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_players_of_http3_get_one_published_part() {
    let mut world = World::live().await;
    let (mut clients, mut players) = (Vec::new(), Vec::new());
    // 20 connections of 50 streams each.
    for _ in 0..20 {
        let client = world.http3().await;
        let ask = || client.send(Method::GET, NEXT, &[("accept-encoding", "gzip")]);
        players.extend((0..50).map(|_| tokio::spawn(ask())));
        clients.push(client);
    }
    world.tick(|tick| tick.blocked == 1_000).await;
    world.store.publish(&name(), publish_part(53));
    world.store.publish(&name(), publish_list(53));
    let mut bodies = Vec::new();
    for player in players {
        let reply = player.await.unwrap().unwrap();
        assert_eq!(reply.status.as_u16(), 200);
        bodies.push(reply.body);
    }
    assert!(bodies.iter().all(|body| *body == bodies[0]) && !bodies[0].is_empty());
    world.tick(|tick| tick.blocked == 0).await;
}

#[tokio::test]
async fn requests_are_counted_as_http3() {
    let mut world = World::live().await;
    let client = world.http3().await;
    client.get("/live/show/e1/v0/p7.m4s").await;
    client.get("/live/show/e1/v0/none.m4s").await;
    let mut requests = Vec::new();
    let mut bytes = 0;
    while requests.len() < 2 {
        let Some(aqueduct_common::Event::Edge(tick)) = world.events.recv().await else { continue };
        requests.extend(tick.requests);
        bytes += tick.bytes;
    }
    requests.sort_unstable();
    assert_eq!(requests, [("other", "4xx", "h3", 1), ("part", "2xx", "h3", 1)]);
    assert!(bytes >= 2_000);
}

#[tokio::test]
async fn one_address_has_the_same_limits_over_http3() {
    let mut world = World::with(Limits { held_per_connection: 3, ..Limits::default() }).await;
    go_live(&world.store, 52);
    let client = world.http3().await;
    let waiting: Vec<_> = (0..3).map(|_| tokio::spawn(client.send(Method::GET, NEXT, &[]))).collect();
    world.tick(|tick| tick.blocked == 3).await;
    let refused = client.get(NEXT).await;
    assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (429, Some("1")));
    shed(&mut world, "held").await;
    drop(waiting);

    let mut world = World::with(Limits { requests_per_second_per_ip: 10, ..Limits::default() }).await;
    go_live(&world.store, 52);
    let clients = [world.http3().await, world.h2c().await];
    let mut refused = false;
    for turn in 0..200 {
        refused |= clients[turn % 2].get(LIST).await.status.as_u16() == 429;
    }
    assert!(refused);
    shed(&mut world, "request_rate").await;

    for (limits, reason) in [
        (Limits { connections: 2, ..Limits::default() }, "connections"),
        (Limits { connections_per_ip: 2, ..Limits::default() }, "connections_per_ip"),
    ] {
        let mut world = World::with(limits).await;
        go_live(&world.store, 3);
        // QUIC and TCP count together.
        let (one, two) = (world.http3().await, world.http1().await);
        assert_eq!(two.get(LIST).await.status.as_u16(), 200);
        let refused = world.quic(world.https, quinn::TransportConfig::default()).await;
        assert!(matches!(refused, Err(quinn::ConnectionError::ConnectionClosed(_))), "{reason}: {refused:?}");
        shed(&mut world, reason).await;
        assert_eq!(one.get(LIST).await.status.as_u16(), 200);
    }
}

#[tokio::test]
async fn one_address_may_connect_so_often_over_http3() {
    let mut world = World::with(Limits { connections_per_second_per_ip: 2, ..Limits::default() }).await;
    let mut all_at_once = tokio::task::JoinSet::new();
    for _ in 0..40 {
        let mut endpoint = quinn::Endpoint::client(([127, 0, 0, 1], 0).into()).unwrap();
        endpoint.set_default_client_config(world.quic_client());
        all_at_once.spawn(endpoint.connect(world.https, "localhost").unwrap().into_future());
    }
    let came = all_at_once.join_all().await.into_iter().filter(Result::is_ok).count();
    assert!((1..40).contains(&came), "{came}");
    shed(&mut world, "connection_rate").await;
}

#[tokio::test]
async fn a_client_that_does_not_read_is_shed_and_keeps_little() {
    let limits = Limits { slow_reader_over: Duration::from_secs(2), ..Limits::default() };
    let mut world = World::with(limits).await;
    go_live(&world.store, 3);
    let body = (0..64).map(|n| bytes_of(n, 1 << 20)).collect();
    world.store.publish(&name(), media("e1/v0/big.m4s", ObjectKind::Segment, body));
    // It takes all that it is sent into its own memory, up to 8 MiB, or leaves no room at all.
    for window in [8 * 1_024 * 1_024_u32, 20_000] {
        let mut transport = quinn::TransportConfig::default();
        transport.stream_receive_window(window.into());
        let client = Client::http3(world.quic(world.https, transport).await.unwrap()).await;
        let answer = client.begin("/live/show/e1/v0/big.m4s").await;
        let mut sent = 0;
        loop {
            let Some(aqueduct_common::Event::Edge(tick)) = world.events.recv().await else { continue };
            sent += tick.bytes;
            if tick.shed == [("slow_reader", 1)] {
                break;
            }
            assert_eq!(tick.shed, []);
        }
        // What is on its way besides is bounded, whatever the client allows.
        assert!(sent <= u64::from(window) + 1_100_000, "{sent} of {window}");
        world.tick(|tick| tick.connections == 0).await;
        drop(answer);
    }
}

#[tokio::test]
async fn idle_clients_of_http3_are_told_goodbye_and_silent_ones_shed() {
    let limits = Limits { head: Duration::from_secs(2), idle: Duration::from_secs(4), ..Limits::default() };
    let mut world = World::with(limits).await;
    go_live(&world.store, 52);
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(world.quic(world.https, quinn::TransportConfig::default()).await.unwrap());
        // They live as long as it takes to open them all.
        silent.retain(|quic| quic.close_reason().is_none());
    }
    // A viewer is not disturbed.
    let viewer = world.http3().await;
    for newest in 53..70 {
        let target = format!("{LIST}?_HLS_msn={}&_HLS_part={}", newest / 5, newest % 5);
        let waiting = tokio::spawn(viewer.send(Method::GET, &target, &[]));
        world.store.publish(&name(), publish_part(newest));
        world.store.publish(&name(), publish_list(newest));
        assert_eq!(waiting.await.unwrap().unwrap().text(), list_text(newest));
    }
    for quic in silent {
        quic.closed().await;
    }
    shed(&mut world, "slow_head").await;
    // It has all its answers and is then idle itself.
    viewer.talk.await.unwrap();
    world.tick(|tick| tick.connections == 0).await;
}

#[tokio::test]
async fn a_server_that_stops_lets_clients_of_http3_go() {
    let mut world = World::live().await;
    let body = vec![bytes_of(1, 3 << 20)];
    world.store.publish(&name(), media("e1/v0/big.m4s", ObjectKind::Segment, body.clone()));
    let (held, busy, idle) = (world.http3().await, world.http3().await, world.http3().await);
    assert_eq!(idle.get(LIST).await.status.as_u16(), 200);
    let waiting = tokio::spawn(held.send(Method::GET, NEXT, &[]));
    let loading = busy.begin("/live/show/e1/v0/big.m4s").await;
    world.tick(|tick| tick.blocked == 1 && tick.connections == 3).await;
    world.stop.cancel();
    let reply = waiting.await.unwrap().unwrap();
    assert_eq!((reply.status.as_u16(), reply.header("retry-after")), (503, Some("0")));
    // What was begun comes whole, after the goodbye.
    let loaded = loading.read().await.unwrap();
    assert!(loaded.body == body.concat());
    assert_eq!(world.run.await.unwrap(), 0);
    for client in [held, busy, idle] {
        client.talk.await.unwrap();
    }
    // Nobody listens any more.
    std::net::UdpSocket::bind(world.https).unwrap();
}

#[tokio::test]
async fn what_playback_waits_for_passes_what_it_does_not() {
    let world = World::live().await;
    for number in 0..2 {
        let body = vec![bytes_of(number, 1 << 20)];
        world.store.publish(&name(), media(&format!("e1/v0/s{number}.m4s"), ObjectKind::Segment, body));
    }
    world.store.publish(&name(), media("e1/v0/px.m4s", ObjectKind::Part, vec![bytes_of(7, 100_000)]));
    // Two MiB take seconds through here, so all requests are there long before the first answer.
    let narrow = world::narrow(world.https, 1_500_000).await;
    let quic = world.quic(narrow, quinn::TransportConfig::default()).await.unwrap();
    let client = Client::http3(quic).await;
    let (done, mut order) = mpsc::channel(10);
    // The client calls one segment more urgent than the other, and says nothing of the rest.
    for (target, header) in [
        ("/live/show/e1/v0/s0.m4s", ("priority", "u=5")),
        ("/live/show/e1/v0/s1.m4s", ("accept", "*/*")),
        ("/live/show/e1/v0/px.m4s", ("accept", "*/*")),
        (LIST, ("accept", "*/*")),
    ] {
        let (done, answer) = (done.clone(), client.send(Method::GET, target, &[header]));
        tokio::spawn(async move {
            let reply = answer.await.unwrap();
            done.send((target, reply.status.as_u16())).await.unwrap();
        });
    }
    let mut came = Vec::new();
    while came.len() < 4 {
        came.push(order.recv().await.unwrap());
    }
    let targets: Vec<_> = came.iter().map(|(target, _)| target.rsplit('/').next().unwrap()).collect();
    assert_eq!(targets, ["media.m3u8", "px.m4s", "s1.m4s", "s0.m4s"]);
}

#[tokio::test]
async fn a_player_s_report_is_passed_on_unread() {
    let mut world = World::live().await;
    let client = world.http3().await;
    assert_eq!(client.post("/live/show/beacon", "{\"v\":1}").await.status.as_u16(), 204);
    let report = world.report().await;
    assert_eq!((report.carrier, &*report.text, report.stream), (Carrier::Beacon, "{\"v\":1}", name()));
    client.get("/live/show/index.m3u8?CMCD=bl%3D1").await;
    let report = world.report().await;
    assert_eq!((report.carrier, &*report.text), (Carrier::Query, "bl%3D1"));
    let long = Box::leak("a".repeat(17_000).into_boxed_str());
    assert_eq!(client.post("/live/show/beacon", long).await.status.as_u16(), 413);
    assert_eq!(client.post("/live/none/beacon", "{}").await.status.as_u16(), 404);
    assert_eq!(client.get("/live/show/index.m3u8").await.status.as_u16(), 200, "the connection goes on");
}
