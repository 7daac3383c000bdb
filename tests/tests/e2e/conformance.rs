//! An ordinary stream keeps every LL-HLS rule: over HTTP/1.1, over HTTP/2 with and without TLS, and as the demo.

use std::time::Duration;

use aqueduct_tests::Outcome;
use aqueduct_tests::check::live::{self, Options};
use aqueduct_tests::world::{Drawing, Push, Server, decode, room};

const START: Duration = Duration::from_secs(15);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ordinary_stream_conforms_over_every_protocol() -> Outcome {
    let _room = room::half().await;
    let server = Server::start(&[]).await?;
    let _push = Push::file(&server.rtmp_url("plain"), &Drawing::default().path()?)?;
    server.playable("plain", START).await?;
    let options = Options { span: Duration::from_secs(12), ..Options::default() };
    let (http1, h2c, tls) =
        (server.playlist("plain"), server.playlist("plain"), server.secure_playlist("plain"));
    let http2 = Options { http2: true, ..options };
    let reports =
        tokio::try_join!(live::check(&http1, options), live::check(&h2c, http2), live::check(&tls, http2))?;
    for (name, report) in [("HTTP/1.1", reports.0), ("h2c", reports.1), ("h2 over TLS", reports.2)] {
        assert!(report.passed(), "{name}:\n{report}\n{}", server.log());
        assert!(report.parts >= 100, "{name}: {report}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_demo_conforms_and_decodes() -> Outcome {
    let _room = room::half().await;
    let server = Server::start(&[]).await?;
    let _demo = server.demo("clock").await?;
    server.playable("clock", START).await?;
    let url = server.playlist("clock");
    let (report, decoded) = tokio::try_join!(server.conforms("clock", 10), decode(&url, 6))?;
    assert_eq!(report.renditions, 2);
    // 30 frames a second.
    assert!((170..=190).contains(&decoded.frames), "{decoded:?}");
    Ok(())
}
