//! What a node on the relay says, whoever it is: frames, heads and what follows from them.
#![no_main]

use aqueduct_edge::relay::receive::Receiver;
use aqueduct_edge::relay::wire::{FrameReader, HeadReader};
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((kind, bytes)) = data.split_first() else { return };
    let mut receiver = Receiver::default();
    receiver.want("");
    receiver.want("e1/v0");
    if kind & 1 == 0 {
        let mut reader = FrameReader::default();
        for piece in bytes.chunks(usize::from(kind >> 1).max(1)) {
            reader.push(piece);
            while let Ok(Some(frame)) = reader.frame() {
                // What is read can be said, and is then the same.
                let mut out = Vec::new();
                assert_eq!(frame.write(&mut out), Ok(()), "{frame:?}");
                let mut again = FrameReader::default();
                again.push(&out);
                assert_eq!(again.frame(), Ok(Some(frame.clone())));
                receiver.frame(&frame, true).into_iter().for_each(|step| drop(step.updates()));
            }
        }
        return;
    }
    let mut rest = Bytes::copy_from_slice(bytes);
    while let Ok(Some((head, beyond))) = HeadReader::default().push(&rest) {
        let written = head.write().unwrap_or_else(|error| panic!("{head:?} is not said again: {error}"));
        let Ok(Some((again, _))) = HeadReader::default().push(&written) else {
            panic!("{head:?} is not read again");
        };
        assert_eq!(again, head);
        let body = beyond.slice(..head.follows().min(beyond.len()));
        rest = beyond.slice(body.len()..);
        receiver.object(&head, body, true).into_iter().for_each(|step| drop(step.updates()));
    }
});
