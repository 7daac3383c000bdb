//! The timeline under any order of frames, stamps and publishers: what comes out keeps the contract of a feed.
#![no_main]

use std::collections::HashMap;
use std::time::Duration;

use aqueduct_common::{TrackId, TrackKind, WallTime};
use aqueduct_fuzz::codecs;
use aqueduct_fuzz::contract::Contract;
use aqueduct_ingest::demux::CodedFrame;
use aqueduct_ingest::timeline::Timeline;
use bytes::Bytes;
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
enum Step {
    /// A picture this many milliseconds after the last, with this composition offset.
    Picture {
        step: i16,
        cts: i32,
        sync: bool,
    },
    /// Pictures in a row on a grid.
    Pictures {
        step: u8,
        count: u8,
    },
    /// Audio frames in a row, this far from where they belong.
    Sound {
        off: i16,
        count: u8,
    },
    /// Pictures and sound together for a while, as encoders send them.
    Both {
        count: u8,
    },
    /// Both stamps jump.
    Jump {
        by: i32,
    },
    /// Time passes without media.
    Silence {
        millis: u16,
    },
    /// Frames of a further track, video 2 to 4 or audio 7 and 8, stamped this far from the newest picture or sound.
    Further {
        track: u8,
        off: i16,
        sync: bool,
        count: u8,
    },
    /// Another configuration for it.
    FurtherConfig {
        track: u8,
        config: u8,
    },
    Video {
        config: bool,
    },
    Audio {
        config: u8,
    },
    /// Another publisher, whose stamps begin here.
    Return {
        at: u32,
    },
    Leave,
}

struct Publisher {
    timeline: Timeline,
    contract: Contract,
    elapsed: u64,
    video: u32,
    sound: u32,
    /// Milliseconds of sound in millionths, so that its stamps round as a publisher's do.
    fraction: u64,
    configured: [bool; 2],
    awaits_sync: bool,
    audio: u8,
    /// Further tracks that have a configuration, and whether a sync frame has to come next.
    further: HashMap<TrackId, bool>,
}

fuzz_target!(|steps: Vec<Step>| {
    let mut publisher = Publisher::new();
    publisher.begin(0);
    publisher.video_config(true);
    publisher.audio_config(0);
    for step in steps.into_iter().take(64) {
        publisher.take(step);
    }
    publisher.timeline.end();
    publisher.drain();
});

impl Publisher {
    fn new() -> Self {
        Self {
            timeline: Timeline::new(),
            contract: Contract::default(),
            elapsed: 0,
            video: 0,
            sound: 0,
            fraction: 0,
            configured: [false; 2],
            awaits_sync: true,
            audio: 0,
            further: HashMap::new(),
        }
    }

    fn begin(&mut self, at: u32) {
        self.timeline.begin();
        (self.video, self.sound) = (at, at);
        self.configured = [false; 2];
        self.awaits_sync = true;
        self.further.clear();
    }

    fn video_config(&mut self, choice: bool) {
        self.timeline.config(TrackId::VIDEO, codecs::video(choice));
        self.configured[0] = true;
        self.awaits_sync = true;
    }

