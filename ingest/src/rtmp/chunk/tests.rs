use super::*;
use proptest::prelude::*;

/// A type 0 chunk whose payload is `body`.
fn full(csid: u8, time: u32, length: usize, type_id: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![csid];
    out.extend(&time.min(EXTENDED).to_be_bytes()[1..]);
    out.extend(&(length as u32).to_be_bytes()[1..]);
    out.push(type_id);
    out.extend(1u32.to_le_bytes());
    if time >= EXTENDED {
        out.extend(time.to_be_bytes());
    }
    out.extend(body);
    out
}

/// A type 1 chunk.
fn delta(csid: u8, delta: u32, length: usize, type_id: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![0x40 | csid];
    out.extend(&delta.min(EXTENDED).to_be_bytes()[1..]);
    out.extend(&(length as u32).to_be_bytes()[1..]);
    out.push(type_id);
    if delta >= EXTENDED {
        out.extend(delta.to_be_bytes());
    }
    out.extend(body);
    out
}

fn chunk_size(size: u32) -> Vec<u8> {
    full(2, 0, 4, wire::SET_CHUNK_SIZE, &size.to_be_bytes())
}

fn read_with(reader: &mut ChunkReader, bytes: &[u8]) -> Result<Vec<(u8, u32, Bytes)>, ChunkError> {
    let mut input = BytesMut::from(bytes);
    let mut messages = Vec::new();
    while let Some(message) = reader.read(&mut input)? {
        messages.push((message.type_id, message.timestamp, message.body));
    }
    Ok(messages)
}

fn publisher() -> ChunkReader {
    let mut reader = ChunkReader::default();
    reader.authorise();
    reader
}

fn read(bytes: &[u8]) -> Result<Vec<(u8, u32, Bytes)>, ChunkError> {
    read_with(&mut publisher(), bytes)
}

fn times(bytes: &[u8]) -> Vec<u32> {
    read(bytes).unwrap().into_iter().map(|(_, time, _)| time).collect()
}

#[test]
fn chunks_of_different_streams_interleave() {
    // RTMP-12; rml_rtmp panics on this.
    let (video, audio) = (vec![1; 300], vec![2; 150]);
    let bytes = [
        full(6, 40, 300, wire::VIDEO, &video[..128]),
        full(4, 43, 150, wire::AUDIO, &audio[..128]),
        [&[0xc6], &video[128..256]].concat(),
        [&[0xc4], &audio[128..]].concat(),
        [&[0xc6], &video[256..]].concat(),
    ]
    .concat();
    assert_eq!(read(&bytes).unwrap(), [(wire::AUDIO, 43, audio.into()), (wire::VIDEO, 40, video.into())]);
}

#[test]
fn two_and_three_byte_chunk_stream_ids_are_told_apart() {
    let mut two = full(0, 5, 2, wire::AUDIO, b"ab");
    two.insert(1, 6); // 64 + 6
    let mut three = full(1, 9, 2, wire::AUDIO, b"cd");
    three.splice(1..1, [6, 1]); // 64 + 6 + 256
    let again = [0xc0, 6, b'e', b'f'];
    let bytes = [&two[..], &three, &again].concat();
    assert_eq!(
        read(&bytes).unwrap(),
        [(8, 5, "ab".into()), (8, 9, "cd".into()), (8, 10, "ef".into())] as [(u8, u32, Bytes); 3]
    );
}

#[test]
fn a_negative_delta_comes_as_a_large_one_and_wraps() {
    // RTMP-11: OBS sends an audio packet 13 ms older than the last video packet on the same chunk stream.
    let bytes = [
        full(4, 1_000, 1, wire::VIDEO, b"v"),
        delta(4, 0xffff_fff3, 1, wire::AUDIO, b"a"),
        delta(4, 33, 1, wire::VIDEO, b"v"),
    ]
    .concat();
    assert_eq!(times(&bytes), [1_000, 987, 1_020]);
}

#[test]
fn time_wraps_at_32_bits() {
    let bytes = [full(4, 0xffff_fff0, 1, 9, b"v"), delta(4, 0x20, 1, 9, b"v")].concat();
    assert_eq!(times(&bytes), [0xffff_fff0, 0x10]);
}

#[test]
fn type_3_that_begins_a_message_adds_the_delta_again() {
    let bytes = [
        full(4, 1_000, 1, 9, b"v"),
        delta(4, 33, 1, 9, b"v"),
        b"\xc4v\xc4v".to_vec(),
        b"\x84\x00\x00\x10v".to_vec(),
        b"\xc4v".to_vec(),
    ]
    .concat();
    assert_eq!(times(&bytes), [1_000, 1_033, 1_066, 1_099, 1_115, 1_131]);
}

