//! The audio track.

use aqueduct_common::TrackKind;
use aqueduct_common::codec::{AacConfig, CodecConfig, ForeignCodec, ForeignConfig, OpusConfig, opus};
use bytes::Bytes;

use super::{Dropped, Found, Frame, Packet, Stream, adts};

/// State of the audio track.
#[derive(Debug)]
pub(super) struct Sound {
    codec: Codec,
    config: Option<CodecConfig>,
    told: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Codec {
    /// Frames alone; the container has their configuration.
    Aac,
    /// Each frame behind a header.
    Adts,
    Opus,
    Foreign(ForeignCodec),
}

impl Sound {
    /// A track of this kind, or in words why it cannot be taken.
    pub(super) fn new(stream: &Stream, transcodes: bool) -> Result<Self, String> {
        let header = Bytes::copy_from_slice(&stream.header);
        let codec = codec(stream)?;
        if let (Codec::Foreign(codec), false) = (codec, transcodes) {
            return Err(format!(
                "{} sound is left out: it does not play in browsers without a transcode; set transcode.mode to \"auto\", \
                 or send AAC",
                codec.name()
            ));
        }
        let config = match codec {
            Codec::Aac => Some(AacConfig::parse(&header).map(CodecConfig::Aac)),
            Codec::Opus => Some(OpusConfig::parse_head(&header).map(CodecConfig::Opus)),
            Codec::Foreign(ForeignCodec::Flac) => {
                Some(ForeignConfig::flac(&header).map(CodecConfig::Foreign))
            }
            Codec::Foreign(ForeignCodec::Vorbis) => {
                Some(ForeignConfig::vorbis(&header).map(CodecConfig::Foreign))
            }
            Codec::Foreign(codec @ (ForeignCodec::ALaw | ForeignCodec::MuLaw)) => {
                let config = ForeignConfig::new(codec, stream.rate, stream.channels.max(1), Bytes::new());
                Some(config.map(CodecConfig::Foreign))
            }
            // Every packet says it.
            Codec::Adts | Codec::Foreign(_) => None,
        };
        let config = config.transpose().map_err(|error| format!("sound is left out: {error}"))?;
        Ok(Self { codec, config, told: false })
    }

    /// Takes one packet.
    pub(super) fn packet(&mut self, packet: Packet, out: &mut Vec<Found>) -> Result<(), Dropped> {
        match self.codec {
            Codec::Adts => return self.adts(&packet, out),
            Codec::Foreign(
                codec @ (ForeignCodec::Mp2 | ForeignCodec::Mp3 | ForeignCodec::Ac3 | ForeignCodec::Eac3),
            ) => {
                let config = ForeignConfig::of_packet(codec, &packet.payload)?;
                self.adopt(CodecConfig::Foreign(config));
            }
            _ => {}
        }
        let (samples, rate) = self.samples(&packet.payload)?;
        self.tell(out);
        out.push(Found::Frame(frame(packet.dts, samples, rate, packet.payload)));
        Ok(())
    }

    fn adts(&mut self, packet: &Packet, out: &mut Vec<Found>) -> Result<(), Dropped> {
        let mut at = packet.dts;
        let mut any = false;
        for (header, payload) in adts::frames(&packet.payload) {
            let config = AacConfig::parse(&Bytes::copy_from_slice(&header.config))?;
            self.adopt(CodecConfig::Aac(config));
            let (samples, rate) = self.samples(&payload)?;
            self.tell(out);
            out.push(Found::Frame(frame(at, samples, rate, payload)));
            at = at.saturating_add(i64::from(samples) * 1_000_000_000 / i64::from(rate));
            any = true;
        }
        if any { Ok(()) } else { Err(Dropped::BadSound) }
    }

    fn adopt(&mut self, config: CodecConfig) {
        if self.config.as_ref() != Some(&config) {
            (self.config, self.told) = (Some(config), false);
        }
    }

    fn tell(&mut self, out: &mut Vec<Found>) {
        if let Some(config) = &self.config
            && !std::mem::replace(&mut self.told, true)
        {
            out.push(Found::Config(config.clone()));
        }
    }

    /// Decoded samples of a frame, and what they are counted at.
    fn samples(&self, payload: &[u8]) -> Result<(u32, u32), Dropped> {
        match &self.config {
            Some(CodecConfig::Aac(config)) => Ok((config.frame_samples.max(1), config.output_rate.max(1))),
            Some(CodecConfig::Opus(_)) => {
                opus::packet_samples(payload).map(|samples| (samples, 48_000)).ok_or(Dropped::BadSound)
            }
            Some(CodecConfig::Foreign(config)) => {
                let samples = config.samples(payload).filter(|samples| *samples > 0);
                samples.map(|samples| (samples, config.rate)).ok_or(Dropped::BadSound)
            }
            _ => Err(Dropped::BadSound),
        }
    }
}

fn codec(stream: &Stream) -> Result<Codec, String> {
    Ok(match stream.codec.as_str() {
        "aac" if stream.header.is_empty() => Codec::Adts,
        "aac" => Codec::Aac,
        "opus" => Codec::Opus,
        "mp2" => Codec::Foreign(ForeignCodec::Mp2),
        "mp3" => Codec::Foreign(ForeignCodec::Mp3),
        "ac3" => Codec::Foreign(ForeignCodec::Ac3),
        "eac3" => Codec::Foreign(ForeignCodec::Eac3),
        "flac" => Codec::Foreign(ForeignCodec::Flac),
        "vorbis" => Codec::Foreign(ForeignCodec::Vorbis),
        "pcm_alaw" => Codec::Foreign(ForeignCodec::ALaw),
        "pcm_mulaw" => Codec::Foreign(ForeignCodec::MuLaw),
        other => {
            return Err(format!("sound of codec {other} is left out: send AAC, Opus, MP3, AC-3 or FLAC"));
        }
    })
}

fn frame(nanos: i64, samples: u32, rate: u32, payload: Bytes) -> Frame {
    Frame {
        track: aqueduct_common::TrackId::AUDIO,
        kind: TrackKind::Audio,
        nanos,
        offset: 0,
        sync: true,
        disposable: false,
        samples,
        rate,
        payload,
    }
}
