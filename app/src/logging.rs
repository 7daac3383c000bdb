//! Log lines: for people on a terminal, JSON for machines.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

use crate::cli::{LogFormat, Settings};

/// Starts logging to standard error. The error says what is wrong with the filter.
pub fn start(settings: &Settings) -> Result<(), String> {
    let filter = EnvFilter::try_new(&settings.log).map_err(|error| {
        format!("--log {}: {error}; write a level such as info, or target=level pairs", settings.log)
    })?;
    let terminal = std::io::stderr().is_terminal();
    let json = match settings.log_format {
        LogFormat::Json => true,
        LogFormat::Human => false,
        LogFormat::Auto => !terminal,
    };
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started =
        if json { lines.json().flatten_event(true).try_init() } else { lines.with_ansi(terminal).try_init() };
    started.map_err(|error| error.to_string())
}