#[test]
fn type_3_after_type_0_repeats_its_timestamp_unless_that_jumps() {
    // RTMP-10.
    let mut reader = publisher();
    let small = [full(4, 40, 1, 9, b"v"), b"\xc4v".to_vec()].concat();
    assert_eq!(read_with(&mut reader, &small).unwrap().last().unwrap().1, 80);
    assert_eq!(reader.guesses(), 0);
    let large = [full(4, 5_001, 1, 9, b"v"), b"\xc4v\xc4v".to_vec()].concat();
    assert_eq!(read_with(&mut reader, &large).unwrap().last().unwrap().1, 5_001);
    assert_eq!(reader.guesses(), 2);
}

#[test]
fn continuations_may_or_may_not_repeat_the_extended_timestamp() {
    // RTMP-9, absolute and delta, with and without.
    let body: Vec<u8> = (0..200).map(|i| i as u8).collect();
    let time: u32 = 0x0123_4567;
    let step: u32 = 0xffff_fff3;
    for repeats in [false, true] {
        let again = |field: u32| if repeats { field.to_be_bytes().to_vec() } else { Vec::new() };
        let bytes = [
            full(4, time, 200, 9, &body[..128]),
            vec![0xc4],
            again(time),
            body[128..].to_vec(),
            delta(4, step, 200, 9, &body[..128]),
            vec![0xc4],
            again(step),
            body[128..].to_vec(),
        ]
        .concat();
        let messages = read(&bytes).unwrap();
        assert_eq!(
            messages,
            [(9, time, body.clone().into()), (9, time - 13, body.clone().into())] as [(u8, u32, Bytes); 2]
        );
    }
}

#[test]
fn a_continuation_may_repeat_the_absolute_time_of_a_delta() {
    let (time, step): (u32, u32) = (0x0200_0000, 0x0100_0000);
    let bytes = [
        full(4, time, 1, 9, b"v"),
        delta(4, step, 129, 9, &[7; 128]),
        vec![0xc4],
        (time + step).to_be_bytes().to_vec(),
        vec![7],
    ]
    .concat();
    assert_eq!(read(&bytes).unwrap()[1], (9, time + step, vec![7; 129].into()));
}

#[test]
fn type_3_that_begins_a_message_always_carries_the_extended_field() {
    let time: u32 = 0x0123_4567;
    let bytes =
        [full(4, time, 2, 9, b"v1"), vec![0xc4], time.to_be_bytes().to_vec(), b"v2".to_vec()].concat();
    assert_eq!(
        read(&bytes).unwrap(),
        [(9, time, "v1".into()), (9, time, "v2".into())] as [(u8, u32, Bytes); 2]
    );
}

#[test]
fn a_new_chunk_size_holds_from_the_next_chunk() {
    // Set Chunk Size in the middle of a video message (RTMP-13).
    let body = vec![3; 300];
    let bytes = [
        full(4, 0, 300, 9, &body[..128]),
        chunk_size(4_096),
        [&[0xc4], &body[128..]].concat(),
        chunk_size(1),
        full(4, 0, 2, 9, &body[..1]),
        vec![0xc4, 3],
    ];
    assert!(read(&[&bytes[..3].concat()[..], &chunk_size(0x7fff_ffff)].concat()).is_ok());
    // A chunk size of 1 also cuts the next Set Chunk Size.
    assert_eq!(read(&bytes.concat()).unwrap().len(), 2);
}

#[test]
fn chunk_sizes_out_of_range_end_the_connection() {
    assert_eq!(read(&chunk_size(0)), Err(ChunkError::ChunkSize(0)));
    assert_eq!(read(&chunk_size(0x8000_1000)), Err(ChunkError::ChunkSize(0x8000_1000)));
    assert_eq!(read(&full(2, 0, 2, 1, &[0, 0])), Err(ChunkError::ShortControl(1)));
    let mut reader = publisher();
    read_with(&mut reader, &chunk_size(0x7fff_ffff)).unwrap();
    assert_eq!(reader.chunk_size(), 0xff_ffff);
}

#[test]
fn abort_drops_the_unfinished_message_of_its_stream() {
    let bytes = [
        full(4, 0, 300, 9, &[1; 128]),
        full(2, 0, 4, wire::ABORT, &4u32.to_be_bytes()),
        full(4, 40, 2, 9, b"v2"),
    ]
    .concat();
    let mut reader = publisher();
    assert_eq!(read_with(&mut reader, &bytes).unwrap(), [(9, 40, "v2".into())] as [(u8, u32, Bytes); 1]);
    assert_eq!(reader.partial_bytes, 0);
}

