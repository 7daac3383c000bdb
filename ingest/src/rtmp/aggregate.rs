//! Aggregate messages (RTMP-18): FLV tags in one message, taken apart one by one without a copy.

use bytes::{Buf, Bytes};

use super::chunk::RawMessage;

/// The tags of an aggregate that have not been taken yet.
#[derive(Debug)]
pub struct Aggregate {
    rest: Bytes,
    stream_id: u32,
    /// The message's timestamp.
    base: u32,
    /// The first tag's timestamp, which stands for `base`.
    first: Option<u32>,
}

impl Aggregate {
    /// The tags of `message`.
    pub fn new(message: RawMessage) -> Self {
        Self { rest: message.body, stream_id: message.stream_id, base: message.timestamp, first: None }
    }
}

impl Iterator for Aggregate {
    type Item = RawMessage;

    /// The next tag; a tag that is cut off ends the aggregate.
    fn next(&mut self) -> Option<RawMessage> {
        let head = *self.rest.first_chunk::<11>()?;
        let size = u32::from_be_bytes([0, head[1], head[2], head[3]]) as usize;
        let time = u32::from_be_bytes([head[7], head[4], head[5], head[6]]);
        if self.rest.len() < 11 + size {
            self.rest.clear();
            return None;
        }
        self.rest.advance(11);
        let body = self.rest.split_to(size);
        // The back pointer says what we know already.
        self.rest.advance(self.rest.len().min(4));
        let first = *self.first.get_or_insert(time);
        let timestamp = self.base.wrapping_add(time.wrapping_sub(first));
        Some(RawMessage { type_id: head[0] & 0x1f, stream_id: self.stream_id, timestamp, body })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtmp::wire;
    use proptest::prelude::*;

    fn tag(type_id: u8, time: u32, body: &[u8]) -> Vec<u8> {
        let [high, rest @ ..] = time.to_be_bytes();
        let mut tag = vec![type_id, 0, 0, body.len() as u8];
        tag.extend(rest);
        tag.extend([high, 0, 0, 0]);
        tag.extend(body);
        tag.extend((11 + body.len() as u32).to_be_bytes());
        tag
    }

    fn aggregate(timestamp: u32, body: Vec<u8>) -> Aggregate {
        Aggregate::new(RawMessage { type_id: wire::AGGREGATE, stream_id: 1, timestamp, body: body.into() })
    }

    #[test]
    fn tags_keep_their_distance_from_the_message_timestamp() {
        let tags = [tag(9, 0x0100_0000, b"v0"), tag(8, 0x0100_0000 - 13, b"a0"), tag(9, 0x0100_0028, b"")];
        let messages: Vec<_> = aggregate(5_000, tags.concat())
            .map(|message| (message.type_id, message.timestamp, message.body))
            .collect();
        assert_eq!(
            messages,
            [(9, 5_000, "v0".into()), (8, 4_987, "a0".into()), (9, 5_040, Bytes::new())]
                as [(u8, u32, Bytes); 3]
        );
    }

    #[test]
    fn a_tag_that_is_cut_off_ends_the_aggregate() {
        let bytes = [tag(9, 0, b"whole"), tag(9, 40, b"cut off")].concat();
        for cut in 1..=10 {
            assert_eq!(aggregate(0, bytes[..bytes.len() - 4 - cut].to_vec()).count(), 1, "{cut}");
        }
        assert_eq!(aggregate(0, bytes[..bytes.len() - 4].to_vec()).count(), 2);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            aggregate(7, bytes).for_each(drop);
        }
    }
}
