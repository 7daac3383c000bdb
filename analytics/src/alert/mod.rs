//! Alerts with hysteresis (QOE-26 to QOE-28): pure, with the time passed in.

mod rules;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use rules::{Kind, Least, Rule, Signal, Thresholds, rules};

use crate::health::Severity;

/// Alerts that are over and still shown.
const RECENT: usize = 100;
/// Alerts that are followed at a time; further ones are not.
const MOST: usize = 10_000;
/// An alert that stays is said again so often (milliseconds).
const REMINDER: i64 = 30 * 60_000;

/// What an alert is about.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, ToSchema)]
pub struct Scope {
    /// A stream, an edge, or everything.
    pub kind: Kind,
    /// Its name; empty for everything.
    pub name: String,
}

/// What a signal reads.
#[derive(Clone, PartialEq, Debug)]
pub struct Reading {
    /// Which.
    pub signal: Signal,
    /// Of what.
    pub scope: Scope,
    /// How much.
    pub value: f64,
    /// Of how many sessions, attempts or requests.
    pub count: u64,
    /// Of how many minutes played.
    pub minutes: f64,
    /// In plain words.
    pub text: String,
}

/// An alert as the API shows it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct AlertView {
    /// Rule and scope.
    pub id: String,
    /// The rule.
    pub rule: String,
    /// How bad it is: `info`, `warning`, `critical`.
    pub severity: String,
    /// What it is about.
    pub scope: Scope,
    /// When it began, in milliseconds since 1970.
    pub since: i64,
    /// When it ended.
    pub until: Option<i64>,
    /// The newest value.
    pub value: f64,
    /// In plain words.
    pub text: String,
    /// The alert that explains it.
    pub suppressed_by: Option<String>,
}

/// A rule as the API shows it.
#[derive(Clone, PartialEq, Debug, Serialize, ToSchema)]
pub struct RuleView {
    /// Its name.
    pub rule: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What it is about.
    pub scope: Kind,
    /// What its values are in.
    pub unit: &'static str,
    /// Above this it begins,
    pub enter: f64,
    /// and below this it ends,
    pub exit: f64,
    /// each after so many seconds.
    pub enter_for: u32,
    /// See `enter_for`.
    pub exit_for: u32,
    /// How many must be concerned.
    pub least: Option<String>,
    /// Seconds before it can begin again.
    pub cooldown: u32,
}

/// Something to tell.
#[derive(Clone, PartialEq, Debug)]
pub enum Notice {
    /// It began.
    Raised(AlertView),
    /// It ended.
    Resolved(AlertView),
    /// It goes on (every half an hour).
    Stays(AlertView),
}

/// What outlives the process.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Saved {
    active: Vec<(AlertView, i64)>,
    cooling: Vec<(String, i64)>,
}

#[derive(Clone, Debug)]
struct Active {
    view: AlertView,
    /// When it was last told; 0 while it has not been, because another alert explains it.
    told: i64,
    below_since: Option<i64>,
    heard: i64,
}

/// All alerts.
#[derive(Clone, Debug)]
pub struct Alerts {
    rules: Vec<Rule>,
    /// Since when a value has been too high, and when it was last read.
    rising: BTreeMap<String, (i64, i64)>,
    active: BTreeMap<String, Active>,
    /// Until when one may not begin again.
    cooling: BTreeMap<String, i64>,
    recent: VecDeque<AlertView>,
}

impl Alerts {
    /// By these rules, with what was so before a restart: who was told of an alert is not told again.
    pub fn new(rules: Vec<Rule>, saved: Saved, now: i64) -> Self {
        let known = |name: &str| rules.iter().any(|rule| rule.name == name);
        let active = saved.active.into_iter().filter(|(view, _)| known(&view.rule)).map(|(view, told)| {
            let id = view.id.clone();
            (id, Active { view, told, below_since: None, heard: now })
        });
        let active = active.take(MOST).collect();
        let cooling = saved.cooling.into_iter().take(MOST).collect();
        Self { rules, rising: BTreeMap::new(), active, cooling, recent: VecDeque::new() }
    }

    /// Takes what signals read at `now` (milliseconds since 1970), once a second.
    pub fn turn(&mut self, readings: &[Reading], now: i64) -> Vec<Notice> {
        self.cooling.retain(|_, until| *until > now);
        let mut begun = Vec::new();
        for rule in self.rules.clone() {
            let concerned = readings
                .iter()
                .filter(|reading| reading.signal == rule.signal && reading.scope.kind == rule.scope);
            for reading in concerned {
                self.read(&rule, reading, now, &mut begun);
            }
        }
        self.rising.retain(|_, (_, heard)| *heard == now);
        let mut notices = self.end(now);
        self.explain();
        notices.extend(self.tell(now));
        notices
    }

    fn read(&mut self, rule: &Rule, reading: &Reading, now: i64, begun: &mut Vec<String>) {
        let id = id(rule, &reading.scope);
        let enough = rule.least.is_none_or(|least| {
            reading.count >= least.count || least.minutes.is_some_and(|minutes| reading.minutes >= minutes)
        });
        if let Some(active) = self.active.get_mut(&id) {
            active.heard = now;
            active.view.value = reading.value;
            if reading.value > rule.exit && enough {
                active.below_since = None;
                active.view.text.clone_from(&reading.text);
            } else {
                active.below_since.get_or_insert(now);
            }
            return;
        }
        if reading.value <= rule.enter
            || !enough
            || self.cooling.contains_key(&id)
            || self.active.len() >= MOST
        {
            return;
        }
        let (since, heard) = self.rising.entry(id.clone()).or_insert((now, now));
        *heard = now;
        if now - *since >= i64::from(rule.enter_for) * 1_000 {
            let view = AlertView {
                id: id.clone(),
                rule: rule.name.into(),
                severity: rule.severity.as_str().into(),
                scope: reading.scope.clone(),
                since: now,
                until: None,
                value: reading.value,
                text: reading.text.clone(),
                suppressed_by: None,
            };
            self.active.insert(id.clone(), Active { view, told: 0, below_since: None, heard: now });
            begun.push(id);
        }
    }