#[test]
fn a_new_header_gives_an_unfinished_message_up() {
    let bytes = [full(4, 0, 300, 9, &[1; 128]), full(4, 40, 2, 9, b"v2")].concat();
    let mut reader = publisher();
    assert_eq!(read_with(&mut reader, &bytes).unwrap(), [(9, 40, "v2".into())] as [(u8, u32, Bytes); 1]);
    assert_eq!((reader.partial_bytes, reader.take_passed_over()), (0, 1));
    assert_eq!(reader.take_passed_over(), 0);
}

#[test]
fn a_message_given_up_gives_its_memory_back() {
    let mut reader = publisher();
    read_with(&mut reader, &chunk_size(4 << 20)).unwrap();
    for csid in 3..=17 {
        let half = full(csid, 0, MAX_VIDEO, 9, &vec![1; 4 << 20]);
        read_with(&mut reader, &[half, full(csid, 40, 2, 9, b"v2")].concat()).unwrap();
    }
    let held: usize = reader.streams.iter().map(|stream| stream.partial.capacity()).sum();
    assert!(held <= PARTIAL.1, "{held} bytes are held");
}

#[test]
fn a_stream_must_begin_with_a_full_header_but_for_control() {
    // RTMP-16.
    for fmt in 1..=3u8 {
        let bytes = [vec![fmt << 6 | 5], vec![0; 12]].concat();
        assert_eq!(read(&bytes), Err(ChunkError::NoHeader { csid: 5, fmt }));
    }
    let window = delta(2, 7, 4, wire::WINDOW_ACK, &2_500_000u32.to_be_bytes());
    assert_eq!(read(&window).unwrap()[0].0, wire::WINDOW_ACK);
    assert!(read(&[0x82, 0, 0, 0]).is_err());
}

#[test]
fn declared_lengths_are_capped_by_type_and_reserve_nothing() {
    for (type_id, limit) in
        [(9, MAX_VIDEO), (22, MAX_VIDEO), (8, MAX_AUDIO), (18, MAX_OTHER), (20, MAX_OTHER)]
    {
        let over = full(4, 0, limit + 1, type_id, b"");
        assert_eq!(read(&over), Err(ChunkError::TooLong { type_id, length: limit + 1, limit }));
        let mut reader = publisher();
        assert_eq!(read_with(&mut reader, &full(4, 0, limit, type_id, b"x")).unwrap(), []);
        assert!(reader.streams[0].partial.capacity() <= DIRECT.1);
    }
}

#[test]
fn a_stranger_may_leave_little_unfinished() {
    let flood = full(4, 0, MAX_VIDEO, 9, &vec![0; PARTIAL.0 + 1]);
    for (mut reader, result) in
        [(ChunkReader::default(), Err(ChunkError::TooMuchPartial(PARTIAL.0))), (publisher(), Ok(vec![]))]
    {
        read_with(&mut reader, &chunk_size(0xff_ffff)).unwrap();
        assert_eq!(read_with(&mut reader, &flood), result);
    }
}

#[test]
fn sixteen_half_messages_break_the_budget() {
    let mut reader = publisher();
    read_with(&mut reader, &chunk_size(1 << 20)).unwrap();
    let half = |csid| full(csid, 0, MAX_VIDEO, 9, &vec![0; 1 << 20]);
    let mut taken = 0;
    let error = (3..=18).find_map(|csid| {
        taken = csid;
        read_with(&mut reader, &half(csid)).err()
    });
    // The control stream is the sixteenth, but the twelfth MiB is the last one.
    assert_eq!((error, taken), (Some(ChunkError::TooMuchPartial(PARTIAL.1)), 15));
}

#[test]
fn chunk_streams_are_capped() {
    let bytes: Vec<u8> = (3..=19).flat_map(|csid| full(csid, 0, 1, 8, b"a")).collect();
    assert_eq!(read(&bytes), Err(ChunkError::TooManyStreams));
}

#[test]
fn a_message_within_one_chunk_is_a_slice_of_the_input() {
    let mut reader = publisher();
    read_with(&mut reader, &chunk_size(60_000)).unwrap();
    let mut input = BytesMut::from(&full(4, 0, 50_000, 9, &vec![5; 50_000])[..]);
    let place = input[12..].as_ptr();
    let message = reader.read(&mut input).unwrap().unwrap();
    assert_eq!(message.body.as_ptr(), place);
    assert_eq!(message.body.len(), 50_000);
}

#[test]
fn a_split_message_takes_no_more_memory_than_it_needs() {
    let mut reader = publisher();
    read_with(&mut reader, &chunk_size(60_000)).unwrap();
    let body = vec![5; 100_000];
    let bytes = [full(4, 0, body.len(), 9, &body[..60_000]), [&[0xc4], &body[60_000..]].concat()].concat();
    let mut input = BytesMut::from(&bytes[..]);
    let mut cut = input.split_to(70_000);
    assert_eq!(reader.read(&mut cut).unwrap(), None);
    assert!(reader.streams[1].partial.capacity() <= body.len());
    assert_eq!(reader.read(&mut input).unwrap().unwrap().body, body);
}

