//! Limits, disorder, and what brings others down.

use proptest::prelude::*;

use super::*;
use crate::rtmp::chunk::ChunkError;
use crate::rtmp::command::CommandError;

#[test]
fn rates_are_limited() {
    // RTMP-64.
    let mut peer = Peer::publishing();
    let flood: Vec<u8> = (0..5_000).flat_map(|_| message(8, 1, 0, b"a")).collect();
    assert!(matches!(peer.write(&flood), Err(SessionError::MessageRate(2_000))));
    let mut peer = Peer::connected();
    let flood: Vec<u8> = (0..60)
        .flat_map(|_| message(wire::COMMAND, 0, 0, &amf0::write_all(&["x".into(), Value::Number(0.0)])))
        .collect();
    assert!(matches!(peer.write(&flood), Err(SessionError::CommandRate(50))));
    let mut peer = Peer::publishing();
    peer.session.refuse(peer.now, RefusalCode::Rejected, "too fast");
    assert_eq!(peer.status().2, "NetStream.Publish.Rejected");
}

#[test]
fn messages_that_are_given_up_count_too() {
    let mut peer = Peer::publishing();
    let given_up: Vec<u8> = (0..5_000).flat_map(|_| message(8, 1, 0, &[7; 200])[..140].to_vec()).collect();
    assert!(matches!(peer.write(&given_up), Err(SessionError::MessageRate(2_000))));
    let mut peer = Peer::publishing();
    let sizes: Vec<u8> =
        (0..5_000).flat_map(|_| message(wire::SET_CHUNK_SIZE, 0, 0, &[0, 0, 0, 128])).collect();
    assert!(matches!(peer.write(&sizes), Err(SessionError::MessageRate(2_000))));
}

#[test]
fn a_stranger_may_not_send_for_ever() {
    // Each message is one byte short, so no meter of messages sees it.
    let mut peer = Peer::connected();
    peer.write(&message(wire::SET_CHUNK_SIZE, 0, 0, &[0, 0, 0x20, 0])).unwrap();
    let mut unfinished = Vec::from([4, 0, 0, 0, 0, 0x40, 0x01, 9, 1, 0, 0, 0]);
    unfinished.extend([0; 0x2000]);
    let taken = (0..100).take_while(|_| peer.write(&unfinished).is_ok()).count();
    assert_eq!(taken, MAX_UNAUTHORISED / unfinished.len());
    let mut peer = Peer::publishing();
    peer.write(&message(wire::SET_CHUNK_SIZE, 0, 0, &[0, 0, 0x20, 0])).unwrap();
    assert!((0..100).all(|_| peer.write(&unfinished).is_ok()), "a publisher's limits are others");
}

#[test]
fn streams_of_a_connection_are_limited() {
    let mut peer = Peer::connected();
    let create = || vec!["createStream".into(), Value::Number(4.0), Value::Null];
    for _ in 1..MAX_STREAMS {
        peer.command(0, &create()).unwrap();
    }
    assert!(matches!(peer.command(0, &create()), Err(SessionError::TooManyStreams)));
}

#[test]
fn out_of_order_commands_are_errors() {
    let mut peer = Peer::greeted();
    assert!(matches!(peer.command(1, &publish("show")), Err(SessionError::Order(_))));
    let mut peer = Peer::connected();
    assert!(matches!(peer.command(0, &connect("live")), Err(SessionError::Order(_))));
    let mut peer = Peer::connected();
    assert!(matches!(peer.command(9, &publish("show")), Err(SessionError::Order(_))));
    let mut peer = Peer::connected();
    assert!(matches!(peer.session.accept(peer.now), Err(SessionError::Order(_))));
}

