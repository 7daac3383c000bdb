//! Figures, their table, and the file they are kept in.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, doing};
use crate::{clock, machine};

/// One figure.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Row {
    /// The subcommand that makes it.
    pub command: String,
    /// What was measured.
    pub what: String,
    /// In what.
    pub unit: String,
    /// Our figure.
    pub ours: f64,
    /// What it stands beside.
    pub beside: Beside,
    /// How it came about: sample counts, rates, spread.
    pub detail: String,
    /// Where it lies in a plot, if it belongs in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub point: Option<Point>,
}

/// A figure's place in a plot; its height is the figure.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Point {
    /// What is counted along the plot: streams, viewers.
    pub over: String,
    /// The line that it is on.
    pub line: String,
    /// How many there are.
    pub count: usize,
}

/// What a figure stands beside. Less is better in every row.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Beside {
    /// A budget that must not be passed.
    Budget(f64),
    /// A peer's figure, measured in the same run.
    Peer {
        /// Which.
        name: String,
        /// Its figure.
        figure: f64,
    },
    /// Nothing: the figure informs.
    Nothing,
}

impl Row {
    /// A figure that informs.
    pub fn new(command: &str, what: impl Into<String>, unit: &str, ours: f64) -> Self {
        Self {
            command: command.into(),
            what: what.into(),
            unit: unit.into(),
            ours,
            beside: Beside::Nothing,
            detail: String::new(),
            point: None,
        }
    }

    /// In the plot over the number of something.
    pub fn point(mut self, over: &str, line: &str, count: usize) -> Self {
        self.point = Some(Point { over: over.into(), line: line.into(), count });
        self
    }

    /// Beside a budget.
    pub fn budget(mut self, budget: f64) -> Self {
        self.beside = Beside::Budget(budget);
        self
    }

    /// Beside a peer.
    pub fn peer(mut self, name: &str, figure: f64) -> Self {
        self.beside = Beside::Peer { name: name.into(), figure };
        self
    }

    /// How it came about.
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    fn ratio(&self) -> Option<f64> {
        match self.beside {
            Beside::Budget(figure) | Beside::Peer { figure, .. } if figure > 0.0 => Some(self.ours / figure),
            _ => None,
        }
    }

    fn cells(&self) -> [String; 5] {
        let beside = match &self.beside {
            Beside::Budget(figure) => format!("budget {}", number(*figure)),
            Beside::Peer { name, figure } => format!("{name} {}", number(*figure)),
            Beside::Nothing => "-".into(),
        };
        let ratio = match (self.ratio(), &self.beside) {
            (Some(ratio), Beside::Budget(_)) if ratio > 1.0 => format!("{ratio:.2} over"),
            (Some(ratio), _) => format!("{ratio:.2}"),
            (None, _) => "-".into(),
        };
        let ours = format!("{} {}", number(self.ours), self.unit);
        [self.what.clone(), ours, beside, ratio, format!("aqueduct-bench {}", self.command)]
    }
}

/// A figure as its file keeps it.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    at: u64,
    machine: String,
    #[serde(flatten)]
    row: Row,
}

/// Figures of one machine.
#[derive(Debug)]
pub struct Report {
    machine: String,
    rows: Vec<Row>,
}

impl Report {
    /// Figures taken here and now.
    pub fn new(rows: Vec<Row>) -> Self {
        Self { machine: machine::line(), rows }
    }

    /// Reads what [`append`](Self::append) has written.
    pub fn read(file: &Path) -> Result<Self, Error> {
        let text = fs::read_to_string(file).map_err(doing(format!("read {}", file.display())))?;
        let mut report = Self { machine: String::new(), rows: Vec::new() };
        for (index, line) in text.lines().enumerate() {
            let kept: Kept = serde_json::from_str(line).map_err(|error| Error::Figures {
                file: file.to_owned(),
                line: index + 1,
                error,
            })?;
            report.machine = kept.machine;
            report.rows.push(kept.row);
        }
        Ok(report)
    }

    /// All figures.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Where they were taken.
    pub fn machine(&self) -> &str {
        &self.machine
    }

    /// Adds the figures to a file, one JSON object a line.
    pub fn append(&self, file: &Path) -> Result<(), Error> {
        let failed = || doing(format!("write {}", file.display()));
        if let Some(dir) = file.parent() {
            fs::create_dir_all(dir).map_err(failed())?;
        }
        let mut out = File::options().create(true).append(true).open(file).map_err(failed())?;
        for row in &self.rows {
            let kept = Kept { at: clock::unix_seconds(), machine: self.machine.clone(), row: row.clone() };
            let line = serde_json::to_string(&kept).map_err(|error| failed()(error.into()))?;
            writeln!(out, "{line}").map_err(failed())?;
        }
        Ok(())
    }

    /// The table, as Markdown that also reads well on a terminal.
    pub fn table(&self) -> String {
        let head = ["what", "ours", "peer or budget", "ratio", "command"].map(String::from);
        let rows: Vec<[String; 5]> = self.rows.iter().map(Row::cells).collect();
        let width = |column: usize| {
            let cells = rows.iter().chain([&head]).map(|row| row[column].chars().count());
            cells.max().unwrap_or(0)
        };
        let widths: [usize; 5] = std::array::from_fn(width);
        let mut out = format!("\n{}\n\n", self.machine);
        let mut line = |cells: &[String; 5]| {
            let padded: Vec<String> =
                cells.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            // Writing into a String does not fail.
            let _ = writeln!(out, "| {} |", padded.join(" | "));
        };
        line(&head);
        line(&widths.map(|width| "-".repeat(width)));
        rows.iter().for_each(line);
        out.push('\n');
        for row in self.rows.iter().filter(|row| !row.detail.is_empty()) {
            let _ = writeln!(out, "- {}: {}", row.what, row.detail);
        }
        out
    }
}

/// Three significant digits or so.
fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 || size == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_come_back_from_their_file() {
        let scratch = crate::scratch::Scratch::new("report").unwrap();
        let file = scratch.path().join("new/figures.jsonl");
        let row = Row::new("lag", "part fetched, p95", "ms", 1.5).budget(5.0).detail("300 parts");
        let other = Row::new("serve", "part", "µs", 9.0).peer("nginx", 13.0);
        Report::new(vec![row.clone()]).append(&file).unwrap();
        Report::new(vec![other.clone()]).append(&file).unwrap();
        assert_eq!(Report::read(&file).unwrap().rows, [row, other]);
    }

    #[test]
    fn the_table_marks_what_is_over_its_budget() {
        let rows = vec![
            Row::new("lag", "within", "ms", 1.0).budget(5.0),
            Row::new("lag", "beyond", "ms", 6.0).budget(5.0),
            Row::new("serve", "beside", "µs", 26.0).peer("nginx", 13.0),
        ];
        let table = Report { machine: "here".into(), rows }.table();
        assert!(table.contains("| within | 1.00 ms | budget 5.00"), "{table}");
        assert!(table.contains("1.20 over") && !table.contains("2.00 over"), "{table}");
    }
}
