//! Publishers that vanish, come back, come back different, or are replaced: viewers see one stream, and no 404.

use std::time::Duration;

use aqueduct_tests::Outcome;
use aqueduct_tests::check::live::{self, Options};
use aqueduct_tests::check::playlist::MediaPlaylist;
use aqueduct_tests::check::rule;
use aqueduct_tests::publisher::clip::Clip;
use aqueduct_tests::publisher::script::{Script, Wrapping};
use aqueduct_tests::publisher::session::Pace;
use aqueduct_tests::publisher::{Publisher, Style};
use aqueduct_tests::world::{Drawing, Push, Server, decode, room};
use tokio::time::sleep;

const START: Duration = Duration::from_secs(15);

fn larger() -> Drawing<'static> {
    Drawing { name: "larger.mp4", size: "640x360", ..Drawing::default() }
}

async fn list(server: &Server, name: &str) -> Outcome<MediaPlaylist> {
    let text = server.media_playlist(name).await?;
    MediaPlaylist::parse(&text).0.ok_or_else(|| format!("not a playlist: {text}").into())
}

/// Follows a stream while `happening` happens to it, and wants every rule kept.
async fn followed(
    server: &Server,
    name: &str,
    seconds: u64,
    happening: impl Future<Output = Outcome<Push>>,
) -> Outcome {
    let options = Options { span: Duration::from_secs(seconds), ..Options::default() };
    let url = server.playlist(name);
    let (report, _push) = tokio::try_join!(live::check(&url, options), happening)?;
    if report.passed() { Ok(()) } else { Err(format!("{report}\n{}", server.log()).into()) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_pusher_that_returns_goes_on_with_the_same_urls() -> Outcome {
    let _room = room::quarter().await;
    let server = Server::start(&[]).await?;
    let (url, clip) = (server.rtmp_url("back"), Drawing::default().path()?);
    let push = Push::file(&url, &clip)?;
    let index = server.playable("back", START).await?;
    let before = list(&server, "back").await?;
    followed(&server, "back", 16, async {
        sleep(Duration::from_secs(3)).await;
        push.kill().await?;
        sleep(Duration::from_secs(4)).await;
        Push::file(&url, &clip)
    })
    .await?;
    let after = list(&server, "back").await?;
    assert_eq!(server.playable("back", START).await?, index);
    assert!(after.edge() > before.edge(), "{before:?} {after:?}");
    assert_eq!(
        server.metric("aqueduct_http_requests_total", "4xx").await?.min(1.0),
        1.0,
        "only probes are refused"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_resolution_at_the_return_is_a_discontinuity_with_a_new_init() -> Outcome {
    let _room = room::quarter().await;
    let server = Server::start(&[]).await?;
    let url = server.rtmp_url("size");
    let (small, large) = (Drawing::default().path()?, larger().path()?);
    let push = Push::file(&url, &small)?;
    server.playable("size", START).await?;
    followed(&server, "size", 14, async {
        sleep(Duration::from_secs(3)).await;
        push.kill().await?;
        sleep(Duration::from_secs(1)).await;
        Push::file(&url, &large)
    })
    .await?;
    let after = list(&server, "size").await?;
    let maps: Vec<_> = after.segments.iter().filter_map(|segment| segment.map.as_deref()).collect();
    let breaks = after.segments.iter().filter(|segment| segment.discontinuity).count() as u64;
    assert!(breaks + after.discontinuity_sequence.unwrap_or(0) >= 1, "no DISCONTINUITY");
    if breaks > 0 {
        assert_ne!(maps.first(), maps.last(), "one init segment for two resolutions");
    }
    let index = server.playable("size", START).await?;
    assert!(index.contains("RESOLUTION=640x360"), "{index}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_publisher_takes_over_at_once() -> Outcome {
    let _room = room::quarter().await;
    let server = Server::start(&[]).await?;
    let script = Script::play(&Clip::open(&Drawing::default().path()?)?, 25_000, Wrapping::Legacy);
    let target = server.target("take");
    let mut first = Publisher::connect(&target, Style::default()).await?;
    let first_script = script.clone();
    let first = tokio::spawn(async move {
        let refused = first.play(&first_script, Pace::Live).await.is_err();
        Outcome::Ok((first, refused))
    });
    server.playable("take", START).await?;
    let options = Options { span: Duration::from_secs(12), ..Options::default() };
    let url = server.playlist("take");
    let second = async {
        sleep(Duration::from_secs(3)).await;
        let mut second = Publisher::connect(&target, Style::default()).await?;
        let _ = tokio::time::timeout(Duration::from_secs(8), second.play(&script, Pace::Live)).await;
        Outcome::Ok(second)
    };
    let (report, _second) = tokio::try_join!(live::check(&url, options), second)?;
    assert!(report.passed(), "{report}\n{}", server.log());
    let (mut first, refused) = first.await??;
    assert!(refused, "the first publisher was let go on");
    first.closed(Duration::from_secs(1)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_the_grace_the_stream_ends_and_the_next_is_a_new_epoch() -> Outcome {
    let _room = room::quarter().await;
    let server = Server::start(&[("ingest.grace", "3s")]).await?;
    let (url, clip) = (server.rtmp_url("gone"), Drawing::default().path()?);
    let push = Push::file(&url, &clip)?;
    let before = server.playable("gone", START).await?;
    let options = Options { span: Duration::from_secs(20), ..Options::default() };
    let playlist = server.playlist("gone");
    let (report, ()) = tokio::try_join!(live::check(&playlist, options), async {
        sleep(Duration::from_secs(4)).await;
        push.kill().await
    })?;
    assert!(report.passed() && report.ended, "{report}\n{}", server.log());
    assert!(!report.has(rule::GAVE_UP), "{report}");
    // What has ended is still there to be watched to its end.
    decode(&playlist, 3).await?;
    let _push = Push::file(&url, &clip)?;
    let epoch = |index: &str| index.lines().find(|line| line.ends_with("media.m3u8")).map(str::to_owned);
    server.names("gone", "#EXTM3U", START).await?;
    let mut after = before.clone();
    for _ in 0..100 {
        if epoch(&after) != epoch(&before) {
            break;
        }
        sleep(Duration::from_millis(100)).await;
        after = server.playable("gone", START).await?;
    }
    assert_ne!(epoch(&after), epoch(&before), "{after}");
    server.conforms("gone", 5).await?;
    Ok(())
}
