//! Signed URLs: an HMAC over what they open and until when, for who does not want to make tokens (AUTH-20).
//!
//! The text that is signed, lines without an end after the last: `v1`, `play`, the path prefix (`/live/show/`, or
//! `/live/` for all of an app), the Unix second at which it ends, and the viewer's network if it is bound to one.

use std::net::IpAddr;

use aqueduct_common::StreamPattern;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::claims::{LONGEST, SKEW};
use super::denied::Denied;
use super::key::{Algorithm, KeySet};
use super::network::Network;
use super::ticket::Signed;

/// The text that is signed.
pub(super) fn message(prefix: &str, expires: u64, network: Option<&Network>) -> String {
    let bound = network.map(|network| format!("\n{network}")).unwrap_or_default();
    format!("v1\nplay\n{prefix}\n{expires}{bound}")
}

/// The prefix of a pattern, `/` for all streams.
pub(super) fn prefix(pattern: &StreamPattern) -> String {
    match pattern {
        StreamPattern::Any => "/".into(),
        StreamPattern::App(app) => format!("/{app}/"),
        StreamPattern::One(stream) => format!("/{stream}/"),
    }
}

/// Whether it allows this request. A URL says neither its prefix in the path form nor whether it is bound, so each
/// that could be meant is tried; `named` is the prefix of the query form.
pub(super) fn check(
    signed: &Signed<'_>,
    named: Option<&str>,
    keys: &KeySet,
    stream: &str,
    peer: IpAddr,
    now: u64,
) -> Result<(), Denied> {
    let id = (!signed.key.is_empty()).then_some(signed.key);
    let key = keys.pick(id, Algorithm::Hs256)?;
    let mac = URL_SAFE_NO_PAD.decode(signed.signature).map_err(|_| Denied::Malformed)?;
    let app = stream.split_once('/').map_or(stream, |(app, _)| app);
    let prefixes = [format!("/{stream}/"), format!("/{app}/"), "/".to_owned()];
    let mut meant = prefixes.iter().filter(|prefix| named.is_none_or(|named| named == *prefix)).peekable();
    if meant.peek().is_none() {
        return Err(Denied::Stream);
    }
    let network = Network::around(peer);
    let genuine = meant.any(|prefix| {
        [None, Some(&network)]
            .into_iter()
            .any(|bound| key.verify(message(prefix, signed.expires, bound).as_bytes(), &mac))
    });
    // Another stream, another network and a forgery look all the same.
    if !genuine {
        return Err(Denied::Signature);
    }
    if !key.opens(stream) {
        return Err(Denied::Stream);
    }
    if now > signed.expires + SKEW {
        return Err(Denied::Expired);
    }
    if signed.expires > now + SKEW + LONGEST { Err(Denied::Lifetime) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use aqueduct_common::Secret;

    use super::*;
    use crate::token::key::Key;
    use crate::token::ticket::{Form, Ticket};

    const NOW: u64 = 1_763_637_000;

    fn keys(streams: &str) -> KeySet {
        let secret = Secret::new("0123456789abcdef0123456789abcdef".to_owned());
        KeySet::new(vec![Key::shared("k1", &secret, streams.parse().unwrap())])
    }

    fn check_at(ticket: &str, named: Option<&str>, stream: &str, peer: &str, now: u64) -> Result<(), Denied> {
        let Some(Ok(Form::Signed(signed))) = Ticket::new(ticket).map(Ticket::read) else {
            return Err(Denied::Malformed);
        };
        check(&signed, named, &keys("live/*"), stream, peer.parse().unwrap(), now)
    }

    // printf 'v1\nplay\n/live/s7k2/\n1763637600' | openssl dgst -sha256 -hmac 0123456789abcdef0123456789abcdef -binary | basenc --base64url
    const STREAM: &str = "v1~k1~1763637600~VEiz-XfwEJOfJT-BzeIyHjZe-0gXs9jW2Yuq_IH-yzI";
    const BOUND: &str = "v1~k1~1763637600~79h_VYSPFByDTydQc_nmTIPa7y6kijSJRaOEjohYGi4";
    const APP: &str = "v1~~1763637600~Jl9piTYbHrKUtgsB9whP3NiJqR6_PsuRdKakPZXmfrI";

    #[test]
    fn a_url_signed_with_openssl_opens_its_stream() {
        let check = |ticket: &str, stream| check_at(ticket, None, stream, "198.51.100.1", NOW);
        assert_eq!(check(STREAM, "live/s7k2"), Ok(()));
        for other in ["live/s7", "live/s7k2x", "LIVE/s7k2", "sport/s7k2"] {
            assert_eq!(check(STREAM, other), Err(Denied::Signature), "{other}");
        }
        assert_eq!(check(APP, "live/any"), Ok(()));
        assert_eq!(check(APP, "sport/any"), Err(Denied::Signature));
        assert_eq!(check(&STREAM.replace("k1", "k2"), "live/s7k2"), Err(Denied::Key));
        assert_eq!(check(&STREAM.replace("600~", "601~"), "live/s7k2"), Err(Denied::Signature));
    }

    #[test]
    fn a_bound_url_works_in_its_network() {
        let check = |peer| check_at(BOUND, None, "live/s7k2", peer, NOW);
        assert_eq!(check("203.0.113.9"), Ok(()));
        assert_eq!(check("::ffff:203.0.113.9"), Ok(()));
        assert_eq!(check("203.0.114.9"), Err(Denied::Signature));
    }

    #[test]
    fn a_named_prefix_must_be_the_signed_one() {
        let check = |named| check_at(STREAM, Some(named), "live/s7k2", "198.51.100.1", NOW);
        assert_eq!(check("/live/s7k2/"), Ok(()));
        assert_eq!(check("/live/"), Err(Denied::Signature));
        for other in ["/live/s7", "/live/s7k2", "live/s7k2/", "/sport/", ""] {
            assert_eq!(check(other), Err(Denied::Stream), "{other}");
        }
    }

    #[test]
    fn a_url_ends_and_is_not_made_for_ever() {
        let check = |now| check_at(STREAM, None, "live/s7k2", "198.51.100.1", now);
        assert_eq!(check(1_763_637_600 + 30), Ok(()));
        assert_eq!(check(1_763_637_600 + 31), Err(Denied::Expired));
        assert_eq!(check(1_763_637_600 - LONGEST - 31), Err(Denied::Lifetime));
    }

    #[test]
    fn a_key_signs_for_its_own_streams() {
        let Some(Ok(Form::Signed(signed))) = Ticket::new(STREAM).map(Ticket::read) else { unreachable!() };
        let peer = [198, 51, 100, 1].into();
        assert_eq!(check(&signed, None, &keys("sport/*"), "live/s7k2", peer, NOW), Err(Denied::Stream));
    }
}
