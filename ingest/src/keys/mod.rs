//! Who may publish what: keys, hashed as soon as they are read, compared in constant time.
//!
//! No key reaches a log, an event or an error; what may be logged is [`KeyRing::fingerprint`].

mod credentials;
mod entry;
mod file;

use std::collections::BTreeSet;

use aqueduct_common::name::NameError;
use aqueduct_common::source::SourceError;
use aqueduct_common::{Secret, SourceName, StreamName};
use ring::rand::{SecureRandom, SystemRandom};
use ring::{digest, hmac};

pub use credentials::Credentials;
pub(crate) use credentials::decode;
pub use entry::{KeyConfig, KeyEntry, KeyError, StreamPattern};
pub use file::{KeyFileError, append, load};

/// All keys of this server.
#[derive(Clone)]
pub struct KeyRing {
    /// Made anew by every process. Tags under it can be compared without care for timing.
    process: hmac::Key,
    keys: Vec<Held>,
    configured: bool,
}

#[derive(Clone)]
struct Held {
    pattern: StreamPattern,
    tag: hmac::Tag,
    source: Option<SourceName>,
}

/// Why a publish is refused for its key or its name. The display is what the streamer reads.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyRefusal {
    /// None was given, and one is needed.
    #[error("This server needs a key: put NAME?key=SECRET into the Stream Key field.")]
    Missing,
    /// It is wrong, or right for another stream; which of the two is not said (AUTH-4).
    #[error(
        "The stream key is wrong for this stream. Copy NAME?key=SECRET again from whoever runs the server."
    )]
    Wrong,
    /// A key alone, but it is not for exactly one stream.
    #[error("The key is right but names no stream: put NAME?key=SECRET into the Stream Key field.")]
    NamesNoStream,
    /// The key is right or none is needed, but the name cannot be used.
    #[error("This cannot be a stream's name: {0}.")]
    Name(NameError),
}

impl KeyRefusal {
    /// The metric label.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Missing | Self::Wrong => "bad_key",
            Self::NamesNoStream | Self::Name(_) => "bad_name",
        }
    }

    /// These credentials, refused so, count as a failed attempt to guess. A name that could be a key does, too.
    pub fn is_guess(&self, credentials: &Credentials) -> bool {
        match self {
            Self::Wrong => true,
            Self::Missing => credentials.steps().any(|step| step.len() >= entry::SHORTEST_SECRET),
            Self::NamesNoStream | Self::Name(_) => false,
        }
    }
}

/// The system gave no random bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system gives no random bytes, so no key can be made")]
pub struct NoRandom;

/// A new secret: `aq_` and 160 random bits in base32.
pub fn generate() -> Result<Secret, NoRandom> {
    let mut bytes = [0; 20];
    SystemRandom::new().fill(&mut bytes).map_err(|_| NoRandom)?;
    let bits = |index: usize| {
        let pair = u16::from_be_bytes([bytes[index / 8], *bytes.get(index / 8 + 1).unwrap_or(&0)]);
        usize::from(pair >> (11 - index % 8) & 31)
    };
    let text: String = (0..32).map(|digit| char::from(BASE32[bits(digit * 5)])).collect();
    Ok(Secret::new(format!("aq_{text}")))
}

/// RFC 4648, in lower case.
const BASE32: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

impl KeyRing {
    /// The keys of the configuration, and those kept in the data directory. The latter do not count for the rule
    /// that loopback needs no key until one is configured.
    pub fn new(configured: &[KeyEntry], kept: &[KeyEntry]) -> Result<Self, NoRandom> {
        let process = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).map_err(|_| NoRandom)?;
        let held = |entry: &KeyEntry| Held {
            pattern: entry.pattern.clone(),
            tag: hmac::sign(&process, &entry.digest),
            source: entry.source.clone(),
        };
        let keys = configured.iter().chain(kept).map(held).collect();
        Ok(Self { process, keys, configured: !configured.is_empty() })
    }

    /// The stream that these credentials may publish. `loopback` publishers need no key until one is configured.
    pub fn check(&self, credentials: &Credentials, loopback: bool) -> Result<StreamName, KeyRefusal> {
        let stream = credentials.stream();
        // However the encoder splits app and name, a key must not become a half of a public name.
        let halves = stream.iter().flat_map(|stream| [stream.app(), stream.name()]);
        for given in halves.chain([credentials.name()]) {
            let by_name = self.patterns(given);
            if !by_name.is_empty() {
                return single_stream(&by_name).cloned().ok_or(KeyRefusal::NamesNoStream);
            }
        }
        if let Some(key) = credentials.key() {
            let matching = self.patterns(key);
            return match stream {
                Ok(stream) if matching.iter().any(|pattern| pattern.covers(&stream)) => Ok(stream),
                Err(error) if !matching.is_empty() => Err(KeyRefusal::Name(error)),
                _ => Err(KeyRefusal::Wrong),
            };
        }
        match loopback && !self.configured {
            true => stream.map_err(KeyRefusal::Name),
            false => Err(KeyRefusal::Missing),
        }
    }

    /// Which of the stream's sources a publisher with these credentials is: what its key stands for, or else what it
    /// says itself. `None` where neither says anything.
    ///
    /// # Errors
    /// When what it says is no source's name.
    pub fn source(&self, credentials: &Credentials) -> Result<Option<SourceName>, SourceError> {
        let stream = credentials.stream();
        let halves = stream.iter().flat_map(|stream| [stream.app(), stream.name()]);
        let mut secrets = halves.chain([credentials.name()]).chain(credentials.key());
        let of_key = secrets.find_map(|secret| self.matching(secret).find_map(|held| held.source.clone()));
        match (of_key, credentials.source()) {
            (Some(source), _) => Ok(Some(source)),
            (None, said) => said.map(SourceName::push).transpose(),
        }
    }

    /// Eight hex digits that stand for a name in logs, different in every process (RTMP-35).
    pub fn fingerprint(&self, credentials: &Credentials) -> String {
        let tag = hmac::sign(&self.process, credentials.name().as_bytes());
        tag.as_ref().iter().take(4).map(|byte| format!("{byte:02x}")).collect()
    }

    /// What a secret opens.
    fn patterns(&self, secret: &str) -> Vec<&StreamPattern> {
        self.matching(secret).map(|held| &held.pattern).collect()
    }

    /// The keys that a secret is. Every key is compared whole, whether or not one before it matched.
    fn matching(&self, secret: &str) -> impl Iterator<Item = &Held> + use<'_> {
        let digest = digest::digest(&digest::SHA256, secret.as_bytes());
        let tag = hmac::sign(&self.process, digest.as_ref());
        let matching: Vec<&Held> =
            self.keys.iter().filter(|held| same(held.tag.as_ref(), tag.as_ref())).collect();
        matching.into_iter()
    }
}

