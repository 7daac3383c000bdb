#![expect(clippy::disallowed_methods, reason = "an arbitrary instant to count from")]

mod hostile;

use super::*;
use crate::rtmp::amf0;
use bytes::{BufMut, Bytes};

/// A publisher that knows what it wrote and reads what it is told.
struct Peer {
    session: Session,
    now: Instant,
    input: BytesMut,
    told: ChunkReader,
    received: BytesMut,
}

/// One message that the session sent: type, message stream, body.
type Told = (u8, u32, Bytes);

impl Peer {
    fn new() -> Self {
        let now = Instant::now();
        let mut told = ChunkReader::default();
        told.authorise();
        let session = Session::new(Limits::default(), 7, now);
        Self { session, now, input: BytesMut::new(), told, received: BytesMut::new() }
    }

    /// After the handshake.
    fn greeted() -> Self {
        let mut peer = Self::new();
        peer.write(&hello()).unwrap();
        let mut output = peer.session.take_output();
        assert_eq!(output.len(), 3_073 + 16 + 16 + 18 + 17);
        peer.received = output.split_off(3_073);
        peer.told();
        peer
    }

    /// After `connect`, and `createStream` for stream 1.
    fn connected() -> Self {
        let mut peer = Self::greeted();
        peer.command(0, &connect("live")).unwrap();
        peer.command(0, &["createStream".into(), Value::Number(4.0), Value::Null]).unwrap();
        peer.told();
        peer
    }

    fn publishing() -> Self {
        let mut peer = Self::connected();
        assert!(matches!(peer.command(1, &publish("show")).unwrap()[..], [Event::Publish(_)]));
        peer.session.accept(peer.now).unwrap();
        peer.told();
        peer
    }

    fn write(&mut self, bytes: &[u8]) -> Result<Vec<Event>, SessionError> {
        self.input.extend_from_slice(bytes);
        let mut events = Vec::new();
        while let Some(event) = self.session.handle_input(self.now, &mut self.input)? {
            events.push(event);
        }
        Ok(events)
    }

    fn command(&mut self, on: u32, values: &[Value]) -> Result<Vec<Event>, SessionError> {
        self.write(&message(wire::COMMAND, on, 0, &amf0::write_all(values)))
    }

    /// What the session has sent since the last call.
    fn told(&mut self) -> Vec<Told> {
        self.received.extend_from_slice(&self.session.take_output());
        let mut told = Vec::new();
        while let Some(message) = self.told.read(&mut self.received).unwrap() {
            told.push((message.type_id, message.stream_id, message.body));
        }
        assert!(self.received.is_empty());
        told
    }

    /// The code of the last `onStatus`, and its message stream.
    fn status(&mut self) -> (u32, String, String) {
        let (_, stream_id, body) = self.told().pop().unwrap();
        let values = amf0::read_all(&body).unwrap();
        assert_eq!(values[..3], ["onStatus".into(), Value::Number(0.0), Value::Null]);
        let text = |name| values[3].property(name).unwrap().as_str().unwrap().to_owned();
        (stream_id, text("level"), text("code"))
    }

    fn wait(&mut self, span: Duration) -> Option<Wake> {
        self.now += span;
        self.session.handle_timeout(self.now)
    }
}

fn hello() -> Vec<u8> {
    let mut bytes = vec![3];
    bytes.extend([0; 1_536]);
    bytes.extend([0; 1_536]);
    bytes
}

/// One message in chunks of 128 bytes, with a full header.
fn message(type_id: u8, stream_id: u32, timestamp: u32, body: &[u8]) -> Vec<u8> {
    let mut out = vec![3];
    out.put_uint(timestamp.into(), 3);
    out.put_uint(body.len() as u64, 3);
    out.put_u8(type_id);
    out.put_u32_le(stream_id);
    for (index, chunk) in body.chunks(128).enumerate() {
        if index > 0 {
            out.put_u8(0xc3);
        }
        out.extend(chunk);
    }
    out
}

fn connect(app: &str) -> Vec<Value> {
    let object = Value::Object(vec![
        ("app".into(), app.into()),
        ("flashVer".into(), "FMLE/3.0 (compatible; FMSc/1.0)".into()),
        ("tcUrl".into(), "rtmp://host/live?key=from-the-url".into()),
        ("objectEncoding".into(), Value::Number(3.0)),
    ]);
    vec!["connect".into(), Value::Number(1.0), object]
}

fn publish(name: &str) -> Vec<Value> {
    vec!["publish".into(), Value::Number(5.0), Value::Null, name.into(), "live".into()]
}

