//! The key file of the data directory: hashes of keys that the server made itself.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::entry::{KeyConfig, KeyEntry, KeyError};

const HEADER: &str = "# Publish keys that Aqueduct made. It keeps only hashes: a lost key cannot be read here.\n\
                      # Delete an entry to take its key back; delete the file to have a new key made at the next start.\n";

/// Why the key file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It cannot be written.
    #[error("{}: {source}; a new publish key could not be kept", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not TOML, or holds something unknown.
    #[error("{}: {source}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and what.
        source: Box<toml_edit::de::Error>,
    },
    /// An entry cannot be used.
    #[error("{}: keys[{index}].{source}", path.display())]
    Entry {
        /// The file.
        path: PathBuf,
        /// Which entry, from 0.
        index: usize,
        /// Why.
        source: KeyError,
    },
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    #[serde(default)]
    keys: Vec<KeyConfig>,
}

/// The keys of a file; none when there is no file.
pub fn load(path: &Path) -> Result<Vec<KeyEntry>, KeyFileError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(KeyFileError::Read { path: path.into(), source }),
    };
    let file: KeyFile = toml_edit::de::from_str(&text)
        .map_err(|source| KeyFileError::Parse { path: path.into(), source: Box::new(source) })?;
    let entry = |(index, config)| {
        KeyEntry::try_from(config).map_err(|source| KeyFileError::Entry { path: path.into(), index, source })
    };
    file.keys.iter().enumerate().map(entry).collect()
}

/// Adds a key to a file, which is made if it is not there, for its owner's eyes only.
pub fn append(path: &Path, entry: &KeyEntry) -> Result<(), KeyFileError> {
    let write = || {
        let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        let header = if file.metadata()?.len() == 0 { HEADER } else { "" };
        let text =
            format!("{header}\n[[keys]]\nstream = \"{}\"\nhash = \"{}\"\n", entry.pattern, entry.hash());
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().map_err(|source| KeyFileError::Write { path: path.into(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::StreamPattern;
    use std::os::unix::fs::PermissionsExt;

    fn scratch(name: &str) -> PathBuf {
        let directory = std::env::temp_dir().join(format!("aqueduct-keys-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        directory.join("keys.toml")
    }

    #[test]
    fn keys_are_kept_as_hashes_for_the_owner_alone() {
        let path = scratch("kept");
        let entries =
            ["*", "live/show"].map(|stream| KeyEntry::new(stream.parse().unwrap(), "secret-0123456789"));
        assert_eq!(load(&path).unwrap(), []);
        for entry in &entries {
            append(&path, entry).unwrap();
        }
        assert_eq!(load(&path).unwrap(), entries);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!std::fs::read_to_string(&path).unwrap().contains("secret-"));
        std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }

    #[test]
    fn a_damaged_file_is_named() {
        let path = scratch("damaged");
        for (text, part) in [
            ("[[keys]]\nstream = 1\n", "keys.toml"),
            ("[[keys]]\nstream = \"*\"\nhash = \"sha256:zz\"\n", "keys[0].hash"),
            ("[[key]]\n", "key"),
        ] {
            std::fs::write(&path, text).unwrap();
            assert!(load(&path).unwrap_err().to_string().contains(part), "{text}");
        }
        std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
        let missing = path.join("nowhere/keys.toml");
        assert!(append(&missing, &KeyEntry::new(StreamPattern::Any, "x")).is_err());
    }
}
