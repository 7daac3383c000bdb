//! One coded frame in, one small JPEG out. Runs in the caged process.

use bytes::Bytes;
use ffmpeg_next::codec::Id;
use ffmpeg_next::format::Pixel;

use super::wire::{Codec, Request};
use crate::sys::{AvError, Decoder, DecoderSetup, Encoder, EncoderSetup, Graph, GraphInput, Picture};

/// Longest side of a picture, in pixels.
const SIDE: u32 = 320;
/// The quantiser of all pictures: some 10 kB each.
const QUANTISER: &str = "5";

/// Makes a picture.
pub(super) fn paint(request: &Request) -> Result<Bytes, AvError> {
    let picture = decode(request)?;
    let small = shrink(&picture)?;
    encode(&small)
}

fn decode(request: &Request) -> Result<Picture, AvError> {
    let codec = match request.codec {
        Codec::H264 => Id::H264,
        Codec::H265 => Id::HEVC,
        Codec::Av1 => Id::AV1,
        Codec::Vp9 => Id::VP9,
        Codec::Mjpeg => Id::MJPEG,
        Codec::Mpeg2 => Id::MPEG2VIDEO,
    };
    let mut decoder = Decoder::open(&DecoderSetup {
        codec,
        name: None,
        record: &request.record,
        low_delay: true,
        reorder: 0,
        threads: 1,
        device: None,
    })?;
    decoder.send(&request.frame, 0, true)?;
    decoder.finish();
    decoder.receive()?.ok_or_else(|| AvError::new("decoding", "the frame gives no picture by itself"))
}

fn shrink(picture: &Picture) -> Result<Picture, AvError> {
    let shape = picture.shape();
    let (width, height) = fit(shape.width, shape.height, shape.sar);
    let spec = format!("[in]scale={width}:{height}:out_range=full,setsar=1,format=yuvj420p[out0]");
    let mut graph = Graph::build(&GraphInput { like: picture, timescale: 1_000 }, &spec, 1)?;
    graph.push(picture)?;
    graph.finish();
    graph.pull(0, 1_000)?.ok_or_else(|| AvError::new("scaling", "nothing came out"))
}

/// The size that fits, in even pixels, as square ones.
fn fit(width: u32, height: u32, sar: (i32, i32)) -> (u32, u32) {
    let stretch = match sar {
        (num, den) if num > 0 && den > 0 => f64::from(num) / f64::from(den),
        _ => 1.0,
    };
    let (wide, high) = (f64::from(width.max(1)) * stretch, f64::from(height.max(1)));
    let scale = (f64::from(SIDE) / wide.max(high)).min(1.0);
    let even = |length: f64| (((length * scale / 2.0).round() as u32) * 2).clamp(2, SIDE);
    (even(wide), even(high))
}

fn encode(picture: &Picture) -> Result<Bytes, AvError> {
    let mut encoder = Encoder::open(&EncoderSetup {
        name: "mjpeg",
        width: picture.width(),
        height: picture.height(),
        format: Pixel::YUVJ420P,
        frame_rate: (1, 1),
        bitrate: 0,
        peak: 0,
        buffer: 0,
        threads: 1,
        gop: 1,
        // One picture has neither closed GOPs, which the encoder refuses, nor a header apart.
        options: &[
            ("flags", "-cgop-global_header".into()),
            ("qmin", QUANTISER.into()),
            ("qmax", QUANTISER.into()),
        ],
        surfaces: None,
        device: None,
    })?;
    encoder.send(picture)?;
    encoder.finish();
    let coded = encoder.receive()?.ok_or_else(|| AvError::new("encoding", "no JPEG came out"))?;
    Ok(coded.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_shape_fits_and_pixels_become_square() {
        assert_eq!(fit(1920, 1080, (1, 1)), (320, 180));
        assert_eq!(fit(1080, 1920, (0, 1)), (180, 320));
        assert_eq!(fit(720, 576, (64, 45)), (320, 180));
        assert_eq!(fit(160, 90, (1, 1)), (160, 90), "never larger than it is");
        assert_eq!(fit(16_384, 1, (1, 1)), (320, 2));
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        let nonsense = Bytes::from(vec![7; 64]);
        for codec in [Codec::H264, Codec::H265, Codec::Av1, Codec::Vp9, Codec::Mjpeg, Codec::Mpeg2] {
            let request = Request { codec, record: nonsense.clone(), frame: nonsense.clone() };
            assert!(paint(&request).is_err(), "{codec:?}");
        }
    }
}
