//! One caller: from its first packet to its end.

use std::io::Cursor;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use aqueduct_common::{SourceName, StreamName};
use bytes::{Bytes, BytesMut};
use srt_protocol::access::{RejectReason, ServerRejectReason};
use srt_protocol::connection::{Connection, DuplexConnection};
use srt_protocol::listener::{
    AccessControlRequest, AccessControlResponse, Action, Input, MultiplexListener, SessionId,
};
use srt_protocol::options::Passphrase;
use srt_protocol::packet::{ControlPacket, ControlTypes, CoreRejectReason, Packet};
use srt_protocol::settings::{ConnInitSettings, KeySettings};
use tokio::net::UdpSocket;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_util::sync::CancellationToken;

use super::super::clock;
use super::super::gate::{REFUSAL_DELAY, Slot};
use super::Rules;
use super::open::Open;
use super::shake::{cookie_of, has_key_material, induction_of, with_cookie};
use super::streamid::credentials;
use crate::pull::Opener;
use crate::stream::{Lease, PublishRequest, Refusal};

/// How long the registry may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// A caller's round trip, before one was measured.
const PRESUMED_RTT: Duration = Duration::from_millis(20);
/// How long a rejection is said again to a caller that asks again, before it is let go.
const REJECTED: Duration = Duration::from_millis(200);

/// See the module's documentation.
pub(super) struct Peer {
    pub(super) socket: Arc<UdpSocket>,
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    pub(super) packets: mpsc::Receiver<Bytes>,
    pub(super) rules: Arc<Rules>,
    pub(super) opener: Arc<dyn Opener>,
    pub(super) slot: Slot,
    /// Its place among those who are not known; given back once it is a publisher.
    pub(super) room: Option<OwnedSemaphorePermit>,
    pub(super) stop: CancellationToken,
}

/// A caller that may publish.
pub(super) struct Admitted {
    pub(super) stream: StreamName,
    pub(super) source: Option<SourceName>,
    pub(super) lease: Lease,
}

/// A caller that is let in.
struct Let {
    admitted: Admitted,
    connection: Box<Connection>,
    /// The handshake's last word.
    answer: Bytes,
}

impl Peer {
    /// Serves the caller to its end.
    pub(super) async fn run(mut self) {
        let Some(Let { admitted, connection, answer }) = self.shake_hands().await else { return };
        self.room = None;
        let rtt = connection.settings.rtt;
        let connection = DuplexConnection::new(*connection);
        let mut open = Open::new(&self, connection, answer, admitted, rtt);
        open.carry(&mut self).await;
        open.close(&self).await;
    }

    /// The second half of the handshake; the first half left no trace, so that the state machine is told of it now.
    async fn shake_hands(&mut self) -> Option<Let> {
        let conclusion = self.packets.recv().await?;
        let told = cookie_of(&conclusion)?;
        let now = clock().0;
        let mut listener = MultiplexListener::new(now, self.local, self.settings());
        let before = now.checked_sub(PRESUMED_RTT).unwrap_or(now);
        let induction = self.parse(&induction_of(&conclusion)?.into())?;
        let Step::Send(Packet::Control(ControlPacket {
            control_type: ControlTypes::Handshake(shake), ..
        })) = Step::of(listener.handle_input(before, Input::Packet(Ok((induction, self.remote)))))
        else {
            return None;
        };
        let packet = self.parse(&with_cookie(&conclusion, shake.syn_cookie as u32))?;
        let step = Step::of(listener.handle_input(now, Input::Packet(Ok((packet, self.remote)))));
        let (step, admitted) = match step {
            Step::Ask(session, request) => {
                let until = now + self.rules.handshake;
                let authorised = tokio::time::timeout_at(until.into(), self.authorise(&request, &conclusion));
                let Ok((answer, admitted)) = authorised.await else {
                    self.slot.refused("timeout_handshake");
                    return None;
                };
                let input = Input::AccessResponse(Some((session, answer)));
                (Step::of(listener.handle_input(clock().0, input)), admitted)
            }
            step => (step, None),
        };
        match (step, admitted) {
            (Step::Open(packet, connection), Some(admitted)) => {
                let answer = self.answer(packet.as_ref(), told).await;
                Some(Let { admitted, connection, answer })
            }
            (Step::Reject(packet), _) => {
                self.answer(packet.as_ref(), told).await;
                // The caller's repeats are absorbed here, so that each is not another caller.
                let rest = async { while self.packets.recv().await.is_some() {} };
                let _ = tokio::time::timeout(REJECTED, rest).await;
                None
            }
            _ => None,
        }
    }

    fn settings(&self) -> ConnInitSettings {
        ConnInitSettings {
            recv_latency: self.rules.latency,
            send_latency: self.rules.latency,
            peer_idle_timeout: self.rules.silence,
            ..ConnInitSettings::default()
        }
    }

    /// Sends the handshake's last word, with the cookie that the caller knows.
    async fn answer(&self, packet: Option<&Packet>, cookie: u32) -> Bytes {
        let Some(packet) = packet else { return Bytes::new() };
        let bytes = with_cookie(&serialized(packet), cookie);
        let _ = self.socket.send_to(&bytes, self.remote).await;
        bytes
    }

