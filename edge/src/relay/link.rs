//! The way to one node that feeds this one: dialled, watched, dialled again.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aqueduct_common::StreamName;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{Connection, Endpoint};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::backfill::Ways;
use super::control::{self, Code, Control, PeerError};
use super::failover::{Attempts, HEARTBEAT, LEAVING, Pulse};
use super::intake::Intake;
use super::now;
use super::origin::{certificate, in_words};
use super::refused::Refused;
use super::tls::ClientAuth;
use super::transport;
use super::wire::Frame;

/// Objects that are put together at once: those beyond wait in QUIC's receive window.
const ASSEMBLY: usize = 64;
/// How long a link that counts as dead may still bring what was under way.
const DRAIN: Duration = Duration::from_secs(5);
/// Frames that may wait to be written: everything that is said anew to a node that comes back, several times over.
const WISHES: usize = 65_536;
/// How long the other side may take to greet, beyond the handshake.
const GREETING: Duration = Duration::from_secs(5);

/// What a link tells the one who chooses among links.
#[derive(Debug)]
pub(super) enum Told {
    /// It is up; frames go here.
    Up { place: usize, outbox: Outbox },
    /// It is down.
    Down { place: usize },
    /// The other side said something about streams or itself.
    Frame { place: usize, frame: Frame },
    /// Somebody wants to fetch something of a stream.
    Ways { stream: StreamName, answer: oneshot::Sender<Ways> },
}

/// Where a link takes what is to be said.
#[derive(Clone, Debug)]
pub(super) struct Outbox {
    pub(super) frames: mpsc::Sender<Frame>,
    /// Ends the link, which has taken less than was to be said.
    pub(super) cut: CancellationToken,
    /// Objects can be fetched through this.
    pub(super) conn: Option<Connection>,
}

/// One way.
pub(super) struct Link {
    pub(super) place: usize,
    /// `host:port`
    pub(super) address: String,
    pub(super) node: String,
    pub(super) announce: bool,
    pub(super) auth: watch::Receiver<ClientAuth>,
    pub(super) refused: watch::Receiver<Arc<Refused>>,
    pub(super) intake: Arc<Intake>,
    pub(super) told: mpsc::Sender<Told>,
}

/// Why a link ended, as a label and in words.
struct Lost {
    reason: &'static str,
    words: String,
    /// The other side does not want this node: dialling at once is of no use.
    refused: bool,
}

impl Lost {
    #[expect(clippy::needless_pass_by_value, reason = "made for map_err")]
    fn new(reason: &'static str, words: impl ToString) -> Self {
        Self { reason, words: words.to_string(), refused: false }
    }
}

impl Link {
    /// Keeps the link up until the task is aborted.
    pub(super) async fn keep(self) {
        let (mut attempts, mut failures) = (Attempts::default(), 0u64);
        loop {
            tokio::time::sleep(attempts.wait(chance())).await;
            let lost = match self.dial(attempts).await {
                Ok((endpoint, conn)) => {
                    let lost = Box::pin(self.converse(&endpoint, &conn, &mut attempts)).await;
                    self.let_go(endpoint, conn);
                    lost
                }
                Err(lost) => lost,
            };
            self.intake.tally.note("lost", lost.reason);
            if self.told.send(Told::Down { place: self.place }).await.is_err() {
                return;
            }
            let origin = &self.address;
            attempts.failed(now());
            if attempts.count() == 1 || failures % 16 == 1 {
                tracing::warn!(%origin, reason = %lost.words, "no link to the origin; dialling again");
            }
            failures += 1;
            // A refusal is not cured by haste.
            while lost.refused && attempts.count() < 4 {
                attempts.failed(now());
            }
        }
    }

