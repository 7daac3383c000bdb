//! The systemd units.

use std::process::Command;

use aqueduct_tests::Outcome;

use super::{Scratch, deploy, files, is_command};

#[tokio::test]
async fn units_start_the_program_as_it_takes_it_and_systemd_reads_them() -> Outcome {
    let scratch = Scratch::new("units")?;
    let units = files(&deploy().join("systemd"), &["service"])?;
    assert_eq!(units.len(), 3, "{units:?}");
    for path in &units {
        let text = std::fs::read_to_string(path)?;
        let start = text.lines().find_map(|line| line.strip_prefix("ExecStart=")).ok_or("no ExecStart")?;
        let (program, words) = start.split_once(' ').ok_or("no words")?;
        assert_eq!(program, "/usr/local/bin/aqueduct");
        is_command(&words.split(' ').collect::<Vec<_>>()).await?;
        let file = path.file_name().and_then(|name| name.to_str()).ok_or("no name")?;
        // systemd looks whether the program is there.
        scratch.write(file, &text.replace("/usr/local/bin/aqueduct", "/bin/true"))?;
    }
    let copies: Vec<_> = files(&scratch.0, &["service"])?;
    match Command::new("systemd-analyze").arg("verify").args(&copies).output() {
        Ok(verified) => {
            let words = String::from_utf8_lossy(&verified.stderr);
            let ours: Vec<&str> = words.lines().filter(|line| line.contains("aqueduct")).collect();
            assert!(verified.status.success() && ours.is_empty(), "{words}");
        }
        Err(error) => eprintln!("systemd-analyze: {error}; the units were not verified"),
    }
    Ok(())
}

/// Workers lock themselves in with these calls; a filter that forbids them would leave streams without renditions.
#[test]
fn units_of_nodes_that_transcode_let_workers_lock_themselves_in() -> Outcome {
    for name in ["aqueduct", "aqueduct-origin"] {
        let text = std::fs::read_to_string(deploy().join(format!("systemd/{name}.service")))?;
        let filter =
            text.lines().find_map(|line| line.strip_prefix("SystemCallFilter=")).ok_or("no filter")?;
        let calls: Vec<&str> = filter.split(' ').collect();
        for call in ["seccomp", "landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self"] {
            assert!(calls.contains(&call), "{name}: {call}");
        }
    }
    Ok(())
}

#[test]
fn every_unit_runs_as_nobody_in_particular_and_writes_its_state_alone() -> Outcome {
    for path in files(&deploy().join("systemd"), &["service"])? {
        let text = std::fs::read_to_string(&path)?;
        let lines: Vec<&str> = text.lines().collect();
        for line in
            ["DynamicUser=yes", "ProtectSystem=strict", "NoNewPrivileges=yes", "StateDirectory=aqueduct"]
        {
            assert!(lines.contains(&line), "{}: {line}", path.display());
        }
    }
    Ok(())
}
