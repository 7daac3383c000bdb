//! Caches before an edge: nginx with the configuration that is shipped, before a running server.

use std::process::Stdio;
use std::time::Duration;

use aqueduct_tests::check::playlist::resolve;
use aqueduct_tests::fetch::{Answer, Client};
use aqueduct_tests::publisher::clip::Clip;
use aqueduct_tests::publisher::script::{Script, Wrapping};
use aqueduct_tests::world::{Drawing, Server, free_port, room};
use aqueduct_tests::{Outcome, now};
use tokio::process::{Child, Command};
use tokio::time::sleep;

use super::{Scratch, deploy};

const PATIENCE: Duration = Duration::from_secs(30);

/// nginx with the shipped file, on a port of its own, before `edge`.
async fn nginx(scratch: &Scratch, edge: &str) -> Outcome<Option<(Child, String)>> {
    let port = free_port()?;
    let dir = scratch.0.display().to_string();
    let shipped = std::fs::read_to_string(deploy().join("cdn/nginx.conf"))?;
    let shipped = shipped.replace("/var/cache/nginx/aqueduct", &format!("{dir}/cache"));
    let shipped = shipped.replace("server 127.0.0.1:8080;", &format!("server {edge};"));
    let shipped = shipped.replace("listen 8088;", &format!("listen 127.0.0.1:{port};"));
    assert!(shipped.contains(edge) && shipped.contains(&port.to_string()));
    let file = scratch.write("aqueduct.conf", &shipped)?;
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {dir}/{kind}; "))
        .concat();
    let whole = format!(
        "daemon off; master_process off; pid {dir}/pid; error_log {dir}/errors;\n\
         events {{ }}\nhttp {{ access_log off; {temporary}include {}; }}\n",
        file.display()
    );
    let whole = scratch.write("nginx.conf", &whole)?;
    let program = if std::path::Path::new("/usr/sbin/nginx").exists() { "/usr/sbin/nginx" } else { "nginx" };
    let command = || {
        let mut command = Command::new(program);
        command.arg("-c").arg(&whole).arg("-e").arg(format!("{dir}/errors")).stdin(Stdio::null());
        command
    };
    let tested = match command().arg("-t").output().await {
        Ok(tested) => tested,
        Err(error) => {
            eprintln!("nginx: {error}; its configuration was not tried");
            return Ok(None);
        }
    };
    assert!(tested.status.success(), "{}", String::from_utf8_lossy(&tested.stderr));
    // One process, so that nothing of it outlives the test.
    let child = command().stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true).spawn()?;
    Ok(Some((child, format!("http://127.0.0.1:{port}"))))
}

/// Asks until somebody answers there.
async fn get(client: &Client, url: &str) -> Outcome<Answer> {
    let deadline = now() + PATIENCE;
    loop {
        match client.get(url).await {
            Ok(answer) => return Ok(answer),
            Err(error) if now() > deadline => return Err(error),
            Err(_) => sleep(Duration::from_millis(50)).await,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nginx_keeps_what_all_viewers_share_and_nothing_else() -> Outcome {
    let _room = room::quarter().await;
    let scratch = Scratch::new("nginx")?;
    let server = Server::start(&[("steering.enabled", "true")]).await?;
    let script = Script::play(&Clip::open(&Drawing::default().path()?)?, 60_000, Wrapping::Legacy);
    let _publishing = server.publish("show", script);
    server.playable("show", PATIENCE).await?;
    let Some((mut child, cache)) = nginx(&scratch, &server.http_address()).await? else { return Ok(()) };
    let client = Client::new();
    let index = format!("{cache}/live/show/index.m3u8");
    let text = get(&client, &index).await?.text()?;
    // Who asks, and by which player, is not part of what is asked for.
    let again = get(&client, &format!("{index}?CMCD=sid%3D%22x%22&session=1")).await?;
    assert_eq!(again.header("x-cache"), "HIT");
    assert_eq!(again.text()?, text);
    let media =
        text.lines().find(|line| line.ends_with(".m3u8") && !line.starts_with('#')).ok_or("no list")?;
    let media = resolve(&index, media);
    // The list as it is now is nobody's to keep; the one that names its version is everybody's.
    for _ in 0..2 {
        assert_ne!(get(&client, &media).await?.header("x-cache"), "HIT");
    }
    let list = get(&client, &media).await?.text()?;
    let parsed = aqueduct_tests::check::playlist::MediaPlaylist::parse(&list).0.ok_or("no playlist")?;
    let at = parsed.edge().ok_or("an empty list")?;
    let next = format!("{media}?_HLS_msn={}&_HLS_part=0", at.msn + 1);
    let other = format!("{media}?tk=1&_HLS_part=0&_HLS_msn={}", at.msn + 1);
    let (one, two) = tokio::try_join!(client.get(&next), client.get(&other))?;
    assert_eq!((one.status.as_u16(), two.status.as_u16()), (200, 200));
    assert_eq!(one.text()?, two.text()?);
    let states = [one.header("x-cache"), two.header("x-cache")];
    assert!(states.contains(&"HIT") && states.contains(&"MISS"), "one request for both: {states:?}");
    let part = list
        .lines()
        .rev()
        .find_map(|line| line.strip_prefix("#EXT-X-PART:")?.split("URI=\"").nth(1)?.split('"').next());
    let part = resolve(&media, part.ok_or("no part")?);
    assert_eq!(get(&client, &part).await?.header("x-cache"), "MISS");
    assert_eq!(get(&client, &format!("{part}?CMCD=x")).await?.header("x-cache"), "HIT");
    let steering = get(&client, &format!("{cache}/live/show/steering.json")).await?;
    assert_eq!((steering.status.as_u16(), steering.header("x-cache")), (200, ""));
    child.kill().await?;
    Ok(())
}
