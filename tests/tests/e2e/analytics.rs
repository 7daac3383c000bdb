//! What operators, streamers and tools are told: by the API, the doctor, the live stream of events, hooks and the history.

use std::net::SocketAddr;
use std::time::Duration;

use aqueduct_tests::fetch::Client;
use aqueduct_tests::world::{Drawing, Nats, Player, Push, Server, browse, free_udp_port, room};
use aqueduct_tests::{Outcome, now};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

const START: Duration = Duration::from_secs(30);
/// A machine that is busy with other tests may take so long for what takes a second.
const SOON: Duration = Duration::from_secs(30);
const OFF: (&str, &str) = ("transcode.mode", "off");

/// What an address of the operator's port answers, as JSON.
async fn ask(server: &Server, path: &str) -> Outcome<Value> {
    Ok(serde_json::from_str(&Client::new().get(&server.admin(path)).await?.text()?)?)
}

/// Asks again and again until it is so.
async fn until(server: &Server, path: &str, is: impl Fn(&Value) -> bool) -> Outcome<Value> {
    let deadline = now() + SOON;
    loop {
        let value = ask(server, path).await?;
        if is(&value) {
            return Ok(value);
        }
        if now() >= deadline {
            return Err(format!("{path} has not become so: {value:#}\n{}", server.log()).into());
        }
        sleep(Duration::from_millis(200)).await;
    }
}

/// Sends a request as it stands; the answer's status and all that comes until the other side ends or `stop` is in it.
async fn raw(address: &str, request: &str, stop: &str) -> Outcome<(u16, String)> {
    let mut socket = TcpStream::connect(address).await?;
    socket.write_all(request.as_bytes()).await?;
    let (mut text, mut piece) = (String::new(), [0; 4_096]);
    let read = async {
        loop {
            let length = socket.read(&mut piece).await?;
            text.push_str(&String::from_utf8_lossy(&piece[..length]));
            if length == 0 || (!stop.is_empty() && text.contains(stop)) {
                return Outcome::Ok(());
            }
        }
    };
    timeout(SOON, read).await.map_err(|_| format!("no end of the answer to {request}"))??;
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Ok((status, text))
}

