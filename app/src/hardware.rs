//! `aqueduct hardware`: what decodes and encodes on this machine, and why the rest does not.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use aqueduct_transcode::hardware::probe::{Ability, Outcome, codec_text};
use aqueduct_transcode::hardware::survey::{BackendReport, Explanation, Probe, choose, survey};
use aqueduct_transcode::hardware::{Backend, Chosen, versions};
use aqueduct_transcode::ladder::begin_with;
use serde::Serialize;

use crate::Failure;
use crate::config::Plan;

/// The hidden subcommand that a probe's child runs.
pub const PROBE: &str = "probe";

/// How this program probes: by itself, in a child.
pub fn probe() -> Result<Probe, Failure> {
    let program = std::env::current_exe().map_err(Failure::failed)?;
    Ok(Probe::new(program, &[PROBE]))
}

/// Everything that the command says.
#[derive(Debug, Serialize)]
struct Report {
    version: &'static str,
    libav: BTreeMap<&'static str, String>,
    cpus: usize,
    preset: &'static str,
    streams_use: Chosen,
    /// Of the configuration: never used, whatever they can.
    forbidden: Vec<Backend>,
    backends: Vec<BackendReport>,
}

/// Probes every backend, also those that the configuration forbids, and prints what was found.
pub async fn print(plan: &Plan, json: bool) -> Result<(), Failure> {
    let transcode = &plan.transcode;
    let probe = probe()?;
    let backends = survey(&probe, &Backend::ALL, &transcode.hardware.device).await;
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let report = Report {
        version: env!("CARGO_PKG_VERSION"),
        libav: versions().into_iter().collect(),
        cpus,
        preset: transcode.preset.unwrap_or(begin_with(cpus)).as_str(),
        streams_use: choose(transcode, &backends),
        forbidden: transcode.hardware.forbid.clone(),
        backends,
    };
    match json {
        true => println!("{}", serde_json::to_string_pretty(&report).map_err(Failure::failed)?),
        false => print!("{}", text(&report, transcode.enabled)),
    }
    Ok(())
}

fn text(report: &Report, enabled: bool) -> String {
    let mut text = String::new();
    let libav: Vec<String> = report.libav.iter().map(|(name, version)| format!("{name} {version}")).collect();
    let _ = writeln!(text, "aqueduct {}, {} CPUs; {}\n", report.version, report.cpus, libav.join(", "));
    let _ = writeln!(text, "{:<14}{:<18}{:<18}scale", "", "decode", "encode");
    for backend in &report.backends {
        let forbidden = report.forbidden.contains(&backend.backend);
        let mark = if forbidden { "  forbidden (transcode.hardware.forbid)" } else { "" };
        let _ = writeln!(text, "{}{mark}", row(backend));
    }
    let list = |backends: &[Backend]| {
        backends.iter().map(|one| one.as_str()).collect::<Vec<_>>().join(", or where that fails ")
    };
    let Chosen { decode, encode, .. } = &report.streams_use;
    let _ = match enabled {
        true => writeln!(
            text,
            "\nStreams decode with {}.\nThey encode with {}, at preset {} to begin with; the governor goes below it under load.",
            list(decode),
            list(encode),
            report.preset
        ),
        false => writeln!(text, "\nStreams are served as they come: transcode.mode is \"off\"."),
    };
    for backend in &report.backends {
        refusals(&mut text, backend);
    }
    text
}

/// One backend: the codecs that it can, or dashes.
fn row(report: &BackendReport) -> String {
    let codecs = |of: fn(aqueduct_transcode::protocol::VideoCodec) -> Ability| {
        use aqueduct_transcode::protocol::VideoCodec::{Av1, H264, H265};
        let can: Vec<&str> =
            [H264, H265, Av1].into_iter().filter(|codec| report.can(of(*codec))).map(codec_text).collect();
        if can.is_empty() { "-".to_owned() } else { can.join(" ") }
    };
    let scale = if report.can(Ability::Scale) { "yes" } else { "-" };
    format!("{:<14}{:<18}{:<18}{scale}", report.backend, codecs(Ability::Decode), codecs(Ability::Encode))
}

