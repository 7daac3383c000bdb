//! Temporary directories and free ports.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::error::{Error, doing};

/// A directory that is removed with this value.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes an empty directory.
    pub fn new(name: &str) -> Result<Self, Error> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("aqueduct-bench-{}-{number}-{name}", std::process::id()));
        fs::create_dir_all(&path).map_err(doing(format!("make {}", path.display())))?;
        Ok(Self(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file in it.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let file = self.0.join(name);
        fs::write(&file, bytes).map_err(doing(format!("write {}", file.display())))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed stays in the temporary directory and harms nothing.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A loopback address that is free now.
pub fn free_address() -> Result<SocketAddr, Error> {
    let find = || TcpListener::bind("127.0.0.1:0")?.local_addr();
    find().map_err(doing("find a free port on 127.0.0.1"))
}
