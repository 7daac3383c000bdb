//! How this node is known to others on the relay: files of an authority, or a token that the first start makes.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aqueduct_edge::relay::{ClientAuth, Credentials, Identity, Plan, Refused, ServerAuth, Token, tls};
use ring::rand::{SecureRandom as _, SystemRandom};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::sync::watch;

use crate::certificate::write_private;
use crate::renew;

/// Why a node cannot be known to others.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// A file cannot be read as PEM.
    #[error("{key} {}: {reason}; `aqueduct ca` makes these files", file.display())]
    Pem {
        /// The key that names it.
        key: &'static str,
        /// The file.
        file: PathBuf,
        /// Why.
        reason: String,
    },
    /// The files do not fit together.
    #[error("relay.certificate, relay.key and relay.ca do not fit together: {0}")]
    Mismatch(#[from] rustls::Error),
    /// The certificate says nothing of a node.
    #[error("relay.certificate {}: it names no node; `aqueduct ca node NAME` makes one that does", .0.display())]
    NoRole(PathBuf),
    /// The list of refused nodes cannot be read.
    #[error("relay.refused {}: {reason}", file.display())]
    Refused {
        /// The file.
        file: PathBuf,
        /// Why.
        reason: String,
    },
    /// The token cannot be made or kept.
    #[error("{}: the relay's token cannot be kept: {reason}", dir.display())]
    Store {
        /// The directory.
        dir: PathBuf,
        /// Why.
        reason: String,
    },
}

/// What edges are let in by, as the files change, and the token to print, where it is by a token.
pub fn server(
    plan: &Plan,
    data_dir: &Path,
) -> Result<(watch::Receiver<ServerAuth>, Option<Token>), RelayError> {
    let (first, token) = server_now(plan, data_dir)?;
    let (again, dir) = (plan.clone(), data_dir.to_owned());
    let read = move || server_now(&again, &dir).map(|(auth, _)| auth);
    Ok((renew::follow("the relay's certificate", files(plan), first, read), token))
}

/// How origins are reached, as the files change.
pub fn client(plan: &Plan) -> Result<watch::Receiver<ClientAuth>, RelayError> {
    let (first, again) = (client_now(plan)?, plan.clone());
    Ok(renew::follow("the relay's certificate", files(plan), first, move || client_now(&again)))
}

/// Nodes that are neither let in nor listened to, as the list changes.
pub fn refused(plan: &Plan) -> Result<watch::Receiver<Arc<Refused>>, RelayError> {
    let Some(file) = plan.refused.clone() else { return Ok(watch::channel(Arc::default()).1) };
    let (first, again) = (refused_now(&file)?, file.clone());
    Ok(renew::follow("the list of refused nodes", vec![file], first, move || refused_now(&again)))
}

/// Whether the files that are named can be used. Returns those that are not here: a configuration may be checked on
/// another machine than the one that has them.
pub fn check(plan: &Plan) -> Result<Vec<PathBuf>, RelayError> {
    let (mut absent, refused) = (files(plan), plan.refused.as_deref());
    absent.retain(|file| !file.exists());
    if absent.is_empty() {
        client_now(plan)?;
    }
    match refused {
        Some(file) if file.exists() => refused_now(file).map(drop)?,
        Some(file) => absent.push(file.to_owned()),
        None => {}
    }
    Ok(absent)
}

fn refused_now(file: &Path) -> Result<Arc<Refused>, RelayError> {
    let wrong = |reason: String| RelayError::Refused { file: file.to_owned(), reason };
    let text = fs::read(file).map_err(|error| wrong(error.to_string()))?;
    Refused::read(&text).map(Arc::new).map_err(|error| wrong(error.to_string()))
}

/// Files that are renewed from time to time.
fn files(plan: &Plan) -> Vec<PathBuf> {
    match &plan.credentials {
        Credentials::Authority { ca, certificate, key } => vec![ca.clone(), certificate.clone(), key.clone()],
        Credentials::Tokens(_) => Vec::new(),
    }
}

fn server_now(plan: &Plan, data_dir: &Path) -> Result<(ServerAuth, Option<Token>), RelayError> {
    match &plan.credentials {
        Credentials::Authority { ca, certificate, key } => {
            Ok((ServerAuth::with_authority(identity(ca, certificate, key)?)?, None))
        }
        Credentials::Tokens(_) => {
            let (certificate, key, token) = own_token(&data_dir.join("relay"))?;
            Ok((ServerAuth::with_token(certificate, key, token.clone())?, Some(token)))
        }
    }
}

fn client_now(plan: &Plan) -> Result<ClientAuth, RelayError> {
    Ok(match &plan.credentials {
        Credentials::Authority { ca, certificate, key } => {
            ClientAuth::with_authority(identity(ca, certificate, key)?)?
        }
        Credentials::Tokens(tokens) => ClientAuth::with_tokens(tokens.clone())?,
    })
}

