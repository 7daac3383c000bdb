//! What a viewer shows: a token or a signature. Pure, and total over hostile input.

use std::fmt;

use super::denied::Denied;

/// Longest ticket that is read, in characters.
pub const MAX_TICKET: usize = 2_048;
/// Longest name of a key.
pub(super) const MAX_KEY_ID: usize = 128;

/// A token (JWT) or a signature, as text that no URL changes: `A–Z a–z 0–9 - _ . ~`. It prints as `…` (AUTH-25).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Ticket<'a>(&'a str);

/// The two forms of a ticket.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Form<'a> {
    /// `HEADER.CLAIMS.SIGNATURE` (RFC 7519).
    Jwt(Jwt<'a>),
    /// `v1~KEY~EXPIRES~SIGNATURE`: what a signed URL says, in one step of a path (AUTH-20).
    Signed(Signed<'a>),
}

/// The parts of a token, each still in base64url.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Jwt<'a> {
    /// What the signature is over: header, dot, claims.
    pub signed: &'a str,
    /// The JOSE header.
    pub header: &'a str,
    /// The claims.
    pub claims: &'a str,
    /// The signature.
    pub signature: &'a str,
}

/// The parts of a signed URL.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signed<'a> {
    /// Which key; empty for the only one.
    pub key: &'a str,
    /// Unix seconds.
    pub expires: u64,
    /// HMAC-SHA-256 in base64url.
    pub signature: &'a str,
}

impl<'a> Ticket<'a> {
    /// A text that may be a ticket, or `None`.
    pub fn new(text: &'a str) -> Option<Self> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
        let fits = !text.is_empty() && text.len() <= MAX_TICKET;
        (fits && !matches!(text, "." | "..") && text.bytes().all(plain)).then_some(Self(text))
    }

    /// The text, for the one place that sends it on.
    pub fn expose(self) -> &'a str {
        self.0
    }

    /// Its parts.
    pub fn read(self) -> Result<Form<'a>, Denied> {
        if self.0.contains('~') {
            return Self::signed(self.0).map(Form::Signed).ok_or(Denied::Malformed);
        }
        let jwt = || {
            let (signed, signature) = self.0.rsplit_once('.')?;
            let (header, claims) = signed.split_once('.')?;
            let whole = !header.is_empty() && !claims.is_empty() && !claims.contains('.');
            whole.then_some(Jwt { signed, header, claims, signature })
        };
        jwt().map(Form::Jwt).ok_or(Denied::Malformed)
    }

    fn signed(text: &'a str) -> Option<Signed<'a>> {
        let mut parts = text.split('~');
        let (version, key, expires, signature) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let good = version == "v1" && parts.next().is_none() && key.len() <= MAX_KEY_ID;
        good.then_some(Signed { key, expires: seconds(expires)?, signature })
    }
}

/// Unix seconds as digits, and as nothing else: no sign, no leading zero, before the year 33658.
fn seconds(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.len() <= 12 && text.bytes().all(|byte| byte.is_ascii_digit());
    (digits && !text.starts_with('0')).then(|| text.parse().ok()).flatten()
}

impl fmt::Debug for Ticket<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ticket(…)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Option<Form<'_>> {
        Ticket::new(text)?.read().ok()
    }

    #[test]
    fn a_ticket_is_a_token_or_a_signature() {
        assert!(matches!(
            read("a.b.c"),
            Some(Form::Jwt(Jwt { signed: "a.b", header: "a", claims: "b", signature: "c" }))
        ));
        // An unsigned token is a token; nobody's key fits it.
        assert!(matches!(read("a.b."), Some(Form::Jwt(Jwt { signature: "", .. }))));
        let signed = read("v1~shop.eu~1763637600~c2ln");
        assert!(matches!(signed, Some(Form::Signed(Signed { key: "shop.eu", expires: 1_763_637_600, .. }))));
        for text in [
            "",
            ".",
            "..",
            "a",
            "a.b",
            ".b.c",
            "a..c",
            "a.b.c.d",
            "a b.c.d",
            "a%2eb.c.d",
            "a/b.c.d",
            "ä.b.c",
            "v1~k~1~s~x",
            "v1~k~s",
            "v2~k~1~s",
            "v1~k~+1~s",
            "v1~k~01~s",
            "v1~k~0~s",
            "v1~k~~s",
            "v1~k~1e3~s",
            "v1~k~9999999999999~s",
            "~~~",
            "a.b.c~",
        ] {
            assert!(read(text).is_none(), "{text}");
        }
        assert!(
            Ticket::new(&"x".repeat(MAX_TICKET)).is_some()
                && Ticket::new(&"x".repeat(MAX_TICKET + 1)).is_none()
        );
    }

    #[test]
    fn a_ticket_is_never_printed() {
        assert_eq!(format!("{:?}", Ticket::new("a.b.secret")), "Some(Ticket(…))");
    }

    proptest! {
        #[test]
        fn whatever_is_read_is_part_of_the_text(text in "[A-Za-z0-9._~-]{0,60}|\\PC{0,20}") {
            let Some(ticket) = Ticket::new(&text) else { return Ok(()) };
            prop_assert!(!text.contains(['/', '%', '?', '\\', '\0']));
            match ticket.read() {
                Ok(Form::Jwt(jwt)) => {
                    prop_assert_eq!(format!("{}.{}.{}", jwt.header, jwt.claims, jwt.signature), &*text);
                    prop_assert_eq!(format!("{}.{}", jwt.signed, jwt.signature), &*text);
                }
                Ok(Form::Signed(signed)) => {
                    prop_assert_eq!(format!("v1~{}~{}~{}", signed.key, signed.expires, signed.signature), &*text);
                }
                Err(denied) => prop_assert_eq!(denied, Denied::Malformed),
            }
        }
    }
}
