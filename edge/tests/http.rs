//! A real edge on loopback, and real clients: what players get, over every protocol.
#![allow(clippy::unwrap_used, reason = "the helpers of a test fail it")]

mod world;

use std::io::Read as _;
use std::time::Duration;

use aqueduct_common::object::{ObjectKind, PlaylistInfo, Publish, Update};
use bytes::Bytes;
use http::Method;
use world::{
    Client, LIST, PER_SEGMENT, Reply, World, bytes_of, go_live, info, list_text, list_with, media, name,
    part, publish_list, publish_part,
};

fn url(path: &str) -> String {
    format!("/live/show/{path}")
}

/// Waits until so many requests are held.
async fn until_held(world: &mut World, count: u64) {
    world.tick(|tick| tick.blocked == count).await;
}

fn gunzip(reply: &Reply) -> String {
    let mut text = String::new();
    flate2::read::GzDecoder::new(&*reply.body).read_to_string(&mut text).unwrap();
    text
}

async fn every_protocol(world: &World) -> Vec<(&'static str, Client)> {
    let (h2, chosen) = world.tls(&["h2", "http/1.1"]).await;
    assert_eq!(chosen.as_deref(), Some(b"h2".as_slice()));
    let (https, chosen) = world.tls(&["http/1.1"]).await;
    assert_eq!(chosen.as_deref(), Some(b"http/1.1".as_slice()));
    vec![("h1", world.http1().await), ("h2c", world.h2c().await), ("tls h2", h2), ("tls h1", https)]
}

#[tokio::test]
async fn the_same_bytes_come_over_every_protocol() {
    let world = World::live().await;
    let body = vec![bytes_of(1, 200_000), Bytes::new(), bytes_of(2, 70_001), bytes_of(3, 1)];
    world.store.publish(&name(), media("e1/v0/s9.m4s", ObjectKind::Segment, body.clone()));
    for (protocol, client) in every_protocol(&world).await {
        for _ in 0..2 {
            let reply = client.get(&url("e1/v0/s9.m4s")).await;
            assert_eq!(
                (reply.status.as_u16(), reply.header("content-length")),
                (200, Some("270002")),
                "{protocol}"
            );
            assert!(reply.body == body.concat(), "{protocol}");
            assert!(reply.header("date").is_some(), "{protocol}");
        }
        let held = client.send(Method::GET, &format!("{LIST}?_HLS_msn=10&_HLS_part=1"), &[]).await.unwrap();
        assert_eq!(held.text(), list_text(52), "{protocol}");
        let head = client.send(Method::HEAD, &url("e1/v0/s9.m4s"), &[]).await.unwrap();
        assert_eq!((head.header("content-length"), head.body.len()), (Some("270002"), 0), "{protocol}");
    }
}

#[tokio::test]
async fn blocking_reload_is_answered_by_the_version() {
    let world = World::live().await;
    let client = world.h2c().await;
    let status = async |query: &str| client.get(&format!("{LIST}?{query}")).await.status.as_u16();
    // Part 52 is (10, 2).
    for (query, expected) in [
        ("_HLS_msn=10&_HLS_part=2", 200),
        ("_HLS_msn=9", 200),
        ("_HLS_msn=0&_HLS_part=0", 200),
        ("_HLS_part=2", 400),
        ("_HLS_msn=x", 400),
        ("_HLS_msn=12", 400),
        ("_HLS_msn=10&_HLS_part=33", 400),
        ("_HLS_msn=9007199254740993", 400),
        ("token=secret&CMCD=sid%3D%22x%22", 200),
    ] {
        assert_eq!(status(query).await, expected, "{query}");
    }
    let held = client.send(Method::GET, &format!("{LIST}?_HLS_msn=10"), &[]);
    // Part 55 of segment 10 does not exist: it is the first part of segment 11.
    let beyond = client.send(Method::GET, &format!("{LIST}?_HLS_msn=10&_HLS_part=5"), &[]);
    let early = client.send(Method::GET, &url(&part(53)), &[]);
    let (held, beyond, early) = (tokio::spawn(held), tokio::spawn(beyond), tokio::spawn(early));
    for newest in 53..=10 * PER_SEGMENT + 5 {
        assert!(!beyond.is_finished());
        world.store.publish(&name(), publish_part(newest));
        world.store.publish(&name(), publish_list(newest));
        tokio::task::yield_now().await;
    }
    assert_eq!(early.await.unwrap().unwrap().body, bytes_of(53, 2_000));
    let reply = held.await.unwrap().unwrap();
    assert_eq!(reply.header("cache-control"), Some("max-age=1"));
    assert!(reply.text().contains("p54.m4s"));
    assert!(beyond.await.unwrap().unwrap().text().contains("p55.m4s"));
}

