//! AMF0 written by hand: numbers, strings, null and one flat object.

/// A command with string arguments after its null command object.
pub fn command(name: &str, transaction: f64, arguments: &[&str]) -> Vec<u8> {
    let mut out = Vec::new();
    string(&mut out, name);
    number(&mut out, transaction);
    out.push(5);
    arguments.iter().for_each(|argument| string(&mut out, argument));
    out
}

/// `connect` to an app.
pub fn connect(app: &str, url: &str) -> Vec<u8> {
    let mut out = Vec::new();
    string(&mut out, "connect");
    number(&mut out, 1.0);
    out.push(3);
    for (key, value) in [("app", app), ("type", "nonprivate"), ("flashVer", "FMLE/3.0"), ("tcUrl", url)] {
        property(&mut out, key);
        string(&mut out, value);
    }
    out.extend([0, 0, 9]);
    out
}

/// `@setDataFrame`, `onMetaData` with numbers.
pub fn metadata(values: &[(&str, f64)]) -> Vec<u8> {
    let mut out = Vec::new();
    string(&mut out, "@setDataFrame");
    string(&mut out, "onMetaData");
    out.push(8);
    out.extend((values.len() as u32).to_be_bytes());
    for (key, value) in values {
        property(&mut out, key);
        number(&mut out, *value);
    }
    out.extend([0, 0, 9]);
    out
}

/// The name of a command message.
pub fn name(message: &[u8]) -> Option<&str> {
    let [2, high, low, rest @ ..] = message else { return None };
    std::str::from_utf8(rest.get(..usize::from(u16::from_be_bytes([*high, *low])))?).ok()
}

fn string(out: &mut Vec<u8>, text: &str) {
    out.push(2);
    property(out, text);
}

/// A string without its type, as object keys are.
fn property(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u16).to_be_bytes());
    out.extend(text.as_bytes());
}

fn number(out: &mut Vec<u8>, value: f64) {
    out.push(0);
    out.extend(value.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_reads_back_by_its_name() {
        assert_eq!(name(&command("publish", 3.0, &["a", "live"])), Some("publish"));
        assert_eq!(name(&[2, 0, 9, b'x']), None);
        assert_eq!(name(&[]), None);
    }
}
