use super::*;

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("aqueduct-history-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    folder
}

const KEEP: Keep = Keep { age: Duration::from_secs(86_400), bytes: 1 << 30 };

fn session(n: i64) -> SessionRecord {
    SessionRecord {
        key: format!("live/show/{n}"),
        stream: "live/show".into(),
        session: format!("s{n}"),
        span: [n, n + 1],
        ..SessionRecord::default()
    }
}

#[test]
fn what_is_kept_is_there_after_a_restart_and_as_csv() {
    let folder = folder("kept");
    let (store, found) = Store::open(&folder, KEEP).unwrap();
    assert!(found.notices.is_empty());
    for n in 0..500 {
        store.write(Write::Session(session(n)));
    }
    store.write(Write::Session(SessionRecord { outcome: "=1+1,\"x\"".into(), ..session(7) }));
    store.write(Write::Minute(Minute { at: 60_000, stream: "live/show".into(), ..Minute::default() }));
    store.write(Write::Notices("[1]".into()));
    assert!(store.flush(Duration::from_secs(30)));
    assert_eq!(store.lost(), 0);
    let export = read(store.path(), Table::Sessions, 0, 1_000, Some("live/show")).unwrap();
    assert_eq!((export.rows.len(), export.truncated), (500, false));
    let csv = export.csv();
    assert!(csv.starts_with("stream,session,player,"), "{csv}");
    assert!(csv.contains("live/show,s7,,,\"'=1+1,\"\"x\"\"\",7,8,"), "{csv}");
    assert!(read(store.path(), Table::Sessions, 0, 1_000, Some("live/other")).unwrap().rows.is_empty());
    drop(store);
    let (store, found) = Store::open(&folder, KEEP).unwrap();
    assert_eq!(found.notices, "[1]");
    assert_eq!(read(store.path(), Table::Minutes, 0, i64::MAX, None).unwrap().rows.len(), 1);
    let _ = std::fs::remove_dir_all(&folder);
}

#[test]
fn what_is_old_goes_and_so_does_the_oldest_of_too_much() {
    let folder = folder("old");
    std::fs::create_dir_all(&folder).unwrap();
    let mut connection = schema::open(&folder.join("history.sqlite")).unwrap();
    let day = 86_400_000;
    put(&mut connection, &[Write::Session(session(1)), Write::Session(session(2 * day))]).unwrap();
    schema::prune(&connection, KEEP).unwrap();
    let count = |connection: &Connection| -> i64 {
        connection.query_row("SELECT count(*) FROM sessions", [], |row| row.get(0)).unwrap()
    };
    assert_eq!(count(&connection), 1);
    let many: Vec<Write> = (0..5_000).map(|n| Write::Session(session(2 * day + n))).collect();
    put(&mut connection, &many).unwrap();
    schema::prune(&connection, Keep { bytes: 300_000, ..KEEP }).unwrap();
    let left = count(&connection);
    assert!((100..4_000).contains(&left), "{left}");
    let oldest: i64 = connection.query_row("SELECT min(began) FROM sessions", [], |row| row.get(0)).unwrap();
    assert!(oldest > 2 * day, "{oldest}");
    let _ = std::fs::remove_dir_all(&folder);
}

#[test]
fn a_full_queue_drops_and_counts_and_a_bad_folder_says_what_to_do() {
    let (queue, _records) = sync_channel(1);
    let store = Store { queue, lost: Arc::default(), path: PathBuf::new() };
    for n in 0..10 {
        store.write(Write::Session(session(n)));
    }
    assert_eq!(store.lost(), 9);
    let error = Store::open(Path::new("/dev/null/nowhere"), KEEP).unwrap_err().to_string();
    assert!(error.contains("set data_dir"), "{error}");
}
