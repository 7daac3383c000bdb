//! The list of nodes that are not let in any more: a key was lost, or a machine was given back (EDGE-41).

use std::collections::HashSet;

use rustls::pki_types::CertificateDer;

use super::tls::role;

/// Most lines of a list.
const MAX_LINES: usize = 10_000;

/// A read list. Nothing is on the empty one.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Refused {
    nodes: HashSet<String>,
    serials: HashSet<Vec<u8>>,
}

/// Why a text is no list.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RefusedError {
    /// Not text.
    #[error("it is not UTF-8 text")]
    Text,
    /// A line that says nothing.
    #[error(
        "line {0} is none of node:NAME, serial:HEX (as `openssl x509 -serial` prints it) and # for a comment"
    )]
    Line(usize),
    /// Unreasonably many.
    #[error("it has more than 10000 lines: make a new authority in its place")]
    TooLong,
}

impl Refused {
    /// A line each: `node:NAME` for all certificates of a node, `serial:HEX` for a single one; empty lines and those that
    /// begin with `#` say nothing.
    pub fn read(text: &[u8]) -> Result<Self, RefusedError> {
        let text = std::str::from_utf8(text).map_err(|_| RefusedError::Text)?;
        let mut list = Self::default();
        for (index, line) in text.lines().map(str::trim).enumerate() {
            if index >= MAX_LINES {
                return Err(RefusedError::TooLong);
            }
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = RefusedError::Line(index + 1);
            match line.split_once(':') {
                Some(("node", name)) if !name.trim().is_empty() => {
                    list.nodes.insert(name.trim().to_owned());
                }
                Some(("serial", digits)) => {
                    list.serials.insert(serial(digits).ok_or(wrong)?);
                }
                _ => return Err(wrong),
            }
        }
        Ok(list)
    }

    /// How many it names.
    pub fn len(&self) -> usize {
        self.nodes.len() + self.serials.len()
    }

    /// It names nobody.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the node is on it, by its name or its certificate.
    pub(super) fn names(&self, node: &str, certificate: Option<&CertificateDer<'_>>) -> bool {
        if self.is_empty() {
            return false;
        }
        let named = certificate.and_then(role).is_some_and(|(_, name)| self.nodes.contains(&name));
        let numbered = certificate
            .and_then(|certificate| webpki::EndEntityCert::try_from(certificate).ok())
            .is_some_and(|certificate| self.serials.contains(plain(certificate.serial())));
        named || numbered || self.nodes.contains(node)
    }
}

/// A serial number as it is printed: hexadecimal, with or without colons.
fn serial(digits: &str) -> Option<Vec<u8>> {
    let digits: String = digits.chars().filter(|c| *c != ':' && !c.is_whitespace()).collect();
    let padded = if digits.len() % 2 == 1 { format!("0{digits}") } else { digits };
    if padded.is_empty() || padded.len() > 64 || !padded.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let byte = |at: usize| u8::from_str_radix(padded.get(at..at + 2)?, 16).ok();
    let bytes: Option<Vec<u8>> = (0..padded.len()).step_by(2).map(byte).collect();
    bytes.map(|bytes| plain(&bytes).to_vec())
}

/// Without the zeros before it, which DER writes to say that a number is not negative.
fn plain(serial: &[u8]) -> &[u8] {
    let zeros = serial.iter().take_while(|byte| **byte == 0).count();
    &serial[zeros..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(name: &str, serial: &[u8]) -> CertificateDer<'static> {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.serial_number = Some(serial.to_vec().into());
        let uri = format!("aqueduct://edge/{name}").try_into().unwrap();
        params.subject_alt_names = vec![rcgen::SanType::URI(uri)];
        params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().into()
    }

    #[test]
    fn a_node_is_refused_by_its_name_or_by_one_certificate() {
        let list = Refused::read(b"# lost\n\nnode: edge-7\nserial:00:C0:ff:EE\nserial:1\n").unwrap();
        assert_eq!(list.len(), 3);
        let (lost, renewed) = (certificate("edge-8", &[0xc0, 0xff, 0xee]), certificate("edge-8", &[9, 9]));
        assert!(list.names("x", Some(&certificate("edge-7", &[5]))));
        assert!(list.names("x", Some(&lost)) && !list.names("x", Some(&renewed)));
        assert!(list.names("x", Some(&certificate("edge-9", &[1]))));
        assert!(list.names("edge-7", None) && !list.names("edge-77", None));
        assert!(!Refused::default().names("edge-7", Some(&lost)));
    }

    #[test]
    fn a_list_that_cannot_be_read_names_the_line() {
        for (text, error) in [
            (&b"node:a\nedge-7\n"[..], RefusedError::Line(2)),
            (b"node: ", RefusedError::Line(1)),
            (b"serial:", RefusedError::Line(1)),
            (b"\nserial:xyz", RefusedError::Line(2)),
            (b"node:\xff", RefusedError::Text),
        ] {
            assert_eq!(Refused::read(text), Err(error));
        }
        assert_eq!(Refused::read("#\n".repeat(10_001).as_bytes()), Err(RefusedError::TooLong));
    }
}
