//! Pages that are not a stream's: the player page and its files, which the program brings along.

use bytes::Bytes;

/// One page or file.
#[derive(Clone, Debug)]
pub struct Page {
    /// Its media type, `text/html; charset=utf-8`.
    pub content_type: &'static str,
    /// Its bytes.
    pub body: Bytes,
    /// Its name changes whenever its content does: it may be kept for a year.
    pub immutable: bool,
}

/// Where pages come from. Asked for `/`, `/watch/…`, `/assets/…` and every other path that can be no stream's, with
/// the path decoded once.
pub trait Pages: Send + Sync {
    /// The page at this path.
    fn find(&self, path: &str) -> Option<Page>;
}

/// No pages at all.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoPages;

impl Pages for NoPages {
    fn find(&self, _path: &str) -> Option<Page> {
        None
    }
}
