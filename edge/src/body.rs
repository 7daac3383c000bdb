//! Response bodies: slices of shared bytes, never copies.

use std::convert::Infallible;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use crate::conn::Sending;
use crate::entry::Blob;
use crate::tally::Class;
use crate::token::Leave;

/// Most bytes handed to the connection at once: small enough that a slow reader is seen to be slow.
const PIECE: usize = 32 * 1_024;

/// A body of known length. What was sent is reported to its connection as it goes.
#[derive(Debug, Default)]
pub(crate) struct Body {
    class: Option<Class>,
    blob: Option<Arc<Blob>>,
    chunk: usize,
    offset: usize,
    left: u64,
    leave: Option<Leave>,
    sending: Option<Sending>,
}

impl Body {
    /// No bytes.
    pub(crate) fn empty() -> Self {
        Self::default()
    }

    /// All of these bytes.
    pub(crate) fn whole(blob: &Arc<Blob>) -> Self {
        Self { left: blob.len(), blob: Some(blob.clone()), ..Self::default() }
    }

    /// Some of these bytes.
    pub(crate) fn part(blob: &Arc<Blob>, range: Range<u64>) -> Self {
        let mut body = Self::whole(blob);
        let mut skip = range.start.min(blob.len());
        body.left = range.end.min(blob.len()) - skip;
        for chunk in blob.chunks() {
            if skip < chunk.len() as u64 {
                break;
            }
            skip -= chunk.len() as u64;
            body.chunk += 1;
        }
        body.offset = skip as usize;
        body
    }

    /// What it answers.
    #[must_use]
    pub(crate) fn of(self, class: Class) -> Self {
        Self { class: Some(class), ..self }
    }

    /// Ends early, short of its length, when its viewer is cut off: the client sees that it is broken.
    #[must_use]
    pub(crate) fn by(self, leave: Option<Leave>) -> Self {
        Self { leave, ..self }
    }

    /// What it answers, where that was said.
    pub(crate) fn class(&self) -> Option<Class> {
        self.class
    }

    /// Bytes that have not been taken yet.
    pub(crate) fn left(&self) -> u64 {
        self.left
    }

    /// Reports to this connection from now on.
    #[must_use]
    pub(crate) fn through(mut self, sending: impl FnOnce() -> Sending) -> Self {
        if self.left > 0 {
            self.sending = Some(sending());
        }
        self
    }

    /// The next slice, which is reported as it is taken.
    pub(crate) fn take(&mut self) -> Option<Bytes> {
        let piece = self.next()?;
        if let Some(sending) = &self.sending {
            sending.moved(piece.len());
        }
        // The last slice takes the report along: it ends when the connection lets go of the bytes.
        let last = if self.left == 0 { self.sending.take() } else { None };
        Some(match last {
            Some(sending) => Bytes::from_owner(Last { piece, _sending: sending }),
            None => piece,
        })
    }

    /// The next slice, no longer than [`PIECE`].
    fn next(&mut self) -> Option<Bytes> {
        if self.leave.as_mut().is_some_and(Leave::is_withdrawn) {
            self.blob = None;
        }
        let blob = self.blob.as_deref()?;
        while self.left > 0 {
            let chunk = blob.chunks().get(self.chunk)?;
            let rest = chunk.len() - self.offset;
            if rest == 0 {
                (self.chunk, self.offset) = (self.chunk + 1, 0);
                continue;
            }
            let take = rest.min(PIECE).min(usize::try_from(self.left).unwrap_or(usize::MAX));
            let piece = chunk.slice(self.offset..self.offset + take);
            self.offset += take;
            self.left -= take as u64;
            return Some(piece);
        }
        None
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.take().map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

struct Last {
    piece: Bytes,
    _sending: Sending,
}

impl AsRef<[u8]> for Last {
    fn as_ref(&self) -> &[u8] {
        &self.piece
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(mut body: Body) -> Vec<u8> {
        let mut bytes = Vec::new();
        while let Some(piece) = body.next() {
            assert!(!piece.is_empty() && piece.len() <= PIECE);
            bytes.extend_from_slice(&piece);
        }
        bytes
    }

    #[test]
    fn slices_share_the_memory_of_the_object() {
        let chunk = Bytes::from(vec![7; 100_000]);
        let blob = Arc::new(Blob::new(vec![chunk.clone()]));
        let mut body = Body::whole(&blob);
        let first = body.next().unwrap();
        assert_eq!((first.as_ptr(), first.len()), (chunk.as_ptr(), PIECE));
    }

    proptest! {
        #[test]
        fn a_range_is_what_it_says(lens in proptest::collection::vec(0usize..70_000, 0..6), a in 0u64..200_000, b in 0u64..200_000) {
            let mut byte = 0u8;
            let chunks: Vec<Bytes> = lens
                .iter()
                .map(|len| (0..*len).map(|_| { byte = byte.wrapping_add(1); byte }).collect::<Vec<_>>().into())
                .collect();
            let all = chunks.concat();
            let blob = Arc::new(Blob::new(chunks));
            prop_assert_eq!(read(Body::whole(&blob)), all.clone());
            let range = a.min(b)..a.max(b);
            let end = (range.end as usize).min(all.len());
            let start = (range.start as usize).min(end);
            prop_assert_eq!(read(Body::part(&blob, range)), &all[start..end]);
        }
    }
}
