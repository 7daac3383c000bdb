//! Messages between a host and its worker, either way.

use std::fmt::Debug;

use aqueduct_transcode::protocol::{BODY_MAX, Message, Reader, encode};
use bytes::Buf as _;

/// The first byte says how the bytes behind it are cut. However that is, the same messages come out; after an error
/// none does; and what was read can be written and read again.
pub fn check<M: Message + Debug>(data: &[u8]) {
    let Some((cut, bytes)) = data.split_first() else { return };
    let whole = read::<M>(bytes, usize::MAX);
    let pieces = read::<M>(bytes, usize::from(*cut).max(1));
    assert_eq!(told(&whole), told(&pieces), "how the bytes were cut shows");
    for message in whole.iter().flatten() {
        let mut written = encode(message).expect("what was read can be written").into_buf();
        let written = written.copy_to_bytes(written.remaining());
        let again = read::<M>(&written, usize::MAX);
        assert!(matches!(again.as_slice(), [Ok(_)]), "{message:?} became {again:?}");
    }
}

fn read<M: Message>(bytes: &[u8], cut: usize) -> Vec<Result<M, String>> {
    let (mut reader, mut messages) = (Reader::<M>::default(), Vec::new());
    for piece in bytes.chunks(cut) {
        reader.push(piece);
        while let Some(message) = reader.poll() {
            assert!(!messages.last().is_some_and(Result::is_err), "a message after an error");
            messages.push(message.map_err(|error| error.to_string()));
        }
        assert!(reader.pending() <= BODY_MAX + 4);
    }
    messages
}

fn told<M: Debug>(messages: &[Result<M, String>]) -> String {
    format!("{messages:?}")
}
