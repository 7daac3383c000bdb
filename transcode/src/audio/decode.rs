//! Any codec that libav reads, to planar floats in mono or stereo at the source's rate.

use aqueduct_common::CodecConfig;
use aqueduct_common::codec::{ForeignCodec, ForeignConfig};
use av::software::resampling;
use ffmpeg_next as av;

use super::AudioError;
use super::pcm::{FORMAT, Pcm, layout};
use crate::sys::{AvError, open_sound_decoder};

/// A decoder and the channel map behind it.
pub(super) struct Decoder {
    codec: av::decoder::Audio,
    /// What it gives: as many as the first frame has, two at most. A configuration need not say how many they are.
    channels: Option<usize>,
    /// Made for what the decoder really gives, which its configuration need not say.
    mapper: Option<resampling::Context>,
}

/// What a packet decoded to.
pub(super) struct Decoded {
    pub(super) pcm: Pcm,
    /// In Hz.
    pub(super) rate: u32,
}

impl Decoder {
    /// A decoder for `config`.
    pub(super) fn open(config: &CodecConfig) -> Result<Self, AudioError> {
        let not_sound = || AudioError::NotSound { codec: config.rfc6381() };
        let (rate, coded) = config.sound().ok_or_else(not_sound)?;
        let (id, record) = libav_name(config).ok_or_else(not_sound)?;
        let codec = open_sound_decoder(id, &record, rate, coded, code_bits(config))?;
        Ok(Self { codec, channels: None, mapper: None })
    }

    /// Settles for so many channels, one or two, where no frame has said it yet.
    pub(super) fn settle(&mut self, channels: usize) -> usize {
        *self.channels.get_or_insert(channels)
    }

    /// Decodes one packet. `None` where it gives nothing yet.
    pub(super) fn push(&mut self, packet: &[u8]) -> Result<Option<Decoded>, AvError> {
        let refused = |error: av::Error| AvError::new("decoding sound", error.to_string());
        self.codec.send_packet(&av::Packet::copy(packet)).map_err(refused)?;
        let mut all: Option<Decoded> = None;
        let mut frame = av::frame::Audio::empty();
        while self.codec.receive_frame(&mut frame).is_ok() {
            let decoded = self.map(&frame).map_err(refused)?;
            match &mut all {
                Some(all) if all.rate == decoded.rate => all.pcm.append(&decoded.pcm),
                _ => all = Some(decoded),
            }
        }
        Ok(all)
    }

    /// Forgets what came before, at a break.
    pub(super) fn reset(&mut self) {
        self.codec.flush();
    }

    /// Converts to planar floats, and to the channels wanted: L + 0.707·C + 0.707·Ls, the low-frequency channel dropped
    /// (AVP-2), which is libav's own mapping to floats.
    fn map(&mut self, frame: &av::frame::Audio) -> Result<Decoded, av::Error> {
        let rate = frame.rate();
        let known = frame.channel_layout();
        let coded = if known.channels() > 0 { known } else { layout(self.codec.channels().into()) };
        let channels = self.settle(usize::try_from(coded.channels()).unwrap_or(2).clamp(1, 2));
        let fits = |mapper: &&mut resampling::Context| {
            let input = mapper.input();
            input.format == frame.format() && input.channel_layout == coded && input.rate == rate
        };
        let mapper = match self.mapper.as_mut().filter(fits) {
            Some(mapper) => mapper,
            None => self.mapper.insert(resampling::Context::get(
                frame.format(),
                coded,
                rate,
                FORMAT,
                layout(channels),
                rate,
            )?),
        };
        let mut mapped = av::frame::Audio::new(FORMAT, frame.samples(), layout(channels));
        mapper.run(frame, &mut mapped)?;
        let mut pcm = Pcm::of_frame(&mapped);
        pcm.sanitise();
        Ok(Decoded { pcm, rate })
    }
}

/// libav's name for a codec, and the record as its decoder wants it.
fn libav_name(config: &CodecConfig) -> Option<(av::codec::Id, Vec<u8>)> {
    use av::codec::Id;
    match config {
        CodecConfig::Aac(aac) => Some((Id::AAC, aac.record.to_vec())),
        // No samples are skipped at the start: stamps say when each is heard.
        CodecConfig::Opus(opus) => Some((Id::OPUS, opus_head(opus.channels))),
        CodecConfig::Foreign(ForeignConfig { codec, record, .. }) => {
            let id = match codec {
                ForeignCodec::Mp2 => Id::MP2,
                ForeignCodec::Mp3 => Id::MP3,
                ForeignCodec::ALaw => Id::PCM_ALAW,
                ForeignCodec::MuLaw => Id::PCM_MULAW,
                ForeignCodec::Ac3 => Id::AC3,
                ForeignCodec::Eac3 => Id::EAC3,
                ForeignCodec::Flac => Id::FLAC,
                ForeignCodec::Vorbis => Id::VORBIS,
                ForeignCodec::G722 => Id::ADPCM_G722,
                ForeignCodec::Pcm16 => Id::PCM_S16BE,
                ForeignCodec::G726 => Id::ADPCM_G726LE,
                ForeignCodec::G726High => Id::ADPCM_G726,
            };
            let record = if code_bits(config).is_some() { Vec::new() } else { record.to_vec() };
            Some((id, record))
        }
        _ => None,
    }
}

/// Bits of a code, where packets do not say it.
fn code_bits(config: &CodecConfig) -> Option<u8> {
    match config {
        CodecConfig::Foreign(ForeignConfig {
            codec: ForeignCodec::G726 | ForeignCodec::G726High,
            record,
            ..
        }) => record.first().copied(),
        _ => None,
    }
}

/// An OpusHead (RFC 7845, 5.1) without pre-skip.
fn opus_head(channels: u8) -> Vec<u8> {
    let mut head = b"OpusHead\x01".to_vec();
    head.extend([channels, 0, 0]);
    head.extend(48_000u32.to_le_bytes());
    head.extend([0, 0, 0]);
    head
}