#[tokio::test]
async fn a_held_request_is_let_go_at_its_limit() {
    let world = World::start().await;
    go_live(&world.store, 4);
    let mut short = info(4);
    short.ahead.hold = Duration::from_millis(30);
    world.store.publish(&name(), list_with(short, list_text(4)));
    let reply = world.h2c().await.get(&format!("{LIST}?_HLS_msn=1&_HLS_part=0")).await;
    assert_eq!(reply.status.as_u16(), 503);
    assert_eq!((reply.header("retry-after"), reply.header("cache-control")), (Some("1"), Some("no-store")));
}

#[tokio::test]
async fn a_held_request_says_how_long_it_was_held() {
    let mut world = World::start().await;
    go_live(&world.store, 4);
    let client = world.h2c().await;
    let held = tokio::spawn(client.send(Method::GET, &format!("{LIST}?_HLS_msn=1&_HLS_part=0"), &[]));
    until_held(&mut world, 1).await;
    world.store.publish(&name(), publish_part(5));
    world.store.publish(&name(), publish_list(5));
    let reply = held.await.unwrap().unwrap();
    let timing = |reply: &Reply| -> (f64, f64) {
        let text = reply.header("server-timing").unwrap().strip_prefix("held;dur=").unwrap();
        let (held, took) = text.split_once(", edge;dur=").unwrap();
        (held.parse().unwrap(), took.parse().unwrap())
    };
    let (waited, took) = timing(&reply);
    assert!(waited > 0.0 && took >= 0.0, "{waited} {took}");
    assert!(reply.header("cmsd-static").unwrap().ends_with(",ot=m,sf=h,st=l"));
    assert!(reply.header("cmsd-static").unwrap().starts_with("ht="));
    let reply = client.get(LIST).await;
    assert_eq!((timing(&reply).0, reply.header("cmsd-static")), (0.0, Some("ot=m,sf=h,st=l")));
    // Time held is not time taken to answer.
    until_held(&mut world, 0).await;
}

/// CTA-5006, without harm to what caches may keep.
#[tokio::test]
async fn an_object_says_what_it_is_and_how_long_its_answer_took() {
    let world = World::live().await;
    let client = world.http1().await;
    for (target, kind, cache) in [
        (url("index.m3u8"), "ot=m,sf=h,st=l", "max-age=2"),
        (url(&part(3)), "ot=v,sf=h,st=l", "public, max-age=31536000, immutable"),
    ] {
        let reply = client.get(&target).await;
        assert_eq!(reply.status.as_u16(), 200, "{target}");
        assert_eq!((reply.header("cmsd-static"), reply.header("cache-control")), (Some(kind), Some(cache)));
        let dynamic = reply.header("cmsd-dynamic").unwrap();
        let delay = dynamic.strip_prefix("\"aqueduct\";rd=").and_then(|delay| delay.parse::<u32>().ok());
        assert!(delay.is_some(), "{dynamic}");
        assert!(!reply.header("vary").is_some_and(|vary| vary.contains("cm")), "nothing varies by it");
    }
    let refused = client.get("/live/show/e1/none.m4s").await;
    assert_eq!((refused.header("server-timing"), refused.header("cmsd-static")), (None, None));
}

