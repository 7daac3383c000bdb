//! What a viewer may show: a path with a ticket in it, a query, and claims, as three lines. What is read is checked
//! against the text it came from. Nobody enters who has no signature, and with one only who claims enough.
#![no_main]

use std::net::{IpAddr, Ipv4Addr};
use std::sync::OnceLock;

use aqueduct_edge::route;
use aqueduct_edge::token::mint::{Signer, new_secret};
use aqueduct_edge::token::{
    self, Access, Config, Denied, Form, LONGEST, Network, Plan, SKEW, SharedKey, Shown, Ticket,
};
use http::HeaderMap;
use libfuzzer_sys::fuzz_target;

const NOW: u64 = 1_800_000_000;
const STREAM: &str = "live/show";
const PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fuzz_target!(|data: &[u8]| {
    let mut lines = data.splitn(3, |byte| *byte == b'\n');
    let path = String::from_utf8_lossy(lines.next().unwrap_or_default());
    let query = lines.next().map(String::from_utf8_lossy);
    let claims = lines.next().unwrap_or_default();
    if let Ok((ticket, target)) = route::read(&path, query.as_deref()) {
        assert!(!target.path().starts_with("/t/"), "a ticket reaches what is looked up");
        match ticket {
            Some(ticket) => check(ticket, &path),
            None => assert!(!path.starts_with("/t/")),
        }
        let headers = HeaderMap::new();
        let shown = token::shown(ticket, query.as_deref(), &headers);
        assert!(enter(shown.as_ref()).is_err(), "somebody enters without a signature");
    }
    if let Some(query) = &query {
        assert!(!token::without_ticket(query).split('&').any(|pair| pair.starts_with("tk=")));
    }
    signed(claims);
    network(claims);
});

/// A server on which everything is protected, by a key that is new in each run.
fn server() -> &'static (Access, Signer) {
    static SERVER: OnceLock<(Access, Signer)> = OnceLock::new();
    SERVER.get_or_init(|| {
        let secret = new_secret().expect("the system has randomness");
        let signer = Signer::shared("k", &secret);
        let keys = vec![SharedKey { id: "k".into(), secret, streams: "*".into() }];
        let config = Config { protected: vec!["*".into()], keys, ..Config::default() };
        let plan = Plan::try_from(config).expect("the configuration is good");
        (Access::open(plan).expect("there is no file to open"), signer)
    })
}

fn enter(shown: Option<&Shown<'_>>) -> Result<(), Denied> {
    server().0.admit(STREAM, shown, PEER, NOW).map(|_| ())
}

/// Claims with a good signature: who gets in has claimed a time that is near and this stream.
fn signed(claims: &[u8]) {
    let text = server().1.sign_bytes(claims).expect("an HMAC is made of anything");
    let Some(ticket) = Ticket::new(&text) else { return };
    let headers = HeaderMap::new();
    if enter(token::shown(Some(ticket), None, &headers).as_ref()).is_err() {
        return;
    }
    let claims: serde_json::Value = match serde_json::from_slice(claims) {
        Ok(claims) => claims,
        // What nobody looks at may lie deeper than a value that is built.
        Err(error) => return assert!(error.to_string().contains("recursion"), "{error}"),
    };
    let at = |name: &str| claims.get(name).and_then(serde_json::Value::as_f64);
    let expires = at("exp").expect("who gets in claims an end");
    let (earliest, latest) = ((NOW - SKEW) as f64, (NOW + LONGEST + 2 * SKEW) as f64);
    assert!(expires >= earliest && expires <= latest, "{claims}");
    assert!(at("nbf").is_none_or(|begins| begins < (NOW + SKEW + 1) as f64), "{claims}");
    assert!(claims.get("geo").is_none_or(serde_json::Value::is_null), "{claims}");
    assert!(claims.get("str").is_some(), "{claims}");
}

fn check(ticket: Ticket<'_>, path: &str) {
    let text = ticket.expose();
    assert!(path.starts_with(&format!("/t/{text}/")) && !text.contains(['/', '%', '\\', '?']));
    match ticket.read() {
        Ok(Form::Jwt(jwt)) => {
            assert_eq!(format!("{}.{}.{}", jwt.header, jwt.claims, jwt.signature), text);
        }
        Ok(Form::Signed(signed)) => {
            assert_eq!(format!("v1~{}~{}~{}", signed.key, signed.expires, signed.signature), text);
        }
        Err(_) => {}
    }
}

/// A network that can be read covers its own first address, in either dress.
fn network(text: &[u8]) {
    let Ok(network) = String::from_utf8_lossy(text).parse::<Network>() else { return };
    let shown = network.to_string();
    let (first, _) = shown.split_once('/').expect("a prefix has its length");
    let first: IpAddr = first.parse().expect("an address that was printed can be read");
    assert!(network.covers(first), "{network}");
    if let IpAddr::V4(first) = first {
        assert!(network.covers(first.to_ipv6_mapped().into()), "{network}");
    }
    assert_eq!(shown.parse::<Network>(), Ok(network));
}
