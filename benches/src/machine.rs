//! What this machine is, and on which of its cores something runs.

use std::fs;
use std::sync::OnceLock;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

/// The core that serves, where a measurement pins the server.
pub const SERVING: usize = 0;

/// One line for a table: cores, processor, memory, kernel.
pub fn line() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(": unknown processor");
    let virtual_machine = if cpu.contains(" hypervisor") { ", virtual machine" } else { "" };
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib: u64 = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .unwrap_or(0);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!(
        "{} cores, {}{virtual_machine}, {} GiB, Linux {}",
        cores(),
        model.trim_start_matches([' ', '\t', ':']),
        kib.div_ceil(1 << 20),
        kernel.trim()
    )
}

/// Cores that this process had when it was first asked, before [`split`] gave one away.
pub fn cores() -> usize {
    static CORES: OnceLock<usize> = OnceLock::new();
    *CORES.get_or_init(|| std::thread::available_parallelism().map_or(1, usize::from))
}

/// Says on standard error when something else keeps the cores busy: figures are then worth little.
pub fn say_if_busy() {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: f64 = text.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(0.0);
    if load > 0.3 * cores() as f64 {
        eprintln!("load average is {load}: other work shares these {} cores, figures will be noisy", cores());
    }
}

/// Keeps this process off the serving core: every thread made from here on, and every client, runs elsewhere.
/// Returns the core for the server, or `None` on a machine with one core, where nothing is pinned.
pub fn split() -> Option<usize> {
    if cores() < 2 {
        eprintln!("one core: server and clients share it, latencies include the clients' own work");
        return None;
    }
    let mut others = CpuSet::new();
    for core in (0..cores()).filter(|core| *core != SERVING) {
        others.set(core).ok()?;
    }
    sched_setaffinity(Pid::from_raw(0), &others).ok()?;
    Some(SERVING)
}
