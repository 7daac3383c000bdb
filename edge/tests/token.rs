//! Protected streams over real HTTP: who gets in, who does not, and what is counted (AUTH-9 to AUTH-20, AUTH-27).
#![allow(clippy::unwrap_used, reason = "the helpers of a test fail it")]

mod world;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aqueduct_common::object::{ObjectKind, Publish};
use aqueduct_common::{Event, Secret};
use aqueduct_edge::Config;
use aqueduct_edge::token::mint::{Signer, new_key};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use world::{Client, Reply, World, go_live, publish_list, publish_part};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const LIST: &str = "/live/show/e1/v0/media.m3u8";

/// An object with the members of another one over its own.
fn with(mut object: Value, more: Value) -> Value {
    if let (Value::Object(object), Value::Object(more)) = (&mut object, more) {
        object.extend(more);
    }
    object
}

fn config(access: Value) -> Config {
    let access = with(json!({"protected": ["*"], "keys": [{"id": "k1", "secret": SECRET}]}), access);
    serde_json::from_value(json!({ "access": access })).unwrap()
}

/// An edge on which everything is protected, with the test stream on air.
async fn guarded(access: Value) -> World {
    let world = World::of(config(access));
    go_live(&world.store, 52);
    world
}

#[expect(clippy::disallowed_methods, reason = "tokens name the time of day")]
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn signer() -> Signer {
    Signer::shared("k1", &Secret::new(SECRET.to_owned()))
}

/// Claims for the test stream, for five minutes.
fn claims(more: Value) -> Value {
    let claims = json!({"str": "live/show", "iat": now(), "exp": now() + 300, "act": ["play"]});
    with(claims, more)
}

fn token(more: Value) -> String {
    signer().sign(&claims(more)).unwrap()
}

