//! AMF0, bounded: reads into an owned tree and writes it back in the order it has.
//!
//! Depth, count and length are limited before anything is built (RTMP-34), so no message can exhaust the stack or
//! the heap.

/// Deepest nesting that is read.
pub const MAX_DEPTH: usize = 16;
/// Most properties and elements of one message, at all depths together.
pub const MAX_VALUES: usize = 1_024;
/// Longest message that is read, in bytes.
pub const MAX_BYTES: usize = 64 * 1_024;

/// One AMF0 value.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    /// Marker 0x00.
    Number(f64),
    /// Marker 0x01.
    Boolean(bool),
    /// Markers 0x02, 0x0C (long) and 0x0F (XML). Bytes that are not UTF-8 are replaced.
    String(String),
    /// Markers 0x03 and 0x10 (its class name is dropped); properties in the order they came.
    Object(Vec<(String, Value)>),
    /// Marker 0x05.
    Null,
    /// Markers 0x06, 0x07 (a reference, which is not followed) and 0x0D.
    Undefined,
    /// Marker 0x08; its count is only a hint and is not kept.
    EcmaArray(Vec<(String, Value)>),
    /// Marker 0x0A.
    StrictArray(Vec<Value>),
    /// Marker 0x0B: milliseconds since 1970.
    Date(f64),
}

/// Why bytes are not AMF0 that we read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Amf0Error {
    /// The message ends inside a value.
    #[error("AMF0 ends inside a value, at byte {0}")]
    Truncated(usize),
    /// A marker that AMF0 does not have, or AMF3.
    #[error("AMF0 marker 0x{marker:02x} at byte {at} is not known")]
    Marker {
        /// The marker.
        marker: u8,
        /// Where it stands.
        at: usize,
    },
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("AMF0 is nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// More than [`MAX_VALUES`] properties and elements.
    #[error("AMF0 holds more than {MAX_VALUES} values")]
    TooMany,
    /// Longer than [`MAX_BYTES`].
    #[error("AMF0 is longer than {MAX_BYTES} bytes")]
    TooLong,
}

impl Amf0Error {
    /// A limit was broken, rather than the format.
    pub const fn is_limit(self) -> bool {
        matches!(self, Self::TooDeep | Self::TooMany | Self::TooLong)
    }
}

