//! What several targets check.
#![forbid(unsafe_code)]

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
