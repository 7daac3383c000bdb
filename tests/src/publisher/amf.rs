//! AMF0, written (RTMP-34).

/// A value.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    /// Marker 00.
    Number(f64),
    /// Marker 01.
    Bool(bool),
    /// Marker 02.
    Text(String),
    /// Marker 05.
    Null,
    /// Marker 03.
    Object(Vec<(&'static str, Value)>),
    /// Marker 08, with a count that is only a hint.
    EcmaArray(u32, Vec<(&'static str, Value)>),
    /// Marker 0A.
    StrictArray(Vec<Value>),
}

impl Value {
    /// A string.
    pub fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }

    /// Appends the value's bytes.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Number(number) => {
                out.push(0);
                out.extend_from_slice(&number.to_be_bytes());
            }
            Self::Bool(value) => out.extend_from_slice(&[1, u8::from(*value)]),
            Self::Text(text) => {
                out.push(2);
                short(out, text);
            }
            Self::Null => out.push(5),
            Self::Object(pairs) => {
                out.push(3);
                properties(out, pairs);
            }
            Self::EcmaArray(count, pairs) => {
                out.push(8);
                out.extend_from_slice(&count.to_be_bytes());
                properties(out, pairs);
            }
            Self::StrictArray(values) => {
                out.push(10);
                out.extend_from_slice(&(values.len() as u32).to_be_bytes());
                values.iter().for_each(|value| value.write(out));
            }
        }
    }
}

fn short(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&(text.len() as u16).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn properties(out: &mut Vec<u8>, pairs: &[(&'static str, Value)]) {
    for (name, value) in pairs {
        short(out, name);
        value.write(out);
    }
    out.extend_from_slice(&[0, 0, 9]);
}

/// A command or data message's body.
pub fn body(values: &[Value]) -> Vec<u8> {
    let mut out = Vec::new();
    values.iter().for_each(|value| value.write(&mut out));
    out
}
