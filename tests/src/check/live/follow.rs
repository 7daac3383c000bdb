//! One rendition, followed by blocking reloads, with every listed byte fetched.

use std::collections::HashSet;
use std::time::Duration;

use http::{Method, StatusCode};
use tokio::task::JoinSet;

use super::{Run, headers, probe};
use crate::check::linter::{Asked, Seen};
use crate::check::multivariant::Entry;
use crate::check::playlist::{MediaPlaylist, resolve};
use crate::check::rule;
use crate::fetch::Answer;
use crate::{Outcome, now};

/// Every so many reloads a delta update is asked for as well.
const DELTA_EVERY: u64 = 7;
/// A rendition that sleeps has a playlist within this time of the first request, and some more on a loaded machine.
const WAKE: Duration = Duration::from_secs(3);

/// Follows until the run is over or the stream has ended.
pub(super) async fn follow(run: &Run, entry: &Entry, probes: bool) -> Outcome {
    let mut media =
        Media { run: run.clone(), entry: entry.clone(), known: HashSet::new(), tasks: JoinSet::new() };
    let Some(mut list) = await_list(run, entry).await? else { return Ok(()) };
    let mut prober = JoinSet::new();
    if probes {
        prober.spawn(probe::rendition(run.clone(), entry.clone(), list.clone()));
    }
    for round in 1.. {
        media.fetch(&list);
        if list.ended || run.over() {
            break;
        }
        let Some(edge) = list.edge() else { return Err("the media playlist lists nothing".into()) };
        let (msn, part) = edge.next();
        let asked = Asked { msn: Some(msn), part: Some(part), skip: false };
        if round % DELTA_EVERY == 0 && can_skip(&list) {
            let (run, url) = (run.clone(), entry.url.clone());
            media.tasks.spawn(async move { compare_delta(&run, &url, asked).await });
        }
        match load(run, &entry.url, asked).await? {
            Loaded::List(newer) => list = *newer,
            Loaded::Later => {}
            Loaded::Absent => match await_list(run, entry).await? {
                Some(newer) => list = newer,
                None => break,
            },
        }
    }
    while let Some(done) = prober.join_next().await {
        done??;
    }
    media.finish().await
}

fn can_skip(list: &MediaPlaylist) -> bool {
    list.constants.control.as_ref().is_some_and(|control| control.can_skip_until.is_some())
}

/// `url` with its delivery directives, in the order that the specification wants.
pub(super) fn directed(url: &str, asked: Asked) -> String {
    let mut query = Vec::new();
    if let Some(msn) = asked.msn {
        query.push(format!("_HLS_msn={msn}"));
    }
    if let Some(part) = asked.part {
        query.push(format!("_HLS_part={part}"));
    }
    if asked.skip {
        query.push("_HLS_skip=YES".to_owned());
    }
    if query.is_empty() { url.to_owned() } else { format!("{url}?{}", query.join("&")) }
}

async fn request(run: &Run, url: &str, asked: Asked) -> Outcome<Answer> {
    run.client.send(Method::GET, &directed(url, asked), &[("accept-encoding", "gzip")]).await
}

/// What came of a request for a playlist.
enum Loaded {
    List(Box<MediaPlaylist>),
    /// The server gave up waiting, or what it sent is no list: ask again.
    Later,
    /// It is not there. A rendition that sleeps has no playlist, and a request for it wakes it.
    Absent,
}

