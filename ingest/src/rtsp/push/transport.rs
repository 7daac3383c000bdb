//! The `Transport` header (RFC 2326, 12.39): what a publisher wants, as encoders write it (RTSP-17).

/// How a publisher sends one medium.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wish {
    /// Within the connection, on these channels; `None` leaves them to us.
    Interleaved(Option<(u8, u8)>),
    /// In packets of its own, from these ports: RTP, RTCP.
    Udp(u16, u16),
}

/// The first of the offered transports that is taken.
pub fn read(header: &str) -> Option<Wish> {
    header.split(',').take(8).find_map(one)
}

fn one(offer: &str) -> Option<Wish> {
    let mut fields = offer.split(';').map(str::trim);
    let profile = fields.next()?.to_ascii_uppercase();
    let tcp = match profile.as_str() {
        "RTP/AVP/TCP" => true,
        "RTP/AVP" | "RTP/AVP/UDP" => false,
        _ => return None,
    };
    let (mut channels, mut ports) = (None, None);
    for field in fields {
        let (name, value) = field.split_once('=').unwrap_or((field, ""));
        match name.to_ascii_lowercase().as_str() {
            "multicast" => return None,
            "interleaved" => channels = pair::<u8>(value),
            "client_port" => ports = pair::<u16>(value),
            _ => {}
        }
    }
    if tcp {
        // More than ours would be told from frames no more.
        let usable = channels.filter(|(rtp, rtcp)| *rtp < 32 && *rtcp < 32 && rtp != rtcp);
        return Some(Wish::Interleaved(usable));
    }
    let (rtp, rtcp) = ports?;
    (rtp != 0 && rtcp != 0).then_some(Wish::Udp(rtp, rtcp))
}

/// `4-5`, or `4`, which means the same.
fn pair<T: std::str::FromStr + Copy + Into<u32> + TryFrom<u32>>(text: &str) -> Option<(T, T)> {
    let text = text.trim_matches('"');
    match text.split_once('-') {
        Some((first, second)) => Some((first.parse().ok()?, second.parse().ok()?)),
        None => {
            let first: T = text.parse().ok()?;
            Some((first, T::try_from(first.into() + 1).ok()?))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_encoders_write_is_read() {
        for (header, wish) in [
            ("RTP/AVP/TCP;unicast;interleaved=0-1;mode=record", Some(Wish::Interleaved(Some((0, 1))))),
            ("RTP/AVP/UDP;unicast;client_port=5000-5001;mode=record", Some(Wish::Udp(5_000, 5_001))),
            ("RTP/AVP;unicast;client_port=5000;mode=\"RECORD\"", Some(Wish::Udp(5_000, 5_001))),
            ("rtp/avp/tcp;mode=receive", Some(Wish::Interleaved(None))),
            ("RTP/SAVP;client_port=1-2, RTP/AVP/TCP;interleaved=2-3", Some(Wish::Interleaved(Some((2, 3))))),
            ("RTP/AVP;multicast;client_port=5000-5001", None),
            ("RTP/AVP;unicast", None),
            ("RTP/AVP;client_port=65535", None),
            ("RTP/AVP/TCP;interleaved=200-201", Some(Wish::Interleaved(None))),
            ("", None),
        ] {
            assert_eq!(read(header), wish, "{header}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "[RTP/AVCU;=,\\-0-9a-z\"]{0,80}") {
            let _ = read(&text);
        }
    }
}