/// This node's name: as configured, or the certificate's, or one that nobody else has.
pub fn node(plan: &Plan) -> Result<String, RelayError> {
    if !plan.node.is_empty() {
        return Ok(plan.node.clone());
    }
    if let Credentials::Authority { certificate, .. } = &plan.credentials {
        let chain = chain("relay.certificate", certificate)?;
        let named = chain.first().and_then(tls::role).map(|(_, name)| name);
        return named.ok_or_else(|| RelayError::NoRole(certificate.clone()));
    }
    let mut bytes = [0; 6];
    // Without randomness the process has other troubles; the name is then one that its address tells apart.
    let _ = SystemRandom::new().fill(&mut bytes);
    Ok(format!("node-{}-{}", std::process::id(), hex(&bytes)))
}

fn identity(ca: &Path, certificate: &Path, key: &Path) -> Result<Identity, RelayError> {
    let mut authority = RootCertStore::empty();
    for root in chain("relay.ca", ca)? {
        authority.add(root)?;
    }
    let chain = chain("relay.certificate", certificate)?;
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| pem("relay.key", key, &error))?;
    Ok(Identity { authority, chain, key: secret })
}

fn chain(key: &'static str, file: &Path) -> Result<Vec<CertificateDer<'static>>, RelayError> {
    let chain = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = chain.map_err(|error| pem(key, file, &error))?;
    if chain.is_empty() {
        return Err(pem(key, file, &"there is no certificate in it"));
    }
    Ok(chain)
}

fn pem(key: &'static str, file: &Path, reason: &dyn std::fmt::Display) -> RelayError {
    RelayError::Pem { key, file: file.to_owned(), reason: reason.to_string() }
}

/// The certificate and the token of this node, made if they are not there.
fn own_token(dir: &Path) -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>, Token), RelayError> {
    let store = |reason: String| RelayError::Store { dir: dir.to_owned(), reason };
    let (certificate, key, secret) = (dir.join("cert.pem"), dir.join("key.pem"), dir.join("secret"));
    if !(certificate.exists() && key.exists() && secret.exists()) {
        make(dir, &certificate, &key, &secret).map_err(store)?;
    }
    let read = |error: &dyn std::fmt::Display| store(error.to_string());
    let certificate = CertificateDer::from_pem_file(&certificate).map_err(|error| read(&error))?;
    let key = PrivateKeyDer::from_pem_file(&key).map_err(|error| read(&error))?;
    let secret = fs::read(&secret).map_err(|error| read(&error))?;
    let secret = <[u8; 16]>::try_from(secret).map_err(|_| read(&"the file `secret` has not 16 bytes"))?;
    let token = Token::new(&certificate, secret);
    Ok((certificate, key, token))
}

fn make(dir: &Path, certificate: &Path, key: &Path, secret: &Path) -> Result<(), String> {
    let made = rcgen::generate_simple_self_signed(["aqueduct-relay".to_owned()])
        .map_err(|error| error.to_string())?;
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).map_err(|_| "the system has no random numbers".to_owned())?;
    fs::create_dir_all(dir).map_err(|error| error.to_string())?;
    write_private(key, made.signing_key.serialize_pem().as_bytes()).map_err(|error| error.to_string())?;
    write_private(secret, &bytes).map_err(|error| error.to_string())?;
    fs::write(certificate, made.cert.pem()).map_err(|error| error.to_string())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use aqueduct_edge::relay::Config;

    use super::*;

    #[test]
    fn a_token_is_made_once_and_kept_private() {
        let dir = std::env::temp_dir().join(format!("aqueduct-relay-{}", std::process::id()));
        let plan = Plan::try_from(Config::default()).unwrap();
        let (_, first) = server_now(&plan, &dir).unwrap();
        let (_, again) = server_now(&plan, &dir).unwrap();
        assert!(first.is_some() && first == again);
        #[cfg(unix)]
        for file in ["key.pem", "secret"] {
            let mode = std::os::unix::fs::PermissionsExt::mode(
                &fs::metadata(dir.join("relay").join(file)).unwrap().permissions(),
            );
            assert_eq!(mode & 0o777, 0o600, "{file}");
        }
        fs::remove_dir_all(&dir).unwrap();
        assert_ne!(node(&plan).unwrap(), node(&plan).unwrap());
        let named = Plan { node: "edge-1".into(), ..plan };
        assert_eq!(node(&named).unwrap(), "edge-1");
    }

    #[test]
    fn a_missing_file_is_named_with_its_key() {
        let file = |name: &str| Some(PathBuf::from(format!("/nowhere/{name}")));
        let config = Config {
            ca: file("ca.pem"),
            certificate: file("n.pem"),
            key: file("n.key"),
            ..Config::default()
        };
        let error = client_now(&Plan::try_from(config).unwrap()).err().unwrap().to_string();
        assert!(error.contains("relay.ca /nowhere/ca.pem"), "{error}");
    }
}
