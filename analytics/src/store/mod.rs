//! What outlives the process: minute records, sessions, alerts, events, and notices that are still to be delivered, in one
//! SQLite file that other programs may read while this one writes.
//!
//! One thread writes. It takes what waits for it in one transaction, a second after the first of it at the latest, so a
//! kill costs at most that second; a full queue drops and counts, and nobody waits for a disk.

mod export;
mod schema;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use rusqlite::{Connection, params};

pub use export::{Export, Table, read};

use crate::alert::{AlertView, Saved};

/// Records that may wait.
const WAITING: usize = 16_384;
/// Records of one transaction.
const BATCH: usize = 4_096;
/// How long a record may wait for others (the second that a kill may cost).
const TOGETHER: Duration = Duration::from_millis(500);
/// Between two attempts to open a file that cannot be written.
const AGAIN: Duration = Duration::from_secs(2);
/// How often what is too old or too much is removed: once in so many transactions.
const PRUNE_EVERY: u32 = 600;

/// How much is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Keep {
    /// For how long.
    pub age: Duration,
    /// Bytes of the file, about.
    pub bytes: u64,
}

/// A stream's minute.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Minute {
    /// When it began, in milliseconds since 1970.
    pub at: i64,
    /// The stream.
    pub stream: String,
    /// How it was at its end.
    pub health: String,
    /// Bits a second: least, mean, most.
    pub bitrate: [f64; 3],
    /// Frames a second: least, mean, most.
    pub fps: [f64; 3],
    /// Most viewers.
    pub viewers: u32,
    /// Share of viewing time that went by waiting.
    pub rebuffer: Option<f64>,
    /// Milliseconds played and waited.
    pub time: [f64; 2],
    /// 95th percentile of the start-up, in seconds.
    pub startup: Option<f64>,
    /// Median latency in seconds.
    pub latency: Option<f64>,
    /// The score.
    pub score: Option<f64>,
    /// Why it was not well, in words.
    pub reasons: String,
}

/// A session as it is kept. Nothing in it leads to a person.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct SessionRecord {
    /// Its place in the table: stream, beginning and shortened name.
    pub key: String,
    /// The stream.
    pub stream: String,
    /// Shortened name.
    pub session: String,
    /// `aqueduct` or `cmcd`.
    pub player: String,
    /// Which node served it.
    pub edge: String,
    /// Its outcome.
    pub outcome: String,
    /// First and last word, in milliseconds since 1970.
    pub span: [i64; 2],
    /// Start-up in seconds.
    pub startup: Option<f64>,
    /// Seconds played and waited.
    pub time: [f64; 2],
    /// Stalls, switches up, switches down, frames dropped.
    pub counts: [f64; 4],
    /// Mean bitrate, bits a second.
    pub bitrate: Option<f64>,
    /// Mean latency, seconds.
    pub latency: Option<f64>,
    /// Share of the broadcast so far that it watched.
    pub completion: Option<f64>,
}

/// Something to keep.
#[derive(Debug)]
pub enum Write {
    /// A stream's minute.
    Minute(Minute),
    /// A session, new or again.
    Session(SessionRecord),
    /// An alert, new or again.
    Alert(AlertView),
    /// Something that happened: when, to which stream, what, how bad, in words.
    Event(i64, String, &'static str, &'static str, String),
    /// What alerts are to remember.
    Alerts(Saved),
    /// Notices that are to be delivered, as JSON: all that wait.
    Notices(String),
    /// Answer when all before this is kept.
    Flush(SyncSender<()>),
}

/// What was found of an earlier run.
#[derive(Debug, Default)]
pub struct Found {
    /// What alerts were to remember.
    pub alerts: Saved,
    /// Notices that were to be delivered, as JSON.
    pub notices: String,
}

/// Why nothing is kept.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The folder.
    #[error("{}: {error}; let this user write there, or set data_dir", path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The file.
    #[error("{}: {error}; move the file away to begin a new one", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: rusqlite::Error,
    },
    /// No thread.
    #[error("no thread to write with: {0}")]
    Thread(std::io::Error),
}

/// A handle on the writer.
#[derive(Clone, Debug)]
pub struct Store {
    queue: SyncSender<Write>,
    lost: Arc<AtomicU64>,
    path: PathBuf,
}

impl Store {
    /// Opens the file `history.sqlite` in `folder`, which is made where it is missing, and starts the writer.
    ///
    /// # Errors
    /// When the folder or the file cannot be used.
    pub fn open(folder: &Path, keep: Keep) -> Result<(Self, Found), StoreError> {
        let path = folder.join("history.sqlite");
        std::fs::create_dir_all(folder)
            .map_err(|error| StoreError::Folder { path: folder.to_owned(), error })?;
        let failed = |error| StoreError::File { path: path.clone(), error };
        let connection = schema::open(&path).map_err(failed)?;
        let found = schema::found(&connection).map_err(failed)?;
        let (queue, records) = sync_channel(WAITING);
        let lost = Arc::new(AtomicU64::new(0));
        let writer =
            Writer { connection: Some(connection), path: path.clone(), keep, lost: lost.clone(), turns: 0 };
        std::thread::Builder::new()
            .name("history".into())
            .spawn(move || writer.run(&records))
            .map_err(StoreError::Thread)?;
        Ok((Self { queue, lost, path }, found))
    }

