//! The compose file.

use std::process::Command;

use aqueduct_tests::Outcome;
use aqueduct_tests::world::run_program;
use serde_json::Value;

use super::{Scratch, deploy, is_command, strings, yaml};

fn services() -> Outcome<Vec<(String, Value)>> {
    let file = yaml(&deploy().join("compose/compose.yaml"))?.remove(0);
    let services = file["services"].as_object().ok_or("no services")?;
    Ok(services.iter().map(|(name, service)| (name.clone(), service.clone())).collect())
}

#[test]
fn every_name_is_one_of_the_file_and_every_mount_is_there() -> Outcome {
    let file = yaml(&deploy().join("compose/compose.yaml"))?.remove(0);
    let volumes = file["volumes"].as_object().ok_or("no volumes")?;
    let services = services()?;
    let mut used = Vec::new();
    for (name, service) in &services {
        assert!(service["image"].is_string(), "{name} has no image");
        let needs: Vec<&str> = match &service["depends_on"] {
            Value::Object(needs) => needs.keys().map(String::as_str).collect(),
            list => strings(list),
        };
        for need in needs {
            assert!(services.iter().any(|(other, _)| other == need), "{name} needs {need}");
        }
        for mount in strings(&service["volumes"]) {
            let source = mount.split(':').next().unwrap_or_default();
            match source.strip_prefix("./") {
                Some(path) => assert!(deploy().join("compose").join(path).exists(), "{name}: {source}"),
                None => {
                    assert!(volumes.contains_key(source), "{name}: {source} is no volume");
                    used.push(source.to_owned());
                }
            }
        }
    }
    assert!(volumes.keys().all(|volume| used.contains(volume)), "a volume that nobody uses");
    Ok(())
}

#[tokio::test]
async fn nodes_are_started_as_the_program_takes_it_and_locked_in() -> Outcome {
    let mut nodes = 0;
    for (name, service) in services()?.iter().filter(|(_, service)| service["image"] == "aqueduct") {
        if service["entrypoint"].is_array() {
            continue;
        }
        nodes += 1;
        is_command(&strings(&service["command"])).await?;
        assert_eq!(service["read_only"], true, "{name}");
        assert_eq!(strings(&service["cap_drop"]), ["ALL"], "{name}");
        // Containers are killed after that; stop.deadline is 30s.
        assert_eq!(service["stop_grace_period"], "35s", "{name}");
    }
    assert_eq!(nodes, 3);
    Ok(())
}

/// The script of the one-shot service, run for real elsewhere, makes every file that a configuration names; twice changes
/// nothing.
#[tokio::test]
async fn the_certificates_that_nodes_are_given_are_made() -> Outcome {
    let scratch = Scratch::new("certificates")?;
    let services = services()?;
    let (_, service) = services.iter().find(|(name, _)| name == "certificates").ok_or("no certificates")?;
    let script =
        strings(&service["command"])[0].replace("/var/lib/aqueduct", &scratch.0.display().to_string());
    let lines = script.lines().filter(|line| line.contains("aqueduct ca"));
    let mut made = 0;
    for line in lines {
        // `[ -e FILE ] || aqueduct …`
        let words: Vec<&str> =
            line.split(" || aqueduct ").nth(1).ok_or("not a guarded line")?.split(' ').collect();
        let guard = line.split_whitespace().nth(2).ok_or("no file")?;
        let dir = scratch.0.join("relay").display().to_string();
        let words: Vec<&str> =
            words.iter().map(|word| if *word == "relay" { &*dir } else { *word }).collect();
        run_program(&words).await?;
        assert!(scratch.0.join(guard).exists(), "{line} does not make {guard}");
        made += 1;
    }
    assert_eq!(made, 4);
    for name in ["origin", "edge-a", "edge-b"] {
        let text = std::fs::read_to_string(deploy().join(format!("compose/{name}.toml")))?;
        for path in text.split('"').filter_map(|word| word.strip_prefix("/etc/aqueduct/certificates/")) {
            assert!(scratch.0.join(path).exists(), "{name}.toml: {path}");
        }
    }
    // And the script is one that a shell reads.
    let status = Command::new("sh").args(["-n", "-c", &script]).status()?;
    assert!(status.success());
    Ok(())
}
