//! A bit reader for parameter sets and configuration records. Every read is checked; nothing is allocated by a
//! length that was read.

use super::CodecError;

/// Reads big-endian bit fields from a record, and names the record and the bit where it ends too early.
#[derive(Clone, Debug)]
pub(super) struct Bits<'a> {
    record: &'static str,
    data: &'a [u8],
    at: usize,
}

impl<'a> Bits<'a> {
    /// Starts at the first bit of `data`; `record` names it in errors.
    pub(super) const fn new(record: &'static str, data: &'a [u8]) -> Self {
        Self { record, data, at: 0 }
    }

    /// Bits left to read.
    pub(super) const fn left(&self) -> usize {
        self.data.len() * 8 - self.at
    }

    /// Bytes read so far, a begun one included.
    pub(super) const fn bytes_read(&self) -> usize {
        self.at.div_ceil(8)
    }

    /// The next `count` bits, at most 32, most significant first.
    pub(super) fn bits(&mut self, count: u32) -> Result<u32, CodecError> {
        debug_assert!(count <= 32);
        let end = self.advance(count as usize)?;
        let from = (end - count as usize) / 8;
        let joined =
            self.data[from..end.div_ceil(8)].iter().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
        let value = joined >> (end.next_multiple_of(8) - end);
        Ok((value & ((1 << count) - 1)) as u32)
    }

    /// One byte's worth of bits.
    pub(super) fn byte(&mut self) -> Result<u8, CodecError> {
        self.bits(8).map(|value| value as u8)
    }

    /// One byte that is 0 or not.
    pub(super) fn flag_byte(&mut self) -> Result<bool, CodecError> {
        self.byte().map(|byte| byte != 0)
    }

    /// One bit.
    pub(super) fn flag(&mut self) -> Result<bool, CodecError> {
        self.bits(1).map(|bit| bit == 1)
    }

    /// Passes over `count` bits.
    pub(super) fn skip(&mut self, count: usize) -> Result<(), CodecError> {
        self.advance(count).map(|_| ())
    }

    /// Passes over the rest of a begun byte.
    pub(super) const fn align(&mut self) {
        self.at = self.at.next_multiple_of(8);
    }

    /// The next `count` bytes, from the next byte boundary on.
    pub(super) fn bytes(&mut self, count: usize) -> Result<&'a [u8], CodecError> {
        self.align();
        let end = self.advance(count.saturating_mul(8))? / 8;
        Ok(&self.data[end - count..end])
    }

    /// An unsigned Exp-Golomb code (H.264 9.1, H.265 9.2), up to 2^32 − 2.
    pub(super) fn ue(&mut self) -> Result<u32, CodecError> {
        let mut zeros = 0;
        while !self.flag()? {
            zeros += 1;
            if zeros > 31 {
                return Err(self.unsupported("Exp-Golomb prefix", zeros));
            }
        }
        let suffix = u64::from(self.bits(zeros as u32)?);
        Ok(((1u64 << zeros) - 1 + suffix) as u32)
    }

    /// An unsigned Exp-Golomb code that must not exceed `max`.
    pub(super) fn ue_max(&mut self, field: &'static str, max: u32) -> Result<u32, CodecError> {
        let value = self.ue()?;
        if value > max { Err(self.unsupported(field, value.into())) } else { Ok(value) }
    }

    /// A signed Exp-Golomb code: 0, 1, −1, 2, −2, …
    pub(super) fn se(&mut self) -> Result<i32, CodecError> {
        let code = i64::from(self.ue()?);
        Ok(if code % 2 == 1 { (code + 1) / 2 } else { -(code / 2) } as i32)
    }

    /// Passes over `count` Exp-Golomb codes.
    pub(super) fn skip_ue(&mut self, count: usize) -> Result<(), CodecError> {
        (0..count).try_for_each(|_| self.ue().map(|_| ()))
    }

    /// The error for a field of this record that holds what it must not.
    pub(super) const fn unsupported(&self, field: &'static str, value: u64) -> CodecError {
        CodecError::Unsupported { record: self.record, field, value }
    }

    /// Moves on by `count` bits and returns the new position.
    fn advance(&mut self, count: usize) -> Result<usize, CodecError> {
        if count > self.left() {
            return Err(CodecError::Truncated { record: self.record, at: self.data.len() * 8 });
        }
        self.at += count;
        Ok(self.at)
    }
}

/// The raw byte sequence payload of a NAL unit: without the emulation prevention bytes, the third of `00 00 03`
/// (H.264 7.4.1, H.265 7.4.2).
pub(super) fn rbsp(nal: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(nal.len());
    let mut zeros = 0;
    for &byte in nal {
        if zeros >= 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        out.push(byte);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn exp_golomb_codes_read_as_in_table_9_2() {
        // 1, 010, 011, 00100, 00101, 00110, 00111, 0001000 and a stop.
        let data = [0b1010_0110, 0b0100_0010, 0b1001_1000, 0b1110_0010, 0b0010_0000];
        let mut bits = Bits::new("test", &data);
        let read: Vec<u32> = (0..8).map(|_| bits.ue().unwrap()).collect();
        assert_eq!(read, [0, 1, 2, 3, 4, 5, 6, 7]);
        let mut bits = Bits::new("test", &data);
        let read: Vec<i32> = (0..8).map(|_| bits.se().unwrap()).collect();
        assert_eq!(read, [0, 1, -1, 2, -2, 3, -3, 4]);
    }

    #[test]
    fn the_longest_code_reads_and_a_longer_one_is_refused() {
        let longest = [0, 0, 0, 1, 0xff, 0xff, 0xff, 0xfe];
        assert_eq!(Bits::new("test", &longest).ue(), Ok(u32::MAX - 1));
        let longer = [0, 0, 0, 0, 0x80, 0, 0, 0, 0, 0];
        assert!(matches!(Bits::new("test", &longer).ue(), Err(CodecError::Unsupported { .. })));
    }

    #[test]
    fn reading_past_the_end_says_where() {
        let mut bits = Bits::new("test", &[0xff, 0xff]);
        bits.skip(9).unwrap();
        assert_eq!(bits.bits(8), Err(CodecError::Truncated { record: "test", at: 16 }));
        assert_eq!(bits.bits(7), Ok(0x7f), "a failed read takes nothing");
        assert_eq!((bits.left(), bits.bits(0)), (0, Ok(0)));
        assert!(bits.bytes(usize::MAX).is_err());
    }

    #[test]
    fn emulation_prevention_is_taken_out() {
        assert_eq!(rbsp(&[0, 0, 3, 0, 0, 3, 1, 3, 0, 0, 3]), [0, 0, 0, 0, 1, 3, 0, 0]);
    }

    proptest! {
        #[test]
        fn fields_of_any_width_join_to_the_bytes(data in proptest::collection::vec(any::<u8>(), 0..24), widths in proptest::collection::vec(1u32..=32, 0..40)) {
            let mut bits = Bits::new("test", &data);
            let mut text = String::new();
            for width in widths {
                match bits.bits(width) {
                    Ok(value) => text += &format!("{value:0width$b}", width = width as usize),
                    Err(_) => break,
                }
            }
            let whole: String = data.iter().map(|byte| format!("{byte:08b}")).collect();
            prop_assert!(whole.starts_with(&text));
        }
    }
}
