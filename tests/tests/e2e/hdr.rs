//! HDR10's static metadata, from the publisher's word or the bitstream's to the init segment (RTMP-58).

use std::time::Duration;

use aqueduct_tests::Outcome;
use aqueduct_tests::publisher::clip::{Clip, made};
use aqueduct_tests::publisher::script::{Script, Wrapping};
use aqueduct_tests::world::{Server, probe, room};

/// Ten-bit HEVC in PQ, with what else x265 is told.
fn clip(name: &str, x265: &str) -> Outcome<Clip> {
    let x265 = format!(
        "keyint=25:min-keyint=25:scenecut=0:open-gop=0:bframes=0:log-level=error:\
         colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc{x265}"
    );
    let picture =
        ["-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25", "-t", "12", "-pix_fmt", "yuv420p10le"];
    let video = ["-c:v", "libx265", "-preset", "ultrafast", "-tag:v", "hvc1", "-x265-params", &x265];
    Clip::open(&made(name, &[&picture[..], &video[..]].concat())?)
}

/// As ffprobe prints them: red, green, blue and white, the luminance's bounds, MaxCLL and MaxFALL.
const DISPLAY: &str = "34000/50000,16000/50000,13250/50000,34500/50000,7500/50000,3000/50000,15635/50000,16450/50000,\
                       50/10000,10000000/10000";

async fn tells(server: &Server, name: &str, light: &str) -> Outcome {
    server.playable(name, Duration::from_secs(15)).await?;
    let url = server.playlist(name);
    let (_, tracks) = tokio::try_join!(
        server.conforms(name, 4),
        probe(&url, "codec_name,color_transfer:stream_side_data_list")
    )?;
    println!("{name}: {tracks}");
    for part in ["smpte2084", "Mastering display metadata", DISPLAY, "Content light level metadata", light] {
        if !tracks.contains(part) {
            return Err(format!("{part} is not told of {name}:\n{tracks}").into());
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hdr10_metadata_reaches_the_init_segment() -> Outcome {
    let _room = room::half().await;
    let server = Server::start(&[]).await?;
    let told = clip("hevc-pq.mp4", "")?;
    let own = clip(
        "hevc-hdr10.mp4",
        ":master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50):max-cll=900,300",
    )?;
    let play = |clip| Script::play(clip, 20_000, Wrapping::Enhanced);
    let _told = server.publish("told", play(&told).in_hdr10(*b"hvc1", 1_000.0, 400.0));
    let _own = server.publish("own", play(&own).in_hdr10(*b"hvc1", 1_000.0, 400.0));
    let (told, own) = tokio::join!(tells(&server, "told", "1000,400"), tells(&server, "own", "900,300"));
    told.and(own)
}
