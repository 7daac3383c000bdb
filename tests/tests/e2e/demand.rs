//! With `transcode.demand = "on-watch"` a rung that nobody watches sleeps, and the first request for it wakes it.
//!
//! What a wake takes is printed: it is to be under 1.5 s, wherever the source has its keyframes. The tests wait longer,
//! since they share their machine with others; what they hold to it is how much of the stream passes meanwhile.

use std::time::Duration;

use aqueduct_tests::check::multivariant;
use aqueduct_tests::check::playlist::{Edge, MediaPlaylist, resolve};
use aqueduct_tests::fetch::{Answer, Client};
use aqueduct_tests::world::ladder::{aligned, brightness};
use aqueduct_tests::world::watch::watch;
use aqueduct_tests::world::{Drawing, Player, Push, Server, browse, room};
use aqueduct_tests::{Outcome, now};
use tokio::task::JoinHandle;
use tokio::time::sleep;

const START: Duration = Duration::from_secs(20);
/// The longest that is set, and what it takes until it is seen.
const SEEN_WITHIN: Duration = Duration::from_secs(20);
/// What may pass of the stream from a request to the first picture of what it wakes, in microseconds.
const PASSES: i64 = 1_500_000;
/// Far beyond what a wake may take, and below what a request is held for.
const WAKES_WITHIN: Duration = Duration::from_secs(5);

/// A stream of 270 lines that passes through, with two rungs that may sleep.
struct Show {
    server: Server,
    _push: Push,
    client: Client,
    source: String,
    rungs: [String; 2],
}

impl Show {
    async fn begin(sleep_after: &str) -> Outcome<Self> {
        Self::begin_with(sleep_after, 25).await
    }

    /// A stream with so many frames from one keyframe to the next.
    async fn begin_with(sleep_after: &str, gop: u32) -> Outcome<Self> {
        let ladder = "[{height=180,bitrate=120000},{height=120,bitrate=60000}]";
        let settings = [
            ("transcode.mode", "auto"),
            ("transcode.ladder", ladder),
            ("transcode.demand", "on-watch"),
            ("transcode.sleep_after", sleep_after),
        ];
        let server = Server::start(&settings).await?;
        let name = if gop == 50 { "demand-gop-50.mp4" } else { "demand.mp4" };
        let drawing = Drawing { name, size: "480x270", seconds: 100, gop, ..Drawing::default() };
        let push = Push::file(&server.rtmp_url("show"), &drawing.path()?)?;
        let index = server.names("show", "RESOLUTION=214x120", START).await?;
        let entries = multivariant::read(&server.playlist("show"), &index).0.entries;
        let of = |lines: u64| {
            let entry = entries.iter().find(|entry| entry.resolution.is_some_and(|(_, high)| high == lines));
            entry.map(|entry| entry.url.clone()).ok_or_else(|| format!("no rendition of {lines} in {index}"))
        };
        let (source, rungs) = (of(270)?, [of(180)?, of(120)?]);
        let show = Self { server, _push: push, client: Client::new(), source, rungs };
        // They begin awake.
        for rung in &show.rungs {
            show.until(rung, true).await?;
        }
        Ok(show)
    }

    async fn list(&self, url: &str) -> Outcome<MediaPlaylist> {
        let text = self.client.get(url).await?.text()?;
        MediaPlaylist::parse(&text).0.ok_or_else(|| format!("{url} is no playlist:\n{text}").into())
    }

    /// The source's playlist, which may be asked for, reports on a rung's.
    async fn reports(&self, rung: &str) -> Outcome<bool> {
        let list = self.list(&self.source).await?;
        Ok(list.reports.iter().any(|report| resolve(&self.source, &report.uri) == *rung))
    }

    /// Waits until a rung has a playlist, or has none.
    async fn until(&self, rung: &str, awake: bool) -> Outcome {
        let deadline = now() + SEEN_WITHIN;
        while now() < deadline {
            if self.reports(rung).await? == awake {
                return Ok(());
            }
            sleep(Duration::from_millis(100)).await;
        }
        Err(format!("{rung} is not awake: {awake}\n{}", self.server.log()).into())
    }

    async fn all_asleep(&self) -> Outcome {
        for rung in &self.rungs {
            self.until(rung, false).await?;
        }
        Ok(())
    }

    /// Asks for a rung that sleeps, and says how long it takes until there is a playlist whose newest part can be
    /// fetched, at most a segment behind the source's.
    async fn wake(&self, rung: &str, query: &str) -> Outcome<Duration> {
        let before = end_of(&self.list(&self.source).await?);
        let answer = self.client.get(&format!("{rung}{query}")).await?;
        let took = answer.done - answer.sent;
        let list = self.media_of(rung, &answer).await?;
        let passed = newest_run(&list).ok_or("no media")? - before;
        assert!(passed <= PASSES, "{passed} µs of the stream have passed\n{}", self.server.log());
        let (newest, source) = (list.edge(), self.list(&self.source).await?.edge());
        let (newest, source) = newest.zip(source).ok_or("nothing is listed")?;
        assert!(newest.msn + 1 >= source.msn, "{newest:?} beside {source:?}");
        assert!(took < WAKES_WITHIN, "{took:?}\n{}", self.server.log());
        self.until(rung, true).await?;
        Ok(took)
    }

    /// The playlist, whose newest part is there.
    async fn media_of(&self, rung: &str, answer: &Answer) -> Outcome<MediaPlaylist> {
        let text = answer.text()?;
        assert!(answer.status.is_success(), "{}: {text}\n{}", answer.status, self.server.log());
        let list = MediaPlaylist::parse(&text).0.ok_or_else(|| format!("no playlist:\n{text}"))?;
        let part = list.segments.last().and_then(|segment| segment.parts.last());
        let part = part.filter(|part| !part.gap).ok_or_else(|| format!("no media:\n{text}"))?;
        let media = self.client.get(&resolve(rung, &part.uri)).await?;
        assert!(media.status.is_success() && !media.body.is_empty(), "{} of {text}", part.uri);
        Ok(list)
    }