    fn audio_config(&mut self, choice: u8) {
        self.audio = choice;
        self.timeline.config(TrackId::AUDIO, codecs::audio(choice).0);
        self.configured[1] = true;
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Picture { step, cts, sync } => self.picture(step.into(), cts, sync),
            Step::Pictures { step, count } => {
                (0..count).for_each(|index| self.picture(step.into(), 0, index % 30 == 0));
            }
            Step::Sound { off, count } => {
                self.sound = self.sound.wrapping_add_signed(off.into());
                (0..count).for_each(|_| self.frame());
            }
            Step::Both { count } => {
                for index in 0..count {
                    self.picture(40, 80, index % 50 == 0);
                    self.frame();
                    self.frame();
                }
            }
            Step::Jump { by } => {
                self.video = self.video.wrapping_add_signed(by);
                self.sound = self.sound.wrapping_add_signed(by);
            }
            Step::Silence { millis } => self.elapsed += u64::from(millis),
            Step::Further { track, off, sync, count } => {
                (0..count % 16).for_each(|index| self.beside(further(track), off, sync && index == 0));
            }
            Step::FurtherConfig { track, config } => self.further_config(further(track), config),
            Step::Video { config } => self.video_config(config),
            Step::Audio { config } => self.audio_config(config),
            Step::Return { at } => {
                self.begin(at);
                self.video_config(true);
                self.audio_config(self.audio);
            }
            Step::Leave => {
                self.timeline.end();
                self.drain();
            }
        }
    }

    fn picture(&mut self, step: i32, cts: i32, sync: bool) {
        self.video = self.video.wrapping_add_signed(step);
        self.elapsed += u64::from(step.clamp(0, 2_000).unsigned_abs());
        if !self.configured[0] {
            return;
        }
        // The demuxer promises that a new configuration is followed by a sync sample.
        let sync = sync || self.awaits_sync;
        self.awaits_sync = false;
        self.push(CodedFrame {
            track: TrackId::VIDEO,
            kind: TrackKind::Video,
            timestamp: self.video,
            nanos: 0,
            cts: cts << 8 >> 8, // as 24 bits carry it
            sync,
            disposable: false,
            samples: 0,
            nominal: 0,
            payload: Bytes::from_static(&[0, 0, 0, 1, 0x65]),
        });
    }

    fn frame(&mut self) {
        let (config, samples) = codecs::audio(self.audio);
        let rate = u64::from(codecs::rate(&config));
        self.fraction += u64::from(samples) * 1_000_000_000 / rate;
        self.sound = self.sound.wrapping_add((self.fraction / 1_000_000) as u32);
        self.fraction %= 1_000_000;
        if !self.configured[1] {
            return;
        }
        self.push(CodedFrame {
            track: TrackId::AUDIO,
            kind: TrackKind::Audio,
            timestamp: self.sound,
            nanos: 0,
            cts: 0,
            sync: true,
            disposable: false,
            samples,
            nominal: i64::from(samples) * 705_600_000 / rate as i64,
            payload: Bytes::from_static(&[0x21, 0, 0, 0, 0, 0x1c]),
        });
    }

    fn further_config(&mut self, track: TrackId, config: u8) {
        let config = if is_sound(track) { codecs::audio(config).0 } else { codecs::video(config % 2 == 0) };
        self.timeline.config(track, config);
        self.further.insert(track, true);
    }

    fn beside(&mut self, track: TrackId, off: i16, sync: bool) {
        if !self.further.contains_key(&track) {
            self.further_config(track, 0);
        }
        let awaits_sync = self.further.insert(track, false).unwrap_or(true);
        let sound = is_sound(track);
        let (kind, stamp) =
            if sound { (TrackKind::Audio, self.sound) } else { (TrackKind::Video, self.video) };
        self.push(CodedFrame {
            track,
            kind,
            timestamp: stamp.wrapping_add_signed(off.into()),
            nanos: 0,
            cts: 0,
            sync: sync || sound || awaits_sync,
            disposable: false,
            samples: if sound { 1_024 } else { 0 },
            nominal: if sound { 1_024 * 14_700 } else { 0 },
            payload: Bytes::from_static(&[0, 0, 0, 1, 0x65]),
        });
    }

    fn push(&mut self, frame: CodedFrame) {
        let now = aqueduct_fuzz::start() + Duration::from_millis(self.elapsed);
        let wall = WallTime { micros: 1_700_000_000_000_000 + self.elapsed as i64 * 1_000 };
        self.timeline.push(now, wall, frame);
        self.drain();
        assert!(self.timeline.wait() <= Duration::from_secs(3_600));
    }

    fn drain(&mut self) {
        while let Some(message) = self.timeline.poll() {
            self.contract.check(&message);
        }
        self.timeline.take_counts().for_each(drop);
        while self.timeline.take_notice().is_some() {}
    }
}

/// One of five further tracks.
fn further(choice: u8) -> TrackId {
    TrackId([2, 3, 4, 7, 8][usize::from(choice % 5)])
}

fn is_sound(track: TrackId) -> bool {
    track.0 >= 7
}
