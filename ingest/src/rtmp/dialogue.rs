//! The part of the dialogue that `rml_rtmp` keeps, and the guard around it.
//!
//! `rml_rtmp` decides which reply each step of connect, createStream, publish and close gets, and numbers the media
//! streams. It reads only commands that are written here, from numbers: no byte of the network reaches it, and no key
//! either. What it answers is read back by our own chunk reader, put right where publishers insist on something else,
//! and written by our own writer.

use bytes::{Bytes, BytesMut};
use rml_rtmp::sessions::{
    ServerSession, ServerSessionConfig, ServerSessionError, ServerSessionEvent, ServerSessionResult,
};

use super::amf0::{self, Amf0Error, Value};
use super::chunk::{ChunkError, ChunkReader};
use super::wire;

/// What we and the peer may have unacknowledged (RTMP-19).
const WINDOW: u32 = 2_500_000;
/// Stands for the app and the name, which `rml_rtmp` has no use for.
const PLACEHOLDER: &str = "publish";
/// Properties in the order in which encoders are used to see them; `rml_rtmp` writes them in a random one.
const ORDER: [&str; 6] = ["fmsVer", "capabilities", "level", "code", "description", "objectEncoding"];

/// `rml_rtmp` did something that it does not do for the commands written here.
#[derive(Debug, thiserror::Error)]
pub enum DialogueError {
    /// It failed.
    #[error("rml_rtmp: {0}")]
    Session(#[from] ServerSessionError),
    /// Its reply is not in chunks.
    #[error("a reply of rml_rtmp: {0}")]
    Chunk(#[from] ChunkError),
    /// Its reply is not AMF0.
    #[error("a reply of rml_rtmp: {0}")]
    Amf0(#[from] Amf0Error),
    /// It did not answer what it was asked.
    #[error("rml_rtmp did not answer {0}")]
    Silent(&'static str),
}

/// One message to the publisher.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reply {
    /// Message type.
    pub type_id: u8,
    /// Message stream.
    pub stream_id: u32,
    /// Payload.
    pub body: Bytes,
}

impl Reply {
    /// A command.
    pub fn command(stream_id: u32, values: &[Value]) -> Self {
        Self { type_id: wire::COMMAND, stream_id, body: amf0::write_all(values).into() }
    }

    /// An `onStatus` (RTMP-28, RTMP-29).
    pub fn status(stream_id: u32, level: &str, code: &str, description: &str) -> Self {
        let info = Value::Object(vec![
            ("level".into(), level.into()),
            ("code".into(), code.into()),
            ("description".into(), description.into()),
        ]);
        Self::command(stream_id, &["onStatus".into(), Value::Number(0.0), Value::Null, info])
    }

    /// What older Wirecast and Teradek encoders wait for (RTMP-27).
    pub fn fc_publish() -> Self {
        let info = Value::Object(vec![
            ("level".into(), "status".into()),
            ("code".into(), "NetStream.Publish.Start".into()),
            ("description".into(), "FCPublish".into()),
        ]);
        Self::command(0, &["onFCPublish".into(), Value::Number(0.0), Value::Null, info])
    }
}

/// The dialogue of one connection, from connect on.
pub struct Dialogue {
    session: ServerSession,
    replies: ChunkReader,
    /// `rml_rtmp`'s number of the publish that waits for an answer.
    waiting: Option<u32>,
}

impl Dialogue {
    /// A dialogue, and what opens it: Set Chunk Size, Window Acknowledgement Size, StreamBegin(0), Set Peer Bandwidth
    /// (RTMP-14, RTMP-19).
    pub fn open() -> Result<(Self, Vec<Reply>), DialogueError> {
        let config = ServerSessionConfig {
            fms_version: "FMS/3,0,1,123".to_owned(),
            chunk_size: wire::CHUNK_SIZE as u32,
            peer_bandwidth: WINDOW,
            window_ack_size: WINDOW,
            send_on_bw_done_message_on_start: false,
        };
        let (session, opening) = ServerSession::new(config)?;
        let mut replies = ChunkReader::default();
        replies.authorise();
        let mut dialogue = Self { session, replies, waiting: None };
        // Our reader carries out the Set Chunk Size that it reads, so that one is written anew.
        let size = Bytes::copy_from_slice(&(wire::CHUNK_SIZE as u32).to_be_bytes());
        let mut burst = vec![Reply { type_id: wire::SET_CHUNK_SIZE, stream_id: 0, body: size }];
        burst.extend(dialogue.heard(opening)?.0);
        Ok((dialogue, burst))
    }

    /// Answers `connect`; `advertised` goes into the second object of the reply (RTMP-25, RTMP-59).
    pub fn connect(
        &mut self,
        transaction: f64,
        advertised: &[(String, Value)],
    ) -> Result<Vec<Reply>, DialogueError> {
        let app = Value::Object(vec![("app".into(), PLACEHOLDER.into())]);
        let (_, event) = self.ask(0, &["connect".into(), Value::Number(transaction), app])?;
        let Some(ServerSessionEvent::ConnectionRequested { request_id, .. }) = event else {
            return Err(DialogueError::Silent("connect"));
        };
        let results = self.session.accept_request(request_id)?;
        let (replies, _) = self.heard(results)?;
        replies
            .into_iter()
            .map(|reply| {
                with_info(&reply, "connect", |_, info| {
                    set(info, "description", "Connected.".into());
                    info.extend_from_slice(advertised);
                })
            })
            .collect()
    }

    /// Answers `createStream` (RTMP-26): the new stream's number, and the reply.
    pub fn create_stream(&mut self, transaction: f64) -> Result<(u32, Vec<Reply>), DialogueError> {
        const ASKED: &str = "createStream";
        let (replies, _) = self.ask(0, &[ASKED.into(), Value::Number(transaction), Value::Null])?;
        let body = replies.first().map(|reply| amf0::read_all(&reply.body)).transpose()?;
        let number = body.and_then(|values| values.get(3)?.as_number());
        let stream_id = number.filter(|number| *number >= 1.0).ok_or(DialogueError::Silent(ASKED))?;
        Ok((stream_id as u32, replies))
    }

    /// Notes a `publish` on a stream that was created; it waits for [`Dialogue::accept`] or [`Dialogue::refuse`].
    pub fn publish(&mut self, transaction: f64, stream_id: u32) -> Result<(), DialogueError> {
        const ASKED: &str = "publish";
        let values =
            [ASKED.into(), Value::Number(transaction), Value::Null, PLACEHOLDER.into(), "live".into()];
        match self.ask(stream_id, &values)?.1 {
            Some(ServerSessionEvent::PublishStreamRequested { request_id, .. }) => {
                self.waiting = Some(request_id);
                Ok(())
            }
            _ => Err(DialogueError::Silent(ASKED)),
        }
    }

    /// StreamBegin and `NetStream.Publish.Start` for the publish that waits (RTMP-28).
    pub fn accept(&mut self, description: &str) -> Result<Vec<Reply>, DialogueError> {
        let request = self.waiting.take().ok_or(DialogueError::Silent("accept"))?;
        let results = self.session.accept_request(request)?;
        let (replies, _) = self.heard(results)?;
        replies
            .into_iter()
            .map(|reply| match reply.type_id {
                wire::COMMAND => with_info(&reply, "accept", |_, info| {
                    set(info, "description", description.into());
                }),
                _ => Ok(reply),
            })
            .collect()
    }

    /// An `onStatus` of level `error` for the publish that waits (RTMP-29); `rml_rtmp` alone would send `_error`,
    /// which OBS does not show.
    pub fn refuse(&mut self, code: &str, description: &str) -> Result<Vec<Reply>, DialogueError> {
        let request = self.waiting.take().ok_or(DialogueError::Silent("refuse"))?;
        let results = self.session.reject_request(request, code, description)?;
        let (replies, _) = self.heard(results)?;
        replies
            .into_iter()
            .map(|reply| {
                with_info(&reply, "refuse", |name, info| {
                    *name = "onStatus".into();
                    set(info, "level", "error".into());
                })
            })
            .collect()
    }

    /// Closes a stream; `true` if it was being published.
    pub fn close_stream(&mut self, stream_id: u32, delete: bool) -> Result<bool, DialogueError> {
        let name = if delete { "deleteStream" } else { "closeStream" };
        let values = [name.into(), Value::Number(0.0), Value::Null, Value::Number(stream_id.into())];
        let (_, event) = self.ask(0, &values)?;
        Ok(matches!(event, Some(ServerSessionEvent::PublishStreamFinished { .. })))
    }

    /// Gives `rml_rtmp` one command in one full chunk. All that are written here fit its 128 bytes.
    fn ask(
        &mut self,
        stream_id: u32,
        values: &[Value],
    ) -> Result<(Vec<Reply>, Option<ServerSessionEvent>), DialogueError> {
        let mut chunk = BytesMut::new();
        wire::put_message(&mut chunk, wire::COMMAND, stream_id, &amf0::write_all(values));
        let results = self.session.handle_input(&chunk)?;
        self.heard(results)
    }

    /// Its replies, with their properties in order, and the last event.
    fn heard(
        &mut self,
        results: Vec<ServerSessionResult>,
    ) -> Result<(Vec<Reply>, Option<ServerSessionEvent>), DialogueError> {
        let (mut bytes, mut event) = (BytesMut::new(), None);
        for result in results {
            match result {
                ServerSessionResult::OutboundResponse(packet) => bytes.extend_from_slice(&packet.bytes),
                ServerSessionResult::RaisedEvent(raised) => event = Some(raised),
                ServerSessionResult::UnhandleableMessageReceived(_) => {}
            }
        }
        let mut replies = Vec::new();
        while let Some(message) = self.replies.read(&mut bytes)? {
            let body = match message.type_id {
                wire::COMMAND => in_order(&message.body)?,
                _ => message.body,
            };
            // It sends StreamBegin on the media stream; control messages belong on stream 0.
            let control = message.type_id <= wire::PEER_BANDWIDTH;
            let stream_id = if control { 0 } else { message.stream_id };
            replies.push(Reply { type_id: message.type_id, stream_id, body });
        }
        Ok((replies, event))
    }
}

/// Changes the name and the last object of a command.
fn with_info(
    reply: &Reply,
    asked: &'static str,
    change: impl FnOnce(&mut Value, &mut Vec<(String, Value)>),
) -> Result<Reply, DialogueError> {
    let mut values = amf0::read_all(&reply.body)?;
    let [name, _, _, Value::Object(info)] = &mut values[..] else {
        return Err(DialogueError::Silent(asked));
    };
    change(name, info);
    Ok(Reply { type_id: reply.type_id, stream_id: reply.stream_id, body: amf0::write_all(&values).into() })
}

fn set(properties: &mut [(String, Value)], name: &str, value: Value) {
    if let Some((_, old)) = properties.iter_mut().find(|(key, _)| key == name) {
        *old = value;
    }
}

fn in_order(body: &[u8]) -> Result<Bytes, DialogueError> {
    let mut values = amf0::read_all(body)?;
    for value in &mut values {
        if let Value::Object(properties) = value {
            properties.sort_by_key(|(key, _)| ORDER.iter().position(|known| known == key));
        }
    }
    Ok(amf0::write_all(&values).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(replies: &[Reply]) -> BytesMut {
        let mut out = BytesMut::new();
        for reply in replies {
            wire::put_message(&mut out, reply.type_id, reply.stream_id, &reply.body);
        }
        out
    }

    #[test]
    fn the_opening_sets_chunk_size_window_and_bandwidth() {
        // RTMP-14: 60 000; RTMP-19: 2 500 000 each, dynamic.
        let (_, burst) = Dialogue::open().unwrap();
        let expected = [
            &[2, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0, 0, 0, 0xea, 0x60][..],
            &[2, 0, 0, 0, 0, 0, 4, 5, 0, 0, 0, 0, 0, 0x26, 0x25, 0xa0],
            &[2, 0, 0, 0, 0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            &[2, 0, 0, 0, 0, 0, 5, 6, 0, 0, 0, 0, 0, 0x26, 0x25, 0xa0, 2],
        ]
        .concat();
        assert_eq!(written(&burst), expected);
    }

    #[test]
    fn connect_is_answered_with_two_objects_and_amf0() {
        // RTMP-25, with the capabilities of RTMP-59 behind them.
        let (mut dialogue, _) = Dialogue::open().unwrap();
        let replies = dialogue.connect(1.0, &[("capsEx".into(), Value::Number(1.0))]).unwrap();
        let expected = [
            &b"\x02\x00\x07_result\x00\x3f\xf0\0\0\0\0\0\0"[..],
            b"\x03\x00\x06fmsVer\x02\x00\x0dFMS/3,0,1,123\x00\x0ccapabilities\x00\x40\x3f\0\0\0\0\0\0\0\0\x09",
            b"\x03\x00\x05level\x02\x00\x06status\x00\x04code\x02\x00\x1dNetConnection.Connect.Success",
            b"\x00\x0bdescription\x02\x00\x0aConnected.\x00\x0eobjectEncoding\x00\0\0\0\0\0\0\0\0",
            b"\x00\x06capsEx\x00\x3f\xf0\0\0\0\0\0\0\0\0\x09",
        ]
        .concat();
        assert_eq!(replies, [Reply { type_id: wire::COMMAND, stream_id: 0, body: expected.into() }]);
    }

    #[test]
    fn create_stream_is_answered_with_its_transaction_and_a_number() {
        // RTMP-26, the digest's worked example.
        let (mut dialogue, _) = Dialogue::open().unwrap();
        dialogue.connect(1.0, &[]).unwrap();
        let (stream_id, replies) = dialogue.create_stream(4.0).unwrap();
        assert_eq!(stream_id, 1);
        let body = &b"\x02\x00\x07_result\x00\x40\x10\0\0\0\0\0\0\x05\x00\x3f\xf0\0\0\0\0\0\0"[..];
        assert_eq!(replies, [Reply { type_id: wire::COMMAND, stream_id: 0, body: body.into() }]);
        assert_eq!(dialogue.create_stream(5.0).unwrap().0, 2);
    }

    #[test]
    fn publish_is_answered_on_its_own_stream() {
        // RTMP-28: StreamBegin(1) on stream 0, then onStatus on stream 1, the digest's worked example.
        let (mut dialogue, _) = Dialogue::open().unwrap();
        dialogue.connect(1.0, &[]).unwrap();
        dialogue.create_stream(4.0).unwrap();
        dialogue.publish(5.0, 1).unwrap();
        let expected = [
            &[2, 0, 0, 0, 0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1][..],
            b"\x05\x00\x00\x00\x00\x00\x5b\x14\x01\x00\x00\x00",
            b"\x02\x00\x08onStatus\x00\0\0\0\0\0\0\0\0\x05\x03\x00\x05level\x02\x00\x06status",
            b"\x00\x04code\x02\x00\x17NetStream.Publish.Start\x00\x0bdescription\x02\x00\x02ok\0\0\x09",
        ]
        .concat();
        assert_eq!(written(&dialogue.accept("ok").unwrap()), expected);
    }

    #[test]
    fn a_refusal_is_an_on_status_of_level_error() {
        // RTMP-29.
        let (mut dialogue, _) = Dialogue::open().unwrap();
        dialogue.connect(1.0, &[]).unwrap();
        dialogue.create_stream(4.0).unwrap();
        dialogue.publish(5.0, 1).unwrap();
        let replies = dialogue.refuse("NetStream.Publish.Denied", "no").unwrap();
        assert_eq!(replies, [Reply::status(1, "error", "NetStream.Publish.Denied", "no")]);
    }

    #[test]
    fn closing_says_whether_the_stream_was_published() {
        for delete in [false, true] {
            let (mut dialogue, _) = Dialogue::open().unwrap();
            dialogue.connect(1.0, &[]).unwrap();
            dialogue.create_stream(4.0).unwrap();
            assert!(!dialogue.close_stream(1, false).unwrap());
            dialogue.publish(5.0, 1).unwrap();
            dialogue.accept("ok").unwrap();
            assert!(!dialogue.close_stream(7, delete).unwrap());
            assert!(dialogue.close_stream(1, delete).unwrap());
            assert!(!dialogue.close_stream(1, delete).unwrap());
        }
    }

    #[test]
    fn odd_transactions_come_back_as_they_were() {
        for transaction in [0.0, -1.0, 0.5, f64::MAX, f64::INFINITY, f64::NAN] {
            let (mut dialogue, _) = Dialogue::open().unwrap();
            let replies = dialogue.connect(transaction, &[]).unwrap();
            assert_eq!(replies[0].body[11..19], transaction.to_be_bytes());
            assert!(dialogue.create_stream(transaction).is_ok());
            assert!(dialogue.publish(transaction, 1).is_ok());
        }
    }
}
