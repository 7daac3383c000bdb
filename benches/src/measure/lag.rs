//! Last sample of a part written by the publisher → the part fetched, and the playlist that lists it received.
//!
//! A client holds the request for the part that the playlist hints at, another holds the blocking reload. The clock
//! starts before the write that hands the part's last byte to the kernel, so it counts the publisher's write, both
//! ways over loopback, ingest, packaging and the client's reading. Which frame ends a part is read from the part
//! itself: the last sample of its `trun` carries its number.

use super::{MEGABITS, Setting, runtime};
use crate::clock;
use crate::error::Error;
use crate::http1::{Body, Connection};
use crate::part;
use crate::publisher::{Publisher, Sent};
use crate::report::Row;
use crate::server::{Server, load, reload};
use crate::source::{Source, Track};
use crate::spread::Spread;

/// The budget for a part to be fetchable, 95th percentile, in milliseconds.
const BUDGET_MS: f64 = 5.0;

/// Measures.
pub fn run(setting: &Setting<'_>) -> Result<Vec<Row>, Error> {
    runtime()?.block_on(measure(setting))
}

async fn measure(setting: &Setting<'_>) -> Result<Vec<Row>, Error> {
    let count = setting.size(300, 15);
    let mut server = Server::start(setting.server, None).await?;
    let publisher = Publisher::start(&[server.rtmp], "lag", Source::new(MEGABITS))?;
    let renditions = server.live("lag").await?;
    let audio_path = renditions
        .audio
        .ok_or(Error::Unreadable { what: "the multivariant playlist".into(), why: "it names no audio" })?;
    let sent = publisher.sent();
    let video = follow(&server, &renditions.video, Track::Video, &sent, count);
    let audio = follow(&server, &audio_path, Track::Audio, &sent, count);
    let (video, audio) = tokio::try_join!(video, audio)?;
    publisher.finish()?;
    Ok([rows("lag", "video", &video), rows("lag", "audio", &audio)].concat())
}

/// What was seen of one rendition.
pub(super) struct Followed {
    pub(super) parts: Spread,
    playlists: Spread,
    samples: (usize, usize),
    late: usize,
}

/// Follows a rendition for so many parts whose last frame a client was waiting for when it was sent.
pub(super) async fn follow(
    server: &Server,
    path: &str,
    track: Track,
    sent: &Sent,
    count: usize,
) -> Result<Followed, Error> {
    let mut held_part = Connection::open(server.http, 0).await?;
    let mut held_playlist = Connection::open(server.http, 0).await?;
    let mut media = load(&mut held_playlist, path).await?;
    let (mut parts, mut playlists, mut late) = (Vec::new(), Vec::new(), 0);
    let mut samples = (usize::MAX, 0);
    while parts.len() < count {
        let hint =
            media.hint.clone().ok_or(Error::Unreadable { what: path.into(), why: "it hints at no part" })?;
        let asked = clock::now();
        let (answer, (next, reloaded)) =
            tokio::try_join!(held_part.get(&hint, Body::Keep), reload(&mut held_playlist, path, media.next))?;
        media = next;
        if !media.parts.iter().any(|part| part.path == hint) {
            return Err(Error::Unreadable { what: path.into(), why: "the hinted part never came" });
        }
        let part = part::read(&answer.body)?;
        let written = sent.at(track, part.last_frame);
        let written =
            written.ok_or(Error::Unreadable { what: hint, why: "it ends with a frame not sent" })?;
        if asked >= written {
            late += 1;
            continue;
        }
        samples = (samples.0.min(part.samples), samples.1.max(part.samples));
        parts.push(answer.at.saturating_duration_since(written));
        playlists.push(reloaded.at.saturating_duration_since(written));
    }
    Ok(Followed { parts: Spread::new(parts), playlists: Spread::new(playlists), samples, late })
}

/// What was seen, as rows of a measurement.
pub(super) fn rows(measure: &'static str, track: &str, followed: &Followed) -> Vec<Row> {
    let row = |what: &str, spread: &Spread, percent: f64| {
        Row::new(
            measure,
            format!("{track}: last sample written → {what}, p{percent}"),
            "ms",
            spread.ms(percent),
        )
    };
    let detail = format!(
        "{} parts of {}..{} samples, worst {:.2} ms; {} requests came too late to count",
        followed.parts.len(),
        followed.samples.0,
        followed.samples.1,
        followed.parts.ms(100.0),
        followed.late
    );
    vec![
        row("part fetched", &followed.parts, 50.0),
        row("part fetched", &followed.parts, 95.0).budget(BUDGET_MS).detail(detail),
        row("part fetched", &followed.parts, 99.0),
        row("playlist received", &followed.playlists, 50.0),
        row("playlist received", &followed.playlists, 95.0),
    ]
}