#[tokio::test]
async fn lists_are_compressed_for_those_who_accept_it() {
    let world = World::live().await;
    let client = world.http1().await;
    for target in [LIST, "/live/show/index.m3u8", "/live/show/e1/v0/media.m3u8?_HLS_msn=10&_HLS_part=0"] {
        let plain = client.get(target).await;
        let packed = client.get_with(target, &[("accept-encoding", "br, gzip;q=0.8")]).await;
        assert_eq!(packed.header("content-encoding"), Some("gzip"), "{target}");
        assert_eq!(packed.header("content-length").unwrap(), packed.body.len().to_string());
        assert_eq!(gunzip(&packed), plain.text());
        assert_eq!(plain.header("content-encoding"), None);
        assert_ne!(plain.header("etag"), packed.header("etag"));
        for reply in [&plain, &packed] {
            assert_eq!(reply.header("vary"), Some("accept-encoding"));
            assert!(reply.header("etag").unwrap().starts_with("W/\""));
            assert_eq!(reply.header("content-type"), Some("application/vnd.apple.mpegurl"));
        }
    }
    let refused = client.get_with(LIST, &[("accept-encoding", "gzip;q=0")]).await;
    assert_eq!(refused.header("content-encoding"), None);
    let media = client.get_with(&url(&part(1)), &[("accept-encoding", "gzip")]).await;
    assert_eq!((media.header("content-encoding"), media.header("vary")), (None, None));
}

#[tokio::test]
async fn delta_updates_come_where_they_are_asked_for_and_offered() {
    let world = World::live().await;
    let client = world.http1().await;
    for (query, delta) in [
        ("_HLS_skip=YES", true),
        ("_HLS_skip=v2", true),
        ("_HLS_skip=yes", false),
        ("_HLS_skip=", false),
        ("_HLS_msn=10&_HLS_part=1&_HLS_skip=YES", true),
    ] {
        let reply = client.get(&format!("{LIST}?{query}")).await;
        assert_eq!(reply.text().contains("EXT-X-SKIP"), delta, "{query}");
    }
    let none = PlaylistInfo { delta: None, ..info(53) };
    world.store.publish(&name(), publish_part(53));
    world.store.publish(&name(), list_with(none, list_text(53)));
    assert_eq!(client.get(&format!("{LIST}?_HLS_skip=YES")).await.text(), list_text(53));
    let ended = PlaylistInfo { ended: true, hint: None, ..info(53) };
    world.store.publish(&name(), list_with(ended, "#EXT-X-ENDLIST\n".into()));
    for query in ["_HLS_skip=YES", "_HLS_msn=999", "_HLS_msn=x", "_HLS_part=1"] {
        let reply = client.get(&format!("{LIST}?{query}")).await;
        assert_eq!((reply.status.as_u16(), reply.text()), (200, "#EXT-X-ENDLIST\n"), "{query}");
    }
}

#[tokio::test]
async fn caching_follows_the_kind_of_object() {
    let world = World::live().await;
    let client = world.http1().await;
    world.store.publish(&name(), media("e1/v0/init-1.mp4", ObjectKind::Init, vec![bytes_of(0, 700)]));
    let forever = "public, max-age=31536000, immutable";
    for (target, cache) in [
        ("/live/show/index.m3u8", "max-age=2"),
        (LIST, "no-cache"),
        ("/live/show/e1/v0/media.m3u8?_HLS_skip=YES", "no-cache"),
        ("/live/show/e1/v0/media.m3u8?_HLS_msn=10&_HLS_part=0", "max-age=1"),
        ("/live/show/e1/v0/init-1.mp4", forever),
        ("/live/show/e1/v0/p7.m4s", forever),
        ("/live/show/e1/v0/p999.m4s", "no-store"),
        ("/live/other/index.m3u8", "no-store"),
        ("/assets/app-1f.js", forever),
        ("/watch/live/show", "no-cache"),
    ] {
        assert_eq!(client.get(target).await.header("cache-control"), Some(cache), "{target}");
    }
}

