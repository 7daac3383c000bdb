//! A publisher's RTSP requests, from the first byte or behind ANNOUNCE.
#![no_main]

use std::time::{Duration, Instant};

use aqueduct_ingest::rtsp::push::session::{Event, Refuse, Session};
use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;

const ANNOUNCE: &[u8] = b"ANNOUNCE rtsp://h/live/x RTSP/1.0\r\nCSeq: 1\r\nContent-Length: 87\r\n\r\n\
v=0\r\no=- 0 0 IN IP4 1.1.1.1\r\ns=x\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n";

fuzz_target!(|data: (bool, Vec<Vec<u8>>)| {
    let (announced, pieces) = data;
    let mut now = Instant::now();
    let mut session = Session::new("S".into(), 50, now);
    let mut input = BytesMut::from(if announced { ANNOUNCE } else { b"" });
    for piece in pieces {
        now += Duration::from_millis(50);
        input.extend_from_slice(&piece);
        while let Ok(Some(event)) = session.handle_input(now, &mut input) {
            match event {
                Event::Announce(_) | Event::Record => session.accept(),
                Event::Open { ports: (rtp, _), .. } if rtp % 2 == 0 => session.opened((4, 5)),
                Event::Open { .. } => session.refuse(Refuse::Unavailable, "no"),
                _ => {}
            }
        }
        session.take_output();
    }
});
