//! Nodes whose certificates are no good: each is refused, and counted by what was wrong with it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use aqueduct_common::event::{Event, EventReceiver, bus};
use aqueduct_edge::Store;
use aqueduct_edge::relay::wire::{ALPN, Frame};
use aqueduct_edge::relay::{Config, Hub, Identity, Origin, OriginOptions, Plan, ServerAuth, Trail};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ConnectionError, Endpoint};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, date_time_ymd,
};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(20);
/// Years within which a certificate is good now.
const GOOD: (i32, i32) = (2020, 2100);

type Shown = (CertificateDer<'static>, PrivateKeyDer<'static>);

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, "authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().der().clone();
        Self { issuer: Issuer::new(params, key), certificate }
    }

    fn node(&self, identity: Option<&str>, (from, to): (i32, i32)) -> Shown {
        let mut params = CertificateParams::new(vec!["relay".to_owned()]).unwrap();
        let uri = identity.map(|identity| SanType::URI(identity.to_owned().try_into().unwrap()));
        params.subject_alt_names.extend(uri);
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(to, 1, 1));
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        (certificate, PrivatePkcs8KeyDer::from(key.serialize_der()).into())
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        roots
    }
}

struct World {
    address: SocketAddr,
    roots: RootCertStore,
    events: EventReceiver,
    _stop: tokio_util::sync::DropGuard,
}

impl World {
    fn new(authority: &Authority) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (certificate, key) = authority.node(Some("aqueduct://origin/o1"), GOOD);
        let identity = Identity { authority: authority.roots(), chain: vec![certificate], key };
        let (sender, events) = bus(4_096);
        let options = OriginOptions {
            node: "o1".into(),
            hub: Hub::new(),
            store: Store::new(),
            auth: watch::channel(ServerAuth::with_authority(identity).unwrap()).1,
            refused: watch::channel(Arc::default()).1,
            demand: None,
            wants: None,
            trail: watch::channel(Trail::default()).1,
            events: sender,
        };
        let plan = Plan::try_from(Config::default()).unwrap();
        let origin = Origin::bind(&plan, ([127, 0, 0, 1], 0).into(), options).unwrap();
        let (address, stop) = (origin.address().unwrap(), CancellationToken::new());
        tokio::spawn(origin.run(stop.clone(), Duration::from_secs(1)));
        Self { address, roots: authority.roots(), events, _stop: stop.drop_guard() }
    }

    /// Why an edge that shows this is sent away; nothing, where it is still there after it has said who it is.
    async fn comes(&self, shown: Option<Shown>) -> Option<ConnectionError> {
        let tls = rustls::ClientConfig::builder().with_root_certificates(self.roots.clone());
        let mut tls = match shown {
            Some((certificate, key)) => tls.with_client_auth_cert(vec![certificate], key).unwrap(),
            None => tls.with_no_client_auth(),
        };
        tls.alpn_protocols = vec![ALPN.to_vec()];
        let mut endpoint = Endpoint::client(([127, 0, 0, 1], 0).into()).unwrap();
        let crypto = QuicClientConfig::try_from(tls).unwrap();
        endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(crypto)));
        // In TLS 1.3 a client counts as connected before its certificate was looked at.
        let conn = match endpoint.connect(self.address, "relay").unwrap().await {
            Ok(conn) => conn,
            Err(error) => return Some(error),
        };
        let hello = Frame::Hello { node: "e1".into(), token: Vec::new(), announce: false };
        let mut bytes = Vec::new();
        hello.write(&mut bytes).unwrap();
        let Ok((mut send, mut receive)) = conn.open_bi().await else { return conn.close_reason() };
        let _ = send.write_all(&bytes).await;
        // Who is let in is told the origin's name.
        match tokio::time::timeout(PATIENCE, receive.read_chunk(100, true)).await.unwrap() {
            Ok(Some(_)) => None,
            _ => Some(tokio::time::timeout(PATIENCE, conn.closed()).await.unwrap()),
        }
    }

    /// Waits until the next refusal is counted; why.
    async fn counted(&mut self) -> &'static str {
        let counted = async {
            loop {
                if let Some(Event::Relay(tick)) = self.events.recv().await
                    && let Some((reason, count)) = tick.refused.first()
                {
                    assert_eq!((tick.refused.len(), *count), (1, 1), "{:?}", tick.refused);
                    return *reason;
                }
            }
        };
        tokio::time::timeout(PATIENCE, counted).await.expect("nothing was counted")
    }
}

#[tokio::test]
async fn each_certificate_that_is_no_good_is_refused_and_counted() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let mut world = World::new(&ours);
    let edge = Some("aqueduct://edge/e1");
    for (what, shown, reason) in [
        ("none", None, "handshake"),
        ("another authority's", Some(theirs.node(edge, GOOD)), "handshake"),
        ("one that has ended", Some(ours.node(edge, (2020, 2021))), "handshake"),
        ("one that has not begun", Some(ours.node(edge, (2099, 2100))), "handshake"),
        ("an origin's", Some(ours.node(Some("aqueduct://origin/o2"), GOOD)), "credentials"),
        ("one of a role that is none", Some(ours.node(Some("aqueduct://viewer/v"), GOOD)), "credentials"),
        ("one without a role", Some(ours.node(None, GOOD)), "credentials"),
    ] {
        assert!(world.comes(shown).await.is_some(), "{what} is let in");
        assert_eq!(world.counted().await, reason, "{what}");
    }
    assert_eq!(world.comes(Some(ours.node(edge, GOOD))).await, None);
}