#[tokio::test]
async fn conditions_and_ranges_work_on_media() {
    let world = World::live().await;
    let client = world.http1().await;
    let target = url(&part(7));
    let whole = client.get(&target).await;
    let tag = whole.header("etag").unwrap().to_owned();
    assert!(tag.starts_with('"'));
    assert_eq!(whole.header("accept-ranges"), Some("bytes"));
    for (header, value, status) in [
        ("if-none-match", tag.as_str(), 304),
        ("if-none-match", "*", 304),
        ("if-none-match", &format!("\"x\", W/{tag}"), 304),
        ("if-none-match", "\"x\"", 200),
        ("range", "bytes=0-0", 206),
        ("range", "bytes=0-1,4-5", 200),
        ("range", "bytes=2000-", 416),
    ] {
        let reply = client.get_with(&target, &[(header, value)]).await;
        assert_eq!(reply.status.as_u16(), status, "{header}: {value}");
        assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
    }
    let middle = client.get_with(&target, &[("range", "bytes=100-299")]).await;
    assert_eq!(
        (middle.header("content-range"), middle.header("content-length")),
        (Some("bytes 100-299/2000"), Some("200"))
    );
    assert_eq!(middle.body, whole.body[100..300]);
    assert_eq!(client.get_with(&target, &[("range", "bytes=-5")]).await.body, whole.body[1_995..]);
    let beyond = client.get_with(&target, &[("range", "bytes=5000-")]).await;
    assert_eq!(beyond.header("content-range"), Some("bytes */2000"));
    let mine = client.get_with(&target, &[("range", "bytes=0-9"), ("if-range", &tag)]).await;
    let other = client.get_with(&target, &[("range", "bytes=0-9"), ("if-range", "\"x\"")]).await;
    assert_eq!((mine.status.as_u16(), other.status.as_u16()), (206, 200));

    let list = client.get(LIST).await.header("etag").unwrap().to_owned();
    for (target, status) in [(LIST.to_owned(), 304), (format!("{LIST}?_HLS_msn=10&_HLS_part=0"), 200)] {
        let reply = client.get_with(&target, &[("if-none-match", &list)]).await;
        assert_eq!(reply.status.as_u16(), status, "{target}");
    }
}

#[tokio::test]
async fn any_page_may_read_every_answer() {
    let world = World::live().await;
    let client = world.http1().await;
    for (method, target, status) in [
        (Method::GET, "/live/show/index.m3u8", 200),
        (Method::GET, "/live/show/none.m4s", 404),
        (Method::GET, "/live/none/index.m3u8", 404),
        (Method::GET, "/live/show/%2e%2e/x", 400),
        (Method::GET, "/live/show/x%2fy", 400),
        (Method::GET, "/no/page", 404),
        (Method::POST, "/live/show/index.m3u8", 405),
        (Method::DELETE, "/live/show/index.m3u8", 405),
        (Method::OPTIONS, "/live/show/index.m3u8", 204),
        (Method::OPTIONS, "/live/none/x", 204),
    ] {
        let reply = client.send(method.clone(), target, &[]).await.unwrap();
        assert_eq!(reply.status.as_u16(), status, "{method} {target}");
        assert_eq!(reply.header("access-control-allow-origin"), Some("*"), "{method} {target}");
        assert_eq!(reply.header("timing-allow-origin"), Some("*"), "{method} {target}");
        assert!(reply.header("access-control-expose-headers").unwrap().contains("Age, Date"));
        if status == 405 {
            assert_eq!(reply.header("allow"), Some("GET, HEAD, OPTIONS"));
        }
        if status >= 400 {
            assert_eq!(reply.header("content-type"), Some("text/plain; charset=utf-8"));
            assert!(reply.text().ends_with(".\n") && !reply.text().contains("live/"), "{}", reply.text());
        }
    }
    let preflight =
        client.send(Method::OPTIONS, LIST, &[("access-control-request-method", "GET")]).await.unwrap();
    assert_eq!(preflight.header("access-control-max-age"), Some("86400"));
    assert!(preflight.header("access-control-allow-headers").unwrap().contains("CMCD-Session"));
}

