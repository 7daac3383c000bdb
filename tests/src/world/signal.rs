//! Signals to processes.

use tokio::process::Command;

use crate::Outcome;

/// Sends a process a signal by its name, such as `KILL`, `STOP` and `CONT`.
///
/// # Errors
///
/// When the system refuses.
pub async fn signal(pid: u32, name: &str) -> Outcome {
    let status = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status().await?;
    if status.success() { Ok(()) } else { Err(format!("kill -{name} {pid}: {status}").into()) }
}
