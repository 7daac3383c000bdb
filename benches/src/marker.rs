//! The number that every synthetic frame carries in its payload, so that a served part says which frames it holds
//! without any knowledge of how the server counts time.

const MAGIC: &[u8; 8] = b"aq-frame";
/// Length of a marker in bytes.
pub const LEN: usize = MAGIC.len() + 8;

/// The marker of frame `index`. Free of zero bytes, so that it can stand in a NAL unit.
pub fn of(index: u32) -> [u8; LEN] {
    let mut marker = [0; LEN];
    marker[..8].copy_from_slice(MAGIC);
    marker[8..].copy_from_slice(format!("{index:08x}").as_bytes());
    marker
}

/// The frame number in a sample.
pub fn read(sample: &[u8]) -> Option<u32> {
    let at = sample.windows(MAGIC.len()).position(|window| window == MAGIC)?;
    let digits = sample.get(at + MAGIC.len()..at + LEN)?;
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_is_found_wherever_it_stands() {
        let mut sample = vec![9; 40];
        assert_eq!(read(&sample), None);
        sample[20..20 + LEN].copy_from_slice(&of(0xabcdef));
        assert_eq!(read(&sample), Some(0xabcdef));
        assert_eq!(read(&sample[..20 + LEN - 1]), None);
    }
}
