//! Who is an operator: passwords and tokens, kept as hashes, tried not too often (AUTH-4).

mod file;
mod guard;

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use aqueduct_common::Secret;
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::{digest, pbkdf2};
use serde::{Deserialize, Serialize};

pub use file::{PasswordError, own_password};
pub use guard::Guard;

/// Rounds of a password's hash: a tenth of a second.
const ROUNDS: NonZeroU32 = NonZeroU32::new(210_000).expect("it is not zero");
/// How long a page stays logged in.
const LOGGED_IN: Duration = Duration::from_secs(12 * 3_600);
/// Pages that are logged in at a time; the oldest has to log in again.
const LOGINS: usize = 1_024;
/// Characters of the longest password or token that is looked at.
const LONGEST: usize = 256;

/// What somebody may do.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Read everything.
    #[default]
    Viewer,
    /// Change things as well.
    Admin,
}

/// Why a text is no hash of a password.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("it is no password's hash")]
pub struct BadHash;

/// A password's hash, salted and slow.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash {
    salt: [u8; 16],
    hash: [u8; 32],
}

impl PasswordHash {
    /// Hashes a password with a new salt; `None` where the system gives no random bytes.
    pub fn new(password: &str) -> Option<Self> {
        let mut salt = [0; 16];
        SystemRandom::new().fill(&mut salt).ok()?;
        let mut hash = [0; 32];
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, ROUNDS, &salt, password.as_bytes(), &mut hash);
        Some(Self { salt, hash })
    }

    /// As it is kept.
    pub fn text(&self) -> String {
        format!("pbkdf2:{}:{}", hex(&self.salt), hex(&self.hash))
    }

    /// Reads what [`text`](Self::text) wrote.
    pub fn read(text: &str) -> Result<Self, BadHash> {
        let (salt, hash) =
            text.trim().strip_prefix("pbkdf2:").and_then(|rest| rest.split_once(':')).ok_or(BadHash)?;
        Ok(Self { salt: unhex(salt).ok_or(BadHash)?, hash: unhex(hash).ok_or(BadHash)? })
    }

    /// Takes a tenth of a second.
    fn is_of(&self, password: &str) -> bool {
        let algorithm = pbkdf2::PBKDF2_HMAC_SHA256;
        pbkdf2::verify(algorithm, ROUNDS, &self.salt, password.as_bytes(), &self.hash).is_ok()
    }
}

impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut out = [0; N];
    if text.len() != 2 * N || !text.is_ascii() {
        return None;
    }
    for (slot, pair) in out.iter_mut().zip(text.as_bytes().chunks(2)) {
        *slot = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(out)
}

/// A tool's token: long and random, so a quick hash will do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Token {
    /// SHA-256.
    pub digest: [u8; 32],
    /// What its holder may do.
    pub role: Role,
}

/// Who may in.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    /// Of the admin.
    pub password: Option<PasswordHash>,
    /// Of tools.
    pub tokens: Vec<Token>,
}

/// Decides who may in.
#[derive(Debug)]
pub struct Access {
    /// `None`: the port is reached from this machine alone.
    credentials: Option<Credentials>,
    guard: Guard,
    logins: Mutex<HashMap<[u8; 32], (Role, Instant)>>,
}

/// What came of showing something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shown {
    /// It is known.
    Known(Role),
    /// It is not.
    Unknown,
    /// Too many were wrong from there.
    TooMany,
}

impl Access {
    /// Everybody who reaches the port is the operator.
    pub fn open() -> Self {
        Self { credentials: None, guard: Guard::default(), logins: Mutex::default() }
    }

    /// Whoever shows one of these.
    pub fn with(credentials: Credentials) -> Self {
        Self { credentials: Some(credentials), ..Self::open() }
    }

    /// Something has to be shown here at all.
    pub fn asks(&self) -> bool {
        self.credentials.is_some()
    }

    /// The role of who shows this token and this cookie, at `now`.
    pub fn role(&self, bearer: Option<&str>, cookie: Option<&str>, from: IpAddr, now: Instant) -> Shown {
        let Some(credentials) = &self.credentials else { return Shown::Known(Role::Admin) };
        if let Some(role) = cookie.and_then(|cookie| self.logged_in(cookie, now)) {
            return Shown::Known(role);
        }
        let Some(bearer) = bearer else { return Shown::Unknown };
        if self.guard.is_shut(from, now) {
            return Shown::TooMany;
        }
        match credentials.token(bearer) {
            Some(role) => Shown::Known(role),
            None => {
                self.guard.failed(from, now);
                Shown::Unknown
            }
        }
    }