fn result(transaction: f64, values: &[Value]) -> Bytes {
    let head = ["_result".into(), Value::Number(transaction)];
    amf0::write_all(&[&head, values].concat()).into()
}

#[test]
fn a_publisher_goes_from_handshake_to_media() {
    // RTMP-23, as OBS and ffmpeg do it.
    let mut peer = Peer::greeted();
    assert_eq!(peer.write(&message(wire::SET_CHUNK_SIZE, 0, 0, &128u32.to_be_bytes())).unwrap(), []);
    assert_eq!(peer.command(0, &connect("live")).unwrap(), []);
    let connected = peer.told();
    let info = amf0::read_all(&connected[0].2).unwrap().pop().unwrap();
    assert_eq!(info.property("objectEncoding"), Some(&Value::Number(0.0)));
    assert_eq!(info.property("capsEx"), None);

    peer.command(0, &["releaseStream".into(), Value::Number(2.0), Value::Null, "show".into()]).unwrap();
    peer.command(0, &["FCPublish".into(), Value::Number(3.0), Value::Null, "show".into()]).unwrap();
    peer.command(0, &["createStream".into(), Value::Number(4.0), Value::Null]).unwrap();
    let told = peer.told();
    let nothing = [Value::Null, Value::Null];
    assert_eq!(told[0], (wire::COMMAND, 0, result(2.0, &nothing)));
    assert_eq!(told[1], (wire::COMMAND, 0, result(3.0, &nothing)));
    assert_eq!(told[2].2, Reply::fc_publish().body);
    assert_eq!(told[3], (wire::COMMAND, 0, result(4.0, &[Value::Null, Value::Number(1.0)])));

    let events = peer.command(1, &publish("show?key=secret")).unwrap();
    let credentials = Credentials::new(None, "live", "show?key=secret");
    let encoder = "FMLE/3.0 (compatible; FMSc/1.0)".to_owned();
    assert_eq!(events, [Event::Publish(Publish { credentials, encoder })]);
    assert_eq!(peer.told(), []);

    peer.session.accept(peer.now).unwrap();
    assert_eq!(peer.told.chunk_size(), 60_000);
    let told = peer.told();
    assert_eq!(told[0], (wire::USER_CONTROL, 0, Bytes::from_static(&[0, 0, 0, 0, 0, 1])));
    assert_eq!((told[1].0, told[1].1), (wire::COMMAND, 1));

    let events = peer.write(&[message(18, 1, 0, b"meta"), message(9, 1, 40, b"video")].concat()).unwrap();
    let media =
        |kind, timestamp, body: &'static str| Event::Message(Message { kind, timestamp, body: body.into() });
    assert_eq!(events, [media(MediaKind::Data, 0, "meta"), media(MediaKind::Video, 40, "video")]);
    assert_eq!(peer.write(&message(8, 1, 43, b"a")).unwrap(), [media(MediaKind::Audio, 43, "a")]);
}

#[test]
fn the_whole_dialogue_survives_any_cut() {
    let bytes = [
        hello(),
        message(wire::COMMAND, 0, 0, &amf0::write_all(&connect("live"))),
        message(
            wire::COMMAND,
            0,
            0,
            &amf0::write_all(&["createStream".into(), Value::Number(4.0), Value::Null]),
        ),
        message(wire::COMMAND, 1, 0, &amf0::write_all(&publish("show"))),
        message(9, 1, 40, &[7; 300]),
    ]
    .concat();
    for cut in (0..bytes.len()).step_by(37) {
        let mut peer = Peer::new();
        let mut events = peer.write(&bytes[..cut]).unwrap();
        events.extend(peer.write(&bytes[cut..]).unwrap());
        assert!(matches!(events[..], [Event::Publish(_)]), "{cut}");
        // What came behind the publish is read once it is accepted.
        peer.session.accept(peer.now).unwrap();
        assert!(matches!(peer.write(&[]).unwrap()[..], [Event::Message(_)]), "{cut}");
    }
}

#[test]
fn a_refused_publish_is_told_why_before_the_close() {
    // RTMP-29.
    for (code, text) in [
        (RefusalCode::Denied, "NetStream.Publish.Denied"),
        (RefusalCode::BadName, "NetStream.Publish.BadName"),
        (RefusalCode::Rejected, "NetStream.Publish.Rejected"),
        (RefusalCode::Failed, "NetStream.Failed"),
    ] {
        let mut peer = Peer::connected();
        peer.command(1, &publish("show")).unwrap();
        peer.session.refuse(peer.now, code, "no");
        assert_eq!(peer.status(), (1, "error".into(), text.into()));
        assert_eq!(peer.session.poll_timeout(), (peer.now + Duration::from_millis(500), Wake::Close));
        assert_eq!(peer.write(&message(9, 1, 0, b"more")).unwrap(), []);
        assert!(peer.input.is_empty());
        assert_eq!(peer.wait(Duration::from_millis(499)), None);
        assert_eq!(peer.wait(Duration::from_millis(1)), Some(Wake::Close));
    }
}

