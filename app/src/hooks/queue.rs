//! Notices that wait, and when each is tried again. Pure.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Notices that may wait; beyond, the oldest is given up.
const MOST: usize = 10_000;
/// A notice this old is given up (milliseconds; AUTH-8).
const OLD: i64 = 24 * 3_600_000;
/// Until the second attempt; each further one waits twice as long, up to ten minutes (milliseconds).
const FIRST: i64 = 1_000;
const LONGEST: i64 = 600_000;
/// Tried at a time.
const AT_ONCE: usize = 32;

/// One notice to one hook.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Notification {
    /// The same at every attempt.
    pub(super) id: String,
    /// Which hook, by its place in the configuration.
    pub(super) hook: usize,
    /// Its name, `stream.live`.
    pub(super) event: String,
    /// What it is about; notices about one thing are delivered in order.
    pub(super) about: String,
    /// Its number among those of its hook.
    pub(super) number: u64,
    /// When it happened, in milliseconds since 1970.
    pub(super) at: i64,
    /// Attempts so far.
    pub(super) attempts: u32,
    due: i64,
    what: Value,
}

impl Notification {
    /// What is sent at `now`.
    pub(super) fn body(&self, now: i64) -> String {
        let mut body = json!({
            "id": self.id, "event": self.event, "at": self.at, "stream": self.about, "number": self.number,
            "attempt": self.attempts + 1, "sent": now,
        });
        if let (Some(body), Some(what)) = (body.as_object_mut(), self.what.as_object()) {
            body.extend(what.clone());
        }
        body.to_string()
    }
}

/// All that wait.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Queue {
    waiting: VecDeque<Notification>,
    next: u64,
}

impl Queue {
    /// What an earlier run left, for the hooks that there still are.
    pub(super) fn read(text: &str, hooks: usize) -> Self {
        let mut queue: Self = serde_json::from_str(text).unwrap_or_default();
        queue.waiting.retain(|one| one.hook < hooks);
        queue
    }

    pub(super) fn write(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    pub(super) fn add(&mut self, hook: usize, event: &str, about: &str, what: &Value, now: i64) {
        if self.waiting.len() >= MOST {
            self.waiting.pop_front();
        }
        self.next += 1;
        self.waiting.push_back(Notification {
            id: format!("{now:x}-{:x}", self.next),
            hook,
            event: event.into(),
            about: about.into(),
            number: self.next,
            at: now,
            attempts: 0,
            due: now,
            what: what.clone(),
        });
    }

    /// What is to be tried at `now`: the first of each hook and subject, when its time has come.
    pub(super) fn due(&mut self, now: i64) -> Vec<Notification> {
        self.waiting.retain(|one| now - one.at < OLD);
        let mut due: Vec<Notification> = Vec::new();
        let mut seen = std::collections::HashSet::new();
        for one in &self.waiting {
            if due.len() >= AT_ONCE {
                break;
            }
            let first = seen.insert((one.hook, one.about.as_str()));
            if first && one.due <= now {
                due.push(one.clone());
            }
        }
        due
    }

    pub(super) fn taken(&mut self, one: &Notification) {
        self.waiting.retain(|other| other.id != one.id);
    }

    pub(super) fn failed(&mut self, one: &Notification, now: i64) {
        if let Some(one) = self.waiting.iter_mut().find(|other| other.id == one.id) {
            one.due = now + (FIRST << one.attempts.min(20)).min(LONGEST);
            one.attempts += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notices_of_one_stream_stay_in_order_and_are_tried_again_more_and_more_seldom() {
        let mut queue = Queue::default();
        for (event, about) in
            [("stream.live", "live/a"), ("stream.ended", "live/a"), ("stream.live", "live/b")]
        {
            queue.add(0, event, about, &json!({ "node": "n" }), 1_000);
        }
        let due = queue.due(1_000);
        assert_eq!(due.iter().map(|one| one.number).collect::<Vec<_>>(), [1, 3]);
        queue.failed(&due[0], 1_000);
        queue.taken(&due[1]);
        assert!(queue.due(1_999).is_empty());
        let mut times = Vec::new();
        for now in 2_000..3_000_000i64 {
            if let Some(one) = queue.due(now).first() {
                times.push(now);
                queue.failed(one, now);
            }
        }
        assert_eq!(times[..4], [2_000, 4_000, 8_000, 16_000]);
        assert!(times.windows(2).all(|pair| pair[1] - pair[0] <= LONGEST));
        assert!(queue.due(1_000 + OLD).is_empty(), "a day is enough");
    }

    #[test]
    fn what_waits_outlives_the_process_and_says_the_same() {
        let mut queue = Queue::default();
        queue.add(1, "alert.raised", "live/a", &json!({ "alert": { "rule": "x" } }), 5);
        let mut again = Queue::read(&queue.write(), 2);
        let one = again.due(5).remove(0);
        let body: Value = serde_json::from_str(&one.body(9)).unwrap();
        assert_eq!((body["event"].as_str(), body["attempt"].as_u64()), (Some("alert.raised"), Some(1)));
        assert_eq!((&body["alert"]["rule"], &body["id"]), (&json!("x"), &json!(one.id)));
        assert!(Queue::read(&queue.write(), 1).due(5).is_empty(), "that hook is gone");
        assert!(Queue::read("nonsense", 9).due(5).is_empty());
    }
}
