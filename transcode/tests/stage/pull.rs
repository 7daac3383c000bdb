//! A pull's worker in a process of its own: what its cage lets it do.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

use aqueduct_transcode::protocol::{Encoded, Reader, encode};
use aqueduct_transcode::pull::protocol::{FromPull, Hidden, Job, Pick, Source, ToPull, VERSION};

fn job(source: Source) -> Job {
    Job { version: VERSION, source, video: Pick::First, audio: Pick::First, silence: false }
}

fn url(url: String, protocols: &str) -> Source {
    Source::Url { url: Hidden(url), protocols: protocols.into(), options: Vec::new(), paced: false }
}

/// All that a worker says of a job until it ends by itself.
fn said(arguments: &[&str], source: Source) -> Vec<FromPull> {
    let mut child = Command::new(env!("CARGO_BIN_EXE_aqueduct-worker"))
        .arg("pull-worker")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let Encoded { head, .. } = encode(&ToPull::Job(job(source))).unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(&head).unwrap();
    let mut bytes = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut bytes).unwrap();
    child.wait().unwrap();
    drop(input);
    let mut reader = Reader::<FromPull>::default();
    reader.push(&bytes);
    std::iter::from_fn(|| reader.poll()).map(Result::unwrap).collect()
}

fn trouble(said: &[FromPull]) -> &str {
    match said {
        [FromPull::Ready { version: VERSION }, FromPull::Trouble(words)] => words,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_worker_without_a_network_reaches_none_and_one_with_it_does() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let sealed = said(&[], url(format!("tcp://{address}"), "tcp"));
    assert!(trouble(&sealed).contains("Operation not permitted"), "{sealed:?}");
    let far = std::thread::spawn(move || drop(listener.accept().unwrap()));
    let open = said(&["--network"], url(format!("tcp://{address}"), "tcp"));
    assert!(!trouble(&open).contains("not permitted"), "{open:?}");
    far.join().unwrap();
}

#[test]
fn a_url_leads_to_its_own_protocols_alone() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let said = said(&["--network"], url(format!("file:{}", file.display()), "srt"));
    assert!(trouble(&said).starts_with("opening the source"), "{said:?}");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let said = said(&["--file", "/nowhere/a.mp4"], Source::Files { names: vec!["a.mp4".into()] });
    assert!(trouble(&said).starts_with("/nowhere/a.mp4: "), "{said:?}");
}
