//! How it looks. Colour is never alone: each state has its word and its shape.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize as _};
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::{Block, Cell, Clear, Paragraph, Row as Cells, Table, TableState, Tabs, Wrap};
use serde_json::Value;

use super::model::{Model, Pane, Row};
use super::words::{bits, percent, seconds, span, sparkline};

/// Rows of the lower pane, its title included.
const PANE: u16 = 12;
/// Characters of a bitrate's history in the list.
const SPARK: usize = 20;
const HELP: &str = "\
 up/down, j/k   choose a stream       PgUp/PgDn, Home/End   by pages, to the ends
 s              sort by something else                   r  turn the order around
 Tab            stream, nodes, alerts, what happened     q  quit
 Score: 100 less what viewers lose by waiting, start-up, failures, bitrate, source.
 Advice: things that the streamer should change; they are under Stream.";

/// Draws all of it.
pub(super) fn draw(frame: &mut Frame<'_>, model: &mut Model) {
    let pane = PANE.min(frame.area().height / 2);
    let rows = [Constraint::Length(2), Constraint::Min(3), Constraint::Length(pane), Constraint::Length(1)];
    let [head, list, below, foot] = Layout::vertical(rows).areas(frame.area());
    frame.render_widget(heading(model), head);
    streams(frame, list, model);
    let [tabs, content] = Layout::vertical([Constraint::Length(1), Constraint::Min(0)]).areas(below);
    let titles = Pane::ALL.iter().map(|pane| titled(*pane, model));
    frame.render_widget(Tabs::new(titles).select(model.pane as usize).highlight_style(chosen()), tabs);
    let text = match model.pane {
        Pane::Stream => stream(model),
        Pane::Nodes => Text::from(model.nodes.iter().map(node).collect::<Vec<_>>()),
        Pane::Alerts => alerts(model),
        Pane::Events => events(model, usize::from(content.height)),
    };
    frame.render_widget(Paragraph::new(text).wrap(Wrap { trim: false }), content);
    frame.render_widget(footing(model), foot);
    if model.help {
        help(frame);
    }
}

fn chosen() -> Style {
    Style::new().add_modifier(Modifier::REVERSED)
}

fn heading(model: &Model) -> Text<'static> {
    let Some(node) = model.overview["node"].as_str() else {
        return Text::from("aqueduct top: waiting for the node …");
    };
    let (all, number) = (&model.overview, |path: &str| model.overview.pointer(path).and_then(Value::as_f64));
    let whole = |path: &str| number(path).unwrap_or(0.0) as i64;
    let (role, version) = (text(&all["role"]), text(&all["version"]));
    let first = Line::from(vec![
        Span::from(format!("{node} ")).bold(),
        Span::from(format!("{role} {version}, up {}   ", span(whole("/uptime")))),
        Span::from(format!("{} viewers   ", whole("/viewers"))).bold(),
        Span::from(format!(
            "in {}   out {}",
            bits(number("/bitrate_in").unwrap_or(0.0)),
            bits(number("/bitrate_out").unwrap_or(0.0))
        )),
    ]);
    let counted = |states: &[&str], of: &str| -> Vec<String> {
        let count = |state: &&str| (whole(&format!("/{of}/{state}")), (*state).to_owned());
        let some = states.iter().map(count).filter(|(count, _)| *count > 0);
        some.map(|(count, state)| format!("{count} {state}")).collect()
    };
    let or_none = |list: Vec<String>| if list.is_empty() { "none".to_owned() } else { list.join(", ") };
    let streams = counted(&["stalled", "reconnecting", "degraded", "starting", "live", "ended"], "streams");
    let alerts = counted(&["critical", "warning"], "alerts");
    let nodes = counted(&["gone", "draining", "up"], "nodes");
    let lost = whole("/lost/events") + whole("/lost/reports") + whole("/lost/records");
    let mut second = vec![
        Span::from(format!("streams: {}   ", or_none(streams))),
        Span::from(format!("nodes: {}   alerts: ", or_none(nodes))),
    ];
    let worst = if whole("/alerts/critical") > 0 { Color::Red } else { Color::Yellow };
    let calm = alerts.is_empty();
    let alerts = Span::from(or_none(alerts));
    second.push(if calm { alerts } else { alerts.fg(worst).bold() });
    if lost > 0 {
        second.push(Span::from(format!("   {lost} events lost")).fg(Color::Yellow));
    }
    Text::from(vec![first, Line::from(second)])
}

