//! Notices to the operator's own services: signed, in order for each stream, kept until they are taken or a day old
//! (AUTH-6 to AUTH-8).

mod queue;

use std::sync::Arc;
use std::time::Duration;

use aqueduct_analytics::alert::Notice;
use aqueduct_analytics::store::{Store, Write};
use aqueduct_analytics::{Board, Told};
use aqueduct_common::WallTime;
use ring::hmac;
use serde_json::json;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use queue::{Notification, Queue};

use crate::client::Client;
use crate::config::{HookEvent, HookPlan};

/// How often it is looked what is due.
const LOOK: Duration = Duration::from_millis(250);

/// Tells hooks of what the board tells, until `stop`. `waiting` is what an earlier run could not deliver.
pub async fn run(
    board: Board,
    hooks: Vec<HookPlan>,
    node: Arc<str>,
    waiting: String,
    stop: CancellationToken,
) {
    if hooks.is_empty() {
        return;
    }
    let (mut told, store) = (board.listen(), board.store());
    let mut queue = Queue::read(&waiting, hooks.len());
    let client = Client::new();
    let mut look = tokio::time::interval(LOOK);
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            heard = told.recv() => match heard {
                Ok(told) => {
                    let Some((kind, event, stream, mut body)) = notice(&told) else { continue };
                    body["node"] = json!(*node);
                    for (index, _) in hooks.iter().enumerate().filter(|(_, hook)| wants(hook, kind)) {
                        queue.add(index, event, &stream, &body, now());
                    }
                    keep(&queue, store.as_ref());
                }
                Err(broadcast::error::RecvError::Lagged(missed)) => {
                    tracing::warn!(missed, "notices were lost: too much happened at once");
                }
                Err(broadcast::error::RecvError::Closed) => break,
            },
            _ = look.tick() => deliver(&mut queue, &hooks, &client, store.as_ref()).await,
        }
    }
}

/// Delivers what is due. One that is not taken holds up the later ones of its stream, and no others.
async fn deliver(queue: &mut Queue, hooks: &[HookPlan], client: &Client, store: Option<&Store>) {
    let due: Vec<Notification> = queue.due(now());
    if due.is_empty() {
        return;
    }
    let tries = due.into_iter().map(|one| async move {
        let Some(hook) = hooks.get(one.hook) else { return (one, true) };
        let body = one.body(now());
        let signature = sign(hook.secret.expose(), now() / 1_000, &body);
        let headers = [
            ("content-type", "application/json"),
            ("idempotency-key", one.id.as_str()),
            ("x-sig", signature.as_str()),
        ];
        let taken = client.post(&hook.url, &headers, body.into()).await;
        if let Err(error) = &taken {
            tracing::warn!(url = %hook.url, event = one.event, attempt = one.attempts + 1, %error, "a notice was not taken");
        }
        (one, taken.is_ok())
    });
    for (one, taken) in futures_util::future::join_all(tries).await {
        if taken { queue.taken(&one) } else { queue.failed(&one, now()) }
    }
    keep(queue, store);
}

fn keep(queue: &Queue, store: Option<&Store>) {
    if let Some(store) = store {
        store.write(Write::Notices(queue.write()));
    }
}

fn wants(hook: &HookPlan, kind: HookEvent) -> bool {
    hook.events.is_empty() || hook.events.contains(&kind)
}

/// What of it is told: its kind, its name, its stream, and what it says.
fn notice(told: &Told) -> Option<(HookEvent, &'static str, String, serde_json::Value)> {
    Some(match told {
        Told::Stream(stream, live) => {
            let event = if *live { "stream.live" } else { "stream.ended" };
            (HookEvent::Stream, event, stream.to_string(), json!({}))
        }
        Told::Health(stream, state, why) => {
            (HookEvent::Health, "stream.health", stream.to_string(), json!({ "health": state, "text": why }))
        }
        Told::Alert(notice) => {
            let (event, alert) = match notice {
                Notice::Raised(alert) => ("alert.raised", alert),
                Notice::Stays(alert) => ("alert.stays", alert),
                Notice::Resolved(alert) => ("alert.resolved", alert),
            };
            (HookEvent::Alert, event, alert.scope.name.clone(), json!({ "alert": alert }))
        }
        Told::Happened(_) => return None,
    })
}

/// `t=SECONDS,v1=HEX`: HMAC-SHA256 over the seconds, a dot, and the body (AUTH-6).
fn sign(secret: &str, seconds: i64, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let tag = hmac::sign(&key, format!("{seconds}.{body}").as_bytes());
    let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("t={seconds},v1={hex}")
}

/// Milliseconds since 1970.
#[expect(clippy::disallowed_methods, reason = "the shell reads the clock for the pure parts")]
fn now() -> i64 {
    WallTime::from_system(std::time::SystemTime::now()).micros / 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_is_signed_so_that_anybody_can_check_it() {
        // printf '1763634005.{"a":1}' | openssl dgst -sha256 -hmac secret-of-16-chars
        let signature = sign("secret-of-16-chars", 1_763_634_005, "{\"a\":1}");
        let (head, hex) = signature.split_once(",v1=").unwrap();
        assert_eq!((head, hex.len()), ("t=1763634005", 64));
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"secret-of-16-chars");
        let tag: Vec<u8> = hex
            .as_bytes()
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect();
        assert!(hmac::verify(&key, b"1763634005.{\"a\":1}", &tag).is_ok());
        assert!(hmac::verify(&key, b"1763634005.{\"a\":2}", &tag).is_err());
    }
}