/// Every refusal with what libav said, what that means, and what to do. Refusals that mean the same stand together.
fn refusals(text: &mut String, report: &BackendReport) {
    let refused: Vec<&Explanation> =
        report.findings.iter().filter(|found| found.explained.is_some()).collect();
    if refused.is_empty() {
        return;
    }
    // A device that cannot be on this system is worth one line.
    if let [Explanation { finding, explained: Some(explained) }] = refused.as_slice()
        && finding.ability == Ability::Device
        && explained.todo.starts_with("nothing")
    {
        let _ = writeln!(text, "\n{}: {}", report.backend, explained.means);
        return;
    }
    let _ = writeln!(text, "\n{}", report.backend);
    for (at, found) in refused.iter().enumerate() {
        let (Some(explained), Outcome::Refused { said }) = (&found.explained, &found.finding.outcome) else {
            continue;
        };
        let _ = writeln!(text, "  {}: refused", found.finding.ability.text());
        let _ = writeln!(text, "    libav says:  {said}");
        let told = refused[..at].iter().any(|before| before.explained == found.explained);
        if !told {
            let _ = writeln!(text, "    it means:    {}", explained.means);
            let _ = writeln!(text, "    to do:       {}", explained.todo);
        }
    }
}

#[cfg(test)]
mod tests {
    use aqueduct_transcode::hardware::probe::Finding;
    use aqueduct_transcode::hardware::words::Explained;
    use aqueduct_transcode::protocol::VideoCodec;

    use super::*;

    fn found(ability: Ability, refused: Option<&str>) -> Explanation {
        let outcome = match refused {
            Some(said) => Outcome::Refused { said: said.into() },
            None => Outcome::Works { by: "x".into(), micros: 1_000 },
        };
        let explained = refused.map(|_| Explained { means: "no card".into(), todo: "buy one".into() });
        Explanation { finding: Finding { ability, outcome }, explained }
    }

    fn report() -> Report {
        let (encode, decode) = (Ability::Encode(VideoCodec::H264), Ability::Decode(VideoCodec::H264));
        let nvidia = vec![found(Ability::Device, None), found(encode, Some("no chip")), found(decode, None)];
        let mut apple = found(Ability::Device, Some("no memory"));
        apple.explained = Some(Explained { means: "not macOS".into(), todo: "nothing: not needed".into() });
        let software = vec![found(encode, None), found(decode, None), found(Ability::Scale, None)];
        Report {
            version: "1.2.3",
            libav: [("libavcodec", "59.37.100".into())].into(),
            cpus: 2,
            preset: "superfast",
            streams_use: Chosen { decode: vec![Backend::Nvidia, Backend::Software], ..Chosen::default() },
            forbidden: vec![Backend::VideoToolbox],
            backends: vec![
                BackendReport { backend: Backend::Nvidia, findings: nvidia },
                BackendReport { backend: Backend::VideoToolbox, findings: vec![apple] },
                BackendReport { backend: Backend::Software, findings: software },
            ],
        }
    }

    #[test]
    fn the_table_says_what_works_what_streams_use_and_every_refusal() {
        let expected = "aqueduct 1.2.3, 2 CPUs; libavcodec 59.37.100

              decode            encode            scale
nvidia        h264              -                 -
videotoolbox  -                 -                 -  forbidden (transcode.hardware.forbid)
software      h264              h264              yes

Streams decode with nvidia, or where that fails software.
They encode with software, at preset superfast to begin with; the governor goes below it under load.

nvidia
  encode h264: refused
    libav says:  no chip
    it means:    no card
    to do:       buy one

videotoolbox: not macOS
";
        assert_eq!(text(&report(), true), expected);
        assert!(text(&report(), false).contains("served as they come"));
    }

    #[test]
    fn json_has_the_same_under_stable_names() {
        let json = serde_json::to_value(report()).unwrap();
        assert_eq!(json["streams_use"]["decode"][0], "nvidia");
        assert_eq!(json["backends"][0]["findings"][1]["ability"]["encode"], "h264");
        assert_eq!(json["backends"][0]["findings"][1]["outcome"], "refused");
        assert_eq!(json["backends"][0]["findings"][1]["todo"], "buy one");
    }
}
