//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Live ingest to edge: RTMP in, LL-HLS out, about a second behind reality.
#[derive(Debug, Parser)]
#[command(name = "aqueduct", version, propagate_version = true, arg_required_else_help = true)]
#[command(after_help = "Start here:
  aqueduct demo                     a clock picture, live in your browser
  aqueduct serve                    wait for OBS; prints what to paste into it
  aqueduct serve --set ingest.rtmp.listen=127.0.0.1:1935
  aqueduct config > aqueduct.toml   every setting with its default and meaning

Exit codes: 0 ended as asked, 1 failed, 2 bad usage or configuration.")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Take streams from publishers and serve them to browsers, all in one process.
    Serve(Settings),
    /// Serve, and push a clock picture with a beep, so that latency can be seen by eye (needs the ffmpeg program).
    Demo(Demo),
    /// Check a configuration file: prints file, line, key and what to do; opens nothing.
    Check {
        /// The file.
        file: PathBuf,
    },
    /// Print the default configuration with a comment on every key.
    Config,
    /// Publish keys.
    #[command(subcommand)]
    Key(Key),
}

/// Where settings come from, the later over the earlier: defaults, --config, AQUEDUCT_… variables, --set.
#[derive(Debug, Args, Default)]
pub struct Settings {
    /// Configuration file (TOML). `aqueduct config` prints one to begin with.
    #[arg(long, short, value_name = "FILE", env = "AQUEDUCT_CONFIG")]
    pub config: Option<PathBuf>,
    /// Set one key, as in the file: --set packager.part=200ms. May be repeated. In the environment the same key is
    /// AQUEDUCT_PACKAGER__PART.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_value)]
    pub set: Vec<(String, String)>,
    /// How log lines look.
    #[arg(long, value_enum, default_value_t, env = "AQUEDUCT_LOG_FORMAT")]
    pub log_format: LogFormat,
    /// What is logged: a level, or directives such as `info,aqueduct_edge=debug`.
    #[arg(long, value_name = "FILTER", default_value = "info", env = "AQUEDUCT_LOG")]
    pub log: String,
}

/// `demo`.
#[derive(Debug, Args)]
pub struct Demo {
    /// Settings as for `serve`.
    #[command(flatten)]
    pub settings: Settings,
    /// Only push the picture to this RTMP URL; serve nothing.
    #[arg(long, value_name = "RTMP_URL")]
    pub push_only: Option<String>,
    /// A file to push as well, looped as it is, to live/clip.
    #[arg(long, value_name = "FILE")]
    pub clip: Option<PathBuf>,
    /// Picture width in pixels.
    #[arg(long, default_value_t = 640)]
    pub width: u32,
    /// Picture height in pixels.
    #[arg(long, default_value_t = 360)]
    pub height: u32,
    /// Frames per second.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=120))]
    pub fps: u32,
}

/// `key`.
#[derive(Debug, Subcommand)]
pub enum Key {
    /// Make a publish key, keep its hash in the data directory, and print it once as OBS wants it pasted.
    New {
        /// The stream it may publish (`live/show`), or `*` for any.
        #[arg(long, default_value = "*")]
        stream: String,
        /// Settings as for `serve`: they name the data directory.
        #[command(flatten)]
        settings: Settings,
    },
    /// Read a secret from standard input and print the hash that `ingest.keys` takes.
    Hash,
}

/// How log lines look.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub enum LogFormat {
    /// For people on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE, for example packager.part=200ms")?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if key.is_empty() || !key.chars().all(plain) || key.split('.').any(str::is_empty) {
        return Err(format!("{key:?} is not a key; keys look like packager.part"));
    }
    Ok((key.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_set_flag_is_a_key_and_a_value_that_may_hold_equals_signs() {
        assert_eq!(key_value("a.b=c=d"), Ok(("a.b".into(), "c=d".into())));
        for bad in ["a", "=b", "a..b=c", "a b=c"] {
            assert!(key_value(bad).is_err(), "{bad}");
        }
    }
}
