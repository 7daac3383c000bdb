//! A headless Chromium with stock hls.js, one sitting after another, and what is allowed it.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::plan::STREAMS;
use super::stage::Stage;
use super::window::{Concern, Seat, Window, uncovered};
use crate::world::{Player, browse};

/// How long a sitting is, and the least that shows something.
const SITTING: Duration = Duration::from_secs(40);
const LEAST: Duration = Duration::from_secs(15);
/// For a browser to start and to end.
const OPENS: Duration = Duration::from_secs(3);
/// What it may wait beyond a fault's window, on an idle machine: its picture is decoded as well.
const AIR: Duration = Duration::from_secs(4);
/// It watches the first stream, and may be sent from edge to edge.
const SEAT: Seat = Seat { stream: 0, rung: false, edges: 3 };

/// What one sitting saw.
#[derive(Debug)]
pub struct Browsed {
    /// When it was opened, since the beginning of the run.
    began: Duration,
    /// When it was done.
    ended: Duration,
    /// What its script tells.
    seen: Result<Value, String>,
}

/// Has hls.js open the first stream at the first edge over and over, until the run is over.
pub async fn watch(stage: Arc<Stage>, length: Duration) -> Vec<Browsed> {
    let url = stage.edge(0).url(&format!("/live/{}/index.m3u8", STREAMS[0]));
    let mut sittings = Vec::new();
    loop {
        let began = stage.ledger.at();
        let left = length.saturating_sub(began + OPENS);
        if left < LEAST {
            return sittings;
        }
        // One that is too short to be told from its end is added to the one before.
        let seconds = if left < SITTING + LEAST { left } else { SITTING }.as_secs() as u32;
        let seen = browse(&url, Player::Hls, seconds, &["--settle", "0"]).await;
        let seen = seen.or_else(|error| what_it_said(&error.to_string()));
        sittings.push(Browsed { began, ended: stage.ledger.at(), seen });
    }
}

/// A script that ends badly has said what it saw, too.
fn what_it_said(error: &str) -> Result<Value, String> {
    let json = error.find('{').zip(error.rfind('}')).and_then(|(from, to)| error.get(from..=to));
    json.and_then(|json| serde_json::from_str(json).ok()).ok_or_else(|| error.to_owned())
}

impl Browsed {
    /// Judges it by the windows of the run's faults. It says how long its stalls were, and not when.
    pub(super) fn judge(&self, stage: &Stage, windows: &[Window]) -> String {
        let (ledger, since) = (&stage.ledger, self.began);
        let seen = match &self.seen {
            Ok(seen) => seen,
            Err(why) => {
                ledger.broken(format!("hls.js, opened at {since:.1?}, does not play: {why}"));
                return String::new();
            }
        };
        let number = |name: &str| Duration::from_secs_f64(seen[name].as_f64().unwrap_or_default().max(0.0));
        let (played, stall, fatal) = (number("playedSeconds"), number("longestStall"), &seen["fatal"]);
        let told = format!(
            "hls.js, opened at {since:.1?}: {played:.1?} played, longest stall {stall:.1?}, fatal: {fatal}\n"
        );
        let (all, longest) = self.excused(windows);
        let air = ledger.scaled(AIR);
        let least = (self.ended - self.began).saturating_sub(all + 3 * air);
        if !fatal.is_null() || seen["firstPictureMillis"].is_null() {
            // It goes back to no edge that failed it for five minutes, and gives up when the other one fails as well.
            if self.may_give_up(windows) {
                ledger.known(format!("hls.js, opened at {since:.1?}, gave up when both edges had failed it"));
            } else {
                ledger.broken(format!("it gave up without faults at both edges: {told}{}", seen["errors"]));
            }
        } else if stall > longest + air {
            ledger.broken(format!("the longest window is {longest:.1?}: {told}{}", seen["errors"]));
        } else if played < least {
            ledger.broken(format!("at least {least:.1?} were to be played: {told}{}", seen["errors"]));
        }
        told
    }

    fn may_give_up(&self, windows: &[Window]) -> bool {
        let fails = |edge: usize| {
            windows.iter().any(|window| {
                let concerns = window.concern == Concern::All || window.concern == Concern::Edge(edge);
                concerns && window.from < self.ended && window.to > self.began
            })
        };
        fails(0) && fails(1)
    }

    /// How much of the time it may wait, and in one go at most.
    fn excused(&self, windows: &[Window]) -> (Duration, Duration) {
        let step = Duration::from_millis(100);
        let (mut all, mut longest, mut run) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
        let mut at = self.began;
        while at < self.ended {
            if uncovered(&SEAT, at, at + step, windows).is_zero() {
                run += step;
                all += step;
                longest = longest.max(run);
            } else {
                run = Duration::ZERO;
            }
            at += step;
        }
        (all, longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn it_may_give_up_only_where_both_edges_failed() {
        let sitting = Browsed { began: S * 10, ended: S * 50, seen: Err(String::new()) };
        let window = |concern, from| Window { fault: 0, concern, from: S * from, to: S * (from + 5) };
        let (one, other) = (window(Concern::Edge(0), 20), window(Concern::Edge(1), 30));
        assert!(sitting.may_give_up(&[one, other]));
        assert!(!sitting.may_give_up(&[one, window(Concern::Edge(1), 1)]));
        assert!(sitting.may_give_up(&[window(Concern::All, 20)]));
        assert_eq!(sitting.excused(&[one, other]), (S * 10, S * 5));
    }

    #[test]
    fn what_a_script_said_is_read_out_of_its_error() {
        let said = what_it_said("u does not play in hls: {\"fatal\": \"x\", \"a\": {}}\n");
        assert_eq!(said.map(|said| said["fatal"].clone()), Ok(Value::from("x")));
        assert!(what_it_said("no browser").is_err());
    }
}
