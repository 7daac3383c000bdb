//! The way out: every thread's messages, one writer.

use std::io::{BufWriter, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use crate::protocol::{FromWorker, encode};

/// Messages that wait for the host to read. A full pipe holds the encoders, not memory.
const CAPACITY: usize = 64;
/// Bytes that are written in one go.
const BUFFER: usize = 128 << 10;

/// Sends messages to the host.
#[derive(Clone, Debug)]
pub(super) struct Output(SyncSender<FromWorker>);

impl Output {
    /// The sending end, and what the writer takes from.
    pub(super) fn new() -> (Self, Receiver<FromWorker>) {
        let (sender, receiver) = sync_channel(CAPACITY);
        (Self(sender), receiver)
    }

    /// Sends a message. Where the writer is gone the host is too, and the worker ends by its closed input.
    pub(super) fn send(&self, message: FromWorker) {
        let _ = self.0.send(message);
    }

    /// Something for the operator to read.
    pub(super) fn trouble(&self, words: impl Into<String>) {
        self.send(FromWorker::Trouble(words.into()));
    }
}

/// Writes until every sender is gone. Frames that come together leave together; one alone leaves at once.
pub(super) fn write_all(messages: &Receiver<FromWorker>, output: impl Write) -> std::io::Result<()> {
    let mut output = BufWriter::with_capacity(BUFFER, output);
    while let Ok(first) = messages.recv() {
        let mut next = Some(first);
        while let Some(message) = next {
            let encoded = encode(&message).map_err(std::io::Error::other)?;
            output.write_all(&encoded.head)?;
            output.write_all(&encoded.payload)?;
            next = messages.try_recv().ok();
        }
        output.flush()?;
    }
    Ok(())
}
