//! The worker's side alone, as `aqueduct worker` and `aqueduct pull-worker` are it: for tests with real processes.

use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() != Some("pull-worker") {
        return aqueduct_transcode::worker::run();
    }
    let (mut network, mut files) = (false, Vec::new());
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--network" => network = true,
            _ => files.extend(arguments.next().map(PathBuf::from)),
        }
    }
    aqueduct_transcode::pull::worker::run(network, &files)
}
