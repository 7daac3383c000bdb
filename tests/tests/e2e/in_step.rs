//! Whichever way a source comes, it plays in stock hls.js, and its sound is heard with its pictures: real servers, real
//! publishers, a real browser, measured by flash and beep (TL-14, TL-40).

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use aqueduct_tests::Outcome;
use aqueduct_tests::linkproxy::{Link, Shape};
use aqueduct_tests::world::ladder::span;
use aqueduct_tests::world::{
    Flashes, Heard, Push, RtspPush, RtspServer, Server, free_port, free_udp_port, heard, room,
};

/// What sound may be off by, in milliseconds: 40 in the long form (`SPAN_SECONDS`). A short one has few pairs on a crowded
/// machine, and GStreamer's pushes are 21 ms late by the edit list that it ignores.
fn apart_max() -> f64 {
    if span(0) > 0 { 40.0 } else { 60.0 }
}
/// What stock hls.js gives up with, now and then, where several of it share a crowded machine, whatever it plays.
const OF_HLS_JS: &str = "is still processing an 'appendBuffer'";
/// Pairs of flash and beep that tell something.
const FEWEST: u64 = 4;
const START: Duration = Duration::from_secs(40);

/// Each of these streams plays in a browser, in step. Four of them share one: more are more than a small machine decodes, and
/// where players stall they tell nothing of the stream.
async fn in_step(server: &Server, names: &[&str]) -> Outcome {
    for name in names {
        // What comes as G.711 or H.265 is there once it is encoded.
        for codec in ["avc1", "mp4a"] {
            server.names(name, codec, START).await?;
        }
    }
    let mut told = 0;
    for names in names.chunks(4) {
        for (name, seen) in plays(server, names).await? {
            if late(&seen).is_some_and(|late| late.abs() < apart_max()) {
                told += 1;
                continue;
            }
            // What it shows by itself counts.
            println!("{name} once more, by itself");
            let seen = plays(server, &[&name]).await?.remove(&name).ok_or("it is what was asked for")?;
            let Some(late) = late(&seen) else {
                assert_eq!(span(0), 0, "{name} shows too few pairs to tell: {seen:?}");
                println!("{name} shows too few pairs to tell");
                continue;
            };
            assert!(late.abs() < apart_max(), "{name}: sound is {late} ms late\n{}", server.log());
            told += 1;
        }
    }
    assert!(told > 0, "no stream of {names:?} tells where its sound lies");
    Ok(())
}

/// How late sound is, where enough pairs were seen: a crowded machine drops most frames of one video or another, and a pair or
/// two say nothing of where its sound lies.
fn late(seen: &Heard) -> Option<f64> {
    seen.late.filter(|_| u64::from(seen.pairs) >= span(FEWEST))
}

/// Plays streams in one browser, and says what was heard of each.
async fn plays(server: &Server, names: &[&str]) -> Outcome<BTreeMap<String, Heard>> {
    let mut streams = heard(server, names).await;
    if streams.as_ref().is_err_and(|error| error.to_string().contains(OF_HLS_JS)) {
        println!("hls.js appended while it still appended: once more");
        streams = heard(server, names).await;
    }
    let streams = streams.map_err(|error| format!("{error}\n{}", server.log()))?;
    assert_eq!(streams.len(), names.len(), "{streams:?}");
    for (name, heard) in &streams {
        println!("{name}: sound is {:?} ms late, by {} pairs; {:?}", heard.late, heard.pairs, heard.errors);
    }
    Ok(streams)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cameras_of_gstreamer_s_server_over_tcp_and_udp() -> Outcome {
    let _room = room::whole().await;
    let camera = RtspServer::showing(&Flashes::made().await?).await?;
    let names = ["h264-tcp", "h264-udp", "h265-tcp", "h265-udp", "pcmu-tcp", "pcmu-udp"];
    let pulled = names.map(|name| {
        let (codec, transport) = name.split_once('-').unwrap_or_default();
        let mount = if codec == "h264" { "file".to_owned() } else { format!("file-{codec}") };
        format!("{{stream='live/{name}',url='{}',transport='{transport}'}}", camera.url(&mount))
    });
    let server = Server::start(&[
        ("ingest.rtsp_server.listen", "off"),
        ("ingest.rtsp", &format!("[{}]", pulled.join(","))),
        ("transcode.mode", "auto"),
        ("transcode.max_streams", "16"),
        ("transcode.hardware.encode", "software"),
    ])
    .await?;
    in_step(&server, &names).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishers_over_rtsp_and_srt_and_a_lossy_transport_stream() -> Outcome {
    let _room = room::whole().await;
    let clip = Flashes::made().await?.h264;
    let (rtsp, srt) = (format!("127.0.0.1:{}", free_port()?), format!("127.0.0.1:{}", free_udp_port()?));
    let (listener, udp) = (free_udp_port()?, free_udp_port()?);
    let pulls = format!(
        "[{{stream='live/srt-called',url='srt://127.0.0.1:{listener}'}},\
          {{stream='live/udp-lossy',url='udp://127.0.0.1:{udp}'}}]"
    );
    let server = Server::start(&[
        ("ingest.rtsp_server.listen", &rtsp),
        ("ingest.srt.listen", &srt),
        ("ingest.pull", &pulls),
    ])
    .await?;
    let shape =
        Shape { delay: Duration::from_millis(10), loss_millionths: 10_000, seed: 7, ..Shape::default() };
    let here = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let link = Link::udp(here(0), here(udp), shape).await?;
    let url = |name: &str| format!("rtsp://{rtsp}/live/{name}");
    let _rtsp = [
        RtspPush::ffmpeg(&url("ffmpeg-tcp"), "tcp", &clip)?,
        RtspPush::ffmpeg(&url("ffmpeg-udp"), "udp", &clip)?,
        RtspPush::gstreamer_file(&url("gstreamer-tcp"), "tcp", &clip)?,
        RtspPush::gstreamer_file(&url("gstreamer-udp"), "udp", &clip)?,
    ];
    let _transport = [
        Push::transport(&format!("srt://{srt}?streamid=live/srt-caller"), &clip)?,
        Push::transport(&format!("srt://127.0.0.1:{listener}?mode=listener"), &clip)?,
        Push::transport(&format!("udp://{}?pkt_size=1316", link.address), &clip)?,
    ];
    let names = [
        "ffmpeg-tcp",
        "ffmpeg-udp",
        "gstreamer-tcp",
        "gstreamer-udp",
        "srt-caller",
        "srt-called",
        "udp-lossy",
    ];
    in_step(&server, &names).await
}
