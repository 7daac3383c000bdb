//! More load than the machine carries: what is kept stays in time, what goes is said, and it comes back with the room.
//!
//! The server has one core, of whatever machine. Other programs take more and more of it, until the governor gives rungs
//! up, however fast the core is.

use std::path::PathBuf;
use std::time::Duration;

use aqueduct_tests::publisher::clip::made;
use aqueduct_tests::world::busy::{Busy, last_core};
use aqueduct_tests::world::ladder::{aligned, brightness};
use aqueduct_tests::world::watch::{Part, Rendition, watch_during};
use aqueduct_tests::world::{Push, Server, room};
use aqueduct_tests::{Outcome, now};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

/// Each takes all of a core.
static TURN: Mutex<()> = Mutex::const_new(());
const START: Duration = Duration::from_secs(20);
/// Rungs of the ladder.
const RUNGS: usize = 6;
/// Lines of the source.
const SOURCE: u64 = 360;
/// What the governor is given to notice that another program is at work.
const NOTICE: Duration = Duration::from_secs(5);
/// Most programs: a fortieth of the core is too little for any ladder.
const BUSY_MAX: usize = 120;
/// Without a step for so long, and without a frame that was left out, the load is met. Half a minute of room would take
/// steps back.
const SETTLED: Duration = Duration::from_secs(5);
/// A governor that has a step left takes it within this time.
const HELPLESS: Duration = Duration::from_secs(5);
/// Most that it may take from the first rung that goes to the last.
const SETTLES_WITHIN: Duration = Duration::from_secs(150);
/// How long the kept rungs are then looked at.
const HOLD: Duration = Duration::from_secs(10);
/// How often that is tried.
const HOLDS: usize = 5;
/// Half a minute of room, more where steps were taken back before, on a machine that may have other things to do.
const BACK_WITHIN: Duration = Duration::from_secs(240);
/// Until media of a rung that is made again is looked for.
const RETURNS: Duration = Duration::from_secs(12);
/// How late a part of what is kept may be against its soonest: half a second of backlog is where frames are left out
/// (the host's queue), then a part; the rest is for a machine that has more to do than this test. Without a governor
/// the lag grows with the hold.
const BOUND: Duration = Duration::from_millis(2_500);
/// What the second half of the hold may be later than the first by chance.
const CHANCE: Duration = Duration::from_millis(1_000);
/// Parts come every 0.2 s.
const PAUSE: Duration = Duration::from_millis(2_000);
/// Segments of a second that are decoded of each rendition, at the end.
const DECODED: usize = 30;

/// The bundled film, small: what the server and its tests do with each frame must be little beside the encoder's work.
fn film() -> Outcome<PathBuf> {
    let footage = aqueduct_tests::publisher::clip::footage();
    let footage = footage.to_string_lossy();
    let mut arguments = vec!["-stream_loop", "-1", "-i", &footage, "-t", "12", "-vf", "fps=30,scale=-2:360"];
    arguments.extend(["-c:v", "libx264", "-preset", "ultrafast", "-profile:v", "high", "-bf", "0"]);
    arguments.extend(["-g", "30", "-keyint_min", "30", "-sc_threshold", "0", "-b:v", "2M"]);
    arguments.extend(["-c:a", "aac", "-ac", "2", "-b:a", "128k"]);
    made("film-360p30.mp4", &arguments)
}

fn ladder() -> String {
    let rung = |index: usize| format!("{{height={},bitrate={}}}", 358 - 2 * index, 900_000 - 50_000 * index);
    format!("[{}]", (0..RUNGS).map(rung).collect::<Vec<_>>().join(","))
}

/// A server with a stream that is too much for it.
struct Show {
    server: Server,
    core: u32,
    _push: Push,
}

/// What was seen of the load.
struct Seen {
    /// Lines of the rungs that ran all through the hold.
    kept: Vec<u64>,
    /// The hold.
    from: Instant,
    to: Instant,
    /// Programs that it took.
    busy: usize,
    /// Lines of the rungs that came back, and from when on they were running.
    back: (Vec<u64>, Instant),
}

impl Show {
    async fn begin(ladder: &str) -> Outcome<Self> {
        let (film, core) = (film()?, last_core()?);
        let settings = [
            ("transcode.mode", "auto"),
            ("transcode.ladder", ladder),
            ("transcode.preset", "superfast"),
            ("transcode.cpu_percent", "100"),
        ];
        let server = Server::start_on_core(core, &settings).await?;
        let film = film.to_string_lossy();
        let arguments = ["-re", "-stream_loop", "-1", "-i", &film, "-c", "copy"];
        let push = Push::start(&server.rtmp_url("show"), &arguments)?;
        server.playable("show", START).await?;
        Ok(Self { server, core, _push: push })
    }

    async fn steps(&self, step: &str) -> Outcome<f64> {
        let label = format!("step=\"{step}\"");
        self.server.metric("aqueduct_transcode_governor_steps_total", &label).await
    }