impl Value {
    /// The text of a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// A number; also one that came as text, which some encoders send (RTMP-50).
    pub fn as_number(&self) -> Option<f64> {
        match self {
            Self::Number(number) | Self::Date(number) => Some(*number),
            Self::Boolean(value) => Some(f64::from(u8::from(*value))),
            Self::String(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    /// The properties of an object or an ECMA array.
    pub fn properties(&self) -> &[(String, Value)] {
        match self {
            Self::Object(properties) | Self::EcmaArray(properties) => properties,
            _ => &[],
        }
    }

    /// The property of an object or an ECMA array.
    pub fn property(&self, name: &str) -> Option<&Value> {
        self.properties().iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

/// Every value of a message.
pub fn read_all(bytes: &[u8]) -> Result<Vec<Value>, Amf0Error> {
    match read_prefix(bytes) {
        (values, None) => Ok(values),
        (_, Some(error)) => Err(error),
    }
}

/// The values up to the end or to the first fault, and the fault.
pub fn read_prefix(bytes: &[u8]) -> (Vec<Value>, Option<Amf0Error>) {
    if bytes.len() > MAX_BYTES {
        return (Vec::new(), Some(Amf0Error::TooLong));
    }
    let mut reader = Reader { bytes, at: 0, left: MAX_VALUES };
    let mut values = Vec::new();
    while reader.at < bytes.len() {
        match reader.value(0) {
            Ok(value) => values.push(value),
            Err(error) => return (values, Some(error)),
        }
    }
    (values, None)
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    left: usize,
}

impl<'a> Reader<'a> {
    fn value(&mut self, depth: usize) -> Result<Value, Amf0Error> {
        self.left = self.left.checked_sub(1).ok_or(Amf0Error::TooMany)?;
        if depth > MAX_DEPTH {
            return Err(Amf0Error::TooDeep);
        }
        let at = self.at;
        Ok(match self.u8()? {
            0x00 => Value::Number(self.number()?),
            0x01 => Value::Boolean(self.u8()? != 0),
            0x02 => Value::String(self.text16()?),
            0x03 => Value::Object(self.entries(depth)?),
            0x05 => Value::Null,
            0x06 | 0x0d => Value::Undefined,
            0x07 => {
                self.take(2)?;
                Value::Undefined
            }
            0x08 => {
                self.take(4)?;
                Value::EcmaArray(self.entries(depth)?)
            }
            0x0a => Value::StrictArray(self.elements(depth)?),
            0x0b => {
                let millis = self.number()?;
                self.take(2)?;
                Value::Date(millis)
            }
            0x0c | 0x0f => {
                let length = self.u32()?;
                Value::String(text(self.take(length)?))
            }
            0x10 => {
                self.text16()?;
                Value::Object(self.entries(depth)?)
            }
            marker => return Err(Amf0Error::Marker { marker, at }),
        })
    }

    /// Properties up to `00 00 09`, or up to the end of the message, which some encoders take for it.
    fn entries(&mut self, depth: usize) -> Result<Vec<(String, Value)>, Amf0Error> {
        let mut entries = Vec::new();
        while self.at < self.bytes.len() {
            let key = self.text16()?;
            if key.is_empty() && self.bytes.get(self.at) == Some(&0x09) {
                self.at += 1;
                break;
            }
            entries.push((key, self.value(depth + 1)?));
        }
        Ok(entries)
    }

    fn elements(&mut self, depth: usize) -> Result<Vec<Value>, Amf0Error> {
        let count = self.u32()?;
        if count > self.left {
            return Err(Amf0Error::TooMany);
        }
        (0..count).map(|_| self.value(depth + 1)).collect()
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Amf0Error> {
        let end = self.at.checked_add(count).ok_or(Amf0Error::Truncated(self.at))?;
        let taken = self.bytes.get(self.at..end).ok_or(Amf0Error::Truncated(self.at))?;
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Amf0Error> {
        let at = self.at;
        self.take(N)?.try_into().map_err(|_| Amf0Error::Truncated(at))
    }

    fn u8(&mut self) -> Result<u8, Amf0Error> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    fn u32(&mut self) -> Result<usize, Amf0Error> {
        Ok(u32::from_be_bytes(self.array()?) as usize)
    }

    fn number(&mut self) -> Result<f64, Amf0Error> {
        Ok(f64::from_be_bytes(self.array()?))
    }

    fn text16(&mut self) -> Result<String, Amf0Error> {
        let length = u16::from_be_bytes(self.array()?);
        Ok(text(self.take(length.into())?))
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Writes values one after the other.
pub fn write_all(values: &[Value]) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    for value in values {
        write(&mut out, value);
    }
    out
}

/// Writes one value. Keys are cut at 65 535 bytes.
pub fn write(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Number(number) => {
            out.push(0x00);
            out.extend(number.to_be_bytes());
        }
        Value::Boolean(value) => out.extend([0x01, u8::from(*value)]),
        Value::String(text) => match u16::try_from(text.len()) {
            Ok(_) => {
                out.push(0x02);
                write_text16(out, text);
            }
            Err(_) => {
                out.push(0x0c);
                out.extend((text.len() as u32).to_be_bytes());
                out.extend(text.as_bytes());
            }
        },
        Value::Object(properties) => {
            out.push(0x03);
            write_entries(out, properties);
        }
        Value::Null => out.push(0x05),
        Value::Undefined => out.push(0x06),
        Value::EcmaArray(properties) => {
            out.push(0x08);
            out.extend((properties.len() as u32).to_be_bytes());
            write_entries(out, properties);
        }
        Value::StrictArray(elements) => {
            out.push(0x0a);
            out.extend((elements.len() as u32).to_be_bytes());
            elements.iter().for_each(|element| write(out, element));
        }
        Value::Date(millis) => {
            out.push(0x0b);
            out.extend(millis.to_be_bytes());
            out.extend([0, 0]);
        }
    }
}

fn write_entries(out: &mut Vec<u8>, properties: &[(String, Value)]) {
    for (key, value) in properties {
        write_text16(out, key);
        write(out, value);
    }
    out.extend([0x00, 0x00, 0x09]);
}

fn write_text16(out: &mut Vec<u8>, text: &str) {
    let bytes = &text.as_bytes()[..text.len().min(usize::from(u16::MAX))];
    out.extend((bytes.len() as u16).to_be_bytes());
    out.extend(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_worked_examples_of_the_digest_are_written_byte_for_byte() {
        let reply = write_all(&["_result".into(), Value::Number(4.0), Value::Null, Value::Number(1.0)]);
        assert_eq!(reply, b"\x02\x00\x07_result\x00\x40\x10\0\0\0\0\0\0\x05\x00\x3f\xf0\0\0\0\0\0\0");
        assert_eq!(reply.len(), 29);
    }

    #[test]
    fn ecma_counts_are_hints_and_a_missing_end_is_the_end_of_the_message() {
        let mut bytes = b"\x08\x00\x00\x00\x14\x00\x05width\x00\x40\x94\0\0\0\0\0\0".to_vec();
        let whole = vec![Value::EcmaArray(vec![("width".into(), Value::Number(1_280.0))])];
        assert_eq!(read_all(&bytes), Ok(whole.clone()));
        bytes.extend([0, 0, 9]);
        assert_eq!(read_all(&bytes), Ok(whole));
    }

    #[test]
    fn nesting_is_cut_at_the_limit() {
        let nested = |levels: usize| [0x0a, 0, 0, 0, 1].repeat(levels);
        let mut deep = nested(MAX_DEPTH);
        deep.push(5);
        assert!(read_all(&deep).is_ok());
        assert_eq!(read_all(&nested(MAX_DEPTH + 2)), Err(Amf0Error::TooDeep));
        assert_eq!(read_all(&nested(13_000)), Err(Amf0Error::TooDeep));
        assert_eq!(read_all(&nested(200_000)), Err(Amf0Error::TooLong));
    }

    #[test]
    fn counts_are_cut_at_the_limit_and_never_size_anything() {
        assert_eq!(read_all(&[0x0a, 0xff, 0xff, 0xff, 0xff]), Err(Amf0Error::TooMany));
        assert_eq!(read_all(&vec![5; MAX_VALUES + 1]), Err(Amf0Error::TooMany));
        assert_eq!(read_all(&[0x0c, 0xff, 0xff, 0xff, 0xff]), Err(Amf0Error::Truncated(5)));
    }

    #[test]
    fn a_fault_keeps_what_stands_before_it() {
        let mut bytes = write_all(&["connect".into(), Value::Number(1.0)]);
        bytes.push(0x11);
        let (values, error) = read_prefix(&bytes);
        assert_eq!(values, ["connect".into(), Value::Number(1.0)]);
        assert_eq!(error, Some(Amf0Error::Marker { marker: 0x11, at: bytes.len() - 1 }));
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            (-1e9..1e9).prop_map(Value::Number),
            any::<bool>().prop_map(Value::Boolean),
            ".{0,20}".prop_map(Value::String),
            Just(Value::Null),
            Just(Value::Undefined),
            (0.0..1e12).prop_map(Value::Date),
        ];
        leaf.prop_recursive(6, 60, 6, |inner| {
            let entries = proptest::collection::vec(("[a-z]{1,8}", inner.clone()), 0..6);
            prop_oneof![
                entries.clone().prop_map(Value::Object),
                entries.prop_map(Value::EcmaArray),
                proptest::collection::vec(inner, 0..6).prop_map(Value::StrictArray),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(values in proptest::collection::vec(any_value(), 0..5)) {
            prop_assert_eq!(read_all(&write_all(&values)), Ok(values));
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = read_prefix(&bytes);
        }

        #[test]
        fn no_prefix_panics(value in any_value(), cut in any::<proptest::sample::Index>()) {
            let bytes = write_all(&[value]);
            let _ = read_prefix(&bytes[..cut.index(bytes.len())]);
        }
    }
}
