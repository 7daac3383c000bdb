//! What is known of the node, and what the user looks at. Pure: events and keys in, something to draw.

use std::collections::{BTreeMap, VecDeque};

use serde_json::Value;

/// Seconds of bitrate that are kept of each stream.
const HISTORY: usize = 60;
/// Happenings that are kept.
const HAPPENED: usize = 200;

/// A key, by what it does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Key {
    /// Ends it.
    Quit,
    /// Draws anew.
    Redraw,
    /// Chooses a stream so many rows below.
    Move(isize),
    /// Sorts by the next column.
    Sort,
    /// Turns the order around.
    Reverse,
    /// Shows another pane.
    Pane(isize),
    /// Shows or hides what the keys do.
    Help,
}

/// What the list is sorted by.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Sort {
    /// The worst first.
    #[default]
    Trouble,
    /// Its name.
    Name,
    /// Most first.
    Viewers,
    /// Most first.
    Bitrate,
    /// Longest first.
    Latency,
    /// Least first.
    Score,
}

impl Sort {
    const ALL: [Self; 6] =
        [Self::Trouble, Self::Name, Self::Viewers, Self::Bitrate, Self::Latency, Self::Score];

    /// As the page says it.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Trouble => "trouble",
            Self::Name => "name",
            Self::Viewers => "viewers",
            Self::Bitrate => "bitrate",
            Self::Latency => "latency",
            Self::Score => "score",
        }
    }
}

/// What is shown below the list.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Pane {
    /// The chosen stream.
    #[default]
    Stream,
    /// The nodes.
    Nodes,
    /// The alerts.
    Alerts,
    /// What happened.
    Events,
}

impl Pane {
    /// All of them, in their order.
    pub(super) const ALL: [Self; 4] = [Self::Stream, Self::Nodes, Self::Alerts, Self::Events];

    /// As the page says it.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Stream => "Stream",
            Self::Nodes => "Nodes",
            Self::Alerts => "Alerts",
            Self::Events => "Events",
        }
    }
}

/// A stream in the list.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) health: String,
    pub(super) score: Option<f64>,
    pub(super) viewers: f64,
    pub(super) bitrate: f64,
    pub(super) fps: Option<f64>,
    pub(super) latency: Option<f64>,
    pub(super) rebuffer: Option<f64>,
    pub(super) advice: f64,
    pub(super) alerts: f64,
    /// Bits a second, the newest last.
    pub(super) history: VecDeque<f64>,
}

impl Row {
    /// By the names of the columns, so that a newer node may have more of them.
    fn read(columns: &[String], values: &[Value]) -> Option<Self> {
        let at = |name: &str| {
            let index = columns.iter().position(|column| column == name)?;
            values.get(index)
        };
        let number = |name: &str| at(name).and_then(Value::as_f64);
        Some(Self {
            name: at("name")?.as_str()?.to_owned(),
            health: at("health")?.as_str()?.to_owned(),
            score: number("score"),
            viewers: number("viewers").unwrap_or(0.0),
            bitrate: number("bitrate").unwrap_or(0.0),
            fps: number("fps"),
            latency: number("latency"),
            rebuffer: number("rebuffer"),
            advice: number("advice").unwrap_or(0.0),
            alerts: number("alerts").unwrap_or(0.0),
            history: VecDeque::new(),
        })
    }

    /// How much it wants to be looked at: less is more.
    fn rank(&self) -> u8 {
        let of_state = match self.health.as_str() {
            "stalled" => 0,
            "reconnecting" => 1,
            "degraded" => 2,
            "starting" => 4,
            "live" => 5,
            _ => 6,
        };
        // An alert of viewers counts although the source is well.
        if self.alerts > 0.0 { of_state.min(3) } else { of_state }
    }
}

/// The chosen stream, as it was asked for last.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Detail {
    pub(super) view: Value,
    /// Bits a second over the last minute.
    pub(super) bitrate: Vec<f64>,
}

/// All that is known and chosen.
#[derive(Debug, Default)]
pub(super) struct Model {
    columns: Vec<String>,
    rows: BTreeMap<String, Row>,
    order: Vec<String>,
    chosen: Option<String>,
    detail: Option<Detail>,
    /// The object of `/api/v1/overview`.
    pub(super) overview: Value,
    /// The list of `/api/v1/nodes`.
    pub(super) nodes: Vec<Value>,
    /// Alerts that are active.
    pub(super) alerts: Vec<Value>,
    /// What happened, the newest last.
    pub(super) happened: VecDeque<Value>,
    /// Why the node is not heard; `None` while it is.
    pub(super) lost: Option<String>,
    pub(super) sort: Sort,
    pub(super) reversed: bool,
    pub(super) pane: Pane,
    pub(super) help: bool,
    /// The first row of the list that is on the screen.
    pub(super) offset: usize,
}