    /// Keeps something. Never waits: a full queue drops it and counts.
    pub fn write(&self, record: Write) {
        if self.queue.try_send(record).is_err() {
            self.lost.fetch_add(1, Relaxed);
        }
    }

    /// Waits until everything before it is kept, at most so long. For the end of the process.
    pub fn flush(&self, patience: Duration) -> bool {
        let (done, kept) = sync_channel(1);
        self.queue.try_send(Write::Flush(done)).is_ok() && kept.recv_timeout(patience).is_ok()
    }

    /// Records that could not be kept.
    pub fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

struct Writer {
    /// `None` while the file cannot be written.
    connection: Option<Connection>,
    path: PathBuf,
    keep: Keep,
    lost: Arc<AtomicU64>,
    turns: u32,
}

impl Writer {
    /// Until every handle is gone.
    fn run(mut self, records: &Receiver<Write>) {
        while let Ok(first) = records.recv() {
            if !matches!(first, Write::Flush(_)) {
                std::thread::sleep(TOGETHER);
            }
            let mut batch = vec![first];
            batch.extend(records.try_iter().take(BATCH));
            self.keep_all(batch);
        }
    }

    fn keep_all(&mut self, batch: Vec<Write>) {
        let count = batch.iter().filter(|record| !matches!(record, Write::Flush(_))).count();
        if self.connection.is_none() {
            std::thread::sleep(AGAIN);
            self.connection = schema::open(&self.path).ok();
        }
        let kept = self.connection.as_mut().map(|connection| put(connection, &batch));
        match kept {
            Some(Ok(())) => self.prune(),
            Some(Err(error)) => {
                tracing::warn!(file = %self.path.display(), %error, records = count, "the history could not be written");
                self.connection = None;
                self.lost.fetch_add(count as u64, Relaxed);
            }
            None => {
                self.lost.fetch_add(count as u64, Relaxed);
            }
        }
        for record in batch {
            if let Write::Flush(done) = record {
                // Who asked may have given up.
                let _ = done.try_send(());
            }
        }
    }

    fn prune(&mut self) {
        self.turns = self.turns.wrapping_add(1);
        if self.turns % PRUNE_EVERY != 1 {
            return;
        }
        let pruned = self.connection.as_ref().map(|connection| schema::prune(connection, self.keep));
        if let Some(Err(error)) = pruned {
            tracing::warn!(%error, "the history could not be shortened");
        }
    }
}

fn put(connection: &mut Connection, batch: &[Write]) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    for record in batch {
        match record {
            Write::Minute(minute) => put_minute(&transaction, minute)?,
            Write::Session(session) => put_session(&transaction, session)?,
            Write::Alert(alert) => {
                transaction
                    .prepare_cached("INSERT OR REPLACE INTO alerts VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9)")?
                    .execute(params![
                        alert.id,
                        alert.since,
                        alert.until,
                        alert.rule,
                        alert.severity,
                        alert.scope.name,
                        alert.value,
                        alert.text,
                        alert.suppressed_by
                    ])?;
            }
            Write::Event(at, stream, kind, severity, text) => {
                transaction
                    .prepare_cached("INSERT INTO events VALUES (?1,?2,?3,?4,?5)")?
                    .execute(params![at, stream, kind, severity, text])?;
            }
            Write::Alerts(saved) => {
                let text = serde_json::to_string(saved).unwrap_or_default();
                schema::remember(&transaction, schema::ALERTS, &text)?;
            }
            Write::Notices(text) => schema::remember(&transaction, schema::NOTICES, text)?,
            Write::Flush(_) => {}
        }
    }
    transaction.commit()
}

fn put_minute(connection: &Connection, minute: &Minute) -> rusqlite::Result<()> {
    let statement =
        "INSERT OR REPLACE INTO minutes VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17)";
    connection
        .prepare_cached(statement)?
        .execute(params![
            minute.at,
            minute.stream,
            minute.health,
            minute.bitrate[0],
            minute.bitrate[1],
            minute.bitrate[2],
            minute.fps[0],
            minute.fps[1],
            minute.fps[2],
            minute.viewers,
            minute.rebuffer,
            minute.time[0],
            minute.time[1],
            minute.startup,
            minute.latency,
            minute.score,
            minute.reasons
        ])
        .map(drop)
}

fn put_session(connection: &Connection, one: &SessionRecord) -> rusqlite::Result<()> {
    let statement = "INSERT OR REPLACE INTO sessions VALUES \
                     (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18)";
    connection
        .prepare_cached(statement)?
        .execute(params![
            one.key,
            one.stream,
            one.session,
            one.player,
            one.edge,
            one.outcome,
            one.span[0],
            one.span[1],
            one.startup,
            one.time[0],
            one.time[1],
            one.counts[0],
            one.counts[1],
            one.counts[2],
            one.counts[3],
            one.bitrate,
            one.latency,
            one.completion
        ])
        .map(drop)
}
