//! Programs under measurement: started here, read by process id, ended here.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

use crate::clock;
use crate::error::{Error, doing};

/// How long a program may take to end when it is told to.
const GRACE: Duration = Duration::from_secs(3);

/// A running program; ends with this value.
#[derive(Debug)]
pub struct Program {
    child: Child,
    name: String,
    log: PathBuf,
}

impl Program {
    /// Starts it with its output in `log`.
    pub fn start(mut command: Command, log: &Path, hint: &'static str) -> Result<Self, Error> {
        let name = command.get_program().to_string_lossy().into_owned();
        let open = || File::create(log).and_then(|file| Ok((file.try_clone()?, file)));
        let (out, err) = open().map_err(doing(format!("write {}", log.display())))?;
        command.stdin(Stdio::null()).stdout(out).stderr(err);
        let child = command.spawn().map_err(|error| Error::Missing { program: name.clone(), error, hint })?;
        Ok(Self { child, name, log: log.to_owned() })
    }

    /// Its process id.
    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// An error if it has ended by itself.
    pub fn check(&mut self) -> Result<(), Error> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            _ => Err(Error::Ended { program: self.name.clone(), log: self.last_words() }),
        }
    }

    /// The end of its output.
    pub fn last_words(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&text[text.len().saturating_sub(2_000)..]).into_owned()
    }

    /// The process ids of it and its children.
    pub fn pids(&self) -> Vec<i32> {
        tree(self.pid())
    }

    /// CPU time of all its threads, ended ones included, and of its children that run.
    pub fn cpu(&self) -> Duration {
        self.pids().into_iter().map(cpu_of).sum()
    }

    /// Of that, its children's.
    pub fn children_cpu(&self) -> Duration {
        self.pids().into_iter().skip(1).map(cpu_of).sum()
    }

    /// Memory of it and its children in bytes.
    pub fn memory(&self) -> Memory {
        self.pids().into_iter().map(memory_of).fold(Memory::default(), Memory::plus)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.pid()), Signal::SIGTERM);
        let deadline = clock::now() + GRACE;
        while clock::now() < deadline {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// CPU time of this process: whether the clients themselves were the bottleneck.
pub fn own_cpu() -> Duration {
    cpu_of(std::process::id() as i32)
}

/// Bytes of memory.
#[derive(Clone, Copy, Default, Debug)]
pub struct Memory {
    /// Pages in memory (RSS).
    pub resident: u64,
    /// Of these, pages of no file: heap and stacks, without the program itself.
    pub anonymous: u64,
}

impl Memory {
    /// The sum of two.
    pub fn plus(self, other: Self) -> Self {
        Self { resident: self.resident + other.resident, anonymous: self.anonymous + other.anonymous }
    }

    /// The mean of a sum of `count`.
    pub fn divided(self, count: u64) -> Self {
        Self { resident: self.resident / count.max(1), anonymous: self.anonymous / count.max(1) }
    }
}

/// CPU time of one process, to the nanosecond: what utime + stime would be if they were not counted in ticks.
fn cpu_of(pid: i32) -> Duration {
    let read = || clock_gettime(ClockId::pid_cpu_clock_id(Pid::from_raw(pid)).ok()?).ok();
    read().map_or(Duration::ZERO, Duration::from)
}

fn memory_of(pid: i32) -> Memory {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let bytes = |key| {
        let kib = rollup
            .lines()
            .find_map(|line| line.strip_prefix(key)?.split_whitespace().next()?.parse::<u64>().ok());
        kib.unwrap_or(0) * 1_024
    };
    Memory { resident: bytes("Rss:"), anonymous: bytes("Anonymous:") }
}

/// A process and its children, each once.
fn tree(root: i32) -> Vec<i32> {
    let mut pids = vec![root];
    let mut next = 0;
    while let Some(pid) = pids.get(next).copied() {
        next += 1;
        let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        for thread in threads {
            let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            pids.extend(children.split_whitespace().filter_map(|pid| pid.parse::<i32>().ok()));
        }
    }
    pids
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_and_memory_of_a_process_are_read_by_its_id() {
        let own = std::process::id() as i32;
        assert!(cpu_of(own) > Duration::ZERO);
        assert!(memory_of(own).resident > 100_000);
        assert!(tree(own).contains(&own));
    }
}
