//! Frames there and back, however they are cut.

use super::*;

fn all() -> Vec<Frame> {
    let (sub, epoch, line, linger) = (7, 1 << 60, "e1/v0".to_owned(), Duration::from_millis(9_999));
    vec![
        Frame::Hello { node: "edge-1".into(), token: b"secret".to_vec(), announce: true },
        Frame::Welcome { node: "origin".into() },
        Frame::Trail { nodes: vec!["a".into(), "b".into()], depth: 2 },
        Frame::Subscribe { sub, stream: "live/show".into() },
        Frame::Unsubscribe { sub },
        Frame::Want { sub, line: String::new(), epoch, have: Ranges::of([1, 2, 9]) },
        Frame::Unwant { sub, line: line.clone() },
        Frame::Demand { sub, demand: 16, viewers: 3 },
        Frame::Stream { sub, epoch, lines: vec![String::new(), line.clone()] },
        Frame::Absent { sub },
        Frame::Gap { sub, epoch, line: line.clone(), gone: Ranges::of([4]) },
        Frame::Sleep {
            sub,
            epoch,
            line: line.clone(),
            serial: 3,
            file: "media.m3u8".into(),
            demand: 16,
            hold: linger,
        },
        Frame::Close { sub, epoch, line: line.clone(), serial: 4, linger },
        Frame::End { sub, epoch, linger, finals: vec![(line, 4)] },
        Frame::Announce { stream: "live/show".into() },
        Frame::GoAway,
        Frame::Ping { number: 1 },
        Frame::Pong { number: 1 },
        Frame::Lends,
        Frame::Fetch { stream: "live/show".into(), line: "e1/v0".into(), file: "p7.m4s".into(), hops: 2 },
        Frame::Lent { kind: ObjectKind::Segment, content_type: ContentType::AudioMp4, len: 9_000 },
        Frame::Missing { gone: true },
        Frame::Progress { subs: vec![7, 9] },
    ]
}

#[test]
fn every_frame_comes_back_however_it_is_cut_and_unknown_ones_are_skipped() {
    let mut out = Vec::new();
    for frame in all() {
        frame.write(&mut out).unwrap();
        out.extend_from_slice(&[250, 0, 0, 0, 3, 1, 2, 3]);
    }
    for step in [1, 7, out.len()] {
        let (mut reader, mut read) = (FrameReader::default(), Vec::new());
        for piece in out.chunks(step) {
            reader.push(piece);
            while let Some(frame) = reader.frame().unwrap() {
                read.push(frame);
            }
        }
        assert_eq!(read, all());
        assert_eq!(reader.skipped(), all().len() as u64);
    }
}

#[test]
fn what_a_later_version_adds_to_a_frame_is_ignored_and_what_is_cut_off_is_refused() {
    for frame in all() {
        let mut out = Vec::new();
        frame.write(&mut out).unwrap();
        let (code, body) = (out[0], &out[5..]);
        let longer = [body, b"more"].concat();
        assert_eq!(Frame::read(code, &longer), Ok(Some(frame.clone())));
        for cut in 0..body.len() {
            assert!(Frame::read(code, &body[..cut]).is_err(), "{frame:?} cut at {cut}");
        }
    }
    let mut reader = FrameReader::default();
    reader.push(&[1, 255, 0, 0, 0]);
    assert_eq!(reader.frame(), Err(Malformed::TooLong("a frame")));
}

#[test]
fn a_wish_for_what_no_name_is_is_skipped_and_the_next_frame_is_heard() {
    let wish = |name: &[u8]| {
        let body = [&[0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 1][..], &[name.len() as u8], name, &[0]].concat();
        [&[6, 0, 0, 0, body.len() as u8][..], &body].concat()
    };
    let mut reader = FrameReader::default();
    for name in [&b"a b"[..], b"a%20b", b"..", "ü".as_bytes(), &[0xff], &[b'a'; 230]] {
        reader.push(&wish(name));
    }
    let mut out = Vec::new();
    let unsaid = Frame::Want { sub: 7, line: "a b".into(), epoch: 1, have: Ranges::default() };
    assert_eq!(unsaid.write(&mut out), Err(Malformed::Name));
    assert!(out.is_empty(), "nothing of it is written");
    reader.push(&wish(b"e1/v0"));
    let heard = Frame::Want { sub: 7, line: "e1/v0".into(), epoch: 1, have: Ranges::default() };
    assert_eq!(reader.frame(), Ok(Some(heard)));
    assert_eq!(reader.skipped(), 6);
    // What an origin says has to be right.
    reader.push(&[3, 0, 0, 0, 4, 0, 1, 1, b' ']);
    assert_eq!(reader.frame(), Err(Malformed::Name));
}

#[test]
fn what_the_fuzz_target_begins_with_is_what_nodes_say() {
    let seeds = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/relay_wire");
    for (seed, frames) in [("edge-says", 9), ("origin-says", 15), ("fetch", 3)] {
        let bytes = std::fs::read(format!("{seeds}/{seed}")).unwrap();
        let (mut reader, mut count) = (FrameReader::default(), 0);
        reader.push(&bytes[1..]);
        while reader.frame().unwrap().is_some() {
            count += 1;
        }
        assert_eq!((count, reader.skipped(), reader.rest().len()), (frames, 0, 0), "{seed}");
    }
}