#[test]
fn media_before_acceptance_is_not_handed_on() {
    let mut peer = Peer::connected();
    assert_eq!(peer.write(&message(9, 1, 0, b"early")).unwrap(), []);
    assert!(matches!(peer.command(1, &publish("show")).unwrap()[..], [Event::Publish(_)]));
    assert_eq!(peer.write(&message(9, 1, 0, b"waits")).unwrap(), []);
    assert!(!peer.input.is_empty());
    peer.session.accept(peer.now).unwrap();
    assert_eq!(peer.write(&[]).unwrap().len(), 1);
}

#[test]
fn each_step_has_its_time() {
    // RTMP-5.
    let second = Duration::from_secs(1);
    let mut peer = Peer::new();
    assert_eq!(peer.wait(4 * second), None);
    assert_eq!(peer.wait(second), Some(Wake::Handshake));

    let mut peer = Peer::greeted();
    assert_eq!(peer.wait(5 * second), Some(Wake::Connect));

    let mut peer = Peer::connected();
    for _ in 0..4 {
        peer.now += 2 * second;
        peer.write(&message(wire::USER_CONTROL, 0, 0, &[0, 3, 0, 0, 0, 0])).unwrap();
    }
    assert_eq!(peer.wait(second), None);
    assert_eq!(peer.wait(second), Some(Wake::Publish));

    let mut peer = Peer::publishing();
    for _ in 0..14 {
        assert!(matches!(peer.wait(second), None | Some(Wake::Ping)));
        peer.write(&message(18, 1, 0, b"meta only")).unwrap();
    }
    assert_eq!(peer.wait(second), Some(Wake::Media));
}

#[test]
fn silence_for_ten_seconds_ends_a_publisher() {
    let mut peer = Peer::publishing();
    peer.write(&message(9, 1, 0, b"v")).unwrap();
    let mut wakes = Vec::new();
    for _ in 0..10 {
        wakes.extend(peer.wait(Duration::from_secs(1)));
    }
    assert_eq!(wakes, [Wake::Ping, Wake::Idle]);
}

#[test]
fn a_slow_handshake_is_not_kept_alive_by_drops() {
    let mut peer = Peer::new();
    for byte in &hello()[..4] {
        peer.now += Duration::from_secs(1);
        peer.write(&[*byte]).unwrap();
        assert_eq!(peer.session.handle_timeout(peer.now), None);
    }
    assert_eq!(peer.wait(Duration::from_secs(1)), Some(Wake::Handshake));
}

#[test]
fn pings_measure_the_round_trip() {
    // RTMP-22.
    let mut peer = Peer::publishing();
    peer.write(&message(9, 1, 0, b"v")).unwrap();
    assert_eq!(peer.wait(Duration::from_secs(5)), Some(Wake::Ping));
    let (type_id, stream_id, body) = peer.told().pop().unwrap();
    assert_eq!((type_id, stream_id, &body[..2]), (wire::USER_CONTROL, 0, &[0, 6][..]));
    peer.now += Duration::from_millis(40);
    let answer = [&[0, 7], &body[2..]].concat();
    let stale = message(wire::USER_CONTROL, 0, 0, &[0, 7, 9, 9, 9, 9]);
    assert_eq!(peer.write(&stale).unwrap(), []);
    let answer = message(wire::USER_CONTROL, 0, 0, &answer);
    assert_eq!(peer.write(&answer).unwrap(), [Event::Rtt(Duration::from_millis(40))]);
    assert_eq!(peer.write(&answer).unwrap(), []);
}

#[test]
fn pings_are_answered_and_short_ones_are_not() {
    let mut peer = Peer::greeted();
    peer.write(&message(wire::USER_CONTROL, 0, 0, &[0, 6, 1, 2, 3, 4])).unwrap();
    assert_eq!(peer.told(), [(wire::USER_CONTROL, 0, Bytes::from_static(&[0, 7, 1, 2, 3, 4]))]);
    peer.write(&message(wire::USER_CONTROL, 0, 0, &[0, 6, 1])).unwrap();
    peer.write(&message(wire::USER_CONTROL, 0, 0, &[])).unwrap();
    assert_eq!(peer.told(), []);
}

