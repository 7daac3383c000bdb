//! A history whose process is killed while it writes: no more than the last second is lost, and nothing is corrupt.
//!
//! The writer is this very program, started again by its test's name with a folder in its environment.
#![allow(clippy::unwrap_used, reason = "the helpers of a test fail it")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use aqueduct_analytics::store::{Keep, SessionRecord, Store, Table, Write, read};

const FOLDER: &str = "KILLED_WHILE_IT_WRITES";
const KEEP: Keep = Keep { age: Duration::from_secs(86_400), bytes: 1 << 30 };
/// Records a second, and how often their writer is killed.
const A_SECOND: i64 = 1_000;
const KILLS: i64 = 6;
/// A batch waits for half a second of others and is put on disk within the second. Where others keep the disk busy, it may
/// take one more.
const LOST_AT_MOST: i64 = 2 * A_SECOND;

/// The writer: a record each millisecond, numbered on from `first`, each told once it was handed over.
#[test]
fn the_writer() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let (store, _) = Store::open(Path::new(&folder), KEEP).unwrap();
    let first = kept(&PathBuf::from(folder));
    let mut out = std::io::stdout().lock();
    for number in first.. {
        let key = format!("live/show/{number}");
        let session = SessionRecord {
            key,
            stream: "live/show".into(),
            span: [number, number + 1],
            ..SessionRecord::default()
        };
        store.write(Write::Session(session));
        writeln!(out, "wrote {number}").unwrap();
        out.flush().unwrap();
        std::thread::sleep(Duration::from_micros(900));
    }
}

fn writer(folder: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["the_writer", "--exact", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// How many records a folder has, which are one after the other.
fn kept(folder: &Path) -> i64 {
    let export = read(&folder.join("history.sqlite"), Table::Sessions, 0, i64::MAX, None).unwrap();
    assert!(!export.truncated);
    export.rows.len() as i64
}

#[test]
fn a_kill_costs_no_more_than_the_last_second_and_leaves_the_file_whole() {
    let folder = std::env::temp_dir().join(format!("aqueduct-killed-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    let mut told = 0;
    for kill in 0..KILLS {
        let mut child = writer(&folder);
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // Killed at another point of its batches each time.
        let enough = A_SECOND + kill * 177;
        let numbers =
            lines.map_while(Result::ok).filter_map(|line| line.strip_prefix("wrote ")?.parse::<i64>().ok());
        let newest = numbers.take(usize::try_from(enough).unwrap()).last().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        told = newest + 1;
        let (store, _) = Store::open(&folder, KEEP).unwrap();
        let there = kept(&folder);
        assert!(there + LOST_AT_MOST >= told, "{there} of {told} are left");
        let file = rusqlite::Connection::open(store.path()).unwrap();
        let whole: String = file.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(whole, "ok");
        let newest: i64 = file.query_row("SELECT max(began) FROM sessions", [], |row| row.get(0)).unwrap();
        assert_eq!(newest + 1, there, "one after the other, none left out");
    }
    assert!(told > A_SECOND * KILLS / 2, "the writers got nowhere: {told}");
    let _ = std::fs::remove_dir_all(&folder);
}
