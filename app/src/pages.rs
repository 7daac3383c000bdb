//! The pages that people look at, embedded from `web/dist`.

use std::borrow::Cow;

use aqueduct_edge::{Page, Pages};
use bytes::Bytes;
use rust_embed::RustEmbed;

#[derive(RustEmbed)]
#[folder = "../web/dist"]
#[allow_missing = true]
struct Built;

/// What stands where a page would be when `web/` was not built first.
const MISSING: &str = "<!doctype html><meta charset=utf-8><title>Aqueduct</title>\
<p>The pages are missing in this build. Run <code>make build</code>, which builds <code>web/</code> first. \
Streams play all the same: <code>/APP/NAME/index.m3u8</code>.";

/// The embedded pages.
#[derive(Debug)]
pub struct Embedded;

impl Pages for Embedded {
    fn find(&self, path: &str) -> Option<Page> {
        let file = match path {
            "/" | "/index.html" => "index.html",
            _ if path.starts_with("/watch/") => "watch.html",
            _ if path.starts_with("/doctor/") => "doctor.html",
            _ => path.strip_prefix('/')?,
        };
        let Some(found) = Built::get(file) else {
            return file
                .ends_with(".html")
                .then(|| page("index.html", Bytes::from_static(MISSING.as_bytes())));
        };
        let body = match found.data {
            Cow::Borrowed(bytes) => Bytes::from_static(bytes),
            Cow::Owned(bytes) => bytes.into(),
        };
        Some(page(file, body))
    }
}

fn page(file: &str, body: Bytes) -> Page {
    let content_type = match file.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("json" | "map" | "webmanifest") => "application/json",
        _ => "application/octet-stream",
    };
    // The bundler puts a hash of the content into the names below assets/.
    Page { content_type, body, immutable: file.starts_with("assets/") }
}
