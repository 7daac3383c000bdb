//! Probes in child processes, with a time limit, and what they found.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde::Serialize;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, Command};

use super::probe::{Ability, Finding, MARK, Outcome};
use super::words::{Explained, Facts, explain, facts};
use super::{Backend, Chosen};
use crate::config::{Backends, Plan};
use crate::protocol::VideoCodec;

/// Longest that one step of a probe may take. Drivers that wake a sleeping GPU take two or three seconds.
const STEP_LIMIT: Duration = Duration::from_secs(10);
/// Most of a probe's words that are kept, in bytes.
const SAID_MAX: u64 = 65_536;

/// How to start a probe: the program that [`super::probe::run`] runs in. The backend, the device and the number of the
/// first step follow as arguments.
#[derive(Clone, Debug)]
pub struct Probe {
    /// The program.
    pub program: PathBuf,
    /// What stands before the three arguments.
    pub arguments: Vec<String>,
    /// Longest that one step may take.
    pub step_limit: Duration,
}

impl Probe {
    /// A probe by this program, with the usual limit.
    pub fn new(program: PathBuf, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        Self { program, arguments, step_limit: STEP_LIMIT }
    }
}

/// What one backend can do on this machine.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct BackendReport {
    /// The backend.
    pub backend: Backend,
    /// Each thing that was tried, with what a refusal means.
    pub findings: Vec<Explanation>,
}

/// A finding and, where it is a refusal, what it means.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Explanation {
    /// What was found.
    #[serde(flatten)]
    pub finding: Finding,
    /// What it means and what to do.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub explained: Option<Explained>,
}

impl BackendReport {
    /// It does this.
    pub fn can(&self, ability: Ability) -> bool {
        let works = |found: &Explanation| matches!(found.finding.outcome, Outcome::Works { .. });
        self.findings.iter().any(|found| found.finding.ability == ability && works(found))
    }
}

/// Probes these backends one after the other, so that streams which run meanwhile keep their CPUs.
pub async fn survey(probe: &Probe, backends: &[Backend], device: &str) -> Vec<BackendReport> {
    let facts = facts();
    let mut reports = Vec::new();
    for backend in backends {
        reports.push(probe_backend(probe, *backend, device, &facts).await);
    }
    reports
}

async fn probe_backend(probe: &Probe, backend: Backend, device: &str, facts: &Facts) -> BackendReport {
    let mut findings: Vec<Finding> = Vec::new();
    // A step that kills its process is that step's refusal; the others get another process.
    while findings.len() < Ability::ALL.len() {
        let before = findings.len();
        run_once(probe, backend, device, &mut findings).await;
        if findings.len() == before {
            break;
        }
    }
    let explanation = |finding: Finding| {
        let explained = match &finding.outcome {
            Outcome::Refused { said } => Some(explain(backend, finding.ability, said, facts)),
            Outcome::Works { .. } | Outcome::Skipped => None,
        };
        Explanation { finding, explained }
    };
    BackendReport { backend, findings: findings.into_iter().map(explanation).collect() }
}

/// Runs one child as far as it gets. Where it ends early, the step that it was at is refused by that.
async fn run_once(probe: &Probe, backend: Backend, device: &str, findings: &mut Vec<Finding>) {
    let first = findings.len();
    let refused = |at: usize, said: String| {
        let ability = Ability::ALL.get(at).copied().unwrap_or(Ability::Device);
        Finding { ability, outcome: Outcome::Refused { said } }
    };
    let mut child = match start(probe, backend, device, first) {
        Ok(child) => child,
        Err(error) => return findings.push(refused(first, format!("the probe does not start: {error}"))),
    };
    let (Some(out), Some(err)) = (child.stdout.take(), child.stderr.take()) else { return };
    let words = tokio::spawn(async move {
        let mut said = Vec::new();
        let _ = err.take(SAID_MAX).read_to_end(&mut said).await;
        String::from_utf8_lossy(&said).into_owned()
    });
    let mut lines = BufReader::new(out.take(SAID_MAX)).lines();
    let ended = loop {
        match tokio::time::timeout(probe.step_limit, lines.next_line()).await {
            Ok(Ok(Some(line))) => match serde_json::from_str(&line) {
                Ok(finding) => findings.push(finding),
                // A driver that writes to standard output is no finding.
                Err(_) => continue,
            },
            Ok(_) => break end_of(&mut child).await,
            Err(_) => break Some(format!("no answer within {} s", probe.step_limit.as_secs_f32())),
        }
    };
    let _ = child.kill().await;
    let words = words.await.unwrap_or_default();
    if let Some(said) = ended.filter(|_| findings.len() < Ability::ALL.len()) {
        findings.push(refused(findings.len(), said));
    }
    for finding in &mut findings[first..] {
        add_words(finding, &words);
    }
}

