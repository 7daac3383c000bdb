//! A protected stream: the link that `aqueduct token` prints plays in our page and in stock hls.js; without it nobody
//! gets anything, and no token is ever written to the log.

use std::time::Duration;

use aqueduct_tests::fetch::Client;
use aqueduct_tests::world::{Drawing, Player, Push, Server, Setting, browse, room, run_program};
use aqueduct_tests::{Outcome, now};
use serde_json::Value;

const START: Duration = Duration::from_secs(15);
const PROTECTED: &[Setting<'_>] = &[("edge.access.protected", "live/*")];

/// The link behind a word of what `aqueduct token` prints.
fn link(printed: &str, word: &str) -> Outcome<String> {
    let mut lines = printed.lines().map(str::trim);
    let link =
        lines.find_map(|line| line.strip_prefix(word)).ok_or_else(|| format!("no {word} in {printed}"))?;
    Ok(link.trim().to_owned())
}

/// Waits until a playlist is there.
async fn playable(url: &str) -> Outcome {
    let (client, deadline) = (Client::new(), now() + START);
    loop {
        let answer = client.get(url).await?;
        if answer.status.is_success() {
            return Ok(());
        }
        if now() >= deadline {
            return Err(format!("{}: {}", answer.status, answer.text()?).into());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn assert_played(seen: &Value) {
    assert!(seen["fatal"].is_null(), "{seen:#}");
    assert!(seen["playedSeconds"].as_f64().unwrap_or_default() >= 5.0, "{seen:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_printed_link_plays_in_our_page_and_in_hls_js() -> Outcome {
    let _room = room::half().await;
    let server = Server::talkative(PROTECTED).await?;
    let _push = Push::file(&server.rtmp_url("vip"), &Drawing::default().path()?)?;
    let printed = server.program(&["token", "live/vip", "--viewer", "alice"], PROTECTED).await?;
    let (page, playlist) = (link(&printed, "Watch")?, link(&printed, "Play")?);
    playable(&playlist).await?;
    let seen = browse(&page, Player::Page, 8, &["--settle", "4"]).await?;
    assert_played(&seen);
    let seen = browse(&playlist, Player::Hls, 8, &["--settle", "4"]).await?;
    assert_played(&seen);

    // Not by its plain address, nor another stream by this link.
    let client = Client::new();
    for (url, status, says) in [
        (server.playlist("vip"), 401, "token_missing: "),
        (playlist.replace("/live/vip/", "/live/other/"), 403, "token_stream: "),
        (playlist.replace("/t/ey", "/t/ez"), 401, "token_malformed: "),
    ] {
        let answer = client.get(&url).await?;
        assert_eq!((answer.status.as_u16(), answer.header("cache-control")), (status, "no-store"), "{url}");
        assert!(answer.text()?.starts_with(says), "{url}: {}", answer.text()?);
    }
    let deadline = now() + START;
    while server.metric("aqueduct_http_shed_total", "reason=\"token_stream\"").await? < 1.0 {
        assert!(now() < deadline, "refusals are counted within a second or two");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }

    let ticket = page.split('/').nth(4).unwrap_or_default();
    let (claims, signature) = ticket.rsplit_once('.').ok_or("a token has a signature")?;
    let log = server.log();
    assert!(log.contains("live/vip"), "the log tells of the stream");
    assert!(!log.contains(signature) && !log.contains(claims), "the log holds the token");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_other_ways_of_making_a_link_work_as_well() -> Outcome {
    let _room = room::half().await;
    let scratch = std::env::temp_dir().join(format!("aqueduct-link-{}", std::process::id()));
    std::fs::create_dir_all(&scratch)?;
    let (pem, jwks) = (scratch.join("play.pem"), scratch.join("jwks.json"));
    let (pem, jwks) = (pem.display().to_string(), jwks.display().to_string());
    std::fs::write(&jwks, run_program(&["token", "--new-key", &pem]).await?)?;

    let secret = r#"[{id = "shop", secret = "0123456789abcdef0123456789abcdef", streams = "live/*"}]"#;
    let settings = [PROTECTED[0], ("edge.access.jwks", &*jwks), ("edge.access.keys", secret)];
    let server = Server::start(&settings).await?;
    let _push = Push::file(&server.rtmp_url("vip"), &Drawing::default().path()?)?;
    let client = Client::new();
    let ways: [&[&str]; 4] = [
        &["token", "live/vip", "--key-file", &pem, "--for", "10m"],
        &["token", "live/*", "--key", "shop"],
        &["token", "live/vip", "--signed"],
        &["token", "live/vip", "--network", "127.0.0.1"],
    ];
    for way in ways {
        let printed = server.program(way, &settings).await?;
        playable(&link(&printed, "Play")?.replace("/NAME/", "/vip/")).await?;
        if let Ok(query) = link(&printed, "Query") {
            let answer = client.get(&query).await?;
            assert_eq!((answer.status.as_u16(), answer.header("location")), (307, &*path_form(&printed)?));
        }
    }
    let elsewhere = server.program(&["token", "live/vip", "--network", "192.0.2.1"], &settings).await?;
    assert_eq!(client.get(&link(&elsewhere, "Play")?).await?.status.as_u16(), 403);
    // What could never work is said when it is asked for.
    for (wrong, says) in [
        (&["token", "live/vip", "--for", "25h"][..], "24h"),
        (&["token", "live/vip", "--key", "other"], "edge.access.keys"),
        (&["token", "sport/final", "--signed"], "sport/final"),
        (&["token", "live"], "live/show"),
    ] {
        let error = server.program(wrong, &settings).await.err().ok_or("it should fail")?.to_string();
        assert!(error.contains(says) && error.contains("exit status: 2"), "{error}");
    }
    std::fs::remove_dir_all(&scratch)?;
    Ok(())
}

/// The path of the playlist's link.
fn path_form(printed: &str) -> Outcome<String> {
    let play = link(printed, "Play")?;
    let path = play.splitn(4, '/').nth(3).ok_or("a link has a path")?;
    Ok(format!("/{path}"))
}
