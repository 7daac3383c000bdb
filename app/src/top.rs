//! `aqueduct top`: the dashboard in a terminal, of this machine or of another one.

mod feed;
mod model;
mod sse;
mod view;
mod words;

use std::io::IsTerminal as _;
use std::time::Duration;

use clap::Args;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use tokio::sync::mpsc;

use crate::Failure;
use crate::client::Url;
use feed::{Feed, Heard};
use model::{Key, Model};

/// Keys and pieces of news that may wait.
const WAITING: usize = 256;
/// How long the thread that reads keys waits before it looks whether anybody listens.
const LOOK: Duration = Duration::from_millis(200);

/// `top`.
#[derive(Debug, Args)]
#[command(
    after_help = "Keys: up/down or j/k choose a stream, s sorts by something else, r turns the order around,
Tab shows the stream, the nodes, the alerts or what happened, ? helps, q quits.

On the machine itself nothing has to be said:
  aqueduct top
Another machine's operator's port, with a token of admin.tokens there:
  AQUEDUCT_TOKEN=… aqueduct top --admin https://admin.example
or through SSH, if the port is on loopback there:
  ssh -L 9081:127.0.0.1:8081 origin.example
  aqueduct top --admin http://127.0.0.1:9081"
)]
pub struct Top {
    /// The operator's port of a node. In a cluster any node shows all of them.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8081")]
    pub admin: String,
    /// A token of `admin.tokens` there; `viewer` is enough. Better in the environment, where `ps` does not show it.
    #[arg(long, value_name = "TOKEN", env = "AQUEDUCT_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
}

/// Shows it until the user has seen enough.
pub async fn run(top: Top) -> Result<(), Failure> {
    // A token goes over https, or stays on this machine.
    let url = if top.token.is_some() { top.admin.parse() } else { Url::open(&top.admin) };
    let url = url.map_err(|error| Failure::usage(format!("--admin: {error}")))?;
    if !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        let text = "top needs a terminal; programs ask /api/v1/overview and /api/v1/streams (docs/api.md)";
        return Err(Failure::usage(text));
    }
    let feed = Feed::new(url, top.token);
    // What is wrong with the address or the token is said before the screen is taken.
    feed.try_once().await.map_err(Failure::failed)?;
    let mut terminal = ratatui::try_init().map_err(Failure::failed)?;
    let shown = show(&mut terminal, feed).await;
    ratatui::restore();
    shown.map_err(Failure::failed)
}

async fn show(terminal: &mut ratatui::DefaultTerminal, feed: Feed) -> std::io::Result<()> {
    let (keys, mut pressed) = mpsc::channel(WAITING);
    std::thread::spawn(move || read_keys(&keys));
    let (news, mut heard) = mpsc::channel(WAITING);
    let wanted = feed.start(news);
    let mut model = Model::default();
    loop {
        terminal.draw(|frame| view::draw(frame, &mut model))?;
        tokio::select! {
            key = pressed.recv() => match key {
                Some(Key::Quit) | None => return Ok(()),
                Some(key) => model.press(key),
            },
            piece = heard.recv() => match piece {
                Some(piece) => take(&mut model, piece),
                None => return Ok(()),
            },
        }
        // What came meanwhile is drawn once.
        while let Ok(piece) = heard.try_recv() {
            take(&mut model, piece);
        }
        wanted.send_if_modified(|before| {
            let now = model.selected().map(str::to_owned);
            let changed = *before != now;
            *before = now;
            changed
        });
    }
}

fn take(model: &mut Model, piece: Heard) {
    match piece {
        Heard::Event(name, data) => model.hear(&name, &data),
        Heard::Stream(view, series) => model.detail(&view, &series),
        Heard::Lost(why) => model.lost(why),
    }
}

/// Reads keys until nobody listens any more.
fn read_keys(keys: &mpsc::Sender<Key>) {
    while !keys.is_closed() {
        let Ok(ready) = event::poll(LOOK) else { return };
        if !ready {
            continue;
        }
        let key = match event::read() {
            Ok(Event::Key(key)) if key.kind != KeyEventKind::Release => {
                let control = key.modifiers.contains(KeyModifiers::CONTROL);
                of_code(key.code, control)
            }
            Ok(Event::Resize(..)) => Some(Key::Redraw),
            Ok(_) => None,
            Err(_) => return,
        };
        if let Some(key) = key
            && keys.blocking_send(key).is_err()
        {
            return;
        }
    }
}

fn of_code(code: KeyCode, control: bool) -> Option<Key> {
    Some(match (code, control) {
        (KeyCode::Char('c' | 'd'), true) | (KeyCode::Char('q') | KeyCode::Esc, false) => Key::Quit,
        (KeyCode::Char('l'), true) => Key::Redraw,
        (_, true) => return None,
        (KeyCode::Up | KeyCode::Char('k'), _) => Key::Move(-1),
        (KeyCode::Down | KeyCode::Char('j'), _) => Key::Move(1),
        (KeyCode::PageUp, _) => Key::Move(-10),
        (KeyCode::PageDown, _) => Key::Move(10),
        (KeyCode::Home | KeyCode::Char('g'), _) => Key::Move(isize::MIN),
        (KeyCode::End | KeyCode::Char('G'), _) => Key::Move(isize::MAX),
        (KeyCode::Char('s'), _) => Key::Sort,
        (KeyCode::Char('r'), _) => Key::Reverse,
        (KeyCode::Tab, _) => Key::Pane(1),
        (KeyCode::BackTab, _) => Key::Pane(-1),
        (KeyCode::Char('?' | 'h') | KeyCode::F(1), _) => Key::Help,
        _ => return None,
    })
}