    async fn dial(&self, attempts: Attempts) -> Result<(Endpoint, Connection), Lost> {
        let unknown = |error: std::io::Error| Lost::new("unknown_host", error);
        let found = tokio::net::lookup_host(&self.address).await.map_err(unknown)?;
        let peer = found.into_iter().next().ok_or_else(|| Lost::new("unknown_host", "no such host"))?;
        let auth = self.auth.borrow().clone();
        if auth.is_open() && !peer.ip().is_loopback() {
            return Err(Lost {
                refused: true,
                ..Lost::new(
                    "credentials",
                    "an origin on another machine needs --token, or relay.ca and its files",
                )
            });
        }
        let any: IpAddr = if peer.is_ipv4() { [0; 4].into() } else { [0u16; 8].into() };
        let mut endpoint =
            Endpoint::client(SocketAddr::new(any, 0)).map_err(|error| Lost::new("socket", error))?;
        let crypto = QuicClientConfig::try_from(auth.tls).map_err(|error| Lost::new("credentials", error))?;
        let mut config = quinn::ClientConfig::new(Arc::new(crypto));
        config.transport_config(Arc::new(transport::fed()));
        endpoint.set_default_client_config(config);
        let host = self.address.rsplit_once(':').map_or("", |(host, _)| host);
        let host = host.trim_matches(['[', ']']);
        let dialled = endpoint.connect(peer, host).map_err(|error| Lost::new("connect", error))?;
        match tokio::time::timeout(attempts.patience(), dialled).await {
            Ok(Ok(conn)) if self.is_refused(&conn) => {
                conn.close(Code::Refused.into(), b"this node is not listened to any more");
                Err(Lost { refused: true, ..Lost::new("revoked", "it is on the list of relay.refused") })
            }
            Ok(Ok(conn)) => Ok((endpoint, conn)),
            Ok(Err(error)) => {
                let refused = !matches!(error, quinn::ConnectionError::TimedOut);
                Err(Lost { refused, ..Lost::new("handshake", in_words(&error)) })
            }
            Err(_) => Err(Lost::new("connect", "nobody answers")),
        }
    }

    fn is_refused(&self, conn: &Connection) -> bool {
        self.refused.borrow().names("", certificate(conn).as_ref())
    }

    async fn converse(&self, endpoint: &Endpoint, conn: &Connection, attempts: &mut Attempts) -> Lost {
        let _ = endpoint;
        let greeted = tokio::time::timeout(GREETING, self.greet(conn)).await;
        let (mut control, outbox) = match greeted.unwrap_or(Err(PeerError::Late)) {
            Ok(greeted) => greeted,
            Err(error) => return lost(conn, &error),
        };
        attempts.linked(now());
        tracing::info!(origin = %self.address, rtt = ?conn.rtt(), "linked to the origin");
        let pulse = Arc::new(Mutex::new(Pulse::new(now())));
        let heard =
            |pulse: &Mutex<Pulse>, now| pulse.lock().unwrap_or_else(PoisonError::into_inner).heard(now);
        let cut = CancellationToken::new();
        let way = Outbox { frames: outbox.clone(), cut: cut.clone(), conn: Some(conn.clone()) };
        if self.told.send(Told::Up { place: self.place, outbox: way }).await.is_err() {
            return Lost::new("stopped", "this node stops");
        }
        // It goes on when this ends: what is under way still comes.
        let objects =
            tokio::spawn(take_objects(conn.clone(), self.place, self.intake.clone(), pulse.clone()));
        let mut beats = tokio::time::interval(HEARTBEAT);
        beats.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut number = 0;
        let mut refused = self.refused.clone();
        let leave = tokio::time::sleep(Duration::MAX);
        tokio::pin!(leave);
        loop {
            tokio::select! {
                frame = control.next() => match frame {
                    Ok(frame) => {
                        heard(&pulse, now());
                        if frame == Frame::GoAway {
                            leave.set(tokio::time::sleep(LEAVING));
                        }
                        if !self.hear(frame).await {
                            return Lost::new("protocol", "it said what only edges say");
                        }
                    }
                    Err(error) => return lost(conn, &error),
                },
                _ = beats.tick() => {
                    number += 1;
                    if outbox.try_send(Frame::Ping { number }).is_err() {
                        return Lost::new("blocked", "nothing can be said to it");
                    }
                    if pulse.lock().unwrap_or_else(PoisonError::into_inner).is_dead(now()) {
                        tracing::debug!(objects = objects.is_finished(), "silent");
                        return Lost::new("silent", "nothing was heard of it for a second");
                    }
                }
                Ok(()) = refused.changed() => {
                    refused.mark_unchanged();
                    if self.is_refused(conn) {
                        conn.close(Code::Refused.into(), b"this node is not listened to any more");
                        return Lost { refused: true, ..Lost::new("revoked", "it is on the list of relay.refused") };
                    }
                }
                () = &mut leave => {
                    conn.close(Code::Done.into(), b"gone elsewhere, as asked");
                    return Lost::new("leaving", "the origin stops");
                }
                () = cut.cancelled() => return Lost::new("blocked", "more is to be said to it than it takes"),
                error = conn.closed() => return lost(conn, &error.into()),
            }
        }
    }

