//! Compact JWS (RFC 7515): a token's header read, its key chosen, its signature checked.
//!
//! Nothing of a header is trusted but the choice it makes among keys that are here: `jku`, `jwk` and `x5u` are not
//! looked at, `crit` is refused.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::denied::Denied;
use super::key::{Algorithm, Key, KeySet};
use super::ticket::{Jwt, MAX_KEY_ID};

#[derive(serde::Deserialize)]
struct Header<'a> {
    #[serde(borrow)]
    alg: Cow<'a, str>,
    #[serde(borrow)]
    kid: Option<Cow<'a, str>>,
    #[serde(borrow)]
    typ: Option<Cow<'a, str>>,
    crit: Option<serde::de::IgnoredAny>,
}

/// The claims as JSON, and the key that signed them.
pub(super) fn verify<'k>(token: &Jwt<'_>, keys: &'k KeySet) -> Result<(String, &'k Key), Denied> {
    let header = text(token.header)?;
    let header: Header<'_> = serde_json::from_str(&header).map_err(|_| Denied::Malformed)?;
    let algorithm = Algorithm::named(&header.alg).ok_or(Denied::Algorithm)?;
    let is_jwt = |typ: &Cow<'_, str>| typ.eq_ignore_ascii_case("JWT");
    if header.crit.is_some() || !header.typ.as_ref().is_none_or(is_jwt) {
        return Err(Denied::Malformed);
    }
    let id = header.kid.as_deref();
    if id.is_some_and(|id| id.len() > MAX_KEY_ID) {
        return Err(Denied::Key);
    }
    let key = keys.pick(id, algorithm)?;
    let signature = decode(token.signature)?;
    if !key.verify(token.signed.as_bytes(), &signature) {
        return Err(Denied::Signature);
    }
    Ok((text(token.claims)?, key))
}

/// JSON is UTF-8 throughout (RFC 7519, section 7.2), also where nobody looks at it.
fn text(part: &str) -> Result<String, Denied> {
    String::from_utf8(decode(part)?).map_err(|_| Denied::Malformed)
}

/// Base64url without padding; each text has one spelling, so that a token has one as well.
fn decode(text: &str) -> Result<Vec<u8>, Denied> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| Denied::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::key::jwks;
    use crate::token::ticket::{Form, Ticket};

    fn keys(key: &str) -> KeySet {
        KeySet::new(jwks(format!(r#"{{"keys":[{key}]}}"#).as_bytes(), true).unwrap())
    }

    fn check(token: &str, keys: &KeySet) -> Result<String, Denied> {
        let Some(Ok(Form::Jwt(token))) = Ticket::new(token).map(Ticket::read) else {
            return Err(Denied::Malformed);
        };
        verify(&token, keys).map(|(claims, _)| claims)
    }

    const CLAIMS: &str =
        "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    const OCT: &str = r#"{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}"#;
    const EC: &str = r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;
    const ED: &str = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;

    fn examples() -> [(String, &'static str, &'static str); 3] {
        [
            // RFC 7515, appendix A.1 and A.3; RFC 8037, appendix A.4.
            (format!("eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.{CLAIMS}.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"), OCT, r#"{"iss":"joe""#),
            (format!("eyJhbGciOiJFUzI1NiJ9.{CLAIMS}.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"), EC, r#"{"iss":"joe""#),
            ("eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg".into(), ED, "Example of Ed25519 signing"),
        ]
    }

    #[test]
    fn the_examples_of_the_rfcs_verify() {
        for (token, key, begins) in examples() {
            let claims = check(&token, &keys(key)).unwrap();
            assert!(claims.starts_with(begins), "{token}");
        }
    }

    #[test]
    fn one_changed_character_is_no_signature() {
        for (token, key, _) in examples() {
            let keys = keys(key);
            for at in 0..token.len() {
                let mut changed = token.clone().into_bytes();
                changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
                let changed = String::from_utf8(changed).unwrap();
                assert!(check(&changed, &keys).is_err(), "at {at}");
            }
            assert!(check(&format!("{token}="), &keys).is_err());
            assert!(check(&token[..token.len() - 1], &keys).is_err());
        }
    }

    #[test]
    fn headers_that_try_something_are_refused() {
        let header = |json: &str| format!("{}.{CLAIMS}.", URL_SAFE_NO_PAD.encode(json));
        for (json, denied) in [
            (r#"{"alg":"none"}"#, Denied::Algorithm),
            (r#"{"alg":"NONE"}"#, Denied::Algorithm),
            (r#"{"alg":""}"#, Denied::Algorithm),
            (r#"{"alg":"hs256"}"#, Denied::Algorithm),
            (r#"{"alg":"RS256"}"#, Denied::Algorithm),
            (r#"{"alg":"HS256","typ":"JWE"}"#, Denied::Malformed),
            (r#"{"alg":"HS256","typ":7}"#, Denied::Malformed),
            (r#"{"alg":"HS256","alg":"none"}"#, Denied::Malformed),
            (r#"{"alg":"HS256","crit":["b64"],"b64":false}"#, Denied::Malformed),
            (r#"{"alg":"EdDSA"}"#, Denied::Key),
            (r#"{"alg":"HS256","kid":"../../dev/null"}"#, Denied::Key),
            (r#"{"alg":"HS256"}"#, Denied::Signature),
            (r#"{"kid":"x"}"#, Denied::Malformed),
            ("[]", Denied::Malformed),
        ] {
            assert_eq!(check(&header(json), &keys(OCT)), Err(denied), "{json}");
        }
        let long = format!(r#"{{"alg":"HS256","kid":"{}"}}"#, "k".repeat(200));
        assert_eq!(check(&header(&long), &keys(OCT)), Err(Denied::Key));
    }
}