impl Model {
    /// Takes an event of the live stream. One that cannot be read is passed over: it is of a newer node.
    pub(super) fn hear(&mut self, name: &str, data: &str) {
        let Ok(mut value) = serde_json::from_str::<Value>(data) else { return };
        match name {
            "hello" => {
                self.lost = None;
                let columns = value["columns"].as_array().into_iter().flatten();
                self.columns = columns.filter_map(|column| column.as_str().map(str::to_owned)).collect();
            }
            "streams" => self.streams(&value),
            "overview" => self.overview = value,
            "nodes" => self.nodes = list(value),
            "alerts" => self.alerts = list(value["active"].take()),
            "event" => {
                if self.happened.len() >= HAPPENED {
                    self.happened.pop_front();
                }
                self.happened.push_back(value);
            }
            _ => {}
        }
    }

    fn streams(&mut self, value: &Value) {
        let mut before = BTreeMap::new();
        if value["all"] == true {
            before = std::mem::take(&mut self.rows);
        }
        for values in value["rows"].as_array().into_iter().flatten().filter_map(Value::as_array) {
            let Some(mut row) = Row::read(&self.columns, values) else { continue };
            let old = self.rows.remove(&row.name).or_else(|| before.remove(&row.name));
            row.history = old.map(|old| old.history).unwrap_or_default();
            self.rows.insert(row.name.clone(), row);
        }
        for name in value["gone"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            self.rows.remove(name);
        }
        for row in self.rows.values_mut() {
            if row.history.len() >= HISTORY {
                row.history.pop_front();
            }
            row.history.push_back(row.bitrate);
        }
        self.arrange();
    }

    /// Takes the chosen stream and its last minute.
    pub(super) fn detail(&mut self, view: &Value, series: &Value) {
        let bitrate = series["columns"]["bitrate"].as_array().into_iter().flatten();
        let bitrate = bitrate.map(|value| value.as_f64().unwrap_or(0.0)).collect();
        self.detail = Some(Detail { view: view.clone(), bitrate });
    }

    /// The node is not heard any more.
    pub(super) fn lost(&mut self, why: String) {
        self.lost = Some(why);
    }

    /// Takes a key.
    pub(super) fn press(&mut self, key: Key) {
        match key {
            Key::Quit | Key::Redraw => {}
            Key::Move(by) => self.choose(by),
            Key::Sort => {
                let at = Sort::ALL.iter().position(|sort| *sort == self.sort).unwrap_or(0);
                self.sort = Sort::ALL[(at + 1) % Sort::ALL.len()];
                self.arrange();
            }
            Key::Reverse => {
                self.reversed = !self.reversed;
                self.arrange();
            }
            Key::Pane(by) => {
                let (at, count) = (self.pane as usize, Pane::ALL.len());
                self.pane = Pane::ALL[at.wrapping_add_signed(by + count.cast_signed()) % count];
            }
            Key::Help => self.help = !self.help,
        }
    }

    fn choose(&mut self, by: isize) {
        let last = self.order.len().saturating_sub(1);
        let at = self.position().unwrap_or(0).saturating_add_signed(by).min(last);
        self.chosen = self.order.get(at).cloned();
    }

    fn arrange(&mut self) {
        let mut rows: Vec<&Row> = self.rows.values().collect();
        let most = |a: f64, b: f64| b.total_cmp(&a);
        rows.sort_by(|a, b| match self.sort {
            Sort::Trouble => a.rank().cmp(&b.rank()).then(most(a.viewers, b.viewers)),
            Sort::Name => std::cmp::Ordering::Equal,
            Sort::Viewers => most(a.viewers, b.viewers),
            Sort::Bitrate => most(a.bitrate, b.bitrate),
            Sort::Latency => most(a.latency.unwrap_or(-1.0), b.latency.unwrap_or(-1.0)),
            Sort::Score => a.score.unwrap_or(101.0).total_cmp(&b.score.unwrap_or(101.0)),
        });
        if self.reversed {
            rows.reverse();
        }
        self.order = rows.into_iter().map(|row| row.name.clone()).collect();
        if self.position().is_none() {
            self.chosen = self.order.first().cloned();
        }
    }

    /// The list in its order.
    pub(super) fn rows(&self) -> impl ExactSizeIterator<Item = &Row> {
        self.order.iter().map(|name| &self.rows[name])
    }

    /// The chosen stream's name.
    pub(super) fn selected(&self) -> Option<&str> {
        self.chosen.as_deref()
    }

