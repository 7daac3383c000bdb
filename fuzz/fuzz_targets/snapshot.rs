//! What a server and its worker for pictures of streams say to each other.
#![no_main]

use aqueduct_transcode::snapshot::wire::{ANSWER_MAX, Answer, REQUEST_MAX, Request, read};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut input = data;
    while let Ok(Some(body)) = read(&mut input, REQUEST_MAX) {
        assert!(body.len() <= data.len());
        if let Ok(request) = Request::decode(&body) {
            let again = [request.head().expect("what was read can be said"), request.frame.to_vec()].concat();
            let again = read(&mut again.as_slice(), REQUEST_MAX).ok().flatten().expect("it is a message");
            assert_eq!(Request::decode(&again), Ok(request));
        }
        if let Ok(answer) = Answer::decode(&body) {
            let written = answer.encode();
            assert!(written.len() <= ANSWER_MAX + 8);
        }
    }
});
