use super::*;
use crate::stream::clock;
use proptest::prelude::*;

const SDP: &str = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n\
                   a=control:streamid=0\r\nm=audio 0 RTP/AVP 0\r\na=control:streamid=1\r\n";

struct Peer {
    session: Session,
    input: BytesMut,
    cseq: u32,
}

impl Peer {
    fn new() -> Self {
        Self { session: Session::new("S1".into(), 50, clock()), input: BytesMut::new(), cseq: 0 }
    }

    fn send(&mut self, bytes: &[u8]) -> Option<Event> {
        self.input.extend_from_slice(bytes);
        self.session.handle_input(clock(), &mut self.input).unwrap()
    }

    fn request(&mut self, method: &str, url: &str, headers: &str, body: &str) -> Option<Event> {
        self.cseq += 1;
        let length = body.len();
        let text = format!(
            "{method} {url} RTSP/1.0\r\nCSeq: {}\r\n{headers}Content-Length: {length}\r\n\r\n{body}",
            self.cseq
        );
        self.send(text.as_bytes())
    }

    fn answer(&mut self) -> String {
        String::from_utf8(self.session.take_output()).unwrap()
    }

    fn announced() -> Self {
        let mut peer = Self::new();
        let event = peer.request("ANNOUNCE", "rtsp://h/live/show", "", SDP);
        assert_eq!(event, Some(Event::Announce(Credentials::new(None, "live", "show"))));
        peer.session.accept();
        assert!(peer.answer().starts_with("RTSP/1.0 200 "));
        peer
    }
}

const TCP: &str = "Transport: RTP/AVP/TCP;unicast;interleaved=2-3;mode=record\r\n";

#[test]
fn ffmpeg_s_way_over_tcp() {
    let mut peer = Peer::new();
    assert_eq!(peer.request("OPTIONS", "rtsp://h/live/show", "", ""), None);
    assert!(peer.answer().contains("Public: OPTIONS, ANNOUNCE"));
    let mut peer = Peer::announced();
    assert_eq!(peer.request("SETUP", "rtsp://h/live/show/streamid=1", TCP, ""), None);
    let answer = peer.answer();
    assert!(answer.contains("Transport: RTP/AVP/TCP;unicast;interleaved=2-3;mode=record\r\n"), "{answer}");
    assert!(answer.contains("Session: S1;timeout=60\r\n") && answer.contains("CSeq: 2\r\n"), "{answer}");
    assert_eq!(peer.send(b"$\x02\x00\x01x"), None, "nothing is taken before RECORD");
    assert_eq!(peer.request("RECORD", "rtsp://h/live/show", "", ""), Some(Event::Record));
    // What follows waits for the answer.
    assert_eq!(peer.send(b"$\x03\x00\x01y"), None);
    peer.session.accept();
    let control = true;
    assert_eq!(peer.send(b""), Some(Event::Packet { medium: 1, control, data: Bytes::from_static(b"y") }));
    assert_eq!(peer.send(b"$\x00\x00\x01z"), None, "not a channel of a track");
    let (media, udp) = peer.session.media();
    assert!(media[0].is_none() && media[1].is_some() && !udp);
    assert_eq!(peer.request("TEARDOWN", "rtsp://h/live/show", "", ""), Some(Event::Teardown));
    assert!(peer.session.is_closing());
}

#[test]
fn udp_ports_are_answered_and_a_pause_is_one() {
    let mut peer = Peer::announced();
    let wish = "Transport: RTP/AVP/UDP;unicast;client_port=5000-5001;mode=record\r\n";
    let event = peer.request("SETUP", "rtsp://h/live/show/streamid=0", wish, "");
    assert_eq!(event, Some(Event::Open { medium: 0, ports: (5_000, 5_001) }));
    peer.session.opened((30_000, 30_001));
    let answer = peer.answer();
    assert!(answer.contains("client_port=5000-5001;server_port=30000-30001;mode=record"), "{answer}");
    assert_eq!(peer.request("RECORD", "rtsp://h/live/show", "", ""), Some(Event::Record));
    peer.session.accept();
    assert!(peer.session.is_recording() && peer.session.media().1);
    assert_eq!(peer.request("PAUSE", "rtsp://h/live/show", "", ""), Some(Event::Pause));
    assert!(!peer.session.is_recording());
    assert_eq!(peer.request("RECORD", "rtsp://h/live/show", "", ""), Some(Event::Record));
}