    /// Watches a rendition from now on, until what comes back is dropped.
    fn viewer(&self, url: &str) -> Viewer {
        let url = url.to_owned();
        Viewer(tokio::spawn(async move {
            let (client, mut edge) = (Client::new(), None::<Edge>);
            loop {
                let directed =
                    edge.map(Edge::next).map(|(msn, part)| format!("?_HLS_msn={msn}&_HLS_part={part}"));
                let answer = client.get(&format!("{url}{}", directed.unwrap_or_default())).await?;
                edge = MediaPlaylist::parse(&answer.text()?).0.and_then(|list| list.edge());
            }
        }))
    }
}

/// Where a list ends, in microseconds since 1970.
fn end_of(list: &MediaPlaylist) -> i64 {
    let last = list.segments.iter().rev().find(|segment| segment.date.is_some());
    last.map_or(0, |segment| segment.date.unwrap_or_default() + segment.parts_micros())
}

/// Where the newest media begins that has no gap behind it, in microseconds since 1970.
fn newest_run(list: &MediaPlaylist) -> Option<i64> {
    let mut begin = None;
    for segment in list.segments.iter().filter(|segment| segment.date.is_some()) {
        let mut at = segment.date.unwrap_or_default();
        if segment.parts.is_empty() {
            begin = (!segment.gap).then(|| begin.unwrap_or(at));
        }
        for part in &segment.parts {
            begin = (!part.gap).then(|| begin.unwrap_or(at));
            at += part.duration.micros;
        }
    }
    begin
}

struct Viewer(JoinHandle<Outcome>);

impl Drop for Viewer {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rung_that_nobody_watches_sleeps_and_the_first_request_wakes_it() -> Outcome {
    let _room = room::half().await;
    let show = Show::begin("5s").await?;
    let [rung, other] = &show.rungs;
    // At various moments of a GOP; asked for as it is, of the past, and ahead of all there is.
    for (query, wait) in [("", 0), ("?_HLS_msn=1&_HLS_part=0", 300), ("?_HLS_msn=9000&_HLS_part=1", 650)] {
        show.all_asleep().await?;
        sleep(Duration::from_millis(wait)).await;
        let took = show.wake(rung, query).await?;
        println!("where all rungs slept, one is there {took:?} after its first request");
    }
    // It sleeps no more while somebody watches it, and the other one wakes beside it.
    let _viewer = show.viewer(rung);
    for wait in [0, 350, 700] {
        show.until(other, false).await?;
        sleep(Duration::from_millis(wait)).await;
        let took = show.wake(other, "").await?;
        println!("beside one that is watched, another is there {took:?} after its first request");
        assert!(show.reports(rung).await?, "it goes on beside it");
    }
    // Where the machine carried no more, the one that is watched may have been the one that was shed.
    let shed = show.server.metric("aqueduct_transcode_governor_steps_total", "step=\"shed\"").await?.abs();
    println!("the governor shed {shed:.0} rungs meanwhile");
    assert_eq!(show.server.metric("aqueduct_transcode_worker_losses_total", "").await?, 0.0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wake_does_not_wait_for_keyframes_two_seconds_apart() -> Outcome {
    let _room = room::half().await;
    let show = Show::begin_with("5s", 50).await?;
    let [rung, other] = &show.rungs;
    show.all_asleep().await?;
    println!("every two seconds a keyframe: one is there after {:?}", show.wake(rung, "").await?);
    let _viewer = show.viewer(rung);
    for wait in [0, 700] {
        show.until(other, false).await?;
        sleep(Duration::from_millis(wait)).await;
        println!("the same, beside one that is watched: {:?}", show.wake(other, "").await?);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_waked_is_whole_aligned_and_lawful() -> Outcome {
    let _room = room::half().await;
    let show = Show::begin("5s").await?;
    show.all_asleep().await?;
    let url = show.server.playlist("show");
    // Both look at every rendition, so that all of them wake.
    let (report, seen) =
        tokio::try_join!(show.server.conforms("show", 8), watch(&url, Duration::from_secs(8)))?;
    assert!(report.renditions > 2, "{report}");
    assert!(aligned(&seen)? >= 4, "{}", show.server.log());
    for rendition in seen.iter().filter(|rendition| rendition.is_video()) {
        assert!(!rendition.gone, "{}", rendition.entry.url);
        brightness(rendition).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hls_js_switches_onto_rungs_that_sleep() -> Outcome {
    let _room = room::half().await;
    let show = Show::begin("10s").await?;
    show.all_asleep().await?;
    // Lines of 180, 270, 180, 120 and back. The first that wakes has media of the segment that is open. The second one
    // begins with the next keyframe, beyond where the player is: hls.js sees a gap, plays on where it was, and is at
    // home there when it comes again.
    let url = show.server.playlist("show");
    let seen = browse(&url, Player::Hls, 21, &["--switch", "2"]).await?;
    let (played, stall) = (&seen["playedSeconds"], &seen["longestStall"]);
    println!("hls.js: {played} of 21 s played, longest stall {stall}, {}, {}", seen["shown"], seen["errors"]);
    for height in ["270", "180", "120"] {
        assert!(seen["shown"]["heights"][height].as_u64() >= Some(1), "{height} was never shown: {seen:#}");
    }
    assert!(seen["fatal"].is_null(), "{seen:#}");
    assert!(played.as_f64() >= Some(17.0), "{seen:#}");
    Ok(())
}