    /// The chosen stream's place in the list.
    pub(super) fn position(&self) -> Option<usize> {
        self.order.iter().position(|name| Some(name) == self.chosen.as_ref())
    }

    /// The chosen stream, if it is what was asked for last.
    pub(super) fn shown(&self) -> Option<&Detail> {
        self.detail.as_ref().filter(|detail| detail.view["name"].as_str() == self.selected())
    }
}

fn list(value: Value) -> Vec<Value> {
    match value {
        Value::Array(list) => list,
        _ => Vec::new(),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    /// A node with a stream that stalls, one that is degraded, and one that is well.
    pub(in super::super) fn model() -> Model {
        let mut model = Model::default();
        let columns = json!({ "columns": ["name", "health", "score", "viewers", "bitrate", "fps", "latency", "rebuffer",
            "advice", "alerts", "since"] });
        model.hear("hello", &columns.to_string());
        let rows = json!({ "at": 1, "all": true, "gone": [], "rows": [
            ["live/a", "live", 99, 1204, 6_120_000, 60.0, 0.93, 0.004, 0, 0, 1],
            ["live/b", "degraded", 81, 300, 2_800_000, 21.5, 1.4, 0.031, 2, 1, 1],
            ["live/c", "stalled", null, 5, 0, null, null, null, 0, 0, 1],
        ] });
        model.hear("streams", &rows.to_string());
        model.hear(
            "overview",
            &json!({ "node": "origin-1", "role": "serve", "version": "0.1.0", "uptime": 5_021,
            "streams": { "live": 1, "degraded": 1, "stalled": 1 }, "viewers": 1_509, "bitrate_in": 8_920_000,
            "bitrate_out": 3_720_000_000_u64, "alerts": { "warning": 1, "critical": 0 },
            "nodes": { "up": 2, "draining": 0, "gone": 1 }, "lost": { "events": 0 } })
            .to_string(),
        );
        model
    }

    fn order(model: &Model) -> Vec<&str> {
        model.rows().map(|row| row.name.as_str()).collect()
    }

    #[test]
    fn the_worst_is_on_top_and_the_choice_stays_with_its_stream() {
        let mut model = model();
        assert_eq!(order(&model), ["live/c", "live/b", "live/a"]);
        assert_eq!(model.selected(), Some("live/c"));
        model.press(Key::Move(1));
        for (sort, expected) in [
            (Sort::Name, ["live/a", "live/b", "live/c"]),
            (Sort::Viewers, ["live/a", "live/b", "live/c"]),
            (Sort::Bitrate, ["live/a", "live/b", "live/c"]),
            (Sort::Latency, ["live/b", "live/a", "live/c"]),
            (Sort::Score, ["live/b", "live/a", "live/c"]),
        ] {
            model.press(Key::Sort);
            assert_eq!((model.sort, order(&model)), (sort, expected.to_vec()));
            assert_eq!(model.selected(), Some("live/b"));
        }
        model.press(Key::Reverse);
        assert_eq!(order(&model), ["live/c", "live/a", "live/b"]);
        model.press(Key::Move(isize::MIN));
        assert_eq!(model.selected(), Some("live/c"));
        model.press(Key::Move(isize::MAX));
        assert_eq!(model.selected(), Some("live/b"));
    }

    #[test]
    fn a_stream_that_is_gone_leaves_the_choice_to_another() {
        let mut model = model();
        model.hear("streams", r#"{"all":false,"rows":[["live/a","live",98,7,1000000]],"gone":["live/c"]}"#);
        assert_eq!((order(&model), model.selected()), (vec!["live/b", "live/a"], Some("live/b")));
        let history: Vec<f64> = model.rows().nth(1).unwrap().history.iter().copied().collect();
        assert_eq!(history, [6_120_000.0, 1_000_000.0]);
        model.hear("streams", r#"{"all":true,"rows":[],"gone":[]}"#);
        assert_eq!((model.rows().len(), model.selected()), (0, None));
        model.press(Key::Move(1));
        model.hear("streams", "nonsense");
    }

    #[test]
    fn only_the_chosen_stream_is_shown_and_panes_go_round() {
        let mut model = model();
        model.detail(&json!({ "name": "live/b" }), &json!({ "columns": { "bitrate": [1.0, null] } }));
        assert!(model.shown().is_none());
        model.press(Key::Move(1));
        assert_eq!(model.shown().unwrap().bitrate, [1.0, 0.0]);
        model.press(Key::Pane(-1));
        assert_eq!(model.pane, Pane::Events);
        model.press(Key::Pane(1));
        assert_eq!(model.pane, Pane::Stream);
    }
}