/// Waits until exactly these were counted, and nothing else.
async fn counted(world: &mut World, expected: &[(&'static str, u64)]) {
    let expected: BTreeMap<_, _> = expected.iter().copied().collect();
    let mut seen = BTreeMap::new();
    let all = async {
        while seen != expected {
            if let Some(Event::Edge(tick)) = world.events.recv().await {
                for (label, count) in tick.shed {
                    *seen.entry(label).or_insert(0) += count;
                }
            }
        }
    };
    let done = tokio::time::timeout(Duration::from_secs(20), all).await.is_ok();
    assert!(done, "counted {seen:?} in place of {expected:?}");
}

/// Sends bytes that no client library would, and gives the status.
async fn raw(world: &World, target: &[u8]) -> u16 {
    let mut socket = TcpStream::connect(world.http).await.unwrap();
    let request = [b"GET ", target, b" HTTP/1.1\r\nHost: LOCALHOST\r\nConnection: close\r\n\r\n"].concat();
    socket.write_all(&request).await.unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).split(' ').nth(1).unwrap().parse().unwrap()
}

fn assert_refused(reply: &Reply, status: u16, label: &str) {
    assert_eq!(reply.status.as_u16(), status, "{}", reply.text());
    assert!(reply.text().starts_with(&format!("{label}: ")), "{}", reply.text());
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
    assert_eq!(reply.header("www-authenticate").is_some(), status == 401);
}

/// The address that a relative URI leads to.
fn resolve(base: &str, relative: &str) -> String {
    format!("{}/{relative}", base.rsplit_once('/').unwrap().0)
}

#[tokio::test]
async fn a_token_in_the_path_is_inherited_by_everything_of_the_stream() {
    let mut world = guarded(json!({})).await;
    let token = token(json!({}));
    for client in [world.http1().await, world.h2c().await, world.tls(&["h2"]).await.0] {
        let index = format!("/t/{token}/live/show/index.m3u8");
        let reply = client.get(&index).await;
        assert_eq!((reply.status.as_u16(), reply.header("cache-control")), (200, Some("private, max-age=2")));
        let list = resolve(&index, reply.text().lines().find(|line| line.ends_with(".m3u8")).unwrap());
        let reply = client.get(&format!("{list}?_HLS_msn=10&_HLS_part=1")).await;
        assert_eq!((reply.status.as_u16(), reply.header("cache-control")), (200, Some("private, max-age=1")));
        assert_eq!(client.get(&list).await.header("cache-control"), Some("private, no-cache"));
        assert!(!reply.text().contains("/t/") && !reply.text().contains("tk="));
        let part = reply.text().rsplit("URI=\"").next().unwrap().split('"').next().unwrap();
        let part = client.get(&resolve(&list, part)).await;
        assert_eq!(part.body, world::bytes_of(52, 2_000));
        assert_eq!(part.header("cache-control"), Some("private, max-age=31536000, immutable"));
        // Without it there is nothing, whether it exists or not (AUTH-24).
        for target in
            [LIST, "/live/none/index.m3u8", "/live/show/none.m4s", "/live/none/index.m3u8?_AQ_hold=1"]
        {
            assert_refused(&client.get(target).await, 401, "token_missing");
        }
        // A preflight is answered without one (AUTH-22).
        assert_eq!(client.send(Method::OPTIONS, LIST, &[]).await.unwrap().status.as_u16(), 204);
        let head = client.send(Method::HEAD, LIST, &[]).await.unwrap();
        assert_eq!((head.status.as_u16(), head.body.len()), (401, 0));
    }
    counted(&mut world, &[("token_missing", 15)]).await;
}

#[tokio::test]
async fn only_what_is_named_is_protected() {
    let world = World::of(config(json!({"protected": ["live/vip", "shop/*"]})));
    go_live(&world.store, 52);
    let client = world.http1().await;
    let open = client.get(LIST).await;
    assert_eq!((open.status.as_u16(), open.header("cache-control")), (200, Some("no-cache")));
    let part = client.get("/live/show/e1/v0/p52.m4s").await;
    assert_eq!(part.header("cache-control"), Some("public, max-age=31536000, immutable"));
    for closed in ["/live/vip/index.m3u8", "/shop/any/index.m3u8", "/live/v%69p/index.m3u8"] {
        assert_refused(&client.get(closed).await, 401, "token_missing");
    }
    // Names that begin alike, or are written otherwise, are other streams, of which there is none.
    for other in ["/live/vip2/index.m3u8", "/LIVE/vip/index.m3u8", "/live/vip./index.m3u8"] {
        assert_eq!(client.get(other).await.status.as_u16(), 404, "{other}");
    }
    // A public stream plays under a link with a token as well, be it a bad one.
    assert_eq!(client.get(&format!("/t/a.b.c{LIST}")).await.status.as_u16(), 200);
}

#[tokio::test]
async fn the_query_form_leads_to_the_path_form() {
    let world = guarded(json!({})).await;
    let client = world.h2c().await;
    let token = token(json!({}));
    let moved = async |target: &str| {
        let reply = client.get(target).await;
        assert_eq!(
            (reply.status.as_u16(), reply.header("cache-control")),
            (307, Some("no-store")),
            "{target}"
        );
        reply.header("location").unwrap().to_owned()
    };
    let path = moved(&format!("{LIST}?_HLS_msn=10&tk={token}&_HLS_part=1")).await;
    assert_eq!(path, format!("/t/{token}{LIST}?_HLS_msn=10&_HLS_part=1"));
    assert_eq!(client.get(&path).await.status.as_u16(), 200);
    assert_eq!(moved(&format!("/watch/live/show?tk={token}")).await, format!("/t/{token}/watch/live/show"));
    let page = client.get(&format!("/t/{token}/watch/live/show")).await;
    assert_eq!((page.text(), page.header("referrer-policy")), ("<p>live/show</p>", Some("same-origin")));

    let signed = signer().signed(&"live/show".parse().unwrap(), now() + 60, None).unwrap();
    let path = moved(&format!("/live/show/index.m3u8?{}", signed.query.expose())).await;
    assert_eq!(path, format!("/t/{}/live/show/index.m3u8", signed.step.expose()));
    assert_eq!(client.get(&path).await.status.as_u16(), 200);
    let escaped = signed.query.expose().replace('/', "%2F");
    assert_eq!(moved(&format!("/live/show/index.m3u8?{escaped}")).await, path);

    // What is not valid leads nowhere.
    assert_refused(&client.get(&format!("{LIST}?tk=a.b.c")).await, 401, "token_malformed");
    assert_refused(&client.get(&format!("{LIST}?tk={token}%0d%0ax:y")).await, 401, "token_malformed");
    assert_refused(
        &client.get(&format!("/live/other/x?{}", signed.query.expose())).await,
        403,
        "token_stream",
    );
    let moved_on = client.get(&path.replace("/live/show/", "/live/other/")).await;
    assert_refused(&moved_on, 401, "token_signature");
}

#[tokio::test]
async fn a_cookie_and_a_header_work_and_the_path_wins() {
    let world = guarded(json!({})).await;
    let client = world.http1().await;
    let good = token(json!({}));
    let (cookie, header) = (format!("a=b; aqueduct_token={good}"), format!("Bearer {good}"));
    for headers in [[("cookie", cookie.as_str())], [("authorization", header.as_str())]] {
        let reply = client.get_with(LIST, &headers).await;
        assert_eq!((reply.status.as_u16(), reply.header("cache-control")), (200, Some("private, no-cache")));
        let bad = client.get_with(&format!("/t/a.b.c{LIST}"), &headers).await;
        assert_refused(&bad, 401, "token_malformed");
    }
}

/// A token with any header, signed as HS256 with the key's secret.
fn with_header(header: &Value, claims: &Value) -> String {
    let genuine = signer().sign(claims).unwrap();
    let header = URL_SAFE_NO_PAD.encode(header.to_string());
    let rest = genuine.split_once('.').unwrap().1;
    format!("{header}.{rest}")
}

#[tokio::test]
async fn tokens_that_are_no_good_are_refused_and_counted() {
    let ed = Signer::from_pem(new_key().unwrap().expose()).unwrap();
    let jwks = Scratch::new("table", &ed.jwks().unwrap());
    let access = json!({"jwks": jwks.path(), "issuer": "shop", "audience": "e1.example"});
    let mut world = guarded(access).await;
    let client = world.h2c().await;
    let good = claims(json!({"iss": "shop", "aud": ["e1.example"]}));
    let altered = |more: Value| signer().sign(&with(good.clone(), more)).unwrap();
    let get = async |token: &str| client.get(&format!("/t/{token}{LIST}")).await;
    assert_eq!(get(&signer().sign(&good).unwrap()).await.status.as_u16(), 200);
    assert_eq!(get(&ed.sign(&good).unwrap()).await.status.as_u16(), 200);
    assert_eq!(get(&altered(json!({"exp": now() - 20}))).await.status.as_u16(), 200, "clocks may differ");

    let (header, payload) = (json!({"alg": "none"}), URL_SAFE_NO_PAD.encode(good.to_string()));
    let unsigned = format!("{}.{payload}.", URL_SAFE_NO_PAD.encode(header.to_string()));
    // HS256 with the public key as the secret, under the public key's name.
    let public = serde_json::from_str::<Value>(&ed.jwks().unwrap()).unwrap()["keys"][0]["x"].clone();
    let confused =
        Signer::shared(ed.id(), &Secret::new(public.as_str().unwrap().into())).sign(&good).unwrap();
    let stranger =
        Signer::shared("k1", &Secret::new("another secret of another server".into())).sign(&good).unwrap();
    let traversal = with_header(&json!({"alg": "HS256", "kid": "../../../dev/null"}), &good);
    let twice = good.to_string().replacen('{', "{\"str\":\"*\",", 1);
    let tampered = with_header(&json!({"alg": "HS256", "kid": "k1"}), &good)
        .replace(&payload, &URL_SAFE_NO_PAD.encode(&twice));
    let twice = signer().sign_bytes(twice.as_bytes()).unwrap();
    for (token, status, label) in [
        ("v1~k1~1~c2ln".to_owned(), 401, "token_signature"),
        (unsigned, 401, "token_algorithm"),
        (confused, 401, "token_algorithm"),
        (stranger, 401, "token_signature"),
        (tampered, 401, "token_signature"),
        (twice, 401, "token_malformed"),
        (traversal, 401, "token_key"),
        (altered(json!({"exp": now() - 32})), 401, "token_expired"),
        (altered(json!({"nbf": now() + 40})), 401, "token_early"),
        (altered(json!({"exp": now() + 90_000})), 401, "token_lifetime"),
        (altered(json!({"iss": "other"})), 401, "token_issuer"),
        (altered(json!({"aud": "e2.example"})), 401, "token_audience"),
        (altered(json!({"act": ["publish"]})), 403, "token_action"),
        (altered(json!({"geo": ["CH"]})), 403, "token_restriction"),
        (altered(json!({"str": "live/sho"})), 403, "token_stream"),
        (altered(json!({"str": "live/show2"})), 403, "token_stream"),
        (altered(json!({"ip": "203.0.113.0/24"})), 403, "token_address"),
        (altered(json!({"exp": "soon"})), 401, "token_malformed"),
        ("a.b.c.d".to_owned(), 401, "token_malformed"),
    ] {
        assert_refused(&get(&token).await, status, label);
    }
    let expected = [
        ("token_malformed", 3),
        ("token_algorithm", 2),
        ("token_key", 1),
        ("token_signature", 3),
        ("token_expired", 1),
        ("token_early", 1),
        ("token_lifetime", 1),
        ("token_issuer", 1),
        ("token_audience", 1),
        ("token_action", 1),
        ("token_restriction", 1),
        ("token_stream", 2),
        ("token_address", 1),
    ];
    counted(&mut world, &expected).await;
    // The address of a viewer on this machine, in its network.
    assert_eq!(get(&altered(json!({"ip": "127.0.0.1"}))).await.status.as_u16(), 200);
}

#[tokio::test]
async fn tricks_with_paths_are_refused_and_counted() {
    let mut world = guarded(json!({})).await;
    let token = token(json!({}));
    let below = |rest: &str| format!("/t/{token}{rest}").into_bytes();
    let mut refused = BTreeMap::new();
    for (target, status, label) in [
        // Ways out of the stream that the token is for.
        (below("/live/show/../vip/index.m3u8"), 400, "bad_url"),
        (below("/live/show/%2e%2e/vip/index.m3u8"), 400, "bad_url"),
        (below("/live/show/%2E./vip/index.m3u8"), 400, "bad_url"),
        (below("/live/show/..%2fvip/index.m3u8"), 400, "bad_url"),
        (below("/live/show/..%5cvip/index.m3u8"), 400, "bad_url"),
        (below("/live/show\\..\\vip\\index.m3u8"), 400, "bad_url"),
        (below("/live%2fshow/index.m3u8"), 400, "bad_url"),
        (below("//live/show/index.m3u8"), 400, "bad_url"),
        (below("/live//show/index.m3u8"), 400, "bad_url"),
        (below("/live/./show/index.m3u8"), 400, "bad_url"),
        (below("/live/show/index.m3u8%00.m4s"), 400, "bad_url"),
        (below("/live/show/%0d%0aset-cookie:x"), 400, "bad_url"),
        (below("/live/show/%zz"), 400, "bad_url"),
        (below("/live/show/%c0%af"), 400, "bad_url"),
        // Other streams, however they are written.
        (below("/live/vip/index.m3u8"), 403, "token_stream"),
        (below("/live/show2/index.m3u8"), 403, "token_stream"),
        (below("/live/sho/w/index.m3u8"), 403, "token_stream"),
        (below("/LIVE/SHOW/index.m3u8"), 403, "token_stream"),
        (below("/live/show./index.m3u8"), 403, "token_stream"),
        (below("/live/show%20/index.m3u8"), 403, "token_stream"),
        (below("/live/%252e%252e/index.m3u8"), 403, "token_stream"),
        (below("/live/sh%256fw/index.m3u8"), 403, "token_stream"),
        (below("/live/show;x/index.m3u8"), 403, "token_stream"),
        // Tokens in disguise.
        (format!("/t/{token}/t/{token}{LIST}").into_bytes(), 400, "bad_url"),
        (format!("/%74/{token}{LIST}").into_bytes(), 400, "bad_url"),
        (format!("/t%2f{token}{LIST}").into_bytes(), 400, "bad_url"),
        (format!("/t/{}{LIST}", token.replacen('.', "%2e", 1)).into_bytes(), 400, "bad_url"),
        (format!("/t/{}{LIST}", "a".repeat(2_049)).into_bytes(), 400, "bad_url"),
        (format!("/t/{}{LIST}", "a".repeat(4_100)).into_bytes(), 414, "url_size"),
        (format!("/t/..{LIST}").into_bytes(), 400, "bad_url"),
        (format!("/t/{LIST}").into_bytes(), 400, "bad_url"),
        (format!("/t/{token}").into_bytes(), 400, "bad_url"),
        (format!("/T/{token}{LIST}").into_bytes(), 401, "token_missing"),
    ] {
        assert_eq!(raw(&world, &target).await, status, "{}", String::from_utf8_lossy(&target));
        *refused.entry(label).or_insert(0) += 1;
    }
    // Bytes that are no URL at all end before the edge sees a request.
    for target in [below("/live/show/\0"), below("/live/show/a b"), below("/live/show/\r\nx: y")] {
        assert_eq!(raw(&world, &target).await, 400);
        *refused.entry("malformed").or_insert(0) += 1;
    }
    assert_eq!(raw(&world, &below(LIST)).await, 200);
    counted(&mut world, &refused.into_iter().collect::<Vec<_>>()).await;
}

/// A file of this test's own.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("aqueduct-edge-token-{}-{name}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Asks until there is another answer than this.
async fn until_not(client: &Client, target: &str, status: u16) -> Reply {
    let other = async {
        loop {
            let reply = client.get(target).await;
            if reply.status.as_u16() != status {
                return reply;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), other).await.expect("another answer")
}

#[tokio::test]
async fn who_is_cut_off_is_let_go_at_once() {
    let list = Scratch::new("revoked", "# nobody yet\n");
    let mut world = guarded(json!({"revoked": list.path(), "revoked_refresh": "1s"})).await;
    let next = |viewer: &str| format!("/t/{}{LIST}?_HLS_msn=10&_HLS_part=3", token(json!({"sub": viewer})));
    let client = world.h2c().await;
    let held = |viewer: &str| tokio::spawn(client.send(Method::GET, &next(viewer), &[]));
    let (mallory, alice) = (held("mallory"), held("alice"));
    world.tick(|tick| tick.blocked == 2).await;
    // A list that cannot be read cuts nobody off.
    std::fs::write(&list.0, "mallory\n").unwrap();
    world.tick(|_| true).await;
    world.tick(|_| true).await;
    std::fs::write(&list.0, "sub:mallory\n").unwrap();
    assert_refused(&mallory.await.unwrap().unwrap(), 403, "token_revoked");
    assert_refused(&client.get(&next("mallory")).await, 403, "token_revoked");
    assert!(!alice.is_finished());
    world.store.publish(&world::name(), publish_part(53));
    world.store.publish(&world::name(), publish_list(53));
    assert_eq!(alice.await.unwrap().unwrap().status.as_u16(), 200);
    counted(&mut world, &[("token_revoked", 2)]).await;
}

#[tokio::test]
async fn who_is_cut_off_gets_no_more_of_what_is_on_its_way() {
    let list = Scratch::new("running", "");
    let world = guarded(json!({"revoked": list.path(), "revoked_refresh": "1s"})).await;
    // More than all buffers between the edge and a client that does not read.
    let body = vec![world::bytes_of(1, 1_000_000); 40];
    world.store.publish(&world::name(), world::media("e1/v0/s9.m4s", ObjectKind::Segment, body));
    let target = |viewer| format!("/t/{}/live/show/e1/v0", token(json!({"sub": viewer})));
    let mut sockets = Vec::new();
    for viewer in ["mallory", "alice"] {
        let mut socket = TcpStream::connect(world.http).await.unwrap();
        let head = "HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        let request = format!("GET {}/s9.m4s {head}", target(viewer));
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut first = [0; 100];
        socket.read_exact(&mut first).await.unwrap();
        assert!(first.starts_with(b"HTTP/1.1 200"));
        sockets.push(socket);
    }
    std::fs::write(&list.0, "sub:mallory\n").unwrap();
    let client = world.http1().await;
    let refused = until_not(&client, &format!("{}/p52.m4s", target("mallory")), 200).await;
    assert_refused(&refused, 403, "token_revoked");
    let mut lengths = Vec::new();
    for mut socket in sockets {
        let mut rest = Vec::new();
        let _ = socket.read_to_end(&mut rest).await;
        lengths.push(rest.len());
    }
    assert!(lengths[0] < 40_000_000 && lengths[1] >= 40_000_000, "{lengths:?}");
}

#[tokio::test]
async fn a_token_that_runs_out_while_it_waits_was_good_enough() {
    let mut world = guarded(json!({})).await;
    let client = world.h2c().await;
    // Thirty seconds of skew are nearly used up.
    let token = token(json!({"iat": now() - 100, "exp": now() - 28}));
    let held =
        tokio::spawn(client.send(Method::GET, &format!("/t/{token}{LIST}?_HLS_msn=10&_HLS_part=3"), &[]));
    world.tick(|tick| tick.blocked == 1).await;
    assert_refused(&until_not(&client, &format!("/t/{token}{LIST}"), 200).await, 401, "token_expired");
    world.store.publish(&world::name(), publish_part(53));
    world.store.publish(&world::name(), publish_list(53));
    assert_eq!(held.await.unwrap().unwrap().status.as_u16(), 200);
}

/// Serves whatever text it was told to, as a key server would. Without a text it hangs up.
struct KeyServer {
    url: String,
    says: watch::Sender<Option<String>>,
    asked: watch::Receiver<u64>,
}

impl KeyServer {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/jwks.json", listener.local_addr().unwrap());
        let (says, said) = watch::channel(None::<String>);
        let (count, asked) = watch::channel(0);
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let text = said.borrow().clone();
                if let Some(text) = text {
                    let mut head = [0; 2_000];
                    let _ = socket.read(&mut head).await;
                    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", text.len());
                    let _ = socket.write_all(format!("{head}{text}").as_bytes()).await;
                }
                count.send_modify(|count| *count += 1);
            }
        });
        Self { url, says, asked }
    }

    /// Says something else from now on, and waits until it was heard and thought about.
    async fn say(&mut self, text: Option<String>) {
        self.says.send_replace(text);
        // The answer to the second request is asked for after the first was looked at.
        let heard = *self.asked.borrow() + 2;
        self.asked.wait_for(|asked| *asked >= heard).await.unwrap();
    }
}

