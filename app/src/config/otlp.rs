//! `[analytics.otlp]`.

use std::collections::BTreeMap;
use std::time::Duration;

use aqueduct_common::Secret;
use axum::http::{HeaderName, HeaderValue};
use serde::Deserialize;

use crate::client::{BadUrl, Url};
use crate::otlp::INTERVALS;

/// Where figures are sent over OTLP/HTTP.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OtlpConfig {
    /// A collector, without `/v1/…`; empty for none.
    pub endpoint: String,
    /// How often.
    #[serde(with = "humantime_serde")]
    pub interval: Duration,
    /// Headers of each request, such as a key.
    pub headers: BTreeMap<String, Secret>,
}

impl Default for OtlpConfig {
    fn default() -> Self {
        Self { endpoint: String::new(), interval: Duration::from_secs(15), headers: BTreeMap::new() }
    }
}

/// A checked [`OtlpConfig`].
#[derive(Clone, Debug)]
pub struct OtlpPlan {
    /// A collector.
    pub endpoint: Url,
    /// How often.
    pub interval: Duration,
    /// Headers of each request.
    pub headers: Vec<(String, Secret)>,
}

impl OtlpConfig {
    pub(super) fn plan(self) -> Result<Option<OtlpPlan>, String> {
        if self.endpoint.is_empty() {
            return Ok(None);
        }
        if !INTERVALS.contains(&self.interval) {
            return Err("analytics.otlp.interval is from \"1s\" to \"1h\"".into());
        }
        let plain = |(name, value): &(&String, &Secret)| {
            name.parse::<HeaderName>().is_ok() && HeaderValue::from_str(value.expose()).is_ok()
        };
        if let Some((name, _)) = self.headers.iter().find(|header| !plain(header)) {
            return Err(format!(
                "analytics.otlp.headers.{name} is no header: letters, digits and - in its name"
            ));
        }
        let wrong = |error: BadUrl| format!("analytics.otlp.endpoint: {error}");
        // Figures may be read on the way; keys may not.
        let endpoint = if self.headers.is_empty() {
            Url::open(&self.endpoint).map_err(wrong)?
        } else {
            self.endpoint.parse().map_err(wrong)?
        };
        Ok(Some(OtlpPlan { endpoint, interval: self.interval, headers: self.headers.into_iter().collect() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(json: &str) -> Result<Option<OtlpPlan>, String> {
        serde_json::from_str::<OtlpConfig>(json).unwrap().plan()
    }

    #[test]
    fn figures_go_anywhere_and_keys_go_over_https() {
        assert!(plan("{}").unwrap().is_none());
        let plain = plan(r#"{"endpoint":"http://collector:4318"}"#).unwrap().unwrap();
        assert_eq!((plain.interval, plain.headers.len()), (Duration::from_secs(15), 0));
        let key = r#""headers":{"authorization":"Bearer hush"}"#;
        let secret = plan(&format!(r#"{{"endpoint":"https://collector",{key}}}"#)).unwrap().unwrap();
        assert!(!format!("{secret:?}").contains("hush"));
        for json in [
            &format!(r#"{{"endpoint":"http://collector",{key}}}"#),
            r#"{"endpoint":"collector:4318"}"#,
            r#"{"endpoint":"http://c","interval":"10ms"}"#,
            r#"{"endpoint":"http://c","headers":{"a b":"x"}}"#,
        ] {
            let error = plan(json).unwrap_err();
            assert!(error.starts_with("analytics.otlp."), "{json}: {error}");
        }
    }
}