/// Asks for a playlist until it is there. `None` when the run is over first.
async fn await_list(run: &Run, entry: &Entry) -> Outcome<Option<MediaPlaylist>> {
    let begun = now();
    let mut told = false;
    loop {
        if let Loaded::List(list) = load(run, &entry.url, Asked::default()).await? {
            return Ok(Some(*list));
        }
        let waited = now().saturating_duration_since(begun);
        if waited > WAKE && !told {
            told = true;
            run.note(rule::UNFETCHABLE, &entry.url, &format!("no playlist after {waited:?}"));
        }
        if run.over() {
            return Ok(None);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Loads and judges a playlist.
async fn load(run: &Run, url: &str, asked: Asked) -> Outcome<Loaded> {
    let answer = request(run, url, asked).await?;
    if answer.status == StatusCode::SERVICE_UNAVAILABLE {
        run.note(rule::GAVE_UP, url, &format!("{asked:?}"));
        run.note_headers(url, headers::refusal(&answer));
        tokio::time::sleep(Duration::from_millis(500)).await;
        return Ok(Loaded::Later);
    }
    if matches!(answer.status, StatusCode::NOT_FOUND | StatusCode::GONE) {
        return Ok(Loaded::Absent);
    }
    if answer.status != StatusCode::OK {
        return Err(format!("{} answers {} ({})", directed(url, asked), answer.status, answer.text()?).into());
    }
    let kind = if asked == Asked::default() { headers::List::Plain } else { headers::List::Directed };
    run.note_headers(url, headers::playlist(&answer, kind));
    let text = answer.text()?;
    let (sent, received) = (run.since(answer.sent), run.since(answer.done));
    let list = run.with(|linter| linter.observe(&Seen { url, asked, sent, received, text: &text }));
    Ok(list.map_or(Loaded::Later, |list| Loaded::List(Box::new(list))))
}

/// Asks for the same moment in full and as a delta update: applied to the full list before, it must give the other.
async fn compare_delta(run: &Run, url: &str, asked: Asked) -> Outcome {
    let Some(older) = read(&request(run, url, Asked::default()).await?)? else { return Ok(()) };
    let skipping = Asked { skip: true, ..asked };
    let (full, delta) = tokio::join!(request(run, url, asked), request(run, url, skipping));
    let (Some(full), Some(delta)) = (read(&full?)?, read(&delta?)?) else { return Ok(()) };
    if full.edge() != delta.edge() || full.ended != delta.ended {
        return Ok(());
    }
    let within = full.constants.control.as_ref().and_then(|control| control.can_skip_until);
    let listed: i64 = full.complete().map(|segment| segment.duration.micros).sum();
    let first = full.complete().next().map_or(0, |segment| segment.duration.micros);
    if delta.skipped.is_none() && !full.ended && within.is_some_and(|until| listed - first > until.micros) {
        run.note(rule::DELTA, url, "nothing was skipped though segments are older than CAN-SKIP-UNTIL");
    }
    match delta.applied_to(&older) {
        Ok(applied) if applied == full => {}
        Ok(_) => run.note(rule::DELTA, url, &format!("at {:?} the two lists differ", full.edge())),
        Err(error) => run.note(rule::DELTA, url, &error),
    }
    Ok(())
}

fn read(answer: &Answer) -> Outcome<Option<MediaPlaylist>> {
    if answer.status != StatusCode::OK {
        return Ok(None);
    }
    Ok(MediaPlaylist::parse(&answer.text()?).0)
}

/// Fetches whatever a rendition lists, each thing once.
struct Media {
    run: Run,
    entry: Entry,
    known: HashSet<String>,
    tasks: JoinSet<Outcome>,
}

/// What is fetched.
#[derive(Clone, Debug)]
enum What {
    Init,
    Part,
    Segment(u64),
    /// Not listed yet: the request is held until it is.
    Hinted,
}

impl Media {
    fn fetch(&mut self, list: &MediaPlaylist) {
        for segment in &list.segments {
            if let Some(map) = &segment.map {
                self.start(map, What::Init);
            }
            for part in segment.parts.iter().filter(|part| !part.gap) {
                self.start(&part.uri, What::Part);
            }
            if segment.complete() && !segment.gap {
                self.start(&segment.uri, What::Segment(segment.msn));
            }
        }
        if !list.ended && !self.run.over() {
            for hint in &list.hints {
                self.start(hint, What::Hinted);
            }
        }
        while self.tasks.try_join_next().is_some() {}
    }

    fn start(&mut self, uri: &str, what: What) {
        if self.known.insert(uri.to_owned()) {
            let (run, entry, uri) = (self.run.clone(), self.entry.clone(), uri.to_owned());
            self.tasks.spawn(async move { fetch_one(&run, &entry, &uri, what).await });
        }
    }

    async fn finish(mut self) -> Outcome {
        while let Some(done) = self.tasks.join_next().await {
            done??;
        }
        Ok(())
    }
}

/// A hint that was refused: excused where the source is out, or where the part will never be.
async fn judge_unserved(run: &Run, entry: &Entry, uri: &str, answer: &Answer) -> Outcome {
    if answer.status == StatusCode::SERVICE_UNAVAILABLE || run.over() {
        return Ok(());
    }
    let now = read(&request(run, &entry.url, Asked::default()).await?)?;
    let still_hinted = now.is_some_and(|list| !list.ended && list.hints.iter().any(|hint| hint == uri));
    if answer.status != StatusCode::NOT_FOUND || still_hinted {
        let waited = answer.first - answer.sent;
        run.note(rule::HINT_UNSERVED, &entry.url, &format!("{uri}: {} after {waited:?}", answer.status));
    }
    Ok(())
}

async fn fetch_one(run: &Run, entry: &Entry, uri: &str, what: What) -> Outcome {
    let url = resolve(&entry.url, uri);
    let answer = if let What::Hinted = what {
        let answer = run.client.get(&url).await?;
        if answer.status != StatusCode::OK {
            return judge_unserved(run, entry, uri, &answer).await;
        }
        answer
    } else {
        let Some(answer) = run.listed(&entry.url, &url).await else { return Ok(()) };
        answer
    };
    run.note_headers(&entry.url, headers::media(&answer, entry.audio));
    if let What::Init = what {
        run.reload_index().await?;
    }
    let (at, body) = (run.at(), answer.body);
    run.with(|linter| match what {
        What::Init => linter.init(&entry.url, uri, body, at),
        What::Part | What::Hinted => linter.part(&entry.url, uri, body, at),
        What::Segment(msn) => linter.segment(&entry.url, msn, body, at),
    });
    Ok(())
}