/// A word, a shape and a colour.
fn state(health: &str) -> (&'static str, Color) {
    match health {
        "live" => ("●", Color::Green),
        "degraded" => ("▲", Color::Yellow),
        "stalled" => ("■", Color::Red),
        "reconnecting" => ("◌", Color::Red),
        "starting" => ("○", Color::Cyan),
        _ => ("·", Color::DarkGray),
    }
}

fn streams(frame: &mut Frame<'_>, area: Rect, model: &mut Model) {
    let widths = [
        Constraint::Min(16),
        Constraint::Length(14),
        Constraint::Length(5),
        Constraint::Length(8),
        Constraint::Length(8),
        Constraint::Length(8),
        Constraint::Length(12),
        Constraint::Length(SPARK as u16),
        Constraint::Length(6),
        Constraint::Length(7),
    ];
    let titles = [
        "STREAM",
        "HEALTH",
        "SCORE",
        "VIEWERS",
        "LATENCY",
        "WAITING",
        "BITRATE",
        "LAST MINUTE",
        "FPS",
        "ADVICE",
    ];
    let shown = usize::from(area.height.saturating_sub(1)).max(1);
    let at = model.position();
    // Only what is on the screen is made: a node may have hundreds.
    if let Some(at) = at {
        model.offset = model.offset.clamp((at + 1).saturating_sub(shown), at);
    }
    let most = model.rows().len().saturating_sub(shown);
    model.offset = model.offset.min(most);
    let rows = model.rows().skip(model.offset).take(shown).map(row);
    let table = Table::new(rows, widths)
        .header(Cells::new(titles).style(Style::new().add_modifier(Modifier::BOLD | Modifier::UNDERLINED)))
        .row_highlight_style(chosen());
    let mut selection = TableState::new().with_selected(at.and_then(|at| at.checked_sub(model.offset)));
    frame.render_stateful_widget(table, area, &mut selection);
    if model.rows().len() == 0 && model.overview.is_object() {
        let empty = Paragraph::new("No stream is on air. Push one, or try `aqueduct demo`.");
        let [_, below] = Layout::vertical([Constraint::Length(2), Constraint::Min(0)]).areas(area);
        frame.render_widget(empty, below);
    }
}

fn row(row: &Row) -> Cells<'static> {
    let (shape, colour) = state(&row.health);
    let whole = |value: Option<f64>| value.map_or_else(|| "–".into(), |value| format!("{value:.0}"));
    let spark = sparkline(row.history.iter().copied(), SPARK);
    let waiting = percent(row.rebuffer);
    let bad = row.rebuffer.is_some_and(|ratio| ratio > 0.02);
    Cells::new(vec![
        Cell::from(row.name.clone()),
        Cell::from(Span::from(format!("{shape} {}", row.health)).fg(colour)),
        Cell::from(whole(row.score)),
        Cell::from(whole(Some(row.viewers))),
        Cell::from(seconds(row.latency)),
        Cell::from(if bad { Span::from(waiting).fg(Color::Yellow) } else { Span::from(waiting) }),
        Cell::from(bits(row.bitrate)),
        Cell::from(Span::from(spark).fg(Color::Cyan)),
        Cell::from(row.fps.map_or_else(|| "–".into(), |fps| format!("{fps:.1}"))),
        Cell::from(if row.advice > 0.0 { format!("{:.0}", row.advice) } else { String::new() }),
    ])
}

fn titled(pane: Pane, model: &Model) -> String {
    let count = match pane {
        Pane::Stream | Pane::Events => 0,
        Pane::Nodes => model.nodes.len(),
        Pane::Alerts => model.alerts.len(),
    };
    if count > 0 { format!("{} ({count})", pane.word()) } else { pane.word().to_owned() }
}

