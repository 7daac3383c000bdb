//! What the program says of its own command line: manual pages, and what shells complete.

use std::io::Write;
use std::path::Path;

use clap::{Command, CommandFactory as _};
use clap_complete::Shell;

use crate::Failure;
use crate::cli::Cli;

/// What stands in every page beside what the command line knows.
const MORE: &str = r#".SH FILES
.TP
.I aqueduct.toml
Settings. \fBaqueduct config\fR prints every one with its default and meaning; \fBaqueduct check FILE\fR says what is wrong
with a file, in which line, and what to do.
.SH ENVIRONMENT
.TP
.B AQUEDUCT_SECTION__KEY
A setting: over the file, below \fB\-\-set\fR. AQUEDUCT_PACKAGER__PART=500ms is packager.part. Secrets stand better here or in the
file than on a command line, which everybody on the machine can read.
.SH EXIT STATUS
0: ended as asked. 1: failed. 2: bad usage or configuration.
.SH SIGNALS
SIGTERM and SIGINT drain: viewers leave, stages end, within stop.deadline. A second one ends at once.
"#;

/// Writes what a shell reads to complete our words.
pub fn completions(shell: Shell, out: &mut impl Write) -> Result<(), Failure> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut for_people(), "aqueduct", &mut text);
    written(out, &text)
}

/// Writes the one page that tells of all commands.
pub fn page(out: &mut impl Write) -> Result<(), Failure> {
    written(out, &rendered(for_people())?)
}

/// Writes a page for the program and one for each command into a folder.
pub fn pages(folder: &Path) -> Result<(), Failure> {
    let told = |error: std::io::Error| Failure::Failed(format!("{}: {error}", folder.display()));
    std::fs::create_dir_all(folder).map_err(told)?;
    let whole = for_people();
    let parts = whole.get_subcommands().map(|part| {
        let name = format!("aqueduct-{}", part.get_name());
        // A page is called as its command, and clap names pages by the one name that lives as long as the program.
        part.clone().name(&*name.leak()).bin_name(format!("aqueduct {}", part.get_name()))
    });
    for part in std::iter::once(whole.clone()).chain(parts) {
        let file = folder.join(format!("{}.1", part.get_name()));
        std::fs::write(file, rendered(part)?).map_err(told)?;
    }
    Ok(())
}

/// The command line without what only the program itself says.
fn for_people() -> Command {
    let whole = Cli::command();
    let shown = whole.get_subcommands().filter(|part| !part.is_hide_set()).cloned();
    let bare = Command::new("aqueduct")
        .version(env!("CARGO_PKG_VERSION"))
        .about(whole.get_about().cloned().unwrap_or_default())
        .after_help(whole.get_after_help().cloned().unwrap_or_default())
        .propagate_version(true)
        .subcommand_required(true);
    let mut command = bare.subcommands(shown);
    command.build();
    command
}

fn rendered(command: Command) -> Result<Vec<u8>, Failure> {
    let mut text = Vec::new();
    clap_mangen::Man::new(command).render(&mut text).map_err(Failure::failed)?;
    text.extend_from_slice(MORE.as_bytes());
    Ok(text)
}

/// A reader that has seen enough (`| head`) is no failure.
fn written(out: &mut impl Write, text: &[u8]) -> Result<(), Failure> {
    match out.write_all(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::failed(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every command that people see, with its words from the top.
    fn walk(command: &Command, above: &str, look: &mut impl FnMut(&str, &Command)) {
        let name = format!("{above} {}", command.get_name());
        look(&name, command);
        for part in command.get_subcommands().filter(|part| !part.is_hide_set() && part.get_name() != "help")
        {
            walk(part, &name, look);
        }
    }

    #[test]
    fn every_command_and_flag_says_what_it_is_for() {
        walk(&Cli::command(), "", &mut |name, command| {
            assert!(command.get_about().is_some(), "{name} says nothing");
            for flag in command.get_arguments().filter(|flag| !flag.is_hide_set()) {
                let help = flag.get_help().map(ToString::to_string).unwrap_or_default();
                // "The file." tells nobody anything that the name does not.
                assert!(help.len() > 4, "{name}: {} says {help:?}", flag.get_id());
            }
        });
    }

    #[test]
    fn shells_and_the_manual_know_all_commands_and_none_that_are_not_for_people() {
        let mut texts = Vec::new();
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut text = Vec::new();
            completions(shell, &mut text).unwrap();
            texts.push((shell.to_string(), String::from_utf8(text).unwrap()));
        }
        let mut text = Vec::new();
        page(&mut text).unwrap();
        texts.push(("man".into(), String::from_utf8(text).unwrap().replace("\\-", "-")));
        for (of, text) in texts {
            for part in Cli::command().get_subcommands().filter(|part| !part.is_hide_set()) {
                let name = part.get_name();
                let word = if of == "man" { format!("aqueduct-{name}(1)") } else { name.to_owned() };
                assert!(text.contains(&word), "{of}: {name}");
            }
            assert!(!text.contains("push-worker"), "{of}");
            assert!(!text.contains("pull-worker"), "{of}");
        }
    }

    #[test]
    fn a_page_is_written_for_each_command() {
        let folder = std::env::temp_dir().join(format!("aqueduct-man-{}", std::process::id()));
        pages(&folder).unwrap();
        for name in ["aqueduct.1", "aqueduct-serve.1", "aqueduct-edge.1", "aqueduct-check.1"] {
            let text = std::fs::read_to_string(folder.join(name)).unwrap();
            assert!(text.contains(".SH SYNOPSIS") && text.contains("EXIT STATUS"), "{name}");
        }
        std::fs::remove_dir_all(folder).unwrap();
    }
}
