//! The first half of a handshake, without a memory of who began it (draft-sharabayko-srt-01, 4.3.1.1): pure.
//!
//! Whoever asks for a connection is answered with a cookie that is made of its address, and nothing is kept. Only a caller that
//! shows its cookie again has an address where answers arrive; it is worth a place and a task.

use std::net::SocketAddr;

use bytes::Bytes;
use ring::hmac;

use super::watch::{CONTROL, control_type, words};

/// Control type of a handshake.
const HANDSHAKE: u16 = 0;
/// The header, and a handshake's fields without extensions (3.2.1).
const HEADER: usize = 16;
const SHAKE: usize = HEADER + 48;
/// Where its fields stand.
const DESTINATION: usize = 12;
const VERSION: usize = HEADER;
const EXTENSIONS: usize = HEADER + 4;
const KIND: usize = HEADER + 20;
const SOCKET: usize = HEADER + 24;
const COOKIE: usize = HEADER + 28;

const INDUCTION: u32 = 1;
const CONCLUSION: u32 = u32::MAX;
/// Says that the listener speaks SRT.
const MAGIC: u32 = 0x4a17;
/// The socket type that an induction names: datagrams.
const DATAGRAM: u32 = 2;

/// What a packet of somebody unknown is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum First {
    /// It asks for a cookie.
    Induction,
    /// It shows one.
    Conclusion {
        /// It.
        cookie: u32,
    },
}

/// Reads a packet of somebody unknown; `None` for one that nobody needs to answer.
pub fn first(packet: &[u8]) -> Option<First> {
    if !is_handshake(packet) || packet.len() < SHAKE {
        return None;
    }
    let to_nobody = word(packet, DESTINATION)? == 0;
    match (word(packet, VERSION)?, word(packet, KIND)?, word(packet, COOKIE)?) {
        // An answer is as long as what it answers: nobody is flooded by way of this port.
        (4 | 5, INDUCTION, 0) if packet.len() == SHAKE && to_nobody => Some(First::Induction),
        (5, CONCLUSION, cookie) => Some(First::Conclusion { cookie }),
        _ => None,
    }
}

/// A handshake, whatever it says.
pub fn is_handshake(packet: &[u8]) -> bool {
    words(packet).is_some_and(|[first, _]| packet[0] & CONTROL != 0 && control_type(first) == HANDSHAKE)
}

/// The cookie of an address in a minute; never 0, which would say that there is none.
pub fn cookie(key: &hmac::Key, address: SocketAddr, minute: i64) -> u32 {
    let tag = hmac::sign(key, format!("{address} {minute}").as_bytes());
    tag.as_ref().first_chunk().map_or(1, |bytes| u32::from_be_bytes(*bytes).max(1))
}

/// The answer to an induction.
pub fn answer(induction: &[u8], cookie: u32) -> Option<Vec<u8>> {
    let caller = word(induction, SOCKET)?;
    let mut answer = induction.get(..SHAKE)?.to_vec();
    set(&mut answer, DESTINATION, caller);
    set(&mut answer, VERSION, 5);
    set(&mut answer, EXTENSIONS, MAGIC);
    // Which socket it will be is said at the end of the handshake.
    set(&mut answer, SOCKET, 1);
    set(&mut answer, COOKIE, cookie);
    Some(answer)
}

/// The induction that goes before a conclusion, as its caller sent it.
pub fn induction_of(conclusion: &[u8]) -> Option<Vec<u8>> {
    let mut induction = conclusion.get(..SHAKE)?.to_vec();
    set(&mut induction, VERSION, 4);
    set(&mut induction, EXTENSIONS, DATAGRAM);
    set(&mut induction, KIND, INDUCTION);
    set(&mut induction, COOKIE, 0);
    Some(induction)
}

/// A handshake with another cookie.
pub fn with_cookie(packet: &[u8], cookie: u32) -> Bytes {
    let mut packet = packet.to_vec();
    if packet.len() >= SHAKE {
        set(&mut packet, COOKIE, cookie);
    }
    packet.into()
}

