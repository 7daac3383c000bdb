//! What is pushed to a server.

use std::process::Stdio;

use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use super::{Server, binary};
use crate::Outcome;
use crate::publisher::clip::Clip;
use crate::publisher::script::Wrapping;
use crate::publisher::session::Pace;
use crate::publisher::{Publisher, Script, Style};
use crate::world::Drawing;

/// A push that ends, without a goodbye, when this is dropped.
pub struct Publishing(JoinHandle<Outcome>);

impl Publishing {
    /// Waits for the end of the script.
    ///
    /// # Errors
    ///
    /// When the server refused or closed.
    pub async fn ended(mut self) -> Outcome {
        (&mut self.0).await?
    }
}

impl Drop for Publishing {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Server {
    /// Publishes a script at its own pace, in a task that ends when what comes back is dropped.
    pub fn publish(&self, name: &str, script: Script) -> Publishing {
        self.publish_in(name, script, Style::default())
    }

    /// The same in a style of writing chunks.
    pub fn publish_in(&self, name: &str, script: Script, style: Style) -> Publishing {
        let target = self.target(name);
        Publishing(tokio::spawn(async move {
            let mut publisher = Publisher::connect(&target, style).await?;
            publisher.play(&script, Pace::Live).await?;
            publisher.finish(&target).await
        }))
    }

    /// Publishes the drawn clip for two minutes.
    ///
    /// # Errors
    ///
    /// When it cannot be drawn.
    pub fn publish_drawn(&self, name: &str) -> Outcome<Publishing> {
        let script = Script::play(&Clip::open(&Drawing::default().path()?)?, 120_000, Wrapping::Legacy);
        Ok(self.publish(name, script))
    }

    /// Pushes the demo's clock picture, by the program itself.
    ///
    /// # Errors
    ///
    /// When the program cannot be started.
    pub async fn demo(&self, name: &str) -> Outcome<Child> {
        let mut command = Command::new(binary().await?);
        command.args(["demo", "--push-only", &self.rtmp_url(name), "--set"]);
        command.arg(format!("data_dir={}", self.data.0.display()));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        Ok(command.spawn()?)
    }
}
