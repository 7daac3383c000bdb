//! Inputs of libavformat: a URL, or bytes that somebody else reads.

use std::io::{Read, Seek};

use av::format::context::StreamIo;
use bytes::Bytes;
use ffmpeg_next as av;

use super::packet::Owner;
use super::{AGAIN, AvError};

/// Errors in a row after which an input is given up: a damaged packet is passed over, a broken input is not.
const BAD_IN_A_ROW: u32 = 64;
/// Longest extradata that is handed on, in bytes.
const EXTRADATA_MAX: usize = 64 << 10;

/// An open input.
pub(crate) struct Input {
    context: av::format::context::Input,
}

/// What a stream of an input is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    /// Its index in the input.
    pub(crate) index: usize,
    /// Pictures, sound, or neither.
    pub(crate) kind: Option<aqueduct_common::TrackKind>,
    /// The codec.
    pub(crate) codec: av::codec::Id,
    /// libav's name of the codec.
    pub(crate) name: String,
    /// Configuration record, or parameter sets with start codes; empty where there is none.
    pub(crate) extradata: Vec<u8>,
    /// ISO 639 language; empty where it does not say.
    pub(crate) language: String,
    /// Sampling rate in Hz and channels; 0 for pictures.
    pub(crate) sound: (u32, u16),
    /// The codec's number of its profile; negative where unknown.
    pub(crate) profile: i32,
    /// A picture that belongs to a piece of sound: no video.
    pub(crate) is_cover: bool,
}

/// One packet of an input, in nanoseconds of the input's own clock.
#[derive(Debug)]
pub(crate) struct Packet {
    /// Its stream's index.
    pub(crate) stream: usize,
    /// Decode time, where it is known.
    pub(crate) dts: Option<i64>,
    /// Presentation time, where it is known.
    pub(crate) pts: Option<i64>,
    /// Duration; 0 where unknown.
    pub(crate) duration: i64,
    /// The demuxer calls it a key frame.
    pub(crate) key: bool,
    /// The demuxer knows that bytes of it are missing.
    pub(crate) damaged: bool,
    /// Its bytes.
    pub(crate) payload: Bytes,
}

impl Input {
    /// Opens a URL. Options that nobody takes are passed over, as every protocol has its own.
    pub(crate) fn open(url: &str, options: &[(String, String)]) -> Result<Self, AvError> {
        super::init();
        av::format::network::init();
        if url.contains('\0') {
            return Err(AvError::new("opening the source", "its address holds a zero byte"));
        }
        let opened = av::format::input_with_dictionary(url, dictionary(options)?);
        opened.map(|context| Self { context }).map_err(|error| AvError::of("opening the source", error))
    }

    /// Opens bytes that can only be read on.
    pub(crate) fn read(
        io: impl Read + Send + 'static,
        options: &[(String, String)],
    ) -> Result<Self, AvError> {
        Self::custom(StreamIo::from_read(io), None, options)
    }

    /// Opens bytes in which libavformat may go back and forth. `name` helps to tell the format.
    pub(crate) fn seek(
        io: impl Read + Seek + Send + 'static,
        name: &str,
        options: &[(String, String)],
    ) -> Result<Self, AvError> {
        Self::custom(StreamIo::from_read_seek(io), Some(name), options)
    }

    fn custom(
        io: Result<StreamIo, av::Error>,
        name: Option<&str>,
        options: &[(String, String)],
    ) -> Result<Self, AvError> {
        super::init();
        let what = "opening the source";
        let io = io.map_err(|error| AvError::of(what, error))?;
        let opened = av::format::input_from_stream(io, name, Some(dictionary(options)?));
        opened.map(|context| Self { context }).map_err(|error| AvError::of(what, error))
    }

    /// How many streams are known by now.
    pub(crate) fn len(&self) -> usize {
        self.context.streams().len()
    }

    /// What its streams are, as far as is known by now.
    pub(crate) fn streams(&self) -> Vec<Facts> {
        self.context.streams().map(|stream| facts(&stream)).collect()
    }

