//! A synthetic stream in the shape of a real one: H.264 with a keyframe every second, AAC beside it, every frame of
//! a kind equally large and numbered. Passthrough never decodes, so the pictures are noise.

use std::time::Duration;

use crate::marker;
use crate::rtmp::{Kind, append, metadata};

/// 1280x720, Main, level 3.1, 30 fps in its VUI.
pub const SPS: &[u8] = &[
    0x67, 0x4d, 0x40, 0x1f, 0xda, 0x01, 0x40, 0x16, 0xec, 0x04, 0x40, 0x00, 0x00, 0x03, 0x00, 0x40, 0x00,
    0x00, 0x0f, 0x23, 0xc6, 0x0c, 0xa8,
];
/// Its picture parameter set.
pub const PPS: &[u8] = &[0x68, 0xef, 0x0f, 0xc8];
/// AAC-LC, 48 kHz, stereo.
const AUDIO_CONFIG: &[u8] = &[0x11, 0x90];

const FRAMES_PER_SECOND: u32 = 30;
const FRAMES_PER_GOP: u32 = 30;
const AUDIO_RATE: u64 = 48_000;
const AUDIO_FRAME: u64 = 1_024;
/// 128 kbit/s.
const AUDIO_BYTES: usize = 341;
/// Length field and first bytes of a NAL unit: type, first_mb_in_slice 0, slice_type.
const SLICE_HEAD: usize = 7;

/// Which of the two tracks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Track {
    /// H.264.
    Video,
    /// AAC.
    Audio,
}

/// A frame to be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Frame {
    /// Of which track.
    pub track: Track,
    /// Its number within the track, from 0.
    pub index: u32,
}

impl Frame {
    /// When it is due after the stream's begin.
    pub fn due(self) -> Duration {
        match self.track {
            Track::Video => {
                Duration::from_micros(u64::from(self.index) * 1_000_000 / u64::from(FRAMES_PER_SECOND))
            }
            Track::Audio => {
                Duration::from_micros(u64::from(self.index) * AUDIO_FRAME * 1_000_000 / AUDIO_RATE)
            }
        }
    }

    /// Its stamp in milliseconds, rounded as encoders do.
    fn stamp(self) -> u32 {
        (self.due().as_micros() as u32 + 500) / 1_000
    }
}

/// A stream's frames in the order of their times.
#[derive(Clone, Debug)]
pub struct Source {
    video_bytes: usize,
    video: Frame,
    audio: Frame,
    body: Vec<u8>,
}

impl Source {
    /// A stream of `megabits` a second of video; 3 give parts of 75 kB.
    pub fn new(megabits: f64) -> Self {
        let bytes = megabits * 1e6 / 8.0 / f64::from(FRAMES_PER_SECOND);
        Self {
            video_bytes: bytes as usize,
            video: Frame { track: Track::Video, index: 0 },
            audio: Frame { track: Track::Audio, index: 0 },
            body: Vec::new(),
        }
    }

    /// Metadata and both codec configurations.
    pub fn headers(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let fields = [
            ("width", 1_280.0),
            ("height", 720.0),
            ("framerate", f64::from(FRAMES_PER_SECOND)),
            ("videocodecid", 7.0),
            ("audiocodecid", 10.0),
            ("audiosamplerate", AUDIO_RATE as f64),
        ];
        append(&mut out, Kind::Data, 0, &metadata(&fields));
        let mut video = vec![0x17, 0, 0, 0, 0, 1, SPS[1], SPS[2], SPS[3], 0xff, 0xe1, 0, SPS.len() as u8];
        video.extend(SPS);
        video.extend([1, 0, PPS.len() as u8]);
        video.extend(PPS);
        append(&mut out, Kind::Video, 0, &video);
        append(&mut out, Kind::Audio, 0, &[&[0xaf, 0], AUDIO_CONFIG].concat());
        out
    }

    /// Writes the next frame to `out` as a camera's payloads carry it, a NAL unit or an access unit, and says which it is.
    pub fn next_bare(&mut self, out: &mut Vec<u8>) -> Frame {
        let frame = self.next(&mut Vec::new());
        // What RTMP puts before it: its header, and for pictures the unit's length.
        let head = match frame.track {
            Track::Audio => 2,
            Track::Video => 9,
        };
        out.extend(self.body.get(head..).unwrap_or_default());
        frame
    }

    /// Writes the next frame to `out` and says which it is.
    pub fn next(&mut self, out: &mut Vec<u8>) -> Frame {
        let frame = if self.audio.due() < self.video.due() { self.audio } else { self.video };
        self.body.clear();
        match frame.track {
            Track::Audio => {
                self.body.extend([0xaf, 1, 0x21]);
                fill(&mut self.body, frame.index, AUDIO_BYTES - 1);
                append(out, Kind::Audio, frame.stamp(), &self.body);
                self.audio.index += 1;
            }
            Track::Video => {
                let key = frame.index % FRAMES_PER_GOP == 0;
                self.body.extend([if key { 0x17 } else { 0x27 }, 1, 0, 0, 0]);
                self.body.extend((self.video_bytes as u32 - 4).to_be_bytes());
                self.body.extend(if key { [0x65, 0x88, 0x84] } else { [0x41, 0x9a, 0x24] });
                fill(&mut self.body, frame.index, self.video_bytes - SLICE_HEAD);
                append(out, Kind::Video, frame.stamp(), &self.body);
                self.video.index += 1;
            }
        }
        frame
    }
}

/// The frame's marker, and noise without zero bytes up to `length`.
fn fill(body: &mut Vec<u8>, index: u32, length: usize) {
    body.extend(marker::of(index));
    let mut state = index.wrapping_mul(0x9e37_79b9) | 1;
    body.extend((marker::LEN..length).map(|_| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 8) as u8 | 1
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_its_frames_and_bytes() {
        let mut source = Source::new(3.0);
        let (mut out, mut video, mut audio) = (Vec::new(), 0, 0);
        loop {
            let before = out.len();
            let frame = source.next(&mut out);
            if frame.due() >= Duration::from_secs(1) {
                out.truncate(before);
                break;
            }
            match frame.track {
                Track::Video => video += 1,
                Track::Audio => audio += 1,
            }
        }
        assert_eq!((video, audio), (30, 47));
        let expected = 30 * 12_500 + 47 * AUDIO_BYTES;
        assert!(out.len() > expected && out.len() < expected + 3_000, "{} bytes", out.len());
    }
}