/// The chosen stream: why it is so, what its streamer should change, where the time goes, who watches.
fn stream(model: &Model) -> Text<'static> {
    let Some(detail) = model.shown() else {
        let name = model.selected().map(|name| format!("{name} …")).unwrap_or_default();
        return Text::from(name);
    };
    let view = &detail.view;
    let health = text(&view["health"]["state"]);
    let (shape, colour) = state(&health);
    let from = [text(&view["protocol"]), text(&view["encoder"]), codecs(view)];
    let from: Vec<String> = from.into_iter().filter(|part| !part.is_empty()).collect();
    let mut lines = vec![Line::from(vec![
        Span::from(format!("{} ", text(&view["name"]))).bold(),
        Span::from(format!("{shape} {health}   ")).fg(colour),
        Span::from(sparkline(detail.bitrate.iter().copied(), 60)).fg(Color::Cyan),
    ])];
    for reason in view["health"]["reasons"].as_array().into_iter().flatten() {
        lines.push(severe(&reason["severity"], &reason["text"]));
    }
    for advice in view["advice"].as_array().into_iter().flatten() {
        lines.push(Line::from(format!("→ {}", text(&advice["text"]))));
    }
    let stages = view["latency"]["stages"].as_array().into_iter().flatten().filter_map(|stage| {
        let seconds = stage["seconds"].as_f64()?;
        Some(format!("{} {:.0} ms", text(&stage["stage"]), seconds * 1e3))
    });
    let stages: Vec<String> = stages.collect();
    if !stages.is_empty() {
        let total = seconds(view["latency"]["total"].as_f64());
        lines.push(Line::from(format!("latency {total}: {}", stages.join(", "))));
    }
    for (what, list) in [("by rendition", "rendition"), ("by edge", "edge"), ("by player", "player")] {
        let shares = view["viewers_by"][list].as_array().into_iter().flatten().take(6);
        let shares: Vec<String> =
            shares.map(|share| format!("{} {}", text(&share["name"]), share["viewers"])).collect();
        if !shares.is_empty() {
            lines.push(Line::from(format!("viewers {what}: {}", shares.join(", "))));
        }
    }
    lines.push(Line::from(from.join(", ")).dim());
    Text::from(lines)
}

fn codecs(view: &Value) -> String {
    let codecs = view["ingest"]["codecs"].as_array().into_iter().flatten();
    codecs.map(text).collect::<Vec<_>>().join(" ")
}

fn severe(severity: &Value, words: &Value) -> Line<'static> {
    let (shape, colour) = match severity.as_str() {
        Some("critical") => ("■", Color::Red),
        Some("warning") => ("▲", Color::Yellow),
        _ => ("·", Color::Reset),
    };
    Line::from(vec![Span::from(format!("{shape} ")).fg(colour), Span::from(text(words))])
}

fn node(node: &Value) -> Line<'static> {
    let state = text(&node["state"]);
    let (shape, colour) = match state.as_str() {
        "up" => ("●", Color::Green),
        "draining" => ("▲", Color::Yellow),
        _ => ("■", Color::Red),
    };
    let lag = node["relay"]["lag_p95"].as_f64();
    let cache = node["cache"]["ratio"].as_f64();
    let more = [
        node["load"].as_f64().map(|load| format!("load {:.0} %", load * 100.0)),
        Some(format!("out {}", bits(node["bitrate_out"].as_f64().unwrap_or(0.0)))),
        node["answer_p95"].as_f64().map(|p95| format!("answers in {:.1} ms (p95)", p95 * 1e3)),
        lag.map(|lag| format!("relay lag {:.0} ms (p95)", lag * 1e3)),
        cache.map(|ratio| format!("cache {:.1} %", ratio * 100.0)),
    ];
    let more: Vec<String> = more.into_iter().flatten().collect();
    Line::from(vec![
        Span::from(format!("{shape} {state:<9}")).fg(colour),
        Span::from(format!("{:<20}", text(&node["node"]))).bold(),
        Span::from(format!("{:<7}{:>6} viewers   {}", text(&node["role"]), node["viewers"], more.join(", "))),
    ])
}

