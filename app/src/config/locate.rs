//! Finds the line of a key in a TOML text.

use std::fmt;
use std::path::PathBuf;

/// Where a setting stands: `aqueduct.toml:12: packager.part`, or only the key when no file holds it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Place {
    /// The file.
    pub file: Option<PathBuf>,
    /// Its line, from 1.
    pub line: Option<usize>,
    /// The dotted key.
    pub key: Option<String>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.as_ref().map(|file| match self.line {
            Some(line) => format!("{}:{line}", file.display()),
            None => file.display().to_string(),
        });
        let parts: Vec<String> = file.into_iter().chain(self.key.clone()).collect();
        f.write_str(if parts.is_empty() { "configuration" } else { "" })?;
        f.write_str(&parts.join(": "))
    }
}

/// The line of `key` (dotted; numbers index arrays of tables), or of the nearest table around it.
pub fn line_of(text: &str, key: &str) -> Option<usize> {
    let document = toml_edit::Document::parse(text).ok()?;
    let mut item: &toml_edit::Item = document.as_item();
    let mut span = None;
    for step in key.split('.') {
        let table_key = item.as_table_like().and_then(|table| table.get_key_value(step));
        match (table_key, step.parse::<usize>()) {
            (Some((found, value)), _) => {
                span = found.span().or_else(|| value.span()).or(span);
                item = value;
            }
            (None, Ok(index)) => {
                let table = item.as_array_of_tables().and_then(|tables| tables.get(index))?;
                return Some(line_at(text, table.span()?.start));
            }
            (None, Err(_)) => break,
        }
    }
    span.map(|span| line_at(text, span.start))
}

/// The first dotted key of a known section that a message names.
pub fn key_in_text(message: &str) -> Option<String> {
    let sections = ["ingest.", "packager.", "edge.", "tls.", "admin.", "stop."];
    let word = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
    let mut words = message.split(word);
    words
        .find(|word| sections.iter().any(|section| word.starts_with(section)))
        .map(|word| word.trim_end_matches('.').into())
}

fn line_at(text: &str, byte: usize) -> usize {
    1 + text.as_bytes()[..byte.min(text.len())].iter().filter(|byte| **byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_at_its_line_however_it_is_written() {
        let text = "data_dir = \"x\"\n[ingest]\ngrace = \"3s\"\nrtmp.listen = \"a\"\n\n[[ingest.keys]]\nstream = \"s\"\n";
        for (key, line) in [
            ("data_dir", Some(1)),
            ("ingest.grace", Some(3)),
            ("ingest.rtmp.listen", Some(4)),
            ("ingest.keys.0", Some(6)),
            ("edge.http", None),
        ] {
            assert_eq!(line_of(text, key), line, "{key}");
        }
    }

    #[test]
    fn a_message_says_which_key_it_is_about() {
        assert_eq!(key_in_text("`packager.part` is too long."), Some("packager.part".into()));
        assert_eq!(key_in_text("something else"), None);
    }
}
