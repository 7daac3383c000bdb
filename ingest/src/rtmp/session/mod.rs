//! One publisher's connection: bytes and `now` in, events and bytes to write out. It reads no clock.

mod acks;
mod outcome;

use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};

use super::aggregate::Aggregate;
use super::amf0::Value;
use super::chunk::{ChunkReader, RawMessage};
use super::command::{self, Client, Command};
use super::dialogue::{Dialogue, Reply};
use super::handshake::Handshake;
use super::{MediaKind, Message, wire};
use crate::keys::Credentials;
use crate::limits::Meter;
use acks::{Acks, Ping};
pub use outcome::{Event, Limits, Publish, RefusalCode, SessionError, Wake};

/// Media streams that one connection may have; only one of them is published (RTMP-32).
const MAX_STREAMS: usize = 8;
/// Bytes of chunks that are taken before a publish is authorised: many times what any encoder sends.
const MAX_UNAUTHORISED: usize = 256 << 10;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Handshake,
    /// Waiting for `connect`.
    Connect,
    /// Connected; waiting for `publish`.
    Publish,
    /// A publish on this stream waits for its answer.
    Asked(u32),
    /// Publishing on this stream; `true` once media came.
    Publishing(u32, bool),
    /// Refused; whatever comes is thrown away.
    Closing,
}

/// See the module's documentation.
pub struct Session {
    limits: Limits,
    started: Instant,
    phase: Phase,
    /// When the phase must be over.
    deadline: Option<(Instant, Wake)>,
    last_input: Instant,
    handshake: Handshake,
    chunks: ChunkReader,
    dialogue: Option<Dialogue>,
    client: Client,
    /// Media streams that exist.
    streams: Vec<u32>,
    aggregate: Option<Aggregate>,
    output: BytesMut,
    acks: Acks,
    ping: Ping,
    messages: Meter,
    commands: Meter,
    /// Bytes that came before a publish was authorised; `None` once one was.
    unauthorised: Option<usize>,
}

impl Session {
    /// A session that begins `now`. `seed` makes its handshake differ from others'.
    pub fn new(limits: Limits, seed: u64, now: Instant) -> Self {
        Self {
            limits,
            started: now,
            phase: Phase::Handshake,
            deadline: Some((now + limits.handshake, Wake::Handshake)),
            last_input: now,
            handshake: Handshake::Hello { seed },
            chunks: ChunkReader::default(),
            dialogue: None,
            client: Client::default(),
            streams: Vec::new(),
            aggregate: None,
            output: BytesMut::new(),
            acks: Acks::default(),
            ping: Ping { next: now + limits.ping, sent: None },
            messages: Meter::new(limits.messages, limits.messages.saturating_mul(2), now),
            commands: Meter::new(limits.commands, limits.commands, now),
            unauthorised: Some(0),
        }
    }

    /// Reads from `input` up to the next event; `None` when it needs more bytes, or an answer to
    /// [`Event::Publish`]. What it has used is gone from `input`.
    ///
    /// After an error nothing more is read; [`Session::refuse`] may still tell the publisher.
    pub fn handle_input(
        &mut self,
        now: Instant,
        input: &mut BytesMut,
    ) -> Result<Option<Event>, SessionError> {
        if !input.is_empty() {
            self.last_input = now;
        }
        loop {
            match self.phase {
                Phase::Closing => {
                    input.clear();
                    return Ok(None);
                }
                Phase::Asked(_) => return Ok(None),
                Phase::Handshake => {
                    if !self.read_handshake(now, input)? {
                        return Ok(None);
                    }
                }
                Phase::Connect | Phase::Publish | Phase::Publishing(..) => {
                    let Some(message) = self.next_message(now, input)? else { return Ok(None) };
                    if let Some(event) = self.take(now, message)? {
                        return Ok(Some(event));
                    }
                }
            }
        }
    }

    /// The publish that waits is accepted.
    pub fn accept(&mut self, now: Instant) -> Result<(), SessionError> {
        let Phase::Asked(stream_id) = self.phase else { return Err(SessionError::Order("an acceptance")) };
        let replies = self.dialogue()?.accept("Publishing has begun.")?;
        self.send(&replies);
        self.chunks.authorise();
        self.unauthorised = None;
        self.last_input = now;
        self.ping.next = now + self.limits.ping;
        self.enter(Phase::Publishing(stream_id, false), Some((now + self.limits.media, Wake::Media)));
        Ok(())
    }

