//! What viewers of this node, and nodes that it feeds, want of streams that are made elsewhere.

mod table;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aqueduct_common::StreamName;
use tokio::sync::{Notify, watch};

use self::table::Table;
pub(crate) use self::table::{Wanted, WantedLine};
use super::backfill::Backfill;
use super::wire::is_name;
use crate::audience::Demand;

/// Whether something that was asked for is here yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Due {
    /// It was asked for.
    #[default]
    Coming,
    /// It is here.
    Here,
    /// Nobody has it, for now.
    Absent,
}

/// What is wanted. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Wants {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    table: Mutex<Table>,
    changed: Notify,
    backfill: Backfill,
}

/// Somebody waits for something that was asked for.
#[derive(Debug)]
pub struct Coming(watch::Receiver<Due>);

impl Coming {
    /// Waits until it is here, or known not to be.
    pub async fn settled(mut self) -> Due {
        self.0.wait_for(|due| *due != Due::Coming).await.map_or(Due::Absent, |due| *due)
    }
}

impl Wants {
    /// Nothing is wanted. So many bytes of what is fetched are kept (0: nothing is).
    pub fn keeping(bytes: u64) -> Self {
        Self { shared: Arc::new(Shared { backfill: Backfill::new(bytes), ..Shared::default() }) }
    }

    /// What is not pushed, and can be fetched.
    pub(crate) fn backfill(&self) -> &Backfill {
        &self.shared.backfill
    }

    /// Asks for a stream, for this client. `None` when too many are asked for already.
    pub fn stream(&self, name: &StreamName, who: Option<IpAddr>) -> Option<Coming> {
        self.with(name, who, |wanted, _| Coming(wanted.due.subscribe()))
    }

    /// Asks for a line of it. `None` as well where no line can have that name.
    pub fn line(&self, name: &StreamName, line: &str, who: Option<IpAddr>) -> Option<Coming> {
        if line.is_empty() || !is_name(line) {
            return None;
        }
        self.with(name, who, |wanted, order| {
            if !wanted.lines.contains_key(line) {
                wanted.make_room();
            }
            let fresh = || WantedLine { order, ..WantedLine::default() };
            let wanted = wanted.lines.entry(line.to_owned()).or_insert_with(fresh);
            wanted.touched = true;
            Coming(wanted.due.subscribe())
        })
    }

    /// Wants a stream until [`Wanted::kept`] is taken back.
    pub(super) fn keep(&self, name: &StreamName) {
        let kept = self.with(name, None, |wanted, _| wanted.kept = true);
        if kept.is_none() {
            tracing::error!(stream = %name, "not taken before anybody asks: too many streams are wanted");
        }
    }

    fn with<T>(
        &self,
        name: &StreamName,
        who: Option<IpAddr>,
        ask: impl FnOnce(&mut Wanted, u64) -> T,
    ) -> Option<T> {
        let mut table = self.streams();
        let wanted = table.admit(name, who)?;
        let fresh = !wanted.touched;
        wanted.touched = true;
        let unknown = |wanted: &Wanted| wanted.lines.values().filter(|line| line.begun.is_none()).count();
        let (before, order) = (unknown(wanted), wanted.order);
        let asked = ask(wanted, order);
        let news = fresh || unknown(wanted) != before;
        drop(table);
        if news {
            self.shared.changed.notify_one();
        }
        Some(asked)
    }

    pub(crate) fn streams(&self) -> MutexGuard<'_, Table> {
        self.shared.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until something is wanted that was not.
    pub(crate) async fn changed(&self) {
        self.shared.changed.notified().await;
    }

    /// A stream, or a line of it, is here or known not to be.
    pub(crate) fn settle(&self, name: &StreamName, line: &str, due: Due) {
        let mut table = self.streams();
        if line.is_empty() && due == Due::Here {
            table.is_here(name);
        }
        let Some(wanted) = table.streams.get(name) else { return };
        let told = match line {
            "" => Some(&wanted.due),
            line => wanted.lines.get(line).map(|line| &line.due),
        };
        if let Some(told) = told {
            told.send_if_modified(|last| std::mem::replace(last, due) != due);
        }
    }
}

/// Viewers' demand goes to where the stream is made.
impl Demand for Wants {
    fn asked(&self, stream: &StreamName, demand: u8, viewers: u32) {
        if let Some(wanted) = self.streams().get_mut(stream) {
            wanted.demands.insert(demand, viewers);
        }
        self.shared.changed.notify_one();
    }
}

#[cfg(test)]
mod tests;
