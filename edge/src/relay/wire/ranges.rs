//! Sets of sequence numbers that are mostly consecutive.

use super::Malformed;
use super::text::{Fields, put_varint};

/// Ranges of a set at most: more than any window has pieces.
const MAX_RANGES: u64 = 32_768;

/// An ordered set of numbers, as ranges.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    /// The numbers, which come in rising order; one that does not is left out.
    pub fn of(numbers: impl IntoIterator<Item = u64>) -> Self {
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        for number in numbers {
            match ranges.last_mut() {
                Some((_, last)) if number <= *last => {}
                Some((_, last)) if last.saturating_add(1) == number => *last = number,
                _ => ranges.push((number, number)),
            }
        }
        Self(ranges)
    }

    /// First and last number of each range, both within it, in rising order.
    pub fn spans(&self) -> &[(u64, u64)] {
        &self.0
    }

    /// Whether the number is in it.
    pub fn contains(&self, number: u64) -> bool {
        let at = self.0.partition_point(|(_, last)| *last < number);
        self.0.get(at).is_some_and(|(first, _)| *first <= number)
    }

    /// The greatest number.
    pub fn last(&self) -> Option<u64> {
        self.0.last().map(|(_, last)| *last)
    }

    /// How many numbers.
    pub fn len(&self) -> u64 {
        self.0.iter().fold(0, |sum: u64, (first, last)| sum.saturating_add(last - first).saturating_add(1))
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        put_varint(out, self.0.len() as u64);
        let mut next = 0;
        for (first, last) in &self.0 {
            put_varint(out, first.saturating_sub(next));
            put_varint(out, last - first);
            next = last.saturating_add(1);
        }
    }

    pub(super) fn read(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        let count = fields.varint()?;
        if count > MAX_RANGES {
            return Err(Malformed::TooLong("a set of ranges"));
        }
        // Grows with what is there, never by what was announced.
        let (mut ranges, mut next) = (Vec::new(), 0u64);
        for _ in 0..count {
            let first = next.checked_add(fields.varint()?).ok_or(Malformed::Ranges)?;
            let last = first.checked_add(fields.varint()?).ok_or(Malformed::Ranges)?;
            next = last.checked_add(1).ok_or(Malformed::Ranges)?;
            ranges.push((first, last));
        }
        Ok(Self(ranges))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_set_comes_back_and_knows_its_members(numbers in proptest::collection::btree_set(0u64..200, 0..60)) {
            let ranges = Ranges::of(numbers.iter().copied());
            let mut out = Vec::new();
            ranges.write(&mut out);
            let read = Ranges::read(&mut Fields(&out)).unwrap();
            prop_assert_eq!(&read, &ranges);
            let members: BTreeSet<u64> = (0..200).filter(|number| read.contains(*number)).collect();
            prop_assert_eq!(&members, &numbers);
            prop_assert_eq!(read.len(), numbers.len() as u64);
            prop_assert_eq!(read.last(), numbers.last().copied());
        }
    }
}