fn alerts(model: &Model) -> Text<'static> {
    if model.alerts.is_empty() {
        return Text::from("No alert is active.");
    }
    let lines = model.alerts.iter().map(|alert| {
        let mut line = severe(&alert["severity"], &alert["text"]);
        if let Some(by) = alert["suppressed_by"].as_str() {
            line.push_span(Span::from(format!(" (explained by {by})")).dim());
        }
        line
    });
    Text::from(lines.collect::<Vec<_>>())
}

/// The newest at the bottom, as many as there is room for.
fn events(model: &Model, room: usize) -> Text<'static> {
    if model.happened.is_empty() {
        return Text::from("Nothing has happened since this began.");
    }
    let skipped = model.happened.len().saturating_sub(room);
    let lines = model.happened.iter().skip(skipped).map(|one| {
        let at = one["at"].as_i64().unwrap_or(0).div_euclid(1_000);
        let (hours, minutes, seconds) = (at / 3_600 % 24, at / 60 % 60, at % 60);
        let mut line = severe(&one["severity"], &one["text"]);
        let head = format!("{hours:02}:{minutes:02}:{seconds:02} UTC {} ", text(&one["stream"]));
        line.spans.insert(0, Span::from(head).dim());
        line
    });
    Text::from(lines.collect::<Vec<_>>())
}

fn footing(model: &Model) -> Line<'static> {
    if let Some(why) = &model.lost {
        return Line::from(format!("what is shown is old: {why}; trying again")).fg(Color::Red).bold();
    }
    let order = if model.reversed { ", reversed" } else { "" };
    Line::from(format!(
        "q quit   up/down choose   s sort: {}{order}   r reverse   Tab panes   ? help",
        model.sort.word()
    ))
    .dim()
}