    /// Tells the publisher in plain words why it cannot go on, and closes after a moment (RTMP-29). Before `connect`
    /// was answered there is nothing to tell it with.
    pub fn refuse(&mut self, now: Instant, code: RefusalCode, description: &str) {
        let told = match self.phase {
            Phase::Handshake | Phase::Connect | Phase::Closing => Vec::new(),
            Phase::Asked(_) => self
                .dialogue()
                .ok()
                .and_then(|dialogue| dialogue.refuse(code.as_str(), description).ok())
                .unwrap_or_default(),
            Phase::Publish => vec![Reply::status(0, "error", code.as_str(), description)],
            Phase::Publishing(stream_id, _) => {
                vec![Reply::status(stream_id, "error", code.as_str(), description)]
            }
        };
        self.send(&told);
        if self.phase != Phase::Closing {
            let linger = if told.is_empty() { Duration::ZERO } else { self.limits.linger };
            self.enter(Phase::Closing, Some((now + linger, Wake::Close)));
        }
    }

    /// Asks a publisher that understands it to connect again, and stays open meanwhile (RTMP-61). `false` when it
    /// would not understand.
    pub fn ask_to_reconnect(&mut self, description: &str) -> bool {
        let asks = self.client.reconnects() && matches!(self.phase, Phase::Publishing(..));
        if asks {
            let code = "NetConnection.Connect.ReconnectRequest";
            self.send(&[Reply::status(0, "status", code, description)]);
        }
        asks
    }

    /// Nothing will be read until then, so that silence is no fault (RTMP-69).
    pub fn pause(&mut self, until: Instant) {
        self.last_input = self.last_input.max(until);
    }

    /// The bytes to write so far; empty when there are none.
    pub fn take_output(&mut self) -> BytesMut {
        self.output.split()
    }

    /// It refuses and waits for the end.
    pub fn is_closing(&self) -> bool {
        self.phase == Phase::Closing
    }

    /// A publish was accepted and has not ended.
    pub fn is_publishing(&self) -> bool {
        matches!(self.phase, Phase::Publishing(..))
    }

    /// When to come back with [`Session::handle_timeout`], and why.
    pub fn poll_timeout(&self) -> (Instant, Wake) {
        let idle = match self.phase {
            Phase::Asked(_) | Phase::Closing => None,
            _ => Some((self.last_input + self.limits.idle, Wake::Idle)),
        };
        let ping = self.is_publishing().then_some((self.ping.next, Wake::Ping));
        let far = (self.last_input + Duration::from_secs(3_600), Wake::Idle);
        [self.deadline, idle, ping].into_iter().flatten().min_by_key(|(at, _)| *at).unwrap_or(far)
    }