    pub(super) fn parse(&self, bytes: &Bytes) -> Option<Packet> {
        Packet::parse(&mut Cursor::new(bytes), self.local.is_ipv6()).ok()
    }

    /// Sends a packet; gives its bytes. What the network does not take is lost, as on any other hop.
    pub(super) async fn send(&self, packet: &Packet) -> Bytes {
        let bytes = serialized(packet);
        let _ = self.socket.send_to(&bytes, self.remote).await;
        bytes
    }

    /// Whether this caller may publish, and what.
    async fn authorise(
        &self,
        request: &AccessControlRequest,
        conclusion: &Bytes,
    ) -> (AccessControlResponse, Option<Admitted>) {
        match self.admit(request, conclusion).await {
            Ok((admitted, keys)) => (AccessControlResponse::Accepted(keys), Some(admitted)),
            Err((reason, label)) => {
                self.slot.refused(label);
                tracing::info!(peer = %self.remote, reason = label, "publish refused");
                // The same for every refusal, so that its time says nothing (AUTH-4).
                tokio::time::sleep(REFUSAL_DELAY).await;
                (AccessControlResponse::Rejected(reason), None)
            }
        }
    }

    async fn admit(
        &self,
        request: &AccessControlRequest,
        conclusion: &Bytes,
    ) -> Result<(Admitted, Option<KeySettings>), (RejectReason, &'static str)> {
        let keys = self.keys(request, conclusion)?;
        let server = |reason: ServerRejectReason, label| (RejectReason::Server(reason), label);
        let id = request.stream_id.as_ref().map(|id| id.as_str());
        let credentials = credentials(id).map_err(|_| server(ServerRejectReason::BadRequest, "bad_name"))?;
        let gate = &self.slot.gate;
        let stream = gate.check(clock().0, self.remote.ip(), &credentials).map_err(|denied| {
            // Predefined codes are 1000 and an HTTP status (AUTH-32).
            let reason = match denied.label() {
                "bad_name" => ServerRejectReason::BadRequest,
                _ => ServerRejectReason::Unauthorized,
            };
            server(reason, denied.label())
        })?;
        let source = gate
            .source(&credentials)
            .map_err(|denied| server(ServerRejectReason::BadRequest, denied.label()))?;
        let (protocol, encoder) = (self.slot.protocol, "SRT".into());
        let publish = PublishRequest { stream: stream.clone(), protocol, encoder, source: source.clone() };
        match tokio::time::timeout(PATIENCE, gate.streams.publish(publish)).await {
            Ok(Ok(lease)) => Ok((Admitted { stream, source, lease }, keys)),
            Ok(Err(Refusal::UnknownSource)) => Err(server(ServerRejectReason::BadRequest, "bad_source")),
            Ok(Err(Refusal::Draining)) => Err(server(ServerRejectReason::Overload, "draining")),
            Ok(Err(Refusal::Busy)) => Err(server(ServerRejectReason::Forbidden, "busy")),
            Err(_) => Err(server(ServerRejectReason::Overload, "timeout_registry")),
        }
    }

    /// What the connection is encrypted with. Both sides have to encrypt, or none.
    fn keys(
        &self,
        request: &AccessControlRequest,
        conclusion: &Bytes,
    ) -> Result<Option<KeySettings>, (RejectReason, &'static str)> {
        let core = |reason: CoreRejectReason, label| (RejectReason::Core(reason), label);
        match (&self.rules.passphrase, has_key_material(conclusion)) {
            (None, false) => Ok(None),
            (Some(_), false) => Err(core(CoreRejectReason::Unsecure, "unencrypted")),
            (None, true) => Err(core(CoreRejectReason::BadSecret, "encrypted")),
            (Some(passphrase), true) => {
                let passphrase = Passphrase::try_from(passphrase.expose().clone())
                    .map_err(|_| core(CoreRejectReason::BadSecret, "encrypted"))?;
                Ok(Some(KeySettings { key_size: request.key_size, passphrase }))
            }
        }
    }
}

fn serialized(packet: &Packet) -> Bytes {
    let mut bytes = BytesMut::with_capacity(1_500);
    packet.serialize(&mut bytes);
    bytes.freeze()
}

/// What the listener's state machine wants, without a hold on it.
enum Step {
    Send(Packet),
    Ask(SessionId, AccessControlRequest),
    Reject(Option<Packet>),
    Open(Option<Packet>, Box<Connection>),
    Nothing,
}

impl Step {
    fn of(action: Action<'_>) -> Self {
        match action {
            Action::SendPacket((packet, _)) => Self::Send(packet),
            Action::RequestAccess(session, request) => Self::Ask(session, request),
            Action::RejectConnection(_, packet) => Self::Reject(packet.map(|(packet, _)| packet)),
            Action::OpenConnection(_, opened) => {
                let (packet, connection) = *opened;
                Self::Open(packet.map(|(packet, _)| packet), Box::new(connection))
            }
            Action::DropConnection(_) | Action::Close => Self::Reject(None),
            Action::DelegatePacket(..) | Action::UpdateStatistics(_) | Action::WaitForInput => Self::Nothing,
        }
    }
}
