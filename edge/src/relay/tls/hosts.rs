//! Which certificate does for which host.

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};

use super::*;

/// An authority, its own certificate, and the verifier that knows it.
struct World {
    issuer: Issuer<'static, KeyPair>,
    verifier: Authority,
}

impl World {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let key = KeyPair::generate().unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(params.self_signed(&key).unwrap().der().clone()).unwrap();
        let provider = Arc::new(provider::default_provider());
        let chain = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
        Self { issuer: Issuer::new(params, key), verifier: Authority(chain) }
    }

    fn certificate(&self, identity: Option<&str>, hosts: &[&str]) -> CertificateDer<'static> {
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let mut params = CertificateParams::new(hosts).unwrap();
        params.subject_alt_names.extend(identity.map(|uri| SanType::URI(uri.try_into().unwrap())));
        params.signed_by(&KeyPair::generate().unwrap(), &self.issuer).unwrap().der().clone()
    }

    fn takes(&self, certificate: &CertificateDer<'_>, host: &str) -> bool {
        let host = ServerName::try_from(host.to_owned()).unwrap();
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(1_763_634_000));
        self.verifier.verify_server_cert(certificate, &[], &host, &[], now).is_ok()
    }
}

#[test]
fn a_node_feeds_under_its_hosts_names_and_no_other() {
    let world = World::new();
    for role in ["origin", "edge"] {
        let node = world.certificate(Some(&format!("aqueduct://{role}/n")), &["o1.example", "192.0.2.7"]);
        for host in ["o1.example", "192.0.2.7"] {
            assert!(world.takes(&node, host), "{role} at {host}");
        }
        for host in ["o2.example", "192.0.2.8", "example"] {
            assert!(!world.takes(&node, host), "{role} at {host}");
        }
    }
}

#[test]
fn an_edge_s_certificate_without_a_host_feeds_nobody() {
    let world = World::new();
    let (origin, edge) = (Some("aqueduct://origin/n"), Some("aqueduct://edge/n"));
    for host in ["o1.example", "192.0.2.7"] {
        assert!(!world.takes(&world.certificate(edge, &[]), host), "{host}");
        // Nothing says where such an origin is.
        assert!(world.takes(&world.certificate(origin, &[]), host), "{host}");
        assert!(!world.takes(&world.certificate(None, &[host]), host), "no role");
        assert!(!World::new().takes(&world.certificate(origin, &[host]), host), "another authority");
    }
}
