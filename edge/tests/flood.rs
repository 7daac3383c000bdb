//! Clients that send what no player sends, over HTTP/2 and HTTP/3: each is shed, counted by its reason, and costs
//! nobody else anything.
#![allow(clippy::unwrap_used, clippy::panic, reason = "the helpers of a test fail it")]

mod world;

use std::sync::Arc;
use std::time::Duration;

use aqueduct_edge::Limits;
use http::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use world::{Client, LIST, World, go_live};

async fn shed(world: &mut World, reasons: &[&'static str]) {
    world.tick(|tick| tick.shed.iter().any(|(label, count)| reasons.contains(label) && *count > 0)).await;
}

/// One more viewer comes and gets its playlist.
async fn others_are_served(world: &World) {
    assert_eq!(world.h2c().await.get(LIST).await.status.as_u16(), 200);
    assert_eq!(world.http3().await.get(LIST).await.status.as_u16(), 200);
}

mod http2 {
    pub(crate) const SETTINGS: u8 = 4;
    pub(crate) const HEADERS: u8 = 1;
    pub(crate) const RST_STREAM: u8 = 3;
    pub(crate) const PING: u8 = 6;
    pub(crate) const CONTINUATION: u8 = 9;
    pub(crate) const END_STREAM: u8 = 1;
    pub(crate) const END_HEADERS: u8 = 4;
    /// GET, http, `/` and the authority `x`.
    pub(crate) const GET: [u8; 6] = [0x82, 0x86, 0x84, 0x41, 1, b'x'];

    pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        frame
    }

    pub(crate) fn opening() -> Vec<u8> {
        [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(SETTINGS, 0, 0, &[])].concat()
    }
}

/// Sends these bytes over and over, until the server hangs up.
async fn send_until_hung_up(world: &World, opening: &[u8], mut next: impl FnMut(u32) -> Vec<u8>) {
    let mut socket = TcpStream::connect(world.http).await.unwrap();
    socket.write_all(opening).await.unwrap();
    let (mut read, mut write) = socket.into_split();
    // What the server answers is taken, so that it has no reason to wait.
    let listening = tokio::spawn(async move {
        let mut bytes = [0; 4_096];
        while read.read(&mut bytes).await.is_ok_and(|len| len > 0) {}
    });
    for turn in 0..1_000_000 {
        if write.write_all(&next(turn)).await.is_err() || listening.is_finished() {
            break;
        }
    }
    listening.await.unwrap();
}

#[tokio::test]
async fn streams_of_http2_that_are_reset_at_once_are_a_flood() {
    use http2::*;
    let mut world = World::live().await;
    send_until_hung_up(&world, &opening(), |turn| {
        let stream = 2 * turn + 1;
        let begin = frame(HEADERS, END_STREAM | END_HEADERS, stream, &GET);
        [begin, frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])].concat()
    })
    .await;
    shed(&mut world, &["flood"]).await;
    others_are_served(&world).await;
}

#[tokio::test]
async fn frames_of_http2_that_ask_for_nothing_are_a_flood() {
    use http2::*;
    let mut world = World::live().await;
    for nothing in [frame(PING, 0, 0, &[7; 8]), frame(SETTINGS, 0, 0, &[]), frame(200, 0, 0, &[1])] {
        send_until_hung_up(&world, &opening(), |_| nothing.clone()).await;
        shed(&mut world, &["flood"]).await;
    }
    others_are_served(&world).await;
}

#[tokio::test]
async fn a_head_of_http2_that_goes_on_and_on_is_cut_off() {
    use http2::*;
    let mut world = World::live().await;
    // Frames of nothing, and frames of 16 KiB: a literal header that never ends.
    let long = [&[0x00, 1, b'n', 0x7f, 0xff, 0xff, 0xff, 0x07][..], &[b'x'; 16_000]].concat();
    for piece in [Vec::new(), long] {
        let begin = [opening(), frame(HEADERS, END_STREAM, 1, &GET)].concat();
        send_until_hung_up(&world, &begin, |_| frame(CONTINUATION, 0, 1, &piece)).await;
        shed(&mut world, &["head_size", "flood", "malformed"]).await;
    }
    others_are_served(&world).await;
}