    /// What is due `now`. All but [`Wake::Ping`] end the connection.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<Wake> {
        let (_, wake) = Some(self.poll_timeout()).filter(|(at, _)| *at <= now)?;
        if wake == Wake::Ping {
            let millis = self.millis(now);
            self.ping.next = now + self.limits.ping;
            self.ping.sent = Some((millis, now));
            wire::put_user_control(&mut self.output, wire::event::PING_REQUEST, millis);
        }
        Some(wake)
    }

    /// How often a repeated timestamp was not taken for a delta (RTMP-10).
    pub fn timestamp_guesses(&self) -> u64 {
        self.chunks.guesses()
    }

    fn read_handshake(&mut self, now: Instant, input: &mut BytesMut) -> Result<bool, SessionError> {
        let millis = self.millis(now);
        if !self.handshake.read(millis, input, &mut self.output)? {
            return Ok(false);
        }
        let (dialogue, opening) = Dialogue::open()?;
        self.dialogue = Some(dialogue);
        self.send(&opening);
        self.enter(Phase::Connect, Some((now + self.limits.connect, Wake::Connect)));
        Ok(true)
    }

    fn next_message(
        &mut self,
        now: Instant,
        input: &mut BytesMut,
    ) -> Result<Option<RawMessage>, SessionError> {
        loop {
            if let Some(message) = self.aggregate.as_mut().and_then(Iterator::next) {
                return Ok(Some(message));
            }
            self.aggregate = None;
            let before = input.len();
            let message = self.chunks.read(input)?;
            self.acks.received(before - input.len(), &mut self.output);
            self.meter_unseen(now, before - input.len())?;
            match message {
                Some(message) if message.type_id == wire::AGGREGATE => {
                    self.aggregate = Some(Aggregate::new(message));
                }
                message => return Ok(message),
            }
        }
    }

    /// Counts what may show in no message: bytes of a stranger, and messages that were given up.
    fn meter_unseen(&mut self, now: Instant, bytes: usize) -> Result<(), SessionError> {
        if let Some(sum) = &mut self.unauthorised {
            *sum += bytes;
            if *sum > MAX_UNAUTHORISED {
                return Err(SessionError::Unauthorised);
            }
        }
        match (0..self.chunks.take_passed_over()).all(|_| self.messages.take(now)) {
            true => Ok(()),
            false => Err(SessionError::MessageRate(self.limits.messages)),
        }
    }

    fn take(&mut self, now: Instant, mut message: RawMessage) -> Result<Option<Event>, SessionError> {
        if !self.messages.take(now) {
            return Err(SessionError::MessageRate(self.limits.messages));
        }
        // AMF3 messages of publishers are AMF0 behind a zero byte (RTMP-17).
        let amf3 = matches!(message.type_id, wire::COMMAND_AMF3 | wire::DATA_AMF3);
        if amf3 && message.body.first() == Some(&0) {
            message.body.advance(1);
        }
        match message.type_id {
            wire::AUDIO => Ok(self.media(now, MediaKind::Audio, message)),
            wire::VIDEO => Ok(self.media(now, MediaKind::Video, message)),
            wire::DATA | wire::DATA_AMF3 => Ok(self.media(now, MediaKind::Data, message)),
            wire::COMMAND | wire::COMMAND_AMF3 => {
                if !self.commands.take(now) {
                    return Err(SessionError::CommandRate(self.limits.commands));
                }
                let (transaction, command) = command::read(&message.body)?;
                self.command(now, message.stream_id, transaction, command)
            }
            wire::USER_CONTROL => Ok(self.user_control(now, &message.body)),
            wire::WINDOW_ACK => {
                self.acks.window(&message.body);
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    /// Media counts only on the stream that is published; with just one stream its number is not looked at, since some
    /// encoders get it wrong.
    fn media(&mut self, now: Instant, kind: MediaKind, message: RawMessage) -> Option<Event> {
        let Phase::Publishing(stream_id, begun) = self.phase else { return None };
        if message.stream_id != stream_id && self.streams.len() > 1 {
            return None;
        }
        if !begun && kind != MediaKind::Data {
            self.ping.next = now + self.limits.ping;
            self.enter(Phase::Publishing(stream_id, true), None);
        }
        Some(Event::Message(Message { kind, timestamp: message.timestamp, body: message.body }))
    }

    fn command(
        &mut self,
        now: Instant,
        on: u32,
        transaction: f64,
        command: Command,
    ) -> Result<Option<Event>, SessionError> {
        let connected = self.phase != Phase::Connect;
        match command {
            Command::Connect(_) if connected => Err(SessionError::Order("a second connect")),
            Command::Connect(client) => self.connect(now, transaction, *client),
            Command::Other => Ok(None),
            _ if !connected => Err(SessionError::Order("a command before connect")),
            Command::CreateStream => self.create_stream(transaction),
            Command::Publish(name) => self.publish(on, transaction, name.expose()),
            Command::WantsResult => {
                self.result(transaction);
                Ok(None)
            }
            Command::FcPublish => {
                self.result(transaction);
                self.send(&[Reply::fc_publish()]);
                Ok(None)
            }
            Command::FcUnpublish => {
                self.result(transaction);
                match self.phase {
                    Phase::Publishing(stream_id, _) => self.close_stream(now, stream_id, false),
                    _ => Ok(None),
                }
            }
            Command::Close(stream_id, delete) => self.close_stream(now, stream_id.unwrap_or(on), delete),
            Command::Play => {
                let text = "This port takes streams in. To watch, open the stream's page in a browser.";
                self.send(&[Reply::status(on, "error", "NetStream.Play.Failed", text)]);
                self.enter(Phase::Closing, Some((now + self.limits.linger, Wake::Close)));
                Ok(Some(Event::Refused("play")))
            }
        }
    }

    fn connect(
        &mut self,
        now: Instant,
        transaction: f64,
        client: Client,
    ) -> Result<Option<Event>, SessionError> {
        let replies = self.dialogue()?.connect(transaction, &client.answer())?;
        self.send(&replies);
        self.client = client;
        self.enter(Phase::Publish, Some((now + self.limits.publish, Wake::Publish)));
        Ok(None)
    }

    fn create_stream(&mut self, transaction: f64) -> Result<Option<Event>, SessionError> {
        if self.streams.len() == MAX_STREAMS {
            return Err(SessionError::TooManyStreams);
        }
        let (stream_id, replies) = self.dialogue()?.create_stream(transaction)?;
        self.streams.push(stream_id);
        self.send(&replies);
        Ok(None)
    }

    fn publish(&mut self, on: u32, transaction: f64, name: &str) -> Result<Option<Event>, SessionError> {
        if !self.streams.contains(&on) {
            return Err(SessionError::Order("publish on a stream that was not created"));
        }
        if self.is_publishing() {
            // One publish at a time; the first one goes on (RTMP-32).
            let text = "This connection is publishing already: use another one for another stream.";
            self.send(&[Reply::status(on, "error", RefusalCode::BadName.as_str(), text)]);
            return Ok(None);
        }
        self.dialogue()?.publish(transaction, on)?;
        self.enter(Phase::Asked(on), None);
        let tc_url = self.client.tc_url.as_ref().map(|url| url.expose().as_str());
        let credentials = Credentials::new(tc_url, self.client.app.expose(), name);
        Ok(Some(Event::Publish(Publish { credentials, encoder: self.client.encoder.clone() })))
    }

    fn close_stream(
        &mut self,
        now: Instant,
        stream_id: u32,
        delete: bool,
    ) -> Result<Option<Event>, SessionError> {
        if !self.streams.contains(&stream_id) {
            return Ok(None);
        }
        self.dialogue()?.close_stream(stream_id, delete)?;
        if delete {
            self.streams.retain(|other| *other != stream_id);
        }
        match self.phase {
            Phase::Publishing(published, _) if published == stream_id => {
                self.enter(Phase::Publish, Some((now + self.limits.publish, Wake::Publish)));
                Ok(Some(Event::Unpublish))
            }
            _ => Ok(None),
        }
    }

    fn user_control(&mut self, now: Instant, body: &[u8]) -> Option<Event> {
        let [high, low, number @ ..] = *body.first_chunk::<6>()?;
        let number = u32::from_be_bytes(number);
        match u16::from_be_bytes([high, low]) {
            wire::event::PING_REQUEST => {
                wire::put_user_control(&mut self.output, wire::event::PING_RESPONSE, number);
                None
            }
            wire::event::PING_RESPONSE => {
                let (_, sent) = self.ping.sent.take_if(|(millis, _)| *millis == number)?;
                Some(Event::Rtt(now.saturating_duration_since(sent)))
            }
            _ => None,
        }
    }

    /// `_result` without content (RTMP-27).
    fn result(&mut self, transaction: f64) {
        let values = ["_result".into(), Value::Number(transaction), Value::Null, Value::Null];
        self.send(&[Reply::command(0, &values)]);
    }

    fn dialogue(&mut self) -> Result<&mut Dialogue, SessionError> {
        self.dialogue.as_mut().ok_or(SessionError::Order("a command before the handshake's end"))
    }

    fn send(&mut self, replies: &[Reply]) {
        for reply in replies {
            wire::put_message(&mut self.output, reply.type_id, reply.stream_id, &reply.body);
        }
    }

    fn enter(&mut self, phase: Phase, deadline: Option<(Instant, Wake)>) {
        self.phase = phase;
        self.deadline = deadline;
    }

    fn millis(&self, now: Instant) -> u32 {
        now.saturating_duration_since(self.started).as_millis() as u32
    }
}

#[cfg(test)]
mod tests;
