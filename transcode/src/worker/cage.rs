//! The cage of a worker: what a codec that a hostile stream has taken over cannot do.
//!
//! Shared libraries are loaded before `main`, so a worker that decodes and encodes in software needs its standard
//! streams, memory and threads, and nothing else: no file, no socket, no other process. One that uses a GPU needs the
//! driver's files and devices; its filter forbids by name instead of allowing by name.
//!
//! It is entered before the first thread starts and the first byte is read, because system call filters and Landlock
//! hold for the thread that sets them and for those that it starts.

mod calls;

use std::io;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, CompatLevel, Compatible as _, PathBeneath, PathFd, Ruleset,
    RulesetAttr as _, RulesetCreated, RulesetCreatedAttr as _, RulesetStatus, Scope,
};
use rlimit::Resource;

/// Set in the environment of a worker that is to use a GPU.
pub const DEVICES: &str = "AQUEDUCT_WORKER_DEVICES";

/// Address space of a worker without a GPU: 6 GiB, and stacks and arenas for each CPU's threads. Eight rungs of 2160p
/// with their reference frames take less than 2 GiB; drivers of GPUs map far more than they use.
const ADDRESS_SPACE: u64 = 6 << 30;
const ADDRESS_SPACE_PER_CPU: u64 = 256 << 20;
/// File descriptors, without and with a GPU.
const FILES: u64 = 32;
const FILES_WITH_DEVICES: u64 = 512;
/// File descriptors of a pull's worker with a network: sockets, and a resolver's files.
const FILES_WITH_NETWORK: u64 = 128;
/// Address space of a pull's worker: it decodes nothing but a still image.
const PULL_SPACE: u64 = 3 << 30;
/// What resolving names and checking certificates reads.
const READ_FOR_NETWORK: [&str; 19] = [
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/nsswitch.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/protocols",
    "/etc/ld.so.cache",
    "/etc/ssl",
    "/etc/pki",
    "/etc/ca-certificates",
    "/etc/gnutls",
    "/usr/lib",
    "/usr/lib64",
    "/usr/share",
    "/lib",
    "/lib64",
    "/run/systemd/resolve",
    "/run/resolvconf",
];
/// Behind the server, which serves all streams.
const NICE: i32 = 5;

/// What drivers of GPUs read, and what they write to. What is not there is passed over.
const READ: [&str; 9] =
    ["/usr/lib", "/usr/lib64", "/usr/local", "/lib", "/lib64", "/usr/share", "/etc", "/proc", "/sys"];
const WRITE: [&str; 10] = [
    "/dev/dri",
    "/dev/nvidia0",
    "/dev/nvidia1",
    "/dev/nvidia2",
    "/dev/nvidia3",
    "/dev/nvidiactl",
    "/dev/nvidia-uvm",
    "/dev/nvidia-uvm-tools",
    "/dev/nvidia-caps",
    "/dev/shm",
];

/// Closes the cage around this thread and those that it starts. Returns in words what could not be closed; a worker
/// without a cage is worth more than none.
pub(crate) fn enter() -> Vec<String> {
    let devices = std::env::var_os(DEVICES).is_some();
    let steps: [(&str, io::Result<()>); 4] = [
        ("limits", limits(devices)),
        ("priority", behind_the_server()),
        ("file system", files(devices)),
        ("system calls", calls::filter(devices)),
    ];
    let failed = steps.into_iter().filter_map(|(what, outcome)| Some((what, outcome.err()?)));
    failed.map(|(what, error)| format!("the cage stays open for {what}: {error}")).collect()
}

/// Closes the cage of a pull's worker: with `network`, sockets stay open and what resolving names and checking
/// certificates reads; nothing can be written, and no program started. Returns in words what could not be closed.
pub(crate) fn enter_for_pull(network: bool) -> Vec<String> {
    let steps: [(&str, io::Result<()>); 4] = [
        ("limits", pull_limits(network)),
        ("the server's end", end_with_the_server()),
        ("file system", files_for_pull(network)),
        ("system calls", if network { calls::filter_for_network() } else { calls::filter(false) }),
    ];
    let failed = steps.into_iter().filter_map(|(what, outcome)| Some((what, outcome.err()?)));
    failed.map(|(what, error)| format!("the cage stays open for {what}: {error}")).collect()
}