#[tokio::test]
async fn a_small_head_of_http2_that_unpacks_to_a_large_one_is_cut_off() {
    use http2::*;
    let mut world = World::live().await;
    // One header of 4,000 bytes goes into the table; then it is meant ten thousand times, a byte each.
    let entry = [&[0x40, 1, b'n', 0x7f, 0xa1, 0x1e][..], &[b'x'; 4_000]].concat();
    let bomb = [&GET[..], &entry, &[0xbe; 10_000]].concat();
    let begin = [opening(), frame(HEADERS, END_STREAM | END_HEADERS, 1, &bomb)].concat();
    send_until_hung_up(&world, &begin, |_| Vec::new()).await;
    shed(&mut world, &["flood"]).await;
    others_are_served(&world).await;
}

#[tokio::test]
async fn heads_that_are_too_large_are_answered_in_words() {
    let mut world = World::live().await;
    let clients =
        [("h2c", world.h2c().await), ("tls h2", world.tls(&["h2"]).await.0), ("h3", world.http3().await)];
    for (protocol, client) in &clients {
        let large = "y".repeat(18_000);
        let reply = client.send(Method::GET, LIST, &[("x", &large)]).await.unwrap();
        assert_eq!(reply.status.as_u16(), 431, "{protocol}");
        assert_eq!(reply.header("access-control-allow-origin"), Some("*"), "{protocol}");
        shed(&mut world, &["head_size"]).await;
        // The connection goes on.
        assert_eq!(client.get(LIST).await.status.as_u16(), 200, "{protocol}");
        // What is larger still is refused by the protocol's own library; that of HTTP/3 does not even send it.
        let larger = "y".repeat(40_000);
        match client.send(Method::GET, LIST, &[("x", &larger)]).await {
            Ok(reply) => assert_eq!(reply.status.as_u16(), 431, "{protocol}"),
            Err(error) => assert!(error.to_string().contains("Header too big"), "{protocol}: {error}"),
        }
    }
    others_are_served(&world).await;
}

/// Streams and frames of HTTP/3, by hand.
mod http3 {
    pub(crate) const CONTROL: u8 = 0;
    pub(crate) const DATA: u8 = 0;
    pub(crate) const HEADERS: u8 = 1;
    pub(crate) const SETTINGS: u8 = 4;
    /// A type that means nothing (RFC 9114, section 7.2.8).
    pub(crate) const GREASE: u8 = 0x21;

    /// A frame that says it is so long.
    pub(crate) fn frame(kind: u8, len: u32, payload: &[u8]) -> Vec<u8> {
        [&[kind][..], &(0x8000_0000 | len).to_be_bytes(), payload].concat()
    }
}

async fn raw(world: &World) -> quinn::Connection {
    world.quic(world.https, quinn::TransportConfig::default()).await.unwrap()
}

