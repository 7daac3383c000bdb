//! Networks that a token may be bound to (AUTH-10).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// An address prefix. Viewers' addresses change within it: mobile carriers and gateways move them about.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Network {
    /// Its first address.
    first: IpAddr,
    bits: u8,
}

/// Why a text is no network.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a network is an address or a prefix, such as 203.0.113.0/24 or 2001:db8:1::/48")]
pub struct NetworkError;

impl Network {
    /// The network around a viewer: /24 of IPv4, /48 of IPv6. An IPv4 address in IPv6 clothes counts as IPv4.
    pub fn around(address: IpAddr) -> Self {
        let address = address.to_canonical();
        Self::new(address, if address.is_ipv4() { 24 } else { 48 })
    }

    /// Whether an address lies within.
    pub fn covers(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.first.is_ipv4() && Self::new(address, self.bits) == *self
    }

    fn new(address: IpAddr, bits: u8) -> Self {
        let first = match address {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & mask))
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask))
            }
        };
        Self { first, bits }
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let Some((address, bits)) = text.split_once('/') else {
            return text.parse().map(Self::around).map_err(|_| NetworkError);
        };
        let address: IpAddr = address.parse().map_err(|_| NetworkError)?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let digits = !bits.is_empty() && bits.bytes().all(|byte| byte.is_ascii_digit());
        let bits: u8 = bits.parse().ok().filter(|bits| digits && *bits <= most).ok_or(NetworkError)?;
        // ::ffff:203.0.113.0/120 is 203.0.113.0/24.
        match (address, address.to_canonical()) {
            (IpAddr::V6(_), IpAddr::V4(inner)) if bits >= 96 => Ok(Self::new(inner.into(), bits - 96)),
            _ => Ok(Self::new(address, bits)),
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_covers_its_prefix_and_no_more() {
        for (network, inside, outside) in [
            ("203.0.113.0/24", "203.0.113.255", "203.0.114.0"),
            ("203.0.113.77", "203.0.113.1", "203.0.112.255"),
            ("203.0.113.7/32", "203.0.113.7", "203.0.113.8"),
            ("203.0.113.0/24", "::ffff:203.0.113.9", "::ffff:203.0.114.9"),
            ("::ffff:203.0.113.9", "203.0.113.1", "2001:db8::1"),
            ("::ffff:203.0.113.0/120", "203.0.113.1", "203.0.114.1"),
            ("2001:db8:1::/48", "2001:db8:1:ffff::1", "2001:db8:2::1"),
            ("2001:DB8:1:2:3::4", "2001:db8:1::", "2001:db8::1"),
            ("0.0.0.0/0", "8.8.8.8", "2001:db8::1"),
            ("::/0", "2001:db8::1", "8.8.8.8"),
        ] {
            let parsed: Network = network.parse().unwrap();
            assert!(parsed.covers(inside.parse().unwrap()), "{network} {inside}");
            assert!(!parsed.covers(outside.parse().unwrap()), "{network} {outside}");
            assert_eq!(parsed.to_string().parse(), Ok(parsed), "{network}");
        }
        assert_eq!(Network::around("203.0.113.77".parse().unwrap()).to_string(), "203.0.113.0/24");
        for text in ["", "203.0.113", "203.0.113.0/33", "::/129", "203.0.113.0/", "203.0.113.0/+8", "host"] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }
}