    /// What the API says of the renditions: lines of those that run; the others have a reason.
    async fn running(&self) -> Outcome<Vec<u64>> {
        let told = self.server.told("show").await?;
        let mut running = Vec::new();
        for rung in told["transcode"]["renditions"].as_array().into_iter().flatten() {
            let lines = rung["size"][1].as_u64().ok_or_else(|| format!("no size: {told:#}"))?;
            match rung["state"].as_str() {
                Some("running") => running.push(lines),
                Some("shed") => {
                    assert!(rung["reason"].as_str().is_some_and(|why| why.len() > 10), "{told:#}")
                }
                _ => {}
            }
        }
        Ok(running)
    }

    /// Adds to the load until the governor takes this step.
    async fn overload(&self, step: &str) -> Outcome<Busy> {
        let mut busy = Busy::on(self.core);
        while self.steps(step).await? < 1.0 {
            if busy.count() >= BUSY_MAX {
                return Err(format!("the governor takes no step {step}\n{}", self.server.log()).into());
            }
            busy.grow(busy.count() * 3 / 2 + 4)?;
            let noticed = now() + NOTICE;
            while now() < noticed && self.steps(step).await? < 1.0 {
                sleep(Duration::from_millis(200)).await;
            }
        }
        Ok(busy)
    }

    /// Steps that were taken, and frames that were left out.
    async fn figures(&self) -> Outcome<(f64, f64)> {
        let dropped = self.server.metric("aqueduct_transcode_frames_total", "state=\"dropped\"").await?;
        Ok((self.server.metric("aqueduct_transcode_governor_steps_total", "").await?, dropped))
    }

    /// Waits until no step has been taken and no frame left out for a while. What is still too much when no step is left
    /// is more than a policy can meet: the load is eased then.
    async fn settled(&self, busy: &mut Busy) -> Outcome {
        let (mut seen, deadline) = (self.figures().await?, now() + SETTLES_WITHIN);
        let (mut quiet, mut stepped) = (now(), now());
        while now() - quiet < SETTLED {
            if now() >= deadline {
                return Err(format!("the governor does not come to rest\n{}", self.server.log()).into());
            }
            sleep(Duration::from_millis(200)).await;
            let figures = self.figures().await?;
            if figures.0 > seen.0 {
                stepped = now();
            } else if figures.1 > seen.1 && now() - stepped > HELPLESS {
                busy.ease();
                stepped = now();
            }
            if figures != seen {
                (seen, quiet) = (figures, now());
            }
        }
        Ok(())
    }

