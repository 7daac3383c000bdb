use serde_json::{Value, json};

use super::*;
use crate::token::carry::Place;
use crate::token::config::Config;
use crate::token::mint::{Signer, new_key};

const NOW: u64 = 1_800_000_000;
const SECRET: &str = "0123456789abcdef0123456789abcdef";
const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 7));

/// An object with the members of another one over its own.
fn with(mut object: Value, more: Value) -> Value {
    if let (Value::Object(object), Value::Object(more)) = (&mut object, more) {
        object.extend(more);
    }
    object
}

fn plan(more: Value) -> Plan {
    let config = json!({"protected": ["live/*"], "keys": [{"id": "k1", "secret": SECRET}]});
    Plan::try_from(serde_json::from_value::<Config>(with(config, more)).unwrap()).unwrap()
}

fn signer() -> Signer {
    Signer::shared("k1", &Secret::new(SECRET.to_owned()))
}

fn claims(more: Value) -> Value {
    let claims = json!({"str": "live/s7", "iat": NOW, "exp": NOW + 300, "sub": "viewer-7", "jti": "t1"});
    with(claims, more)
}

fn token(more: Value) -> String {
    signer().sign(&claims(more)).unwrap()
}

fn admit_at(access: &Access, text: &str, stream: &str, peer: IpAddr, now: u64) -> Result<Pass, Denied> {
    let shown = Shown { text: text.into(), prefix: None, place: Place::Path };
    access.admit(stream, Some(&shown), peer, now)
}

fn admit(access: &Access, text: &str) -> Result<(), Denied> {
    admit_at(access, text, "live/s7", PEER, NOW).map(|_| ())
}

#[test]
fn a_verified_token_is_remembered_and_still_checked() {
    let access = Access::open(plan(json!({}))).unwrap();
    let token = token(json!({"ip": "203.0.113.0/24"}));
    for _ in 0..3 {
        assert_eq!(admit(&access, &token), Ok(()));
    }
    let at = |stream, peer: IpAddr, now| admit_at(&access, &token, stream, peer, now).map(|_| ());
    assert_eq!(at("live/s7k2", PEER, NOW), Err(Denied::Stream));
    assert_eq!(at("live/s7", [198, 51, 100, 1].into(), NOW), Err(Denied::Address));
    assert_eq!(at("live/s7", PEER, NOW + 331), Err(Denied::Expired));
    assert_eq!(access.admit("live/s7", None, PEER, NOW).unwrap_err(), Denied::Missing);
}

#[test]
fn claims_are_text_where_nobody_looks_as_well() {
    let access = Access::open(plan(json!({}))).unwrap();
    let mut bytes = claims(json!({"other": "@"})).to_string().into_bytes();
    let signed = |bytes: &[u8]| signer().sign_bytes(bytes).unwrap();
    assert_eq!(admit(&access, &signed(&bytes)), Ok(()));
    let at = bytes.iter().position(|byte| *byte == b'@').unwrap();
    bytes[at] = 0xff;
    assert_eq!(admit(&access, &signed(&bytes)), Err(Denied::Malformed));
}

#[test]
fn a_session_goes_on_while_it_is_used() {
    let access = Access::open(plan(json!({}))).unwrap();
    let token = token(json!({"hard_exp": NOW + 3_600}));
    let at = |peer: IpAddr, now| admit_at(&access, &token, "live/s7", peer, now).map(|_| ());
    for seconds in (0..600).step_by(20) {
        assert_eq!(at(PEER, NOW + seconds), Ok(()), "{seconds}");
    }
    // Another network has no session, and a pause ends the one there was.
    assert_eq!(at([198, 51, 100, 1].into(), NOW + 600), Err(Denied::Expired));
    assert_eq!(at([203, 0, 113, 200].into(), NOW + 600), Ok(()));
    assert_eq!(at(PEER, NOW + 631), Err(Denied::Expired));
}

