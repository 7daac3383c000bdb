//! The dashboard and the alerts: every metric is one of the program's, by its full name.

use std::collections::BTreeSet;

use aqueduct_tests::Outcome;
use aqueduct_tests::world::{Server, workspace};

use super::{deploy, files};

/// Metric names in a text, as Prometheus would store them.
fn named(text: &str) -> BTreeSet<String> {
    let word = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
    text.split(word).filter(|word| word.starts_with("aqueduct_")).map(String::from).collect()
}

/// Names that the program registers, without `aqueduct_` and without what their kind adds.
fn registered() -> Outcome<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for path in files(&workspace().join("analytics/src"), &["rs"])? {
        let text = std::fs::read_to_string(path)?;
        for part in text.split("register").skip(1).chain(text.split("Bucketed::new").skip(1)) {
            let call = part.trim_start_matches("_with_unit").trim_start();
            let quoted = call.strip_prefix('(').and_then(|call| call.trim_start().strip_prefix('"'));
            names.extend(quoted.and_then(|call| call.split('"').next()).map(String::from));
        }
    }
    Ok(names)
}

/// Whether a stored name comes of a registered one.
fn comes_of(stored: &str, registered: &BTreeSet<String>) -> bool {
    let bare = stored.trim_start_matches("aqueduct_");
    let kinds = ["_total", "_bucket", "_sum", "_count", "_info", ""];
    let endings = kinds.iter().filter_map(|kind| bare.strip_suffix(kind));
    endings
        .flat_map(|name| [Some(name), name.strip_suffix("_seconds")])
        .flatten()
        .any(|name| registered.contains(name))
}

#[tokio::test]
async fn the_dashboard_and_the_alerts_show_what_there_is() -> Outcome {
    let registered = registered()?;
    assert!(registered.len() > 40, "{registered:?}");
    let mut used = 0;
    for path in files(&deploy().join("compose"), &["json", "yml"])? {
        for name in named(&std::fs::read_to_string(&path)?) {
            assert!(comes_of(&name, &registered), "{}: {name}", path.display());
            used += 1;
        }
    }
    assert!(used > 20, "{used}");
    // What was read out of the sources is what the program says of itself.
    let server = Server::start(&[]).await?;
    let text = aqueduct_tests::fetch::Client::new().get(&server.admin("/metrics")).await?.text()?;
    let said = text.lines().filter(|line| !line.starts_with('#'));
    let said: BTreeSet<String> =
        said.flat_map(|line| named(line.split(['{', ' ']).next().unwrap_or_default())).collect();
    assert!(said.len() > 10);
    for name in &said {
        assert!(comes_of(name, &registered), "{name}");
    }
    assert!(!comes_of("aqueduct_http_requests_seconds_ever", &registered));
    Ok(())
}

#[test]
fn every_alert_is_explained() -> Outcome {
    let told = std::fs::read_to_string(workspace().join("docs/operating.md"))?;
    let alerts = std::fs::read_to_string(deploy().join("compose/prometheus/alerts.yml"))?;
    for alert in alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        assert!(told.contains(&format!("`{alert}`")), "docs/operating.md says nothing of {alert}");
    }
    Ok(())
}

/// Prometheus itself reads the rules, where it is installed.
#[test]
fn the_alerts_are_rules_of_prometheus() -> Outcome {
    let rules = deploy().join("compose/prometheus/alerts.yml");
    let checked = std::process::Command::new("promtool").args(["check", "rules"]).arg(rules).output();
    match checked {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("promtool: {}", String::from_utf8_lossy(&output.stderr)).into()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error.into()),
    }
}
