//! The way out, and the silence that goes beside pictures without sound.

use std::io::{self, BufWriter, Write};

use aqueduct_common::TrackId;
use aqueduct_common::codec::AacConfig;
use bytes::Bytes;

use crate::protocol::encode;
use crate::pull::protocol::{FromPull, Packet, Stream};

/// Bytes that are written in one go.
const BUFFER: usize = 128 << 10;

/// Writes messages to the host.
pub(super) struct Output {
    writer: BufWriter<Box<dyn Write + Send>>,
}

impl Output {
    pub(super) fn new(output: impl Write + Send + 'static) -> Self {
        Self { writer: BufWriter::with_capacity(BUFFER, Box::new(output)) }
    }

    /// Sends a message. Waits for a host that is slow.
    pub(super) fn send(&mut self, message: &FromPull) -> io::Result<()> {
        let encoded = match encode(message) {
            Ok(encoded) => encoded,
            // A packet beyond the protocol's limit is lost, as a damaged one is.
            Err(_) if matches!(message, FromPull::Packet(_)) => return Ok(()),
            Err(error) => return Err(io::Error::other(error)),
        };
        self.writer.write_all(&encoded.head)?;
        self.writer.write_all(&encoded.payload)?;
        self.writer.flush()
    }
}

/// AudioSpecificConfig: Low Complexity, 48 kHz, stereo.
const CONFIG: [u8; 2] = [0x11, 0x90];
/// Samples of a frame, and a second's.
const SAMPLES: i64 = 1_024;
const RATE: i64 = 48_000;
/// More than this is not caught up: the clock has jumped.
const BEHIND_MAX: i64 = 2_000_000_000;

/// AAC frames of silence.
#[derive(Debug)]
pub(super) struct Silence {
    frame: Bytes,
    /// The time of the first one, and how many were given since.
    from: Option<(i64, i64)>,
}

impl Silence {
    /// `None` where no silence can be made, which these parameters do not do.
    pub(super) fn new() -> Option<Self> {
        let config = AacConfig::parse(&Bytes::from_static(&CONFIG)).ok()?;
        Some(Self { frame: config.silence()?, from: None })
    }

    /// What it is coded with.
    pub(super) fn stream() -> Stream {
        Stream {
            track: TrackId::AUDIO.0,
            codec: "aac".into(),
            header: CONFIG.to_vec(),
            rate: RATE as u32,
            channels: 2,
            profile: 1,
            language: String::new(),
        }
    }

    /// The frames that begin before `nanos`.
    pub(super) fn until(&mut self, nanos: i64, out: &mut Output) -> io::Result<()> {
        while let Some(packet) = self.next(nanos) {
            out.send(&FromPull::Packet(packet))?;
        }
        Ok(())
    }

    fn next(&mut self, nanos: i64) -> Option<Packet> {
        let (start, mut count) = *self.from.get_or_insert((nanos, 0));
        let at = |count: i64| start.saturating_add(count.saturating_mul(SAMPLES * 1_000_000_000) / RATE);
        let behind = nanos.saturating_sub(at(count));
        if behind.saturating_abs() > BEHIND_MAX {
            self.from = Some((nanos, 0));
            return self.next(nanos);
        }
        if behind < 0 {
            return None;
        }
        let (dts, duration) = (at(count), at(count + 1) - at(count));
        count += 1;
        self.from = Some((start, count));
        Some(Packet {
            track: TrackId::AUDIO,
            key: true,
            damaged: false,
            dts,
            pts: dts,
            duration,
            payload: self.frame.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_keeps_up_with_pictures_and_does_not_drift() {
        let mut silence = Silence::new().unwrap();
        let mut all = Vec::new();
        for picture in 0..2_500_i64 {
            while let Some(packet) = silence.next(picture * 40_000_000) {
                all.push(packet.dts);
            }
        }
        // 100 s less one picture, at 46.875 frames a second.
        assert_eq!(all.len(), 4_686);
        assert_eq!(all[4_500], 96_000_000_000);
        assert!(all.windows(2).all(|pair| (pair[1] - pair[0] - 21_333_333).abs() <= 1));
    }

    #[test]
    fn a_jump_begins_anew_and_is_not_filled() {
        let mut silence = Silence::new().unwrap();
        assert_eq!(silence.next(0).map(|packet| packet.dts), Some(0));
        assert_eq!(silence.next(90_000_000_000).map(|packet| packet.dts), Some(90_000_000_000));
        assert_eq!(silence.next(90_000_000_000), None);
    }
}
