//! What a pull's worker sends, as its host reads it: the first byte says how the bytes are cut. Packets go on to the
//! tracks, which read what is in them.
#![no_main]

use aqueduct_common::TrackKind;
use aqueduct_fuzz::messages;
use aqueduct_transcode::protocol::Reader;
use aqueduct_transcode::pull::protocol::FromPull;
use aqueduct_transcode::pull::tracks::{Pulled, Tracks};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    messages::check::<FromPull>(data);
    let Some((_, bytes)) = data.split_first() else { return };
    let (mut reader, mut tracks, mut out) = (Reader::<FromPull>::default(), Tracks::new(true), Vec::new());
    reader.push(bytes);
    while let Some(Ok(message)) = reader.poll() {
        match message {
            FromPull::Streams(streams) => tracks.streams(&streams, &mut out),
            FromPull::Packet(packet) => tracks.packet(packet, &mut out),
            FromPull::Ready { .. } | FromPull::Trouble(_) => {}
        }
    }
    let mut told = [false; 2];
    for item in out {
        match item {
            Pulled::Config(track, _) => told[usize::from(track.0)] = true,
            Pulled::Frame(frame) => {
                assert!(told[usize::from(frame.track.0)], "a frame before its configuration");
                assert!(frame.kind == TrackKind::Video || (frame.samples > 0 && frame.rate > 0));
            }
            Pulled::Trouble(_) | Pulled::Faulty { .. } => {}
        }
    }
});
