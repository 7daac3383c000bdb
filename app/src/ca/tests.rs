//! The authority is judged by what judges it in earnest: TLS handshakes that demand a certificate of both sides.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};

use super::*;

/// A directory that goes with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("aqueduct-ca-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        Self(dir)
    }

    fn node(&self, name: &str, role: Role, hosts: &[&str]) -> Node {
        let hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
        Node { name: name.into(), role, hosts, days: 30, dir: self.0.clone(), out: None }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[expect(clippy::disallowed_methods, reason = "certificates are judged by the wall clock")]
fn now() -> Duration {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap()
}

fn text(failure: Failure) -> String {
    match failure {
        Failure::Failed(text) | Failure::Usage(text) => text,
    }
}

fn roots(dir: &Path) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(dir.join("ca.pem")).unwrap()).unwrap();
    Arc::new(roots)
}

fn identity(dir: &Path, name: &str) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let certificate = CertificateDer::from_pem_file(dir.join(format!("{name}.pem"))).unwrap();
    (vec![certificate], PrivateKeyDer::from_pem_file(dir.join(format!("{name}-key.pem"))).unwrap())
}

/// An edge of one authority calls an origin of another one, or of the same, by a name.
fn shake(edge: (&Path, &str), origin: (&Path, &str), host: &str) -> Result<(), rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(roots(origin.0), provider.clone()).build().unwrap();
    let (chain, key) = identity(origin.0, origin.1);
    let server = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)?;
    let (chain, key) = identity(edge.0, edge.1);
    let client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots(edge.0))
        .with_client_auth_cert(chain, key)?;
    let name = ServerName::try_from(host.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::new(client), name)?;
    let mut server = ServerConnection::new(Arc::new(server))?;
    while client.is_handshaking() || server.is_handshaking() {
        let mut wire = Vec::new();
        client.write_tls(&mut wire).unwrap();
        server.read_tls(&mut wire.as_slice()).unwrap();
        server.process_new_packets()?;
        wire.clear();
        server.write_tls(&mut wire).unwrap();
        client.read_tls(&mut wire.as_slice()).unwrap();
        client.process_new_packets()?;
    }
    client.writer().write_all(b"media").unwrap();
    let (mut wire, mut heard) = (Vec::new(), [0; 5]);
    client.write_tls(&mut wire).unwrap();
    server.read_tls(&mut wire.as_slice()).unwrap();
    server.process_new_packets()?;
    server.reader().read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"media");
    Ok(())
}

#[test]
fn nodes_of_one_authority_shake_hands_and_those_of_another_do_not() {
    let (ours, theirs) = (Scratch::new("ours"), Scratch::new("theirs"));
    for scratch in [&ours, &theirs] {
        init(&scratch.0, now()).unwrap();
        make(&scratch.node("o1", Role::Origin, &["origin.example", "127.0.0.1", "::1"]), now()).unwrap();
        make(&scratch.node("e1", Role::Edge, &[]), now()).unwrap();
    }
    for host in ["origin.example", "127.0.0.1", "::1"] {
        shake((&ours.0, "e1"), (&ours.0, "o1"), host).unwrap();
    }
    assert!(shake((&ours.0, "e1"), (&ours.0, "o1"), "other.example").is_err(), "another name");
    assert!(shake((&theirs.0, "e1"), (&ours.0, "o1"), "origin.example").is_err(), "another authority");
}

#[test]
fn a_certificate_that_has_ended_is_refused() {
    let scratch = Scratch::new("ended");
    let long_ago = now() - days(40);
    init(&scratch.0, long_ago).unwrap();
    make(&scratch.node("o1", Role::Origin, &["origin.example"]), now()).unwrap();
    make(&scratch.node("old", Role::Edge, &[]), long_ago).unwrap();
    make(&scratch.node("new", Role::Edge, &[]), now()).unwrap();
    shake((&scratch.0, "new"), (&scratch.0, "o1"), "origin.example").unwrap();
    let error = shake((&scratch.0, "old"), (&scratch.0, "o1"), "origin.example").unwrap_err();
    assert!(format!("{error:?}").contains("Expired"), "{error:?}");
}

#[test]
fn a_certificate_says_what_its_node_is() {
    let scratch = Scratch::new("says");
    init(&scratch.0, now()).unwrap();
    make(&scratch.node("berlin-1", Role::Origin, &["origin.example"]), now()).unwrap();
    make(&scratch.node("berlin-2", Role::Edge, &[]), now()).unwrap();
    for (name, uri) in [("berlin-1", "aqueduct://origin/berlin-1"), ("berlin-2", "aqueduct://edge/berlin-2")]
    {
        let (chain, _) = identity(&scratch.0, name);
        assert!(chain[0].windows(uri.len()).any(|window| window == uri.as_bytes()), "{uri}");
    }
}

#[test]
fn keys_are_their_owners_alone_and_nothing_is_written_over() {
    let scratch = Scratch::new("private");
    init(&scratch.0, now()).unwrap();
    let node = scratch.node("e1", Role::Edge, &[]);
    let words = make(&node, now()).unwrap();
    for key in ["relay]", "ca = \"/etc", "certificate = \"/etc", "key = \"/etc", "e1-key.pem"] {
        assert!(words.contains(key), "{words}");
    }
    let mode = |file: &str| scratch.0.join(file).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!([mode("ca-key.pem"), mode("e1-key.pem"), mode("")], [0o600, 0o600, 0o700]);
    let before = std::fs::read(scratch.0.join("ca-key.pem")).unwrap();
    assert!(text(init(&scratch.0, now()).unwrap_err()).contains("not written over"));
    assert!(text(make(&node, now()).unwrap_err()).contains("not written over"));
    assert_eq!(std::fs::read(scratch.0.join("ca-key.pem")).unwrap(), before);
    let elsewhere = Node { out: Some(scratch.0.join("renewed")), ..node };
    make(&elsewhere, now()).unwrap();
    assert!(scratch.0.join("renewed/e1-key.pem").exists());
}

#[test]
fn mistakes_are_named() {
    let scratch = Scratch::new("mistakes");
    let node = scratch.node("o1", Role::Origin, &["origin.example"]);
    assert!(text(make(&node, now()).unwrap_err()).contains("aqueduct ca init"), "no authority yet");
    init(&scratch.0, now()).unwrap();
    assert!(text(make(&scratch.node("o1", Role::Origin, &[]), now()).unwrap_err()).contains("--host"));
    for host in ["origin.example:4443", "", "-x", "a..b", "10.0.0.300", "über"] {
        let error = text(make(&scratch.node("o1", Role::Origin, &[host]), now()).unwrap_err());
        assert!(error.contains("neither a host name nor an address"), "{host:?}: {error}");
    }
    for name in ["", "Edge", "a/b", "..", "-a", "a-", "ca"] {
        assert!(node_name(name).is_err(), "{name:?}");
    }
    assert!(node_name("edge-17").is_ok());
}
