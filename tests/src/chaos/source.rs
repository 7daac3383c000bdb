//! Publishers: each pushes one stream for ever, and does what a plan asks of it.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::publisher::clip::Clip;
use crate::publisher::script::{Script, Wrapping};
use crate::publisher::session::Pace;
use crate::publisher::{Publisher, Style, Target};
use crate::world::Drawing;
use crate::{Outcome, now};

/// What is pushed between two looks at what is asked.
const STRETCH: i64 = 200;
/// Before a publisher that is not let in, or let go, tries again.
const AGAIN: Duration = Duration::from_millis(250);
/// So long before it wraps a clock begins that is to wrap.
const BEFORE_WRAP: u32 = 3_000;
const PATIENCE: Duration = Duration::from_secs(30);

/// What a plan asks of a publisher.
#[derive(Clone, Copy, Debug)]
enum Act {
    /// Vanish, and come back after a while; with a clock that wraps soon, if so asked.
    Away(Duration, bool),
    /// Let the clock jump by so many milliseconds.
    Jump(i64),
    /// Have a second publisher take over.
    Takeover,
}

/// An act and who waits until it is done.
type Ask = (Act, oneshot::Sender<Outcome>);

/// A publisher at work. It vanishes when this is dropped.
pub struct Source {
    asks: mpsc::Sender<Ask>,
    live: watch::Receiver<bool>,
    task: JoinHandle<()>,
}

impl Source {
    /// Begins to push a clip.
    pub fn start(target: Target, clip: &Clip) -> Self {
        let (asks, asked) = mpsc::channel(4);
        let (lives, live) = watch::channel(false);
        let push = Push { target, stretches: stretches(clip), length: clip.millis, lives };
        Self { asks, live, task: tokio::spawn(push.go_on(asked)) }
    }

    /// Vanishes for a while; returns when it is back.
    ///
    /// # Errors
    ///
    /// When it does not get in again.
    pub async fn away(&self, lasts: Duration, wraps: bool) -> Outcome {
        self.ask(Act::Away(lasts, wraps)).await?;
        self.is_live().await
    }

    /// Lets its clock jump.
    ///
    /// # Errors
    ///
    /// When it is not at work.
    pub async fn jump(&self, millis: i64) -> Outcome {
        self.ask(Act::Jump(millis)).await
    }

    /// Has a second publisher take over.
    ///
    /// # Errors
    ///
    /// When that is refused, or the first is not let go.
    pub async fn takeover(&self) -> Outcome {
        self.ask(Act::Takeover).await
    }

    /// Waits until it pushes.
    ///
    /// # Errors
    ///
    /// When it is not let in.
    pub async fn is_live(&self) -> Outcome {
        let mut live = self.live.clone();
        let reached = tokio::time::timeout(PATIENCE, live.wait_for(|live| *live)).await;
        reached.map_err(|_| format!("a publisher is not let in within {PATIENCE:?}"))??;
        Ok(())
    }

