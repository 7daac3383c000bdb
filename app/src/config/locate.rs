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

/// The line of `key` (dotted; numbers index arrays), or of what is nearest around it.
pub fn line_of(text: &str, key: &str) -> Option<usize> {
    let document = toml_edit::Document::parse(text).ok()?;
    let steps: Vec<&str> = key.split('.').collect();
    start_in_table(document.as_table(), &steps).map(|start| line_at(text, start))
}

fn start_in_table(table: &dyn toml_edit::TableLike, steps: &[&str]) -> Option<usize> {
    let (step, rest) = steps.split_first()?;
    let (key, item) = table.get_key_value(step)?;
    let own = || key.span().or_else(|| item.span()).map(|span| span.start);
    start_in(item, rest).or_else(own)
}

fn start_in(item: &toml_edit::Item, steps: &[&str]) -> Option<usize> {
    if let Some(table) = item.as_table_like() {
        return start_in_table(table, steps);
    }
    let (index, rest) = steps.split_first()?;
    let index: usize = index.parse().ok()?;
    if let Some(tables) = item.as_array_of_tables() {
        let table = tables.get(index)?;
        return start_in_table(table, rest).or_else(|| table.span().map(|span| span.start));
    }
    let value = item.as_array()?.get(index)?;
    let within = value.as_inline_table().and_then(|table| start_in_table(table, rest));
    within.or_else(|| value.span().map(|span| span.start))
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

/// The line, from 1, that a byte of the text stands in.
pub fn line_at(text: &str, byte: usize) -> usize {
    1 + text.as_bytes()[..byte.min(text.len())].iter().filter(|byte| **byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_at_its_line_however_it_is_written() {
        let text = "data_dir = \"x\"\n[ingest]\ngrace = \"3s\"\nrtmp.listen = \"a\"\n\n[[ingest.keys]]\nstream = \"s\"\n[[ingest.keys]]\nstream = \"t\"\n[relay]\norigins = [\n\"a\",\n\"b\"]\n";
        for (key, line) in [
            ("data_dir", Some(1)),
            ("ingest.grace", Some(3)),
            ("ingest.rtmp.listen", Some(4)),
            ("ingest.keys.0", Some(6)),
            ("ingest.keys.0.stream", Some(7)),
            ("ingest.keys.1.stream", Some(9)),
            ("ingest.keys.1.secret", Some(8)),
            ("relay.origins.1", Some(13)),
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
