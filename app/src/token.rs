//! `aqueduct token`: links to protected streams, and the keys that sign them.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use aqueduct_common::{Secret, StreamPattern};
use aqueduct_edge::token::mint::{self, Signer, Wish};
use aqueduct_edge::token::{LONGEST, Network, Shared};
use clap::Args;

use crate::cli::Settings;
use crate::config::Plan;
use crate::{Failure, banner};

/// The name of the key that the program keeps itself.
const LOCAL: &str = "local";
/// Longest private key that is read, in bytes.
const MAX_PEM: u64 = 64 * 1_024;

/// `token`.
#[derive(Debug, Args)]
#[command(after_help = "Try it:
  aqueduct serve --set edge.access.protected=live/*
  aqueduct token live/show                     a link that works for an hour
  aqueduct token live/show --for 10m --viewer alice
  aqueduct token live/show --signed            a signed URL, shorter than a token

Everything of a stream lies below the token in the path, so players need nothing but the link.

Your own service makes tokens as well: JWTs with EdDSA, ES256 or HS256 that say
  \"str\": \"live/show\" (or \"live/*\", \"*\"), \"exp\", \"iat\"; optional: \"nbf\", \"sub\", \"jti\", \"sid\", \"ip\", \"iss\",
  \"aud\", \"hard_exp\".
`aqueduct token --new-key play.pem > jwks.json` makes a signing key for it and the file for edge.access.jwks.
A viewer is cut off by a line `sub:alice` in the file of edge.access.revoked.")]
pub struct Token {
    /// What it opens: live/show, live/* or *.
    #[arg(value_name = "STREAM", required_unless_present = "new_key")]
    pub stream: Option<StreamPattern>,
    /// How long it is valid: 10m, 2h; 24h at most.
    #[arg(long = "for", value_name = "TIME", default_value = "1h", value_parser = humantime::parse_duration)]
    pub lasts: Duration,
    /// Who it is for. A viewer's name is how access is withdrawn later.
    #[arg(long, value_name = "NAME")]
    pub viewer: Option<String>,
    /// Let it work only from the network around this address (/24 of IPv4, /48 of IPv6).
    #[arg(long, value_name = "ADDRESS")]
    pub network: Option<Network>,
    /// The key to sign with: the id of one of edge.access.keys. Else the first that may open the stream.
    #[arg(long, value_name = "ID")]
    pub key: Option<String>,
    /// Sign with this private key (PEM), whose public half is in edge.access.jwks.
    #[arg(long, value_name = "FILE", conflicts_with = "key")]
    pub key_file: Option<PathBuf>,
    /// Make a signed URL in place of a token.
    #[arg(long, conflicts_with_all = ["key_file", "viewer"])]
    pub signed: bool,
    /// Print what stands behind /t/ and nothing else. For scripts.
    #[arg(long)]
    pub bare: bool,
    /// How viewers reach the server: https://edge.example. Else its own address.
    #[arg(long, value_name = "URL")]
    pub base: Option<String>,
    /// Make a signing key, write it to this new FILE, and print the key set for edge.access.jwks.
    #[arg(long, value_name = "FILE", exclusive = true)]
    pub new_key: Option<PathBuf>,
    /// Settings as for `serve`: they name the keys, or the data directory that holds the server's own.
    #[command(flatten)]
    pub settings: Settings,
}

/// Why the program's own key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file cannot be read or written.
    #[error("{}: {error}; it holds the key of viewers' tokens, because edge.access has none", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It holds something else.
    #[error("{}: this is no key of ours; delete it to have a new one made", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
    },
    /// No randomness.
    #[error("{0}")]
    Random(#[from] mint::SignerError),
}

/// What the edge is to do, with a key of the program's own where streams are protected and nothing else was configured
/// to check tokens with.
pub fn edge_plan(plan: &Plan) -> Result<aqueduct_edge::Plan, KeyFileError> {
    let mut edge = plan.edge.clone();
    if edge.access().wants_key() {
        edge.access_mut().add(local_key(&plan.data_dir)?);
    }
    Ok(edge)
}

/// The key in the data directory, made where there is none.
fn local_key(data_dir: &Path) -> Result<Shared, KeyFileError> {
    let path = data_dir.join("watch.key");
    let io = |error| KeyFileError::Io { path: path.clone(), error };
    let text = match std::fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let made = mint::new_secret()?;
            std::fs::create_dir_all(data_dir).map_err(io)?;
            publish(&path, made.expose()).map_err(io)?;
            // The server and `aqueduct token` may both have made one: the first counts.
            std::fs::read_to_string(&path).map_err(io)?
        }
        text => text.map_err(io)?,
    };
    let secret = text.trim();
    if secret.len() < 32 {
        return Err(KeyFileError::Broken { path });
    }
    Ok(Shared { id: LOCAL.into(), secret: Secret::new(secret.to_owned()), streams: StreamPattern::Any })
}

/// Writes a file that nobody but its owner reads, whole or not at all; one that is there stays.
fn publish(path: &Path, text: &str) -> io::Result<()> {
    let draft = path.with_extension(format!("{}.tmp", std::process::id()));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(text.as_bytes()).and_then(|()| file.write_all(b"\n")).and_then(|()| file.sync_all())?;
    let linked = std::fs::hard_link(&draft, path);
    std::fs::remove_file(&draft)?;
    linked.or_else(|error| if error.kind() == io::ErrorKind::AlreadyExists { Ok(()) } else { Err(error) })
}

/// Runs the command. `now`: the time since 1970.
pub fn run(token: &Token, now: Duration) -> Result<(), Failure> {
    if let Some(file) = &token.new_key {
        return new_key(file);
    }
    let Some(stream) = &token.stream else { return Err(Failure::usage("name a stream, such as live/show")) };
    let plan = crate::plan(&token.settings)?;
    if token.lasts.is_zero() || token.lasts > Duration::from_secs(LONGEST) {
        return Err(Failure::usage("--for: a token is valid for 24h at most, for example --for 2h"));
    }
    let signer = signer(token, stream, &plan)?;
    let expires = (now + token.lasts).as_secs();
    let ticket = if token.signed {
        signed(token, stream, &plan, &signer, expires)?
    } else {
        let access = plan.edge.access();
        let wish = Wish {
            streams: stream.clone(),
            issued: now.as_secs(),
            expires,
            id: mint::new_id().map_err(Failure::failed)?,
            viewer: token.viewer.clone(),
            issuer: access.issuer().map(str::to_owned),
            audience: access.audience().map(str::to_owned),
            network: token.network,
        };
        signer.token(&wish).map_err(Failure::failed)?
    };
    if token.bare {
        println!("{}", ticket.expose());
        return Ok(());
    }
    let step = format!("/t/{}", ticket.expose());
    println!("  Watch  {}", link(token, stream, &plan, &format!("{step}/watch"), ""));
    println!("  Play   {}", link(token, stream, &plan, &step, "index.m3u8"));
    let until = humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(expires));
    println!("         opens {stream} until {until}");
    let open = stream.single().is_some_and(|stream| !plan.edge.access().protects(stream.as_str()));
    if open {
        eprintln!(
            "aqueduct: {stream} is public: it plays without a token until edge.access.protected names it"
        );
    }
    Ok(())
}

/// `--signed`: what stands in the path; the form of a query is printed.
fn signed(
    token: &Token,
    stream: &StreamPattern,
    plan: &Plan,
    signer: &Signer,
    expires: u64,
) -> Result<Secret, Failure> {
    let signed = signer.signed(stream, expires, token.network.as_ref());
    let signed = signed.ok_or_else(|| Failure::usage("--signed needs a secret of edge.access.keys"))?;
    if !token.bare {
        println!("  Query  {}?{}", link(token, stream, plan, "", "index.m3u8"), signed.query.expose());
    }
    Ok(signed.step)
}

/// The address of a stream's page or playlist behind what stands before it in the path.
fn link(token: &Token, stream: &StreamPattern, plan: &Plan, before: &str, file: &str) -> String {
    let name = match stream {
        StreamPattern::Any => "APP/NAME".into(),
        other => other.to_string().replace('*', "NAME"),
    };
    let base = token.base.as_deref().map(|base| base.trim_end_matches('/').to_owned());
    let base = base.unwrap_or_else(|| match (plan.edge.http(), plan.edge.https()) {
        (Some(address), _) => format!("http://{}", banner::reachable(address, &[80])),
        (None, Some(address)) => format!("https://{}", banner::reachable(address, &[443])),
        (None, None) => String::new(),
    });
    let slash = if file.is_empty() { "" } else { "/" };
    format!("{base}{before}/{name}{slash}{file}")
}

fn signer(token: &Token, stream: &StreamPattern, plan: &Plan) -> Result<Signer, Failure> {
    if let Some(file) = &token.key_file {
        let failed = |error: &dyn std::fmt::Display| Failure::Failed(format!("{}: {error}", file.display()));
        let length = std::fs::metadata(file).map_err(|error| failed(&error))?.len();
        if length > MAX_PEM {
            return Err(failed(&"too long for a private key in PEM"));
        }
        let pem = Secret::new(std::fs::read_to_string(file).map_err(|error| failed(&error))?);
        return Signer::from_pem(pem.expose()).map_err(|error| failed(&error));
    }
    let access = plan.edge.access();
    let opens = |key: &&Shared| match &token.key {
        Some(id) => key.id == *id,
        None => {
            stream.single().map_or(key.streams == *stream || key.streams == StreamPattern::Any, |stream| {
                key.streams.covers(stream)
            })
        }
    };
    if let Some(key) = access.keys().iter().find(opens) {
        return Ok(Signer::shared(&key.id, &key.secret));
    }
    if let Some(id) = &token.key {
        return Err(Failure::Usage(format!("--key {id}: edge.access.keys has none of this id")));
    }
    if !access.keys().is_empty() || access.has_jwks() {
        return Err(Failure::usage(format!(
            "no secret of edge.access.keys opens {stream}: give --key-file FILE, the private half of a key in edge.access.jwks"
        )));
    }
    let key = local_key(&plan.data_dir).map_err(Failure::failed)?;
    Ok(Signer::shared(&key.id, &key.secret))
}

/// `--new-key`.
fn new_key(file: &Path) -> Result<(), Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::Failed(format!("{}: {error}", file.display()));
    let pem = mint::new_key().map_err(Failure::failed)?;
    let signer = Signer::from_pem(pem.expose()).map_err(Failure::failed)?;
    let mut out = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)
        .map_err(|error| failed(&error))?;
    out.write_all(pem.expose().as_bytes()).map_err(|error| failed(&error))?;
    println!("{}", signer.jwks().unwrap_or_default());
    eprintln!("aqueduct: {} holds the private key: keep it where tokens are made.", file.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("aqueduct-token-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        dir
    }

    #[test]
    fn the_program_s_own_key_is_made_once_and_is_private() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = dir("own");
        let made = local_key(&dir).unwrap();
        assert_eq!((made.id.as_str(), &made.streams), (LOCAL, &StreamPattern::Any));
        assert!(made.secret.expose().len() >= 32);
        assert_eq!(local_key(&dir).unwrap(), made);
        let mode = std::fs::metadata(dir.join("watch.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 1, "no draft is left");
        // Another process was faster.
        publish(&dir.join("watch.key"), "another").unwrap();
        assert_eq!(local_key(&dir).unwrap(), made);
        std::fs::write(dir.join("watch.key"), "short").unwrap();
        assert!(matches!(local_key(&dir), Err(KeyFileError::Broken { .. })));
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_signing_key_is_not_written_over() {
        let dir = dir("new");
        std::fs::create_dir_all(&dir).unwrap();
        let file = dir.join("play.pem");
        new_key(&file).unwrap();
        let pem = std::fs::read_to_string(&file).unwrap();
        assert!(Signer::from_pem(&pem).is_ok());
        assert!(matches!(new_key(&file), Err(Failure::Failed(text)) if text.contains("play.pem")));
        assert_eq!(std::fs::read_to_string(&file).unwrap(), pem);
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
