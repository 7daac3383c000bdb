//! What is not here and may be elsewhere: asked for once, however many requests wait for it (EDGE-1, EDGE-8).

use std::sync::Arc;
use std::time::Duration;

use aqueduct_common::StreamName;

use crate::conn::Conn;
use crate::entry::Entry;
use crate::refuse::Refusal;
use crate::relay::backfill::{Kept, MAX_HOPS};
use crate::relay::wire::is_name;
use crate::relay::{Coming, Due};
use crate::respond::Ask;
use crate::roster::network;
use crate::site::Site;

/// How long a request is held while what it asks for is brought here.
const HOLD: Duration = Duration::from_secs(8);

impl Site {
    /// Asks those that feed this node for the line of a path, and waits until it is here. `false` when nobody has it, or
    /// nobody feeds this node.
    pub(crate) async fn summoned(
        &self,
        conn: &Arc<Conn>,
        stream: &str,
        path: &str,
        ask: &mut Ask<'_>,
    ) -> Result<bool, Refusal> {
        let Some(wants) = self.store.wants() else { return Ok(false) };
        let Ok(name) = stream.parse::<StreamName>() else { return Ok(false) };
        let who = Some(network(conn.peer()));
        let coming = match path.rsplit_once('/') {
            Some((line, _)) => wants.line(&name, line, who),
            None => wants.stream(&name, who),
        };
        let Some(coming) = coming else { return Ok(false) };
        Ok(self.hold(conn, HOLD, coming.settled(), ask).await? == Due::Here)
    }

    /// What was not pushed to this node is fetched from those that feed it. `None` where nobody has it.
    pub(crate) async fn fetched(
        &self,
        conn: &Arc<Conn>,
        stream: &StreamName,
        path: &str,
        ask: &mut Ask<'_>,
    ) -> Result<Option<Arc<Entry>>, Refusal> {
        let (Some(wants), Some((line, file))) = (self.store.wants(), path.rsplit_once('/')) else {
            return Ok(None);
        };
        if !is_name(line) || !is_name(file) {
            return Ok(None);
        }
        let who = Some(network(conn.peer()));
        let asked = wants.backfill().get(stream, line, file, who, MAX_HOPS);
        match self.hold(conn, HOLD, asked, ask).await? {
            Kept::Here(entry) => Ok(Some(entry)),
            Kept::Gone => Err(Refusal::Gone),
            Kept::Unreachable => Err(Refusal::Unreachable),
            Kept::Absent | Kept::Limited => Ok(None),
        }
    }

    /// A request waits for the stream to come on air: whoever feeds this node is to tell of it, for as long as the answer
    /// is kept. When too many are wanted, this one has to come by itself.
    pub(crate) fn call_for(&self, conn: &Conn, stream: &str) -> Option<Coming> {
        let name = stream.parse().ok()?;
        self.store.wants()?.stream(&name, Some(network(conn.peer())))
    }
}
