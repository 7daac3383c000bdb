//! Attribute lists, decimals and dates of HLS tags, read strictly and without floating point.

/// A decimal number of seconds, exact to the microsecond.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Decimal {
    /// Microseconds.
    pub micros: i64,
    /// Digits that stood behind the point.
    pub decimals: usize,
}

impl Decimal {
    /// Reads `2.00000`; digits beyond the sixth are cut.
    pub fn parse(text: &str) -> Option<Self> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || whole.len() > 9 || !digits(whole) || !digits(fraction) || text.ends_with('.') {
            return None;
        }
        let six: String = fraction.chars().chain("000000".chars()).take(6).collect();
        let micros = whole.parse::<i64>().ok()? * 1_000_000 + six.parse::<i64>().ok()?;
        Some(Self { micros, decimals: fraction.len() })
    }
}

/// Reads `2025-11-20T10:20:00.250Z` as microseconds since 1970: UTC and exactly three decimals (TL-34).
pub fn parse_date(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let shape = b"dddd-dd-ddTdd:dd:dd.dddZ";
    let fits = bytes.len() == shape.len()
        && bytes
            .iter()
            .zip(shape)
            .all(|(byte, want)| if *want == b'd' { byte.is_ascii_digit() } else { byte == want });
    if !fits {
        return None;
    }
    let number = |from: usize, to: usize| text[from..to].parse::<i64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hours, minutes, seconds, millis) =
        (number(11, 13)?, number(14, 16)?, number(17, 19)?, number(20, 23)?);
    let valid =
        (1..=12).contains(&month) && (1..=31).contains(&day) && hours < 24 && minutes < 60 && seconds < 61;
    let time = ((days_since_1970(year, month, day) * 24 + hours) * 60 + minutes) * 60 + seconds;
    valid.then_some(time * 1_000_000 + millis * 1_000)
}

/// Days from 1970-01-01 to a date of the proleptic Gregorian calendar.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    // Years begin in March, so that the leap day is the last of its year.
    let year = if month <= 2 { year - 1 } else { year };
    let month = (month + 9) % 12;
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year - 719_468
}

/// A tag's attributes, in order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Attributes<'a> {
    pairs: Vec<(&'a str, &'a str)>,
}

impl<'a> Attributes<'a> {
    /// Reads `NAME=value,NAME="quoted, with comma"`. The text of the error says what is wrong.
    pub fn parse(mut text: &'a str) -> Result<Self, &'static str> {
        let mut pairs: Vec<(&str, &str)> = Vec::new();
        loop {
            let (name, rest) = text.split_once('=').ok_or("an attribute without a value")?;
            if name.is_empty()
                || !name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'-')
            {
                return Err("an attribute name that is not upper case");
            }
            if pairs.iter().any(|(known, _)| *known == name) {
                return Err("an attribute twice");
            }
            let end = value_end(rest)?;
            pairs.push((name, &rest[..end]));
            match rest.get(end..end + 1) {
                None => return Ok(Self { pairs }),
                Some(",") => text = &rest[end + 1..],
                Some(_) => return Err("no comma between attributes"),
            }
        }
    }

    /// The value as written, quotes included.
    pub fn raw(&self, name: &str) -> Option<&'a str> {
        self.pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    /// A quoted string's content.
    pub fn quoted(&self, name: &str) -> Option<&'a str> {
        self.raw(name)?.strip_prefix('"')?.strip_suffix('"')
    }

    /// A decimal number.
    pub fn decimal(&self, name: &str) -> Option<Decimal> {
        Decimal::parse(self.raw(name)?)
    }

    /// A whole number.
    pub fn integer(&self, name: &str) -> Option<u64> {
        self.raw(name)?.parse().ok()
    }

    /// `YES`; absence and `NO` are alike.
    pub fn yes(&self, name: &str) -> bool {
        self.raw(name) == Some("YES")
    }
}

fn value_end(text: &str) -> Result<usize, &'static str> {
    if let Some(inner) = text.strip_prefix('"') {
        return inner.find('"').map(|end| end + 2).ok_or("a quoted string without an end");
    }
    let end = text.find(',').unwrap_or(text.len());
    if end == 0 || text[..end].contains([' ', '"', '\t']) {
        return Err("an empty value, or one that needs quotes");
    }
    Ok(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_exact() {
        assert_eq!(Decimal::parse("2.00001"), Some(Decimal { micros: 2_000_010, decimals: 5 }));
        assert_eq!(Decimal::parse("4"), Some(Decimal { micros: 4_000_000, decimals: 0 }));
        for bad in ["", ".5", "1.", "-1.0", "1e3", " 1", "1,0"] {
            assert_eq!(Decimal::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn dates_are_strict() {
        assert_eq!(parse_date("2025-11-20T10:20:00.250Z"), Some(1_763_634_000_250_000));
        assert_eq!(parse_date("2000-02-29T00:00:00.000Z"), Some(951_782_400_000_000));
        for bad in ["2025-11-20T10:20:00Z", "2025-11-20T10:20:00.250+01:00", "2025-13-20T10:20:00.250Z"] {
            assert_eq!(parse_date(bad), None, "{bad}");
        }
    }

    #[test]
    fn attribute_lists_are_strict() {
        let list = Attributes::parse("URI=\"a,b\",DURATION=0.20000,INDEPENDENT=YES").unwrap();
        assert_eq!(list.quoted("URI"), Some("a,b"));
        assert_eq!(list.decimal("DURATION").unwrap().micros, 200_000);
        assert!(list.yes("INDEPENDENT"));
        for bad in ["A", "a=1", "A=1,A=2", "A=", "A=\"x", "A=\"x\"B=1", "A=1, B=2"] {
            assert!(Attributes::parse(bad).is_err(), "{bad}");
        }
    }
}
