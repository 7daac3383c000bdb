//! `docs/security.md` claims nothing that no test holds: each test that it names is there.

use std::collections::HashSet;

use aqueduct_tests::world::workspace;

/// Files and names of tests in a text: `edge/tests/flood.rs::nonsense_over_http3_is_refused_and_counted`.
fn named(text: &str) -> Vec<(&str, &str)> {
    text.split('`').skip(1).step_by(2).filter_map(|word| word.split_once(".rs::")).collect()
}

#[test]
fn every_test_that_the_threat_model_names_is_there() {
    let text = std::fs::read_to_string(workspace().join("docs/security.md")).unwrap();
    let named = named(&text);
    assert!(named.len() > 60, "{} tests are named", named.len());
    for (file, test) in named {
        let path = workspace().join(format!("{file}.rs"));
        let source =
            std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(source.contains(&format!("fn {test}(")), "{file}.rs has no test {test}");
    }
}

#[test]
fn every_claim_of_the_threat_model_names_a_test() {
    let text = std::fs::read_to_string(workspace().join("docs/security.md")).unwrap();
    let rows = text
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| port") && line.contains(" | "));
    let claims = rows.filter(|row| row.matches('|').count() == 3 && !row.starts_with("| claim"));
    let bare: Vec<&str> = claims.filter(|row| !row.contains(".rs::")).collect();
    assert!(bare.is_empty(), "no test holds these:\n{}", bare.join("\n"));
}

#[test]
fn every_target_of_the_fuzzer_is_in_its_table_and_the_other_way_round() {
    let fuzz = workspace().join("fuzz");
    let readme = std::fs::read_to_string(fuzz.join("README.md")).unwrap();
    let manifest = std::fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
    let listed: HashSet<&str> = readme
        .lines()
        .filter(|line| line.starts_with("| `"))
        .flat_map(|line| line.split('|').nth(1).unwrap_or_default().split('`').skip(1).step_by(2))
        .collect();
    let names = manifest.split("[[bin]]\nname = \"").skip(1);
    let built: HashSet<&str> = names.filter_map(|rest| rest.split('"').next()).collect();
    assert_eq!(listed, built);
    for name in built {
        assert!(fuzz.join("fuzz_targets").join(format!("{name}.rs")).exists(), "{name}");
    }
}
