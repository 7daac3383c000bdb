//! What a stranger sends to the port of SRT before it is anybody: packets, and the stream id of a handshake.
#![no_main]

use std::time::Duration;

use aqueduct_fuzz::{pieces, start};
use aqueduct_ingest::server::srt::shake::{self, First};
use aqueduct_ingest::server::srt::{streamid, watch::Watch};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let (mut watch, mut now) = (Watch::default(), start());
    for piece in pieces(data) {
        now += Duration::from_millis(20);
        watch.came(piece, now);
        watch.goes(piece, now);
        match shake::first(piece) {
            Some(First::Induction) => {
                // Nobody is flooded by way of this port, and the answer is a question to nobody.
                let answer = shake::answer(piece, 7).expect("an induction is answered");
                assert_eq!(answer.len(), piece.len());
                assert_eq!(shake::cookie_of(&answer), Some(7));
            }
            Some(First::Conclusion { cookie }) => {
                assert_eq!(shake::cookie_of(&shake::with_cookie(piece, cookie)), Some(cookie));
                let induction = shake::induction_of(piece).expect("a conclusion has an induction");
                assert!(
                    matches!(shake::first(&induction), Some(First::Induction))
                        || shake::first(&induction).is_none()
                );
            }
            None => {}
        }
        let text = String::from_utf8_lossy(piece);
        if let Ok(credentials) = streamid::credentials(Some(&text)) {
            // What is shown of it never grows beyond what was sent.
            assert!(format!("{credentials:?}").len() <= 4 * text.len() + 200);
        }
    }
});
