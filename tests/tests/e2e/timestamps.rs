//! Clocks of publishers: wraps, jumps, packets older than the ones before them, and odd ways to write them down.

use std::time::Duration;

use aqueduct_tests::Outcome;
use aqueduct_tests::publisher::Style;
use aqueduct_tests::publisher::clip::Clip;
use aqueduct_tests::publisher::script::{Script, Wrapping};
use aqueduct_tests::world::{Drawing, Server, decode, room};

const START: Duration = Duration::from_secs(15);

fn script() -> Outcome<Script> {
    Ok(Script::play(&Clip::open(&Drawing::default().path()?)?, 26_000, Wrapping::Legacy))
}

/// Publishes, follows the stream past the moment when something happens, and decodes it from before that.
async fn plays(name: &str, script: Script, style: Style) -> Outcome<(Server, String)> {
    let server = Server::start(&[]).await?;
    let _push = server.publish_in(name, script, style);
    server.playable(name, START).await?;
    let url = server.playlist(name);
    let (_, decoded) = tokio::try_join!(server.conforms(name, 11), decode(&url, 9))?;
    if !(215..=235).contains(&decoded.frames) {
        return Err(format!("{name}: {decoded:?} in nine seconds at 25 frames a second").into());
    }
    let list = server.media_playlist(name).await?;
    Ok((server, list))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrap_at_2_to_the_31_is_not_seen() -> Outcome {
    let _room = room::quarter().await;
    // Six seconds before the wrap, masked as OBS and ffmpeg do (RTMP-37).
    let script = script()?.shifted(0x7fff_ffff - 6_000).masked();
    let (_, list) = plays("wrap31", script, Style::default()).await?;
    assert!(!list.contains("#EXT-X-DISCONTINUITY\n"), "{list}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrap_at_2_to_the_32_is_not_seen() -> Outcome {
    let _room = room::quarter().await;
    let script = script()?.shifted(u32::MAX - 6_000);
    let (_, list) = plays("wrap32", script, Style::default()).await?;
    assert!(!list.contains("#EXT-X-DISCONTINUITY\n"), "{list}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_jump_of_ten_seconds_plays_on() -> Outcome {
    let _room = room::quarter().await;
    let script = script()?.jumping(6_000, 10_000);
    let (server, _) = plays("jump", script, Style::default()).await?;
    let jumps = server.metric("aqueduct_ingest_ts_anomalies_total", "jump").await?;
    assert!(jumps >= 1.0, "the jump is not counted");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn negative_deltas_on_one_chunk_stream_are_no_jumps() -> Outcome {
    let _room = room::quarter().await;
    // Audio goes 300 ms ahead of the video on the same chunk stream, as from OBS (RTMP-11).
    let script = script()?.audio_ahead(300);
    let style = Style { one_csid: true, ..Style::default() };
    let (_, list) = plays("onecsid", script, style).await?;
    assert!(!list.contains("#EXT-X-DISCONTINUITY\n"), "{list}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn interleaved_small_chunks_without_repeated_extended_timestamps_are_read() -> Outcome {
    let _room = room::quarter().await;
    // Beyond 0xffffff ms every header carries an extended timestamp (RTMP-8, -9, -12).
    let script = script()?.shifted(0x0100_0000);
    let style =
        Style { absolute: true, repeat_extended: false, chunk_size: 128, interleave: true, one_csid: false };
    let (_, list) = plays("odd", script, style).await?;
    assert!(!list.contains("#EXT-X-DISCONTINUITY\n"), "{list}");
    Ok(())
}