#[test]
fn messages_without_a_body_come_out() {
    let bytes = [full(4, 40, 0, 8, b""), full(4, 60, 1, 8, b"a")].concat();
    assert_eq!(read(&bytes).unwrap(), [(8, 40, Bytes::new()), (8, 60, "a".into())] as [(u8, u32, Bytes); 2]);
}

/// One message to write in chunks.
#[derive(Clone, Debug)]
struct Sent {
    csid: u8,
    time: u32,
    audio: bool,
    body: Vec<u8>,
}

fn any_sent() -> impl Strategy<Value = Sent> {
    let time = prop_oneof![0..5_000u32, 0xff_fff0..0x100_0010u32, any::<u32>()];
    (3..8u8, time, any::<bool>(), proptest::collection::vec(any::<u8>(), 0..700))
        .prop_map(|(csid, time, audio, body)| Sent { csid, time, audio, body })
}

/// Each message's chunks, the continuations repeating the extended field or not.
fn chunks(sent: &Sent, size: usize, repeats: bool) -> Vec<Vec<u8>> {
    let type_id = if sent.audio { wire::AUDIO } else { wire::VIDEO };
    let (first, rest) = sent.body.split_at(sent.body.len().min(size));
    let mut out = vec![full(sent.csid, sent.time, sent.body.len(), type_id, first)];
    for piece in rest.chunks(size) {
        let mut chunk = vec![0xc0 | sent.csid];
        if repeats && sent.time >= EXTENDED {
            chunk.extend(sent.time.to_be_bytes());
        }
        chunk.extend(piece);
        out.push(chunk);
    }
    out
}

proptest! {
    #[test]
    fn what_is_chunked_and_interleaved_is_read_back(
        sent in proptest::collection::vec(any_sent(), 1..8),
        size in 8usize..200,
        order in proptest::collection::vec(any::<proptest::sample::Index>(), 200),
        cuts in proptest::collection::vec(1usize..97, 1..20),
    ) {
        // One message at a time per chunk stream, streams interleaved at random.
        let mut queues: Vec<std::collections::VecDeque<Vec<u8>>> = Vec::new();
        let mut bytes = chunk_size(size as u32);
        let mut expected: Vec<(u8, u32, Vec<u8>)> = Vec::new();
        for csid in 3..8u8 {
            let of_stream = sent.iter().filter(|sent| sent.csid == csid);
            queues.push(of_stream.flat_map(|sent| chunks(sent, size, true)).collect());
        }
        for pick in order.iter().cycle() {
            queues.retain(|queue| !queue.is_empty());
            if queues.is_empty() {
                break;
            }
            let queue = pick.index(queues.len());
            bytes.extend(queues[queue].pop_front().unwrap());
        }
        for message in &sent {
            let type_id = if message.audio { wire::AUDIO } else { wire::VIDEO };
            expected.push((type_id, message.time, message.body.clone()));
        }

        // In one piece and in any pieces.
        let whole: Vec<_> = read(&bytes).unwrap();
        let (mut reader, mut input, mut pieces) = (publisher(), BytesMut::new(), Vec::new());
        let mut rest = &bytes[..];
        for cut in cuts.iter().cycle() {
            let (piece, after) = rest.split_at(rest.len().min(*cut));
            input.extend_from_slice(piece);
            while let Some(message) = reader.read(&mut input).unwrap() {
                pieces.push((message.type_id, message.timestamp, message.body));
            }
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(&pieces, &whole);
        prop_assert_eq!(reader.partial_bytes, 0);
        let mut got: Vec<_> = whole.into_iter().map(|(kind, time, body)| (kind, time, body.to_vec())).collect();
        got.sort();
        expected.sort();
        prop_assert_eq!(got, expected);
    }

    #[test]
    fn continuations_without_the_extended_field_are_read_back(mut sent in any_sent(), size in 8usize..200) {
        // A payload that begins like the timestamp cannot be told from it; such a writer is beyond help.
        sent.body.fill(0x55);
        prop_assume!(sent.time != 0x5555_5555);
        let bytes = [chunk_size(size as u32), chunks(&sent, size, false).concat(), vec![0]].concat();
        let messages = read(&bytes).unwrap();
        prop_assert_eq!(messages.len(), 1);
        prop_assert_eq!(&messages[0].2[..], &sent.body[..]);
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = read(&bytes);
        let _ = read_with(&mut ChunkReader::default(), &bytes);
    }

    #[test]
    fn no_prefix_panics(sent in any_sent(), size in 1usize..200, cut in any::<proptest::sample::Index>()) {
        let bytes = [chunk_size(size as u32), chunks(&sent, size, true).concat()].concat();
        let _ = read(&bytes[..cut.index(bytes.len())]);
    }
}
