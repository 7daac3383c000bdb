//! Encoders that fail, at their opening or later: another takes over within the frame, by each policy.

use std::time::Duration;

use aqueduct_tests::Outcome;
use aqueduct_tests::world::ladder::{aligned, brightness};
use aqueduct_tests::world::watch::{Rendition, watch};
use aqueduct_tests::world::{Drawing, Push, Server, room};

const START: Duration = Duration::from_secs(20);
const LADDER: &str = "[{height=180,bitrate=120000},{height=120,bitrate=60000}]";
/// Frames before the encoders fail: in the fifth second of the stream.
const LATER: &str = "fail@110";

/// A stream whose encoders fail, watched over the failure.
struct Seen {
    server: Server,
    renditions: Vec<Rendition>,
}

async fn fail(fault: &str, policy: &str) -> Outcome<Seen> {
    let settings = [("transcode.ladder", LADDER), ("transcode.on_failure", policy)];
    let server = Server::planted(fault, &settings).await?;
    let drawing = Drawing { name: "fallback.mp4", size: "480x270", ..Drawing::default() };
    let _push = Push::file(&server.rtmp_url("show"), &drawing.path()?)?;
    server.playable("show", START).await?;
    let renditions = watch(&server.playlist("show"), Duration::from_secs(9)).await?;
    Ok(Seen { server, renditions })
}

impl Seen {
    fn of(&self, lines: u64) -> Option<&Rendition> {
        self.renditions.iter().find(|rendition| rendition.height() == lines)
    }

    /// The source went on as if nothing had happened, and what there is of the rungs is whole and aligned.
    async fn source_is_whole(&self) -> Outcome {
        let source = self.of(270).ok_or_else(|| self.server.log())?;
        let first = source.parts.first().ok_or("the source lists nothing")?.at;
        let pause = source.longest_pause(first);
        assert!(pause <= Duration::from_millis(700), "the source paused {pause:?}\n{}", self.server.log());
        assert!(source.parts.iter().all(|part| !part.gap));
        aligned(&self.renditions)?;
        for rendition in self.renditions.iter().filter(|rendition| rendition.is_video()) {
            brightness(rendition).await?;
        }
        Ok(())
    }

    /// Renditions of so many lines had media in their newest segment.
    fn plays(&self, lines: u64) -> bool {
        let newest = self.of(270).and_then(|source| source.parts.last()).map_or(0, |part| part.msn);
        let rung = self.of(lines).filter(|rung| !rung.gone);
        let last = rung.and_then(|rung| rung.parts.iter().rfind(|part| !part.gap));
        last.is_some_and(|part| part.msn + 1 >= newest)
    }

    async fn fallbacks(&self) -> Outcome<f64> {
        self.server.metric("aqueduct_transcode_fallbacks_total", "stage=\"encode\"").await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_encoder_that_does_not_open_is_passed_over() -> Outcome {
    let _room = room::half().await;
    let seen = fail("open", "software").await?;
    seen.source_is_whole().await?;
    assert!(seen.plays(180) && seen.plays(120), "{}", seen.server.log());
    assert_eq!(seen.fallbacks().await?, 2.0, "{}", seen.server.log());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn software_takes_over_within_the_frame() -> Outcome {
    let _room = room::half().await;
    let seen = fail(LATER, "software").await?;
    seen.source_is_whole().await?;
    for lines in [180, 120] {
        assert!(seen.plays(lines), "{lines}\n{}", seen.server.log());
        let rung = seen.of(lines).ok_or("no rung")?;
        let first = rung.parts.iter().find(|part| !part.gap).ok_or("never any media")?.at;
        let pause = rung.longest_pause(first);
        assert!(pause <= Duration::from_millis(1_700), "{lines} lines: {pause:?}\n{}", seen.server.log());
        // The other encoder begins with the picture that was lost, and has the same parameters.
        let gaps = rung.parts.iter().filter(|part| part.gap && part.at > first).count();
        assert_eq!(gaps, 0, "{lines} lines\n{}", seen.server.log());
    }
    assert!(seen.fallbacks().await? >= 2.0, "both have failed\n{}", seen.server.log());
    assert_eq!(seen.server.metric("aqueduct_transcode_worker_losses_total", "").await?, 0.0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fewer_rungs_go_on_where_the_policy_says_so() -> Outcome {
    let _room = room::half().await;
    let seen = fail(LATER, "fewer-rungs").await?;
    seen.source_is_whole().await?;
    assert!(!seen.plays(180) && seen.plays(120), "{}", seen.server.log());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_source_alone_goes_on_where_the_policy_says_so() -> Outcome {
    let _room = room::half().await;
    let seen = fail(LATER, "passthrough").await?;
    seen.source_is_whole().await?;
    assert!(!seen.plays(180) && !seen.plays(120), "{}", seen.server.log());
    let index = seen.server.playable("show", START).await?;
    assert!(!index.contains("x120,") && index.contains("x270,"), "{index}");
    assert!(seen.server.workers().is_empty(), "{}", seen.server.log());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_stream_ends_where_the_policy_says_so() -> Outcome {
    let _room = room::half().await;
    let seen = fail(LATER, "fail").await?;
    let source = seen.of(270).ok_or("no source")?;
    assert!(source.gone, "the stream goes on\n{}", seen.server.log());
    Ok(())
}
