//! Why nodes do not come together, so that an operator knows what to do.

/// Why a handshake failed, so that an operator knows what to do.
pub(in crate::relay) fn in_words(error: &quinn::ConnectionError) -> String {
    use quinn::ConnectionError as E;
    // TLS alerts, as QUIC carries them (RFC 9001, 4.8).
    let alert = |code: u64| (0x100..0x200).contains(&code).then_some(code & 0xff);
    let code = match error {
        E::TransportError(error) => alert(error.code.into()),
        E::ConnectionClosed(close) => alert(close.error_code.into()),
        _ => None,
    };
    match code {
        Some(120) => {
            "the nodes speak no common version of the relay's protocol (this one speaks aqr/1): bring \
                      both to the same release"
                .to_owned()
        }
        Some(116) => {
            "no certificate was shown: set relay.ca, relay.certificate and relay.key on both nodes".to_owned()
        }
        Some(42 | 43 | 46 | 48 | 51) => format!("the certificate is not one that is known here ({error})"),
        Some(45) => format!("a certificate has expired ({error}): make a new one with `aqueduct ca node`"),
        Some(49) => format!("the certificate does not give that right ({error})"),
        _ => error.to_string(),
    }
}
