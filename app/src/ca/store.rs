//! The authority's directory: PEM files that are never written over.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::issue::Made;

/// Why a file of the authority was not read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It is there already.
    #[error(
        "{} is there already and is not written over: move it away, or name another directory",
        .0.display()
    )]
    Exists(PathBuf),
    /// There is no authority here.
    #[error(
        "{} is not there: run `aqueduct ca init` first, or name the authority's directory with --dir",
        .0.display()
    )]
    NoAuthority(PathBuf),
    /// The system refused.
    #[error("{}: {error}", file.display())]
    Io {
        /// The file or directory.
        file: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// Paths of a certificate and its key.
pub fn pair(dir: &Path, (certificate, key): (&str, &str)) -> (PathBuf, PathBuf) {
    (dir.join(certificate), dir.join(key))
}

/// Makes a directory that its owner alone may look into. One that is there stays as it is.
pub fn private_dir(dir: &Path) -> Result<(), StoreError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir).map_err(|error| StoreError::Io { file: dir.to_owned(), error })
}

/// Writes both, or neither.
pub fn write_new(certificate: &Path, key: &Path, made: &Made) -> Result<(), StoreError> {
    if certificate.exists() {
        return Err(StoreError::Exists(certificate.to_owned()));
    }
    create(key, &made.key, 0o600)?;
    create(certificate, &made.certificate, 0o644).inspect_err(|_| {
        // What is left would stand in the way of the next attempt.
        let _ = fs::remove_file(key);
    })
}

/// The key that signs.
pub fn read(key: &Path) -> Result<String, StoreError> {
    fs::read_to_string(key).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => StoreError::NoAuthority(key.to_owned()),
        _ => StoreError::Io { file: key.to_owned(), error },
    })
}

fn create(file: &Path, text: &str, mode: u32) -> Result<(), StoreError> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    let written = options.open(file).and_then(|mut open| {
        open.write_all(text.as_bytes())?;
        open.sync_all()
    });
    written.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => StoreError::Exists(file.to_owned()),
        _ => StoreError::Io { file: file.to_owned(), error },
    })
}
