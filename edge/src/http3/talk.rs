//! One HTTP/3 connection: its requests, its limits and its end.

use std::sync::Arc;

use bytes::Bytes;
use h3::error::{Code, ConnectionError};
use http::HeaderValue;
use tokio_util::task::TaskTracker;

use super::room::Room;
use super::transport::{Seen, Transport, var};
use super::{BULK, request};
use crate::conn::{Conn, Order};
use crate::flood::SPARE_STREAMS;
use crate::site::Site;
use crate::tally::Shed;

/// Longest head that is taken apart. It is twice what is answered, so that a head a little too long gets our own
/// answer (EDGE-36); a longer one gets 431 of HTTP/3 itself.
const HEAD: u64 = 32 * 1_024;

type Http3 = h3::server::Connection<Transport, Bytes>;

/// How a conversation goes on.
enum Next {
    /// As before.
    On,
    /// The client is told that it ends: answer what was asked.
    Finish,
    /// It is over.
    Over,
}

/// HTTP/3 on one connection, until either side ends it. `offer` is `Alt-Svc`.
pub(super) async fn converse(
    quic: quinn::Connection,
    conn: &Arc<Conn>,
    site: &Arc<Site>,
    offer: Option<HeaderValue>,
) {
    let transport = Transport::new(quic.clone(), conn.clone());
    let seen = transport.seen();
    let tasks = TaskTracker::new();
    if let Some(mut http3) = begin(transport, conn, site).await {
        let mut talk = Talk {
            http3: &mut http3,
            seen,
            conn,
            site,
            offer,
            tasks: &tasks,
            begun: 0,
            room: Room::new(BULK),
        };
        talk.run().await;
        // Closing it drops what is on its way, so this comes after the last answer, unless it is dropped.
        drop(http3);
    }
    quic.close(var(Code::H3_NO_ERROR.value()), b"");
    tasks.close();
    tasks.wait().await;
}

/// Opens HTTP/3's own streams.
async fn begin(transport: Transport, conn: &Conn, site: &Site) -> Option<Http3> {
    let mut builder = h3::server::builder();
    builder.max_field_section_size(HEAD).send_grease(false);
    let begun = tokio::time::timeout(site.limits.head, builder.build(transport));
    tokio::select! {
        _ = conn.ordered() => None,
        begun = begun => match begun {
            Ok(begun) => begun.ok(),
            Err(_) => {
                site.tally.shed(Shed::SlowHead);
                None
            }
        },
    }
}

struct Talk<'a> {
    http3: &'a mut Http3,
    seen: Arc<Seen>,
    conn: &'a Arc<Conn>,
    site: &'a Arc<Site>,
    offer: Option<HeaderValue>,
    tasks: &'a TaskTracker,
    begun: u64,
    /// For slices that others may have to pass.
    room: Arc<Room>,
}

impl Talk<'_> {
    async fn run(&mut self) {
        let mut finishing = false;
        loop {
            let next = tokio::select! {
                biased;
                order = self.conn.ordered() => self.obey(order).await,
                () = self.tasks.wait(), if finishing => Next::Over,
                accepted = self.http3.accept() => match accepted {
                    Ok(Some(resolver)) => self.request(resolver),
                    // The client said goodbye and has all its answers.
                    Ok(None) => Next::Over,
                    Err(error) => self.failed(&error),
                },
            };
            match next {
                Next::On => {}
                Next::Finish => {
                    finishing = true;
                    self.tasks.close();
                }
                Next::Over => return,
            }
        }
    }

    /// A request begins.
    fn request(&mut self, resolver: h3::server::RequestResolver<Transport, Bytes>) -> Next {
        self.begun += 1;
        if self.begun > SPARE_STREAMS + 2 * self.conn.requests() {
            self.site.tally.shed(Shed::Flood);
            return Next::Over;
        }
        if let Some(lane) = self.seen.newest() {
            let (conn, site, offer) = (self.conn.clone(), self.site.clone(), self.offer.clone());
            self.tasks.spawn(request::answer(resolver, lane, conn, site, offer, self.room.clone()));
        }
        Next::On
    }

    async fn obey(&mut self, order: Order) -> Next {
        if order == Order::Drop {
            return Next::Over;
        }
        // GOAWAY; a client that gives no room for it is not waited for.
        tokio::select! {
            biased;
            said = self.http3.shutdown(0) => if said.is_ok() { Next::Finish } else { Next::Over },
            order = self.conn.ordered() => if order == Order::Drop { Next::Over } else { Next::Finish },
        }
    }

    fn failed(&self, error: &ConnectionError) -> Next {
        if self.seen.flooded() {
            self.site.tally.shed(Shed::Flood);
        } else if matches!(error, ConnectionError::Local { .. }) && !error.is_h3_no_error() {
            self.site.tally.shed(Shed::Malformed);
        }
        Next::Over
    }
}