    /// Ends what has been well for long enough, and what is not measured any more.
    fn end(&mut self, now: i64) -> Vec<Notice> {
        let patience = |active: &Active| {
            let rule = self.rules.iter().find(|rule| rule.name == active.view.rule);
            rule.map_or((0, 0), |rule| (i64::from(rule.exit_for) * 1_000, i64::from(rule.cooldown) * 1_000))
        };
        let over: Vec<(String, i64)> = self
            .active
            .iter()
            .filter_map(|(id, active)| {
                let (exit_for, cooldown) = patience(active);
                let well = active.below_since.is_some_and(|since| now - since >= exit_for);
                (well || now - active.heard >= exit_for).then(|| (id.clone(), now + cooldown))
            })
            .collect();
        let mut notices = Vec::new();
        for (id, cools_until) in over {
            let Some(mut active) = self.active.remove(&id) else { continue };
            active.view.until = Some(now);
            self.cooling.insert(id, cools_until);
            if self.recent.len() >= RECENT {
                self.recent.pop_front();
            }
            self.recent.push_back(active.view.clone());
            if active.told > 0 {
                notices.push(Notice::Resolved(active.view));
            }
        }
        notices
    }

    /// Says of each alert whether another one explains it (QOE-28).
    fn explain(&mut self) {
        let active = |rule: &str, kind: Kind, name: &str| {
            let id = format!("{rule}:{}:{name}", kind_word(kind));
            self.active.contains_key(&id).then_some(id)
        };
        let explained: Vec<(String, Option<String>)> = self
            .active
            .iter()
            .map(|(id, one)| {
                let Scope { kind, name } = &one.view.scope;
                let signal =
                    self.rules.iter().find(|rule| rule.name == one.view.rule).map(|rule| rule.signal);
                let by = match (signal, kind) {
                    (Some(signal), Kind::Stream) if signal.is_of_viewers() || signal == Signal::Degraded => {
                        active("source-lost", Kind::Stream, name)
                            .or_else(|| active("many-streams", Kind::Global, ""))
                    }
                    (Some(Signal::SourceLost), Kind::Stream) => active("many-streams", Kind::Global, ""),
                    (Some(Signal::Errors | Signal::RelayLag), Kind::Edge) => {
                        active("node-gone", Kind::Edge, name)
                    }
                    _ => None,
                };
                let milder = one.view.rule.split_once("-critical").is_none();
                let worse = format!("{}-critical:{}:{name}", one.view.rule, kind_word(*kind));
                let worse = (milder && self.active.contains_key(&worse)).then_some(worse);
                (id.clone(), by.or(worse))
            })
            .collect();
        for (id, by) in explained {
            if let Some(active) = self.active.get_mut(&id) {
                active.view.suppressed_by = by;
            }
        }
    }

    /// What is to be told now: what began and is not explained, and what has stayed for half an hour.
    fn tell(&mut self, now: i64) -> Vec<Notice> {
        let mut notices = Vec::new();
        for active in self.active.values_mut().filter(|active| active.view.suppressed_by.is_none()) {
            if active.told == 0 {
                notices.push(Notice::Raised(active.view.clone()));
                active.told = now;
            } else if now - active.told >= REMINDER {
                notices.push(Notice::Stays(active.view.clone()));
                active.told = now;
            }
        }
        notices
    }

    /// What is so now, the worst first.
    pub fn active(&self) -> Vec<AlertView> {
        let mut views: Vec<_> = self.active.values().map(|active| active.view.clone()).collect();
        let mild = |view: &AlertView| {
            ["critical", "warning"].iter().position(|word| *word == view.severity).unwrap_or(2)
        };
        views.sort_by(|a, b| mild(a).cmp(&mild(b)).then(b.since.cmp(&a.since)));
        views
    }

    /// What is over, the newest last.
    pub fn recent(&self) -> Vec<AlertView> {
        self.recent.iter().cloned().collect()
    }

    /// Rules for people.
    pub fn rules(&self) -> Vec<RuleView> {
        self.rules.iter().map(show).collect()
    }

    /// What is to outlive the process.
    pub fn save(&self) -> Saved {
        Saved {
            active: self.active.values().map(|active| (active.view.clone(), active.told)).collect(),
            cooling: self.cooling.iter().map(|(id, until)| (id.clone(), *until)).collect(),
        }
    }
}

fn show(rule: &Rule) -> RuleView {
    let unit = match rule.scope {
        Kind::Edge => "requests or parts",
        Kind::Stream => "sessions",
        Kind::Global => "streams",
    };
    let least = rule.least.map(|least| match least.minutes {
        Some(minutes) => format!("{} {unit} or {minutes} minutes played", least.count),
        None => format!("{} {unit}", least.count),
    });
    RuleView {
        rule: rule.name,
        severity: rule.severity,
        scope: rule.scope,
        unit: rule.unit,
        enter: rule.enter,
        exit: rule.exit,
        enter_for: rule.enter_for,
        exit_for: rule.exit_for,
        least,
        cooldown: rule.cooldown,
    }
}

fn id(rule: &Rule, scope: &Scope) -> String {
    format!("{}:{}:{}", rule.name, kind_word(scope.kind), scope.name)
}

const fn kind_word(kind: Kind) -> &'static str {
    match kind {
        Kind::Stream => "stream",
        Kind::Edge => "edge",
        Kind::Global => "global",
    }
}
