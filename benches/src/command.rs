//! Command lines, with or without a core to stay on.

use std::ffi::OsStr;
use std::process::Command;

/// `program`, kept on one core where `core` names one (taskset replaces itself, so the process id is the program's).
pub fn on(core: Option<usize>, program: impl AsRef<OsStr>) -> Command {
    match core {
        None => Command::new(program),
        Some(core) => {
            let mut command = Command::new("taskset");
            command.arg("-c").arg(core.to_string()).arg(program);
            command
        }
    }
}