async fn post(address: &str, path: &str, more: &str, body: &str) -> Outcome<u16> {
    let length = body.len();
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{more}Content-Length: {length}\r\n\r\n{body}"
    );
    Ok(raw(address, &request, "").await?.0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_and_its_viewers_are_told_of_everywhere_and_outlive_a_kill() -> Outcome {
    let _room = room::quarter().await;
    let server = Server::start(&[OFF]).await?;
    let push = Push::file(&server.rtmp_url("show"), &Drawing::default().path()?)?;
    server.playable("show", START).await?;
    let stream = "/api/v1/streams/live/show";
    let told =
        until(&server, stream, |told| told["health"]["state"] == "live" && told["score"]["value"] == 100)
            .await?;
    assert!(told["live_since"].is_number() && told["latency"]["total"].as_f64() > Some(0.1), "{told:#}");
    let series =
        until(&server, &format!("{stream}/series?last=60"), |told| told["count"].as_u64() > Some(5)).await?;
    let bitrates = series["columns"]["bitrate"].as_array().ok_or("no bitrate")?;
    assert!(bitrates.last().and_then(Value::as_f64) > Some(50_000.0), "{series:#}");

    // Viewers report by the query, by headers, and by posts; a stream that is not there takes none.
    let http = server.http_address();
    let playlist = server.playlist("show");
    let client = Client::new();
    client.get(&format!("{playlist}?CMCD=ot%3Dm%2Csid%3D%22by-query%22%2Csu")).await?;
    client
        .send(
            http::Method::GET,
            &playlist,
            &[("cmcd-session", "sid=\"by-headers\""), ("cmcd-object", "ot=m")],
        )
        .await?;
    let lines =
        "e=ps,sid=\"by-event\",sn=1,sta=s,ts=1000,v=2\ne=ps,sid=\"by-event\",sn=2,sta=p,ts=1400,v=2\n";
    assert_eq!(post(&http, "/live/show/beacon", "Content-Type: application/cmcd\r\n", lines).await?, 204);
    let beacon = r#"{"v":1,"sid":"by-beacon","seq":1,"state":"playing","startup_ms":321,"cum":{"play_ms":9000,"stall_ms":1000,"stalls":1}}"#;
    assert_eq!(post(&http, "/live/show/beacon", "", beacon).await?, 204);
    assert_eq!(post(&http, "/live/none/beacon", "", beacon).await?, 404);
    assert_eq!(post(&http, "/live/show/beacon", "", &"x".repeat(17_000)).await?, 413);
    assert_eq!(post(&http, "/live/show/index.m3u8", "", beacon).await?, 405);
    let sessions = until(&server, &format!("{stream}/sessions"), |told| told["total"] == 4).await?;
    let named = |name: &str| {
        let list = sessions["sessions"].as_array().into_iter().flatten();
        list.into_iter()
            .find(|one| one["session"] == name)
            .cloned()
            .ok_or(format!("{name} is not in {sessions:#}"))
    };
    let beacon = named("by-beaco")?;
    assert_eq!((&beacon["startup"], &beacon["rebuffer_ratio"]), (&Value::from(0.321), &Value::from(0.1)));
    assert_eq!(named("by-event")?["startup"], Value::from(0.4));
    let told = until(&server, stream, |told| told["qoe"]["sessions"] == 4).await?;
    assert!((told["qoe"]["rebuffer_ratio"].as_f64().unwrap_or(1.0) - 0.1).abs() < 0.01, "{told:#}");
    assert!(server.metric("aqueduct_qoe_rebuffer_seconds_total", "aqueduct").await? >= 1.0);
    assert_eq!(
        server.metric("aqueduct_stream_score", "live/show").await? as i64,
        told["score"]["value"].as_i64().unwrap_or(-1)
    );

    // Live, and to the streamer.
    let admin = server.admin_address();
    let live = format!("GET /api/v1/live?stream=live/show HTTP/1.1\r\nHost: {admin}\r\n\r\n");
    let (status, events) = raw(&admin, &live, "event: stream\n").await?;
    assert_eq!(status, 200);
    for event in ["hello", "streams", "overview", "nodes", "alerts", "second"] {
        assert!(events.contains(&format!("event: {event}\n")), "{event} is not in {events}");
    }
    assert!(events.contains(r#"["live/show","live","#), "{events}");
    let doctor = format!("http://{http}/doctor/live/show/status.json");
    let doctor: Value = serde_json::from_str(&client.get(&doctor).await?.text()?)?;
    assert_eq!(
        (&doctor["headline"], &doctor["health"]["state"]),
        (&Value::from("All is well."), &Value::from("live"))
    );
    let nodes = ask(&server, "/api/v1/nodes").await?;
    assert_eq!((&nodes[0]["this"], &nodes[0]["state"]), (&Value::from(true), &Value::from("up")));

    // Sessions are kept when they end; the first minute is kept when it is over.
    let left = r#"{"v":1,"sid":"by-beacon","seq":2,"state":"left","startup_ms":321,"cum":{"play_ms":9000,"stall_ms":1000,"stalls":1}}"#;
    assert_eq!(post(&http, "/live/show/beacon", "", left).await?, 204);
    drop(push);
    let happened =
        until(&server, "/api/v1/events", |told| told.to_string().contains("The publisher left")).await?;
    assert!(happened.to_string().contains("It plays."), "{happened:#}");
    // The writer takes what it has within a second.
    sleep(Duration::from_secs(2)).await;
    let server = server.restart(true, &[OFF]).await?;
    let csv = client.get(&server.admin("/api/v1/history/sessions.csv?from=0")).await?;
    assert_eq!(csv.status, 200, "{}", server.log());
    assert!(csv.text()?.starts_with("stream,session,player,"));
    assert_eq!(ask(&server, "/api/v1/history/minutes.json?from=0").await?["columns"][1], "stream");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_address_asks_for_a_password_or_a_token() -> Outcome {
    let _room = room::quarter().await;
    let token = "a-token-of-a-tool-0123456789";
    let tokens = format!("[{{role = \"viewer\", secret = \"{token}\"}}]");
    let port = aqueduct_tests::world::free_port()?;
    let listen = format!("0.0.0.0:{port}");
    let server = Server::start(&[OFF, ("admin.tokens", &tokens), ("admin.listen", &listen)]).await?;
    let address = format!("127.0.0.1:{port}");
    let get = |path: &str, more: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{more}\r\n");
        let address = address.clone();
        async move { raw(&address, &request, "").await }
    };
    assert_eq!(get("/api/v1/streams", "").await?.0, 401);
    assert_eq!(get("/healthz", "").await?.0, 200);
    let bearer = format!("Authorization: Bearer {token}\r\n");
    assert_eq!(get("/api/v1/streams", &bearer).await?.0, 200);
    assert_eq!(post(&address, "/api/v1/drain", &bearer, "").await?, 403, "a viewer changes nothing");
    // The password that the start prints: it is ready before its words are through.
    let begun = now();
    let log = loop {
        let log = server.log();
        if log.lines().any(|line| line.trim().starts_with("password")) {
            break log;
        }
        assert!(now() - begun < START, "no password in {log}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let password = log.lines().find_map(|line| line.trim().strip_prefix("password")).unwrap_or_default();
    let login = |password: &str, more: &str| {
        let body = format!("{{\"password\":\"{password}\"}}");
        let request = format!(
            "POST /api/v1/session HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: application/json\r\n{more}\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let address = address.clone();
        async move { raw(&address, &request, "").await }
    };
    let password = password.trim();
    assert_eq!(login(password, "Origin: http://evil.example\r\n").await?.0, 403);
    let (status, answer) = login(password, "").await?;
    assert_eq!(status, 200, "{answer}");
    assert!(answer.contains("HttpOnly; SameSite=Strict"), "{answer}");
    let cookie = answer.lines().find_map(|line| line.strip_prefix("set-cookie: ")).ok_or("no cookie")?;
    let cookie = format!("Cookie: {}\r\n", cookie.split(';').next().unwrap_or_default());
    assert_eq!(get("/api/v1/overview", &cookie).await?.0, 200);
    for _ in 0..10 {
        assert_eq!(get("/api/v1/streams", "Authorization: Bearer wrong\r\n").await?.0, 401);
    }
    assert_eq!(login(password, "").await?.0, 429, "guesses are shut out");
    assert_eq!(get("/api/v1/overview", &cookie).await?.0, 200, "who is in stays in");
    assert_eq!(post(&address, "/api/v1/drain", &cookie, "").await?, 202);
    Ok(())
}

/// Takes one request; its head and body.
async fn take(listener: &TcpListener, status: u16) -> Outcome<(String, Value)> {
    let (mut socket, _) = timeout(SOON, listener.accept()).await.map_err(|_| "no notice came")??;
    let (mut text, mut piece) = (String::new(), [0; 4_096]);
    loop {
        let length = socket.read(&mut piece).await?;
        text.push_str(&String::from_utf8_lossy(&piece[..length]));
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let wanted = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
            if length == 0 || body.len() >= wanted.parse::<usize>()? {
                break;
            }
        }
    }
    socket
        .write_all(
            format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").as_bytes(),
        )
        .await?;
    let (head, body) = text.split_once("\r\n\r\n").ok_or("no body")?;
    Ok((head.to_owned(), serde_json::from_str(body)?))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hook_is_told_in_order_until_it_takes_it() -> Outcome {
    let _room = room::quarter().await;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address: SocketAddr = listener.local_addr()?;
    let hook = format!(
        "[{{url = \"http://{address}/hook\", secret = \"secret-of-16-chars\", events = [\"stream\"]}}]"
    );
    let server = Server::start(&[OFF, ("analytics.hooks", &hook), ("ingest.grace", "1s")]).await?;
    let push = Push::file(&server.rtmp_url("show"), &Drawing::default().path()?)?;
    let (head, first) = take(&listener, 503).await?;
    assert_eq!((&first["event"], &first["attempt"]), (&Value::from("stream.live"), &Value::from(1)));
    assert!(
        head.contains("x-sig: t=") && head.contains(",v1=") && head.contains("idempotency-key: "),
        "{head}"
    );
    push.kill().await?;
    let (_, again) = take(&listener, 200).await?;
    assert_eq!(
        (&again["id"], &again["attempt"]),
        (&first["id"], &Value::from(2)),
        "the end waits for its turn"
    );
    let (_, ended) = take(&listener, 200).await?;
    assert_eq!(
        (&ended["event"], &ended["stream"]),
        (&Value::from("stream.ended"), &Value::from("live/show"))
    );
    Ok(())
}

/// What the server says of the session whose name begins so.
async fn session(server: &Server, name: &str) -> Outcome<Value> {
    let path = "/api/v1/streams/live/clock/sessions";
    let told = until(server, path, |told| told.to_string().contains(&format!("\"{name}"))).await?;
    let mut sessions = told["sessions"].as_array().cloned().unwrap_or_default();
    sessions.retain(|one| one["session"].as_str().is_some_and(|found| found.starts_with(name)));
    sessions.pop().ok_or_else(|| format!("{name} is not in {told:#}").into())
}

fn number(value: &Value, path: &str) -> f64 {
    value.pointer(path).and_then(Value::as_f64).unwrap_or(f64::NAN)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_players_report_is_what_their_pages_measured() -> Outcome {
    let _room = room::whole().await;
    let server = Server::start(&[OFF]).await?;
    let _demo = server.demo("clock").await?;
    server.playable("clock", START).await?;

    // Our page, by its beacon; the network goes away for two seconds.
    let page = browse(
        &server.watch_page("clock"),
        Player::Page,
        12,
        &["--clock", "--settle", "0", "--freeze", "4000:2000"],
    )
    .await?;
    let told = ask(&server, "/api/v1/streams/live/clock/sessions").await?;
    let ours = told["sessions"]
        .as_array()
        .and_then(|all| all.iter().find(|one| one["player"] == "aqueduct"))
        .cloned();
    let ours = ours.ok_or_else(|| format!("our page has not reported: {told:#}\n{page:#}"))?;
    let stats = &page["stats"];
    assert!(
        (number(&ours, "/startup") * 1e3 - number(stats, "/firstPictureMillis")).abs() <= 50.0,
        "{ours:#}\n{page:#}"
    );
    assert_eq!(number(&ours, "/stalls"), number(stats, "/stalls"), "{ours:#}\n{page:#}");
    assert!(number(stats, "/stallSeconds") > 0.3, "no stall was planted: {page:#}");
    let played =
        number(stats, "/stallSeconds") / (number(&page, "/playedSeconds") + number(stats, "/stallSeconds"));
    // The page is looked at up to a second before its last beacon.
    assert!((number(&ours, "/rebuffer_ratio") - played).abs() <= 0.04, "{ours:#}\n{page:#}");
    assert!(
        (number(&ours, "/latency") - number(&page, "/glassToScreen/p50")).abs() <= 0.5,
        "{ours:#}\n{page:#}"
    );

    // A stock player, by each carrier.
    let playlist = server.playlist("clock");
    let settle = ["--settle", "0", "--cmcd"];
    let with = |carrier: &'static str| [&settle[..], &[carrier]].concat();
    // Next to nothing comes for a while, and what the player says of it goes: events that are cut off are lost.
    let starved = ["--starve", "4000:6000"];
    let events = browse(&playlist, Player::Hls, 14, &[with("events"), starved.to_vec()].concat()).await?;
    let told = session(&server, "hls-even").await?;
    assert_eq!(told["player"], "cmcd");
    assert!(
        number(&told, "/startup") > 0.0
            && number(&told, "/startup") * 1e3 <= number(&events, "/firstPictureMillis") + 100.0,
        "{told:#}\n{events:#}"
    );
    assert!(number(&told, "/stalls") >= 1.0 && number(&told, "/stall") > 0.3, "{told:#}\n{events:#}");
    let (headers, query) = (with("headers"), with("query"));
    let (hls, shaka) = tokio::try_join!(
        browse(&playlist, Player::Hls, 6, &headers),
        browse(&playlist, Player::Shaka, 6, &query),
    )?;
    for (name, seen) in [("hls-head", &hls), ("shaka-qu", &shaka)] {
        let told = session(&server, name).await?;
        assert!(number(&told, "/play") >= number(seen, "/playedSeconds") * 0.6, "{told:#}\n{seen:#}");
        assert!(number(&told, "/bitrate") > 10_000.0, "{told:#}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_tells_of_all_and_can_send_another_away() -> Outcome {
    let _room = room::quarter().await;
    let nats = Nats::start().await?;
    let (relay, url) = (free_udp_port()?, nats.url());
    let address = format!("127.0.0.1:{relay}");
    let of =
        |node: &'static str| [OFF, ("cluster.nats", &*url), ("cluster.node", node), ("cluster.lease", "3s")];
    let origin =
        Server::origin(relay, &[&of("origin-1")[..], &[("cluster.relay", &*address)]].concat()).await?;
    let mut edge = Server::edge(&[], &of("edge-1")).await?;
    let _push = Push::file(&origin.rtmp_url("show"), &Drawing::default().path()?)?;
    edge.playable("show", START).await?;
    let both =
        |told: &Value| told.as_array().is_some_and(|nodes| nodes.len() == 2 && nodes[1]["state"] == "up");
    let nodes = until(&origin, "/api/v1/nodes", both).await?;
    assert_eq!((&nodes[1]["node"], &nodes[1]["role"]), (&Value::from("edge-1"), &Value::from("edge")));
    // What a viewer tells the edge is known at the origin, once.
    let beacon =
        r#"{"v":1,"sid":"far-away","seq":1,"state":"playing","startup_ms":321,"cum":{"play_ms":9000}}"#;
    assert_eq!(post(&edge.http_address(), "/live/show/beacon", "", beacon).await?, 204);
    let sessions = "/api/v1/streams/live/show/sessions";
    let told = until(&origin, sessions, |told| told["total"] == 1).await?;
    assert_eq!(
        (&told["sessions"][0]["edge"], &told["sessions"][0]["play"]),
        (&Value::from("edge-1"), &Value::from(9.0))
    );
    let admin = origin.admin_address();
    assert_eq!(post(&admin, "/api/v1/nodes/nobody/drain", "", "").await?, 404);
    assert_eq!(post(&admin, "/api/v1/nodes/edge-1/drain", "", "").await?, 202);
    assert_eq!(edge.ended(SOON).await?, Some(0));
    until(&origin, "/api/v1/nodes", |told| told[1]["state"] == "gone").await?;
    Ok(())
}
