//! What a token claims, and whether that is enough for a request (AUTH-10). Pure: the time is a value.

use std::net::IpAddr;
use std::sync::Arc;

use aqueduct_common::StreamPattern;
use serde::Deserialize;

use super::denied::Denied;
use super::network::Network;

/// Clocks may differ by so much, in seconds.
pub const SKEW: u64 = 30;
/// Longest time that a ticket may be valid, in seconds.
pub const LONGEST: u64 = 24 * 3_600;
/// Most streams and audiences that one token may name.
const MAX_NAMES: usize = 64;
/// Longest identifier, in bytes.
const MAX_ID: usize = 256;

/// Whose tokens count, and where.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Policy<'a> {
    pub(super) issuer: Option<&'a str>,
    pub(super) audience: Option<&'a str>,
}

/// Who holds a ticket, as far as the revocation list may name it.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Identity {
    pub(super) token: Option<String>,
    pub(super) viewer: Option<String>,
    pub(super) session: Option<String>,
}

/// What a genuine ticket allows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Grant {
    /// Streams that it opens.
    pub(super) streams: Vec<StreamPattern>,
    /// And which of them its key may open.
    pub(super) within: StreamPattern,
    /// Unix seconds.
    pub(super) begins: u64,
    pub(super) expires: u64,
    /// Until when a session goes on that is under way when the token expires (AUTH-14).
    pub(super) session_ends: Option<u64>,
    pub(super) network: Option<Network>,
    pub(super) identity: Arc<Identity>,
}

#[derive(Deserialize)]
struct Claims {
    iss: Option<String>,
    aud: Option<Names>,
    sub: Option<String>,
    exp: NumericDate,
    nbf: Option<NumericDate>,
    iat: Option<NumericDate>,
    jti: Option<String>,
    #[serde(rename = "str")]
    streams: Option<Names>,
    act: Option<Names>,
    ip: Option<String>,
    sid: Option<String>,
    hard_exp: Option<NumericDate>,
    geo: Option<serde::de::IgnoredAny>,
    max_res: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Names {
    One(String),
    Many(Vec<String>),
}

impl Names {
    fn all(&self) -> &[String] {
        match self {
            Self::One(name) => std::slice::from_ref(name),
            Self::Many(names) => names,
        }
    }

    fn name(&self, wanted: &str) -> bool {
        self.all().iter().any(|name| name == wanted)
    }
}

/// Unix seconds, which JSON may give a fraction (RFC 7519, section 2).
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "serde_json::Number")]
struct NumericDate(u64);

impl TryFrom<serde_json::Number> for NumericDate {
    type Error = &'static str;

    fn try_from(number: serde_json::Number) -> Result<Self, Self::Error> {
        const LAST: f64 = 1e12;
        let float = || number.as_f64().filter(|seconds| (0.0..LAST).contains(seconds));
        #[expect(clippy::cast_sign_loss, reason = "the range holds no negative number")]
        let seconds = number.as_u64().or_else(|| float().map(|seconds| seconds as u64));
        seconds.filter(|seconds| *seconds < LAST as u64).map(Self).ok_or("not a time in seconds since 1970")
    }
}

impl Grant {
    /// Reads the claims of a token whose signature is good, and checks what is the same for every request with it. A
    /// claim that stands twice, or of the wrong type, spoils the token.
    pub(super) fn read(
        json: &str,
        within: StreamPattern,
        policy: Policy<'_>,
        now: u64,
    ) -> Result<Self, Denied> {
        let claims: Claims = serde_json::from_str(json).map_err(|_| Denied::Malformed)?;
        if policy.issuer.is_some_and(|issuer| claims.iss.as_deref() != Some(issuer)) {
            return Err(Denied::Issuer);
        }
        let names_us = |audience| claims.aud.as_ref().is_some_and(|names| names.name(audience));
        if !policy.audience.is_none_or(names_us) {
            return Err(Denied::Audience);
        }
        if claims.act.as_ref().is_some_and(|acts| !acts.name("play")) {
            return Err(Denied::Action);
        }
        // To pass over a restriction would be to grant more than was meant.
        if claims.geo.is_some() || claims.max_res.is_some() {
            return Err(Denied::Restriction);
        }
        let begins = [claims.nbf, claims.iat].into_iter().flatten().map(|date| date.0).max().unwrap_or(0);
        let last = claims.hard_exp.map_or(0, |date| date.0).max(claims.exp.0);
        // Without `iat` it could have been made now at the latest.
        if last.saturating_sub(claims.iat.map_or(now + SKEW, |date| date.0)) > LONGEST {
            return Err(Denied::Lifetime);
        }
        let network = claims.ip.map(|text| text.parse()).transpose().map_err(|_| Denied::Malformed)?;
        let identity = Identity { token: claims.jti, viewer: claims.sub, session: claims.sid };
        let ids = [&identity.token, &identity.viewer, &identity.session];
        if ids.into_iter().flatten().any(|id| id.len() > MAX_ID) {
            return Err(Denied::Malformed);
        }
        Ok(Self {
            streams: streams(claims.streams.as_ref())?,
            within,
            begins,
            expires: claims.exp.0,
            session_ends: claims.hard_exp.map(|date| date.0),
            network,
            identity: Arc::new(identity),
        })
    }

