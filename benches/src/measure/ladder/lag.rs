//! How much later a rung's part is there than the same part of the source.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Instant;

use super::LATER_MS;
use crate::error::Error;
use crate::http1::{Body, Connection};
use crate::playlist::Variant;
use crate::report::Row;
use crate::server::{load, reload};
use crate::spread::Spread;

/// Holds the request for each part that comes, of each rendition on connections of its own.
pub(super) async fn rows(http: SocketAddr, variants: &[Variant], count: usize) -> Result<Vec<Row>, Error> {
    let [source, rungs @ ..] = variants else { return Ok(Vec::new()) };
    let [one, other] = rungs else { return Ok(Vec::new()) };
    let (source, one_came, other_came) = tokio::try_join!(
        follow(http, &source.path, count),
        follow(http, &one.path, count),
        follow(http, &other.path, count),
    )?;
    let row = |variant: &Variant, came: &HashMap<(u64, u64), Instant>| {
        let later =
            came.iter().filter_map(|(at, came)| Some(came.saturating_duration_since(*source.get(at)?)));
        let spread = Spread::new(later.collect());
        let what = format!("{} lines: part fetched after the source's, p50", variant.size.0);
        Row::new("ladder", what, "ms", spread.ms(50.0)).budget(LATER_MS).detail(format!(
            "{} parts; p95 {:.1} ms, worst {:.1} ms",
            spread.len(),
            spread.ms(95.0),
            spread.ms(100.0)
        ))
    };
    Ok(vec![row(one, &one_came), row(other, &other_came)])
}

/// When each part was fetched whose request was waiting for it.
async fn follow(http: SocketAddr, path: &str, count: usize) -> Result<HashMap<(u64, u64), Instant>, Error> {
    let mut held_part = Connection::open(http, 0).await?;
    let mut held_playlist = Connection::open(http, 0).await?;
    let mut media = load(&mut held_playlist, path).await?;
    let mut came = HashMap::new();
    while came.len() < count {
        let hint =
            media.hint.clone().ok_or(Error::Unreadable { what: path.into(), why: "it hints at no part" })?;
        let (answer, (next, _)) =
            tokio::try_join!(held_part.get(&hint, Body::Drop), reload(&mut held_playlist, path, media.next))?;
        media = next;
        // A hint at the end of a segment is of the next one: only the list says where it stood.
        if let Some(part) = media.parts.iter().find(|part| part.path == hint) {
            came.insert(part.at, answer.at);
        }
    }
    Ok(came)
}
