//! Which encoding a client accepts (RFC 9110, section 12.5.3).

/// Whether `Accept-Encoding` allows gzip: named, or covered by `*`, with a weight above zero.
pub(crate) fn accepts_gzip(header: &[u8]) -> bool {
    let mut any = None;
    for item in header.split(|byte| *byte == b',') {
        let mut parts = item.split(|byte| *byte == b';');
        let coding = parts.next().unwrap_or_default().trim_ascii();
        let mut weight = || parts.all(|parameter| !is_zero_weight(parameter));
        if coding.eq_ignore_ascii_case(b"gzip") || coding.eq_ignore_ascii_case(b"x-gzip") {
            return weight();
        }
        if coding == b"*" {
            any = Some(weight());
        }
    }
    any.unwrap_or(false)
}

/// `q=0`, `q=0.`, `q=0.000`; anything else keeps the coding.
fn is_zero_weight(parameter: &[u8]) -> bool {
    let Some((name, value)) = parameter.trim_ascii().split_at_checked(2) else { return false };
    name.eq_ignore_ascii_case(b"q=")
        && value.first() == Some(&b'0')
        && value.iter().all(|byte| matches!(byte, b'0' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::accepts_gzip;

    #[test]
    fn gzip_is_taken_only_where_it_is_accepted() {
        for (header, accepted) in [
            ("gzip", true),
            ("gzip, deflate, br, zstd", true),
            ("br;q=1.0, GZIP;q=0.5", true),
            ("gzip;q=0.001", true),
            ("x-gzip", true),
            ("*", true),
            ("gzip;q=0", false),
            ("gzip; q=0.000", false),
            ("*;q=0", false),
            ("gzip;q=0, *", false),
            ("*;q=0, gzip", true),
            ("identity", false),
            ("br", false),
            ("gzipped", false),
            ("", false),
        ] {
            assert_eq!(accepts_gzip(header.as_bytes()), accepted, "{header}");
        }
    }
}
