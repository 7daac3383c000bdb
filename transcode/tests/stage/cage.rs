use std::time::Duration;

use aqueduct_common::TrackId;
use aqueduct_transcode::hardware::{Backend, Chosen};
use aqueduct_transcode::host::process::{Heard, Process};
use aqueduct_transcode::protocol::{
    self, FromWorker, Job, Mode, Plant, PlantedFault, Preset, Rung, ToWorker, VERSION, VideoCodec, VideoJob,
};

use crate::live::{launch, source};

fn job(plant: PlantedFault) -> Job {
    let rung = Rung {
        track: TrackId(16),
        width: 160,
        height: 90,
        bitrate: 200_000,
        peak: 250_000,
        buffer_ms: 1_000,
        half_rate: false,
        codec: VideoCodec::H264,
        preset: Preset::Ultrafast,
        crf: None,
    };
    Job {
        version: VERSION,
        mode: Mode::Aligned,
        video: Some(VideoJob { source: TrackId::VIDEO, rungs: vec![rung] }),
        audio: Vec::new(),
        hardware: Chosen::default(),
        resume: None,
        plant: Some(Plant { after_frames: 3, fault: plant }),
    }
}

/// What a real worker says of its attempts to get out, from within the thread that decodes.
async fn attempts(devices: bool) -> String {
    let clip = source();
    let mut worker = Process::spawn(&launch(), &"live/cage".parse().unwrap(), devices).unwrap();
    let tell = |message: &ToWorker| assert!(worker.tell(protocol::encode(message).unwrap()));
    tell(&ToWorker::Job(job(PlantedFault::Escape)));
    tell(&ToWorker::Source(vec![clip.track.clone()]));
    clip.frames.iter().take(20).for_each(|frame| tell(&ToWorker::Frame(frame.clone())));
    let said = async {
        loop {
            match worker.hear().await {
                Some(Heard::Message(FromWorker::Trouble(text))) => return text,
                Some(Heard::Message(_)) => {}
                other => panic!("the worker is gone: {other:?}"),
            }
        }
    };
    let said = tokio::time::timeout(Duration::from_secs(20), said).await.unwrap();
    println!("devices: {devices}: {said}");
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_can_neither_open_a_file_nor_a_socket_nor_start_a_program() {
    let said = attempts(false).await;
    for what in ["open", "create", "stat", "connect", "socket", "exec"] {
        assert!(said.contains(&format!("{what} PermissionDenied")), "{what}: {said}");
    }
    assert!(said.contains("thread done"), "{said}");
    assert_eq!(Chosen::default().encode, [Backend::Software]);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_devices_sockets_and_programs_stay_closed() {
    let said = attempts(true).await;
    for what in ["create", "connect", "socket", "exec"] {
        assert!(said.contains(&format!("{what} PermissionDenied")), "{what}: {said}");
    }
}
