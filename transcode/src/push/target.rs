//! Where a stream is sent on to: what the operator says, checked, and without its keys. Pure.

use std::fmt;
use std::sync::Arc;

use aqueduct_common::Secret;
use serde::{Deserialize, Serialize};

/// One entry of `[[stream.push]]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PushConfig {
    /// `rtmp://`, `rtmps://` or `srt://`.
    pub url: Secret,
    /// The stream key: for RTMP the last step of the URL, for SRT the stream id.
    pub key: Option<Secret>,
    /// What it is called in logs and the API; else the URL without its keys.
    pub name: Option<String>,
    /// `false` takes any certificate of an RTMPS server.
    pub verify: Option<bool>,
}

/// Why a target cannot be used. The text begins with the key, and holds no secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// The URL is not one of those that can be pushed to.
    #[error("url: write rtmp://HOST/APP/KEY, rtmps://HOST/APP/KEY or srt://HOST:PORT")]
    Scheme,
    /// The URL has no host, or an SRT one no port.
    #[error("url: the host is missing, or for srt:// the port")]
    Host,
    /// A character that no URL holds.
    #[error("url: blanks and control characters must be written as %20 and so on")]
    Character,
    /// The key holds what would change the URL.
    #[error("key: only what may stand in a URL")]
    Key,
    /// The name is empty, too long, or no word.
    #[error("name: 1 to 64 letters, digits, '_', '-' or '.'")]
    Name,
}

/// How it is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Form {
    /// FLV over RTMP.
    Flv,
    /// MPEG-TS over SRT.
    MpegTs,
}

/// A checked target.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    /// What may be shown of it.
    pub(crate) shown: Arc<str>,
    pub(crate) form: Form,
    pub(crate) url: Secret,
    key: Option<Secret>,
    pub(crate) verify: bool,
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Target").field(&self.shown).finish()
    }
}

impl Target {
    /// What may be shown of it: its name, or its URL without keys.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// Replaces what is secret, where a text holds it after all.
    pub(crate) fn without_secrets(&self, text: &str) -> String {
        let url = text.replace(self.url.expose().as_str(), &self.shown);
        match &self.key {
            Some(key) if !key.expose().is_empty() => url.replace(key.expose().as_str(), "…"),
            _ => url,
        }
    }
}

impl TryFrom<&PushConfig> for Target {
    type Error = TargetError;

    fn try_from(config: &PushConfig) -> Result<Self, TargetError> {
        let url = config.url.expose().as_str();
        if url.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(TargetError::Character);
        }
        let (scheme, rest) = url.split_once("://").ok_or(TargetError::Scheme)?;
        let form = match scheme {
            "rtmp" | "rtmps" => Form::Flv,
            "srt" => Form::MpegTs,
            _ => return Err(TargetError::Scheme),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        if host.is_empty() || (form == Form::MpegTs && !has_port) {
            return Err(TargetError::Host);
        }
        let key = config.key.as_ref().map(|key| key.expose().as_str());
        if key.is_some_and(|key| key.is_empty() || key.chars().any(|c| c.is_whitespace() || c.is_control())) {
            return Err(TargetError::Key);
        }
        let shown = match &config.name {
            Some(name) if is_name(name) => name.clone(),
            Some(_) => return Err(TargetError::Name),
            None => format!("{scheme}://{host}{}", shown_path(form, path, key.is_some())),
        };
        let url = Secret::new(with_key(form, url, key));
        Ok(Self {
            shown: shown.into(),
            form,
            url,
            key: config.key.clone(),
            verify: config.verify.unwrap_or(true),
        })
    }
}

fn is_name(name: &str) -> bool {
    let allowed = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-' | b'.');
    (1..=64).contains(&name.len()) && name.bytes().all(allowed)
}

