//! Fields: writing them, and reading them without trust.

use super::{MAX_NAME, Malformed};

/// A message being read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Malformed::Short)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.take(N)?.try_into().map_err(|_| Malformed::Short)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(self.array::<1>()?[0])
    }

    pub(super) fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_be_bytes)
    }

    /// A number after which there is another one.
    pub(super) fn number(&mut self) -> Result<u64, Malformed> {
        self.u64().and_then(|number| if number == u64::MAX { Err(Malformed::Ranges) } else { Ok(number) })
    }

    pub(super) fn flag(&mut self, what: &'static str) -> Result<bool, Malformed> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed::Unknown(what)),
        }
    }

    /// A LEB128 number.
    pub(super) fn varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(Malformed::TooLong("a number"));
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed::TooLong("a number"))
    }

    /// A name that may be empty: printable ASCII without spaces, backslashes, or steps upwards.
    pub(super) fn name(&mut self) -> Result<&'a str, Malformed> {
        let length = usize::from(self.u8()?);
        let text = std::str::from_utf8(self.take(length)?).map_err(|_| Malformed::Name)?;
        if is_name(text) { Ok(text) } else { Err(Malformed::Name) }
    }

    /// A name that is one step of a path.
    pub(super) fn step(&mut self) -> Result<&'a str, Malformed> {
        let text = self.name()?;
        if text.is_empty() || text.contains('/') { Err(Malformed::Name) } else { Ok(text) }
    }
}

/// Whether a text can be said as a name: at most [`MAX_NAME`] bytes of printable ASCII without spaces, backslashes and
/// what URLs give a meaning to, and without steps upwards.
pub(crate) fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '\\' | '?' | '#' | '%');
    let climbs = |step: &str| matches!(step, "." | "..");
    text.len() <= MAX_NAME && text.chars().all(plain) && !text.split('/').any(climbs)
}

/// What the other side would not take for a name is not written.
pub(super) fn put_name(out: &mut Vec<u8>, name: &str) -> Result<(), Malformed> {
    let length = u8::try_from(name.len()).ok().filter(|_| is_name(name)).ok_or(Malformed::Name)?;
    out.push(length);
    out.extend_from_slice(name.as_bytes());
    Ok(())
}

pub(super) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_come_back(value: u64) {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            let mut fields = Fields(&out);
            prop_assert_eq!(fields.varint(), Ok(value));
            prop_assert!(fields.0.is_empty());
        }
    }

    #[test]
    fn names_do_not_climb() {
        let (long, longest) = ("a".repeat(MAX_NAME + 1), "a".repeat(MAX_NAME));
        for name in ["a b", "a%20b", "a/../b", "..", "ü", "a?b", "a#b", "a\\b", &long] {
            let (mut out, read) = (Vec::new(), [&[name.len() as u8], name.as_bytes()].concat());
            assert_eq!(put_name(&mut out, name), Err(Malformed::Name), "{name}");
            assert_eq!(Fields(&read).name(), Err(Malformed::Name), "{name}");
        }
        for name in ["e1/v0", "", &longest] {
            let mut out = Vec::new();
            put_name(&mut out, name).unwrap();
            assert_eq!(Fields(&out).name(), Ok(name));
        }
        assert_eq!(Fields(&[0x80; 10]).varint(), Err(Malformed::TooLong("a number")));
    }
}
