//! Real footage, pushed as it is: one keyframe in five seconds and sound in six channels.

use std::time::Duration;

use aqueduct_tests::Outcome;
use aqueduct_tests::world::{Push, Server, decode, probe, room};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn footage_pushed_by_copy_conforms_and_decodes() -> Outcome {
    let _room = room::half().await;
    let server = Server::start(&[]).await?;
    let _push = Push::footage(&server.rtmp_url("bunny"))?;
    // Publication begins with the first complete segment, which is the first whole GOP.
    server.playable("bunny", Duration::from_secs(20)).await?;
    let url = server.playlist("bunny");
    let (_, decoded, tracks) = tokio::try_join!(
        server.conforms("bunny", 14),
        decode(&url, 8),
        probe(&url, "codec_name,width,height,channels"),
    )?;
    assert!(tracks.contains("h264,1280,720"), "{tracks}");
    assert!(tracks.contains("aac,6"), "{tracks}");
    assert!((195..=205).contains(&decoded.frames), "{decoded:?}");
    Ok(())
}