#[test]
fn acknowledgements_carry_the_total_since_the_handshake() {
    // RTMP-20.
    let mut peer = Peer::publishing();
    let before = peer.session.acks.total;
    peer.write(&message(wire::WINDOW_ACK, 0, 0, &10_000u32.to_be_bytes())).unwrap();
    let mut total = before + 16;
    let mut acks = Vec::new();
    for _ in 0..100 {
        let media = message(9, 1, 0, &[0; 1_000]);
        total += media.len() as u32;
        peer.write(&media).unwrap();
        for (type_id, stream_id, body) in peer.told() {
            assert_eq!((type_id, stream_id), (wire::ACK, 0));
            let acked = u32::from_be_bytes(body[..].try_into().unwrap());
            assert_eq!(acked, total);
            acks.push(acked);
        }
    }
    assert_eq!(acks.len(), 10);
    assert!(acks.windows(2).all(|pair| pair[1] - pair[0] >= 10_000));
}

#[test]
fn without_a_window_an_acknowledgement_comes_every_2_5_megabytes() {
    let mut peer = Peer::publishing();
    peer.write(&message(wire::SET_CHUNK_SIZE, 0, 0, &100_000u32.to_be_bytes())).unwrap();
    let mut media = message(9, 1, 0, &[]);
    media[4..7].copy_from_slice(&100_000u32.to_be_bytes()[1..]);
    media.extend(vec![0; 100_000]);
    for _ in 0..24 {
        peer.write(&media).unwrap();
    }
    assert_eq!(peer.told(), []);
    peer.write(&media).unwrap();
    assert_eq!(peer.told().len(), 1);
}

#[test]
fn an_absurd_window_does_not_make_us_talk() {
    let mut peer = Peer::publishing();
    peer.write(&message(wire::WINDOW_ACK, 0, 0, &0u32.to_be_bytes())).unwrap();
    for _ in 0..100 {
        peer.write(&message(8, 1, 0, b"audio")).unwrap();
    }
    assert!(peer.told().len() <= 1);
}

#[test]
fn goodbyes_are_clean_ends() {
    // RTMP-31.
    for goodbye in [
        vec!["FCUnpublish".into(), Value::Number(6.0), Value::Null, "show".into()],
        vec!["deleteStream".into(), Value::Number(7.0), Value::Null, Value::Number(1.0)],
        vec!["closeStream".into(), Value::Number(0.0), Value::Null],
    ] {
        let mut peer = Peer::publishing();
        assert_eq!(peer.command(1, &goodbye).unwrap(), [Event::Unpublish], "{goodbye:?}");
        assert_eq!(peer.command(1, &goodbye).unwrap(), []);
        assert_eq!(peer.write(&message(9, 1, 0, b"late")).unwrap(), []);
        assert_eq!(peer.session.poll_timeout().1, Wake::Publish);
    }
}

#[test]
fn obs_says_goodbye_twice_and_it_counts_once() {
    let mut peer = Peer::publishing();
    let mut events =
        peer.command(0, &["FCUnpublish".into(), Value::Number(6.0), Value::Null, "show".into()]).unwrap();
    events.extend(
        peer.command(0, &["deleteStream".into(), Value::Number(7.0), Value::Null, Value::Number(1.0)])
            .unwrap(),
    );
    assert_eq!(events, [Event::Unpublish]);
}

#[test]
fn a_second_publish_on_the_connection_gets_bad_name_and_the_first_goes_on() {
    // RTMP-32.
    let mut peer = Peer::publishing();
    peer.command(0, &["createStream".into(), Value::Number(8.0), Value::Null]).unwrap();
    assert_eq!(peer.told().pop().unwrap().2, result(8.0, &[Value::Null, Value::Number(2.0)]));
    assert_eq!(peer.command(2, &publish("other")).unwrap(), []);
    assert_eq!(peer.status(), (2, "error".into(), "NetStream.Publish.BadName".into()));
    assert_eq!(peer.write(&message(9, 2, 0, b"other")).unwrap(), []);
    assert_eq!(peer.write(&message(9, 1, 0, b"first")).unwrap().len(), 1);
}

#[test]
fn a_stream_may_be_published_again_on_the_same_connection() {
    let mut peer = Peer::publishing();
    peer.command(1, &["closeStream".into(), Value::Number(0.0), Value::Null]).unwrap();
    assert!(matches!(peer.command(1, &publish("show")).unwrap()[..], [Event::Publish(_)]));
    peer.session.accept(peer.now).unwrap();
    assert_eq!(peer.write(&message(9, 1, 0, b"v")).unwrap().len(), 1);
}