/// RTSP-19: path, query, and the password of Basic.
#[test]
fn a_key_is_found_wherever_it_stands() {
    let shown = |url: &str, headers: &str| match Peer::new().request("ANNOUNCE", url, headers, SDP) {
        Some(Event::Announce(credentials)) => credentials,
        other => panic!("{other:?}"),
    };
    assert_eq!(shown("rtsp://h/live/show?key=S", ""), Credentials::new(None, "live", "show?key=S"));
    assert_eq!(shown("rtsp://h/SECRET", ""), Credentials::new(None, "", "SECRET"));
    let of_pair = |pair: &str| format!("Authorization: Basic {}\r\n", BASE64.encode(pair));
    let expected = Credentials::new(None, "live", "show?key=S");
    assert_eq!(shown("rtsp://h/live/show", &of_pair("anybody:S")), expected);
    assert_eq!(shown("rtsp://h/live/show", &of_pair("S:")), expected);
    assert_eq!(shown("rtsp://h/live/show?key=S", &of_pair("x:other")), expected);
    assert_eq!(
        shown("rtsp://h/live/show", "Authorization: Digest x\r\n"),
        Credentials::new(None, "live", "show")
    );
}

#[test]
fn a_missing_key_is_asked_for_and_a_wrong_one_ends_it() {
    let mut peer = Peer::new();
    peer.request("ANNOUNCE", "rtsp://h/live/show", "", SDP);
    peer.session.refuse(Refuse::Key, "This server needs a key");
    let answer = peer.answer();
    assert!(answer.starts_with("RTSP/1.0 401 This server needs a key\r\n"), "{answer}");
    assert!(answer.contains("WWW-Authenticate: Basic realm="), "{answer}");
    assert!(peer.request("ANNOUNCE", "rtsp://h/live/show", "", SDP).is_some());
    peer.session.refuse(Refuse::Denied, "Wrong");
    assert!(peer.answer().starts_with("RTSP/1.0 403 Wrong\r\n") && peer.session.is_closing());
}

#[test]
fn what_comes_at_the_wrong_time_or_is_not_understood_is_answered() {
    for (method, headers, status) in [
        ("SETUP", TCP, "455"),
        ("RECORD", "", "455"),
        ("PLAY", "", "405"),
        ("FLYING", "", "501"),
        ("ANNOUNCE", "Content-Type: text/html\r\n", "400"),
        ("GET_PARAMETER", "", "200"),
    ] {
        let mut peer = Peer::new();
        assert_eq!(peer.request(method, "rtsp://h/live/show", headers, ""), None);
        let answer = peer.answer();
        assert!(answer.starts_with(&format!("RTSP/1.0 {status} ")), "{method}: {answer}");
    }
    let mut peer = Peer::announced();
    peer.request("SETUP", "rtsp://h/live/show/streamid=0", "Transport: RTP/SAVP;client_port=1-2\r\n", "");
    assert!(peer.answer().starts_with("RTSP/1.0 461 "));
    peer.request("SETUP", "rtsp://h/live/show/streamid=0", TCP, "");
    peer.answer();
    peer.request("SETUP", "rtsp://h/live/show/streamid=1", TCP, "");
    assert!(peer.answer().starts_with("RTSP/1.0 461 "), "channels are one track's");
    let mut peer = Peer::new();
    assert_eq!(peer.send(b"OPTIONS * RTSP/1.0\r\n\r\n"), None);
    assert!(peer.answer().starts_with("RTSP/1.0 400 CSeq is missing\r\n"));
}

#[test]
fn a_flood_of_requests_ends_the_session() {
    let (mut session, now) = (Session::new("S".into(), 5, clock()), clock());
    let mut input = BytesMut::from(&b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n".repeat(50)[..]);
    assert_eq!(session.handle_input(now, &mut input), Err(SessionError::Requests));
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Peer::new().session.handle_input(clock(), &mut BytesMut::from(&bytes[..]));
    }

    #[test]
    fn no_request_panics(method in "(ANNOUNCE|SETUP|RECORD|PAUSE)", url in "[ -~]{0,30}", header in "[ -~]{0,40}", body in "[ -~\r\n]{0,60}") {
        let mut peer = Peer::announced();
        let text = format!(
            "{method} rtsp://h/{url} RTSP/1.0\r\nCSeq: 1\r\nTransport: {header}\r\nAuthorization: {header}\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        peer.input.extend_from_slice(text.as_bytes());
        let _ = peer.session.handle_input(clock(), &mut peer.input);
    }
}