#[tokio::test]
async fn keys_come_from_a_url_and_stay_while_it_is_down() {
    let mut keys = KeyServer::start().await;
    let world = guarded(json!({"jwks": keys.url, "jwks_refresh": "1s", "keys": []})).await;
    let client = world.h2c().await;
    let new = || Signer::from_pem(new_key().unwrap().expose()).unwrap();
    let target = |signer: &Signer| format!("/t/{}{LIST}", signer.sign(&claims(json!({}))).unwrap());
    let (first, second) = (new(), new());
    let (by_first, by_second) = (target(&first), target(&second));
    let reply = client.get(&by_first).await;
    assert_refused(&reply, 503, "token_unready");
    assert_eq!(reply.header("retry-after"), Some("1"));
    // A secret that comes over the network is none.
    let oct = json!({"kty": "oct", "kid": "x", "k": URL_SAFE_NO_PAD.encode(SECRET)});
    let mut set: Value = serde_json::from_str(&first.jwks().unwrap()).unwrap();
    set["keys"].as_array_mut().unwrap().push(oct);
    keys.say(Some(set.to_string())).await;
    assert_eq!(until_not(&client, &by_first, 503).await.status.as_u16(), 200);
    let forged = Signer::shared("x", &Secret::new(SECRET.into())).sign(&claims(json!({}))).unwrap();
    assert_refused(&client.get(&format!("/t/{forged}{LIST}")).await, 401, "token_key");
    assert_refused(&client.get(&by_second).await, 401, "token_key");
    // Down, then broken: what was loaded stays in force.
    for wrong in [None, Some("<html>".to_owned()), Some(r#"{"keys":[]}"#.to_owned())] {
        keys.say(wrong.clone()).await;
        assert_eq!(client.get(&by_first).await.status.as_u16(), 200, "after {wrong:?}");
    }
    // A new key takes over: its tokens count, and those of the old one no longer, though they were good a moment ago.
    keys.say(second.jwks()).await;
    assert_eq!(until_not(&client, &by_second, 401).await.status.as_u16(), 200);
    assert_refused(&client.get(&by_first).await, 401, "token_key");
}