    async fn ask(&self, act: Act) -> Outcome {
        self.is_live().await?;
        let (done, told) = oneshot::channel();
        self.asks.send((act, done)).await.map_err(|_| "the publisher has ended")?;
        tokio::time::timeout(PATIENCE, told).await.map_err(|_| "the publisher does not act")??
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The clip in short stretches; the first begins with the headers.
fn stretches(clip: &Clip) -> Vec<Script> {
    let whole = Script::play(clip, clip.millis, Wrapping::Legacy);
    let mut stretches: Vec<Script> = Vec::new();
    for tag in whole.tags {
        let index = (tag.at.max(0) / STRETCH) as usize;
        stretches.resize_with(stretches.len().max(index + 1), Script::default);
        stretches[index].tags.push(tag);
    }
    stretches
}

/// Headers and metadata of a script's beginning.
const HEADERS: usize = 3;

/// The state of a publisher.
struct Push {
    target: Target,
    stretches: Vec<Script>,
    /// Milliseconds of the clip.
    length: i64,
    lives: watch::Sender<bool>,
}

impl Push {
    async fn go_on(self, mut asked: mpsc::Receiver<Ask>) {
        let mut offset = 0;
        loop {
            self.lives.send_replace(false);
            let Ok(publisher) = Publisher::connect(&self.target, Style::default()).await else {
                sleep(AGAIN).await;
                continue;
            };
            self.lives.send_replace(true);
            let pause = self.session(publisher, offset, &mut asked).await;
            self.lives.send_replace(false);
            let (lasts, wraps) = pause.unwrap_or((AGAIN, false));
            offset = if wraps { 0_u32.wrapping_sub(BEFORE_WRAP) } else { 0 };
            sleep(lasts).await;
        }
    }

    /// Pushes until the server lets it go, or it has to vanish for so long.
    async fn session(
        &self,
        mut publisher: Publisher,
        mut offset: u32,
        asked: &mut mpsc::Receiver<Ask>,
    ) -> Option<(Duration, bool)> {
        let (mut start, mut number) = (now(), 0);
        loop {
            publisher.play_since(start, &self.stretch(number, offset), Pace::Live).await.ok()?;
            number += 1;
            let Ok((act, done)) = asked.try_recv() else { continue };
            let outcome = match act {
                Act::Away(lasts, wraps) => {
                    publisher.vanish();
                    self.lives.send_replace(false);
                    let _ = done.send(Ok(()));
                    return Some((lasts, wraps));
                }
                Act::Jump(millis) => {
                    offset = offset.wrapping_add(millis as u32);
                    Ok(())
                }
                Act::Takeover => {
                    let taken = self.take_over(&mut publisher).await;
                    (start, number) = (now(), 0);
                    taken
                }
            };
            let _ = done.send(outcome);
        }
    }

    async fn take_over(&self, publisher: &mut Publisher) -> Outcome {
        let second = Publisher::connect(&self.target, Style::default()).await?;
        let mut first = std::mem::replace(publisher, second);
        first
            .closed(Duration::from_secs(10))
            .await
            .map_err(|error| format!("the first publisher: {error}").into())
    }

    /// What is pushed from `number` stretches on, by a clock that is off by `offset`.
    fn stretch(&self, number: usize, offset: u32) -> Script {
        let (round, index) = (number / self.stretches.len(), number % self.stretches.len());
        let begun = round as i64 * self.length;
        let mut script = self.stretches[index].clone();
        if round > 0 && index == 0 {
            script.tags.drain(..HEADERS);
        }
        let mut script = script.shifted(offset.wrapping_add(begun as u32));
        script.tags.iter_mut().for_each(|tag| tag.at += begun);
        script
    }
}

/// The clip of a stream: tiny, or large enough for a rung of a ladder.
///
/// # Errors
///
/// When it cannot be drawn.
pub fn clip(ladder: bool) -> Outcome<Clip> {
    let (name, size) = if ladder { ("chaos-180.mp4", "320x180") } else { ("chaos-90.mp4", "160x90") };
    Clip::open(&Drawing { name, size, seconds: 20, ..Drawing::default() }.path()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publisher::clip::footage;

    #[test]
    fn stretches_follow_each_other_without_a_hole_and_repeat_no_header() -> Outcome {
        let clip = Clip::open(&footage())?;
        let target = Target::live("127.0.0.1:1", "x");
        let push =
            Push { target, stretches: stretches(&clip), length: clip.millis, lives: watch::channel(false).0 };
        let two = 2 * push.stretches.len();
        let tags: Vec<_> = (0..two).flat_map(|number| push.stretch(number, 0).tags).collect();
        assert!(tags.windows(2).all(|pair| pair[0].at <= pair[1].at));
        assert_eq!(tags.iter().filter(|tag| tag.kind == 18).count(), 1);
        assert!(tags.iter().all(|tag| i64::from(tag.timestamp) == tag.at));
        let shifted = push.stretch(1, 1_000);
        assert!(shifted.tags.iter().all(|tag| i64::from(tag.timestamp) == tag.at + 1_000));
        Ok(())
    }
}