impl std::fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let streams: Vec<_> = self.keys.iter().map(|held| &held.pattern).collect();
        f.debug_struct("KeyRing").field("streams", &streams).finish_non_exhaustive()
    }
}

/// Equality without a branch on where the first difference is.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differing, (a, b)| differing | (a ^ b)) == 0
}

/// The one stream that these patterns name, if they name just one.
fn single_stream<'a>(patterns: &[&'a StreamPattern]) -> Option<&'a StreamName> {
    let named: BTreeSet<_> = patterns.iter().map(|pattern| pattern.single()).collect::<Option<_>>()?;
    let mut named = named.into_iter();
    named.next().filter(|_| named.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHOW: &str = "show-secret-0123456789";
    const ANY: &str = "any-secret-0123456789";

    fn entry(stream: &str, secret: &str) -> KeyEntry {
        KeyEntry::new(stream.parse().unwrap(), secret)
    }

    fn check(ring: &KeyRing, app: &str, name: &str, loopback: bool) -> Result<String, KeyRefusal> {
        ring.check(&Credentials::new(None, app, name), loopback).map(|stream| stream.to_string())
    }

    #[test]
    fn loopback_needs_no_key_until_one_is_configured() {
        let kept = KeyRing::new(&[], &[entry("*", ANY)]).unwrap();
        assert_eq!(check(&kept, "live", "x", true), Ok("live/x".into()));
        assert_eq!(check(&kept, "live", "x", false), Err(KeyRefusal::Missing));
        assert_eq!(check(&kept, "live", &format!("x?key={ANY}"), false), Ok("live/x".into()));
        assert_eq!(check(&kept, "live", "x?key=wrong", true), Err(KeyRefusal::Wrong));

        let configured = KeyRing::new(&[entry("live/show", SHOW)], &[entry("*", ANY)]).unwrap();
        assert_eq!(check(&configured, "live", "x", true), Err(KeyRefusal::Missing));
        assert_eq!(check(&configured, "live", &format!("x?key={ANY}"), true), Ok("live/x".into()));
    }

    #[test]
    fn a_key_opens_its_streams_and_no_others() {
        let other = "other-secret-0123456789";
        let ring =
            KeyRing::new(&[entry("live/show", SHOW), entry("live/show", other), entry("sport/*", ANY)], &[])
                .unwrap();
        for (app, name, result) in [
            ("live", format!("show?key={SHOW}"), Ok("live/show")),
            ("live", format!("show?key={other}"), Ok("live/show")),
            ("live", format!("show?key={ANY}"), Err(KeyRefusal::Wrong)),
            ("live", format!("Show?key={SHOW}"), Err(KeyRefusal::Wrong)),
            ("sport", format!("a?key={ANY}"), Ok("sport/a")),
            ("live", "show?key=".into(), Err(KeyRefusal::Wrong)),
            ("live", "show".into(), Err(KeyRefusal::Missing)),
            // The same whether the stream exists or not (AUTH-4).
            ("nowhere", "nothing?key=bad".into(), Err(KeyRefusal::Wrong)),
            ("a/b", "c/d?key=bad".into(), Err(KeyRefusal::Wrong)),
        ] {
            assert_eq!(check(&ring, app, &name, false), result.map(str::to_owned), "{app} {name}");
        }
        let bad_name = check(&ring, "a", &format!("b/c?key={ANY}"), false);
        assert_eq!(bad_name, Err(KeyRefusal::Name(NameError::Shape)));
    }

    #[test]
    fn a_key_alone_stands_for_its_one_stream_and_is_never_a_name() {
        let twice = "two-streams-0123456789";
        let keys = [
            entry("live/show", SHOW),
            entry("live/show", SHOW),
            entry("live/*", ANY),
            entry("live/a", twice),
            entry("live/b", twice),
        ];
        let ring = KeyRing::new(&keys, &[]).unwrap();
        assert_eq!(check(&ring, "live", SHOW, false), Ok("live/show".into()));
        assert_eq!(check(&ring, "live", ANY, false), Err(KeyRefusal::NamesNoStream));
        assert_eq!(check(&ring, "live", twice, false), Err(KeyRefusal::NamesNoStream));
        let kept = KeyRing::new(&[], &[entry("*", ANY)]).unwrap();
        let ways = |key: &str| {
            [
                ("live", key.to_owned()),
                ("", format!("live/{key}")),
                ("live", format!("{key}/")),
                ("live", format!("live/{key}")),
                ("live", format!("mp4:{key}")),
                ("live", key.replace('-', "%2d")),
            ]
            .map(|(app, name)| (app.to_owned(), name))
            .into_iter()
            .chain([(format!("live/{key}"), String::new()), (key.to_owned(), "x".into())])
        };
        for (app, name) in ways(ANY) {
            assert_eq!(check(&kept, &app, &name, true), Err(KeyRefusal::NamesNoStream), "{app} {name}");
        }
        for (app, name) in ways(SHOW) {
            assert_eq!(check(&ring, &app, &name, true), Ok("live/show".into()), "{app} {name}");
        }
    }

    #[test]
    fn a_key_says_which_source_its_publisher_is_and_else_the_publisher_does() {
        let backup = KeyEntry { source: Some("push:backup".parse().unwrap()), ..entry("live/show", SHOW) };
        let ring = KeyRing::new(&[backup, entry("live/*", ANY)], &[]).unwrap();
        let source = |name: &str| {
            let source = ring.source(&Credentials::new(None, "live", name));
            source.map(|source| source.map(|source| source.to_string()))
        };
        let backup = Ok(Some("push:backup".to_owned()));
        assert_eq!(source(SHOW), backup);
        assert_eq!(source(&format!("show?key={SHOW}")), backup);
        assert_eq!(source(&format!("show?key={SHOW}&source=main")), backup, "the key knows better");
        assert_eq!(source(&format!("show?key={ANY}&source=backup")), backup);
        assert_eq!(source(&format!("show?key={ANY}")), Ok(None));
        assert_eq!(source("show?source=backup"), backup);
        assert!(source("show?source=a+b/c").is_err());
    }

    #[test]
    fn a_name_that_could_be_a_key_counts_as_a_guess() {
        let ring = KeyRing::new(&[entry("live/show", SHOW)], &[]).unwrap();
        for (app, name, guess) in [
            ("live", "show", false),
            ("live", "a-guess-0123456789", true),
            ("", "live/a-guess-0123456789", true),
            ("live/a-guess-0123456789", "", true),
            ("live", "show?key=x", true),
        ] {
            let credentials = Credentials::new(None, app, name);
            let refusal = ring.check(&credentials, false).unwrap_err();
            assert_eq!(refusal.is_guess(&credentials), guess, "{app} {name}");
        }
    }

    #[test]
    fn nothing_printed_holds_a_secret() {
        let ring = KeyRing::new(&[entry("live/show", SHOW)], &[]).unwrap();
        let credentials =
            Credentials::new(Some("rtmp://h/live?key=tcsecret"), "live", &format!("{SHOW}?key={ANY}"));
        let refusal =
            ring.check(&Credentials::new(None, "live", &format!("x?key={ANY}")), false).unwrap_err();
        let printed =
            format!("{ring:?} {credentials:?} {refusal:?} {refusal} {}", ring.fingerprint(&credentials));
        for secret in [SHOW, ANY, "tcsecret"] {
            assert!(!printed.contains(secret), "{printed}");
        }
        assert_eq!(ring.fingerprint(&credentials).len(), 8);
    }

    #[test]
    fn generated_keys_are_long_and_differ() {
        let keys: BTreeSet<_> = (0..100).map(|_| generate().unwrap().expose().clone()).collect();
        assert_eq!(keys.len(), 100);
        for key in &keys {
            let digits = key.strip_prefix("aq_").unwrap();
            assert_eq!(digits.len(), 32);
            assert!(digits.bytes().all(|digit| BASE32.contains(&digit)));
        }
        let used: BTreeSet<_> = keys.iter().flat_map(|key| key.bytes().skip(3)).collect();
        assert_eq!(used.len(), 32, "every digit occurs");
        let entry = KeyEntry::new(StreamPattern::Any, keys.first().unwrap());
        let ring = KeyRing::new(&[], &[entry]).unwrap();
        assert!(check(&ring, "live", &format!("x?key={}", keys.first().unwrap()), false).is_ok());
    }
}
