//! A request's target, its directives and a `Range`, as three lines.
#![no_main]

use std::time::Duration;

use aqueduct_common::object::{Ahead, PlaylistInfo, Version};
use aqueduct_edge::range::{self, Span};
use aqueduct_edge::route::{self, At, Target};
use aqueduct_edge::{Verdict, decide};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut lines = data.splitn(3, |byte| *byte == b'\n');
    let path = String::from_utf8_lossy(lines.next().unwrap_or_default());
    let query = lines.next().map(String::from_utf8_lossy);
    if let Ok(target) = route::parse(&path, query.as_deref()) {
        check(&target);
    }
    let length = data.len() as u64;
    if let Span::Bytes(span) = range::parse(lines.next().unwrap_or_default(), length) {
        assert!(span.start < span.end && span.end <= length);
    }
});

fn check(target: &Target<'_>) {
    let path = target.path();
    assert!(path.starts_with('/') && !path.contains("//"));
    assert!(path.split('/').all(|segment| segment != "." && segment != ".."));
    let Target::Object { query, .. } = target else { return };
    let (stream, below) = target.object().expect("an object has a stream");
    assert_eq!(path, format!("/{stream}/{below}"));
    let Ok(at) = query.at else { return };
    if let At::Segment(msn) | At::Part(msn, _) = at {
        assert!(msn <= 1 << 53);
    }
    for (msn, part, complete) in [(0, 0, false), (10, 3, false), (10, 4, true), (u64::MAX, u32::MAX, true)] {
        let list = PlaylistInfo {
            version: Version { msn, part, complete },
            delta: None,
            hint: None,
            ahead: Ahead { parts: 30, hold: Duration::from_secs(8) },
            target_duration: Duration::from_secs(1),
            ended: false,
            needs: None,
            demand: None,
        };
        let verdict = decide(&list, at);
        assert!(at != At::Now || verdict == Verdict::Ready);
        let ended = PlaylistInfo { ended: true, ..list };
        assert_eq!(decide(&ended, at), Verdict::Ready, "nobody waits for a stream that has ended");
    }
}
