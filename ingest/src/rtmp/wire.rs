//! Numbers of the wire, and the writing side of the chunk layer.
//!
//! We write little, so every message begins with a full header (type 0) and timestamp 0: no state to agree on.

use bytes::{BufMut, BytesMut};

/// Set Chunk Size.
pub const SET_CHUNK_SIZE: u8 = 1;
/// Abort.
pub const ABORT: u8 = 2;
/// Acknowledgement.
pub const ACK: u8 = 3;
/// User control.
pub const USER_CONTROL: u8 = 4;
/// Window Acknowledgement Size.
pub const WINDOW_ACK: u8 = 5;
/// Set Peer Bandwidth.
pub const PEER_BANDWIDTH: u8 = 6;
/// Audio.
pub const AUDIO: u8 = 8;
/// Video.
pub const VIDEO: u8 = 9;
/// AMF3 data.
pub const DATA_AMF3: u8 = 15;
/// AMF3 command.
pub const COMMAND_AMF3: u8 = 17;
/// AMF0 data.
pub const DATA: u8 = 18;
/// AMF0 command.
pub const COMMAND: u8 = 20;
/// Aggregate.
pub const AGGREGATE: u8 = 22;

/// Event types of user control messages (RTMP-22).
pub mod event {
    /// Asks for its own timestamp back.
    pub const PING_REQUEST: u16 = 6;
    /// Gives it back.
    pub const PING_RESPONSE: u16 = 7;
}

/// Our chunk size (RTMP-14): ffmpeg takes it over for what it sends.
pub const CHUNK_SIZE: usize = 60_000;

/// The chunk stream of a message that we send: 2 for control, 3 for commands, 5 for what concerns a media stream.
fn chunk_stream(type_id: u8, stream_id: u32) -> u8 {
    match (type_id, stream_id) {
        (SET_CHUNK_SIZE..=PEER_BANDWIDTH, _) => 2,
        (_, 0) => 3,
        _ => 5,
    }
}

/// Writes one message in chunks of [`CHUNK_SIZE`].
pub fn put_message(out: &mut BytesMut, type_id: u8, stream_id: u32, body: &[u8]) {
    let csid = chunk_stream(type_id, stream_id);
    out.reserve(12 + body.len() + body.len() / CHUNK_SIZE);
    out.put_u8(csid);
    out.put_uint(0, 3);
    out.put_uint(body.len() as u64, 3);
    out.put_u8(type_id);
    out.put_u32_le(stream_id);
    for (index, chunk) in body.chunks(CHUNK_SIZE).enumerate() {
        if index > 0 {
            out.put_u8(0xc0 | csid);
        }
        out.put_slice(chunk);
    }
}

/// Writes an Acknowledgement of the bytes received since the handshake (RTMP-20).
pub fn put_ack(out: &mut BytesMut, total: u32) {
    put_message(out, ACK, 0, &total.to_be_bytes());
}

/// Writes a user control message with one number.
pub fn put_user_control(out: &mut BytesMut, event: u16, number: u32) {
    let mut body = [0; 6];
    body[..2].copy_from_slice(&event.to_be_bytes());
    body[2..].copy_from_slice(&number.to_be_bytes());
    put_message(out, USER_CONTROL, 0, &body);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_header_of_the_digest_is_written_byte_for_byte() {
        let mut out = BytesMut::new();
        put_message(&mut out, COMMAND, 1, &[0; 0x5b]);
        assert_eq!(out[..12], [5, 0, 0, 0, 0, 0, 0x5b, 0x14, 1, 0, 0, 0]);
        assert_eq!(out.len(), 12 + 0x5b);
    }

    #[test]
    fn a_long_message_is_cut_at_our_chunk_size() {
        let mut out = BytesMut::new();
        put_message(&mut out, COMMAND, 0, &vec![7; CHUNK_SIZE + 1]);
        assert_eq!(out[..8], [3, 0, 0, 0, 0, 0xea, 0x61, 20]);
        assert_eq!(out[12 + CHUNK_SIZE..], [0xc3, 7]);
    }

    #[test]
    fn control_messages_carry_their_numbers() {
        let mut out = BytesMut::new();
        put_ack(&mut out, 2_500_000);
        assert_eq!(out[..], [2, 0, 0, 0, 0, 0, 4, 3, 0, 0, 0, 0, 0, 0x26, 0x25, 0xa0]);
        out.clear();
        put_user_control(&mut out, event::PING_RESPONSE, 7);
        assert_eq!(out[..], [2, 0, 0, 0, 0, 0, 6, 4, 0, 0, 0, 0, 0, 7, 0, 0, 0, 7]);
    }
}