fn pull_limits(network: bool) -> io::Result<()> {
    let files = if network { FILES_WITH_NETWORK } else { FILES };
    rlimit::setrlimit(Resource::CORE, 0, 0)?;
    rlimit::setrlimit(Resource::NOFILE, files, files)?;
    rlimit::setrlimit(Resource::FSIZE, 0, 0)?;
    rlimit::setrlimit(Resource::AS, PULL_SPACE, PULL_SPACE)
}

/// A source is as urgent as the server itself, so that its priority stays.
fn end_with_the_server() -> io::Result<()> {
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    Ok(())
}

fn files_for_pull(network: bool) -> io::Result<()> {
    if !network {
        return files(false);
    }
    let abi = ABI::V6;
    let restricted = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(abi))
        .and_then(|ruleset| ruleset.scope(Scope::from_all(abi)))
        .and_then(Ruleset::create)
        .and_then(|ruleset| allow(ruleset, &READ_FOR_NETWORK, AccessFs::from_read(abi)))
        .and_then(RulesetCreated::restrict_self);
    // Without Landlock the filter of system calls still lets files be read only.
    restricted.map(drop).map_err(io::Error::other)
}

fn limits(devices: bool) -> io::Result<()> {
    let cpus = std::thread::available_parallelism().map_or(1, |cpus| cpus.get() as u64);
    let files = if devices { FILES_WITH_DEVICES } else { FILES };
    rlimit::setrlimit(Resource::CORE, 0, 0)?;
    rlimit::setrlimit(Resource::NOFILE, files, files)?;
    if devices {
        return Ok(());
    }
    let space = ADDRESS_SPACE + ADDRESS_SPACE_PER_CPU * cpus;
    rlimit::setrlimit(Resource::FSIZE, 0, 0)?;
    rlimit::setrlimit(Resource::AS, space, space)
}

/// Lower priority than the server's, and no life beyond it: a worker that hangs would not notice its closed input.
fn behind_the_server() -> io::Result<()> {
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    rustix::process::nice(NICE)?;
    Ok(())
}

/// Landlock, as far as the kernel has it: no file, no port, no signal to others. Sets `no_new_privs` as well.
fn files(devices: bool) -> io::Result<()> {
    let status = restrict(devices).map_err(io::Error::other)?;
    match status {
        RulesetStatus::NotEnforced if devices => Err(io::Error::other("the kernel has no Landlock")),
        // Without Landlock the filter of system calls still refuses to open anything.
        _ => Ok(()),
    }
}

fn restrict(devices: bool) -> Result<RulesetStatus, landlock::RulesetError> {
    let abi = ABI::V6;
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(abi))?
        .handle_access(AccessNet::from_all(abi))?
        .scope(Scope::from_all(abi))?
        .create()?;
    if devices {
        ruleset = allow(ruleset, &READ, AccessFs::from_read(abi))?;
        ruleset = allow(ruleset, &WRITE, AccessFs::from_all(abi))?;
    }
    Ok(ruleset.restrict_self()?.ruleset)
}

fn allow(
    mut ruleset: RulesetCreated,
    paths: &[&str],
    access: landlock::BitFlags<AccessFs>,
) -> Result<RulesetCreated, landlock::RulesetError> {
    for path in paths {
        if let Ok(file) = PathFd::new(path) {
            ruleset = ruleset.add_rule(PathBeneath::new(file, access))?;
        }
    }
    Ok(ruleset)
}

/// Tries to get out, for tests: each attempt, and how it ended.
pub(super) fn attempts() -> String {
    use std::net::{TcpStream, UdpSocket};
    let told = |outcome: io::Result<()>| match outcome {
        Ok(()) => "done".to_owned(),
        Err(error) => format!("{:?}", error.kind()),
    };
    let tries = [
        ("open", std::fs::File::open("/etc/passwd").map(drop)),
        ("create", std::fs::write("/tmp/aqueduct-cage", "out")),
        ("stat", std::fs::metadata("/etc/passwd").map(drop)),
        ("connect", TcpStream::connect(("127.0.0.1", 9)).map(drop)),
        ("socket", UdpSocket::bind(("127.0.0.1", 0)).map(drop)),
        ("exec", std::process::Command::new("/bin/true").status().map(drop)),
        ("thread", std::thread::Builder::new().spawn(|| {}).map(drop)),
    ];
    tries
        .into_iter()
        .map(|(what, outcome)| format!("{what} {}", told(outcome)))
        .collect::<Vec<_>>()
        .join(", ")
}
