//! What several targets share.
#![forbid(unsafe_code)]

pub mod codecs;
pub mod contract;
pub mod listing;
pub mod messages;
pub mod publisher;

use std::time::Instant;

use aqueduct_common::CodecConfig;
use aqueduct_common::codec::CodecError;
use bytes::Bytes;

/// A record that parses has a normal form, and that form parses to itself.
pub fn normal_form(data: &[u8], parse: impl Fn(&Bytes) -> Result<CodecConfig, CodecError>) {
    let Ok(config) = parse(&Bytes::copy_from_slice(data)) else { return };
    let again = parse(config.record()).expect("a normalised record parses");
    assert_eq!(again.record(), config.record());
    assert_eq!(again.picture(), config.picture());
    assert_eq!(again.sound(), config.sound());
    assert_eq!(again.rfc6381(), config.rfc6381());
    if let Some(picture) = config.picture() {
        assert!((1..=8_192).contains(&picture.width) && (1..=8_192).contains(&picture.height));
        picture.display();
    }
}

/// The instant at which every run begins. What is tested only adds to it.
#[expect(clippy::disallowed_methods, reason = "an Instant comes from nowhere else")]
pub fn start() -> Instant {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    *START.get_or_init(Instant::now)
}

/// Cuts `data` into pieces, each behind its 16-bit length; a length beyond the end takes what is left.
pub fn pieces(mut data: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = data.split_first_chunk::<2>()?;
        let length = usize::from(u16::from_be_bytes(*length)).min(rest.len());
        let (piece, rest) = rest.split_at(length);
        data = rest;
        Some(piece)
    })
}