/// The caller's own number for the connection.
pub fn socket_of(packet: &[u8]) -> Option<u32> {
    word(packet, SOCKET)
}

/// The cookie that a handshake shows.
pub fn cookie_of(packet: &[u8]) -> Option<u32> {
    word(packet, COOKIE)
}

/// The conclusion brings keys: a flag of its extension field.
pub fn has_key_material(conclusion: &[u8]) -> bool {
    const KMREQ: u32 = 2;
    word(conclusion, EXTENSIONS).is_some_and(|extensions| extensions & KMREQ != 0)
}

fn word(packet: &[u8], at: usize) -> Option<u32> {
    packet.get(at..at + 4)?.first_chunk().copied().map(u32::from_be_bytes)
}

/// `at` lies within the packet: its length was looked at.
fn set(packet: &mut [u8], at: usize, value: u32) {
    if let Some(place) = packet.get_mut(at..at + 4) {
        place.copy_from_slice(&value.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shake(version: u32, kind: u32, cookie: u32) -> Vec<u8> {
        let mut packet = vec![0; SHAKE];
        packet[0] = CONTROL;
        set(&mut packet, VERSION, version);
        set(&mut packet, KIND, kind);
        set(&mut packet, SOCKET, 77);
        set(&mut packet, COOKIE, cookie);
        packet
    }

    #[test]
    fn only_handshakes_to_nobody_are_answered() {
        let good = shake(4, INDUCTION, 0);
        assert_eq!(first(&good), Some(First::Induction));
        assert_eq!(first(&shake(5, CONCLUSION, 9)), Some(First::Conclusion { cookie: 9 }));
        for (at, value) in [(0, 0), (1, 2), (15, 1), (19, 3), (39, 2), (47, 9)] {
            let mut other = good.clone();
            other[at] = value;
            assert_eq!(first(&other), None, "{at}");
        }
        assert_eq!(first(&[&good[..], &[0]].concat()), None);
        assert_eq!(first(&shake(4, CONCLUSION, 9)), None);
    }

    #[test]
    fn an_answer_is_no_longer_than_the_question_and_carries_the_cookie() {
        let question = shake(4, INDUCTION, 0);
        let answer = answer(&question, 0x1234_5678).unwrap();
        assert_eq!(answer.len(), question.len());
        assert_eq!((word(&answer, DESTINATION), cookie_of(&answer)), (Some(77), Some(0x1234_5678)));
        assert_eq!((word(&answer, VERSION), word(&answer, EXTENSIONS)), (Some(5), Some(MAGIC)));
        let conclusion = shake(5, CONCLUSION, 0x1234_5678);
        assert_eq!(first(&induction_of(&conclusion).unwrap()), Some(First::Induction));
        assert_eq!(cookie_of(&with_cookie(&conclusion, 5)), Some(5));
    }

    #[test]
    fn a_cookie_is_one_address_s_in_one_minute() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"a key");
        let address: SocketAddr = "192.0.2.1:5000".parse().unwrap();
        let own = cookie(&key, address, 7);
        assert_eq!(cookie(&key, address, 7), own);
        assert_ne!(cookie(&key, address, 8), own);
        assert_ne!(cookie(&key, "192.0.2.1:5001".parse().unwrap(), 7), own);
        assert_ne!(cookie(&hmac::Key::new(hmac::HMAC_SHA256, b"another"), address, 7), own);
    }

    proptest! {
        #[test]
        fn no_bytes_lead_to_a_panic(packet in prop::collection::vec(any::<u8>(), 0..90), value in any::<u32>()) {
            let _ = (first(&packet), cookie_of(&packet), has_key_material(&packet));
            let _ = (answer(&packet, value), induction_of(&packet));
            prop_assert_eq!(with_cookie(&packet, value).len(), packet.len());
        }
    }
}
