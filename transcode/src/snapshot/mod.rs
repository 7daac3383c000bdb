//! Small pictures of what streams show, for the operator's pages.
//!
//! One process makes them for all streams, in the same cage as the workers: it is given one sync sample, decodes it,
//! and answers with a JPEG. It costs nothing while nobody looks: a picture is made only for a stream that was asked for
//! within [`shelf::WANTED`], at most once in the configured span, one at a time, and for no more than a fifth of one
//! CPU. [`shelf`] decides and [`wire`] cuts bytes, both without clocks and sockets; [`host`](Snapshots) is the shell.

mod host;
mod paint;
pub mod shelf;
pub mod wire;

use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::process::ExitCode;

pub use host::Snapshots;
pub use shelf::{Look, Snapshot};

/// The main of the process that makes pictures: requests on standard input, answers on standard output.
pub fn run() -> ExitCode {
    for words in crate::worker::cage::enter() {
        let _ = writeln!(io::stderr(), "snapshots: {words}");
    }
    let stdin = io::stdin().as_fd().try_clone_to_owned().map(std::fs::File::from);
    let stdout = io::stdout().as_fd().try_clone_to_owned().map(std::fs::File::from);
    let outcome = match (stdin, stdout) {
        (Ok(stdin), Ok(stdout)) => serve(stdin, stdout),
        (Err(error), _) | (_, Err(error)) => Err(error),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "snapshots: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Answers requests until there are no more.
///
/// # Errors
/// When the streams fail or what comes is no request.
pub fn serve(mut input: impl io::Read, mut output: impl io::Write) -> io::Result<()> {
    while let Some(body) = wire::read(&mut input, wire::REQUEST_MAX)? {
        let request = wire::Request::decode(&body).map_err(io::Error::other)?;
        let answer = match paint::paint(&request) {
            Ok(jpeg) => wire::Answer::Picture(jpeg),
            Err(error) => wire::Answer::Refused(error.to_string()),
        };
        output.write_all(&answer.encode())?;
        output.flush()?;
    }
    Ok(())
}
