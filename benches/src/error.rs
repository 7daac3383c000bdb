//! What can keep a measurement from being made.

use std::io;
use std::path::PathBuf;

/// Why a measurement was not made. The text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused something.
    #[error("{doing}: {error}")]
    Io {
        /// What was tried.
        doing: String,
        /// Why not.
        error: io::Error,
    },
    /// A program is not installed.
    #[error("{program} did not start ({error}): {hint}")]
    Missing {
        /// Its name.
        program: String,
        /// What the system says.
        error: io::Error,
        /// How to get it.
        hint: &'static str,
    },
    /// A program ended before it was told to.
    #[error("{program} ended by itself; its last words:\n{log}")]
    Ended {
        /// Its name.
        program: String,
        /// The end of its output.
        log: String,
    },
    /// Something awaited did not come.
    #[error("waited {seconds} s for {what}; the server's last words:\n{log}")]
    Overdue {
        /// What was awaited.
        what: String,
        /// For how long.
        seconds: u64,
        /// The end of the server's output.
        log: String,
    },
    /// The server answered with a status that no correct client should see.
    #[error("GET {path}: status {status}, expected 200")]
    Status {
        /// The path asked for.
        path: String,
        /// The status.
        status: u16,
    },
    /// Bytes from the server are not what its contract says.
    #[error("{what} cannot be read: {why}")]
    Unreadable {
        /// What was read.
        what: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The RTMP server refused the stream.
    #[error("the RTMP server refused {doing}: it answered {answer}")]
    Refused {
        /// What was asked.
        doing: &'static str,
        /// The answer.
        answer: String,
    },
    /// The server did less than it was asked to.
    #[error(
        "the server is at preset {is}, not {wanted}: the machine was busy and its governor stepped in; measure again when it is idle"
    )]
    Eased {
        /// The preset asked for.
        wanted: &'static str,
        /// What it is at.
        is: String,
    },
    /// A load generator or client saw errors where none may be.
    #[error("{count} errors in {what}, where none may be; the first: {first}")]
    Errors {
        /// Of what.
        what: &'static str,
        /// How many.
        count: usize,
        /// The first.
        first: String,
    },
    /// A file of figures has a line that is none.
    #[error("{}: line {line} is not a figure ({error}); remove the file and measure again", file.display())]
    Figures {
        /// The file.
        file: PathBuf,
        /// Its line, from 1.
        line: usize,
        /// Why.
        error: serde_json::Error,
    },
}

/// Names what was tried.
pub fn doing(what: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
    let doing = what.into();
    move |error| Error::Io { doing, error }
}
