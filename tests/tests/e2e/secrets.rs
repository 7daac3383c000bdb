//! What is secret is in no log, answer, metric or list of processes, and no crash writes it to a file.

use std::path::PathBuf;
use std::time::Duration;

use aqueduct_tests::fetch::Client;
use aqueduct_tests::world::{Drawing, Push, Server, free_port, free_udp_port, room};
use aqueduct_tests::{Outcome, now};
use http::Method;

const START: Duration = Duration::from_secs(20);
/// Every secret that an operator can write into the file, and some that publishers and viewers make up.
const KEY: &str = "publish-key-4711-4711";
const WRONG_KEY: &str = "publish-key-that-is-wrong";
const SRT: &str = "srt-passphrase-4711";
const CAMERA: &str = "camera-password-4711";
const CAMERA_PATH: &str = "camera-path-4711";
const PULL: &str = "pull-passphrase-4711";
const TARGET: &str = "target-key-4711";
const SHARED: &str = "shared-key-of-viewers-tokens-4711-4711";
const ADMIN: &str = "admin-token-4711-4711";
const HOOK: &str = "hook-secret-4711-4711";
const HOOK_PATH: &str = "hook-path-4711";
const GUESS: &str = "eyJhbGciOiJIUzI1NiJ9.guess-4711.c2lnbmF0dXJl";
const SECRETS: [&str; 12] =
    [KEY, WRONG_KEY, SRT, CAMERA, CAMERA_PATH, PULL, TARGET, SHARED, ADMIN, HOOK, HOOK_PATH, "guess-4711"];

fn file() -> Outcome<String> {
    let (srt, dead, gone) = (free_udp_port()?, free_port()?, free_udp_port()?);
    Ok(format!(
        r#"
[transcode]
demand = "always"
[[transcode.ladder]]
height = 90
[ingest.srt]
listen = "127.0.0.1:{srt}"
passphrase = "{SRT}"
[[ingest.keys]]
stream = "live/*"
secret = "{KEY}"
[[ingest.rtsp]]
stream = "live/door"
url = "rtsp://admin:{CAMERA}@127.0.0.1:{dead}/{CAMERA_PATH}?token={CAMERA}"
[[ingest.pull]]
stream = "live/pulled"
url = "srt://127.0.0.1:{gone}"
passphrase = "{PULL}"
[edge.access]
protected = ["live/vip"]
[[edge.access.keys]]
id = "shop"
secret = "{SHARED}"
[[admin.tokens]]
role = "admin"
secret = "{ADMIN}"
[[analytics.hooks]]
url = "http://127.0.0.1:{dead}/{HOOK_PATH}"
secret = "{HOOK}"
[[stream]]
name = "live/show"
[[stream.push]]
url = "rtmp://127.0.0.1:{dead}/live"
key = "{TARGET}"
"#
    ))
}

/// Waits until every kind of worker that this file leads to has been started.
async fn workers(server: &Server) -> Outcome<Vec<u32>> {
    let deadline = now() + START;
    loop {
        let found = ["worker", "pull-worker", "push-worker"].map(|kind| server.workers_of(kind));
        if found.iter().all(|pids| !pids.is_empty()) {
            return Ok(found.concat());
        }
        if now() >= deadline {
            return Err(format!("workers: {found:?}\n{}", server.log()).into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What everybody on this machine may read of a process; a worker that has just ended has nothing to hide.
fn seen_of(pid: u32) -> String {
    let process = PathBuf::from(format!("/proc/{pid}"));
    let text = |name: &str| std::fs::read(process.join(name)).unwrap_or_default();
    String::from_utf8_lossy(&[text("cmdline"), text("comm"), text("environ")].concat()).into_owned()
}

fn core_limit(pid: u32) -> Option<String> {
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    let line = limits.lines().find(|line| line.starts_with("Max core file size"))?;
    line.split_whitespace().nth(4).map(str::to_owned)
}

/// Everything that the operator's port tells when it is asked to read.
async fn told(server: &Server) -> Outcome<String> {
    let client = Client::new();
    let api = client.get(&server.admin("/api/v1/openapi.json")).await?.text()?;
    let api: serde_json::Value = serde_json::from_str(&api)?;
    let paths = api["paths"].as_object().ok_or("the API describes its paths")?;
    let mut all = client.get(&server.admin("/metrics")).await?.text()?;
    for (path, methods) in paths {
        // The stream of live figures has no end, and what takes a name is asked for the stream that there is.
        if methods.get("get").is_none() || path.ends_with("/live") {
            continue;
        }
        let path = path.replace("{app}", "live").replace("{name}", "show");
        let answer = tokio::time::timeout(Duration::from_secs(20), client.get(&server.admin(&path))).await;
        let answer = answer.map_err(|_| format!("{path} does not answer"))??;
        {
            all.push_str(&String::from_utf8_lossy(&answer.body));
        }
    }
    Ok(all)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_is_in_a_log_an_answer_a_metric_or_a_list_of_processes() -> Outcome {
    let _room = room::half().await;
    let server = Server::configured(&file()?, &[("transcode.mode", "auto")]).await?;
    let clip = Drawing::default().path()?;
    let _push = Push::file(&server.rtmp_url(&format!("show?key={KEY}")), &clip)?;
    let refused = Push::file(&server.rtmp_url(&format!("show?key={WRONG_KEY}")), &clip)?;
    let client = Client::new();
    let guess = server.playlist("vip").replace("/live/", &format!("/t/{GUESS}/live/"));
    assert_eq!(client.get(&guess).await?.status.as_u16(), 401);
    let query = format!("{}?tk={GUESS}", server.playlist("vip"));
    assert!(client.get(&query).await?.status.is_client_error());
    let bearer = format!("Bearer {ADMIN}");
    for bearer in [&*bearer, "Bearer guess-4711"] {
        client.send(Method::GET, &server.admin("/api/v1/streams"), &[("authorization", bearer)]).await?;
    }
    server.playable("show", START).await?;
    let (done, _) = refused.ended(START).await?;
    assert!(!done, "a wrong key is refused");
    let mut pids = workers(&server).await?;
    pids.extend(server.pid());
    let processes: Vec<String> = pids.iter().map(|&pid| seen_of(pid)).collect();
    assert!(processes.iter().any(|text| text.contains("aqueduct.toml")), "{processes:?}");
    for pid in pids {
        assert!(core_limit(pid).is_none_or(|limit| limit == "0"), "{pid}: {:?}", core_limit(pid));
    }
    let (log, told) = (server.log(), told(&server).await?);
    assert!(log.contains("live/show") && told.contains("live/show"), "they tell of the stream\n{log}");
    for secret in SECRETS {
        for (what, text) in [("log", &log), ("operator's port", &told), ("processes", &processes.join("\n"))]
        {
            let around = text.lines().find(|line| line.contains(secret));
            assert_eq!(around, None, "{secret} is in the {what}");
        }
    }
    Ok(())
}
