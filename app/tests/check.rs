//! A corpus of configuration files with a mistake each: `aqueduct check` says file, line, key and what to do, in the words
//! that stand in `check.txt`. After a change that is meant, `BLESS=1 cargo test --workspace --test check` writes them anew.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One file of the corpus.
struct Case {
    name: String,
    text: String,
    said: String,
}

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/check.txt")
}

fn cases() -> Vec<Case> {
    let text = std::fs::read_to_string(corpus()).unwrap();
    let cases = text.split("=== ").skip(1).map(|case| {
        let (name, rest) = case.split_once('\n').unwrap();
        let (text, said) = rest.split_once("---\n").unwrap();
        Case { name: name.into(), text: text.into(), said: said.trim().into() }
    });
    cases.collect()
}

/// Exit code and words.
fn check(folder: &Path, text: &str) -> String {
    std::fs::write(folder.join("wrong.toml"), text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_aqueduct"));
    let output = command.args(["check", "wrong.toml"]).current_dir(folder).output().unwrap();
    let words = [output.stdout, output.stderr].concat();
    format!("{} {}", output.status.code().unwrap_or(-1), String::from_utf8_lossy(&words).trim())
}

#[test]
fn every_mistake_is_named_with_its_line_and_what_to_do() {
    let folder = std::env::temp_dir().join(format!("aqueduct-check-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (mut written, mut different) = (String::new(), Vec::new());
    for case in cases() {
        let said = check(&folder, &case.text);
        if said != case.said {
            different.push(format!("{}:\n  is      {said}\n  was     {}", case.name, case.said));
        }
        let _ = write!(written, "=== {}\n{}---\n{said}\n", case.name, case.text);
        for secret in ["hunter2", "at-least-16-characters", "xxxx-xxxx", "12345678"] {
            assert!(!said.contains(secret), "{}: {said}", case.name);
        }
        // Whatever the words are: a mistake is refused, and the file is named.
        assert!(said.starts_with("2 aqueduct: wrong.toml"), "{}: {said}", case.name);
    }
    std::fs::remove_dir_all(&folder).unwrap();
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(corpus(), written).unwrap();
        return;
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}
