//! A server that restarts: no name under a URL is ever used twice, whether it was asked to stop or was killed.

use std::time::Duration;

use aqueduct_tests::Outcome;
use aqueduct_tests::check::playlist::MediaPlaylist;
use aqueduct_tests::world::{Drawing, Push, Server, decode, room};

const START: Duration = Duration::from_secs(15);

/// The media playlist's path and its content.
async fn list(server: &Server) -> Outcome<(String, MediaPlaylist)> {
    let index = server.playable("show", START).await?;
    let path = index.lines().find(|line| line.ends_with("media.m3u8")).ok_or("no media playlist")?.to_owned();
    let text = server.media_playlist("show").await?;
    Ok((path, MediaPlaylist::parse(&text).0.ok_or("not a playlist")?))
}

fn parts(list: &MediaPlaylist) -> impl Iterator<Item = &str> {
    list.segments.iter().flat_map(|segment| &segment.parts).map(|part| part.uri.as_str())
}

async fn numbering_survives(kill: bool) -> Outcome {
    let server = Server::start(&[]).await?;
    let clip = Drawing::default().path()?;
    let push = Push::file(&server.rtmp_url("show"), &clip)?;
    server.conforms("show", 5).await?;
    let (path, before) = list(&server).await?;
    assert!(before.media_sequence >= 1);
    push.kill().await?;

    let server = server.restart(kill, &[]).await?;
    let _push = Push::file(&server.rtmp_url("show"), &clip)?;
    let (path_after, after) = list(&server).await?;
    if path_after == path {
        // What nobody has any more is listed as gaps, so that players find their place.
        let (last, first) =
            (before.edge().map_or(0, |edge| edge.msn), after.segments.iter().find(|one| !one.gap));
        assert!(after.media_sequence <= last + 1, "{before:?}\n{after:?}");
        assert!(first.is_some_and(|first| first.msn > last && first.discontinuity), "{after:?}");
        assert!(
            parts(&after).all(|part| parts(&before).all(|old| old != part)),
            "a part's name is used twice"
        );
        assert_eq!(after.constants, before.constants);
    } else {
        // A new epoch, whose name sorts after the old one.
        assert!(path_after > path, "{path_after} after {path}");
    }
    server.conforms("show", 6).await?;
    decode(&server.playlist("show"), 3).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbers_go_on_after_a_stop() -> Outcome {
    let _room = room::quarter().await;
    numbering_survives(false).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbers_go_on_after_a_crash() -> Outcome {
    let _room = room::quarter().await;
    numbering_survives(true).await
}