#[test]
fn a_player_is_told_where_it_is() {
    let mut peer = Peer::connected();
    let play = vec!["play".into(), Value::Number(5.0), Value::Null, "show".into()];
    assert_eq!(peer.command(1, &play).unwrap(), [Event::Refused("play")]);
    assert_eq!(peer.status(), (1, "error".into(), "NetStream.Play.Failed".into()));
    assert!(peer.session.is_closing());
}

#[test]
fn unknown_messages_and_commands_are_ignored() {
    // RTMP-17, RTMP-30.
    let mut peer = Peer::connected();
    for type_id in [3, 6, 7, 10, 16, 19, 23, 99] {
        assert_eq!(peer.write(&message(type_id, 1, 0, b"whatever")).unwrap(), []);
    }
    peer.command(0, &["getStreamLength".into(), Value::Number(9.0), Value::Null]).unwrap();
    assert_eq!(peer.told(), []);
    peer.command(0, &["_checkbw".into(), Value::Number(9.0), Value::Null]).unwrap();
    assert_eq!(peer.told(), [(wire::COMMAND, 0, result(9.0, &[Value::Null, Value::Null]))]);
}

#[test]
fn amf3_messages_are_amf0_behind_a_zero() {
    // RTMP-17.
    let mut peer = Peer::greeted();
    let body = [vec![0], amf0::write_all(&connect("live"))].concat();
    assert_eq!(peer.write(&message(wire::COMMAND_AMF3, 0, 0, &body)).unwrap(), []);
    assert_eq!(peer.session.phase, Phase::Publish);
    let mut peer = Peer::publishing();
    let events = peer.write(&message(wire::DATA_AMF3, 1, 0, b"\0meta")).unwrap();
    assert!(matches!(&events[..], [Event::Message(Message { body, .. })] if body == "meta"));
}

#[test]
fn aggregates_come_out_as_their_messages() {
    // RTMP-18.
    let mut peer = Peer::publishing();
    let tag = |type_id: u8, time: u8, body: u8| [type_id, 0, 0, 1, 0, 0, time, 0, 0, 0, 0, body, 0, 0, 0, 12];
    let body = [tag(9, 10, b'v'), tag(8, 30, b'a'), tag(20, 30, b'x'), tag(22, 30, b'y')].concat();
    let events = peer.write(&message(wire::AGGREGATE, 1, 5_000, &body));
    // A command inside is a command like any other, and this one is not one.
    assert!(matches!(events, Err(SessionError::Command(_))));
    let mut peer = Peer::publishing();
    let events = peer.write(&message(wire::AGGREGATE, 1, 5_000, &body[..32])).unwrap();
    let times: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::Message(message) => Some((message.kind, message.timestamp)),
            _ => None,
        })
        .collect();
    assert_eq!(times, [(MediaKind::Video, 5_000), (MediaKind::Audio, 5_020)]);
}

#[test]
fn an_aggregate_inside_an_aggregate_ends() {
    let mut peer = Peer::publishing();
    let inner = [9, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, b'v', 0, 0, 0, 12];
    let mut body = vec![22, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0];
    body.extend(inner);
    assert_eq!(peer.write(&message(wire::AGGREGATE, 1, 0, &body)).unwrap(), []);
}

#[test]
fn reconnection_is_asked_of_those_who_understand() {
    // RTMP-61.
    let mut peer = Peer::publishing();
    assert!(!peer.session.ask_to_reconnect("moving"));
    assert_eq!(peer.told(), []);

    let mut peer = Peer::greeted();
    let object = Value::Object(vec![("app".into(), "live".into()), ("capsEx".into(), Value::Number(1.0))]);
    peer.command(0, &["connect".into(), Value::Number(1.0), object]).unwrap();
    let info = amf0::read_all(&peer.told()[0].2).unwrap().pop().unwrap();
    assert_eq!(info.property("capsEx"), Some(&Value::Number(13.0)));
    peer.command(0, &["createStream".into(), Value::Number(4.0), Value::Null]).unwrap();
    peer.command(1, &publish("show")).unwrap();
    peer.session.accept(peer.now).unwrap();
    assert!(peer.session.ask_to_reconnect("moving"));
    assert_eq!(peer.status(), (0, "status".into(), "NetConnection.Connect.ReconnectRequest".into()));
    assert_eq!(peer.write(&message(9, 1, 0, b"v")).unwrap().len(), 1, "and it goes on until it leaves");
}
