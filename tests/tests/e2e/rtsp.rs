//! RTSP: cameras that are pulled and publishers that push, with real servers and real encoders.

use std::time::Duration;

use aqueduct_tests::fetch::Client;
use aqueduct_tests::world::{Flashes, RtspPush, RtspServer, Server, decode, free_port, probe, room};
use aqueduct_tests::{Outcome, now};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const START: Duration = Duration::from_secs(25);
const OFF: (&str, &str) = ("ingest.rtsp_server.listen", "off");

/// `ingest.rtsp` with these sources: name, URL, transport.
fn sources(sources: &[(&str, String, &str)]) -> String {
    let source = |(name, url, transport): &(&str, String, &str)| {
        format!("{{stream=\"live/{name}\",url=\"{url}\",transport=\"{transport}\"}}")
    };
    format!("[{}]", sources.iter().map(source).collect::<Vec<_>>().join(","))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cameras_of_every_codec_play_over_tcp_and_udp() -> Outcome {
    let _room = room::half().await;
    let camera = RtspServer::start().await?;
    let pulled = sources(&[
        ("h264", camera.url("h264"), "tcp"),
        ("h265", camera.url("h265"), "udp"),
        ("gop5", camera.url("gop5"), "udp"),
        ("opus", camera.url("opus"), "auto"),
        ("bframes", camera.url("bframes"), "tcp"),
    ]);
    let server = Server::start(&[OFF, ("ingest.rtsp", &pulled)]).await?;
    for (name, expected) in [
        ("h264", &["h264,320,240", "aac"][..]),
        ("h265", &["hevc,320,240", "aac"]),
        ("gop5", &["h264,320,240"]),
        ("opus", &["h264,320,240", "opus"]),
        ("bframes", &["h264,320,240", "aac"]),
    ] {
        server.playable(name, START).await?;
        let tracks = probe(&server.playlist(name), "codec_name,width,height").await?;
        for track in expected {
            assert!(tracks.lines().any(|line| line.starts_with(track)), "{name}: {tracks}");
        }
    }
    let url = server.playlist("bframes");
    let (report, decoded) = tokio::try_join!(server.conforms("h264", 6), decode(&url, 4))?;
    assert_eq!(report.renditions, 2);
    assert!(decoded.frames >= 90, "{decoded:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cameras_with_g711_g726_and_jpeg_are_transcoded() -> Outcome {
    let _room = room::half().await;
    let camera = RtspServer::start().await?;
    let pulled = sources(&[("pcmu", camera.url("pcmu"), "tcp"), ("jpeg", camera.url("mjpeg"), "tcp")]);
    let server = Server::start(&[
        OFF,
        ("ingest.rtsp", &pulled),
        ("transcode.mode", "auto"),
        ("transcode.hardware.encode", "software"),
    ])
    .await?;
    server.names("pcmu", "mp4a.40.2", START).await?;
    let index = server.names("jpeg", "avc1", START).await?;
    assert!(index.contains("RESOLUTION=320x240") && index.contains("mp4a.40.2"), "{index}");
    assert!(!index.contains("mp4v"), "a picture that no browser plays passes through: {index}");
    let url = server.playlist("jpeg");
    let (_, decoded) = tokio::try_join!(server.conforms("jpeg", 4), decode(&url, 3))?;
    assert!(decoded.frames >= 60, "{decoded:?}");
    let told = server.told("jpeg").await?.to_string();
    assert!(told.contains("no browser plays MJPEG"), "{told}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_camera_with_jpeg_is_named_where_nothing_is_transcoded() -> Outcome {
    let _room = room::quarter().await;
    let camera = RtspServer::start().await?;
    let pulled = sources(&[("jpeg", camera.url("mjpeg"), "tcp")]);
    let server = Server::start(&[OFF, ("ingest.rtsp", &pulled), ("transcode.mode", "off")]).await?;
    let problem = failing(&server, "jpeg").await?;
    for told in ["MJPEG", "G.726", "H.264", "transcode.mode"] {
        assert!(problem.contains(told), "{problem}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_camera_of_which_one_packet_in_fifty_is_missing_goes_on() -> Outcome {
    let _room = room::quarter().await;
    let camera = RtspServer::start().await?;
    let server =
        Server::start(&[OFF, ("ingest.rtsp", &sources(&[("lossy", camera.url("lossy"), "udp")]))]).await?;
    server.playable("lossy", START).await?;
    let url = server.playlist("lossy");
    let deadline = now() + START;
    while server.metric("aqueduct_ingest_ts_anomalies_total", "packet_lost").await? < 3.0 {
        assert!(now() < deadline, "no packet is missing\n{}", server.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // What refers to a packet that is missing is left out up to the next keyframe; what comes decodes without a complaint.
    let decoded = decode(&url, 4).await?;
    assert!(decoded.frames >= 20, "{decoded:?}");
    Ok(())
}

/// What `/api/v1/rtsp` says is wrong with a source, once it says so.
async fn failing(server: &Server, name: &str) -> Outcome<String> {
    let (client, deadline) = (Client::new(), now() + START);
    loop {
        let text = client.get(&server.admin("/api/v1/rtsp")).await?.text()?;
        let list: serde_json::Value = serde_json::from_str(&text)?;
        let stream = format!("live/{name}");
        let found = list.as_array().and_then(|list| list.iter().find(|source| source["stream"] == *stream));
        if let Some(problem) = found.and_then(|source| source["problem"].as_str()) {
            return Ok(problem.to_owned());
        }
        if now() >= deadline {
            return Err(format!("{name} does not fail: {text}\n{}", server.log()).into());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishers_push_with_a_key_and_not_without() -> Outcome {
    let _room = room::quarter().await;
    const KEY: &str = "push-key-0123456789";
    let clip = Flashes::made().await?.h264;
    let port = free_port()?;
    let (listen, keys) = (format!("127.0.0.1:{port}"), format!("[{{stream=\"live/*\",secret=\"{KEY}\"}}]"));
    let server = Server::start(&[("ingest.rtsp_server.listen", &listen), ("ingest.keys", &keys)]).await?;
    let host = format!("127.0.0.1:{port}");
    let refused = RtspPush::ffmpeg(&format!("rtsp://x:wrong-key-0123456789@{host}/live/a"), "tcp", &clip)?;
    let (succeeded, complaint) = refused.ended(START).await?;
    assert!(!succeeded && complaint.contains("403"), "{complaint}");
    let _password = RtspPush::ffmpeg(&format!("rtsp://x:{KEY}@{host}/live/a"), "udp", &clip)?;
    let _gst_tcp = RtspPush::gstreamer(&format!("rtsp://{host}/live/b?key={KEY}"), "tcp")?;
    let _gst_udp = RtspPush::gstreamer(&format!("rtsp://{host}/live/c?key={KEY}"), "udp")?;
    for name in ["a", "b", "c"] {
        server.playable(name, START).await?;
        let tracks = probe(&server.playlist(name), "codec_name").await?;
        assert!(tracks.contains("h264") && tracks.contains("aac"), "{name}: {tracks}");
    }
    assert!(!server.log().contains(KEY), "a key reached the log");
    assert_eq!(server.told("b").await?["protocol"], "rtsp");
    Ok(())
}

/// Waits until so many sessions publish.
/// What a list names. Its bit rates are measured anew all the time.
fn urls(list: &str) -> Vec<String> {
    list.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
}

async fn sessions(server: &Server, count: f64) -> Outcome {
    let deadline = now() + START;
    while server.metric("aqueduct_ingest_sessions", "").await? != count {
        if now() >= deadline {
            return Err(format!("not {count} sessions\n{}", server.log()).into());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_is_taken_over_and_may_return_within_the_grace_time() -> Outcome {
    let _room = room::quarter().await;
    let clip = Flashes::made().await?.h264;
    let listen = format!("127.0.0.1:{}", free_port()?);
    let server = Server::start(&[("ingest.rtsp_server.listen", &listen)]).await?;
    let url = format!("rtsp://{listen}/live/show");
    let first = RtspPush::ffmpeg(&url, "tcp", &clip)?;
    let index = urls(&server.playable("show", START).await?);
    let second = RtspPush::ffmpeg(&url, "udp", &clip)?;
    let (succeeded, _) = first.ended(START).await?;
    assert!(!succeeded, "the first publisher noticed nothing");
    sessions(&server, 1.0).await?;
    assert_eq!(urls(&server.playable("show", START).await?), index);
    // Killed, it says no goodbye.
    drop(second);
    sessions(&server, 0.0).await?;
    let _third = RtspPush::ffmpeg(&url, "tcp", &clip)?;
    sessions(&server, 1.0).await?;
    assert_eq!(urls(&server.playable("show", START).await?), index, "the same renditions at the same URLs");
    // Where the killed one broke off a segment is a gap, which ffmpeg's own player does not know.
    server.conforms("show", 4).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_camera_that_restarts_goes_on_with_its_stream() -> Outcome {
    let _room = room::quarter().await;
    let camera = RtspServer::start().await?;
    let pulled = sources(&[("door", camera.url("h264"), "tcp")]);
    let server = Server::start(&[OFF, ("ingest.rtsp", &pulled)]).await?;
    let before = server.playable("door", START).await?;
    let port = camera.kill().await?;
    failing(&server, "door").await?;
    let _camera = RtspServer::start_at(port, None, None).await?;
    assert!(server.metric("aqueduct_ingest_session_ends_total", "").await? >= 1.0);
    sessions(&server, 1.0).await?;
    assert_eq!(server.playable("door", START).await?, before, "the same renditions at the same URLs");
    decode(&server.playlist("door"), 3).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_credentials_are_told_once_and_never_shown() -> Outcome {
    let _room = room::quarter().await;
    const PASSWORD: &str = "correct-horse";
    let port = free_port()?;
    let _camera = RtspServer::start_at(port, Some(&format!("admin:{PASSWORD}")), None).await?;
    let at = |user: &str| format!("rtsp://{user}127.0.0.1:{port}/h264");
    let pulled = sources(&[
        ("wrong", at("admin:battery-staple@"), "tcp"),
        ("right", at(&format!("admin:{PASSWORD}@")), "tcp"),
    ]);
    let server = Server::talkative(&[OFF, ("ingest.rtsp", &pulled)]).await?;
    let problem = failing(&server, "wrong").await?;
    assert!(problem.contains("user name or the password"), "{problem}");
    server.playable("right", START).await?;
    // Slowly, or the camera locks the account.
    let list = Client::new().get(&server.admin("/api/v1/rtsp")).await?.text()?;
    let list: Vec<serde_json::Value> = serde_json::from_str(&list)?;
    let wrong = list.iter().find(|source| source["stream"] == "live/wrong");
    assert!(wrong.and_then(|wrong| wrong["retry_millis"].as_u64()) >= Some(24_000), "{wrong:?}");
    let advice = server.told("wrong").await?["advice"].to_string();
    assert!(advice.contains("user name or the password"), "{advice}");
    let log = server.log();
    assert_eq!(log.matches("a source fails").count(), 1, "{log}");
    for secret in [PASSWORD, "battery-staple"] {
        let list = Client::new().get(&server.admin("/api/v1/rtsp")).await?.text()?;
        let metrics = Client::new().get(&server.admin("/metrics")).await?.text()?;
        assert!(!format!("{log}{list}{metrics}{advice}").contains(secret), "{secret} is shown");
    }
    Ok(())
}

/// A server that answers everything with `answer`, over and over, until it is cut off.
async fn hostile(answer: &'static [u8]) -> Outcome<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let port = listener.local_addr()?.port();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = [0; 4_096];
                let read = socket.read(&mut request).await;
                // At most 64 MiB, should nobody cut it off.
                let times = (64 << 20) / answer.len();
                for _ in 0..if read.is_ok() { times } else { 0 } {
                    if socket.write_all(answer).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    Ok(port)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_servers_cost_only_themselves() -> Outcome {
    let _room = room::quarter().await;
    let camera = RtspServer::start().await?;
    let headers = hostile(b"RTSP/1.0 200 OK\r\nCSeq: 1\r\nX: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n").await?;
    let body = hostile(
        b"RTSP/1.0 200 OK\r\nCSeq: 1\r\nContent-Type: application/sdp\r\nContent-Length: 1000000000\r\n\r\n",
    )
    .await?;
    let channels = hostile(&[b'$', 9, 0xff, 0xff, 1, 2, 3, 4]).await?;
    let garbage = hostile(&[0xfe; 4_096]).await?;
    let at = |port: u16| format!("rtsp://127.0.0.1:{port}/x");
    let pulled = sources(&[
        ("headers", at(headers), "tcp"),
        ("body", at(body), "tcp"),
        ("channels", at(channels), "tcp"),
        ("garbage", at(garbage), "tcp"),
        ("door", camera.url("h264"), "tcp"),
    ]);
    let server = Server::start(&[OFF, ("ingest.rtsp", &pulled)]).await?;
    for (name, told) in
        [("headers", "headers are longer"), ("body", "body is longer"), ("garbage", "no RTSP")]
    {
        let problem = failing(&server, name).await?;
        assert!(problem.contains(told), "{name}: {problem}");
    }
    failing(&server, "channels").await?;
    server.playable("door", START).await?;
    decode(&server.playlist("door"), 3).await?;
    let resident = resident(server.pid().ok_or("the server is gone")?)?;
    assert!(resident < 200 << 20, "{resident} bytes of memory");
    Ok(())
}

/// Bytes of memory that a process has.
fn resident(pid: u32) -> Outcome<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.split_whitespace().next().ok_or("no number")?.parse::<u64>()? << 10)
}

/// The status of a request to `/api/v1/rtsp`.
async fn ask(server: &Server, method: &str, path: &str, body: &str) -> Outcome<u16> {
    let mut socket = TcpStream::connect(server.admin_address()).await?;
    let length = body.len();
    let request = format!(
        "{method} /api/v1/rtsp{path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    socket.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await?;
    Ok(answer.split_whitespace().nth(1).ok_or("no status")?.parse()?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_added_at_run_time_is_pulled_once_somebody_watches() -> Outcome {
    let _room = room::quarter().await;
    let camera = RtspServer::start().await?;
    let server = Server::start(&[OFF]).await?;
    let (client, api) = (Client::new(), server.admin("/api/v1/rtsp"));
    let body = format!(r#"{{"stream":"live/door","url":"{}","start":"on-watch"}}"#, camera.url("h264"));
    assert_eq!(ask(&server, "POST", "", &body).await?, 201);
    assert_eq!(ask(&server, "POST", "", &body).await?, 409);
    assert_eq!(ask(&server, "POST", "", r#"{"stream":"live/x","url":"ftp://x"}"#).await?, 400);
    let state = || async {
        let list: serde_json::Value = serde_json::from_str(&client.get(&api).await?.text()?)?;
        Outcome::Ok(list[0]["state"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(state().await?, "asleep");
    // The first request wakes it and is held until it plays, or asks again.
    server.playable("door", START).await?;
    assert_eq!(state().await?, "playing");
    decode(&server.playlist("door"), 2).await?;
    assert_eq!(ask(&server, "DELETE", "/live/door", "").await?, 204);
    assert_eq!(ask(&server, "DELETE", "/live/door", "").await?, 404);
    assert_eq!(client.get(&api).await?.text()?, "[]");
    Ok(())
}
