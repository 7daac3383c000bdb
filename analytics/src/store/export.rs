//! Reads the file for people and their tools, beside the writer.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, params};

/// Rows of one export.
const MOST: usize = 100_000;

/// A table that is exported.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Table {
    /// Minutes of streams.
    Minutes,
    /// Sessions of viewers.
    Sessions,
    /// Alerts.
    Alerts,
}

impl Table {
    /// By its name in URLs.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "minutes" => Some(Self::Minutes),
            "sessions" => Some(Self::Sessions),
            "alerts" => Some(Self::Alerts),
            _ => None,
        }
    }

    const fn statement(self) -> &'static str {
        match self {
            Self::Minutes => {
                "SELECT * FROM minutes WHERE at >= ?1 AND at < ?2 AND (?3 IS NULL OR stream = ?3) ORDER BY at LIMIT ?4"
            }
            Self::Sessions => {
                "SELECT stream, session, player, edge, outcome, began, heard, startup, play, stall, stalls, switches_up, \
                 switches_down, dropped_frames, bitrate, latency, completion FROM sessions \
                 WHERE began >= ?1 AND began < ?2 AND (?3 IS NULL OR stream = ?3) ORDER BY began LIMIT ?4"
            }
            Self::Alerts => {
                "SELECT * FROM alerts WHERE since >= ?1 AND since < ?2 AND (?3 IS NULL OR scope = ?3) ORDER BY since LIMIT ?4"
            }
        }
    }
}

/// What was read.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Export {
    /// The columns' names.
    pub columns: Vec<String>,
    /// The rows, each value as it is written in CSV, unquoted; `None` is no value.
    pub rows: Vec<Vec<Option<String>>>,
    /// There would have been more.
    pub truncated: bool,
}

/// Reads rows from `from` to `until` (milliseconds since 1970), of one stream or of all. Blocks.
///
/// # Errors
/// When the file cannot be read.
pub fn read(
    path: &Path,
    table: Table,
    from: i64,
    until: i64,
    stream: Option<&str>,
) -> rusqlite::Result<Export> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(Duration::from_secs(2))?;
    let mut statement = connection.prepare(table.statement())?;
    let columns = statement.column_names().map(str::to_owned).collect();
    let mut export = Export { columns, ..Export::default() };
    let mut rows = statement.query(params![from, until, stream, MOST as i64 + 1])?;
    while let Some(row) = rows.next()? {
        if export.rows.len() == MOST {
            export.truncated = true;
            break;
        }
        let text = |index| {
            Ok(match row.get_ref(index)? {
                ValueRef::Null | ValueRef::Blob(_) => None,
                ValueRef::Integer(value) => Some(value.to_string()),
                ValueRef::Real(value) => Some(value.to_string()),
                ValueRef::Text(text) => Some(String::from_utf8_lossy(text).into_owned()),
            })
        };
        export.rows.push((0..export.columns.len()).map(text).collect::<rusqlite::Result<_>>()?);
    }
    Ok(export)
}

impl Export {
    /// As CSV (RFC 4180), with a line of names.
    pub fn csv(&self) -> String {
        let mut out = self.columns.join(",") + "\r\n";
        for row in &self.rows {
            for (index, value) in row.iter().enumerate() {
                let comma = if index == 0 { "" } else { "," };
                // Writing into a String does not fail.
                let _ = write!(out, "{comma}{}", quoted(value.as_deref().unwrap_or_default()));
            }
            out.push_str("\r\n");
        }
        out
    }
}

/// Quoted where needed; what a spreadsheet would take for a formula is told to be text.
fn quoted(value: &str) -> std::borrow::Cow<'_, str> {
    let formula =
        value.starts_with(['=', '+', '@']) || (value.starts_with('-') && value.parse::<f64>().is_err());
    if !formula && !value.contains([',', '"', '\r', '\n']) {
        return value.into();
    }
    let mark = if formula { "'" } else { "" };
    format!("\"{mark}{}\"", value.replace('"', "\"\"")).into()
}