    async fn is_back(&self, kept: &[u64]) -> Outcome<(Vec<u64>, Instant)> {
        let deadline = now() + BACK_WITHIN;
        loop {
            let running = self.running().await?;
            let back: Vec<u64> = running.into_iter().filter(|lines| !kept.contains(lines)).collect();
            if !back.is_empty() && self.steps("restore").await? >= 1.0 {
                return Ok((back, now()));
            }
            if now() >= deadline {
                return Err(format!("no rung has come back\n{}", self.server.log()).into());
            }
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// The rungs that are kept through a hold whose load is met, and its beginning and end. Where the machine's other work
    /// makes it more in the meantime, so that frames are left out again, the governor has to come to rest anew.
    async fn hold(&self, busy: &mut Busy) -> Outcome<(Vec<u64>, Instant, Instant)> {
        for _ in 0..HOLDS {
            self.settled(busy).await?;
            let (figures, before, from) = (self.figures().await?, self.running().await?, now());
            sleep(HOLD).await;
            let (mut kept, to) = (self.running().await?, now());
            kept.retain(|lines| before.contains(lines));
            if self.figures().await? == figures {
                return Ok((kept, from, to));
            }
        }
        Err(format!("frames are left out again each time that the load was met\n{}", self.server.log())
            .into())
    }

    async fn go_through(&self) -> Outcome<Seen> {
        let mut busy = self.overload("shed").await?;
        let (kept, from, to) = self.hold(&mut busy).await?;
        let count = busy.count();
        drop(busy);
        let back = self.is_back(&kept).await?;
        // It begins anew, and parts of it have to be listed.
        sleep(RETURNS).await;
        Ok(Seen { kept, from, to, busy: count, back })
    }
}

/// A rung that was kept came in time: no gap, no pause that a viewer would see, and no later than before.
fn was_in_time(rendition: &Rendition, seen: &Seen, log: &str) {
    let lines = rendition.height();
    let held = |at: Instant| at >= seen.from && at < seen.to;
    let gaps: Vec<_> = rendition.parts.iter().filter(|part| part.gap && held(part.at)).collect();
    assert!(gaps.is_empty(), "{lines} lines has gaps within {:?}: {gaps:?}\n{log}", seen.to - seen.from);
    let with_media = rendition.parts.iter().filter(|part| !part.gap);
    let lates = with_media.zip(rendition.lateness()).filter(|(part, _)| held(part.at));
    let middle = seen.from + (seen.to - seen.from) / 2;
    let (late, early): (Vec<_>, Vec<_>) = lates.partition(|(part, _)| part.at >= middle);
    let latest = |of: &[(&Part, Duration)]| of.iter().map(|(_, late)| *late).max().unwrap_or(Duration::MAX);
    let (before, latest) = (latest(&early), latest(&late));
    assert!(latest <= BOUND, "{lines} lines: {latest:?} late\n{log}");
    assert!(latest <= before + CHANCE, "{lines} lines: late by {before:?}, then by {latest:?}\n{log}");
    let mut during = rendition.clone();
    during.parts.retain(|part| part.at < seen.to);
    let pause = during.longest_pause(seen.from);
    assert!(pause <= PAUSE, "{lines} lines paused {pause:?}\n{log}");
    println!("{lines} lines: at most {latest:?} late, longest pause {pause:?}");
}

/// What was done about it was said, each step with its reason.
fn was_said(log: &str) {
    let steps = log.lines().filter_map(|line| line.split_once(" governor ")?.1.split_once("step="));
    let said: Vec<(&str, &str)> = steps
        .filter_map(|(_, step)| step.split_once(" reason="))
        .map(|(step, reason)| (step.trim_matches('"'), reason.trim_matches('"')))
        .collect();
    println!("{said:#?}");
    assert!(said.iter().all(|(_, reason)| reason.len() > 20), "{said:?}");
    let has = |one: &str| said.iter().any(|(step, _)| *step == one);
    assert!(has("shed") && has("restore") && (has("cut") || has("quicker")), "{said:?}\n{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn overload_costs_rungs_and_not_time() -> Outcome {
    let _room = room::whole().await;
    let _turn = TURN.lock().await;
    let show = Show::begin(&ladder()).await?;
    let (all, seen) = Box::pin(watch_during(&show.server.playlist("show"), show.go_through())).await?;
    let log = show.server.log();
    println!(
        "with {} programs beside, {:?} of {RUNGS} rungs are kept; {:?} are back",
        seen.busy, seen.kept, seen.back.0
    );
    assert!((1..RUNGS).contains(&seen.kept.len()), "{:?} were kept\n{log}", seen.kept);
    was_said(&log);

    let source = all.iter().find(|one| one.height() == SOURCE).ok_or("the source is not there")?;
    assert!(source.parts.iter().all(|part| !part.gap), "the source has gaps\n{log}");
    let first = source.parts.first().ok_or("the source lists nothing")?.at;
    let pause = source.longest_pause(first);
    assert!(pause <= PAUSE, "the source paused {pause:?}\n{log}");
    for rendition in all.iter().filter(|one| seen.kept.contains(&one.height())) {
        was_in_time(rendition, &seen, &log);
    }
    let (lines, since) = &seen.back;
    let has_media = |one: &Rendition| one.parts.iter().any(|part| !part.gap && part.at >= *since);
    let told = |one: &Rendition| {
        let newest = one.parts.last().map(|part| (part.msn, part.part, part.gap));
        format!("{} lines, gone: {}, its newest part: {newest:?}", one.height(), one.gone)
    };
    assert!(
        all.iter().any(|one| lines.contains(&one.height()) && has_media(one)),
        "{lines:?} has no media: {:#?}\n{log}",
        all.iter().map(told).collect::<Vec<_>>()
    );

    aligned(&all)?;
    for rendition in all.iter().filter(|one| one.is_video()) {
        let mut end = rendition.clone();
        let newest: Vec<u64> = end.segments.keys().rev().take(DECODED).copied().collect();
        end.segments.retain(|msn, _| newest.contains(msn));
        brightness(&end).await?;
    }
    assert_eq!(show.server.metric("aqueduct_transcode_worker_losses_total", "").await?, 0.0, "{log}");
    Ok(())
}

/// Where one rung is left, it goes on with every second frame, in lists that keep the rules.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_rung_goes_on_with_every_second_frame() -> Outcome {
    let _room = room::whole().await;
    let _turn = TURN.lock().await;
    let show = Show::begin("[{height=358,bitrate=900000}]").await?;
    show.server.names("show", "x358,", START).await?;
    let steps = async {
        let mut busy = show.overload("halve").await?;
        show.settled(&mut busy).await?;
        // Until lists begin behind the change: what they say of the frame rate is then what there is.
        sleep(Duration::from_secs(12)).await;
        let report = show.server.conforms("show", 6).await?;
        Ok((report, show.running().await?))
    };
    let url = show.server.playlist("show");
    let (seen, (report, running)) = Box::pin(watch_during(&url, steps)).await?;
    let log = show.server.log();
    assert_eq!(running, [358], "{log}");
    assert!(report.renditions > 1, "{report}");
    aligned(&seen)?;
    let rung = seen.iter().find(|one| one.height() == 358).ok_or("the rung is not there")?;
    let frames: Vec<usize> = (rung.segments.iter().filter(|(_, kept)| !kept.gap))
        .map(|(msn, _)| rung.moments(*msn).map(|moments| moments.len()))
        .collect::<Outcome<_>>()?;
    println!("frames of its segments: {frames:?}");
    assert!(frames.contains(&30) && frames.contains(&15), "{frames:?}\n{log}");
    brightness(rung).await?;
    Ok(())
}
