//! The password that a first start makes: shown once, kept as a hash.

use std::path::{Path, PathBuf};

use aqueduct_common::Secret;

use super::PasswordHash;
use crate::certificate::write_private;

/// Why there is no password.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// The file.
    #[error("{}: {reason}; remove it to have a new password made", file.display())]
    File {
        /// Which.
        file: PathBuf,
        /// Why.
        reason: String,
    },
    /// No random bytes.
    #[error("the system gives no random bytes, so no password can be made")]
    NoRandom,
}

/// The hash in `data_dir`; with the password itself where it was made now.
pub fn own_password(data_dir: &Path) -> Result<(PasswordHash, Option<Secret>), PasswordError> {
    let file = data_dir.join("admin-password");
    let failed = |reason: String| PasswordError::File { file: file.clone(), reason };
    match std::fs::read_to_string(&file) {
        Ok(text) => return Ok((PasswordHash::read(&text).map_err(|error| failed(error.to_string()))?, None)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error.to_string())),
    }
    let password = aqueduct_ingest::keys::generate().map_err(|_| PasswordError::NoRandom)?;
    let hash = PasswordHash::new(password.expose()).ok_or(PasswordError::NoRandom)?;
    std::fs::create_dir_all(data_dir).map_err(|error| failed(error.to_string()))?;
    write_private(&file, format!("{}\n", hash.text()).as_bytes())
        .map_err(|error| failed(error.to_string()))?;
    Ok((hash, Some(password)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_shown_once_and_kept_as_a_hash() {
        let dir = std::env::temp_dir().join(format!("aqueduct-admin-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        let (made, shown) = own_password(&dir).unwrap();
        let kept = std::fs::read_to_string(dir.join("admin-password")).unwrap();
        assert!(!kept.contains(shown.unwrap().expose().as_str()));
        let (again, shown) = own_password(&dir).unwrap();
        assert!(again == made && shown.is_none());
        std::fs::write(dir.join("admin-password"), "nonsense").unwrap();
        assert!(own_password(&dir).unwrap_err().to_string().contains("remove it"));
        let _ = std::fs::remove_dir_all(&dir);
    }
}
