//! Analytics of this node: its board, its history, and who may look.

use std::sync::Arc;
use std::time::Duration;

use aqueduct_analytics::store::Store;
use aqueduct_analytics::{Board, Setup};
use aqueduct_common::event::EventReceiver;
use aqueduct_common::{Secret, WallTime};

use crate::access::{Access, Credentials, PasswordError, own_password};
use crate::config::Plan;

/// How long the last records of a process may take to be kept.
const LAST: Duration = Duration::from_secs(2);

/// The board, and notices that an earlier run could not deliver. A history that cannot be written costs the history and
/// nothing else: streams go on.
pub fn board(plan: &Plan, role: &'static str) -> (Board, String) {
    let folder = plan.data_dir.join("analytics");
    let opened = plan.analytics.keep.map(|keep| Store::open(&folder, keep));
    let (store, notices) = match opened {
        Some(Ok((store, found))) => (Some((store, found.alerts)), found.notices),
        Some(Err(error)) => {
            tracing::error!(%error, "no history is kept");
            (None, String::new())
        }
        None => (None, String::new()),
    };
    let setup = Setup {
        node: plan.cluster.node().to_string(),
        role,
        cluster: plan.cluster.is_shared(),
        thresholds: plan.analytics.thresholds.clone(),
        store,
    };
    (Board::new(setup, now()), notices)
}

/// Feeds the board, on a thread of its own: however many viewers talk, no task that carries media waits behind what is made
/// of it.
pub fn start(board: Board, events: EventReceiver) {
    let feed = move || match tokio::runtime::Builder::new_current_thread().enable_time().build() {
        Ok(runtime) => runtime.block_on(aqueduct_analytics::run(board, events)),
        Err(error) => tracing::error!(%error, "nothing is made of what stages say; streams go on"),
    };
    if let Err(error) = std::thread::Builder::new().name("analytics".into()).spawn(feed) {
        tracing::error!(%error, "nothing is made of what stages say; streams go on");
    }
}

/// Who may in at the operator's port, and the password where one was made now.
pub fn access(plan: &Plan) -> Result<(Arc<Access>, Option<Secret>), PasswordError> {
    if plan.admin.listen.ip().is_loopback() {
        return Ok((Arc::new(Access::open()), None));
    }
    let (hash, made) = own_password(&plan.data_dir)?;
    let credentials = Credentials { password: Some(hash), tokens: plan.admin.tokens.clone() };
    Ok((Arc::new(Access::with(credentials)), made))
}

/// Keeps what is still to be kept.
pub async fn close(board: Board) {
    if let Some(store) = board.store() {
        // A disk that does not answer does not hold up the end.
        let _ = tokio::task::spawn_blocking(move || store.flush(LAST)).await;
    }
}

/// Milliseconds since 1970.
#[expect(clippy::disallowed_methods, reason = "the shell reads the clock for the pure parts")]
fn now() -> i64 {
    WallTime::from_system(std::time::SystemTime::now()).micros / 1_000
}