#[test]
fn a_new_key_set_outlives_nothing_of_the_old_one() {
    let access = Access::open(plan(json!({"jwks": "https://id.example/jwks"}))).unwrap();
    let url = access.plan.jwks.clone().unwrap();
    let signer = Signer::from_pem(new_key().unwrap().expose()).unwrap();
    let token = signer.sign(&claims(json!({}))).unwrap();
    assert_eq!(admit(&access, &token), Err(Denied::Unready));
    assert_eq!(admit(&access, &self::token(json!({}))), Ok(()), "secrets need no key set");
    access.take_jwks(&url, signer.jwks().unwrap().as_bytes()).unwrap();
    assert_eq!(admit(&access, &token), Ok(()));
    // What is broken changes nothing.
    assert!(access.take_jwks(&url, b"{\"keys\":[]}").is_err());
    let same = signer.jwks().unwrap().replace(signer.id(), "k1");
    assert_eq!(access.take_jwks(&url, same.as_bytes()), Err(JwksError::SameId("k1".into())));
    assert_eq!(admit(&access, &token), Ok(()));
    let next = Signer::from_pem(new_key().unwrap().expose()).unwrap();
    access.take_jwks(&url, next.jwks().unwrap().as_bytes()).unwrap();
    assert_eq!(admit(&access, &token), Err(Denied::Key));
}

#[test]
fn a_public_key_is_no_secret() {
    // The usual confusion: HS256 with the public key's bytes or text as the secret.
    let access = Access::open(plan(json!({"jwks": "https://id.example/jwks"}))).unwrap();
    let ed = Signer::from_pem(new_key().unwrap().expose()).unwrap();
    let set = ed.jwks().unwrap();
    access.take_jwks(access.plan.jwks.as_ref().unwrap(), set.as_bytes()).unwrap();
    let x = serde_json::from_str::<Value>(&set).unwrap()["keys"][0]["x"].as_str().unwrap().to_owned();
    for secret in [x, set] {
        let forged = Signer::shared(ed.id(), &Secret::new(secret)).sign(&claims(json!({}))).unwrap();
        assert_eq!(admit(&access, &forged), Err(Denied::Algorithm));
    }
}

#[tokio::test]
async fn who_is_revoked_is_refused_and_let_go() {
    let access = Access::open(plan(json!({"revoked": "https://id.example/list"}))).unwrap();
    let token = token(json!({}));
    assert_eq!(admit(&access, &token), Err(Denied::Unready));
    access.take_revoked(b"").unwrap();
    let pass = admit_at(&access, &token, "live/s7", PEER, NOW).unwrap();
    let mut withdrawn = std::pin::pin!(access.withdrawn(&pass));
    fn is_pending(waited: &mut std::pin::Pin<&mut impl Future>) -> bool {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        waited.as_mut().poll(&mut context).is_pending()
    }
    assert!(is_pending(&mut withdrawn));
    access.take_revoked(b"sub:viewer-8\n").unwrap();
    assert!(is_pending(&mut withdrawn));
    assert!(access.take_revoked(b"viewer-7").is_err());
    assert!(is_pending(&mut withdrawn) && admit(&access, &token).is_ok());
    access.take_revoked(b"sub:viewer-7\n").unwrap();
    withdrawn.await;
    assert_eq!(admit(&access, &token), Err(Denied::Revoked));
}

#[tokio::test(start_paused = true)]
async fn a_source_that_cannot_be_read_grows_old_and_one_that_can_does_not() {
    let list = std::env::temp_dir().join(format!("aqueduct-revoked-{}", std::process::id()));
    std::fs::write(&list, "").unwrap();
    let access = Access::open(plan(json!({"revoked": list}))).unwrap();
    let age = async |seconds| {
        let waiting = tokio::time::sleep(Duration::from_secs(seconds));
        tokio::select! { () = access.keep() => panic!("it ends"), () = waiting => {} }
        let ages = access.ages(now());
        assert!(matches!(ages[..], [("revoked", _)]), "{ages:?}");
        ages[0].1.as_secs()
    };
    assert!(age(600).await <= 10, "it is read every five seconds");
    std::fs::remove_file(&list).unwrap();
    assert!((600..=610).contains(&age(600).await));
    std::fs::write(&list, "sub:viewer-7\n").unwrap();
    assert!(age(60).await <= 10);
    assert_eq!(admit(&access, &token(json!({}))), Err(Denied::Revoked));
    std::fs::remove_file(&list).unwrap();
}

#[test]
fn a_file_that_is_not_there_names_the_key() {
    for key in ["jwks", "revoked"] {
        let error = Access::open(plan(json!({key: "/nowhere/at-all"}))).err().unwrap().to_string();
        assert!(error.starts_with(&format!("edge.access.{key}: /nowhere/at-all cannot be read")), "{error}");
    }
}