    async fn greet(&self, conn: &Connection) -> Result<(Control, mpsc::Sender<Frame>), PeerError> {
        let (mut send, receive) = conn.open_bi().await?;
        let _ = send.set_priority(control::FIRST);
        let token = self.auth.borrow().secret_for(certificate(conn).as_ref());
        let hello = Frame::Hello { node: self.node.clone(), token, announce: self.announce };
        let mut out = Vec::new();
        hello.write(&mut out)?;
        send.write_all(&out).await?;
        let mut control = Control::new(receive);
        let Frame::Welcome { .. } = control.next().await? else { return Err(PeerError::Ended) };
        let (outbox, frames) = mpsc::channel(WISHES);
        tokio::spawn(control::write(send, frames));
        Ok((control, outbox))
    }

    /// Answers whether it may go on.
    async fn hear(&self, frame: Frame) -> bool {
        match &frame {
            Frame::Pong { .. } | Frame::Welcome { .. } => {}
            Frame::Gap { sub, .. } | Frame::Sleep { sub, .. } | Frame::Close { sub, .. } => {
                self.intake.frame(self.place, *sub, &frame);
            }
            Frame::End { sub, .. } => {
                self.intake.frame(self.place, *sub, &frame);
                return self.told.send(Told::Frame { place: self.place, frame }).await.is_ok();
            }
            Frame::Stream { .. }
            | Frame::Absent { .. }
            | Frame::Trail { .. }
            | Frame::Lends
            | Frame::Progress { .. }
            | Frame::Announce { .. }
            | Frame::GoAway => {
                return self.told.send(Told::Frame { place: self.place, frame }).await.is_ok();
            }
            _ => return false,
        }
        true
    }

    /// A dead link may come back for a moment: what it still brings is taken, and then it is closed.
    fn let_go(&self, endpoint: Endpoint, conn: Connection) {
        tokio::spawn(async move {
            if conn.close_reason().is_none() {
                tokio::time::sleep(DRAIN).await;
            }
            conn.close(Code::Done.into(), b"another connection is used");
            endpoint.wait_idle().await;
        });
    }
}

fn lost(conn: &Connection, error: &PeerError) -> Lost {
    let reason = match error {
        PeerError::Malformed(_) => {
            conn.close(Code::Protocol.into(), error.to_string().as_bytes());
            "protocol"
        }
        PeerError::Late => "late",
        _ => "closed",
    };
    match conn.close_reason() {
        Some(quinn::ConnectionError::ApplicationClosed(close)) => {
            let refused = close.error_code == Code::Refused.into();
            let words = format!("it said: {}", String::from_utf8_lossy(&close.reason));
            Lost { refused, ..Lost::new(if refused { "refused" } else { reason }, words) }
        }
        Some(error) => Lost::new(reason, in_words(&error)),
        None => Lost::new(reason, error),
    }
}

/// Takes every object that comes. Ends with the connection.
async fn take_objects(conn: Connection, place: usize, intake: Arc<Intake>, pulse: Arc<Mutex<Pulse>>) {
    let assembly = Arc::new(Semaphore::new(ASSEMBLY));
    let mut readers: JoinSet<bool> = JoinSet::new();
    loop {
        tokio::select! {
            stream = conn.accept_uni() => {
                let Ok(mut stream) = stream else { break };
                let (intake, pulse, assembly) = (intake.clone(), pulse.clone(), assembly.clone());
                readers.spawn(async move {
                    let Ok(_room) = assembly.acquire().await else { return true };
                    // Pongs may be stuck behind a long object that does come.
                    let heard = || pulse.lock().unwrap_or_else(PoisonError::into_inner).heard(now());
                    match control::object(&mut stream, heard).await {
                        Ok((head, body)) => {
                            intake.object(place, &head, body);
                            true
                        }
                        // It was given up, or the connection is gone.
                        Err(PeerError::Read(_) | PeerError::Ended) => true,
                        Err(_) => false,
                    }
                });
            }
            Some(read) = readers.join_next() => {
                if matches!(read, Ok(false)) {
                    intake.tally.note("refused", "protocol");
                    conn.close(Code::Protocol.into(), b"an object that is none");
                    break;
                }
            }
        }
    }
}

/// Any number, for spreading attempts.
pub(super) fn chance() -> u64 {
    use std::hash::{BuildHasher as _, Hasher as _, RandomState};
    RandomState::new().build_hasher().finish()
}
