//! The star holds: stages know `common` and never each other, and the edge knows no media.

use std::collections::BTreeMap;
use std::process::Command;

/// Our crates and the names of all that each depends on, development and build dependencies included.
fn dependencies() -> BTreeMap<String, Vec<String>> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs, as it runs this test");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value =
        serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
    let packages = metadata["packages"].as_array().expect("packages is a list");
    packages
        .iter()
        .map(|package| {
            let list = package["dependencies"].as_array().into_iter().flatten();
            let names = list.filter_map(|one| one["name"].as_str()).map(str::to_owned).collect();
            (package["name"].as_str().unwrap_or_default().to_owned(), names)
        })
        .collect()
}

fn ours(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).filter(|name| name.starts_with("aqueduct")).collect()
}

#[test]
fn stages_depend_on_common_only() {
    let graph = dependencies();
    assert!(
        ours(&graph["aqueduct-common"]).is_empty(),
        "common depends on {:?}",
        ours(&graph["aqueduct-common"])
    );
    for stage in
        ["aqueduct-ingest", "aqueduct-transcode", "aqueduct-packager", "aqueduct-edge", "aqueduct-analytics"]
    {
        assert_eq!(ours(&graph[stage]), ["aqueduct-common"], "{stage}");
    }
}

#[test]
fn only_the_program_and_its_judges_name_several_stages() {
    for (name, dependencies) in dependencies() {
        if ours(&dependencies).len() > 1 {
            assert!(["aqueduct", "aqueduct-tests", "aqueduct-benches"].contains(&name.as_str()), "{name}");
        }
    }
}

#[test]
fn the_edge_knows_no_media_and_only_ingest_knows_rtmp() {
    let graph = dependencies();
    for media in ["mp4-atom", "m3u8-rs", "rml_rtmp"] {
        assert!(!graph["aqueduct-edge"].iter().any(|name| name == media), "edge depends on {media}");
    }
    for stage in
        ["aqueduct-transcode", "aqueduct-packager", "aqueduct-edge", "aqueduct-analytics", "aqueduct"]
    {
        assert!(!graph[stage].iter().any(|name| name == "rml_rtmp"), "{stage} depends on rml_rtmp");
    }
    for (name, dependencies) in &graph {
        let links_libav = dependencies.iter().any(|name| name.starts_with("ffmpeg"));
        assert!(!links_libav || name == "aqueduct-transcode", "{name} links libav");
    }
    for stage in ["aqueduct-ingest", "aqueduct-transcode", "aqueduct-packager", "aqueduct-analytics"] {
        assert!(!graph[stage].iter().any(|name| name == "hyper" || name == "axum"), "{stage} speaks HTTP");
    }
}
