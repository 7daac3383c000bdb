//! Video messages, each behind a 16-bit length: the legacy header and Enhanced RTMP, down to coded frames.
#![no_main]

use std::collections::HashMap;

use aqueduct_common::TrackKind;
use aqueduct_ingest::demux::{Demuxed, Demuxer};
use aqueduct_ingest::flv::{VideoPacket, video};
use aqueduct_ingest::rtmp::{MediaKind, Message};
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut demuxer = Demuxer::default();
    // Of each track: whether its next frame has to be a sync sample.
    let mut configured = HashMap::new();
    for (index, body) in aqueduct_fuzz::pieces(data).enumerate() {
        let body = Bytes::copy_from_slice(body);
        if let Ok(tag) = video::parse(&body) {
            assert!(tag.nanos <= 999_999, "RTMP-57");
            if let Some(VideoPacket::Frame { data, .. }) = &tag.packet {
                assert!(data.len() < body.len());
            }
        }
        let length = body.len();
        demuxer.push(&Message { kind: MediaKind::Video, timestamp: index as u32 * 40, body });
        while let Some(demuxed) = demuxer.poll() {
            match demuxed {
                Demuxed::Config(track, config) => {
                    assert_eq!(config.kind(), TrackKind::Video);
                    configured.insert(track, true);
                }
                Demuxed::Frame(frame) => {
                    let awaits_sync =
                        configured.insert(frame.track, false).expect("a configuration comes first");
                    assert!(
                        frame.sync || !awaits_sync,
                        "the first frame after it is a sync sample (RTMP-48)"
                    );
                    assert!(!frame.payload.is_empty() && frame.payload.len() <= 4 * length);
                    assert!((-(1 << 23)..1 << 23).contains(&frame.cts), "24 bits");
                }
            }
        }
        demuxer.take_notice().map(|notice| notice.advice());
        demuxer.take_counts().for_each(drop);
    }
});
