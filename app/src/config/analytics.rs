//! What the operator writes under `admin` and `analytics`, and its checked form.

use std::net::SocketAddr;
use std::time::Duration;

use aqueduct_analytics::alert::Thresholds;
use aqueduct_analytics::store::Keep;
use aqueduct_common::Secret;
use serde::Deserialize;

use super::otlp::{OtlpConfig, OtlpPlan};

use crate::access::{Role, Token, read_digest, sha256};

/// Characters of the shortest secret.
const SHORTEST_SECRET: usize = 16;

/// The operator's port.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    /// Address of the dashboard, `/healthz`, `/readyz`, `/metrics` and `/api/v1`.
    pub listen: SocketAddr,
    /// `/metrics` asks for a token, too.
    pub protect_metrics: bool,
    /// Of tools.
    pub tokens: Vec<TokenConfig>,
}

impl Default for Admin {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 8081)), protect_metrics: false, tokens: Vec::new() }
    }
}

/// One token.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TokenConfig {
    /// What its holder may do.
    pub role: Role,
    /// `sha256:…`,
    pub hash: Option<String>,
    /// or the token itself.
    pub secret: Option<Secret>,
}

/// A checked [`Admin`].
#[derive(Clone, Debug)]
pub struct AdminPlan {
    /// Where it listens.
    pub listen: SocketAddr,
    /// `/metrics` asks for a token, too.
    pub protect_metrics: bool,
    /// Of tools.
    pub tokens: Vec<Token>,
}

impl Admin {
    pub(super) fn plan(self) -> Result<AdminPlan, String> {
        let tokens = self.tokens.into_iter().enumerate().map(|(index, token)| {
            let digest = match (token.hash, token.secret) {
                (Some(hash), None) => read_digest(&hash).ok_or_else(|| {
                    format!("admin.tokens.{index}: hash is none that `aqueduct key hash` prints")
                })?,
                (None, Some(secret)) if secret.expose().len() >= SHORTEST_SECRET => sha256(secret.expose()),
                (None, Some(_)) => {
                    return Err(format!(
                        "admin.tokens.{index}: secret has fewer than {SHORTEST_SECRET} characters"
                    ));
                }
                _ => return Err(format!("admin.tokens.{index}: give either hash or secret")),
            };
            Ok(Token { digest, role: token.role })
        });
        let tokens = tokens.collect::<Result<_, String>>()?;
        Ok(AdminPlan { listen: self.listen, protect_metrics: self.protect_metrics, tokens })
    }
}

/// Whether something is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Switch {
    /// It is.
    #[default]
    On,
    /// It is not.
    Off,
}

/// What is kept and what is an alert.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Analytics {
    /// Keep a history.
    pub history: Switch,
    /// For how long.
    #[serde(with = "humantime_serde")]
    pub keep: Duration,
    /// How large its file may become, in 10^6 bytes.
    pub megabytes: u64,
    /// From where on something is an alert.
    pub alerts: AlertConfig,
    /// Who is told.
    pub hooks: Vec<HookConfig>,
    /// Where figures are sent.
    pub otlp: OtlpConfig,
}

impl Default for Analytics {
    fn default() -> Self {
        Self {
            history: Switch::On,
            keep: Duration::from_secs(30 * 86_400),
            megabytes: 1_024,
            alerts: AlertConfig::default(),
            hooks: Vec::new(),
            otlp: OtlpConfig::default(),
        }
    }
}

/// From where on viewers' troubles are an alert.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AlertConfig {
    /// Share of viewing time.
    pub rebuffering: f64,
    /// 95th percentile of the time to the first picture.
    #[serde(with = "humantime_serde")]
    pub startup: Duration,
    /// Share of attempts.
    pub failures: f64,
    /// Beyond three parts.
    #[serde(with = "humantime_serde")]
    pub latency: Duration,
}

impl Default for AlertConfig {
    fn default() -> Self {
        let Thresholds { rebuffering, startup, failures, latency } = Thresholds::default();
        let seconds = Duration::from_secs_f64;
        Self { rebuffering, startup: seconds(startup), failures, latency: seconds(latency) }
    }
}

/// What a hook is told of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HookEvent {
    /// A stream plays, or is over.
    Stream,
    /// A stream's health changed.
    Health,
    /// An alert begins, stays or ends.
    Alert,
}

/// Who is told.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HookConfig {
    /// Where.
    pub url: String,
    /// What the notice is signed with.
    pub secret: Option<Secret>,
    /// Of what; empty is everything.
    pub events: Vec<HookEvent>,
}

/// A checked hook.
#[derive(Clone, Debug)]
pub struct HookPlan {
    /// Where.
    pub url: crate::client::Url,
    /// What it is signed with.
    pub secret: Secret,
    /// Of what; empty is everything.
    pub events: Vec<HookEvent>,
}