fn help(frame: &mut Frame<'_>) {
    let (width, height) = (86.min(frame.area().width), 7.min(frame.area().height));
    let area =
        Rect { x: (frame.area().width - width) / 2, y: (frame.area().height - height) / 2, width, height };
    frame.render_widget(Clear, area);
    frame.render_widget(Paragraph::new(HELP).block(Block::bordered().title(" Keys (? closes) ")), area);
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use serde_json::json;

    use super::super::model::Key;
    use super::super::model::tests::model;
    use super::*;

    fn drawn(model: &mut Model, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, model)).unwrap();
        terminal.backend().to_string()
    }

    fn assert_shows(screen: &str, texts: &[&str]) {
        for text in texts {
            assert!(screen.contains(text), "{text:?} is not on\n{screen}");
        }
    }

    #[test]
    fn the_list_shows_each_stream_with_its_figures_and_the_worst_first() {
        let mut model = model();
        let screen = drawn(&mut model, 120, 30);
        assert_shows(
            &screen,
            &[
                "origin-1 serve 0.1.0, up 1 h 23 min",
                "1509 viewers",
                "in 8.9 Mbit/s   out 3.7 Gbit/s",
                "streams: 1 stalled, 1 degraded, 1 live",
                "nodes: 1 gone, 2 up",
                "alerts: 1 warning",
                "● live",
                "6.1 Mbit/s",
                "0.93 s",
                "▲ degraded",
                "3.1 %",
                "■ stalled",
                "s sort: trouble",
            ],
        );
        let at = |text: &str| screen.find(text).unwrap();
        assert!(at("live/c") < at("live/b") && at("live/b") < at("live/a"));
    }

    #[test]
    fn the_chosen_stream_says_why_and_what_to_do() {
        let mut model = model();
        model.press(Key::Move(1));
        let view = json!({
            "name": "live/b", "protocol": "rtmp", "encoder": "obs", "ingest": { "codecs": ["avc1.640028"] },
            "health": { "state": "degraded", "reasons": [
                { "reason": "low-fps", "severity": "warning", "text": "21.5 of 30.0 frames a second come." }] },
            "advice": [{ "text": "Only 22 frames a second come: set a quicker CPU preset." }],
            "latency": { "total": 1.4, "stages": [{ "stage": "uplink", "seconds": 0.009 },
                { "stage": "edge", "seconds": null }] },
            "viewers_by": { "rendition": [{ "name": "720p", "viewers": 200 }], "edge": [], "player": [] },
        });
        model.detail(&view, &json!({ "columns": { "bitrate": [1e6, 2e6] } }));
        assert_shows(
            &drawn(&mut model, 120, 30),
            &[
                "▲ 21.5 of 30.0 frames a second come.",
                "→ Only 22 frames a second come: set a quicker CPU preset.",
                "latency 1.40 s: uplink 9 ms",
                "viewers by rendition: 720p 200",
                "rtmp, obs, avc1.640028",
                "▄█",
            ],
        );
    }

    #[test]
    fn nodes_alerts_and_what_happened_have_a_pane_each() {
        let mut model = model();
        model.hear(
            "nodes",
            r#"[{"node":"edge-a","role":"edge","state":"up","viewers":804,"load":0.05,"bitrate_out":2.48e9,
            "answer_p95":0.002,"cache":{"ratio":0.9998},"relay":{"lag_p95":0.015}}]"#,
        );
        model.hear("alerts", r#"{"active":[{"severity":"warning","text":"3.1 % of viewing time is waiting.","suppressed_by":null}]}"#);
        model.hear("event", r#"{"at":1763634000120,"stream":"live/b","severity":"info","text":"It plays."}"#);
        model.press(Key::Pane(1));
        assert_shows(
            &drawn(&mut model, 160, 30),
            &[
                "Nodes (1)",
                "● up",
                "804 viewers   load 5 %, out 2.5 Gbit/s, answers in 2.0 ms (p95), relay lag 15 ms (p95), cache 100.0 %",
            ],
        );
        model.press(Key::Pane(1));
        assert_shows(&drawn(&mut model, 160, 30), &["▲ 3.1 % of viewing time is waiting."]);
        model.press(Key::Pane(1));
        assert_shows(&drawn(&mut model, 160, 30), &["10:20:00 UTC live/b · It plays."]);
    }

    #[test]
    fn many_streams_scroll_with_the_choice_and_small_screens_hold() {
        let mut model = model();
        let rows: Vec<_> =
            (0..500).map(|n| json!([format!("live/s{n:03}"), "live", 100, 500 - n, 1e6])).collect();
        model.hear("streams", &json!({ "all": true, "rows": rows, "gone": [] }).to_string());
        model.press(Key::Move(isize::MAX));
        assert_shows(&drawn(&mut model, 100, 30), &["live/s499"]);
        model.press(Key::Move(-5));
        assert_shows(&drawn(&mut model, 100, 30), &["live/s494", "live/s499"]);
        model.press(Key::Move(isize::MIN));
        assert!(drawn(&mut model, 100, 30).contains("live/s000"));
        model.press(Key::Help);
        for (width, height) in [(1, 1), (3, 2), (20, 5), (40, 10), (300, 100)] {
            drawn(&mut model, width, height);
        }
        assert_shows(&drawn(&mut model, 100, 30), &["turn the order around"]);
    }

    #[test]
    fn what_is_old_says_so_and_an_empty_node_says_what_to_do() {
        let mut model = Model::default();
        assert_shows(&drawn(&mut model, 80, 24), &["waiting for the node"]);
        model.hear("overview", r#"{"node":"n"}"#);
        model.hear("streams", r#"{"all":true,"rows":[],"gone":[]}"#);
        assert_shows(&drawn(&mut model, 80, 24), &["No stream is on air", "streams: none", "alerts: none"]);
        model.lost("http://127.0.0.1:8081/… cannot be reached".into());
        assert_shows(
            &drawn(&mut model, 80, 24),
            &["what is shown is old: http://127.0.0.1:8081/… cannot be"],
        );
    }
}
