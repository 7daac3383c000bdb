//! Pages that are not a stream's: the player page and its files, which the program brings along.

use std::net::IpAddr;
use std::pin::Pin;

use bytes::Bytes;
use http::HeaderMap;

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

/// What is answered for the one who asks, and kept by nobody.
#[derive(Clone, Debug)]
pub struct Answered {
    /// HTTP status.
    pub status: u16,
    /// JSON.
    pub body: Bytes,
}

/// An answer that is being made.
pub type Answering<'a> = Pin<Box<dyn Future<Output = Answered> + Send + 'a>>;

/// Answers of the program's own beside its pages.
pub trait Service: Send + Sync {
    /// The answer to a GET of this path by `peer`; `None` where the path is not one of its own.
    fn answer<'a>(&'a self, path: &'a str, headers: &'a HeaderMap, peer: IpAddr) -> Option<Answering<'a>>;
}

/// No pages at all.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoPages;

impl Pages for NoPages {
    fn find(&self, _path: &str) -> Option<Page> {
        None
    }
}
