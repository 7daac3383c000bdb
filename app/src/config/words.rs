//! What a value of the wrong kind should have been, in words for whoever wrote it.

use figment::error::{Actual, Kind};

/// Keys whose values are shown nowhere, whatever is wrong with them.
const HUSHED: [&str; 11] = [
    "secret",
    "password",
    "passphrase",
    "hash",
    "key",
    "tokens",
    "url",
    "nats",
    "headers",
    "streamid",
    "options",
];

/// What is wrong with the value at `path`, and what would be right.
pub fn told(kind: &Kind, path: &[String]) -> String {
    match kind {
        Kind::InvalidType(is, wanted) | Kind::InvalidValue(is, wanted) => {
            format!("{} will not do: write {}", shown(is, path), right(wanted, path))
        }
        Kind::UnknownVariant(is, known) => {
            let known: Vec<String> = known.iter().map(|word| format!("{word:?}")).collect();
            format!("{is:?} will not do: write {}", known.join(" or "))
        }
        kind => kind.to_string(),
    }
}

/// The value as it was written, unless it may be a secret.
fn shown(is: &Actual, path: &[String]) -> String {
    if path.iter().any(|step| HUSHED.contains(&step.as_str())) {
        return "what stands here".into();
    }
    match is {
        Actual::Bool(value) => value.to_string(),
        Actual::Unsigned(value) => value.to_string(),
        Actual::Signed(value) => value.to_string(),
        Actual::Float(value) => value.to_string(),
        Actual::Str(text) => format!("{text:?}"),
        Actual::Seq => "a list".into(),
        Actual::Map => "a section".into(),
        other => other.to_string(),
    }
}

/// What the program wants, in the words of TOML.
fn right(wanted: &str, path: &[String]) -> String {
    match wanted {
        "a duration" => {
            "a length of time with its unit in quotes, such as \"200ms\", \"10s\" or \"5m\"".into()
        }
        "a string" => "it in quotes".into(),
        "a boolean" => "true or false".into(),
        "a sequence" => {
            let key = path.join(".");
            format!("a list: {key} = [ … ], or sections [[{key}]] with two brackets on each side")
        }
        "f32" | "f64" => "a number".into(),
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number".into(),
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number, 0 or more".into(),
        wanted if wanted.starts_with("struct ") => "a section with keys".into(),
        wanted => wanted.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(key: &str) -> Vec<String> {
        key.split('.').map(str::to_owned).collect()
    }

    #[test]
    fn a_secret_of_the_wrong_kind_is_not_shown() {
        for key in ["ingest.keys.0.secret", "ingest.srt.passphrase", "relay.tokens.0", "stream.0.push.0.key"]
        {
            let said = told(&Kind::InvalidType(Actual::Unsigned(12_345_678), "a string".into()), &path(key));
            assert_eq!(said, "what stands here will not do: write it in quotes", "{key}");
        }
    }
}