    /// The next packet; `None` at the end. Waits for it.
    pub(crate) fn next(&mut self) -> Result<Option<Packet>, AvError> {
        let mut bad = 0;
        loop {
            let mut packet = av::Packet::empty();
            match packet.read(&mut self.context) {
                Ok(()) => {
                    if let Some(packet) = self.describe(packet) {
                        return Ok(Some(packet));
                    }
                }
                Err(av::Error::Eof) => return Ok(None),
                Err(error) => {
                    bad += 1;
                    let passes = matches!(error, av::Error::InvalidData) || i32::from(error) == AGAIN;
                    if !passes || bad > BAD_IN_A_ROW {
                        return Err(AvError::of("reading the source", error));
                    }
                }
            }
        }
    }

    fn describe(&self, packet: av::Packet) -> Option<Packet> {
        let stream = self.context.stream(packet.stream())?;
        let base = stream.time_base();
        let nanos = |ticks: i64| nanos(ticks, base.numerator(), base.denominator());
        Some(Packet {
            stream: packet.stream(),
            dts: packet.dts().map(nanos),
            pts: packet.pts().map(nanos),
            duration: nanos(packet.duration()).max(0),
            key: packet.is_key(),
            damaged: packet.is_corrupt(),
            payload: payload(packet)?,
        })
    }
}

/// The packet's bytes, without a copy where libav counts references to them.
fn payload(packet: av::Packet) -> Option<Bytes> {
    packet.data().filter(|data| !data.is_empty())?;
    Some(Bytes::from_owner(Owner(packet)))
}

/// Ticks of a time base in nanoseconds, rounded to nearest.
fn nanos(ticks: i64, numerator: i32, denominator: i32) -> i64 {
    let scaled = i128::from(ticks) * i128::from(numerator.max(1)) * 1_000_000_000;
    let denominator = i128::from(denominator.max(1));
    let half = if scaled < 0 { -denominator / 2 } else { denominator / 2 };
    ((scaled + half) / denominator).clamp(i64::MIN.into(), i64::MAX.into()) as i64
}

fn facts(stream: &av::format::stream::Stream<'_>) -> Facts {
    let parameters = stream.parameters();
    let kind = match parameters.medium() {
        av::media::Type::Video => Some(aqueduct_common::TrackKind::Video),
        av::media::Type::Audio => Some(aqueduct_common::TrackKind::Audio),
        _ => None,
    };
    // SAFETY: the parameters belong to the stream, which is borrowed; libav keeps `extradata_size` bytes at `extradata`,
    // or null.
    let (extradata, sound, profile) = unsafe {
        let raw = &*parameters.as_ptr();
        let length = usize::try_from(raw.extradata_size).unwrap_or_default().min(EXTRADATA_MAX);
        let extradata = match raw.extradata.is_null() {
            true => Vec::new(),
            false => std::slice::from_raw_parts(raw.extradata, length).to_vec(),
        };
        let rate = u32::try_from(raw.sample_rate).unwrap_or_default();
        let channels = u16::try_from(raw.ch_layout.nb_channels).unwrap_or_default();
        (extradata, (rate, channels), raw.profile)
    };
    let codec = parameters.id();
    Facts {
        index: stream.index(),
        kind,
        codec,
        name: codec.name().to_owned(),
        extradata,
        language: stream.metadata().get("language").unwrap_or_default().to_owned(),
        sound,
        profile,
        is_cover: stream.disposition().contains(av::format::stream::Disposition::ATTACHED_PIC),
    }
}

/// libav's dictionary of these options.
fn dictionary(options: &[(String, String)]) -> Result<av::Dictionary<'static>, AvError> {
    let mut dictionary = av::Dictionary::new();
    for (key, value) in options {
        if key.contains('\0') || value.contains('\0') {
            return Err(AvError::new("the source's options", format!("{key} holds a zero byte")));
        }
        dictionary.set(key, value);
    }
    Ok(dictionary)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_rounded_to_the_nearest_nanosecond() {
        assert_eq!(nanos(90_000, 1, 90_000), 1_000_000_000);
        assert_eq!(nanos(3_003, 1, 90_000), 33_366_667);
        assert_eq!(nanos(-1, 1, 3), -333_333_333);
        assert_eq!(nanos(i64::MAX, i32::MAX, 1), i64::MAX);
        assert_eq!(nanos(5, 1, 0), 5_000_000_000);
    }
}
