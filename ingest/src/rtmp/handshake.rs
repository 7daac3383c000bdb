//! The simple handshake (RTMP-2 to RTMP-4), from the server's side.

use bytes::{Buf, BufMut, BytesMut};

/// Bytes of C1, C2, S1 and S2.
const PACKET: usize = 1_536;
/// The one version there is: plain RTMP.
const VERSION: u8 = 3;

/// Why the first bytes are not an RTMP handshake.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum HandshakeError {
    /// Encrypted RTMP (RTMPE), which is broken and not offered (RTMP-1).
    #[error("RTMPE is not offered: use rtmp:// or rtmps://")]
    Rtmpe,
    /// TLS on the plain port.
    #[error("TLS reached the plain RTMP port: use rtmp://, or the port of rtmps://")]
    Tls,
    /// Something else, such as HTTP.
    #[error("the first byte is 0x{0:02x}, not RTMP's 0x03")]
    Version(u8),
}

/// Where the handshake stands. Bytes beyond it stay in the input.
#[derive(Debug)]
pub enum Handshake {
    /// C0 and C1 have not come whole.
    Hello {
        /// What S1's filling is made from.
        seed: u64,
    },
    /// S0, S1 and S2 are written; C2 has not come whole.
    Echo,
    /// The next byte is the first chunk's.
    Done,
}

impl Handshake {
    /// Takes what has come; `millis` is the time since the connection was accepted. `true` once it is over.
    pub fn read(
        &mut self,
        millis: u32,
        input: &mut BytesMut,
        output: &mut BytesMut,
    ) -> Result<bool, HandshakeError> {
        if let Self::Hello { seed } = *self {
            if let Some(version) = input.first().copied().filter(|version| *version != VERSION) {
                return Err(match version {
                    6 => HandshakeError::Rtmpe,
                    0x16 => HandshakeError::Tls,
                    other => HandshakeError::Version(other),
                });
            }
            if input.len() < 1 + PACKET {
                return Ok(false);
            }
            input.advance(1);
            answer(seed, millis, &input[..PACKET], output);
            input.advance(PACKET);
            *self = Self::Echo;
        }
        if matches!(self, Self::Echo) && input.len() >= PACKET {
            // C2 is not checked: nothing rests on it, and old clients fill it as they like (RTMP-4).
            input.advance(PACKET);
            *self = Self::Done;
        }
        Ok(matches!(self, Self::Done))
    }
}

/// S0, S1 and S2 in one go, without waiting for C2 (RTMP-3).
fn answer(seed: u64, millis: u32, c1: &[u8], output: &mut BytesMut) {
    output.reserve(1 + 2 * PACKET);
    output.put_u8(VERSION);
    output.put_u32(millis);
    output.put_u32(0);
    fill(seed, PACKET - 8, output);
    output.put_slice(&c1[..4]);
    output.put_u32(millis);
    output.put_slice(&c1[8..]);
}

/// S1's filling only has to differ from connection to connection (splitmix64).
fn fill(seed: u64, count: usize, output: &mut BytesMut) {
    let mut state = seed;
    for _ in 0..count / 8 {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        output.put_u64(word ^ (word >> 31));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello() -> Vec<u8> {
        let mut bytes = vec![3, 0, 0, 0x12, 0x34, 0, 0, 0, 0];
        bytes.extend((0..1_528).map(|i| i as u8));
        bytes
    }

    #[test]
    fn the_answer_comes_with_c1_and_echoes_it() {
        let (mut handshake, mut output) = (Handshake::Hello { seed: 1 }, BytesMut::new());
        let mut input = BytesMut::from(&hello()[..]);
        assert_eq!(handshake.read(77, &mut input, &mut output), Ok(false));
        assert_eq!(output.len(), 1 + 2 * PACKET);
        assert_eq!(output[..9], [3, 0, 0, 0, 77, 0, 0, 0, 0]);
        let s2 = &output[1 + PACKET..];
        assert_eq!(s2[..8], [0, 0, 0x12, 0x34, 0, 0, 0, 77]);
        assert_eq!(s2[8..], hello()[9..]);
        assert!(input.is_empty());
    }

    #[test]
    fn any_cut_gives_the_same_and_surplus_bytes_stay() {
        let mut all = hello();
        all.extend([9; PACKET]);
        all.extend(b"chunk");
        let whole = {
            let mut output = BytesMut::new();
            Handshake::Hello { seed: 5 }.read(0, &mut BytesMut::from(&all[..]), &mut output).unwrap();
            output
        };
        for cut in [0, 1, 2, 1_536, 1_537, 1_538, 3_000, 3_073, 3_074] {
            let (mut handshake, mut output) = (Handshake::Hello { seed: 5 }, BytesMut::new());
            let mut input = BytesMut::from(&all[..cut]);
            handshake.read(0, &mut input, &mut output).unwrap();
            input.extend_from_slice(&all[cut..]);
            assert_eq!(handshake.read(0, &mut input, &mut output), Ok(true), "{cut}");
            assert_eq!(&input[..], b"chunk");
            assert_eq!(output, whole);
        }
    }

    #[test]
    fn other_protocols_are_named() {
        for (first, error) in
            [(6, HandshakeError::Rtmpe), (0x16, HandshakeError::Tls), (b'G', HandshakeError::Version(b'G'))]
        {
            let result =
                Handshake::Hello { seed: 0 }.read(0, &mut BytesMut::from(&[first][..]), &mut BytesMut::new());
            assert_eq!(result, Err(error));
        }
    }
}
