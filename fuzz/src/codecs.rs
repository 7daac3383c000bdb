//! Real configurations, for targets that begin behind their parsers.

use aqueduct_common::CodecConfig;
use aqueduct_common::codec::{AacConfig, AvcConfig, OpusConfig};
use bytes::Bytes;

const AVC: [&str; 2] = [
    "014d4020ffe10019674d4020eca02802dd80880000030008000003032078c18cb001000568ebe3cb20",
    "0142c00dffe100186742c00dd90141fb011000000300100000030320f142a48001000568cb83cb20",
];
/// 48 kHz stereo, 44.1 kHz mono, HE-AAC at 48 kHz.
const AAC: [&str; 3] = ["1190", "1208", "131056e598"];

fn hex(text: &str) -> Bytes {
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal");
    (0..text.len()).step_by(2).map(byte).collect()
}

/// One of two video configurations.
pub fn video(choice: bool) -> CodecConfig {
    CodecConfig::H264(AvcConfig::parse(&hex(AVC[usize::from(choice)])).expect("a real record"))
}

/// One of four audio configurations, and the decoded samples of its frames.
pub fn audio(choice: u8) -> (CodecConfig, u32) {
    match AAC.get(usize::from(choice % 4)) {
        Some(record) => {
            let config = AacConfig::parse(&hex(record)).expect("a real record");
            let samples = config.frame_samples;
            (CodecConfig::Aac(config), samples)
        }
        None => (CodecConfig::Opus(OpusConfig::parse_head(&Bytes::new()).expect("stereo")), 960),
    }
}

/// Sampling rate of an audio configuration.
pub fn rate(config: &CodecConfig) -> u32 {
    config.sound().map_or(1, |(rate, _)| rate)
}
