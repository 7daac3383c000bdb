//! Audio messages, each behind a 16-bit length: the legacy header and Enhanced RTMP, down to coded frames.
#![no_main]

use aqueduct_common::TrackKind;
use aqueduct_ingest::demux::{Demuxed, Demuxer};
use aqueduct_ingest::flv::audio;
use aqueduct_ingest::rtmp::{MediaKind, Message};
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut demuxer = Demuxer::new(true);
    let mut configured = false;
    for (index, body) in aqueduct_fuzz::pieces(data).enumerate() {
        let body = Bytes::copy_from_slice(body);
        if let Ok(tag) = audio::parse(&body) {
            assert!(tag.nanos <= 999_999, "RTMP-57");
        }
        let length = body.len();
        demuxer.push(&Message { kind: MediaKind::Audio, timestamp: index as u32 * 21, body });
        while let Some(demuxed) = demuxer.poll() {
            match demuxed {
                Demuxed::Config(_, config) => {
                    assert_eq!(config.kind(), TrackKind::Audio);
                    configured = true;
                }
                Demuxed::Frame(frame) => {
                    assert!(configured, "a configuration comes first");
                    assert!(frame.sync && frame.samples > 0 && frame.nominal > 0);
                    assert!(!frame.payload.is_empty() && frame.payload.len() < length);
                }
            }
        }
        demuxer.take_notice().map(|notice| notice.advice());
        demuxer.take_counts().for_each(drop);
    }
});