fn start(probe: &Probe, backend: Backend, device: &str, first: usize) -> std::io::Result<Child> {
    let mut command = Command::new(&probe.program);
    command
        .args(&probe.arguments)
        .args([backend.as_str(), device, &first.to_string()])
        // libva prints its version otherwise.
        .env("LIBVA_MESSAGING_LEVEL", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command.spawn()
}

/// How a child ended that closed its output, in words; `None` where it ended well.
async fn end_of(child: &mut Child) -> Option<String> {
    use std::os::unix::process::ExitStatusExt as _;
    let status = tokio::time::timeout(STEP_LIMIT, child.wait()).await;
    match status {
        Ok(Ok(status)) if status.success() => None,
        Ok(Ok(status)) => Some(match (status.signal(), status.code()) {
            (Some(signal), _) => format!("killed by signal {signal}"),
            (None, code) => format!("ended with code {}", code.unwrap_or(-1)),
        }),
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some(format!("no answer within {} s", STEP_LIMIT.as_secs())),
    }
}

/// Puts what libav logged during a step behind its error, at most three lines of it.
fn add_words(finding: &mut Finding, words: &str) {
    let Outcome::Refused { said } = &mut finding.outcome else { return };
    let name = finding.ability.text();
    let own = words.split(MARK).find_map(|step| step.strip_prefix(name.as_str())).unwrap_or_default();
    let lines = own.lines().map(plain).filter(|line| !line.is_empty());
    for line in lines.take(3) {
        if !said.contains(line) {
            said.push_str("; ");
            said.push_str(line);
        }
    }
}

/// A line of libav's log without its `[h264_nvenc @ 0x55…]`.
fn plain(line: &str) -> &str {
    let line = line.trim();
    match (line.starts_with('['), line.split_once("] ")) {
        (true, Some((head, rest))) if head.contains(" @ 0x") => rest.trim(),
        _ => line,
    }
}

/// What streams are to use: of the backends that are wanted, those that were seen to work with H.264.
pub fn choose(plan: &Plan, reports: &[BackendReport]) -> Chosen {
    let pick = |wanted: &Backends, ability: Ability, unprobed: Vec<Backend>| {
        let can = |backend: &Backend| {
            reports.iter().any(|report| report.backend == *backend && report.can(ability))
        };
        let list: Vec<Backend> = plan.wanted(wanted).into_iter().filter(can).collect();
        // With nothing that works, streams fail with the words of what is wanted rather than with none.
        if list.is_empty() { unprobed } else { list }
    };
    let unprobed = plan.unprobed();
    Chosen {
        decode: pick(&plan.hardware.decode, Ability::Decode(VideoCodec::H264), unprobed.decode),
        encode: pick(&plan.hardware.encode, Ability::Encode(VideoCodec::H264), unprobed.encode),
        device: unprobed.device,
    }
}

/// Probes in the background, once for the process's life. Software is there from the start; what works beside it
/// follows when it has been seen. Dropping every receiver does not stop it.
pub fn watch(plan: Plan, probe: Probe) -> tokio::sync::watch::Receiver<Chosen> {
    let (found, chosen) = tokio::sync::watch::channel(plan.unprobed());
    tokio::spawn(async move {
        let mut backends = plan.wanted(&plan.hardware.decode);
        backends.extend(plan.wanted(&plan.hardware.encode));
        let candidates: Vec<Backend> =
            Backend::ALL.into_iter().filter(|one| backends.contains(one)).collect();
        if candidates == [Backend::Software] {
            return;
        }
        let reports = survey(&probe, &candidates, &plan.hardware.device).await;
        for report in &reports {
            tell(report);
        }
        let chosen = choose(&plan, &reports);
        tracing::info!(decode = ?chosen.decode, encode = ?chosen.encode, "hardware probed");
        found.send_replace(chosen);
    });
    chosen
}

fn tell(report: &BackendReport) {
    for found in &report.findings {
        if let (Outcome::Refused { said }, Some(explained)) = (&found.finding.outcome, &found.explained) {
            let (backend, ability) = (report.backend.as_str(), found.finding.ability.text());
            tracing::debug!(
                backend,
                ability,
                said,
                means = explained.means,
                todo = explained.todo,
                "refused"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, step_limit: Duration) -> Probe {
        let arguments = vec!["-c".into(), script.into(), "probe".into()];
        Probe { program: "/bin/sh".into(), arguments, step_limit }
    }

    fn works(ability: &str) -> String {
        format!(r#"echo '{{"ability":{ability},"outcome":"works","by":"x","micros":1}}'"#)
    }

    async fn probed(script: &str) -> BackendReport {
        let probe = shell(script, Duration::from_millis(500));
        let mut reports = survey(&probe, &[Backend::Vaapi], "/dev/dri/renderD200").await;
        reports.remove(0)
    }

    fn said(report: &BackendReport, at: usize) -> &str {
        match &report.findings[at].finding.outcome {
            Outcome::Refused { said } => said,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_crash_costs_one_step_and_the_next_process_goes_on_behind_it() {
        // $1 is the backend, $2 the device, $3 the step to begin with.
        let script = format!(
            "[ $2 = /dev/dri/renderD200 ] || exit 9
            if [ $3 = 0 ]; then {}; printf '\\036trying encode h264\\nbad driver\\n' >&2; kill -SEGV $$; fi
            if [ $3 = 2 ]; then {}; exit 0; fi
            exit 3",
            works(r#""device""#),
            works(r#"{"decode":"h264"}"#)
        );
        let report = probed(&script).await;
        assert!(report.can(Ability::Device) && report.can(Ability::Decode(VideoCodec::H264)));
        assert_eq!(report.findings[1].finding.ability, Ability::Encode(VideoCodec::H264));
        assert_eq!(said(&report, 1), "killed by signal 11; bad driver");
        let explained = report.findings[1].explained.as_ref().unwrap();
        assert!(explained.means.contains("crashed"), "{explained:?}");
        // Every step behind has ended with code 3, each in a process of its own.
        assert_eq!(report.findings.len(), Ability::ALL.len());
        assert_eq!(said(&report, 7), "ended with code 3");
    }

    #[tokio::test]
    async fn a_hang_is_ended_by_the_limit_and_chatter_is_no_finding() {
        let script = format!("echo hello; {}; exec sleep 60", works(r#""device""#));
        let probe = shell(&script, Duration::from_millis(300));
        let mut findings = Vec::new();
        run_once(&probe, Backend::Nvidia, "", &mut findings).await;
        assert_eq!(findings.len(), 2);
        let hung = Outcome::Refused { said: "no answer within 0.3 s".into() };
        assert_eq!(findings[1], Finding { ability: Ability::Encode(VideoCodec::H264), outcome: hung });
    }

    #[tokio::test]
    async fn a_program_that_does_not_start_is_a_refusal_in_words() {
        let probe = Probe::new("/no/such/program".into(), &[]);
        let mut findings = Vec::new();
        run_once(&probe, Backend::Qsv, "", &mut findings).await;
        let Outcome::Refused { said } = &findings[0].outcome else { panic!("{findings:?}") };
        assert!(said.starts_with("the probe does not start: "), "{said}");
    }

    fn report(backend: Backend, abilities: &[Ability]) -> BackendReport {
        let works = |ability: &Ability| Explanation {
            finding: Finding { ability: *ability, outcome: Outcome::Works { by: "x".into(), micros: 1 } },
            explained: None,
        };
        BackendReport { backend, findings: abilities.iter().map(works).collect() }
    }

    #[test]
    fn what_was_seen_to_work_is_chosen_for_each_end_by_itself() {
        let (encode, decode) = (Ability::Encode(VideoCodec::H264), Ability::Decode(VideoCodec::H264));
        // A data-centre card: it decodes and has no encoder.
        let reports = [report(Backend::Nvidia, &[decode]), report(Backend::Software, &[encode, decode])];
        let mut plan = Plan::default();
        let chosen = choose(&plan, &reports);
        assert_eq!(chosen.decode, [Backend::Nvidia, Backend::Software]);
        assert_eq!(chosen.encode, [Backend::Software]);
        plan.hardware.forbid = vec![Backend::Nvidia];
        assert_eq!(choose(&plan, &reports), Chosen::default());
        assert_eq!(choose(&plan, &[]), Chosen::default());
    }

    #[tokio::test]
    async fn a_probe_in_the_background_leaves_software_until_it_has_found_more() {
        let script = format!(
            "{}; {}; {}; exit 0",
            works(r#""device""#),
            works(r#"{"encode":"h264"}"#),
            works(r#"{"decode":"h264"}"#)
        );
        let mut plan = Plan::default();
        plan.hardware.encode = Backends(Some(vec![Backend::Nvidia, Backend::Software]));
        plan.hardware.decode = Backends(Some(vec![Backend::Software]));
        let mut chosen = watch(plan, shell(&script, Duration::from_secs(5)));
        assert_eq!(*chosen.borrow_and_update(), Chosen::default());
        tokio::time::timeout(Duration::from_secs(20), chosen.changed()).await.unwrap().unwrap();
        let found = chosen.borrow().clone();
        assert_eq!(found.encode, [Backend::Nvidia, Backend::Software]);
        assert_eq!(found.decode, [Backend::Software]);
    }
}
