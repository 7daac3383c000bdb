//! What the node tells: its live stream of events, and once a second the stream that is chosen.

use std::time::Duration;

use serde_json::Value;
use tokio::sync::{mpsc, watch};

use super::sse::Events;
use crate::client::{Client, NotTaken, Url};

/// Between two tries to reach the node.
const AGAIN: Duration = Duration::from_secs(2);
/// A node that says nothing for so long is asked anew: it keeps the connection alive every 15 s.
const SILENCE: Duration = Duration::from_secs(25);
/// How often the chosen stream is asked for.
const LOOK: Duration = Duration::from_secs(1);
/// Bytes of an answer that are read.
const MOST: usize = 4 << 20;

/// Something that was heard.
#[derive(Debug)]
pub(super) enum Heard {
    /// An event of the live stream: its name and data.
    Event(String, String),
    /// The chosen stream, and its last minute.
    Stream(Value, Value),
    /// The node is not heard, in words.
    Lost(String),
}

/// Where the node is, and what lets us in.
pub(super) struct Feed {
    client: Client,
    url: Url,
    token: Option<String>,
}

impl Feed {
    pub(super) fn new(url: Url, token: Option<String>) -> Self {
        let token = token.map(|token| format!("Bearer {token}"));
        Self { client: Client::new(), url, token }
    }

    /// Asks once, to say at once what is wrong.
    pub(super) async fn try_once(&self) -> Result<(), String> {
        let answer = self.get("/api/v1/overview").await.map_err(|error| self.words(&error))?;
        let body = answer.bytes(MOST).await.map_err(|error| self.words(&error))?;
        let overview: Value = serde_json::from_slice(&body).unwrap_or_default();
        // Any path of the operator's port answers with its page.
        if overview["node"].is_string() {
            return Ok(());
        }
        Err(format!("{} is no operator's port of Aqueduct: give its admin.listen, without a path", self.url))
    }

    /// Listens until nobody hears `news` any more. The stream that is wanted besides is put into what comes back.
    pub(super) fn start(self, news: mpsc::Sender<Heard>) -> watch::Sender<Option<String>> {
        let (wanted, wish) = watch::channel(None);
        tokio::spawn(async move {
            tokio::select! {
                () = self.listen(&news) => {}
                () = self.look(&news, wish) => {}
                () = news.closed() => {}
            }
        });
        wanted
    }

    /// The live stream, over and over.
    async fn listen(&self, news: &mpsc::Sender<Heard>) {
        loop {
            let why = match self.events(news).await {
                Ok(()) => "the node has ended the stream of events".to_owned(),
                Err(error) => self.words(&error),
            };
            if news.send(Heard::Lost(why)).await.is_err() {
                return;
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    async fn events(&self, news: &mpsc::Sender<Heard>) -> Result<(), NotTaken> {
        let mut answer = self.get("/api/v1/live").await?;
        let mut events = Events::default();
        loop {
            let piece = tokio::time::timeout(SILENCE, answer.piece()).await.map_err(|_| NotTaken::Late)??;
            let Some(piece) = piece else { return Ok(()) };
            for (name, data) in events.take(&piece).ok_or(NotTaken::Body)? {
                if news.send(Heard::Event(name, data)).await.is_err() {
                    return Ok(());
                }
            }
        }
    }

    /// The chosen stream, every second and when another one is chosen.
    async fn look(&self, news: &mpsc::Sender<Heard>, mut wish: watch::Receiver<Option<String>>) {
        loop {
            let chosen = wish.borrow_and_update().clone();
            if let Some(name) = chosen
                && let Ok((view, series)) = self.stream(&name).await
                && news.send(Heard::Stream(view, series)).await.is_err()
            {
                return;
            }
            // A stream that cannot be asked for is told by the list.
            if let Ok(Err(_)) = tokio::time::timeout(LOOK, wish.changed()).await {
                return;
            }
        }
    }

    async fn stream(&self, name: &str) -> Result<(Value, Value), NotTaken> {
        let path = format!("/api/v1/streams/{name}");
        let json = |path: String| async move {
            let body = self.get(&path).await?.bytes(MOST).await?;
            serde_json::from_slice(&body).map_err(|_| NotTaken::Body)
        };
        Ok((json(path.clone()).await?, json(format!("{path}/series?last=60")).await?))
    }

    async fn get(&self, path: &str) -> Result<crate::client::Answer, NotTaken> {
        let token = self.token.as_deref().map(|token| ("authorization", token));
        self.client.get(&self.url.join(path), token.as_slice()).await
    }

    fn words(&self, error: &NotTaken) -> String {
        let what = match error {
            NotTaken::Status(status) if status.as_u16() == 401 => {
                "asks for a token: give one of admin.tokens as AQUEDUCT_TOKEN or --token".to_owned()
            }
            NotTaken::Connect(error) => {
                format!("cannot be reached ({error}): does the server run, and is this its admin.listen?")
            }
            error => error.to_string(),
        };
        format!("{} {what}", self.url)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// Answers each request by its path, and says what was asked.
    async fn node(listener: TcpListener, asked: mpsc::Sender<String>) {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut text = Vec::new();
            while !text.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                if socket.read(&mut byte).await.unwrap_or(0) == 0 {
                    break;
                }
                text.push(byte[0]);
            }
            let text = String::from_utf8(text).unwrap();
            let body = match text.split(' ').nth(1).unwrap() {
                "/api/v1/live" => "event: hello\ndata: {}\n\n",
                path if path.contains("/series") => "{\"count\":0}",
                path if path.starts_with("/elsewhere") => "<!doctype html>",
                "/api/v1/overview" => "{\"node\":\"origin-1\"}",
                _ => "{\"name\":\"live/show\"}",
            };
            let status = if text.contains("Bearer good") { "200 OK" } else { "401 Unauthorized" };
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len());
            socket.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
            let _ = asked.send(text).await;
        }
    }

    #[tokio::test]
    async fn the_live_stream_and_the_chosen_one_are_heard_with_a_token_and_not_without() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::open(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let (asked, mut asking) = mpsc::channel(64);
        tokio::spawn(node(listener, asked));
        let refused = Feed::new(url.clone(), None).try_once().await.unwrap_err();
        assert!(refused.contains("AQUEDUCT_TOKEN"), "{refused}");
        let elsewhere = Feed::new(url.join("/elsewhere"), Some("good".into()));
        assert!(elsewhere.try_once().await.unwrap_err().contains("admin.listen"));
        let feed = Feed::new(url, Some("good".into()));
        feed.try_once().await.unwrap();
        let (news, mut heard) = mpsc::channel(64);
        let wanted = feed.start(news);
        wanted.send_replace(Some("live/show".into()));
        let (mut event, mut stream, mut lost) = (false, false, false);
        while !(event && stream && lost) {
            match heard.recv().await.unwrap() {
                Heard::Event(name, _) => event |= name == "hello",
                Heard::Stream(view, _) => stream |= view["name"] == "live/show",
                Heard::Lost(why) => lost |= why.contains("ended"),
            }
        }
        assert!(asking.recv().await.unwrap().starts_with("GET /api/v1/overview"));
        drop(heard);
    }

    #[tokio::test]
    async fn a_node_that_is_not_there_is_told_in_words() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::open(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        drop(listener);
        let told = Feed::new(url, None).try_once().await.unwrap_err();
        assert!(told.contains("does the server run"), "{told}");
    }
}
