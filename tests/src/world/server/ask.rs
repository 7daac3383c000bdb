//! What a server says: its API, its playlists, its metrics.

use std::time::Duration;

use super::Server;
use crate::check::Report;
use crate::check::live::{self, Options};
use crate::check::playlist::resolve;
use crate::fetch::Client;
use crate::{Outcome, now};

impl Server {
    /// What the API says of a stream.
    ///
    /// # Errors
    ///
    /// When it says nothing of it.
    pub async fn told(&self, name: &str) -> Outcome<serde_json::Value> {
        let text = Client::new().get(&self.admin("/api/v1/streams")).await?.text()?;
        let streams: Vec<serde_json::Value> = serde_json::from_str(&text)?;
        let name = format!("live/{name}");
        let mut streams = streams.into_iter();
        streams
            .find(|stream| stream["name"] == *name)
            .ok_or_else(|| format!("{name} is not in {text}").into())
    }

    /// Waits until what the API says of a stream is as it should be.
    ///
    /// # Errors
    ///
    /// When it is not within `patience`; what it said last is in the text.
    pub async fn tells(
        &self,
        name: &str,
        patience: Duration,
        so: impl Fn(&serde_json::Value) -> bool,
    ) -> Outcome<serde_json::Value> {
        let deadline = now() + patience;
        loop {
            let told = self.told(name).await;
            match told {
                Ok(told) if so(&told) => return Ok(told),
                told if now() >= deadline => {
                    return Err(
                        format!("live/{name} is not as it should be: {told:#?}\n{}", self.log()).into()
                    );
                }
                _ => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    /// Waits until a stream can be played, and gives its multivariant playlist.
    ///
    /// # Errors
    ///
    /// When it cannot within `patience`.
    pub async fn playable(&self, name: &str, patience: Duration) -> Outcome<String> {
        self.names(name, "#EXTM3U", patience).await
    }

    /// Waits until a stream's multivariant playlist holds `text`, and gives it.
    ///
    /// # Errors
    ///
    /// When it does not within `patience`.
    pub async fn names(&self, name: &str, text: &str, patience: Duration) -> Outcome<String> {
        let (client, url, deadline) = (Client::new(), self.playlist(name), now() + patience);
        loop {
            let answer = client.get(&url).await?;
            let index = answer.text()?;
            if answer.status.is_success() && index.contains(text) {
                return Ok(index);
            }
            if now() >= deadline {
                return Err(format!("{url}: {} after {patience:?}\n{}", answer.status, self.log()).into());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The first media playlist that a stream's multivariant playlist names, as it is now.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub async fn media_playlist(&self, name: &str) -> Outcome<String> {
        let (client, url) = (Client::new(), self.playlist(name));
        let index = client.get(&url).await?.text()?;
        let media = index.lines().find(|line| !line.is_empty() && !line.starts_with('#'));
        client.get(&resolve(&url, media.ok_or("no media playlist is named")?)).await?.text()
    }

    /// Runs the conformance checker on a stream; errors of the stream are errors of the test.
    ///
    /// # Errors
    ///
    /// When the stream cannot be followed or breaks a rule.
    pub async fn conforms(&self, name: &str, seconds: u64) -> Outcome<Report> {
        let options = Options { span: Duration::from_secs(seconds), ..Options::default() };
        let report = live::check(&self.playlist(name), options).await?;
        if report.passed() {
            return Ok(report);
        }
        Err(format!("{name} does not conform:\n{report}\n{}", self.log()).into())
    }

    /// One number of `/metrics`: the sum over all series of this name whose labels contain `labels`.
    ///
    /// # Errors
    ///
    /// When metrics cannot be read.
    pub async fn metric(&self, name: &str, labels: &str) -> Outcome<f64> {
        let text = Client::new().get(&self.admin("/metrics")).await?.text()?;
        let series = text.lines().filter(|line| {
            let end = line.find(['{', ' ']).unwrap_or(line.len());
            &line[..end] == name && line.contains(labels)
        });
        Ok(series.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
    }

    /// Asks until something is so.
    ///
    /// # Errors
    ///
    /// When it is not within `patience`, or cannot be asked.
    pub async fn until(
        &self,
        what: &str,
        patience: Duration,
        mut so: impl AsyncFnMut() -> Outcome<bool>,
    ) -> Outcome {
        let deadline = now() + patience;
        while !so().await? {
            if now() > deadline {
                return Err(format!("{what}: not within {patience:?}\n{}", self.log()).into());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }
}