#[tokio::test]
async fn pages_come_from_the_program() {
    let world = World::live().await;
    let client = world.http1().await;
    assert_eq!(client.get("/").await.text(), "<p>home</p>");
    assert_eq!(client.get("/watch/live/sh%6Fw?a=b").await.text(), "<p>live/show</p>");
    let file = client.get_with("/assets/app-1f.js", &[("accept-encoding", "gzip")]).await;
    assert_eq!(file.header("content-type"), Some("text/javascript; charset=utf-8"));
    assert_eq!(gunzip(&file), include_str!("world/mod.rs"));
    let tag = file.header("etag").unwrap();
    let again =
        client.get_with("/assets/app-1f.js", &[("accept-encoding", "gzip"), ("if-none-match", tag)]).await;
    assert_eq!((again.status.as_u16(), again.body.len()), (304, 0));
}

#[tokio::test]
async fn a_page_may_wait_for_its_stream() {
    let mut world = World::start().await;
    let client = world.h2c().await;
    let target = "/live/show/index.m3u8?_AQ_hold=1";
    // No stream can have this name, and nothing below a stream is waited for.
    for target in ["/live/sh~w/index.m3u8?_AQ_hold=1", "/live/show/e1/x?_AQ_hold=1", "/live/show/index.m3u8"]
    {
        assert_eq!(client.get(target).await.status.as_u16(), 404, "{target}");
    }
    let waiting = tokio::spawn(client.send(Method::GET, target, &[]));
    until_held(&mut world, 1).await;
    go_live(&world.store, 3);
    let reply = waiting.await.unwrap().unwrap();
    assert_eq!((reply.status.as_u16(), &reply.body[..7]), (200, b"#EXTM3U".as_slice()));
    assert_eq!(client.get(target).await.status.as_u16(), 200);
    // An ended stream is waited for like one that never was; its objects are still there for those who ask plainly.
    world.store.publish(&name(), Update::End { linger: Duration::from_secs(60) });
    assert_eq!(client.get("/live/show/index.m3u8").await.status.as_u16(), 200);
    let waiting = tokio::spawn(client.send(Method::GET, target, &[]));
    until_held(&mut world, 1).await;
    world.store.publish(&name(), world::publish_multivariant());
    assert_eq!(waiting.await.unwrap().unwrap().status.as_u16(), 200);
}

#[tokio::test]
async fn viewers_are_counted_once_each_by_what_they_watch() {
    let mut world = World::live().await;
    let client = world.http1().await;
    for agent in ["one", "other", "one"] {
        client.get_with(&url(&part(7)), &[("user-agent", agent)]).await;
    }
    for session in ["a", "b", "a"] {
        client.get(&format!("{}?CMCD=bl%3D1%2Csid%3D%22{session}%22", url(&part(7)))).await;
        client.get_with(&url(&part(8)), &[("cmcd-session", &format!("sid=\"{session}\""))]).await;
    }
    // Lists are no media, and a miss is nobody's.
    client.get_with(LIST, &[("user-agent", "list")]).await;
    client.get_with(&url("none.m4s"), &[("user-agent", "miss")]).await;
    world.tick(|tick| tick.viewers == [(name(), 4)]).await;
}

#[tokio::test]
async fn requests_are_counted_by_class_status_and_protocol() {
    let mut world = World::live().await;
    let (one, two) = (world.http1().await, world.h2c().await);
    one.get(&url(&part(7))).await;
    one.get(&url("none.m4s")).await;
    two.get(LIST).await;
    let mut requests = Vec::new();
    let (mut bytes, mut answered) = (0, 0);
    while requests.len() < 3 {
        let Some(aqueduct_common::Event::Edge(tick)) = world.events.recv().await else { continue };
        requests.extend(tick.requests);
        bytes += tick.bytes;
        answered += tick.latency_buckets.iter().sum::<u64>();
    }
    requests.sort_unstable();
    assert_eq!(requests, [("other", "4xx", "h1", 1), ("part", "2xx", "h1", 1), ("playlist", "2xx", "h2", 1)]);
    assert_eq!(answered, 3);
    assert!(bytes >= 2_000 + list_text(52).len() as u64);
}