/// A checked [`Analytics`].
#[derive(Clone, Debug)]
pub struct AnalyticsPlan {
    /// How much is kept; `None` for nothing.
    pub keep: Option<Keep>,
    /// From where on something is an alert.
    pub thresholds: Thresholds,
    /// Who is told.
    pub hooks: Vec<HookPlan>,
    /// Where figures are sent, if anywhere.
    pub otlp: Option<OtlpPlan>,
}

impl Analytics {
    pub(super) fn plan(self) -> Result<AnalyticsPlan, String> {
        if self.keep < Duration::from_secs(3_600) {
            return Err("analytics.keep is less than an hour: set it to \"1h\" or more, or analytics.history to \"off\"".into());
        }
        if self.megabytes < 10 {
            return Err(
                "analytics.megabytes is less than 10: set it to 10 or more, or analytics.history to \"off\""
                    .into(),
            );
        }
        let AlertConfig { rebuffering, startup, failures, latency } = self.alerts;
        for (key, share) in [("rebuffering", rebuffering), ("failures", failures)] {
            if !(0.0..=1.0).contains(&share) || share == 0.0 {
                return Err(format!("analytics.alerts.{key} is {share}: it is a share, above 0 and up to 1"));
            }
        }
        if startup.is_zero() || latency.is_zero() {
            return Err("analytics.alerts.startup and analytics.alerts.latency are above 0s".into());
        }
        let seconds = |span: Duration| span.as_secs_f64();
        let thresholds =
            Thresholds { rebuffering, startup: seconds(startup), failures, latency: seconds(latency) };
        let keep = Keep { age: self.keep, bytes: self.megabytes.saturating_mul(1_000_000) };
        let hooks = self.hooks.into_iter().enumerate().map(|(index, hook)| hook.plan(index));
        let hooks = hooks.collect::<Result<_, _>>()?;
        let keep = (self.history == Switch::On).then_some(keep);
        Ok(AnalyticsPlan { keep, thresholds, hooks, otlp: self.otlp.plan()? })
    }
}

impl HookConfig {
    fn plan(self, index: usize) -> Result<HookPlan, String> {
        let url = self
            .url
            .parse()
            .map_err(|error: crate::client::BadUrl| format!("analytics.hooks.{index}.url: {error}"))?;
        let secret = self.secret.filter(|secret| secret.expose().len() >= SHORTEST_SECRET);
        let secret = secret.ok_or_else(|| {
            format!("analytics.hooks.{index}.secret: give one of {SHORTEST_SECRET} characters at least: notices are signed with it")
        })?;
        Ok(HookPlan { url, secret, events: self.events })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(json: &str) -> Result<AnalyticsPlan, String> {
        serde_json::from_str::<Analytics>(json).unwrap().plan()
    }

    #[test]
    fn an_error_names_the_key() {
        for (json, key) in [
            (r#"{"keep":"1m"}"#, "analytics.keep"),
            (r#"{"megabytes":1}"#, "analytics.megabytes"),
            (r#"{"alerts":{"rebuffering":2.0}}"#, "analytics.alerts.rebuffering"),
            (r#"{"alerts":{"startup":"0s"}}"#, "analytics.alerts.startup"),
            (r#"{"hooks":[{"url":"ftp://x","secret":"0123456789abcdef"}]}"#, "analytics.hooks.0"),
            (r#"{"hooks":[{"url":"https://example.com/x","secret":"short"}]}"#, "analytics.hooks.0"),
        ] {
            let error = plan(json).unwrap_err();
            assert!(error.starts_with(key), "{json}: {error}");
        }
        let admin = |json: &str| serde_json::from_str::<Admin>(json).unwrap().plan();
        assert!(admin(r#"{"tokens":[{"secret":"short"}]}"#).unwrap_err().starts_with("admin.tokens.0"));
        assert!(admin(r#"{"tokens":[{"role":"admin"}]}"#).unwrap_err().starts_with("admin.tokens.0"));
        assert_eq!(
            admin(r#"{"tokens":[{"secret":"0123456789abcdef"}]}"#).unwrap().tokens[0].role,
            Role::Viewer
        );
    }

    #[test]
    fn the_defaults_are_those_of_the_rule() {
        let plan = plan("{}").unwrap();
        assert_eq!((plan.thresholds.rebuffering, plan.thresholds.startup), (0.02, 3.0));
        assert!(plan.keep.is_some() && plan.hooks.is_empty());
        let off = serde_json::from_str::<Analytics>(r#"{"history":"off"}"#).unwrap().plan().unwrap();
        assert_eq!(off.keep, None);
    }
}
