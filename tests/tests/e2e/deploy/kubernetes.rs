//! The Kubernetes manifests, without a cluster.

use std::collections::{BTreeMap, BTreeSet};

use aqueduct_tests::Outcome;
use aqueduct_tests::world::run_program;
use serde_json::Value;

use super::{Scratch, as_file, deploy, files, is_command, is_configuration, strings, yaml};

const KINDS: [(&str, &str); 8] = [
    ("Namespace", "v1"),
    ("ConfigMap", "v1"),
    ("Service", "v1"),
    ("StatefulSet", "apps/v1"),
    ("Deployment", "apps/v1"),
    ("HorizontalPodAutoscaler", "autoscaling/v2"),
    ("PodDisruptionBudget", "policy/v1"),
    ("NetworkPolicy", "networking.k8s.io/v1"),
];

fn manifests() -> Outcome<Vec<Value>> {
    let mut all = Vec::new();
    for path in files(&deploy().join("kubernetes"), &["yaml"])? {
        all.extend(yaml(&path)?);
    }
    Ok(all)
}

fn name(manifest: &Value) -> &str {
    manifest["metadata"]["name"].as_str().unwrap_or_default()
}

fn of<'a>(all: &'a [Value], kind: &str) -> Vec<&'a Value> {
    all.iter().filter(|manifest| manifest["kind"] == kind).collect()
}

fn labels(value: &Value) -> BTreeMap<&str, &str> {
    let pairs = value.as_object().into_iter().flatten();
    pairs.filter_map(|(key, value)| Some((key.as_str(), value.as_str()?))).collect()
}

fn workloads(all: &[Value]) -> Vec<&Value> {
    of(all, "StatefulSet").into_iter().chain(of(all, "Deployment")).collect()
}

fn container(workload: &Value) -> &Value {
    &workload["spec"]["template"]["spec"]["containers"][0]
}

/// Ports of the pods that a selector chooses, as Services and probes name them.
fn ports<'a>(all: &'a [Value], selector: &Value) -> BTreeSet<&'a str> {
    let wanted = labels(selector);
    let chosen = workloads(all).into_iter().filter(|workload| {
        let has = labels(&workload["spec"]["template"]["metadata"]["labels"]);
        wanted.iter().all(|(key, value)| has.get(key) == Some(value))
    });
    chosen
        .flat_map(|workload| container(workload)["ports"].as_array().into_iter().flatten())
        .filter_map(|port| port["name"].as_str())
        .collect()
}

#[test]
fn every_object_is_of_a_known_kind_in_one_namespace_and_has_a_name_of_its_own() -> Outcome {
    let all = manifests()?;
    let mut seen = BTreeSet::new();
    for manifest in &all {
        let (kind, version) = (manifest["kind"].as_str(), manifest["apiVersion"].as_str());
        let known = KINDS.iter().any(|(k, v)| Some(*k) == kind && Some(*v) == version);
        assert!(known, "{kind:?} of {version:?}");
        assert!(seen.insert((kind, name(manifest))), "{kind:?} {} twice", name(manifest));
        if kind != Some("Namespace") {
            assert_eq!(manifest["metadata"]["namespace"], "aqueduct", "{}", name(manifest));
        }
    }
    for (kind, _) in KINDS {
        assert!(!of(&all, kind).is_empty(), "no {kind}");
    }
    Ok(())
}

