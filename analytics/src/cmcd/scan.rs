//! How a list is written: keys with values, before anybody asks what they mean.

use std::borrow::Cow;

use super::MOST_KEYS;

/// Characters of a session's or content's name (QOE-3).
pub(super) const LONGEST_NAME: usize = 64;

/// Undoes percent escapes; what is not one stays as it is. A `+` is a plus: players escape spaces as `%20`.
pub(super) fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let digit = |place: usize| bytes.get(place).and_then(|byte| char::from(*byte).to_digit(16));
        if let (b'%', Some(high), Some(low)) = (byte, digit(at + 1), digit(at + 2)) {
            out.push((high * 16 + low) as u8);
            at += 3;
        } else {
            out.push(byte);
            at += 1;
        }
    }
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}

/// A value as it stands.
pub(super) enum Value<'a> {
    True,
    Text(String),
    Word(&'a str),
    /// The items of an inner list, each with its first parameter.
    List(Vec<(Item<'a>, &'a str)>),
}

pub(super) enum Item<'a> {
    Word(&'a str),
    Text,
}

pub(super) struct Broken;

pub(super) struct Scanner<'a> {
    rest: &'a str,
}

impl<'a> Scanner<'a> {
    pub(super) const fn new(text: &'a str) -> Self {
        Self { rest: text }
    }

    /// The next key with its value.
    pub(super) fn pair(&mut self) -> Option<Result<(&'a str, Value<'a>), Broken>> {
        self.rest = self.rest.trim_start_matches([' ', '\t', ',', '\r']);
        if self.rest.is_empty() {
            return None;
        }
        let key = self.until(|c| matches!(c, '=' | ',' | ';' | ' '));
        if key.is_empty() {
            self.skip();
            return Some(Err(Broken));
        }
        let value = match self.rest.strip_prefix('=') {
            None => Ok(Value::True),
            Some(rest) => {
                self.rest = rest;
                self.value()
            }
        };
        self.parameters();
        if !self.rest.is_empty() && !self.rest.starts_with([',', ' ', '\t', '\r']) {
            self.skip();
            return Some(Err(Broken));
        }
        Some(value.map(|value| (key, value)))
    }

    fn value(&mut self) -> Result<Value<'a>, Broken> {
        if self.rest.starts_with('"') {
            return self.text().map(Value::Text);
        }
        if let Some(rest) = self.rest.strip_prefix('(') {
            self.rest = rest;
            return self.list().map(Value::List);
        }
        match self.until(|c| matches!(c, ',' | ';' | ' ' | '\t' | '\r')) {
            "" => Err(Broken),
            word => Ok(Value::Word(word)),
        }
    }

    fn list(&mut self) -> Result<Vec<(Item<'a>, &'a str)>, Broken> {
        let mut items = Vec::new();
        loop {
            self.rest = self.rest.trim_start_matches(' ');
            if let Some(rest) = self.rest.strip_prefix(')') {
                self.rest = rest;
                return Ok(items);
            }
            let item = if self.rest.starts_with('"') {
                self.text()?;
                Item::Text
            } else {
                match self.until(|c| matches!(c, ' ' | ';' | ')' | ',')) {
                    "" => return Err(Broken),
                    word => Item::Word(word),
                }
            };
            let parameter = self.parameters();
            if items.len() < MOST_KEYS {
                items.push((item, parameter));
            }
        }
    }

    /// Parameters behind an item: the first one's name.
    fn parameters(&mut self) -> &'a str {
        let mut first = "";
        while let Some(rest) = self.rest.strip_prefix(';') {
            self.rest = rest;
            let name = self.until(|c| matches!(c, ' ' | ';' | ')' | ',' | '='));
            if first.is_empty() {
                first = name;
            }
            if let Some(rest) = self.rest.strip_prefix('=') {
                self.rest = rest;
                if self.rest.starts_with('"') {
                    if self.text().is_err() {
                        return first;
                    }
                } else {
                    self.until(|c| matches!(c, ' ' | ';' | ')' | ','));
                }
            }
        }
        first
    }

    /// A string in double quotes, with `\\` and `\"`.
    fn text(&mut self) -> Result<String, Broken> {
        let mut out = String::new();
        let mut escaped = false;
        for (at, c) in self.rest.char_indices().skip(1) {
            match (escaped, c) {
                (false, '\\') => escaped = true,
                (false, '"') => {
                    self.rest = &self.rest[at + 1..];
                    return Ok(out);
                }
                _ => {
                    escaped = false;
                    out.push(c);
                }
            }
        }
        self.rest = "";
        Err(Broken)
    }

    fn until(&mut self, end: impl Fn(char) -> bool) -> &'a str {
        let at = self.rest.find(end).unwrap_or(self.rest.len());
        let (found, rest) = self.rest.split_at(at);
        self.rest = rest;
        found
    }

    /// To the next comma.
    fn skip(&mut self) {
        let at = self.rest.find(',').unwrap_or(self.rest.len());
        self.rest = &self.rest[at..];
    }
}

impl Value<'_> {
    pub(super) fn word(&self) -> Option<&str> {
        match self {
            Self::Word(word) => Some(word),
            _ => None,
        }
    }

    /// A number of at most `most`, rounded; of a list the one for pictures, or the first one.
    pub(super) fn number(&self, most: u64) -> Option<u32> {
        let word = match self {
            Self::Word(word) => word,
            Self::List(items) => {
                let words = || {
                    items.iter().filter_map(|(item, parameter)| match item {
                        Item::Word(word) => Some((*word, *parameter)),
                        Item::Text => None,
                    })
                };
                words().find(|(_, parameter)| matches!(*parameter, "v" | "av")).or_else(|| words().next())?.0
            }
            Self::True | Self::Text(_) => return None,
        };
        let value: f64 = word.parse().ok().filter(|value: &f64| value.is_finite() && *value >= 0.0)?;
        (value <= most as f64).then_some(value.round() as u32)
    }

    pub(super) fn flag(&self) -> Option<bool> {
        match self {
            Self::True => Some(true),
            Self::Word(word) => match *word {
                "true" | "?1" => Some(true),
                "false" | "?0" => Some(false),
                _ => None,
            },
            _ => None,
        }
    }

    pub(super) fn name(&self) -> Option<String> {
        let text = match self {
            Self::Text(text) => text.as_str(),
            // Older players forget the quotes.
            Self::Word(word) => word,
            _ => return None,
        };
        let fits = !text.is_empty() && text.chars().count() <= LONGEST_NAME;
        (fits && !text.contains(char::is_control)).then(|| text.to_owned())
    }
}
