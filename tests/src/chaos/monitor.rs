//! What is looked at while the run goes on: who has died, how much memory each process has, whether what is listed is there,
//! and how late this program itself is.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::plan::STREAMS;
use super::stage::Stage;
use super::track::SOON;
use crate::check::multivariant;
use crate::check::playlist::{MediaPlaylist, resolve};
use crate::fetch::Client;
use crate::random::Random;
use crate::{Outcome, now};

/// A process has its window, and what it keeps behind that, by then.
const SETTLED: Duration = Duration::from_secs(20);
/// What a process may have at the end above what it had then: this share of it, and MiB.
const GROWS: (f64, f64) = (0.25, 48.0);
const LOOK: Duration = Duration::from_millis(500);
/// How often this program looks whether it is late, and from where on it is.
const BEAT: Duration = Duration::from_millis(50);
const LATE: Duration = Duration::from_millis(150);

/// Memory of one life of a process, in MiB.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// When this life was first seen.
    since: Duration,
    /// After it has settled; none before.
    pub settled: Option<f64>,
    /// Last seen.
    pub last: f64,
}

/// Looks after the processes until it is dropped; gives nothing back, the ledger has it all.
pub async fn guard(stage: Arc<Stage>, memory: Arc<std::sync::Mutex<HashMap<(usize, u64), Memory>>>) {
    let mut dead = [None; 3];
    loop {
        sleep(LOOK).await;
        for node in &stage.nodes {
            let life = stage.ledger.life(node.number);
            if !life.is_multiple_of(2) {
                continue;
            }
            if let Some(how) = node.has_died().await
                && stage.ledger.life(node.number) == life
                && dead[node.number] != Some(life)
            {
                dead[node.number] = Some(life);
                stage.ledger.broken(how);
            }
            let Some(resident) = node.resident().await else { continue };
            if stage.ledger.life(node.number) != life {
                continue;
            }
            let now = stage.ledger.at();
            let Ok(mut memory) = memory.lock() else { continue };
            let seen =
                memory.entry((node.number, life)).or_insert(Memory { since: now, ..Memory::default() });
            seen.last = resident;
            if seen.settled.is_none() && now - seen.since >= SETTLED {
                seen.settled = Some(resident);
            }
        }
    }
}

/// Whether a process has more than it may.
pub fn has_grown(memory: &Memory) -> bool {
    memory.settled.is_some_and(|settled| memory.last > settled * (1.0 + GROWS.0) + GROWS.1)
}

/// Tells the ledger when this program was woken too late: what it measures of players meanwhile says nothing of a server.
pub async fn metronome(stage: Arc<Stage>) {
    loop {
        let begun = now();
        sleep(BEAT).await;
        let late = (now() - begun).saturating_sub(BEAT);
        if late >= LATE {
            stage.ledger.late(late);
        }
    }
}

/// Asks each node in turn for something that it lists, old or new.
pub async fn audit(stage: Arc<Stage>, seed: u64) {
    let (client, mut random) = (Client::new(), Random::new(seed ^ 0xa0d1));
    for turn in 0.. {
        sleep(LOOK).await;
        let node = turn % stage.nodes.len();
        let stream = STREAMS[random.below(STREAMS.len() as u64) as usize];
        // A node that is away, or has nothing at this moment, lists nothing.
        let _ = look(&stage, &client, &mut random, (node, stream)).await;
    }
}

async fn look(stage: &Stage, client: &Client, random: &mut Random, at: (usize, &str)) -> Outcome {
    let (node, ledger) = (&stage.nodes[at.0], &stage.ledger);
    let life = ledger.life(node.number);
    let index = node.url(&format!("/live/{}/index.m3u8", at.1));
    let text = client.get(&index).await?.text()?;
    let entries = multivariant::read(&index, &text).0.entries;
    let entry = entries.get(random.below(entries.len() as u64) as usize).ok_or("no rendition")?;
    let answer = client.get(&entry.url).await?;
    let list =
        MediaPlaylist::parse(&answer.text()?).0.filter(|_| answer.status.is_success()).ok_or("no list")?;
    let parts = list.segments.iter().flat_map(|segment| &segment.parts).filter(|part| !part.gap);
    let whole = list.complete().filter(|segment| !segment.gap).map(|segment| &segment.uri);
    let maps = list.segments.iter().filter_map(|segment| segment.map.as_ref());
    let files: Vec<&String> = parts.map(|part| &part.uri).chain(whole).chain(maps).collect();
    let file = files.get(random.below(files.len() as u64) as usize).ok_or("an empty list")?;
    let url = resolve(&entry.url, file);
    let asked = ledger.at();
    let answer = client.get(&url).await;
    let took = ledger.at() - asked;
    ledger.count(false);
    if ledger.life(node.number) != life {
        return Ok(());
    }
    match answer {
        Ok(answer) if !answer.status.is_success() => {
            ledger.broken(format!("{} lists {url}, which answers {}", node.name, answer.status));
        }
        Err(error) => ledger.broken(format!("{} lists {url}, which does not come: {error}", node.name)),
        Ok(_) if took > ledger.scaled(SOON) + 2 * ledger.lateness(asked, asked + took) => {
            ledger.broken(format!("{} lists {url}, which takes {took:.1?}", node.name));
        }
        Ok(_) => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_judged_once_it_has_settled() {
        let memory = |settled, last| Memory { since: Duration::ZERO, settled, last };
        assert!(!has_grown(&memory(None, 900.0)));
        assert!(!has_grown(&memory(Some(100.0), 170.0)));
        assert!(has_grown(&memory(Some(100.0), 175.0)));
    }
}
