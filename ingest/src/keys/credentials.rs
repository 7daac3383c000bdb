//! What a publisher showed: its key field, app and URL, normalised once (RTMP-35, RTMP-36).

use aqueduct_common::name::NameError;
use aqueduct_common::{Secret, StreamName};

/// App, name and key of a publish. The name prints as `…`: it may be a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    app: String,
    name: Secret,
    key: Option<Secret>,
    source: Option<String>,
}

impl Credentials {
    /// From `connect`'s `tcUrl` and `app` and the first string of `publish`. Parameters may stand in each of them;
    /// those of the name win over those of the app, and those over the URL's. An empty app is taken from the URL.
    pub fn new(tc_url: Option<&str>, app: &str, name: &str) -> Self {
        let (url_path, url_query) = split_query(tc_url.map_or("", url_path));
        let (app, app_query) = split_query(app);
        let (name, name_query) = split_query(name);
        let app = if app.trim_matches('/').is_empty() { url_path } else { app };
        let given =
            |name| [name_query, app_query, url_query].into_iter().find_map(|query| parameter(query, name));
        let (key, source) = (given("key"), given("source"));
        let name = decode(name);
        let name = ["mp4:", "flv:"].iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(&name);
        Self { app: decode(app), name: Secret::new(name.to_owned()), key: key.map(Secret::new), source }
    }

    /// With this key, where none was shown otherwise.
    pub(crate) fn or_key(self, key: String) -> Self {
        Self { key: self.key.or_else(|| Some(Secret::new(key))), ..self }
    }

    /// The name as it was given, without parameters. It may be a key.
    pub(super) fn name(&self) -> &str {
        self.name.expose()
    }

    /// The key parameter.
    pub(super) fn key(&self) -> Option<&str> {
        self.key.as_ref().map(|key| key.expose().as_str())
    }

    /// The source parameter: which of the stream's sources the publisher says it is.
    pub(super) fn source(&self) -> Option<&str> {
        self.source.as_deref()
    }

    /// What stands between the slashes of app and name.
    pub(super) fn steps(&self) -> impl Iterator<Item = &str> {
        self.app.split('/').chain(self.name().split('/')).filter(|step| !step.is_empty())
    }

    /// The stream that app and name together say. `live` + `live/show` is `live/show`, and so is `live/_definst_` +
    /// `show`: encoders split the URL each by their own rule.
    pub(super) fn stream(&self) -> Result<StreamName, NameError> {
        let mut halves: Vec<_> =
            self.steps().filter(|step| !step.eq_ignore_ascii_case("_definst_")).collect();
        if halves.len() == 3 && halves[0] == halves[1] {
            halves.remove(0);
        }
        halves.join("/").parse()
    }
}

/// What follows the host of a URL. The host itself is never looked at (RTMP-66).
fn url_path(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split_once('/').map_or("", |(_, path)| path)
}

fn split_query(text: &str) -> (&str, &str) {
    text.split_once('?').unwrap_or((text, ""))
}

fn parameter(query: &str, name: &str) -> Option<String> {
    // A second '?' is what is left of a query that was put on twice.
    let mut pairs = query.split(['&', '?']).filter_map(|pair| pair.split_once('='));
    pairs.rfind(|(key, _)| *key == name).map(|(_, value)| decode(value))
}

/// Resolves percent escapes; what is not one stays as it is.
pub(crate) fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let digits = bytes.get(at + 1..at + 3).and_then(|digits| std::str::from_utf8(digits).ok());
        let escape = digits
            .filter(|digits| byte == b'%' && !digits.starts_with('+'))
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        out.push(escape.unwrap_or(byte));
        at += if escape.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn app_and_name_are_joined_however_an_encoder_splits_them() {
        for (url, app, name, stream) in [
            (None, "live", "show", "live/show"),
            (None, "live/", "/show/", "live/show"),
            (None, "live", "live/show", "live/show"),
            (None, "live", "mp4:show", "live/show"),
            (None, "live/_definst_", "show", "live/show"),
            (None, "", "live/show", "live/show"),
            (Some("rtmp://h:1935/live"), "", "show", "live/show"),
            (Some("rtmp://h/live?x=1"), "/", "show", "live/show"),
            (None, "live", "sh%6Fw%2e1", "live/show.1"),
            (None, "live?a=b", "show?c=d", "live/show"),
        ] {
            let credentials = Credentials::new(url, app, name);
            assert_eq!(credentials.stream().unwrap().as_str(), stream, "{url:?} {app} {name}");
        }
    }

    #[test]
    fn a_publisher_may_say_which_source_it_is() {
        let source = |app, name| Credentials::new(None, app, name).source().map(str::to_owned);
        assert_eq!(source("live", "show?key=x&source=backup").as_deref(), Some("backup"));
        assert_eq!(source("live?source=backup", "show").as_deref(), Some("backup"));
        assert_eq!(source("live", "show?key=x"), None);
    }

    #[test]
    fn names_that_are_not_two_safe_halves_are_refused() {
        for (app, name) in [
            ("live", ""),
            ("", "show"),
            ("live", "a/b"),
            ("live/a", "b"),
            ("live", "../x"),
            ("live", "%2e%2e"),
            ("live", "a b"),
            ("live", "%ff"),
            ("live", "%"),
        ] {
            assert!(Credentials::new(None, app, name).stream().is_err(), "{app} {name}");
        }
    }

    #[test]
    fn the_name_s_parameters_win_over_the_app_s_and_those_over_the_url_s() {
        let key = |url, app, name| Credentials::new(url, app, name).key().map(str::to_owned);
        let url = Some("rtmp://h/live?key=url");
        assert_eq!(key(url, "live?key=app", "x?key=name").as_deref(), Some("name"));
        assert_eq!(key(url, "live?key=app", "x?a=b").as_deref(), Some("app"));
        assert_eq!(key(url, "live", "x").as_deref(), Some("url"));
        assert_eq!(key(None, "live", "x"), None);
        assert_eq!(key(None, "live", "x?akey=1&key=a%2Bb+%zz&b"), Some("a+b+%zz".into()));
        assert_eq!(key(None, "live", "x?a=1?key=2").as_deref(), Some("2"));
    }

    proptest! {
        #[test]
        fn no_text_panics(url in ".{0,60}", app in ".{0,40}", name in ".{0,60}") {
            let credentials = Credentials::new(Some(&url), &app, &name);
            let _ = credentials.stream();
        }

        #[test]
        fn escapes_are_undone(text in "[ -~]{0,40}") {
            let escaped: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
            prop_assert_eq!(decode(&escaped), text);
        }
    }
}
