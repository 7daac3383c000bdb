//! A small certificate authority for the relay between nodes: `aqueduct ca init`, `aqueduct ca node NAME`.
//!
//! Its certificate says in a URI what a node is, `aqueduct://ROLE/NAME`; the relay lets nobody in without one, whatever
//! else the certificate may be good for. The authority is a directory of PEM files, and nothing of it needs to be online.

mod issue;
mod store;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use crate::Failure;

/// How long the authority itself is good for. It cannot be replaced without touching every node.
const AUTHORITY_DAYS: u32 = 3_650;
/// Files of the authority.
const AUTHORITY: (&str, &str) = ("ca.pem", "ca-key.pem");
/// Where the words assume that a node keeps its files.
const PLACE: &str = "/etc/aqueduct/relay";

/// `ca`.
#[derive(Debug, Subcommand)]
pub enum Ca {
    /// Make the authority: once for all nodes that trust each other. Its key never leaves the directory.
    Init {
        /// Where it is kept.
        #[arg(long, value_name = "DIR", default_value = "aqueduct-ca")]
        dir: PathBuf,
    },
    /// Make the certificate of one node, and say what to copy and what to set there.
    Node(Node),
}

/// `ca node`.
#[derive(Debug, Args)]
pub struct Node {
    /// What the node is called: lowercase letters, digits and hyphens. Each node needs a name of its own.
    #[arg(value_name = "NAME", value_parser = node_name)]
    pub name: String,
    /// What it may do: an origin sends streams, an edge only reads them.
    #[arg(long, value_enum, default_value_t)]
    pub role: Role,
    /// A name or address by which other nodes reach it, as they write it in `--origin HOST:PORT`. May be repeated. An
    /// origin needs one, and so does an edge that feeds other edges.
    #[arg(long = "host", value_name = "HOST")]
    pub hosts: Vec<String>,
    /// For how many days it is good. A node takes a renewed certificate by itself.
    #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=825))]
    pub days: u32,
    /// Where the authority is kept.
    #[arg(long, value_name = "DIR", default_value = "aqueduct-ca")]
    pub dir: PathBuf,
    /// Where to put the certificate and its key; the authority's directory if left out.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// What a node may do on the relay.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub enum Role {
    /// Sends streams.
    Origin,
    /// Reads them, and may feed further edges.
    #[default]
    Edge,
}

impl Role {
    /// As it stands in the certificate's URI.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Origin => "origin",
            Self::Edge => "edge",
        }
    }
}

/// Does what was asked and prints what to do next.
pub fn run(command: Ca, now: Duration) -> Result<(), Failure> {
    let words = match command {
        Ca::Init { dir } => init(&dir, now)?,
        Ca::Node(node) => make(&node, now)?,
    };
    print!("{words}");
    Ok(())
}

/// Makes the authority. `now` is since 1970.
fn init(dir: &Path, now: Duration) -> Result<String, Failure> {
    store::private_dir(dir).map_err(Failure::failed)?;
    let made = issue::authority(now, days(AUTHORITY_DAYS)).map_err(Failure::failed)?;
    let (certificate, key) = store::pair(dir, AUTHORITY);
    store::write_new(&certificate, &key, &made).map_err(Failure::failed)?;
    Ok(format!(
        "Made the authority in {dir}. It is good for {years} years.\n\n\
         {key} signs certificates: keep it here, and keep a copy offline. No node needs it.\n\
         Next, one certificate for each node:\n\n  \
         aqueduct ca node origin-1 --role origin --host origin.example.com --dir {dir}\n  \
         aqueduct ca node edge-1 --dir {dir}\n",
        dir = dir.display(),
        years = AUTHORITY_DAYS / 365,
        key = AUTHORITY.1,
    ))
}

/// Makes a node's certificate. `now` is since 1970.
fn make(node: &Node, now: Duration) -> Result<String, Failure> {
    if node.role == Role::Origin && node.hosts.is_empty() {
        return Err(Failure::usage(
            "an origin needs --host, the name or address by which edges reach it: --host origin.example.com",
        ));
    }
    let (_, key) = store::pair(&node.dir, AUTHORITY);
    let signer = store::read(&key).map_err(Failure::failed)?;
    let wanted = issue::Wanted {
        name: &node.name,
        role: node.role.as_str(),
        hosts: &node.hosts,
        life: days(node.days),
    };
    let made = issue::node(&signer, &wanted, now).map_err(Failure::usage)?;
    let out = node.out.as_deref().unwrap_or(&node.dir);
    store::private_dir(out).map_err(Failure::failed)?;
    let files = (format!("{}.pem", node.name), format!("{}-key.pem", node.name));
    let (certificate, key) = store::pair(out, (&files.0, &files.1));
    store::write_new(&certificate, &key, &made).map_err(Failure::failed)?;
    Ok(words(node, out, &files))
}

/// What to copy where, and what to set.
fn words(node: &Node, out: &Path, (certificate, key): &(String, String)) -> String {
    let (name, role, authority) = (&node.name, node.role.as_str(), AUTHORITY.0);
    let reached = match node.hosts.as_slice() {
        [] => String::new(),
        hosts => format!(", reached as {}", hosts.join(", ")),
    };
    format!(
        "Made {certificate} and {key} in {out}: {role} {name}{reached}, good for {days} days.\n\n\
         On {name}, copy these to {PLACE} (the key readable by its service alone):\n\n  \
         {ca}\n  {certificate_path}\n  {key_path}\n\n\
         and set in its configuration:\n\n  \
         [relay]\n  ca = \"{PLACE}/{authority}\"\n  certificate = \"{PLACE}/{certificate}\"\n  key = \"{PLACE}/{key}\"\n\n\
         Before it ends, make it anew with --out and put the files in their place.\n",
        out = out.display(),
        days = node.days,
        ca = node.dir.join(authority).display(),
        certificate_path = out.join(certificate).display(),
        key_path = out.join(key).display(),
    )
}

fn days(days: u32) -> Duration {
    Duration::from_secs(u64::from(days) * 86_400)
}

/// A node's name is one step of a URI's path, a file's name and a metric label.
fn node_name(text: &str) -> Result<String, String> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let shape = (1..=63).contains(&text.len()) && !text.starts_with('-') && !text.ends_with('-');
    if shape && text.chars().all(allowed) && text != "ca" {
        return Ok(text.to_owned());
    }
    Err("a node is named with 1 to 63 lowercase letters, digits and hyphens between them, and not \"ca\""
        .into())
}

#[cfg(test)]
mod tests;
