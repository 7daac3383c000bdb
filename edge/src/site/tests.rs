use aqueduct_common::object::{
    Ahead, ContentType, Object, ObjectKind, ObjectPath, PlaylistInfo, Publish, Update, Version,
};

use super::*;
use crate::allowance::Allowance;
use crate::pages::NoPages;

/// A stream of one playlist at part (10, 2), which hints a part.
fn site() -> Arc<Site> {
    let store = Store::new();
    let list = PlaylistInfo {
        version: Version { msn: 10, part: 2, complete: false },
        delta: None,
        hint: Some(ObjectPath::new("e/next.m4s")),
        ahead: Ahead { parts: 30, hold: Duration::from_secs(8) },
        target_duration: Duration::from_secs(1),
        ended: false,
        needs: None,
        demand: None,
    };
    let object = Object {
        path: ObjectPath::new("e/media.m3u8"),
        kind: ObjectKind::Playlist,
        content_type: ContentType::Hls,
        body: vec!["#EXTM3U\n".into()],
        playlist: Some(list),
    };
    store.publish(&"live/show".parse().unwrap(), Update::Publish(object));
    let access = Access::open(crate::token::Plan::default()).unwrap();
    Arc::new(Site::new(store, Arc::new(NoPages), Limits::default(), access, None))
}

fn get(target: &str) -> request::Parts {
    http::Request::get(target).body(()).unwrap().into_parts().0
}

fn conn(site: &Site) -> Arc<Conn> {
    Arc::new(Conn::new([127, 0, 0, 1].into(), &site.tally, Arc::new(Allowance::new(100))))
}

/// The answer, how long it took, and what the headers say about asking again.
#[expect(clippy::disallowed_methods, reason = "the paused clock of the test")]
async fn ask(site: &Site, target: &str) -> (u16, u64, Option<String>) {
    let begun = tokio::time::Instant::now();
    let response = site.serve(&conn(site), get(target)).await;
    let retry = response.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned());
    (response.status().as_u16(), begun.elapsed().as_secs(), retry)
}

#[tokio::test(start_paused = true)]
async fn a_hold_ends_at_its_limit() {
    let site = site();
    let again = Some("1".to_owned());
    // LLHLS-23: eight seconds for a playlist and for a hinted part, as the playlist says.
    assert_eq!(ask(&site, "/live/show/e/media.m3u8?_HLS_msn=10&_HLS_part=3").await, (503, 8, again.clone()));
    assert_eq!(ask(&site, "/live/show/e/next.m4s").await, (503, 8, again.clone()));
    // A stream that does not come on air.
    assert_eq!(ask(&site, "/live/none/index.m3u8?_AQ_hold=1").await, (404, 5, again.clone()));
    assert_eq!(ask(&site, "/live/show/index.m3u8?_AQ_hold=1").await, (404, 5, again.clone()));
    assert_eq!(ask(&site, "/live/none/index.m3u8").await, (404, 0, again));
    assert_eq!(site.tally.held(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_every_hold_at_once() {
    let site = site();
    let held: Vec<_> =
        ["/live/show/e/media.m3u8?_HLS_msn=10", "/live/show/e/next.m4s", "/live/no/index.m3u8?_AQ_hold=1"]
            .map(|target| {
                let site = site.clone();
                tokio::spawn(async move { ask(&site, target).await })
            })
            .into();
    while site.tally.held() < 3 {
        tokio::task::yield_now().await;
    }
    site.draining.cancel();
    for answer in held {
        assert_eq!(answer.await.unwrap(), (503, 0, Some("0".to_owned())));
    }
    // What needs no waiting is still answered.
    assert_eq!(ask(&site, "/live/show/e/media.m3u8").await.0, 200);
}

#[tokio::test]
async fn a_request_that_is_dropped_leaves_nothing() {
    let site = site();
    let conn = conn(&site);
    {
        let mut answer = std::pin::pin!(site.serve(&conn, get("/live/show/e/next.m4s")));
        tokio::select! { biased; _ = answer.as_mut() => unreachable!(), () = std::future::ready(()) => {} }
        assert_eq!((site.tally.held(), conn.reading().busy), (1, true));
    }
    assert_eq!((site.tally.held(), conn.reading().busy), (0, false));
}