    /// Whether it allows this request. `under_way`: the same token was used from the same network moments ago.
    pub(super) fn check(
        &self,
        stream: &str,
        peer: IpAddr,
        now: u64,
        under_way: impl FnOnce() -> bool,
    ) -> Result<(), Denied> {
        if now + SKEW < self.begins {
            return Err(Denied::Early);
        }
        if now > self.expires + SKEW {
            let goes_on = self.session_ends.is_some_and(|end| now <= end + SKEW) && under_way();
            if !goes_on {
                return Err(Denied::Expired);
            }
        }
        let named = self.streams.iter().any(|pattern| pattern.covers_text(stream));
        if !named || !self.within.covers_text(stream) {
            return Err(Denied::Stream);
        }
        if self.network.is_some_and(|network| !network.covers(peer)) {
            return Err(Denied::Address);
        }
        Ok(())
    }
}

/// The streams of `str`: names (`live/show`), patterns (`live/*`, `*`) or path prefixes (`/live/show/`, `/live/`).
fn streams(names: Option<&Names>) -> Result<Vec<StreamPattern>, Denied> {
    let names = names.map_or(&[][..], Names::all);
    if names.len() > MAX_NAMES {
        return Err(Denied::Malformed);
    }
    names.iter().map(|name| pattern(name).ok_or(Denied::Malformed)).collect()
}