#[test]
fn what_panics_or_aborts_rml_rtmp_is_an_error_or_nothing() {
    // A command of fewer than three values.
    let short = amf0::write_all(&["connect".into()]);
    assert!(matches!(
        Peer::greeted().write(&message(wire::COMMAND, 0, 0, &short)),
        Err(SessionError::Command(CommandError::Shape))
    ));
    // `@setDataFrame` alone: the pipeline's business, never rml_rtmp's.
    let alone = amf0::write_all(&["@setDataFrame".into()]);
    assert_eq!(Peer::publishing().write(&message(wire::DATA, 1, 0, &alone)).unwrap().len(), 1);
    // 200 000 nested arrays: too long to be a command at all; what is short enough is too deep.
    let deep = [0x0a, 0, 0, 0, 1].repeat(200_000);
    let mut peer = Peer::greeted();
    assert!(matches!(
        peer.write(&message(wire::COMMAND, 0, 0, &deep)),
        Err(SessionError::Chunk(ChunkError::TooLong { .. }))
    ));
    let deep = [&short[..], &[0, 0, 0, 0, 0, 0, 0, 0, 0], &deep[..30_000]].concat();
    let mut peer = Peer::greeted();
    assert!(matches!(
        peer.write(&message(wire::COMMAND, 0, 0, &deep)),
        Err(SessionError::Command(CommandError::Amf0(amf0::Amf0Error::TooDeep)))
    ));
    // 16 MiB declared, set chunk size 0.
    let mut declared = message(9, 1, 0, &[]);
    declared[4..7].copy_from_slice(&[0xff; 3]);
    assert!(matches!(Peer::publishing().write(&declared), Err(SessionError::Chunk(_))));
    let zero = message(wire::SET_CHUNK_SIZE, 0, 0, &[0; 4]);
    assert!(matches!(Peer::greeted().write(&zero), Err(SessionError::Chunk(ChunkError::ChunkSize(0)))));
    // 100 000 connects.
    let flood: Vec<u8> =
        (0..40).flat_map(|_| message(wire::COMMAND, 0, 0, &amf0::write_all(&connect("a")))).collect();
    assert!(matches!(Peer::greeted().write(&flood), Err(SessionError::Order(_))));
}

#[test]
fn an_error_may_still_be_told_and_then_nothing_is_read() {
    let mut peer = Peer::publishing();
    let error = peer.write(&message(wire::SET_CHUNK_SIZE, 0, 0, &[0; 4])).unwrap_err();
    peer.session.refuse(peer.now, RefusalCode::Rejected, &error.to_string());
    assert_eq!(peer.status(), (1, "error".into(), "NetStream.Publish.Rejected".into()));
    assert_eq!(peer.write(b"anything").unwrap(), []);
    // A stranger is told nothing and closed at once.
    let mut peer = Peer::new();
    assert!(peer.write(b"GET / HTTP/1.1").is_err());
    peer.session.refuse(peer.now, RefusalCode::Rejected, "?");
    assert!(peer.session.take_output().is_empty());
    assert_eq!(peer.session.handle_timeout(peer.now), Some(Wake::Close));
}

/// Steps that a publisher, or a fuzzer, may take.
#[derive(Clone, Debug)]
enum Step {
    Bytes(Vec<u8>),
    Message(u8, u32, u32, Vec<u8>),
    Command(u32, &'static str, Vec<u8>),
    Accept,
    Refuse,
    Wait(u64),
}

fn any_step() -> impl Strategy<Value = Step> {
    let bytes = || proptest::collection::vec(any::<u8>(), 0..200);
    let name = prop_oneof![
        Just("connect"),
        Just("createStream"),
        Just("publish"),
        Just("deleteStream"),
        Just("closeStream"),
        Just("FCUnpublish"),
        Just("play"),
    ];
    prop_oneof![
        1 => bytes().prop_map(Step::Bytes),
        4 => (0..24u8, 0..3u32, 0..0x100_0000u32, bytes()).prop_map(|(t, s, time, b)| Step::Message(t, s, time, b)),
        6 => (0..3u32, name, bytes()).prop_map(|(s, n, b)| Step::Command(s, n, b)),
        2 => Just(Step::Accept),
        1 => Just(Step::Refuse),
        1 => (0..20_000u64).prop_map(Step::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_sequence_of_steps_panics(steps in proptest::collection::vec(any_step(), 0..40)) {
        let mut peer = Peer::greeted();
        for step in steps {
            let result = match step {
                Step::Bytes(bytes) => peer.write(&bytes),
                Step::Message(type_id, on, time, body) => peer.write(&message(type_id, on, time, &body)),
                Step::Command(on, name, tail) => {
                    let head = [name.into(), Value::Number(1.0), Value::Null, "show".into()];
                    peer.write(&message(wire::COMMAND, on, 0, &[amf0::write_all(&head), tail].concat()))
                }
                Step::Accept => {
                    let _ = peer.session.accept(peer.now);
                    Ok(Vec::new())
                }
                Step::Refuse => {
                    peer.session.refuse(peer.now, RefusalCode::Denied, "no");
                    Ok(Vec::new())
                }
                Step::Wait(millis) => {
                    peer.wait(Duration::from_millis(millis));
                    Ok(Vec::new())
                }
            };
            if result.is_err() {
                peer.session.refuse(peer.now, RefusalCode::Rejected, "broken");
            }
            peer.told();
        }
    }

    #[test]
    fn no_first_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..4_000)) {
        let _ = Peer::new().write(&bytes);
        let _ = Peer::new().write(&[hello(), bytes].concat());
    }
}