    /// The role of this password or token. Takes a tenth of a second for a password: not on a thread that serves.
    pub fn check(&self, secret: &str, from: IpAddr, now: Instant) -> Shown {
        let Some(credentials) = &self.credentials else { return Shown::Known(Role::Admin) };
        if self.guard.is_shut(from, now) {
            return Shown::TooMany;
        }
        if secret.len() <= LONGEST {
            if let Some(role) = credentials.token(secret) {
                return Shown::Known(role);
            }
            if credentials.password.as_ref().is_some_and(|hash| hash.is_of(secret)) {
                return Shown::Known(Role::Admin);
            }
        }
        self.guard.failed(from, now);
        Shown::Unknown
    }

    /// Logs a page in: what its cookie holds. `None` where the system gives no random bytes.
    pub fn log_in(&self, role: Role, now: Instant) -> Option<Secret> {
        let mut bytes = [0; 32];
        SystemRandom::new().fill(&mut bytes).ok()?;
        let text = hex(&bytes);
        let mut logins = self.logins.lock().unwrap_or_else(PoisonError::into_inner);
        logins.retain(|_, (_, until)| *until > now);
        if logins.len() >= LOGINS {
            let oldest = logins.iter().min_by_key(|(_, (_, until))| *until).map(|(key, _)| *key);
            oldest.map(|key| logins.remove(&key));
        }
        logins.insert(sha256(&text), (role, now + LOGGED_IN));
        Some(Secret::new(text))
    }

    /// Logs it out.
    pub fn log_out(&self, cookie: &str) {
        self.logins.lock().unwrap_or_else(PoisonError::into_inner).remove(&sha256(cookie));
    }

    fn logged_in(&self, cookie: &str, now: Instant) -> Option<Role> {
        let logins = self.logins.lock().unwrap_or_else(PoisonError::into_inner);
        logins.get(&sha256(cookie)).filter(|(_, until)| *until > now).map(|(role, _)| *role)
    }
}

impl Credentials {
    /// Every token is compared whole, whether or not one before it was right.
    fn token(&self, shown: &str) -> Option<Role> {
        if shown.len() > LONGEST {
            return None;
        }
        let digest = sha256(shown);
        let same = |token: &&Token| {
            token.digest.iter().zip(digest).fold(0, |differing, (a, b)| differing | (a ^ b)) == 0
        };
        self.tokens.iter().filter(same).map(|token| token.role).max()
    }
}

/// The digest of a token.
pub fn sha256(text: &str) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, text.as_bytes()).as_ref());
    out
}

/// Reads `sha256:…`, as `aqueduct key hash` prints it.
pub fn read_digest(text: &str) -> Option<[u8; 32]> {
    unhex(text.strip_prefix("sha256:")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[expect(clippy::disallowed_methods, reason = "tests need some instant to start from")]
    fn start() -> Instant {
        Instant::now()
    }

    #[test]
    fn a_password_is_known_by_its_hash_and_guesses_are_shut_out() {
        let hash = PasswordHash::new("correct horse").unwrap();
        let kept = PasswordHash::read(&hash.text()).unwrap();
        assert!(!hash.text().contains("horse") && !format!("{hash:?}").contains("pbkdf2"));
        let tokens = vec![Token { digest: sha256("a-token-for-a-tool"), role: Role::Viewer }];
        let access = Access::with(Credentials { password: Some(kept), tokens });
        let now = start();
        assert_eq!(access.check("correct horse", HERE, now), Shown::Known(Role::Admin));
        assert_eq!(access.check("a-token-for-a-tool", HERE, now), Shown::Known(Role::Viewer));
        for _ in 0..10 {
            assert_eq!(access.role(Some("wrong"), None, HERE, now), Shown::Unknown);
        }
        assert_eq!(access.check("correct horse", HERE, now), Shown::TooMany);
        let elsewhere = "203.0.113.9".parse().unwrap();
        assert_eq!(access.check("correct horse", elsewhere, now), Shown::Known(Role::Admin));
        assert_eq!(
            access.check("correct horse", HERE, now + Duration::from_secs(301)),
            Shown::Known(Role::Admin)
        );
    }

    #[test]
    fn a_page_stays_logged_in_until_it_logs_out_or_the_day_is_over() {
        let access = Access::with(Credentials::default());
        let now = start();
        let cookie = access.log_in(Role::Viewer, now).unwrap();
        let role = |now| access.role(None, Some(cookie.expose()), HERE, now);
        assert_eq!(role(now), Shown::Known(Role::Viewer));
        assert_eq!(role(now + LOGGED_IN), Shown::Unknown);
        access.log_out(cookie.expose());
        assert_eq!(role(now), Shown::Unknown);
        assert_eq!(Access::open().role(None, None, HERE, now), Shown::Known(Role::Admin));
    }

    #[test]
    fn what_is_no_hash_is_refused() {
        for text in ["", "pbkdf2:", "pbkdf2:00:11", "sha256:00", "pbkdf2:zz:zz"] {
            assert!(PasswordHash::read(text).is_err(), "{text}");
        }
        assert_eq!(read_digest(&format!("sha256:{}", "ab".repeat(32))), Some([0xab; 32]));
        assert_eq!(read_digest(&format!("sha256:{}", "é".repeat(32))), None);
    }
}
