//! Sources that the server fetches, and publishers over SRT: real senders, lossy links, lost workers.

use std::path::PathBuf;
use std::time::Duration;

use aqueduct_tests::Outcome;
use aqueduct_tests::check::live::{self, Options};
use aqueduct_tests::linkproxy::{Link, Shape};
use aqueduct_tests::publisher::clip::made;
use aqueduct_tests::world::{Drawing, Push, Server, decode, free_udp_port, local, room};
use tokio::process::Command;
use tokio::time::sleep;

const START: Duration = Duration::from_secs(40);
const KEY: &str = "srt-key-0123456789";
const WORDS: &str = "hidden-words-0123";

/// Three seconds: loops show what becomes of a clip's end.
fn short() -> Outcome<PathBuf> {
    Drawing { name: "short.mp4", seconds: 3, ..Drawing::default() }.path()
}

fn lossy(millionths: u32) -> Shape {
    Shape { delay: Duration::from_millis(10), loss_millionths: millionths, seed: 7, ..Shape::default() }
}

async fn pulling(pull: &str) -> Outcome<Server> {
    Server::start(&[("ingest.pull", &format!("[{pull}]"))]).await
}

/// The stream keeps every rule and decodes without a complaint.
async fn plays(server: &Server, name: &str, seconds: u32) -> Outcome {
    let index = server.playable(name, START).await.map_err(|error| format!("{error}\n{}", server.log()))?;
    assert!(index.contains("RESOLUTION=") && index.contains("mp4a.40.2"), "{index}");
    let url = server.playlist(name);
    let (_, decoded) = tokio::try_join!(server.conforms(name, seconds.into()), decode(&url, seconds))?;
    assert!(decoded.frames >= u64::from(seconds) * 20, "{decoded:?}");
    Ok(())
}