/// The steps of an RTMP URL up to the last one, which is the key unless that stands apart; of SRT nothing, whose secrets
/// stand behind the question mark.
fn shown_path(form: Form, path: &str, key_apart: bool) -> String {
    let steps = path.split(['?', '#']).next().unwrap_or_default().trim_end_matches('/');
    match form {
        Form::MpegTs => String::new(),
        Form::Flv if key_apart => steps.to_owned(),
        Form::Flv => steps.rsplit_once('/').map_or_else(String::new, |(before, _)| format!("{before}/…")),
    }
}

fn with_key(form: Form, url: &str, key: Option<&str>) -> String {
    match (form, key) {
        (_, None) => url.to_owned(),
        (Form::Flv, Some(key)) => format!("{}/{key}", url.trim_end_matches('/')),
        (Form::MpegTs, Some(key)) => {
            let joint = if url.contains('?') { '&' } else { '?' };
            format!("{url}{joint}streamid={key}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn config(url: &str, key: Option<&str>) -> PushConfig {
        let secret = |text: &str| Secret::new(text.to_owned());
        PushConfig { url: secret(url), key: key.map(secret), ..PushConfig::default() }
    }

    #[test]
    fn what_is_shown_holds_no_key() {
        for (url, key, shown, whole) in [
            ("rtmp://h/live/KEY", None, "rtmp://h/live/…", "rtmp://h/live/KEY"),
            ("rtmp://h:1936/live", Some("KEY"), "rtmp://h:1936/live", "rtmp://h:1936/live/KEY"),
            ("rtmps://u:KEY@h/live2/", Some("x"), "rtmps://h/live2", "rtmps://u:KEY@h/live2/x"),
            ("rtmp://h/app/KEY?auth=KEY", None, "rtmp://h/app/…", "rtmp://h/app/KEY?auth=KEY"),
            ("rtmp://h/KEY", None, "rtmp://h/…", "rtmp://h/KEY"),
            ("srt://h:9000?passphrase=KEY", None, "srt://h:9000", "srt://h:9000?passphrase=KEY"),
            ("srt://h:9000", Some("KEY"), "srt://h:9000", "srt://h:9000?streamid=KEY"),
            ("srt://[::1]:9/?a=b", Some("K"), "srt://[::1]:9", "srt://[::1]:9/?a=b&streamid=K"),
        ] {
            let target = Target::try_from(&config(url, key)).unwrap();
            assert_eq!((target.shown(), target.url.expose().as_str()), (shown, whole));
            let said = format!("cannot open {whole}: refused; key KEY");
            assert!(!format!("{target:?}").contains("KEY"));
            let told = target.without_secrets(&said);
            assert!(!told.contains(whole) && (key != Some("KEY") || !told.contains("KEY")), "{told}");
        }
        let named = PushConfig { name: Some("youtube".into()), ..config("rtmp://h/live/KEY", None) };
        assert_eq!(Target::try_from(&named).unwrap().shown(), "youtube");
    }

    #[test]
    fn targets_that_cannot_be_used_say_why() {
        for (url, error) in [
            ("http://h/x", TargetError::Scheme),
            ("file:///etc/passwd", TargetError::Scheme),
            ("h/live/x", TargetError::Scheme),
            ("", TargetError::Scheme),
            ("rtmp:///live", TargetError::Host),
            ("srt://h", TargetError::Host),
            ("rtmp://h/a b", TargetError::Character),
        ] {
            assert_eq!(Target::try_from(&config(url, None)), Err(error), "{url}");
        }
        assert_eq!(Target::try_from(&config("rtmp://h/a", Some(""))), Err(TargetError::Key));
        let named = PushConfig { name: Some("a b".into()), ..config("rtmp://h/live/KEY", None) };
        assert_eq!(Target::try_from(&named), Err(TargetError::Name));
    }

    proptest! {
        #[test]
        fn no_text_panics_and_no_query_is_shown(url in "(rtmp|srt|x)://.{0,40}", key in prop::option::of(".{0,20}")) {
            if let Ok(target) = Target::try_from(&config(&url, key.as_deref())) {
                prop_assert!(!target.shown().contains(['?', '@']));
            }
        }
    }
}