/// What the server closed the connection with.
async fn closed(quic: &quinn::Connection) -> u64 {
    match quic.closed().await {
        quinn::ConnectionError::ApplicationClosed(close) => close.error_code.into_inner(),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn streams_of_http3_that_are_reset_at_once_are_a_flood() {
    let mut world = World::live().await;
    let quic = raw(&world).await;
    while let Ok((mut send, _receive)) = quic.open_bi().await {
        // The beginning of a head, and then nothing.
        if send.write_all(&http3::frame(http3::HEADERS, 100, &[0, 0])).await.is_ok() {
            let _ = send.reset(0x10c_u32.into());
        }
    }
    shed(&mut world, &["flood"]).await;
    others_are_served(&world).await;
}

#[tokio::test]
async fn what_is_no_request_is_read_only_so_far() {
    use http3::*;
    let mut world = World::live().await;
    let settings = [&[CONTROL][..], &frame(SETTINGS, 0, &[])].concat();
    for (opening, again) in [
        // Frames that mean nothing, one that says it goes on for a GiB, and settings that do.
        (settings.clone(), frame(GREASE, 1_000, &[0; 1_000])),
        ([settings, frame(GREASE, 1 << 29, &[])].concat(), vec![0; 1_000]),
        ([&[CONTROL][..], &frame(SETTINGS, 1 << 29, &[])].concat(), vec![0; 1_000]),
    ] {
        let quic = raw(&world).await;
        let mut control = quic.open_uni().await.unwrap();
        control.write_all(&opening).await.unwrap();
        let mut sent = 0;
        while control.write_all(&again).await.is_ok() {
            sent += again.len();
        }
        // What is read, and what may be on its way.
        assert!(sent < 400_000, "{sent}");
        closed(&quic).await;
        shed(&mut world, &["flood"]).await;
    }
    // Streams of an unknown kind, one after the other.
    let quic = raw(&world).await;
    while let Ok(mut stream) = quic.open_uni().await {
        let _ = stream.write_all(&[GREASE, 0]).await;
    }
    shed(&mut world, &["flood"]).await;
    others_are_served(&world).await;
}

#[tokio::test]
async fn heads_of_http3_have_an_end() {
    use http3::*;
    let mut world = World::live().await;
    // It says that it is half a GiB, and goes on.
    let quic = raw(&world).await;
    let (mut send, _receive) = quic.open_bi().await.unwrap();
    send.write_all(&frame(HEADERS, 1 << 29, &[0, 0])).await.unwrap();
    let mut sent = 0;
    while send.write_all(&[0xd1; 1_000]).await.is_ok() {
        sent += 1_000;
    }
    assert!(sent < 200_000, "{sent}");
    shed(&mut world, &["head_size"]).await;
    // A byte each for a header of 40: too many of them.
    let (mut send, mut receive) = quic.open_bi().await.unwrap();
    let bomb = [&[0, 0][..], &[0xd1; 30_000]].concat();
    send.write_all(&frame(HEADERS, bomb.len() as u32, &bomb)).await.unwrap();
    send.finish().unwrap();
    let answer = receive.read_to_end(10_000).await.unwrap();
    assert_eq!(answer[0], HEADERS, "an answer, and no body: {answer:?}");
    shed(&mut world, &["head_size"]).await;
    assert!(quic.close_reason().is_none(), "the connection goes on");
    others_are_served(&world).await;
}

#[tokio::test]
async fn nonsense_over_http3_is_refused_and_counted() {
    use http3::*;
    let mut world = World::with(Limits { head: Duration::from_secs(2), ..Limits::default() }).await;
    go_live(&world.store, 52);
    for (bytes, reason, code) in [
        // A body without a head, and a head of what was never said.
        (frame(DATA, 3, b"abc"), "malformed", 0x105),
        (frame(HEADERS, 3, &[5, 0, 0x80]), "malformed", 0x200),
        // A frame of HTTP/2.
        (frame(6, 0, &[]), "malformed", 0x105),
    ] {
        let quic = raw(&world).await;
        let (mut send, _receive) = quic.open_bi().await.unwrap();
        send.write_all(&bytes).await.unwrap();
        assert_eq!(closed(&quic).await, code, "{bytes:?}");
        shed(&mut world, &[reason]).await;
    }
    // A head that is none, and one that does not come.
    let quic = raw(&world).await;
    let (mut send, mut receive) = quic.open_bi().await.unwrap();
    send.write_all(&frame(HEADERS, 3, &[0, 0, 0xd1])).await.unwrap();
    send.finish().unwrap();
    let lacks_path = receive.read_to_end(10_000).await.unwrap_err().to_string();
    assert!(lacks_path.contains("reset"), "{lacks_path}");
    shed(&mut world, &["malformed"]).await;
    let (mut send, mut receive) = quic.open_bi().await.unwrap();
    send.write_all(&frame(HEADERS, 30, &[0, 0])).await.unwrap();
    assert!(receive.read_to_end(10_000).await.is_err());
    shed(&mut world, &["slow_head"]).await;
    // QUIC that is not for HTTP/3.
    let endpoint = quinn::Endpoint::client(([127, 0, 0, 1], 0).into()).unwrap();
    let other = world.quic_client_for(b"hq-interop");
    assert!(endpoint.connect_with(other, world.https, "localhost").unwrap().await.is_err());
    shed(&mut world, &["handshake"]).await;
    others_are_served(&world).await;
}

#[tokio::test]
async fn a_request_of_http3_that_does_not_end_is_answered_before_it_is_told_to_stop() {
    use http3::*;
    let world = World::live().await;
    let quic = raw(&world).await;
    let (mut send, mut receive) = quic.open_bi().await.unwrap();
    // GET, https, `/` and the authority `x`; a body is announced by nothing and may follow.
    let get = [0, 0, 0xd1, 0xd7, 0xc1, 0x50, 1, b'x'];
    send.write_all(&frame(HEADERS, get.len() as u32, &get)).await.unwrap();
    let answer = receive.read_to_end(10_000).await.unwrap();
    assert!(answer.ends_with(b"<p>home</p>"), "{answer:?}");
    assert_eq!(send.stopped().await.unwrap(), Some(0x100_u32.into()));
    others_are_served(&world).await;
}

#[tokio::test]
async fn under_load_clients_of_quic_prove_their_address_first() {
    let mut world = World::live().await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    // Three hundred clients say hello and nothing more, as if their addresses were not theirs.
    let config = Arc::new(quinn_proto::EndpointConfig::default());
    let mut client = quinn_proto::Endpoint::new(config, None, true, None);
    for _ in 0..300 {
        let hello = hello(&mut client, world.quic_client(), world.https);
        socket.send_to(&hello, world.https).await.unwrap();
    }
    shed(&mut world, &["unproven_address"]).await;
    // Who can be reached at its address gets in meanwhile.
    assert_eq!(world.http3().await.get(LIST).await.status.as_u16(), 200);
    // Many of them are sent back a few bytes, and nobody is sent more than he sent.
    let (mut answers, mut bytes) = (0, [0; 2_048]);
    while let Ok(Ok(len)) = tokio::time::timeout(Duration::from_millis(100), socket.recv(&mut bytes)).await {
        answers += usize::from(len < 200);
    }
    assert!(answers > 0);
}

/// The first packet of a connection.
#[expect(clippy::disallowed_methods, reason = "the clock of a client")]
fn hello(
    client: &mut quinn_proto::Endpoint,
    config: quinn::ClientConfig,
    address: std::net::SocketAddr,
) -> Vec<u8> {
    let now = std::time::Instant::now();
    let (_, mut connection) = client.connect(now, config, address, "localhost").unwrap();
    let mut bytes = Vec::new();
    let sent = connection.poll_transmit(now, 1, &mut bytes);
    assert!(sent.is_some());
    bytes
}

#[tokio::test]
async fn nothing_is_answered_before_the_handshake_is_done() {
    let world = World::live().await;
    let config = world.quic_client();
    let mut endpoint = quinn::Endpoint::client(([127, 0, 0, 1], 0).into()).unwrap();
    endpoint.set_default_client_config(config);
    let first = endpoint.connect(world.https, "localhost").unwrap().await.unwrap();
    // Tickets for the next time come before this answer.
    assert_eq!(Client::http3(first).await.get(LIST).await.status.as_u16(), 200);
    let again = endpoint.connect(world.https, "localhost").unwrap();
    assert!(again.into_0rtt().is_err(), "a request that somebody sends again would be answered again");
}
