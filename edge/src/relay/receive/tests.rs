//! What counts as held, and numbers that nothing follows.

use aqueduct_common::object::{ContentType, ObjectKind};

use super::line::MAX_HELD;
use super::*;
use crate::relay::wire::{Body, Media};

fn head(seq: u64, bytes: u32) -> Head {
    let media = Media { seq, kind: ObjectKind::Part, body: Body::Bytes(bytes) };
    Head {
        sub: 1,
        epoch: 1,
        line: "e/v0".into(),
        file: format!("p{seq}"),
        created: 0,
        content_type: ContentType::VideoMp4,
        history: false,
        what: What::Media(media),
    }
}

#[test]
fn what_a_line_lets_go_when_it_ends_or_is_too_long_counts_no_more() {
    let mut receiver = Receiver::default();
    receiver.want("e/v0");
    for seq in 0..4 {
        receiver.object(&head(seq, 100), vec![0; 100].into(), true);
    }
    assert_eq!(receiver.bytes, 400);
    let linger = Duration::from_secs(1);
    let close = Frame::Close { sub: 1, epoch: 1, line: "e/v0".into(), serial: 1, linger };
    receiver.frame(&close, true);
    assert_eq!(receiver.bytes, 0);

    let (most, mut last) = (MAX_HELD as u64, Vec::new());
    for seq in 0..=most {
        last = receiver.object(&head(seq, 1), vec![0; 1].into(), true);
    }
    assert_eq!(receiver.bytes, most);
    // The oldest one is gone for viewers as well.
    assert!(matches!(&last[..], [Step::Item { .. }, Step::Retire { seqs, .. }] if *seqs == [0]));
}

#[test]
fn the_greatest_numbers_are_borne() {
    let mut receiver = Receiver::default();
    receiver.want("e/v0");
    let sleep = |serial| Frame::Sleep {
        sub: 1,
        epoch: 1,
        line: "e/v0".into(),
        serial,
        file: "media.m3u8".into(),
        demand: 1,
        hold: LINGER,
    };
    let close = |serial| Frame::Close { sub: 1, epoch: 1, line: "e/v0".into(), serial, linger: LINGER };
    receiver.frame(&sleep(u64::MAX), true);
    receiver.frame(&close(u64::MAX), true);
    receiver.object(&head(u64::MAX, 1), vec![0; 1].into(), true);
    let (_, have) = receiver.want("e/v0");
    let mut out = Vec::new();
    let want = Frame::Want { sub: 1, line: String::new(), epoch: 1, have };
    assert_eq!(want.write(&mut out), Ok(()));
}