/// The playlist whose newest part is this one, of a publisher that wants to know who asks.
fn publish_wanted(world: &World, newest: u64) {
    let wanted = PlaylistInfo { demand: Some(16), ..info(newest) };
    world.store.publish(&name(), publish_part(newest));
    world.store.publish(&name(), list_with(wanted, list_text(newest)));
}

fn sleep(world: &World, hold: Duration) {
    let path = world::path("e1/v0/media.m3u8");
    world.store.publish(&name(), Update::Sleep { path, demand: 16, hold });
}

/// What is told within some seconds, until it fulfils the condition.
async fn until_told(world: &World, wanted: impl Fn(&[(u8, u32)]) -> bool) -> Vec<(u8, u32)> {
    let mut told = Vec::new();
    for _ in 0..1_000 {
        told.extend(world.asked.take());
        if wanted(&told) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    told
}

#[tokio::test]
async fn whoever_asks_for_a_playlist_is_told_of_once_a_second() {
    let mut world = World::live().await;
    let client = world.h2c().await;
    // Who asks for what nobody wants to know of is not counted.
    client.get_with(LIST, &[("user-agent", "none")]).await;
    publish_wanted(&world, 53);
    // The same one twice, one by another agent, one that is held.
    for agent in ["one", "one", "two"] {
        client.get_with(LIST, &[("user-agent", agent)]).await;
    }
    let target = format!("{LIST}?_HLS_msn=11&_HLS_part=0&CMCD=sid%3D%22three%22");
    let held = tokio::spawn(client.send(Method::GET, &target, &[]));
    until_held(&mut world, 1).await;
    let told = until_told(&world, |told| told.contains(&(16, 3))).await;
    assert_eq!(told.last(), Some(&(16, 3)), "{told:?}");
    assert!(told.len() <= 3, "not each request: {told:?}");
    // Who is held goes on asking.
    assert_eq!(until_told(&world, |told| told.len() == 2).await, [(16, 3), (16, 3)]);
    for newest in 54..=55 {
        publish_wanted(&world, newest);
    }
    assert_eq!(held.await.unwrap().unwrap().text(), list_text(55));
}

#[tokio::test]
async fn a_sleeping_playlist_calls_at_once_and_answers_with_what_comes() {
    let world = World::live().await;
    publish_wanted(&world, 53);
    sleep(&world, Duration::from_secs(20));
    let client = world.h2c().await;
    let bad = client.get(&format!("{LIST}?_HLS_msn=x")).await;
    assert_eq!(bad.status.as_u16(), 400);
    assert_eq!(world.asked.take(), [], "nobody waits for that");
    // As it is, of the past with a delta, and far ahead: all of them of one address and agent, at once.
    let queries = ["", "?_HLS_msn=3&_HLS_part=1&_HLS_skip=YES", "?_HLS_msn=9000&_HLS_part=2"];
    let held = queries.map(|query| tokio::spawn(client.send(Method::GET, &format!("{LIST}{query}"), &[])));
    let told = until_told(&world, |told| told.len() >= 2).await;
    assert!(told.len() <= 4 && told.iter().all(|told| *told == (16, 1)), "at once and while held: {told:?}");
    assert!(held.iter().all(|held| !held.is_finished()));
    publish_wanted(&world, 90);
    for held in held {
        let reply = held.await.unwrap().unwrap();
        assert_eq!((reply.status.as_u16(), reply.text()), (200, list_text(90).as_str()), "the newest, whole");
        // It need not be the version that was named.
        assert_eq!(reply.header("cache-control"), Some("no-cache"));
    }
}

#[tokio::test]
async fn a_sleeping_playlist_that_nobody_wakes_is_answered_503() {
    let world = World::live().await;
    sleep(&world, Duration::from_millis(30));
    let reply = world.http1().await.get(LIST).await;
    assert_eq!((reply.status.as_u16(), reply.header("retry-after")), (503, Some("1")));
    assert_eq!(world.asked.take().first(), Some(&(16, 1)));
}
