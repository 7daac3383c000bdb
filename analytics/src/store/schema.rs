//! The file's tables, and what is removed from them.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, params};

use super::{Found, Keep};

/// What alerts remember.
pub(super) const ALERTS: &str = "alerts";
/// Notices that wait.
pub(super) const NOTICES: &str = "notices";

const TABLES: &str = "
CREATE TABLE IF NOT EXISTS minutes (
  at INTEGER NOT NULL, stream TEXT NOT NULL, health TEXT NOT NULL,
  bitrate_min REAL, bitrate_avg REAL, bitrate_max REAL, fps_min REAL, fps_avg REAL, fps_max REAL,
  viewers INTEGER NOT NULL, rebuffer_ratio REAL, play_ms REAL NOT NULL, stall_ms REAL NOT NULL,
  startup_p95 REAL, latency_p50 REAL, score REAL, reasons TEXT NOT NULL, PRIMARY KEY (at, stream)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sessions (
  key TEXT NOT NULL PRIMARY KEY, stream TEXT NOT NULL, session TEXT NOT NULL, player TEXT NOT NULL, edge TEXT NOT NULL,
  outcome TEXT NOT NULL, began INTEGER NOT NULL, heard INTEGER NOT NULL, startup REAL, play REAL NOT NULL, stall REAL NOT NULL,
  stalls INTEGER NOT NULL, switches_up INTEGER NOT NULL, switches_down INTEGER NOT NULL, dropped_frames INTEGER NOT NULL,
  bitrate REAL, latency REAL, completion REAL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS sessions_by_time ON sessions (began);
CREATE TABLE IF NOT EXISTS alerts (
  id TEXT NOT NULL, since INTEGER NOT NULL, until INTEGER, rule TEXT NOT NULL, severity TEXT NOT NULL, scope TEXT NOT NULL,
  value REAL, text TEXT NOT NULL, suppressed_by TEXT, PRIMARY KEY (id, since)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS events (at INTEGER NOT NULL, stream TEXT NOT NULL, kind TEXT NOT NULL, severity TEXT NOT NULL, text TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS events_by_time ON events (at);
CREATE TABLE IF NOT EXISTS remembered (what TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
";

/// Opens or makes the file. Readers never wait for the writer (WAL), and what is committed survives a kill.
pub(super) fn open(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(Duration::from_secs(2))?;
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.execute_batch(TABLES)?;
    Ok(connection)
}

/// What an earlier run left to be remembered.
pub(super) fn found(connection: &Connection) -> rusqlite::Result<Found> {
    let read = |what: &str| {
        let statement = "SELECT value FROM remembered WHERE what = ?1";
        connection.query_row(statement, [what], |row| row.get::<_, String>(0)).optional()
    };
    let alerts = read(ALERTS)?.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    Ok(Found { alerts, notices: read(NOTICES)?.unwrap_or_default() })
}

pub(super) fn remember(connection: &Connection, what: &str, value: &str) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO remembered VALUES (?1, ?2)")?
        .execute(params![what, value])
        .map(drop)
}

/// Removes what is too old, and the oldest tenth for as long as the file is too large.
pub(super) fn prune(connection: &Connection, keep: Keep) -> rusqlite::Result<()> {
    let age = i64::try_from(keep.age.as_millis()).unwrap_or(i64::MAX);
    let newest: Option<i64> = connection.query_row("SELECT max(at) FROM minutes", [], |row| row.get(0))?;
    let newest = newest.max(connection.query_row("SELECT max(began) FROM sessions", [], |row| row.get(0))?);
    if let Some(newest) = newest {
        // By what was written and not by a clock: one that is wrong empties nothing.
        remove_before(connection, newest.saturating_sub(age))?;
    }
    for _ in 0..20 {
        let used: i64 = connection.query_row(
            "SELECT (page_count - freelist_count) * page_size FROM pragma_page_count, pragma_freelist_count, pragma_page_size",
            [],
            |row| row.get(0),
        )?;
        if used <= i64::try_from(keep.bytes).unwrap_or(i64::MAX) {
            break;
        }
        for (table, time) in [("sessions", "began"), ("minutes", "at"), ("events", "at")] {
            let rows: i64 =
                connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0))?;
            let edge = format!("SELECT {time} FROM {table} ORDER BY {time} LIMIT 1 OFFSET ?1");
            let edge: Option<i64> = connection.query_row(&edge, [rows / 10], |row| row.get(0)).optional()?;
            if let Some(edge) = edge {
                connection.execute(&format!("DELETE FROM {table} WHERE {time} <= ?1"), [edge])?;
            }
        }
    }
    connection.execute_batch("PRAGMA incremental_vacuum")
}

fn remove_before(connection: &Connection, edge: i64) -> rusqlite::Result<()> {
    for (table, time) in [("sessions", "began"), ("minutes", "at"), ("events", "at"), ("alerts", "since")] {
        connection.execute(&format!("DELETE FROM {table} WHERE {time} < ?1"), [edge])?;
    }
    Ok(())
}
