//! Other work on one core of this machine, so that what runs there has less of it (Linux: by `taskset`).

use std::ffi::OsStr;
use std::process::Stdio;

use tokio::process::{Child, Command};

use crate::Outcome;

/// How far behind a server's worker (nice 5) they stand: at equal rank two of them would leave a worker next to nothing,
/// and so each takes but a little of what the others have.
const NICE: &str = "10";

/// Programs that do nothing but take time on one core, until this is dropped.
pub struct Busy {
    core: u32,
    programs: Vec<Child>,
}

impl Busy {
    /// None yet.
    pub const fn on(core: u32) -> Self {
        Self { core, programs: Vec::new() }
    }

    /// Has so many of them at work, if not more already.
    ///
    /// # Errors
    ///
    /// When one cannot be started.
    pub fn grow(&mut self, count: usize) -> Outcome {
        while self.programs.len() < count {
            let mut command = on_core(self.core, OsStr::new("nice"));
            command
                .args(["-n", NICE, "sh", "-c", "while :; do :; done"])
                .stdin(Stdio::null())
                .kill_on_drop(true);
            self.programs.push(command.spawn()?);
        }
        Ok(())
    }

    /// Takes a third of them away, at least one.
    pub fn ease(&mut self) {
        self.programs.truncate(self.programs.len() * 2 / 3);
    }

    /// How many are at work.
    pub const fn count(&self) -> usize {
        self.programs.len()
    }
}

/// The last core that this process may run on.
///
/// # Errors
///
/// When the system does not say.
pub fn last_core() -> Outcome<u32> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let last = list.and_then(|list| list.trim().rsplit([',', '-']).next()?.parse().ok());
    last.ok_or_else(|| "the system does not say which cores there are".into())
}

/// A program that runs on one core, with all that it starts.
pub(super) fn on_core(core: u32, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", &core.to_string()]).arg(program);
    command
}
