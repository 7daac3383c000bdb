//! Clients that vanish, crawl, crowd or talk nonsense, and an edge that stops.
#![allow(clippy::unwrap_used, reason = "the helpers of a test fail it")]

mod world;

use std::time::Duration;

use aqueduct_common::object::{ObjectKind, Publish};
use aqueduct_edge::Limits;
use http::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use world::{LIST, World, bytes_of, go_live, list_text, media, name, part, publish_list, publish_part};

const NEXT: &str = "/live/show/e1/v0/media.m3u8?_HLS_msn=10&_HLS_part=3";

/// Everything the server says until it hangs up.
async fn rest(mut socket: TcpStream) -> String {
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

async fn shed(world: &mut World, reason: &'static str) {
    world.tick(|tick| tick.shed.iter().any(|(label, count)| *label == reason && *count > 0)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_players_get_one_published_part() {
    let mut world = World::live().await;
    let mut players = Vec::new();
    // 40 connections of 50 streams each.
    for _ in 0..40 {
        let client = world.h2c().await;
        players.extend(
            (0..50).map(|_| tokio::spawn(client.send(Method::GET, NEXT, &[("accept-encoding", "gzip")]))),
        );
    }
    world.tick(|tick| tick.blocked == 2_000).await;
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
async fn a_player_that_vanishes_frees_its_requests() {
    let mut world = World::live().await;
    let clients = [world.http1().await, world.h2c().await, world.tls(&["h2"]).await.0];
    let waiting: Vec<_> =
        clients.iter().map(|client| tokio::spawn(client.send(Method::GET, NEXT, &[]))).collect();
    // One more on the h2c connection, cancelled alone.
    let alone = tokio::spawn(clients[1].send(Method::GET, NEXT, &[]));
    world.tick(|tick| tick.blocked == 4).await;
    alone.abort();
    world.tick(|tick| tick.blocked == 3 && tick.connections == 3).await;
    clients.iter().for_each(|client| client.talk.abort());
    world.tick(|tick| tick.blocked == 0 && tick.connections == 0).await;
    drop(waiting);
}

#[tokio::test]
async fn one_session_holds_no_more_than_its_share_of_a_rendition() {
    let mut world = World::with(Limits { held_per_rendition: 2, ..Limits::default() }).await;
    go_live(&world.store, 52);
    let clients = [world.h2c().await, world.http1().await];
    let session = ("cmcd-session", "sid=\"one\"");
    let waiting: Vec<_> =
        clients.iter().map(|client| tokio::spawn(client.send(Method::GET, NEXT, &[session]))).collect();
    world.tick(|tick| tick.blocked == 2).await;
    let refused = clients[0].send(Method::GET, NEXT, &[session]).await.unwrap();
    assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (429, Some("1")));
    shed(&mut world, "held").await;
    // Another session on the same connection, and one that tells none, wait as they like.
    let others = [("cmcd-session", "sid=\"two\""), ("accept", "*/*")];
    let more = others.map(|header| tokio::spawn(clients[0].send(Method::GET, NEXT, &[header])));
    world.tick(|tick| tick.blocked == 4).await;
    drop((waiting, more));
}

#[tokio::test]
async fn one_address_may_ask_and_connect_so_often() {
    let limits = Limits { requests_per_second_per_ip: 10, ..Limits::default() };
    let mut world = World::with(limits).await;
    go_live(&world.store, 52);
    let clients = [world.h2c().await, world.http1().await];
    let mut refused = None;
    // More than two seconds' worth, over two connections: some are refused, and told when to come again.
    for turn in 0..200 {
        let reply = clients[turn % 2].get(LIST).await;
        if reply.status.as_u16() == 429 {
            refused = Some(reply.header("retry-after").map(str::to_owned));
        }
    }
    assert_eq!(refused, Some(Some("1".to_owned())));
    shed(&mut world, "request_rate").await;
    // A second later the address is welcome again.
    world.tick(|_| true).await;
    assert_eq!(clients[0].get(LIST).await.status.as_u16(), 200);

    let mut world = World::with(Limits { connections_per_second_per_ip: 2, ..Limits::default() }).await;
    for _ in 0..12 {
        let socket = TcpStream::connect(world.http).await.unwrap();
        drop(socket);
    }
    shed(&mut world, "connection_rate").await;
}

#[tokio::test]
async fn one_connection_holds_no_more_than_its_share() {
    let mut world = World::with(Limits { held_per_connection: 3, ..Limits::default() }).await;
    go_live(&world.store, 52);
    let client = world.h2c().await;
    let waiting: Vec<_> = (0..3).map(|_| tokio::spawn(client.send(Method::GET, NEXT, &[]))).collect();
    world.tick(|tick| tick.blocked == 3).await;
    let refused = client.get(NEXT).await;
    assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (429, Some("1")));
    // What is not held goes on.
    assert_eq!(client.get(LIST).await.status.as_u16(), 200);
    shed(&mut world, "held").await;
    world.store.publish(&name(), publish_part(53));
    world.store.publish(&name(), publish_list(53));
    for player in waiting {
        assert_eq!(player.await.unwrap().unwrap().status.as_u16(), 200);
    }
    assert_eq!(client.get(NEXT).await.status.as_u16(), 200);
}

#[tokio::test]
async fn a_client_that_does_not_read_is_shed() {
    let limits = Limits { slow_reader_over: Duration::from_secs(2), ..Limits::default() };
    let mut world = World::with(limits).await;
    go_live(&world.store, 3);
    let body = (0..64).map(|n| bytes_of(n, 1 << 20)).collect();
    world.store.publish(&name(), media("e1/v0/big.m4s", ObjectKind::Segment, body));
    let mut slow = TcpStream::connect(world.http).await.unwrap();
    slow.write_all(b"GET /live/show/e1/v0/big.m4s HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut first = [0; 15];
    slow.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200 OK");
    world.tick(|tick| tick.shed == [("slow_reader", 1)]).await;
    world.tick(|tick| tick.connections == 0).await;
    // A client over HTTP/2 that gives no window is no different.
    let crawl = world.h2c_without_window("/live/show/e1/v0/big.m4s").await;
    world.tick(|tick| tick.shed == [("slow_reader", 1)]).await;
    world.tick(|tick| tick.connections == 0).await;
    drop(crawl);
}

#[tokio::test]
async fn nonsense_is_refused_and_counted() {
    let mut world = World::live().await;
    let long_head = format!("GET {LIST} HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "y".repeat(17_000));
    let long_url =
        format!("GET /live/show/{} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", "y".repeat(5_000));
    let close = "HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    for (bytes, status, reason) in [
        (long_head.replace("host: x", "host: x\r\nconnection: close"), "431", Some("head_size")),
        (long_url, "414", Some("url_size")),
        ("GET / HTTP/9.9\r\n\r\n".into(), "", Some("malformed")),
        ("\u{1}\u{2}\u{3} random \0 bytes\r\n\r\n".into(), "400", Some("malformed")),
        ("GET / HTTP/1.1\r\nbad header\r\n\r\n".into(), "400", Some("malformed")),
        (format!("GET /live/show/%00 {close}"), "400", None),
        (format!("GET /live/show/../../etc/passwd {close}"), "400", None),
        (format!("GET //live/show/x {close}"), "400", None),
        (format!("GET http://elsewhere/live/show/index.m3u8 {close}"), "200", None),
        (format!("OPTIONS * {close}"), "204", None),
        (format!("CONNECT elsewhere:443 {close}"), "405", None),
        (format!("BREW / {close}"), "405", None),
        (
            format!("POST {LIST} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 3\r\n\r\nabc"),
            "405",
            None,
        ),
        (format!("GET {LIST}?_HLS_msn=99999999999999999999999999999 {close}"), "400", None),
        (format!("GET {LIST}?_HLS_msn=-1&_HLS_part=%00 {close}"), "400", None),
    ] {
        let mut socket = TcpStream::connect(world.http).await.unwrap();
        socket.write_all(bytes.as_bytes()).await.unwrap();
        let answer = rest(socket).await;
        let line = &bytes[..bytes.len().min(40)];
        assert!(answer.get(9..).unwrap_or_default().starts_with(status), "{line:?}: {answer}");
        if let Some(reason) = reason {
            shed(&mut world, reason).await;
        }
    }
    // TLS to a plain port, plain HTTP to the TLS port.
    let mut socket = TcpStream::connect(world.https).await.unwrap();
    socket.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    rest(socket).await;
    shed(&mut world, "handshake").await;
    assert_eq!(world.http1().await.get(LIST).await.status.as_u16(), 200);
}

#[tokio::test]
async fn silent_and_trickling_clients_are_shed_and_idle_ones_told_goodbye() {
    let limits = Limits { head: Duration::from_secs(1), idle: Duration::from_secs(3), ..Limits::default() };
    let mut world = World::with(limits).await;
    go_live(&world.store, 3);
    let idle = world.http1().await;
    assert_eq!(idle.get(LIST).await.status.as_u16(), 200);
    let silent = TcpStream::connect(world.http).await.unwrap();
    let handshaking = TcpStream::connect(world.https).await.unwrap();
    let mut trickling = TcpStream::connect(world.http).await.unwrap();
    trickling.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\nGET / HTT").await.unwrap();
    assert_eq!(rest(silent).await, "");
    assert_eq!(rest(handshaking).await, "");
    assert!(rest(trickling).await.starts_with("HTTP/1.1 200"));
    idle.talk.await.unwrap();
    world.tick(|tick| tick.connections == 0).await;
}

#[tokio::test]
async fn a_crowd_of_idle_connections_does_not_disturb_a_viewer() {
    let mut world = World::live().await;
    let mut crowd = Vec::new();
    for _ in 0..500 {
        crowd.push(TcpStream::connect(world.http).await.unwrap());
    }
    world.tick(|tick| tick.connections == 500).await;
    let viewer = world.h2c().await;
    for newest in 53..80 {
        let target = format!("{LIST}?_HLS_msn={}&_HLS_part={}", newest / 5, newest % 5);
        let waiting = tokio::spawn(viewer.send(Method::GET, &target, &[]));
        world.store.publish(&name(), publish_part(newest));
        world.store.publish(&name(), publish_list(newest));
        assert_eq!(waiting.await.unwrap().unwrap().text(), list_text(newest));
        assert_eq!(viewer.get(&format!("/live/show/{}", part(newest))).await.body, bytes_of(newest, 2_000));
    }
    drop(crowd);
    world.tick(|tick| tick.connections == 1).await;
}

#[tokio::test]
async fn connections_beyond_the_limits_are_closed() {
    for (limits, reason) in [
        (Limits { connections: 3, ..Limits::default() }, "connections"),
        (Limits { connections_per_ip: 3, ..Limits::default() }, "connections_per_ip"),
    ] {
        let mut world = World::with(limits).await;
        go_live(&world.store, 3);
        let (one, two, three) = (world.http1().await, world.http1().await, world.http1().await);
        assert_eq!(three.get(LIST).await.status.as_u16(), 200);
        let refused = TcpStream::connect(world.http).await.unwrap();
        assert_eq!(rest(refused).await, "");
        shed(&mut world, reason).await;
        drop((two, three));
        world.tick(|tick| tick.connections == 1).await;
        assert_eq!(world.http1().await.get(LIST).await.status.as_u16(), 200);
        drop(one);
    }
}

#[tokio::test]
async fn a_server_that_stops_lets_everybody_go() {
    let mut world = World::live().await;
    let clients = [world.http1().await, world.h2c().await, world.tls(&["h2"]).await.0];
    let waiting: Vec<_> =
        clients.iter().map(|client| tokio::spawn(client.send(Method::GET, NEXT, &[]))).collect();
    let idle = world.http1().await;
    assert_eq!(idle.get(LIST).await.status.as_u16(), 200);
    world.tick(|tick| tick.blocked == 3).await;
    world.stop.cancel();
    for player in waiting {
        let reply = player.await.unwrap().unwrap();
        assert_eq!((reply.status.as_u16(), reply.header("retry-after")), (503, Some("0")));
    }
    assert_eq!(world.run.await.unwrap(), 0);
    assert!(TcpStream::connect(world.http).await.is_err());
    idle.talk.await.unwrap();
}