fn pattern(text: &str) -> Option<StreamPattern> {
    let Some(path) = text.strip_prefix('/') else { return text.parse().ok() };
    let path = path.strip_suffix('/').unwrap_or(path);
    if path.contains('/') { path.parse() } else { format!("{path}/*").parse() }.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn read(json: &str) -> Result<Grant, Denied> {
        Grant::read(json, StreamPattern::Any, Policy::default(), NOW)
    }

    /// A token for live/s7 that is valid for five minutes, with more claims.
    fn with(more: &str) -> String {
        format!(r#"{{"exp":{},"iat":{NOW},"str":"live/s7"{more}}}"#, NOW + 300)
    }

    fn at(grant: &Grant, stream: &str, now: u64) -> Result<(), Denied> {
        grant.check(stream, [203, 0, 113, 7].into(), now, || false)
    }

    #[test]
    fn clocks_may_differ_by_thirty_seconds() {
        let grant = read(&format!(r#"{{"exp":{},"nbf":{NOW},"str":"live/s7"}}"#, NOW + 300)).unwrap();
        for (now, expected) in [
            (NOW - 31, Err(Denied::Early)),
            (NOW - 30, Ok(())),
            (NOW + 300 + 29, Ok(())),
            (NOW + 300 + 30, Ok(())),
            (NOW + 300 + 31, Err(Denied::Expired)),
        ] {
            assert_eq!(at(&grant, "live/s7", now), expected, "{now}");
        }
    }

    #[test]
    fn a_token_opens_what_it_names_and_nothing_that_begins_alike() {
        for (claim, opens, closed) in [
            (r#""live/s7""#, "live/s7", "live/s7k2"),
            (r#""/live/s7""#, "live/s7", "live/s7k2"),
            (r#""/live/s7/""#, "live/s7", "live/s7k2"),
            (r#""live/*""#, "live/any", "live2/any"),
            (r#""/live/""#, "live/any", "live2/any"),
            (r#""*""#, "other/any", ""),
            (r#"["sport/a","live/s7"]"#, "live/s7", "sport/b"),
        ] {
            let grant = read(&format!(r#"{{"exp":{},"str":{claim}}}"#, NOW + 300)).unwrap();
            assert_eq!(at(&grant, opens, NOW), Ok(()), "{claim}");
            assert!(closed.is_empty() || at(&grant, closed, NOW) == Err(Denied::Stream), "{claim}");
            assert!(claim == r#""*""# || at(&grant, "LIVE/S7", NOW).is_err(), "{claim}");
        }
        // No stream is named, or none that could exist.
        let nothing = read(&format!(r#"{{"exp":{}}}"#, NOW + 300)).unwrap();
        assert_eq!(at(&nothing, "live/s7", NOW), Err(Denied::Stream));
        for claim in [r#""live""#, r#""/""#, r#""//""#, r#""/live//""#, r#""../x""#, r#""live/s7%2f""#, "7"] {
            assert_eq!(
                read(&format!(r#"{{"exp":{},"str":{claim}}}"#, NOW + 300)).unwrap_err(),
                Denied::Malformed,
                "{claim}"
            );
        }
    }

    #[test]
    fn a_key_may_be_for_fewer_streams_than_its_tokens_say() {
        let within = "sport/*".parse().unwrap();
        let grant = Grant::read(&with(""), within, Policy::default(), NOW).unwrap();
        assert_eq!(at(&grant, "live/s7", NOW), Err(Denied::Stream));
    }

    #[test]
    fn claims_that_cannot_be_trusted_spoil_the_token() {
        for (json, denied) in [
            (r#"{"str":"live/s7"}"#.to_owned(), Denied::Malformed),
            (with(r#","exp":1"#), Denied::Malformed),
            (with(r#","str":"*""#), Denied::Malformed),
            (with("").replace(&(NOW + 300).to_string(), "\"soon\""), Denied::Malformed),
            (with("").replace(&(NOW + 300).to_string(), "-5"), Denied::Malformed),
            (with("").replace(&(NOW + 300).to_string(), "1e300"), Denied::Malformed),
            (with(r#","nbf":"x""#), Denied::Malformed),
            (with(r#","ip":"here""#), Denied::Malformed),
            (with(&format!(r#","sub":"{}""#, "x".repeat(300))), Denied::Malformed),
            (with(r#","geo":["CH"]"#), Denied::Restriction),
            (with(r#","max_res":720"#), Denied::Restriction),
            (with(r#","act":["publish"]"#), Denied::Action),
            (with(&format!(r#","hard_exp":{}"#, NOW + LONGEST + 1)), Denied::Lifetime),
            (format!(r#"{{"exp":{},"iat":{NOW},"str":"*"}}"#, NOW + LONGEST + 1), Denied::Lifetime),
            (format!(r#"{{"exp":{},"str":"*"}}"#, NOW + LONGEST + SKEW + 1), Denied::Lifetime),
            ("[]".to_owned(), Denied::Malformed),
            ("null".to_owned(), Denied::Malformed),
        ] {
            assert_eq!(read(&json).unwrap_err(), denied, "{json}");
        }
        assert!(read(&with(r#","act":["play","preview"],"unknown":[1],"nbf":1.5"#)).is_ok());
    }

    #[test]
    fn issuer_and_audience_count_where_they_are_configured() {
        let policy = Policy { issuer: Some("shop"), audience: Some("e1.example") };
        let read = |more: &str| Grant::read(&with(more), StreamPattern::Any, policy, NOW).map(|_| ());
        assert_eq!(read(r#","iss":"shop","aud":"e1.example""#), Ok(()));
        assert_eq!(read(r#","iss":"shop","aud":["x","e1.example"]"#), Ok(()));
        assert_eq!(read(r#","aud":"e1.example""#), Err(Denied::Issuer));
        assert_eq!(read(r#","iss":"shop2","aud":"e1.example""#), Err(Denied::Issuer));
        assert_eq!(read(r#","iss":"shop""#), Err(Denied::Audience));
        assert_eq!(read(r#","iss":"shop","aud":"e1.example.org""#), Err(Denied::Audience));
    }

    #[test]
    fn an_address_is_compared_by_its_network() {
        let grant = read(&with(r#","ip":"203.0.113.0/24""#)).unwrap();
        let check = |peer: &str| grant.check("live/s7", peer.parse().unwrap(), NOW, || false);
        assert_eq!(check("203.0.113.200"), Ok(()));
        assert_eq!(check("::ffff:203.0.113.200"), Ok(()));
        assert_eq!(check("203.0.114.1"), Err(Denied::Address));
        assert_eq!(check("2001:db8::1"), Err(Denied::Address));
    }

    #[test]
    fn a_session_under_way_outlives_its_token_until_its_hard_end() {
        let grant = read(&with(&format!(r#","hard_exp":{}"#, NOW + 3_600))).unwrap();
        let check = |now, under_way| grant.check("live/s7", [203, 0, 113, 7].into(), now, || under_way);
        assert_eq!(check(NOW + 400, true), Ok(()));
        assert_eq!(check(NOW + 400, false), Err(Denied::Expired));
        assert_eq!(check(NOW + 3_631, true), Err(Denied::Expired));
        let plain = read(&with("")).unwrap();
        assert_eq!(plain.check("live/s7", [203, 0, 113, 7].into(), NOW + 400, || true), Err(Denied::Expired));
    }
}
