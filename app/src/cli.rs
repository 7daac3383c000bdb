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
  aqueduct origin                   the same, and feed edges on UDP port 4443
  aqueduct edge --origin HOST:4443  serve what that origin has
  aqueduct top                      what suffers and why, in a terminal
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
    /// Take streams from publishers, serve them, and feed edges: `serve` with relay.listen.
    Origin(Settings),
    /// Serve streams that are taken from an origin, or from another edge.
    Edge(Edge),
    /// Serve, and push a clock picture with a beep, so that latency can be seen by eye (needs the ffmpeg program).
    Demo(Demo),
    /// Watch streams, viewers, nodes and alerts in this terminal, of this machine or of another one.
    Top(crate::top::Top),
    /// Check a configuration file: prints file, line, key and what to do; opens nothing.
    Check {
        /// The configuration file (TOML), such as one that began with `aqueduct config`.
        file: PathBuf,
    },
    /// Try what decodes and encodes on this machine, and print it with every refusal in words.
    Hardware {
        /// As JSON, for programs.
        #[arg(long)]
        json: bool,
        /// Settings as for `serve`: they name a device and what streams may use.
        #[command(flatten)]
        settings: Settings,
    },
    /// Tries one backend, in a process that may crash.
    #[command(hide = true)]
    Probe {
        /// The backend.
        backend: aqueduct_transcode::hardware::Backend,
        /// A number or node; empty is the first one.
        device: String,
        /// The step to begin with.
        from: usize,
    },
    /// Print the default configuration with a comment on every key.
    Config,
    /// Print what completes this program's words in a shell.
    #[command(
        after_help = "bash:  aqueduct completions bash > ~/.local/share/bash-completion/completions/aqueduct
zsh:   aqueduct completions zsh > \"${fpath[1]}/_aqueduct\"
fish:  aqueduct completions fish > ~/.config/fish/completions/aqueduct.fish"
    )]
    Completions {
        /// Whose words they are completed in.
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write one for each command into a folder.
    #[command(after_help = "Look at it:  aqueduct man | man -l -
Install:     aqueduct man /usr/local/share/man/man1")]
    Man {
        /// Where a page for each command is written; the folder is made if it is not there.
        folder: Option<PathBuf>,
    },
    /// Publish keys.
    #[command(subcommand)]
    Key(Key),
    /// Certificates that nodes show each other on the relay.
    #[command(subcommand)]
    Ca(crate::ca::Ca),
    /// Make a link to a protected stream.
    Token(Box<crate::token::Token>),
    /// Encodes one stream's renditions, fed by a server on its standard streams. Not for people.
    #[command(hide = true)]
    Worker,
    /// Sends one stream on to another server, fed by a server on its standard streams. Not for people.
    #[command(hide = true, name = PUSH_WORKER)]
    PushWorker,
    /// Takes one source apart, for a server on its standard streams. Not for people.
    #[command(hide = true)]
    PullWorker {
        /// Its source is in a network.
        #[arg(long)]
        network: bool,
        /// A file that it may read.
        #[arg(long = "file")]
        files: Vec<PathBuf>,
    },
    /// Makes small pictures of streams, fed by a server on its standard streams. Not for people.
    #[command(hide = true)]
    Snapshots,
}

/// What a worker that sends a stream on is started with.
pub const PUSH_WORKER: &str = "push-worker";

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
    /// A fault for workers to act out. For tests.
    #[arg(long, hide = true, value_name = "FAULT@FRAMES")]
    pub plant: Option<crate::plant::Planted>,
}

/// `edge`.
#[derive(Debug, Args)]
#[command(after_help = "On one machine, where the origin has the usual ports:
  aqueduct edge --origin 127.0.0.1:4443 --set edge.http.listen=0.0.0.0:8090 \\
                --set edge.https.listen=off --set admin.listen=127.0.0.1:8091
On another machine, with the token that the origin prints at its start:
  aqueduct edge --origin origin.example:4443 --token @relay.token
With certificates of your own authority (`aqueduct ca`), set relay.ca, relay.certificate and relay.key instead.")]
pub struct Edge {
    /// Who feeds this edge. May be repeated: the first one that has a stream is taken, the others stand by.
    #[arg(long = "origin", value_name = "HOST:PORT")]
    pub origins: Vec<String>,
    /// What lets this edge in at an origin on another machine, as that prints it: the token, or @FILE with it in a file,
    /// since everybody on this machine can read a command line. May be repeated.
    #[arg(long = "token", value_name = "TOKEN|@FILE", value_parser = token)]
    pub tokens: Vec<String>,
    /// Settings as for `serve`.
    #[command(flatten)]
    pub settings: Settings,
}

impl Edge {
    /// The flags as settings.
    pub fn settings(mut self) -> Settings {
        for (key, values) in [("relay.origins", self.origins), ("relay.tokens", self.tokens)] {
            if !values.is_empty() {
                let quoted: Vec<String> = values.iter().map(|value| format!("{value:?}")).collect();
                self.settings.set.push((key.to_owned(), format!("[{}]", quoted.join(", "))));
            }
        }
        self.settings
    }
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

/// A token, or what stands in the file that is named behind an @.
fn token(text: &str) -> Result<String, String> {
    let Some(file) = text.strip_prefix('@') else { return Ok(text.to_owned()) };
    let told = std::fs::read_to_string(file).map_err(|error| format!("{file} cannot be read: {error}"))?;
    Ok(told.trim().to_owned())
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
    fn a_token_may_stand_in_a_file() {
        let file = std::env::temp_dir().join(format!("aqueduct-token-{}", std::process::id()));
        std::fs::write(&file, "aqr1_0123\n").unwrap();
        assert_eq!(token(&format!("@{}", file.display())), Ok("aqr1_0123".into()));
        std::fs::remove_file(&file).unwrap();
        assert_eq!(token("aqr1_0123"), Ok("aqr1_0123".into()));
        let gone = token(&format!("@{}", file.display())).unwrap_err();
        assert!(gone.contains("cannot be read"), "{gone}");
    }

    #[test]
    fn a_set_flag_is_a_key_and_a_value_that_may_hold_equals_signs() {
        assert_eq!(key_value("a.b=c=d"), Ok(("a.b".into(), "c=d".into())));
        for bad in ["a", "=b", "a..b=c", "a b=c"] {
            assert!(key_value(bad).is_err(), "{bad}");
        }
    }
}
