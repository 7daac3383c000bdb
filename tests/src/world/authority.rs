//! An authority of the relay, made by the program itself, with the certificates of its nodes.

use std::path::{Path, PathBuf};

use super::run_program;
use crate::Outcome;

/// An authority in a folder that goes with it.
pub struct Authority(PathBuf);

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Authority {
    /// Its own folder, where certificates go that are put nowhere else.
    pub const OWN: &str = "ca";

    /// A new one; the name tells it from others of this process.
    ///
    /// # Errors
    ///
    /// When the program makes none.
    pub async fn new(name: &str) -> Outcome<Self> {
        let dir = std::env::temp_dir().join(format!("aqueduct-ca-{}-{name}", std::process::id()));
        let authority = Self(dir);
        run_program(&["ca", "init", "--dir", &authority.path(Self::OWN)]).await?;
        Ok(authority)
    }

    /// Something in its folder.
    pub fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    /// Writes a file in its folder.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn write(&self, name: &str, text: &str) -> Outcome {
        Ok(std::fs::write(self.0.join(name), text)?)
    }

    /// Makes a node's certificate and key in one of its folders.
    ///
    /// # Errors
    ///
    /// When the program makes none.
    pub async fn certify(&self, folder: &str, name: &str, role: &str, hosts: &[&str]) -> Outcome {
        let (dir, out) = (self.path(Self::OWN), self.path(folder));
        let mut words = vec!["ca", "node", name, "--role", role, "--dir", &dir];
        if folder != Self::OWN {
            std::fs::create_dir_all(&out)?;
            words.extend(["--out", &out]);
        }
        hosts.iter().for_each(|host| words.extend(["--host", host]));
        run_program(&words).await?;
        let made = self.path(&format!("{folder}/{name}.pem"));
        if Path::new(&made).exists() { Ok(()) } else { Err(format!("{made} is not there").into()) }
    }

    /// Settings of a node of the relay with a certificate of one of its folders.
    pub fn node(&self, folder: &str, name: &str) -> Vec<(&'static str, String)> {
        vec![
            ("relay.ca", self.path("ca/ca.pem")),
            ("relay.certificate", self.path(&format!("{folder}/{name}.pem"))),
            ("relay.key", self.path(&format!("{folder}/{name}-key.pem"))),
        ]
    }

    /// Puts a file of one folder in the place of another's.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn replace(&self, from: &str, to: &str, file: &str) -> Outcome {
        std::fs::copy(self.0.join(from).join(file), self.0.join(to).join(file))?;
        Ok(())
    }
}
