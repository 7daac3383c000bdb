//! Bytes held: shared memory is counted once.

use std::collections::HashMap;

use bytes::Bytes;

/// Counts the memory behind a set of bodies. A segment shares the bytes of its parts, so the pieces are counted, not
/// the bodies.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pieces: HashMap<(usize, usize), u32>,
    bytes: u64,
}

impl Ledger {
    /// Memory held, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// A body is kept.
    pub(crate) fn add<'a>(&mut self, chunks: impl Iterator<Item = &'a Bytes>) {
        for chunk in chunks.filter(|chunk| !chunk.is_empty()) {
            let owners = self.pieces.entry(place(chunk)).or_default();
            *owners += 1;
            if *owners == 1 {
                self.bytes += chunk.len() as u64;
            }
        }
    }

    /// A body that was kept is let go.
    pub(crate) fn remove<'a>(&mut self, chunks: impl Iterator<Item = &'a Bytes>) {
        for chunk in chunks {
            let Some(owners) = self.pieces.get_mut(&place(chunk)) else { continue };
            *owners -= 1;
            if *owners == 0 {
                self.pieces.remove(&place(chunk));
                self.bytes -= chunk.len() as u64;
            }
        }
    }
}

fn place(chunk: &Bytes) -> (usize, usize) {
    (chunk.as_ptr() as usize, chunk.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_adds_nothing_to_its_parts_and_outlives_them() {
        let parts = [Bytes::from(vec![1; 100]), Bytes::from(vec![2; 50])];
        let segment = parts.clone();
        let mut ledger = Ledger::default();
        ledger.add(parts[..1].iter());
        ledger.add(parts[1..].iter());
        ledger.add(segment.iter());
        ledger.add([Bytes::new()].iter());
        assert_eq!(ledger.bytes(), 150);
        ledger.remove(parts[..1].iter());
        ledger.remove(parts[1..].iter());
        assert_eq!(ledger.bytes(), 150);
        ledger.remove(segment.iter());
        assert_eq!(ledger.bytes(), 0);
    }
}
