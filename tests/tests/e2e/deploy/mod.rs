//! What lies under `deploy/` is tried as far as one machine can: every configuration is one, every flag is there, every name
//! that one file takes from another is in it, and caches in front do what they are for.

mod cdn;
mod compose;
mod dashboard;
mod kubernetes;
mod units;

use std::path::{Path, PathBuf};

use aqueduct_tests::Outcome;
use aqueduct_tests::world::{run_program, workspace};
use serde_json::Value;

/// A folder that goes with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Outcome<Self> {
        let path = std::env::temp_dir().join(format!("aqueduct-deploy-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    fn write(&self, name: &str, text: &str) -> Outcome<PathBuf> {
        let path = self.0.join(name);
        std::fs::write(&path, text)?;
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn deploy() -> PathBuf {
    workspace().join("deploy")
}

/// All documents of a YAML file.
fn yaml(path: &Path) -> Outcome<Vec<Value>> {
    let text = std::fs::read_to_string(path)?;
    serde_saphyr::from_multiple(&text).map_err(|error| format!("{}: {error}", path.display()).into())
}

/// All files below a folder with one of these endings.
fn files(folder: &Path, endings: &[&str]) -> Outcome<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path, endings)?);
        } else if path.extension().is_some_and(|ending| endings.iter().any(|wanted| ending == *wanted)) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// The strings of a list.
fn strings(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// A command line of the program, without the program: its role is one, and takes these flags.
async fn is_command(words: &[&str]) -> Outcome {
    let (role, flags) = words.split_first().ok_or("no role")?;
    let help = run_program(&[role, "--help"]).await?;
    for flag in flags.iter().filter(|word| word.starts_with("--")) {
        let name = flag.split('=').next().unwrap_or_default();
        if !help.contains(&format!("{name} ")) && !help.contains(&format!("{name}\n")) {
            return Err(format!("aqueduct {role} has no {name}:\n{help}").into());
        }
    }
    Ok(())
}

/// What `aqueduct check` says of a configuration.
async fn is_configuration(scratch: &Scratch, name: &str, text: &str) -> Outcome {
    let file = scratch.write(name, text)?;
    run_program(&["check", &file.display().to_string()]).await?;
    Ok(())
}

/// Environment variables as the file would have them.
fn as_file(variables: &[(&str, &str)]) -> String {
    let line = |(name, value): &(&str, &str)| {
        let key = name.trim_start_matches("AQUEDUCT_").replace("__", ".").to_lowercase();
        let plain = value.parse::<u64>().is_ok() || matches!(*value, "true" | "false");
        if plain { format!("{key} = {value}\n") } else { format!("{key} = {value:?}\n") }
    };
    variables.iter().map(line).collect()
}

#[tokio::test]
async fn every_manifest_reads_and_every_configuration_is_one() -> Outcome {
    let scratch = Scratch::new("files")?;
    let manifests = files(&deploy(), &["yaml", "yml"])?;
    assert!(manifests.len() >= 8, "{manifests:?}");
    for path in manifests {
        assert!(!yaml(&path)?.is_empty(), "{}", path.display());
    }
    let configurations = files(&deploy(), &["toml"])?;
    assert!(configurations.len() >= 3, "{configurations:?}");
    for (number, path) in configurations.iter().enumerate() {
        is_configuration(&scratch, &format!("{number}.toml"), &std::fs::read_to_string(path)?).await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_these_tests_refuse_is_refused() -> Outcome {
    let scratch = Scratch::new("refused")?;
    assert!(is_configuration(&scratch, "bad.toml", "[relay]\nlisten_on = 1\n").await.is_err());
    assert!(is_command(&["edge", "--origins", "x"]).await.is_err());
    assert!(is_command(&["brew"]).await.is_err());
    assert_eq!(as_file(&[("AQUEDUCT_A__B_C", "1"), ("AQUEDUCT_D", "x")]), "a.b_c = 1\nd = \"x\"\n");
    Ok(())
}