/// Waits until a metric is what it should be.
async fn metric(server: &Server, name: &str, labels: &str, good: impl Fn(f64) -> bool) -> Outcome {
    let mut seen = 0.0;
    for _ in 0..150 {
        seen = server.metric(name, labels).await?;
        if good(seen) {
            return Ok(());
        }
        sleep(Duration::from_millis(100)).await;
    }
    Err(format!("{name}{{{labels}}} is {seen}\n{}", server.log()).into())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_loop_as_one_stream_and_a_killed_worker_is_back_on_it() -> Outcome {
    let _room = room::quarter().await;
    let (first, second) =
        (short()?, Drawing { seconds: 4, name: "short-4.mp4", ..Drawing::default() }.path()?);
    let server = pulling(&format!("{{stream='live/loop',files=[{first:?},{second:?}]}}")).await?;
    let index = server.playable("loop", START).await?;
    let url = server.playlist("loop");
    let options = Options { span: Duration::from_secs(18), ..Options::default() };
    let (report, ()) = tokio::try_join!(live::check(&url, options), async {
        sleep(Duration::from_secs(9)).await;
        let workers = server.workers_of("pull-worker");
        let [worker] = workers.as_slice() else { return Err(format!("workers: {workers:?}").into()) };
        Command::new("kill").args(["-KILL", &worker.to_string()]).status().await?;
        metric(&server, "aqueduct_ingest_pull_openings_total", "", |count| count >= 2.0).await
    })?;
    assert!(report.passed(), "{report}\n{}", server.log());
    assert!(report.parts >= 50, "{report}");
    assert_eq!(server.playable("loop", START).await?, index, "the same URLs");
    assert!(server.log().contains("signal 9"), "{}", server.log());
    decode(&url, 3).await?;
    // A loop is not a loss.
    assert_eq!(server.metric("aqueduct_ingest_pull_losses_total", "").await?, 1.0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_of_another_server_is_fetched_over_hls_once_it_is_there() -> Outcome {
    let _room = room::quarter().await;
    let origin = Server::start(&[]).await?;
    let server = pulling(&format!("{{stream='live/copy',url='{}'}}", origin.playlist("show"))).await?;
    let missing = |told: &serde_json::Value| told["advice"].to_string().contains("404");
    server.tells("copy", START, missing).await?;
    let _push = Push::file(&origin.rtmp_url("show"), &Drawing::default().path()?)?;
    plays(&server, "copy", 5).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mpeg_2_with_its_sound_is_transcoded() -> Outcome {
    let _room = room::half().await;
    let old = Drawing {
        name: "old.ts",
        seconds: 20,
        video: &["-c:v", "mpeg2video", "-bf", "2", "-b:v", "1M"],
        audio: &["-c:a", "mp2"],
        ..Drawing::default()
    };
    let pull = format!("[{{stream='live/old',files=[{:?}]}}]", old.path()?);
    let settings =
        [("ingest.pull", &*pull), ("transcode.mode", "auto"), ("transcode.hardware.encode", "software")];
    let server = Server::start(&settings).await?;
    plays(&server, "old", 4).await?;
    let index = server.playable("old", START).await?;
    assert!(index.contains("avc1") && !index.contains("mp4v"), "{index}");
    let told = server.told("old").await?.to_string();
    assert!(told.contains("no browser plays MPEG-2"), "{told}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_still_image_plays_with_silence() -> Outcome {
    let _room = room::quarter().await;
    let image = made("slate.png", &["-f", "lavfi", "-i", "testsrc2=size=500x300", "-frames:v", "1"])?;
    let server =
        pulling(&format!("{{stream='live/slate',still={image:?},size='640x360',fps=25,name='sorry'}}"))
            .await?;
    plays(&server, "slate", 6).await?;
    let index = server.playable("slate", START).await?;
    assert!(index.contains("RESOLUTION=640x360"), "{index}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_listens_for_srt_is_called_and_its_words_are_not_shown() -> Outcome {
    let _room = room::quarter().await;
    let port = free_udp_port()?;
    let url = format!("srt://127.0.0.1:{port}?mode=listener&passphrase={WORDS}");
    let _source = Push::transport(&url, &Drawing::default().path()?)?;
    let pull =
        format!("{{stream='live/called',url='srt://127.0.0.1:{port}',passphrase='{WORDS}',latency='200ms'}}");
    let settings = [("ingest.pull", &*format!("[{pull}]"))];
    let server = Server::talkative(&settings).await?;
    plays(&server, "called", 6).await?;
    assert!(!server.log().contains(WORDS), "{}", server.log());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mpeg_ts_over_udp_plays_on_over_a_link_that_loses_some() -> Outcome {
    let _room = room::quarter().await;
    let port = free_udp_port()?;
    let server = pulling(&format!("{{stream='live/udp',url='udp://127.0.0.1:{port}'}}")).await?;
    let link = Link::udp(local(0), local(port), lossy(10_000)).await?;
    let url = format!("udp://{}?pkt_size=1316", link.address);
    let _source = Push::transport(&url, &Drawing::default().path()?)?;
    server.playable("udp", START).await.map_err(|error| format!("{error}\n{}", server.log()))?;
    // Pictures are damaged, and the stream goes on by every rule.
    server.conforms("udp", 8).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishers_over_srt_need_key_and_passphrase_and_losses_are_made_good() -> Outcome {
    let _room = room::half().await;
    let port = free_udp_port()?;
    let keys = format!("[{{stream='live/show',secret='{KEY}'}}]");
    let server = Server::talkative(&[
        ("ingest.srt.listen", &format!("127.0.0.1:{port}")),
        ("ingest.srt.passphrase", WORDS),
        ("ingest.srt.latency", "1s"),
        ("ingest.keys", &keys),
    ])
    .await?;
    let link = Link::udp(local(0), local(port), lossy(20_000)).await?;
    let clip = Drawing::default().path()?;
    let url = |key: &str, words: &str| {
        format!("srt://{}?passphrase={words}&latency=1000000&streamid=live/show?key={key}", link.address)
    };
    for (key, words, reason) in [("srt-key-which-is-wrong", WORDS, "bad_key"), (KEY, "other-words-0123", "")]
    {
        let refused = Push::transport(&url(key, words), &clip)?;
        let (done, said) = refused.ended(Duration::from_secs(20)).await?;
        assert!(!done, "{key} {words}: {said}");
        if !reason.is_empty() {
            let labels = format!("protocol=\"srt\",reason=\"{reason}\"");
            metric(&server, "aqueduct_ingest_refused_total", &labels, |count| count >= 1.0).await?;
        }
    }
    let push = Push::transport(&url(KEY, WORDS), &clip)?;
    plays(&server, "show", 8).await?;
    let fate = |fate: &str| format!("fate=\"{fate}\"");
    metric(&server, "aqueduct_ingest_srt_packets_total", &fate("received"), |count| count > 100.0).await?;
    metric(&server, "aqueduct_ingest_srt_packets_total", &fate("retransmitted"), |count| count > 0.0).await?;
    metric(&server, "aqueduct_ingest_rtt_seconds", "", |rtt| rtt > 0.015 && rtt < 2.0).await?;
    for secret in [KEY, WORDS, "srt-key-which-is-wrong"] {
        assert!(!server.log().contains(secret), "{secret}\n{}", server.log());
    }
    // The publisher goes without a word and comes back: the same stream.
    let index = server.playable("show", START).await?;
    push.kill().await?;
    let _push = Push::transport(&url(KEY, WORDS), &clip)?;
    metric(&server, "aqueduct_ingest_sessions", "protocol=\"srt\"", |count| count == 1.0).await?;
    server.conforms("show", 4).await?;
    assert_eq!(server.playable("show", START).await?, index);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_datagrams_cost_nobody_else_anything() -> Outcome {
    let _room = room::quarter().await;
    let port = free_udp_port()?;
    let server = Server::start(&[("ingest.srt.listen", &format!("127.0.0.1:{port}"))]).await?;
    let clip = Drawing::default().path()?;
    let _push = Push::transport(&format!("srt://127.0.0.1:{port}?streamid=live/well"), &clip)?;
    server.playable("well", START).await.map_err(|error| format!("{error}\n{}", server.log()))?;
    // An encrypted caller at a port that does not encrypt, and noise from many addresses.
    let crypt = format!("srt://127.0.0.1:{port}?streamid=live/crypt&passphrase={WORDS}");
    let (done, _) = Push::transport(&crypt, &clip)?.ended(Duration::from_secs(20)).await?;
    assert!(!done);
    let mut random = aqueduct_tests::random::Random::new(11);
    for _ in 0..200 {
        let socket = std::net::UdpSocket::bind(local(0))?;
        let mut induction = vec![0; 64];
        (induction[0], induction[19], induction[39]) = (0x80, 4, 1);
        socket.send_to(&induction, local(port))?;
        for _ in 0..5 {
            let length = random.below(300) as usize;
            let noise = random.bytes(length);
            socket.send_to(&noise, local(port))?;
            let at = random.below(64) as usize;
            induction[at] = random.below(256) as u8;
            socket.send_to(&induction, local(port))?;
        }
    }
    server.conforms("well", 5).await?;
    Ok(())
}
