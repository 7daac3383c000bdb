//! Finds the line of a key in a TOML text.

use std::fmt;
use std::path::PathBuf;

/// Where a setting stands: `aqueduct.toml:12: packager.part`, `--set packager.part`, or a variable's name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// In the file.
    File {
        /// The file.
        file: PathBuf,
        /// Its line, from 1.
        line: Option<usize>,
        /// The dotted key.
        key: Option<String>,
    },
    /// In a `--set` flag, by its key.
    Flag(String),
    /// In an environment variable, by its name.
    Variable(String),
    /// Nowhere: a default, or several settings together.
    Nowhere(Option<String>),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { file, line, key } => {
                write!(f, "{}", file.display())?;
                line.map_or(Ok(()), |line| write!(f, ":{line}"))?;
                key.as_ref().map_or(Ok(()), |key| write!(f, ": {key}"))
            }
            Self::Flag(key) => write!(f, "--set {key}"),
            Self::Variable(name) => f.write_str(name),
            Self::Nowhere(key) => f.write_str(key.as_deref().unwrap_or("configuration")),
        }
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

/// How the keys of every section begin.
pub const SECTIONS: [&str; 12] = [
    "ingest.",
    "transcode.",
    "packager.",
    "edge.",
    "relay.",
    "cluster.",
    "steering.",
    "tls.",
    "admin.",
    "analytics.",
    "stop.",
    "stream.",
];

/// The first dotted key of a known section that a message names.
pub fn key_in_text(message: &str) -> Option<String> {
    let word = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
    let mut words = message.split(word);
    words
        .find(|word| SECTIONS.iter().any(|section| word.starts_with(section)))
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
