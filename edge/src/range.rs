//! Byte ranges (RFC 9110, section 14; LLHLS-38).

use std::ops::Range;

/// What a `Range` header asks of a body of known length.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Span {
    /// No range, or one that is not understood: the whole body, 200.
    Whole,
    /// These bytes: 206.
    Bytes(Range<u64>),
    /// A range wholly beyond the body: 416.
    Beyond,
}

/// Reads a `Range` header for a body of `len` bytes. Several ranges at once, other units and broken syntax are answered
/// with the whole body, as RFC 9110, section 14.2 allows.
pub fn parse(header: &[u8], len: u64) -> Span {
    let Some(set) = strip_unit(header) else { return Span::Whole };
    let Some(dash) = set.iter().position(|byte| *byte == b'-') else { return Span::Whole };
    let (first, last) = (set[..dash].trim_ascii(), set[dash + 1..].trim_ascii());
    match (first.is_empty(), last.is_empty()) {
        (true, true) => Span::Whole,
        (true, false) => match number(last) {
            None => Span::Whole,
            Some(0) => Span::Beyond,
            Some(_) if len == 0 => Span::Beyond,
            Some(suffix) => Span::Bytes(len.saturating_sub(suffix)..len),
        },
        (false, _) => {
            let Some(first) = number(first) else { return Span::Whole };
            let last = if last.is_empty() { Some(u64::MAX) } else { number(last) };
            match last {
                None => Span::Whole,
                Some(last) if last < first => Span::Whole,
                Some(_) if first >= len => Span::Beyond,
                Some(last) => Span::Bytes(first..last.saturating_add(1).min(len)),
            }
        }
    }
}

fn strip_unit(header: &[u8]) -> Option<&[u8]> {
    let (unit, set) = header.trim_ascii().split_at_checked(6)?;
    unit.eq_ignore_ascii_case(b"bytes=").then_some(set)
}

/// Digits only; a number too large for 64 bits reads as the largest.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(digits.iter().fold(0u64, |n, digit| n.saturating_mul(10).saturating_add(u64::from(digit - b'0'))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_range_is_cut_from_the_body_and_everything_else_is_whole() {
        for (header, expected) in [
            ("bytes=0-0", Span::Bytes(0..1)),
            ("bytes=0-99", Span::Bytes(0..100)),
            ("bytes=10-", Span::Bytes(10..100)),
            ("bytes=90-500", Span::Bytes(90..100)),
            ("Bytes= 5 - 6 ", Span::Bytes(5..7)),
            ("bytes=-1", Span::Bytes(99..100)),
            ("bytes=-500", Span::Bytes(0..100)),
            ("bytes=0-99999999999999999999999", Span::Bytes(0..100)),
            ("bytes=-0", Span::Beyond),
            ("bytes=100-", Span::Beyond),
            ("bytes=99999999999999999999-", Span::Beyond),
            ("bytes=0-1,5-6", Span::Whole),
            ("bytes=6-5", Span::Whole),
            ("bytes=-", Span::Whole),
            ("bytes=", Span::Whole),
            ("bytes=a-b", Span::Whole),
            ("bytes=+1-2", Span::Whole),
            ("items=0-1", Span::Whole),
            ("", Span::Whole),
        ] {
            assert_eq!(parse(header.as_bytes(), 100), expected, "{header}");
        }
        assert_eq!(parse(b"bytes=0-", 0), Span::Beyond);
        assert_eq!(parse(b"bytes=-5", 0), Span::Beyond);
    }

    proptest! {
        #[test]
        fn a_range_lies_within_the_body_and_is_not_empty(
            header in prop_oneof!["bytes=[0-9]{0,22}-[0-9]{0,22}", "\\PC*"],
            len in prop_oneof![0u64..200, any::<u64>()],
        ) {
            if let Span::Bytes(range) = parse(header.as_bytes(), len) {
                prop_assert!(range.start < range.end && range.end <= len);
            }
        }
    }
}
