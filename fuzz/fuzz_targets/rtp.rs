//! RTP and RTCP of a session of pictures and sound, in any order and of any content.
#![no_main]

use std::time::{Duration, Instant};

use aqueduct_common::WallTime;
use aqueduct_ingest::rtsp::{Assembly, Packet, sdp};
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

const HEAD: &str = "v=0\r\no=- 0 0 IN IP4 1.1.1.1\r\ns=x\r\nt=0 0\r\n";
const VIDEO: [&str; 3] = ["H264", "H265", "JPEG"];
const SOUND: [&str; 4] = [
    "97\r\na=rtpmap:97 MPEG4-GENERIC/48000/2\r\n\
     a=fmtp:97 mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3;config=1190\r\n",
    "0\r\n",
    "98\r\na=rtpmap:98 OPUS/48000/2\r\n",
    "99\r\na=rtpmap:99 G726-32/8000\r\n",
];

fuzz_target!(|data: (u8, bool, Vec<(bool, bool, u8, Vec<u8>)>)| {
    let (choice, overtake, packets) = data;
    let (video, sound) = (VIDEO[usize::from(choice % 3)], SOUND[usize::from(choice / 3 % 4)]);
    let text =
        format!("{HEAD}m=video 0 RTP/AVP 96\r\na=rtpmap:96 {video}/90000\r\nm=audio 0 RTP/AVP {sound}");
    let Ok(media) = sdp::parse(text.as_bytes()) else { return };
    let Ok(mut assembly) = Assembly::new(&media, true, overtake) else { return };
    let start = Instant::now();
    let mut at = start;
    for (is_sound, control, wait, raw) in packets {
        at += Duration::from_millis(wait.into());
        let wall = WallTime { micros: (at - start).as_micros() as i64 };
        let medium = usize::from(is_sound);
        if control {
            assembly.rtcp(medium, &raw, at);
        } else if let Some(packet) = Packet::parse(&Bytes::from(raw), at, wall) {
            assembly.rtp(medium, packet);
        }
        assembly.handle_timeout(at);
        while assembly.poll().is_some() {}
    }
});