#[test]
fn selectors_ports_and_mounts_fit_together() -> Outcome {
    let all = manifests()?;
    for workload in workloads(&all) {
        let spec = &workload["spec"];
        assert_eq!(
            spec["selector"]["matchLabels"],
            spec["template"]["metadata"]["labels"],
            "{}",
            name(workload)
        );
        let own = ports(&all, &spec["selector"]["matchLabels"]);
        for probe in ["readinessProbe", "livenessProbe"] {
            let port = container(workload)[probe]["httpGet"]["port"].as_str().ok_or("no probe")?;
            assert!(own.contains(port), "{}: {port}", name(workload));
        }
        mounts(&all, workload);
    }
    for service in of(&all, "Service") {
        let own = ports(&all, &service["spec"]["selector"]);
        for port in service["spec"]["ports"].as_array().ok_or("no ports")? {
            let target = port["targetPort"].as_str().ok_or("ports go by name")?;
            assert!(own.contains(target), "{}: {target}", name(service));
        }
    }
    for policy in of(&all, "NetworkPolicy") {
        let own = ports(&all, &policy["spec"]["podSelector"]["matchLabels"]);
        let rules = policy["spec"]["ingress"].as_array().ok_or("no rules")?;
        for port in rules.iter().flat_map(|rule| rule["ports"].as_array().into_iter().flatten()) {
            assert!(port["port"].as_str().is_some_and(|port| own.contains(port)), "{}: {port}", name(policy));
        }
    }
    for budget in of(&all, "PodDisruptionBudget") {
        assert!(!ports(&all, &budget["spec"]["selector"]["matchLabels"]).is_empty(), "{}", name(budget));
    }
    for scaler in of(&all, "HorizontalPodAutoscaler") {
        let target = &scaler["spec"]["scaleTargetRef"];
        let found = of(&all, "Deployment").into_iter().find(|workload| name(workload) == target["name"]);
        assert!(found.is_some_and(|found| found["spec"]["replicas"].is_null()), "the scaler says how many");
    }
    let headless = of(&all, "StatefulSet")[0]["spec"]["serviceName"].clone();
    assert!(of(&all, "Service").iter().any(|service| name(service) == headless), "{headless}");
    Ok(())
}

fn mounts(all: &[Value], workload: &Value) {
    let spec = &workload["spec"];
    let volumes = spec["template"]["spec"]["volumes"].as_array().into_iter().flatten();
    let claims = spec["volumeClaimTemplates"].as_array().into_iter().flatten().map(name);
    let named: BTreeSet<&str> =
        volumes.clone().filter_map(|volume| volume["name"].as_str()).chain(claims).collect();
    let mounted: BTreeSet<&str> = container(workload)["volumeMounts"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|mount| mount["name"].as_str())
        .collect();
    assert_eq!(named, mounted, "{}", name(workload));
    for map in volumes.filter_map(|volume| volume["configMap"]["name"].as_str()) {
        assert!(of(all, "ConfigMap").iter().any(|other| name(other) == map), "{map}");
    }
}

#[test]
fn pods_are_locked_in_and_have_the_time_to_drain() -> Outcome {
    for workload in workloads(&manifests()?) {
        let pod = &workload["spec"]["template"]["spec"];
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
        assert_eq!(pod["automountServiceAccountToken"], false);
        // stop.deadline is 30s.
        assert!(pod["terminationGracePeriodSeconds"].as_u64() > Some(30));
        let own = &container(workload)["securityContext"];
        assert_eq!(
            (&own["readOnlyRootFilesystem"], &own["allowPrivilegeEscalation"]),
            (&true.into(), &false.into())
        );
        assert_eq!(strings(&own["capabilities"]["drop"]), ["ALL"]);
    }
    Ok(())
}

#[tokio::test]
async fn settings_flags_and_variables_are_taken_by_the_program() -> Outcome {
    let (scratch, all) = (Scratch::new("kubernetes")?, manifests()?);
    let dir = scratch.0.join("ca").display().to_string();
    run_program(&["ca", "init", "--dir", &dir]).await?;
    run_program(&["ca", "node", "tls", "--dir", &dir]).await?;
    for map in of(&all, "ConfigMap") {
        let text = map["data"]["aqueduct.toml"].as_str().ok_or("no file")?;
        // Secrets are mounted where these are here.
        let text = text.replace("/etc/aqueduct/tls/tls.crt", &format!("{dir}/tls.pem"));
        let text = text.replace("/etc/aqueduct/tls/tls.key", &format!("{dir}/tls-key.pem"));
        is_configuration(&scratch, &format!("{}.toml", name(map)), &text).await?;
    }
    for workload in workloads(&all) {
        is_command(&strings(&container(workload)["args"])).await?;
        let variables = container(workload)["env"].as_array().ok_or("no env")?;
        let own = variables.iter().filter_map(|variable| {
            let value = variable["value"].as_str().unwrap_or("pod-0");
            Some((variable["name"].as_str()?, value)).filter(|(name, _)| name.starts_with("AQUEDUCT_"))
        });
        let filled: Vec<(&str, String)> =
            own.map(|(name, value)| (name, value.replace("$(POD_NAME)", "pod-0"))).collect();
        let filled: Vec<(&str, &str)> = filled.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert!(!filled.is_empty());
        is_configuration(&scratch, "variables.toml", &as_file(&filled)).await?;
    }
    Ok(())
}
