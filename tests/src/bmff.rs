//! Boxes of ISO/IEC 14496-12, read from untrusted bytes without copying.

use std::fmt;

/// One box.
#[derive(Clone, Copy, Debug)]
pub struct Box4<'a> {
    /// Its four-character code.
    pub kind: [u8; 4],
    /// Offset of its first byte in the bytes that were walked.
    pub offset: usize,
    /// Its whole size, header included.
    pub size: usize,
    /// What follows the header.
    pub body: &'a [u8],
}

impl Box4<'_> {
    /// The four-character code as text.
    pub fn name(&self) -> String {
        self.kind.iter().map(|byte| char::from(*byte)).collect()
    }
}

/// A box whose size does not fit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadBox {
    /// Where it begins.
    pub offset: usize,
}

impl fmt::Display for BadBox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the box at byte {} does not fit", self.offset)
    }
}

impl std::error::Error for BadBox {}

/// All boxes that `data` consists of.
///
/// # Errors
///
/// When a size is wrong or bytes are left over.
pub fn boxes(data: &[u8]) -> Result<Vec<Box4<'_>>, BadBox> {
    let mut found = Vec::new();
    let mut offset = 0;
    while offset < data.len() {
        let one = read_box(data, offset).ok_or(BadBox { offset })?;
        offset += one.size;
        found.push(one);
    }
    Ok(found)
}

fn read_box(data: &[u8], offset: usize) -> Option<Box4<'_>> {
    let rest = data.get(offset..)?;
    let kind = rest.get(4..8)?.try_into().ok()?;
    let (size, header) = match be32(rest, 0)? {
        0 => (rest.len(), 8),
        1 => (usize::try_from(be64(rest, 8)?).ok()?, 16),
        size => (size as usize, 8),
    };
    let body = rest.get(..size)?.get(header..)?;
    Some(Box4 { kind, offset, size, body })
}

/// The first box of this kind directly within `data`.
pub fn child<'a>(data: &'a [u8], kind: &[u8; 4]) -> Option<Box4<'a>> {
    boxes(data).ok()?.into_iter().find(|one| &one.kind == kind)
}

/// The body at the end of a path of boxes.
pub fn find<'a>(mut data: &'a [u8], path: &[&[u8; 4]]) -> Option<&'a [u8]> {
    for kind in path {
        data = child(data, kind)?.body;
    }
    Some(data)
}

/// A big-endian u16 at `at`.
pub fn be16(data: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(data.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

/// A big-endian u32 at `at`.
pub fn be32(data: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(data.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

/// A big-endian u64 at `at`.
pub fn be64(data: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(data.get(at..at.checked_add(8)?)?.try_into().ok()?))
}

/// Appends a box that `write` fills.
pub fn put(out: &mut Vec<u8>, kind: &[u8; 4], write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(kind);
    write(out);
    let size = (out.len() - start) as u32;
    out[start..start + 4].copy_from_slice(&size.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nested_boxes_are_found() {
        let mut out = Vec::new();
        put(&mut out, b"moov", |out| put(out, b"trak", |out| out.extend_from_slice(&[1, 2, 3])));
        assert_eq!(find(&out, &[b"moov", b"trak"]), Some(&[1, 2, 3][..]));
        assert_eq!(boxes(&out[..out.len() - 1]).unwrap_err(), BadBox { offset: 0 });
    }

    proptest! {
        #[test]
        fn any_bytes_are_walked_without_a_panic(data in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = boxes(&data);
            let _ = find(&data, &[b"moov", b"trak"]);
        }
    }
}
