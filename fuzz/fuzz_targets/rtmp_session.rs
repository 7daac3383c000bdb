//! A publisher's bytes: the first chooses the stage at which they begin and whether the publish is accepted, the second
//! how they are cut.
#![no_main]

use std::fmt::Write as _;

use aqueduct_fuzz::publisher::Stage;
use aqueduct_ingest::rtmp::{Event, Limits, RefusalCode, Session};
use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some(([choice, cut], bytes)) = data.split_first_chunk() else { return };
    let stage = Stage::choose(*choice);
    let accept = choice & 0x80 == 0;
    let whole = play(stage, accept, bytes, usize::MAX);
    let cut = play(stage, accept, bytes, usize::from(*cut).max(1));
    assert_eq!(whole, cut, "how the bytes were cut shows");
});

/// Everything that happens, in words.
fn play(stage: Stage, accept: bool, bytes: &[u8], cut: usize) -> String {
    let now = aqueduct_fuzz::start();
    let mut session = Session::new(Limits::default(), 7, now);
    let mut told = String::new();
    let mut input = BytesMut::new();
    let mut written = 0;
    let opening = stage.opening();
    for piece in std::iter::once(&opening[..]).chain(bytes.chunks(cut)) {
        input.extend_from_slice(piece);
        loop {
            match session.handle_input(now, &mut input) {
                Ok(None) => break,
                Ok(Some(event)) => {
                    let _ = writeln!(told, "{event:?}");
                    match event {
                        Event::Publish(_) if accept => {
                            session.accept(now).expect("what asks can be accepted")
                        }
                        Event::Publish(_) => session.refuse(now, RefusalCode::Denied, "no"),
                        _ => {}
                    }
                }
                Err(error) => {
                    let _ = writeln!(told, "{} {error}", error.label());
                    session.refuse(now, RefusalCode::Failed, "error");
                    return told;
                }
            }
        }
        written += session.take_output().len();
        let (at, _) = session.poll_timeout();
        session.handle_timeout(at);
    }
    // The handshake is 3,073 bytes; no other answer is much longer than its question.
    assert!(written <= 8_192 + 64 * (opening.len() + bytes.len()), "{written} bytes of answers");
    told
}
