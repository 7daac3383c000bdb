use std::time::Duration;

use aqueduct_common::Feed;
use bytes::{Bytes, BytesMut};

use crate::clip::Clip;
use crate::live::{Live, check_source, publish, samples, source};

/// Flips one bit in about every hundredth NAL unit's payload, and several in some; always the same ones.
fn damage(clip: &Clip) -> Clip {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below.max(1) as u64) as usize
    };
    let mut clip = clip.clone();
    for frame in &mut clip.frames {
        // A frame here is one NAL unit or two; one in thirty frames hit is more than one in a hundred units.
        if random(30) != 0 {
            continue;
        }
        let mut payload = BytesMut::from(frame.payload.as_ref());
        for _ in 0..=random(8) {
            let at = 5 + random(payload.len().saturating_sub(5));
            if let Some(byte) = payload.get_mut(at) {
                *byte ^= 1 << random(8);
            }
        }
        frame.payload = Bytes::from(payload);
    }
    clip
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_pictures_of_one_stream_touch_no_other() {
    let mut live = Live::start(None).await;
    let (bad, bad_out) = live.begin("live/bad").await;
    let (good, good_out) = live.begin("live/good").await;
    let clip = source();
    let damaged = damage(&clip);
    assert!(
        damaged.frames.iter().zip(&clip.frames).filter(|(one, other)| one.payload != other.payload).count()
            > 2
    );
    let both = tokio::join!(publish(damaged, bad, 300), publish(clip, good, 300));
    let (bad_sent, good_sent) = both;
    let settled = Duration::from_secs(3);
    check_source(&bad_sent, &bad_out, bad_sent[0].1 + settled);
    check_source(&good_sent, &good_out, good_sent[0].1 + settled);
    for rung in [16, 17] {
        assert_eq!(samples(&good_out, rung).len(), 300, "rung {rung} of the good stream is whole");
        let of_bad = samples(&bad_out, rung);
        assert!(of_bad.len() > 150, "rung {rung} of the bad stream goes on: {}", of_bad.len());
    }
    let lost = |(_, message): &&(_, Feed)| matches!(message, Feed::Lost(..) | Feed::Discontinuity(_));
    assert_eq!(good_out.lock().unwrap().iter().filter(lost).count(), 0);
    live.end().await;
}
