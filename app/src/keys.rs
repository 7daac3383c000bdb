//! Publish keys: the first start makes one; `aqueduct key` makes and hashes more.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use aqueduct_common::Secret;
use aqueduct_ingest::keys::{self, KeyEntry, KeyRing, StreamPattern};

use crate::Failure;
use crate::banner::ShownKey;
use crate::config::Plan;

/// The longest secret that `aqueduct key hash` reads.
const LONGEST_SECRET: u64 = 4_096;

/// All keys of this server, and what the banner shows of them. The first start makes a key.
pub fn ring(plan: &Plan) -> Result<(KeyRing, ShownKey), Failure> {
    let file = file(&plan.data_dir);
    let mut kept = keys::load(&file).map_err(Failure::failed)?;
    let configured = plan.ingest.keys();
    let shown = if !configured.is_empty() {
        ShownKey::Configured
    } else if kept.is_empty() {
        let (secret, entry) = make("*", &plan.data_dir)?;
        kept.push(entry);
        ShownKey::New(secret)
    } else {
        ShownKey::Kept
    };
    Ok((KeyRing::new(configured, &kept).map_err(Failure::failed)?, shown))
}

/// `aqueduct key new`.
pub fn new(stream: &str, plan: &Plan) -> Result<(), Failure> {
    let (secret, _) = make(stream, &plan.data_dir)?;
    let secret = secret.expose();
    let name = stream.split_once('/').map_or("NAME", |(_, name)| name).replace('*', "NAME");
    println!("Paste into OBS as Stream Key; it is shown this once:\n{name}?key={secret}");
    println!("A server that runs already takes it after its next start.");
    Ok(())
}

/// `aqueduct key hash`: the secret comes on standard input, so that it stays out of the process list.
pub fn hash() -> Result<(), Failure> {
    let mut secret = String::new();
    std::io::stdin().take(LONGEST_SECRET).read_to_string(&mut secret).map_err(Failure::failed)?;
    let secret = secret.trim();
    if secret.len() < 16 {
        return Err(Failure::usage("a secret has at least 16 characters; write it to standard input"));
    }
    println!("{}", KeyEntry::new(StreamPattern::Any, secret).hash());
    Ok(())
}

fn make(stream: &str, data_dir: &Path) -> Result<(Secret, KeyEntry), Failure> {
    let pattern: StreamPattern = stream.parse().map_err(Failure::usage)?;
    let secret = keys::generate().map_err(Failure::failed)?;
    let entry = KeyEntry::new(pattern, secret.expose());
    std::fs::create_dir_all(data_dir)
        .map_err(|error| Failure::Failed(format!("data_dir {}: {error}", data_dir.display())))?;
    keys::append(&file(data_dir), &entry).map_err(Failure::failed)?;
    Ok((secret, entry))
}

fn file(data_dir: &Path) -> PathBuf {
    data_dir.join("keys.toml")
}
