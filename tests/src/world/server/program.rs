//! The program under test: built where it has to be, and run beside a server.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;
use tokio::sync::OnceCell;

use super::{Server, Setting};
use crate::Outcome;
use crate::world::{target_folder, workspace};

impl Server {
    /// Runs the program beside the server, with its data directory and HTTP address, and gives what it prints.
    ///
    /// # Errors
    ///
    /// When it fails; its words are in the text.
    pub async fn program(&self, arguments: &[&str], settings: &[Setting<'_>]) -> Outcome<String> {
        let (data, http) = (self.data.0.display().to_string(), self.http_address());
        let own = [("data_dir", &*data), ("edge.http.listen", &*http)];
        let set: Vec<_> =
            own.iter().chain(settings).map(|(key, value)| format!("--set={key}={value}")).collect();
        let all: Vec<_> = arguments.iter().copied().chain(set.iter().map(String::as_str)).collect();
        run_program(&all).await
    }
}

/// Runs the program until it ends, and gives what it prints.
///
/// # Errors
///
/// When it fails; its words are in the text.
pub async fn run_program(arguments: &[&str]) -> Outcome<String> {
    let mut command = Command::new(binary().await?);
    let output = command.args(arguments).stdin(Stdio::null()).kill_on_drop(true).output().await?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        return Err(format!("aqueduct {arguments:?}: {}: {words}", output.status).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// The server's binary of the profile that this test was built with; it is built first where it is missing or old.
///
/// # Errors
///
/// When it does not build.
pub async fn binary() -> Outcome<PathBuf> {
    static BUILT: OnceCell<PathBuf> = OnceCell::const_new();
    BUILT.get_or_try_init(build).await.cloned()
}

async fn build() -> Outcome<PathBuf> {
    let debug = std::env::current_exe()?.components().any(|part| part.as_os_str() == "debug");
    let path = target_folder().join(if debug { "debug" } else { "release" }).join("aqueduct");
    // It may name another one, such as one that is installed.
    if let Some(path) = std::env::var_os("SERVER_UNDER_TEST") {
        return Ok(PathBuf::from(path));
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--package", "aqueduct"]).current_dir(workspace());
    if !debug {
        command.arg("--release");
    }
    let output = command.output().await?;
    if !output.status.success() {
        return Err(format!("aqueduct does not build:\n{}", String::from_utf8_lossy(&output.stderr)).into());
    }
    if Path::exists(&path) { Ok(path) } else { Err(format!("{} is not there", path.display()).into()) }
}
