//! The whole pipeline, black box: what a user has for real stands on both sides of the server under test.
//!
//! - [`check`]: an LL-HLS conformance checker of our own, also a program (`aqueduct-check URL`);
//! - [`chaos`]: faults by a seed over real processes, also a program (`aqueduct-chaos`);
//! - [`linkproxy`]: a user-space link with delay, jitter, loss, rate and blackouts, also a program;
//! - [`publisher`]: an RTMP publisher that writes its own bytes, well or badly;
//! - [`world`]: the real server in a process of its own, ffmpeg, and a browser.

#![forbid(unsafe_code)]

use std::task::Poll;

pub mod bmff;
pub mod chaos;
pub mod check;
pub mod fetch;
pub mod linkproxy;
pub mod publisher;
pub mod random;
pub mod tls;
pub mod world;

/// Why a test or a tool failed, in words.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;
/// What most of the harness returns.
pub type Outcome<T = ()> = Result<T, Failure>;

/// Runs futures at once and gives their outputs in order.
pub async fn all<F: Future>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let mut running: Vec<_> = futures.into_iter().map(Box::pin).collect();
    let mut outputs: Vec<_> = running.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (future, output) in running.iter_mut().zip(&mut outputs).filter(|(_, output)| output.is_none()) {
            if let Poll::Ready(value) = future.as_mut().poll(context) {
                *output = Some(value);
            }
        }
        if outputs.iter().all(Option::is_some) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    outputs.into_iter().flatten().collect()
}

/// The monotonic clock.
#[expect(clippy::disallowed_methods, reason = "the harness stands outside: its time is the real one")]
pub fn now() -> tokio::time::Instant {
    tokio::time::Instant::now()
}
