//! A still image as a source: encoded once, and then given over and over.

use std::fs::File;

use aqueduct_common::TrackId;
use bytes::Bytes;
use ffmpeg_next as av;

use super::output::{Output, Silence};
use super::pace::Pace;
use super::{PullError, probing};
use crate::pull::protocol::{FromPull, Packet, Stream};
use crate::sys::{AvError, Decoder, DecoderSetup, Encoder, EncoderSetup, Graph, GraphInput, Input, Picture};

/// Most bits a second, and the rate buffer in bits: one keyframe a second, and little between.
const PEAK: u32 = 4_000_000;

/// Shows an image until the host has enough of it: a keyframe each second, and silence.
pub(super) fn show(
    file: File,
    name: &str,
    size: (u32, u32),
    fps: u32,
    out: &mut Output,
) -> Result<(), PullError> {
    let named = |error: AvError| PullError::Source(format!("{name}: {error}"));
    let picture = read(file, name).map_err(named)?;
    let picture = fit(&picture, size).map_err(named)?;
    let Second { header, frames } = encode(&picture, size, fps).map_err(named)?;
    let video = Stream {
        track: TrackId::VIDEO.0,
        codec: "h264".into(),
        header,
        rate: 0,
        channels: 0,
        profile: -1,
        language: String::new(),
    };
    out.send(&FromPull::Streams(vec![video, Silence::stream()]))?;
    let mut silence = Silence::new().ok_or(PullError::Order("there is no silence"))?;
    let mut pace = Pace::default();
    for (count, (payload, key)) in (0_i64..).zip(frames.iter().cycle()) {
        let at = |count: i64| count.saturating_mul(1_000_000_000) / i64::from(fps.max(1));
        let dts = at(count);
        pace.wait(dts);
        let packet = Packet {
            track: TrackId::VIDEO,
            key: *key,
            damaged: false,
            dts,
            pts: dts,
            duration: at(count + 1) - dts,
            payload: payload.clone(),
        };
        out.send(&FromPull::Packet(packet))?;
        silence.until(dts, out)?;
    }
    Ok(())
}

/// The first picture of a file.
fn read(file: File, name: &str) -> Result<Picture, AvError> {
    let mut options = probing();
    options.push(("protocol_whitelist".into(), String::new()));
    let mut input = Input::seek(file, name, &options)?;
    let streams = input.streams();
    let video = |facts: &&crate::sys::Facts| facts.kind == Some(aqueduct_common::TrackKind::Video);
    let facts =
        streams.iter().find(video).ok_or_else(|| AvError::new("reading the image", "it holds none"))?;
    let mut decoder = Decoder::open(&DecoderSetup {
        codec: facts.codec,
        name: None,
        record: &facts.extradata,
        low_delay: false,
        reorder: 0,
        threads: 1,
        device: None,
    })?;
    while let Some(packet) = input.next()? {
        if packet.stream != facts.index {
            continue;
        }
        decoder.send(&packet.payload, 0, true)?;
        if let Some(picture) = decoder.receive()? {
            return Ok(picture);
        }
    }
    decoder.finish();
    decoder.receive()?.ok_or_else(|| AvError::new("reading the image", "nothing could be decoded"))
}

/// The picture in the middle of a canvas, as large as it fits, on black.
fn fit(picture: &Picture, (width, height): (u32, u32)) -> Result<Picture, AvError> {
    let spec = format!(
        "[in]scale=w={width}:h={height}:force_original_aspect_ratio=decrease:force_divisible_by=2:flags=lanczos:\
         out_color_matrix=bt709:out_range=tv,format=yuv420p,pad=w={width}:h={height}:x=(ow-iw)/2:y=(oh-ih)/2,\
         setsar=1[out0]"
    );
    let mut like = picture.share()?;
    like.set_pts(0);
    let mut graph = Graph::build(&GraphInput { like: &like, timescale: 1 }, &spec, 1)?;
    graph.push(&like)?;
    graph.finish();
    graph.pull(0, 1)?.ok_or_else(|| AvError::new("fitting the image", "nothing came of it"))
}

/// One second of a picture.
struct Second {
    /// The parameter sets.
    header: Vec<u8>,
    /// Its frames, and whether each is a keyframe: the first one is an IDR.
    frames: Vec<(Bytes, bool)>,
}

/// Encodes one second of the picture.
fn encode(picture: &Picture, (width, height): (u32, u32), fps: u32) -> Result<Second, AvError> {
    let params = "scenecut=0:open-gop=0:bframes=0:repeat-headers=0:nal-hrd=none:aud=0:force-cfr=1";
    let options = [
        ("preset", "medium"),
        ("tune", "zerolatency"),
        ("profile", "high"),
        ("forced-idr", "1"),
        ("crf", "20"),
        ("x264-params", params),
    ];
    let options = options.map(|(key, value)| (key, value.to_owned()));
    let mut encoder = Encoder::open(&EncoderSetup {
        name: "libx264",
        width,
        height,
        format: av::format::Pixel::YUV420P,
        frame_rate: (fps, 1),
        bitrate: 0,
        peak: PEAK,
        buffer: PEAK,
        threads: 1,
        gop: fps.saturating_mul(2),
        options: &options,
        surfaces: None,
        device: None,
    })?;
    let header = encoder.extradata().to_vec();
    let mut group = Vec::new();
    let mut shown = picture.share()?;
    for frame in 0..fps.max(1) {
        shown.mark(i64::from(frame), frame == 0);
        encoder.send(&shown)?;
        while let Some(coded) = encoder.receive()? {
            let key = coded.is_key();
            group.push((coded.into_bytes(), key));
        }
    }
    encoder.finish();
    while let Some(coded) = encoder.receive()? {
        let key = coded.is_key();
        group.push((coded.into_bytes(), key));
    }
    match group.first() {
        Some((_, true)) => Ok(Second { header, frames: group }),
        _ => Err(AvError::new("encoding the image", "it does not begin with a keyframe")),
    }
}
